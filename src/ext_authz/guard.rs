//! The last guard: no call of `Check` ends in a gRPC error.
//!
//! Envoy lets a request through on a gRPC error where its operator set
//! `failure_mode_allow`. tonic answers with one when a message can't be decoded, is
//! too large, or is compressed in a way it doesn't know; and a panic would reset
//! the stream. All of that becomes a denial here, in the legal shape.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Full, combinators::WithTrailers};
use prost::Message as _;
use tonic::body::Body;
use tower::Service;

use super::reply::Reply;
use crate::domain::Reason;

/// The method that is guarded.
const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";

/// Told about each denial that was made here, since no decision stands behind it.
pub trait OnGuarded: Send + Sync + 'static {
    /// A call was answered by the guard.
    fn guarded(&self, reason: Reason, cause: &str);
}

/// A service around the gRPC services that keeps errors of `Check` from Envoy.
#[derive(Debug)]
pub struct Guard<S, O> {
    inner: S,
    observer: Arc<O>,
    deadline: Duration,
}

impl<S: Clone, O> Clone for Guard<S, O> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            observer: Arc::clone(&self.observer),
            deadline: self.deadline,
        }
    }
}

impl<S, O> Guard<S, O> {
    /// Guards `inner`. A call that has no answer within `deadline` of its beginning
    /// is denied: the decision has a deadline of its own, but that begins when the
    /// whole message is there.
    pub fn new(inner: S, observer: Arc<O>, deadline: Duration) -> Self {
        Self { inner, observer, deadline }
    }
}

impl<S, O> Service<Request<Body>> for Guard<S, O>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send + 'static,
    O: OnGuarded,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if request.uri().path() != CHECK {
            return Box::pin(self.inner.call(request));
        }
        let observer = Arc::clone(&self.observer);
        // The one that was found ready is the one that is called.
        let ready = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, ready);
        // A panic of the call itself is caught like one of its future.
        let answer = async move { inner.call(request).await };
        let answer = AssertUnwindSafe(answer).catch_unwind();
        let answer = tokio::time::timeout(self.deadline, answer);
        Box::pin(async move {
            let response = match answer.await {
                Ok(Ok(Ok(response))) => response,
                Ok(Err(_)) => {
                    observer.guarded(Reason::Internal, "a panic outside of the decision");
                    return Ok(denial(Reason::Internal));
                }
                Err(_) => {
                    observer.guarded(Reason::Timeout, "the message did not arrive in time");
                    return Ok(denial(Reason::Timeout));
                }
            };
            // tonic answers an error of a unary call with headers alone, and the
            // status among them; an answer has its status in the trailers.
            if !response.headers().contains_key("grpc-status") {
                return Ok(response);
            }
            let cause = response.headers().get("grpc-message").map_or("", text);
            observer.guarded(Reason::RequestMalformed, cause);
            Ok(denial(Reason::RequestMalformed))
        })
    }
}

fn text(value: &HeaderValue) -> &str {
    value.to_str().unwrap_or("")
}

/// A complete gRPC response that carries a denial.
fn denial(reason: Reason) -> Response<Body> {
    let message = Reply::denied(reason).into_message();
    let mut frame = BytesMut::with_capacity(5 + message.encoded_len());
    // gRPC over HTTP/2: not compressed, then the length, then the message.
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.encoded_len()).unwrap_or_default());
    frame.extend_from_slice(&message.encode_to_vec());
    let body: WithTrailers<Full<Bytes>, _> =
        Full::new(frame.freeze()).with_trailers(std::future::ready(Some(Ok(trailers()))));
    let mut response = Response::new(Body::new(body));
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

fn trailers() -> HeaderMap {
    HeaderMap::from_iter([(
        http::HeaderName::from_static("grpc-status"),
        HeaderValue::from_static("0"),
    )])
}
