//! `catalog_routes`: `routing` knows the rules of hosts and workloads; who something is
//! delegated to is read here.

use super::Findings;
use super::catalog::bounded;
use crate::config::document::{CatalogRoutes, Delegation};
use crate::config::problem::below;
use crate::domain::EntityRef;
use crate::routing::{
    Delegate, DelegationError, DelegationSettings, Delegations, DelegationsSettings, NamingSettings,
};

/// The delegations, or nothing with a finding for each mistake.
pub(super) fn delegations(
    section: &CatalogRoutes,
    findings: &mut Findings<'_>,
) -> Option<Delegations> {
    let mut complete = true;
    let mut delegations = Vec::new();
    for (at, written) in section.delegations.iter().enumerate() {
        let pointer = format!("/catalog_routes/delegations/{at}");
        let locations =
            findings.read_all(&below(&pointer, "locations"), &written.locations, bounded);
        let to = delegate(written, &pointer, findings);
        complete &= to.is_some() && locations.len() == written.locations.len();
        delegations.push(DelegationSettings {
            hosts: written.hosts.clone(),
            workloads: written.workloads.clone(),
            // Not used if there is none: the hosts are read for their mistakes.
            to: to.unwrap_or(Delegate::Namespace(String::new())),
            locations,
            allow_shared_hosts: written.allow_shared_hosts,
        });
    }
    let naming = |rule: &crate::config::document::Workload| NamingSettings {
        id: rule.id.clone(),
        entity: rule.entity.clone(),
    };
    let settings = DelegationsSettings {
        delegations,
        workloads: section.workloads.iter().map(naming).collect(),
        gateways: section.gateways.clone(),
    };
    match Delegations::build(settings) {
        Ok(built) => complete.then_some(built),
        Err(errors) => {
            for DelegationError { field, message } in errors {
                let steps = field.replace(['[', '.'], "/").replace(']', "");
                let pointer = format!("/catalog_routes/{steps}");
                // An entry that lost a part to a mistake in its shape isn't what was meant.
                let entry: Vec<&str> = pointer.splitn(5, '/').take(4).collect();
                findings.say_of(&pointer, &[&entry.join("/")], message);
            }
            None
        }
    }
}

/// To which entities; exactly one key says so.
fn delegate(written: &Delegation, pointer: &str, findings: &mut Findings<'_>) -> Option<Delegate> {
    let Delegation { namespace, system, domain, group, dangerously_to_any_entity: any, .. } =
        written;
    match (namespace, system, domain, group, any) {
        (Some(text), None, None, None, false) => {
            let read = read_namespace(text);
            findings.read(&below(pointer, "namespace"), read).map(Delegate::Namespace)
        }
        (None, Some(text), None, None, false) => {
            let read = read_ref(text, "system");
            findings.read(&below(pointer, "system"), read).map(Delegate::Whole)
        }
        (None, None, Some(text), None, false) => {
            let read = read_ref(text, "domain");
            findings.read(&below(pointer, "domain"), read).map(Delegate::Whole)
        }
        (None, None, None, Some(text), false) => {
            let read = read_ref(text, "group");
            findings.read(&below(pointer, "group"), read).map(Delegate::Group)
        }
        (None, None, None, None, true) => Some(Delegate::AnyEntity),
        _ => {
            let message = "expected exactly one of `namespace`, `system`, `domain`, `group`, \
                 `dangerously_to_any_entity`";
            findings.say(pointer, message);
            None
        }
    }
}

fn read_namespace(text: &str) -> Result<String, String> {
    match EntityRef::new("component", text, "x") {
        Ok(entity) => Ok(entity.namespace().to_owned()),
        Err(_) => Err(format!("`{text}`: expected a namespace such as `payments`")),
    }
}

fn read_ref(text: &str, kind: &str) -> Result<EntityRef, String> {
    let entity = EntityRef::parse(text).map_err(|error| format!("`{text}`: {error}"))?;
    if entity.kind() == kind {
        Ok(entity)
    } else {
        Err(format!("`{text}`: expected a {kind}, as in `{kind}:default/payments`"))
    }
}
