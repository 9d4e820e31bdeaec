//! What can't be read as a check is answered with a denial, never with a gRPC error:
//! an Envoy with `failure_mode_allow: true` would let the request through.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::reply::legal;
use bytes::Bytes;
use futures_util::StreamExt as _;
use http_body_util::{BodyExt as _, Full};
use prost::Message as _;
use stagedoor::authorizer::Decide;
use stagedoor::clock::Now;
use stagedoor::domain::{
    Decision, DecisionId, Denial, Notes, Owners, Principal, Reason, Request, Verdict, Versions,
};
use stagedoor::ext_authz::proto::envoy::service::auth::v3::{
    CheckResponse, check_response::HttpResponse,
};
use stagedoor::ext_authz::{
    Answer, AnswerSettings, CallLimits, CheckService, CheckSettings, Decided, Endpoint,
    IdentityHeaders, OnGuarded, Record,
};
use tonic::body::Body;

/// Denies everything it is asked.
struct Nobody;

impl Decide for Nobody {
    async fn decide(&self, _request: &Request<'_>, _now: Now) -> Decision {
        self.deny(Reason::NotPermitted.into())
    }

    fn deny(&self, denial: Denial) -> Decision {
        Decision {
            id: DecisionId::new(),
            verdict: Verdict::Deny(denial),
            principal: Principal::Anonymous,
            target: None,
            owners: Owners::new(),
            versions: Versions::default(),
            notes: Notes::default(),
        }
    }
}

#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<&'static str>>>);

impl Record for Seen {
    fn decided(&self, decided: Decided<'_>) {
        self.0.lock().unwrap().push(decided.decision.code());
    }
}

impl OnGuarded for Seen {
    fn guarded(&self, reason: Reason, _cause: &str) {
        self.0.lock().unwrap().push(reason.code());
    }
}

/// One gRPC message with its five bytes of frame.
fn frame(flag: u8, message: &[u8]) -> Vec<u8> {
    let mut frame = vec![flag];
    frame.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
    frame.extend_from_slice(message);
    frame
}

/// Sends a body to `Check` and decodes what comes back as Envoy would.
async fn check(body: Body, headers: &[(&str, &str)]) -> (CheckResponse, Vec<&'static str>) {
    let settings = CheckSettings {
        justification_header: "x-stagedoor-justification".to_owned(),
        max_concurrent: 10,
        queue_timeout: Duration::from_millis(10),
        deadline: Duration::from_secs(1),
    };
    let names = IdentityHeaders {
        subject: "x-subject".to_owned(),
        tenant: "x-tenant".to_owned(),
        kind: "x-kind".to_owned(),
        entity: "x-entity".to_owned(),
        decision_id: "x-decision-id".to_owned(),
    };
    let answer = Answer::new(AnswerSettings::new(names), None);
    let seen = Seen::default();
    let service = CheckService::new(Nobody, answer, settings, Box::new(seen.clone()));
    let limits = CallLimits { deadline: Duration::from_secs(2), max_message_bytes: 4096 };
    let others = tonic::service::Routes::default().prepare();
    let endpoint = Endpoint::new(service, Arc::new(seen.clone()), limits, others);
    let mut request = http::Request::post("/envoy.service.auth.v3.Authorization/Check")
        .header("content-type", "application/grpc");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(body).unwrap();
    let response = endpoint.answer(request).await;
    assert_eq!(response.status(), 200);
    let collected = response.into_body().collect().await.unwrap();
    assert_eq!(collected.trailers().unwrap()["grpc-status"], "0");
    let bytes = collected.to_bytes();
    let length = u32::from_be_bytes(bytes[1..5].try_into().unwrap());
    assert_eq!(bytes.len(), 5 + usize::try_from(length).unwrap());
    let seen = seen.0.lock().unwrap().clone();
    (CheckResponse::decode(&bytes[5..]).unwrap(), seen)
}

#[tokio::test]
async fn what_cannot_be_read_is_denied() {
    let large = frame(0, &[0; 5000]);
    let gzip: &[(&str, &str)] = &[("grpc-encoding", "gzip")];
    let none: &[(&str, &str)] = &[];
    let cases = [
        ("an empty check", frame(0, &[]), none),
        ("no message", Vec::new(), none),
        ("half a frame", vec![0, 0, 0], none),
        ("half a message", frame(0, &[0; 100])[..50].to_vec(), none),
        ("not protobuf", frame(0, b"\xff\xff\xff\xff"), none),
        ("a string that is not UTF-8", frame(0, &[10, 4, 82, 2, 10, 0, 10, 1, 255]), none),
        ("too large", large, none),
        ("compressed", frame(1, &[1, 2, 3]), gzip),
        ("an odd flag", frame(7, &[]), none),
        ("two messages", [frame(0, &[]), frame(0, &[])].concat(), none),
    ];
    let (status, code) = (400, "request_malformed");
    for (name, body, headers) in cases {
        let body = Body::new(Full::new(Bytes::from(body)));
        let (response, seen) = check(body, headers).await;
        assert_eq!(legal(&response), Ok(false), "{name}");
        let Some(HttpResponse::DeniedResponse(denied)) = response.http_response else {
            panic!("{name}: not a denial")
        };
        assert_eq!(denied.status.unwrap().code, status, "{name}");
        assert!(denied.body.contains(code), "{name}: {}", denied.body);
        assert_eq!(seen, [code], "{name}: on record once");
    }
}

/// Half a message, and then nothing: neither an answer nor an end of the stream.
#[tokio::test(start_paused = true)]
async fn what_never_arrives_is_denied() {
    let begun = tokio::time::Instant::now();
    let half = futures_util::stream::once(async {
        Ok::<_, tonic::Status>(hyper::body::Frame::data(Bytes::from(
            frame(0, &[0; 100])[..50].to_vec(),
        )))
    });
    let stream = half.chain(futures_util::stream::pending());
    let (response, seen) = check(Body::new(http_body_util::StreamBody::new(stream)), &[]).await;
    assert_eq!(begun.elapsed(), Duration::from_secs(2));
    assert_eq!(legal(&response), Ok(false));
    let Some(HttpResponse::DeniedResponse(denied)) = response.http_response else {
        panic!("not a denial")
    };
    assert_eq!(denied.status.unwrap().code, 503);
    assert_eq!(seen, ["timeout"], "on record once");
}
