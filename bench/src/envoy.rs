//! Envoy: without authorization, with `ext_authz`, and with its own filters.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use devtenant::tenant::Tenant;
use hdrhistogram::Histogram;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::load::Target;
use crate::process::{Process, free_port};
use crate::world::{AUDIENCE, OTHERS, Sends, group_id, host};

/// Who is asked.
#[derive(Clone, Debug)]
pub(crate) enum Asked {
    Nobody,
    ExtAuthz(Target, Sends),
    /// `jwt_authn` and `rbac`, with a rule for each of so many services.
    Native {
        rules: usize,
        cached: bool,
        spread: bool,
    },
}

/// A running Envoy.
pub(crate) struct Envoy {
    pub(crate) process: Process,
    port: u16,
}

impl Envoy {
    pub(crate) async fn start(
        binary: &Path,
        folder: &Path,
        tenant: &Tenant,
        asked: &Asked,
    ) -> Result<Self> {
        let (port, admin) = (free_port()?, free_port()?);
        let file = folder.join(format!("envoy-{port}.json"));
        std::fs::write(&file, config(port, admin, tenant, asked).to_string())?;
        let mut command = Command::new(binary);
        command.arg("-c").arg(&file).args(["--disable-hot-restart", "--concurrency", "1"]);
        command.args(["--log-level", "error"]);
        let mut process = Process::start(folder, &format!("envoy-{port}"), &mut command)?;
        process.answers(admin, "/ready", 200).await?;
        Ok(Self { process, port })
    }

    /// Sends requests over so many connections, and gives the latencies in nanoseconds.
    pub(crate) async fn load(
        &self,
        connections: usize,
        requests: usize,
        token: &str,
        hosts: &[String],
    ) -> Result<(Duration, Histogram<u64>)> {
        let others: String = OTHERS
            .iter()
            .filter(|(name, _)| !name.starts_with([':', 'x']))
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let texts: Vec<Vec<u8>> = hosts
            .iter()
            .map(|host| {
                format!(
                    "GET /v1/orders HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer \
                     {token}\r\naccept: application/json\r\n{others}\r\n"
                )
                .into_bytes()
            })
            .collect();
        let begun = Instant::now();
        let each = requests / connections;
        let all = (0..connections).map(|first| self.connection(first, each, &texts));
        let mut latencies = Histogram::new_with_bounds(1, 60_000_000_000, 3)?;
        for part in futures_util::future::join_all(all).await {
            latencies.add(part?)?;
        }
        Ok((begun.elapsed(), latencies))
    }

    async fn connection(
        &self,
        first: usize,
        requests: usize,
        texts: &[Vec<u8>],
    ) -> Result<Histogram<u64>> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        stream.set_nodelay(true)?;
        let mut latencies = Histogram::new_with_bounds(1, 60_000_000_000, 3)?;
        let mut buffer = vec![0; 16 * 1024];
        for number in 0..requests {
            let text = texts.get((first + number) % texts.len()).context("a request")?;
            let begun = Instant::now();
            stream.write_all(text).await?;
            let mut filled = 0;
            loop {
                let read = stream.read(buffer.get_mut(filled..).unwrap_or_default()).await?;
                ensure!(read > 0, "Envoy closed the connection");
                filled += read;
                let answer = buffer.get(..filled).unwrap_or_default();
                // The answer has no body.
                if answer.ends_with(b"\r\n\r\n") {
                    let text = String::from_utf8_lossy(answer);
                    ensure!(answer.starts_with(b"HTTP/1.1 200"), "refused: {text}");
                    break;
                }
            }
            latencies.record(u64::try_from(begun.elapsed().as_nanos())?.max(1))?;
        }
        Ok(latencies)
    }
}

fn any(name: &str, mut value: Value) -> Value {
    if let Some(members) = value.as_object_mut() {
        members.insert("@type".to_owned(), format!("type.googleapis.com/{name}").into());
    }
    value
}

fn config(port: u16, admin: u16, tenant: &Tenant, asked: &Asked) -> Value {
    const RBAC: &str = "envoy.extensions.filters.http.rbac.v3";
    let mut filters = Vec::new();
    let mut hosts = vec![virtual_host("all", "*", None)];
    let mut clusters = Vec::new();
    match asked {
        Asked::Nobody => {}
        Asked::ExtAuthz(target, sends) => {
            filters.push(ext_authz(*sends));
            clusters.push(cluster(target));
        }
        Asked::Native { rules, cached, spread } => {
            filters.push(json!({
                "name": "envoy.filters.http.jwt_authn",
                "typed_config": jwt_authn(tenant, *cached),
            }));
            let policies = |from: usize, to: usize| -> Value {
                let policies = (from..to).map(|number| (format!("p{number}"), rule(number)));
                json!({ "rules": { "policies": policies.collect::<serde_json::Map<_, _>>() } })
            };
            let all = if *spread { policies(0, 1) } else { policies(0, *rules) };
            filters.push(json!({
                "name": "envoy.filters.http.rbac",
                "typed_config": any(&format!("{RBAC}.RBAC"), all),
            }));
            if *spread {
                hosts = (0..*rules)
                    .map(|number| {
                        let own = json!({ "rbac": policies(number, number + 1) });
                        let own = any(&format!("{RBAC}.RBACPerRoute"), own);
                        let name = format!("service-{number}");
                        virtual_host(&name, &host(number), Some(own))
                    })
                    .collect();
            }
        }
    }
    filters.push(json!({
        "name": "envoy.filters.http.router",
        "typed_config": any("envoy.extensions.filters.http.router.v3.Router", json!({})),
    }));
    let manager = "envoy.extensions.filters.network.http_connection_manager.v3";
    let manager = any(
        &format!("{manager}.HttpConnectionManager"),
        json!({
            "stat_prefix": "front",
            "codec_type": "HTTP1",
            // As in `envoy/tcp.yaml`, for everybody.
            "normalize_path": true,
            "merge_slashes": true,
            "path_with_escaped_slashes_action": "REJECT_REQUEST",
            "common_http_protocol_options": {
                "headers_with_underscores_action": "REJECT_REQUEST",
            },
            "use_remote_address": true,
            "http_filters": filters,
            "route_config": { "virtual_hosts": hosts },
        }),
    );
    let at =
        |port: u16| json!({ "socket_address": { "address": "127.0.0.1", "port_value": port } });
    json!({
        "admin": { "address": at(admin) },
        "static_resources": {
            "listeners": [{
                "address": at(port),
                "filter_chains": [{ "filters": [{
                    "name": "envoy.filters.network.http_connection_manager",
                    "typed_config": manager,
                }] }],
            }],
            "clusters": clusters,
        },
    })
}

/// As in `envoy/tcp.yaml`, but for the timeout: this machine may stand still for longer.
fn ext_authz(sends: Sends) -> Value {
    let mut filter = json!({
        "transport_api_version": "V3",
        "grpc_service": { "envoy_grpc": { "cluster_name": "ext_authz" }, "timeout": "10s" },
        "failure_mode_allow": false,
        "status_on_error": { "code": "ServiceUnavailable" },
        "validate_mutations": true,
        "include_peer_certificate": true,
    });
    if sends == Sends::Used
        && let Some(filter) = filter.as_object_mut()
    {
        let exact = |name: &str| json!({ "exact": name });
        let read = ["accept", "accept-language", "authorization", "content-type"];
        let traced = ["b3", "traceparent", "tracestate", "x-request-id"];
        let b3 = ["x-b3-flags", "x-b3-sampled", "x-b3-spanid", "x-b3-traceid"];
        let own = ["x-stagedoor-debug", "x-stagedoor-justification"];
        let all = read.iter().chain(&traced).chain(&b3).chain(&own);
        let headers: Vec<Value> = all.map(|name| exact(name)).collect();
        filter.insert("encode_raw_headers".to_owned(), true.into());
        filter.insert("allowed_headers".to_owned(), json!({ "patterns": headers }));
    }
    json!({
        "name": "envoy.filters.http.ext_authz",
        "typed_config": any("envoy.extensions.filters.http.ext_authz.v3.ExtAuthz", filter),
    })
}

/// Envoy answers itself: what is left is the authorization.
fn virtual_host(name: &str, domain: &str, rbac: Option<Value>) -> Value {
    let mut host = json!({
        "name": name,
        "domains": [domain],
        "routes": [{ "match": { "prefix": "/" }, "direct_response": { "status": 200 } }],
    });
    if let (Some(rbac), Some(host)) = (rbac, host.as_object_mut()) {
        host.insert(
            "typed_per_filter_config".to_owned(),
            json!({ "envoy.filters.http.rbac": rbac }),
        );
    }
    host
}

fn cluster(target: &Target) -> Value {
    let address = match target {
        Target::Tcp(port) => {
            json!({ "socket_address": { "address": "127.0.0.1", "port_value": port } })
        }
        Target::Unix(path) => json!({ "pipe": { "path": path } }),
    };
    let options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    json!({
        "name": "ext_authz",
        "type": "STATIC",
        "circuit_breakers": {
            "thresholds": [{ "max_requests": 4096, "max_pending_requests": 4096 }],
        },
        "typed_extension_protocol_options": {
            options: any(options, json!({
                "explicit_http_config": { "http2_protocol_options": {} },
            })),
        },
        "load_assignment": {
            "cluster_name": "ext_authz",
            "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": address } }] }],
        },
    })
}

fn jwt_authn(tenant: &Tenant, cached: bool) -> Value {
    let keys = json!({ "keys": [tenant.signing_key().jwk(None)] }).to_string();
    let mut provider = json!({
        "issuer": tenant.issuer_v2(),
        "audiences": [AUDIENCE],
        "local_jwks": { "inline_string": keys },
        "payload_in_metadata": "payload",
    });
    if cached && let Some(provider) = provider.as_object_mut() {
        let cache = json!({ "jwt_cache_size": 1000, "jwt_max_token_size": 8192 });
        provider.insert("jwt_cache_config".to_owned(), cache);
    }
    any(
        "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
        json!({
            "providers": { "entra": provider },
            "rules": [{ "match": { "prefix": "/" }, "requires": { "provider_name": "entra" } }],
        }),
    )
}

/// Who is in the group that owns a service may call its host.
fn rule(number: usize) -> Value {
    json!({
        "permissions": [{ "header": {
            "name": ":authority", "string_match": { "exact": host(number) },
        } }],
        "principals": [{ "sourced_metadata": { "metadata_matcher": {
            "filter": "envoy.filters.http.jwt_authn",
            "path": [{ "key": "payload" }, { "key": "groups" }],
            "value": { "list_match": { "one_of": {
                "string_match": { "exact": group_id(number) },
            } } },
        } } }],
    })
}
