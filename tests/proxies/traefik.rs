//! `deploy/traefik/`.

use tokio::process::Command;
use tokio::time::{Duration, Instant, sleep};

use super::front::{Front, binary, shipped};
use super::support::stack::{Options, Stagedoor};
use super::{Stack, options};
use devtenant::service::Echo;
use stagedoor::serve::BoundAddress;

async fn start(options: Options) -> Stack {
    let stagedoor = Stagedoor::start(options).await.unwrap();
    let upstream = Echo::start().await.unwrap();
    let BoundAddress::Tcp(asked) = stagedoor.http[0] else { panic!("not TCP") };
    let (service, traefik) = (upstream.address(), binary("traefik"));
    let front = Front::start(|address, folder| {
        let fixed =
            shipped("traefik/traefik.yaml", &[("\"127.0.0.1:8000\"", &format!("\"{address}\""))]);
        let dynamic = shipped(
            "traefik/dynamic.yaml",
            &[
                ("\"http://127.0.0.1:9193/\"", &format!("\"http://{asked}/\"")),
                ("\"http://127.0.0.1:8081\"", &format!("\"http://{service}\"")),
            ],
        );
        std::fs::write(folder.join("traefik.yaml"), fixed).unwrap();
        std::fs::write(folder.join("dynamic.yaml"), dynamic).unwrap();
        let mut command = Command::new(&traefik);
        command.arg("--configFile=traefik.yaml").current_dir(folder);
        command
    })
    .await;
    let stack = Stack { stagedoor, upstream, front };
    // It listens before it knows its routes, and answers 404 until then.
    let deadline = Instant::now() + Duration::from_secs(60);
    while stack.ask("GET", "/v1/orders", &[]).await.status == 404 {
        assert!(Instant::now() < deadline, "traefik has no routes");
        sleep(Duration::from_millis(20)).await;
    }
    stack
}

#[tokio::test]
async fn decisions() {
    let stack = start(options("traefik", "")).await;
    super::who_passes_and_as_whom(&stack).await;
    super::who_is_denied_and_how(&stack).await;
    super::what_a_client_says_of_its_request(&stack).await;
}

#[tokio::test]
async fn what_cannot_be_decided() {
    super::what_cannot_be_decided(start, "traefik").await;
}
