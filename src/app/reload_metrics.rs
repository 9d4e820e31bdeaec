//! What metrics say of reloads.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::admin::Reloads;

/// Metrics of the configuration, read when they are scraped.
#[derive(Debug)]
pub(super) struct ReloadMetrics(pub(super) Reloads);

impl Collector for ReloadMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let status = self.0.status();
        let help = "0 while a change of the configuration was refused";
        let current =
            encoder.encode_descriptor("stagedoor_config_current", help, None, MetricType::Gauge)?;
        ConstGauge::new(f64::from(u8::from(status.current))).encode(current)?;
        let mut counter = |name: &str, help: &str, value: u64| {
            let descriptor = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(value).encode(descriptor)
        };
        counter(
            "stagedoor_config_reloads",
            "Configurations that were read again and taken over",
            status.reloads,
        )?;
        counter(
            "stagedoor_config_reload_failures",
            "Configurations that were read again and refused",
            status.refused,
        )
    }
}
