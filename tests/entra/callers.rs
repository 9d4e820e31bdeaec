//! Whose tokens, and which callers, an operator accepts: several tenants, kinds, scopes
//! and roles, ages, revocations, keys that outlive a restart.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use devtenant::keys::SigningKey;
use devtenant::tenant::{Endpoint, Fault, Tenant, TenantOptions};
use devtenant::token::{CLIENT, TokenBuilder};
use serde_json::json;
use stagedoor::clock::Now;
use stagedoor::domain::{ClientAuth, Credentials, Identity, IdentityKind, OpaqueId, Reason};
use stagedoor::entra::{
    Authenticator, EntraSettings, RevocationError, SettingsError, TenantSettings, Tenants,
    distrust_key,
};
use stagedoor::fetch::HttpClient;
use stagedoor::shutdown::{Shutdown, ShutdownHandle};
use uuid::Uuid;

const PARTNER: &str = "abcdef22-2222-3333-4444-555555555555";
const STRANGER: &str = "33333333-2222-3333-4444-555555555555";
const PERSONAL: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";

fn entry(tenant: &Tenant, tenants: Tenants) -> TenantSettings {
    let several = tenants.are_several();
    let (v1, v2) = if several {
        (
            format!("{}/v1/{{tenantid}}/", tenant.authority()),
            format!("{}/{{tenantid}}/v2.0", tenant.authority()),
        )
    } else {
        (tenant.issuer_v1(), tenant.issuer_v2())
    };
    TenantSettings {
        issuer_v1: Some(v1),
        issuer_v2: Some(v2),
        ..TenantSettings::new(
            tenants,
            tenant.authority().parse().unwrap(),
            tenant.graph_url().parse().unwrap(),
            vec!["api://payments".to_owned()],
        )
    }
}

fn one(tenant: &Tenant) -> TenantSettings {
    entry(tenant, Tenants::One(tenant.id().to_string().parse().unwrap()))
}

/// An authenticator that keeps its keys current.
struct Running {
    authenticator: Authenticator,
    _handle: ShutdownHandle,
}

impl Running {
    async fn start(settings: EntraSettings) -> Self {
        let authenticator = Authenticator::new(settings).unwrap();
        let (handle, shutdown) = Shutdown::new();
        let running = authenticator.clone();
        let fetch = Arc::new(HttpClient::new().unwrap());
        tokio::spawn(async move { running.run(fetch, shutdown.receiver()).await });
        Self { authenticator, _handle: handle }
    }

    /// Once the keys are there.
    async fn ready(settings: EntraSettings) -> Self {
        let running = Self::start(settings).await;
        let usable = || {
            let status = running.authenticator.status(Now::read());
            status.iter().all(|issuer| issuer.state.is_usable())
        };
        while !usable() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        running
    }

    async fn judge(&self, token: &str) -> Result<Arc<Identity>, Reason> {
        let credentials = Credentials::One(Cow::Owned(format!("Bearer {token}")));
        let verdict = self.authenticator.authenticate(&credentials, Now::read()).await;
        verdict.map_err(|denial| denial.reason)
    }

    async fn ask(&self, token: &TokenBuilder) -> Result<Arc<Identity>, Reason> {
        self.judge(&token.sign()).await
    }
}

fn id(text: &str) -> Uuid {
    text.parse().unwrap()
}

#[tokio::test]
async fn a_multi_tenant_application() {
    let tenant = Tenant::start(TenantOptions::default()).await.unwrap();
    let own_key = SigningKey::test(1);
    let issuer_of = |of: &str| format!("{}/{of}/v2.0", tenant.authority());
    tenant.publish_key_for(&own_key, &issuer_of(PARTNER));
    let listed = Tenants::Listed(vec![PARTNER.parse().unwrap()]);
    let running = Running::ready(EntraSettings::new(vec![entry(&tenant, listed)])).await;

    let partner = running.ask(&tenant.token_of(id(PARTNER))).await.unwrap();
    assert_eq!(partner.tenant, PARTNER.parse().unwrap());
    let v1 = tenant.token_of(id(PARTNER)).v1("api://payments");
    assert_eq!(running.ask(&v1).await.unwrap().tenant, PARTNER.parse().unwrap());

    let refused = |token: TokenBuilder| {
        let running = &running;
        async move { running.ask(&token).await.unwrap_err() }
    };
    let of = |tenant_id: &str| tenant.token_of(id(tenant_id));
    assert_eq!(refused(of(STRANGER)).await, Reason::TokenTenantNotAllowed);
    assert_eq!(refused(of(PERSONAL)).await, Reason::TokenTenantNotAllowed);
    // The issuer names one tenant, `tid` another.
    let mixed = of(PARTNER).claim("tid", json!(STRANGER));
    assert_eq!(refused(mixed).await, Reason::TokenTenant);
    let mixed = of(STRANGER).claim("tid", json!(PARTNER));
    assert_eq!(refused(mixed).await, Reason::TokenTenant);
    // The template itself, and other spellings of the tenant in it.
    for issuer in [
        issuer_of("{tenantid}"),
        issuer_of(&PARTNER.to_uppercase()),
        issuer_of(&format!("{PARTNER}/x")),
        issuer_of(&PARTNER.replace('-', "")),
        issuer_of("common"),
        issuer_of(""),
    ] {
        let token = of(PARTNER).claim("iss", json!(issuer));
        assert_eq!(refused(token).await, Reason::TokenIssuer, "{issuer}");
    }
    // A key that was published for one tenant vouches for that one alone.
    let good = of(PARTNER).sign_with(&own_key);
    assert!(running.judge(&good).await.is_ok());
    let other = of(STRANGER).sign_with(&own_key);
    assert_eq!(running.judge(&other).await.unwrap_err(), Reason::TokenTenantNotAllowed);
    let both = Tenants::Listed(vec![PARTNER.parse().unwrap(), STRANGER.parse().unwrap()]);
    let running = Running::ready(EntraSettings::new(vec![entry(&tenant, both)])).await;
    assert!(running.ask(&of(STRANGER)).await.is_ok());
    let other = of(STRANGER).sign_with(&own_key);
    assert_eq!(running.judge(&other).await.unwrap_err(), Reason::TokenKeyIssuer);
}

#[tokio::test]
async fn any_tenant_but_no_personal_account() {
    let tenant = Tenant::start(TenantOptions::default()).await.unwrap();
    let running = Running::ready(EntraSettings::new(vec![entry(&tenant, Tenants::Any)])).await;
    assert!(running.ask(&tenant.token_of(id(STRANGER))).await.is_ok());
    let personal = running.ask(&tenant.token_of(id(PERSONAL))).await;
    assert_eq!(personal.unwrap_err(), Reason::TokenTenantNotAllowed);
}

/// In one key document for many tenants each key says whose it is.
#[tokio::test]
async fn a_common_key_without_an_issuer_vouches_for_nobody() {
    let tenant = Tenant::start(TenantOptions::default()).await.unwrap();
    let settings = EntraSettings::new(vec![entry(&tenant, Tenants::Any)]);
    let authenticator = Authenticator::new(settings).unwrap();
    let keys = json!({ "keys": [tenant.signing_key().jwk(None)] }).to_string();
    authenticator.load_keys(keys.as_bytes(), Now::read()).unwrap();
    let verdict = |token: TokenBuilder| {
        let credentials = Credentials::One(Cow::Owned(format!("Bearer {}", token.sign())));
        let verdict = authenticator.authenticate_offline(&credentials, Now::read());
        verdict.map(|_| ()).map_err(|denial| denial.reason)
    };
    let token = tenant.token_of(id(STRANGER));
    assert_eq!(verdict(token.clone()), Err(Reason::TokenKeyIssuer));
    // Documents of v1.0 never say, so there the document itself does.
    assert_eq!(verdict(token.v1("api://payments")), Ok(()));
}

/// A tenant with an entry of its own is judged by that one, in whatever order they stand.
#[tokio::test]
async fn the_entry_that_names_a_tenant_decides() {
    let tenant = Tenant::start(TenantOptions::default()).await.unwrap();
    let own =
        TenantSettings { audiences: vec!["api://own".to_owned()], issuer_v1: None, ..one(&tenant) };
    let any = entry(&tenant, Tenants::Any);
    let settings = EntraSettings::new(vec![any, own]);
    let running = Running::ready(settings).await;
    let token = tenant.token_of(tenant.id());
    assert!(running.ask(&token.clone().audience("api://own")).await.is_ok());
    assert_eq!(running.ask(&token).await.unwrap_err(), Reason::TokenAudience);
    // Also where its own entry accepts less: its v1.0 tokens are nobody's.
    let old = token.clone().v1("api://payments");
    assert_eq!(running.ask(&old).await.unwrap_err(), Reason::TokenIssuer);
    for version in
        [tenant.token_of(id(STRANGER)), tenant.token_of(id(STRANGER)).v1("api://payments")]
    {
        assert!(running.ask(&version).await.is_ok());
    }
}

/// As an entry that lists a tenant decides before one that takes any.
#[tokio::test]
async fn the_entry_that_lists_a_tenant_decides() {
    let tenant = Tenant::start(TenantOptions::default()).await.unwrap();
    let listed = Tenants::Listed(vec![PARTNER.parse().unwrap()]);
    let listed = TenantSettings { issuer_v1: None, ..entry(&tenant, listed) };
    let any = TenantSettings { issuer_v2: None, ..entry(&tenant, Tenants::Any) };
    for entries in [vec![listed.clone(), any.clone()], vec![any, listed]] {
        let running = Running::ready(EntraSettings::new(entries)).await;
        let ask = async |of: &str, version: &str| {
            let token = tenant.token_of(id(of));
            let token = if version == "1.0" { token.v1("api://payments") } else { token };
            running.ask(&token).await.map(|identity| identity.tenant.to_string())
        };
        assert_eq!(ask(PARTNER, "2.0").await.as_deref(), Ok(PARTNER));
        assert_eq!(ask(STRANGER, "1.0").await.as_deref(), Ok(STRANGER));
        // Each of these only the other entry would take.
        assert_eq!(ask(PARTNER, "1.0").await, Err(Reason::TokenIssuer));
        assert_eq!(ask(STRANGER, "2.0").await, Err(Reason::TokenTenantNotAllowed));
    }
}

/// Whoever tries policies out is told what the entry says by which a token would be judged.
#[tokio::test]
async fn claims_that_nobody_vouches_for_are_read_by_the_entry_that_decides() {
    let tenant = Tenant::start(TenantOptions::default()).await.unwrap();
    let own = TenantSettings { required_scopes: vec!["Own".to_owned()], ..one(&tenant) };
    let any = entry(&tenant, Tenants::Any);
    for entries in [vec![own.clone(), any.clone()], vec![any, own]] {
        let authenticator = Authenticator::new(EntraSettings::new(entries)).unwrap();
        let suppose = |token: TokenBuilder| {
            let identity = authenticator.suppose(token.claims());
            identity.map(|identity| identity.tenant).map_err(|denial| denial.reason)
        };
        assert_eq!(suppose(tenant.token()), Err(Reason::TokenScopeMissing));
        let scoped = suppose(tenant.token().claim("scp", json!("Own")));
        assert_eq!(scoped.map(|tenant| tenant.to_string()), Ok(tenant.id().to_string()));
        assert_eq!(suppose(tenant.token_of(id(STRANGER))), Ok(STRANGER.parse().unwrap()));
        assert_eq!(suppose(tenant.token_of(id(PERSONAL))), Err(Reason::TokenTenantNotAllowed));
    }
}

/// What a token lists beside the marks of an overage is not even kept.
#[tokio::test]
async fn groups_beside_an_overage_are_nobodys() {
    let tenant = Tenant::start(TenantOptions::default()).await.unwrap();
    let settings = EntraSettings {
        overage: stagedoor::entra::Overage::Accept,
        ..EntraSettings::new(vec![one(&tenant)])
    };
    let running = Running::ready(settings).await;
    let group = "aaaaaaaa-0000-0000-0000-000000000001";
    for token in [
        tenant.token().overage().groups(&[group]),
        tenant.token().groups(&[group]).claim("hasgroups", json!("true")),
    ] {
        let identity = running.ask(&token).await.unwrap();
        assert!(identity.groups_elsewhere && identity.groups().is_empty());
    }
    let plain = tenant.token().groups(&[group]).claim("hasgroups", json!(false));
    let identity = running.ask(&plain).await.unwrap();
    assert!(!identity.groups_elsewhere && identity.groups().len() == 1);
}

#[tokio::test]
async fn kinds_grants_and_agents() {
    let tenant = Tenant::start(TenantOptions::default()).await.unwrap();
    let user = || tenant.token();
    let app = || tenant.token().app_only(&["Read"]);
    let managed = || app().managed_identity("/subscriptions/x");
    let agent = || app().claim("xms_act_fct", json!("11"));
    for kind in IdentityKind::ALL {
        let settings = TenantSettings { kinds: vec![kind], ..one(&tenant) };
        let running = Running::ready(EntraSettings::new(vec![settings])).await;
        for (token, its) in [
            (user(), IdentityKind::User),
            (app(), IdentityKind::Workload),
            (managed(), IdentityKind::ManagedIdentity),
            (agent(), IdentityKind::Agent),
        ] {
            let want = if its == kind { Ok(its) } else { Err(Reason::TokenHolderKind) };
            assert_eq!(running.ask(&token).await.map(|identity| identity.kind), want);
        }
    }
    let settings = TenantSettings {
        required_scopes: vec!["Payments.Use".to_owned(), "Payments.Admin".to_owned()],
        required_roles: vec!["Read".to_owned()],
        agent_clients: vec!["cccccccc-0000-0000-0000-0000000000aa".parse().unwrap()],
        agent_facets: vec!["99".to_owned()],
        ..one(&tenant)
    };
    let running = Running::ready(EntraSettings::new(vec![settings])).await;
    let kind = |token: TokenBuilder| {
        let running = &running;
        async move { running.ask(&token).await.map(|identity| identity.kind) }
    };
    assert_eq!(kind(user()).await, Ok(IdentityKind::User));
    let scoped = |scopes: &str| user().claim("scp", json!(scopes));
    assert_eq!(kind(scoped("Other Payments.Admin")).await, Ok(IdentityKind::User));
    assert_eq!(kind(scoped("Other")).await, Err(Reason::TokenScopeMissing));
    assert_eq!(kind(scoped("payments.use")).await, Err(Reason::TokenScopeMissing));
    assert_eq!(kind(app()).await, Ok(IdentityKind::Workload));
    let other = tenant.token().app_only(&["Write"]);
    assert_eq!(kind(other).await, Err(Reason::TokenRoleMissing));
    // A user's role is no scope.
    let role = user().without("scp").claim("roles", json!(["Read"]));
    assert_eq!(kind(role).await, Err(Reason::TokenWithoutGrant));
    // Agents by the operator's word.
    assert_eq!(kind(agent()).await, Ok(IdentityKind::Workload), "another facet was configured");
    let facet = app().claim("xms_sub_fct", json!("1 99"));
    assert_eq!(kind(facet).await, Ok(IdentityKind::Agent));
    let client = user().claim("azp", json!("cccccccc-0000-0000-0000-0000000000aa"));
    assert_eq!(kind(client).await, Ok(IdentityKind::Agent));

    // Without any grant only where the operator says so, and not past what is required.
    let settings = TenantSettings {
        accept_tokens_without_grant: true,
        required_roles: vec!["Read".to_owned()],
        ..one(&tenant)
    };
    let running = Running::ready(EntraSettings::new(vec![settings])).await;
    let ungranted = running.ask(&user().without("scp")).await.unwrap();
    assert!(ungranted.delegated && ungranted.scopes.is_empty());
    let ungranted = tenant.token().app_only(&[]);
    assert_eq!(running.ask(&ungranted).await.unwrap_err(), Reason::TokenRoleMissing);
}

#[tokio::test]
async fn what_else_a_token_says() {
    let tenant = Tenant::start(TenantOptions::default()).await.unwrap();
    let running = Running::ready(EntraSettings::new(vec![one(&tenant)])).await;
    let token = tenant
        .token()
        .guest(id(PARTNER))
        .claim("wids", json!(["b", "a", "b"]))
        .claim("acrs", json!(["c2", "c1"]))
        .claim("azpacr", json!("2"))
        .claim("sid", json!("session"))
        .claim("uti", json!("token"));
    let identity = running.ask(&token).await.unwrap();
    let facts = &identity.facts;
    assert!(facts.guest);
    assert_eq!(facts.home_tenant, Some(PARTNER.parse().unwrap()));
    assert_eq!(*facts.directory_roles, ["a".into(), "b".into()]);
    assert_eq!(*facts.auth_contexts, ["c1".into(), "c2".into()]);
    assert_eq!(facts.client_auth, Some(ClientAuth::Certificate));
    assert_eq!(
        (&identity.session, &identity.token_id),
        (&Some(OpaqueId::of("session")), &Some(OpaqueId::of("token")))
    );
    assert_eq!(identity.client, Some(CLIENT.parse().unwrap()));
    // Not a guest: the provider is the issuer itself, or names the own tenant.
    for idp in [tenant.issuer_v2(), format!("https://sts.windows.net/{}/", tenant.id())] {
        let member = tenant.token().claim("idp", json!(idp)).claim("acct", json!(0));
        let facts = running.ask(&member).await.unwrap().facts.clone();
        assert!(!facts.guest && facts.home_tenant.is_none(), "{idp}");
    }
    // Some tokens say it as text.
    for (account, guest) in [("0", false), ("1", true)] {
        let token = tenant.token().claim("acct", json!(account));
        assert_eq!(running.ask(&token).await.unwrap().facts.guest, guest, "{account}");
    }
    // A way to prove the client that came after this was written is none of those known.
    let unheard = tenant.token().claim("azpacr", json!("3"));
    assert_eq!(running.ask(&unheard).await.unwrap().facts.client_auth, None);
    for idp in ["live.com", "https://sts.windows.net/x/"] {
        let guest = tenant.token().claim("idp", json!(idp));
        assert!(running.ask(&guest).await.unwrap().facts.guest, "{idp}");
    }
    // One authentication context as text.
    let one = tenant.token().claim("acrs", json!("c1"));
    assert_eq!(*running.ask(&one).await.unwrap().facts.auth_contexts, ["c1".into()]);
}

#[tokio::test]
async fn old_tokens() {
    let tenant = Tenant::start(TenantOptions::default()).await.unwrap();
    let settings = EntraSettings {
        max_token_age: Some(Duration::from_secs(3600)),
        ..EntraSettings::new(vec![one(&tenant)])
    };
    let running = Running::ready(settings).await;
    let now = Now::read().unix;
    let issued = |ago: i64| tenant.token().issued(now - ago).claim("exp", json!(now + 3600));
    assert!(running.ask(&issued(3500)).await.is_ok());
    assert_eq!(running.ask(&issued(3700)).await.unwrap_err(), Reason::TokenTooOld);
    // Also where it was young when it was cached.
    let token = format!("Bearer {}", issued(3500).sign());
    let at = |unix: i64| {
        let credentials = Credentials::One(Cow::Borrowed(token.as_str()));
        let verdict = running.authenticator.authenticate_offline(&credentials, Now::at(unix));
        verdict.map(|_| ()).map_err(|denial| denial.reason)
    };
    assert_eq!(at(now), Ok(()));
    assert_eq!(at(now + 161), Err(Reason::TokenTooOld));
}

/// Within a second of the file's change, for cached tokens too.
#[tokio::test]
async fn revocations_take_effect() {
    let tenant = Tenant::start(TenantOptions::default()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("revocations");
    std::fs::write(&file, "# nothing yet\n").unwrap();
    let settings =
        EntraSettings { revocations: Some(file.clone()), ..EntraSettings::new(vec![one(&tenant)]) };
    let running = Running::ready(settings).await;
    let oid = "bbbbbbbb-0000-0000-0000-000000000005";
    let token = tenant.token().oid(oid).claim("sid", json!("S-1")).claim("uti", json!("U-1"));
    let issued = token.claims()["iat"].as_i64().unwrap();
    let never_seen = |number: usize| token.clone().claim("aio", json!(number)).sign();
    let (token, mut number) = (token.sign(), 0);
    // Issued in the same second, whenever this is made.
    let other = tenant.token().issued(issued).sign();
    let time = |unix: i64| chrono::DateTime::from_timestamp(unix, 0).unwrap().to_rfc3339();
    for (line, reason) in [
        (format!("object {oid}"), Reason::TokenRevoked),
        (format!("  object\t{}  # gone", oid.to_uppercase()), Reason::TokenRevoked),
        ("session S-1".to_owned(), Reason::TokenRevoked),
        ("token U-1".to_owned(), Reason::TokenRevoked),
        (format!("key {}", tenant.signing_key().kid()), Reason::TokenKeyDistrusted),
        (format!("issued-before {}", time(issued + 1)), Reason::TokenRevoked),
    ] {
        assert!(running.judge(&token).await.is_ok(), "{line}: before");
        assert!(running.judge(&token).await.is_ok(), "{line}: cached");
        std::fs::write(&file, format!("{line}\n")).unwrap();
        let began = tokio::time::Instant::now();
        while running.judge(&token).await.is_ok() {
            assert!(began.elapsed() < Duration::from_secs(10), "{line}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(running.judge(&token).await.unwrap_err(), reason, "{line}");
        number += 1;
        let fresh = running.judge(&never_seen(number)).await;
        assert_eq!(fresh.unwrap_err(), reason, "{line}: seen for the first time");
        let narrow = !line.starts_with("key") && !line.starts_with("issued");
        assert_eq!(running.judge(&other).await.is_ok(), narrow, "{line}");
        std::fs::write(&file, "").unwrap();
        while running.judge(&token).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    let spared = format!("issued-before {}\ntoken other\nsession other\n", time(issued));
    std::fs::write(&file, spared).unwrap();
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert!(running.judge(&token).await.is_ok());

    // A file in the making looks as if it took something back: that waits until it rests.
    std::fs::write(&file, format!("object {oid}\n")).unwrap();
    while running.judge(&token).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for round in 0..30 {
        // Rewritten all the time, cut short each other time.
        let text =
            if round % 2 == 0 { String::new() } else { format!("# {round}\nobject {oid}\n") };
        std::fs::write(&file, text).unwrap();
        tokio::time::sleep(Duration::from_millis(70)).await;
        assert_eq!(running.judge(&token).await.unwrap_err(), Reason::TokenRevoked, "{round}");
    }

    // A file that can't be read leaves what was known in force, and says so.
    std::fs::write(&file, format!("object {oid}\n")).unwrap();
    while running.judge(&token).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    std::fs::write(&file, "object nobody\n").unwrap();
    while running.authenticator.revocations_error().is_none() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(running.authenticator.revocations_error().unwrap().contains("revocations:1:"));
    assert_eq!(running.judge(&token).await.unwrap_err(), Reason::TokenRevoked);
    std::fs::remove_file(&file).unwrap();
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert_eq!(running.judge(&token).await.unwrap_err(), Reason::TokenRevoked);
}

#[test]
fn revocations_that_say_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("revocations");
    let settings = |file: &Path| EntraSettings {
        revocations: Some(file.to_owned()),
        ..EntraSettings::new(vec![TenantSettings {
            issuer_v2: Some("https://login.example.com/t/v2.0".to_owned()),
            ..TenantSettings::new(
                Tenants::One(PARTNER.parse().unwrap()),
                "https://login.example.com".parse().unwrap(),
                "https://graph.example.com".parse().unwrap(),
                vec!["a".to_owned()],
            )
        }])
    };
    for (text, line, want) in [
        ("nonsense", 1, "expected a kind and a value"),
        ("# fine\n\nobject x y", 3, "expected a kind and a value"),
        ("object", 1, "expected a kind and a value"),
        ("user bbbbbbbb-0000-0000-0000-000000000005", 1, "unknown kind `user`"),
        ("object ada", 1, "expected a GUID"),
        ("object 00000000-0000-0000-0000-000000000000", 1, "the zero GUID"),
        ("issued-before yesterday", 1, "expected a time"),
        ("key schlüssel", 1, "`schlüssel` is no key id"),
    ] {
        std::fs::write(&file, text).unwrap();
        let error = Authenticator::new(settings(&file)).unwrap_err();
        let SettingsError::Revocations(RevocationError::Line { line: at, cause, .. }) = error
        else {
            panic!("{text}: {error}")
        };
        assert_eq!(at, line, "{text}");
        assert!(cause.contains(want), "{text}: {cause}");
    }
    assert!(Authenticator::new(settings(&folder.path().join("missing"))).is_err());
    // Whatever is this large was not written to revoke anything. It need not be read for that.
    let large = folder.path().join("large");
    std::fs::File::create(&large).unwrap().set_len((16 << 20) + 1).unwrap();
    let error = Authenticator::new(settings(&large)).unwrap_err().to_string();
    assert!(error.contains("larger than 16777216 bytes"), "{error}");

    // Keys are added behind what stands there.
    std::fs::write(&file, "# an incident\nobject bbbbbbbb-0000-0000-0000-000000000005").unwrap();
    distrust_key(&file, "AbC").unwrap();
    distrust_key(&file, "dEf").unwrap();
    assert_eq!(
        std::fs::read_to_string(&file).unwrap(),
        "# an incident\nobject bbbbbbbb-0000-0000-0000-000000000005\nkey AbC\nkey dEf\n"
    );
    let new = folder.path().join("new");
    distrust_key(&new, "AbC").unwrap();
    assert_eq!(std::fs::read_to_string(&new).unwrap(), "key AbC\n");
    assert!(distrust_key(&new, "no key").is_err());
    std::fs::write(&new, "tenants:\n- id: x\n").unwrap();
    assert!(distrust_key(&new, "AbC").is_err(), "not a file of revocations");
    // Nor is what can't be read taken for an empty one.
    std::fs::write(&new, b"\xff\n").unwrap();
    assert!(distrust_key(&new, "AbC").is_err());
    assert_eq!(std::fs::read(&new).unwrap(), b"\xff\n");
}

/// A start while the tenant is down, with the keys of the last run.
#[tokio::test]
async fn keys_outlive_a_restart() {
    let tenant = Tenant::start(TenantOptions::default()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let settings = || EntraSettings {
        key_store: Some(folder.path().to_owned()),
        ..EntraSettings::new(vec![one(&tenant)])
    };
    let token = tenant.token().sign();
    let first = Running::ready(settings()).await;
    assert!(first.judge(&token).await.is_ok());
    // Of both issuers. A file that is being written has another name.
    let kept = || {
        let files = std::fs::read_dir(folder.path()).unwrap().flatten();
        files.filter(|file| file.path().extension().is_some_and(|end| end == "json")).count()
    };
    while kept() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(first);

    tenant.faults().set(Endpoint::Discovery, Fault::Hang);
    tenant.faults().set(Endpoint::Keys, Fault::Hang);
    // Who waits for the tenant waits for longer than this test does.
    let mut patient = settings();
    patient.keys.fetch_timeout = Duration::from_secs(3600);
    let judged = async {
        let second = Running::ready(patient).await;
        second.judge(&token).await
    };
    let judged = tokio::time::timeout(Duration::from_secs(60), judged).await;
    assert!(judged.expect("without the tenant").is_ok());

    // Beyond their age they are as good as none.
    let mut short = settings();
    short.keys.max_age = Duration::from_millis(1);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let third = Running::start(short).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(third.judge(&token).await.unwrap_err(), Reason::KeysUnavailable);
    drop(third);

    // A damaged file is none.
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let file = file.unwrap().path();
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, text.replacen("fetched_at\":1", "fetched_at\":2", 1)).unwrap();
    }
    let fourth = Running::start(settings()).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(fourth.judge(&token).await.unwrap_err(), Reason::KeysUnavailable);
    tenant.faults().clear();
    let began = tokio::time::Instant::now();
    while fourth.judge(&token).await.is_err() {
        assert!(began.elapsed() < Duration::from_secs(60), "it recovers by itself");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
