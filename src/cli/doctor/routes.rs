//! Routes and entities that don't meet.

use std::sync::Arc;

use std::collections::BTreeSet;

use super::report::{Report, Severity};
use crate::authorizer::Routes;
use crate::catalog::Snapshot;
use crate::config::Config;
use crate::domain::EntityRef;
use crate::nearest::nearest;

pub(super) fn look(config: &Config, snapshot: &Arc<Snapshot>, report: &mut Report) {
    let known: Vec<&str> = snapshot.entities().map(|entity| entity.entity().as_str()).collect();
    let mut routed: BTreeSet<EntityRef> = BTreeSet::new();
    let mut templates = false;
    for route in &config.routes {
        let Some(text) = &route.entity else { continue };
        let Ok(entity) = EntityRef::parse(text) else {
            templates = true;
            continue;
        };
        if snapshot.entity(&entity).is_none() {
            let near = nearest(entity.as_str(), &known);
            let message = match near {
                Some(near) => format!("`{entity}` is not in the catalog; `{near}` is"),
                None => format!("`{entity}` is not in the catalog"),
            };
            let remedy = "requests of the route are denied with `entity_unknown`";
            report.add(Severity::Error, "route_without_entity", &route.name, message, remedy);
        }
        routed.insert(entity);
    }
    let routes = Routes::new(config.route_table.clone(), config.delegations.clone());
    routes.adopt(snapshot);
    for finding in &routes.claimed().findings {
        let remedy = "docs/routing.md says what an entity may claim";
        let subject = finding.entity.to_string();
        report.add(Severity::Warning, "claim", subject, finding.message.to_string(), remedy);
    }
    let claiming: BTreeSet<&EntityRef> =
        snapshot.claims().map(|(entity, _)| entity.entity()).collect();
    if config.http.is_some() && config.routes.is_empty() && claiming.is_empty() {
        let message = "nothing says what a request is about that a proxy asks about over HTTP";
        let remedy = "each is denied with `no_route`: write `routes`, or let entities claim them";
        report.add(Severity::Error, "http_without_routes", "listen.http", message, remedy);
    }
    let services = snapshot.entities().filter(|entity| {
        matches!(entity.entity().kind(), "component" | "api")
            && !routed.contains(entity.entity())
            && !claiming.contains(entity.entity())
    });
    let without = services.count();
    // By a template or by Envoy's own routes any entity can be reached.
    if without > 0 && !templates {
        let message = format!("{without} components and APIs have no route here");
        let remedy = "fine where Envoy's context extensions name them";
        report.add(Severity::Info, "entities_without_route", "routes", message, remedy);
    }
}
