mod catalog_routes;
mod denial;
mod http;
mod transport;

use std::fs;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use devtenant::authority::Authority;
use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::audit::{AuditSink, Member, PseudonymSettings, RotateSettings};
use crate::catalog::SourceSettings;
use crate::entra::CredentialSettings;
use crate::ext_authz::MetadataFields;
use crate::serve::ListenAddress;
use crate::telemetry::OtlpProtocol;
use crate::tls::ClientName;

const TENANT: &str = "11111111-2222-3333-4444-555555555555";
const OTHER: &str = "aaaaaaaa-2222-3333-4444-555555555555";

/// The least that a file must say, one section a line.
const MINIMAL: [(&str, &str); 3] = [
    ("listen", "{grpc: ['127.0.0.1:9191']}"),
    (
        "entra",
        "{tenants: [{id: 11111111-2222-3333-4444-555555555555, audiences: [api://payments]}]}",
    ),
    ("catalog", "{folder: catalog}"),
];

/// A folder with everything that the files in these tests name.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("folder");
    for name in ["catalog", "policies"] {
        fs::create_dir(folder.path().join(name)).expect("folder");
    }
    for name in ["policies/owners.cedar", "backstage-token", "revocations", "graph-secret"] {
        fs::write(folder.path().join(name), "").expect("file");
    }
    fs::write(folder.path().join("de.yaml"), "titles: {caller: Kein Zugriff}").expect("file");
    fs::write(folder.path().join("page.html"), "<h1>{{ title }}</h1>").expect("file");
    fs::write(folder.path().join("audit-key"), [7; 32]).expect("file");
    fs::write(folder.path().join("admin-token"), "0123456789abcdef0123456789abcdef\n")
        .expect("file");
    for (name, text) in certificates() {
        fs::write(folder.path().join(name), text).expect("file");
    }
    folder
}

/// An authority, and certificates of it: a good one, one of another key, an expired one, and
/// one that isn't good yet.
fn certificates() -> &'static [(&'static str, String)] {
    static MADE: LazyLock<Vec<(&str, String)>> = LazyLock::new(|| {
        let authority = Authority::new("Contoso").expect("authority");
        let issue = |days| authority.issue_for(&["stagedoor.example.com"], days).expect("issued");
        let (good, other) = (issue(-1..30), issue(-1..30));
        let (old, early) = (issue(-9..-1), issue(1..9));
        vec![
            ("ca.crt", authority.certificate().to_owned()),
            ("tls.crt", good.certificate),
            ("tls.key", good.key),
            ("other.key", other.key),
            ("old.crt", old.certificate),
            ("old.key", old.key),
            ("early.crt", early.certificate),
            ("early.key", early.key),
        ]
    });
    &MADE
}

/// A minimal file in which one section is another, on the first line.
fn with(section: &str, body: &str) -> String {
    let mut text = format!("{section}: {body}\n");
    for (name, minimal) in MINIMAL.iter().filter(|(name, _)| *name != section) {
        text.push_str(&format!("{name}: {minimal}\n"));
    }
    text
}

fn parse(text: &str) -> Result<Config, Problems> {
    Config::parse(text, folder().path())
}

fn lines(text: &str) -> Vec<String> {
    let folder = folder();
    match Config::parse(text, folder.path()) {
        Ok(_) => Vec::new(),
        Err(problems) => problems
            .to_string()
            .lines()
            .map(|line| line.replace(&*folder.path().to_string_lossy(), "DIR"))
            .map(|line| line.strip_prefix("config:").unwrap_or(&line).to_owned())
            .collect(),
    }
}

#[track_caller]
fn check(text: &str, expected: &[&str]) {
    let found = lines(text);
    assert!(
        found == expected,
        "{text}\nfound:\n{}\nexpected:\n{}",
        found.join("\n"),
        expected.join("\n")
    );
}

/// Checks that a section has one mistake, on its line.
#[track_caller]
fn check_section(section: &str, body: &str, expected: &str) {
    check(&with(section, body), &[expected]);
}

#[track_caller]
fn good(section: &str, body: &str) -> Config {
    parse(&with(section, body)).unwrap_or_else(|problems| panic!("{section}: {body}\n{problems}"))
}

const FULL: &str = r#"
listen:
  grpc: ["127.0.0.1:9191", "unix:/run/stagedoor/stagedoor.sock", "0.0.0.0:9393"]
  unix_socket_mode: "0660"
  workers: 3
  http: ["unix:/run/stagedoor/http.sock", "0.0.0.0:9194"]
  tls: { certificate_file: tls.crt, key_file: tls.key, client_ca_file: ca.crt, clients: ["spiffe://cluster.local/ns/edge/sa/envoy"] }
  admin: "127.0.0.1:9192"
  admin_tls: { certificate_file: tls.crt, key_file: tls.key, client_ca_file: ca.crt, clients: [ops.example.com] }
  admin_token_file: admin-token
  allow_plaintext_on: ["0.0.0.0:9393", "0.0.0.0:9194"]
http_authorization:
  dialect: envoy
  path_prefix: /authorize
  believe_any_peer_on: ["0.0.0.0:9194"]
entra:
  clock_skew: 60s
  max_token_lifetime: 28h
  max_token_age: 24h
  max_token_bytes: 16KiB
  revocations_file: revocations
  overage: graph
  graph:
    client_id: dddddddd-2222-3333-4444-555555555555
    secret_file: graph-secret
    workload_identity: false
    managed_identity: false
    wait: 120ms
    timeout: 10s
    ttl: 5m
    failure_ttl: 5s
    max_calls: 16
    max_entries: 100000
    max_bytes: 64MiB
    only_catalog_groups: true
  keys: { refresh_every: 12h, min_refresh_interval: 5m, max_age: 24h, unknown_key_wait: 100ms, fetch_timeout: 5s, store: catalog, distrusted: [AbC] }
  token_cache: { max_entries: 100000, max_bytes: 64MiB }
  verification: { queue: 400, max_wait: 50ms }
  tenants:
    - id: 11111111-2222-3333-4444-555555555555
      cloud: us_government
      versions: [v1, v2]
      audiences: [api://payments, bbbbbbbb-2222-3333-4444-555555555555]
      clients: [cccccccc-2222-3333-4444-555555555555]
      graph_url: https://dod-graph.microsoft.us
      kinds: [user, workload, managed_identity, agent]
      agent_clients: [eeeeeeee-2222-3333-4444-555555555555]
      agent_facets: ["11"]
      dangerously_accept_tokens_without_scope_or_role: true
    - id: aaaaaaaa-2222-3333-4444-555555555555
      authority: https://contoso.ciamlogin.com
      issuer_v1: https://sts.contoso.example/aaaaaaaa-2222-3333-4444-555555555555/
      issuer_v2: https://contoso.ciamlogin.com/aaaaaaaa-2222-3333-4444-555555555555/v2.0
      audiences: [api://orders]
      groups_are_names: true
      required_scopes: [Orders.Use]
      required_roles: [Orders.Read.All]
    - allowed_tenants: [ffffffff-2222-3333-4444-555555555555]
      dangerously_allow_any_tenant: false
      audiences: [api://partners]
catalog:
  backstage:
    url: https://backstage.example.com/
    token_file: backstage-token
    page_size: 250
    crawl_timeout: 90s
    trusted_id_locations: ["url:https://github.com/contoso/org/"]
    graph_providers: [default]
  refresh_every: 60s
  max_age: 24h
  store: policies
  shared: { url: "file:///tmp", lease: 30s, poll_every: 5s }
  guard: { max_loss_percent: 10, max_reassigned_percent: 5, adopt_after: 7 }
  root_groups_grant: true
  membership: both
routes:
  - name: orders
    hosts: [payments.example.com]
    paths: [/v1/orders]
    methods: [GET]
    gate: policy
    entity: component:default/payments
    action: read
    allow_path_parameters: false
    kinds: [user]
    auth_context: c1
    max_token_age: 12h
catalog_routes:
  delegations:
    - hosts: [pay.example.com, "*.pay.example.com"]
      workloads: ["spiffe://cluster.local/ns/payments"]
      namespace: payments
      locations: ["url:https://github.com/contoso/payments/"]
      allow_shared_hosts: true
    - { hosts: ["*.apps.example.com"], system: "system:default/apps", dangerously_to_any_entity: false }
    - { hosts: ["*.finance.example.com"], domain: "domain:default/finance" }
    - { hosts: ["*.team.example.com"], group: "group:default/team" }
  workloads:
    - { id: "spiffe://cluster.local/ns/{namespace}/sa/{name}", entity: "component:{namespace}/{name}" }
  gateways: ["spiffe://cluster.local/ns/istio-system/sa/gateway"]
policy:
  files: [policies/owners.cedar, policies]
  shadow: { files: [policies], sample_percent: 5 }
  reload_every: 10s
  cache: { max_entries: 1000, max_bytes: 1MiB }
  justification_header: x-reason
  debug: { groups: [platform, "group:ops/sre"] }
denial:
  tell: {entity: known, owners: never, contacts: never, caller: never, advice: everyone, policies: known}
  backstage_url: https://backstage.contoso.example
  problem_type_base: "https://contoso.example/problems#"
  languages: {de: de.yaml}
  template: page.html
answer:
  headers: { subject: x-subject, tenant: x-tenant, kind: x-kind, entity: x-entity, decision_id: x-decision }
  remove_authorization: true
  remove_look_alikes: false
  metadata: [decision_id, reason]
check: { max_concurrent: 500, queue_timeout: 10ms, deadline: 150ms }
limits:
  max_connections: 1024
  max_concurrent_streams: 1000
  max_message_bytes: 262144
  max_header_list_bytes: 64KiB
  preface_timeout: 3s
  keepalive_interval: 20s
  keepalive_timeout: 10s
  max_connection_age: 30m
  pre_stop: 3s
  drain_timeout: 7s
audit:
  to: "file:audit.log"
  rotate: { max_size: 1GiB, keep: 3 }
  otlp: https://collector:4317
  queue: 100
  facts: false
  mask: [path, justification]
  pseudonyms: { key_file: audit-key, fields: [object, client] }
telemetry:
  log: "stagedoor=debug,info"
  log_format: json
  otlp_endpoint: https://collector:4318/otlp
  otlp_protocol: http
  ca_file: audit-key
  sample_ratio: 0.25
  metrics_every: 30s
outgoing: { ca_files: [ca.crt] }
reload: { watch: true, every: 7s }
"#;

#[test]
fn the_least() {
    let folder = folder();
    let text: String = MINIMAL.iter().map(|(name, body)| format!("{name}: {body}\n")).collect();
    let config = Config::parse(&text, folder.path()).expect("good");
    assert_eq!(config.admin, "127.0.0.1:9192".parse().expect("address"));
    assert_eq!(
        config.serve.listeners,
        [ListenAddress::Tcp("127.0.0.1:9191".parse().expect("address"))]
    );
    assert_eq!(config.serve.max_message_bytes, 256 << 10);
    let [tenant] = config.entra.tenants.as_slice() else { panic!("one tenant") };
    assert_eq!(tenant.authority.as_str(), "https://login.microsoftonline.com/");
    assert_eq!(tenant.issuer_v1, Some(format!("https://sts.windows.net/{TENANT}/")));
    assert_eq!(tenant.issuer_v2, Some(format!("https://login.microsoftonline.com/{TENANT}/v2.0")));
    assert!(!tenant.accept_tokens_without_grant);
    match &config.catalog.source {
        SourceSettings::Folder(path) => assert_eq!(path, &folder.path().join("catalog")),
        SourceSettings::Backstage(_) => panic!("a folder"),
    }
    assert_eq!(config.membership, Membership::Token);
    assert_eq!(config.audit.sink, AuditSink::Stdout);
    assert!(config.audit.rotate.is_none() && config.audit.otlp.is_none());
    assert!(config.audit.content.facts && config.audit.content.mask.is_empty());
    assert_eq!(config.audit.content.pseudonyms, None);
    assert!(config.routes.is_empty() && config.policy.files.is_empty());
    assert!(!config.answer.remove_authorization && config.answer.remove_look_alikes);
    assert_eq!(config.answer.metadata, MetadataFields::ALL);
}

#[test]
fn everything() {
    let folder = folder();
    let config = Config::parse(FULL, folder.path()).unwrap_or_else(|problems| panic!("{problems}"));
    let listener = |text: &str| text.parse().expect("address");
    assert_eq!(
        config.serve.listeners,
        [
            ListenAddress::Tls(listener("127.0.0.1:9191")),
            ListenAddress::Unix { path: "/run/stagedoor/stagedoor.sock".into(), mode: 0o660 },
            ListenAddress::Tcp(listener("0.0.0.0:9393")),
        ]
    );
    let tls = config.tls.expect("given");
    assert_eq!(tls.certificate_file, folder.path().join("tls.crt"));
    assert_eq!(tls.client_ca_file, Some(folder.path().join("ca.crt")));
    assert_eq!(tls.clients.len(), 1);
    let admin = config.admin_tls.expect("given");
    assert_eq!(admin.clients, [ClientName::Dns("ops.example.com".into())]);
    assert_eq!(config.admin_token_file, Some(folder.path().join("admin-token")));
    assert_eq!(config.serve.workers, 3);
    let [government, external, partners] = config.entra.tenants.as_slice() else {
        panic!("three tenants")
    };
    assert_eq!(partners.issuer_v1.as_deref(), Some("https://sts.windows.net/{tenantid}/"));
    assert_eq!(
        partners.issuer_v2.as_deref(),
        Some("https://login.microsoftonline.com/{tenantid}/v2.0")
    );
    assert_eq!(government.graph.as_str(), "https://dod-graph.microsoft.us/");
    assert_eq!(external.required_roles, ["Orders.Read.All"]);
    assert_eq!(config.overage, super::OverageFrom::Graph);
    assert_eq!(config.entra.distrusted_keys, ["AbC"]);
    assert_eq!(
        government.issuer_v2,
        Some(format!("https://login.microsoftonline.us/{TENANT}/v2.0"))
    );
    assert!(government.accept_tokens_without_grant);
    assert_eq!(external.issuer_v1, Some(format!("https://sts.contoso.example/{OTHER}/")));
    match &config.catalog.source {
        SourceSettings::Backstage(backstage) => {
            assert_eq!(backstage.token_file, Some(folder.path().join("backstage-token")));
            assert_eq!(backstage.graph_providers, ["default"]);
        }
        SourceSettings::Folder(_) => panic!("a backend"),
    }
    assert_eq!(config.catalog.store, Some(folder.path().join("policies")));
    let guard = config.catalog.guard;
    assert_eq!((guard.max_loss_percent, guard.max_reassigned_percent), (10, 5));
    assert_eq!(guard.adopt_after, 7);
    assert!(config.catalog.root_groups_grant);
    let policies = folder.path().join("policies");
    assert_eq!(config.policy.files, [policies.join("owners.cedar"), policies.clone()]);
    assert_eq!(config.policy.shadow, [policies]);
    assert_eq!(config.policy.shadow_sample, 5);
    assert_eq!(config.policy.reload_every, Some(std::time::Duration::from_secs(10)));
    let memory = crate::bounded::Bounds { max_entries: 1000, max_bytes: 1 << 20 };
    assert_eq!(config.policy.memory, memory);
    assert_eq!(config.check.justification_header, "x-reason");
    let groups: Vec<_> = config.debug_groups.iter().map(ToString::to_string).collect();
    assert_eq!(groups, ["group:default/platform", "group:ops/sre"]);
    assert_eq!(config.audit.sink, AuditSink::File(folder.path().join("audit.log")));
    assert_eq!(config.audit.rotate, Some(RotateSettings { max_size: 1 << 30, keep: 3 }));
    assert_eq!(config.audit.otlp.as_ref().map(url::Url::as_str), Some("https://collector:4317/"));
    assert!(!config.audit.content.facts);
    assert_eq!(config.audit.content.mask, [Member::Path, Member::Justification]);
    assert_eq!(
        config.audit.content.pseudonyms,
        Some(PseudonymSettings {
            key_file: folder.path().join("audit-key"),
            object: true,
            client: true
        })
    );
    assert_eq!(config.routes[0].action, Some(crate::domain::Action::Read));
    assert_eq!(config.answer.headers.decision_id, "x-decision");
    assert_eq!(&*config.denials.problem_type_base, "https://contoso.example/problems#");
    assert_eq!(config.denials.tell.advice, crate::ext_authz::Audience::Everyone);
    let telemetry = config.telemetry;
    let collector = telemetry.collector.expect("a collector");
    assert_eq!(collector.protocol, OtlpProtocol::Http);
    assert_eq!(collector.ca_file, Some(folder.path().join("audit-key")));
    assert_eq!(collector.path_of("traces").as_str(), "https://collector:4318/otlp/v1/traces");
    assert!((telemetry.sample_ratio - 0.25).abs() < f64::EPSILON);
    assert_eq!(telemetry.metrics_every, Some(Duration::from_secs(30)));
    assert_eq!(config.reload.watch, Some(Duration::from_secs(7)));
}

/// Twelve mistakes of all kinds, the odd ones of structure and the even ones of
/// meaning, in one run.
#[test]
fn all_at_once() {
    let text = r#"
listen:
  grpc: ["0.0.0.0:9191"]
  admim: "127.0.0.1:9192"
entra:
  clock_skew: 10m
  keys: 5
  tenants:
    - id: not-a-guid
      audiences: [https://graph.microsoft.com, 7]
    - id: 11111111-2222-3333-4444-555555555555
catalog:
  folder: nowhere
  membership: tokens
policy:
  files: [a.cedar]
check:
  max_concurrent: 0
  deadline: 11s
telemetry: { log_format: jsno, otlp_endpoint: "ftp://x" }
"#;
    check(
        text,
        &[
            "3:10: listen.grpc[0]: `0.0.0.0:9191` can be reached from other machines, without TLS: use loopback or a Unix socket, give `listen.tls`, or add it to `listen.allow_plaintext_on`",
            "4:3: listen: unknown key `admim`: did you mean `admin`? (known here: `grpc`, `unix_socket_mode`, `workers`, `http`, `tls`, `admin`, `admin_tls`, `admin_token_file`, `allow_plaintext_on`)",
            "6:15: entra.clock_skew: must be from `0ms` to `5m`",
            "7:9: entra.keys: expected a mapping, found the number `5`",
            "9:11: entra.tenants[0].id: expected a GUID like `11111111-2222-3333-4444-555555555555`",
            "10:48: entra.tenants[0].audiences[1]: expected a text, found the number `7`",
            "11:7: entra.tenants[1]: missing key `audiences`: the `aud` values that are accepted, compared byte by byte: the API's client id (v2), or its application id URI (v1)",
            "13:11: catalog.folder: the folder `DIR/nowhere` can't be read: No such file or directory (os error 2)",
            "14:15: catalog.membership: expected one of `token`, `catalog`, `either`, `both`, found the text `tokens`",
            "16:11: policy.files[0]: the file `DIR/a.cedar` can't be read: No such file or directory (os error 2)",
            "18:19: check.max_concurrent: must be at least `1`",
            "19:13: check.deadline: must be from `10ms` to `10s`",
            "20:26: telemetry.log_format: expected one of `text`, `json`, found the text `jsno`",
            "20:47: telemetry.otlp_endpoint: expected an address that begins with `https://`",
        ],
    );
}

#[test]
fn structure() {
    check("", &["1:1: the file is empty"]);
    check("# nothing\n", &["1:1: the file is empty"]);
    check("a: [\n", &["2:1: while parsing a node, did not find expected node content"]);
    check("listen: {}\n---\nlisten: {}\n", &["2:1: expected one document"]);
    check("- listen\n", &["1:1: expected a mapping, found a list"]);
    check(
        "catalog: {folder: a}\ncatalog: {folder: b}\n",
        &["2:1: the key `catalog` is given twice"],
    );
    check(&with("check", ""), &["1:1: check: expected a mapping, found nothing"]);
    check(
        &with("rutes", "[]"),
        &[
            "1:1: unknown key `rutes`: did you mean `routes`? (known here: `listen`, `http_authorization`, `entra`, `catalog`, `routes`, `catalog_routes`, `policy`, `answer`, `denial`, `check`, `limits`, `audit`, `telemetry`, `outgoing`, `reload`)",
        ],
    );
    check(
        "listen: {grcp: [a]}\n",
        &[
            "1:1: missing key `catalog`: who owns what",
            "1:1: missing key `entra`: which tokens are accepted",
            "1:10: listen: unknown key `grcp`: did you mean `grpc`? (known here: `grpc`, `unix_socket_mode`, `workers`, `http`, `tls`, `admin`, `admin_tls`, `admin_token_file`, `allow_plaintext_on`)",
        ],
    );
    let section = |section, body, expected| check_section(section, body, expected);
    section("listen", "{grpc: []}", "1:16: listen.grpc: must not be empty");
    section(
        "listen",
        "{grpc: '127.0.0.1:1'}",
        "1:16: listen.grpc: expected a list, found the text `127.0.0.1:1`",
    );
    section(
        "listen",
        "{grpc: ['127.0.0.1:1'], unix_socket_mode: 0660}",
        "1:51: listen.unix_socket_mode: expected a file mode in octal and in quotes, such as `\"0660\"`, found the number `660`",
    );
    section(
        "check",
        "{deadline: 150}",
        "1:19: check.deadline: expected a duration such as `150ms`, `60s`, `5m` or `24h`, found the number `150`",
    );
    section(
        "check",
        "{deadline: 2 minutes}",
        "1:19: check.deadline: expected a duration such as `150ms`, `60s`, `5m` or `24h`, found the text `2 minutes`",
    );
    section(
        "limits",
        "{max_message_bytes: 1MB}",
        "1:29: limits.max_message_bytes: expected a size such as `65536` or `64MiB`, found the text `1MB`",
    );
    section(
        "limits",
        "{max_connections: 1.5}",
        "1:27: limits.max_connections: expected a whole number, found the number `1.5`",
    );
    section(
        "limits",
        "{max_connections: 10000000}",
        "1:27: limits.max_connections: must be at most `1000000`",
    );
    section(
        "answer",
        "{remove_authorization: yes}",
        "1:32: answer.remove_authorization: expected `true` or `false`, found the text `yes`",
    );
    section(
        "audit",
        "{to: syslog}",
        "1:13: audit.to: expected `stdout`, `off` or `file:/path`, found the text `syslog`",
    );
    section(
        "routes",
        "[{name: a, hosts: [a], gate: open}]",
        "1:38: routes[0].gate: expected one of `public`, `authenticated`, `policy`, found the text `open`",
    );
    section(
        "catalog",
        "{backstage: {url: 'https://b', token: abc}}",
        "1:41: catalog.backstage: unknown key `token`: a secret is never written here; `token_file` names its file (known here: `url`, `token_file`, `page_size`, `crawl_timeout`, `trusted_id_locations`, `graph_providers`)",
    );
    section(
        "entra",
        &format!("{{client_secret: s3cr3t, tenants: [{{id: {TENANT}, audiences: [a]}}]}}"),
        "1:9: entra: unknown key `client_secret`: if it is a secret, it is never written here (known here: `clock_skew`, `max_token_lifetime`, `max_token_age`, `max_token_bytes`, `revocations_file`, `overage`, `graph`, `keys`, `token_cache`, `verification`, `tenants`)",
    );
    good("limits", "{max_connections: 1e3, max_message_bytes: 65536.0}");
}

#[test]
fn listeners() {
    let bad = |body: &str, expected: &str| check_section("listen", body, expected);
    let open = "can be reached from other machines, without TLS: use loopback or a Unix socket, give `listen.tls`, or add it to `listen.allow_plaintext_on`";
    let by_anybody = "can be reached from other machines, by anybody: use loopback, give `listen.admin_token_file`, or `listen.admin_tls` with `client_ca_file`, or add it to `listen.allow_plaintext_on`";
    bad(
        "{grpc: ['localhost:1']}",
        "1:17: listen.grpc[0]: expected `address:port`, such as `127.0.0.1:9191`, or `unix:/path`",
    );
    bad("{grpc: ['unix:']}", "1:17: listen.grpc[0]: expected a path");
    bad("{grpc: ['127.0.0.1:1', '[::]:1']}", &format!("1:32: listen.grpc[1]: `[::]:1` {open}"));
    bad(
        "{grpc: ['127.0.0.1:1'], admin: '10.0.0.1:2'}",
        &format!("1:40: listen.admin: `10.0.0.1:2` {by_anybody}"),
    );
    bad(
        "{grpc: ['127.0.0.1:1'], admin: 'unix:/x'}",
        "1:40: listen.admin: expected `address:port`, such as `127.0.0.1:9192`",
    );
    bad(
        "{grpc: ['127.0.0.1:1'], allow_plaintext_on: ['10.0.0.1:1']}",
        "1:54: listen.allow_plaintext_on[0]: names no listener: expected one as written in `grpc`, `http` or `admin`",
    );
    bad(
        "{grpc: ['127.0.0.1:1', '127.0.0.1:1']}",
        "1:32: listen.grpc[1]: the same place as another listener",
    );
    bad(
        "{grpc: ['127.0.0.1:1', '0.0.0.0:1'], allow_plaintext_on: ['0.0.0.0:1']}",
        "1:32: listen.grpc[1]: the same place as another listener",
    );
    bad(
        "{grpc: ['unix:/a', 'unix:/a']}",
        "1:28: listen.grpc[1]: the same place as another listener",
    );
    bad(
        "{grpc: ['127.0.0.1:1'], admin: '127.0.0.1:1'}",
        "1:40: listen.admin: the same place as a listener of `grpc`",
    );
    let long = format!("unix:/{}", "x".repeat(107));
    bad(
        &format!("{{grpc: ['{long}']}}"),
        "1:17: listen.grpc[0]: the socket's path is 108 bytes long; the system allows 107",
    );
    good("listen", &format!("{{grpc: ['unix:/{}']}}", "x".repeat(106)));
    good("listen", "{grpc: ['127.0.0.1:0', '127.0.0.1:0'], admin: '127.0.0.1:0'}");
    good("listen", "{grpc: ['[::1]:1', '127.0.0.1:1', '[::ffff:127.0.0.1]:1']}");
    good("listen", "{grpc: ['unix:/a'], admin: '0.0.0.0:2', allow_plaintext_on: ['0.0.0.0:2']}");
}

#[test]
fn tenants() {
    let tenants = |tenants: &str| with("entra", &format!("\n  tenants:\n{tenants}"));
    let one = |rest: &str, expected: &[&str]| {
        check(&tenants(&format!("  - id: {TENANT}\n    audiences: [a]\n    {rest}\n")), expected);
    };
    let id = |id: &str, expected: &str| {
        check(&tenants(&format!("  - {{audiences: [a], id: {id}}}\n")), &[expected]);
    };
    id(
        "00000000-0000-0000-0000-000000000000",
        "3:26: entra.tenants[0].id: the zero GUID names nothing",
    );
    id("contoso.com", &format!("3:26: entra.tenants[0].id: expected a GUID like `{TENANT}`"));
    id("common", "3:26: entra.tenants[0].id: `common` is no tenant: expected the GUID of one");

    one("cloud: china", &[]);
    one("authority: https://contoso.ciamlogin.com/", &[]);
    one("authority: http://127.0.0.1:4000", &[]);
    one(
        "authority: http://login.example.com",
        &["5:16: entra.tenants[0].authority: plain http is for loopback only: use https"],
    );
    one(
        "authority: https://login.microsoftonline.com/common",
        &[
            "5:16: entra.tenants[0].authority: must have no path: the tenant is given by `id`, never by `common` and such",
        ],
    );
    one(
        "authority: https://a:b@login.example.com",
        &["5:16: entra.tenants[0].authority: an address must hold no user and no password"],
    );
    one(
        "authority: https://login.example.com?a",
        &["5:16: entra.tenants[0].authority: an address must end before `?` and `#`"],
    );
    one(
        "authority: login.example.com",
        &["5:16: entra.tenants[0].authority: expected an address: relative URL without a base"],
    );
    one(
        "cloud: public\n    authority: https://login.example.com",
        &["6:16: entra.tenants[0].authority: either this or `cloud`, not both"],
    );
    one(
        "authority: https://login.example.com\n    versions: [v1]",
        &[
            "6:15: entra.tenants[0].versions: `v1` with an `authority` of your own requires `issuer_v1`",
        ],
    );
    one("versions: []", &["5:15: entra.tenants[0].versions: must not be empty"]);
    one(
        "versions: [v3]",
        &["5:16: entra.tenants[0].versions[0]: expected one of `v1`, `v2`, found the text `v3`"],
    );
    one(
        "versions: [v2]\n    issuer_v1: https://sts.example.com/",
        &["6:16: entra.tenants[0].issuer_v1: is given, but its version isn't among `versions`"],
    );
    one(
        "issuer_v1: http://sts.example.com/",
        &["5:16: entra.tenants[0].issuer_v1: plain http is for loopback only: use https"],
    );
    one(
        "issuer_v2: https://login.example.com/{tenantid}/v2.0",
        &["5:16: entra.tenants[0].issuer_v2: must name the tenant itself, without a placeholder"],
    );
    one(
        "issuer_v1: https://x.example\n    issuer_v2: https://x.example",
        &[
            "6:16: entra.tenants[0].issuer_v2: is the issuer of v1.0 as well: a token's version follows from its issuer",
        ],
    );
    one(
        "clients: [me]",
        &[&format!("5:15: entra.tenants[0].clients[0]: expected a GUID like `{TENANT}`")],
    );

    let audiences = |audiences: &str, expected: &[&str]| {
        check(&tenants(&format!("  - id: {TENANT}\n    audiences: {audiences}\n")), expected);
    };
    audiences("[]", &["4:16: entra.tenants[0].audiences: must not be empty"]);
    audiences(
        "['']",
        &[
            "4:17: entra.tenants[0].audiences[0]: expected an `aud` value: a client id, or an application id URI",
        ],
    );
    audiences(
        "['a b']",
        &[
            "4:17: entra.tenants[0].audiences[0]: expected an `aud` value: a client id, or an application id URI",
        ],
    );
    audiences("[a, a]", &["4:20: entra.tenants[0].audiences[1]: is given twice"]);
    for graph in [
        "00000003-0000-0000-C000-000000000000",
        "https://graph.microsoft.com/",
        "https://Graph.Microsoft.us",
    ] {
        audiences(
            &format!("[{graph}]"),
            &[
                "4:17: entra.tenants[0].audiences[0]: is Microsoft Graph: its tokens can be verified by nobody else, and whoever calls Graph holds one",
            ],
        );
    }

    check(
        &tenants(&format!(
            "  - {{id: {OTHER}, audiences: [a]}}\n  - {{id: {}, audiences: [b]}}\n",
            OTHER.to_uppercase()
        )),
        &["4:10: entra.tenants[1].id: the tenant is given twice: also `tenants[0]`"],
    );
    check(
        &tenants(&format!(
            "  - {{id: {TENANT}, audiences: [a]}}\n  - {{id: {OTHER}, audiences: [b], issuer_v2: 'https://sts.windows.net/{TENANT}/'}}\n"
        )),
        &["4:75: entra.tenants[1].issuer_v2: is the issuer of `tenants[0]` as well"],
    );
    check(&tenants(""), &["2:3: entra.tenants: expected a list, found nothing"]);
    let china = parse(&tenants(&format!(
        "  - {{id: {TENANT}, audiences: [a], cloud: china, versions: [v1]}}\n"
    )));
    let china = china.expect("good").entra.tenants.remove(0);
    assert_eq!(china.issuer_v1, Some(format!("https://sts.chinacloudapi.cn/{TENANT}/")));
    assert_eq!(china.issuer_v2, None);
    let external = parse(&tenants(&format!(
        "  - {{id: {TENANT}, audiences: [a], authority: 'https://x.ciamlogin.com'}}\n"
    )));
    let external = external.expect("good").entra.tenants.remove(0);
    assert_eq!(external.issuer_v1, None);
    assert_eq!(external.issuer_v2, Some(format!("https://x.ciamlogin.com/{TENANT}/v2.0")));
}

#[test]
fn times_and_sizes() {
    let entra = |rest: &str, expected: &str| {
        let body = format!("\n  {rest}\n  tenants: [{{id: {TENANT}, audiences: [a]}}]");
        check(&with("entra", &body), &[expected]);
    };
    entra("max_token_lifetime: 49h", "2:23: entra.max_token_lifetime: must be from `1m` to `48h`");
    entra("max_token_bytes: 100", "2:20: entra.max_token_bytes: must be from `1KiB` to `64KiB`");
    entra(
        "keys: {min_refresh_interval: 2h}",
        "2:32: entra.keys.min_refresh_interval: must not be more than `refresh_every` (`1h`)",
    );
    entra(
        "keys: {max_age: 30m}",
        "2:19: entra.keys.max_age: must not be less than `refresh_every` (`1h`)",
    );
    entra(
        "keys: {refresh_every: 25h, max_age: 48h}",
        "2:25: entra.keys.refresh_every: must be from `1m` to `24h`",
    );
    entra(
        "keys: {unknown_key_wait: 150ms}",
        "2:28: entra.keys.unknown_key_wait: must be less than `check.deadline` (`150ms`)",
    );
    entra(
        "keys: {fetch_timeout: 2m}",
        "2:25: entra.keys.fetch_timeout: must be from `100ms` to `1m`",
    );
    let bad = |section, body, expected| check_section(section, body, expected);
    bad("check", "{deadline: 11s}", "1:19: check.deadline: must be from `10ms` to `10s`");
    bad(
        "check",
        "{queue_timeout: 1s}",
        "1:24: check.queue_timeout: must not be more than `deadline` (`150ms`)",
    );
    // The default it is held against is nowhere in the file.
    check(
        &with("check", "{deadline: 50ms}"),
        &["2:1: entra.keys.unknown_key_wait: must be less than `check.deadline` (`50ms`)"]
            .map(|line| line.replace("2:1:", "3:1:"))
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>(),
    );
    bad(
        "limits",
        "{max_message_bytes: 16KiB}",
        "1:29: limits.max_message_bytes: must be more than `entra.max_token_bytes` (`16KiB`): the token comes in the message",
    );
    bad(
        "limits",
        "{max_header_list_bytes: 2MiB}",
        "1:33: limits.max_header_list_bytes: must be from `4KiB` to `1MiB`",
    );
    bad(
        "limits",
        "{preface_timeout: 0s}",
        "1:27: limits.preface_timeout: must be from `100ms` to `1m`",
    );
    bad(
        "limits",
        "{drain_timeout: 11m}",
        "1:25: limits.drain_timeout: must be from `0ms` to `10m`",
    );
    bad(
        "catalog",
        "{folder: catalog, max_age: 30s}",
        "1:37: catalog.max_age: must not be less than `refresh_every` (`1m`)",
    );
    bad(
        "catalog",
        "{folder: catalog, refresh_every: 0s}",
        "1:43: catalog.refresh_every: must be from `1s` to `24h`",
    );
}

#[test]
fn sources() {
    let bad = |body: &str, expected: &str| check_section("catalog", body, expected);
    bad("{}", "1:10: catalog: expected `folder` or `backstage`");
    bad(
        "{folder: catalog, backstage: {url: 'https://b'}}",
        "1:39: catalog.backstage: either this or `folder`, not both",
    );
    bad(
        "{folder: backstage-token}",
        "1:19: catalog.folder: the folder `DIR/backstage-token` can't be read: Not a directory (os error 20)",
    );
    let backstage = |rest: &str, expected: &str| {
        bad(&format!("{{backstage: {{{rest}}}}}"), expected);
    };
    backstage(
        "url: 'http://backstage.example'",
        "1:28: catalog.backstage.url: plain http is for loopback only: use https",
    );
    backstage(
        "url: 'https://b', token_file: none",
        "1:53: catalog.backstage.token_file: the file `DIR/none` can't be read: No such file or directory (os error 2)",
    );
    backstage(
        "url: 'https://b', token_file: policies",
        "1:53: catalog.backstage.token_file: `DIR/policies` is a folder, not a file",
    );
    backstage(
        "url: 'https://b', page_size: 0",
        "1:52: catalog.backstage.page_size: must be at least `1`",
    );
    let unbounded = "expected a prefix that ends with `/`, such as `url:https://github.com/contoso/org/`, or a whole location that ends with `.yaml`: anything shorter would trust its namesakes as well";
    for prefix in ["", "url:", "url:https://", "url:/", "url:https://github.com/contoso", "https"] {
        backstage(
            &format!("url: 'https://b', trusted_id_locations: ['{prefix}']"),
            &format!("1:64: catalog.backstage.trusted_id_locations[0]: {unbounded}"),
        );
    }
    good(
        "catalog",
        "{backstage: {url: 'http://127.0.0.1:7007', trusted_id_locations: ['url:https://github.com/contoso/', 'file:/catalog/org.yaml']}}",
    );
    check_section(
        "policy",
        "{files: [no-such-folder]}",
        "1:18: policy.files[0]: the file `DIR/no-such-folder` can't be read: No such file or directory (os error 2)",
    );
    check_section(
        "policy",
        "{debug: {groups: ['user:default/ada']}}",
        "1:27: policy.debug.groups[0]: expected a Backstage group, not `user:default/ada`",
    );
    check_section(
        "policy",
        "{justification_header: Reason}",
        "1:32: policy.justification_header: must be in lower case, as HTTP/2 has it",
    );
    check_section(
        "policy",
        "{files: [policies/owners.cedar, policies/owners.cedar]}",
        "1:41: policy.files[1]: is given twice",
    );
    check_section(
        "audit",
        "{to: 'file:none/audit.log'}",
        "1:13: audit.to: the folder `DIR/none` isn't there",
    );
    check_section(
        "audit",
        "{to: 'file:policies'}",
        "1:13: audit.to: `DIR/policies` is a folder, not a file",
    );
    assert_eq!(good("audit", "{to: off}").audit.sink, AuditSink::Off);
}

#[test]
fn what_is_recorded() {
    for (body, expected) in [
        ("{rotate: {keep: 3}}", "1:17: audit.rotate: only a file can be begun anew"),
        (
            "{to: 'file:audit.log', rotate: {max_size: 1KiB}}",
            "1:50: audit.rotate.max_size: must be from `64KiB` to `64GiB`",
        ),
        (
            "{to: 'file:audit.log', rotate: {keep: 0}}",
            "1:46: audit.rotate.keep: must be at least `1`",
        ),
        (
            "{otlp: 'collector:4317'}",
            "1:15: audit.otlp: expected an address that begins with `https://`",
        ),
        ("{mask: [path, host, path]}", "1:28: audit.mask[2]: is given twice"),
        (
            "{pseudonyms: {key_file: none}}",
            "1:32: audit.pseudonyms.key_file: the file `DIR/none` can't be read: No such file or directory (os error 2)",
        ),
        (
            "{pseudonyms: {key_file: backstage-token}}",
            "1:32: audit.pseudonyms.key_file: the key file `DIR/backstage-token` holds 0 bytes: a key has at least 32",
        ),
    ] {
        check_section("audit", body, expected);
    }
    let member = lines(&with("audit", "{mask: [decision]}")).join("\n");
    assert!(member.starts_with("1:16: audit.mask[0]: expected one of `request_id`, "), "{member}");
    let settings = good("audit", "{to: 'file:audit.log', rotate: {}}").audit;
    assert_eq!(settings.rotate, Some(RotateSettings { max_size: 100 << 20, keep: 10 }));
    let settings = good("audit", "{pseudonyms: {key_file: audit-key}}").audit.content.pseudonyms;
    assert!(settings.is_some_and(|names| names.object && !names.client));
}

#[test]
fn answers_and_telemetry() {
    let header = |name: &str, expected: &str| {
        check_section(
            "answer",
            &format!("{{headers: {{subject: '{name}'}}}}"),
            &format!("1:29: answer.headers.subject: {expected}"),
        );
    };
    for name in [
        "host",
        "authorization",
        "content-length",
        "connection",
        "te",
        "x-forwarded-for",
        "x-envoy-peer",
        "cookie",
        "cache-control",
        "x-original-uri",
        "x-stagedoor-denial",
    ] {
        header(name, "has a meaning of its own in HTTP or Envoy: choose a name of your own");
    }
    for name in ["", ":path", "x subject", "x:subject", "é"] {
        header(name, "expected a header's name, such as `x-stagedoor-subject`");
    }
    header("X-Subject", "must be in lower case, as HTTP/2 has it");
    header("x-a-b-c-d-e", "must hold at most four `-`");
    header("x_subject", "must hold no `_`: upstreams take it for `-`");
    check_section(
        "answer",
        "{headers: {tenant: x-stagedoor-subject}}",
        "1:28: answer.headers.tenant: is the header of `subject` as well",
    );
    check_section(
        "telemetry",
        "{log: ''}",
        "1:18: telemetry.log: expected a filter such as `info` or `stagedoor=debug,info`",
    );
    check_section(
        "telemetry",
        "{log: inof}",
        "1:18: telemetry.log: `inof` is neither a level nor `target=level`: did you mean `info`?",
    );
    check_section(
        "telemetry",
        "{metrics_every: 100ms}",
        "1:28: telemetry.metrics_every: must be from `1s` to `1h`",
    );
    check_section(
        "telemetry",
        "{sample_ratio: 1.5}",
        "1:27: telemetry.sample_ratio: must be at most `1`",
    );
    check_section(
        "telemetry",
        "{otlp_protocol: https}",
        "1:28: telemetry.otlp_protocol: expected one of `grpc`, `http`, found the text `https`",
    );
    let never = good("telemetry", "{metrics_every: 0s}").telemetry;
    assert_eq!((never.metrics_every, never.collector), (None, None));
    let found = lines(&with("telemetry", "{log: 'stagedoor=loud'}"));
    assert!(
        found.len() == 1 && found[0].starts_with("1:18: telemetry.log: expected a filter such as"),
        "{found:?}"
    );
    check_section(
        "telemetry",
        "{otlp_endpoint: collector}",
        "1:28: telemetry.otlp_endpoint: expected an address: relative URL without a base",
    );
}

#[test]
fn routes() {
    let routes = |routes: &str, expected: &[&str]| {
        check(&with("routes", &format!("\n{routes}")), expected);
    };
    routes(
        "  - {name: a, hosts: ['*'], gate: policy}\n  - {name: a, hosts: [a.example, 'A b'], gate: public}\n",
        &[
            "2:5: routes[0].entity: is missing, and the gate is `policy`",
            "3:12: routes[1].name: `a` is also the name of route 0",
            "3:34: routes[1].hosts[1]: `A b`: the host holds ` `",
        ],
    );
    // A route whose shape is wrong isn't judged further; the others are.
    routes(
        "  - {name: '', hosts: ['*'], gate: open}\n  - {name: b, hosts: ['*'], gate: public, methods: [get]}\n",
        &[
            "2:36: routes[0].gate: expected one of `public`, `authenticated`, `policy`, found the text `open`",
            "3:53: routes[1].methods[0]: `get`: expected a method in upper case, as on the request line",
        ],
    );
}

#[test]
fn files() {
    let folder = folder();
    let file = folder.path().join("stagedoor.yaml");
    let problems = Config::load(&file).expect_err("no such file");
    assert_eq!(
        problems.to_string(),
        format!("{}: can't be read: No such file or directory (os error 2)", file.display())
    );
    fs::write(&file, "listen: {}\n").expect("file");
    let problems = Config::load(&file).expect_err("not enough");
    assert!(
        problems.to_string().starts_with(&format!("{}:1:1: missing key `catalog`", file.display())),
        "{problems}"
    );
    assert_eq!(problems.as_slice().len(), 3);
    fs::write(&file, FULL).expect("file");
    Config::load(&file).expect("good");
    fs::write(&file, vec![b'\n'; (32 << 20) + 1]).expect("file");
    let problems = Config::load(&file).expect_err("too large");
    assert!(problems.to_string().ends_with("is larger than 33554432 bytes"), "{problems}");
    fs::write(&file, [0xFF]).expect("file");
    assert!(Config::load(&file).expect_err("not text").to_string().contains("valid UTF-8"));
}

#[test]
fn the_schema() {
    let schema = schema();
    jsonschema::meta::validate(&schema).unwrap_or_else(|error| panic!("{error}"));
    let mut properties = 0;
    walk(&schema, "", &mut properties);
    assert!(properties > 60, "{properties}");
    let full = crate::yaml::parse(FULL).expect("yaml")[0].to_json();
    assert!(jsonschema::is_valid(&schema, &full));
    let unused = leaves(&schema, "")
        .into_iter()
        .filter(|p| {
            let mut places =
                ["/0/", "/1/", "/2/", "/3/"].map(|at| p.replacen("/0/", at, 1)).into_iter();
            !places.any(|place| full.pointer(&place).is_some())
        })
        .collect::<Vec<_>>();
    let others_of_one =
        ["/entra/graph/certificate_file", "/entra/graph/federated_token_file", "/catalog/folder"];
    assert_eq!(unused, others_of_one, "the full example shows every key");
}

/// Everything in it is documented, and nothing in it is of Rust's making.
fn walk(schema: &Value, path: &str, properties: &mut usize) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        *properties += 1;
        let path = format!("{path}/{name}");
        assert!(property["description"].as_str().is_some_and(|d| d.len() > 10), "{path}");
        assert!(property.get("type").is_some() || property.get("enum").is_some(), "{path}");
        for keyword in ["anyOf", "oneOf", "allOf", "$ref", "format"] {
            assert!(property.get(keyword).is_none(), "{path}: {keyword}");
        }
        assert_ne!(property.get("default"), Some(&Value::Null), "{path}");
        if property["type"] == "object" {
            // Either the keys are known, or all values are alike.
            let others = if property.get("properties").is_some() {
                json!(false)
            } else {
                json!({ "type": "string" })
            };
            assert_eq!(property["additionalProperties"], others, "{path}");
        }
        if property["type"] == "integer" {
            assert!(property.get("maximum").is_some(), "{path}");
        }
        walk(property, &path, properties);
        walk(&property["items"], &format!("{path}/0"), properties);
    }
}

fn leaves(schema: &Value, path: &str) -> Vec<String> {
    if !schema["items"].is_null() {
        return leaves(&schema["items"], &format!("{path}/0"));
    }
    match schema["properties"].as_object() {
        None => vec![path.to_owned()],
        Some(properties) => {
            properties.iter().flat_map(|(name, s)| leaves(s, &format!("{path}/{name}"))).collect()
        }
    }
}

fn pointers(value: &Value, path: &str, all: &mut Vec<String>) {
    all.push(path.to_owned());
    match value {
        Value::Object(map) => {
            map.iter().for_each(|(k, v)| pointers(v, &super::problem::below(path, k), all))
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(i, v)| pointers(v, &format!("{path}/{i}"), all));
        }
        _ => {}
    }
}

fn other_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!(null)),
        Just(json!(true)),
        Just(json!([])),
        Just(json!({})),
        Just(json!({"": 1, "a/b~c": {"token": 2}})),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<u32>().prop_map(|n| Value::from(f64::from(n))),
        any::<String>().prop_map(Value::from),
        "[0-9]{1,14}(ms|s|m|h|KiB|GiB)".prop_map(Value::from),
        "(unix:|file:|https?://)?[a-z0-9.:/@{}]{0,12}".prop_map(Value::from),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever stands anywhere in a file is taken or refused with words and a place:
    /// what the schema lets pass, the types take.
    #[test]
    fn any_value_anywhere(
        changes in prop::collection::vec((any::<prop::sample::Index>(), other_value()), 1..4)
    ) {
        let mut json = crate::yaml::parse(FULL).expect("yaml")[0].to_json();
        for (index, value) in changes {
            let mut all = Vec::new();
            pointers(&json, "", &mut all);
            *json.pointer_mut(index.get::<String>(&all)).expect("there") = value;
        }
        let text = serde_json::to_string_pretty(&json).expect("json");
        if let Err(problems) = parse(&text) {
            prop_assert!(!problems.as_slice().is_empty());
            for problem in problems.as_slice() {
                prop_assert!(problem.line > 0 && problem.column > 0, "{}", problems);
                prop_assert!(!problem.message.contains("which is a bug"), "{}\n{}", problems, text);
                prop_assert!(!problem.to_string().contains('\n'), "{}", problems);
            }
        }
    }

    #[test]
    fn any_text(text in any::<String>()) {
        prop_assert!(Config::parse(&text, Path::new(".")).is_err());
    }
}

#[test]
fn several_tenants_and_what_they_ask_for() {
    let tenants = |entries: &str| with("entra", &format!("\n  tenants:\n{entries}"));
    let entry = |rest: &str, expected: &[&str]| {
        check(&tenants(&format!("  - {{audiences: [a], {rest}}}\n")), expected);
    };
    let at = "entra.tenants[0]";
    check(
        &tenants("  - audiences: [a]\n"),
        &[&format!(
            "3:5: {at}: expected `id`, or `allowed_tenants` for a multi-tenant application"
        )],
    );
    entry(
        &format!("id: {TENANT}, allowed_tenants: [{OTHER}]"),
        &[&format!(
            "3:26: {at}.id: either this, or `allowed_tenants`, or `dangerously_allow_any_tenant`"
        )],
    );
    entry(
        &format!("allowed_tenants: [{OTHER}], dangerously_allow_any_tenant: true"),
        &[&format!("3:39: {at}.allowed_tenants: either this, or `dangerously_allow_any_tenant`")],
    );
    entry(
        "allowed_tenants: [common]",
        &[&format!(
            "3:40: {at}.allowed_tenants[0]: `common` is no tenant: expected the GUID of one"
        )],
    );
    entry(
        &format!("allowed_tenants: [{OTHER}], issuer_v2: 'https://login.example.com/x/v2.0'"),
        &[&format!("3:90: {at}.issuer_v2: must hold `{{tenantid}}`: it is for several tenants")],
    );
    entry(
        &format!("id: {TENANT}, kinds: [users]"),
        &[&format!(
            "3:72: {at}.kinds[0]: expected one of `user`, `workload`, `managed_identity`, `agent`, found the text `users`"
        )],
    );
    entry(
        &format!("id: {TENANT}, required_roles: ['a b']"),
        &[&format!("3:81: {at}.required_roles[0]: expected one name without blanks")],
    );
    entry(
        &format!(
            "id: {TENANT}, required_roles: [a], dangerously_accept_tokens_without_scope_or_role: true"
        ),
        &[&format!("3:80: {at}.required_roles: asks for what the other setting does without")],
    );
    check(
        &tenants(&format!(
            "  - {{audiences: [a], id: {TENANT}}}\n  - {{audiences: [b], allowed_tenants: [{OTHER}, {TENANT}]}}\n"
        )),
        &[&format!(
            "4:39: entra.tenants[1].allowed_tenants: the tenant `{TENANT}` is given twice: also `tenants[0]`"
        )],
    );
    let config = parse(&tenants(&format!(
        "  - {{audiences: [a], id: {TENANT}}}\n  - {{audiences: [b], dangerously_allow_any_tenant: true}}\n"
    )))
    .expect("any other tenant");
    assert_eq!(config.entra.tenants[1].tenants, crate::entra::Tenants::Any);
}

/// Any tenant is a tenant that two entries can name as well.
#[test]
fn any_tenant_is_named_once() {
    let any =
        |audience: &str| format!("{{audiences: [{audience}], dangerously_allow_any_tenant: true}}");
    check_section(
        "entra",
        &format!("{{tenants: [{}, {}]}}", any("a"), any("b")),
        "1:120: entra.tenants[1].dangerously_allow_any_tenant: any tenant is given twice: also `tenants[0]`",
    );
}

/// New tokens leave room for known ones, and are answered in time.
#[test]
fn turns_of_new_tokens() {
    let verification = |said: &str, expected: &[&str]| {
        let tenants = format!("tenants: [{{audiences: [a], id: {TENANT}}}]");
        check(&with("entra", &format!("{{verification: {{{said}}}, {tenants}}}")), expected);
    };
    verification("queue: 999, max_wait: 149ms", &[]);
    verification(
        "queue: 1000, max_wait: 149ms",
        &["1:31: entra.verification.queue: must be less than `check.max_concurrent` (`1000`)"],
    );
    verification(
        "queue: 999, max_wait: 150ms",
        &["1:46: entra.verification.max_wait: must be less than `check.deadline` (`150ms`)"],
    );
}

#[test]
fn how_graph_is_asked() {
    let entra = |rest: &str, expected: &str| {
        let tenants = format!("tenants: [{{audiences: [a], id: {TENANT}}}]");
        check_section("entra", &format!("{{{rest}, {tenants}}}"), expected);
    };
    let client = format!("client_id: {OTHER}");
    entra(
        "overage: graph",
        "1:18: entra.overage: `graph` requires `entra.graph`, which says how Graph is asked",
    );
    entra(
        &format!("graph: {{{client}, secret_file: graph-secret}}"),
        "1:16: entra.graph: is given, but `entra.overage` is not `graph`",
    );
    let one = "expected exactly one of `secret_file`, `certificate_file`, `federated_token_file`, `workload_identity`, `managed_identity`";
    entra(&format!("overage: graph, graph: {{{client}}}"), &format!("1:32: entra.graph: {one}"));
    entra(
        &format!(
            "overage: graph, graph: {{{client}, secret_file: graph-secret, managed_identity: true}}"
        ),
        &format!("1:32: entra.graph: {one}"),
    );
    entra(
        "overage: graph, graph: {secret_file: graph-secret}",
        "1:32: entra.graph: `secret_file` requires `client_id`",
    );
    entra(
        "overage: graph, graph: {client_id: me, secret_file: graph-secret}",
        "1:44: entra.graph.client_id: expected a GUID like `11111111-2222-3333-4444-555555555555`",
    );
    entra(
        &format!("overage: graph, graph: {{{client}, secret_file: graph-secret, wait: 150ms}}"),
        "1:115: entra.graph.wait: must be less than `check.deadline` (`150ms`)",
    );
    entra(
        &format!("overage: graph, graph: {{{client}, client_secret: x}}"),
        "1:82: entra.graph: unknown key `client_secret`: a secret is never written here; `secret_file` names its file (known here: `client_id`, `secret_file`, `certificate_file`, `federated_token_file`, `workload_identity`, `managed_identity`, `wait`, `timeout`, `ttl`, `failure_ttl`, `max_calls`, `max_entries`, `max_bytes`, `only_catalog_groups`)",
    );
    for kind in ["certificate_file", "federated_token_file"] {
        entra(
            &format!("overage: graph, graph: {{{kind}: graph-secret}}"),
            &format!("1:32: entra.graph: `{kind}` requires `client_id`"),
        );
    }
    entra(
        &format!("overage: graph, graph: {{{client}, certificate_file: no.pem}}"),
        "1:100: entra.graph.certificate_file: the file `DIR/no.pem` can't be read: No such file or directory (os error 2)",
    );
    entra(
        &format!("overage: graph, graph: {{{client}, federated_token_file: catalog}}"),
        "1:104: entra.graph.federated_token_file: `DIR/catalog` is a folder, not a file",
    );
    // A machine's identity is of one tenant.
    for tenants in [
        format!("{{audiences: [a], id: {TENANT}}}, {{audiences: [b], id: {OTHER}}}"),
        format!("{{audiences: [a], allowed_tenants: [{TENANT}]}}"),
    ] {
        check_section(
            "entra",
            &format!("{{overage: graph, graph: {{managed_identity: true}}, tenants: [{tenants}]}}"),
            "1:51: entra.graph.managed_identity: a managed identity is at home in one tenant, and can ask no other's Graph",
        );
    }
}

#[test]
fn how_stagedoor_proves_itself_to_graph() {
    let folder = folder();
    let credential = |said: &str| {
        let tenants = format!("tenants: [{{audiences: [a], id: {TENANT}}}]");
        let body = format!("{{overage: graph, graph: {{client_id: {OTHER}, {said}}}, {tenants}}}");
        let config = Config::parse(&with("entra", &body), folder.path());
        let config = config.unwrap_or_else(|problems| panic!("{said}: {problems}"));
        config.entra.graph.expect("given").credential
    };
    let (client, file) = (OTHER.parse().expect("an id"), folder.path().join("graph-secret"));
    assert_eq!(
        credential("secret_file: graph-secret"),
        CredentialSettings::Secret { client, file: file.clone() }
    );
    assert_eq!(
        credential("certificate_file: graph-secret"),
        CredentialSettings::Certificate { client, file: file.clone() }
    );
    assert_eq!(
        credential("federated_token_file: graph-secret"),
        CredentialSettings::Federated { client, file }
    );
}

#[test]
fn what_routes_ask_of_callers() {
    let route = |rest: &str, expected: &str| {
        let body = format!("[{{name: r, hosts: [h], gate: authenticated, {rest}}}]");
        check_section("routes", &body, expected);
    };
    route(
        "auth_context: 'c 1'",
        "1:67: routes[0].auth_context: expected an authentication context such as `c1`",
    );
    route("max_token_age: 30s", "1:68: routes[0].max_token_age: must be from `1m` to `48h`");
    check_section(
        "routes",
        "[{name: r, hosts: [h], gate: public, kinds: [user]}]",
        "1:38: routes[0].gate: is `public`: nothing can be asked of callers nobody knows",
    );
    let config = good(
        "routes",
        "[{name: r, hosts: [h], gate: authenticated, kinds: [agent], auth_context: c1}]",
    );
    assert_eq!(config.routes[0].demands.kinds, [crate::domain::IdentityKind::Agent]);
    for (word, action) in [
        ("read", crate::domain::Action::Read),
        ("write", crate::domain::Action::Write),
        ("admin", crate::domain::Action::Admin),
    ] {
        let route = "name: r, hosts: [h], gate: policy, entity: 'component:a/b'";
        let config = good("routes", &format!("[{{{route}, action: {word}}}]"));
        assert_eq!(config.routes[0].action, Some(action));
    }
}
