//! Asking over HTTP.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct HttpAuthorization {
    /// How the listeners of `listen.http` are asked, and by which headers alone: `nginx`
    /// (`auth_request`), `traefik` (ForwardAuth) or `envoy` (`http_service`). Required with
    /// them.
    pub(in crate::config) dialect: Option<Dialect>,
    /// With `envoy`: what its `path_prefix` puts before each path.
    pub(in crate::config) path_prefix: Option<String>,
    /// The listeners of `listen.http`, as written there, that may be reached from other machines
    /// without `clients` in `listen.tls`, and believe whoever reaches them. What is said to a
    /// listener is what is decided about, so every other address must be on loopback or have
    /// clients that are named.
    pub(in crate::config) believe_any_peer_on: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum Dialect {
    Nginx,
    Traefik,
    Envoy,
}
