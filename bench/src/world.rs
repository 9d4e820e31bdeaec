//! What is decided about: a tenant, its tokens, a catalog, routes and policies.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use devtenant::tenant::{Tenant, TenantOptions};
use envoy_types::pb::envoy::config::core::v3::{
    Address, HeaderMap, HeaderValue, Metadata, SocketAddress, address, socket_address,
};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Peer, Request};
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest, CheckResponse};
use envoy_types::pb::google::protobuf::Timestamp;
use prost::Message as _;

use crate::load::{Message, Target};
use crate::process::{Process, free_port};

/// The audience of all tokens.
pub(crate) const AUDIENCE: &str = "api://payments";
/// Groups that a caller is in.
pub(crate) const GROUPS: usize = 20;

/// A tenant, and the folder that everything runs in.
pub(crate) struct World {
    pub(crate) tenant: Tenant,
    pub(crate) folder: tempfile::TempDir,
    binaries: PathBuf,
}

/// How a Stagedoor is set up.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// Services: each has a host, a route, an entity and a group that owns it.
    pub(crate) services: usize,
    /// Policies beyond "owners may": one for a service each.
    pub(crate) policies: usize,
    pub(crate) workers: usize,
    pub(crate) unix: bool,
    /// Where audit records go: `off`, or a file.
    pub(crate) audit: bool,
    /// Where Backstage is; without it the catalog is a folder with the services in it.
    pub(crate) backstage: Option<String>,
    /// Keeps snapshots in a folder.
    pub(crate) store: bool,
    /// The longest token.
    pub(crate) max_token_kib: u32,
    /// Answers with the decision's id and reason for metadata, and leaves look-alikes of its
    /// headers to an Envoy that refuses them.
    pub(crate) short: bool,
    /// Whether the catalog is read each second.
    pub(crate) lively: bool,
    /// The entity of a route to `one.example.com`, where Backstage has the entities.
    pub(crate) entity: String,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            services: 10,
            policies: 0,
            workers: 1,
            unix: false,
            audit: false,
            backstage: None,
            store: false,
            max_token_kib: 16,
            short: false,
            lively: false,
            entity: String::new(),
        }
    }
}

/// A running Stagedoor.
pub(crate) struct Stagedoor {
    pub(crate) process: Process,
    pub(crate) target: Target,
}

impl World {
    /// Starts the tenant. `binaries` is where `stagedoor` is.
    pub(crate) async fn start(binaries: PathBuf) -> Result<Self> {
        let tenant = Tenant::start(TenantOptions::default()).await?;
        let binaries = binaries.canonicalize()?;
        Ok(Self { tenant, folder: tempfile::tempdir()?, binaries })
    }

    /// Tokens of as many people, all in the same groups: of the service `first` and of the
    /// nineteen that come after it in steps of fifty.
    pub(crate) fn tokens(&self, count: usize, first: usize) -> Vec<String> {
        let groups: Vec<String> = (0..GROUPS).map(|at| group_id(first + at * 50)).collect();
        self.tokens_in(count, &groups)
    }

    /// Tokens of as many people, all in these groups.
    pub(crate) fn tokens_in(&self, count: usize, groups: &[String]) -> Vec<String> {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
        let sign = |from: usize| -> Vec<String> {
            (from..count)
                .step_by(threads)
                .map(|number| {
                    self.tenant
                        .token()
                        .audience(AUDIENCE)
                        .groups(&groups)
                        .claim("oid", format!("bbbbbbbb-0000-0000-0001-{number:012}").into())
                        .claim("rh", "x".repeat(300).into())
                        .sign()
                })
                .collect()
        };
        thread::scope(|scope| {
            let all: Vec<_> = (0..threads).map(|from| scope.spawn(move || sign(from))).collect();
            all.into_iter().flat_map(|part| part.join().unwrap_or_default()).collect()
        })
    }

    /// Starts Stagedoor, and waits until it is ready.
    pub(crate) async fn stagedoor(&self, name: &str, setup: &Setup) -> Result<Stagedoor> {
        let folder = self.folder.path().join(name);
        fs::create_dir_all(folder.join("catalog"))?;
        fs::create_dir_all(folder.join("store"))?;
        for (number, text) in catalog(setup).iter().enumerate() {
            fs::write(folder.join(format!("catalog/part-{number}.yaml")), text)?;
        }
        fs::write(folder.join("policies.cedar"), policies(setup))?;
        let (grpc, admin) = (free_port()?, free_port()?);
        let socket = folder.join("grpc.sock");
        let (listen, target) = if setup.unix {
            let path = socket.display().to_string();
            (format!("unix:{path}"), Target::Unix(path))
        } else {
            (format!("127.0.0.1:{grpc}"), Target::Tcp(grpc))
        };
        let audit = if setup.audit {
            format!("file:{}", folder.join("audit.jsonl").display())
        } else {
            "off".to_owned()
        };
        let tenant = &self.tenant;
        let mut config = format!(
            "listen: {{ grpc: [\"{listen}\"], admin: \"127.0.0.1:{admin}\", workers: {} }}\n\
             entra:\n  max_token_bytes: {}KiB\n  token_cache: {{ max_entries: 200000, max_bytes: 256MiB }}\n  tenants:\n    \
             - id: {}\n      authority: {}\n      issuer_v1: {}\n      issuer_v2: {}\n      \
             audiences: [{AUDIENCE}]\n\
             policy: {{ files: [policies.cedar], cache: {{ max_entries: 400000, max_bytes: 512MiB }} }}\naudit: {{ to: \"{audit}\" }}\ncatalog: {{ {} }}\n",
            setup.workers,
            setup.max_token_kib,
            tenant.id(),
            tenant.authority(),
            tenant.issuer_v1(),
            tenant.issuer_v2(),
            match &setup.backstage {
                None if setup.lively => {
                    "folder: catalog, refresh_every: 1s, guard: { max_loss_percent: 100, \
                     max_reassigned_percent: 100 }"
                        .to_owned()
                }
                None => "folder: catalog".to_owned(),
                Some(url) => format!("backstage: {{ url: \"{url}\", page_size: 1000 }}"),
            } + if setup.store { ", store: store" } else { "" },
        );
        if setup.short {
            config.push_str(
                "answer: { metadata: [decision_id, reason], remove_look_alikes: false }\n",
            );
        }
        // A route on which a valid token is enough, and one for each service.
        let _ = writeln!(
            config,
            "routes:\n  - {{ name: whoami, hosts: [whoami.example.com], gate: authenticated }}"
        );
        if !setup.entity.is_empty() {
            let _ = writeln!(
                config,
                "  - {{ name: one, hosts: [one.example.com], gate: policy, entity: \"{}\" }}",
                setup.entity
            );
        }
        for number in 0..setup.services {
            let _ = writeln!(
                config,
                "  - {{ name: route-{number}, hosts: [{}], paths: [/v1], gate: policy, entity: \
                 \"component:default/service-{number}\" }}",
                host(number)
            );
        }
        let file = folder.join("stagedoor.yaml");
        fs::write(&file, config)?;
        let mut command = Command::new(self.binaries.join("stagedoor"));
        command.arg("serve").arg("--config").arg(&file).current_dir(&folder);
        let mut process = Process::start(&folder, "stagedoor", &mut command)?;
        process.answers(admin, "/ready", 200).await.with_context(|| name.to_owned())?;
        Ok(Stagedoor { process, target })
    }

    /// Starts the server that always says yes.
    pub(crate) async fn yes(&self, workers: usize, unix: bool) -> Result<(Process, Target)> {
        self.yes_with(workers, unix, None).await
    }

    /// The same, with an answer that somebody else gave.
    pub(crate) async fn yes_with(
        &self,
        workers: usize,
        unix: bool,
        answer: Option<&CheckResponse>,
    ) -> Result<(Process, Target)> {
        let port = free_port()?;
        let path = self.folder.path().join(format!("yes-{port}.sock")).display().to_string();
        let (address, target) = if unix {
            (format!("unix:{path}"), Target::Unix(path))
        } else {
            (format!("127.0.0.1:{port}"), Target::Tcp(port))
        };
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["yes", &address, &workers.to_string()]);
        if let Some(answer) = answer {
            let file = self.folder.path().join(format!("yes-{port}.answer"));
            fs::write(&file, answer.encode_to_vec())?;
            command.arg(file);
        }
        let process = Process::start(self.folder.path(), "yes", &mut command)?;
        wait_for(&target).await?;
        Ok((process, target))
    }
}

async fn wait_for(target: &Target) -> Result<()> {
    for _ in 0..1000 {
        let connected = match target {
            Target::Tcp(port) => tokio::net::TcpStream::connect(("127.0.0.1", *port)).await.is_ok(),
            Target::Unix(path) => tokio::net::UnixStream::connect(path).await.is_ok(),
        };
        if connected {
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    anyhow::bail!("nobody listens at {target:?}")
}

/// The host of a service.
pub(crate) fn host(number: usize) -> String {
    format!("service-{number}.example.com")
}

/// The Entra group that owns a service.
pub(crate) fn group_id(number: usize) -> String {
    format!("aaaaaaaa-0000-0000-0000-{number:012}")
}

/// Entities in a file of the catalog: larger ones are refused.
const ENTITIES_A_FILE: usize = 5000;

fn catalog(setup: &Setup) -> Vec<String> {
    let groups = setup.services.max(1000);
    let group = |number: usize| {
        format!(
            "apiVersion: backstage.io/v1alpha1\nkind: Group\nmetadata:\n  name: team-{number}\n  \
             annotations: {{ graph.microsoft.com/group-id: {} }}\nspec: {{ type: team, children: \
             [] }}\n---\n",
            group_id(number)
        )
    };
    let component = |number: usize| {
        format!(
            "apiVersion: backstage.io/v1alpha1\nkind: Component\nmetadata: {{ name: \
             service-{number} }}\nspec: {{ type: service, lifecycle: production, owner: team-{} \
             }}\n---\n",
            number % groups
        )
    };
    let all: Vec<String> =
        (0..groups).map(group).chain((0..setup.services).map(component)).collect();
    all.chunks(ENTITIES_A_FILE).map(|part| part.concat()).collect()
}

fn policies(setup: &Setup) -> String {
    let mut text = "@id(\"owners\") permit (principal, action, resource) when { principal in \
                    resource.owners };\n"
        .to_owned();
    for number in 0..setup.policies {
        let _ = writeln!(
            text,
            "@id(\"p{number}\") permit (principal in Group::\"group:default/team-{}\", action == \
             Action::\"admin\", resource == Component::\"component:default/service-{number}\");",
            number % 97
        );
    }
    text
}

/// Checks as Envoy sends them with the configurations in `envoy/`: of about 3 kB.
pub(crate) fn messages(tokens: &[String], host: &str, sends: Sends) -> Arc<[Message]> {
    let message = |token: &String| Message { frame: frame(token, host, sends), is_forged: false };
    tokens.iter().map(message).collect()
}

/// The same with a signature that nobody made.
pub(crate) fn forged(token: &str, host: &str, number: usize) -> Message {
    let (signed, signature) = token.rsplit_once('.').unwrap_or((token, ""));
    let mut signature = signature.to_owned();
    let mark = format!("{number:016x}");
    signature.replace_range(..mark.len(), &mark);
    let token = format!("{signed}.{signature}");
    Message { frame: frame(&token, host, Sends::All), is_forged: true }
}

const PATH: &str = "/v1/orders?x=1";

/// What a browser's script sends beside what is used, and what Envoy adds.
pub(crate) const OTHERS: &[(&str, &str)] = &[
    (":scheme", "https"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("cache-control", "no-cache"),
    ("content-type", "application/json"),
    ("origin", "https://portal.example.com"),
    ("priority", "u=1, i"),
    ("referer", "https://portal.example.com/orders/open?sort=newest"),
    ("sec-ch-ua", "\"Chromium\";v=\"156\", \"Not)A;Brand\";v=\"24\""),
    ("sec-ch-ua-mobile", "?0"),
    ("sec-ch-ua-platform", "\"Linux\""),
    ("sec-fetch-dest", "empty"),
    ("sec-fetch-mode", "cors"),
    ("sec-fetch-site", "same-site"),
    (
        "user-agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 \
         Safari/537.36",
    ),
    ("x-envoy-external-address", "192.0.2.17"),
    ("x-forwarded-for", "192.0.2.17"),
    ("x-forwarded-proto", "https"),
];

/// Which headers of a request Envoy sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sends {
    /// All of them, as it does by itself.
    All,
    /// Those that are used, as the configurations in `envoy/` have it.
    Used,
}

fn frame(token: &str, host: &str, sends: Sends) -> Bytes {
    let header = |key: &str, value: &str| HeaderValue {
        key: key.to_owned(),
        value: String::new(),
        raw_value: value.as_bytes().to_vec(),
    };
    let peer = |port| Peer {
        address: Some(Address {
            address: Some(address::Address::SocketAddress(SocketAddress {
                address: "127.0.0.1".to_owned(),
                port_specifier: Some(socket_address::PortSpecifier::PortValue(port)),
                ..SocketAddress::default()
            })),
        }),
        ..Peer::default()
    };
    let bearer = format!("Bearer {token}");
    let used = [
        ("authorization", &*bearer),
        ("accept", "application/json"),
        ("accept-language", "en-GB,en;q=0.9"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("x-request-id", "6a1f0d2e-1c57-9f0f-a1f3-2f4c57a0b1c2"),
    ];
    let (headers, header_map) = match sends {
        Sends::Used => {
            let headers = used.iter().map(|(key, value)| header(key, value)).collect();
            (HashMap::new(), Some(HeaderMap { headers }))
        }
        Sends::All => {
            let others = [(":authority", host), (":path", PATH), (":method", "GET")];
            let all = used.iter().chain(&others).chain(OTHERS);
            let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
            (all.map(owned).collect(), None)
        }
    };
    let http = HttpRequest {
        id: "12884901893748575411".to_owned(),
        method: "GET".to_owned(),
        path: PATH.to_owned(),
        host: host.to_owned(),
        scheme: "https".to_owned(),
        protocol: "HTTP/1.1".to_owned(),
        headers,
        header_map,
        ..HttpRequest::default()
    };
    let time = Some(Timestamp { seconds: 1_800_000_000, nanos: 7 });
    let message = CheckRequest {
        attributes: Some(AttributeContext {
            source: Some(peer(4711)),
            destination: Some(peer(8080)),
            request: Some(Request { time, http: Some(http) }),
            metadata_context: Some(Metadata::default()),
            route_metadata_context: Some(Metadata::default()),
            ..AttributeContext::default()
        }),
    }
    .encode_to_vec();
    let length = u32::try_from(message.len()).unwrap_or_default().to_be_bytes();
    [&[0], &length[..], &message].concat().into()
}

/// The folder of the workspace.
pub(crate) fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}
