//! The life of a key set: rotation, floods of made-up key ids, outages, age.

use std::borrow::Cow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use devtenant::keys::SigningKey;
use devtenant::token::TokenBuilder;
use futures_util::future::join_all;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::json;
use stagedoor::bounded::Bounds;
use stagedoor::clock::Now;
use stagedoor::domain::{Credentials, Identity, Reason};
use stagedoor::entra::{
    Authenticator, EntraSettings, IssuerStatus, KeyState, TenantSettings, Tenants,
};
use stagedoor::fetch::{Document, Fetch, FetchError, Limits};
use stagedoor::shutdown::{Shutdown, ShutdownHandle};
use tokio::time::{Instant, sleep};
use url::Url;

pub(crate) const TENANT: &str = "11111111-2222-3333-4444-555555555555";
const AUTHORITY: &str = "https://login.example.com";
const NOW: i64 = 1_800_000_000;

pub(crate) fn issuer() -> String {
    format!("{AUTHORITY}/{TENANT}/v2.0")
}

pub(crate) fn tenant() -> TenantSettings {
    TenantSettings {
        issuer_v2: Some(issuer()),
        ..TenantSettings::new(
            Tenants::One(TENANT.parse().unwrap()),
            AUTHORITY.parse().unwrap(),
            "https://graph.microsoft.com".parse().unwrap(),
            vec!["api://payments".to_owned()],
        )
    }
}

/// What the tenant answers for its keys, and how often it was asked for them.
struct FakeTenant {
    answer: Mutex<Answer>,
    /// What the discovery document says instead of the truth.
    discovery: Mutex<serde_json::Value>,
    /// When it says its answers were made.
    date: Mutex<Option<&'static str>>,
    fetches: AtomicUsize,
}

#[derive(Clone)]
enum Answer {
    Keys(Vec<SigningKey>),
    Body(String),
    Status(u16),
    Hang,
}

impl Fetch for FakeTenant {
    async fn get(
        &self,
        url: &Url,
        _bearer: Option<&HeaderValue>,
        limits: Limits,
    ) -> Result<Document, FetchError> {
        let date = *self.date.lock().unwrap();
        let headers: HeaderMap = date
            .into_iter()
            .map(|date| (http::header::DATE, HeaderValue::from_static(date)))
            .collect();
        let document = |body: String| Document { body: body.into(), headers: headers.clone() };
        if url.path().ends_with("openid-configuration") {
            let mut discovery = json!({
                "issuer": issuer(),
                "authorization_endpoint": format!("{AUTHORITY}/authorize"),
                "jwks_uri": format!("{AUTHORITY}/keys"),
                "response_types_supported": ["code"],
                "subject_types_supported": ["pairwise"],
                "id_token_signing_alg_values_supported": ["RS256"],
            });
            let changes = self.discovery.lock().unwrap().clone();
            for (name, value) in changes.as_object().into_iter().flatten() {
                discovery[name] = value.clone();
            }
            return Ok(document(discovery.to_string()));
        }
        self.fetches.fetch_add(1, Ordering::SeqCst);
        let answer = self.answer.lock().unwrap().clone();
        match answer {
            Answer::Keys(keys) => {
                let keys: Vec<_> = keys.iter().map(|key| key.jwk(Some(&issuer()))).collect();
                Ok(document(json!({ "keys": keys }).to_string()))
            }
            Answer::Body(body) => Ok(document(body)),
            Answer::Status(status) => Err(FetchError::Status {
                url: url.clone(),
                status: StatusCode::from_u16(status).unwrap(),
            }),
            Answer::Hang => {
                sleep(limits.timeout).await;
                Err(FetchError::Timeout { url: url.clone(), after: limits.timeout })
            }
        }
    }
}

struct Running {
    authenticator: Authenticator,
    tenant: Arc<FakeTenant>,
    handle: ShutdownHandle,
}

impl Running {
    fn start(answer: Answer) -> Self {
        let settings = EntraSettings {
            cache: Bounds { max_entries: 1000, max_bytes: 1024 * 1024 },
            ..EntraSettings::new(vec![tenant()])
        };
        let authenticator = Authenticator::new(settings).unwrap();
        let tenant = Arc::new(FakeTenant {
            answer: Mutex::new(answer),
            discovery: Mutex::default(),
            date: Mutex::default(),
            fetches: AtomicUsize::new(0),
        });
        let (handle, shutdown) = Shutdown::new();
        let (running, fetch) = (authenticator.clone(), Arc::clone(&tenant));
        tokio::spawn(async move { running.run(fetch, shutdown.receiver()).await });
        Self { authenticator, tenant, handle }
    }

    fn set(&self, answer: Answer) {
        *self.tenant.answer.lock().unwrap() = answer;
    }

    fn fetches(&self) -> usize {
        self.tenant.fetches.load(Ordering::SeqCst)
    }

    /// Asks with the one token of this key: the second time it may be cached.
    async fn ask(&self, key: &SigningKey) -> Result<(), Reason> {
        self.identity(key).await.map(|_| ())
    }

    async fn identity(&self, key: &SigningKey) -> Result<Arc<Identity>, Reason> {
        let token = TokenBuilder::new(TENANT.parse().unwrap(), "unused", &issuer(), key)
            .issued(NOW)
            .claim("uti", json!("the same"))
            .claim("sid", json!("the same"))
            .claim("exp", json!(NOW + 3600))
            .sign();
        let credentials = Credentials::One(Cow::Owned(format!("Bearer {token}")));
        let now = Now { unix: NOW, instant: Instant::now() };
        let answer = self.authenticator.authenticate(&credentials, now).await;
        answer.map_err(|denial| denial.reason)
    }

    fn date(&self, date: Option<&'static str>) {
        *self.tenant.date.lock().unwrap() = date;
    }

    fn status(&self) -> IssuerStatus {
        self.authenticator.status(Now { unix: NOW, instant: Instant::now() }).remove(0)
    }

    fn state(&self) -> KeyState {
        self.status().state
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_key_works_at_once_and_a_removed_one_no_more() {
    let (old, new) = (SigningKey::test(0), SigningKey::test(1));
    let running = Running::start(Answer::Keys(vec![old.clone()]));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(running.ask(&old).await, Ok(()));
    assert_eq!(running.ask(&old).await, Ok(()));
    assert_eq!(running.authenticator.cache_stats().hits, 1, "it is cached");
    assert_eq!(running.fetches(), 1);

    running.set(Answer::Keys(vec![old.clone(), new.clone()]));
    let answers = join_all((0..50).map(|_| running.ask(&new))).await;
    assert!(answers.iter().all(Result::is_ok), "every one that waited: {answers:?}");
    assert_eq!(running.fetches(), 2, "one fetch for all of them");

    // The regular refresh, within the hour, takes the old one away.
    running.set(Answer::Keys(vec![new.clone()]));
    sleep(Duration::from_secs(3601)).await;
    assert_eq!(running.fetches(), 3);
    assert_eq!(running.ask(&old).await, Err(Reason::TokenKeyUnknown), "cached before");
    assert_eq!(running.ask(&new).await, Ok(()));
    running.handle.drain();
}

/// What records name a key set by: the same for the same keys, whatever their order, and
/// that of now for a token that was verified before.
#[tokio::test(start_paused = true)]
async fn a_key_set_has_a_version() {
    let (old, new) = (SigningKey::test(0), SigningKey::test(1));
    let running = Running::start(Answer::Keys(vec![old.clone()]));
    sleep(Duration::from_secs(1)).await;
    let version = async || {
        let identity = running.identity(&old).await.unwrap();
        let version = running.authenticator.keys_version(&identity).unwrap();
        let now = Now { unix: NOW, instant: Instant::now() };
        let status = running.authenticator.status(now).remove(0);
        assert_eq!(status.version.as_deref(), Some(&*version));
        version
    };
    let refreshed = async |keys: &[&SigningKey]| {
        running.set(Answer::Keys(keys.iter().map(|key| (*key).clone()).collect()));
        sleep(Duration::from_secs(3601)).await;
        version().await
    };
    let one = version().await;
    assert!(one.len() == 32 && one.bytes().all(|b| b.is_ascii_hexdigit()), "{one}");
    assert_eq!(refreshed(&[&old]).await, one);
    let two = refreshed(&[&old, &new]).await;
    assert_ne!(two, one);
    assert_eq!(refreshed(&[&new, &old]).await, two);
    assert_eq!(refreshed(&[&old]).await, one);
    // The same key under another id is another set.
    let other = refreshed(&[&old, &new.named("another-id")]).await;
    assert!(other != one && other != two);
    running.handle.drain();
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_made_up_keys_is_one_fetch_an_interval() {
    let key = SigningKey::test(0);
    let running = Running::start(Answer::Keys(vec![key.clone()]));
    sleep(Duration::from_secs(1)).await;
    let begun = Instant::now();
    for round in 0..200 {
        let made_up: Vec<_> = (0..25).map(|n| key.named(&format!("made-up-{round}-{n}"))).collect();
        let before = Instant::now();
        for answer in join_all(made_up.iter().map(|key| running.ask(key))).await {
            assert_eq!(answer, Err(Reason::TokenKeyUnknown));
        }
        assert!(before.elapsed() <= Duration::from_millis(101), "nobody waits longer");
        assert_eq!(running.ask(&key).await, Ok(()), "valid traffic goes on");
        sleep(Duration::from_secs(6)).await;
    }
    let intervals = usize::try_from(begun.elapsed().as_secs() / 300).unwrap() + 1;
    let extra = running.fetches() - 1;
    assert!((2..=intervals).contains(&extra), "{extra} fetches in {intervals} intervals");
    // And an honest rotation is seen within an interval all the same.
    let new = SigningKey::test(1);
    running.set(Answer::Keys(vec![key, new.clone()]));
    let published = Instant::now();
    while running.ask(&new).await.is_err() {
        sleep(Duration::from_secs(1)).await;
        assert!(published.elapsed() < Duration::from_secs(302));
    }
    running.handle.drain();
}

#[tokio::test(start_paused = true)]
async fn the_clocks_are_compared() {
    let running = Running::start(Answer::Keys(vec![SigningKey::test(0)]));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(running.status().clock_skew, None, "it doesn't say when it was made");
    running.date(Some("Thu, 01 Jan 1970 00:00:00 GMT"));
    sleep(Duration::from_secs(3601)).await;
    let here = Now::read().unix;
    let skew = running.status().clock_skew.unwrap();
    assert!((here - 60..=here).contains(&skew), "{skew} at {here}");
    // The last answer counts.
    running.date(None);
    sleep(Duration::from_secs(3601)).await;
    assert_eq!(running.status().clock_skew, None);
    running.handle.drain();
}

#[tokio::test(start_paused = true)]
async fn a_hanging_tenant_holds_nobody_up() {
    let key = SigningKey::test(0);
    let running = Running::start(Answer::Keys(vec![key.clone()]));
    sleep(Duration::from_secs(1)).await;
    running.set(Answer::Hang);
    let before = Instant::now();
    let unknown = SigningKey::test(1);
    let answers = join_all((0..20).map(|_| running.ask(&unknown))).await;
    assert!(answers.iter().all(|answer| *answer == Err(Reason::TokenKeyUnknown)));
    assert!(before.elapsed() <= Duration::from_millis(101));
    let before = Instant::now();
    assert_eq!(running.ask(&key).await, Ok(()));
    assert_eq!(before.elapsed(), Duration::ZERO, "a known key never waits");
    // Once it has given up, it goes on.
    running.set(Answer::Keys(vec![key, unknown.clone()]));
    sleep(Duration::from_secs(360)).await;
    assert_eq!(running.ask(&unknown).await, Ok(()));
    running.handle.drain();
}

#[tokio::test(start_paused = true)]
async fn bad_documents_change_nothing_until_the_keys_are_too_old() {
    let key = SigningKey::test(0);
    let running = Running::start(Answer::Status(500));
    sleep(Duration::from_secs(10)).await;
    assert_eq!(running.ask(&key).await, Err(Reason::KeysUnavailable));
    assert_eq!(running.state(), KeyState::Initializing);
    assert!(running.fetches() >= 3, "it tries again soon");

    running.set(Answer::Keys(vec![key.clone()]));
    // The longest pause, and a fetch that hangs before it.
    sleep(Duration::from_secs(40)).await;
    assert_eq!(running.ask(&key).await, Ok(()), "it recovers by itself");
    assert_eq!(running.state(), KeyState::Fresh);

    for answer in [
        Answer::Body("<html>".to_owned()),
        Answer::Body(json!({ "keys": [] }).to_string()),
        Answer::Body(json!({ "keys": [{ "kty": "oct", "k": "AA" }] }).to_string()),
        Answer::Status(302),
        Answer::Hang,
    ] {
        running.set(answer);
        let before = running.fetches();
        sleep(Duration::from_secs(3700)).await;
        assert!(running.fetches() > before);
        assert_eq!(running.ask(&key).await, Ok(()));
    }
    assert_eq!(running.state(), KeyState::Stale);
    assert_eq!(running.state().to_string(), "stale");
    sleep(Duration::from_secs(24 * 3600)).await;
    assert_eq!(running.ask(&key).await, Err(Reason::KeysExpired), "cached or not");
    assert_eq!(running.state(), KeyState::Expired);
    assert_eq!(running.state().to_string(), "expired");
    running.set(Answer::Keys(vec![key.clone()]));
    // The longest pause, and a fetch that hangs before it.
    sleep(Duration::from_secs(40)).await;
    assert_eq!(running.ask(&key).await, Ok(()));
    running.handle.drain();
}

/// Keys are taken only from the issuer that was configured, at the authority that was.
#[tokio::test(start_paused = true)]
async fn keys_of_another_issuer_or_place_are_not_taken() {
    let key = SigningKey::test(0);
    let other = issuer().replace(TENANT, "99999999-2222-3333-4444-555555555555");
    for (changes, want) in [
        (json!({ "issuer": other }), "names the issuer"),
        (json!({ "issuer": format!("{}/", issuer()) }), "names the issuer"),
        (json!({ "jwks_uri": "https://login.example.org/keys" }), "at another place"),
        (json!({ "jwks_uri": "http://login.example.com/keys" }), "at another place"),
        (json!({ "jwks_uri": "https://login.example.com:8443/keys" }), "at another place"),
        (json!({ "jwks_uri": "file:///etc/keys" }), "at another place"),
        (json!({ "jwks_uri": "keys" }), "no discovery document"),
        (json!({ "jwks_uri": null }), "no discovery document"),
        (json!({ "issuer": null }), "no discovery document"),
    ] {
        let running = Running::start(Answer::Keys(vec![key.clone()]));
        *running.tenant.discovery.lock().unwrap() = changes.clone();
        sleep(Duration::from_secs(10)).await;
        assert_eq!(running.fetches(), 0, "{changes}: the keys were not even asked for");
        assert_eq!(running.ask(&key).await, Err(Reason::KeysUnavailable), "{changes}");
        let status = running.authenticator.status(Now { unix: NOW, instant: Instant::now() });
        let error = status[0].last_error.clone().unwrap();
        assert!(error.contains(want), "{changes}: {error}");
        // The truth is taken without a restart.
        *running.tenant.discovery.lock().unwrap() = json!({});
        sleep(Duration::from_secs(40)).await;
        assert_eq!(running.ask(&key).await, Ok(()), "{changes}");
        running.handle.drain();
    }
}

/// While the tenant hangs, made-up keys keep a few waiting, not everybody.
#[tokio::test(start_paused = true)]
async fn few_wait_for_made_up_keys() {
    let key = SigningKey::test(0);
    let running = Running::start(Answer::Keys(vec![key.clone()]));
    sleep(Duration::from_secs(1)).await;
    running.set(Answer::Hang);
    let made_up: Vec<_> = (0..400).map(|n| key.named(&format!("made-up-{n}"))).collect();
    let times = join_all(made_up.iter().map(|key| async {
        let before = Instant::now();
        assert_eq!(running.ask(key).await, Err(Reason::TokenKeyUnknown));
        before.elapsed()
    }))
    .await;
    let at_once = times.iter().filter(|time| time.is_zero()).count();
    assert!((100..200).contains(&at_once), "{at_once} did not wait");
    let before = Instant::now();
    assert_eq!(running.ask(&key).await, Ok(()));
    assert!(before.elapsed().is_zero());
    running.handle.drain();
}

/// A change of the keys allows the next fetch at once: changes come in numbers.
#[tokio::test(start_paused = true)]
async fn one_change_after_another_is_seen_at_once() {
    let keys: Vec<_> = (0..4).map(SigningKey::test).collect();
    let running = Running::start(Answer::Keys(vec![keys[0].clone()]));
    sleep(Duration::from_secs(1)).await;
    for number in 1..4 {
        running.set(Answer::Keys(keys[..=number].to_vec()));
        assert_eq!(running.ask(&keys[number]).await, Ok(()), "key {number}");
    }
    assert_eq!(running.fetches(), 4);
    // Without a change there is no more before the interval is over.
    let unknown = keys[0].named("made-up");
    for _ in 0..10 {
        assert_eq!(running.ask(&unknown).await, Err(Reason::TokenKeyUnknown));
    }
    assert_eq!(running.fetches(), 5);
    running.handle.drain();
}

/// What the clock of ages left out counts, and nobody waits for the hour to be over.
#[tokio::test(start_paused = true)]
async fn a_machine_that_was_suspended_has_old_keys() {
    let key = SigningKey::test(0);
    let running = Running::start(Answer::Keys(vec![key.clone()]));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(running.ask(&key).await, Ok(()));
    let day = Duration::from_secs(25 * 3600);

    running.set(Answer::Status(500));
    running.authenticator.suspended(day);
    assert_eq!(running.ask(&key).await, Err(Reason::KeysExpired), "cached before");
    assert_eq!(running.state(), KeyState::Expired);
    sleep(Duration::from_secs(1)).await;
    assert!(running.fetches() > 1, "they are fetched at once");
    assert_eq!(running.ask(&key).await, Err(Reason::KeysExpired));

    running.set(Answer::Keys(vec![key.clone()]));
    sleep(Duration::from_secs(60)).await;
    assert_eq!(running.ask(&key).await, Ok(()));
    assert_eq!(running.state(), KeyState::Fresh);
    running.handle.drain();
}

/// Ten thousand made-up ids within a second are one fetch.
#[tokio::test(start_paused = true)]
async fn ten_thousand_made_up_ids() {
    let key = SigningKey::test(0);
    let running = Running::start(Answer::Keys(vec![key.clone()]));
    sleep(Duration::from_secs(1)).await;
    let token = TokenBuilder::new(TENANT.parse().unwrap(), "unused", &issuer(), &key)
        .issued(NOW)
        .claim("exp", json!(NOW + 3600));
    let began = Instant::now();
    for round in 0..100 {
        let tokens: Vec<String> = (0..100)
            .map(|n| {
                // The signature is never looked at: there is no key for it.
                let token = token.clone().header("kid", json!(format!("made-up-{round}-{n}")));
                format!("Bearer {}AAAA", token.unsigned_but_rs256())
            })
            .collect();
        let answers = join_all(tokens.iter().map(|token| {
            let credentials = Credentials::One(Cow::Borrowed(token.as_str()));
            let now = Now { unix: NOW, instant: Instant::now() };
            let authenticator = running.authenticator.clone();
            async move { authenticator.authenticate(&credentials, now).await.map(|_| ()) }
        }))
        .await;
        for answer in answers {
            assert_eq!(answer.unwrap_err().reason, Reason::TokenKeyUnknown);
        }
    }
    assert!(began.elapsed() <= Duration::from_secs(1));
    assert_eq!(running.fetches(), 2, "the first, and one for all of them");
    running.handle.drain();
}

/// Front ends that don't agree change the keys back and forth: that is no way to make for
/// fetches without end.
#[tokio::test(start_paused = true)]
async fn changes_back_and_forth_are_bounded() {
    let (one, other) = (SigningKey::test(0), SigningKey::test(1));
    let running = Running::start(Answer::Keys(vec![one.clone()]));
    sleep(Duration::from_secs(1)).await;
    for round in 0..100 {
        let key = if round % 2 == 0 { &other } else { &one };
        running.set(Answer::Keys(vec![key.clone()]));
        let _ = running.ask(&one.named(&format!("made-up-{round}"))).await;
    }
    assert!((2..=6).contains(&running.fetches()), "{}", running.fetches());
    running.handle.drain();
}
