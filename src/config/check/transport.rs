//! TLS of the listeners and of connections to others.

use super::Findings;
use crate::clock::Now;
use crate::config::document::{Outgoing, Tls};
use crate::config::problem::below;
use crate::tls::{Authorities, ClientName, Protocol, ServerTls, TlsFile, TlsSettings};

/// A listener's TLS, with files that can be used as they are now.
pub(super) fn tls(
    pointer: &str,
    tls: &Tls,
    protocol: Protocol,
    findings: &mut Findings<'_>,
) -> Option<TlsSettings> {
    let certificate_file =
        findings.path(&below(pointer, "certificate_file"), &tls.certificate_file);
    let key_file = findings.path(&below(pointer, "key_file"), &tls.key_file);
    let client_ca = below(pointer, "client_ca_file");
    let client_ca_file = tls.client_ca_file.as_ref().map(|text| findings.path(&client_ca, text));
    let place = below(pointer, "clients");
    let clients = findings.read_all(&place, &tls.clients, |text| {
        text.parse::<ClientName>().map_err(|error| format!("`{text}`: {error}"))
    });
    if !tls.clients.is_empty() && tls.client_ca_file.is_none() {
        let message = "needs `client_ca_file`: without it no client shows a certificate";
        findings.say_of(&place, &[&client_ca], message);
    }
    let settings = TlsSettings {
        certificate_file: certificate_file?,
        key_file: key_file?,
        client_ca_file: match client_ca_file {
            Some(path) => Some(path?),
            None => None,
        },
        clients,
    };
    if let Err(error) = ServerTls::load(settings.clone(), protocol, Now::read()) {
        let file = match error.file {
            TlsFile::Certificate => "certificate_file",
            TlsFile::Key => "key_file",
            TlsFile::ClientCa => "client_ca_file",
        };
        findings.say(below(pointer, file), error.to_string());
    }
    Some(settings)
}

/// Whom we trust beside the authorities of the system.
pub(super) fn authorities(outgoing: &Outgoing, findings: &mut Findings<'_>) -> Option<Authorities> {
    let pointer = "/outgoing/ca_files";
    let mut files = Vec::new();
    for (index, text) in outgoing.ca_files.iter().enumerate() {
        files.push(findings.file(&below(pointer, index), text)?);
    }
    Authorities::read(&files)
        .map_err(|(index, message)| findings.say(below(pointer, index), message))
        .ok()
}
