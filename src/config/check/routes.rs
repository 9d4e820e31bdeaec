//! `routes`: taken over as they are; `routing` knows its own rules.

use super::Findings;
use super::tenant::identity_kind;
use crate::config::document::{self, Route};
use crate::config::values::Period;
use crate::domain::{Action, Demands, Gate};
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
            demands: Demands {
                kinds: route.kinds.iter().map(|kind| identity_kind(*kind)).collect(),
                auth_context: route.auth_context.as_deref().map(Into::into),
                max_token_age: route.max_token_age.map(|age| age.0),
            },
        })
        .collect()
}

/// What the routes' own module doesn't know: the bounds of times.
pub(super) fn times(routes: &[Route], findings: &mut Findings<'_>) {
    for (index, route) in routes.iter().enumerate() {
        if let Some(age) = route.max_token_age {
            let pointer = format!("/routes/{index}/max_token_age");
            findings.between(&pointer, age, Period::minutes(1), Period::hours(48));
        }
    }
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
