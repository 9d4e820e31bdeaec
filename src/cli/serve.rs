//! `stagedoor serve`

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

use crate::app::{App, Systemd};
use crate::config::Config;
use crate::shutdown::Shutdown;
use crate::telemetry::{self, LogFilter};

/// One that compiles a large snapshot leaves another to answer a probe.
const BACKGROUND_THREADS: usize = 2;

/// How long what runs on may hold up the end of the process.
const LAST_MOMENT: Duration = Duration::from_millis(500);

/// `sealed` says whether the memory of the process stays its own.
pub(super) fn run(file: &Path, sealed: nix::Result<()>) -> anyhow::Result<ExitCode> {
    let config = super::config::load(file)?;
    let log = telemetry::init(&config.telemetry)?;
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    if let Err(error) = sealed {
        tracing::warn!(%error, "a crash may leave a core dump with tokens and secrets in it");
    }
    // Requests are decided on threads of their own; this is for what goes on behind them:
    // refreshing, the admin port, telemetry.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(BACKGROUND_THREADS)
        .thread_name("background")
        .enable_all()
        .build()
        .context("the runtime can't be started")?;
    let served = runtime.block_on(serve(config, log.filter()));
    // A file system or a resolver that hangs is not waited for.
    runtime.shutdown_timeout(LAST_MOMENT);
    served.map(|()| ExitCode::SUCCESS)
}

async fn serve(config: Config, log: LogFilter) -> anyhow::Result<()> {
    let app = App::build(config).await?;
    let app = app.with_log(log).with_systemd(Systemd::from_environment());
    let (handle, shutdown) = Shutdown::new();
    let no_signals = "signals can't be received";
    tokio::spawn(handle.signals().context(no_signals)?);
    let mut hangup = signal(SignalKind::hangup()).context(no_signals)?;
    let reload = app.reload();
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            reload.notify_one();
        }
    });
    app.run(shutdown).await?;
    Ok(())
}
