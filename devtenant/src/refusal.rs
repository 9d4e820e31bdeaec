//! What Entra says where it gives no token.

use axum::http::StatusCode;
use serde_json::json;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::tenant::Reply;

/// Why there is no token.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    status: StatusCode,
    error: &'static str,
    code: u32,
    message: String,
}

impl Refusal {
    /// The client did not prove who it is.
    pub(crate) fn client(code: u32, message: impl Into<String>) -> Self {
        let status = StatusCode::UNAUTHORIZED;
        Self { status, error: "invalid_client", code, message: message.into() }
    }

    /// The request can't be answered, whoever asks.
    pub(crate) fn request(error: &'static str, code: u32, message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, error, code, message: message.into() }
    }

    /// A form field isn't there.
    pub(crate) fn missing(field: &str) -> Self {
        let message = format!("The request body must contain the following parameter: '{field}'.");
        Self::request("invalid_request", 900_144, message)
    }

    /// Nothing here has this address.
    pub(crate) fn resource(resource: &str) -> Self {
        let message =
            format!("The resource principal named {resource} was not found in the tenant.");
        Self::request("invalid_resource", 500_011, message)
    }

    pub(crate) fn reply(&self) -> Reply {
        let (trace, correlation, at) = (Uuid::new_v4(), Uuid::new_v4(), timestamp());
        let description = format!(
            "AADSTS{}: {} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {at}",
            self.code, self.message
        );
        let document = json!({
            "error": self.error,
            "error_description": description,
            "error_codes": [self.code],
            "timestamp": at,
            "trace_id": trace.to_string(),
            "correlation_id": correlation.to_string(),
        });
        Reply::new(self.status, document)
    }
}

/// Now, as Entra writes it.
pub(crate) fn timestamp() -> String {
    let now = OffsetDateTime::now_utc();
    let (hour, minute, second) = now.to_hms();
    format!("{} {hour:02}:{minute:02}:{second:02}Z", now.date())
}
