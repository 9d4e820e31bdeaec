//! What a route asks of its callers beyond its gate.

use crate::clock::Now;
use crate::domain::{Challenge, Demands, Denial, Identity, Reason};

/// Whether the caller is what the route asks for.
pub(super) fn check(demands: &Demands, identity: &Identity, now: Now) -> Result<(), Denial> {
    let kind = identity.kind;
    if !demands.kinds.is_empty() && !demands.kinds.contains(&kind) {
        return Err(Denial::with_detail(
            Reason::CallerKind,
            format_args!("the caller is of kind `{}`", kind.as_str()),
        ));
    }
    if let Some(name) = &demands.auth_context
        && !identity.facts.auth_contexts.contains(name)
    {
        if !identity.delegated {
            return Err(Denial::with_detail(
                Reason::CallerKind,
                format_args!("only who signs in can satisfy `{name}`"),
            ));
        }
        return Err(Denial {
            challenge: Some(Box::new(Challenge::AuthContext(name.clone()))),
            ..Denial::with_detail(
                Reason::InsufficientClaims,
                format_args!("the token does not satisfy `{name}`"),
            )
        });
    }
    if let Some(max) = demands.max_token_age {
        let age = now.unix.saturating_sub(identity.issued_at);
        let max = i64::try_from(max.as_secs()).unwrap_or(i64::MAX);
        if age > max {
            let detail = format!("the token is {age} s old, {max} are accepted here");
            return Err(Denial {
                challenge: Some(Box::new(Challenge::IssuedSince(now.unix))),
                ..Denial::with_detail(Reason::InsufficientClaims, detail)
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::{Holder, IdentityKind, TokenFacts};

    const NOW: i64 = 1_800_000_000;

    fn caller(kind: IdentityKind, delegated: bool, contexts: &[&str]) -> Identity {
        let auth_contexts = contexts.iter().map(|name| (*name).into()).collect();
        Holder {
            tenant: "11111111-2222-3333-4444-555555555555".parse().unwrap(),
            object: "bbbbbbbb-0000-0000-0000-000000000001".parse().unwrap(),
            kind,
            delegated,
            client: None,
            groups: Box::new([]),
            group_names: Box::new([]),
            groups_elsewhere: false,
            roles: Box::new([]),
            scopes: Box::new([]),
            issued_at: NOW - 600,
            expires_at: NOW + 3600,
            facts: TokenFacts { auth_contexts, ..TokenFacts::default() },
        }
        .into()
    }

    #[test]
    fn what_is_asked_for_is_what_the_caller_could_bring() {
        use IdentityKind::{Agent, User, Workload};

        let none = Demands::default;
        let strong = || Demands { auth_context: Some("c1".into()), ..none() };
        let younger =
            |seconds| Demands { max_token_age: Some(Duration::from_secs(seconds)), ..none() };
        let people = || Demands { kinds: vec![User, Agent], ..none() };
        let asked = |name: &str| Some(Box::new(Challenge::AuthContext(name.into())));
        let denied = |reason: Reason, challenge| Err((reason, challenge));
        let user = || caller(User, true, &[]);
        for (demands, identity, want) in [
            (none(), caller(Workload, false, &[]), Ok(())),
            (people(), user(), Ok(())),
            (people(), caller(Workload, false, &[]), denied(Reason::CallerKind, None)),
            (strong(), caller(User, true, &["c0", "c1"]), Ok(())),
            (
                strong(),
                caller(User, true, &["c0"]),
                denied(Reason::InsufficientClaims, asked("c1")),
            ),
            (strong(), caller(Agent, true, &[]), denied(Reason::InsufficientClaims, asked("c1"))),
            // Nobody signs in for these: a challenge would be a dead end.
            (strong(), caller(Agent, false, &[]), denied(Reason::CallerKind, None)),
            (strong(), caller(Workload, false, &[]), denied(Reason::CallerKind, None)),
            (younger(600), user(), Ok(())),
            (
                younger(599),
                user(),
                denied(Reason::InsufficientClaims, Some(Box::new(Challenge::IssuedSince(NOW)))),
            ),
        ] {
            let got = check(&demands, &identity, Now::at(NOW));
            let got = got.map_err(|denial| (denial.reason, denial.challenge));
            assert_eq!(got, want, "{demands:?} of {identity:?}");
        }
    }
}
