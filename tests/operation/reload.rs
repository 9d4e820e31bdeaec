//! A changed configuration is taken over as a whole, or not at all.

use std::time::Duration;

use crate::support::files::replace;
use crate::support::stack::{AUDIENCE, CATALOG, OTHERS, OWNERS, Options, Stagedoor};
use devtenant::tenant::{Endpoint, Fault, Tenant, TenantOptions};
use prost::Message as _;
use serde_json::{Value, json};
use stagedoor::authorizer::Decide;
use stagedoor::clock::Now;
use stagedoor::domain::{Action, Decision, Denial, Gate, Permit, Reason, Request, Target};
use stagedoor::ext_authz::proto::envoy::config::core::v3::HeaderValue;
use stagedoor::ext_authz::proto::envoy::service::auth::v3::{
    CheckRequest, CheckResponse, check_response::HttpResponse,
};
use stagedoor::ext_authz::{
    Answer, AnswerSettings, CheckService, CheckSettings, Decided, IdentityHeaders, Record,
};
use uuid::Uuid;

const DEADLINE: Duration = Duration::from_secs(60);

/// What Envoy is told: whether it may pass, the headers it gets, and what a denied caller
/// reads.
#[derive(Debug)]
struct Told {
    allowed: bool,
    headers: Vec<String>,
    body: Value,
}

impl Told {
    fn reason(&self) -> &str {
        if self.allowed { "allowed" } else { self.body["reason"].as_str().unwrap_or("none") }
    }
}

/// Asks for a path of a host, with these headers beside the usual ones.
async fn ask(
    stagedoor: &Stagedoor,
    token: &str,
    (host, path): (&str, &str),
    headers: &[(&str, &str)],
) -> Told {
    let mut check = CheckRequest::decode(&*crate::message::message(token, host, path)).unwrap();
    let http = check.attributes.as_mut().unwrap().request.as_mut().unwrap().http.as_mut().unwrap();
    http.header_map.as_mut().unwrap().headers.extend(headers.iter().map(|(name, value)| {
        HeaderValue {
            key: (*name).to_owned(),
            value: String::new(),
            raw_value: value.as_bytes().to_vec().into(),
        }
    }));
    let answer = stagedoor.check.answer(&check.encode_to_vec()).await.unwrap();
    let answer = CheckResponse::decode(&answer[5..]).unwrap();
    let names =
        |headers: &[stagedoor::ext_authz::proto::envoy::config::core::v3::HeaderValueOption]| {
            headers.iter().map(|option| option.header.clone().unwrap().key).collect()
        };
    match answer.http_response.unwrap() {
        HttpResponse::OkResponse(ok) => {
            let mut headers: Vec<String> = names(&ok.headers);
            headers.extend(names(&ok.response_headers_to_add));
            Told { allowed: true, headers, body: Value::Null }
        }
        HttpResponse::DeniedResponse(denied) => {
            let body = serde_json::from_str(&denied.body).unwrap_or(Value::Null);
            Told { allowed: false, headers: names(&denied.headers), body }
        }
        HttpResponse::ErrorResponse(error) => panic!("{error:?}"),
    }
}

const ORDERS: (&str, &str) = ("payments.example.com", "/v1/orders");
const WHOAMI: (&str, &str) = ("payments.example.com", "/whoami");

/// Changes the configuration file.
fn edit(stagedoor: &Stagedoor, from: &str, to: &str) {
    let file = stagedoor.folder.path().join("stagedoor.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains(from), "`{from}` in {text}");
    replace(&file, text.replacen(from, to, 1));
}

async fn reload(stagedoor: &Stagedoor) -> (u16, Value) {
    let answer = stagedoor.post("/reload", &[], "").await.unwrap();
    (answer.status, answer.json())
}

/// Reloads, and it is applied.
async fn apply(stagedoor: &Stagedoor) -> String {
    let (status, outcome) = reload(stagedoor).await;
    assert_eq!((status, &outcome["applied"]), (200, &json!(true)), "{outcome}");
    outcome["version"].as_str().unwrap().to_owned()
}

async fn status(stagedoor: &Stagedoor) -> Value {
    serde_json::from_str(&stagedoor.get("/status").await.unwrap().1).unwrap()
}

async fn sample(stagedoor: &Stagedoor, name: &str) -> f64 {
    let (_, metrics) = stagedoor.get("/metrics").await.unwrap();
    let value = metrics.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    value.unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
}

fn quiet() -> Options {
    // Only what a test asks for.
    Options { more: "reload: { watch: false }\n".to_owned(), ..Options::default() }
}

fn owner(stagedoor: &Stagedoor) -> String {
    crate::message::token(&stagedoor.tenant, AUDIENCE, OWNERS)
}

/// Asks until the answer is this one.
async fn becomes(stagedoor: &Stagedoor, token: &str, what: (&str, &str), reason: &str) {
    let begun = tokio::time::Instant::now();
    loop {
        let told = ask(stagedoor, token, what, &[]).await;
        if told.reason() == reason {
            return;
        }
        assert!(begun.elapsed() < DEADLINE, "{reason} is still {told:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Each section takes effect with the very next request, also for a token that is remembered
/// and an answer that was given before; and changed back, everything is as it was.
#[tokio::test]
async fn each_section_takes_effect_at_once() {
    let stagedoor = Stagedoor::start(quiet()).await.unwrap();
    let (owner, other) =
        (owner(&stagedoor), crate::message::token(&stagedoor.tenant, AUDIENCE, OTHERS));
    let kid = stagedoor.tenant.signing_key().kid().to_owned();
    let both = format!("issuer_v2: {}\n      versions: [v1, v2]", stagedoor.tenant.issuer_v2());
    let keys = format!("entra:\n  keys: {{ distrusted: [\"{kid}\"] }}\n");
    std::fs::write(
        stagedoor.folder.path().join("no.cedar"),
        "@id(\"no\") forbid (principal, action, resource) when { context.path like \"/v1/*\" };",
    )
    .unwrap();
    let versions = "versions: [v1, v2]";
    let with = |more: &str| format!("{versions}\n      {more}");
    let (kinds, scopes) = (with("kinds: [workload]"), with("required_scopes: [No]"));
    for (from, to, after) in [
        ("audiences: [api://payments]", "audiences: [api://x]", "token_audience"),
        (versions, &kinds, "token_holder_kind"),
        (versions, &scopes, "token_scope_missing"),
        (&both, "versions: [v1]", "token_issuer"),
        ("entra:\n", "entra:\n  max_token_lifetime: 1m\n", "token_lifetime"),
        ("entra:\n", "entra:\n  max_token_bytes: 1KiB\n", "token_too_large"),
        ("entra:\n", &keys, "token_key_distrusted"),
        ("[\"/whoami$\"]", "[\"/who$\"]", "not_permitted"),
        ("{ folder: catalog,", "{ folder: catalog, membership: catalog,", "not_permitted"),
        ("[policy.cedar]", "[policy.cedar, no.cedar]", "forbidden"),
    ] {
        // Everybody may see who they are, so that the route makes the difference.
        let (token, what) = if to.contains("/who$") { (&other, WHOAMI) } else { (&owner, ORDERS) };
        let answer = async || ask(&stagedoor, token, what, &[]).await.reason().to_owned();
        // Twice, so that what can be remembered is.
        for _ in 0..2 {
            assert_eq!(answer().await, "allowed", "before {to}");
        }
        edit(&stagedoor, from, to);
        assert_eq!(answer().await, "allowed", "nobody asked for {to}");
        apply(&stagedoor).await;
        for _ in 0..2 {
            assert_eq!(answer().await, after, "with {to}");
        }
        edit(&stagedoor, to, from);
        apply(&stagedoor).await;
        assert_eq!(answer().await, "allowed", "back from {to}");
    }
    // Of two issuers at the start, and of the one that left and came back.
    assert_eq!(stagedoor.tenant.requests(Endpoint::Keys), 3);
    stagedoor.stop().await.unwrap();
}

#[tokio::test]
async fn answers_denials_and_what_is_read_of_requests_change() {
    let options = Options {
        policy:
            "@id(\"why\") permit (principal, action, resource) when { context has justification };"
                .to_owned(),
        ..quiet()
    };
    let stagedoor = Stagedoor::start(options).await.unwrap();
    let (owner, other) =
        (owner(&stagedoor), crate::message::token(&stagedoor.tenant, AUDIENCE, OTHERS));
    let has = |told: &Told, name: &str| told.headers.iter().any(|header| header == name);

    // `answer`
    assert!(has(&ask(&stagedoor, &owner, ORDERS, &[]).await, "x-stagedoor-subject"));
    edit(&stagedoor, "reload:", "answer: { headers: { subject: x-who } }\nreload:");
    apply(&stagedoor).await;
    let told = ask(&stagedoor, &owner, ORDERS, &[]).await;
    assert!(has(&told, "x-who") && !has(&told, "x-stagedoor-subject"), "{told:?}");

    // `denial`
    let told = ask(&stagedoor, &other, ORDERS, &[]).await;
    assert!(told.body["owners"].is_array(), "{told:?}");
    edit(&stagedoor, "reload:", "denial: { tell: { owners: never } }\nreload:");
    apply(&stagedoor).await;
    let told = ask(&stagedoor, &other, ORDERS, &[]).await;
    assert!(told.body["owners"].is_null(), "{told:?}");

    // `policy.justification_header`
    let why = [("x-why", "because")];
    assert_eq!(ask(&stagedoor, &other, ORDERS, &why).await.reason(), "not_permitted");
    edit(&stagedoor, "policy: {", "policy: { justification_header: x-why,");
    apply(&stagedoor).await;
    assert_eq!(ask(&stagedoor, &other, ORDERS, &why).await.reason(), "allowed");

    // `policy.debug.groups`
    let debug = [("x-stagedoor-debug", "1")];
    let before = ask(&stagedoor, &owner, ORDERS, &debug).await.headers;
    edit(&stagedoor, "groups: []", "groups: [payments-team]");
    apply(&stagedoor).await;
    let after = ask(&stagedoor, &owner, ORDERS, &debug).await.headers;
    assert_eq!(after.len(), before.len() + 1, "{after:?}");
    stagedoor.stop().await.unwrap();
}

#[tokio::test]
async fn catalog_settings_change_in_place() {
    let catalog = "catalog: { folder: catalog, refresh_every: 1h, guard: { max_loss_percent: 100, max_reassigned_percent: 100 } }\n";
    let options = Options { catalog: Some(catalog.to_owned()), ..quiet() };
    let stagedoor = Stagedoor::start(options).await.unwrap();
    let owner = owner(&stagedoor);
    let pay = ("pay.example.com", "/");
    let changed = CATALOG
        .replace(
            "metadata: { name: payments }",
            "metadata: { name: payments, annotations: { stagedoor.dev/hosts: pay.example.com } }",
        )
        .replace(
            "  type: team\n  children: []\n",
            "  type: team\n  parent: everybody\n  children: []\n",
        )
        .replace("owner: orders-team", "owner: everybody");
    let root = "---\napiVersion: backstage.io/v1alpha1\nkind: Group\nmetadata: { name: everybody }\nspec: { type: organization, children: [] }\n";
    replace(stagedoor.catalog_file(), format!("{changed}{root}"));

    // `catalog.refresh_every`: from an hour to a second, and not only for the time after next.
    let version = stagedoor.catalog.snapshot().unwrap().version().to_string();
    edit(&stagedoor, "refresh_every: 1h", "refresh_every: 1s");
    apply(&stagedoor).await;
    stagedoor.await_other_snapshot(Some(&version)).await.unwrap();

    // `catalog.root_groups_grant`
    let orders = ("orders.apps.example.com", "/");
    assert_eq!(ask(&stagedoor, &owner, orders, &[]).await.reason(), "not_permitted");
    edit(&stagedoor, "{ folder: catalog,", "{ folder: catalog, root_groups_grant: true,");
    apply(&stagedoor).await;
    becomes(&stagedoor, &owner, orders, "allowed").await;

    // `catalog_routes`: by the snapshot that is there.
    assert_eq!(ask(&stagedoor, &owner, pay, &[]).await.reason(), "no_route");
    let delegation = "catalog_routes: { delegations: [{ hosts: [pay.example.com], namespace: default }] }\nreload:";
    edit(&stagedoor, "reload:", delegation);
    apply(&stagedoor).await;
    assert_eq!(ask(&stagedoor, &owner, pay, &[]).await.reason(), "allowed");
    edit(&stagedoor, delegation, "reload:");
    apply(&stagedoor).await;
    assert_eq!(ask(&stagedoor, &owner, pay, &[]).await.reason(), "no_route");

    // `catalog.max_age`: the catalog can't be read any more, which was said to be good for a day.
    replace(stagedoor.catalog_file(), "no: [catalog");
    assert_eq!(ask(&stagedoor, &owner, ORDERS, &[]).await.reason(), "allowed");
    edit(&stagedoor, "{ folder: catalog,", "{ folder: catalog, max_age: 1s,");
    apply(&stagedoor).await;
    becomes(&stagedoor, &owner, ORDERS, "catalog_expired").await;
    stagedoor.stop().await.unwrap();
}

/// Keys are not fetched again because something else changed, and are there however the
/// tenant is.
#[tokio::test]
async fn keys_and_revocations_of_issuers_that_stay_are_kept() {
    let options = Options { entra: "  revocations_file: revoked\n".to_owned(), ..quiet() };
    let tenant = Tenant::start(TenantOptions::default()).await.unwrap();
    let revoked = "bbbbbbbb-0000-0000-0000-000000000001";
    let token = |tenant: &Tenant, object: &str| {
        tenant.token().audience(AUDIENCE).groups(&[OWNERS]).oid(object).sign()
    };
    let stagedoor = Stagedoor::start_with_file(tenant, options, |folder, _| {
        std::fs::write(folder.join("revoked"), format!("object {revoked}\n")).unwrap();
    })
    .await
    .unwrap();
    let file = stagedoor.folder.path().join("revoked");
    let gone = token(&stagedoor.tenant, revoked);
    assert_eq!(ask(&stagedoor, &gone, ORDERS, &[]).await.reason(), "token_revoked");

    let fetched = stagedoor.tenant.requests(Endpoint::Keys);
    stagedoor.tenant.faults().set(Endpoint::Discovery, Fault::Hang);
    stagedoor.tenant.faults().set(Endpoint::Keys, Fault::Hang);
    let mut number = 100;
    // Somebody is writing the list of what was revoked, just now.
    replace(&file, "object bbbb");
    for (from, to) in [
        ("versions: [v1, v2]", "versions: [v1, v2]\n      agent_facets: [\"7\"]"),
        ("entra:\n", "entra:\n  keys: { refresh_every: 2h, distrusted: [x] }\n"),
        ("entra:\n", "entra:\n  verification: { queue: 7 }\n  token_cache: { max_entries: 7 }\n"),
    ] {
        edit(&stagedoor, from, to);
        apply(&stagedoor).await;
        // One that nobody has verified yet.
        number += 1;
        let object = Uuid::from_u128(0xbbbbbbbb_0000_0000_0000_000000000000 + number);
        let new = token(&stagedoor.tenant, &object.to_string());
        assert_eq!(ask(&stagedoor, &new, ORDERS, &[]).await.reason(), "allowed", "{to}");
        assert_eq!(ask(&stagedoor, &gone, ORDERS, &[]).await.reason(), "token_revoked", "{to}");
        assert_eq!(stagedoor.get("/ready").await.unwrap().0, 200, "{to}");
    }
    assert_eq!(stagedoor.tenant.requests(Endpoint::Keys), fetched);
    assert_eq!(sample(&stagedoor, "stagedoor_revocations_current").await, 0.0);

    // Once it is written, what it says counts, and no more.
    replace(&file, "# nobody\n");
    becomes(&stagedoor, &gone, ORDERS, "allowed").await;
    stagedoor.stop().await.unwrap();
}

/// The callers of a new tenant are known from their first request on; where its keys can't be
/// had, nothing changes.
#[tokio::test]
async fn a_new_tenant_is_ready_before_it_counts() {
    let stagedoor = Stagedoor::start(quiet()).await.unwrap();
    let id = Uuid::from_u128(0xaaaaaaaa_bbbb_cccc_dddd_eeeeeeeeeeee);
    let other = Tenant::start(TenantOptions { id, ..TenantOptions::default() }).await.unwrap();
    let tenant = format!(
        "versions: [v1, v2]\n      audiences: [api://payments]\n    - id: {id}\n      authority: {}\n      issuer_v2: {}\n      versions: [v2]\n      audiences: [api://payments]",
        other.authority(),
        other.issuer_v2(),
    );
    let token = other.token().audience(AUDIENCE).groups(&[OWNERS]).sign();
    let own = crate::message::token(&stagedoor.tenant, AUDIENCE, OTHERS);
    assert_eq!(ask(&stagedoor, &token, ORDERS, &[]).await.reason(), "token_issuer");

    other.faults().set(Endpoint::Keys, Fault::Garbage);
    edit(&stagedoor, "versions: [v1, v2]\n      audiences: [api://payments]", &tenant);
    edit(&stagedoor, "[\"/whoami$\"]", "[\"/who$\"]");
    let (code, outcome) = reload(&stagedoor).await;
    assert_eq!((code, &outcome["applied"]), (409, &json!(false)));
    let error = outcome["errors"][0].as_str().unwrap();
    assert!(error.contains(&other.issuer_v2()), "{error}");
    assert_eq!(ask(&stagedoor, &token, ORDERS, &[]).await.reason(), "token_issuer");
    assert_eq!(ask(&stagedoor, &own, WHOAMI, &[]).await.reason(), "allowed", "nothing of it");
    assert_eq!(stagedoor.get("/ready").await.unwrap().0, 200);

    other.faults().clear();
    apply(&stagedoor).await;
    assert_eq!(ask(&stagedoor, &token, ORDERS, &[]).await.reason(), "allowed");
    assert_eq!(ask(&stagedoor, &own, WHOAMI, &[]).await.reason(), "not_permitted", "all of it");
    assert_eq!(other.requests(Endpoint::Keys), 2, "not again by the task that keeps them");
    stagedoor.stop().await.unwrap();
}

/// A tenant that was never there stands in nobody's way: what it has to do with can be changed.
#[tokio::test]
async fn a_tenant_that_is_down_stops_no_other_change() {
    let tenant = Tenant::start(TenantOptions::default()).await.unwrap();
    tenant.faults().set(Endpoint::Discovery, Fault::Status(503));
    let options = Options { wait: false, ..quiet() };
    let stagedoor = Stagedoor::start_with(tenant, options).await.unwrap();
    let owner = owner(&stagedoor);
    becomes(&stagedoor, &owner, ORDERS, "keys_unavailable").await;
    edit(&stagedoor, "[\"/healthz$\"]", "[\"/v1\"]");
    edit(&stagedoor, "versions: [v1, v2]", "versions: [v1, v2]\n      required_scopes: [No]");
    apply(&stagedoor).await;
    assert_eq!(ask(&stagedoor, &owner, ORDERS, &[]).await.reason(), "allowed", "it is public now");
    stagedoor.tenant.faults().clear();
    becomes(&stagedoor, &owner, WHOAMI, "token_scope_missing").await;
    stagedoor.stop().await.unwrap();
}

/// A mistake anywhere, in the file or in a policy, leaves everything as it is and is said in
/// each place where somebody may look.
#[tokio::test]
async fn what_is_refused_changes_nothing_and_is_loud() {
    let stagedoor = Stagedoor::start(quiet()).await.unwrap();
    let other = crate::message::token(&stagedoor.tenant, AUDIENCE, OTHERS);
    let first = status(&stagedoor).await["configuration"]["version"].as_str().unwrap().to_owned();
    assert_eq!(sample(&stagedoor, "stagedoor_config_current").await, 1.0);

    edit(&stagedoor, "[\"/whoami$\"]", "[\"/who$\"]");
    edit(&stagedoor, "gate: public }\n  - { name: by-name", "gate: nobody }\n  - { name: by-name");
    edit(&stagedoor, "reload:", "check_: {}\nreload:");
    let (code, outcome) = reload(&stagedoor).await;
    assert_eq!(
        (code, &outcome["applied"], &outcome["version"]),
        (409, &json!(false), &json!(first))
    );
    let errors: Vec<&str> =
        outcome["errors"].as_array().unwrap().iter().map(|error| error.as_str().unwrap()).collect();
    assert!(
        errors
            .iter()
            .any(|error| error.contains("stagedoor.yaml:") && error.contains("routes[3].gate")),
        "{errors:?}"
    );
    assert!(errors.iter().any(|error| error.contains("unknown key `check_`")), "{errors:?}");
    assert_eq!(ask(&stagedoor, &other, WHOAMI, &[]).await.reason(), "allowed");

    // A policy that can't be meant refuses the routes beside it as well.
    edit(&stagedoor, "gate: nobody", "gate: public");
    edit(&stagedoor, "check_: {}\n", "");
    let policy = stagedoor.folder.path().join("policy.cedar");
    let good = std::fs::read_to_string(&policy).unwrap();
    replace(&policy, "permit (principal");
    let (code, outcome) = reload(&stagedoor).await;
    assert_eq!(code, 409);
    assert!(outcome["errors"][0].as_str().unwrap().contains("policy.cedar:1"), "{outcome}");
    assert_eq!(ask(&stagedoor, &other, WHOAMI, &[]).await.reason(), "allowed");

    assert_eq!(sample(&stagedoor, "stagedoor_config_current").await, 0.0);
    assert_eq!(sample(&stagedoor, "stagedoor_config_reload_failures_total").await, 2.0);
    let said = status(&stagedoor).await["configuration"].clone();
    assert_eq!(
        (&said["current"], &said["version"], &said["refused"]),
        (&json!(false), &json!(first), &json!(2))
    );
    assert_eq!(said["errors"], outcome["errors"]);

    replace(&policy, good);
    let second = apply(&stagedoor).await;
    assert_ne!(first, second);
    assert_eq!(ask(&stagedoor, &other, WHOAMI, &[]).await.reason(), "not_permitted");
    let said = status(&stagedoor).await["configuration"].clone();
    assert_eq!(
        (&said["current"], &said["errors"], &said["version"]),
        (&json!(true), &json!([]), &json!(second))
    );
    assert_eq!(sample(&stagedoor, "stagedoor_config_current").await, 1.0);
    assert_eq!(sample(&stagedoor, "stagedoor_config_reloads_total").await, 1.0);

    // On record, beside the decisions.
    let records = stagedoor.catalog_records(4).await.unwrap();
    let of: Vec<_> = records
        .iter()
        .filter(|record| record["event"].as_str().unwrap().starts_with("config"))
        .collect();
    let events: Vec<_> = of.iter().map(|record| record["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["config_refused", "config_refused", "config_applied"]);
    assert!(of[0]["detail"].as_str().unwrap().contains("routes[3].gate"), "{}", of[0]);
    assert_eq!(
        (&of[2]["config_before"], &of[2]["config_version"]),
        (&json!(first), &json!(second))
    );
    stagedoor.stop().await.unwrap();
}

/// What takes effect at a start only is named, and what stands beside it does not take effect
/// either.
#[tokio::test]
async fn what_needs_a_restart_is_named() {
    let stagedoor = Stagedoor::start(quiet()).await.unwrap();
    let owner = owner(&stagedoor);
    edit(&stagedoor, "[\"/whoami$\"]", "[\"/who$\"]");
    edit(&stagedoor, "admin: \"127.0.0.1:0\"", "admin: \"127.0.0.1:1\", workers: 7");
    edit(
        &stagedoor,
        "reload:",
        "limits: { max_connections: 9 }\ntelemetry: { log: debug }\nreload:",
    );
    let (code, outcome) = reload(&stagedoor).await;
    assert_eq!(code, 409);
    let settings = ["limits.max_connections", "listen.admin", "listen.workers", "telemetry.log"];
    assert_eq!(outcome["needs_restart"], json!(settings), "{outcome}");
    assert_eq!((&outcome["applied"], &outcome["errors"]), (&json!(false), &json!([])));
    assert_eq!(status(&stagedoor).await["configuration"]["needs_restart"], json!(settings));
    let other = crate::message::token(&stagedoor.tenant, AUDIENCE, OTHERS);
    assert_eq!(ask(&stagedoor, &other, WHOAMI, &[]).await.reason(), "allowed");
    assert_eq!(ask(&stagedoor, &owner, ORDERS, &[]).await.reason(), "allowed");
    assert_eq!(sample(&stagedoor, "stagedoor_config_current").await, 0.0);
    stagedoor.stop().await.unwrap();
}

/// Whoever asks at once is answered each; one goes after another, and the last file counts.
#[tokio::test(flavor = "multi_thread")]
async fn reloads_go_one_after_another() {
    let stagedoor = Stagedoor::start(quiet()).await.unwrap();
    let answers = futures_util::future::join_all((0..20).map(|_| reload(&stagedoor))).await;
    let versions: std::collections::HashSet<_> =
        answers.iter().map(|(code, outcome)| (*code, outcome["version"].to_string())).collect();
    assert_eq!(versions.len(), 1, "{versions:?}");
    let reloads = sample(&stagedoor, "stagedoor_config_reloads_total").await;
    assert!((1.0..=20.0).contains(&reloads), "{reloads}");

    // A page in a browser may not.
    let answer =
        stagedoor.post("/reload", &[("origin", "https://evil.example")], "").await.unwrap();
    assert_eq!(answer.status, 403);
    stagedoor.stop().await.unwrap();
}

/// As Kubernetes mounts a ConfigMap: the file is a link into a folder that is a link itself,
/// which is turned to another folder.
#[tokio::test]
async fn a_turned_link_is_one_change() {
    use std::os::unix::fs::symlink;
    let tenant = Tenant::start(TenantOptions::default()).await.unwrap();
    let options = Options { more: "reload: { every: 1s }\n".to_owned(), ..Options::default() };
    let stagedoor = Stagedoor::start_with_file(tenant, options, |folder, file| {
        let text = std::fs::read_to_string(file).unwrap();
        std::fs::create_dir(folder.join("one")).unwrap();
        std::fs::write(folder.join("one/stagedoor.yaml"), text).unwrap();
        std::fs::remove_file(file).unwrap();
        symlink("one", folder.join("..data")).unwrap();
        symlink("..data/stagedoor.yaml", file).unwrap();
    })
    .await
    .unwrap();
    let other = crate::message::token(&stagedoor.tenant, AUDIENCE, OTHERS);
    assert_eq!(ask(&stagedoor, &other, WHOAMI, &[]).await.reason(), "allowed");

    let folder = stagedoor.folder.path();
    let turn = |name: &str, change: &dyn Fn(String) -> String| {
        let text = std::fs::read_to_string(folder.join("stagedoor.yaml")).unwrap();
        std::fs::create_dir(folder.join(name)).unwrap();
        std::fs::write(folder.join(name).join("stagedoor.yaml"), change(text)).unwrap();
        symlink(name, folder.join("..new")).unwrap();
        std::fs::rename(folder.join("..new"), folder.join("..data")).unwrap();
    };
    turn("two", &|text| text.replace("[\"/whoami$\"]", "[\"/who$\"]"));
    becomes(&stagedoor, &other, WHOAMI, "not_permitted").await;
    // Counted once it is in force: one change.
    until(&stagedoor, "stagedoor_config_reloads_total", 1.0).await;

    // One that can't be taken over is tried once, not every second.
    turn("three", &|text| text.replace("routes:", "roots:"));
    let begun = tokio::time::Instant::now();
    while sample(&stagedoor, "stagedoor_config_current").await != 0.0 {
        assert!(begun.elapsed() < DEADLINE);
    }
    turn("four", &|text| {
        text.replace("roots:", "routes:").replace("[\"/who$\"]", "[\"/whoami$\"]")
    });
    becomes(&stagedoor, &other, WHOAMI, "allowed").await;
    until(&stagedoor, "stagedoor_config_reloads_total", 2.0).await;
    assert_eq!(sample(&stagedoor, "stagedoor_config_reload_failures_total").await, 1.0);
    // A file that is gone is said, and changes nothing.
    std::fs::remove_file(folder.join("..data")).unwrap();
    let begun = tokio::time::Instant::now();
    while sample(&stagedoor, "stagedoor_config_current").await != 0.0 {
        assert!(begun.elapsed() < DEADLINE);
    }
    assert_eq!(ask(&stagedoor, &other, WHOAMI, &[]).await.reason(), "allowed");
    stagedoor.stop().await.unwrap();
}

/// Waits until a metric has this value.
async fn until(stagedoor: &Stagedoor, name: &str, value: f64) {
    let begun = tokio::time::Instant::now();
    while sample(stagedoor, name).await != value {
        assert!(begun.elapsed() < DEADLINE, "{name} is not {value}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Half a minute goes by, for everything in this process but its threads.
async fn half_a_minute() {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(31)).await;
    tokio::time::resume();
}

/// In Kubernetes the file and what it names are mounted apart and change in any order. What
/// isn't there yet, or not whole, is in force once it is, and complained of once.
#[tokio::test]
async fn what_the_file_names_may_come_after_it() {
    let options = Options { more: "reload: { every: 1s }\n".to_owned(), ..Options::default() };
    let stagedoor = Stagedoor::start(options).await.unwrap();
    let first = status(&stagedoor).await["configuration"]["version"].clone();
    let template = stagedoor.folder.path().join("denied.html");
    let (current, failures) =
        ("stagedoor_config_current", "stagedoor_config_reload_failures_total");

    edit(&stagedoor, "reload:", "denial: { template: denied.html }\nreload:");
    until(&stagedoor, current, 0.0).await;
    half_a_minute().await;
    replace(&template, "<p>{{ nobody_knows }}</p>");
    half_a_minute().await;
    until(&stagedoor, failures, 2.0).await;
    let said = status(&stagedoor).await["configuration"].clone();
    assert!(said["errors"].to_string().contains("undefined value"), "{said}");
    assert_eq!(said["version"], first);

    replace(&template, include_str!("../../src/ext_authz/denial/page.html"));
    half_a_minute().await;
    until(&stagedoor, current, 1.0).await;
    assert_ne!(status(&stagedoor).await["configuration"]["version"], first);
    assert_eq!(sample(&stagedoor, failures).await, 2.0);
    assert_eq!(sample(&stagedoor, "stagedoor_config_reloads_total").await, 1.0);
    let records = stagedoor.catalog_records(4).await.unwrap();
    let events = records.iter().map(|record| record["event"].as_str().unwrap());
    let events: Vec<_> = events.filter(|event| event.starts_with("config")).collect();
    assert_eq!(events, ["config_refused", "config_refused", "config_applied"]);
    stagedoor.stop().await.unwrap();
}

/// Decides after half a second.
struct Slow;

impl Decide for Slow {
    async fn decide(&self, _: &Request<'_>, _: Now) -> Decision {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let target = Target {
            resource: None,
            action: Action::Read,
            gate: Gate::Public,
            route: "slow".into(),
            demands: None,
        };
        decision(Ok(Permit::by_public_gate(&target).unwrap()))
    }

    fn deny(&self, denial: Denial) -> Decision {
        decision(Err(denial))
    }
}

fn decision(verdict: Result<Permit, Denial>) -> Decision {
    use stagedoor::domain::{DecisionId, Notes, Owners, Principal, Verdict, Versions};
    Decision {
        id: DecisionId::new(),
        verdict: verdict.map_or_else(Verdict::Deny, Verdict::Allow),
        principal: Principal::Anonymous,
        target: None,
        owners: Owners::new(),
        versions: Versions::default(),
        notes: Notes::default(),
    }
}

struct Nowhere;

impl Record for Nowhere {
    fn decided(&self, _: Decided<'_>) {}
}

/// A check that has begun ends by what it began with, and the next one doesn't.
#[tokio::test(start_paused = true)]
async fn limits_of_a_check_change() {
    let settings = |millis: u64, max_concurrent: usize| CheckSettings {
        max_concurrent,
        queue_timeout: Duration::from_millis(10),
        deadline: Duration::from_millis(millis),
        justification_header: "x-why".to_owned(),
    };
    let name = |name: &str| name.to_owned();
    let answer = || {
        let headers = IdentityHeaders {
            subject: name("x-subject"),
            tenant: name("x-tenant"),
            kind: name("x-kind"),
            entity: name("x-entity"),
            decision_id: name("x-decision"),
        };
        Answer::new(AnswerSettings::new(headers), None)
    };
    let service = CheckService::new(Slow, answer(), settings(1000, 10), Box::new(Nowhere));
    let message = crate::message::message("t", "a.example.com", "/");
    let ask = || {
        let (service, message) = (service.clone(), message.clone());
        async move {
            let answer = service.answer(&message).await.unwrap();
            match CheckResponse::decode(&answer[5..]).unwrap().http_response.unwrap() {
                HttpResponse::OkResponse(_) => "allowed".to_owned(),
                HttpResponse::DeniedResponse(denied) => {
                    let body: Value = serde_json::from_str(&denied.body).unwrap();
                    body["reason"].as_str().unwrap().to_owned()
                }
                HttpResponse::ErrorResponse(error) => panic!("{error:?}"),
            }
        }
    };
    assert_eq!(ask().await, "allowed");
    let begun = tokio::spawn(ask());
    tokio::task::yield_now().await;
    let replaced = service.replace(Slow, answer(), settings(100, 10));
    assert!(replaced.is_in_use());
    assert_eq!(ask().await, Reason::Timeout.code());
    assert_eq!(begun.await.unwrap(), "allowed");
    assert!(!replaced.is_in_use());

    service.replace(Slow, answer(), settings(1000, 1));
    let first = tokio::spawn(ask());
    tokio::task::yield_now().await;
    assert_eq!(ask().await, Reason::Overloaded.code());
    assert_eq!(first.await.unwrap(), "allowed");
}
