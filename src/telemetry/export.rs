//! Why telemetry can't be sent to a collector.

/// The settings can't be used. That a collector is not there is no such error.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The exporter refuses its address, or what the environment says.
    #[error(transparent)]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    /// The gRPC client can't be made.
    #[error(transparent)]
    Grpc(#[from] tonic::transport::Error),
    /// The HTTP client can't be made.
    #[error(transparent)]
    Http(#[from] reqwest::Error),
    /// Its authorities can't be read.
    #[error("telemetry.ca_file: {0}")]
    Authorities(std::io::Error),
}
