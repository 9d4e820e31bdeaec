//! `stagedoor serve` as a process of its own, started again whenever it ends, as a
//! supervisor does.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::Command;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::support::envoy::raw_http;

/// How a process is begun.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    pub(crate) binary: PathBuf,
    pub(crate) config: PathBuf,
    /// The certificates that it trusts.
    pub(crate) authority: PathBuf,
    /// The code that answers for the machine and the file that it goes by, where it can be set.
    pub(crate) machine: Option<(PathBuf, PathBuf)>,
    /// What the shell does first: limits.
    pub(crate) first: String,
}

/// Where the running process can be reached, as far as it said so yet.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Running {
    pub(crate) pid: Option<u32>,
    pub(crate) grpc: Option<SocketAddr>,
    pub(crate) admin: Option<SocketAddr>,
}

/// The supervisor; the process ends with it.
#[derive(Debug)]
pub(crate) struct Supervised {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    launch: Mutex<Launch>,
    running: watch::Sender<Running>,
    ends: AtomicUsize,
    held_down: AtomicBool,
    /// Whether its standard output and its log are taken.
    takes: watch::Sender<bool>,
    /// Lines that hold a token.
    leaks: Mutex<Vec<String>>,
    log: Mutex<Vec<String>>,
}

impl Supervised {
    pub(crate) fn new(launch: Launch) -> Self {
        let shared = Arc::new(Shared {
            launch: Mutex::new(launch),
            running: watch::Sender::default(),
            ends: AtomicUsize::new(0),
            held_down: AtomicBool::new(true),
            takes: watch::Sender::new(true),
            leaks: Mutex::default(),
            log: Mutex::default(),
        });
        let task = tokio::spawn(supervise(Arc::clone(&shared)));
        Self { shared, task }
    }

    /// Has the process run from now on.
    pub(crate) fn start(&self) {
        self.shared.held_down.store(false, Ordering::SeqCst);
    }

    /// Ends it without a word, and keeps it down.
    pub(crate) async fn take_down(&self) {
        self.shared.held_down.store(true, Ordering::SeqCst);
        self.signal("KILL");
        let mut running = self.shared.running.subscribe();
        running.wait_for(|running| running.pid.is_none()).await.unwrap();
    }

    /// What the shell does first at the next start.
    pub(crate) fn first(&self, first: &str) {
        first.clone_into(&mut self.shared.launch.lock().unwrap().first);
    }

    /// Whether somebody takes what it writes.
    pub(crate) fn take_output(&self, takes: bool) {
        self.shared.takes.send_replace(takes);
    }

    pub(crate) fn running(&self) -> Running {
        *self.shared.running.borrow()
    }

    /// The same, whenever it changes.
    pub(crate) fn watch(&self) -> watch::Receiver<Running> {
        self.shared.running.subscribe()
    }

    pub(crate) fn ends(&self) -> usize {
        self.shared.ends.load(Ordering::SeqCst)
    }

    pub(crate) fn signal(&self, name: &str) {
        if let Some(pid) = self.running().pid {
            run("kill", &["-s", name, &pid.to_string()]);
        }
    }

    /// An answer of its admin port.
    pub(crate) async fn admin(&self, path: &str) -> Result<String> {
        let admin = self.running().admin.context("no admin port yet")?;
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        Ok(String::from_utf8(raw_http(admin, request).await?.body)?)
    }

    /// The sum of the samples of a metric.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let Ok(text) = self.admin("/metrics").await else { return 0.0 };
        let samples = text.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            if !rest.starts_with([' ', '{']) {
                return None;
            }
            rest.rsplit_once(' ')?.1.parse::<f64>().ok()
        });
        samples.sum()
    }

    /// Limits of the running process, as `prlimit` writes them.
    pub(crate) fn limit(&self, limit: &str) -> Result<()> {
        let pid = self.running().pid.context("no process")?.to_string();
        ensure!(run("prlimit", &["--pid", &pid, limit]), "prlimit {limit} failed");
        Ok(())
    }

    /// What it takes of the machine.
    pub(crate) fn usage(&self) -> Option<Usage> {
        Usage::of(self.running().pid?)
    }

    pub(crate) fn leaks(&self) -> Vec<String> {
        self.shared.leaks.lock().unwrap().clone()
    }

    /// The end of its log.
    pub(crate) fn log(&self) -> String {
        self.shared.log.lock().unwrap().join("\n")
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a process takes of the machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// Memory that it has now, and the most that it had, in bytes.
    pub(crate) memory: u64,
    pub(crate) peak: u64,
    pub(crate) descriptors: usize,
    /// Processor time since its start.
    pub(crate) processor: Duration,
}

impl Usage {
    fn of(pid: u32) -> Option<Self> {
        let read = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).ok();
        let status = read("status")?;
        let bytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kilo| kilo * 1024)
        };
        // The name in parentheses may hold anything.
        let stat = read("stat")?;
        let (_, fields) = stat.rsplit_once(") ")?;
        let ticks = |at: usize| fields.split(' ').nth(at)?.parse::<u64>().ok();
        Some(Self {
            memory: bytes("VmRSS:")?,
            peak: bytes("VmHWM:")?,
            descriptors: descriptors(pid)?,
            // A hundred a second, wherever Linux runs.
            processor: Duration::from_millis(10 * (ticks(11)? + ticks(12)?)),
        })
    }
}

/// How many descriptors a process has open. Which ones only root may see of a process that keeps
/// its memory to itself; how many Linux tells everybody, from 6.2 on.
pub(crate) fn descriptors(pid: u32) -> Option<usize> {
    let folder = format!("/proc/{pid}/fd");
    match std::fs::read_dir(&folder) {
        Ok(all) => Some(all.count()),
        Err(_) => usize::try_from(std::fs::metadata(&folder).ok()?.len()).ok(),
    }
}

/// Whether a small command succeeded. The process it is about may be gone.
pub(crate) fn run(program: &str, arguments: &[&str]) -> bool {
    let status = std::process::Command::new(program)
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.unwrap().success()
}

async fn supervise(shared: Arc<Shared>) {
    loop {
        while shared.held_down.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let launch = shared.launch.lock().unwrap().clone();
        // A file that may grow no more is an error then, and not the end of the process.
        let line = format!("trap '' XFSZ; {} exec \"$0\" \"$@\"", launch.first);
        let mut command = Command::new("sh");
        if let Some((code, file)) = &launch.machine {
            command.env("LD_PRELOAD", code).env("STAGEDOOR_TEST_MACHINE", file);
        }
        let mut child = command
            .arg("-c")
            .arg(&line)
            .arg(&launch.binary)
            .args(["serve", "--config"])
            .arg(&launch.config)
            .env("SSL_CERT_FILE", &launch.authority)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        shared.running.send_replace(Running { pid: child.id(), ..Running::default() });
        let records = tokio::spawn(take(Arc::clone(&shared), child.stdout.take().unwrap(), false));
        let log = tokio::spawn(take(Arc::clone(&shared), child.stderr.take().unwrap(), true));
        child.wait().await.unwrap();
        shared.running.send_replace(Running::default());
        shared.ends.fetch_add(1, Ordering::SeqCst);
        for task in [records, log] {
            task.abort();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn take(shared: Arc<Shared>, output: impl AsyncRead + Unpin, is_log: bool) {
    let mut lines = BufReader::new(output).lines();
    let mut takes = shared.takes.subscribe();
    loop {
        if takes.wait_for(|takes| *takes).await.is_err() {
            return;
        }
        let Ok(Some(line)) = lines.next_line().await else { return };
        // What every token's header begins with.
        if line.contains("eyJ") {
            shared.leaks.lock().unwrap().push(line.clone());
        }
        if is_log {
            note_addresses(&shared, &line);
            let mut log = shared.log.lock().unwrap();
            log.push(line);
            if log.len() > 60 {
                log.remove(0);
            }
        }
    }
}

fn note_addresses(shared: &Shared, line: &str) {
    let Some((text, address)) = line.rsplit_once("address=") else { return };
    let Ok(address) = address.parse::<SocketAddr>() else { return };
    shared.running.send_modify(|running| {
        if text.contains("asking is open to Envoy") {
            running.grpc = Some(address);
        } else if text.contains("the admin port is open") {
            running.admin = Some(address);
        }
    });
}
