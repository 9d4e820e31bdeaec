use serde_json::{Value, json};

use super::*;
use crate::domain::{
    Action, Denial, Gate, Identity, IdentityKind, Notes, Owner, Permit, Reason, Target, TokenFacts,
    Versions,
};

fn entity(text: &str) -> EntityRef {
    EntityRef::parse(text).expect("a ref")
}

fn person() -> Principal {
    Principal::Verified(Arc::new(Identity {
        tenant: "11111111-2222-3333-4444-555555555555".parse().expect("guid"),
        object: "AAAAAAAA-2222-3333-4444-555555555555".parse().expect("guid"),
        kind: IdentityKind::User,
        delegated: true,
        client: Some("99999999-2222-3333-4444-555555555555".parse().expect("guid")),
        groups: Box::default(),
        group_names: Box::default(),
        groups_elsewhere: false,
        roles: Box::default(),
        scopes: Box::default(),
        issued_at: 0,
        expires_at: 0,
        facts: TokenFacts::default(),
    }))
}

fn line(decision: &Decision, request: &Request<'_>) -> Value {
    let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
    let latency = Duration::from_nanos(41_999);
    let mut out = Vec::new();
    crate::audit::line::append(&mut out, &AuditRecord::of(decision, request, time, latency))
        .expect("a record");
    serde_json::from_slice(&out).expect("JSON")
}

fn denied(denial: Denial) -> Decision {
    Decision {
        id: DecisionId::new(),
        verdict: Verdict::Deny(denial),
        principal: Principal::Anonymous,
        target: None,
        owners: Vec::new(),
        versions: Versions::default(),
        notes: Notes::default(),
    }
}

#[test]
fn an_allow_with_everything() {
    let target = Target {
        resource: Some(entity("component:default/payments")),
        action: Action::Write,
        gate: Gate::Policy,
        route: "payments".into(),
        demands: None,
    };
    let decision = Decision {
        id: DecisionId::new(),
        verdict: Verdict::Allow(
            Permit::by_policies(vec!["owners".into(), "more".into()]).expect("policies"),
        ),
        principal: person(),
        target: Some(target),
        owners: vec![Owner {
            entity: entity("group:default/team-a"),
            title: "Team A".into(),
            contact: None,
        }],
        versions: Versions { policy: Some("p1".into()), snapshot: Some("s1".into()) },
        notes: Notes::default(),
    };
    let request = Request {
        method: "POST",
        host: "payments.example.com",
        path: "/v1/orders?code=secret",
        credentials: crate::domain::Credentials::One("Bearer secret".into()),
        traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into()),
        request_id: Some("r-1".into()),
        source_principal: Some("spiffe://cluster.local/ns/web/sa/front"),
        ..Request::default()
    };
    assert_eq!(
        line(&decision, &request),
        json!({
            "version": 1,
            "time": "2023-11-14T22:13:20.123Z",
            "decision_id": decision.id.to_string(),
            "request_id": "r-1",
            "trace_id": "0af7651916cd43dd8448eb211c80319c",
            "source": "spiffe://cluster.local/ns/web/sa/front",
            "method": "POST",
            "host": "payments.example.com",
            "path": "/v1/orders",
            "route": "payments",
            "gate": "policy",
            "entity": "component:default/payments",
            "action": "write",
            "decision": "allow",
            "reason": "permitted",
            "policies": ["owners", "more"],
            "principal": {
                "kind": "user",
                "tenant": "11111111-2222-3333-4444-555555555555",
                "object": "aaaaaaaa-2222-3333-4444-555555555555",
                "client": "99999999-2222-3333-4444-555555555555",
            },
            "owners": ["group:default/team-a"],
            "policy_version": "p1",
            "snapshot_version": "s1",
            "latency_us": 41,
        })
    );
}

#[test]
fn a_denial_with_nothing_known() {
    let decision = denied(Denial::with_detail(Reason::NoRoute, "no such host"));
    assert_eq!(
        line(&decision, &Request::default()),
        json!({
            "version": 1,
            "time": "2023-11-14T22:13:20.123Z",
            "decision_id": decision.id.to_string(),
            "method": "",
            "host": "",
            "path": "",
            "decision": "deny",
            "reason": "no_route",
            "status": 403,
            "detail": "no such host",
            "latency_us": 41,
        })
    );
}

#[test]
fn every_reason_is_recorded_with_its_status() {
    for reason in Reason::ALL {
        let line = line(&denied((*reason).into()), &Request::default());
        assert_eq!(line["decision"], "deny");
        assert_eq!(line["reason"], reason.code());
        assert_eq!(line["status"], reason.status());
    }
}

#[test]
fn what_the_client_sent_is_bounded_and_without_secrets() {
    let long = "ä".repeat(5000);
    let cut = |bytes: usize| format!("{}…", "ä".repeat((bytes - 3) / 2));
    let decision = denied(Denial::with_detail(Reason::PathNotCanonical, &long));
    let got = line(
        &decision,
        &Request {
            method: &long,
            host: &long,
            path: &long,
            request_id: Some(long.as_str().into()),
            source_principal: Some(&long),
            ..Request::default()
        },
    );
    for (member, bytes) in [
        ("method", 64),
        ("host", 512),
        ("path", 1024),
        ("request_id", 256),
        ("source", 512),
        ("detail", 1024),
    ] {
        assert_eq!(got[member], cut(bytes), "{member}");
    }

    for (path, want) in [
        ("/a?b=secret?c", "/a"),
        ("/a#access_token=secret", "/a"),
        ("?secret", ""),
        ("/a\n\"\u{202e}", "/a\n\"\u{202e}"),
        ("", ""),
    ] {
        let got = line(&decision, &Request { path, ..Request::default() });
        assert_eq!(got["path"], want, "{path}");
    }
    for (host, want) in [
        ("user:secret@h", "*@h"),
        ("user:a@secret@h:80", "*@h:80"),
        ("@h", "*@h"),
        ("H.example.COM:443", "H.example.COM:443"),
    ] {
        let got = line(&decision, &Request { host, ..Request::default() });
        assert_eq!(got["host"], want, "{host}");
    }
}

#[test]
fn bounds_are_exact_on_every_character_width() {
    for char in ["a", "ä", "€", "😀"] {
        for count in 0..30 {
            let text = char.repeat(count);
            let got = bounded(&text, 20);
            if text.len() <= 20 {
                assert_eq!(&*got, text);
            } else {
                let kept = got.strip_suffix('…').expect("a mark");
                assert!(got.len() <= 20 && got.len() > 20 - char.len(), "{got}");
                assert!(text.starts_with(kept));
            }
        }
    }
}

#[test]
fn a_trace_id_is_one_or_none() {
    let id = "0af7651916cd43dd8448eb211c80319c";
    for (traceparent, want) in [
        (format!("00-{id}-b7ad6b7169203331-01"), Some(id)),
        (format!("01-{id}-b7ad6b7169203331-01-more"), Some(id)),
        (format!("ff-{id}-b7ad6b7169203331-01"), None),
        (format!("00-{}-b7ad6b7169203331-01", id.to_uppercase()), None),
        (format!("00-{}-b7ad6b7169203331-01", "0".repeat(32)), None),
        (format!("00-{}-b7ad6b7169203331-01", "ä".repeat(16)), None),
        (format!("00-{id}"), None),
        (id.to_owned(), None),
        (String::new(), None),
    ] {
        assert_eq!(trace_id(&traceparent), want, "{traceparent}");
    }
}
