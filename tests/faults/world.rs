//! What a fault happens in: a tenant and a catalog behind TLS, the real binary, and a real
//! Envoy in front of a service.

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Result, ensure};
use devtenant::backstage::{Backstage, BackstageOptions, component, group};
use devtenant::bucket::Bucket;
use devtenant::front::{Authority, Front};
use devtenant::keys::SigningKey;
use devtenant::service::Echo;
use devtenant::tenant::{Endpoint, Tenant, TenantOptions};
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

use crate::callers::{ADA, REVOKED};
use crate::door::Door;
use crate::machine;
use crate::process::{Launch, Supervised};
use crate::shared;
use crate::support::envoy::{Envoy, EnvoyConfig};
use crate::support::stack::{AUDIENCE, OTHERS, OWNERS, POLICY, ROUTES};

/// Long enough for a busy machine; nothing waits for it to pass.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);
/// Of a check, for a debug build beside all else that plays on a small machine; and as it ships.
const USUAL_CHECK: &str = "{ deadline: 9s, queue_timeout: 1s }";
pub(crate) const SHIPPED_CHECK: &str = "{ deadline: 150ms, queue_timeout: 10ms }";
/// How long a request waits for Graph, as it ships.
pub(crate) const SHIPPED_WAIT: &str = "120ms";
/// Longer than Stagedoor's own deadline.
const CHECK_TIMEOUT: Duration = Duration::from_secs(12);
const APP: &str = "cccccccc-0000-0000-0000-000000000001";

/// What worlds share, one after another: Envoy, and the service behind it.
pub(crate) struct Lane {
    folder: TempDir,
    pub(crate) upstream: Echo,
    envoy: tokio::sync::Mutex<Option<Envoy>>,
    address: Mutex<std::net::SocketAddr>,
}

impl Lane {
    pub(crate) async fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let upstream = Echo::start().await?;
        let envoy = Self::envoy(&folder, &upstream).await?;
        let address = Mutex::new(envoy.address);
        Ok(Self { folder, upstream, envoy: Some(envoy).into(), address })
    }

    async fn envoy(folder: &TempDir, upstream: &Echo) -> Result<Envoy> {
        let socket = folder.path().join("stagedoor.sock");
        let config = EnvoyConfig::unix(socket, upstream.address());
        Envoy::start(config.check_timeout(CHECK_TIMEOUT)).await
    }

    /// Has requests go through this Envoy, or again through the lane's own.
    async fn lead_to(&self, other: Option<std::net::SocketAddr>) {
        let own = self.envoy.lock().await.as_ref().map(|envoy| envoy.address);
        if let Some(address) = other.or(own) {
            *self.address.lock().unwrap() = address;
        }
    }

    /// Where requests go.
    pub(crate) fn address(&self) -> std::net::SocketAddr {
        *self.address.lock().unwrap()
    }

    /// Ends Envoy without a word, and starts another.
    pub(crate) async fn replace_envoy(&self) -> Result<()> {
        let mut envoy = self.envoy.lock().await;
        if let Some(old) = envoy.take() {
            old.kill().await?;
        }
        let new = Self::envoy(&self.folder, &self.upstream).await?;
        *self.address.lock().unwrap() = new.address;
        *envoy = Some(new);
        Ok(())
    }
}

/// What is different from the usual configuration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    /// More sections.
    pub(crate) more: &'static str,
    /// Instead of the usual limits of a check.
    pub(crate) check: Option<&'static str>,
    /// Whether spans and records go to a collector.
    pub(crate) collector: bool,
    /// What is logged.
    pub(crate) log: Option<&'static str>,
    /// How long a request waits for Graph.
    pub(crate) graph_wait: &'static str,
    /// More settings of Graph, each after a comma.
    pub(crate) graph: &'static str,
    /// When keys are fetched.
    pub(crate) keys: &'static str,
    /// More settings of `entra`, each a line indented by two.
    pub(crate) entra: &'static str,
    /// More settings of `policy`, each after a comma.
    pub(crate) policy: &'static str,
    /// Whether the clock and the disk of the process can be set.
    pub(crate) machine: bool,
    /// Whether Envoy asks over mTLS, and not over the Unix socket.
    pub(crate) tls: bool,
    /// Where snapshots are shared.
    pub(crate) sharing: Sharing,
}

/// Where snapshots are shared, and who else is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// They are not.
    Nowhere,
    /// In a folder, where nobody else is: who is tested leads.
    Folder,
    /// In a folder where another replica leads: who is tested follows.
    Followed,
    /// In an object store, where nobody else is.
    Bucket,
}

impl Setting {
    /// The usual ones.
    pub(crate) const USUAL: Self = Self {
        more: "",
        check: None,
        collector: false,
        log: None,
        graph_wait: "4s",
        graph: "",
        keys: "refresh_every: 1m, min_refresh_interval: 1s",
        entra: "",
        policy: "",
        machine: false,
        tls: false,
        sharing: Sharing::Nowhere,
    };
}

/// Everything around one process. What is in it ends with it.
pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) tenant: Tenant,
    pub(crate) old_key: SigningKey,
    pub(crate) tenant_front: Front,
    pub(crate) backstage: Backstage,
    pub(crate) backstage_front: Front,
    /// What the catalog begins with.
    pub(crate) entities: Vec<Value>,
    pub(crate) collector: Front,
    pub(crate) process: Supervised,
    /// What Envoy asks through where that is TLS.
    pub(crate) door: Option<Door>,
    /// Where snapshots are shared, if that is an object store.
    pub(crate) bucket: Option<Bucket>,
    /// The replica that leads, where there is another.
    pub(crate) other: Option<Supervised>,
    /// Held by whoever changes a file that is read anew.
    pub(crate) files: Mutex<()>,
    tasks: Mutex<Vec<AbortHandle>>,
}

impl World {
    /// Everything but the process, which is not started yet.
    pub(crate) async fn new(lane: &Lane, authority: &Authority, setting: Setting) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let tenant_front = Front::start(authority).await?;
        let tenant = Tenant::start(TenantOptions {
            authority: Some(tenant_front.url()),
            ..TenantOptions::default()
        })
        .await?;
        tenant_front.lead_to(tenant.address());
        let old_key = SigningKey::test(0).named("old-key");
        tenant.publish_key(&old_key);
        tenant.directory().user(ADA, &[OWNERS]);
        tenant.applications().secret(APP, "the secret");

        let backstage_front = Front::start(authority).await?;
        let token = Some("catalog-token-0123456789".to_owned());
        let entities = entities();
        let options = BackstageOptions { token, entities: entities.clone(), ..Default::default() };
        let backstage = Backstage::start(options).await?;
        backstage_front.lead_to(backstage.address());
        let collector = Front::start(authority).await?;
        collector.set(devtenant::front::Passage::Closed);

        let path = |name: &str| folder.path().join(name);
        for store in ["keys", "snapshots", shared::FOLDER] {
            std::fs::create_dir(path(store))?;
        }
        std::fs::write(path("authority.pem"), authority.pem())?;
        std::fs::write(path("graph-secret"), "the secret\n")?;
        std::fs::write(path("catalog-token"), "catalog-token-0123456789\n")?;
        std::fs::write(path("revocations"), format!("object {REVOKED}\n"))?;
        std::fs::write(path("policy.cedar"), POLICY)?;
        if setting.machine {
            machine::make(folder.path())?;
        }
        let bucket = match setting.sharing {
            Sharing::Bucket => Some(Bucket::start().await?),
            Sharing::Nowhere | Sharing::Folder | Sharing::Followed => None,
        };
        let launch = Launch {
            binary: binary(),
            config: path("stagedoor.yaml"),
            authority: path("authority.pem"),
            machine: setting.machine.then(|| (path(machine::CODE), path(machine::NUMBERS))),
            first: bucket.as_ref().map_or_else(String::new, shared::environment),
        };
        let process = Supervised::new(launch.clone());
        let door = if setting.tls {
            Some(Door::make(&process, lane.upstream.address(), CHECK_TIMEOUT).await?)
        } else {
            None
        };
        lane.lead_to(door.as_ref().map(Door::address)).await;
        let mut world = Self {
            folder,
            tenant,
            old_key,
            tenant_front,
            backstage,
            backstage_front,
            entities,
            collector,
            process,
            door,
            bucket,
            other: None,
            files: Mutex::default(),
            tasks: Mutex::default(),
        };
        std::fs::write(world.path("stagedoor.yaml"), world.configuration(lane, setting))?;
        if setting.sharing == Sharing::Followed {
            world.other = Some(shared::lead(&world, launch).await?);
        }
        Ok(world)
    }

    fn configuration(&self, lane: &Lane, setting: Setting) -> String {
        let (check, wait) = if ships_deadlines() {
            (SHIPPED_CHECK, SHIPPED_WAIT)
        } else {
            (USUAL_CHECK, setting.graph_wait)
        };
        let check = setting.check.unwrap_or(check);
        let tls =
            self.door.as_ref().map_or_else(String::new, |door| format!(", tls: {}", door.tls()));
        let collector = self.collector.url().replace("https://localhost", "http://127.0.0.1");
        let (otlp, spans) = if setting.collector {
            (format!(", otlp: \"{collector}\""), format!(", otlp_endpoint: \"{collector}\""))
        } else {
            (String::new(), String::new())
        };
        format!(
            "listen: {{ grpc: [\"unix:{socket}\", \"127.0.0.1:0\"], admin: \"127.0.0.1:0\", workers: 2{tls} }}\n\
             entra:\n  overage: graph\n  \
             graph: {{ client_id: {APP}, secret_file: graph-secret, wait: {wait}, ttl: 10m, failure_ttl: 1s{more_graph} }}\n  \
             keys: {{ {keys}, unknown_key_wait: 100ms, fetch_timeout: 1s, store: keys }}\n  \
             revocations_file: revocations\n{more_entra}  tenants:\n    - id: {id}\n      authority: {authority}\n      \
             issuer_v1: {v1}\n      issuer_v2: {v2}\n      versions: [v1, v2]\n      audiences: [{AUDIENCE}]\n      \
             graph_url: {graph}\n\
             catalog:\n  backstage: {{ url: \"{backstage}\", token_file: catalog-token, page_size: 10, crawl_timeout: 2s }}\n  \
             refresh_every: 1s\n  store: snapshots\n  guard: {{ adopt_after: 1000 }}\n{shared}\
             {ROUTES}policy: {{ files: [policy.cedar], reload_every: 1s{more_policy} }}\n\
             check: {check}\n\
             audit: {{ to: stdout, queue: 100{otlp} }}\n\
             telemetry: {{ log: \"{log}\"{spans} }}\n{more}",
            shared = shared::section(self, setting.sharing),
            more_graph = setting.graph,
            keys = setting.keys,
            more_entra = setting.entra,
            more_policy = setting.policy,
            log = setting.log.unwrap_or("info"),
            more = setting.more,
            socket = lane.folder.path().join("stagedoor.sock").display(),
            id = self.tenant.id(),
            authority = self.tenant.authority(),
            v1 = self.tenant.issuer_v1(),
            v2 = self.tenant.issuer_v2(),
            graph = self.tenant.graph_url(),
            backstage = self.backstage_front.url(),
        )
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file that is read anew, in one piece.
    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> Result<()> {
        let _lock = self.files.lock().unwrap();
        let new = self.path(&format!("{name}.written"));
        std::fs::write(&new, text)?;
        Ok(std::fs::rename(&new, self.path(name))?)
    }

    /// Goes on until this is dropped or [`World::calm`].
    pub(crate) fn meanwhile(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.lock().unwrap().push(tokio::spawn(task).abort_handle());
    }

    /// Ends whatever goes on meanwhile.
    pub(crate) fn calm(&self) {
        for task in self.tasks.lock().unwrap().drain(..) {
            task.abort();
        }
    }

    /// How often the tenant was asked for documents.
    pub(crate) fn documents_asked(&self) -> usize {
        self.tenant.requests(Endpoint::Discovery) + self.tenant.requests(Endpoint::Keys)
    }

    /// An answer of the admin port.
    pub(crate) async fn admin(&self, path: &str) -> Result<String> {
        self.process.admin(path).await
    }

    /// The sum of the samples of a metric.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        self.process.metric(name).await
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.calm();
    }
}

/// The program that is tested: `STAGEDOOR_BINARY`, or the one that was built with this.
pub(crate) fn binary() -> PathBuf {
    std::env::var_os("STAGEDOOR_BINARY")
        .map_or_else(|| env!("CARGO_BIN_EXE_stagedoor").into(), PathBuf::from)
}

/// Whether those faults alone are played that stand for the others, on whatever machine.
pub(crate) fn is_short() -> bool {
    std::env::var("STAGEDOOR_FAULTS").is_ok_and(|extent| extent == "few")
}

/// Whether each row gives a check as little time as ships, and not what a debug build needs.
pub(crate) fn ships_deadlines() -> bool {
    match std::env::var("STAGEDOOR_FAULTS_DEADLINES").as_deref() {
        Ok("shipped") => true,
        Ok("") | Err(_) => false,
        Ok(other) => {
            panic!("STAGEDOOR_FAULTS_DEADLINES is `shipped` or nothing, and not `{other}`")
        }
    }
}

/// Waits until it is so.
pub(crate) async fn until<F>(what: &str, mut reached: impl FnMut() -> F) -> Result<()>
where
    F: Future<Output = bool>,
{
    let deadline = Instant::now() + DEADLINE;
    while !reached().await {
        ensure!(Instant::now() < deadline, "in vain: {what}");
        sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// Two teams and what they own, on four pages.
fn entities() -> Vec<Value> {
    let mut all = vec![
        group("payments-team", Some(OWNERS), None),
        group("orders-team", Some(OTHERS), None),
        component("payments", "payments-team"),
        component("orders", "orders-team"),
    ];
    all.extend((0..30).map(|number| component(&format!("part-{number}"), "orders-team")));
    all
}
