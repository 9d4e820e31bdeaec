//! What a real Backstage answered, good and bad, and what becomes of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use proptest::prelude::*;
use serde_json::{Value, json};
use stagedoor::catalog::{
    BackstageSettings, Catalog, CatalogSettings, CatalogState, Finding, GuardSettings, Membership,
    Snapshot, SourceSettings, load_folder, load_once,
};
use stagedoor::clock::Now;
use stagedoor::domain::{EntityRef, Holder, Identity, IdentityKind, TokenFacts};
use stagedoor::fetch::{Exchange, FetchError, Incoming, Limits, Outgoing};
use stagedoor::shutdown::Shutdown;
use url::Url;

/// Answers by cursor; the first page has none.
#[derive(Default)]
struct Pages {
    answers: Mutex<HashMap<String, Answer>>,
    asked: Mutex<Vec<Url>>,
}

#[derive(Clone)]
enum Answer {
    Body(String),
    Status(u16),
    /// For pages of at most so many; larger ones are too large.
    Upto(usize, String),
}

impl Pages {
    fn of(body: impl ToString) -> Self {
        let pages = Self::default();
        pages.set("", Answer::Body(body.to_string()));
        pages
    }

    fn set(&self, cursor: &str, answer: Answer) {
        self.answers.lock().unwrap().insert(cursor.to_owned(), answer);
    }

    fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

impl Exchange for Pages {
    async fn exchange(
        &self,
        request: Outgoing<'_>,
        _limits: Limits,
    ) -> Result<Incoming, FetchError> {
        let url = request.url;
        self.asked.lock().unwrap().push(url.clone());
        let cursor = url.query_pairs().find(|(name, _)| name == "cursor");
        let cursor = cursor.map_or(String::new(), |(_, value)| value.into_owned());
        match self.answers.lock().unwrap().get(&cursor).cloned() {
            Some(Answer::Body(body)) => {
                let json = HeaderValue::from_static("application/json; charset=utf-8");
                let headers = [(header::CONTENT_TYPE, json)].into_iter().collect();
                Ok(Incoming { status: StatusCode::OK, body: body.into(), headers })
            }
            Some(Answer::Upto(most, body)) => {
                let limit = url.query_pairs().find(|(name, _)| name == "limit").unwrap();
                if limit.1.parse::<usize>().unwrap() > most {
                    return Err(FetchError::TooLarge { url: url.clone(), limit: 1 });
                }
                let json = HeaderValue::from_static("application/json; charset=utf-8");
                let headers = [(header::CONTENT_TYPE, json)].into_iter().collect();
                Ok(Incoming { status: StatusCode::OK, body: body.into(), headers })
            }
            Some(Answer::Status(status)) => Ok(Incoming {
                status: StatusCode::from_u16(status).unwrap(),
                body: Bytes::new(),
                headers: HeaderMap::new(),
            }),
            None => panic!("nobody gave the cursor `{cursor}`"),
        }
    }
}

fn capture(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures/backstage");
    std::fs::read_to_string(folder.join(name)).unwrap()
}

fn settings(trusted: &[&str]) -> CatalogSettings {
    CatalogSettings {
        source: SourceSettings::Backstage(BackstageSettings {
            url: "https://backstage.example.com".parse().unwrap(),
            token_file: None,
            page_size: 3,
            crawl_timeout: Duration::from_secs(60),
            trusted_id_locations: trusted.iter().map(ToString::to_string).collect(),
            graph_providers: Vec::new(),
        }),
        refresh_every: Duration::from_secs(60),
        max_age: Duration::from_secs(3600),
        // What these do has tests of its own.
        guard: GuardSettings {
            max_loss_percent: 100,
            max_reassigned_percent: 100,
            adopt_after: 10,
        },
        root_groups_grant: true,
        store: None,
        shared: None,
    }
}

async fn crawl(pages: &Pages, trusted: &[&str]) -> Result<Snapshot, String> {
    load_once(&settings(trusted), pages).await.map_err(|error| error.to_string())
}

fn entity(text: &str) -> EntityRef {
    EntityRef::parse(text).unwrap()
}

fn identity(oid: &str, groups: &[&str]) -> Identity {
    let mut groups: Vec<_> = groups.iter().map(|id| id.parse().unwrap()).collect();
    groups.sort_unstable();
    Holder {
        tenant: "11111111-2222-3333-4444-555555555555".parse().unwrap(),
        object: oid.parse().unwrap(),
        kind: IdentityKind::User,
        delegated: true,
        client: None,
        groups: groups.into(),
        group_names: Box::new([]),
        groups_elsewhere: false,
        roles: Box::new([]),
        scopes: Box::new([]),
        issued_at: 0,
        expires_at: 0,
        facts: TokenFacts::default(),
    }
    .into()
}

fn groups(snapshot: &Snapshot, identity: &Identity, membership: Membership) -> Vec<String> {
    snapshot
        .groups_of(identity, &identity.groups(), membership)
        .iter()
        .map(ToString::to_string)
        .collect()
}

fn owners(snapshot: &Snapshot, of: &str) -> Option<Vec<String>> {
    let entity = snapshot.entity(&entity(of))?;
    Some(entity.owners().map(ToString::to_string).collect())
}

const STRANGER: &str = "dddddddd-0000-0000-0000-000000000001";

/// What the captured organisation says, whoever read it.
fn check_acme(snapshot: &Snapshot) {
    for (of, want) in [
        ("component:default/artist-lookup", &["group:default/team-a"][..]),
        ("component:default/artist-lookup-worker", &["group:default/team-b"]),
        ("api:default/artist-api", &["group:default/team-c"]),
        ("resource:default/artists-db", &["group:default/team-a"]),
        ("system:default/artist-engagement-portal", &["group:default/team-a"]),
        ("domain:default/artists", &["group:default/team-a"]),
        ("component:default/user-owned", &["user:default/guest"]),
        ("component:other-ns/mixed.case_name", &["group:default/team-a"]),
        ("component:other-ns/cross-ns", &["group:other-ns/team-e_big.name"]),
        // Owners that are not there grant nothing.
        ("component:default/dangling-owned", &[]),
        ("component:other-ns/implicit-ns", &[]),
    ] {
        assert_eq!(
            owners(snapshot, of).as_deref(),
            Some(&want.iter().map(ToString::to_string).collect::<Vec<_>>()[..]),
            "{of}"
        );
    }
    for absent in [
        "component:other-ns/bad-namespace",
        "group:default/team-a",
        "user:default/guest",
        "component:default/none",
    ] {
        assert_eq!(owners(snapshot, absent), None, "{absent}");
    }
    let lookup = snapshot.entity(&entity("component:default/artist-lookup")).unwrap();
    let parts: Vec<_> = lookup.part_of().map(ToString::to_string).collect();
    assert_eq!(parts, ["system:default/artist-engagement-portal"]);
    assert_eq!(lookup.lifecycle(), Some("production"));
    assert_eq!(lookup.spec_type(), Some("service"));

    // A member of a team is in everything above it.
    let above_a = [
        "group:default/acme-corp",
        "group:default/backstage",
        "group:default/infrastructure",
        "group:default/team-a",
    ];
    let by_token = |id: &str| groups(snapshot, &identity(STRANGER, &[id]), Membership::Token);
    assert_eq!(by_token("aaaaaaaa-0000-0000-0000-00000000000a"), above_a);
    assert_eq!(
        by_token("aaaaaaaa-0000-0000-0000-000000000001"),
        ["group:default/acme-corp", "group:default/backstage", "group:default/infrastructure"]
    );
    assert!(by_token("eeeeeeee-0000-0000-0000-000000000001").is_empty());

    // Either side can say who is in a group.
    let breanna = "bbbbbbbb-0000-0000-0000-000000000001";
    let own = "user:default/breanna.davison".to_owned();
    let with_own = |groups: &[&str]| {
        groups.iter().map(ToString::to_string).chain([own.clone()]).collect::<Vec<_>>()
    };
    let team_b = identity(breanna, &["aaaaaaaa-0000-0000-0000-00000000000b"]);
    let all = [
        "group:default/acme-corp",
        "group:default/backstage",
        "group:default/infrastructure",
        "group:default/team-a",
        "group:default/team-b",
    ];
    let common =
        ["group:default/acme-corp", "group:default/backstage", "group:default/infrastructure"];
    assert_eq!(groups(snapshot, &team_b, Membership::Catalog), with_own(&above_a));
    assert_eq!(groups(snapshot, &team_b, Membership::Either), with_own(&all));
    assert_eq!(groups(snapshot, &team_b, Membership::Both), with_own(&common));
    // An application is nobody's user, whatever its object id.
    let robot = Holder {
        kind: IdentityKind::Workload,
        delegated: false,
        ..identity(breanna, &[]).holder()
    }
    .into();
    assert!(groups(snapshot, &robot, Membership::Either).is_empty());
}

#[tokio::test]
async fn the_captured_organisation() {
    // Its file is listed as trusted; the ids in it then count.
    let pages = Pages::of(capture("by-query-default.json"));
    let snapshot = crawl(&pages, &["file:/srv/backstage/catalog/"]).await.unwrap();
    check_acme(&snapshot);
    assert_eq!(snapshot.counts(), (11, 8, 6));
    let findings: Vec<_> = snapshot.findings().iter().map(|f| f.entity.as_str()).collect();
    assert_eq!(
        findings,
        [
            "component:default/dangling-owned",
            "component:other-ns/implicit-ns",
            "group:other-ns/team-e_big.name",
            "user:default/dangling"
        ]
    );

    // The same file, read from a folder, says the same.
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("acme-org.yaml"), capture("acme-org.yaml")).unwrap();
    let from_folder = load_folder(folder.path(), true).unwrap();
    check_acme(&from_folder);
    assert_eq!(from_folder.version(), snapshot.version());
}

/// What a denied person may be told of reaching a team, and nothing else of what stands
/// there.
#[tokio::test]
async fn contacts_of_groups() {
    let group = |email: &str, links: Value| {
        json!({
            "kind": "Group",
            "metadata": { "name": "team", "links": links },
            "spec": { "type": "team", "profile": { "displayName": "Team", "email": email } },
        })
    };
    let page = |group: Value| {
        let user = json!({
            "kind": "User",
            "metadata": { "name": "ann", "links": [{ "url": "https://ann.example.com" }] },
            "spec": { "profile": { "displayName": "Ann", "email": "ann@example.com" } },
        });
        let owned_by = |owner: &str| json!({ "type": "ownedBy", "targetRef": owner });
        let component = json!({
            "kind": "Component",
            "metadata": { "name": "c", "links": [{ "url": "https://c.example.com" }] },
            "spec": { "type": "service" },
            "relations": [owned_by("group:default/team"), owned_by("user:default/ann")],
        });
        let items = [group, user, component];
        json!({ "items": items, "totalItems": items.len(), "pageInfo": {} }).to_string()
    };
    let crawled = async |group: Value| crawl(&Pages::of(page(group)), &[]).await.unwrap();
    let read = |snapshot: &Snapshot| {
        let owner = snapshot.owner(&entity("group:default/team"));
        assert_eq!(&*owner.title, "Team");
        let contact = owner.contact?;
        let links = contact.links.iter().map(|link| format!("{} {}", link.title(), link.url()));
        let email = contact.email.as_ref().map(|email| email.as_str().to_owned());
        Some((email, links.collect::<Vec<_>>()))
    };

    let links = json!([
        { "url": "https://chat.example.com/team", "title": "Chat\u{202e}\n" },
        { "url": "javascript:alert(1)", "title": "Click" },
        { "title": "nowhere" },
        { "url": 7 },
        "https://example.com",
        { "url": "https://user:secret@example.com" },
        { "url": "http://wiki.example.com", "icon": "docs" },
        { "url": "https://3.example.com" },
        { "url": "https://4.example.com" },
        { "url": "https://5.example.com" },
        { "url": "https://6.example.com" },
    ]);
    let snapshot = crawled(group("team@example.com", links)).await;
    let want = [
        "Chat https://chat.example.com/team",
        "wiki.example.com http://wiki.example.com/",
        "3.example.com https://3.example.com/",
        "4.example.com https://4.example.com/",
        "5.example.com https://5.example.com/",
    ];
    assert_eq!(
        read(&snapshot).unwrap(),
        (Some("team@example.com".to_owned()), want.map(str::to_owned).to_vec())
    );
    // Those of a person are theirs to give away.
    let person = snapshot.owner(&entity("user:default/ann"));
    assert_eq!((&*person.title, person.contact), ("Ann", None));

    for (email, links) in [
        ("", json!([])),
        ("team@example.com\r\nbcc: x@example.com", json!("https://example.com")),
        ("<team@example.com>", json!({ "url": "https://example.com" })),
        ("team@example.com?bcc=x@example.com", json!(null)),
    ] {
        assert_eq!(read(&crawled(group(email, links)).await), None, "{email:?}");
    }
    // They are told like titles, so another one is another content.
    let a = crawled(group("a@example.com", json!([]))).await;
    let b = crawled(group("b@example.com", json!([]))).await;
    assert_ne!(a.version(), b.version());
    assert_eq!(a.version(), crawled(group("a@example.com", json!([]))).await.version());

    // A folder of files says the same.
    let folder = tempfile::tempdir().unwrap();
    let text = r#"
kind: Group
metadata: { name: team }
spec: { type: team, profile: { displayName: Team, email: a@example.com } }
---
kind: User
metadata: { name: ann }
spec: { profile: { displayName: Ann, email: ann@example.com } }
---
kind: Component
metadata: { name: c }
spec: { type: service, owner: team }
"#;
    std::fs::write(folder.path().join("all.yaml"), text).unwrap();
    let from_folder = load_folder(folder.path(), true).unwrap();
    assert_eq!(read(&from_folder), read(&a));
}

#[tokio::test]
async fn ids_from_a_file_are_not_believed() {
    let snapshot = crawl(&Pages::of(capture("by-query-default.json")), &[]).await.unwrap();
    let caller =
        identity("bbbbbbbb-0000-0000-0000-000000000001", &["aaaaaaaa-0000-0000-0000-00000000000a"]);
    for membership in [Membership::Token, Membership::Catalog, Membership::Either, Membership::Both]
    {
        assert!(groups(&snapshot, &caller, membership).is_empty(), "{membership:?}");
    }
    assert!(snapshot.findings().iter().any(|f| f.message.contains("not believed")));
}

#[tokio::test]
async fn ids_of_the_graph_provider() {
    // Nobody owns anything in the capture of the provider alone.
    let error = crawl(&Pages::of(capture("msgraph-entities.json")), &[]).await.unwrap_err();
    assert!(error.contains("owned"), "{error}");

    // With forged entities beside it: a group from a file repeats the id of a real one,
    // and a user without an id claims a real one's place.
    let snapshot = crawl(&Pages::of(capture("forged-entities.json")), &[]).await.unwrap();
    let in_group = |id: &str| groups(&snapshot, &identity(STRANGER, &[id]), Membership::Token);
    assert_eq!(
        in_group("aaaaaaaa-0000-0000-0000-000000000002"),
        [
            "group:default/contoso_corp",
            "group:default/platform_engineering",
            "group:default/sre_on-call_eu"
        ],
        "the forged group does not count, and does not unbind the real one"
    );
    // Two groups of the directory became one entity; it has one id.
    assert_eq!(
        in_group("aaaaaaaa-0000-0000-0000-000000000004"),
        ["group:default/contoso_corp", "group:default/payments_billing"]
    );
    assert!(in_group("aaaaaaaa-0000-0000-0000-000000000003").is_empty());
    assert_eq!(
        owners(&snapshot, "component:default/forged-uid-etag").unwrap(),
        ["group:default/payments_billing"]
    );
    // The provider repeats the id in its location; who doesn't is not believed.
    let capture_of = capture("msgraph-entities.json");
    let location = "msgraph:default/aaaaaaaa-0000-0000-0000-000000000002";
    assert!(capture_of.contains(location));
    for other in [
        "msgraph:default/aaaaaaaa-0000-0000-0000-000000000009",
        "msgraph:/aaaaaaaa-0000-0000-0000-000000000002",
        "msgraph:default",
    ] {
        let changed = capture("forged-entities.json").replace(location, other);
        let snapshot = crawl(&Pages::of(changed), &[]).await.unwrap();
        let caller = identity(STRANGER, &["aaaaaaaa-0000-0000-0000-000000000002"]);
        assert!(groups(&snapshot, &caller, Membership::Token).is_empty(), "{other}");
    }
    // Were the file trusted, the id would be claimed twice, and be nobody's.
    let trusting =
        crawl(&Pages::of(capture("forged-entities.json")), &["file:/srv/"]).await.unwrap();
    let caller = identity(STRANGER, &["aaaaaaaa-0000-0000-0000-000000000002"]);
    assert!(groups(&trusting, &caller, Membership::Token).is_empty());
}

/// An entity as the catalog API gives it, from this location.
fn served(kind: &str, name: &str, location: &str, more: Value) -> Value {
    let mut entity = json!({
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": "default",
            "annotations": { "backstage.io/managed-by-location": location },
        },
        "spec": {},
        "relations": [],
    });
    for (name, value) in more.as_object().unwrap() {
        match name.as_str() {
            "id" => {
                let key = match kind {
                    "Group" => "graph.microsoft.com/group-id",
                    _ => "graph.microsoft.com/user-id",
                };
                entity["metadata"]["annotations"][key] = value.clone();
            }
            "title" => entity["spec"] = json!({ "profile": { "displayName": value } }),
            relation => {
                for target in value.as_array().unwrap() {
                    let relations = entity["relations"].as_array_mut().unwrap();
                    relations.push(json!({ "type": relation, "targetRef": target }));
                }
            }
        }
    }
    entity
}

fn page(items: Vec<Value>) -> Pages {
    Pages::of(json!({ "totalItems": items.len(), "items": items, "pageInfo": {} }))
}

/// Anybody who may register a file can put a group between two others, or a user into one.
#[tokio::test]
async fn nobody_joins_a_team_by_a_file_of_their_own() {
    const TEAM: &str = "aaaaaaaa-0000-0000-0000-000000000001";
    const CHILD: &str = "aaaaaaaa-0000-0000-0000-000000000002";
    const OUTSIDE: &str = "aaaaaaaa-0000-0000-0000-000000000003";
    const USER: &str = "bbbbbbbb-0000-0000-0000-000000000001";
    let graph = |id: &str| format!("msgraph:default/{id}");
    let evil = "url:https://github.com/somebody/repo/catalog-info.yaml";
    let items = vec![
        served("Group", "platform", &graph(TEAM), json!({ "id": TEAM })),
        served(
            "Group",
            "child",
            &graph(CHILD),
            json!({ "id": CHILD, "childOf": ["group:default/platform"] }),
        ),
        // The relation stands on the real group, but only the forged one said so.
        served(
            "Group",
            "outside",
            &graph(OUTSIDE),
            json!({ "id": OUTSIDE, "childOf": ["group:default/evil"] }),
        ),
        served("Group", "evil", evil, json!({ "childOf": ["group:default/platform"] })),
        served(
            "User",
            "me",
            &graph(USER),
            json!({ "id": USER, "memberOf": ["group:default/evil", "group:default/child"] }),
        ),
        served("Component", "service", evil, json!({ "ownedBy": ["group:default/platform"] })),
    ];
    let snapshot = crawl(&page(items), &[]).await.unwrap();
    let by_token = |id: &str| groups(&snapshot, &identity(STRANGER, &[id]), Membership::Token);
    assert_eq!(by_token(CHILD), ["group:default/child", "group:default/platform"]);
    assert_eq!(by_token(OUTSIDE), ["group:default/outside"], "no way up over the forged group");
    let by_catalog = groups(&snapshot, &identity(USER, &[]), Membership::Catalog);
    assert_eq!(by_catalog, ["group:default/child", "group:default/platform", "user:default/me"]);
    let findings = snapshot.findings();
    for (entity, other) in [
        ("group:default/outside", "`group:default/evil` is not believed"),
        ("user:default/me", "`group:default/evil` is not believed"),
        ("group:default/evil", "`group:default/platform` is not believed"),
    ] {
        let found = |f: &Finding| f.entity == entity && f.message.contains(other);
        assert!(findings.iter().any(found), "{entity} {other} {findings:?}");
    }
}

/// A location is trusted with what is below it, not with where dots in it lead.
#[tokio::test]
async fn a_location_that_climbs_is_not_trusted() {
    const TEAM: &str = "aaaaaaaa-0000-0000-0000-000000000001";
    let trusted = "url:https://github.com/contoso/org/";
    for (rest, believed) in [
        ("blob/main/teams.yaml", true),
        ("blob/main/a.b/teams..yaml", false),
        ("blob/main/../../../../evil/repo/x.yaml", false),
        ("blob/main/%2e%2e/%2E./x.yaml", false),
        ("blob/main/%252e%252e/x.yaml", false),
        ("blob/main/..\\x.yaml", false),
    ] {
        let location = format!("{trusted}{rest}");
        let items = vec![
            served("Group", "team", &location, json!({ "id": TEAM })),
            served("Component", "service", trusted, json!({ "ownedBy": ["group:default/team"] })),
        ];
        let snapshot = crawl(&page(items), &[trusted]).await.unwrap();
        let groups = groups(&snapshot, &identity(STRANGER, &[TEAM]), Membership::Token);
        assert_eq!(!groups.is_empty(), believed, "{rest}");
    }
}

/// Of a thousand entities one may come or go during the last crawl, and no more.
#[tokio::test(start_paused = true)]
async fn a_lively_catalog_makes_a_snapshot() {
    let items = |count: usize| -> Vec<Value> {
        let location = "url:https://github.com/contoso/org/all.yaml";
        let component = |number: usize| {
            let owner = json!({ "ownedBy": ["group:default/team"] });
            served("Component", &format!("c{number}"), location, owner)
        };
        let team = served("Group", "team", location, json!({}));
        std::iter::once(team).chain((1..count).map(component)).collect()
    };
    for (came, announced, good) in [
        (2000, 2000, true),
        (2000, 2002, true),
        (2000, 2003, false),
        (2002, 2000, true),
        (2003, 2000, false),
    ] {
        let body = json!({ "totalItems": announced, "items": items(came), "pageInfo": {} });
        let made = crawl(&Pages::of(body), &[]).await;
        assert_eq!(made.is_ok(), good, "{came} of {announced}: {:?}", made.err());
    }
}

/// Whoever registers large entities doesn't end the crawl: smaller pages are asked for.
#[tokio::test]
async fn pages_that_are_too_large_are_asked_for_in_parts() {
    let body = capture("by-query-default.json");
    for (most, good) in [(3, true), (1, true), (0, false)] {
        let pages = Pages::default();
        pages.set("", Answer::Upto(most, body.clone()));
        let made = crawl(&pages, &[]).await;
        assert_eq!(made.is_ok(), good, "{most}: {:?}", made.err());
    }
}

/// Titles reach people and bodies: nothing in them moves what stands around.
#[tokio::test]
async fn titles_are_plain_and_short() {
    let long = "x".repeat(1000);
    for (title, want) in [
        ("Payments \u{202e}gnp.exe\u{2066}", "Payments gnp.exe"),
        ("a\r\nset-cookie: x\0", "aset-cookie: x"),
        ("  ", "team"),
        ("", "team"),
        (&long, &long[..100]),
    ] {
        let items = vec![
            served("Group", "team", "file:/x", json!({ "title": title })),
            served("Component", "service", "file:/x", json!({ "ownedBy": ["group:default/team"] })),
        ];
        let snapshot = crawl(&page(items), &["file:"]).await.unwrap();
        assert_eq!(&*snapshot.title(&entity("group:default/team")).unwrap(), want);
    }
}

/// Domains within domains, deeper than anything real: found once, bounded, and nothing that
/// a policy could miss.
#[tokio::test]
async fn what_is_part_of_too_much_is_left_out() {
    let chain = |length: usize| {
        let mut items = vec![
            served("Group", "team", "file:/x", json!({})),
            served("Component", "other", "file:/x", json!({ "ownedBy": ["group:default/team"] })),
            served(
                "Component",
                "service",
                "file:/x",
                json!({ "ownedBy": ["group:default/team"], "partOf": ["domain:default/d0"] }),
            ),
        ];
        for number in 0..length {
            let next = format!("domain:default/d{}", number + 1);
            items.push(served(
                "Domain",
                &format!("d{number}"),
                "file:/x",
                json!({ "partOf": [next] }),
            ));
        }
        page(items)
    };
    let wholes = async |pages: Pages| {
        let snapshot = crawl(&pages, &["file:"]).await.unwrap();
        assert!(snapshot.entity(&entity("component:default/other")).is_some());
        snapshot.entity(&entity("component:default/service")).map(|entity| entity.wholes().count())
    };
    assert_eq!(wholes(chain(32)).await, Some(32));
    assert_eq!(wholes(chain(33)).await, None);
    assert_eq!(wholes(chain(5000)).await, None);
}

#[tokio::test]
async fn groups_that_are_nested_without_end() {
    // Ten thousand groups in a chain are fifty million pairs.
    let mut items =
        vec![served("Component", "service", "file:/x", json!({ "ownedBy": ["group:default/g0"] }))];
    for number in 0..10_000 {
        let next = format!("group:default/g{}", number + 1);
        items.push(served("Group", &format!("g{number}"), "file:/x", json!({ "childOf": [next] })));
    }
    let error = crawl(&page(items), &["file:"]).await.unwrap_err();
    assert!(error.contains("nested too deeply"), "{error}");
}

/// What it is called, what is answered by cursor, and what the error says.
type Case<'a> = (&'a str, Vec<(&'a str, Answer)>, &'a str);

#[tokio::test(start_paused = true)]
async fn answers_that_make_no_snapshot() {
    let page2 = capture("by-query-page2-fields.json");
    let page1 = capture("by-query-page1-fields.json");
    let cursor = |page: &str| {
        let page: Value = serde_json::from_str(page).unwrap();
        page["pageInfo"]["nextCursor"].as_str().unwrap().to_owned()
    };
    let (second, third) = (cursor(&page1), cursor(&page2));
    let default = capture("by-query-default.json");
    let half: String = default.chars().take(default.len() / 2).collect();
    let body = Answer::Body;
    let cases: Vec<Case<'_>> = vec![
        ("nothing", vec![("", body(capture("by-query-empty.json")))], "200 with no entities"),
        (
            "a token that may read nothing",
            vec![("", body(capture("wrong-permission-200-empty.json")))],
            "200 with no entities",
        ),
        (
            "only a count",
            vec![("", body(capture("by-query-limit0.json")))],
            "0 entities came, 26 were announced",
        ),
        (
            "no count",
            vec![("", body(capture("by-query-exclude-total.json")))],
            "2 entities came, 0 were announced",
        ),
        ("cut off", vec![("", body(half))], "page 1 is cut off"),
        ("a page for people", vec![("", body("<html>".to_owned()))], "page 1 is no answer"),
        (
            "an error as a page",
            vec![("", body(capture("err-db-down.json")))],
            "page 1 is no answer",
        ),
        ("401", vec![("", Answer::Status(401))], "(401)"),
        ("403", vec![("", Answer::Status(403))], "(403)"),
        ("404", vec![("", Answer::Status(404))], "(404)"),
        ("503", vec![("", Answer::Status(503))], "(503)"),
        ("500", vec![("", Answer::Status(500))], "500"),
        ("a redirect", vec![("", Answer::Status(302))], "302"),
        (
            "an error on the second page",
            vec![("", body(page1.clone())), (&second, Answer::Status(500))],
            "500",
        ),
        (
            "a cursor that ended",
            vec![("", body(page1.clone())), (&second, Answer::Status(400))],
            "400",
        ),
        (
            "entities that went away",
            vec![
                ("", body(page1.clone())),
                (&second, body(page2.clone())),
                (&third, body(capture("by-query-empty.json"))),
            ],
            "were announced",
        ),
        (
            "a page twice",
            vec![
                ("", body(page1.clone())),
                (&second, body(page1.replace(&second, &third))),
                (
                    &third,
                    body(
                        json!({ "items": vec![json!({}); 20], "totalItems": 26, "pageInfo": {} })
                            .to_string(),
                    ),
                ),
            ],
            "more than once",
        ),
    ];
    for (name, answers, want) in cases {
        let pages = Pages::default();
        for (cursor, answer) in answers {
            pages.set(cursor, answer);
        }
        let error = crawl(&pages, &[]).await.expect_err(name);
        assert!(error.contains(want), "{name}: {error}");
        assert!(!error.contains("metadata"), "{name}: {error}");
    }
}

#[tokio::test]
async fn each_page_asks_for_fields_and_limit() {
    let page1 = capture("by-query-page1-fields.json");
    let first: Value = serde_json::from_str(&page1).unwrap();
    let second = first["pageInfo"]["nextCursor"].as_str().unwrap().to_owned();
    let pages = Pages::of(&page1);
    let all: Value = serde_json::from_str(&capture("by-query-default.json")).unwrap();
    let seen: Vec<&Value> =
        first["items"].as_array().unwrap().iter().map(|e| &e["metadata"]["uid"]).collect();
    let rest: Vec<&Value> = all["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|e| !seen.contains(&&e["metadata"]["uid"]))
        .collect();
    pages.set(
        &second,
        Answer::Body(json!({ "items": rest, "totalItems": 26, "pageInfo": {} }).to_string()),
    );
    let snapshot = crawl(&pages, &["file:/srv/backstage/catalog/"]).await.unwrap();
    check_acme(&snapshot);
    let asked = pages.asked.lock().unwrap();
    assert_eq!(asked.len(), 3);
    // At the end it counts again.
    assert!(asked[2].query().unwrap().starts_with("limit=0&"));
    for url in &asked[..2] {
        assert_eq!(url.path(), "/api/catalog/entities/by-query");
        let query: BTreeMap<_, _> = url.query_pairs().into_owned().collect();
        assert_eq!(query["limit"], "3");
        assert!(query["fields"].contains("relations"), "{url}");
    }
    // The cursor holds the filter; sent again it would be refused.
    assert!(asked[0].query().unwrap().contains("filter="));
    assert!(!asked[1].query().unwrap().contains("filter="));
}

#[test]
fn folders_that_make_no_snapshot() {
    let good = capture("acme-org.yaml");
    for (files, want) in [
        (&[][..], "no groups"),
        (&[("a.yaml", "")][..], "no groups"),
        (&[("a.yaml", &*good), ("b.yaml", "kind: [\n")], "b.yaml:"),
        (&[("a.yaml", &*good), ("b.yml", "---\nkind: Component\n")], "b.yml:1: not an entity"),
        (&[("a.yaml", &*good), ("b.yaml", "just text")], "not an entity"),
        (&[("a.yaml", &*good), ("b.yaml", "a: 1\na: 2\n")], "b.yaml:"),
        (&[("a.json", &*good)], "no groups"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let error = load_folder(folder.path(), true).unwrap_err().to_string();
        assert!(error.contains(want), "{files:?}: {error}");
    }
    let error = load_folder(Path::new("/no/such/folder"), true).unwrap_err().to_string();
    assert!(error.contains("/no/such/folder"), "{error}");
    // What is there twice grants nothing.
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.yaml"), &good).unwrap();
    let twice = "apiVersion: v1\nkind: Component\nmetadata: { name: Artist-Lookup }\nspec: { owner: team-b }\n";
    std::fs::create_dir(folder.path().join("deeper")).unwrap();
    std::fs::write(folder.path().join("deeper/b.yaml"), twice).unwrap();
    let snapshot = load_folder(folder.path(), true).unwrap();
    assert_eq!(owners(&snapshot, "component:default/artist-lookup"), None);
}

/// Down at start, up, down for a while, down for too long, up with another owner.
#[tokio::test(start_paused = true)]
async fn the_snapshot_outlives_an_outage_but_not_its_age() {
    let pages = std::sync::Arc::new(Pages::default());
    pages.set("", Answer::Status(503));
    let catalog = Catalog::new(settings(&["file:"]));
    let (handle, shutdown) = Shutdown::new();
    let run = tokio::spawn({
        let (catalog, pages) = (catalog.clone(), std::sync::Arc::clone(&pages));
        async move { catalog.run(pages, shutdown.receiver()).await }
    });
    let now = || Now { unix: 0, instant: tokio::time::Instant::now() };
    let owner = |snapshot: &Snapshot| owners(snapshot, "component:default/artist-lookup").unwrap();
    let pass = |seconds| tokio::time::sleep(Duration::from_secs(seconds));

    pass(10).await;
    assert!(matches!(catalog.current(now()), CatalogState::Initializing));
    assert!(catalog.status(now()).last_error.unwrap().message.contains("503"));
    assert!(pages.asked() >= 3, "it tries again, and not only each minute");

    pages.set("", Answer::Body(capture("by-query-default.json")));
    pass(40).await;
    let CatalogState::Fresh(first) = catalog.current(now()) else { panic!("fresh") };
    assert_eq!(owner(&first), ["group:default/team-a"]);
    assert_eq!(catalog.status(now()).last_error, None);

    // None of these replaces what is known.
    for answer in [
        Answer::Status(500),
        Answer::Body(capture("wrong-permission-200-empty.json")),
        Answer::Body("{}".to_owned()),
    ] {
        pages.set("", answer);
        let before = pages.asked();
        pass(90).await;
        assert!(pages.asked() > before);
        let (CatalogState::Fresh(now) | CatalogState::Stale(now)) = catalog.current(now()) else {
            panic!("usable")
        };
        assert_eq!(now.version(), first.version());
        assert!(
            catalog
                .status(self::Now { unix: 0, instant: tokio::time::Instant::now() })
                .last_error
                .is_some()
        );
    }
    pass(3600).await;
    assert!(matches!(catalog.current(now()), CatalogState::Expired));

    let changed = capture("by-query-default.json")
        .replace(r#""targetRef":"group:default/team-a""#, r#""targetRef":"group:default/team-b""#);
    pages.set("", Answer::Body(changed));
    pass(60).await;
    let CatalogState::Fresh(second) = catalog.current(now()) else { panic!("fresh") };
    assert_eq!(owner(&second), ["group:default/team-b"]);
    assert_ne!(second.version(), first.version());

    // Asked for, it comes at once.
    let before = pages.asked();
    catalog.refresh_now();
    pass(1).await;
    assert_eq!(pages.asked(), before + 2, "the entities, and how many there are");
    handle.drain();
    run.await.unwrap();
}

/// Everything above a group, by walking until nothing is new.
fn naive_closure(parents: &[BTreeSet<usize>], start: &BTreeSet<usize>) -> BTreeSet<usize> {
    let mut all = start.clone();
    loop {
        let more: BTreeSet<usize> =
            all.iter().flat_map(|group| parents[*group].iter().copied()).collect();
        let before = all.len();
        all.extend(more);
        if all.len() == before {
            return all;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// On any graph of groups, cycles included, who is in what is what a naive walk
    /// finds; and the order in which entities arrive changes nothing.
    #[test]
    fn membership_is_the_closure(
        parents in proptest::collection::vec(proptest::collection::btree_set(0_usize..12, 0..3), 12),
        member in proptest::collection::btree_set(0_usize..12, 0..4),
        seed in any::<u64>(),
    ) {
        let id = |group: usize| format!("aaaaaaaa-0000-0000-0000-0000000000{group:02x}");
        let mut items: Vec<Value> = parents.iter().enumerate().map(|(group, parents)| {
            let relations: Vec<Value> = parents.iter().map(|parent| json!({
                "type": "childOf", "targetRef": format!("group:default/g{parent:02}"),
            })).collect();
            // The zero GUID binds nothing; ids begin at one here.
            json!({
                "kind": "Group",
                "metadata": { "name": format!("g{group:02}"), "annotations": {
                    "backstage.io/managed-by-location": format!("msgraph:default/{}", id(group + 1)),
                    "graph.microsoft.com/group-id": id(group + 1),
                } },
                "relations": relations,
            })
        }).collect();
        items.push(json!({
            "kind": "Component", "metadata": { "name": "c" },
            "relations": [{ "type": "ownedBy", "targetRef": "group:default/g00" }],
        }));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let compile = |items: &[Value]| {
            let body = json!({ "items": items, "totalItems": items.len(), "pageInfo": {} });
            runtime.block_on(crawl(&Pages::of(body), &[])).unwrap()
        };
        let snapshot = compile(&items);
        let token: Vec<String> = member.iter().map(|group| id(group + 1)).collect();
        let token: Vec<&str> = token.iter().map(String::as_str).collect();
        let got: BTreeSet<String> =
            groups(&snapshot, &identity(STRANGER, &token), Membership::Token).into_iter().collect();
        let want: BTreeSet<String> = naive_closure(&parents, &member)
            .into_iter().map(|group| format!("group:default/g{group:02}")).collect();
        prop_assert_eq!(got, want);

        // Another order.
        let rotate = usize::try_from(seed % 13).unwrap();
        items.rotate_left(rotate);
        if seed % 2 == 0 {
            items.reverse();
        }
        let shuffled = compile(&items);
        prop_assert_eq!(shuffled.version(), snapshot.version());
    }
}
