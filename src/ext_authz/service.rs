//! The service that Envoy calls.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::FutureExt as _;
use http::HeaderMap;
use http::request::Parts;
use http_body_util::Full;
use prost::Message as _;
use tonic::{Response, Status};

use super::answer::Answer;
use super::over_http::{Dialect, respond};
use super::pressure::{Missed, Pressure};
use super::proto::envoy::service::auth::v3::{
    CheckRequest, CheckResponse, authorization_server::Authorization,
};
use super::reply::Reply;
use super::request::{join_call, over_http, request};
use super::settings::{CheckSettings, IdentityHeaders};
use super::wire;
use super::within::within;
use crate::authorizer::Decide;
use crate::clock::Now;
use crate::domain::{Decision, Denial, Reason, Request};

/// Told about each decision, when the reply is made and before it is sent. Must
/// not block.
pub trait Record: Send + Sync + 'static {
    /// A decision was made.
    fn decided(&self, decided: Decided<'_>);
}

/// A decision and its circumstances.
#[derive(Debug)]
pub struct Decided<'a> {
    /// The decision.
    pub decision: Decision,
    /// The request, unless there was nothing to read.
    pub request: Option<&'a Request<'a>>,
    /// The HTTP status that the client gets; 200 for an allow.
    pub status: u16,
    /// When the check began.
    pub started: SystemTime,
    /// How long it took.
    pub took: Duration,
}

/// `envoy.service.auth.v3.Authorization`. Cheap to clone; every clone answers alike.
pub struct CheckService<D> {
    /// Loaded once a request: it is decided and answered by one configuration, whatever takes
    /// its place meanwhile.
    shared: Arc<ArcSwap<Shared<D>>>,
}

impl<D> Clone for CheckService<D> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<D> fmt::Debug for CheckService<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckService").finish_non_exhaustive()
    }
}

/// What decided before another took its place.
pub struct Replaced<D>(Arc<Shared<D>>);

impl<D> Replaced<D> {
    /// Whether a request that began by it still goes on.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
}

struct Shared<D> {
    decider: D,
    answer: Answer,
    settings: CheckSettings,
    pressure: Arc<Pressure>,
    record: Arc<dyn Record>,
}

impl<D: Decide> CheckService<D> {
    /// A service that decides by `decider` and tells `record`.
    pub fn new(
        decider: D,
        answer: Answer,
        settings: CheckSettings,
        record: Box<dyn Record>,
    ) -> Self {
        let pressure = Arc::new(Pressure::new(settings.max_concurrent, settings.queue_timeout));
        let record = Arc::from(record);
        let shared = Shared { decider, answer, settings, pressure, record };
        Self { shared: Arc::new(ArcSwap::from_pointee(shared)) }
    }

    /// Decides and answers like this from now on. Whatever was begun ends as it began. What
    /// comes back is what decided before, for when nobody uses it any more.
    pub fn replace(&self, decider: D, answer: Answer, settings: CheckSettings) -> Replaced<D> {
        let before = self.shared.load_full();
        let CheckSettings { max_concurrent, queue_timeout, .. } = settings;
        let pressure = before.pressure.following(max_concurrent, queue_timeout);
        let record = Arc::clone(&before.record);
        self.shared.store(Arc::new(Shared { decider, answer, settings, pressure, record }));
        Replaced(before)
    }

    /// What bounds the calls that wait, as of now.
    #[must_use]
    pub fn pressure(&self) -> Arc<Pressure> {
        Arc::clone(&self.shared.load().pressure)
    }

    /// Decides one check as of `now`: whatever happens, the outcome is a reply.
    pub async fn reply(&self, check: &CheckRequest, now: Now) -> Reply {
        let shared = self.shared.load();
        let request = request(check, &shared.settings.justification_header);
        shared.reply(request.as_ref().ok_or(NO_HTTP), SystemTime::now(), now).await
    }

    /// Decides the check that a message asks for. What comes back is a gRPC message in its
    /// frame, whatever happens.
    ///
    /// # Errors
    /// It is no `CheckRequest`.
    pub async fn answer(&self, message: &[u8]) -> Result<Bytes, prost::DecodeError> {
        self.answer_call(&HeaderMap::new(), message).await
    }

    /// As [`CheckService::answer`], of a call with these headers of its own.
    ///
    /// # Errors
    /// It is no `CheckRequest`.
    pub async fn answer_call(
        &self,
        call: &HeaderMap,
        message: &[u8],
    ) -> Result<Bytes, prost::DecodeError> {
        let started = SystemTime::now();
        let now = Now::of(started);
        let shared = self.shared.load();
        let justification = &shared.settings.justification_header;
        let mut read = match wire::read(message, justification) {
            Some(read) => read,
            None => {
                let check = CheckRequest::decode(message)?;
                let reply = async {
                    let mut request = request(&check, justification);
                    if let Some(request) = &mut request {
                        join_call(request, call);
                    }
                    shared.reply(request.as_ref().ok_or(NO_HTTP), started, now).await
                };
                return Ok(Box::pin(guarded(reply)).await.into_frame());
            }
        };
        if let Some(request) = &mut read {
            join_call(request, call);
        }
        let reply = guarded(shared.reply(read.as_ref().ok_or(NO_HTTP), started, now)).await;
        Ok(reply.into_frame())
    }

    /// Decides what a proxy asks over HTTP, and answers in its dialect.
    pub(super) async fn answer_http(
        &self,
        asked: &Parts,
        dialect: &Dialect,
    ) -> http::Response<Full<Bytes>> {
        let started = SystemTime::now();
        let now = Now::of(started);
        let shared = self.shared.load();
        let justification = &shared.settings.justification_header;
        let request =
            dialect.line(asked).map(|line| over_http(line, &asked.headers, justification));
        let request = request.as_ref().map_err(String::as_str);
        let reply = guarded(shared.reply(request, started, now)).await;
        respond(reply, shared.answer.names(), dialect)
    }

    /// The names of the identity headers.
    pub(super) fn names(&self) -> IdentityHeaders {
        self.shared.load().answer.names().clone()
    }
}

/// Why there is nothing to decide about.
const NO_HTTP: &str = "the request has no HTTP attributes";

/// Making the reply, or its record, could have a defect as well.
fn guarded(reply: impl Future<Output = Reply>) -> impl Future<Output = Reply> {
    AssertUnwindSafe(reply).catch_unwind().map(Result::unwrap_or_default)
}

impl<D: Decide> Shared<D> {
    /// The reply to a request, or to what is none, with why.
    async fn reply(
        &self,
        request: Result<&Request<'_>, &str>,
        started: SystemTime,
        now: Now,
    ) -> Reply {
        let mut decision = match request {
            Ok(request) => self.decide(request, now).await,
            Err(cause) => self.deny(Reason::RequestMalformed, cause),
        };
        let request = request.ok();
        let mut took = now.instant.elapsed();
        // Evaluation doesn't yield, so a timer can't end it: an answer that comes too
        // late for Envoy is a denial, even if it would have been an allow.
        if took > self.settings.deadline && decision.is_allow() {
            decision = self.deny(Reason::Timeout, "the decision came after its deadline");
        }
        let mut reply = Reply::of(&decision, &self.answer, request);
        if let Some(request) = request.filter(|request| request.debug) {
            took = now.instant.elapsed();
            // Seldom asked for, and large: not a part of every request's future.
            if let Some(explanation) = Box::pin(self.explain(request, &decision, now)).await {
                reply = Reply::explained(&decision, &self.answer, Some(request), &explanation);
            }
        }
        let status = reply.status();
        self.record.decided(Decided { decision, request, status, started, took });
        reply
    }

    async fn decide(&self, request: &Request<'_>, now: Now) -> Decision {
        let decision = AssertUnwindSafe(self.decider.decide(request, now)).catch_unwind();
        match self.pressure.in_turn(self.settings.deadline, decision).await {
            Ok(Ok(decision)) => decision,
            Ok(Err(panic)) => self.deny(Reason::Internal, cause(panic.as_ref())),
            Err(Missed::Turn) => {
                self.deny(Reason::Overloaded, "as many checks as may were waiting")
            }
            Err(Missed::Deadline) => self.deny(Reason::Timeout, "the decision missed its deadline"),
        }
    }

    /// The explanation that the caller asked for, where they may have it and there is time.
    /// Whatever becomes of it, the decision stands.
    async fn explain(
        &self,
        request: &Request<'_>,
        decision: &Decision,
        now: Now,
    ) -> Option<String> {
        let left = self.settings.deadline.saturating_sub(now.instant.elapsed());
        let explanation = self.decider.explain(request, decision, now);
        let explanation = AssertUnwindSafe(explanation).catch_unwind();
        serde_json::to_string(&within(left, explanation).await?.ok()??).ok()
    }

    fn deny(&self, reason: Reason, detail: &str) -> Decision {
        self.decider.deny(Denial::with_detail(reason, detail))
    }
}

/// What a panic says of itself.
fn cause(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without a message")
}

#[tonic::async_trait]
impl<D: Decide> Authorization for CheckService<D> {
    async fn check(
        &self,
        request: tonic::Request<CheckRequest>,
    ) -> Result<Response<CheckResponse>, Status> {
        let check = request.into_inner();
        Ok(Response::new(guarded(self.reply(&check, Now::read())).await.into_message()))
    }
}
