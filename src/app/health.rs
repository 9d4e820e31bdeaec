//! `grpc.health.v1`, as Envoy's health checks ask it.

use std::time::Duration;

use tonic::server::NamedService;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::{Health as HealthApi, HealthServer};
use tonic_health::server::HealthReporter;

use super::systemd::Systemd;
use crate::admin::{Readiness, Ready};
use crate::authorizer::Authorizer;
use crate::clock::Now;
use crate::ext_authz::CheckService;
use crate::ext_authz::proto::envoy::service::auth::v3::authorization_server::AuthorizationServer;
use crate::shutdown::Shutdown;

/// How often readiness is looked at. Keys and snapshots become too old without an
/// event that would tell.
const INTERVAL: Duration = Duration::from_millis(100);

/// Keeps the health service true.
#[derive(Debug)]
pub(super) struct Health {
    reporter: HealthReporter,
}

impl Health {
    /// The reporter and the service; not serving until said otherwise.
    pub(super) async fn new() -> (Self, HealthServer<impl HealthApi>) {
        let (reporter, service) = tonic_health::server::health_reporter();
        let health = Self { reporter };
        // The library begins with serving.
        health.set(ServingStatus::NotServing).await;
        (health, service)
    }

    /// Follows readiness until the drain begins, and then says not serving at once,
    /// before any listener closes.
    pub(super) async fn run(self, readiness: Readiness, systemd: Systemd, shutdown: Shutdown) {
        let mut interval = tokio::time::interval(INTERVAL);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut last: Option<Ready> = None;
        loop {
            tokio::select! {
                _ = interval.tick() => {}
                () = shutdown.draining() => {
                    self.set(ServingStatus::NotServing).await;
                    systemd.stopping();
                    systemd.status("draining");
                    return;
                }
            }
            let ready = readiness.ready(Now::read());
            if last.as_ref() == Some(&ready) {
                continue;
            }
            let pending = ready.pending.join("; ");
            match (ready.is_ready, pending.is_empty()) {
                (true, true) => {
                    tracing::info!("ready");
                    systemd.status("ready");
                }
                (true, false) => {
                    tracing::warn!(pending, "ready, but not for everybody");
                    systemd.status(format!("ready, but not for everybody: {pending}"));
                }
                (false, _) => {
                    tracing::info!(pending, "not ready");
                    systemd.status(format!("not ready: {pending}"));
                }
            }
            self.set(if ready.is_ready {
                ServingStatus::Serving
            } else {
                ServingStatus::NotServing
            })
            .await;
            last = Some(ready);
        }
    }

    /// For the whole server and for the one service: Envoy can ask for either.
    async fn set(&self, status: ServingStatus) {
        let name = <AuthorizationServer<CheckService<Authorizer>> as NamedService>::NAME;
        self.reporter.set_service_status("", status).await;
        self.reporter.set_service_status(name, status).await;
    }
}
