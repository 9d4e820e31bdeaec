//! How an OTLP collector is reached, and who it is told that this is.

mod exports;
mod headers;
mod http;

use std::env;
use std::path::PathBuf;
use std::sync::OnceLock;

use hyper_util::client::proxy::matcher::Matcher;
use opentelemetry::KeyValue;
use opentelemetry_otlp::tonic_types::transport::{Certificate, ClientTlsConfig};
use opentelemetry_otlp::{WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use url::Url;
use uuid::Uuid;

use crate::tls::Authorities;

pub use exports::ExportStatus;
pub(crate) use exports::Exports;
pub(crate) use headers::headers;
pub(crate) use http::HttpSender;

/// Where a collector is, and how it is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectorSettings {
    /// Its address. By HTTP, what is below `/v1/` is added.
    pub endpoint: Url,
    /// How it is spoken to.
    pub protocol: OtlpProtocol,
    /// The authorities that its certificate must be of, as PEM, instead of those that the
    /// system trusts.
    pub ca_file: Option<PathBuf>,
    /// What it may come from beside the system's authorities, where there is no `ca_file`.
    pub more: Authorities,
}

/// The two ways that every collector understands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OtlpProtocol {
    /// gRPC, mostly on port 4317.
    #[default]
    Grpc,
    /// Protobuf over HTTP, mostly on port 4318.
    Http,
}

impl OtlpProtocol {
    /// Its name in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Http => "http",
        }
    }
}

impl CollectorSettings {
    /// Exports of one kind to it.
    pub(crate) fn exports(&self) -> Exports {
        Exports::to(&self.endpoint, self.protocol)
    }

    /// The authorities, where there are some of its own.
    pub(crate) fn authorities(&self) -> std::io::Result<Option<Vec<u8>>> {
        self.ca_file.as_deref().map(std::fs::read).transpose()
    }

    /// Where a signal goes by HTTP: `traces`, `metrics`.
    pub(crate) fn path_of(&self, signal: &str) -> Url {
        let mut url = self.endpoint.clone();
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}/v1/{signal}"));
        url
    }
}

/// The exporter's connection to `endpoint` by gRPC.
pub(crate) fn reach<B: WithExportConfig + WithTonicConfig>(
    exporter: B,
    endpoint: &Url,
    authorities: Option<&[u8]>,
    more: &Authorities,
) -> B {
    let exporter = exporter.with_endpoint(endpoint.as_str());
    match tls(endpoint, authorities, more) {
        Some(tls) => exporter.with_tls_config(tls),
        None => exporter,
    }
}

/// Whether the environment's proxy is for this address, by the rules that HTTP goes by
/// ([`HttpSender`]). gRPC knows no proxy, and reaches the address directly in any case.
pub(crate) fn stands_behind_proxy(endpoint: &Url) -> bool {
    // Plain http never goes over one.
    let address = endpoint.as_str().parse::<::http::Uri>().ok();
    endpoint.scheme() == "https"
        && address.is_some_and(|address| Matcher::from_system().intercept(&address).is_some())
}

/// What a gRPC connection to `endpoint` is secured with. The client by itself trusts nobody.
pub(crate) fn tls(
    endpoint: &Url,
    authorities: Option<&[u8]>,
    more: &Authorities,
) -> Option<ClientTlsConfig> {
    (endpoint.scheme() == "https").then(|| match authorities {
        Some(pem) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)),
        None => ClientTlsConfig::new().with_native_roots().trust_anchors(more.anchors()),
    })
}

/// What every signal says that it comes from: one instance for as long as the process runs.
/// `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` add to it and come first.
pub(crate) fn resource() -> Resource {
    static RESOURCE: OnceLock<Resource> = OnceLock::new();
    RESOURCE
        .get_or_init(|| {
            let given = Resource::builder().build();
            let is_given = |name: &'static str| given.get(&name.into()).is_some();
            let says = |name: &str| env::var(name).unwrap_or_default();
            let attributes = says("OTEL_RESOURCE_ATTRIBUTES");
            let names_service = !says("OTEL_SERVICE_NAME").is_empty()
                || attributes.split(',').any(|pair| pair.trim().starts_with("service.name="));
            let mut own = Vec::new();
            if !names_service {
                own.push(KeyValue::new("service.name", "stagedoor"));
            }
            if !is_given("service.version") {
                own.push(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
            }
            if !is_given("service.instance.id") {
                own.push(KeyValue::new("service.instance.id", Uuid::now_v7().to_string()));
            }
            Resource::builder().with_attributes(own).build()
        })
        .clone()
}
