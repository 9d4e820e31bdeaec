//! The target, as the context extensions of the Envoy route give it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::claims::CATALOG;
use super::{check_auth_context, check_name, no_route};
use crate::domain::{Demands, Denial, EntityRef, Gate, IdentityKind, Reason, RequestLine, Target};

/// The name of a route whose context extensions give none.
pub(super) const UNNAMED: &str = "context";

/// Reads the context extensions, of which there is at least one.
pub(super) fn target(pairs: &[(&str, &str)], line: &RequestLine<'_>) -> Result<Target, Denial> {
    let [mut entity, mut action, mut gate, mut route] = [None; 4];
    let [mut kinds, mut auth_context, mut max_token_age] = [None; 3];
    for &(key, value) in pairs {
        let slot = match key {
            "entity" => &mut entity,
            "action" => &mut action,
            "gate" => &mut gate,
            "route" => &mut route,
            "kinds" => &mut kinds,
            "auth_context" => &mut auth_context,
            "max_token_age" => &mut max_token_age,
            _ => return Err(misconfigured(key, "is not a context extension that is read")),
        };
        if slot.replace(value).is_some() {
            return Err(misconfigured(key, "stands there twice"));
        }
    }
    let target = Target {
        resource: entity
            .map(EntityRef::parse)
            .transpose()
            .map_err(|error| misconfigured("entity", error))?,
        action: action
            .map(str::parse)
            .transpose()
            .map_err(|error: &str| misconfigured("action", error))?
            .unwrap_or_else(|| line.method.action()),
        gate: gate
            .map(str::parse)
            .transpose()
            .map_err(|error: &str| misconfigured("gate", error))?
            .unwrap_or(Gate::Policy),
        route: route
            .map(|name| match check_name(name) {
                Ok(()) if name == CATALOG => Err("is kept for what the catalog says"),
                checked => checked.map(|()| Arc::from(name)),
            })
            .transpose()
            .map_err(|error| misconfigured("route", error))?
            .unwrap_or_else(|| Arc::from(UNNAMED)),
        demands: demands(kinds, auth_context, max_token_age)?,
    };
    if target.gate == Gate::Public && target.demands.is_some() {
        let message = "is `public`: nothing can be asked of callers nobody knows";
        return Err(misconfigured("gate", message));
    }
    if target.gate == Gate::Policy && target.resource.is_none() {
        return Err(misconfigured("entity", "is missing, and the gate is `policy`"));
    }
    if line.path.has_parameters() {
        return Err(no_route("the path has `;` parameters, and the envoy route can't allow them"));
    }
    Ok(target)
}

fn demands(
    kinds: Option<&str>,
    auth_context: Option<&str>,
    max_token_age: Option<&str>,
) -> Result<Option<Arc<Demands>>, Denial> {
    let kinds: Vec<IdentityKind> = kinds
        .map(|kinds| kinds.split(',').map(|kind| kind.trim().parse()).collect())
        .transpose()
        .map_err(|error: &str| misconfigured("kinds", error))?
        .unwrap_or_default();
    let auth_context = auth_context
        .map(|name| check_auth_context(name).map(|()| name.into()))
        .transpose()
        .map_err(|error| misconfigured("auth_context", error))?;
    let max_token_age = max_token_age
        .map(|text| text.parse().map(Duration::from_secs))
        .transpose()
        .map_err(|_| misconfigured("max_token_age", "expected a number of seconds"))?;
    let demands = Demands { kinds, auth_context, max_token_age };
    Ok((demands != Demands::default()).then(|| Arc::new(demands)))
}

fn misconfigured(key: &str, error: impl fmt::Display) -> Denial {
    Denial::with_detail(
        Reason::RouteMisconfigured,
        format_args!("context extension `{}`: {error}", key.escape_default()),
    )
}
