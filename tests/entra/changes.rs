//! Settings that can't be, and what a change of them keeps.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::keys::{issuer, tenant};
use crate::support::tokens::{OTHER, TENANT};
use devtenant::keys::SigningKey;
use devtenant::token::TokenBuilder;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::json;
use stagedoor::clock::Now;
use stagedoor::domain::{Credentials, Reason};
use stagedoor::entra::{
    Authenticator, EntraSettings, IssuerStatus, KeyState, Overage, SettingsError, TenantSettings,
    Tenants,
};
use stagedoor::fetch::{Document, Fetch, FetchError, Limits};
use stagedoor::shutdown::{Shutdown, ShutdownHandle};
use url::Url;

const AUTHORITY: &str = "https://login.example.com";
const NOW: i64 = 1_800_000_000;

fn settings() -> EntraSettings {
    EntraSettings::new(vec![tenant()])
}

/// With this key.
fn authenticator(settings: EntraSettings, key: &SigningKey) -> Authenticator {
    let authenticator = Authenticator::new(settings).unwrap();
    let keys = json!({ "keys": [key.jwk(Some(&issuer()))] }).to_string();
    authenticator.load_keys(keys.as_bytes(), Now::at(NOW)).unwrap();
    authenticator
}

fn token(key: &SigningKey) -> TokenBuilder {
    TokenBuilder::new(TENANT.parse().unwrap(), "unused", &issuer(), key)
        .issued(NOW - 60)
        .claim("exp", json!(NOW + 3600))
}

/// Whether the token is accepted, and whether it was known.
fn ask(authenticator: &Authenticator, token: &str) -> Result<bool, Reason> {
    let credentials = Credentials::One(format!("Bearer {token}").into());
    let proven = authenticator.prove_offline(&credentials, Now::at(NOW));
    proven.map(|proven| proven.remembered).map_err(|denial| denial.reason)
}

fn status(authenticator: &Authenticator) -> IssuerStatus {
    authenticator.status(Now::at(NOW)).remove(0)
}

/// A tenant that lists one key, or is down.
struct OneKey {
    key: SigningKey,
    up: bool,
}

impl OneKey {
    fn new(key: &SigningKey, up: bool) -> Arc<Self> {
        Arc::new(Self { key: key.clone(), up })
    }
}

impl Fetch for OneKey {
    async fn get(
        &self,
        url: &Url,
        _bearer: Option<&HeaderValue>,
        _limits: Limits,
    ) -> Result<Document, FetchError> {
        if !self.up {
            let status = StatusCode::SERVICE_UNAVAILABLE;
            return Err(FetchError::Status { url: url.clone(), status });
        }
        let body = if url.path().ends_with("openid-configuration") {
            json!({
                "issuer": issuer(),
                "authorization_endpoint": format!("{AUTHORITY}/authorize"),
                "jwks_uri": format!("{AUTHORITY}/keys"),
                "response_types_supported": ["code"],
                "subject_types_supported": ["pairwise"],
                "id_token_signing_alg_values_supported": ["RS256"],
            })
        } else {
            json!({ "keys": [self.key.jwk(Some(&issuer()))] })
        };
        Ok(Document { body: body.to_string().into(), headers: HeaderMap::new() })
    }
}

/// Keeps the keys current until the test ends.
fn run(authenticator: &Authenticator, fetch: &Arc<OneKey>) -> ShutdownHandle {
    let (handle, shutdown) = Shutdown::new();
    let (running, fetch) = (authenticator.clone(), Arc::clone(fetch));
    tokio::spawn(async move { running.run(fetch, shutdown.receiver()).await });
    handle
}

async fn until(mut came: impl FnMut() -> bool) {
    let began = tokio::time::Instant::now();
    while !came() {
        assert!(began.elapsed() < Duration::from_secs(20), "it never came");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[test]
fn an_issuer_is_needed_and_none_stands_for_two() {
    let none = TenantSettings { issuer_v2: None, ..tenant() };
    for tenants in [vec![], vec![none.clone()], vec![none.clone(), none]] {
        let error = Authenticator::new(EntraSettings::new(tenants)).unwrap_err();
        assert_eq!(error, SettingsError::NoTenant);
    }
    let other = TenantSettings { tenants: Tenants::One(OTHER.parse().unwrap()), ..tenant() };
    let both = TenantSettings { issuer_v1: Some(issuer()), ..tenant() };
    let key = SigningKey::test(0);
    let running = authenticator(settings(), &key);
    for tenants in [vec![tenant(), tenant()], vec![tenant(), other], vec![both]] {
        let twice = EntraSettings::new(tenants);
        let error = running.following(twice).unwrap_err();
        assert_eq!(error, SettingsError::IssuerTwice(issuer()));
    }
    assert_eq!(ask(&running, &token(&key).sign()), Ok(false), "what runs goes on");
}

#[test]
fn a_token_that_was_accepted_by_another_rule_is_judged_anew() {
    let key = SigningKey::test(0);
    let lenient = EntraSettings { overage: Overage::Accept, ..settings() };
    let running = authenticator(lenient.clone(), &key);
    let overage = token(&key).overage().sign();
    assert_eq!(ask(&running, &overage), Ok(false));
    assert_eq!(ask(&running, &overage), Ok(true));
    let strict = running.following(settings()).unwrap();
    assert_eq!(ask(&strict, &overage), Err(Reason::GroupsOverage));
    assert_eq!(ask(&strict.following(lenient).unwrap(), &overage), Ok(false));
}

/// Keys are kept for the issuer that published them: a name alone doesn't make one.
#[test]
fn keys_are_kept_only_for_the_very_issuer() {
    let key = SigningKey::test(0);
    let running = authenticator(settings(), &key);
    let state = |tenant: TenantSettings| {
        let following = running.following(EntraSettings::new(vec![tenant])).unwrap();
        (status(&following).state, ask(&following, &token(&key).sign()).map(drop))
    };
    let audiences = vec!["api://payments".to_owned(), "api://other".to_owned()];
    assert_eq!(state(TenantSettings { audiences, ..tenant() }), (KeyState::Fresh, Ok(())));
    let gone = (KeyState::Initializing, Err(Reason::KeysUnavailable));
    let authority = "https://login.example.org".parse().unwrap();
    assert_eq!(state(TenantSettings { authority, ..tenant() }), gone);
    // The same name, but for another tenant, or for tokens of another version.
    let tenants = Tenants::One(OTHER.parse().unwrap());
    let (other, _) = state(TenantSettings { tenants, ..tenant() });
    assert_eq!(other, KeyState::Initializing);
    let (older, _) =
        state(TenantSettings { issuer_v1: Some(issuer()), issuer_v2: None, ..tenant() });
    assert_eq!(older, KeyState::Initializing);
}

#[test]
fn another_file_of_revocations_holds_instead() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let of = |file: &Path| EntraSettings { revocations: Some(file.to_owned()), ..settings() };
    let key = SigningKey::test(0);
    let token = token(&key).claim("sid", json!("S-1")).sign();
    std::fs::write(file("first"), "session S-1\n").unwrap();
    std::fs::write(file("second"), "session S-2\n").unwrap();
    let first = authenticator(of(&file("first")), &key);
    assert_eq!(ask(&first, &token), Err(Reason::TokenRevoked));
    let second = first.following(of(&file("second"))).unwrap();
    assert_eq!(ask(&second, &token), Ok(false), "that was said in the first file");
    let again = second.following(of(&file("first"))).unwrap();
    assert_eq!(ask(&again, &token), Err(Reason::TokenRevoked), "also of a token that is known");
    // A new file has to be there: nobody knows what it would revoke.
    let error = second.following(of(&file("missing"))).unwrap_err();
    assert!(matches!(error, SettingsError::Revocations(_)), "{error}");
    // The same one may be in somebody's hands just now: what it said holds on.
    std::fs::remove_file(file("first")).unwrap();
    let audiences = vec!["api://payments".to_owned(), "api://other".to_owned()];
    let changed = EntraSettings {
        distrusted_keys: vec!["another".to_owned()],
        tenants: vec![TenantSettings { audiences, ..tenant() }],
        ..of(&file("first"))
    };
    let held = again.following(changed).unwrap();
    assert_eq!(ask(&held, &token), Err(Reason::TokenRevoked));
    assert!(held.revocations_error().unwrap().contains("first"));
}

/// A file that is gone when it is looked at again for the first time is told of, as one that
/// goes later.
#[tokio::test(start_paused = true)]
async fn a_file_of_revocations_that_goes_at_once_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("revocations");
    std::fs::write(&file, "session S-1\n").unwrap();
    let key = SigningKey::test(0);
    let revoking = EntraSettings { revocations: Some(file.clone()), ..settings() };
    let authenticator = authenticator(revoking, &key);
    assert_eq!(authenticator.revocations_error(), None);
    std::fs::remove_file(&file).unwrap();
    let _handle = run(&authenticator, &OneKey::new(&key, false));
    tokio::time::sleep(Duration::from_secs(2)).await;
    let error = authenticator.revocations_error().unwrap();
    assert!(error.contains(&file.display().to_string()), "{error}");
    let revoked = token(&key).claim("sid", json!("S-1")).sign();
    assert_eq!(ask(&authenticator, &revoked), Err(Reason::TokenRevoked));
}

/// Keys on disk are for want of others.
#[tokio::test]
async fn keys_of_the_last_run_take_no_place_of_others() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (SigningKey::test(0), SigningKey::test(1));
    let storing = || EntraSettings { key_store: Some(folder.path().to_owned()), ..settings() };
    let first = Authenticator::new(storing()).unwrap();
    let handle = run(&first, &OneKey::new(&old, true));
    let kept = || {
        let files = std::fs::read_dir(folder.path()).unwrap().flatten();
        files.map(|file| file.path()).any(|file| file.extension().is_some_and(|e| e == "json"))
    };
    until(kept).await;
    handle.drain();
    let (by_old, by_new) = (token(&old).sign(), token(&new).sign());

    // Without an answer, a new issuer has them at once, and it is known why.
    let down = OneKey::new(&old, false);
    let second = Authenticator::new(storing()).unwrap();
    assert_eq!(ask(&second, &by_old), Err(Reason::KeysUnavailable));
    assert!(second.fetch_new(&*down).await.is_empty());
    assert_eq!(ask(&second, &by_old), Ok(false));
    assert!(status(&second).last_error.unwrap().contains("503"));

    // Whoever has others keeps those.
    let third = authenticator(storing(), &new);
    let _handle = run(&third, &down);
    until(|| status(&third).next_refresh.is_some()).await;
    assert_eq!(ask(&third, &by_new), Ok(false));
    assert_eq!(ask(&third, &by_old), Err(Reason::TokenKeyUnknown));

    // And where none were kept there are none.
    let empty = tempfile::tempdir().unwrap();
    let fourth = EntraSettings { key_store: Some(empty.path().to_owned()), ..settings() };
    let fourth = Authenticator::new(fourth).unwrap();
    let failed = fourth.fetch_new(&*down).await;
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].0, issuer());
    assert_eq!(ask(&fourth, &by_old), Err(Reason::KeysUnavailable));
}

/// That keys can't be kept for the next start is no reason to do without them now.
#[tokio::test]
async fn keys_that_cannot_be_kept_are_used() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    let key = SigningKey::test(0);
    let nowhere = EntraSettings { key_store: Some(missing.clone()), ..settings() };
    let authenticator = Authenticator::new(nowhere).unwrap();
    let _handle = run(&authenticator, &OneKey::new(&key, true));
    until(|| status(&authenticator).next_refresh.is_some()).await;
    assert_eq!(ask(&authenticator, &token(&key).sign()), Ok(false));
    let status = status(&authenticator);
    assert_eq!((status.fetches, status.failures, status.last_error), (1, 0, None));
    assert!(!missing.exists(), "nobody made a folder that was not asked for");
}
