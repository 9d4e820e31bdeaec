//! A proxy as a process.

use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use rand::RngExt as _;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

const START_DEADLINE: Duration = Duration::from_secs(60);
/// Below those that the system gives to whoever asks for any, as everything else here does:
/// none of them takes a port between its choice and its use.
const PORTS: Range<u16> = 20_000..32_768;
/// How many of them were handed out. Tests of one process never get the same one: what connects
/// to the other's proxy before the own one has failed to start would be taken for it. Tests of
/// another process are kept apart by chance alone, as this begins anywhere.
static NEXT: LazyLock<AtomicU16> =
    LazyLock::new(|| AtomicU16::new(rand::rng().random_range(0..PORTS.end - PORTS.start)));

/// A running proxy; killed when dropped.
pub(crate) struct Front {
    /// Where clients connect.
    pub(crate) address: SocketAddr,
    _child: Child,
    _folder: TempDir,
}

impl Front {
    /// Starts what `command` makes for an address, in a folder for its files. Neither nginx nor
    /// Traefik tells which port the system chose, so one is chosen before; where somebody else
    /// takes it meanwhile, another is.
    pub(crate) async fn start(command: impl Fn(SocketAddr, &Path) -> Command) -> Self {
        let deadline = Instant::now() + START_DEADLINE;
        loop {
            let address = free().await;
            let folder = tempfile::tempdir().unwrap();
            let output = std::fs::File::create(folder.path().join("output")).unwrap();
            let mut child = command(address, folder.path())
                .stdin(Stdio::null())
                .stdout(output.try_clone().unwrap())
                .stderr(output)
                .kill_on_drop(true)
                .spawn()
                .unwrap();
            loop {
                let ended = child.try_wait().unwrap();
                if ended.is_none() && TcpStream::connect(address).await.is_ok() {
                    return Self { address, _child: child, _folder: folder };
                }
                let said = std::fs::read_to_string(folder.path().join("output"));
                assert!(Instant::now() < deadline, "{}", said.unwrap_or_default());
                sleep(Duration::from_millis(20)).await;
                if ended.is_some() {
                    break;
                }
            }
        }
    }
}

/// An address that nobody listens on, and nobody else here was given.
async fn free() -> SocketAddr {
    loop {
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = PORTS.start + next % (PORTS.end - PORTS.start);
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).await.is_ok() {
            return address;
        }
    }
}

/// The binary that a script finds or installs.
pub(crate) fn binary(script: &str) -> PathBuf {
    let script = root().join("scripts").join(script);
    let output = std::process::Command::new(&script).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", script.display());
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim_end())
}

/// A file that ships, with each of these replaced, which stands there once.
pub(crate) fn shipped(name: &str, replaced: &[(&str, &str)]) -> String {
    let mut text = std::fs::read_to_string(root().join("deploy").join(name)).unwrap();
    for (from, to) in replaced {
        assert_eq!(text.matches(from).count(), 1, "`{from}` in {name}");
        text = text.replace(from, to);
    }
    text
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
