//! Every reply is one of the two legal shapes.

// The tests through the whole service hold their replies against the same rules.
#[path = "../../tests/support/reply.rs"]
mod reply;

use std::sync::Arc;

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use super::proto::envoy::service::auth::v3::check_response::HttpResponse;
use super::*;
use crate::domain::{
    Action, Challenge, Decision, DecisionId, Denial, EntityRef, Gate, Holder, Identity,
    IdentityKind, Notes, Notice, Owner, Owners, Permit, Principal, Reason, Request, Target,
    TokenFacts, Verdict, Versions,
};
use reply::legal;

fn answer(remove_authorization: bool) -> Answer {
    let headers = IdentityHeaders {
        subject: "x-stagedoor-subject".to_owned(),
        tenant: "x-stagedoor-tenant".to_owned(),
        kind: "x-stagedoor-kind".to_owned(),
        entity: "x-stagedoor-entity".to_owned(),
        decision_id: "x-stagedoor-decision-id".to_owned(),
    };
    let uri = "https://login.microsoftonline.com/t/oauth2/v2.0/authorize".parse().unwrap();
    Answer::new(AnswerSettings { remove_authorization, ..AnswerSettings::new(headers) }, Some(&uri))
}

/// Text that would break out of a header, a JSON string or a log line.
const HOSTILE: &[&str] = &[
    "Payments",
    "a\"b",
    "a\r\nset-cookie: x=1",
    "\0",
    "</script><script>",
    "\u{202e}txt",
    "é",
    "{}",
    "\\",
    "",
];

fn decision(rng: &mut SmallRng) -> Decision {
    let hostile = |rng: &mut SmallRng| -> Arc<str> { (*HOSTILE.choose(rng).unwrap()).into() };
    let identity: Arc<Identity> = Holder {
        tenant: "11111111-2222-3333-4444-555555555555".parse().unwrap(),
        object: "bbbbbbbb-0000-0000-0000-000000000001".parse().unwrap(),
        kind: if rng.random() { IdentityKind::User } else { IdentityKind::Workload },
        delegated: true,
        client: None,
        groups: Box::new([]),
        group_names: Box::new([]),
        groups_elsewhere: false,
        roles: Box::new([]),
        scopes: Box::new([]),
        issued_at: 0,
        expires_at: 0,
        facts: TokenFacts::default(),
    }
    .into();
    let target = Target {
        resource: rng
            .random::<bool>()
            .then(|| EntityRef::parse("component:default/payments").unwrap()),
        action: *Action::ALL.choose(rng).unwrap(),
        gate: *Gate::ALL.choose(rng).unwrap(),
        route: hostile(rng),
        demands: None,
    };
    let permit = match rng.random_range(0..3) {
        0 => Permit::by_public_gate(&target),
        1 => Permit::by_authenticated_gate(&target, &identity),
        _ => Permit::by_policies(vec![hostile(rng)]),
    };
    let verdict = match permit {
        Some(permit) if rng.random() => Verdict::Allow(permit),
        _ => Verdict::Deny(Denial {
            reason: *Reason::ALL.choose(rng).unwrap(),
            policies: vec![hostile(rng)],
            advice: vec![hostile(rng)],
            detail: Some(format!("for the operator: {}", hostile(rng))),
            challenge: match rng.random_range(0..3) {
                0 => Some(Box::new(Challenge::AuthContext((&*hostile(rng)).into()))),
                1 => Some(Box::new(Challenge::IssuedSince(1_800_000_000))),
                _ => None,
            },
        }),
    };
    let some = if rng.random_range(0..8) == 0 { rng.random_range(1..8) } else { 0 };
    let warnings = (0..some).map(|_| Notice { policy: hostile(rng), text: hostile(rng) }).collect();
    Decision {
        id: DecisionId::new(),
        verdict,
        principal: if rng.random() { Principal::Verified(identity) } else { Principal::Anonymous },
        target: rng.random::<bool>().then_some(target),
        owners: smallvec::smallvec![Owner {
            entity: EntityRef::parse("group:default/payments-team").unwrap(),
            title: hostile(rng),
            contact: None,
        }],
        versions: Versions { policy: Some("p".into()), snapshot: Some("s".into()), keys: None },
        notes: Notes { warnings, ..Notes::default() },
    }
}

#[test]
fn a_million_decisions_have_legal_replies() {
    let answers = [answer(false), answer(true)];
    let mut rng = SmallRng::seed_from_u64(0x57a9_ed00);
    let mut allowed = 0;
    for round in 0..1_000_000 {
        let decision = decision(&mut rng);
        let grpc: bool = rng.random();
        let content_type = Some(if grpc { "application/grpc" } else { "text/plain" }.into());
        let request = Request { content_type, ..Request::default() };
        let answer = &answers[usize::from(rng.random::<bool>())];
        let reply = Reply::of(&decision, answer, Some(&request));
        let status = reply.status();
        let message = reply.into_message();
        match legal(&message) {
            Ok(is_allow) => {
                assert_eq!(is_allow, decision.is_allow(), "round {round}: {decision:?}");
                assert_eq!(is_allow, status == 200);
                allowed += i32::from(is_allow);
            }
            Err(why) => panic!("round {round}: {why}: {decision:?}"),
        }
        let Some(HttpResponse::DeniedResponse(denied)) = message.http_response else { continue };
        if grpc {
            assert!(denied.body.len() < 256 && denied.body.is_ascii(), "{}", denied.body);
            assert!(!denied.body.contains(['\r', '\n']));
        } else if round % 16 == 0 {
            let body: serde_json::Value = serde_json::from_str(&denied.body).unwrap();
            assert_eq!(body["reason"], decision.code());
            assert_eq!(body["decision_id"], decision.id.to_string());
            let known = decision.principal.identity().is_some();
            assert_eq!(body.get("owners").is_some(), known, "{body}");
            assert!(!denied.body.contains("for the operator"));
        }
    }
    // Both shapes were seen, often.
    assert!((100_000..900_000).contains(&allowed), "{allowed}");
}

#[test]
fn a_reply_is_a_denial_until_there_is_a_permit() {
    let reply = Reply::default();
    assert_eq!(reply.status(), 503);
    assert_eq!(legal(&reply.into_message()), Ok(false));
    for reason in Reason::ALL {
        let message = Reply::denied(*reason).into_message();
        assert_eq!(legal(&message), Ok(false), "{reason}");
        let Some(HttpResponse::DeniedResponse(denied)) = message.http_response else {
            panic!("a denial")
        };
        let body: serde_json::Value = serde_json::from_str(&denied.body).unwrap();
        assert_eq!(body["reason"], reason.code());
        assert_eq!(body["detail"], reason.sentence());
        assert_eq!(body["status"], reason.status());
    }
}

#[test]
fn challenges_say_what_to_do() {
    let challenge = |reason: Reason| {
        let decision = Decision {
            id: DecisionId::new(),
            verdict: Verdict::Deny(reason.into()),
            principal: Principal::Anonymous,
            target: None,
            owners: Owners::new(),
            versions: Versions::default(),
            notes: Notes::default(),
        };
        let message = Reply::of(&decision, &answer(false), None).into_message();
        let Some(HttpResponse::DeniedResponse(denied)) = message.http_response else {
            panic!("a denial")
        };
        denied
            .headers
            .iter()
            .filter_map(|option| option.header.as_ref())
            .find(|header| header.key == "www-authenticate")
            .map(|header| header.value.clone())
    };
    let start = "Bearer realm=\"\", authorization_uri=\"https://login.microsoftonline.com/t/oauth2/v2.0/authorize\"";
    assert_eq!(challenge(Reason::TokenMissing).unwrap(), start);
    assert_eq!(
        challenge(Reason::TokenExpired).unwrap(),
        format!("{start}, error=\"invalid_token\", error_description=\"The token has expired.\"")
    );
    assert!(challenge(Reason::CredentialsRepeated).unwrap().contains("error=\"invalid_request\""));
    for reason in Reason::ALL {
        let asked = reason.status() == 401 || *reason == Reason::TokenScopeMissing;
        assert_eq!(challenge(*reason).is_some(), asked, "{reason}");
    }
}

/// Envoy refuses headers that are too large: none of an explanation is better than half.
#[test]
fn an_explanation_is_told_whole_or_not_at_all() {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    let decision = Decision {
        id: DecisionId::new(),
        verdict: Verdict::Deny(Reason::NotPermitted.into()),
        principal: Principal::Anonymous,
        target: None,
        owners: Owners::new(),
        versions: Versions::default(),
        notes: Notes::default(),
    };
    let explained = |text: &str| {
        let message = Reply::explained(&decision, &answer(false), None, text).into_message();
        let Some(HttpResponse::DeniedResponse(denied)) = message.http_response else {
            panic!("a denial")
        };
        let mut headers = denied.headers.into_iter().filter_map(|option| option.header);
        let header = headers.find(|header| header.key == "x-stagedoor-explanation");
        header.unwrap().value
    };
    for length in [100, 18 * 1024] {
        let text = "x".repeat(length);
        assert_eq!(explained(&text), STANDARD.encode(&text), "{length}");
    }
    assert_eq!(explained(&"x".repeat(18 * 1024 + 1)), "too-long");
}

/// Names that an operator chose, and a credential that the upstream doesn't get.
#[test]
fn an_allow_follows_its_settings() {
    let headers = IdentityHeaders {
        subject: "x-user".to_owned(),
        tenant: "tenant".to_owned(),
        kind: "x-user-kind".to_owned(),
        entity: "x-for".to_owned(),
        decision_id: "x-decision".to_owned(),
    };
    let target = Target {
        resource: None,
        action: Action::Read,
        gate: Gate::Public,
        route: "health".into(),
        demands: None,
    };
    let decision = Decision {
        id: DecisionId::new(),
        verdict: Verdict::Allow(Permit::by_public_gate(&target).unwrap()),
        principal: Principal::Anonymous,
        target: Some(target),
        owners: Owners::new(),
        versions: Versions::default(),
        notes: Notes::default(),
    };
    for remove_authorization in [false, true] {
        let settings =
            AnswerSettings { remove_authorization, ..AnswerSettings::new(headers.clone()) };
        let message = Reply::of(&decision, &Answer::new(settings, None), None).into_message();
        let Some(HttpResponse::OkResponse(ok)) = message.http_response else { panic!("an allow") };
        let set: Vec<_> =
            ok.headers.iter().map(|option| option.header.as_ref().unwrap().key.as_str()).collect();
        assert_eq!(set, ["x-user-kind", "x-decision"]);
        let mut removed = ok.headers_to_remove;
        removed.sort_unstable();
        let mut want = vec![
            "tenant",
            "x-for",
            "x-user",
            "x-user_kind",
            "x_decision",
            "x_for",
            "x_user",
            "x_user-kind",
            "x_user_kind",
        ];
        if remove_authorization {
            want.insert(0, "authorization");
        }
        assert_eq!(removed, want);
    }
}

/// The fields that an answer with these settings has, sorted, and the headers that it takes away.
fn told(settings: AnswerSettings, decision: &Decision) -> (Vec<String>, Vec<String>) {
    let by_us = settings.remove_look_alikes;
    let message = Reply::of(decision, &Answer::new(settings, None), None).into_message();
    if by_us || !decision.is_allow() {
        assert_eq!(legal(&message), Ok(decision.is_allow()));
    } else {
        assert!(
            legal(&message).is_err_and(|what| what.contains("look-alike")),
            "only by look-alikes"
        );
    }
    let fields = message.dynamic_metadata.map(|data| data.fields).unwrap_or_default();
    let mut fields: Vec<String> = fields.into_keys().collect();
    fields.sort_unstable();
    let removed = match message.http_response {
        Some(HttpResponse::OkResponse(ok)) => ok.headers_to_remove,
        _ => Vec::new(),
    };
    (fields, removed)
}

#[test]
fn envoy_is_told_what_it_is_to_be_told() {
    let headers = || IdentityHeaders {
        subject: "x-stagedoor-subject".to_owned(),
        tenant: "x-stagedoor-tenant".to_owned(),
        kind: "x-stagedoor-kind".to_owned(),
        entity: "x-stagedoor-entity".to_owned(),
        decision_id: "x-stagedoor-decision-id".to_owned(),
    };
    let mut rng = SmallRng::seed_from_u64(11);
    let mut allows = 0;
    for _ in 0..100 {
        let decision = decision(&mut rng);
        let (all, removed) = told(AnswerSettings::new(headers()), &decision);
        for name in ["decision", "decision_id", "kind", "reason"] {
            assert!(all.iter().any(|field| field == name), "{name}: {all:?}");
        }
        let few = AnswerSettings {
            metadata: [MetadataField::Reason, MetadataField::DecisionId].into_iter().collect(),
            remove_look_alikes: false,
            ..AnswerSettings::new(headers())
        };
        let (fields, kept) = told(few, &decision);
        assert_eq!(fields, ["decision_id", "reason"]);
        // A header that isn't set is still taken away: a client brings none of its own.
        let unset: Vec<_> = removed.iter().filter(|name| !name.contains('_')).cloned().collect();
        assert_eq!(kept, unset);
        allows += usize::from(removed.len() > kept.len());
        let none = AnswerSettings {
            metadata: std::iter::empty().collect(),
            ..AnswerSettings::new(headers())
        };
        assert!(told(none, &decision).0.is_empty());
        let one = AnswerSettings {
            metadata: [MetadataField::Decision].into_iter().collect(),
            ..AnswerSettings::new(headers())
        };
        assert_eq!(told(one, &decision).0, ["decision"]);
    }
    assert!(allows > 0, "some of them were allows");
}

/// Whatever was decided, a proxy that asks over HTTP lets in on an allow and on nothing else,
/// and nginx's client is told what Traefik's is.
#[test]
fn over_http_only_an_allow_lets_in() {
    let answer = answer(false);
    let envoy = Dialect::Envoy { path_prefix: String::new() };
    let mut rng = SmallRng::seed_from_u64(0x57a9_ed01);
    for round in 0..8_000 {
        let decision = decision(&mut rng);
        let grpc: bool = rng.random();
        let content_type = Some(if grpc { "application/grpc" } else { "text/plain" }.into());
        let request = Request { content_type, ..Request::default() };
        let told = |dialect: &Dialect| {
            let reply = Reply::of(&decision, &answer, Some(&request));
            over_http::respond(reply, answer.names(), dialect)
        };
        let [nginx, traefik, envoy] = [&Dialect::Nginx, &Dialect::Traefik, &envoy].map(told);
        let statuses = [&nginx, &traefik, &envoy].map(|answer| answer.status().as_u16());
        if let Verdict::Deny(denial) = &decision.verdict {
            let status = denial.reason.status();
            let by_nginx = if status == 401 { 401 } else { 403 };
            let by_envoy = if status == 503 { 429 } else { status };
            assert_eq!(statuses, [by_nginx, status, by_envoy], "round {round}: {decision:?}");
            let carried = over_http::carried(nginx.headers()).expect("a denial");
            assert_eq!(carried.status(), traefik.status());
            // The challenge of a 401 is taken over by nginx itself.
            let mut both = carried.headers().clone();
            if let Some(challenge) = nginx.headers().get("www-authenticate") {
                assert!(both.insert("www-authenticate", challenge.clone()).is_none());
            }
            assert_eq!(&both, traefik.headers(), "round {round}");
            assert_eq!(format!("{:?}", carried.body()), format!("{:?}", traefik.body()));
        } else {
            assert_eq!(statuses, [200; 3], "round {round}: {decision:?}");
            for name in ["subject", "tenant", "kind", "entity", "decision-id"] {
                let name = format!("x-stagedoor-{name}");
                // Each has a value or an empty one; for Envoy a value, or it is taken away.
                let values = [&nginx, &traefik].map(|answer| answer.headers().get_all(&name));
                assert_eq!(values.map(|values| values.iter().count()), [1; 2], "{name}");
                let removed = envoy.headers()["x-envoy-auth-headers-to-remove"].to_str();
                let is_removed = removed.expect("text").split(',').any(|it| it == name);
                assert!(envoy.headers().contains_key(&name) != is_removed, "{name}");
            }
        }
    }
}

/// Whatever nginx is made to carry, it is told as a denial.
#[test]
fn what_is_carried_is_never_an_allow() {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use prost::Message as _;
    use proto::envoy::service::auth::v3::DeniedHttpResponse;
    use proto::envoy::r#type::v3::HttpStatus;
    let carried = |value: &str| {
        let headers = [("x-stagedoor-denial", value)].map(|(name, value)| {
            (http::HeaderName::from_static(name), http::HeaderValue::from_str(value).unwrap())
        });
        over_http::carried(&http::HeaderMap::from_iter(headers))
    };
    for code in (-1..700).chain([i32::MIN, i32::MAX, 65_736]) {
        let denied = DeniedHttpResponse { status: Some(HttpStatus { code }), ..Default::default() };
        let told = carried(&STANDARD.encode(denied.encode_to_vec())).unwrap().status().as_u16();
        assert_eq!(
            told,
            u16::try_from(code).ok().filter(|c| (400..600).contains(c)).unwrap_or(503)
        );
    }
    let none = STANDARD.encode(DeniedHttpResponse::default().encode_to_vec());
    assert!(carried(&none).is_err(), "an empty header says nothing");
    for wrong in ["%", "AAA", "/////w==", "Zm9v"] {
        assert!(carried(wrong).is_err(), "{wrong}");
    }
    let twice = http::HeaderMap::from_iter(
        ["CAE=", "CAE="]
            .map(|v| (http::HeaderName::from_static("x-stagedoor-denial"), v.parse().unwrap())),
    );
    assert!(over_http::carried(&twice).is_err());
}
