//! Everything that a real Backstage was seen to answer, each as the answer to a crawl: what
//! comes of it.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::Value;
use stagedoor::catalog::{CatalogError, load_once};
use stagedoor::fetch::{Exchange, FetchError, Incoming, Limits, Outgoing};

/// The entities, groups and users of a snapshot, or the code of the error.
type Outcome = Result<(usize, usize, usize), &'static str>;

/// An answer to whatever is asked.
struct Always(Incoming);

impl Exchange for Always {
    async fn exchange(
        &self,
        _request: Outgoing<'_>,
        _limits: Limits,
    ) -> Result<Incoming, FetchError> {
        Ok(self.0.clone())
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures/backstage")
}

/// The answer as it was, with its status and kind.
fn answer(name: &str) -> Incoming {
    let body = std::fs::read(folder().join(format!("{name}.json"))).unwrap();
    let head = std::fs::read_to_string(folder().join(format!("{name}.headers")));
    let mut headers = HeaderMap::new();
    let status = match head {
        Ok(head) => {
            let content = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-type").then(|| value.trim().to_owned())
            });
            headers.extend(
                content.map(|text| (header::CONTENT_TYPE, HeaderValue::try_from(text).unwrap())),
            );
            head.split_whitespace().nth(1).unwrap().parse().unwrap()
        }
        // Without a head of its own, an error says its status.
        Err(_) => {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            let error: Option<Value> = serde_json::from_slice(&body).ok();
            let status = error.and_then(|error| error["response"]["statusCode"].as_u64());
            u16::try_from(status.unwrap_or(200)).unwrap()
        }
    };
    Incoming { status: StatusCode::from_u16(status).unwrap(), headers, body: Bytes::from(body) }
}

#[tokio::test(start_paused = true)]
async fn every_captured_answer() {
    let expected: &[(&str, Outcome)] = &[
        ("auth-jwks", Err("form")),
        ("auth-openid-configuration", Err("form")),
        ("by-name", Err("form")),
        ("by-name-404", Err("not_found")),
        ("by-name-case", Err("form")),
        ("by-query-default", Ok((11, 8, 6))),
        ("by-query-empty", Err("empty")),
        ("by-query-exclude-total", Err("inconsistent")),
        // A page that says it is not the last one, again and again.
        ("by-query-lastpage", Err("repeated")),
        ("by-query-limit0", Err("inconsistent")),
        ("by-query-orderfield", Err("inconsistent")),
        ("by-query-page1-fields", Err("inconsistent")),
        ("by-query-page1-full", Err("inconsistent")),
        ("by-query-page2-fields", Err("inconsistent")),
        ("by-refs", Err("form")),
        ("cursor-decoded", Err("form")),
        ("entities-limit2", Err("form")),
        ("entities-nolimit", Err("form")),
        ("err-400-cursor", Err("status")),
        ("err-400-fields", Err("status")),
        ("err-400-limit", Err("status")),
        ("err-400-neglimit", Err("status")),
        ("err-400-order", Err("status")),
        ("err-401-bad", Err("unauthorized")),
        ("err-401-badjwt", Err("unauthorized")),
        ("err-401-basic", Err("unauthorized")),
        ("err-401-missing", Err("unauthorized")),
        ("err-401-token-in-query", Err("unauthorized")),
        ("err-403-wrong-plugin", Err("forbidden")),
        ("err-404-plugin", Err("not_found")),
        ("err-404-route", Err("not_found")),
        ("err-413-or-431", Err("status")),
        ("err-503-starting", Err("unavailable")),
        ("err-db-down", Err("status")),
        ("events-bus", Err("form")),
        ("facets", Err("form")),
        ("filter-by-group-id", Err("no_owned_entities")),
        // What is forged in it counts for nothing; `catalog_snapshots` looks closer.
        ("forged-entities", Ok((1, 6, 3))),
        ("guest-refresh", Err("form")),
        ("msgraph-entities", Err("no_owned_entities")),
        ("post-by-query", Err("inconsistent")),
        ("refresh", Err("forbidden")),
        ("refresh-200", Err("content_type")),
        ("refresh-403", Err("forbidden")),
        ("userinfo", Err("form")),
        ("wrong-permission-200-empty", Err("empty")),
    ];
    let mut differ = Vec::new();
    for (name, want) in expected {
        let outcome = load_once(&crate::served::settings(), &Always(answer(name))).await;
        let got = match &outcome {
            Ok(snapshot) => Ok(snapshot.counts()),
            Err(error) => Err(CatalogError::code(error)),
        };
        if got != *want {
            differ.push(format!("{name}: {got:?}, expected {want:?}: {:?}", outcome.err()));
        }
    }
    assert!(differ.is_empty(), "{differ:#?}");
    // None is left out.
    let mut there: Vec<String> = std::fs::read_dir(folder())
        .unwrap()
        .filter_map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            name.strip_suffix(".json").map(str::to_owned)
        })
        .collect();
    there.sort();
    assert_eq!(there, expected.iter().map(|(name, _)| *name).collect::<Vec<_>>());
}
