//! The gRPC port of the real binary, by clients that speak HTTP/2 as nobody should: they are
//! cut off or bounded, and another client is answered all the while.

#![allow(clippy::print_stderr, reason = "the figures are for whoever runs it by hand")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::abuse::{Abuse, Ended, once};
use crate::support::process::Process;
use crate::support::reply::legal;
use crate::support::stack::Options;
use http::uri::PathAndQuery;
use prost::Message as _;
use stagedoor::ext_authz::proto::envoy::service::auth::v3::{CheckRequest, CheckResponse};
use stagedoor::serve::BoundAddress;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

/// Longer than anything takes that is right, on a machine that is busy.
const SOON: Duration = Duration::from_secs(60);
/// What an attack may make the process grow by. Everything that a client can have kept is
/// bounded by connections, streams and windows, which are far less than this here.
const MAY_GROW: u64 = 64 << 20;
/// Processor time that it may take, without optimisation: for a step of up to a hundred frames,
/// for a connection from its begin to its end, and for an answer to the client beside. No
/// measure of speed: who looks at all there was for each frame takes more. Who turns in circles
/// is seen afterwards, when there is nothing to do.
const FOR_A_STEP: Duration = Duration::from_millis(2);
const FOR_A_CONNECTION: Duration = Duration::from_millis(100);
const FOR_AN_ANSWER: Duration = Duration::from_millis(2);
/// What it may take in a second in which nobody asks.
const QUIET: Duration = Duration::from_secs(1);
const FOR_QUIET: Duration = Duration::from_millis(300);
/// What is the server's to begin with: silence is over soon, and not so soon that a client that
/// behaves is taken for silent where its process is held up.
const LIMITS: &str = "limits: { max_connections: 40, max_concurrent_streams: 100, \
                      preface_timeout: 3s, keepalive_interval: 1s, keepalive_timeout: 3s }\n\
                      check: { deadline: 9s }\n";

struct Server {
    address: SocketAddr,
    process: Process,
}

impl Server {
    async fn start() -> Self {
        let options = Options { more: LIMITS.to_owned(), ..Options::default() };
        let process = Process::start(options).await;
        let BoundAddress::Tcp(address) = process.address().await else { panic!("not TCP") };
        Self { address, process }
    }

    /// The memory that it has, in bytes.
    fn memory(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.process.child.id().unwrap()))
                .unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() * 1024
    }

    /// The processor time that it has taken since its start.
    fn processor(&self) -> Duration {
        let stat =
            std::fs::read_to_string(format!("/proc/{}/stat", self.process.child.id().unwrap()))
                .unwrap();
        // The name in parentheses may hold anything.
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        let ticks = |at: usize| fields.split(' ').nth(at).unwrap().parse::<u64>().unwrap();
        // A hundred a second, wherever Linux runs.
        Duration::from_millis(10 * (ticks(11) + ticks(12)))
    }
}

/// A client that behaves, and asks on and on.
struct Good {
    answered: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

/// Asks once whether somebody may see a public page.
async fn ask(channel: &Channel) {
    let mut client = Grpc::new(channel.clone());
    client.ready().await.unwrap();
    let message = crate::message::message("x", "payments.example.com", "/public");
    let check = CheckRequest::decode(&*message).unwrap();
    let path = PathAndQuery::from_static("/envoy.service.auth.v3.Authorization/Check");
    let codec = ProstCodec::<CheckRequest, CheckResponse>::default();
    let answer = client.unary(tonic::Request::new(check), path, codec).await.unwrap();
    assert_eq!(legal(answer.get_ref()), Ok(true));
}

impl Good {
    async fn start(address: SocketAddr) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
        let channel = endpoint.connect().await.unwrap();
        ask(&channel).await;
        let (answered, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let task = tokio::spawn({
            let (answered, stop) = (Arc::clone(&answered), Arc::clone(&stop));
            async move {
                while !stop.load(Ordering::Relaxed) {
                    tokio::time::timeout(SOON, ask(&channel)).await.expect("it is answered");
                    answered.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            }
        });
        Self { answered, stop, task }
    }

    /// Waits for some more answers.
    async fn more(&self, count: usize) {
        let until = self.answered.load(Ordering::Relaxed) + count;
        while self.answered.load(Ordering::Relaxed) < until {
            assert!(!self.task.is_finished(), "the other client was not answered");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("every request of the other client was answered");
    }
}

/// So many connections that do this, beside one that behaves.
async fn attack(abuse: Abuse, connections: usize, steps: u32) -> Vec<Ended> {
    let server = Server::start().await;
    let good = Good::start(server.address).await;
    good.more(20).await;
    let before = server.memory();
    let (taken, answered) = (server.processor(), good.answered.load(Ordering::Relaxed));
    let attacks = (0..connections).map(|_| once(server.address, abuse, steps));
    let attacks = futures_util::future::join_all(attacks);
    tokio::pin!(attacks);
    let mut most = before;
    let ended = loop {
        tokio::select! {
            ended = &mut attacks => break ended,
            // In the middle of it, and looked at often.
            () = good.more(1) => most = most.max(server.memory()),
        }
    };
    most = most.max(server.memory());
    good.more(20).await;
    let answered = good.answered.load(Ordering::Relaxed) - answered;
    good.stop().await;
    // What was sent may still be read for a while: it was sent in steps that are counted, so it
    // is paid for by what they may take. Who turns in circles never comes to an end, or comes to
    // one when the connection does, and has taken too much by then.
    let ended_at = Instant::now();
    let (quiet, until_quiet) = loop {
        let before = server.processor();
        tokio::time::sleep(QUIET).await;
        let quiet = server.processor() - before;
        if quiet < FOR_QUIET {
            break (quiet, before);
        }
        assert!(ended_at.elapsed() < SOON, "{abuse:?}: {quiet:?} for nothing");
    };
    let taken = until_quiet - taken;
    let ended: Vec<Ended> = ended.into_iter().map(Result::unwrap).collect();
    // Of a connection that is cut off while it sends, the steps are not known: it is counted
    // as a connection.
    let steps: u32 = ended.iter().map(|ended| ended.steps).sum();
    let many = |count: usize| u32::try_from(count).unwrap();
    let may_take =
        FOR_A_STEP * steps + FOR_A_CONNECTION * many(connections) + FOR_AN_ANSWER * many(answered);
    eprintln!(
        "{abuse:?}: {} KiB before, at most {} KiB; {taken:?} of processor time, for {steps} steps \
         and {answered} answers, {quiet:?} in a quiet second; cut off: {} of {connections}",
        before / 1024,
        most / 1024,
        ended.iter().filter(|ended| ended.cut_off).count()
    );
    assert!(most - before < MAY_GROW, "{abuse:?}: from {before} to {most} bytes");
    assert!(taken < may_take, "{abuse:?}: {taken:?} for {steps} steps, {answered} answers");
    ended
}

/// Whoever floods with what no client needs loses the connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_floods_is_cut_off() {
    for abuse in [
        Abuse::RapidReset,
        Abuse::Continuation,
        Abuse::EmptyData,
        Abuse::UnreadPings,
        Abuse::LongFrame,
        Abuse::Noise,
    ] {
        for ended in attack(abuse, 5, 20_000).await {
            assert!(ended.cut_off, "{abuse:?}: {ended:?}");
        }
    }
}

/// What a client is within its rights to do over and over costs no memory.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_stalls_is_bounded() {
    for abuse in [
        Abuse::ZeroWindow,
        Abuse::Streams,
        Abuse::SettingsFlood,
        Abuse::PingFlood,
        Abuse::Priorities,
        Abuse::WindowUpdates,
        Abuse::HugeHeaders,
    ] {
        attack(abuse, 10, 500).await;
    }
}

/// Whoever takes their time is let go, however little they send to stay.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_slow_is_let_go() {
    for abuse in [Abuse::Silence, Abuse::Idleness, Abuse::SlowHeaders, Abuse::SlowBody] {
        for ended in attack(abuse, 20, 3000).await {
            assert!(ended.cut_off, "{abuse:?}: {ended:?}");
        }
    }
}
