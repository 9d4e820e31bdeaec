//! Threads of the real program that hang or die. Both are brought about from outside, by a clock
//! that answers one thread in its own way: the program has no switch for it.

use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt as _;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use crate::support::envoy::raw_admin;
use crate::support::process::Process;
use crate::support::stack::Options;
use tokio::time::{Instant, sleep, timeout};

/// Long enough for a busy machine; nothing waits for it to pass.
const DEADLINE: Duration = Duration::from_secs(60);
/// What a name takes in the file that the clock goes by, as long as names of threads can be.
const NAME: usize = 16;

/// `stagedoor serve` with that clock, and with a systemd that wants a sign of life every three
/// seconds and hears none.
struct Server {
    process: Process,
    names: File,
    _systemd: UnixDatagram,
}

impl Server {
    async fn start() -> Self {
        let options = Options { listen: ", workers: 2".to_owned(), ..Options::default() };
        let mut given = None;
        let process = Process::begin(&options, |command, folder| {
            let [code, names, socket] = ["threads.so", "threads", "notify"].map(|n| folder.join(n));
            let compiled = std::process::Command::new("cc")
                .args(["-shared", "-fPIC", "-O1", "-o"])
                .arg(&code)
                .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/threads.c"))
                .status();
            assert!(compiled.expect("a C compiler").success());
            std::fs::write(&names, [0; 2 * NAME]).unwrap();
            let file = File::options().write(true).open(&names).unwrap();
            given = Some((file, UnixDatagram::bind(&socket).unwrap()));
            command.env("LD_PRELOAD", code).env("STAGEDOOR_TEST_THREADS", names);
            command.env("NOTIFY_SOCKET", socket).env("WATCHDOG_USEC", "3000000");
        });
        let process = process.await;
        let (names, systemd) = given.unwrap();
        Self { process, names, _systemd: systemd }
    }

    /// Has this thread halt where it next asks for the time, until another is named.
    fn halt(&self, thread: &str) {
        self.name(0, thread);
    }

    /// Has this thread panic where it next asks for the time.
    fn fail(&self, thread: &str) {
        self.name(NAME, thread);
    }

    fn name(&self, at: usize, thread: &str) {
        let mut name = [0; NAME];
        name[..thread.len()].copy_from_slice(thread.as_bytes());
        self.names.write_all_at(&name, u64::try_from(at).unwrap()).unwrap();
    }

    async fn admin(&self) -> SocketAddr {
        const OPEN: &str = "the admin port is open address=";
        let line = self.process.said("where its admin port is", |line| line.contains(OPEN)).await;
        line.split_once(OPEN).unwrap().1.parse().unwrap()
    }

    /// Waits until it says so of itself. On a busy machine another thread may be late for a
    /// moment, or who feels them.
    async fn live(&self, status: u16, is_said: impl Fn(&str) -> bool) {
        let begun = Instant::now();
        loop {
            let (got, text) = self.get("/live").await;
            if got == status && is_said(&text) {
                return;
            }
            assert!(begun.elapsed() < DEADLINE, "{got}: {text}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until it is well.
    async fn is_well(&self) {
        self.live(200, |text| text == "live\n").await;
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        let answer = raw_admin(self.admin().await, request).await.unwrap();
        (answer.status, String::from_utf8(answer.body).unwrap())
    }

    /// Waits until its metrics tell of so many threads.
    async fn unresponsive(&self, threads: &str) {
        let wanted = format!("stagedoor_threads_unresponsive {threads}");
        let begun = Instant::now();
        loop {
            let (_, metrics) = self.get("/metrics").await;
            if metrics.lines().any(|line| line == wanted) {
                return;
            }
            assert!(begun.elapsed() < DEADLINE, "not `{wanted}`: {metrics}");
            sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Who can't be answered any more says so where Kubernetes asks, as systemd is told no more.
#[tokio::test]
async fn a_thread_that_hangs_is_no_life() {
    let server = Server::start().await;
    server.is_well().await;
    server.unresponsive("0.0").await;
    server.halt("check-1");
    let is_one = |why: &str| {
        why.starts_with("threads that serve connections and have not answered for ")
            && why.ends_with(" s: 1\n")
    };
    server.live(503, is_one).await;
    server.unresponsive("1.0").await;
    let logged = |line: &str| line.contains("ERROR") && line.contains("do not answer: 1");
    server.process.said("that a thread hangs", logged).await;
    server.halt("");
    server.is_well().await;
    server.unresponsive("0.0").await;
}

/// What has to run as long as the process does takes it along when it dies, and the last line
/// names it.
#[tokio::test]
async fn a_critical_thread_that_dies_is_the_end() {
    for (thread, last) in [
        ("check-0", "`check` ended by itself: a thread that serves connections is gone"),
        ("audit", "`audit` ended by itself: a panic: called `Result::unwrap()` on an `Err` value"),
    ] {
        let mut server = Server::start().await;
        server.is_well().await;
        server.fail(thread);
        // It has something to do: a change, which is on record.
        server.process.edit(|text| text.replace("[\"/whoami$\"]", "[\"/who$\"]"));
        server.process.signal("HUP");
        let status = timeout(DEADLINE, server.process.child.wait()).await.expect("it ends");
        assert_eq!(status.unwrap().code(), Some(1), "{thread}");
        let last = format!("stagedoor: the task {last}");
        server.process.said("why it ended", |line| line.starts_with(&last)).await;
    }
}
