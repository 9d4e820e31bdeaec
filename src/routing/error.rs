//! A mistake in the routes table.

/// One mistake, with its place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("route {route}: {field}: {message}")]
pub struct RouteError {
    /// Which route, counted from 0.
    pub route: usize,
    /// Where in it: `name`, `hosts[1]`, `entity`, …
    pub field: String,
    /// What is wrong, and what is expected.
    pub message: String,
}
