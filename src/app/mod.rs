//! Wiring: takes the configuration apart and hands each part what it needs.
//!
//! Production and tests start the server the same way: [`App::build`] binds
//! everything and says where, [`App::run`] serves until it is told to end.

mod behind;
mod health;
mod ownership;
mod policies;
mod recorder;
mod sources;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tonic::service::Routes as Services;

use crate::admin::{self, Access, Admin, AdminToken, Readiness, Watched};
use crate::audit::{AuditTask, AuditWriter};
use crate::authorizer::explain::Explainer;
use crate::authorizer::{Authorizer, OverageSource, Routes};
use crate::catalog::Catalog;
use crate::clock::Now;
use crate::config::{Config, OverageFrom};
use crate::entra::{Authenticator, GroupResolver};
use crate::ext_authz::proto::FILE_DESCRIPTOR_SET;
use crate::ext_authz::{Answer, CallLimits, CheckService, Endpoint};
use crate::fetch::HttpClient;
use crate::policy::Policies;
use crate::serve::{BoundAddress, DrainReport, Server};
use crate::shutdown::Shutdown;
use crate::telemetry::{LogFilter, Metrics, MetricsPush, Traces};
use crate::tls::{Protocol, ServerTls, TlsSettings};

use recorder::Recorder;

/// How long the last audit records, spans and metrics may take to be written.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// A decision that misses its deadline is answered and recorded by the Check service;
/// only a call that stays silent for this much longer is answered in its place.
const LAST_CHANCE: Duration = Duration::from_millis(20);

/// A server that is bound and not yet running.
pub struct App {
    server: Server,
    check: CheckService<Explainer>,
    service: Endpoint<Explainer, Recorder>,
    tls: Option<ServerTls>,
    admin: TcpListener,
    admin_address: SocketAddr,
    admin_tls: Option<ServerTls>,
    admin_token: Option<AdminToken>,
    registry: Arc<Registry>,
    log: Option<LogFilter>,
    health: health::Health,
    authenticator: Authenticator,
    resolver: Option<GroupResolver>,
    catalog: Catalog,
    policies: Policies,
    explainer: Explainer,
    http: Arc<HttpClient>,
    audit: AuditTask,
    watched: Watched,
    traces: Traces,
    push: MetricsPush,
    reload: Arc<Notify>,
}

/// Why the server can't start, or why it ended.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The configuration is wrong; the text names every mistake with its place.
    #[error("{0}")]
    Configuration(String),
    /// An address, a file or the TLS backend can't be used.
    #[error("{what}: {cause}")]
    Start {
        /// What was tried.
        what: String,
        /// What came of it.
        cause: String,
    },
    /// A task that must run as long as the process ended by itself.
    #[error("the task `{0}` ended by itself")]
    TaskEnded(&'static str),
}

impl AppError {
    /// Whether the operator has to change the configuration.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        matches!(self, Self::Configuration(_))
    }

    fn start(what: impl Into<String>, cause: impl std::fmt::Display) -> Self {
        Self::Start { what: what.into(), cause: cause.to_string() }
    }
}

impl App {
    /// Makes every part and binds every address. Fetches nothing yet: a dependency
    /// that is down keeps the server from being ready, not from starting.
    ///
    /// # Errors
    /// The first thing that can't be had, by name.
    pub async fn build(config: Config) -> Result<Self, AppError> {
        let started = (SystemTime::now(), Instant::now());
        let http = HttpClient::trusting(&config.authorities)
            .map_err(|e| AppError::start("the HTTP client", e))?;
        let policies = Policies::load(config.policy)
            .map_err(|errors| AppError::Configuration(errors.to_string()))?;
        let resolver = GroupResolver::new(&config.entra);
        let overage = overage(config.overage, resolver.as_ref());
        let authenticator =
            Authenticator::new(config.entra).map_err(|e| AppError::Configuration(e.to_string()))?;
        let catalog = Catalog::new(config.catalog);
        let answer = Answer::new(config.answer, authenticator.authorization_uri().as_ref())
            .with_denials(config.denials);
        let routes = Routes::new(config.route_table, config.delegations);
        let authorizer = Authorizer {
            authenticator: authenticator.clone(),
            catalog: catalog.clone(),
            routes: routes.clone(),
            policy: policies.clone(),
            membership: config.membership,
            overage,
        };

        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let unfit = |e| AppError::start("telemetry.otlp_endpoint", e);
        let traces = Traces::new(&config.telemetry).map_err(unfit)?;
        let push = MetricsPush::new(&config.telemetry).map_err(unfit)?;
        let (sender, audit) =
            AuditWriter::start(&config.audit).map_err(|e| AppError::start("audit", e))?;
        let (audit_sender, sources_audit) = (sender.clone(), sender.clone());
        catalog.observe(ownership::Ownership::new(sender.clone(), routes.clone()));
        let recorder = Recorder::new(metrics.clone(), traces.clone(), sender);

        let limits = CallLimits {
            deadline: config.check.deadline + LAST_CHANCE,
            max_message_bytes: config.serve.max_message_bytes,
        };
        let explainer = Explainer::new(authorizer, config.routes, config.debug_groups);
        let check =
            CheckService::new(explainer.clone(), answer, config.check, Box::new(recorder.clone()));
        let (health, health_service) = health::Health::new().await;
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .build_v1()
            .map_err(|e| AppError::start("gRPC reflection", e))?;
        let others = Services::new(health_service).add_service(reflection).prepare();
        let service = Endpoint::new(check.clone(), Arc::new(recorder), limits, others);

        let tls = server_tls("listen.tls", config.tls, Protocol::Grpc)?;
        let admin_tls = server_tls("listen.admin_tls", config.admin_tls, Protocol::Admin)?;
        let admin_token =
            config.admin_token_file.map(AdminToken::load).transpose().map_err(|error| {
                AppError::Configuration(format!("listen.admin_token_file: {error}"))
            })?;
        let server = Server::bind_with(config.serve, tls.as_ref())
            .await
            .map_err(|e| AppError::start("listen.grpc", e))?;
        let watched = Watched {
            authenticator: authenticator.clone(),
            resolver: resolver.clone(),
            catalog: catalog.clone(),
            policies: policies.clone(),
            audit: audit_sender.clone(),
            metrics,
            serve: server.stats(),
            started,
        };
        let parts = sources::Parts {
            authenticator: authenticator.clone(),
            resolver: resolver.clone(),
            catalog: catalog.clone(),
            routes,
            audit: audit_sender,
            serve: server.stats(),
            pressure: Arc::clone(check.pressure()),
            tls: tls.iter().chain(&admin_tls).cloned().collect(),
        };
        registry.register_collector(Box::new(parts));
        registry.register_collector(Box::new(behind::Behind {
            authenticator: authenticator.clone(),
            resolver: resolver.clone(),
            audit: sources_audit,
            traces: traces.clone(),
            push: push.clone(),
        }));
        registry.register_collector(Box::new(policies::PolicyMetrics(policies.clone())));
        let admin = TcpListener::bind(config.admin)
            .await
            .map_err(|e| AppError::start(format!("listen.admin: {}", config.admin), e))?;
        let admin_address = admin.local_addr().map_err(|e| AppError::start("listen.admin", e))?;
        Ok(Self {
            server,
            check,
            service,
            tls,
            admin,
            admin_address,
            admin_tls,
            admin_token,
            registry: Arc::new(registry),
            log: None,
            health,
            authenticator,
            resolver,
            catalog,
            policies,
            explainer,
            http: Arc::new(http),
            audit,
            watched,
            traces,
            push,
            reload: Arc::default(),
        })
    }

    /// Where Envoy connects: the addresses that were really bound.
    #[must_use]
    pub fn addresses(&self) -> &[BoundAddress] {
        self.server.addresses()
    }

    /// Where the admin port is.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// What decides, to be asked without a connection.
    #[must_use]
    pub fn check(&self) -> CheckService<Explainer> {
        self.check.clone()
    }

    /// The catalog's handle, to have it read again now.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Lets the admin port change what is logged.
    #[must_use]
    pub fn with_log(self, log: LogFilter) -> Self {
        Self { log: Some(log), ..self }
    }

    /// Notified, catalog, policies and certificates are read again at once, and the audit file opened anew, for
    /// when it was renamed: what SIGHUP does.
    #[must_use]
    pub fn reload(&self) -> Arc<Notify> {
        Arc::clone(&self.reload)
    }

    /// Serves until `shutdown` says otherwise, and then drains.
    ///
    /// # Errors
    /// A task that must run ended by itself.
    pub async fn run(self, shutdown: Shutdown) -> Result<DrainReport, AppError> {
        let readiness =
            Readiness::new(self.authenticator.clone(), self.catalog.clone(), shutdown.clone());
        for address in self.server.addresses() {
            tracing::info!(%address, "asking is open to Envoy");
        }
        tracing::info!(address = %self.admin_address, "the admin port is open");
        let is_loopback = self.admin_address.ip().to_canonical().is_loopback();
        if self.admin_token.is_some() && self.admin_tls.is_none() && !is_loopback {
            tracing::warn!("the admin token can be read on its way: give `listen.admin_tls`");
        }

        let mut tasks = JoinSet::new();
        let (authenticator, http) = (self.authenticator, Arc::clone(&self.http));
        let stop = shutdown.receiver();
        tasks.spawn(async move {
            authenticator.run(http, stop).await;
            "keys"
        });
        if let Some(resolver) = self.resolver {
            let (http, stop) = (Arc::clone(&self.http), shutdown.receiver());
            tasks.spawn(async move {
                resolver.run(http, stop).await;
                "groups"
            });
        }
        let reread = self.catalog.clone();
        let (catalog, http, stop) = (self.catalog, self.http, shutdown.receiver());
        tasks.spawn(async move {
            catalog.run(http, stop).await;
            "catalog"
        });
        let (policies, stop) = (self.policies.clone(), shutdown.receiver());
        tasks.spawn(async move {
            policies.run(stop).await;
            "policies"
        });
        let (health, ready, stop) = (self.health, readiness.clone(), shutdown.clone());
        tasks.spawn(async move {
            health.run(ready, stop).await;
            "health"
        });
        let pages = admin::router(Admin {
            readiness,
            registry: Arc::clone(&self.registry),
            log: self.log,
            catalog: reread.clone(),
            watched: self.watched,
            explainer: self.explainer,
            access: Access {
                is_loopback,
                token: self.admin_token.clone(),
                certificates: self.admin_tls.as_ref().is_some_and(ServerTls::asks_clients),
            },
        });
        for tls in self.tls.iter().chain(&self.admin_tls) {
            let (tls, stop) = (tls.clone(), shutdown.receiver());
            tasks.spawn(async move {
                tls.run(stop).await;
                "certificates"
            });
        }
        if let Some(token) = self.admin_token {
            let stop = shutdown.receiver();
            tasks.spawn(async move {
                token.run(stop).await;
                "admin token"
            });
        }
        let (listener, tls) = (self.admin, self.admin_tls.clone());
        tasks.spawn(async move {
            admin::serve(listener, tls, pages).await;
            "admin"
        });

        let (push, registry, stop) =
            (self.push.clone(), Arc::clone(&self.registry), shutdown.receiver());
        tasks.spawn(async move {
            push.run(registry, stop).await;
            "metrics"
        });

        let serving = self.server.run(self.service, shutdown.clone());
        tokio::pin!(serving);
        let report = loop {
            tokio::select! {
                report = &mut serving => break Ok(report),
                () = self.reload.notified() => {
                    tracing::info!("reading catalog, policies and certificates again, and opening the audit file anew");
                    self.audit.reopen();
                    reread.refresh_now();
                    self.policies.reload_now();
                    self.tls.iter().chain(&self.admin_tls).for_each(ServerTls::reload_now);
                }
                Some(ended) = tasks.join_next() => {
                    // The tasks that end with the drain have ended well.
                    if shutdown.stage() == crate::shutdown::Stage::Running {
                        break Err(AppError::TaskEnded(ended.unwrap_or("unknown: it panicked")));
                    }
                }
            }
        };
        tasks.abort_all();
        flush(self.audit, self.traces, (self.push, &self.registry)).await;
        report
    }
}

/// What a listener shows, if it has TLS.
fn server_tls(
    what: &str,
    settings: Option<TlsSettings>,
    protocol: Protocol,
) -> Result<Option<ServerTls>, AppError> {
    let load = |settings| ServerTls::load(settings, protocol, Now::read());
    settings
        .map(load)
        .transpose()
        .map_err(|error| AppError::Configuration(format!("{what}: {error}")))
}

/// Where the groups come from that a token doesn't list.
pub(crate) fn overage(from: OverageFrom, resolver: Option<&GroupResolver>) -> OverageSource {
    match (from, resolver) {
        (OverageFrom::Catalog, _) => OverageSource::Catalog,
        (OverageFrom::Graph, Some(resolver)) => OverageSource::graph(resolver.clone()),
        (OverageFrom::Nowhere, _) | (OverageFrom::Graph, None) => OverageSource::Nowhere,
    }
}

/// Writes what is still queued, for a bounded time.
async fn flush(audit: AuditTask, traces: Traces, (push, registry): (MetricsPush, &Registry)) {
    let spans = tokio::task::spawn_blocking(move || traces.shutdown(FLUSH_TIMEOUT));
    let all = async { tokio::join!(audit.stop(FLUSH_TIMEOUT), spans, push.send(registry)) };
    if tokio::time::timeout(FLUSH_TIMEOUT, all).await.is_err() {
        tracing::warn!("the last audit records, spans or metrics could not be written in time");
    }
}
