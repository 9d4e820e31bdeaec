//! Two real processes that share snapshots in a folder, and one of them is killed.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use crate::support::port::Port;
use crate::support::stack::{Options, write_config};
use devtenant::backstage::{Backstage, BackstageOptions, component, group};
use devtenant::tenant::{Tenant, TenantOptions};
use serde_json::Value;
use stagedoor::fetch::{Exchange as _, HttpClient, Limits, Outgoing};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

const DEADLINE: Duration = Duration::from_secs(60);

struct Replica {
    child: Child,
    status: url::Url,
    _port: Port,
    _folder: TempDir,
}

fn start(tenant: &Tenant, backstage: &Backstage, shared: &Path) -> Replica {
    let folder = tempfile::tempdir().unwrap();
    let catalog = format!(
        "catalog:\n  refresh_every: 1s\n  shared: {{ url: \"file://{}\", lease: 10s, poll_every: 1s }}\n  \
         backstage: {{ url: \"{}\" }}\n",
        shared.display(),
        backstage.url()
    );
    let options = Options { catalog: Some(catalog), ..Options::default() };
    let file = write_config(&folder, tenant, &options).unwrap();
    let port = Port::keep();
    let admin = port.address;
    let text = std::fs::read_to_string(&file).unwrap();
    let text = text.replace("admin: \"127.0.0.1:0\"", &format!("admin: \"{admin}\""));
    std::fs::write(&file, text).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_stagedoor"))
        .args(["serve", "--config", "stagedoor.yaml"])
        .current_dir(folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let status = format!("http://{admin}/status").parse().unwrap();
    Replica { child, status, _port: port, _folder: folder }
}

impl Replica {
    /// What it says of its catalog; nothing while it isn't up.
    async fn catalog(&self) -> Option<Value> {
        let request = Outgoing { url: &self.status, headers: Vec::new(), body: None };
        let limits = Limits { timeout: Duration::from_secs(5), max_bytes: 1 << 20 };
        let answer = HttpClient::new().unwrap().exchange(request, limits).await.ok()?;
        let status: Value = serde_json::from_slice(&answer.body).ok()?;
        Some(status["catalog"].clone())
    }

    /// Waits until it is so.
    async fn until(&self, what: &str, so: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            if let Some(catalog) = self.catalog().await.filter(|catalog| so(catalog)) {
                return catalog;
            }
            assert!(began.elapsed() < DEADLINE, "{what}: {:?}", self.catalog().await);
            sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test]
async fn the_crawler_is_killed_and_the_other_takes_over() {
    let tenant = Tenant::start(TenantOptions::default()).await.unwrap();
    let mut entities = vec![
        group("team", Some("aaaaaaaa-0000-0000-0000-000000000001"), None),
        group("other", Some("aaaaaaaa-0000-0000-0000-000000000002"), None),
    ];
    entities.extend((0..9).map(|number| component(&format!("c{number}"), "team")));
    let options = BackstageOptions { entities: entities.clone(), ..BackstageOptions::default() };
    let backstage = Backstage::start(options).await.unwrap();
    let shared = tempfile::tempdir().unwrap();
    let is = |role: &'static str| {
        move |catalog: &Value| catalog["sharing"] == role && catalog["state"] == "fresh"
    };
    let mut first = start(&tenant, &backstage, shared.path());
    first.until("the first leads", is("publisher")).await;
    let second = start(&tenant, &backstage, shared.path());
    let followed = second.until("the second follows", is("follower")).await;

    // Without a word, in the middle of whatever it does.
    first.child.kill().await.unwrap();
    let asked = backstage.requests();
    let lasts = second.until("it answers", |_| true).await;
    assert_eq!(lasts["version"], followed["version"], "what it has it decides by on");
    let leads = second.until("the second leads", is("publisher")).await;
    assert_eq!(leads["version"], followed["version"]);
    entities[2]["relations"][0]["targetRef"] = Value::from("group:default/other");
    backstage.set_entities(entities);
    let version = followed["version"].clone();
    second.until("it crawls", |catalog| catalog["version"] != version).await;
    assert!(backstage.requests() > asked);

    // And one that is started again follows.
    let third = start(&tenant, &backstage, shared.path());
    third.until("the third follows", is("follower")).await;
    let leads = second.until("the second still leads", is("publisher")).await;
    third.until("they agree", |catalog| catalog["version"] == leads["version"]).await;
}
