//! Replicas are replaced one by one while requests go on, and nobody notices.
//!
//! `STAGEDOOR_BINARY` names another program than the one built with this: a release, which is
//! tested with all times as they ship.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::envoy::{Envoy, EnvoyConfig, RawConnection};
use crate::support::port::Port;
use crate::support::stack::{AUDIENCE, OTHERS, OWNERS, Options, request_of_many, write_config};
use devtenant::service::Echo;
use devtenant::tenant::{Tenant, TenantOptions};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::sleep;

/// An Envoy that looks at the health notices before the door closes, also where it or the replica
/// has to wait some seconds for its turn. And a check may take longer: what is looked at is the
/// replacement, by a debug build on a machine that may be busy.
const HEALTH_INTERVAL: Duration = Duration::from_millis(500);
const LIMITS: &str = "limits: { pre_stop: 6s, drain_timeout: 10s }\ncheck: { deadline: 9s }\n";
/// Nothing but what is the default.
const SHIPPED: &str = "check: { deadline: 150ms }\n";
/// Longer than Stagedoor's own deadline, and for a look at the health as well.
const CHECK_TIMEOUT: Duration = Duration::from_secs(10);

/// The release that is tested, if it is one.
fn release() -> Option<PathBuf> {
    std::env::var_os("STAGEDOOR_BINARY").map(PathBuf::from)
}

/// One of the two, always at the same address.
struct Replica {
    port: Port,
    folder: TempDir,
    child: Child,
}

impl Replica {
    fn new(tenant: &Tenant) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let more = if release().is_some() { SHIPPED } else { LIMITS };
        let options = Options { more: more.to_owned(), ..Options::default() };
        let file = write_config(&folder, tenant, &options).unwrap();
        let port = Port::keep();
        let address = port.address;
        let text = std::fs::read_to_string(&file).unwrap();
        let text = text.replace("grpc: [\"127.0.0.1:0\"]", &format!("grpc: [\"{address}\"]"));
        assert!(text.contains(&address.to_string()));
        std::fs::write(&file, text).unwrap();
        let child = Self::run(&folder);
        Self { port, folder, child }
    }

    fn run(folder: &TempDir) -> Child {
        Command::new(release().unwrap_or_else(|| env!("CARGO_BIN_EXE_stagedoor").into()))
            .args(["serve", "--config", "stagedoor.yaml"])
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap()
    }

    /// Ends it as an orchestrator does, and starts it again when it has ended.
    async fn replace(&mut self) {
        let pid = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-s", "TERM", &pid]).status().await.unwrap().success());
        let ended = self.child.wait().await.unwrap();
        assert!(ended.success(), "{ended}");
        self.child = Self::run(&self.folder);
    }
}

/// What callers got, by who they are.
pub(crate) type Answers = Arc<Mutex<HashMap<(&'static str, String), usize>>>;

/// Asks on and on until it is over.
pub(crate) async fn ask(
    to: SocketAddr,
    caller: &'static str,
    token: Option<String>,
    answers: Answers,
    over: Arc<AtomicBool>,
) {
    let mut connection = RawConnection::default();
    let bearer = token.map(|token| format!("Bearer {token}"));
    let mut headers = vec![("x-caller", caller)];
    headers.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
    let request = request_of_many("GET", "payments.example.com", "/v1/orders", &headers);
    while !over.load(Ordering::Relaxed) {
        let answer = match connection.exchange(to, &request).await {
            Ok(answer) => match answer.json()["reason"].as_str() {
                Some(reason) => reason.to_owned(),
                None => answer.status.to_string(),
            },
            Err(error) => format!("{error:#}"),
        };
        *answers.lock().unwrap().entry((caller, answer)).or_default() += 1;
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[allow(clippy::print_stderr, reason = "of a release it is a figure")]
async fn a_rolling_restart_loses_no_request() {
    let tenant = Tenant::start(TenantOptions::default()).await.unwrap();
    let upstream = Echo::start().await.unwrap();
    let mut replicas = [Replica::new(&tenant), Replica::new(&tenant)];
    let mut config = EnvoyConfig::tcp(replicas[0].port.address, upstream.address())
        .replica(replicas[1].port.address);
    if release().is_none() {
        config = config.health_interval(HEALTH_INTERVAL).check_timeout(CHECK_TIMEOUT);
        config = config.patience(CHECK_TIMEOUT);
    }
    let envoy = Envoy::start(config).await.unwrap();
    for replica in &replicas {
        envoy.await_healthy("stagedoor", replica.port.address).await.unwrap();
    }

    let (answers, over) = (Answers::default(), Arc::new(AtomicBool::new(false)));
    let token = |group: &str| Some(tenant.token().audience(AUDIENCE).groups(&[group]).sign());
    let callers = [
        ("owner", token(OWNERS)),
        ("owner", token(OWNERS)),
        ("stranger", token(OTHERS)),
        ("nobody", None),
    ];
    let asking = callers.map(|(caller, token)| {
        let (answers, over) = (Arc::clone(&answers), Arc::clone(&over));
        tokio::spawn(ask(envoy.address, caller, token, answers, over))
    });
    for _ in 0..2 {
        for replica in &mut replicas {
            replica.replace().await;
            envoy.await_healthy("stagedoor", replica.port.address).await.unwrap();
        }
    }
    over.store(true, Ordering::Relaxed);
    for asker in asking {
        asker.await.unwrap();
    }

    let answers = answers.lock().unwrap();
    let sum: usize = answers.values().sum();
    eprintln!("four replacements, {sum} requests: {answers:?}");
    let right = [("owner", "200"), ("stranger", "not_permitted"), ("nobody", "token_missing")];
    let mut all: Vec<_> = answers.keys().map(|(who, what)| (*who, what.as_str())).collect();
    all.sort_unstable();
    let mut expected = right.to_vec();
    expected.sort_unstable();
    assert_eq!(all, expected, "{answers:?}");
    // Without any replica that answers there would be nothing to lose.
    assert!(answers.values().all(|count| *count > 100), "{answers:?}");
    assert_eq!(upstream.count_of("stranger") + upstream.count_of("nobody"), 0);
}
