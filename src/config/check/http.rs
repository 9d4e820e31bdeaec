//! `http_authorization`: how proxies ask that don't ask over gRPC, and who is believed.

use super::Findings;
use crate::config::document::{self, Document};
use crate::config::problem::below;
use crate::config::values::ByteSize;
use crate::ext_authz::Dialect;

/// What nginx carries a denial in has to fit.
const LEAST_HEADER_LIST: ByteSize = ByteSize::kib(32);

/// The dialect, where there is a listener that is asked in one.
pub(super) fn settings(
    document: &Document,
    findings: &mut Findings<'_>,
) -> Option<Option<Dialect>> {
    let (settings, listeners) = (&document.http_authorization, &document.listen.http);
    for (index, believes) in settings.believe_any_peer_on.iter().enumerate() {
        if !listeners.contains(believes) {
            let message = "names no listener: expected one as written in `listen.http`";
            let pointer = below("/http_authorization/believe_any_peer_on", index);
            findings.say_of(pointer, &["/listen/http"], message);
        }
    }
    let path_prefix = settings.path_prefix.as_deref().unwrap_or_default();
    prefix(path_prefix, settings.dialect, findings);
    if listeners.is_empty() {
        return Some(None);
    }
    headers_fit(document, findings);
    let Some(dialect) = settings.dialect else {
        let message = "needs `http_authorization.dialect`: expected `nginx`, `traefik` or `envoy`";
        findings.say_of("/listen/http", &["/http_authorization/dialect"], message);
        return None;
    };
    Some(Some(match dialect {
        document::Dialect::Nginx => Dialect::Nginx,
        document::Dialect::Traefik => Dialect::Traefik,
        document::Dialect::Envoy => Dialect::Envoy { path_prefix: path_prefix.to_owned() },
    }))
}

fn prefix(prefix: &str, dialect: Option<document::Dialect>, findings: &mut Findings<'_>) {
    let pointer = "/http_authorization/path_prefix";
    if prefix.is_empty() {
        return;
    }
    if dialect.is_some_and(|dialect| dialect != document::Dialect::Envoy) {
        let message = "only the dialect `envoy` has one";
        findings.say_of(pointer, &["/http_authorization/dialect"], message);
    }
    let is_plain = prefix.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-_.~".contains(&b));
    if !prefix.starts_with('/') || prefix.ends_with('/') || !is_plain {
        findings.say(pointer, "expected a path such as `/authorize`, without a `/` at its end");
    }
}

/// Over HTTP the token comes in the headers.
fn headers_fit(document: &Document, findings: &mut Findings<'_>) {
    let limit = document.limits.max_header_list_bytes;
    let token = document.entra.max_token_bytes;
    if limit <= token || limit < LEAST_HEADER_LIST {
        findings.say_of(
            "/limits/max_header_list_bytes",
            &["/entra/max_token_bytes", "/listen/http"],
            format!(
                "must be at least `{LEAST_HEADER_LIST}` with `listen.http`, and more than \
                 `entra.max_token_bytes` (`{token}`): the token comes in the headers"
            ),
        );
    }
}
