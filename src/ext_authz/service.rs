//! The service that Envoy calls.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::FutureExt as _;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tonic::{Response, Status};

use super::answer::Answer;
use super::proto::envoy::service::auth::v3::{
    CheckRequest, CheckResponse, authorization_server::Authorization,
};
use super::reply::Reply;
use super::request::request;
use super::settings::CheckSettings;
use crate::authorizer::Decide;
use crate::clock::Now;
use crate::domain::{Decision, Denial, Reason, Request};

/// Told about each decision, when the reply is made and before it is sent. Must
/// not block.
pub trait Record: Send + Sync + 'static {
    /// A decision was made.
    fn decided(&self, decided: &Decided<'_>);
}

/// A decision and its circumstances.
#[derive(Clone, Copy, Debug)]
pub struct Decided<'a> {
    /// The decision.
    pub decision: &'a Decision,
    /// The request, unless there was nothing to read.
    pub request: Option<&'a Request<'a>>,
    /// The HTTP status that the client gets; 200 for an allow.
    pub status: u16,
    /// When the check began.
    pub started: SystemTime,
    /// How long it took.
    pub took: Duration,
}

/// `envoy.service.auth.v3.Authorization`.
pub struct CheckService<D> {
    shared: Arc<Shared<D>>,
}

impl<D> Clone for CheckService<D> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

struct Shared<D> {
    decider: D,
    answer: Answer,
    settings: CheckSettings,
    turns: Semaphore,
    record: Box<dyn Record>,
}

impl<D: Decide> CheckService<D> {
    /// A service that decides by `decider` and tells `record`.
    pub fn new(
        decider: D,
        answer: Answer,
        settings: CheckSettings,
        record: Box<dyn Record>,
    ) -> Self {
        let turns = Semaphore::new(settings.max_concurrent);
        Self { shared: Arc::new(Shared { decider, answer, settings, turns, record }) }
    }

    /// Decides one check as of `now`: whatever happens, the outcome is a reply.
    pub async fn reply(&self, check: &CheckRequest, now: Now) -> Reply {
        let started = SystemTime::now();
        let shared = &*self.shared;
        let request = request(check, &shared.settings.justification_header);
        let mut decision = match &request {
            Some(request) => shared.decide(request, now).await,
            None => shared.deny(Reason::RequestMalformed, "the request has no HTTP attributes"),
        };
        // Evaluation doesn't yield, so a timer can't end it: an answer that comes too
        // late for Envoy is a denial, even if it would have been an allow.
        if now.instant.elapsed() > shared.settings.deadline && decision.is_allow() {
            decision = shared.deny(Reason::Timeout, "the decision came after its deadline");
        }
        let mut reply = Reply::of(&decision, &shared.answer, request.as_ref());
        shared.record.decided(&Decided {
            decision: &decision,
            request: request.as_ref(),
            status: reply.status(),
            started,
            took: now.instant.elapsed(),
        });
        if let Some(request) = request.as_ref().filter(|request| request.debug)
            && let Some(explanation) = shared.explain(request, &decision, now).await
        {
            reply.explain(&explanation);
        }
        reply
    }
}

impl<D: Decide> Shared<D> {
    async fn decide(&self, request: &Request<'_>, now: Now) -> Decision {
        let Some(_turn) = self.turn().await else {
            return self.deny(Reason::Overloaded, "no turn became free in time");
        };
        let left = self.settings.deadline.saturating_sub(now.instant.elapsed());
        let decision = AssertUnwindSafe(timeout(left, self.decider.decide(request, now)));
        match decision.catch_unwind().await {
            Ok(Ok(decision)) => decision,
            Ok(Err(_)) => self.deny(Reason::Timeout, "the decision missed its deadline"),
            Err(panic) => self.deny(Reason::Internal, cause(panic.as_ref())),
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
        let explanation = AssertUnwindSafe(timeout(left, explanation)).catch_unwind().await;
        serde_json::to_string(&explanation.ok()?.ok()??).ok()
    }

    /// Waits for a turn, for a short while.
    async fn turn(&self) -> Option<tokio::sync::SemaphorePermit<'_>> {
        if let Ok(turn) = self.turns.try_acquire() {
            return Some(turn);
        }
        timeout(self.settings.queue_timeout, self.turns.acquire()).await.ok()?.ok()
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
        // Making the reply could have a defect as well.
        let reply = AssertUnwindSafe(self.reply(&check, Now::read())).catch_unwind().await;
        Ok(Response::new(reply.unwrap_or_default().into_message()))
    }
}
