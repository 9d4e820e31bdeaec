use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::*;
use crate::audit::form::CatalogWhat;
use crate::audit::{PseudonymKey, PseudonymSettings};
use crate::domain::{
    Action, ClientAuth, Decision, DecisionId, Denial, EntityRef, Gate, Holder, IdentityKind, Notes,
    Owner, Owners, Permit, Principal, Reason, Remembered, Request, ShadowSet, Target, TokenFacts,
    Versions,
};

const PLAIN: ContentSettings = ContentSettings { facts: true, mask: Vec::new(), pseudonyms: None };

fn entity(text: &str) -> EntityRef {
    EntityRef::parse(text).expect("a ref")
}

fn person() -> Principal {
    Principal::Verified(
        Holder {
            tenant: "11111111-2222-3333-4444-555555555555".parse().expect("guid"),
            object: "AAAAAAAA-2222-3333-4444-555555555555".parse().expect("guid"),
            kind: IdentityKind::User,
            delegated: true,
            client: Some("99999999-2222-3333-4444-555555555555".parse().expect("guid")),
            groups: ["bbbbbbbb-2222-3333-4444-555555555555".parse().expect("guid")].into(),
            group_names: Box::default(),
            groups_elsewhere: false,
            roles: ["Role".into()].into(),
            scopes: ["read".into(), "write".into()].into(),
            issued_at: 1_700_000_000,
            expires_at: 1_700_003_600,
            facts: TokenFacts {
                guest: true,
                home_tenant: Some("22222222-2222-3333-4444-555555555555".parse().expect("guid")),
                directory_roles: ["role".into()].into(),
                auth_contexts: ["c1".into()].into(),
                client_auth: Some(ClientAuth::Certificate),
                agent_parent: Some("77777777-2222-3333-4444-555555555555".parse().expect("guid")),
                session: Some("secret-session".into()),
                token_id: Some("secret-token".into()),
                issuer: Some(0),
            },
        }
        .into(),
    )
}

/// A decision that has something of everything.
fn everything() -> Decision {
    let target = Target {
        resource: Some(entity("component:default/payments")),
        action: Action::Write,
        gate: Gate::Policy,
        route: "payments".into(),
        demands: None,
    };
    let notice = |policy: &str, text: &str| Notice { policy: policy.into(), text: text.into() };
    Decision {
        id: DecisionId::new(),
        verdict: Verdict::Allow(
            Permit::by_policies(vec!["owners".into(), "more".into()]).expect("policies"),
        ),
        principal: person(),
        target: Some(target),
        owners: smallvec::smallvec![Owner {
            entity: entity("group:default/team-a"),
            title: "Team A".into(),
            contact: None,
        }],
        versions: Versions {
            policy: Some("p1".into()),
            snapshot: Some("s1".into()),
            keys: Some("k1".into()),
        },
        notes: Notes {
            remembered: Remembered { token: true, decision: false },
            shadow: vec![Shadow {
                set: ShadowSet::Files,
                allow: false,
                reason: "forbidden",
                policies: vec!["strict".into()],
            }],
            warnings: vec![notice("old", "ends soon")],
            alerts: vec![notice("break-glass", "the glass is broken")],
            justification: Some("incident 7".into()),
            waits: Vec::new(),
        },
    }
}

const ASKED: Request<'static> = Request {
    method: "POST",
    host: "payments.example.com",
    path: "/v1/orders?code=secret",
    credentials: crate::domain::Credentials::One(Cow::Borrowed("Bearer secret")),
    content_type: None,
    accept: None,
    accept_language: None,
    traceparent: Some(Cow::Borrowed("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")),
    tracestate: None,
    b3: None,
    request_id: Some(Cow::Borrowed("r-1")),
    source_principal: Some("spiffe://cluster.local/ns/web/sa/front"),
    destination_principal: Some("spiffe://cluster.local/ns/pay/sa/api"),
    context_extensions: Vec::new(),
    justification: None,
    debug: false,
};

fn line(decision: &Decision, request: &Request<'_>) -> Value {
    line_with(&PLAIN, decision, request)
}

fn line_with(settings: &ContentSettings, decision: &Decision, request: &Request<'_>) -> Value {
    let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
    let latency = Duration::from_nanos(41_999);
    written(
        settings,
        &Entry::Decision(Box::new(AuditRecord::of(decision.clone(), request, time, latency))),
    )
}

/// What is written of it. Whatever that is, it follows the schema, and is read as it was.
fn written(settings: &ContentSettings, entry: &Entry) -> Value {
    let presenter = Presenter::new(settings).expect("a key");
    let form = presenter.form(entry);
    let mut out = Vec::new();
    crate::audit::line::append(&mut out, &form).expect("a record");
    let read: RecordForm<'_> = serde_json::from_slice(&out).expect("a record");
    assert_eq!(read, form);
    let value = serde_json::from_slice(&out).expect("JSON");
    crate::audit::form::follows_schema(&value);
    value
}

fn denied(denial: Denial) -> Decision {
    Decision {
        id: DecisionId::new(),
        verdict: Verdict::Deny(denial),
        principal: Principal::Anonymous,
        target: None,
        owners: Owners::new(),
        versions: Versions::default(),
        notes: Notes::default(),
    }
}

#[test]
fn an_allow_with_everything() {
    let decision = everything();
    assert_eq!(
        line(&decision, &ASKED),
        json!({
            "version": 1,
            "time": "2023-11-14T22:13:20.123Z",
            "decision_id": decision.id.to_string(),
            "request_id": "r-1",
            "trace_id": "0af7651916cd43dd8448eb211c80319c",
            "source": "spiffe://cluster.local/ns/web/sa/front",
            "destination": "spiffe://cluster.local/ns/pay/sa/api",
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
            "facts": {
                "token_issued_at": 1_700_000_000,
                "delegated": true,
                "guest": true,
                "home_tenant": "22222222-2222-3333-4444-555555555555",
                "client_auth": "certificate",
                "agent_parent": "77777777-2222-3333-4444-555555555555",
                "roles": ["Role"],
                "scopes": ["read", "write"],
                "groups": ["bbbbbbbb-2222-3333-4444-555555555555"],
                "directory_roles": ["role"],
                "auth_contexts": ["c1"],
            },
            "owners": ["group:default/team-a"],
            "justification": "incident 7",
            "warnings": [{ "policy": "old", "text": "ends soon" }],
            "alerts": [{ "policy": "break-glass", "text": "the glass is broken" }],
            "shadow": [{
                "set": "files", "allow": false, "reason": "forbidden", "policies": ["strict"],
            }],
            "cache": { "token": true, "decision": false },
            "policy_version": "p1",
            "snapshot_version": "s1",
            "keys_version": "k1",
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
            destination_principal: Some(&long),
            ..Request::default()
        },
    );
    for (member, bytes) in [
        ("method", 64),
        ("host", 512),
        ("path", 1024),
        ("request_id", 256),
        ("source", 512),
        ("destination", 512),
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
fn groups_that_are_not_in_the_token_are_marked() {
    let Principal::Verified(identity) = person() else { panic!("a person") };
    let holder = Holder { groups: Box::default(), groups_elsewhere: true, ..identity.holder() };
    let decision = Decision { principal: Principal::Verified(holder.into()), ..everything() };
    let facts = line(&decision, &ASKED)["facts"].clone();
    assert_eq!(facts["groups_elsewhere"], true);
    assert_eq!(facts.get("groups"), None);
    let settings = ContentSettings { facts: false, ..PLAIN };
    let line = line_with(&settings, &decision, &ASKED);
    assert_eq!((line.get("facts"), line.get("masked")), (None, None));
}

/// A masked member is gone and named, where it had something to say; all others are as
/// they were.
#[test]
fn each_member_can_be_masked() {
    let verdict =
        Verdict::Deny(Denial::with_detail(Reason::NotPermitted, "something for an operator"));
    let decision = Decision { verdict, ..everything() };
    let open = line(&decision, &ASKED);
    for member in Member::ALL {
        let settings = ContentSettings { mask: vec![member], ..PLAIN };
        let mut want = open.clone();
        let place = match member {
            Member::Client => want["principal"].as_object_mut(),
            _ => want.as_object_mut(),
        };
        place.and_then(|place| place.remove(member.as_str())).expect("a member");
        want["masked"] = json!([member.as_str()]);
        assert_eq!(line_with(&settings, &decision, &ASKED), want);
    }
    let all = ContentSettings { mask: Member::ALL.to_vec(), ..PLAIN };
    let names: Vec<_> = Member::ALL.iter().map(|member| member.as_str()).collect();
    let got = line_with(&all, &decision, &ASKED);
    let masked = got["masked"].as_array().expect("a list");
    assert!(masked.len() == names.len() && names.iter().all(|name| masked.contains(&json!(name))));
    // Where there is nothing, nothing is masked, but for what is always there.
    let nothing = line_with(&all, &denied(Reason::NoRoute.into()), &Request::default());
    assert_eq!(nothing["masked"], json!(["method", "host", "path"]));
}

fn pseudonymous(folder: &Path, client: bool) -> ContentSettings {
    let key_file = folder.join("key");
    std::fs::write(&key_file, "0123456789abcdef0123456789abcdef").expect("written");
    let pseudonyms = Some(PseudonymSettings { key_file, object: true, client });
    ContentSettings { pseudonyms, ..PLAIN }
}

#[test]
fn an_id_with_a_pseudonym_is_nowhere_in_the_record() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = pseudonymous(folder.path(), true);
    let key = PseudonymKey::read(&folder.path().join("key")).expect("a key");
    let Principal::Verified(identity) = person() else { panic!("a person") };
    let (object, client) = (identity.object.to_string(), identity.client.expect("one").to_string());
    let names = [
        key.object(identity.tenant, identity.object),
        key.client(identity.tenant, identity.client.expect("one")),
    ];
    let text = format!("/users/{}/by/{client}/{object}{object}", object.to_uppercase());
    let detail = Denial::with_detail(Reason::NotPermitted, &text);
    let mut decision = Decision { verdict: Verdict::Deny(detail), ..everything() };
    decision.notes.justification = Some(text.as_str().into());
    let request = Request {
        path: &text,
        host: &text,
        method: &text,
        request_id: Some(text.as_str().into()),
        source_principal: Some(&text),
        destination_principal: Some(&text),
        ..ASKED
    };
    let line = line_with(&settings, &decision, &request);
    assert_eq!(line["principal"]["object"], *names[0]);
    assert_eq!(line["principal"]["client"], *names[1]);
    assert_eq!(line["path"], format!("/users/{0}/by/{1}/{0}{0}", names[0], names[1]));
    let shown = line.to_string().to_lowercase();
    assert!(!shown.contains(&object) && !shown.contains(&client), "{shown}");
    assert!(!shown.contains("77777777-2222"), "an agent's parent is a client too: {shown}");

    // Only what was asked for.
    let line = line_with(&pseudonymous(folder.path(), false), &decision, &request);
    assert_eq!(line["principal"]["object"], *names[0]);
    assert_eq!(line["principal"]["client"], *client);
    assert!(!line.to_string().to_lowercase().contains(&object));

    // Of who was not accepted there is no pseudonym.
    let refused =
        denied(Denial::with_detail(Reason::TokenClient, format_args!("the client is {client}")));
    assert!(!line_with(&settings, &refused, &ASKED).to_string().contains(&client));
    assert!(line_with(&PLAIN, &refused, &ASKED).to_string().contains(&client));
}

#[test]
fn what_a_user_is_bound_to_is_their_object_id() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = pseudonymous(folder.path(), false);
    let id = "aaaaaaaa-2222-3333-4444-555555555555";
    let record = CatalogRecord {
        change: Some("binding_added"),
        entity: Some(entity("user:default/jane")),
        other: Some(id.into()),
        ..CatalogRecord::of(CatalogWhat::CatalogChange, SystemTime::now())
    };
    let held = CatalogRecord {
        detail: Some(format!("h1: too much: user:default/jané {id}; {id}é").into()),
        ..CatalogRecord::of(CatalogWhat::CatalogHeld, SystemTime::now())
    };
    let group = CatalogRecord { entity: Some(entity("group:default/team")), ..record.clone() };
    let line = |settings: &ContentSettings, record: &CatalogRecord| {
        written(settings, &Entry::Catalog(Box::new(record.clone())))
    };
    assert_eq!(line(&PLAIN, &record)["other"], id);
    let hidden = line(&settings, &record);
    assert_eq!((hidden.get("other"), &hidden["masked"]), (None, &json!(["other"])));
    assert_eq!(line(&settings, &group)["other"], id, "a group is nobody");
    assert_eq!(line(&settings, &held)["detail"], "h1: too much: user:default/jané [id]; [id]é");
}
