//! Groups that a token doesn't list: from Microsoft Graph, with a credential of each kind,
//! through throttling, paging, faults and rotation.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use devtenant::certificate::Certificate;
use devtenant::keys::SigningKey;
use devtenant::tenant::{Endpoint, Fault, Tenant, TenantOptions};
use futures_util::future::join_all;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::json;
use stagedoor::clock::Now;
use stagedoor::domain::{GroupId, Holder, Identity, IdentityKind, Reason, TokenFacts};
use stagedoor::entra::{
    CredentialSettings, EntraSettings, GraphSettings, GroupResolver, IdentityEndpoint,
    TenantSettings, Tenants,
};
use stagedoor::fetch::{Exchange, FetchError, HttpClient, Incoming, Limits, Outgoing};
use stagedoor::shutdown::{Shutdown, ShutdownHandle};
use tempfile::TempDir;

const APP: &str = "eeeeeeee-0000-0000-0000-000000000001";
const ADA: &str = "bbbbbbbb-0000-0000-0000-000000000001";
const JOB: &str = "bbbbbbbb-0000-0000-0000-0000000000f1";

fn group(number: usize) -> String {
    format!("aaaaaaaa-0000-0000-0000-{number:012}")
}

fn ids(numbers: impl IntoIterator<Item = usize>) -> Vec<GroupId> {
    numbers.into_iter().map(|number| group(number).parse().unwrap()).collect()
}

fn identity(tenant: &str, oid: &str, delegated: bool) -> Identity {
    Holder {
        tenant: tenant.parse().unwrap(),
        object: oid.parse().unwrap(),
        kind: if delegated { IdentityKind::User } else { IdentityKind::Workload },
        delegated,
        client: None,
        groups: Box::default(),
        group_names: Box::default(),
        groups_elsewhere: true,
        roles: Box::default(),
        scopes: Box::default(),
        issued_at: 0,
        expires_at: 0,
        facts: TokenFacts::default(),
    }
    .into()
}

/// A tenant whose Graph knows somebody, and a resolver that asks it.
struct World {
    tenant: Tenant,
    folder: TempDir,
    resolver: GroupResolver,
    _handle: ShutdownHandle,
}

impl World {
    async fn start(change: impl FnOnce(&Tenant, &TempDir) -> GraphSettings) -> Self {
        let tenant = Tenant::start(TenantOptions::default()).await.unwrap();
        let mine: Vec<String> = (1..=7).map(group).collect();
        let mine: Vec<&str> = mine.iter().map(String::as_str).collect();
        tenant.directory().user(ADA, &mine);
        tenant.directory().service_principal(JOB, &mine[..2]);
        let folder = tempfile::tempdir().unwrap();
        let graph = change(&tenant, &folder);
        let settings = EntraSettings {
            graph: Some(graph),
            ..EntraSettings::new(vec![TenantSettings::new(
                Tenants::One(tenant.id().to_string().parse().unwrap()),
                tenant.authority().parse().unwrap(),
                tenant.graph_url().parse().unwrap(),
                vec!["api://payments".to_owned()],
            )])
        };
        let resolver = GroupResolver::new(&settings).unwrap();
        let (handle, shutdown) = Shutdown::new();
        let running = resolver.clone();
        let client = Arc::new(HttpClient::new().unwrap());
        tokio::spawn(async move { running.run(client, shutdown.receiver()).await });
        Self { tenant, folder, resolver, _handle: handle }
    }

    /// With a client secret, and long enough to wait for a busy machine.
    async fn with_secret(change: impl FnOnce(GraphSettings) -> GraphSettings) -> Self {
        Self::start(|tenant, folder| {
            tenant.applications().secret(APP, "the secret");
            let file = folder.path().join("secret");
            std::fs::write(&file, "the secret\n").unwrap();
            let secret = CredentialSettings::Secret { client: APP.parse().unwrap(), file };
            change(patient(GraphSettings::new(secret)))
        })
        .await
    }

    async fn groups_among(&self, oid: &str, known: &[GroupId]) -> Result<Vec<GroupId>, Reason> {
        let identity = identity(&self.tenant.id().to_string(), oid, oid != JOB);
        let groups =
            self.resolver.groups(&identity, &known.into(), Now::read(), &mut Vec::new()).await;
        groups.map(|groups| groups.to_vec()).map_err(|denial| denial.reason)
    }

    /// All groups: as if the catalog knew too many to be checked one by one.
    async fn groups(&self, oid: &str) -> Result<Vec<GroupId>, Reason> {
        self.groups_among(oid, &ids(1000..1100)).await
    }
}

fn patient(settings: GraphSettings) -> GraphSettings {
    GraphSettings { wait: Duration::from_secs(10), ..settings }
}

#[tokio::test]
async fn the_groups_of_users_and_of_applications() {
    let world = World::with_secret(|settings| settings).await;
    assert_eq!(world.groups(ADA).await, Ok(ids(1..=7)));
    assert_eq!(world.groups(JOB).await, Ok(ids(1..=2)));
    let calls = world.tenant.graph_calls();
    assert_eq!(
        calls.iter().map(|call| call.path.as_str()).collect::<Vec<_>>(),
        [
            format!("/v1.0/users/{ADA}/getMemberObjects"),
            format!("/v1.0/servicePrincipals/{JOB}/getMemberObjects"),
        ]
    );
    assert_eq!(calls[0].body, json!({ "securityEnabledOnly": false }));
    // Kept: nobody is asked again.
    assert_eq!(world.groups(ADA).await, Ok(ids(1..=7)));
    assert_eq!(world.tenant.graph_calls().len(), 2);
    assert_eq!(world.tenant.requests(Endpoint::Token), 1, "one token for all calls");
    // Somebody who is gone.
    world.tenant.directory().remove(ADA);
    assert_eq!(world.groups(ADA).await, Ok(ids(1..=7)), "as long as it is kept");
    let nobody = "bbbbbbbb-0000-0000-0000-00000000dead";
    assert_eq!(world.groups(nobody).await, Err(Reason::PrincipalGone));
    let stats = world.resolver.stats();
    assert_eq!((stats.lookups, stats.hits, stats.failures), (3, 2, 0), "{stats:?}");
}

#[tokio::test]
async fn pages_are_followed_but_nowhere_else() {
    let world = World::with_secret(|settings| settings).await;
    world.tenant.directory().page_size(2);
    assert_eq!(world.groups(ADA).await, Ok(ids(1..=7)));
    assert_eq!(world.tenant.graph_calls().len(), 4);
    let elsewhere = Tenant::start(TenantOptions::default()).await.unwrap();
    for next in [
        format!("{}/v1.0/users/{ADA}/getMemberObjects", elsewhere.graph_url()),
        "https://evil.example.com/v1.0/x".to_owned(),
        "not an address".to_owned(),
    ] {
        let world = World::with_secret(|settings| settings).await;
        world.tenant.directory().next_link(Some(&next));
        assert_eq!(world.groups(ADA).await, Err(Reason::GroupsUnavailable), "{next}");
    }
    assert!(elsewhere.graph_calls().is_empty(), "the token went nowhere else");
}

/// Where the catalog knows few groups only those are asked for.
#[tokio::test]
async fn few_known_groups_are_checked() {
    let world = World::with_secret(|settings| settings).await;
    let known = ids((1..=50).rev());
    assert_eq!(world.groups_among(ADA, &known).await, Ok(ids(1..=7)));
    let calls = world.tenant.graph_calls();
    assert_eq!(calls.len(), 3, "twenty at a time");
    assert!(calls.iter().all(|call| call.path.ends_with("/checkMemberGroups")), "{calls:?}");
    assert_eq!(world.groups_among(ADA, &known).await, Ok(ids(1..=7)));
    assert_eq!(world.tenant.graph_calls().len(), 3);
    // Another catalog asks for other groups: what was kept says nothing of them.
    assert_eq!(world.groups_among(ADA, &ids([3, 60])).await, Ok(ids([3])));
    assert_eq!(world.tenant.graph_calls().len(), 4);
    assert_eq!(world.groups_among(ADA, &[]).await, Ok(vec![]));
    assert_eq!(world.tenant.graph_calls().len(), 4, "nothing known, nothing asked");
    // All of them answer for some as well.
    let world = World::with_secret(|settings| settings).await;
    assert_eq!(world.groups(ADA).await, Ok(ids(1..=7)));
    assert_eq!(world.groups_among(ADA, &known).await, Ok(ids(1..=7)));
    assert_eq!(world.tenant.graph_calls().len(), 1);
}

#[tokio::test]
async fn a_thousand_requests_are_one_call() {
    let world = World::with_secret(|settings| settings).await;
    world.tenant.faults().set(Endpoint::Graph, Fault::Slow(Duration::from_millis(100)));
    let answers = join_all((0..1000).map(|_| world.groups(ADA))).await;
    assert!(answers.iter().all(|answer| *answer == Ok(ids(1..=7))));
    assert_eq!(world.tenant.graph_calls().len(), 1);
    assert_eq!(world.tenant.requests(Endpoint::Token), 1);
}

/// A request waits no longer than it may; the lookup goes on for the next one.
#[tokio::test]
async fn a_slow_graph_holds_nobody_up() {
    let world = World::with_secret(|settings| GraphSettings {
        wait: Duration::from_millis(50),
        ..settings
    })
    .await;
    world.tenant.faults().set(Endpoint::Graph, Fault::Slow(Duration::from_secs(1)));
    let began = tokio::time::Instant::now();
    // Who waited for it would have groups.
    assert_eq!(world.groups(ADA).await, Err(Reason::GroupsUnavailable));
    loop {
        match world.groups(ADA).await {
            Ok(groups) => break assert_eq!(groups, ids(1..=7)),
            Err(reason) => assert_eq!(reason, Reason::GroupsUnavailable),
        }
        assert!(began.elapsed() < Duration::from_secs(20));
    }
    assert_eq!(world.tenant.graph_calls().len(), 1, "it was one lookup all along");
}

#[tokio::test]
async fn faults_are_no_groups() {
    for fault in [
        Fault::Status(403),
        Fault::Status(400),
        Fault::Garbage,
        Fault::Html,
        Fault::Truncated,
        Fault::Huge,
        Fault::Redirect("https://evil.example.com/".to_owned()),
    ] {
        let keeping = async |failure_ttl: Duration| {
            let world =
                World::with_secret(|settings| GraphSettings { failure_ttl, ..settings }).await;
            world.tenant.faults().set(Endpoint::Graph, fault.clone());
            assert_eq!(world.groups(ADA).await, Err(Reason::GroupsUnavailable), "{fault:?}");
            world
        };
        let world = keeping(Duration::from_secs(3600)).await;
        let asked = world.tenant.requests(Endpoint::Graph);
        let again = world.groups(ADA).await;
        assert_eq!(again, Err(Reason::GroupsUnavailable), "{fault:?}: a failure is kept");
        assert_eq!(world.tenant.requests(Endpoint::Graph), asked, "{fault:?}");
        let world = keeping(Duration::from_millis(100)).await;
        world.tenant.faults().clear();
        let began = tokio::time::Instant::now();
        while world.groups(ADA).await != Ok(ids(1..=7)) {
            assert!(began.elapsed() < Duration::from_secs(20), "{fault:?}: and then forgotten");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    // What is only unwell is asked again at once.
    let world = World::with_secret(|settings| settings).await;
    world.tenant.faults().set(Endpoint::Graph, Fault::Status(503));
    let lookup = world.groups(ADA);
    let recovery = async {
        while world.tenant.requests(Endpoint::Graph) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        world.tenant.faults().clear();
    };
    let (answer, ()) = tokio::join!(lookup, recovery);
    assert_eq!(answer, Ok(ids(1..=7)));
}

/// A token for Graph that Graph takes no more is replaced, once.
#[tokio::test]
async fn a_refused_token_is_replaced() {
    let world = World::with_secret(|settings| settings).await;
    assert_eq!(world.groups(ADA).await, Ok(ids(1..=7)));
    world.tenant.revoke_graph_tokens();
    assert_eq!(world.groups(JOB).await, Ok(ids(1..=2)));
    assert_eq!(world.tenant.requests(Endpoint::Token), 2);
}

#[tokio::test]
async fn each_kind_of_credential() {
    let write = |folder: &TempDir, name: &str, text: &str| -> PathBuf {
        let file = folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        file
    };
    let client = || APP.parse().unwrap();
    let certificate = Certificate::generate("stagedoor").unwrap();
    let issuer_key = SigningKey::test(2);
    let worlds = [
        World::start(|tenant, folder| {
            tenant.applications().certificate(APP, certificate.der());
            // In either order.
            let pem = format!("{}{}", certificate.key_pem(), certificate.cert_pem());
            let file = write(folder, "certificate.pem", &pem);
            patient(GraphSettings::new(CredentialSettings::Certificate { client: client(), file }))
        })
        .await,
        World::start(|tenant, folder| {
            let (issuer, subject) = ("https://cluster.example.com/", "system:serviceaccount:a:b");
            tenant.applications().federated(APP, issuer, subject, &issuer_key);
            let token = federated_token(&issuer_key, issuer, subject);
            let file = write(folder, "federated", &token);
            patient(GraphSettings::new(CredentialSettings::Federated { client: client(), file }))
        })
        .await,
        World::start(|tenant, _| {
            let endpoint = IdentityEndpoint::Machine(tenant.authority().parse().unwrap());
            patient(GraphSettings::new(CredentialSettings::Managed { client: None, endpoint }))
        })
        .await,
        World::start(|tenant, _| {
            let endpoint = IdentityEndpoint::Platform {
                url: tenant.identity_endpoint().parse().unwrap(),
                header: HeaderValue::try_from(tenant.identity_header()).unwrap(),
            };
            let client = Some(client());
            patient(GraphSettings::new(CredentialSettings::Managed { client, endpoint }))
        })
        .await,
    ];
    for (at, world) in worlds.iter().enumerate() {
        assert_eq!(world.groups(ADA).await, Ok(ids(1..=7)), "credential {at}");
    }
    // And each of them is checked: another secret, certificate or file gets nothing.
    let wrong = World::with_secret(|settings| settings).await;
    std::fs::write(wrong.folder.path().join("secret"), "another").unwrap();
    assert_eq!(wrong.groups(ADA).await, Err(Reason::GroupsUnavailable));
    let other = Certificate::generate("other").unwrap();
    let wrong = World::start(|tenant, folder| {
        tenant.applications().certificate(APP, certificate.der());
        let pem = format!("{}{}", other.cert_pem(), other.key_pem());
        let file = write(folder, "certificate.pem", &pem);
        patient(GraphSettings::new(CredentialSettings::Certificate { client: client(), file }))
    })
    .await;
    assert_eq!(wrong.groups(ADA).await, Err(Reason::GroupsUnavailable));
    assert!(wrong.tenant.graph_calls().is_empty());
}

fn federated_token(key: &SigningKey, issuer: &str, subject: &str) -> String {
    let now = Now::read().unix;
    devtenant::token::TokenBuilder::new(uuid::Uuid::nil(), "", issuer, key)
        .claim("sub", json!(subject))
        .claim("aud", json!("api://AzureADTokenExchange"))
        .claim("exp", json!(now + 600))
        .sign()
}

/// Secret and certificate change while callers come in: old and new work side by side, and
/// nobody notices.
#[tokio::test]
async fn credentials_rotate_under_load() {
    let old = Certificate::generate("old").unwrap();
    let new = Certificate::generate("new").unwrap();
    let pem =
        |certificate: &Certificate| format!("{}{}", certificate.cert_pem(), certificate.key_pem());
    let by_certificate = World::start(|tenant, folder| {
        tenant.applications().certificate(APP, old.der());
        let file = folder.path().join("secret");
        std::fs::write(&file, pem(&old)).unwrap();
        let client = APP.parse().unwrap();
        patient(GraphSettings::new(CredentialSettings::Certificate { client, file }))
    })
    .await;
    let by_secret = World::with_secret(|settings| settings).await;
    for (world, fresh) in [(by_certificate, pem(&new)), (by_secret, "the new secret".to_owned())] {
        // Tokens that end soon, so that the credential is in use all the time.
        world.tenant.token_lifetime(1);
        for number in 0..400 {
            world.tenant.directory().user(&caller(number), &[&group(number)]);
        }
        let ask = async |numbers: std::ops::Range<usize>| {
            for number in numbers {
                let groups = world.groups(&caller(number)).await;
                assert_eq!(groups, Ok(ids([number])), "caller {number}");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        ask(0..100).await;
        // The new one is registered, then given to Stagedoor, then the old one goes.
        let apps = world.tenant.applications();
        apps.certificate(APP, new.der());
        apps.secret(APP, "the new secret");
        ask(100..200).await;
        std::fs::write(world.folder.path().join("secret"), fresh).unwrap();
        ask(200..320).await;
        apps.remove_certificate(APP, old.der());
        apps.remove_secret(APP, "the secret");
        ask(320..400).await;
        assert!(world.tenant.requests(Endpoint::Token) >= 4);
    }
}

fn caller(number: usize) -> String {
    format!("bbbbbbbb-0000-0000-1111-{number:012}")
}

/// A Graph of a test's own, on a clock that can be moved on.
#[derive(Default)]
struct FakeGraph {
    /// What it answers callers with; nothing is their group.
    answer: Mutex<Option<(u16, Option<u64>)>>,
    calls: AtomicUsize,
    /// Where it was asked.
    hosts: Mutex<Vec<String>>,
    /// How long it takes; nothing is a moment.
    takes: Mutex<Option<Duration>>,
    at_a_time: AtomicUsize,
    most: AtomicUsize,
}

impl Exchange for FakeGraph {
    async fn exchange(
        &self,
        request: Outgoing<'_>,
        _limits: Limits,
    ) -> Result<Incoming, FetchError> {
        let answer = |status: u16, headers: HeaderMap, body: serde_json::Value| Incoming {
            status: StatusCode::from_u16(status).unwrap(),
            headers,
            body: body.to_string().into(),
        };
        if request.url.path().ends_with("/token") {
            let token = json!({ "access_token": "t", "expires_in": 3599 });
            return Ok(answer(200, HeaderMap::new(), token));
        }
        self.calls.fetch_add(1, Ordering::SeqCst);
        let now = self.at_a_time.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        self.hosts.lock().unwrap().push(request.url.host_str().unwrap_or_default().to_owned());
        let takes = *self.takes.lock().unwrap();
        tokio::time::sleep(takes.unwrap_or(Duration::from_millis(10))).await;
        self.at_a_time.fetch_sub(1, Ordering::SeqCst);
        let fault = *self.answer.lock().unwrap();
        Ok(match fault {
            None => answer(200, HeaderMap::new(), json!({ "value": [group(1)] })),
            Some((status, after)) => {
                let headers = after.map(|after| {
                    (http::header::RETRY_AFTER, HeaderValue::try_from(after.to_string()).unwrap())
                });
                answer(status, headers.into_iter().collect(), json!({ "error": { "code": "x" } }))
            }
        })
    }
}

const TENANT: &str = "11111111-2222-3333-4444-555555555555";

fn fake(
    change: impl FnOnce(GraphSettings) -> GraphSettings,
) -> (GroupResolver, Arc<FakeGraph>, ShutdownHandle, TempDir) {
    fake_of(vec![(Tenants::One(TENANT.parse().unwrap()), "https://graph.example.com")], change)
}

/// The same with these tenants, each with a Graph of its own.
fn fake_of(
    tenants: Vec<(Tenants, &str)>,
    change: impl FnOnce(GraphSettings) -> GraphSettings,
) -> (GroupResolver, Arc<FakeGraph>, ShutdownHandle, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, "secret").unwrap();
    let secret = CredentialSettings::Secret { client: APP.parse().unwrap(), file };
    let tenant = |(tenants, graph): (Tenants, &str)| {
        let login = "https://login.example.com".parse().unwrap();
        TenantSettings::new(tenants, login, graph.parse().unwrap(), vec!["api://p".to_owned()])
    };
    let settings = EntraSettings {
        graph: Some(change(patient(GraphSettings::new(secret)))),
        ..EntraSettings::new(tenants.into_iter().map(tenant).collect())
    };
    let resolver = GroupResolver::new(&settings).unwrap();
    let graph = Arc::new(FakeGraph::default());
    let (handle, shutdown) = Shutdown::new();
    let (running, exchange) = (resolver.clone(), Arc::clone(&graph));
    tokio::spawn(async move { running.run(exchange, shutdown.receiver()).await });
    (resolver, graph, handle, folder)
}

async fn of(resolver: &GroupResolver, number: usize) -> Result<Vec<GroupId>, Reason> {
    let identity = identity(TENANT, &caller(number), true);
    let known = ids(1000..1100).into();
    let groups = resolver.groups(&identity, &known, Now::read(), &mut Vec::new()).await;
    groups.map(|groups| groups.to_vec()).map_err(|denial| denial.reason)
}

/// Graph asks for silence for half a minute: it gets it from all callers, those whose
/// groups are kept go on, and the others do as soon as it is over.
#[tokio::test(start_paused = true)]
async fn throttling_is_respected_and_ends() {
    let (resolver, graph, _handle, _folder) = fake(|settings| settings);
    assert_eq!(of(&resolver, 1).await, Ok(ids([1])));
    assert_eq!((resolver.is_throttled(Now::read()), resolver.last_error()), (false, None));
    *graph.answer.lock().unwrap() = Some((429, Some(30)));
    assert_eq!(of(&resolver, 2).await, Err(Reason::GroupsUnavailable));
    assert!(resolver.is_throttled(Now::read()));
    assert!(resolver.last_error().is_some_and(|error| error.starts_with("throttled for ")));
    let asked = graph.calls.load(Ordering::SeqCst);
    let began = tokio::time::Instant::now();
    for number in 3..60 {
        assert_eq!(of(&resolver, number).await, Err(Reason::GroupsUnavailable));
        assert_eq!(of(&resolver, 1).await, Ok(ids([1])), "at hand");
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    assert!(began.elapsed() < Duration::from_secs(29));
    assert_eq!(graph.calls.load(Ordering::SeqCst), asked, "silence");
    *graph.answer.lock().unwrap() = None;
    tokio::time::sleep(Duration::from_secs(31).saturating_sub(began.elapsed())).await;
    for number in 2..60 {
        assert_eq!(of(&resolver, number).await, Ok(ids([1])), "caller {number}");
    }
    assert_eq!((resolver.is_throttled(Now::read()), resolver.last_error()), (false, None));
}

/// The entry that names a tenant most closely says which Graph is asked, wherever it stands.
#[tokio::test(start_paused = true)]
async fn the_closest_entry_of_a_tenant_says_which_graph_is_asked() {
    let other = "22222222-2222-3333-4444-555555555555";
    let third = "33333333-2222-3333-4444-555555555555";
    let tenants = vec![
        (Tenants::Any, "https://any.example.com"),
        (
            Tenants::Listed(vec![other.parse().unwrap(), TENANT.parse().unwrap()]),
            "https://listed.example.com",
        ),
        (Tenants::One(TENANT.parse().unwrap()), "https://one.example.com"),
    ];
    let (resolver, graph, _handle, _folder) = fake_of(tenants, |settings| settings);
    for (tenant, host) in
        [(TENANT, "one.example.com"), (other, "listed.example.com"), (third, "any.example.com")]
    {
        let identity = identity(tenant, &caller(1), true);
        let known = ids(1000..1100).into();
        let groups = resolver.groups(&identity, &known, Now::read(), &mut Vec::new()).await;
        assert_eq!(groups.map(|groups| groups.to_vec()).ok(), Some(ids([1])), "{tenant}");
        assert_eq!(graph.hosts.lock().unwrap().last().map(String::as_str), Some(host));
    }
}

/// A lookup ends when it must, and one that waited too long for its turn is none any more:
/// those who come later wait for no others' that nobody needs.
#[tokio::test(start_paused = true)]
async fn lookups_that_nobody_waits_for_are_not_made() {
    let (resolver, graph, _handle, _folder) = fake(|settings| GraphSettings {
        max_calls: 1,
        timeout: Duration::from_secs(2),
        wait: Duration::from_secs(3),
        ..settings
    });
    *graph.takes.lock().unwrap() = Some(Duration::from_secs(3600));
    let began = tokio::time::Instant::now();
    for answer in join_all((0..20).map(|number| of(&resolver, number))).await {
        assert_eq!(answer, Err(Reason::GroupsUnavailable));
    }
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    let error = resolver.last_error();
    assert_eq!(error.as_deref(), Some("it took longer than a lookup may"));
    *graph.takes.lock().unwrap() = None;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let calls = graph.calls.load(Ordering::SeqCst);
    assert!(calls <= 4, "{calls} calls, one every two seconds");
    assert_eq!(of(&resolver, 100).await, Ok(ids([1])));
    assert_eq!(graph.calls.load(Ordering::SeqCst), calls + 1, "at once");
}

/// Kept for a while, refreshed before it ends, and never beyond.
#[tokio::test(start_paused = true)]
async fn groups_are_kept_for_a_while() {
    let (resolver, graph, _handle, _folder) = fake(|settings| settings);
    assert_eq!(of(&resolver, 1).await, Ok(ids([1])));
    tokio::time::sleep(Duration::from_secs(200)).await;
    assert_eq!(of(&resolver, 1).await, Ok(ids([1])));
    assert_eq!(graph.calls.load(Ordering::SeqCst), 1);
    // In the last quarter it is looked up again, and nobody waits for that.
    tokio::time::sleep(Duration::from_secs(60)).await;
    let began = tokio::time::Instant::now();
    assert_eq!(of(&resolver, 1).await, Ok(ids([1])));
    assert_eq!(began.elapsed(), Duration::ZERO);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(graph.calls.load(Ordering::SeqCst), 2);
    // While Graph is down what is known stays known, to its end.
    *graph.answer.lock().unwrap() = Some((500, None));
    tokio::time::sleep(Duration::from_secs(250)).await;
    assert_eq!(of(&resolver, 1).await, Ok(ids([1])));
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(of(&resolver, 1).await, Ok(ids([1])));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(of(&resolver, 1).await, Err(Reason::GroupsUnavailable));
    *graph.answer.lock().unwrap() = None;
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(of(&resolver, 1).await, Ok(ids([1])));
}

/// Many callers at once: so many lookups at a time and no more, and what is kept stays
/// within its bounds.
#[tokio::test(start_paused = true)]
async fn lookups_and_memory_are_bounded() {
    let (resolver, graph, _handle, _folder) = fake(|settings| GraphSettings {
        max_calls: 4,
        cache: stagedoor::bounded::Bounds { max_entries: 100, max_bytes: 1 << 20 },
        ..settings
    });
    let mut seen = HashMap::new();
    for round in 0..20 {
        let numbers = round * 50..(round + 1) * 50;
        for answer in join_all(numbers.map(|number| of(&resolver, number))).await {
            assert_eq!(answer, Ok(ids([1])));
        }
        let stats = resolver.stats();
        assert!(stats.entries <= 100 && stats.bytes <= 1 << 20, "{stats:?}");
        seen.insert(stats.entries, ());
    }
    assert_eq!(graph.most.load(Ordering::SeqCst), 4);
    assert_eq!(graph.calls.load(Ordering::SeqCst), 1000);
    assert!(seen.keys().any(|entries| *entries >= 50), "{seen:?}");
}
