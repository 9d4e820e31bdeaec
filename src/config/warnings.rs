//! What is no mistake, and mostly not meant.

use super::Config;
use crate::collector::{OtlpProtocol, stands_behind_proxy};

impl Config {
    /// What whoever wrote the file should know, a line each. Looks at the environment, too.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let telemetry = self.telemetry.collector.as_ref();
        let telemetry = telemetry.filter(|to| to.protocol == OtlpProtocol::Grpc).map(|to| {
            let remedy = "have it go over that by `otlp_protocol: http`, or name the host in \
                 `NO_PROXY`";
            ("telemetry.otlp_endpoint", &to.endpoint, remedy)
        });
        let audit = self.audit.otlp.as_ref().map(|to| {
            ("audit.otlp", to, "name the host in `NO_PROXY` if it can be reached without")
        });
        let collectors = telemetry.into_iter().chain(audit);
        collectors
            .filter(|(_, endpoint, _)| stands_behind_proxy(endpoint))
            .map(|(setting, endpoint, remedy)| {
                let host = endpoint.host_str().unwrap_or_default();
                format!(
                    "{setting}: gRPC reaches `{host}` directly, though the environment names a \
                     proxy: {remedy}"
                )
            })
            .collect()
    }
}
