//! What is no mistake to Cedar, but hardly meant.
//!
//! A policy that never applies protects nothing, and nobody notices. Everything here follows
//! from the policies, and from what is known of the world around them; nothing is evaluated
//! and nothing is asked for.

mod breadth;
mod comparison;
mod condition;
mod cover;
mod names;
mod openness;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use cedar_policy::Effect;

use super::error::PolicyError;
use super::rule::{Mode, Rule};
use super::set::PolicySet;
use crate::domain::EntityRef;

/// What is known of the world that policies speak of. What isn't known is not looked at.
#[derive(Default)]
pub struct Surroundings<'a> {
    /// What the catalog has.
    pub catalog: Option<Known>,
    /// Whether requests for a host have a route.
    pub serves_host: Option<&'a dyn Fn(&str) -> bool>,
    /// Entities with a route where nobody is asked who they are: the route's name, and the
    /// entity.
    pub public: Vec<(String, EntityRef)>,
}

/// What a catalog has: refs in lower case.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Groups, and users, who have a personal group each.
    pub groups: BTreeSet<String>,
    /// Whatever can be asked for.
    pub resources: BTreeSet<String>,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Good to know.
    Info,
    /// Hardly meant so.
    Warning,
    /// It does not do what it says.
    Error,
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// No request can satisfy it.
    NeverApplies,
    /// It names what can't be, or what isn't there.
    NamesNothing,
    /// Without it everything would be decided alike.
    Covered,
    /// Everybody is let in.
    LetsEverybodyIn,
    /// A public route leads past it.
    Bypassed,
    /// A `forbid` without a word for who is denied.
    NoReason,
    /// Something else that Cedar finds odd.
    Odd,
    /// A `permit` that says nothing of agents.
    AgentsIncluded,
    /// It is tried out, and decides nothing.
    Shadow,
}

/// One finding.
#[derive(Clone, Debug)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is.
    pub kind: Kind,
    /// The policy.
    pub policy: Arc<str>,
    /// The file it stands in.
    pub file: PathBuf,
    /// Where the policy begins, or the oddity is: line and column from 1.
    pub place: Option<(usize, usize)>,
    /// What was found.
    pub message: String,
}

impl Severity {
    /// The name used in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl Kind {
    /// The stable code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::NeverApplies => "policy_never_applies",
            Self::NamesNothing => "policy_names_nothing",
            Self::Covered => "policy_covered",
            Self::LetsEverybodyIn => "policy_lets_everybody_in",
            Self::Bypassed => "policy_bypassed",
            Self::NoReason => "forbid_without_reason",
            Self::Odd => "policy_odd",
            Self::AgentsIncluded => "agents_included",
            Self::Shadow => "policy_in_shadow",
        }
    }

    /// What to do.
    #[must_use]
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::NeverApplies => "correct it, or take it out: it permits and forbids nothing",
            Self::NamesNothing => "a policy that names what isn't there never applies by it",
            Self::Covered => "take it out, or narrow the other one, if that one says too much",
            Self::LetsEverybodyIn => {
                "say whom it is for: by `principal in …`, `principal.tenant`, `!principal.guest`, \
                 `!principal.agent`"
            }
            Self::Bypassed => "give the route the gate `policy`, if policies are to be asked",
            Self::NoReason => "`@reason` tells a denied person why, and what to do",
            Self::Odd => "write it in a way that can be read in one way only",
            Self::AgentsIncluded => {
                "add `!principal.agent`, unless agents are to have what it gives"
            }
            Self::Shadow => "take `@mode(\"shadow\")` off once the records show what it does",
        }
    }
}

/// Everything that is found in a set, in the order of its files; of a policy, the worst
/// first.
#[must_use]
pub fn lint(set: &PolicySet, surroundings: &Surroundings<'_>) -> Vec<Finding> {
    let subjects: Vec<Subject<'_>> = set.rules.iter().map(|rule| Subject::new(rule)).collect();
    let mut found = Findings::default();
    for subject in &subjects {
        names::look(subject, surroundings, &mut found);
        condition::look(subject, &mut found);
        openness::look(subject, surroundings, &mut found);
        annotations(subject, &mut found);
    }
    let never = found.of(Kind::NeverApplies);
    for odd in set.odd() {
        oddity(odd, &subjects, &never, &mut found);
    }
    cover::look(&subjects, &mut found);
    let mut found = found.0;
    // The order of the set is that of the files.
    let places: HashMap<&Arc<str>, usize> =
        set.rules.iter().map(|rule| &rule.info.id).zip(0..).collect();
    found.sort_by_key(|finding| {
        let place = places.get(&finding.policy).copied();
        (place, std::cmp::Reverse(finding.severity), finding.kind)
    });
    found
}

/// A policy, taken apart.
struct Subject<'a> {
    rule: &'a Rule,
    breadth: breadth::Breadth,
    conjuncts: Vec<condition::Conjunct>,
}

impl<'a> Subject<'a> {
    fn new(rule: &'a Rule) -> Self {
        Self {
            rule,
            breadth: breadth::Breadth::of(&rule.cedar),
            conjuncts: condition::conjuncts(&rule.cedar),
        }
    }

    fn permits(&self) -> bool {
        self.rule.info.effect == Effect::Permit
    }

    fn mode(&self) -> Mode {
        self.rule.info.mode
    }
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, subject: &Subject<'_>, severity: Severity, kind: Kind, message: String) {
        let info = &subject.rule.info;
        let (policy, file, place) = (Arc::clone(&info.id), info.file.clone(), info.place);
        self.0.push(Finding { severity, kind, policy, file, place, message });
    }

    /// The policies of which such a thing was found.
    fn of(&self, kind: Kind) -> HashSet<Arc<str>> {
        let found = self.0.iter().filter(|finding| finding.kind == kind);
        found.map(|finding| Arc::clone(&finding.policy)).collect()
    }
}

fn annotations(subject: &Subject<'_>, found: &mut Findings) {
    if !subject.permits() && subject.rule.info.reason.is_none() {
        let message = "who is denied by it is not told why".to_owned();
        found.add(subject, Severity::Warning, Kind::NoReason, message);
    }
    if subject.mode() == Mode::Shadow {
        let message = "it is tried out, and decides nothing".to_owned();
        found.add(subject, Severity::Info, Kind::Shadow, message);
    }
}

/// What Cedar's validator said without calling it a mistake.
fn oddity(
    odd: &PolicyError,
    subjects: &[Subject<'_>],
    never: &HashSet<Arc<str>>,
    found: &mut Findings,
) {
    let before = |subject: &&Subject<'_>| {
        let info = &subject.rule.info;
        info.file == odd.file && (info.place <= odd.place || odd.place.is_none())
    };
    let Some(subject) = subjects.iter().rfind(before) else { return };
    // The one thing that Cedar says of a whole policy; the rest is about single characters.
    if odd.message.contains("policy is impossible") {
        if !never.contains(&subject.rule.info.id) {
            let message = "by the types of what it compares, no request can satisfy it".to_owned();
            found.add(subject, Severity::Error, Kind::NeverApplies, message);
        }
        return;
    }
    found.add(subject, Severity::Warning, Kind::Odd, odd.message.clone());
    if let Some(last) = found.0.last_mut() {
        last.place = odd.place.or(last.place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::PolicySource;

    fn found(text: &str, surroundings: &Surroundings<'_>) -> Vec<Finding> {
        let source = PolicySource { file: "p.cedar".into(), text: text.to_owned() };
        let set = PolicySet::of(&[source]).unwrap_or_else(|errors| panic!("{text}: {errors}"));
        lint(&set, surroundings)
    }

    fn has(found: &[Finding], kind: Kind, said: &str) -> bool {
        found.iter().any(|finding| finding.kind == kind && finding.message.contains(said))
    }

    const IDS: &str = "11111111-2222-3333-4444-55555555555a/bbbbbbbb-0000-0000-0000-00000000000b";

    #[test]
    fn what_cannot_be_is_told() {
        let all = |condition: &str| {
            format!("permit (principal, action, resource) when {{ {condition} }};")
        };
        for (policy, kind, said) in [
            (
                all(r#"principal.kind == "automaton""#),
                Kind::NeverApplies,
                "`principal.kind` never is `automaton`, but one of `user`, ",
            ),
            (
                all(r#"principal has client_auth && principal.client_auth == "a handshake""#),
                Kind::NeverApplies,
                "but one of `public`, `secret`, `certificate`",
            ),
            (
                all(r#"principal.tenant == "contoso""#),
                Kind::NeverApplies,
                "`principal.tenant` never is `contoso`: ",
            ),
            (
                all(r#"context.host == "a b""#),
                Kind::NeverApplies,
                "`context.host` never is `a b`: ",
            ),
            // Whatever is unlike what can't be is everything.
            (
                all(r#"principal.kind != "usr""#),
                Kind::NamesNothing,
                "`principal.kind` never is `usr`; did you mean `user`?",
            ),
            (
                all(r#"principal.kind != "usr" || principal.guest"#),
                Kind::NamesNothing,
                "did you mean `user`?",
            ),
            (all("!true || false"), Kind::NeverApplies, "stands there"),
            (
                all("(principal.guest && false) || false"),
                Kind::NeverApplies,
                "`false` stands there",
            ),
            (
                format!(
                    r#"permit (principal == User::"{}", action, resource);"#,
                    IDS.to_uppercase()
                ),
                Kind::NeverApplies,
                &format!("write `{IDS}`"),
            ),
            (
                "permit (principal is Workload, action, resource);".to_owned(),
                Kind::LetsEverybodyIn,
                "all automation",
            ),
            (
                all(r#"["GET", "HEAD"].contains(context.method)"#),
                Kind::LetsEverybodyIn,
                "everybody",
            ),
        ] {
            let found = found(&policy, &Surroundings::default());
            assert!(has(&found, kind, said), "{policy}: {found:?}");
        }
    }

    #[test]
    fn what_can_be_is_left_alone() {
        for policy in [
            "permit (principal, action, resource) when { principal.guest && context.token_age > 5 };",
            "permit (principal, action, resource) when { principal.guest && principal.guest };",
            r#"permit (principal, action, resource) when { principal.kind == "user" && resource.kind == "api" };"#,
            r#"permit (principal, action, resource)
               when { ["user", "agent"].contains(principal.kind) && principal.kind == "user" };"#,
            r#"permit (principal, action, resource) when { context has source && context.source == "spiffe://a/b" };"#,
            r#"permit (principal in EntraGroup::"aaaaaaaa-0000-0000-0000-00000000000b", action, resource);"#,
            // Without a catalog nobody knows whether there is one.
            r#"permit (principal in Group::"group:default/a", action, resource);"#,
            &format!(r#"permit (principal == User::"{IDS}", action, resource);"#),
        ] {
            let found = found(policy, &Surroundings::default());
            let worst = found.iter().map(|finding| finding.severity).max();
            assert!(worst <= Some(Severity::Info), "{policy}: {found:?}");
        }
    }

    #[test]
    fn what_is_not_there_is_told_once() {
        let catalog = Known {
            groups: BTreeSet::from(["group:default/a".to_owned()]),
            resources: BTreeSet::new(),
        };
        let serves: &dyn Fn(&str) -> bool = &|host| host == "a.example.com";
        let surroundings = Surroundings {
            catalog: Some(catalog),
            serves_host: Some(serves),
            public: vec![("open".to_owned(), EntityRef::parse("component:default/pay").unwrap())],
        };
        let text = r#"
            @id("named") permit (principal in Group::"group:default/a", action, resource)
            when { resource == Component::"component:default/pay" || resource in System::"system:default/s"
                || resource == Component::"component:default/pay" };
            @id("host") permit (principal in Group::"group:default/a", action, resource)
            when { ["a.example.com", "b.example.com"].contains(context.host) };
            @id("tried") @mode("shadow") permit (principal in Group::"group:default/a", action,
                resource == Component::"component:default/pay");"#;
        let found = found(text, &surroundings);
        let of = |policy: &str, kind: Kind| -> Vec<String> {
            let of = found.iter().filter(|one| one.kind == kind && &*one.policy == policy);
            of.map(|one| one.message.clone()).collect()
        };
        let mut named = of("named", Kind::NamesNothing);
        named.sort_unstable();
        assert_eq!(
            named,
            [
                "`component:default/pay` is not in the catalog",
                "`system:default/s` is not in the catalog"
            ]
        );
        assert_eq!(of("host", Kind::NamesNothing), ["no route is for the host `b.example.com`"]);
        assert_eq!(of("named", Kind::Bypassed).len(), 1);
        // What is only tried out leads past nothing.
        assert!(of("tried", Kind::Bypassed).is_empty());
    }

    #[test]
    fn of_two_that_say_the_same_the_second_is_too_many() {
        let policy = r#"permit (principal in Group::"group:default/a", action, resource)
            when { principal.guest };"#;
        let text = format!("@id(\"first\") {policy} @id(\"second\") {policy}");
        let found = found(&text, &Surroundings::default());
        let covered: Vec<_> = found.iter().filter(|one| one.kind == Kind::Covered).collect();
        assert_eq!(covered.len(), 1, "{found:?}");
        assert_eq!(&*covered[0].policy, "second");
    }
}
