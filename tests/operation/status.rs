//! The status of a running server, as JSON and as a page, and who may ask and act there.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use crate::message::message;
use crate::support::envoy::{RawResponse, raw_admin};
use crate::support::files::replace;
use crate::support::stack::{AUDIENCE, CATALOG, OTHERS, OWNERS, Options, Stagedoor, write_config};
use crate::support::tls::{ENVOY, Mounted, SERVER};
use aws_lc_rs::digest;
use base64::Engine as _;
use devtenant::tenant::{Tenant, TenantOptions};
use scraper::{ElementRef, Html, Selector};
use serde_json::{Value, json};
use stagedoor::app::App;
use stagedoor::audit::LATEST_DENIALS;
use stagedoor::config::Config;
use stagedoor::shutdown::Shutdown;

const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
const HOSTILE: &str = "<script>document.title='hacked'</script>";

async fn ask(
    to: std::net::SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> RawResponse {
    let mut request = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    if method == "POST" {
        request.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    raw_admin(to, format!("{request}\r\n{body}")).await.unwrap()
}

pub(crate) async fn status(stagedoor: &Stagedoor) -> Value {
    serde_json::from_str(&stagedoor.get("/status").await.unwrap().1).unwrap()
}

/// Asks for a decision on a request of this token.
pub(crate) async fn decide(stagedoor: &Stagedoor, token: &str, host: &str, path: &str) {
    stagedoor.check.answer(&message(token, host, path)).await.unwrap();
}

/// The paths of all members that a schema has, `[]` for each entry of a list and `{}` for
/// each member of a map.
fn members(schema: &Value, root: &Value, path: &str, all: &mut BTreeSet<String>) {
    if let Some(definition) = schema["$ref"].as_str() {
        return members(root.pointer(definition.trim_start_matches('#')).unwrap(), root, path, all);
    }
    for choice in schema["anyOf"].as_array().into_iter().flatten() {
        members(choice, root, path, all);
    }
    if schema["items"].is_object() {
        members(&schema["items"], root, &format!("{path}[]"), all);
    }
    if schema["additionalProperties"].is_object() {
        all.insert(format!("{path}{{}}"));
    }
    for (name, member) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        all.insert(path.clone());
        members(member, root, &path, all);
    }
}

/// The paths of all members that JSON has.
fn present(json: &Value, path: &str, maps: &BTreeSet<String>, all: &mut BTreeSet<String>) {
    match json {
        Value::Array(items) => {
            items.iter().for_each(|item| present(item, &format!("{path}[]"), maps, all));
        }
        Value::Object(_) if maps.contains(&format!("{path}{{}}")) => {}
        Value::Object(object) => {
            for (name, member) in object {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                all.insert(path.clone());
                present(member, &path, maps, all);
            }
        }
        _ => {}
    }
}

/// What the docs say is what there is, and the other way round.
#[tokio::test]
async fn every_member_is_documented() {
    let schema = schemars::generate::SchemaSettings::draft2020_12()
        .for_serialize()
        .into_generator()
        .into_root_schema_for::<stagedoor::admin::status::Status>();
    let schema = serde_json::to_value(schema).unwrap();
    let mut all = BTreeSet::new();
    members(&schema, &schema, "", &mut all);
    assert!(all.contains("catalog.held.examples") && all.contains("decisions.deny{}"), "{all:?}");

    let docs = include_str!("../../docs/operations.md");
    let (_, section) = docs.split_once("\n## The status\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let documented: BTreeSet<String> = section
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` |"))
        .map(|(name, _)| name.to_owned())
        .collect();
    // A map is documented with its member.
    let maps: BTreeSet<String> = all.iter().filter(|path| path.ends_with("{}")).cloned().collect();
    let named: BTreeSet<String> = all.difference(&maps).cloned().collect();
    assert_eq!(named, documented, "left: the types, right: docs/operations.md");

    let stagedoor = Stagedoor::start(Options::default()).await.unwrap();
    let mut seen = BTreeSet::new();
    present(&status(&stagedoor).await, "", &maps, &mut seen);
    assert!(seen.is_subset(&named), "{:?}", seen.difference(&named));
    let top = |all: &BTreeSet<String>| -> BTreeSet<String> {
        all.iter().filter(|path| !path.contains(['.', '['])).cloned().collect()
    };
    assert_eq!(top(&seen), top(&named));
}

#[tokio::test]
async fn the_status_says_how_everything_is() {
    let catalog = format!(
        "{CATALOG}---\napiVersion: backstage.io/v1alpha1\nkind: Component\n\
         metadata: {{ name: orphan }}\nspec: {{ type: service, lifecycle: x, owner: \"nobody\" }}\n"
    );
    let stagedoor = Stagedoor::start(Options::default()).await.unwrap();
    let before = status(&stagedoor).await["catalog"]["version"].as_str().unwrap().to_owned();
    replace(stagedoor.catalog_file(), catalog);
    stagedoor.await_other_snapshot(Some(&before)).await.unwrap();
    let good = stagedoor.tenant.token().audience(AUDIENCE).groups(&[OWNERS]).sign();
    let other = stagedoor.tenant.token().audience(AUDIENCE).groups(&[OTHERS]).sign();
    for (token, path) in
        [(&good, "/v1"), (&good, "/whoami"), (&other, "/v1"), (&other, "/v1"), (&other, "/healthz")]
    {
        decide(&stagedoor, token, "payments.example.com", path).await;
    }
    stagedoor.audit(5).await.unwrap();
    let status = status(&stagedoor).await;
    assert_eq!((&status["ready"], &status["pending"]), (&json!(true), &json!([])));
    let decisions = &status["decisions"];
    assert_eq!(
        decisions["allow"],
        json!({ "permitted": 1, "authenticated_route": 1, "public_route": 1 })
    );
    assert_eq!(decisions["deny"]["not_permitted"], 2);
    assert_eq!(decisions["deny"]["token_expired"], 0, "every reason is there");
    let durations = decisions["durations"].as_array().unwrap();
    assert_eq!(durations.iter().map(|bucket| bucket["count"].as_u64().unwrap()).sum::<u64>(), 5);
    assert!(durations.last().unwrap()["le_seconds"].is_null());
    let keys = status["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 2);
    for issuer in keys {
        assert_eq!(issuer["state"], "fresh");
        assert!(issuer["next_refresh_seconds"].as_u64().unwrap() > 0, "{issuer}");
    }
    let catalog = &status["catalog"];
    assert_eq!(catalog["source"]["kind"], "folder");
    assert_eq!(catalog["findings"], json!({ "dangling": 1 }));
    assert_eq!(catalog["finding_examples"][0]["entity"], "component:default/orphan");
    assert_eq!((&status["graph"], &catalog["held"]), (&Value::Null, &Value::Null));
    assert_eq!(status["audit"]["queue"]["capacity"], 8192);
    assert_eq!((&status["certificates"], &status["exports"]), (&json!([]), &json!([])));
}

/// The elements of a page that a selector finds.
fn all<'a>(page: &'a Html, selector: &str) -> Vec<ElementRef<'a>> {
    page.select(&Selector::parse(selector).unwrap()).collect()
}

#[tokio::test]
async fn a_browser_gets_a_page_that_needs_nothing_else() {
    let stagedoor = Stagedoor::start(Options::default()).await.unwrap();
    let host = ("host", "localhost");
    let moved = ask(stagedoor.admin, "GET", "/", &[host], "").await;
    assert_eq!((moved.status, moved.header("location")), (303, Some("/status")));
    for accept in [None, Some("*/*"), Some("application/json")] {
        let headers: Vec<_> =
            [host].into_iter().chain(accept.map(|accept| ("accept", accept))).collect();
        let answer = ask(stagedoor.admin, "GET", "/status", &headers, "").await;
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert!(answer.json()["ready"].is_boolean());
    }
    let answer = ask(stagedoor.admin, "GET", "/status", &[host, ("accept", BROWSER)], "").await;
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let policy = answer.header("content-security-policy").unwrap().to_owned();
    let html = String::from_utf8(answer.body).unwrap();
    let page = Html::parse_document(&html);

    // Its one style and its one script, by their hashes, and nothing beside.
    let mut want = vec!["default-src 'none'".to_owned()];
    for (element, directive) in [("style", "style-src"), ("script", "script-src")] {
        let [one] = all(&page, element)[..] else { panic!("one {element}") };
        let text: String = one.text().collect();
        let hash = digest::digest(&digest::SHA256, text.as_bytes());
        let hash = base64::engine::general_purpose::STANDARD.encode(hash);
        want.push(format!("{directive} 'sha256-{hash}'"));
        assert!(one.value().attrs().next().is_none(), "{element}");
    }
    for directive in [
        "connect-src 'self'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ] {
        want.push(directive.to_owned());
    }
    assert_eq!(policy.split("; ").collect::<Vec<_>>(), want);
    for element in all(&page, "*") {
        for (name, value) in element.value().attrs() {
            assert!(!name.starts_with("on") && name != "style" && name != "src", "{name}");
            let own = value.starts_with("/") && !value.starts_with("//");
            let own = own || value.starts_with('#') || value.starts_with("data:image/svg+xml,");
            assert!(name != "href" || own, "{value}");
        }
    }
    // Nor does its style ask for anything, or its script parse what it is given.
    for word in ["@import", "url(", "innerHTML", "outerHTML", "insertAdjacentHTML", "eval("] {
        assert!(!html.contains(word), "{word}");
    }
    assert_eq!(html.matches("document.write").count(), 0);

    // For those who don't see it.
    assert_eq!(all(&page, "html[lang=en]").len(), 1);
    assert!(all(&page, "meta[name=viewport]")[0].attr("content").unwrap().contains("device-width"));
    for landmark in ["body > header", "body > main", "body > footer", "h1", "noscript"] {
        assert_eq!(all(&page, landmark).len(), 1, "{landmark}");
    }
    let ids: Vec<&str> = all(&page, "[id]").iter().filter_map(|one| one.attr("id")).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "an id names one element");
    for section in all(&page, "section, dialog") {
        let title = section.attr("aria-labelledby").unwrap();
        assert!(ids.contains(&title), "{title}");
    }
    for field in all(&page, "input, select, textarea") {
        let labelled = field.ancestors().filter_map(ElementRef::wrap);
        assert!(labelled.into_iter().any(|one| one.value().name() == "label"), "{}", field.html());
    }
    assert_eq!(all(&page, "a.skip")[0].attr("href"), Some("#main"));
    assert!(all(&page, "svg").iter().all(|svg| {
        svg.attr("aria-hidden") == Some("true") || svg.attr("aria-label").is_some()
    }));
    // Its script finds all that it looks for.
    let script: String = all(&page, "script")[0].text().collect();
    for name in script.split("id('").skip(1).map(|rest| rest.split('\'').next().unwrap()) {
        assert!(ids.contains(&name), "#{name}");
    }
}

/// Waits until the latest denial is of this path.
async fn latest(stagedoor: &Stagedoor, path: &str) -> Value {
    let begun = tokio::time::Instant::now();
    loop {
        let (status, body) = stagedoor.get("/v1/denials").await.unwrap();
        assert_eq!(status, 200, "{body}");
        let denials: Value = serde_json::from_str(&body).unwrap();
        if denials["denials"][0]["path"] == path {
            return denials;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{denials}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn the_latest_denials_are_listed() {
    let stagedoor = Stagedoor::start(Options::default()).await.unwrap();
    let token = |group| stagedoor.tenant.token().audience(AUDIENCE).groups(&[group]).sign();
    let (good, other) = (token(OWNERS), token(OTHERS));
    let (_, none) = stagedoor.get("/v1/denials").await.unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(&none).unwrap(),
        json!({ "recorded": true, "kept": LATEST_DENIALS, "denials": [] })
    );
    let host = "payments.example.com";
    decide(&stagedoor, &other, host, &format!("/{HOSTILE}?secret=1")).await;
    decide(&stagedoor, &other, host, "/v1/orders?secret=1").await;
    decide(&stagedoor, &good, host, "/allowed").await;
    decide(&stagedoor, "no.token.atall", host, "/unproven").await;
    let denials = latest(&stagedoor, "/unproven").await;
    let [unproven, known, hostile] = &denials["denials"].as_array().unwrap()[..] else {
        panic!("{denials}")
    };
    assert_eq!(
        (&unproven["reason"], &unproven["status"]),
        (&json!("token_malformed"), &json!(401))
    );
    assert_eq!(unproven["principal"], Value::Null);
    // Beside what stands in the record nothing does.
    let records = stagedoor.audit(4).await.unwrap();
    assert_eq!(hostile["path"], format!("/{HOSTILE}"));
    for (shown, record) in [(hostile, &records[0]), (known, &records[1])] {
        for (name, value) in shown.as_object().unwrap() {
            assert_eq!(value, &record[name], "{name}");
        }
    }
    for name in ["time", "decision_id", "reason", "status", "route", "entity", "action", "owners"] {
        assert!(!known[name].is_null(), "{name} in {known}");
    }
    assert!(!known["principal"]["object"].is_null() && !known["principal"]["kind"].is_null());
    assert!(known["facts"].is_null(), "what groups somebody is in is not told");
    assert!(!denials.to_string().contains(&other) && !denials.to_string().contains("secret"));

    // More than are kept.
    for number in 0..LATEST_DENIALS + 30 {
        decide(&stagedoor, &other, host, &format!("/{number}")).await;
    }
    let last = LATEST_DENIALS + 29;
    let denials = latest(&stagedoor, &format!("/{last}")).await;
    let paths: Vec<_> =
        denials["denials"].as_array().unwrap().iter().map(|one| one["path"].clone()).collect();
    let want: Vec<_> = (30..=last).rev().map(|number| json!(format!("/{number}"))).collect();
    assert_eq!(paths, want);
}

#[tokio::test]
async fn what_records_mask_the_list_of_denials_masks() {
    let key = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(key.path(), [7; 32]).unwrap();
    let audit = format!(
        ", mask: [host, owners, detail], pseudonyms: {{ key_file: \"{}\" }}",
        key.path().display()
    );
    let stagedoor = Stagedoor::start(Options { audit, ..Options::default() }).await.unwrap();
    let token = stagedoor.tenant.token().audience(AUDIENCE).groups(&[OTHERS]);
    let object = token.claims()["oid"].as_str().unwrap().to_owned();
    let path = format!("/people/{object}");
    decide(&stagedoor, &token.sign(), "payments.example.com", &path).await;
    let record = stagedoor.audit(1).await.unwrap().remove(0);
    let denials = latest(&stagedoor, record["path"].as_str().unwrap()).await;
    let text = denials.to_string();
    assert!(!text.contains(&object) && !text.contains("payments.example.com"), "{text}");
    let one = &denials["denials"][0];
    assert_eq!(one["principal"], record["principal"]);
    assert!(one["principal"]["object"].as_str().unwrap().starts_with("p1_"), "{one}");
    assert_eq!((&one["owners"], &one["masked"]), (&Value::Null, &record["masked"]));
}

#[tokio::test]
async fn without_records_there_is_no_list() {
    let tenant = Tenant::start(TenantOptions::default()).await.unwrap();
    let started = Started::with(&tenant, |text| {
        let at = text.find("audit: { to: ").unwrap();
        let end = at + text[at..].find('\n').unwrap();
        text.replace_range(at..end, "audit: { to: off }");
    })
    .await;
    let answer = ask(started.admin, "GET", "/v1/denials", &[("host", "localhost")], "").await;
    assert_eq!(answer.json(), json!({ "recorded": false, "kept": LATEST_DENIALS, "denials": [] }));
}

/// A server of a configuration that was changed.
struct Started {
    admin: std::net::SocketAddr,
    _folder: tempfile::TempDir,
    _shutdown: stagedoor::shutdown::ShutdownHandle,
}

impl Started {
    async fn with(tenant: &Tenant, change: impl FnOnce(&mut String)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = write_config(&folder, tenant, &Options::default()).unwrap();
        let mut text = std::fs::read_to_string(&file).unwrap();
        change(&mut text);
        std::fs::write(&file, text).unwrap();
        let app = App::build(Config::load(&file).unwrap()).await.unwrap();
        let mut admin = app.admin_address();
        admin.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
        let (handle, shutdown) = Shutdown::new();
        tokio::spawn(app.run(shutdown));
        Self { admin, _folder: folder, _shutdown: handle }
    }
}

/// A browser on the same machine does what any page tells it, and says where that is from.
#[tokio::test]
async fn a_page_from_elsewhere_may_do_nothing() {
    let stagedoor = Stagedoor::start(Options::default()).await.unwrap();
    let admin = stagedoor.admin;
    let here = admin.to_string();
    let own = format!("http://{here}");
    let other_port = "http://127.0.0.1:1";
    let asked = json!({ "method": "GET", "host": "payments.example.com", "path": "/" }).to_string();
    // What each answers when it is let.
    let calls = [
        ("POST", "/catalog/refresh", "{}", 202),
        ("POST", "/catalog/confirm", "{\"id\":\"x\"}", 409),
        ("POST", "/v1/explain", &*asked, 200),
        ("GET", "/v1/denials", "", 200),
        ("POST", "/reload", "", 200),
    ];
    let evil = format!("evil.example:{}", admin.port());
    let evil_origin = format!("http://{evil}");
    let rebound = format!("127.0.0.1.evil.example:{}", admin.port());
    for (method, path, body, good) in calls {
        for (headers, want) in [
            (&[("host", &*here)][..], good),
            (&[("host", "localhost")], good),
            (&[("host", "[::1]:9192")], good),
            (&[("host", &here), ("origin", &own), ("sec-fetch-site", "same-origin")], good),
            (&[("host", &here), ("origin", &own)], good),
            (&[("host", &here), ("origin", "https://evil.example")], 403),
            (&[("host", &here), ("origin", "null")], 403),
            (&[("host", &here), ("origin", other_port)], 403),
            (&[("host", &here), ("origin", other_port), ("sec-fetch-site", "same-site")], 403),
            (&[("host", &here), ("sec-fetch-site", "cross-site")], 403),
            (&[("host", &here), ("origin", &own), ("sec-fetch-site", "cross-site")], 403),
            // DNS rebinding: the page's own name means this machine.
            (&[("host", &evil)], 421),
            (&[("host", &evil), ("origin", &evil_origin), ("sec-fetch-site", "same-origin")], 421),
            (&[("host", &evil), ("sec-fetch-site", "same-origin")], 421),
            (&[("host", &rebound)], 421),
            (&[("host", "stagedoor.example.com")], 421),
            (&[], 421),
        ] {
            let answer = ask(admin, method, path, headers, body).await;
            let text = String::from_utf8_lossy(&answer.body);
            let status = answer.status;
            assert_eq!(status, want, "{method} {path} {headers:?}: {text}");
        }
    }
    // Nor does it read what stands there under its own name.
    for (path, want) in
        [("/status", 421), ("/", 421), ("/live", 200), ("/ready", 200), ("/metrics", 200)]
    {
        for accept in ["*/*", BROWSER] {
            let headers = [("host", &*evil), ("accept", accept)];
            assert_eq!(ask(admin, "GET", path, &headers, "").await.status, want, "{path}");
        }
    }
    // A preflight is granted nothing.
    let preflight = [
        ("host", &*here),
        ("origin", "https://evil.example"),
        ("access-control-request-method", "POST"),
    ];
    let answer = ask(admin, "OPTIONS", "/catalog/refresh", &preflight, "").await;
    assert_eq!(answer.status, 405);
    assert_eq!(answer.header("access-control-allow-origin"), None);
}

/// Where others reach the port, it is found under any name, and tells nothing of callers.
#[tokio::test]
async fn where_others_reach_it_denials_are_not_told() {
    let tenant = Tenant::start(TenantOptions::default()).await.unwrap();
    let started = Started::with(&tenant, |text| {
        *text = text.replace(
            "admin: \"127.0.0.1:0\"",
            "admin: \"0.0.0.0:0\", allow_plaintext_on: [\"0.0.0.0:0\"]",
        );
    })
    .await;
    let named = [("host", "stagedoor.example.com:9192")];
    assert_eq!(ask(started.admin, "GET", "/status", &named, "").await.status, 200);
    assert_eq!(ask(started.admin, "GET", "/v1/denials", &named, "").await.status, 403);
    let confirm = ask(started.admin, "POST", "/catalog/confirm", &named, "{\"id\":\"x\"}").await;
    assert_eq!(confirm.status, 403);
}

/// What an explanation says stands in it as the page shows it too.
#[tokio::test]
async fn an_explanation_has_its_sections() {
    let stagedoor = Stagedoor::start(Options::default()).await.unwrap();
    let path = format!("/{HOSTILE}");
    let asked = json!({ "method": "GET", "host": "payments.example.com", "path": path });
    let answer = stagedoor.post("/v1/explain", &[], &asked.to_string()).await.unwrap().json();
    let sections = answer["sections"].as_array().unwrap();
    assert_eq!(sections[0]["title"], "decision");
    assert_eq!(
        sections[0]["lines"][0],
        json!({ "tone": "bad", "label": "answer", "text": "deny (path_not_canonical)" })
    );
    assert_eq!(answer["version"], 1);
}

/// Serves for a browser (scripts/screenshots), with decisions that never end and strangers'
/// words in every place: says where in the file that is named, and ends once that is gone.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "for scripts/screenshots"]
async fn serve_for_a_browser() {
    let told = PathBuf::from(std::env::var_os("STAGEDOOR_STATUS_TO").expect("where to say so"));
    let component = |name: &str, owner: &str| {
        format!(
            "---\napiVersion: backstage.io/v1alpha1\nkind: Component\nmetadata: {{ name: {name} }}\n\
             spec: {{ type: service, lifecycle: production, owner: \"{owner}\" }}\n"
        )
    };
    let mut catalog = CATALOG.replace("Payments Team", &format!("Payments {HOSTILE}"));
    for name in ["checkout", "ledger", "search", "stock"] {
        catalog.push_str(&component(name, "payments-team"));
    }
    catalog.push_str(&component("orphan", HOSTILE));
    let policy = format!(
        "@id(\"frozen\") @reason(\"{HOSTILE}\") forbid (principal, action, resource == \
         Component::\"component:default/stock\");\n"
    );
    let usual = "catalog: { folder: catalog, refresh_every: 1s, guard: { adopt_after: 1000 } }\n";
    let mounted = Mounted::new();
    mounted.swap(&mounted.authority.issue_for(&[SERVER, HOSTILE], -30..3).unwrap());
    let options = Options {
        policy,
        catalog: Some(usual.to_owned()),
        listen: format!(", tls: {}", mounted.mutual_yaml(&[ENVOY])),
        more: "telemetry: { otlp_endpoint: \"http://127.0.0.1:9\", metrics_every: 1s }\n"
            .to_owned(),
        ..Options::default()
    };
    let stagedoor = Stagedoor::start(options).await.unwrap();
    let before = status(&stagedoor).await["catalog"]["version"].as_str().unwrap().to_owned();
    std::fs::write(stagedoor.catalog_file(), &catalog).unwrap();
    stagedoor.await_other_snapshot(Some(&before)).await.unwrap();

    let token = |group: &str, number: u32| {
        let oid = format!("cccccccc-0000-0000-0000-{number:012}");
        stagedoor.tenant.token().audience(AUDIENCE).oid(&oid).groups(&[group])
    };
    let issued = token(OWNERS, 0).claims()["iat"].as_i64().unwrap();
    let owners: Vec<_> = (0..9).map(|number| token(OWNERS, number).sign()).collect();
    let others: Vec<_> = (10..14).map(|number| token(OTHERS, number).sign()).collect();
    let late = token(OWNERS, 20).issued(issued - 7200).expires(issued - 3600).sign();
    let asked = json!({ "admin": stagedoor.admin.to_string(), "token": others[0] });
    std::fs::write(&told, asked.to_string()).unwrap();

    let mut held = false;
    for number in 0_usize.. {
        if !told.exists() {
            break;
        }
        let host = ["payments", "checkout", "ledger", "search"]
            .map(|name| format!("{name}.apps.example.com"));
        let host = host[number % 4].as_str();
        let path = format!("/v1/items/{number}");
        for at in 0..6 + (number / 7) % 5 {
            decide(&stagedoor, &owners[(number + at) % owners.len()], host, &path).await;
        }
        match number % 40 {
            3 => decide(&stagedoor, &others[number % 4], host, &path).await,
            11 => decide(&stagedoor, &late, host, &path).await,
            17 => decide(&stagedoor, &owners[0], "stock.apps.example.com", &path).await,
            23 => {
                let hostile = format!("/{HOSTILE}\u{202e}\"'&");
                decide(&stagedoor, &others[1], "payments.example.com", &hostile).await;
            }
            29 => decide(&stagedoor, &owners[1], "<img src=x onerror=alert(1)>", "/").await,
            37 => decide(&stagedoor, "", "payments.example.com", &path).await,
            _ => {}
        }
        // When the browser asks for it, much is lost at once.
        if !held && told.with_extension("hold").exists() {
            held = true;
            std::fs::write(stagedoor.catalog_file(), CATALOG).unwrap();
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    stagedoor.stop().await.unwrap();
}
