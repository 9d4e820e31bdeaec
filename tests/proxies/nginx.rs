//! `deploy/nginx/nginx.conf`.

use tokio::process::Command;

use super::front::{Front, binary, shipped};
use super::support::stack::{OWNERS, Options, Stagedoor, reason};
use super::{Stack, options};
use devtenant::service::Echo;
use stagedoor::serve::BoundAddress;

async fn start(options: Options) -> Stack {
    let stagedoor = Stagedoor::start(options).await.unwrap();
    let upstream = Echo::start().await.unwrap();
    let asked = match &stagedoor.http[0] {
        BoundAddress::Tcp(address) => address.to_string(),
        BoundAddress::Unix(path) => format!("unix:{}", path.display()),
    };
    let (service, nginx) = (upstream.address(), binary("nginx"));
    let front = Front::start(|address, folder| {
        let at = folder.display();
        // The places for large bodies, which are the distribution's otherwise.
        let places: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("    {name}_temp_path {at}/{name};\n"))
            .concat();
        let text = shipped(
            "nginx/nginx.conf",
            &[
                ("server 127.0.0.1:9193;", &format!("server {asked};")),
                ("server 127.0.0.1:8081;", &format!("server {service};")),
                ("listen 127.0.0.1:8000;", &format!("listen {address};")),
                ("pid /tmp/stagedoor-nginx.pid;", &format!("pid {at}/pid;")),
                ("worker_processes auto;", "worker_processes 1;"),
                (
                    "proxy_read_timeout 2s;\n            # A denial",
                    "proxy_read_timeout 20s;\n            # A denial",
                ),
                ("http {\n", &format!("http {{\n{places}")),
            ],
        );
        let file = folder.join("nginx.conf");
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new(&nginx);
        // One process, which ends with the test; that the workers of root are somebody else is
        // no use where the folder is ours alone.
        command.args(["-e", "stderr", "-g", "daemon off; master_process off;", "-c"]).arg(&file);
        command
    })
    .await;
    Stack { stagedoor, upstream, front }
}

#[tokio::test]
async fn decisions() {
    let stack = start(options("nginx", "")).await;
    super::who_passes_and_as_whom(&stack).await;
    super::who_is_denied_and_how(&stack).await;
    super::what_a_client_says_of_its_request(&stack).await;
    // As the client wrote it, not as nginx reads it; and a status that nginx would not tell.
    let answer = stack.ask("GET", "//v1/orders", &[]).await;
    assert_eq!((answer.status, reason(&answer).unwrap().as_str()), (400, "path_not_canonical"));
    // Nobody gets at the question or at the denial from outside.
    for path in ["/stagedoor/check", "/stagedoor%2fcheck", "//stagedoor/check"] {
        let answer = stack.ask("GET", path, &[("x-original-uri", "/healthz")]).await;
        assert!(answer.status >= 400, "{path}: {answer:?}");
        assert!(answer.header("x-stagedoor-kind").is_none(), "{path}: {answer:?}");
    }
    let answer = stack.ask("GET", "/denial", &[("x-stagedoor-denial", "CgMIkAM=")]).await;
    assert_eq!((answer.status, reason(&answer).unwrap().as_str()), (401, "token_missing"));
}

/// One decision, one record: the denial is told again, not made again.
#[tokio::test]
async fn one_record_a_request() {
    let stack = start(options("nginx", "")).await;
    let owner = stack.bearer(&[OWNERS]);
    for round in 1..=3 {
        let denied = stack.ask("GET", "/v1/orders", &[]).await;
        assert_eq!(denied.status, 401);
        let debug = [("authorization", owner.as_str()), ("x-stagedoor-debug", "1")];
        let allowed = stack.ask("GET", "/v1/orders", &debug).await;
        // An explanation is long, and for the client.
        assert!(allowed.header("x-stagedoor-explanation").is_some(), "{allowed:?}");
        let records = stack.stagedoor.audit(2 * round).await.unwrap();
        assert_eq!(records.len(), 2 * round);
        let id = denied.header("x-stagedoor-decision-id").unwrap();
        assert!(records[2 * round - 2].to_string().contains(id), "{records:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_decided() {
    super::what_cannot_be_decided(start, "nginx").await;
}

#[tokio::test]
async fn over_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("http.sock");
    let listen = format!(", http: ['unix:{}']", path.display());
    let stack = start(Options { listen, ..options("nginx", "") }).await;
    super::who_passes_and_as_whom(&stack).await;
}
