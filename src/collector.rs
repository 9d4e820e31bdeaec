//! How an OTLP collector is reached.

use opentelemetry_otlp::tonic_types::transport::ClientTlsConfig;
use opentelemetry_otlp::{WithExportConfig, WithTonicConfig};
use url::Url;

use crate::tls::Authorities;

/// The exporter's connection to `endpoint`. Where that is `https`, by the certificates that
/// the system trusts and `more`: the exporter by itself trusts none.
pub(crate) fn reach<B: WithExportConfig + WithTonicConfig>(
    exporter: B,
    endpoint: &Url,
    more: &Authorities,
) -> B {
    let exporter = exporter.with_endpoint(endpoint.as_str());
    if endpoint.scheme() == "https" {
        let tls = ClientTlsConfig::new().with_native_roots().trust_anchors(more.anchors());
        exporter.with_tls_config(tls)
    } else {
        exporter
    }
}
