//! What fuzzing asserts of the catalog: nothing that anybody could write into it, or into a
//! file of ours, makes Stagedoor panic or believe what it must not.

#![allow(dead_code, reason = "each fuzz target uses its own part of this module")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "in a test a panic is the result")]
#![allow(clippy::indexing_slicing, clippy::string_slice, clippy::panic, reason = "as above")]

use std::sync::OnceLock;
use std::time::Duration;

use aws_lc_rs::digest;
use http::{HeaderValue, StatusCode, header};
use stagedoor::catalog::{
    BackstageSettings, CatalogSettings, GuardSettings, SourceSettings, changes, decode_snapshot,
    encode_snapshot, load_once,
};
use stagedoor::domain::EntityRef;
use stagedoor::fetch::{Exchange, FetchError, Incoming, Limits, Outgoing};
use tokio::runtime::Runtime;

const GROUP: &str = "aaaaaaaa-0000-0000-0000-000000000001";

/// The grammar of entity refs, written down once more: parts are split at the first `:`
/// (unless a `/` comes before it) and the first `/`, each is 1 to 63 of `[A-Za-z0-9._-]`.
fn reference(text: &str) -> Option<String> {
    let colon = text.find(':').filter(|colon| text.find('/').is_none_or(|slash| *colon < slash));
    let (kind, rest) = match colon {
        Some(colon) => (&text[..colon], &text[colon + 1..]),
        None => ("group", text),
    };
    let (namespace, name) = match rest.find('/') {
        Some(slash) => (&rest[..slash], &rest[slash + 1..]),
        None => ("default", rest),
    };
    let fits = |part: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        !part.is_empty() && part.len() <= 63 && part.chars().all(allowed)
    };
    [kind, namespace, name]
        .iter()
        .all(|part| fits(part))
        .then(|| format!("{kind}:{namespace}/{name}").to_lowercase())
}

/// A ref, from text that anybody wrote.
pub(crate) fn entity_ref(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let found = EntityRef::resolve(text, "Group", "Default");
    assert_eq!(found.as_ref().ok().map(ToString::to_string), reference(text), "{text:?}");
    let Ok(entity) = found else { return false };
    assert_eq!(EntityRef::parse(entity.as_str()).as_ref(), Ok(&entity), "it reads itself");
    let upper = EntityRef::resolve(&text.to_ascii_uppercase(), "group", "default");
    assert_eq!(upper.as_ref(), Ok(&entity), "case says nothing");
    assert_eq!(EntityRef::new(entity.kind(), entity.namespace(), entity.name()), Ok(entity));
    true
}

/// One page with this in the middle.
struct Page(Vec<u8>);

impl Exchange for Page {
    async fn exchange(
        &self,
        _request: Outgoing<'_>,
        _limits: Limits,
    ) -> Result<Incoming, FetchError> {
        let json = HeaderValue::from_static("application/json");
        let headers = [(header::CONTENT_TYPE, json)].into_iter().collect();
        Ok(Incoming { status: StatusCode::OK, headers, body: self.0.clone().into() })
    }
}

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        // Time is paused nowhere: a page that is cut off is asked for again after a while.
        builder.worker_threads(1).enable_all().build().unwrap()
    })
}

/// An entity, as JSON that anybody wrote, beside an organisation that is in order.
pub(crate) fn entity(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    // What is no JSON makes no page, and is told apart elsewhere.
    if serde_json::from_str::<&serde_json::value::RawValue>(text).is_err() {
        return false;
    }
    let good = format!(
        r#"{{"kind":"Group","metadata":{{"name":"good","annotations":{{
            "backstage.io/managed-by-location":"msgraph:default/{GROUP}",
            "graph.microsoft.com/group-id":"{GROUP}"}}}}}},
        {{"kind":"Component","metadata":{{"name":"good"}},
            "relations":[{{"type":"ownedBy","targetRef":"group:default/good"}}]}}"#
    );
    let page = format!(r#"{{"items":[{good},{text}],"totalItems":3,"pageInfo":{{}}}}"#);
    let settings = CatalogSettings {
        source: SourceSettings::Backstage(BackstageSettings {
            url: "https://backstage.example.com".parse().unwrap(),
            token_file: None,
            page_size: 500,
            crawl_timeout: Duration::from_secs(60),
            trusted_id_locations: Vec::new(),
            graph_providers: Vec::new(),
        }),
        refresh_every: Duration::from_secs(60),
        max_age: Duration::from_secs(3600),
        guard: GuardSettings { max_loss_percent: 20, max_reassigned_percent: 20, adopt_after: 10 },
        root_groups_grant: false,
        store: None,
        shared: None,
    };
    let Ok(snapshot) = runtime().block_on(load_once(&settings, &Page(page.into_bytes()))) else {
        // It repeated a ref.
        return false;
    };
    // An id is believed only from a location that repeats it.
    let bound = snapshot.groups().filter_map(|group| Some(group.id()?.to_string()));
    let known = snapshot.users().filter_map(|user| Some(user.id()?.to_string()));
    for id in bound.chain(known).filter(|id| id != GROUP) {
        let value: serde_json::Value = serde_json::from_str(text).unwrap();
        let location = &value["metadata"]["annotations"]["backstage.io/managed-by-location"];
        let location = location.as_str().unwrap_or_default().to_lowercase();
        assert!(
            location.starts_with("msgraph:") && location.ends_with(&format!("/{id}")),
            "{text}"
        );
    }
    // And what was in order still is.
    let owned = EntityRef::parse("component:default/good").unwrap();
    let owners: Vec<_> = snapshot.entity(&owned).unwrap().owners().collect();
    assert_eq!(owners.len(), 1, "{text}");
    // Whatever came, it can be kept.
    let read = decode_snapshot(&encode_snapshot(&snapshot)).unwrap();
    changes(&snapshot, &read, |change| panic!("{change}: {text}"));
    assert_eq!(read.version(), snapshot.version());
    snapshot.findings().is_empty()
}

/// A snapshot's file whose writer knows how to make length and checksum right.
pub(crate) fn snapshot(data: &[u8]) -> bool {
    let mut bytes = data.to_vec();
    if bytes.len() > 52 {
        let length = (bytes.len() - 20) as u64;
        bytes[12..20].copy_from_slice(&length.to_le_bytes());
        let end = bytes.len() - 32;
        let checksum = digest::digest(&digest::SHA256, &bytes[..end]);
        bytes[end..].copy_from_slice(checksum.as_ref());
    }
    let Ok(snapshot) = decode_snapshot(&bytes) else { return false };
    for entity in snapshot.entities() {
        let owns =
            |owner: &EntityRef| snapshot.group(owner).is_some() || snapshot.user(owner).is_some();
        assert!(entity.owners().all(owns));
        assert_eq!(
            snapshot.entity(entity.entity()).map(|found| found.entity()),
            Some(entity.entity())
        );
    }
    for group in snapshot.groups() {
        assert!(
            group.ancestors().chain(group.parents()).all(|above| snapshot.group(above).is_some())
        );
        if let Some(id) = group.id() {
            assert_eq!(
                snapshot.group_bound_to(&id).map(|found| found.entity()),
                Some(group.entity())
            );
        }
    }
    let again = decode_snapshot(&encode_snapshot(&snapshot)).unwrap();
    changes(&snapshot, &again, |change| panic!("{change}"));
    true
}
