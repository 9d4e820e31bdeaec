//! `delegations` and `workloads`: taken over as they are; `routing` knows its own rules.

use super::Findings;
use crate::config::document::{Delegation, Workload};
use crate::routing::{DelegationError, DelegationSettings, Delegations, WorkloadSettings};

pub(super) fn settings(
    delegations: &[Delegation],
    workloads: &[Workload],
    findings: &mut Findings<'_>,
) -> Option<Delegations> {
    let delegations: Vec<_> = delegations
        .iter()
        .map(|given| DelegationSettings {
            hosts: given.hosts.clone(),
            workloads: given.workloads.clone(),
            namespace: given.namespace.clone(),
            system: given.system.clone(),
            domain: given.domain.clone(),
            group: given.group.clone(),
            dangerously_any_entity: given.dangerously_any_entity,
        })
        .collect();
    let workloads: Vec<_> = workloads
        .iter()
        .map(|given| WorkloadSettings { id: given.id.clone(), entity: given.entity.clone() })
        .collect();
    match Delegations::build(&delegations, &workloads) {
        Ok(delegations) => Some(delegations),
        Err(errors) => {
            for DelegationError { section, at, field, message } in errors {
                let whole = format!("/{section}/{at}");
                // `hosts[1]` is one step further down than `hosts`.
                let field = field.replace('[', "/").replace(']', "");
                let pointer =
                    if field.is_empty() { whole.clone() } else { format!("{whole}/{field}") };
                findings.say_of(pointer, &[&whole], message);
            }
            None
        }
    }
}
