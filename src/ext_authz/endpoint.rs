//! What listens behind the gRPC port: `Check` itself, and the other services.
//!
//! Envoy lets a request through on a gRPC error where its operator set
//! `failure_mode_allow`. So no call of `Check` ends in one: what can't be read, is too large,
//! is compressed, comes too slowly, or meets a panic is answered by a denial, in the legal
//! shape.
//!
//! `Check` is answered on hyper's HTTP/2 as it is. A gRPC server in general needs more than
//! one message in and one out: what that costs for each call is more than a whole decision.

use std::future::poll_fn;
use std::mem;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::{Buf as _, Bytes, BytesMut};
use futures_util::FutureExt as _;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tonic::service::Routes;
use tower::ServiceExt as _;

use super::reply::Reply;
use super::service::CheckService;
use super::within::within;
use crate::authorizer::Decide;
use crate::domain::Reason;
use crate::serve::GrpcService;

/// The method that is answered here.
const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";
/// The longest piece that an answer is sent in. h2 gathers the frames that are shorter than
/// 1024 bytes, of many answers, and writes them at once.
const MAX_PIECE: usize = 1000;
/// gRPC puts a flag and a length before each message.
const PREFIX: usize = 5;

/// Told about each denial that was made here, since no decision stands behind it.
pub trait OnGuarded: Send + Sync + 'static {
    /// A call was answered without being decided about.
    fn guarded(&self, reason: Reason, cause: &str);
}

/// What a call of `Check` is held to before it can be decided about.
#[derive(Clone, Copy, Debug)]
pub struct CallLimits {
    /// A call that has no answer within this of its beginning is denied: the decision has a
    /// deadline of its own, but that begins when the whole message is there.
    pub deadline: Duration,
    /// The largest message that is read.
    pub max_message_bytes: usize,
}

/// The service of the gRPC port. Cheap to clone.
pub struct Endpoint<D, O> {
    shared: Arc<Shared<D, O>>,
}

struct Shared<D, O> {
    check: CheckService<D>,
    observer: Arc<O>,
    limits: ArcSwap<CallLimits>,
    others: Routes,
}

impl<D, O> Clone for Endpoint<D, O> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<D: Decide, O: OnGuarded> Endpoint<D, O> {
    /// Answers `Check` by `check`, and everything else by `others`.
    pub fn new(
        check: CheckService<D>,
        observer: Arc<O>,
        limits: CallLimits,
        others: Routes,
    ) -> Self {
        let limits = ArcSwap::from_pointee(limits);
        Self { shared: Arc::new(Shared { check, observer, limits, others }) }
    }

    /// Holds the calls that begin from now on to these limits.
    pub fn limit(&self, limits: CallLimits) {
        self.shared.limits.store(Arc::new(limits));
    }

    /// The answer to one request, of whatever method.
    pub async fn answer<B>(self, mut request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes, Error: Into<tonic::codegen::StdError>>,
        B: Send + Unpin + 'static,
    {
        if request.uri().path() == CHECK {
            let call = mem::take(request.headers_mut());
            return self.shared.check(call, request.into_body()).await;
        }
        let request = request.map(tonic::body::Body::new);
        match self.shared.others.clone().oneshot(request).await {
            Ok(response) => response.map(Body::Other),
            Err(never) => match never {},
        }
    }
}

impl<D: Decide, O: OnGuarded> GrpcService for Endpoint<D, O> {
    type Body = Body;

    fn call(
        self,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<Body>> + Send + 'static {
        self.answer(request)
    }
}

impl<D: Decide, O: OnGuarded> Shared<D, O> {
    async fn check<B>(&self, call: HeaderMap, body: B) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin,
    {
        let limits = **self.limits.load();
        let answer = async {
            let message = self.receive(body, limits.max_message_bytes).await?;
            let answer = self.check.answer_call(&call, &message).await;
            answer.map_err(|_| Unread::malformed("it is no `CheckRequest`"))
        };
        // A panic of the decision is caught where its record can be made.
        let answer = AssertUnwindSafe(answer).catch_unwind();
        let (reason, cause) = match within(limits.deadline, answer).await {
            Some(Ok(Ok(frame))) => return respond(frame),
            Some(Ok(Err(Unread { reason, cause }))) => (reason, cause),
            Some(Err(_)) => (Reason::Internal, "a panic outside of the decision"),
            None => (Reason::Timeout, "the message did not arrive in time"),
        };
        self.observer.guarded(reason, cause);
        respond(Reply::denied(reason).into_frame())
    }

    /// The message. Most are there as a whole; of the others so many may be on their way.
    async fn receive<B>(&self, body: B, limit: usize) -> Result<Bytes, Unread>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin,
    {
        let mut message = pin!(message(body, limit));
        let first = poll_fn(|context| Poll::Ready(message.as_mut().poll(context))).await;
        match first {
            Poll::Ready(message) => message,
            Poll::Pending => self.check.pressure().receive(message).await.unwrap_or(Err(Unread {
                reason: Reason::Overloaded,
                cause: "as many messages as may were on their way",
            })),
        }
    }
}

/// Why there is no message, for the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Unread {
    reason: Reason,
    cause: &'static str,
}

impl Unread {
    fn malformed(cause: &'static str) -> Self {
        Self { reason: Reason::RequestMalformed, cause }
    }
}

/// The one message of a unary call, without its frame. It is not copied where it came in one
/// piece, as it mostly does.
async fn message<B>(mut body: B, limit: usize) -> Result<Bytes, Unread>
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    let mut whole = Bytes::new();
    let mut parts = BytesMut::new();
    loop {
        let so_far: &[u8] = if parts.is_empty() { &whole } else { &parts };
        let wanted = wanted(so_far, limit)?;
        match wanted {
            Some(wanted) if so_far.len() > wanted => {
                return Err(Unread::malformed("more than one message"));
            }
            Some(wanted) if so_far.len() == wanted && body.is_end_stream() => break,
            _ => {}
        }
        let Some(frame) = body.frame().await else {
            if wanted == Some(so_far.len()) {
                break;
            }
            return Err(Unread::malformed(if so_far.is_empty() {
                "no message"
            } else {
                "half a message"
            }));
        };
        let frame = frame.map_err(|_| Unread::malformed("the message broke off"))?;
        // What else there may be are trailers, of which a request has none that matter.
        let Ok(data) = frame.into_data() else { continue };
        if whole.is_empty() && parts.is_empty() {
            whole = data;
        } else {
            if parts.is_empty() {
                parts.reserve(wanted.unwrap_or(PREFIX).max(whole.len() + data.len()));
                parts.extend_from_slice(&whole);
            }
            parts.extend_from_slice(&data);
        }
    }
    let mut message = if parts.is_empty() { whole } else { parts.freeze() };
    message.advance(PREFIX);
    Ok(message)
}

/// How long the message and its frame are, as soon as that can be told.
fn wanted(so_far: &[u8], limit: usize) -> Result<Option<usize>, Unread> {
    let Some((flag, rest)) = so_far.split_first() else { return Ok(None) };
    match flag {
        0 => {}
        1 => return Err(Unread::malformed("the message is compressed")),
        _ => return Err(Unread::malformed("what came is no gRPC message")),
    }
    let Some(length) = rest.first_chunk() else { return Ok(None) };
    match usize::try_from(u32::from_be_bytes(*length)) {
        Ok(length) if length <= limit => Ok(Some(length + PREFIX)),
        _ => Err(Unread::malformed("the message is too large")),
    }
}

/// A complete gRPC response.
fn respond(frame: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::Message(frame));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// The body of a response.
#[derive(Debug)]
pub enum Body {
    /// A message in its frame, and then the trailers.
    Message(Bytes),
    /// The trailers that say that all is well.
    Trailers,
    /// Nothing is left.
    End,
    /// Of another service.
    Other(tonic::body::Body),
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        let this = self.get_mut();
        Poll::Ready(match std::mem::replace(this, Self::End) {
            Self::Message(mut rest) => {
                let piece = rest.split_to(rest.len().min(MAX_PIECE));
                *this = if rest.is_empty() { Self::Trailers } else { Self::Message(rest) };
                Some(Ok(Frame::data(piece)))
            }
            Self::Trailers => Some(Ok(Frame::trailers(trailers()))),
            Self::End => None,
            Self::Other(mut body) => {
                let frame = Pin::new(&mut body).poll_frame(context);
                *this = Self::Other(body);
                return frame;
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Message(_) | Self::Trailers => false,
            Self::End => true,
            Self::Other(body) => body.is_end_stream(),
        }
    }
}

fn trailers() -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"));
    trailers
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// A body of these frames. It tells that it has ended with its last frame, or only where
    /// another one is asked for.
    struct Frames {
        frames: VecDeque<Result<Frame<Bytes>, &'static str>>,
        tells: bool,
    }

    impl http_body::Body for Frames {
        type Data = Bytes;
        type Error = &'static str;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
            Poll::Ready(self.frames.pop_front())
        }

        fn is_end_stream(&self) -> bool {
            self.tells && self.frames.is_empty()
        }
    }

    fn data(piece: &[u8]) -> Result<Frame<Bytes>, &'static str> {
        Ok(Frame::data(Bytes::copy_from_slice(piece)))
    }

    /// What is read of these frames, whichever way their end is told.
    fn read(
        frames: impl Fn() -> Vec<Result<Frame<Bytes>, &'static str>>,
    ) -> Result<Bytes, &'static str> {
        let [one, other] = [true, false].map(|tells| {
            let body = Frames { frames: frames().into(), tells };
            message(body, 10).now_or_never().expect("all is there").map_err(|unread| {
                assert_eq!(unread.reason, Reason::RequestMalformed);
                unread.cause
            })
        });
        assert_eq!(one, other);
        one
    }

    const WHOLE: &[u8] = b"\0\0\0\0\x03abc";

    #[test]
    fn a_message_is_whole_in_however_many_pieces() {
        let want = Ok(Bytes::from_static(b"abc"));
        for at in 0..=WHOLE.len() {
            let (one, other) = WHOLE.split_at(at);
            assert_eq!(read(|| vec![data(one), data(other)]), want, "cut at {at}");
            let trailers = || Ok(Frame::trailers(HeaderMap::new()));
            assert_eq!(read(|| vec![data(one), data(b""), data(other), trailers()]), want);
        }
        assert_eq!(read(|| WHOLE.iter().map(|byte| data(&[*byte])).collect()), want);
        assert_eq!(read(|| vec![data(b"\0\0\0\0\0")]), Ok(Bytes::new()));
    }

    #[test]
    fn what_is_no_message_is_told() {
        for (bytes, want) in [
            (&b""[..], "no message"),
            (b"\0\0\0", "half a message"),
            (b"\0\0\0\0\x03ab", "half a message"),
            (b"\0\0\0\0\x03abcd", "more than one message"),
            (b"\0\0\0\0\x0babc", "the message is too large"),
            (b"\x01\0\0\0\x03abc", "the message is compressed"),
            (b"\x02\0\0\0\x03abc", "what came is no gRPC message"),
        ] {
            assert_eq!(read(|| vec![data(bytes)]), Err(want), "{bytes:?}");
            assert_eq!(read(|| bytes.iter().map(|byte| data(&[*byte])).collect()), Err(want));
        }
        let (one, _) = WHOLE.split_at(6);
        assert_eq!(read(|| vec![data(one), Err("reset")]), Err("the message broke off"));
    }

    #[test]
    fn a_response_ends_with_its_trailers() {
        let message = Bytes::from(vec![7; MAX_PIECE + 1]);
        let mut body = respond(message).into_body();
        let (mut sizes, mut status) = (Vec::new(), None);
        while !http_body::Body::is_end_stream(&body) {
            assert!(status.is_none(), "nothing follows the trailers");
            let frame = body.frame().now_or_never().unwrap().unwrap().unwrap();
            match frame.into_data() {
                Ok(data) => sizes.push(data.len()),
                Err(frame) => {
                    status = Some(frame.into_trailers().unwrap()["grpc-status"].clone());
                }
            }
        }
        assert_eq!((sizes, status), (vec![MAX_PIECE, 1], Some(HeaderValue::from_static("0"))));
        assert!(body.frame().now_or_never().unwrap().is_none());
    }
}
