//! How an OTLP collector is reached.

use opentelemetry_otlp::tonic_types::transport::ClientTlsConfig;
use opentelemetry_otlp::{WithExportConfig, WithTonicConfig};
use url::Url;

/// The exporter's connection to `endpoint`. Where that is `https`, by the certificates that
/// the system trusts: the exporter by itself trusts none.
pub(crate) fn reach<B: WithExportConfig + WithTonicConfig>(exporter: B, endpoint: &Url) -> B {
    let exporter = exporter.with_endpoint(endpoint.as_str());
    if endpoint.scheme() == "https" {
        exporter.with_tls_config(ClientTlsConfig::new().with_native_roots())
    } else {
        exporter
    }
}
