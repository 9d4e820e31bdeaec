//! Our own ext_authz messages against Envoy's complete ones (`envoy-types`): what
//! they encode we decode, and the reverse, field by field and by name.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use envoy_types::pb::envoy as theirs;
use envoy_types::pb::google as their_google;
use prost::Message;
use prost_types::value::Kind;
use stagedoor::ext_authz::proto as ours_root;
use stagedoor::ext_authz::proto::envoy as ours;

/// Decodes `from` as the other side's type.
fn over<T: Message + Default>(from: &impl Message) -> T {
    T::decode(from.encode_to_vec().as_slice()).expect("the other side's bytes decode")
}

fn map(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

mod their_request {
    use super::*;
    use their_google::protobuf::{Any, Struct, Timestamp, Value, value};
    use theirs::config::core::v3::{
        Address, HeaderMap, HeaderValue, Metadata, Pipe, SocketAddress, address, socket_address,
    };
    use theirs::service::auth::v3::attribute_context::{HttpRequest, Peer, Request, TlsSession};
    use theirs::service::auth::v3::{AttributeContext, CheckRequest};

    /// A request with every field set that Stagedoor reads, each to a value of its own.
    pub(crate) fn full() -> CheckRequest {
        let text = |text: &str| Value { kind: Some(value::Kind::StringValue(text.to_owned())) };
        let metadata = |name: &str| Metadata {
            filter_metadata: HashMap::from([(
                name.to_owned(),
                Struct {
                    fields: HashMap::from([("sub".to_owned(), text("ada"))]).into_iter().collect(),
                },
            )]),
            typed_filter_metadata: HashMap::from([(
                name.to_owned(),
                Any { type_url: "t".to_owned(), value: b"v".to_vec() },
            )]),
        };
        let socket = |address: &str, port_specifier| Address {
            address: Some(address::Address::SocketAddress(SocketAddress {
                protocol: socket_address::Protocol::Udp.into(),
                address: address.to_owned(),
                port_specifier: Some(port_specifier),
                ..Default::default()
            })),
        };
        CheckRequest {
            attributes: Some(AttributeContext {
                source: Some(Peer {
                    address: Some(socket(
                        &Ipv4Addr::LOCALHOST.to_string(),
                        socket_address::PortSpecifier::PortValue(4711),
                    )),
                    service: "source-service".to_owned(),
                    labels: map(&[("app", "web")]),
                    principal: "spiffe://cluster.local/ns/web/sa/web".to_owned(),
                    certificate: "source-certificate".to_owned(),
                }),
                destination: Some(Peer {
                    address: Some(Address {
                        address: Some(address::Address::Pipe(Pipe {
                            path: "/run/up.sock".to_owned(),
                            mode: 0,
                        })),
                    }),
                    principal: "spiffe://cluster.local/ns/pay/sa/pay".to_owned(),
                    ..Default::default()
                }),
                request: Some(Request {
                    time: Some(Timestamp { seconds: 17, nanos: 19 }),
                    http: Some(HttpRequest {
                        id: "id".to_owned(),
                        method: "POST".to_owned(),
                        headers: map(&[("authorization", "Bearer a.b.c")]),
                        path: "/v1/orders?a=b".to_owned(),
                        host: "payments.example.com".to_owned(),
                        scheme: "https".to_owned(),
                        query: "query".to_owned(),
                        fragment: "fragment".to_owned(),
                        size: -1,
                        protocol: "HTTP/2".to_owned(),
                        body: "body".to_owned(),
                        raw_body: b"\xffraw".to_vec(),
                        header_map: Some(HeaderMap {
                            headers: vec![HeaderValue {
                                key: "authorization".to_owned(),
                                value: "text".to_owned(),
                                raw_value: b"\xfe".to_vec(),
                            }],
                        }),
                    }),
                }),
                context_extensions: map(&[("entity", "component:default/payments")]),
                metadata_context: Some(metadata("envoy.filters.http.jwt_authn")),
                route_metadata_context: Some(metadata("route")),
                tls_session: Some(TlsSession { sni: "sni.example.com".to_owned() }),
            }),
        }
    }
}

#[test]
fn what_they_ask_we_read() {
    let theirs = their_request::full();
    let check: ours::service::auth::v3::CheckRequest = over(&theirs);
    let attributes = check.attributes.clone().unwrap();

    let source = attributes.source.unwrap();
    assert_eq!(source.service, "source-service");
    assert_eq!(source.labels, map(&[("app", "web")]));
    assert_eq!(source.principal, "spiffe://cluster.local/ns/web/sa/web");
    assert_eq!(source.certificate, "source-certificate");
    let Some(ours::config::core::v3::address::Address::SocketAddress(socket)) =
        source.address.unwrap().address
    else {
        panic!("a socket address")
    };
    assert_eq!((socket.protocol, socket.address.as_str()), (1, "127.0.0.1"));
    assert_eq!(
        socket.port_specifier,
        Some(ours::config::core::v3::socket_address::PortSpecifier::PortValue(4711))
    );
    let destination = attributes.destination.unwrap();
    assert_eq!(destination.principal, "spiffe://cluster.local/ns/pay/sa/pay");
    let Some(ours::config::core::v3::address::Address::Pipe(pipe)) =
        destination.address.unwrap().address
    else {
        panic!("a pipe")
    };
    assert_eq!(pipe.path, "/run/up.sock");

    let request = attributes.request.unwrap();
    assert_eq!(request.time, Some(prost_types::Timestamp { seconds: 17, nanos: 19 }));
    let http = request.http.unwrap();
    assert_eq!(http.id, "id");
    assert_eq!(http.method, "POST");
    assert_eq!(http.headers, map(&[("authorization", "Bearer a.b.c")]));
    assert_eq!(http.path, "/v1/orders?a=b");
    assert_eq!(http.host, "payments.example.com");
    assert_eq!(http.scheme, "https");
    assert_eq!(http.query, "query");
    assert_eq!(http.fragment, "fragment");
    assert_eq!(http.size, -1);
    assert_eq!(http.protocol, "HTTP/2");
    assert_eq!(http.body, "body");
    assert_eq!(&http.raw_body[..], b"\xffraw");
    let header = http.header_map.unwrap().headers.remove(0);
    assert_eq!((header.key.as_str(), header.value.as_str()), ("authorization", "text"));
    assert_eq!(&header.raw_value[..], b"\xfe");

    assert_eq!(attributes.context_extensions, map(&[("entity", "component:default/payments")]));
    assert_eq!(attributes.tls_session.unwrap().sni, "sni.example.com");
    for (metadata, name) in [
        (attributes.metadata_context.unwrap(), "envoy.filters.http.jwt_authn"),
        (attributes.route_metadata_context.unwrap(), "route"),
    ] {
        let value = metadata.filter_metadata[name].fields["sub"].kind.clone();
        assert_eq!(value, Some(Kind::StringValue("ada".to_owned())));
        assert_eq!(metadata.typed_filter_metadata[name].type_url, "t");
    }

    // And nothing of it is lost on the way back.
    assert_eq!(over::<envoy_types::pb::envoy::service::auth::v3::CheckRequest>(&check), theirs);
}

/// The two replies with every field set that Stagedoor writes.
#[allow(deprecated)] // the deprecated field must have the right number as well
fn our_replies() -> Vec<ours::service::auth::v3::CheckResponse> {
    use ours::config::core::v3::header_value_option::HeaderAppendAction;
    use ours::config::core::v3::{HeaderValue, HeaderValueOption, QueryParameter};
    use ours::service::auth::v3::check_response::HttpResponse;
    use ours::service::auth::v3::{CheckResponse, DeniedHttpResponse, OkHttpResponse};

    let header = |key: &str| HeaderValueOption {
        header: Some(HeaderValue {
            key: key.to_owned(),
            value: "value".to_owned(),
            raw_value: b"raw"[..].into(),
        }),
        append: Some(true),
        append_action: HeaderAppendAction::OverwriteIfExists.into(),
        keep_empty_value: true,
    };
    let parameter = QueryParameter { key: "key".to_owned(), value: "value".to_owned() };
    let text = prost_types::Value { kind: Some(Kind::StringValue("v".to_owned())) };
    let metadata =
        prost_types::Struct { fields: [("decision_id".to_owned(), text)].into_iter().collect() };
    let response = |code, http_response| CheckResponse {
        status: Some(ours_root::google::rpc::Status {
            code,
            message: "message".to_owned(),
            details: vec![prost_types::Any { type_url: "t".to_owned(), value: b"v".to_vec() }],
        }),
        http_response: Some(http_response),
        dynamic_metadata: Some(metadata.clone()),
    };
    let denied = DeniedHttpResponse {
        status: Some(ours::r#type::v3::HttpStatus { code: 403 }),
        headers: vec![header("www-authenticate")],
        body: "body".to_owned(),
    };
    let ok = OkHttpResponse {
        headers: vec![header("x-stagedoor-subject")],
        dynamic_metadata: Some(metadata.clone()),
        headers_to_remove: vec!["authorization".to_owned()],
        response_headers_to_add: vec![header("x-response")],
        query_parameters_to_set: vec![parameter],
        query_parameters_to_remove: vec!["token".to_owned()],
    };
    vec![
        response(7, HttpResponse::DeniedResponse(denied.clone())),
        response(0, HttpResponse::OkResponse(ok)),
        response(14, HttpResponse::ErrorResponse(denied)),
    ]
}

#[test]
#[allow(deprecated)] // as above
fn what_we_answer_they_read() {
    use theirs::service::auth::v3::CheckResponse;
    use theirs::service::auth::v3::check_response::HttpResponse;

    let replies = our_replies();
    for reply in &replies {
        let read: CheckResponse = over(reply);
        assert_eq!(&over::<ours::service::auth::v3::CheckResponse>(&read), reply);
        let status = read.status.unwrap();
        assert_eq!(status.message, "message");
        assert_eq!(status.details[0].type_url, "t");
        let metadata = read.dynamic_metadata.unwrap();
        assert!(metadata.fields.contains_key("decision_id"));
    }

    let denied: CheckResponse = over(&replies[0]);
    assert_eq!(denied.status.unwrap().code, 7);
    let Some(HttpResponse::DeniedResponse(denied)) = denied.http_response else {
        panic!("a denied response")
    };
    assert_eq!(denied.status.unwrap().code, theirs::r#type::v3::StatusCode::Forbidden as i32);
    assert_eq!(denied.body, "body");
    let option = &denied.headers[0];
    let header = option.header.as_ref().unwrap();
    assert_eq!((header.key.as_str(), header.value.as_str()), ("www-authenticate", "value"));
    assert_eq!(header.raw_value, b"raw");
    assert_eq!(option.append.map(|append| append.value), Some(true));
    assert_eq!(
        option.append_action(),
        theirs::config::core::v3::header_value_option::HeaderAppendAction::OverwriteIfExists
    );
    assert!(option.keep_empty_value);

    let ok: CheckResponse = over(&replies[1]);
    let Some(HttpResponse::OkResponse(ok)) = ok.http_response else { panic!("an ok response") };
    assert_eq!(ok.headers[0].header.as_ref().unwrap().key, "x-stagedoor-subject");
    assert_eq!(ok.headers_to_remove, ["authorization"]);
    assert_eq!(ok.response_headers_to_add[0].header.as_ref().unwrap().key, "x-response");
    assert_eq!(ok.query_parameters_to_set[0].key, "key");
    assert_eq!(ok.query_parameters_to_set[0].value, "value");
    assert_eq!(ok.query_parameters_to_remove, ["token"]);
    assert!(ok.dynamic_metadata.is_some());

    let error: CheckResponse = over(&replies[2]);
    assert!(matches!(error.http_response, Some(HttpResponse::ErrorResponse(_))));
}

/// The names and numbers of the append actions and statuses are Envoy's.
#[test]
fn enumerations_agree() {
    use ours::config::core::v3::header_value_option::HeaderAppendAction as Ours;
    use theirs::config::core::v3::header_value_option::HeaderAppendAction as Theirs;
    for number in 0..4 {
        assert_eq!(
            Ours::try_from(number).unwrap().as_str_name(),
            Theirs::try_from(number).unwrap().as_str_name()
        );
    }
    for number in 0..600 {
        if let Ok(status) = ours::r#type::v3::StatusCode::try_from(number) {
            let their_status = theirs::r#type::v3::StatusCode::try_from(number).unwrap();
            assert_eq!(status.as_str_name(), their_status.as_str_name());
        }
    }
}

/// The service and method have Envoy's names.
#[test]
fn the_method_is_envoys() {
    let pool = prost_reflect::DescriptorPool::decode(ours_root::FILE_DESCRIPTOR_SET).unwrap();
    let service = pool.get_service_by_name("envoy.service.auth.v3.Authorization").unwrap();
    let method = service.methods().next().unwrap();
    assert_eq!(method.name(), "Check");
    assert_eq!(method.input().full_name(), "envoy.service.auth.v3.CheckRequest");
    assert_eq!(method.output().full_name(), "envoy.service.auth.v3.CheckResponse");
}
