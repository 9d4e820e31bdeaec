//! The policies to start from, decided through a real Envoy: what each lets in and what each
//! keeps out, by tokens as the tenant signs them.

use std::collections::BTreeSet;
use std::path::Path;

use crate::support::stack::{AUDIENCE, Options, Stack, Stagedoor, reason};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use devtenant::tenant::{Tenant, TenantOptions};
use devtenant::token::TokenBuilder;
use serde_json::{Value, json};

/// As the policies have them before somebody puts in their own.
const PLACEHOLDER: &str = "11111111-1111-1111-1111-111111111111";
const PARTNER: &str = "22222222-2222-2222-2222-222222222222";

/// Groups of the catalog beside the policies' own tests.
const PAYMENTS: &str = "aaaaaaaa-0000-0000-0000-000000000001";
const PLATFORM: &str = "aaaaaaaa-0000-0000-0000-000000000003";
const BREAK_GLASS: &str = "aaaaaaaa-0000-0000-0000-000000000009";

const SOMEBODY: &str = "bbbbbbbb-0000-0000-0000-0000000000ff";

/// The shipped files as one, with the tenant put in, and the weekend from Monday to Sunday:
/// a test can't wait for one.
fn policies(tenant: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let mut text = String::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "cedar") {
            text.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
    assert!(text.contains(PLACEHOLDER) && text.contains("context.weekday >= 6"));
    text.replace(PLACEHOLDER, tenant).replace("context.weekday >= 6", "context.weekday >= 1")
}

async fn stack(partner: &Tenant) -> Stack {
    let tenant = Tenant::start(TenantOptions::default()).await.unwrap();
    let catalog = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/tests/catalog");
    let options = Options {
        policies: Some(policies(&tenant.id().to_string())),
        catalog: Some(format!("catalog: {{ folder: {} }}\n", catalog.display())),
        tenant: format!(
            "    - id: {PARTNER}\n      authority: {}\n      issuer_v1: {}\n      issuer_v2: {}\n      \
             versions: [v1, v2]\n      audiences: [{AUDIENCE}]\n",
            partner.authority(),
            partner.issuer_v1(),
            partner.issuer_v2(),
        ),
        routes: "  - { name: apis, hosts: [\"{api}.apis.example.com\"], gate: policy, entity: \"api:default/{api}\" }\n  \
                 - { name: administration, hosts: [\"{component}.admin.example.com\"], gate: policy, \
                 entity: \"component:default/{component}\", action: admin }\n"
            .to_owned(),
        ..Options::default()
    };
    let stagedoor = Stagedoor::start_with(tenant, options).await.unwrap();
    Stack::of(stagedoor, |envoy| envoy).await.unwrap()
}

/// One request, and what is to come of it.
struct Row {
    what: &'static str,
    token: String,
    method: &'static str,
    host: &'static str,
    justification: Option<&'static str>,
    reason: &'static str,
    policies: &'static [&'static str],
}

#[tokio::test]
async fn each_policy_lets_in_and_keeps_out() {
    let partner =
        Tenant::start(TenantOptions { id: PARTNER.parse().unwrap(), ..TenantOptions::default() })
            .await
            .unwrap();
    let stack = stack(&partner).await;
    let tenant = &stack.stagedoor.tenant;
    let fresh = || tenant.token().audience(AUDIENCE).oid(SOMEBODY);
    let user = |groups: &[&str]| fresh().groups(groups).sign();
    let strong = |groups: &[&str]| fresh().groups(groups).claim("acrs", json!(["c1"])).sign();
    let agent = |token: TokenBuilder| token.claim("xms_act_fct", "11".into()).sign();
    let robot = |roles: &[&str]| fresh().app_only(roles).sign();
    let of_partner = || partner.token().audience(AUDIENCE).oid(SOMEBODY);
    let guest = |groups: &[&str]| fresh().guest(PARTNER.parse().unwrap()).groups(groups).sign();
    let row = |what, token, method, host, reason, policies| Row {
        what,
        token,
        method,
        host,
        justification: None,
        reason,
        policies,
    };
    let why = |row| Row { justification: Some("INC-1742"), ..row };
    let (ledger, administration) = ("ledger.apps.example.com", "ledger.admin.example.com");
    let (reports, notes) = ("reports.apps.example.com", "notes.apps.example.com");
    let (till, api) = ("till.apps.example.com", "partner-orders.apis.example.com");
    let payments = "payments.example.com";
    let rows = [
        row("an owner writes", user(&[PAYMENTS]), "POST", ledger, "permitted", &["owners-write"]),
        row("a stranger does not", user(&[]), "POST", ledger, "not_permitted", &[]),
        row(
            "an owner administers",
            user(&[PAYMENTS]),
            "POST",
            administration,
            "permitted",
            &["owners-administer"],
        ),
        row("a guest does not", guest(&[PAYMENTS]), "POST", administration, "not_permitted", &[]),
        row("anybody at home reads", user(&[]), "GET", ledger, "permitted", &["tenant-users-read"]),
        row("a guest does not read", guest(&[]), "GET", ledger, "not_permitted", &[]),
        row(
            "the system's owner writes",
            user(&[PLATFORM]),
            "POST",
            ledger,
            "permitted",
            &["system-owners-write"],
        ),
        row("not beside the system", user(&[PLATFORM]), "POST", reports, "not_permitted", &[]),
        why(row(
            "the glass breaks",
            user(&[BREAK_GLASS]),
            "POST",
            administration,
            "permitted",
            &["break-glass"],
        )),
        row(
            "not without a word",
            user(&[BREAK_GLASS]),
            "POST",
            administration,
            "not_permitted",
            &[],
        ),
        row("a robot reads", robot(&["Any"]), "GET", ledger, "permitted", &["automation-reads"]),
        row(
            "a robot writes where it may",
            robot(&["Automation.Write"]),
            "POST",
            reports,
            "permitted",
            &["automation-writes-where-allowed"],
        ),
        row("not without the role", robot(&["Any"]), "POST", reports, "not_permitted", &[]),
        row(
            "nor elsewhere",
            robot(&["Automation.Write"]),
            "POST",
            ledger,
            "forbidden",
            &["automation-keeps-to-reading"],
        ),
        row(
            "an agent reads where it may",
            agent(fresh()),
            "GET",
            reports,
            "permitted",
            &["agents-read-where-allowed"],
        ),
        row(
            "not elsewhere",
            agent(fresh()),
            "GET",
            ledger,
            "forbidden",
            &["agents-keep-to-what-is-open"],
        ),
        row(
            "an owner's agent writes",
            agent(fresh().groups(&[PAYMENTS])),
            "POST",
            notes,
            "permitted",
            &["agents-write-where-allowed"],
        ),
        row("not a stranger's", agent(fresh()), "POST", notes, "not_permitted", &[]),
        row(
            "production by a strong sign-in",
            strong(&[PAYMENTS]),
            "POST",
            payments,
            "permitted",
            &["owners-write"],
        ),
        row(
            "not by a weak one",
            user(&[PAYMENTS]),
            "POST",
            payments,
            "insufficient_claims",
            &["production-needs-strong-sign-in"],
        ),
        row(
            "what is frozen stays",
            user(&[PAYMENTS]),
            "POST",
            till,
            "forbidden",
            &["frozen-at-weekends"],
        ),
        why(row(
            "until the glass breaks",
            user(&[BREAK_GLASS]),
            "POST",
            till,
            "permitted",
            &["break-glass"],
        )),
        row(
            "a partner reads",
            of_partner().sign(),
            "GET",
            api,
            "permitted",
            &["partner-reads-its-api"],
        ),
        row(
            "and does not write",
            of_partner().sign(),
            "POST",
            api,
            "forbidden",
            &["partner-keeps-to-its-api"],
        ),
        row(
            "nor read elsewhere",
            of_partner().sign(),
            "GET",
            ledger,
            "forbidden",
            &["partner-keeps-to-its-api"],
        ),
        row(
            "what is deprecated is read",
            user(&[]),
            "GET",
            "fax.apps.example.com",
            "permitted",
            &["tenant-users-read"],
        ),
        row("and not written", user(&[]), "POST", "fax.apps.example.com", "not_permitted", &[]),
    ];
    for row in &rows {
        let bearer = format!("Bearer {}", row.token);
        let mut headers = vec![("authorization", bearer.as_str())];
        headers.extend(row.justification.map(|words| ("x-stagedoor-justification", words)));
        let before = stack.upstream.count();
        let answer = stack.ask(row.method, row.host, "/v1", &headers).await.unwrap();
        let passes = row.reason == "permitted";
        assert_eq!(answer.status == 200, passes, "{}: {answer:?}", row.what);
        assert_eq!(stack.upstream.count() - before, usize::from(passes), "{}", row.what);
        if !passes {
            assert_eq!(reason(&answer).unwrap(), row.reason, "{}", row.what);
        }
        if row.reason == "insufficient_claims" {
            // The client signs its user in for c1.
            let challenge = answer.header("www-authenticate").unwrap();
            assert!(challenge.contains("insufficient_claims"), "{challenge}");
            let claims = challenge.split("claims=\"").nth(1).unwrap().split('"').next().unwrap();
            let claims = String::from_utf8(STANDARD.decode(claims).unwrap()).unwrap();
            let claims: Value = serde_json::from_str(&claims).unwrap();
            assert_eq!(claims["access_token"]["acrs"]["value"], "c1", "{claims}");
        }
    }
    let records = stack.stagedoor.audit(rows.len()).await.unwrap();
    let mut decided = BTreeSet::new();
    for (row, record) in rows.iter().zip(&records) {
        assert_eq!(record["reason"], row.reason, "{}: {record:#}", row.what);
        let policies = record["policies"].as_array().cloned().unwrap_or_default();
        assert_eq!(policies, row.policies, "{}: {record:#}", row.what);
        decided.extend(row.policies.iter().copied());
        // What is loud is on record, with the words of who asked.
        let loud = row.policies.contains(&"break-glass");
        assert_eq!(named(record, "alerts"), if loud { vec!["break-glass"] } else { vec![] });
        if loud {
            assert_eq!(record["justification"], "INC-1742", "{record:#}");
        }
        let old = row.host.starts_with("fax") && row.reason == "permitted";
        assert_eq!(named(record, "warnings"), if old { vec!["deprecated-warns"] } else { vec![] });
        decided.extend(old.then_some("deprecated-warns"));
    }
    let text = policies(PLACEHOLDER);
    let ids = text.split("@id(\"").skip(1).filter_map(|rest| rest.split('"').next());
    let ids: BTreeSet<&str> = ids.collect();
    assert_eq!(decided, ids, "every policy decided a request");
}

fn named<'a>(record: &'a Value, member: &str) -> Vec<&'a str> {
    let notices = record[member].as_array().into_iter().flatten();
    notices.filter_map(|notice| notice["policy"].as_str()).collect()
}
