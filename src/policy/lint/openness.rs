//! Who is let in, and where nobody asks.

use super::breadth::Extent;
use super::condition::{looks_at_caller, reads};
use super::{Findings, Kind, Severity, Subject, Surroundings};
use crate::policy::rule::Mode;

/// What tells an agent from others.
const OF_AGENTS: [&str; 3] = ["principal.agent", "principal.kind", "principal.agent_parent"];

pub(super) fn look(subject: &Subject<'_>, surroundings: &Surroundings<'_>, found: &mut Findings) {
    for (route, entity) in &surroundings.public {
        let named = subject.rule.reads.resources.contains(entity);
        if named && subject.mode() == Mode::Enforce {
            let message =
                format!("the route `{route}` lets anybody at `{entity}`: no policy is asked there");
            found.add(subject, Severity::Warning, Kind::Bypassed, message);
        }
    }
    if !subject.permits() {
        return;
    }
    let conditions = || subject.conjuncts.iter().map(|conjunct| &conjunct.expression);
    if !conditions().any(looks_at_caller) {
        let everybody = match &subject.breadth.principal {
            Extent::Any => Some("everybody: guests, agents and automation of any accepted tenant"),
            Extent::Is(kind) if kind == "User" => {
                Some("every user of any accepted tenant: guests and those whom agents act for")
            }
            Extent::Is(_) => Some("all automation of any accepted tenant, agents among it"),
            _ => None,
        };
        if let Some(everybody) = everybody {
            let message = format!("lets in {everybody}");
            return found.add(subject, Severity::Warning, Kind::LetsEverybodyIn, message);
        }
    }
    if !conditions().any(|expression| reads(expression, &OF_AGENTS)) {
        let message = "agents have what it gives, too".to_owned();
        found.add(subject, Severity::Info, Kind::AgentsIncluded, message);
    }
}
