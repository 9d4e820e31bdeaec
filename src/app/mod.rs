//! Wiring: takes the configuration apart and hands each part what it needs.
//!
//! Production and tests start the server the same way: [`App::build`] binds
//! everything and says where, [`App::run`] serves until it is told to end.

mod behind;
mod changes;
mod generation;
mod health;
mod ownership;
mod policies;
mod process;
mod recorder;
mod refusals;
mod reload;
mod reload_metrics;
mod sources;
mod suspended;
mod systemd;
mod task;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tonic::service::Routes as Services;

use crate::admin::{self, Access, Admin, AdminToken, Liveness, Readiness, Reloads, Watched};
use crate::audit::{AuditTask, AuditWriter};
use crate::authorizer::Current;
use crate::authorizer::explain::Explainer;
use crate::catalog::Catalog;
use crate::clock::Now;
use crate::config::Config;
use crate::ext_authz::proto::FILE_DESCRIPTOR_SET;
use crate::ext_authz::{CallLimits, CheckService, Endpoint, HttpEndpoint};
use crate::fetch::HttpClient;
use crate::serve::{self, BoundAddress, DrainReport, Pulse, Server, Unwell};
use crate::shutdown::{Shutdown, Stage};
use crate::telemetry::{LogFilter, Metrics, MetricsPush, Traces};
use crate::tls::{Protocol, ServerTls, TlsSettings};

use generation::Generation;
use recorder::Recorder;
use reload::{Reach, Reloader};
use task::named;

pub(crate) use generation::overage;
pub use systemd::Systemd;
pub use task::Ended;

/// How long the last audit records, spans and metrics may take to be written.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// A decision that misses its deadline is answered and recorded by the Check service;
/// only a call that stays silent for this much longer is answered in its place.
const LAST_CHANCE: Duration = Duration::from_millis(20);

/// How long the threads that serve may be silent where nobody says, until the process is taken
/// to be no good any more: for whoever starts it anew by what `/live` answers.
const SILENCE: Duration = Duration::from_secs(15);
/// They are felt so many times in that, so that one sign that is late is no end.
const SIGNS: u32 = 3;

/// A server that is bound and not yet running.
pub struct App {
    server: Server,
    check: CheckService<Explainer>,
    service: Endpoint<Explainer, Recorder>,
    /// Of the listeners that are asked for decisions.
    tls: Vec<ServerTls>,
    admin: TcpListener,
    admin_address: SocketAddr,
    admin_tls: Option<ServerTls>,
    admin_token: Option<AdminToken>,
    registry: Arc<Registry>,
    log: Option<LogFilter>,
    health: health::Health,
    current: Current,
    catalog: Catalog,
    http: Arc<HttpClient>,
    reloader: Reloader,
    reloads: Reloads,
    systemd: Systemd,
    audit: AuditTask,
    watched: Watched,
    liveness: Liveness,
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
    #[error("{0}")]
    TaskEnded(Ended),
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
        let http = Arc::new(http);
        let (serve, admin) = (config.serve.clone(), config.admin);
        let (tls, http_tls) = (config.tls.clone(), config.http_tls.clone());
        let (admin_tls, dialect) = (config.admin_tls.clone(), config.http.clone());
        let admin_token_file = config.admin_token_file.clone();
        let (audit, telemetry) = (config.audit.clone(), config.telemetry.clone());
        let (fixed, watch, origin) =
            (config.fixed.clone(), config.reload.watch, config.origin.clone());
        let catalog = Catalog::new(config.catalog.clone());
        let generation =
            Generation::first(reload::plan(config), &catalog).map_err(AppError::Configuration)?;
        let current = Current::new(generation.explainer.clone());

        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let unfit = |e| AppError::start("telemetry.otlp_endpoint", e);
        let traces = Traces::new(&telemetry).map_err(unfit)?;
        let push = MetricsPush::new(&telemetry).map_err(unfit)?;
        let (sender, audit) =
            AuditWriter::start(&audit).map_err(|e| AppError::start("audit", e))?;
        let records = sender.clone();
        let ownership = ownership::Ownership::new(sender.clone(), generation.routes().clone());
        catalog.observe(Arc::clone(&ownership) as _);
        let recorder = Recorder::new(metrics.clone(), traces.clone(), sender);

        let limits = CallLimits {
            deadline: generation.check.deadline + LAST_CHANCE,
            max_message_bytes: serve.max_message_bytes,
        };
        let check = CheckService::new(
            generation.explainer.clone(),
            generation.answer.clone(),
            generation.check.clone(),
            Box::new(recorder.clone()),
        );
        let (health, health_service) = health::Health::new().await;
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .build_v1()
            .map_err(|e| AppError::start("gRPC reflection", e))?;
        let others = Services::new(health_service).add_service(reflection).prepare();
        let recorder = Arc::new(recorder);
        let service = Endpoint::new(check.clone(), Arc::clone(&recorder), limits, others);

        let file = origin.as_ref().map(|origin| origin.file.display().to_string());
        let version = origin.as_ref().map(|origin| Arc::clone(&origin.version));
        let (reloads, asked) = Reloads::new(file, version);
        let tls = [(tls, Protocol::Grpc), (http_tls, Protocol::Http)]
            .map(|(settings, protocol)| server_tls("listen.tls", settings, protocol));
        let tls = tls.into_iter().filter_map(Result::transpose).collect::<Result<Vec<_>, _>>()?;
        let admin_tls = server_tls("listen.admin_tls", admin_tls, Protocol::Admin)?;
        let admin_token = admin_token_file.map(AdminToken::load).transpose().map_err(|error| {
            AppError::Configuration(format!("listen.admin_token_file: {error}"))
        })?;
        let mut server =
            Server::bind_with(serve, &tls).await.map_err(|e| AppError::start("listen", e))?;
        if let Some(dialect) = dialect {
            let http = HttpEndpoint::new(check.clone(), recorder, dialect);
            server = server.with_http(Arc::new(http));
        }
        let watched = Watched {
            reloads: reloads.clone(),
            current: current.clone(),
            catalog: catalog.clone(),
            audit: records.clone(),
            metrics,
            serve: server.stats(),
            max_connections: server.max_connections(),
            check: check.clone(),
            tls: tls.iter().chain(&admin_tls).cloned().collect(),
            traces: traces.clone(),
            push: push.clone(),
            process: process::now,
            started,
        };
        let liveness = Liveness::default();
        let parts = sources::Parts {
            current: current.clone(),
            catalog: catalog.clone(),
            audit: records.clone(),
            serve: server.stats(),
            liveness: liveness.clone(),
            check: check.clone(),
            tls: tls.iter().chain(&admin_tls).cloned().collect(),
        };
        registry.register_collector(Box::new(parts));
        registry.register_collector(Box::new(behind::Behind {
            current: current.clone(),
            audit: records.clone(),
            traces: traces.clone(),
            push: push.clone(),
        }));
        registry.register_collector(Box::new(policies::PolicyMetrics(current.clone())));
        registry.register_collector(Box::new(reload_metrics::ReloadMetrics(reloads.clone())));
        registry.register_collector(Box::new(process::Process::new()));
        let reach = Reach {
            check: check.clone(),
            endpoint: service.clone(),
            max_message_bytes: limits.max_message_bytes,
            current: current.clone(),
            ownership,
            catalog: catalog.clone(),
            http: Arc::clone(&http),
            audit: records,
        };
        let reloader =
            Reloader::new(reach, generation, (fixed, watch, origin), (asked, reloads.clone()));
        let admin = serve::listen_tcp(admin)
            .map_err(|e| AppError::start(format!("listen.admin: {admin}"), e))?;
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
            current,
            catalog,
            http,
            reloader,
            reloads,
            systemd: Systemd::default(),
            audit,
            watched,
            liveness,
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

    /// Where proxies ask that don't ask over gRPC.
    #[must_use]
    pub fn http_addresses(&self) -> &[BoundAddress] {
        self.server.http_addresses()
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

    /// Tells systemd from now on how it goes.
    #[must_use]
    pub fn with_systemd(self, systemd: Systemd) -> Self {
        Self { systemd, ..self }
    }

    /// Notified, configuration, catalog, policies and certificates are read again at once, and the
    /// audit file opened anew, for when it was renamed: what SIGHUP does.
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
            Readiness::new(self.current.clone(), self.catalog.clone(), shutdown.clone());
        for address in self.server.addresses() {
            tracing::info!(%address, "asking is open to Envoy");
        }
        for address in self.server.http_addresses() {
            tracing::info!(%address, "asking is open to proxies over HTTP");
        }
        tracing::info!(address = %self.admin_address, "the admin port is open");
        let is_loopback = self.admin_address.ip().to_canonical().is_loopback();
        if self.admin_token.is_some() && self.admin_tls.is_none() && !is_loopback {
            tracing::warn!("the admin token can be read on its way: give `listen.admin_tls`");
        }

        let mut tasks = JoinSet::new();
        let (mut reloader, stop) = (self.reloader, shutdown.receiver());
        reloader.tell(self.systemd.clone());
        tasks.spawn(async move {
            // A task that it holds is named, and not the one that holds it.
            let run = async { reloader.run(stop).await.err() };
            named("reload", run).await
        });
        let (catalog, http, stop) = (self.catalog.clone(), self.http, shutdown.receiver());
        tasks.spawn(named("catalog", async move {
            catalog.run(http, stop).await;
            None
        }));
        let (health, ready, stop) = (self.health, readiness.clone(), shutdown.clone());
        let systemd = self.systemd.clone();
        tasks.spawn(named("health", async move {
            health.run(ready, systemd, stop).await;
            None
        }));
        let pages = admin::router(Admin {
            readiness,
            liveness: self.liveness.clone(),
            registry: Arc::clone(&self.registry),
            log: self.log,
            catalog: self.catalog.clone(),
            watched: self.watched,
            current: self.current.clone(),
            reloads: self.reloads.clone(),
            access: Access {
                is_loopback,
                token: self.admin_token.clone(),
                certificates: self.admin_tls.as_ref().is_some_and(ServerTls::asks_clients),
            },
        });
        for tls in self.tls.iter().chain(&self.admin_tls) {
            let (tls, stop) = (tls.clone(), shutdown.receiver());
            tasks.spawn(named("certificates", async move {
                tls.run(stop).await;
                None
            }));
        }
        if let Some(token) = self.admin_token {
            let stop = shutdown.receiver();
            tasks.spawn(named("admin token", async move {
                token.run(stop).await;
                None
            }));
        }
        let (listener, tls) = (self.admin, self.admin_tls.clone());
        tasks.spawn(named("admin", async move {
            admin::serve(listener, tls, pages).await;
            None
        }));
        let (pulse, systemd) = (self.server.pulse(), self.systemd.clone());
        tasks.spawn(named("pulse", watch_over(pulse, systemd, self.liveness)));
        let (current, catalog) = (self.current.clone(), self.catalog.clone());
        tasks.spawn(named("suspended", suspended::watch(current, catalog)));

        let (push, registry, stop) =
            (self.push.clone(), Arc::clone(&self.registry), shutdown.receiver());
        tasks.spawn(named("metrics", async move {
            push.run(registry, stop).await;
            None
        }));

        let mut audit = self.audit;
        let serving = self.server.run(self.service, shutdown.clone());
        tokio::pin!(serving);
        self.systemd.ready();
        let report = loop {
            tokio::select! {
                report = &mut serving => break Ok(report),
                () = self.reload.notified() => {
                    tracing::info!(
                        "reading configuration, catalog, policies and certificates again, and opening the audit file anew"
                    );
                    audit.reopen();
                    self.catalog.refresh_now();
                    self.current.load().authorizer().policy.reload_now();
                    self.tls.iter().chain(&self.admin_tls).for_each(ServerTls::reload_now);
                    self.reloads.order();
                }
                // Nobody tells it to before all connections have ended: what is decided from
                // here on would be on no record.
                outcome = audit.ended() => {
                    break Err(AppError::TaskEnded(Ended::of("audit", outcome)));
                }
                Some(ended) = tasks.join_next() => {
                    // The tasks that end with the drain have ended well.
                    if shutdown.stage() == Stage::Running {
                        let lost = |_| Ended { task: "unknown", cause: None };
                        break Err(AppError::TaskEnded(ended.unwrap_or_else(lost)));
                    }
                }
            }
        };
        tasks.abort_all();
        flush(audit, self.traces, (self.push, &self.registry)).await;
        report
    }
}

/// Feels the threads that serve, and says so while they answer. Ends when one is gone: its
/// connections are, and each new one would go the same way.
async fn watch_over(pulse: Pulse, systemd: Systemd, liveness: Liveness) -> Option<Ended> {
    let silence = systemd.watchdog().unwrap_or(SILENCE);
    let every = silence / SIGNS;
    liveness.begin(silence, Instant::now());
    loop {
        let begun = tokio::time::Instant::now();
        match pulse.beat(every).await {
            Ok(()) => {
                liveness.answered(Instant::now());
                systemd.alive();
            }
            Err(unwell @ Unwell::Late(threads)) => {
                liveness.silent(threads);
                tracing::error!("{unwell}");
            }
            Err(unwell @ Unwell::Gone) => {
                return Some(Ended { task: "check", cause: Some(unwell.to_string()) });
            }
        }
        tokio::time::sleep_until(begun + every).await;
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

/// Writes what is still queued, for a bounded time.
async fn flush(audit: AuditTask, traces: Traces, (push, registry): (MetricsPush, &Registry)) {
    let spans = tokio::task::spawn_blocking(move || traces.shutdown(FLUSH_TIMEOUT));
    let all = async { tokio::join!(audit.stop(FLUSH_TIMEOUT), spans, push.send(registry)) };
    if tokio::time::timeout(FLUSH_TIMEOUT, all).await.is_err() {
        tracing::warn!("the last audit records, spans or metrics could not be written in time");
    }
}
