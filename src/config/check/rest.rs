//! `answer`, `check`, `telemetry` and `reload`.

use http::HeaderName;
use tracing_subscriber::EnvFilter;

use super::Findings;
use crate::config::ReloadSettings;
use crate::config::document::{self, Answer, Check, Reload, Telemetry};
use crate::config::problem::below;
use crate::config::values::Period;
use crate::ext_authz::{AnswerSettings, CheckSettings, IdentityHeaders};
use crate::telemetry::{LogFormat, TelemetrySettings};

/// The most `-` in the name of an identity header: each doubles the spellings that
/// upstreams could take for it.
const MAX_DASHES: usize = 4;

pub(super) fn answer(answer: &Answer, findings: &mut Findings<'_>) -> AnswerSettings {
    let headers = &answer.headers;
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for (key, name) in [
        ("subject", &headers.subject),
        ("tenant", &headers.tenant),
        ("kind", &headers.kind),
        ("entity", &headers.entity),
        ("decision_id", &headers.decision_id),
    ] {
        let pointer = below("/answer/headers", key);
        if let Err(message) = header(name) {
            findings.say(&pointer, message);
        }
        if let Some((other, _)) = seen.iter().find(|(_, other)| other == name) {
            let message = format!("is the header of `{other}` as well");
            findings.say_of(&pointer, &[&below("/answer/headers", other)], message);
        }
        seen.push((key, name));
    }
    AnswerSettings {
        headers: IdentityHeaders {
            subject: headers.subject.clone(),
            tenant: headers.tenant.clone(),
            kind: headers.kind.clone(),
            entity: headers.entity.clone(),
            decision_id: headers.decision_id.clone(),
        },
        remove_authorization: answer.remove_authorization,
    }
}

/// Whether an identity may be told in a header of this name.
pub(super) fn header(name: &str) -> Result<(), &'static str> {
    if name.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err("must be in lower case, as HTTP/2 has it");
    }
    if HeaderName::from_lowercase(name.as_bytes()).is_err() {
        return Err("expected a header's name, such as `x-stagedoor-subject`");
    }
    if name.contains('_') {
        // Many upstreams take `x_user` and `x-user` for one, so a client could send
        // the other spelling.
        return Err("must hold no `_`: upstreams take it for `-`");
    }
    if name.matches('-').count() > MAX_DASHES {
        // Each spelling with `_` for a `-` is removed from what is let through.
        return Err("must hold at most four `-`");
    }
    let own = matches!(
        name,
        "host"
            | "authorization"
            | "connection"
            | "cookie"
            | "date"
            | "expect"
            | "forwarded"
            | "keep-alive"
            | "set-cookie"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "via"
    );
    let family = ["content-", "proxy-", "x-envoy-", "x-forwarded-", "sec-", "access-control-"];
    if own || family.iter().any(|family| name.starts_with(family)) {
        return Err("has a meaning of its own in HTTP or Envoy: choose a name of your own");
    }
    Ok(())
}

pub(super) fn check(
    check: &Check,
    justification_header: String,
    findings: &mut Findings<'_>,
) -> CheckSettings {
    let (deadline, queue) = (check.deadline, check.queue_timeout);
    findings.at_most("/check/queue_timeout", queue, "/check/deadline", deadline, "deadline");
    CheckSettings {
        justification_header,
        max_concurrent: usize::try_from(check.max_concurrent).unwrap_or(usize::MAX),
        queue_timeout: queue.0,
        deadline: findings.period(
            "/check/deadline",
            deadline,
            Period::millis(10),
            Period::seconds(10),
        ),
    }
}

pub(super) fn reload(reload: &Reload, findings: &mut Findings<'_>) -> ReloadSettings {
    let (least, most) = (Period::seconds(1), Period::hours(1));
    let every = findings.period("/reload/every", reload.every, least, most);
    ReloadSettings { watch: reload.watch.then_some(every) }
}

pub(super) fn telemetry(
    telemetry: &Telemetry,
    findings: &mut Findings<'_>,
) -> Option<TelemetrySettings> {
    if telemetry.log.trim().is_empty() {
        findings.say("/telemetry/log", "expected a filter such as `info`");
    } else if let Err(error) = EnvFilter::builder().parse(&telemetry.log) {
        let message =
            format!("expected a filter such as `info` or `stagedoor=debug,info`: {error}");
        findings.say("/telemetry/log", message);
    }
    let otlp_endpoint = match &telemetry.otlp_endpoint {
        Some(text) => Some(findings.url("/telemetry/otlp_endpoint", text)?),
        None => None,
    };
    Some(TelemetrySettings {
        log: telemetry.log.clone(),
        log_format: match telemetry.log_format {
            document::LogFormat::Text => LogFormat::Text,
            document::LogFormat::Json => LogFormat::Json,
        },
        otlp_endpoint,
    })
}
