//! Many Envoys and other peers that all come back at the same moment.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::rolling::{Answers, ask};
use crate::support::envoy::{Envoy, EnvoyConfig};
use crate::support::process::Process;
use crate::support::stack::{AUDIENCE, OTHERS, OWNERS, Options, reason, request};
use devtenant::service::Echo;
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{
    HttpRequest, Request as Attributes,
};
use envoy_types::pb::envoy::service::auth::v3::authorization_client::AuthorizationClient;
use envoy_types::pb::envoy::service::auth::v3::{
    AttributeContext, CheckRequest, CheckResponse, check_response::HttpResponse,
};
use futures_util::future::{join_all, try_join_all};
use stagedoor::serve::BoundAddress;
use tokio::net::UnixStream;
use tokio::time::{sleep, timeout};
use tonic::transport::{Channel, Endpoint};

const ENVOYS: usize = 8;
/// Connections of peers that are no Envoys, and take less of the machine.
const PEERS: usize = 300;
/// From the moment on that it is started again, until everybody is served: long enough for a
/// busy machine.
const SERVED_WITHIN: Duration = Duration::from_secs(60);
/// Longer than Stagedoor's own deadline.
const CHECK_TIMEOUT: Duration = Duration::from_secs(10);
/// Nobody is there, has no keys or catalog yet, or is asked too much at once.
const NOT_YET: [&str; 4] = ["503", "keys_unavailable", "catalog_unavailable", "overloaded"];

/// One who asks, and what they are told once all is well: the status, 200 for an allow.
struct Peer {
    client: AuthorizationClient<Channel>,
    check: CheckRequest,
    right: u32,
}

impl Peer {
    /// Over a connection of its own, again whenever that is gone.
    fn new(path: PathBuf, token: Option<&str>, right: u32) -> Self {
        let connect = tower::service_fn(move |_: http::Uri| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(hyper_util::rt::TokioIo::new) }
        });
        let channel =
            Endpoint::from_static("http://localhost").connect_with_connector_lazy(connect);
        let bearer = token.map(|token| ("authorization".to_owned(), format!("Bearer {token}")));
        let http = HttpRequest {
            method: "GET".to_owned(),
            host: "payments.example.com".to_owned(),
            path: "/v1/orders".to_owned(),
            headers: bearer.into_iter().collect(),
            ..HttpRequest::default()
        };
        let request = Attributes { http: Some(http), ..Attributes::default() };
        let attributes = AttributeContext { request: Some(request), ..AttributeContext::default() };
        let check = CheckRequest { attributes: Some(attributes) };
        Self { client: AuthorizationClient::new(channel), check, right }
    }

    /// Asks until the answer is right. Until then there is none, or that it can't be known yet.
    async fn served(&mut self) {
        loop {
            if let Ok(reply) = self.client.check(self.check.clone()).await {
                let status = status(&reply.into_inner());
                if status == self.right {
                    return;
                }
                assert_eq!(status, 503, "{} is right", self.right);
            }
            sleep(Duration::from_millis(20)).await;
        }
    }
}

/// What a reply makes of a request.
fn status(reply: &CheckResponse) -> u32 {
    let code = reply.status.as_ref().map(|status| status.code);
    match &reply.http_response {
        Some(HttpResponse::OkResponse(_)) if code == Some(0) => 200,
        Some(HttpResponse::DeniedResponse(denied)) if code != Some(0) => {
            denied.status.as_ref().unwrap().code.try_into().unwrap()
        }
        _ => panic!("no reply that is legal: {reply:?}"),
    }
}

/// An Envoy that asks at this socket.
async fn envoy(socket: &Path, upstream: &Echo) -> anyhow::Result<Envoy> {
    let config = EnvoyConfig::unix(socket, upstream.address());
    Envoy::start(config.check_timeout(CHECK_TIMEOUT)).await
}

/// Asks by way of an Envoy until it is told so.
async fn told(envoy: &Envoy, request: &[u8], right: &str) {
    loop {
        let answer = envoy.raw_http(request).await.unwrap();
        let told = match answer.status {
            200 => "200".to_owned(),
            status => reason(&answer).unwrap_or_else(|_| status.to_string()),
        };
        if told == right {
            return;
        }
        assert!(NOT_YET.contains(&told.as_str()), "{told} instead of {right}: {answer:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_come_back_at_once() {
    let mut process = Process::start(Options { unix: true, ..Options::default() }).await;
    let BoundAddress::Unix(socket) = process.address().await else { panic!("no Unix socket") };
    let upstream = Echo::start().await.unwrap();
    let envoys = try_join_all((0..ENVOYS).map(|_| envoy(&socket, &upstream))).await.unwrap();
    let token = |group: &str| process.tenant.token().audience(AUDIENCE).groups(&[group]).sign();
    let (owner, stranger) = (token(OWNERS), token(OTHERS));

    let peers = (0..PEERS).map(|number| {
        let (token, right) = match number % 3 {
            0 => (Some(owner.as_str()), 200),
            1 => (Some(stranger.as_str()), 403),
            _ => (None, 401),
        };
        Peer::new(socket.clone(), token, right)
    });
    let mut peers: Vec<Peer> = peers.collect();
    timeout(SERVED_WITHIN, join_all(peers.iter_mut().map(Peer::served))).await.unwrap();

    let (answers, over) = (Answers::default(), Arc::new(AtomicBool::new(false)));
    let callers =
        [("owner", Some(owner.clone())), ("stranger", Some(stranger.clone())), ("nobody", None)];
    let askers: Vec<_> = envoys
        .iter()
        .flat_map(|envoy| callers.clone().map(|(caller, token)| (envoy.address, caller, token)))
        .map(|(to, caller, token)| {
            tokio::spawn(ask(to, caller, token, Arc::clone(&answers), Arc::clone(&over)))
        })
        .collect();

    process.child.kill().await.unwrap();
    // It is really gone. It could be there again before anybody had asked. Each may still be
    // about to count one answer from before.
    let misses = || -> usize {
        let answers = answers.lock().unwrap();
        answers.iter().filter(|((_, answer), _)| answer == "503").map(|(_, count)| count).sum()
    };
    let before = misses() + askers.len();
    let missed = async {
        while misses() <= before {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SERVED_WITHIN, missed).await.expect("nobody misses it");
    process.start_again();
    let bearers = [&owner, &stranger].map(|token| format!("Bearer {token}"));
    let of = |bearer: Option<&str>| {
        let headers: Vec<_> = bearer.iter().map(|value| ("authorization", *value)).collect();
        request("GET", "payments.example.com", "/v1/orders", &headers)
    };
    let requests = [
        (of(Some(&bearers[0])), "200"),
        (of(Some(&bearers[1])), "not_permitted"),
        (of(None), "token_missing"),
    ];
    let by_envoys = envoys
        .iter()
        .flat_map(|envoy| requests.iter().map(move |(request, right)| told(envoy, request, right)));
    let all = async {
        tokio::join!(join_all(by_envoys), join_all(peers.iter_mut().map(Peer::served)));
    };
    timeout(SERVED_WITHIN, all).await.expect("somebody is not served yet");
    over.store(true, Ordering::Relaxed);
    for asker in askers {
        asker.await.unwrap();
    }

    // Nobody was told anything wrong at any time.
    let answers = answers.lock().unwrap();
    for (caller, answer) in answers.keys() {
        let right = match *caller {
            "owner" => "200",
            "stranger" => "not_permitted",
            _ => "token_missing",
        };
        assert!(answer == right || NOT_YET.contains(&answer.as_str()), "{answers:?}");
    }
    assert_eq!(upstream.count_of("stranger") + upstream.count_of("nobody"), 0);
}
