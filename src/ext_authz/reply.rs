//! The reply: one of two shapes, and a denial until proven otherwise.
//!
//! Envoy forwards a request on an empty `CheckResponse`, on code 0 beside a
//! `denied_response`, and on a gRPC error where its operator set
//! `failure_mode_allow`. So a [`Reply`] can be nothing but (code 0, `ok_response`)
//! or (another code, `denied_response` with a fitting status); it starts as the
//! latter, and only a [`Permit`] makes it the former.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use prost::Message as _;

use super::answer::Answer;
use super::denial::{PROBLEM, minimal};
use super::header::set;
use super::metadata::metadata;
use super::proto::envoy::service::auth::v3::{
    CheckResponse, DeniedHttpResponse, check_response::HttpResponse,
};
use super::proto::envoy::r#type::v3::HttpStatus;
use super::proto::google::rpc::Status;
use super::wire::Back;
use crate::domain::{Decision, Permit, Reason, Request, Verdict};

/// Carries the explanation of a decision to who asked for it and may know: JSON in base64.
pub(super) const EXPLANATION_HEADER: &str = "x-stagedoor-explanation";
/// Envoy takes 60 KiB of headers in all.
const MAX_EXPLANATION: usize = 24 * 1024;
/// Room for the answer to an allow with a long entity and a few policies, and for most
/// denials.
const ALLOW_BYTES: usize = 1280;
const DENIAL_BYTES: usize = 2560;

// Fields of `CheckResponse`.
const STATUS: u32 = 1;
const DENIED: u32 = 2;
const OK: u32 = 3;
const METADATA: u32 = 4;

/// A reply to one check, as it goes to Envoy.
#[derive(Clone, Debug)]
pub struct Reply {
    status: u16,
    /// A gRPC message with its frame: not compressed, then the length, then the message.
    frame: Bytes,
}

impl Default for Reply {
    /// What is sent where nothing else could be made.
    fn default() -> Self {
        Self::denied(Reason::Internal)
    }
}

impl Reply {
    /// A denial that tells the client its reason and nothing more.
    #[must_use]
    pub fn denied(reason: Reason) -> Self {
        let mut out = Back::with_capacity(DENIAL_BYTES);
        denial(&mut out, reason, |out| {
            out.text(3, &minimal(reason));
            set(out, 2, "content-type", PROBLEM);
            set(out, 2, "cache-control", "no-store");
        });
        Self::finish(reason.status(), out)
    }

    /// The reply to a decision about a request, if there was one to read: it says in which
    /// form and language the client would have a denial.
    #[must_use]
    pub fn of(decision: &Decision, answer: &Answer, request: Option<&Request<'_>>) -> Self {
        Self::write(decision, answer, request, None)
    }

    /// As [`Reply::of`], with the explanation of the decision, as JSON, for a caller who may
    /// know it.
    pub(super) fn explained(
        decision: &Decision,
        answer: &Answer,
        request: Option<&Request<'_>>,
        explanation: &str,
    ) -> Self {
        let value = match STANDARD.encode(explanation) {
            value if value.len() <= MAX_EXPLANATION => value,
            // Envoy refuses headers that are too large: better none of it than half.
            _ => "too-long".to_owned(),
        };
        Self::write(decision, answer, request, Some((EXPLANATION_HEADER, &value)))
    }

    fn write(
        decision: &Decision,
        answer: &Answer,
        request: Option<&Request<'_>>,
        explanation: Option<(&str, &str)>,
    ) -> Self {
        let mut id = [0; 36];
        let id = decision.id.write(&mut id);
        match &decision.verdict {
            Verdict::Allow(permit) => {
                let mut out = Back::with_capacity(ALLOW_BYTES);
                metadata(&mut out, METADATA, answer.metadata(), decision, id);
                allow(&mut out, permit, |out| answer.write_allow(out, decision, id, explanation));
                Self::finish(200, out)
            }
            Verdict::Deny(told) => {
                let mut out = Back::with_capacity(DENIAL_BYTES);
                metadata(&mut out, METADATA, answer.metadata(), decision, id);
                denial(&mut out, told.reason, |out| {
                    answer.write_denial(out, (decision, told), id, request, explanation);
                });
                Self::finish(told.reason.status(), out)
            }
        }
    }

    fn finish(status: u16, mut out: Back) -> Self {
        let length = u32::try_from(out.len()).unwrap_or_default();
        out.bytes(&length.to_be_bytes());
        out.bytes(&[0]);
        Self { status, frame: out.finish() }
    }

    /// The HTTP status that the client gets, or 200 for an allow.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The gRPC message for Envoy, with its frame.
    pub(super) fn into_frame(self) -> Bytes {
        self.frame
    }

    /// The message for Envoy.
    #[must_use]
    pub fn into_message(self) -> CheckResponse {
        let message = self.frame.get(FRAME..).unwrap_or_default();
        // What was written can be read; an empty message, which it would be otherwise, would
        // let the request through.
        CheckResponse::decode(message).unwrap_or_else(|_| unreadable())
    }
}

/// What gRPC puts before a message.
const FRAME: usize = 5;

fn unreadable() -> CheckResponse {
    let status = Some(HttpStatus { code: i32::from(Reason::Internal.status()) });
    let denied = DeniedHttpResponse { status, ..DeniedHttpResponse::default() };
    CheckResponse {
        status: Some(Status { code: code(Reason::Internal) as i32, ..Status::default() }),
        http_response: Some(HttpResponse::DeniedResponse(denied)),
        dynamic_metadata: None,
    }
}

/// The only way to an allow.
///
/// Envoy: code 0 forwards the request, with the headers changed, and adds what is to be added
/// to what the upstream answers.
fn allow(out: &mut Back, _permit: &Permit, ok: impl FnOnce(&mut Back)) {
    out.message(OK, ok);
    // Code 0 is not written, as protobuf has it; that there is a status is.
    out.message(STATUS, |_| {});
}

/// Envoy: any other code answers the client with this status, headers and body, whatever
/// `failure_mode_allow` says.
fn denial(out: &mut Back, reason: Reason, rest: impl FnOnce(&mut Back)) {
    out.message(DENIED, |out| {
        rest(out);
        out.message(1, |out| out.number(1, u64::from(reason.status())));
    });
    out.message(STATUS, |out| {
        out.text(2, reason.code());
        out.number(1, u64::try_from(code(reason) as i32).unwrap_or(DENIED_CODE));
    });
}

/// `PERMISSION_DENIED`.
const DENIED_CODE: u64 = 7;

/// The gRPC code beside a denial; never 0.
fn code(reason: Reason) -> tonic::Code {
    match reason.status() {
        400 => tonic::Code::InvalidArgument,
        401 => tonic::Code::Unauthenticated,
        503 => tonic::Code::Unavailable,
        _ => tonic::Code::PermissionDenied,
    }
}
