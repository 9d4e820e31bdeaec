use std::collections::HashMap;

use prost::Message as _;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use super::super::proto::envoy::config::core::v3::{
    Address, HeaderMap, HeaderValue, Metadata, Pipe, SocketAddress, address, socket_address,
};
use super::super::proto::envoy::service::auth::v3::attribute_context::{
    HttpRequest, Peer, Request, TlsSession,
};
use super::super::proto::envoy::service::auth::v3::{AttributeContext, CheckRequest};
use super::super::request::request;
use super::*;
use crate::domain;

const REASON: &str = "x-reason";

fn text(rng: &mut SmallRng) -> String {
    const TEXTS: &[&str] = &[
        "",
        "a",
        "Bearer a.b.c",
        "1",
        "x,y",
        "!",
        " words ",
        "\u{e9}",
        "\0",
        "application/grpc",
        "d",
        "0af7651916cd43dd8448eb211c80319c",
        "b7ad6b7169203331",
        "8448eb211c80319c-b7ad6b7169203331-0",
    ];
    (*TEXTS.choose(rng).unwrap()).to_owned()
}

fn name(rng: &mut SmallRng) -> String {
    const NAMES: &[&str] = &[
        "authorization",
        "Authorization",
        "content-type",
        "accept",
        "accept-language",
        "traceparent",
        "tracestate",
        "b3",
        "x-b3-traceid",
        "x-b3-spanid",
        "x-b3-sampled",
        "X-B3-Flags",
        "x-request-id",
        "x-stagedoor-debug",
        "x-reason",
        "x-other",
        "cookie",
    ];
    (*NAMES.choose(rng).unwrap()).to_owned()
}

fn some<T>(rng: &mut SmallRng, make: impl FnOnce(&mut SmallRng) -> T) -> Option<T> {
    rng.random_bool(0.8).then(|| make(rng))
}

fn peer(rng: &mut SmallRng) -> Peer {
    let address = some(rng, |rng| Address {
        address: Some(if rng.random() {
            address::Address::Pipe(Pipe { path: text(rng) })
        } else {
            address::Address::SocketAddress(SocketAddress {
                protocol: rng.random_range(0..3),
                address: text(rng),
                port_specifier: Some(if rng.random() {
                    socket_address::PortSpecifier::PortValue(rng.random())
                } else {
                    socket_address::PortSpecifier::NamedPort(text(rng))
                }),
            })
        }),
    });
    Peer {
        address,
        service: text(rng),
        labels: some(rng, |rng| HashMap::from([(text(rng), text(rng))])).unwrap_or_default(),
        principal: text(rng),
        certificate: text(rng),
    }
}

fn check(rng: &mut SmallRng) -> CheckRequest {
    let count = rng.random_range(0..6);
    let (headers, header_map) = if rng.random() {
        let headers = (0..count)
            .map(|_| {
                let raw: bool = rng.random_bool(0.9);
                let bytes = if rng.random_bool(0.1) { vec![b'a', 0xff] } else { text(rng).into() };
                HeaderValue {
                    key: name(rng),
                    value: if raw { String::new() } else { text(rng) },
                    raw_value: if raw { bytes.into() } else { Default::default() },
                }
            })
            .collect();
        (HashMap::new(), Some(HeaderMap { headers }))
    } else {
        let headers = (0..count).map(|_| (name(rng), text(rng))).collect();
        (headers, some(rng, |_| HeaderMap::default()))
    };
    let http = some(rng, |rng| HttpRequest {
        id: text(rng),
        method: text(rng),
        headers,
        path: text(rng),
        host: text(rng),
        scheme: text(rng),
        query: text(rng),
        fragment: text(rng),
        size: rng.random(),
        protocol: text(rng),
        body: text(rng),
        raw_body: vec![0xff; rng.random_range(0..3)].into(),
        header_map,
    });
    let time = some(rng, |rng| prost_types::Timestamp { seconds: rng.random(), nanos: 1 });
    CheckRequest {
        attributes: some(rng, |rng| AttributeContext {
            source: some(rng, peer),
            destination: some(rng, peer),
            request: some(rng, |_| Request { time, http }),
            context_extensions: (0..rng.random_range(0..3))
                .map(|_| (name(rng), text(rng)))
                .collect(),
            metadata_context: some(rng, |_| Metadata::default()),
            tls_session: some(rng, |rng| TlsSession { sni: text(rng) }),
            route_metadata_context: None,
        }),
    }
}

fn sorted(mut request: domain::Request<'_>) -> domain::Request<'_> {
    request.context_extensions.sort_unstable();
    request
}

/// On every message, whole or broken, what is read is what the generated types read; and of
/// what is whole, most is read here.
#[test]
fn what_is_read_is_what_the_generated_types_read() {
    let mut rng = SmallRng::seed_from_u64(0x57a9_ed00);
    let (mut read_here, mut whole, mut refused) = (0, 0, 0);
    for _ in 0..200_000 {
        let mut message = check(&mut rng).encode_to_vec();
        let broken = rng.random_bool(0.5) && !message.is_empty();
        if broken {
            for _ in 0..rng.random_range(1..4) {
                let at = rng.random_range(0..message.len());
                match rng.random_range(0..4) {
                    0 => message[at] = rng.random(),
                    1 => message[at] ^= 1 << rng.random_range(0..8),
                    2 => message.truncate(at.max(1)),
                    // A message twice over is merged.
                    _ => message.extend_from_within(at..),
                }
            }
        }
        let reference = CheckRequest::decode(message.as_slice());
        if let Some(borrowed) = read(&message, REASON) {
            let reference = reference.as_ref().expect("what is read is a message");
            assert_eq!(borrowed.map(sorted), request(reference, REASON).map(sorted));
            read_here += usize::from(!broken);
        }
        whole += usize::from(!broken);
        refused += usize::from(reference.is_err());
    }
    assert!(read_here > whole / 2, "{read_here} of {whole}");
    assert!(refused > 10_000, "{refused}");
}

/// As Envoy sends it with the configurations in `envoy/`.
#[test]
fn what_envoy_sends_is_read_here() {
    let header = |key: &str, value: &str| HeaderValue {
        key: key.to_owned(),
        value: String::new(),
        raw_value: value.as_bytes().to_vec().into(),
    };
    let socket = |port| Address {
        address: Some(address::Address::SocketAddress(SocketAddress {
            protocol: 0,
            address: "127.0.0.1".to_owned(),
            port_specifier: Some(socket_address::PortSpecifier::PortValue(port)),
        })),
    };
    let peer = |port| Peer { address: Some(socket(port)), ..Peer::default() };
    let message = CheckRequest {
        attributes: Some(AttributeContext {
            source: Some(peer(4711)),
            destination: Some(peer(8080)),
            request: Some(Request {
                time: Some(prost_types::Timestamp { seconds: 1_800_000_000, nanos: 7 }),
                http: Some(HttpRequest {
                    id: "4711".to_owned(),
                    method: "GET".to_owned(),
                    path: "/v1/orders?x=1".to_owned(),
                    host: "payments.example.com".to_owned(),
                    scheme: "https".to_owned(),
                    size: -1,
                    protocol: "HTTP/1.1".to_owned(),
                    header_map: Some(HeaderMap {
                        headers: vec![
                            header("authorization", "Bearer a.b.c"),
                            header("accept", "*/*"),
                            header("x-request-id", "b1"),
                        ],
                    }),
                    ..HttpRequest::default()
                }),
            }),
            metadata_context: Some(Metadata::default()),
            route_metadata_context: Some(Metadata::default()),
            ..AttributeContext::default()
        }),
    }
    .encode_to_vec();
    let read = read(&message, REASON).expect("read here").expect("a request");
    assert_eq!(read.credentials, domain::Credentials::One("Bearer a.b.c".into()));
    assert_eq!((read.method, read.host), ("GET", "payments.example.com"));
    assert_eq!(read.request_id.as_deref(), Some("b1"));
}

/// Whatever the lengths, what is written from the back reads from the front.
#[test]
fn what_is_written_backwards_is_a_message() {
    for capacity in [0, 1, 7, 100, 100_000] {
        for length in [0, 1, 127, 128, 300, 16_383, 16_384, 70_000] {
            let long = "x".repeat(length);
            let mut out = Back::with_capacity(capacity);
            out.message(1, |out| {
                out.message(2, |out| {
                    out.text(2, &long);
                    out.text(1, "name");
                });
                out.number(1, u64::MAX);
            });
            assert_eq!(out.len(), out.clone().finish().len());
            // `google.rpc.Status` has no such fields; any message reads like this.
            let bytes = out.finish();
            let mut outer = reader::Reader::new(&bytes);
            let field = outer.next().unwrap().unwrap();
            assert!(outer.next().unwrap().is_none());
            let mut inner = field.value.message().unwrap();
            let number = inner.next().unwrap().unwrap();
            assert_eq!((field.number, number.number), (1, 1));
            number.value.number().unwrap();
            let mut header = inner.next().unwrap().unwrap().value.message().unwrap();
            assert_eq!(header.next().unwrap().unwrap().value.text().unwrap(), "name");
            assert_eq!(header.next().unwrap().unwrap().value.text().unwrap(), long);
        }
    }
}
