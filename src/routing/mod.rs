//! From a request to its [`Target`]: which entity, which action, which gate.
//!
//! # Where the target comes from
//!
//! 1. **The Envoy route's context extensions**, if it has any: the target comes
//!    wholly from them, and the table is not looked at. The keys are `entity` (a
//!    full entity ref), `action`, `gate` (`policy` if absent), `route` (the name
//!    in records; `context` if absent), `kinds` (of callers, with commas between),
//!    `auth_context` and `max_token_age` (seconds). Without `action` the method decides.
//!    Another key, a key twice, a value that is none, or the gate `policy` without
//!    an entity is [`Reason::RouteMisconfigured`]: a mistyped key must not fall
//!    back to something weaker. A path with `;` is [`Reason::NoRoute`]: Envoy
//!    matched it by rules of its own, and there is no key to opt in.
//! 2. **The table** otherwise. What it doesn't cover is [`Reason::NoRoute`], unless
//!    the catalog is asked too:
//! 3. **The catalog**, as far as the operator delegated it (`claims/mod.rs` has the rules):
//!    by the destination's workload identity where it has one, else by the host.
//!
//! # How the table decides
//!
//! Host, path and method decide one after another. What was decided is never
//! taken back: a request for which the most specific host or path has nothing is
//! denied, it doesn't fall to a weaker one.
//!
//! **Hosts.** Of the patterns that match, the most specific one, in this order:
//! - exact, `payments.example.com`;
//! - with placeholders, `{component}.apps.example.com`, each for one whole label:
//!   fewer placeholders first, then, label by label from the right, a literal
//!   before a placeholder;
//! - `*.example.com`, one or more labels before the suffix: the longer suffix first;
//! - `*`, any host.
//!
//! Only routes with that very pattern are looked at then, as Envoy does with its
//! virtual hosts (the names of placeholders make no difference). IP addresses are
//! matched by exact patterns and by `*` only. Patterns have no ports.
//!
//! **Paths.** A pattern is a prefix that ends with a segment: `/admin` matches
//! `/admin`, `/admin/` and `/admin/x`, not `/administrator`. With a final `$` it is
//! exact: `/admin$` matches `/admin` only, and `/admin/$` `/admin/` only. `{name}`
//! stands for one whole segment that is not empty. `/` matches everything. Of the
//! patterns that match, the most specific one: both are read from the left, and at
//! the first difference a literal segment wins over a placeholder, a placeholder
//! over the end of an exact pattern, and that over the end of a prefix. So
//! `/a/b` wins over `/a/{x}/c`, `/a/{x}` over `/a`, and `/a$` over `/a`.
//!
//! **Methods.** Of the routes with that very host and path pattern, the one that
//! lists the request's method, else the one that lists none. `GET` doesn't include
//! `HEAD`, and `OPTIONS` is a method like any other: a CORS preflight, which has no
//! token, passes only by a route that lists `OPTIONS` with the gate `public`.
//! If there is none the request is denied, so a route for `POST /admin` doesn't
//! leave `GET /admin` to a public `/`.
//!
//! **Path parameters.** A backend may or may not drop what follows a `;` in a
//! segment. A path with a `;` is therefore matched twice, with and without its
//! parameters; if the two don't lead to the same pattern, or the route doesn't
//! have `allow_path_parameters`, it is denied. Patterns hold no `;`.
//!
//! **The entity** is fixed or a template, `component:default/{component}`, filled
//! from the placeholders of host and path. A text that can't be part of an entity
//! ref is [`Reason::EntityUnknown`]. Letter case makes no difference in a ref.
//!
//! # What is a mistake in the table
//!
//! Patterns must be written in the canonical spelling of [`Host`](crate::domain::Host)
//! and [`Path`](crate::domain::Path), placeholders are `[a-z_]+`, methods are in
//! upper case, and names are unique. `*` and segments like `:name` are refused in
//! paths, where they would be literals that never match. Two routes are ambiguous, which is a mistake,
//! if they have the same host pattern, the same path pattern (whatever the
//! placeholders' names), and a method in common – or both list none. All other
//! pairs have an order, by the rules above. The order in which routes are written
//! means nothing.

mod build;
mod claims;
mod context;
mod entity;
mod error;
mod host_pattern;
mod index;
mod near;
mod path_pattern;
mod settings;

use std::sync::Arc;

pub use claims::{
    CatalogRoute, CatalogRoutes, Claim, ClaimFinding, Claims, Delegate, DelegationError,
    DelegationSettings, Delegations, DelegationsSettings, NamingSettings,
};
pub use error::RouteError;
pub use near::{NearRoute, near_routes};
pub use settings::*;

use crate::domain::{
    Action, Demands, Denial, Gate, Host, Method, Reason, Request, RequestLine, Target,
};
use entity::Entity;
use index::{HostIndex, PathIndex};

/// All routes, prepared for lookups.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    hosts: HostIndex,
}

/// What stands behind one host and path pattern for some methods.
#[derive(Clone, Debug)]
struct Rule {
    route: Arc<Route>,
    /// How this route's entity is made under these two patterns.
    entity: Entity,
}

/// One route, apart from its patterns.
#[derive(Debug)]
struct Route {
    /// Its place in the configuration.
    index: usize,
    name: Arc<str>,
    /// Empty is any.
    methods: Vec<String>,
    gate: Gate,
    action: Option<Action>,
    allow_path_parameters: bool,
    demands: Option<Arc<Demands>>,
}

impl RouteTable {
    /// Prepares a table.
    ///
    /// # Errors
    /// Every mistake in it, in the order of the routes.
    pub fn build(routes: Vec<RouteSettings>) -> Result<Self, Vec<RouteError>> {
        build::build(routes)
    }

    /// Says what a request is about, by the rules of this module.
    ///
    /// # Errors
    /// [`Reason::NoRoute`], [`Reason::RouteMisconfigured`] or
    /// [`Reason::EntityUnknown`].
    pub fn route(&self, request: &Request<'_>, line: &RequestLine<'_>) -> Result<Target, Denial> {
        if !request.context_extensions.is_empty() {
            return context::target(&request.context_extensions, line);
        }
        match self.hosts.find(&line.host) {
            Some((_, paths)) => Self::target(paths, line),
            None => Err(no_host(line)),
        }
    }

    /// Whether a route is for this host.
    #[must_use]
    pub fn has_host(&self, host: &Host<'_>) -> bool {
        self.hosts.find(host).is_some()
    }

    /// What the routes of the host say.
    fn target(paths: &PathIndex<Vec<Rule>>, line: &RequestLine<'_>) -> Result<Target, Denial> {
        let rules =
            paths.find(&line.path).ok_or_else(|| no_route("no route of the host has the path"))?;
        let rule = by_method(rules, &line.method)
            .ok_or_else(|| no_route("no route of the host and path has the method"))?;
        if line.path.has_parameters() && !rule.route.allow_path_parameters {
            return Err(no_route(format_args!(
                "the path has `;` parameters, which the route `{}` does not allow",
                rule.route.name
            )));
        }
        Ok(Target {
            resource: rule.entity.of(line)?,
            action: rule.route.action.unwrap_or_else(|| line.method.action()),
            gate: rule.route.gate,
            route: Arc::clone(&rule.route.name),
            demands: rule.route.demands.clone(),
        })
    }
}

/// The rule that lists the method, else the one for any.
fn by_method<'r>(rules: &'r [Rule], method: &Method<'_>) -> Option<&'r Rule> {
    let lists = |rule: &&Rule| rule.route.methods.iter().any(|listed| listed == method.as_str());
    rules.iter().find(lists).or_else(|| rules.iter().find(|rule| rule.route.methods.is_empty()))
}

fn no_host(line: &RequestLine<'_>) -> Denial {
    no_route(format_args!("no route has the host `{}`", line.host.as_str()))
}

fn no_route(detail: impl std::fmt::Display) -> Denial {
    Denial::with_detail(Reason::NoRoute, detail)
}

/// What is wrong with a route's name, which stands in metrics and records.
fn check_name(name: &str) -> Result<(), &'static str> {
    if (1..=100).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(())
    } else {
        Err("expected 1 to 100 ascii characters without blanks")
    }
}

/// What is wrong with the name of an authentication context (Entra: `c1` to `c99`).
pub(crate) fn check_auth_context(name: &str) -> Result<(), &'static str> {
    if (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric()) {
        Ok(())
    } else {
        Err("expected an authentication context such as `c1`")
    }
}

#[cfg(test)]
mod tests;
