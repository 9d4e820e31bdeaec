//! Through a real Envoy: what people, programs and gRPC clients read when they are denied,
//! and the warnings that an allowed one gets.

use std::sync::Arc;
use std::time::Duration;

use crate::support::envoy::{Envoy, EnvoyConfig, RawResponse};
use crate::support::stack::{AUDIENCE, OTHERS, OWNERS, Options, Stack};
use devtenant::service::Echo;
use scraper::{Html, Selector};
use serde_json::{Value, json};
use stagedoor::authorizer::Decide;
use stagedoor::clock::Now;
use stagedoor::domain::{
    Action, Decision, DecisionId, Denial, Gate, Notes, Notice, Owners, Permit, Principal, Reason,
    Request, Target, Verdict, Versions,
};
use stagedoor::ext_authz::{
    Answer, AnswerSettings, CallLimits, CheckService, CheckSettings, Decided, Endpoint,
    IdentityHeaders, OnGuarded, Record,
};
use stagedoor::serve::{BoundAddress, Server};
use stagedoor::shutdown::Shutdown;

const BROWSER: (&str, &str) =
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8");
const CURL: (&str, &str) = ("accept", "*/*");
const HOST: &str = "payments.example.com";

async fn started(denial: &str) -> Stack {
    let more = format!("denial: {{ backstage_url: https://backstage.example.com{denial} }}\n");
    let policy = "@id(\"nobody-deletes\") @reason(\"Refunds are made by hand: ask <b>first</b>.\")
        forbid (principal, action, resource) when { context.path == \"/v1/refunds\" };"
        .to_owned();
    Stack::start(Options { more, policy, ..Options::default() }).await.unwrap()
}

fn bearer(stack: &Stack, groups: &[&str]) -> String {
    let token = stack.stagedoor.tenant.token().audience(AUDIENCE).groups(groups);
    format!("Bearer {}", token.sign())
}

async fn get(stack: &Stack, path: &str, headers: &[(&str, &str)]) -> RawResponse {
    let before = stack.upstream.count();
    let answer = stack.ask("GET", HOST, path, headers).await.unwrap();
    assert_eq!(stack.upstream.count(), before, "{answer:?}");
    answer
}

fn body(answer: &RawResponse) -> String {
    String::from_utf8(answer.body.clone()).unwrap()
}

#[tokio::test]
async fn each_reads_it_in_its_own_form() {
    let stack = started("").await;
    let others = bearer(&stack, &[OTHERS]);
    let authorized = ("authorization", others.as_str());

    // A person, in a browser.
    let answer = get(&stack, "/v1/orders?code=secret", &[authorized, BROWSER]).await;
    assert_eq!(answer.status, 403, "{answer:?}");
    for (name, value) in [
        ("content-type", "text/html; charset=utf-8"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("x-frame-options", "DENY"),
        ("cache-control", "no-store"),
        ("vary", "accept, accept-language"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}: {answer:?}");
    }
    let policy = answer.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    let page = body(&answer);
    let html = Html::parse_document(&page);
    let texts = |selector: &str| -> Vec<String> {
        let selector = Selector::parse(selector).unwrap();
        html.select(&selector).map(|found| found.text().collect()).collect()
    };
    assert_eq!(texts("h1"), ["You don’t have access"]);
    assert_eq!(texts(".name"), ["Payments Team"]);
    let selector = Selector::parse("a").unwrap();
    let links: Vec<_> = html.select(&selector).filter_map(|a| a.value().attr("href")).collect();
    let id = answer.header("x-stagedoor-decision-id").unwrap();
    assert_eq!(
        links,
        [
            "https://backstage.example.com/catalog/default/group/payments-team",
            &format!(
                "mailto:payments@example.com?subject=Access%20to%20component%3Adefault%2Fpayments\
                 %20%28decision%20{id}%29"
            ),
            "https://chat.example.com/payments",
            "https://backstage.example.com/catalog/default/component/payments",
        ]
    );
    assert!(page.contains(id) && page.contains("payments.example.com&#x2f;v1&#x2f;orders"));
    assert!(!page.contains("secret"), "a query is never repeated: {page}");

    // A program.
    for accept in [CURL, ("accept", "application/json"), ("x-none", "")] {
        let answer = get(&stack, "/v1/orders?code=secret", &[authorized, accept]).await;
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{accept:?}");
        let problem = answer.json();
        let id = answer.header("x-stagedoor-decision-id").unwrap();
        assert_eq!(problem["type"], "https://stagedoor.dev/reasons#not_permitted");
        assert_eq!(problem["status"], 403);
        assert_eq!(problem["instance"], format!("urn:uuid:{id}"));
        assert_eq!(
            problem["request"],
            json!({ "method": "GET", "host": HOST, "path": "/v1/orders" })
        );
        assert_eq!(problem["owners"][0]["email"], "payments@example.com");
        assert_eq!(problem["caller"]["kind"], "user");
        assert_eq!(problem["caller"]["tenant_id"], stack.stagedoor.tenant.id().to_string());
        assert!(!body(&answer).contains("secret"));
    }

    // A gRPC client.
    let grpc = [authorized, ("content-type", "application/grpc"), ("te", "trailers"), BROWSER];
    let answer = stack.ask("POST", HOST, "/payments.v1.Payments/Refund", &grpc).await.unwrap();
    assert_eq!((answer.status, answer.header("grpc-status")), (200, Some("7")), "{answer:?}");
    assert!(answer.header("grpc-message").unwrap().starts_with("not_permitted: "));
    assert_eq!(answer.header("content-security-policy"), None);

    // A HEAD has the headers and no body.
    let answer = stack.ask("HEAD", HOST, "/v1/orders", &[authorized, BROWSER]).await.unwrap();
    assert_eq!((answer.status, answer.body.len()), (403, 0), "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));

    // The policy's own words, as words.
    let owners = bearer(&stack, &[OWNERS]);
    let answer = get(&stack, "/v1/refunds", &[("authorization", &owners), BROWSER]).await;
    let page = body(&answer);
    assert!(
        page.contains("Refunds are made by hand: ask &lt;b&gt;first&lt;&#x2f;b&gt;."),
        "{page}"
    );
    let answer = get(&stack, "/v1/refunds", &[("authorization", &owners), CURL]).await;
    assert_eq!(answer.json()["advice"], json!(["Refunds are made by hand: ask <b>first</b>."]));
}

/// Nothing that names a team, a person's entity or a way to reach them.
fn tells_of_ownership(answer: &RawResponse) -> bool {
    let text = format!("{:?} {}", answer.headers, body(answer)).to_lowercase();
    ["payments team", "payments-team", "component:", "@example.com", "chat.example", "backstage"]
        .iter()
        .any(|word| text.contains(word))
}

#[tokio::test]
async fn who_is_unknown_reads_nothing_about_ownership() {
    let stack = started("").await;
    let tenant = &stack.stagedoor.tenant;
    let expired = tenant.token().audience(AUDIENCE).groups(&[OWNERS]).expires(1);
    let foreign = tenant.token().audience("api://else").groups(&[OWNERS]);
    for authorization in [
        None,
        Some("Bearer nonsense".to_owned()),
        Some(format!("Bearer {}", expired.sign())),
        Some(format!("Bearer {}", foreign.sign())),
    ] {
        for accept in [BROWSER, CURL] {
            let mut headers = vec![accept];
            headers.extend(authorization.as_deref().map(|value| ("authorization", value)));
            let answer = get(&stack, "/v1/orders", &headers).await;
            assert_eq!(answer.status, 401, "{answer:?}");
            assert!(answer.header("www-authenticate").unwrap().starts_with("Bearer "));
            assert!(!tells_of_ownership(&answer), "{answer:?}");
        }
    }
}

#[tokio::test]
async fn each_level_of_telling() {
    for (owners, known, anonymous) in
        [("never", false, false), ("known", true, false), ("everyone", true, true)]
    {
        let tell = format!(
            ", tell: {{ owners: {owners}, contacts: {owners}, entity: {owners}, caller: never }}"
        );
        let stack = started(&tell).await;
        let others = bearer(&stack, &[OTHERS]);
        for accept in [BROWSER, CURL] {
            let answer = get(&stack, "/v1/orders", &[("authorization", &others), accept]).await;
            assert_eq!(answer.status, 403);
            assert_eq!(tells_of_ownership(&answer), known, "{owners}: {answer:?}");
            assert!(!body(&answer).contains(&stack.stagedoor.tenant.id().to_string()));
            let answer = get(&stack, "/v1/orders", &[accept]).await;
            assert_eq!(answer.status, 401);
            assert_eq!(tells_of_ownership(&answer), anonymous, "{owners}: {answer:?}");
        }
        if anonymous {
            let answer = get(&stack, "/v1/orders", &[CURL]).await;
            assert_eq!(answer.json()["owners"][0]["title"], "Payments Team");
            assert_eq!(answer.json()["owners"][0]["email"], "payments@example.com");
            assert_eq!(answer.json()["caller"], Value::Null);
        }
    }
}

#[tokio::test]
async fn in_the_language_of_the_client() {
    let german = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/languages/de.yaml");
    let stack = started(&format!(", languages: {{ de: '{german}' }}")).await;
    let others = bearer(&stack, &[OTHERS]);
    let authorized = ("authorization", others.as_str());
    for (language, tag, title) in [
        ("de-AT,de;q=0.9,en;q=0.8", "de", "Sie haben keinen Zugriff"),
        ("fr,en;q=0.8,de;q=0.1", "en", "You don’t have access"),
        ("fr", "en", "You don’t have access"),
    ] {
        let language = ("accept-language", language);
        let answer = get(&stack, "/v1/orders", &[authorized, BROWSER, language]).await;
        assert_eq!(answer.header("content-language"), Some(tag));
        assert!(body(&answer).contains(&format!("<html lang=\"{tag}\" dir=\"ltr\">")));
        assert!(body(&answer).contains(&format!("<h1>{title}</h1>")), "{}", body(&answer));
        let answer = get(&stack, "/v1/orders", &[authorized, CURL, language]).await;
        assert_eq!(answer.json()["title"], title);
        assert_eq!(answer.json()["reason"], "not_permitted");
    }
}

/// Allows everything, with words of warning.
struct Warns;

fn decision(verdict: Verdict, warnings: Vec<Notice>) -> Decision {
    Decision {
        id: DecisionId::new(),
        verdict,
        principal: Principal::Anonymous,
        target: None,
        owners: Owners::new(),
        versions: Versions::default(),
        notes: Notes { warnings, ..Notes::default() },
    }
}

impl Decide for Warns {
    async fn decide(&self, _request: &Request<'_>, _now: Now) -> Decision {
        let target = Target {
            resource: None,
            action: Action::Read,
            gate: Gate::Public,
            route: "open".into(),
            demands: None,
        };
        let notice = |text: &str| Notice { policy: "sunset".into(), text: text.to_owned().into() };
        let warnings = vec![notice("Ends on 1 May."), notice("Größe\r\nx-evil: 1")];
        decision(Verdict::Allow(Permit::by_public_gate(&target).unwrap()), warnings)
    }

    fn deny(&self, denial: Denial) -> Decision {
        decision(Verdict::Deny(denial), Vec::new())
    }
}

struct Nowhere;

impl Record for Nowhere {
    fn decided(&self, _decided: Decided<'_>) {}
}

impl OnGuarded for Nowhere {
    fn guarded(&self, _reason: Reason, _cause: &str) {}
}

#[tokio::test]
async fn warnings_reach_the_client() {
    let name = |name: &str| format!("x-stagedoor-{name}");
    let headers = IdentityHeaders {
        subject: name("subject"),
        tenant: name("tenant"),
        kind: name("kind"),
        entity: name("entity"),
        decision_id: name("decision-id"),
    };
    let answer = Answer::new(AnswerSettings::new(headers), None);
    let settings = CheckSettings {
        justification_header: "x-stagedoor-justification".to_owned(),
        max_concurrent: 100,
        queue_timeout: Duration::from_millis(10),
        deadline: Duration::from_secs(10),
    };
    let check = CheckService::new(Warns, answer, settings, Box::new(Nowhere));
    let others = tonic::service::Routes::default().prepare();
    let limits = CallLimits { deadline: Duration::from_secs(10), max_message_bytes: 64 * 1024 };
    let server = Server::bind(crate::faults::serve_settings()).await.unwrap();
    let BoundAddress::Tcp(address) = server.addresses()[0].clone() else { panic!("tcp") };
    let (_handle, shutdown) = Shutdown::new();
    let service = Endpoint::new(check, Arc::new(Nowhere), limits, others);
    tokio::spawn(async move { server.run(service, shutdown).await });

    let upstream = Echo::start().await.unwrap();
    let config = EnvoyConfig::tcp(address, upstream.address());
    let envoy = Envoy::start(config.check_timeout(Duration::from_secs(15))).await.unwrap();
    let request = crate::support::stack::request("GET", HOST, "/", &[]);
    let answer = envoy.raw_http(request).await.unwrap();
    assert_eq!((answer.status, upstream.count()), (200, 1), "{answer:?}");
    let warnings: Vec<_> = answer
        .headers
        .iter()
        .filter(|(name, _)| name == "x-stagedoor-warning")
        .map(|(_, value)| value.as_str())
        .collect();
    assert_eq!(warnings, ["sunset: Ends on 1 May.", "sunset: Gr%C3%B6%C3%9Fe  x-evil: 1"]);
    assert!(answer.header("x-evil").is_none());
    // The service behind it isn't told.
    assert!(crate::support::stack::seen(&answer, "x-stagedoor-warning").is_empty());
}
