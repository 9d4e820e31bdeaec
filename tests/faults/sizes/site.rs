//! What a figure is measured on: the program as it ships, with a tenant and a catalog of ten
//! thousand entities, and callers who ask it all the time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use devtenant::backstage::{Backstage, BackstageOptions};
use devtenant::front::Authority;
use devtenant::generated::Generated;
use devtenant::tenant::{Tenant, TenantOptions};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::cheap::CheapKey;
use super::client::{Answer, Client, Outcome};
use super::mint::{Mint, check};
use crate::process::{Launch, Supervised};
use crate::support::stack::AUDIENCE;
use crate::world::{binary, until};

/// Where requests are for.
pub(super) const HOST: &str = "payments.example.com";
/// A path of it that its owners may ask for.
pub(super) const PATH: &str = "/v1/orders";
/// The group of the first component's owners.
pub(super) const OWNERS: &str = "aaaaaaaa-0000-0000-0000-000000000001";
/// The id of the key that signs the tokens of [`Site::known`].
pub(super) const KEY: &str = "cheap";

/// Ten thousand of them, a hundred and twenty systems included.
const ENTITIES: Generated = Generated {
    components: 6000,
    resources: 2000,
    users: 1380,
    groups: 500,
    levels: 4,
    edition: 0,
};

/// How it differs from what ships.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Setup {
    /// More sections of the configuration.
    pub(super) more: &'static str,
    /// What the shell does before it starts.
    pub(super) first: &'static str,
}

/// Nobody reads the records, and nobody has to: they are made and written all the same.
pub(super) const RECORDS_TO_NOWHERE: &str = "exec >/dev/null;";

/// One process, and what it needs. What is in it ends with it.
pub(super) struct Site {
    pub(super) tenant: Tenant,
    pub(super) process: Supervised,
    pub(super) mint: Mint,
    pub(super) key: Arc<CheapKey>,
    _backstage: Backstage,
    _folder: TempDir,
}

impl Site {
    /// Starts everything, and waits until it is ready.
    pub(super) async fn start(setup: Setup) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let tenant = Tenant::start(TenantOptions::default()).await?;
        let key = Arc::new(CheapKey::new());
        tenant.add_raw_jwk(key.jwk(KEY, &tenant.issuer_v2()));
        assert_eq!(ENTITIES.total(), 10_000);
        assert_eq!(Generated::group_id(ENTITIES.owner(0)), OWNERS);
        let options = BackstageOptions { generated: Some(ENTITIES), ..BackstageOptions::default() };
        let backstage = Backstage::start(options).await?;
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("authority.pem"), Authority::generate()?.pem())?;
        std::fs::write(path("stagedoor.yaml"), configuration(&tenant, &backstage, setup.more))?;
        let process = Supervised::new(Launch {
            binary: binary(),
            config: path("stagedoor.yaml"),
            authority: path("authority.pem"),
            machine: None,
            first: setup.first.to_owned(),
        });
        let mint = Mint::new(&tenant);
        let site = Self { tenant, process, mint, key, _backstage: backstage, _folder: folder };
        site.process.start();
        let ready = until("it is ready", || async {
            let answer = site.process.admin("/ready").await;
            answer.is_ok_and(|text| text.contains("\"pending\":[]"))
        });
        ready.await.with_context(|| site.process.log())?;
        Ok(site)
    }

    /// Where it is asked.
    pub(super) fn address(&self) -> Result<SocketAddr> {
        self.process.running().grpc.context("it has no port")
    }

    /// Checks of so many callers who may get in, numbered from `first` on.
    pub(super) fn known(&self, first: u64, count: u64) -> Vec<Bytes> {
        let signed = |number| check(&self.mint.signed(number, KEY, &self.key), PATH);
        (first..first + count).map(signed).collect()
    }

    /// As [`Site::known`], and each has been let in once.
    pub(super) async fn warm(&self, first: u64, count: u64) -> Result<Vec<Bytes>> {
        let checks = self.known(first, count);
        let mut client = Client::connect(self.address()?, 1).await?;
        for check in &checks {
            let answer = client.one(check).await?;
            ensure!(answer.outcome() == Outcome::Allowed, "not let in: {}", answer.text());
        }
        Ok(checks)
    }
}

fn configuration(tenant: &Tenant, backstage: &Backstage, more: &str) -> String {
    format!(
        "listen: {{ grpc: [\"127.0.0.1:0\"], admin: \"127.0.0.1:0\" }}\n\
         entra:\n  tenants:\n    - id: {id}\n      authority: {authority}\n      \
         audiences: [{AUDIENCE}]\n\
         catalog:\n  backstage: {{ url: \"{backstage}\" }}\n\
         routes:\n  - {{ name: payments, hosts: [{HOST}], paths: [/], gate: policy, \
         entity: \"component:default/service-000000\" }}\n\
         {more}",
        id = tenant.id(),
        authority = tenant.authority(),
        backstage = backstage.url(),
    )
}

/// How callers ask who may get in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    /// From an answer to the next request.
    pub(super) pause: Duration,
    /// Over a connection of its own each time.
    pub(super) anew: bool,
    /// Whether being turned away is right as well: of who was never seen before.
    pub(super) may_be_shed: bool,
}

/// Callers who ask one after the other, on and on, and each answer is judged.
pub(super) struct Callers {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Result<Heard>>,
}

/// What they heard.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) let_in: usize,
    pub(super) shed: usize,
    pub(super) wrong: usize,
    /// The first that was wrong.
    pub(super) first: String,
    /// Of all answers.
    pub(super) times: Vec<Duration>,
}

impl Heard {
    fn judge(&mut self, answer: &Answer, manner: Manner) {
        self.times.push(answer.took);
        match answer.outcome() {
            Outcome::Allowed => self.let_in += 1,
            Outcome::TurnedAway if manner.may_be_shed => self.shed += 1,
            _ => {
                if self.wrong == 0 {
                    self.first = answer.text();
                }
                self.wrong += 1;
            }
        }
    }
}

impl Callers {
    /// They begin to ask.
    pub(super) fn start(to: SocketAddr, checks: Vec<Bytes>, manner: Manner) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            let (mut heard, mut kept) = (Heard::default(), None);
            for check in checks.iter().cycle() {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let begun = Instant::now();
                let mut client = match kept.take() {
                    Some(client) => client,
                    None => Client::connect(to, 1).await?,
                };
                let mut answer = client.one(check).await?;
                if manner.anew {
                    // The connection is a part of it.
                    answer.took = begun.elapsed();
                } else {
                    kept = Some(client);
                }
                heard.judge(&answer, manner);
                sleep(manner.pause).await;
            }
            anyhow::Ok(heard)
        });
        Self { stop, task }
    }

    /// They ask no more.
    pub(super) async fn stop(self) -> Result<Heard> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await?
    }
}
