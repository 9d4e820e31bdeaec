//! Through a real Envoy: who passes, who doesn't, and what each is told.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::support::stack::{
    AUDIENCE, CHILD, GRANDCHILD, OTHERS, OWNERS, Options, Stack, reason, request, seen,
};
use devtenant::token;
use serde_json::json;

fn unix_now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

/// Who may do what, over either transport.
async fn who_may(options: Options) {
    let unix = options.unix;
    let stack = Stack::start(options).await.unwrap();
    let tenant = &stack.stagedoor.tenant;
    let user = |groups: &[&str]| Some(tenant.token().audience(AUDIENCE).groups(groups).sign());
    let robot =
        |roles: &[&str]| Some(tenant.token().audience(AUDIENCE).app_only(roles).groups(&[]).sign());
    let (payments, orders) = ("payments.example.com", "orders.apps.example.com");
    let cases = [
        // Owners, members of child groups, others.
        (user(&[OWNERS]), "GET", payments, "/v1/orders", 200, "permitted"),
        (user(&[OWNERS]), "POST", payments, "/v1/orders", 200, "permitted"),
        (user(&[CHILD]), "GET", payments, "/v1/orders", 200, "permitted"),
        (user(&[GRANDCHILD]), "DELETE", payments, "/v1/orders/1", 200, "permitted"),
        (user(&[OTHERS]), "GET", payments, "/v1/orders", 403, "not_permitted"),
        (user(&[]), "GET", payments, "/v1/orders", 403, "not_permitted"),
        (user(&[OTHERS]), "GET", orders, "/v1/orders", 200, "permitted"),
        (user(&[OWNERS]), "GET", orders, "/v1/orders", 403, "not_permitted"),
        // GET and POST told apart.
        (robot(&["Payments.Read.All"]), "GET", payments, "/v1/orders", 200, "permitted"),
        (robot(&["Payments.Read.All"]), "POST", payments, "/v1/orders", 403, "not_permitted"),
        (robot(&["Other"]), "GET", payments, "/v1/orders", 403, "not_permitted"),
        // Gates.
        (None, "GET", payments, "/v1/orders", 401, "token_missing"),
        (None, "GET", payments, "/healthz", 200, "public_route"),
        (None, "POST", payments, "/healthz", 403, "no_route"),
        (None, "GET", payments, "/whoami", 401, "token_missing"),
        (user(&[]), "GET", payments, "/whoami", 200, "authenticated_route"),
        // Envoy's own route says that this is administration of payments.
        (user(&[OWNERS]), "GET", payments, "/admin/keys", 200, "permitted"),
        (user(&[OTHERS]), "GET", payments, "/admin/keys", 403, "not_permitted"),
        (robot(&["Payments.Read.All"]), "GET", payments, "/admin/keys", 403, "not_permitted"),
        // What nobody said anything about.
        (user(&[OWNERS]), "GET", "unknown.example.org", "/", 403, "no_route"),
        (user(&[OWNERS]), "GET", "nothing.apps.example.com", "/", 403, "entity_unknown"),
    ];
    for (token, method, host, path, status, code) in &cases {
        let before = stack.upstream.count();
        let bearer = token.as_ref().map(|token| format!("Bearer {token}"));
        let headers: Vec<_> =
            bearer.iter().map(|value| ("authorization", value.as_str())).collect();
        let answer = stack.ask(method, host, path, &headers).await.unwrap();
        let case = format!("unix {unix}: {method} {host}{path}: {answer:?}");
        assert_eq!(answer.status, *status, "{case}");
        let passed = usize::from(*status == 200);
        assert_eq!(stack.upstream.count() - before, passed, "{case}");
        if passed == 0 {
            assert_eq!(reason(&answer).unwrap(), *code, "{case}");
            let challenge = answer.header("www-authenticate");
            assert_eq!(challenge.is_some(), *status == 401, "{case}");
            assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{case}");
        } else {
            assert_eq!(seen(&answer, "x-stagedoor-kind").len(), 1, "{case}");
        }
    }

    // What the upstream sees of an allowed caller.
    let token = tenant.token().audience(AUDIENCE).groups(&[OWNERS]);
    let claims = token.claims();
    let answer = stack.get(&token.sign()).await.unwrap();
    assert_eq!(seen(&answer, "x-stagedoor-subject"), [claims["oid"].as_str().unwrap()]);
    assert_eq!(seen(&answer, "x-stagedoor-tenant"), [tenant.id().to_string()]);
    assert_eq!(seen(&answer, "x-stagedoor-kind"), ["user"]);
    assert_eq!(seen(&answer, "x-stagedoor-entity"), ["component:default/payments"]);
    let id = seen(&answer, "x-stagedoor-decision-id");
    assert_eq!(id.len(), 1);

    // What a denied person reads.
    let answer = stack.get(&user(&[OTHERS]).unwrap()).await.unwrap();
    let body = answer.json();
    assert_eq!(
        body["owners"],
        json!([{
            "entity": "group:default/payments-team",
            "title": "Payments Team",
            "email": "payments@example.com",
            "links": [{ "title": "Chat", "url": "https://chat.example.com/payments" }],
        }])
    );
    assert!(body["detail"].as_str().unwrap().contains("Payments Team"), "{body}");
    let denied_id = body["decision_id"].as_str().unwrap().to_owned();
    assert_eq!(answer.header("x-stagedoor-decision-id"), Some(denied_id.as_str()));

    // The same decisions stand in Envoy's access log and in the audit records.
    let entry = stack
        .envoy
        .access_log_entry(|entry| entry["decision_id"] == denied_id.as_str())
        .await
        .unwrap();
    assert_eq!(entry["reason"], "not_permitted");
    let records = stack.stagedoor.audit(cases.len() + 2).await.unwrap();
    for ((_, method, host, path, _, code), record) in cases.iter().zip(&records) {
        assert_eq!(record["reason"], *code);
        assert_eq!(
            (record["method"].as_str(), record["host"].as_str(), record["path"].as_str()),
            (Some(*method), Some(*host), Some(*path))
        );
    }
    assert!(records.iter().any(|record| record["decision_id"] == id[0].as_str()));
    let denied = records.iter().find(|record| record["decision_id"] == denied_id.as_str());
    assert_eq!(denied.unwrap()["owners"], json!(["group:default/payments-team"]));
}

/// Makes each scenario two tests: Envoy asks over TCP, and over a Unix socket.
macro_rules! over_both {
    ($($scenario:ident)*) => {
        mod over_tcp {
            $(#[tokio::test] async fn $scenario() {
                super::$scenario(super::Options::default()).await;
            })*
        }
        mod over_a_unix_socket {
            $(#[tokio::test] async fn $scenario() {
                super::$scenario(super::Options { unix: true, ..super::Options::default() }).await;
            })*
        }
    };
}

over_both! {
    who_may
    tokens_that_are_refused
    forged_identity_never_reaches_the_service
    no_spelling_of_a_path_gets_around_its_route
    hosts_and_methods_have_one_reading
    a_grpc_client_reads_its_denial
    either_form_of_the_headers
}

async fn tokens_that_are_refused(options: Options) {
    let stack = Stack::start(options).await.unwrap();
    let tenant = &stack.stagedoor.tenant;
    let other = devtenant::tenant::Tenant::start(devtenant::tenant::TenantOptions {
        id: "99999999-2222-3333-4444-555555555555".parse().unwrap(),
        ..Default::default()
    })
    .await
    .unwrap();
    let now = unix_now();
    let good = || tenant.token().audience(AUDIENCE).groups(&[OWNERS]);
    let signed = good().sign();
    assert_eq!(stack.get(&signed).await.unwrap().status, 200, "the token that the others vary");
    let v1 = tenant.token().v1(AUDIENCE).groups(&[OWNERS]).sign();
    assert_eq!(stack.get(&v1).await.unwrap().status, 200, "a v1.0 token");

    let cases = [
        ("", "credentials_malformed"),
        ("garbage", "token_malformed"),
        (&*good().expires(now - 3600).sign(), "token_expired"),
        (&*good().claim("nbf", json!(now + 3600)).sign(), "token_not_yet_valid"),
        (&*good().audience("api://other").sign(), "token_audience"),
        (&*good().audience("https://graph.microsoft.com").sign(), "token_audience_graph"),
        (&*good().claim("iss", json!("https://example.com/")).sign(), "token_issuer"),
        (&*other.token().audience(AUDIENCE).groups(&[OWNERS]).sign(), "token_issuer"),
        (&*good().claim("tid", json!(other.id().to_string())).sign(), "token_tenant"),
        (&*good().claim("ver", json!("1.0")).sign(), "token_version"),
        (&*token::tamper_payload(&signed), "token_signature"),
        (&*good().sign_with(&devtenant::keys::SigningKey::test(1)), "token_key_unknown"),
        (&*good().forged_with(&devtenant::keys::SigningKey::test(1)), "token_signature"),
        (&*good().unsigned(), "token_algorithm"),
        (&*good().hs256(&tenant.signing_key().public_key_pem()), "token_algorithm"),
        (&*good().hs256(&tenant.signing_key().public_key_der()), "token_algorithm"),
        // An ID token: for the client, without the marks of an access token.
        (&*good().without("scp").without("azp").claim("nonce", json!("n")).sign(), "token_kind"),
        (&*good().without("scp").sign(), "token_without_grant"),
        (&*good().without("oid").sign(), "token_object_id"),
        (&*good().claim("hasgroups", json!(true)).sign(), "groups_overage"),
    ];
    let before = stack.upstream.count();
    for (token, code) in cases {
        let answer = stack.get(token).await.unwrap();
        let status = if code == "groups_overage" { 503 } else { 401 };
        assert_eq!(reason(&answer).unwrap(), code, "{token}: {answer:?}");
        assert_eq!(answer.status, status, "{code}");
    }
    // Several credentials, and credentials elsewhere than in the one header.
    let bearer = format!("Bearer {signed}");
    let bearer = bearer.as_str();
    let query = format!("/v1/orders?access_token={signed}");
    for (path, headers, code) in [
        (
            "/v1/orders",
            &[("authorization", bearer), ("authorization", bearer)][..],
            "credentials_repeated",
        ),
        (
            "/v1/orders",
            &[("Authorization", bearer), ("authorization", "Basic eDp5")],
            "credentials_repeated",
        ),
        ("/v1/orders", &[("authorization", &format!("{bearer},{bearer}"))], "credentials_repeated"),
        ("/v1/orders", &[("authorization", "Basic eDp5")], "credentials_malformed"),
        ("/v1/orders", &[("cookie", &format!("token={signed}"))], "token_missing"),
        (query.as_str(), &[], "token_missing"),
    ] {
        let answer = stack.ask("GET", "payments.example.com", path, headers).await.unwrap();
        assert_eq!((answer.status, reason(&answer).unwrap().as_str()), (401, code));
    }
    assert_eq!(stack.upstream.count(), before, "nobody reached the service");
}

async fn forged_identity_never_reaches_the_service(options: Options) {
    // Also where an operator lets underscores through.
    let stack = Stack::start_with(options, |envoy| envoy.allow_underscores()).await.unwrap();
    let tenant = &stack.stagedoor.tenant;
    let token = tenant.token().audience(AUDIENCE).groups(&[OWNERS]);
    let oid = token.claims()["oid"].as_str().unwrap().to_owned();
    let bearer = format!("Bearer {}", token.sign());
    let names = ["subject", "tenant", "kind", "entity", "decision-id"];
    let mut forged = Vec::new();
    for name in names {
        forged.push(format!("x-stagedoor-{name}"));
        forged.push(format!("X-Stagedoor-{name}"));
        forged.push(format!("x-stagedoor-{name}").replace('-', "_"));
        forged.push(format!("x_stagedoor-{name}"));
        forged.push(format!("X-stagedoor_{name}"));
        // Once more, as a second header of one name.
        forged.push(format!("x-stagedoor-{name}"));
    }
    let mut headers: Vec<(&str, &str)> =
        forged.iter().map(|name| (name.as_str(), "forged")).collect();
    for (path, who) in
        [("/v1/orders", Some(oid.as_str())), ("/whoami", Some(&oid)), ("/healthz", None)]
    {
        if who.is_some() {
            headers.push(("authorization", &bearer));
        }
        let answer = stack.ask("GET", "payments.example.com", path, &headers).await.unwrap();
        headers.retain(|(name, _)| *name != "authorization");
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(!text.contains("forged"), "{path}: {text}");
        assert_eq!(seen(&answer, "x-stagedoor-subject"), Vec::from_iter(who), "{path}");
        let kind = if who.is_some() { "user" } else { "anonymous" };
        assert_eq!(seen(&answer, "x-stagedoor-kind"), [kind], "{path}");
    }
}

/// The bytes that a backend could take a path for, decoding until nothing changes
/// and tidying up as liberally as any does.
fn as_a_lenient_backend_reads(path: &str) -> String {
    let mut path = path.split(['?', '#']).next().unwrap_or_default().to_owned();
    for _ in 0..4 {
        let mut decoded = Vec::new();
        let bytes = path.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let hex = bytes
                .get(at + 1..at + 3)
                .and_then(|hex| std::str::from_utf8(hex).ok())
                .and_then(|hex| u8::from_str_radix(hex, 16).ok());
            match (bytes[at], hex) {
                (b'%', Some(byte)) => {
                    decoded.push(byte);
                    at += 3;
                }
                (byte, _) => {
                    decoded.push(byte);
                    at += 1;
                }
            }
        }
        path = String::from_utf8_lossy(&decoded).replace('\\', "/");
    }
    let mut segments: Vec<String> = Vec::new();
    for segment in path.split('/') {
        let segment = segment.split([';', '\0']).next().unwrap_or_default().trim();
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            other => segments.push(other.to_lowercase()),
        }
    }
    format!("/{}", segments.join("/"))
}

async fn no_spelling_of_a_path_gets_around_its_route(options: Options) {
    // `/public` is for anybody; everything else of the host is for its owners.
    let tricks = [
        "/secret",
        "//secret",
        "///secret",
        "/./secret",
        "/public/../secret",
        "/public/%2e%2e/secret",
        "/public/%2E%2E/secret",
        "/public/.%2e/secret",
        "/public/..%2fsecret",
        "/public/..%2Fsecret",
        "/public/..%5csecret",
        "/public\\..\\secret",
        "/public/..\\secret",
        "/public/..;/secret",
        "/public/..;x=y/secret",
        "/public/.;/../secret",
        "/public;/../secret",
        "/public/..%00/secret",
        "/public/%00/../secret",
        "/public%2f..%2fsecret",
        "/%70ublic/../secret",
        "/public/%252e%252e/secret",
        "/public/%25%32%65%25%32%65/secret",
        "/public/%c0%ae%c0%ae/secret",
        "/public/%e0%80%ae/secret",
        "/public/..%c0%afsecret",
        "/public/x/../../secret",
        "/public//../secret",
        "/public/..//secret",
        "/public/%2e./secret",
        "/public/%09../secret",
        "/public/%0a../secret",
        "/public/.%0d./secret",
        "/public%20/../secret",
        "/secret/",
        "/secret?x=/public",
        "/secret%3f/public",
        "/secret%23/public",
        "/public#/../secret",
        "/secret#/public",
        "/secret;/public",
        "/Secret",
        "/%73ecret",
        "/secret%00/public",
        "/secret%2fpublic",
        "http://payments.example.com/secret",
        "/public/%zz/../secret",
        "/public/%/../secret",
        "/public/..%ef%bc%8fsecret",
        "/public/\u{ff0e}\u{ff0e}/secret",
        "/public/..%u2215secret",
    ];
    // These have one reading: a token is missing, or no route takes parameters.
    // Everything else is refused as it is.
    let one_reading = [
        ("/secret", 401),
        ("/secret/", 401),
        ("/secret?x=/public", 401),
        ("/secret;/public", 403),
        ("/Secret", 401),
        ("http://payments.example.com/secret", 401),
        // A letter that looks like a slash is a letter.
        ("/public/..%ef%bc%8fsecret", 200),
    ];
    for plain in [true, false] {
        let stack =
            Stack::start_with(
                options.clone(),
                |envoy| {
                    if plain { envoy.plain_paths() } else { envoy }
                },
            )
            .await
            .unwrap();
        let ask =
            |path: &str| stack.envoy.raw_http(request("GET", "payments.example.com", path, &[]));
        assert_eq!(ask("/public/page").await.unwrap().status, 200);
        for path in tricks {
            let answer = ask(path).await.unwrap();
            if answer.status == 200 {
                // It may pass only as what everybody reads as public.
                let known = one_reading.contains(&(path, 200));
                assert!(!plain || known, "{path}: nothing resolved it, and it passed: {answer:?}");
                let reached = answer.json()["path"].as_str().unwrap().to_owned();
                let read = as_a_lenient_backend_reads(&reached);
                assert!(
                    read == "/public" || read.starts_with("/public/"),
                    "{path} reached the service as {reached}"
                );
            } else if plain {
                // Stagedoor, or Envoy's own parser, sees it as it was sent.
                let want = one_reading.iter().find(|(known, _)| *known == path);
                let want = want.map_or(400, |(_, status)| *status);
                assert_eq!(answer.status, want, "{path}: {answer:?}");
            } else {
                // Envoy has resolved it, or has refused it itself.
                assert!(matches!(answer.status, 400 | 401 | 403), "{path}: {answer:?}");
            }
        }
    }
}

async fn hosts_and_methods_have_one_reading(options: Options) {
    let stack = Stack::start(options).await.unwrap();
    let cases = [
        ("GET", "payments.example.com", "/public", 200),
        ("GET", "PAYMENTS.example.com", "/public", 200),
        ("GET", "payments.example.com:80", "/public", 200),
        ("GET", "payments.example.com.", "/public", 200),
        ("GET", "payments.example.com..", "/public", 400),
        ("GET", "a@payments.example.com", "/public", 400),
        ("GET", "evil.example.org", "/public", 403),
        ("GET", "payments.example.com.evil.example.org", "/public", 403),
        ("GET", "payments.example.com", "/v1/orders", 401),
        // A preflight passes only where a route says so.
        ("OPTIONS", "payments.example.com", "/v1/orders", 401),
        ("OPTIONS", "payments.example.com", "/healthz", 403),
        ("CONNECT", "payments.example.com", "payments.example.com:443", 404),
    ];
    for (method, host, path, status) in cases {
        let answer = stack.ask(method, host, path, &[]).await.unwrap();
        assert_eq!(answer.status, status, "{method} {host}{path}: {answer:?}");
    }
    let tenant = &stack.stagedoor.tenant;
    let robot = tenant.token().audience(AUDIENCE).app_only(&["Payments.Read.All"]).groups(&[]);
    let bearer = format!("Bearer {}", robot.sign());
    for (method, header, status) in [
        ("GET", "x-http-method-override: POST", 200),
        ("POST", "x-http-method-override: GET", 403),
        ("POST", "x-original-method: GET", 403),
        ("POST", "x-forwarded-method: GET", 403),
        // Unknown methods are not for who may only read. Lower case Envoy refuses itself.
        ("PROPFIND", "x-other: 1", 403),
        ("get", "x-other: 1", 400),
        ("OPTIONS", "x-other: 1", 200),
    ] {
        let (name, value) = header.split_once(": ").unwrap();
        let headers = [("authorization", bearer.as_str()), (name, value)];
        let answer =
            stack.ask(method, "payments.example.com", "/v1/orders", &headers).await.unwrap();
        assert_eq!(answer.status, status, "{method} {header}: {answer:?}");
    }
}

async fn a_grpc_client_reads_its_denial(options: Options) {
    let stack = Stack::start(options).await.unwrap();
    let tenant = &stack.stagedoor.tenant;
    let bearer = |groups: &[&str]| {
        format!("Bearer {}", tenant.token().audience(AUDIENCE).groups(groups).sign())
    };
    for (authorization, status, code) in [
        (None, "16", "token_missing"),
        (Some(bearer(&[OTHERS])), "7", "not_permitted"),
        (Some(bearer(&[OWNERS])), "0", ""),
    ] {
        let mut headers = vec![("content-type", "application/grpc"), ("te", "trailers")];
        if let Some(value) = &authorization {
            headers.push(("authorization", value));
        }
        let before = stack.upstream.count();
        let answer = stack
            .ask("POST", "payments.example.com", "/payments.v1.Payments/Refund", &headers)
            .await
            .unwrap();
        // Envoy answers gRPC clients with 200 and the status in a header.
        assert_eq!(answer.status, 200, "{answer:?}");
        if status == "0" {
            assert_eq!(stack.upstream.count(), before + 1);
            continue;
        }
        assert_eq!(stack.upstream.count(), before);
        assert_eq!(answer.header("grpc-status"), Some(status), "{answer:?}");
        let message = answer.header("grpc-message").unwrap();
        assert!(message.starts_with(code), "{message}");
    }
}

/// The map form of the headers and the raw form have the same outcome, also for bytes
/// that are no text.
async fn either_form_of_the_headers(options: Options) {
    let raw = Stack::start(options.clone()).await.unwrap();
    let joined = Stack::start_with(options, |envoy| envoy.joined_headers()).await.unwrap();
    for stack in [&raw, &joined] {
        let token = stack.stagedoor.tenant.token().audience(AUDIENCE).groups(&[OWNERS]).sign();
        let bearer = format!("Bearer {token}").into_bytes();
        let odd = [&bearer, &b"\xff"[..]].concat();
        let shouted = String::from_utf8_lossy(&bearer).replace("Bearer", "bEaReR").into_bytes();
        for (headers, status, code) in [
            (&[("authorization", &bearer)][..], 200, ""),
            (&[("AUTHORIZATION", &shouted)], 200, ""),
            (
                &[("authorization", &bearer), ("authorization", &bearer)],
                401,
                "credentials_repeated",
            ),
            (&[("authorization", &odd)], 401, "credentials_malformed"),
            (&[("authorization", &bearer), ("x-other", &odd)], 200, ""),
            (&[], 401, "token_missing"),
        ] {
            let mut request = b"GET /v1/orders HTTP/1.1\r\nhost: payments.example.com\r\n".to_vec();
            for (name, value) in headers {
                request.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
            }
            request.extend(b"connection: close\r\n\r\n");
            let answer = stack.envoy.raw_http(request).await.unwrap();
            assert_eq!(answer.status, status, "{code}: {answer:?}");
            if status != 200 {
                assert_eq!(reason(&answer).unwrap(), code);
            }
        }
    }
}
