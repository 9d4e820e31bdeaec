//! Certificates of our own, and how long they last.

use std::path::Path;

use super::{CertificateStatus, age, unix};
use crate::clock::Now;
use crate::entra::{CredentialCertificate, GroupResolver};
use crate::tls::{CertificateFacts, ServerTls, TlsStatus};

/// Those of the listeners, and the one that Microsoft Graph is asked with.
pub(super) fn all(
    listeners: &[ServerTls],
    resolver: Option<&GroupResolver>,
    now: Now,
) -> Vec<CertificateStatus> {
    let listeners = listeners.iter().map(|tls| listener(tls.status(), now));
    let graph = resolver.and_then(GroupResolver::certificate);
    listeners.chain(graph.map(|certificate| credential(certificate, now))).collect()
}

fn listener(tls: TlsStatus, now: Now) -> CertificateStatus {
    CertificateStatus {
        since: Some(unix(tls.since)),
        age_seconds: age(Some(tls.read), now),
        current: tls.last_error.is_none(),
        last_error: tls.last_error,
        handshake_failures: Some(tls.handshake_failures),
        ..certificate(tls.listener, &tls.file, Some(tls.facts), now)
    }
}

fn credential(shown: CredentialCertificate, now: Now) -> CertificateStatus {
    CertificateStatus {
        age_seconds: age(shown.read, now),
        current: shown.last_error.is_none(),
        last_error: shown.last_error,
        ..certificate("graph", &shown.file, shown.facts, now)
    }
}

/// What stands in a certificate, and nothing yet of what became of its files.
fn certificate(
    shown_by: &'static str,
    file: &Path,
    facts: Option<CertificateFacts>,
    now: Now,
) -> CertificateStatus {
    let left = facts.as_ref().map(|facts| facts.left(now.unix));
    let state = facts.as_ref().map_or("unread", |facts| facts.state(now.unix).code());
    let not_after = facts.as_ref().map(|facts| unix(facts.not_after));
    let (subject, names) = facts.map(|facts| (facts.subject, facts.names)).unzip();
    CertificateStatus {
        shown_by,
        file: file.display().to_string(),
        state,
        subject,
        names: names.unwrap_or_default(),
        not_after,
        left_seconds: left,
        since: None,
        age_seconds: None,
        current: true,
        last_error: None,
        handshake_failures: None,
    }
}
