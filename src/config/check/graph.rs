//! `entra.graph`: how Microsoft Graph is asked.

use std::path::PathBuf;

use super::Findings;
use crate::bounded::Bounds;
use crate::config::document::{Entra, Graph, Overage};
use crate::config::values::{ByteSize, Period};
use crate::domain::ClientId;
use crate::entra::{CredentialSettings, GraphSettings, IdentityEndpoint, MACHINE_ENDPOINT};
use crate::fetch::{is_link_local, is_secure};

/// The settings, if Graph is asked; nothing comes back with a finding.
pub(super) fn settings(
    entra: &Entra,
    deadline: Period,
    findings: &mut Findings<'_>,
) -> Option<Option<GraphSettings>> {
    let graph = match (&entra.graph, entra.overage) {
        (Some(graph), Overage::Graph) => graph,
        (None, Overage::Graph) => {
            let message = "`graph` requires `entra.graph`, which says how Graph is asked";
            findings.say_of("/entra/overage", &["/entra/graph"], message);
            return None;
        }
        (Some(_), Overage::Deny | Overage::Catalog) => {
            let message = "is given, but `entra.overage` is not `graph`";
            findings.say_of("/entra/graph", &["/entra/overage"], message);
            return None;
        }
        (None, Overage::Deny | Overage::Catalog) => return Some(None),
    };
    let (s, m, h) = (Period::seconds, Period::minutes, Period::hours);
    if graph.wait >= deadline {
        let message = format!("must be less than `check.deadline` (`{deadline}`)");
        findings.say_of("/entra/graph/wait", &["/check/deadline"], message);
    }
    if graph.managed_identity
        && (entra.tenants.len() > 1 || entra.tenants.iter().any(|tenant| tenant.id.is_none()))
    {
        let message = "a managed identity is at home in one tenant, and can ask no other's Graph";
        findings.say_of("/entra/graph/managed_identity", &["/entra/tenants"], message);
    }
    let timeout = findings.period("/entra/graph/timeout", graph.timeout, s(10), m(1));
    let ttl = findings.period("/entra/graph/ttl", graph.ttl, s(10), h(24));
    let failure_ttl = findings.period("/entra/graph/failure_ttl", graph.failure_ttl, s(1), m(5));
    let max_bytes = findings.size(
        "/entra/graph/max_bytes",
        graph.max_bytes,
        ByteSize::mib(4),
        ByteSize::mib(64 << 10),
    );
    let credential = credential(graph, findings)?;
    let size = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
    Some(Some(GraphSettings {
        wait: graph.wait.0,
        timeout,
        ttl,
        failure_ttl,
        max_calls: size(graph.max_calls),
        cache: Bounds { max_entries: size(graph.max_entries), max_bytes },
        only_known_groups: graph.only_catalog_groups,
        ..GraphSettings::new(credential)
    }))
}

fn credential(graph: &Graph, findings: &mut Findings<'_>) -> Option<CredentialSettings> {
    let given = [
        ("secret_file", graph.secret_file.is_some()),
        ("certificate_file", graph.certificate_file.is_some()),
        ("federated_token_file", graph.federated_token_file.is_some()),
        ("workload_identity", graph.workload_identity),
        ("managed_identity", graph.managed_identity),
    ];
    let mut chosen = given.iter().filter(|(_, given)| *given).map(|(name, _)| *name);
    let (Some(kind), None) = (chosen.next(), chosen.next()) else {
        let names = given.map(|(name, _)| format!("`{name}`")).join(", ");
        findings.say("/entra/graph", format!("expected exactly one of {names}"));
        return None;
    };
    let client = match &graph.client_id {
        Some(text) => Some(findings.read("/entra/graph/client_id", text.parse::<ClientId>())?),
        None => None,
    };
    let needed = |findings: &mut Findings<'_>| {
        if client.is_none() {
            findings.say("/entra/graph", format!("`{kind}` requires `client_id`"));
        }
        client
    };
    let file = |text: &Option<String>, findings: &mut Findings<'_>| -> Option<PathBuf> {
        findings.file(&format!("/entra/graph/{kind}"), text.as_ref()?)
    };
    match kind {
        "secret_file" => {
            let (file, client) = (file(&graph.secret_file, findings), needed(findings));
            Some(CredentialSettings::Secret { client: client?, file: file? })
        }
        "certificate_file" => {
            let (file, client) = (file(&graph.certificate_file, findings), needed(findings));
            Some(CredentialSettings::Certificate { client: client?, file: file? })
        }
        "federated_token_file" => {
            let (file, client) = (file(&graph.federated_token_file, findings), needed(findings));
            Some(CredentialSettings::Federated { client: client?, file: file? })
        }
        "workload_identity" => workload_identity(client, findings),
        _ => managed_identity(client, findings),
    }
}

fn variable(name: &str) -> Result<String, String> {
    std::env::var(name).map_err(|error| format!("the environment's `{name}`: {error}"))
}

/// As the AKS webhook sets it.
fn workload_identity(
    client: Option<ClientId>,
    findings: &mut Findings<'_>,
) -> Option<CredentialSettings> {
    let pointer = "/entra/graph/workload_identity";
    let client = match client {
        Some(client) => Ok(client),
        None => variable("AZURE_CLIENT_ID").and_then(|text| {
            text.parse().map_err(|error| format!("the environment's `AZURE_CLIENT_ID`: {error}"))
        }),
    };
    let client = findings.read(pointer, client);
    let file = findings.read(pointer, variable("AZURE_FEDERATED_TOKEN_FILE"));
    let file = file.and_then(|text| findings.file(pointer, &text));
    Some(CredentialSettings::Federated { client: client?, file: file? })
}

fn managed_identity(
    client: Option<ClientId>,
    findings: &mut Findings<'_>,
) -> Option<CredentialSettings> {
    let pointer = "/entra/graph/managed_identity";
    let endpoint = match std::env::var("IDENTITY_ENDPOINT") {
        Ok(text) => {
            let url = findings.url(pointer, &text)?;
            if !is_secure(&url) && !is_link_local(&url) {
                let message = "the environment's `IDENTITY_ENDPOINT` is neither https, nor on \
                               loopback, nor link-local";
                findings.say(pointer, message);
                return None;
            }
            let header = variable("IDENTITY_HEADER").and_then(|text| {
                http::HeaderValue::try_from(text)
                    .map_err(|_| "the environment's `IDENTITY_HEADER` is no header".to_owned())
            });
            let mut header = findings.read(pointer, header)?;
            header.set_sensitive(true);
            IdentityEndpoint::Platform { url, header }
        }
        Err(_) => IdentityEndpoint::Machine(findings.url(pointer, MACHINE_ENDPOINT)?),
    };
    Some(CredentialSettings::Managed { client, endpoint })
}
