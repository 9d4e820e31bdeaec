//! Policies through a real Envoy: changed under load, and asked why.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::files::replace;
use crate::support::stack::{AUDIENCE, CHILD, OTHERS, OWNERS, Options, Stack, Stagedoor};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

const DEADLINE: Duration = Duration::from_secs(60);

async fn policies(stagedoor: &Stagedoor) -> Value {
    let (_, status) = stagedoor.get("/status").await.unwrap();
    serde_json::from_str::<Value>(&status).unwrap()["policies"].take()
}

/// What was in force, and from when to when it can have been.
#[derive(Clone, Copy)]
struct Window {
    status: u16,
    from: Instant,
    to: Option<Instant>,
}

/// A hundred changes, of which a third are broken, while requests run: each is answered by
/// a set that was in force while it ran, and none fails.
#[tokio::test(flavor = "multi_thread")]
async fn policies_change_under_load() {
    let stack = Arc::new(Stack::start(Options::default()).await.unwrap());
    let token = stack.stagedoor.tenant.token().audience(AUDIENCE).groups(&[OTHERS]).sign();
    let file = stack.stagedoor.folder.path().join("policy.cedar");
    let windows =
        Arc::new(Mutex::new(vec![Window { status: 403, from: Instant::now(), to: None }]));
    let stop = Arc::new(AtomicBool::new(false));
    let load: Vec<_> = (0..4)
        .map(|_| {
            let (stack, stop, token) = (Arc::clone(&stack), Arc::clone(&stop), token.clone());
            let windows = Arc::clone(&windows);
            tokio::spawn(async move {
                let (mut allowed, mut denied) = (0_u32, 0_u32);
                while !stop.load(Ordering::Relaxed) {
                    let began = Instant::now();
                    let answer = stack.get(&token).await.unwrap();
                    let ended = Instant::now();
                    let lawful = windows.lock().unwrap().iter().any(|window| {
                        window.status == answer.status
                            && window.from <= ended
                            && window.to.is_none_or(|to| to >= began)
                    });
                    assert!(lawful, "{} is no answer of that time", answer.status);
                    match answer.status {
                        200 => allowed += 1,
                        _ => denied += 1,
                    }
                }
                (allowed, denied)
            })
        })
        .collect();

    let mut refused = 0;
    for change in 0..100 {
        let text = match change % 3 {
            0 => format!("@id(\"all\") permit (principal, action, resource); // {change}"),
            1 => format!("@id(\"none\") forbid (principal, action, resource); // {change}"),
            _ => format!(
                "permit (principal, action, resource) when {{ principal.nothing }}; // {change}"
            ),
        };
        let before = policies(&stack.stagedoor).await;
        let deadline = Instant::now() + DEADLINE;
        if change % 3 == 2 {
            replace(&file, &text);
            refused += 1;
            loop {
                stack.stagedoor.reload.notify_one();
                let now = policies(&stack.stagedoor).await;
                if now["refused"] == refused {
                    let error = now["last_error"].as_str().unwrap();
                    assert!(error.contains("policy.cedar:1:"), "{error}");
                    assert_eq!(now["version"], before["version"]);
                    break;
                }
                assert!(Instant::now() < deadline, "{now}");
                sleep(Duration::from_millis(20)).await;
            }
            continue;
        }
        let status = if change % 3 == 0 { 200 } else { 403 };
        // From now on it can be in force.
        windows.lock().unwrap().push(Window { status, from: Instant::now(), to: None });
        replace(&file, &text);
        loop {
            stack.stagedoor.reload.notify_one();
            let now = policies(&stack.stagedoor).await;
            if now["version"] != before["version"] {
                assert_eq!(now["last_error"], Value::Null);
                break;
            }
            assert!(Instant::now() < deadline, "{now}");
            sleep(Duration::from_millis(20)).await;
        }
        // And from now on the one before isn't.
        let mut windows = windows.lock().unwrap();
        let last = windows.len() - 2;
        windows[last].to = Some(Instant::now());
    }
    stop.store(true, Ordering::Relaxed);
    let (mut allowed, mut denied) = (0, 0);
    for load in load {
        let (more, fewer) = load.await.unwrap();
        allowed += more;
        denied += fewer;
    }
    assert!(allowed > 50 && denied > 50, "{allowed} allowed, {denied} denied");
    let status = policies(&stack.stagedoor).await;
    assert_eq!((status["reloads"].as_u64(), status["refused"].as_u64()), (Some(67), Some(33)));

    // Every decision names the set that it was made by.
    let records = stack.stagedoor.audit(100).await.unwrap();
    assert!(records.iter().all(|record| record["policy_version"].as_str().is_some()));
}

/// Whoever is in the group that may ask gets the explanation, allowed or denied; nobody
/// else does.
#[tokio::test]
async fn explanations_come_with_the_answer_to_whom_they_are_for() {
    let more = "check: { deadline: 9s }\n".to_owned();
    let mut stack = Stack::start(Options { more, ..Options::default() }).await.unwrap();
    let token = |stack: &Stack, group: &str| {
        stack.stagedoor.tenant.token().audience(AUDIENCE).groups(&[group]).sign()
    };
    let ask = async |stack: &Stack, group: &str, debug: &str| {
        let bearer = format!("Bearer {}", token(stack, group));
        let headers = [("authorization", bearer.as_str()), ("x-stagedoor-debug", debug)];
        stack.ask("GET", "payments.example.com", "/v1/orders", &headers).await.unwrap()
    };
    // Off by default.
    assert_eq!(ask(&stack, OWNERS, "1").await.header("x-stagedoor-explanation"), None);

    let options = Options {
        debug: vec!["group:default/payments-team".to_owned(), "orders-team".to_owned()],
        ..Options::default()
    };
    stack = Stack::start(options).await.unwrap();
    let explanation = |answer: &crate::support::envoy::RawResponse| {
        let json = STANDARD.decode(answer.header("x-stagedoor-explanation")?).unwrap();
        Some(serde_json::from_slice::<Value>(&json).unwrap())
    };
    for (group, debug, status, explained) in [
        (OWNERS, "1", 200, true),
        // A member of a group below is a member.
        (CHILD, "1", 200, true),
        (OTHERS, "1", 403, true),
        (OWNERS, "0", 200, false),
        (OWNERS, "", 200, false),
        ("aaaaaaaa-0000-0000-0000-0000000000ff", "1", 403, false),
    ] {
        let answer = ask(&stack, group, debug).await;
        assert_eq!(answer.status, status, "{group}");
        let found = explanation(&answer);
        assert_eq!(found.is_some(), explained, "{group} {debug}");
        if let Some(found) = found {
            let decision = if status == 200 { "allow" } else { "deny" };
            assert_eq!(found["conclusion"]["decision"], decision);
            assert_eq!(found["route"]["matched"], "payments");
        }
    }
    // Nobody known, nothing told.
    let headers = [("x-stagedoor-debug", "1")];
    let answer = stack.ask("GET", "payments.example.com", "/v1/orders", &headers).await.unwrap();
    assert_eq!((answer.status, explanation(&answer)), (401, None));
}

#[tokio::test]
async fn the_admin_port_explains() {
    let stagedoor = Stagedoor::start(Options::default()).await.unwrap();
    let token = stagedoor.tenant.token().audience(AUDIENCE).groups(&[OTHERS]).sign();
    let asked = json!({
        "method": "GET", "host": "payments.example.com", "path": "/v1/orders",
        "authorization": format!("Bearer {token}"),
    })
    .to_string();
    let answer = stagedoor.post("/v1/explain", &[], &asked).await.unwrap();
    assert_eq!(answer.status, 200);
    let json: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(json["conclusion"]["reason"], "not_permitted");
    let help = "be a member of one of: Payments Team (`group:default/payments-team`) (`owners`)";
    assert!(json["to_allow"].as_array().unwrap().contains(&json!(help)), "{json}");
    for (accept, kind) in [("text/plain", "text/plain"), ("text/html,*/*;q=0.8", "text/html")] {
        let answer = stagedoor.post("/v1/explain", &[("accept", accept)], &asked).await.unwrap();
        assert!(answer.header("content-type").unwrap().starts_with(kind));
        let text = String::from_utf8(answer.body).unwrap();
        assert!(text.contains("Payments Team") && !text.contains(&token), "{text}");
    }
    for (headers, body, status) in [
        (&[("origin", "https://evil.example")][..], asked.as_str(), 403),
        (&[("sec-fetch-site", "cross-site")], &asked, 403),
        (&[], "{}", 400),
        (&[], r#"{"method":"GET","host":"a","path":"/","hots":1}"#, 400),
    ] {
        assert_eq!(stagedoor.post("/v1/explain", headers, body).await.unwrap().status, status);
    }
}
