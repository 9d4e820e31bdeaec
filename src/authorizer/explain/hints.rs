//! What would have to change for an allow.

use super::model::Explanation;
use crate::policy::{Applies, Hint, PolicyTrace};

/// Says what would have to change, where that can be told.
pub(super) fn add(explanation: &mut Explanation) {
    if explanation.is_allow() {
        return;
    }
    let mut to_allow = match explanation.conclusion.reason {
        "forbidden" | "insufficient_claims" => lift(explanation),
        "not_permitted" => permit(explanation),
        "no_route" => explanation
            .route
            .near
            .iter()
            .map(|near| {
                let wants = near.wants.join("`, `");
                format!("the route `{}` asks for another {}: `{wants}`", near.route, near.but_for)
            })
            .collect(),
        "token_missing" => vec!["send a token: `authorization: Bearer …`".to_owned()],
        _ => explanation
            .token
            .iter()
            .flat_map(|token| &token.rules)
            .filter(|rule| rule.outcome == explanation.conclusion.reason)
            .map(|rule| match rule.setting.as_str() {
                "" => format!("{}: {}", rule.rule, rule.detail),
                setting => format!("{}: {} ({setting})", rule.rule, rule.detail),
            })
            .collect(),
    };
    to_allow.dedup();
    explanation.to_allow = to_allow;
}

fn enforced(explanation: &Explanation) -> impl Iterator<Item = &PolicyTrace> {
    let policies = explanation.policies.iter().flat_map(|traces| &traces.policies);
    policies.filter(|policy| policy.mode == "enforce")
}

fn lift(explanation: &Explanation) -> Vec<String> {
    enforced(explanation)
        .filter(|policy| policy.effect == "forbid" && policy.applies == Applies::Yes)
        .map(|policy| format!("`{}` must not apply any more", policy.id))
        .collect()
}

fn permit(explanation: &Explanation) -> Vec<String> {
    // Of a `forbid` that doesn't apply there is no trace.
    let near = enforced(explanation).filter(|policy| policy.applies == Applies::No);
    let mut hints: Vec<String> = near
        .flat_map(|policy| policy.lacks.iter().map(move |lack| (policy, lack)))
        .map(|(policy, lack)| match &lack.hint {
            Some(hint) => format!("{} (`{}`)", words(hint, explanation), policy.id),
            None => format!("have this hold: {} (`{}`)", lack.text, policy.id),
        })
        .collect();
    if hints.is_empty() {
        hints.push(
            "no policy comes near to permitting this: one would have to be written".to_owned(),
        );
    }
    hints
}

fn words(hint: &Hint, explanation: &Explanation) -> String {
    let titles = explanation.ownership.iter().flat_map(|ownership| &ownership.owners);
    let titled = |group: &String| {
        let title = titles.clone().find(|(owner, _)| owner == group).map(|(_, title)| title);
        title.map_or_else(|| format!("`{group}`"), |title| format!("{title} (`{group}`)"))
    };
    match hint {
        Hint::MemberOf(groups) if groups.is_empty() => {
            "it has no owner: give it one in the catalog".to_owned()
        }
        Hint::MemberOf(groups) => {
            let groups: Vec<_> = groups.iter().map(titled).collect();
            format!("be a member of one of: {}", groups.join(", "))
        }
        Hint::MemberOfEntra(groups) => {
            format!("be a member of one of the directory's groups `{}`", groups.join("`, `"))
        }
        Hint::Be(caller) => format!("be {caller}"),
        Hint::Role(role) => format!("hold the app role `{role}`"),
        Hint::Scope(scope) => format!("have a token with the scope `{scope}`"),
        Hint::AuthContext(context) => {
            format!("sign in so that the authentication context `{context}` is satisfied")
        }
        Hint::Justify => "give a reason, in the header for it".to_owned(),
    }
}
