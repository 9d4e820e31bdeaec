//! What listens behind the HTTP listeners.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use http::Request;
use http::request::Parts;
use hyper::body::Incoming;

use super::Dialect;
use super::respond::{Answer, carried, refuse, respond};
use crate::authorizer::Decide;
use crate::domain::Reason;
use crate::ext_authz::endpoint::OnGuarded;
use crate::ext_authz::reply::Reply;
use crate::ext_authz::service::CheckService;
use crate::serve::{HttpAnswer, HttpService};

/// Where nginx has a denial told that it carries. What is asked on any other path is a
/// question; the proxy says which, and no client does.
const DENIAL_PATH: &str = "/denial";

/// Answers questions of one dialect.
pub struct HttpEndpoint<D, O> {
    check: CheckService<D>,
    observer: Arc<O>,
    dialect: Dialect,
}

impl<D, O> fmt::Debug for HttpEndpoint<D, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpEndpoint").field("dialect", &self.dialect).finish_non_exhaustive()
    }
}

impl<D: Decide, O: OnGuarded> HttpEndpoint<D, O> {
    /// Decides by `check`, and tells `observer` what could not be decided about.
    pub fn new(check: CheckService<D>, observer: Arc<O>, dialect: Dialect) -> Self {
        Self { check, observer, dialect }
    }

    /// The answer to one request; of its body nothing is read.
    pub async fn answer(&self, asked: &Parts) -> Answer {
        if self.dialect == Dialect::Nginx && asked.uri.path() == DENIAL_PATH {
            return carried(&asked.headers).unwrap_or_else(|cause| {
                self.observer.guarded(Reason::RequestMalformed, &cause);
                refuse(Reason::RequestMalformed)
            });
        }
        // A panic of the decision is caught where its record can be made.
        let answer = AssertUnwindSafe(self.check.answer_http(asked, &self.dialect)).catch_unwind();
        answer.await.unwrap_or_else(|_| {
            self.observer.guarded(Reason::Internal, "a panic outside of the decision");
            respond(Reply::denied(Reason::Internal), &self.check.names(), &self.dialect)
        })
    }
}

impl<D: Decide, O: OnGuarded> HttpService for HttpEndpoint<D, O> {
    fn call(self: Arc<Self>, request: Request<Incoming>) -> HttpAnswer {
        Box::pin(async move {
            let (asked, _unread) = request.into_parts();
            self.answer(&asked).await
        })
    }
}
