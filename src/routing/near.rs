//! Which routes nearly matched: for people who wonder why theirs didn't.

use super::{RouteSettings, RouteTable};
use crate::domain::{Demands, Gate, Request, RequestLine};

/// A route that would match but for one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NearRoute {
    /// Its name.
    pub name: String,
    /// What doesn't fit: `method`, `path` or `host`.
    pub but_for: &'static str,
    /// What it asks for instead.
    pub wants: Vec<String>,
}

/// The routes that would match but for their methods, paths or hosts, in this order.
#[must_use]
pub fn near_routes(
    routes: &[RouteSettings],
    request: &Request<'_>,
    line: &RequestLine<'_>,
) -> Vec<NearRoute> {
    let matches = |route: RouteSettings| {
        // Neither its entity nor its gate matter here.
        let alone = RouteSettings {
            entity: None,
            gate: Gate::Authenticated,
            demands: Demands::default(),
            ..route
        };
        let table = RouteTable::build(vec![alone]);
        let request = Request { context_extensions: Vec::new(), ..request.clone() };
        table.is_ok_and(|table| table.route(&request, line).is_ok())
    };
    let mut near = Vec::new();
    for (but_for, only) in [("method", 0), ("path", 1), ("host", 2)] {
        for route in routes {
            let (wants, open) = match only {
                0 => (&route.methods, RouteSettings { methods: Vec::new(), ..route.clone() }),
                1 => (&route.paths, RouteSettings { paths: Vec::new(), ..route.clone() }),
                _ => (&route.hosts, RouteSettings { hosts: vec!["*".to_owned()], ..route.clone() }),
            };
            if matches(open) && !matches(route.clone()) {
                near.push(NearRoute { name: route.name.clone(), but_for, wants: wants.clone() });
            }
        }
    }
    near
}
