//! `stagedoor serve`

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};

use crate::app::App;
use crate::config::Config;
use crate::shutdown::Shutdown;
use crate::telemetry::{self, LogFilter};

/// One that compiles a large snapshot leaves another to answer a probe.
const BACKGROUND_THREADS: usize = 2;

pub(super) fn run(file: &Path) -> anyhow::Result<ExitCode> {
    let config = super::config::load(file)?;
    let log = telemetry::init(&config.telemetry)?;
    // Requests are decided on threads of their own; this is for what goes on behind them:
    // refreshing, the admin port, telemetry.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(BACKGROUND_THREADS)
        .thread_name("background")
        .enable_all()
        .build()
        .context("the runtime can't be started")?;
    runtime.block_on(serve(config, log.filter()))?;
    Ok(ExitCode::SUCCESS)
}

async fn serve(config: Config, log: LogFilter) -> anyhow::Result<()> {
    let app = App::build(config).await?.with_log(log);
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
