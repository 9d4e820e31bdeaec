//! The reply: one of two shapes, and a denial until proven otherwise.
//!
//! Envoy forwards a request on an empty `CheckResponse`, on code 0 beside a
//! `denied_response`, and on a gRPC error where its operator set
//! `failure_mode_allow`. So a [`Reply`] can be nothing but (code 0, `ok_response`)
//! or (another code, `denied_response` with a fitting status); it starts as the
//! latter, and only a [`Permit`] makes it the former.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::answer::{Answer, set};
use super::denial::{PROBLEM, minimal};
use super::metadata::metadata;
use super::proto::envoy::config::core::v3::HeaderValueOption;
use super::proto::envoy::service::auth::v3::{
    CheckResponse, DeniedHttpResponse, OkHttpResponse, check_response::HttpResponse,
};
use super::proto::envoy::r#type::v3::HttpStatus;
use super::proto::google::rpc::Status;
use super::warning::warnings;
use crate::domain::{Decision, Permit, Reason, Request, Verdict};

/// Carries the explanation of a decision to who asked for it and may know: JSON in base64.
const EXPLANATION_HEADER: &str = "x-stagedoor-explanation";
/// Envoy takes 60 KiB of headers in all.
const MAX_EXPLANATION: usize = 24 * 1024;

/// A reply to one check.
#[derive(Clone, Debug)]
pub struct Reply {
    shape: Shape,
    metadata: Option<prost_types::Struct>,
    /// For the client, with whatever the answer is.
    explanation: Option<HeaderValueOption>,
}

#[derive(Clone, Debug)]
enum Shape {
    Denied {
        reason: Reason,
        headers: Vec<HeaderValueOption>,
        body: String,
    },
    Allowed {
        headers: Vec<HeaderValueOption>,
        remove: Vec<String>,
        /// For the client, on the upstream's answer.
        warnings: Vec<HeaderValueOption>,
    },
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
        let headers = vec![set("cache-control", "no-store"), set("content-type", PROBLEM)];
        let shape = Shape::Denied { reason, headers, body: minimal(reason) };
        Self { shape, metadata: None, explanation: None }
    }

    /// The reply to a decision about a request, if there was one to read: it says in which
    /// form and language the client would have a denial.
    #[must_use]
    pub fn of(decision: &Decision, answer: &Answer, request: Option<&Request<'_>>) -> Self {
        let mut reply = match &decision.verdict {
            Verdict::Allow(permit) => Self::default().allow(permit, decision, answer),
            Verdict::Deny(denial) => {
                let (headers, body) = answer.denial(decision, denial, request);
                let shape = Shape::Denied { reason: denial.reason, headers, body };
                Self { shape, metadata: None, explanation: None }
            }
        };
        reply.metadata = Some(metadata(decision));
        reply
    }

    /// The only way to an allow.
    fn allow(self, _permit: &Permit, decision: &Decision, answer: &Answer) -> Self {
        let (headers, remove) = answer.upstream_headers(decision);
        let warnings = warnings(&decision.notes.warnings);
        Self { shape: Shape::Allowed { headers, remove, warnings }, ..self }
    }

    /// Adds the explanation of the decision, as JSON, for a caller who may know it.
    pub(super) fn explain(&mut self, json: &str) {
        let value = match STANDARD.encode(json) {
            value if value.len() <= MAX_EXPLANATION => value,
            // Envoy refuses headers that are too large: better none of it than half.
            _ => "too-long".to_owned(),
        };
        self.explanation = Some(set(EXPLANATION_HEADER, &value));
    }

    /// The HTTP status that the client gets, or 200 for an allow.
    #[must_use]
    pub fn status(&self) -> u16 {
        match &self.shape {
            Shape::Denied { reason, .. } => reason.status(),
            Shape::Allowed { .. } => 200,
        }
    }

    /// The message for Envoy.
    #[must_use]
    pub fn into_message(self) -> CheckResponse {
        let explanation = self.explanation;
        let (code, message, http_response) = match self.shape {
            // Envoy: code 0 forwards the request, with the headers changed, and adds the
            // warnings to what the upstream answers.
            Shape::Allowed { headers, remove, warnings } => {
                let ok = OkHttpResponse {
                    headers,
                    headers_to_remove: remove,
                    response_headers_to_add: warnings.into_iter().chain(explanation).collect(),
                    ..Default::default()
                };
                (tonic::Code::Ok, String::new(), HttpResponse::OkResponse(ok))
            }
            // Envoy: any other code answers the client with this status, headers and
            // body, whatever `failure_mode_allow` says.
            Shape::Denied { reason, mut headers, body } => {
                headers.extend(explanation);
                let status = Some(HttpStatus { code: i32::from(reason.status()) });
                let denied = DeniedHttpResponse { status, headers, body };
                (code(reason), reason.code().to_owned(), HttpResponse::DeniedResponse(denied))
            }
        };
        CheckResponse {
            status: Some(Status { code: code as i32, message, details: Vec::new() }),
            http_response: Some(http_response),
            dynamic_metadata: self.metadata,
        }
    }
}

/// The gRPC code beside a denial; never 0.
fn code(reason: Reason) -> tonic::Code {
    match reason.status() {
        400 => tonic::Code::InvalidArgument,
        401 => tonic::Code::Unauthenticated,
        503 => tonic::Code::Unavailable,
        _ => tonic::Code::PermissionDenied,
    }
}
