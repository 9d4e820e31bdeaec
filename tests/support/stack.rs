//! Everything that a decision needs, for real: a tenant that signs tokens, a
//! catalog, a service, Stagedoor, and Envoy in front.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use devtenant::service::Echo;
use devtenant::tenant::{Tenant, TenantOptions};
use stagedoor::app::{App, AppError};
use stagedoor::authorizer::explain::Explainer;
use stagedoor::config::Config;
use stagedoor::ext_authz::CheckService;
use stagedoor::serve::{BoundAddress, DrainReport};
use stagedoor::shutdown::{Shutdown, ShutdownHandle};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::envoy::{Envoy, EnvoyConfig, RawResponse, raw_admin};

/// Long enough for a busy machine; nothing waits for it to pass.
const DEADLINE: Duration = Duration::from_secs(60);

/// Of Envoy's check and of Stagedoor's own, where a test says nothing of it: on a machine
/// that builds something else at the time, the shipped fifth of a second is soon over.
const CHECK_TIMEOUT: Duration = Duration::from_secs(10);
const CHECK_DEADLINE: &str = "check: { deadline: 9s }\n";

/// The audience that the tests' service accepts.
pub(crate) const AUDIENCE: &str = "api://payments";
/// The Entra group of the owning team, of its child, of its grandchild, and of
/// another team.
pub(crate) const OWNERS: &str = "aaaaaaaa-0000-0000-0000-000000000001";
pub(crate) const CHILD: &str = "aaaaaaaa-0000-0000-0000-000000000002";
pub(crate) const GRANDCHILD: &str = "aaaaaaaa-0000-0000-0000-000000000003";
pub(crate) const OTHERS: &str = "aaaaaaaa-0000-0000-0000-000000000004";

/// Groups and components: `payments` is owned by Payments Team, which has a child
/// and a grandchild; `orders` is owned by Orders Team.
pub(crate) const CATALOG: &str = r#"
apiVersion: backstage.io/v1alpha1
kind: Group
metadata:
  name: payments-team
  annotations: { graph.microsoft.com/group-id: aaaaaaaa-0000-0000-0000-000000000001 }
  links: [{ title: Chat, url: "https://chat.example.com/payments" }]
spec:
  type: team
  children: []
  profile: { displayName: Payments Team, email: payments@example.com }
---
apiVersion: backstage.io/v1alpha1
kind: Group
metadata:
  name: refunds
  annotations: { graph.microsoft.com/group-id: aaaaaaaa-0000-0000-0000-000000000002 }
spec: { type: team, parent: payments-team, children: [] }
---
apiVersion: backstage.io/v1alpha1
kind: Group
metadata:
  name: refunds-oncall
  annotations: { graph.microsoft.com/group-id: aaaaaaaa-0000-0000-0000-000000000003 }
spec: { type: team, parent: refunds, children: [] }
---
apiVersion: backstage.io/v1alpha1
kind: Group
metadata:
  name: orders-team
  annotations: { graph.microsoft.com/group-id: aaaaaaaa-0000-0000-0000-000000000004 }
spec: { type: team, children: [], profile: { displayName: Orders Team } }
---
apiVersion: backstage.io/v1alpha1
kind: Component
metadata: { name: payments }
spec: { type: service, lifecycle: production, owner: payments-team }
---
apiVersion: backstage.io/v1alpha1
kind: Component
metadata: { name: orders }
spec: { type: service, lifecycle: production, owner: orders-team }
"#;

/// Routes of the tests' services.
pub(crate) const ROUTES: &str = r#"
routes:
  - { name: health, hosts: [payments.example.com], paths: ["/healthz$"], methods: [GET], gate: public }
  - { name: whoami, hosts: [payments.example.com], paths: ["/whoami$"], gate: authenticated }
  - { name: payments, hosts: [payments.example.com], paths: [/], gate: policy, entity: "component:default/payments" }
  - { name: public, hosts: [payments.example.com], paths: [/public], gate: public }
  - { name: by-name, hosts: ["{component}.apps.example.com"], gate: policy, entity: "component:default/{component}" }
"#;

/// Policies: owners may, and a robot with a role may read.
pub(crate) const POLICY: &str = r#"
@id("owners") permit (principal, action, resource) when { principal in resource.owners };
@id("readers") permit (principal is Workload, action == Action::"read", resource)
when { principal.roles.contains("Payments.Read.All") };
"#;

/// How a test's Stagedoor differs from the usual one.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Over a Unix socket instead of TCP.
    pub(crate) unix: bool,
    /// The `catalog` section; the usual is the folder.
    pub(crate) catalog: Option<String>,
    /// More sections, each a line or several at the top level.
    pub(crate) more: String,
    /// More settings of `entra`, indented by two.
    pub(crate) entra: String,
    /// More settings of the tenant, indented by six, and more tenants after it.
    pub(crate) tenant: String,
    /// More routes, indented by two.
    pub(crate) routes: String,
    /// More policies.
    pub(crate) policy: String,
    /// Other policies than the usual ones.
    pub(crate) policies: Option<String>,
    /// The groups whose members get explanations.
    pub(crate) debug: Vec<String>,
    /// More settings of `policy`, each after a comma.
    pub(crate) policy_settings: String,
    /// More settings of `audit`, each after a comma.
    pub(crate) audit: String,
    /// Where the admin port is.
    pub(crate) admin: &'static str,
    /// More settings of `listen`, each after a comma.
    pub(crate) listen: String,
    /// Whether to wait until it is ready.
    pub(crate) wait: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            unix: false,
            catalog: None,
            more: String::new(),
            entra: String::new(),
            tenant: String::new(),
            routes: String::new(),
            policy: String::new(),
            policies: None,
            debug: Vec::new(),
            policy_settings: String::new(),
            audit: String::new(),
            admin: "127.0.0.1:0",
            listen: String::new(),
            wait: true,
        }
    }
}

/// A Stagedoor in this process, on ports of its own, with its tenant and files.
pub(crate) struct Stagedoor {
    pub(crate) tenant: Tenant,
    pub(crate) folder: TempDir,
    pub(crate) address: BoundAddress,
    /// Where it is asked over HTTP.
    pub(crate) http: Vec<BoundAddress>,
    pub(crate) admin: SocketAddr,
    pub(crate) shutdown: ShutdownHandle,
    pub(crate) catalog: stagedoor::catalog::Catalog,
    /// What decides, without a connection.
    pub(crate) check: CheckService<Explainer>,
    /// What SIGHUP does.
    pub(crate) reload: std::sync::Arc<tokio::sync::Notify>,
    pub(crate) running: JoinHandle<Result<DrainReport, AppError>>,
}

impl Stagedoor {
    pub(crate) async fn start(options: Options) -> Result<Self> {
        let tenant = Tenant::start(TenantOptions::default()).await?;
        Self::start_with(tenant, options).await
    }

    pub(crate) async fn start_with(tenant: Tenant, options: Options) -> Result<Self> {
        Self::start_with_file(tenant, options, |_, _| {}).await
    }

    /// As `start_with`, with something done to the folder and the file before.
    pub(crate) async fn start_with_file(
        tenant: Tenant,
        options: Options,
        change: impl FnOnce(&std::path::Path, &std::path::Path),
    ) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let config = write_config(&folder, &tenant, &options)?;
        change(folder.path(), &config);
        let config = Config::load(&config).map_err(|problems| anyhow::anyhow!("{problems}"))?;
        let app = App::build(config).await?;
        let address = app.addresses().first().context("a listener")?.clone();
        let (admin, catalog, reload) = (app.admin_address(), app.catalog().clone(), app.reload());
        let (check, http) = (app.check(), app.http_addresses().to_vec());
        let (handle, shutdown) = Shutdown::new();
        let running = tokio::spawn(app.run(shutdown));
        let stagedoor = Self {
            tenant,
            folder,
            address,
            http,
            admin,
            shutdown: handle,
            catalog,
            check,
            reload,
            running,
        };
        if options.wait {
            stagedoor.await_ready().await?;
        }
        Ok(stagedoor)
    }

    /// The Envoy configuration that asks this Stagedoor.
    pub(crate) fn envoy(&self, upstream: SocketAddr) -> EnvoyConfig {
        let config = match &self.address {
            BoundAddress::Tcp(address) => EnvoyConfig::tcp(*address, upstream),
            BoundAddress::Unix(path) => EnvoyConfig::unix(path, upstream),
        };
        config.check_timeout(CHECK_TIMEOUT)
    }

    pub(crate) async fn await_ready(&self) -> Result<()> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let (status, body) = self.get("/ready").await?;
            if status == 200 && body.contains("\"pending\":[]") {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "not ready: {body}");
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Asks the admin port.
    pub(crate) async fn get(&self, path: &str) -> Result<(u16, String)> {
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        let answer = raw_admin(self.admin, request).await?;
        Ok((answer.status, String::from_utf8(answer.body)?))
    }

    /// Asks the admin port with a body.
    pub(crate) async fn post(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<RawResponse> {
        let mut request =
            format!("POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n");
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
        raw_admin(self.admin, request).await
    }

    /// Waits until the snapshot is another one than `version`.
    pub(crate) async fn await_other_snapshot(&self, version: Option<&str>) -> Result<String> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let (_, status) = self.get("/status").await?;
            let status: serde_json::Value = serde_json::from_str(&status)?;
            match status["catalog"]["version"].as_str() {
                Some(now) if Some(now) != version => return Ok(now.to_owned()),
                _ => ensure!(Instant::now() < deadline, "the snapshot stays: {status}"),
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Where the folder catalog's file is.
    pub(crate) fn catalog_file(&self) -> PathBuf {
        self.folder.path().join("catalog/catalog-info.yaml")
    }

    /// The records of decisions so far, once there are at least `count`.
    pub(crate) async fn audit(&self, count: usize) -> Result<Vec<serde_json::Value>> {
        self.records(count, |record| record.get("event").is_none()).await
    }

    /// The first record of a decision about `host`, once there is one: what is asked later
    /// may be recorded while what was asked before is still on its way.
    pub(crate) async fn audit_of(&self, host: &str) -> Result<serde_json::Value> {
        Ok(self.records(1, |record| record["host"] == host).await?.remove(0))
    }

    /// The records of the catalog so far, once there are at least `count`.
    pub(crate) async fn catalog_records(&self, count: usize) -> Result<Vec<serde_json::Value>> {
        self.records(count, |record| record.get("event").is_some()).await
    }

    async fn records(
        &self,
        count: usize,
        wanted: impl Fn(&serde_json::Value) -> bool,
    ) -> Result<Vec<serde_json::Value>> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let text = std::fs::read_to_string(self.folder.path().join("audit.jsonl"))?;
            // A line without its end is being written.
            let (whole, _) = text.rsplit_once('\n').unwrap_or_default();
            let mut records: Vec<serde_json::Value> =
                whole.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
            records.retain(&wanted);
            if records.len() >= count {
                return Ok(records);
            }
            ensure!(Instant::now() < deadline, "only {} records", records.len());
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Drains, and says what came of it.
    pub(crate) async fn stop(self) -> Result<DrainReport> {
        self.shutdown.drain();
        Ok(self.running.await??)
    }
}

/// Writes `stagedoor.yaml` and what it names into the folder.
pub(crate) fn write_config(
    folder: &TempDir,
    tenant: &Tenant,
    options: &Options,
) -> Result<PathBuf> {
    let path = folder.path();
    std::fs::create_dir_all(path.join("catalog"))?;
    std::fs::write(path.join("catalog/catalog-info.yaml"), CATALOG)?;
    let policies = options.policies.as_deref().unwrap_or(POLICY);
    std::fs::write(path.join("policy.cedar"), format!("{policies}{}", options.policy))?;
    let grpc = if options.unix {
        format!("unix:{}", path.join("stagedoor.sock").display())
    } else {
        "127.0.0.1:0".to_owned()
    };
    let catalog = options
        .catalog
        .clone()
        .unwrap_or_else(|| "catalog: { folder: catalog, refresh_every: 1s, guard: { max_loss_percent: 100, max_reassigned_percent: 100 } }\n".to_owned());
    let check = if options.more.contains("check:") { "" } else { CHECK_DEADLINE };
    let text = format!(
        "listen: {{ grpc: [\"{grpc}\"], admin: \"{admin}\"{more_listen} }}\n\
         entra:\n{entra}  tenants:\n    - id: {id}\n      authority: {authority}\n      \
         issuer_v1: {v1}\n      issuer_v2: {v2}\n      versions: [v1, v2]\n      audiences: [{AUDIENCE}]\n{more_tenant}\
         {catalog}{ROUTES}{routes}policy: {{ files: [policy.cedar], debug: {{ groups: {debug:?} }}{more_policy} }}\n\
         audit: {{ to: \"file:{audit}\"{more_audit} }}\n{check}{more}\n",
        entra = options.entra,
        more_tenant = options.tenant,
        more_listen = options.listen,
        admin = options.admin,
        more_audit = options.audit,
        more_policy = options.policy_settings,
        routes = options.routes,
        debug = options.debug,
        id = tenant.id(),
        authority = tenant.authority(),
        v1 = tenant.issuer_v1(),
        v2 = tenant.issuer_v2(),
        audit = path.join("audit.jsonl").display(),
        more = options.more,
    );
    let file = path.join("stagedoor.yaml");
    std::fs::write(&file, text)?;
    Ok(file)
}

/// Stagedoor, a service, and Envoy in front of both.
pub(crate) struct Stack {
    pub(crate) stagedoor: Stagedoor,
    pub(crate) upstream: Echo,
    pub(crate) envoy: Envoy,
}

impl Stack {
    pub(crate) async fn start(options: Options) -> Result<Self> {
        Self::start_with(options, |envoy| envoy).await
    }

    /// With another Envoy configuration than the shipped one.
    pub(crate) async fn start_with(
        options: Options,
        change: impl FnOnce(EnvoyConfig) -> EnvoyConfig,
    ) -> Result<Self> {
        Self::of(Stagedoor::start(options).await?, change).await
    }

    /// Around a Stagedoor that runs.
    pub(crate) async fn of(
        stagedoor: Stagedoor,
        change: impl FnOnce(EnvoyConfig) -> EnvoyConfig,
    ) -> Result<Self> {
        let upstream = Echo::start().await?;
        let envoy = Envoy::start(change(stagedoor.envoy(upstream.address()))).await?;
        Ok(Self { stagedoor, upstream, envoy })
    }

    /// A request as a well-behaved client makes it.
    pub(crate) async fn ask(
        &self,
        method: &str,
        host: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<RawResponse> {
        self.envoy.raw_http(request(method, host, path, headers)).await
    }

    /// A GET of the payments service with this token.
    pub(crate) async fn get(&self, token: &str) -> Result<RawResponse> {
        let bearer = format!("Bearer {token}");
        self.ask("GET", "payments.example.com", "/v1/orders", &[("authorization", &bearer)]).await
    }
}

/// The bytes of a request, the only one of its connection.
pub(crate) fn request(method: &str, host: &str, path: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let headers = [headers, &[("connection", "close")]].concat();
    request_of_many(method, host, path, &headers)
}

/// The bytes of a request that others follow.
pub(crate) fn request_of_many(
    method: &str,
    host: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if method == "POST" {
        text.push_str("content-length: 0\r\n");
    }
    text.push_str("\r\n");
    text.into_bytes()
}

/// The reason code of a denial.
pub(crate) fn reason(answer: &RawResponse) -> Result<String> {
    match answer.json()["reason"].as_str() {
        Some(reason) => Ok(reason.to_owned()),
        None => {
            bail!("no reason in {:?}: {}", answer.status, String::from_utf8_lossy(&answer.body))
        }
    }
}

/// The values of a header that the service saw.
pub(crate) fn seen(answer: &RawResponse, name: &str) -> Vec<String> {
    let headers = answer.json()["headers"].as_array().cloned().unwrap_or_default();
    headers
        .iter()
        .filter(|pair| pair[0].as_str().is_some_and(|key| key.eq_ignore_ascii_case(name)))
        .filter_map(|pair| pair[1].as_str().map(str::to_owned))
        .collect()
}
