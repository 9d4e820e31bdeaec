//! Policies that speak of what isn't there.

use super::report::{Report, Severity};
use crate::catalog::Snapshot;
use crate::domain::EntityRef;
use crate::nearest::nearest;
use crate::policy::PolicySet;

pub(super) fn look(policy: &PolicySet, snapshot: &Snapshot, report: &mut Report) {
    let known: Vec<&str> = snapshot.entities().map(|entity| entity.entity().as_str()).collect();
    for (policy, kind, name) in policy.names() {
        let Ok(entity) = EntityRef::parse(&name) else {
            if kind != "EntraGroup" && kind != "Action" {
                let message = format!("`{kind}::\"{name}\"` is no entity ref");
                let remedy = "entities are named `kind:namespace/name`, all lower case";
                report.add(Severity::Error, "policy_names_nothing", &*policy, message, remedy);
            }
            continue;
        };
        let there = match kind.as_str() {
            "Group" => snapshot.group(&entity).is_some() || snapshot.user(&entity).is_some(),
            "User" | "Workload" | "EntraGroup" | "Action" => true,
            _ => snapshot.entity(&entity).is_some(),
        };
        if !there {
            let message = match nearest(entity.as_str(), &known) {
                Some(near) => format!("`{entity}` is not in the catalog; `{near}` is"),
                None => format!("`{entity}` is not in the catalog"),
            };
            let remedy = "a policy that names what isn't there never applies by it";
            report.add(Severity::Warning, "policy_names_nothing", &*policy, message, remedy);
        }
    }
}
