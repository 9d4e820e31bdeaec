//! The same questions over HTTP/1.1, from proxies that don't ask over gRPC: nginx's
//! `auth_request`, Traefik's ForwardAuth, Envoy's `http_service`.
//!
//! A proxy tells in headers what it was asked ([`Dialect`]); from there on it is the same
//! request, and the same reply, which is said in HTTP again. All three let a request in on a
//! status, so nothing but an allow has one of the 200s.

mod dialect;
mod endpoint;
mod respond;

pub use dialect::Dialect;
pub use endpoint::HttpEndpoint;

pub(super) use dialect::Line;
#[cfg(test)]
pub(super) use respond::carried;
pub(super) use respond::respond;
