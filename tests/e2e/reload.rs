//! Through a real Envoy and with real processes: reloads under load, signals, and what
//! systemd is told.

use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::files::replace;
use crate::support::process::Process;
use crate::support::stack::{AUDIENCE, OTHERS, OWNERS, Options, POLICY, Stack, reason};
use serde_json::Value;

const DEADLINE: Duration = Duration::from_secs(60);
/// Clients, the requests that each makes at least, and the reloads meanwhile.
const CLIENTS: usize = 4;
const REQUESTS: usize = 100;
const RELOADS: u64 = 18;

/// The configurations that take turns: whether `/whoami` is there for everybody, and the
/// audience that is accepted. What is a mistake is never in force.
const STATES: [(&str, &str); 4] = [
    ("/whoami$", AUDIENCE),
    ("/who$", AUDIENCE),
    ("/whoami$", "api://other"),
    ("/who$", "api://other"),
];

/// Reloads go on, a third of them broken, and so do requests. Each answer
/// is that of a configuration that was in force at some time while the request ran: never of
/// one that was refused, never of a mixture of two, never an error. A token of an audience
/// that is not accepted any more is refused however often it was accepted.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_answer_is_lawful_while_reloads_go_on() {
    let options = Options { more: "reload: { watch: false }\n".to_owned(), ..Options::default() };
    let stack = Arc::new(Stack::start(options).await.unwrap());
    let file = stack.stagedoor.folder.path().join("stagedoor.yaml");
    let good = std::fs::read_to_string(&file).unwrap();
    let text = |state: (&str, &str)| {
        good.replace("[\"/whoami$\"]", &format!("[\"{}\"]", state.0))
            .replace(&format!("audiences: [{AUDIENCE}]"), &format!("audiences: [{}]", state.1))
    };
    // How many reloads have begun, and how many have ended: the state after the n-th is
    // STATES[n % 4].
    let (begun, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (asked, done) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (stack, begun, ended) =
                (Arc::clone(&stack), Arc::clone(&begun), Arc::clone(&ended));
            let (asked, done) = (Arc::clone(&asked), Arc::clone(&done));
            tokio::spawn(async move {
                let group = if client % 2 == 0 { OWNERS } else { OTHERS };
                let tokens = [AUDIENCE, "api://other"].map(|audience| {
                    let token = stack.stagedoor.tenant.token();
                    let token = token.audience(audience).groups(&[group]).sign();
                    (audience, format!("Bearer {token}"))
                });
                let mut number = 0;
                while number < REQUESTS || !done.load(Ordering::SeqCst) {
                    let (audience, bearer) = &tokens[number % 2];
                    let path = if number % 3 == 0 { "/v1/orders" } else { "/whoami" };
                    number += 1;
                    let first = ended.load(Ordering::SeqCst);
                    let headers = [("authorization", bearer.as_str())];
                    let answer =
                        stack.ask("GET", "payments.example.com", path, &headers).await.unwrap();
                    let last = begun.load(Ordering::SeqCst);
                    let got = match answer.status {
                        200 => "allowed".to_owned(),
                        _ => reason(&answer).unwrap(),
                    };
                    let lawful: Vec<&str> = (first..=last)
                        .map(|state| {
                            let (whoami, accepted) = STATES[usize::try_from(state % 4).unwrap()];
                            match (accepted == *audience, path) {
                                (false, _) => "token_audience",
                                (true, "/whoami") if whoami == "/whoami$" => "allowed",
                                (true, _) if group == OWNERS => "allowed",
                                (true, _) => "not_permitted",
                            }
                        })
                        .collect();
                    assert!(lawful.contains(&&*got), "{got} for {audience} {path}: {lawful:?}");
                    asked.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();

    let (mut applied, mut refused) = (0_u64, 0_u64);
    while applied + refused < RELOADS {
        let before = asked.load(Ordering::SeqCst);
        if (applied + refused) % 3 == 2 {
            // It would let everybody in, were it not for a mistake at its end.
            let open = good.replace("gate: policy", "gate: public");
            let broken = [
                format!("{open}roots: []\n"),
                open.replace("127.0.0.1:0", "127.0.0.1:1"),
                format!("{open}audit: {{"),
            ];
            std::fs::write(&file, &broken[usize::try_from(refused % 3).unwrap()]).unwrap();
            let answer = stack.stagedoor.post("/reload", &[], "").await.unwrap();
            assert_eq!(answer.status, 409, "{}", answer.json());
            refused += 1;
        } else {
            let next = applied + 1;
            std::fs::write(&file, text(STATES[usize::try_from(next % 4).unwrap()])).unwrap();
            begun.store(next, Ordering::SeqCst);
            let answer = stack.stagedoor.post("/reload", &[], "").await.unwrap();
            assert_eq!(answer.status, 200, "{}", answer.json());
            ended.store(next, Ordering::SeqCst);
            applied = next;
        }
        // Whatever is in force now is asked for.
        while asked.load(Ordering::SeqCst) < before + 2 * CLIENTS {
            assert!(clients.iter().all(|client| !client.is_finished()), "a client found a mistake");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    done.store(true, Ordering::SeqCst);
    for client in clients {
        client.await.unwrap();
    }
    let asked = asked.load(Ordering::SeqCst);
    assert!(asked >= CLIENTS * REQUESTS);
    let records = stack.stagedoor.audit(asked).await.unwrap();
    assert!(records.iter().all(|record| record["reason"] != "internal"));
}

/// `stagedoor serve` with a systemd of the test's own.
struct Service {
    process: Process,
    systemd: UnixDatagram,
}

impl Service {
    async fn start(watchdog: Option<Duration>) -> Self {
        let options = Options {
            more: "reload: { watch: false }\nlimits: { pre_stop: 0s }\n".to_owned(),
            ..Options::default()
        };
        let mut systemd = None;
        let process = Process::begin(&options, |command, folder| {
            let socket = folder.join("notify");
            let bound = UnixDatagram::bind(&socket).unwrap();
            bound.set_read_timeout(Some(DEADLINE)).unwrap();
            systemd = Some(bound);
            command.env("NOTIFY_SOCKET", &socket);
            if let Some(watchdog) = watchdog {
                command.env("WATCHDOG_USEC", watchdog.as_micros().to_string());
            }
        });
        let process = process.await;
        Self { process, systemd: systemd.unwrap() }
    }

    /// What systemd is told next, but for signs of life and for what people read.
    fn told(&self) -> String {
        loop {
            let told = self.anything();
            if told != "WATCHDOG=1" && !told.starts_with("STATUS=") {
                return told;
            }
        }
    }

    fn anything(&self) -> String {
        let mut buffer = [0; 4096];
        let length = loop {
            match self.systemd.recv(&mut buffer) {
                // By the signal that tells of a child that stopped or went on.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                received => break received.unwrap(),
            }
        };
        String::from_utf8(buffer[..length].to_vec()).unwrap().trim_end().to_owned()
    }

    fn events(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.process.folder.path().join("audit.jsonl")).unwrap();
        let records = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        records
            .filter(|record| record["event"].as_str().is_some_and(|e| e.starts_with("config")))
            .collect()
    }
}

/// SIGHUP reloads, and systemd is told of each step of a life.
#[tokio::test(flavor = "multi_thread")]
async fn systemd_is_told_how_it_goes() {
    let mut service = Service::start(None).await;
    assert_eq!(service.told(), "READY=1");

    let reloading = |told: String| {
        let mut lines = told.lines();
        assert_eq!(lines.next(), Some("RELOADING=1"));
        let time = lines.next().unwrap().strip_prefix("MONOTONIC_USEC=").unwrap();
        time.parse::<u64>().unwrap()
    };
    service.process.edit(|text| text.replace("[\"/whoami$\"]", "[\"/who$\"]"));
    service.process.signal("HUP");
    let first = reloading(service.told());
    assert_eq!(service.told(), "READY=1");
    // One that is refused is over as well.
    service.process.edit(|text| text.replacen("routes:", "roots:", 1));
    service.process.signal("HUP");
    assert!(reloading(service.told()) > first);
    assert_eq!(service.told(), "READY=1");
    let refusal = |line: &str| line.contains("ERROR") && line.contains("is not taken over");
    let refusal = service.process.said("that it is refused", refusal).await;
    assert!(refusal.contains("unknown key `roots`"), "{refusal}");

    service.process.signal("TERM");
    assert_eq!(service.told(), "STOPPING=1");
    assert!(service.process.child.wait().await.unwrap().success());
    let events: Vec<_> =
        service.events().iter().map(|event| event["event"].as_str().unwrap().to_owned()).collect();
    assert_eq!(events, ["config_applied", "config_refused"]);
}

/// Signs of life come while the threads that serve answer.
#[tokio::test(flavor = "multi_thread")]
async fn the_watchdog_is_fed() {
    let service = Service::start(Some(Duration::from_millis(300))).await;
    let mut said = (0, false);
    while said.0 < 5 || !said.1 {
        match service.anything().as_str() {
            "WATCHDOG=1" => said.0 += 1,
            "STATUS=ready" => said.1 = true,
            _ => {}
        }
    }
    // A process that doesn't run feeds nobody.
    service.process.signal("STOP");
    service.systemd.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut buffer = [0; 4096];
    // What was sent before it stopped.
    while !service.systemd.recv(&mut buffer).is_err_and(|e| e.kind() == ErrorKind::WouldBlock) {}
    service.process.signal("CONT");
    service.systemd.set_read_timeout(Some(DEADLINE)).unwrap();
    while service.anything() != "WATCHDOG=1" {}
}

/// Whether it was meant that most of the routes or policies are gone, only who changed the files
/// can tell: it is in force, and said aloud.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_is_said() {
    let more = (0..3).map(|number| {
        format!("@id(\"more-{number}\") permit (principal, action, resource) when {{ false }};\n")
    });
    let options = Options {
        more: "reload: { watch: false }\n".to_owned(),
        policy: more.collect(),
        ..Options::default()
    };
    let process = Process::start(options).await;
    let lost = |what: &'static str| {
        move |line: &str| line.contains("WARN") && line.contains(what) && line.contains("are gone")
    };
    replace(process.folder.path().join("policy.cedar"), POLICY);
    process.signal("HUP");
    let said = process.said("that policies are gone", lost("half of the policies")).await;
    assert!(said.contains("before=5 after=2"), "{said}");

    // Two of five are left.
    process.edit(|text| {
        let is_kept = |line: &&str| {
            !line.starts_with("  - { name:")
                || line.contains("payments,")
                || line.contains("whoami,")
        };
        text.lines().filter(is_kept).map(|line| format!("{line}\n")).collect()
    });
    process.signal("HUP");
    let said = process.said("that routes are gone", lost("half of the routes")).await;
    assert!(said.contains("before=5 after=2"), "{said}");
}
