//! `stagedoor serve` as a process of its own.

use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use devtenant::tenant::{Tenant, TenantOptions};
use stagedoor::serve::BoundAddress;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::Instant;

use super::files::replace;
use super::stack::{Options, write_config};

/// Long enough for a busy machine; nothing waits for it to pass.
const DEADLINE: Duration = Duration::from_secs(60);

/// The process, which ends with this, and what it was given.
pub(crate) struct Process {
    pub(crate) child: Child,
    pub(crate) tenant: Tenant,
    pub(crate) folder: TempDir,
    log: Arc<Mutex<String>>,
}

impl Process {
    /// One that is ready to be asked.
    pub(crate) async fn start(options: Options) -> Self {
        let process = Self::begin(&options, |_, _| {}).await;
        let is_ready = |line: &str| line.contains("ready") && !line.contains("not ready");
        process.said("that it is ready", is_ready).await;
        process
    }

    /// One that was just started, by a command that was changed before.
    pub(crate) async fn begin(options: &Options, change: impl FnOnce(&mut Command, &Path)) -> Self {
        let tenant = Tenant::start(TenantOptions::default()).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let config = write_config(&folder, &tenant, options).unwrap();
        let mut command = serve(&config);
        change(&mut command, folder.path());
        let (child, log) = spawn(command);
        Self { child, tenant, folder, log }
    }

    /// Starts it again, once it has ended, with the same files.
    pub(crate) fn start_again(&mut self) {
        let command = serve(&self.folder.path().join("stagedoor.yaml"));
        (self.child, self.log) = spawn(command);
    }

    /// The first line of its log that is wanted, as soon as it is there.
    pub(crate) async fn said(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let begun = Instant::now();
        loop {
            let log = self.log.lock().unwrap().clone();
            if let Some(line) = log.lines().find(|line| wanted(line)) {
                return line.to_owned();
            }
            assert!(begun.elapsed() < DEADLINE, "it never said {what}:\n{log}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Where it can be asked.
    pub(crate) async fn address(&self) -> BoundAddress {
        const OPEN: &str = "asking is open to Envoy address=";
        let line = self.said("where it can be asked", |line| line.contains(OPEN)).await;
        let (_, address) = line.split_once(OPEN).unwrap();
        match address.strip_prefix("unix:") {
            Some(path) => BoundAddress::Unix(path.into()),
            None => BoundAddress::Tcp(address.parse().unwrap()),
        }
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().unwrap().to_string();
        let status = std::process::Command::new("kill").args(["-s", name, &pid]).status().unwrap();
        assert!(status.success());
    }

    /// Changes its configuration, which it may read again.
    pub(crate) fn edit(&self, change: impl FnOnce(&str) -> String) {
        let file = self.folder.path().join("stagedoor.yaml");
        let text = std::fs::read_to_string(&file).unwrap();
        let changed = change(&text);
        assert_ne!(changed, text, "nothing was changed");
        replace(&file, changed);
    }
}

fn serve(config: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stagedoor"));
    command.args(["serve", "--config"]).arg(config);
    command
}

/// Runs it, and keeps its log.
fn spawn(mut command: Command) -> (Child, Arc<Mutex<String>>) {
    let mut child = command.stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let log = Arc::new(Mutex::new(String::new()));
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let kept = Arc::clone(&log);
    // Read on and on, so that it never waits for its log to be taken.
    tokio::spawn(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            let mut log = kept.lock().unwrap();
            log.push_str(&line);
            log.push('\n');
        }
    });
    (child, log)
}
