//! A `CheckRequest` as Envoy sends it with the configurations in `envoy/`.

#![allow(dead_code, reason = "each test binary uses its own part of this module")]

use devtenant::tenant::Tenant;
use prost::Message as _;
use stagedoor::ext_authz::proto::envoy::config::core::v3::{
    Address, HeaderMap, HeaderValue, Metadata, SocketAddress, address, socket_address,
};
use stagedoor::ext_authz::proto::envoy::service::auth::v3::attribute_context::{
    HttpRequest, Peer, Request,
};
use stagedoor::ext_authz::proto::envoy::service::auth::v3::{AttributeContext, CheckRequest};

/// A token of about 2.4 kB, as people have them: `group` and nineteen others.
pub(crate) fn token(tenant: &Tenant, audience: &str, group: &str) -> String {
    let others: Vec<_> =
        (2..21).map(|number| format!("dddddddd-0000-0000-0000-{number:012}")).collect();
    let groups: Vec<_> = std::iter::once(group).chain(others.iter().map(String::as_str)).collect();
    tenant.token().audience(audience).groups(&groups).claim("rh", "x".repeat(300).into()).sign()
}

/// The message.
pub(crate) fn message(token: &str, host: &str, path: &str) -> Vec<u8> {
    let header = |key: &str, value: &str| HeaderValue {
        key: key.to_owned(),
        value: String::new(),
        raw_value: value.as_bytes().to_vec().into(),
    };
    let peer = |port| Peer {
        address: Some(Address {
            address: Some(address::Address::SocketAddress(SocketAddress {
                protocol: 0,
                address: "127.0.0.1".to_owned(),
                port_specifier: Some(socket_address::PortSpecifier::PortValue(port)),
            })),
        }),
        ..Peer::default()
    };
    let headers = vec![
        header("authorization", &format!("Bearer {token}")),
        header("accept", "application/json"),
        header("accept-language", "en-GB,en;q=0.9"),
        header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        header("x-request-id", "6a1f0d2e-1c57-9f0f-a1f3-2f4c57a0b1c2"),
    ];
    let http = HttpRequest {
        id: "12884901893748575411".to_owned(),
        method: "GET".to_owned(),
        path: path.to_owned(),
        host: host.to_owned(),
        scheme: "https".to_owned(),
        protocol: "HTTP/1.1".to_owned(),
        header_map: Some(HeaderMap { headers }),
        ..HttpRequest::default()
    };
    let time = Some(prost_types::Timestamp { seconds: 1_800_000_000, nanos: 7 });
    CheckRequest {
        attributes: Some(AttributeContext {
            source: Some(peer(4711)),
            destination: Some(peer(8080)),
            request: Some(Request { time, http: Some(http) }),
            metadata_context: Some(Metadata::default()),
            route_metadata_context: Some(Metadata::default()),
            ..AttributeContext::default()
        }),
    }
    .encode_to_vec()
}
