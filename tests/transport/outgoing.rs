//! Connections to others: authorities of one's own, and the environment's proxy.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use crate::support::process::Process;
use crate::support::stack::Options;
use crate::support::tls::{Mounted, acceptor};
use devtenant::authority::{Authority, Issued};
use devtenant::backstage::{Backstage, BackstageOptions, component, group};
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{
    LogsService, LogsServiceServer,
};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use stagedoor::audit::{AuditRecord, AuditSettings, AuditSink, AuditWriter};
use stagedoor::clock::Now;
use stagedoor::domain::{
    Decision, DecisionId, Denial, Notes, Owners, Principal, Reason, Verdict, Versions,
};
use stagedoor::serve::{BoundAddress, ListenAddress, ServeSettings, Server, Tower};
use stagedoor::shutdown::Shutdown;
use stagedoor::tls::{Authorities, Protocol, ServerTls};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tonic::{Request, Response, Status};

/// Longer than anything takes that is right, a start of the program among it, on a machine that
/// is busy.
const SOON: Duration = Duration::from_secs(60);
const NEVER: Duration = Duration::from_secs(3600);

/// A name that no resolver knows: who reaches it, reached it by the proxy.
const BACKSTAGE: &str = "backstage.stagedoor.invalid";

/// The same, of where snapshots are shared.
const STORE: &str = "store.stagedoor.invalid";

/// Ends TLS before a server that speaks plain http.
async fn with_tls(pair: &Issued, server: SocketAddr) -> SocketAddr {
    let (listener, acceptor) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), acceptor(pair));
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // Who doesn't trust the certificate hangs up.
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut server = TcpStream::connect(server).await.unwrap();
                let _ = copy_bidirectional(&mut stream, &mut server).await;
            });
        }
    });
    address
}

/// A proxy that takes every name for one place, and keeps what it was asked.
struct Proxy {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    async fn start(place: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, asked) = (listener.local_addr().unwrap(), Arc::default());
        let keeps: Arc<Mutex<Vec<String>>> = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let keeps = Arc::clone(&keeps);
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        head.push(stream.read_u8().await.unwrap());
                    }
                    let head = String::from_utf8(head).unwrap();
                    keeps.lock().unwrap().push(head.lines().next().unwrap().to_owned());
                    stream.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").await.unwrap();
                    let mut place = TcpStream::connect(place).await.unwrap();
                    let _ = copy_bidirectional(&mut stream, &mut place).await;
                });
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

/// A configuration of a Backstage, with these sections more.
fn config(url: &str, more: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stagedoor.yaml");
    let text = format!(
        "listen: {{ grpc: ['127.0.0.1:0'] }}\n\
         entra: {{ tenants: [{{ id: 11111111-2222-3333-4444-555555555555, audiences: [a] }}] }}\n\
         catalog: {{ backstage: {{ url: '{url}' }} }}\n{more}"
    );
    std::fs::write(&file, text).unwrap();
    (folder, file)
}

/// Reads the catalog with the shipped program, in this environment.
async fn fetch(config: PathBuf, environment: Vec<(&'static str, String)>) -> Output {
    let out = config.with_extension("snapshot");
    tokio::task::spawn_blocking(move || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stagedoor"));
        for name in ["HTTPS_PROXY", "ALL_PROXY", "HTTP_PROXY", "NO_PROXY"] {
            command.env_remove(name).env_remove(name.to_ascii_lowercase());
        }
        command.args(["snapshot", "fetch", "--config"]).arg(config).arg("--out").arg(out);
        command.envs(environment).output().unwrap()
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn over_a_proxy_with_an_authority_of_ones_own() {
    let id = "aaaaaaaa-0000-0000-0000-000000000001";
    let entities = vec![group("team", Some(id), None), component("payments", "team")];
    let options = BackstageOptions { entities, ..BackstageOptions::default() };
    let backstage = Backstage::start(options).await.unwrap();
    let authority = Authority::new("Contoso").unwrap();
    let elsewhere = Authority::new("Contoso").unwrap();
    let place = with_tls(&authority.issue(&[BACKSTAGE]).unwrap(), backstage.address()).await;
    let proxy = Proxy::start(place).await;
    let over = ("HTTPS_PROXY", format!("http://{}", proxy.address));
    let in_vain = ("HTTP_PROXY", over.1.clone());
    let connect = format!("CONNECT {BACKSTAGE}:443 HTTP/1.1");

    let url = format!("https://{BACKSTAGE}");
    let (trusting, file) = config(&url, "outgoing: { ca_files: [ca.crt] }\n");
    std::fs::write(trusting.path().join("ca.crt"), authority.certificate()).unwrap();
    let output = fetch(file.clone(), vec![over.clone()]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(file.with_extension("snapshot").exists());
    let asked = proxy.asked();
    assert!(!asked.is_empty() && asked.iter().all(|line| *line == connect), "{asked:?}");
    assert!(backstage.requests() > 0);

    // Without the proxy there is no way, and the environment can say so too.
    let (direct, other) = (("NO_PROXY", BACKSTAGE.to_owned()), ("NO_PROXY", "other".to_owned()));
    for (environment, reaches) in [
        (vec![], false),
        (vec![over.clone(), direct], false),
        (vec![in_vain], false),
        (vec![over.clone(), other], true),
    ] {
        let output = fetch(file.clone(), environment.clone()).await;
        assert_eq!(output.status.success(), reaches, "{environment:?}: {output:?}");
        assert_eq!(!proxy.asked().is_empty(), reaches, "{environment:?}");
    }

    // Whom nobody vouches for isn't asked, and isn't told anything.
    let before = backstage.requests();
    for more in ["", "outgoing: { ca_files: [ca.crt] }\n"] {
        let (folder, file) = config(&url, more);
        std::fs::write(folder.path().join("ca.crt"), elsewhere.certificate()).unwrap();
        let output = fetch(file, vec![over.clone()]).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains("certificate"), "{said}");
        assert_eq!(proxy.asked().first(), Some(&connect));
    }
    assert_eq!(backstage.requests(), before);

    // Plain http goes to this machine only, and never over a proxy.
    let (_folder, file) = config(&backstage.url(), "");
    let all = ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"].map(|name| (name, over.1.clone()));
    let output = fetch(file, all.into()).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(proxy.asked(), [""; 0]);
}

/// A store that holds nothing. It tells what each connection asks for first; that is nothing
/// where the other side doesn't trust it.
async fn store(pair: &Issued) -> (SocketAddr, mpsc::UnboundedReceiver<Option<String>>) {
    let (listener, acceptor) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), acceptor(pair));
    let address = listener.local_addr().unwrap();
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, tell) = (acceptor.clone(), tell.clone());
            tokio::spawn(async move {
                let asked = async {
                    let mut stream = acceptor.accept(stream).await?;
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        head.push(stream.read_u8().await?);
                    }
                    let nothing = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
                    stream.write_all(nothing).await?;
                    let head = String::from_utf8_lossy(&head).into_owned();
                    Ok::<_, std::io::Error>(head.lines().next().map(str::to_owned))
                };
                let _ = tell.send(asked.await.ok().flatten());
            });
        }
    });
    (address, told)
}

#[tokio::test]
async fn a_store_of_snapshots_over_a_proxy_with_an_authority_of_ones_own() {
    let authority = Authority::new("Contoso").unwrap();
    for (more, trusts) in [("", false), ("outgoing: { ca_files: [ca.crt] }\n", true)] {
        let (place, mut asked) = store(&authority.issue(&[STORE]).unwrap()).await;
        let proxy = Proxy::start(place).await;
        let shared = "catalog: { folder: catalog, shared: { url: 's3://bucket/replicas' } }\n";
        let options = Options {
            catalog: Some(shared.to_owned()),
            more: more.to_owned(),
            ..Options::default()
        };
        let _process = Process::begin(&options, |command, folder| {
            std::fs::write(folder.join("ca.crt"), authority.certificate()).unwrap();
            for name in ["ALL_PROXY", "HTTP_PROXY", "NO_PROXY"] {
                command.env_remove(name).env_remove(name.to_ascii_lowercase());
            }
            command
                .env_remove("https_proxy")
                .env("HTTPS_PROXY", format!("http://{}", proxy.address))
                .env("AWS_ENDPOINT", format!("https://{STORE}"))
                .env("AWS_ACCESS_KEY_ID", "key")
                .env("AWS_SECRET_ACCESS_KEY", "secret");
        })
        .await;
        let first = tokio::time::timeout(SOON, asked.recv()).await.unwrap().unwrap();
        let of_ours = first.as_ref().map(|line| line.contains(" /bucket/replicas/"));
        assert_eq!(of_ours, trusts.then_some(true), "{first:?}");
        assert_eq!(proxy.asked()[0], format!("CONNECT {STORE}:443 HTTP/1.1"));
    }
}

/// A collector that counts.
#[derive(Clone, Default)]
struct Logs(Arc<Mutex<usize>>);

#[tonic::async_trait]
impl LogsService for Logs {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        let resources = request.into_inner().resource_logs;
        let scopes = resources.iter().flat_map(|resource| &resource.scope_logs);
        *self.0.lock().unwrap() += scopes.map(|scope| scope.log_records.len()).sum::<usize>();
        Ok(Response::new(ExportLogsServiceResponse::default()))
    }
}

fn record() -> AuditRecord {
    let decision = Decision {
        id: DecisionId::new(),
        verdict: Verdict::Deny(Denial::from(Reason::NoRoute)),
        principal: Principal::Anonymous,
        target: None,
        owners: Owners::new(),
        versions: Versions::default(),
        notes: Notes::default(),
    };
    let request = stagedoor::domain::Request::default();
    AuditRecord::of(decision, &request, SystemTime::now(), Duration::ZERO)
}

#[tokio::test]
async fn a_collector_with_an_authority_of_ones_own() {
    let mounted = Mounted::of(Arc::new(Authority::new("Contoso").unwrap()), &["localhost"]);
    let tls = ServerTls::load(mounted.settings(None), Protocol::Grpc, Now::read()).unwrap();
    let settings = ServeSettings {
        listeners: vec![ListenAddress::Tls("127.0.0.1:0".parse().unwrap())],
        http_listeners: Vec::new(),
        workers: 1,
        max_connections: 10,
        max_concurrent_streams: 100,
        max_message_bytes: 1 << 20,
        max_header_list_bytes: 16 * 1024,
        preface_timeout: NEVER,
        keepalive_interval: NEVER,
        keepalive_timeout: NEVER,
        max_connection_age: NEVER,
        pre_stop: Duration::ZERO,
        drain_timeout: NEVER,
    };
    let server = Server::bind_with(settings, std::slice::from_ref(&tls)).await.unwrap();
    let BoundAddress::Tcp(address) = server.addresses()[0] else { panic!("not TCP") };
    let (_running, shutdown) = Shutdown::new();
    let logs = Logs::default();
    let routes = tonic::service::Routes::new(LogsServiceServer::new(logs.clone()));
    tokio::spawn(server.run(Tower(routes), shutdown));

    let endpoint = format!("https://localhost:{}", address.port());
    let ours = Authorities::read(&[mounted.path("ca.crt")]).unwrap();
    for (authorities, sent) in [(Authorities::default(), 0), (ours, 3)] {
        let settings = AuditSettings {
            otlp: Some(endpoint.parse().unwrap()),
            authorities,
            ..AuditSettings::to(AuditSink::Off)
        };
        let (sender, task) = AuditWriter::start(&settings).unwrap();
        for _ in 0..3 {
            sender.send(record());
        }
        task.stop(SOON).await;
        assert_eq!(sender.stats().otlp_sent, sent, "{:?}", sender.stats());
        assert_eq!(*logs.0.lock().unwrap(), usize::try_from(sent).unwrap());
    }
}
