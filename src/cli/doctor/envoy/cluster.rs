//! The way from Envoy to Stagedoor.

use std::net::IpAddr;

use super::view::View;
use super::{Look, rules};

const TLS: &str = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext";

/// All clusters of an Envoy.
#[derive(Default)]
pub(super) struct Clusters<'a> {
    clusters: Vec<View<'a>>,
    endpoints: Vec<View<'a>>,
}

impl<'a> Clusters<'a> {
    pub(super) fn add(&mut self, clusters: Vec<View<'a>>) {
        self.clusters.extend(clusters);
    }

    /// Endpoints that were discovered.
    pub(super) fn add_endpoints(&mut self, endpoints: Vec<View<'a>>) {
        self.endpoints.extend(endpoints);
    }

    /// Judges the cluster of this name: private, or TLS that is verified.
    pub(super) fn look(&self, name: &View<'_>, look: &mut Look<'_>) {
        let text = name.text().unwrap_or_default();
        let Some(cluster) = self.clusters.iter().find(|one| one.word("name") == text) else {
            look.flag(&rules::NOT_SEEN, name, format!("the cluster `{text}` is not in here"));
            return;
        };
        let sockets = cluster
            .list("transport_socket_matches")
            .into_iter()
            .filter_map(|one| one.get("transport_socket"));
        let sockets: Vec<View<'_>> =
            cluster.get("transport_socket").into_iter().chain(sockets).collect();
        let tls = sockets.iter().find_map(|socket| match socket.get("typed_config")?.typed() {
            (TLS, context) => Some(context),
            _ => None,
        });
        if let Some(context) = tls {
            verified(&context, look);
            return;
        }
        let mut assignments: Vec<View<'_>> = cluster.get("load_assignment").into_iter().collect();
        let discovered =
            self.endpoints.iter().filter(|endpoints| endpoints.word("cluster_name") == text);
        assignments.extend(discovered.cloned());
        let endpoints: Vec<View<'_>> = assignments
            .iter()
            .flat_map(|assignment| assignment.list("endpoints"))
            .flat_map(|group| group.list("lb_endpoints"))
            .collect();
        let far = endpoints.iter().find(|endpoint| {
            !endpoint.at(&["endpoint", "address"]).is_some_and(|address| is_private(&address))
        });
        match far {
            Some(endpoint) => {
                let message = "tokens go to another machine without TLS";
                look.flag(&rules::PLAINTEXT, endpoint, message);
            }
            None if endpoints.is_empty() => {
                let message = "without TLS, and its endpoints are not shown";
                look.flag(&rules::PLAINTEXT, cluster, message);
            }
            None => {}
        }
    }

    /// Judges Google's own gRPC client, which has no cluster.
    pub(super) fn look_google(&self, google: &View<'_>, look: &mut Look<'_>) {
        let credentials = google.get("channel_credentials");
        if credentials.is_some_and(|one| one.get("ssl_credentials").is_some()) {
            return;
        }
        let target = google.word("target_uri");
        let host = target.rsplit_once(':').map_or(target, |(host, _)| host);
        if !target.starts_with("unix:") && !is_loopback(host) {
            look.flag(&rules::PLAINTEXT, google, "tokens go to another machine without TLS");
        }
    }

    /// Filters that requests pass once a cluster was chosen for them.
    pub(super) fn upstream_filters(&self) -> Vec<View<'a>> {
        let clusters = self.clusters.iter();
        clusters
            .filter_map(|cluster| cluster.get("typed_extension_protocol_options"))
            .flat_map(|options| options.members())
            .flat_map(|(_, options)| options.typed().1.list("http_filters"))
            .collect()
    }
}

fn verified(context: &View<'_>, look: &mut Look<'_>) {
    let Some(common) = context.get("common_tls_context") else {
        look.flag(&rules::TLS_UNVERIFIED, context, "the certificate is not verified");
        return;
    };
    let ways = [
        "validation_context",
        "validation_context_sds_secret_config",
        "combined_validation_context",
    ];
    if !ways.iter().any(|way| common.get(way).is_some()) {
        look.flag(&rules::TLS_UNVERIFIED, &common, "the certificate is not verified");
    }
}

/// A Unix socket, or this machine.
fn is_private(address: &View<'_>) -> bool {
    if address.get("pipe").is_some() {
        return true;
    }
    address.get("socket_address").is_some_and(|socket| is_loopback(socket.word("address")))
}

fn is_loopback(host: &str) -> bool {
    let plain = host.trim_start_matches('[').trim_end_matches(']');
    plain == "localhost" || plain.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
