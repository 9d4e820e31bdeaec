//! Routing with the catalog's part in it.

use std::sync::{Arc, LazyLock};

use super::delegations::{Destination, unreadable};
use super::{CATALOG, CatalogRoutes, Claims};
use crate::domain::{Denial, EntityRef, Gate, Reason, Request, RequestLine, SpiffeId, Target};
use crate::routing::index::Found;
use crate::routing::{RouteTable, context, no_host, no_route};

/// One for all targets.
static NAME: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from(CATALOG));

impl RouteTable {
    /// Says what a request is about, by context extensions, the table, and what the
    /// catalog says where neither is for it.
    ///
    /// # Errors
    /// Those of [`RouteTable::route`], and the reason why there is no catalog, where
    /// the request could be the catalog's.
    pub fn route_with(
        &self,
        request: &Request<'_>,
        line: &RequestLine<'_>,
        claims: &Claims<'_>,
    ) -> Result<Target, Denial> {
        if !request.context_extensions.is_empty() {
            return context::target(&request.context_extensions, line);
        }
        let destination = claims.rules.destination(request.destination_principal);
        let named = claims.rules.named(destination);
        if let Some((pattern, paths)) = self.hosts.find(&line.host) {
            let target = Self::target(paths, line)?;
            // The client chose the host, and with it the route.
            if let (Some(named), false) = (named, matches!(pattern, Found::Any)) {
                let named = named?;
                if target.resource.as_ref() != Some(&named) {
                    return Err(no_route(format_args!(
                        "the route `{}` is not for `{named}`, which the destination is by a \
                         naming rule",
                        target.route
                    )));
                }
            }
            return Ok(target);
        }
        if claims.rules.is_empty() {
            return Err(no_host(line));
        }
        if line.path.has_parameters() {
            return Err(no_route("the path has `;` parameters, which only the table can allow"));
        }
        let entity = match (destination, named) {
            (_, Some(named)) => named?,
            (Destination::Workload(id), None) => by_workload(id, line, claims)?.clone(),
            (Destination::Unreadable, None) => return Err(unreadable()),
            (Destination::Elsewhere, None) => by_host(line, claims)?.clone(),
        };
        Ok(Target {
            resource: Some(entity),
            action: line.method.action(),
            gate: Gate::Policy,
            route: Arc::clone(&NAME),
            demands: None,
        })
    }
}

fn by_workload<'a>(
    id: SpiffeId<'_>,
    line: &RequestLine<'_>,
    claims: &Claims<'a>,
) -> Result<&'a EntityRef, Denial> {
    let id_text = id.as_str();
    if !claims.rules.covers_workload(id) {
        return Err(no_route(format_args!(
            "the destination `{id_text}` has no entity by a naming rule or a delegation"
        )));
    }
    let routes = catalog(claims)?;
    routes.by_workload(id_text, &line.path).ok_or_else(|| {
        let why = why_not(routes.workloads.get(id_text));
        no_route(format_args!("the destination `{id_text}` {why}"))
    })
}

fn by_host<'a>(line: &RequestLine<'_>, claims: &Claims<'a>) -> Result<&'a EntityRef, Denial> {
    if !claims.rules.covers_host(&line.host) {
        return Err(no_host(line));
    }
    let routes = catalog(claims)?;
    routes.by_host(&line.host, &line.path).ok_or_else(|| {
        let host = line.host.as_str();
        no_route(format_args!("the host `{host}` {}", why_not(routes.hosts.get(host))))
    })
}

fn catalog<'a>(claims: &Claims<'a>) -> Result<&'a CatalogRoutes, Denial> {
    claims.routes.map_err(|reason| match reason {
        Reason::CatalogUnavailable | Reason::CatalogExpired => {
            Denial::with_detail(reason, "which requests are for whom is the catalog's to say here")
        }
        other => other.into(),
    })
}

fn why_not(granted: Option<&super::Granted>) -> &'static str {
    match granted {
        None => "is claimed by no entity",
        Some(super::Granted(None)) => "is contested, or its claim has a mistake",
        Some(super::Granted(Some(_))) => "is an entity's, but not this path of it",
    }
}
