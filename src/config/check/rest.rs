//! `answer`, `check`, `telemetry` and `reload`.

use std::time::Duration;

use http::HeaderName;

use super::Findings;
use crate::config::ReloadSettings;
use crate::config::document::{self, Answer, Check, Reload, Telemetry};
use crate::config::problem::below;
use crate::config::values::Period;
use crate::ext_authz::{AnswerSettings, CheckSettings, IdentityHeaders, MetadataField};
use crate::telemetry::{
    CollectorSettings, LogError, LogFormat, OtlpProtocol, TelemetrySettings, parse_log_filter,
};
use crate::tls::Authorities;

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
        remove_look_alikes: answer.remove_look_alikes,
        metadata: answer.metadata.iter().copied().map(metadata_field).collect(),
    }
}

fn metadata_field(field: document::MetadataField) -> MetadataField {
    match field {
        document::MetadataField::DecisionId => MetadataField::DecisionId,
        document::MetadataField::Decision => MetadataField::Decision,
        document::MetadataField::Reason => MetadataField::Reason,
        document::MetadataField::Kind => MetadataField::Kind,
        document::MetadataField::Tenant => MetadataField::Tenant,
        document::MetadataField::Subject => MetadataField::Subject,
        document::MetadataField::Route => MetadataField::Route,
        document::MetadataField::Action => MetadataField::Action,
        document::MetadataField::Entity => MetadataField::Entity,
        document::MetadataField::Policies => MetadataField::Policies,
        document::MetadataField::Snapshot => MetadataField::Snapshot,
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
            | "cache-control"
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
            | "www-authenticate"
            // Of Stagedoor's own answers.
            | "x-stagedoor-debug"
            | "x-stagedoor-denial"
            | "x-stagedoor-explanation"
            | "x-stagedoor-warning"
    );
    let family = [
        "content-",
        "proxy-",
        "x-envoy-",
        "x-forwarded-",
        "x-original-",
        "sec-",
        "access-control-",
    ];
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
    authorities: Authorities,
    findings: &mut Findings<'_>,
) -> Option<TelemetrySettings> {
    if let Err(LogError::Filter { cause, .. }) = parse_log_filter(&telemetry.log) {
        findings.say("/telemetry/log", cause);
    }
    let every = telemetry.metrics_every;
    let metrics_every = (every.0 > Duration::ZERO).then(|| {
        let (least, most) = (Period::seconds(1), Period::hours(1));
        findings.period("/telemetry/metrics_every", every, least, most)
    });
    let ca_file = match &telemetry.ca_file {
        Some(text) => Some(findings.file("/telemetry/ca_file", text)?),
        None => None,
    };
    let endpoint = match &telemetry.otlp_endpoint {
        Some(text) => Some(findings.url("/telemetry/otlp_endpoint", text)?),
        None => None,
    };
    Some(TelemetrySettings {
        log: telemetry.log.clone(),
        log_format: match telemetry.log_format {
            document::LogFormat::Text => LogFormat::Text,
            document::LogFormat::Json => LogFormat::Json,
        },
        collector: endpoint.map(|endpoint| CollectorSettings {
            endpoint,
            protocol: match telemetry.otlp_protocol {
                document::OtlpProtocol::Grpc => OtlpProtocol::Grpc,
                document::OtlpProtocol::Http => OtlpProtocol::Http,
            },
            ca_file,
            more: authorities,
        }),
        sample_ratio: telemetry.sample_ratio,
        metrics_every,
    })
}
