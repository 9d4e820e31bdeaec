//! The target, as the context extensions of the Envoy route give it.

use std::fmt;
use std::sync::Arc;

use super::{check_name, no_route};
use crate::domain::{Denial, EntityRef, Gate, Reason, RequestLine, Target};

/// The name of a route whose context extensions give none.
pub(super) const UNNAMED: &str = "context";

/// Reads the context extensions, of which there is at least one.
pub(super) fn target(pairs: &[(&str, &str)], line: &RequestLine<'_>) -> Result<Target, Denial> {
    let [mut entity, mut action, mut gate, mut route] = [None; 4];
    for &(key, value) in pairs {
        let slot = match key {
            "entity" => &mut entity,
            "action" => &mut action,
            "gate" => &mut gate,
            "route" => &mut route,
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
            .map(|name| check_name(name).map(|()| Arc::from(name)))
            .transpose()
            .map_err(|error| misconfigured("route", error))?
            .unwrap_or_else(|| Arc::from(UNNAMED)),
    };
    if target.gate == Gate::Policy && target.resource.is_none() {
        return Err(misconfigured("entity", "is missing, and the gate is `policy`"));
    }
    if line.path.has_parameters() {
        return Err(no_route("the path has `;` parameters, and the envoy route can't allow them"));
    }
    Ok(target)
}

fn misconfigured(key: &str, error: impl fmt::Display) -> Denial {
    Denial::with_detail(
        Reason::RouteMisconfigured,
        format_args!("context extension `{}`: {error}", key.escape_default()),
    )
}
