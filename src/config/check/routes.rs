//! `routes`: taken over as they are; `routing` knows its own rules.

use super::Findings;
use crate::config::document::{self, Route};
use crate::domain::{Action, Gate};
use crate::routing::{RouteError, RouteSettings, RouteTable};

pub(super) fn settings(routes: &[Route]) -> Vec<RouteSettings> {
    routes
        .iter()
        .map(|route| RouteSettings {
            name: route.name.clone(),
            hosts: route.hosts.clone(),
            paths: route.paths.clone(),
            methods: route.methods.clone(),
            gate: match route.gate {
                document::Gate::Public => Gate::Public,
                document::Gate::Authenticated => Gate::Authenticated,
                document::Gate::Policy => Gate::Policy,
            },
            entity: route.entity.clone(),
            action: route.action.map(|action| match action {
                document::Action::Read => Action::Read,
                document::Action::Write => Action::Write,
                document::Action::Admin => Action::Admin,
            }),
            allow_path_parameters: route.allow_path_parameters,
        })
        .collect()
}

/// The table, or nothing with a finding for each of its mistakes.
pub(super) fn table(routes: &[RouteSettings], findings: &mut Findings<'_>) -> Option<RouteTable> {
    match RouteTable::build(routes.to_vec()) {
        Ok(table) => Some(table),
        Err(errors) => {
            for RouteError { route, field, message } in errors {
                let route = format!("/routes/{route}");
                // `hosts[1]` is one step further down than `hosts`.
                let pointer = format!("{route}/{}", field.replace('[', "/").replace(']', ""));
                // A route that lost a part to a mistake in its shape isn't what was meant.
                findings.say_of(pointer, &[&route], message);
            }
            None
        }
    }
}
