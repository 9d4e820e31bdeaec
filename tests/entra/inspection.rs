//! A token laid open: each rule by itself, also behind one that failed.

use std::time::Duration;

use crate::support::tokens::{OTHER, TENANT};
use devtenant::keys::SigningKey;
use devtenant::token::TokenBuilder;
use serde_json::json;
use stagedoor::clock::Now;
use stagedoor::domain::Reason;
use stagedoor::entra::{
    Authenticator, Check, EntraSettings, Inspection, Outcome, TenantSettings, Tenants,
};

const NOW: i64 = 1_800_000_000;
const ISSUER_V1: &str = "https://sts.windows.net/{tenantid}/";
const ISSUER_V2: &str = "https://login.microsoftonline.com/{tenantid}/v2.0";

fn issuer(template: &str, tenant: &str) -> String {
    template.replace("{tenantid}", tenant)
}

fn token_of(tenant: &str) -> TokenBuilder {
    let (v1, v2) = (issuer(ISSUER_V1, tenant), issuer(ISSUER_V2, tenant));
    TokenBuilder::new(tenant.parse().unwrap(), &v1, &v2, &SigningKey::test(0))
        .issued(NOW - 60)
        .claim("exp", json!(NOW + 3600))
}

fn token() -> TokenBuilder {
    token_of(TENANT)
}

/// The tenants of an application, one by its own issuers or several by their template.
fn settings(tenants: Tenants) -> EntraSettings {
    let named = |template: &str| {
        if tenants.are_several() { template.to_owned() } else { issuer(template, TENANT) }
    };
    let authority = "https://login.microsoftonline.com".parse().unwrap();
    let graph = "https://graph.microsoft.com".parse().unwrap();
    EntraSettings::new(vec![TenantSettings {
        issuer_v1: Some(named(ISSUER_V1)),
        issuer_v2: Some(named(ISSUER_V2)),
        ..TenantSettings::new(tenants, authority, graph, vec!["api://payments".to_owned()])
    }])
}

fn one() -> EntraSettings {
    settings(Tenants::One(TENANT.parse().unwrap()))
}

fn inspect(settings: EntraSettings, token: &str) -> Inspection {
    let authenticator = Authenticator::new(settings).unwrap();
    let keys = json!({ "keys": [SigningKey::test(0).jwk(Some(ISSUER_V2))] }).to_string();
    authenticator.load_keys(keys.as_bytes(), Now::at(NOW)).unwrap();
    let inspection = authenticator.inspect(token, Now::at(NOW));
    let failed = |reason: Reason| {
        let failed = Outcome::Failed(reason);
        inspection.checks.iter().any(|check| check.outcome == failed)
    };
    match &inspection.verdict {
        Ok(()) => assert!(inspection.checks.iter().all(|check| check.outcome == Outcome::Passed)),
        Err(denial) => assert!(failed(denial.reason), "{:?}: {inspection:?}", denial.reason),
    }
    inspection
}

fn check<'a>(inspection: &'a Inspection, rule: &str) -> &'a Check {
    inspection.checks.iter().find(|check| check.rule == rule).unwrap_or_else(|| {
        panic!("`{rule}` was not asked: {inspection:?}");
    })
}

#[test]
fn each_rule_is_asked_by_itself() {
    use Outcome::{Failed, Passed, Unasked};

    let asked =
        |name: &str, settings: EntraSettings, token: TokenBuilder, wanted: &[(&str, Outcome)]| {
            let inspection = inspect(settings, &token.sign());
            for (rule, outcome) in wanted {
                assert_eq!(check(&inspection, rule).outcome, *outcome, "{name}: {rule}");
            }
        };
    let listed = || settings(Tenants::Listed(vec![TENANT.parse().unwrap()]));
    asked(
        "good",
        one(),
        token(),
        &[("size", Passed), ("age", Passed), ("signature", Passed), ("not revoked", Passed)],
    );
    // What is not verified is told all the same, as far as anybody could read it.
    asked(
        "too large",
        one(),
        token().claim("name", json!("x".repeat(20_000))),
        &[
            ("size", Failed(Reason::TokenTooLarge)),
            ("form and header", Unasked),
            ("key", Unasked),
            ("audience", Passed),
        ],
    );
    asked(
        "issued long ago",
        EntraSettings { max_token_age: Some(Duration::from_secs(3600)), ..one() },
        token().issued(NOW - 7200),
        &[("valid now", Passed), ("age", Failed(Reason::TokenTooOld)), ("signature", Passed)],
    );
    asked(
        "of a tenant that is listed",
        listed(),
        token(),
        &[("issuer", Passed), ("tenant is allowed", Passed)],
    );
    asked(
        "of another tenant",
        listed(),
        token_of(OTHER),
        &[
            ("issuer", Passed),
            ("version and tenant", Passed),
            ("tenant is allowed", Failed(Reason::TokenTenantNotAllowed)),
        ],
    );
    asked(
        "of an odd form",
        one(),
        token().claim("scp", json!(["Payments.Use"])),
        &[
            ("object id", Passed),
            ("grant", Failed(Reason::TokenClaimInvalid)),
            ("the other claims", Failed(Reason::TokenClaimInvalid)),
        ],
    );
}

/// Whoever reads it looks at the right claim, and at the right place of the configuration.
#[test]
fn what_decides_is_named() {
    let named = |settings: EntraSettings, token: TokenBuilder, rule: &str| {
        let inspection = inspect(settings, &token.sign());
        let check = check(&inspection, rule).clone();
        (check.setting, check.detail)
    };
    let (setting, detail) = named(one(), token(), "access token, client");
    assert!(detail.starts_with("`azp` is "), "{detail}");
    assert_eq!(setting, "entra.tenants[0].clients");
    let (_, detail) = named(one(), token().without("azp"), "access token, client");
    assert_eq!(detail, "no `azp`");
    let (setting, _) = named(one(), token(), "issuer");
    assert_eq!(setting, "entra.tenants[0].id");
    let any = settings(Tenants::Any);
    let (setting, _) = named(any.clone(), token(), "issuer");
    assert_eq!(setting, "entra.tenants[0].allowed_tenants");
    let (_, detail) = named(any, token(), "tenant is allowed");
    assert_eq!(detail, TENANT);
    // Of the older version it is another claim.
    let old = one().tenants.remove(0);
    let old = EntraSettings::new(vec![TenantSettings { issuer_v2: None, ..old }]);
    let token = token().v1("api://payments");
    let (_, detail) = named(old, token, "access token, client");
    assert!(detail.starts_with("`appid` is "), "{detail}");
}
