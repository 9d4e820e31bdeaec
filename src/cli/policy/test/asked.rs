//! The request of a case.

use std::borrow::Cow;

use crate::cli::policy::fields::{Fields, Mistakes, unknown};
use crate::domain::{Action, EntityRef, Method, Request};

/// What is asked for.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) what: What,
    method: String,
    host: String,
    path: String,
    source: Option<String>,
    destination: Option<String>,
    justification: Option<String>,
    /// When, in seconds since 1970.
    pub(super) at: i64,
}

/// How a request comes to its entity.
#[derive(Debug)]
pub(super) enum What {
    /// The case says so.
    Given { action: Action, entity: EntityRef, route: String },
    /// By the configured routes.
    Routed,
}

/// Bytes of a justification that count as one.
const MAX_JUSTIFICATION: usize = 256;

const KEYS: [&str; 11] = [
    "action",
    "entity",
    "method",
    "host",
    "path",
    "route",
    "source",
    "destination",
    "justification",
    "at",
    "url",
];

impl Asked {
    pub(super) fn read(
        case: &Fields<'_>,
        at: i64,
        configured: bool,
        mistakes: &mut Mistakes,
    ) -> Option<Self> {
        let Some(node) = case.node("request") else {
            mistakes.say(case.at, "expected `request`");
            return None;
        };
        let fields = Fields::of(node, &KEYS, mistakes)?;
        let mut own = |key: &str| fields.text(key, mistakes).map(|text| text.value.to_owned());
        let [method, host, path, route] = ["method", "host", "path", "route"].map(&mut own);
        let [source, destination, justification] =
            ["source", "destination", "justification"].map(&mut own);
        // As Envoy's header is read: blanks around it don't count, and too much is nothing.
        let justification = justification
            .map(|words| words.trim().to_owned())
            .filter(|words| (1..=MAX_JUSTIFICATION).contains(&words.len()));
        let at = fields.parsed("at", mistakes, time).unwrap_or(at);
        let ask = |what, method, host, path| Self {
            what,
            method,
            host,
            path,
            source,
            destination,
            justification,
            at,
        };
        if fields.has("url") {
            if !configured {
                mistakes.say(fields.place("url"), "`url` needs routes: run with `--config`");
            }
            for key in ["action", "entity", "host", "path", "route"] {
                if fields.has(key) {
                    mistakes.say(fields.place(key), format!("`{key}` follows from `url`"));
                }
            }
            let (host, path) = fields.parsed("url", mistakes, split)?;
            let method = method.unwrap_or_else(|| "GET".to_owned());
            return Some(ask(What::Routed, method, host, path));
        }
        let entity = fields.parsed("entity", mistakes, |text| {
            EntityRef::parse(text).map_err(|error| error.to_string())
        });
        if !fields.has("entity") {
            mistakes.say(fields.at, "expected `entity`, or `url`");
        }
        let action = fields.parsed("action", mistakes, |text| {
            text.parse().map_err(|_| unknown("action", text, &Action::ALL.map(Action::as_str)))
        });
        if !fields.has("action") && method.is_none() {
            mistakes.say(fields.at, "expected `action` or `method`");
        }
        let action =
            action.or_else(|| method.as_deref().map(|method| Method::new(method).action()))?;
        let usual = if action == Action::Read { "GET" } else { "POST" };
        let method = method.unwrap_or_else(|| usual.to_owned());
        let route = route.unwrap_or_else(|| "test".to_owned());
        let host = host.unwrap_or_else(|| "service.example.com".to_owned());
        let path = path.unwrap_or_else(|| "/".to_owned());
        Some(ask(What::Given { action, entity: entity?, route }, method, host, path))
    }

    pub(super) fn is_routed(&self) -> bool {
        matches!(self.what, What::Routed)
    }

    /// The request as Envoy would hand it over.
    pub(super) fn request(&self) -> Request<'_> {
        Request {
            method: &self.method,
            host: &self.host,
            path: &self.path,
            justification: self.justification.as_deref().map(Cow::Borrowed),
            source_principal: self.source.as_deref(),
            destination_principal: self.destination.as_deref(),
            ..Request::default()
        }
    }
}

/// Host and path exactly as written: a URL parser would tidy up what a real client could
/// send.
fn split(url: &str) -> Result<(String, String), String> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let rest = rest.ok_or_else(|| format!("`{url}` is no URL such as `https://host/path`"))?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (host, path) = rest.split_at(end);
    let path = if path.is_empty() { "/" } else { path };
    Ok((host.to_owned(), path.to_owned()))
}

/// A time as RFC 3339 writes it.
pub(super) fn time(text: &str) -> Result<i64, String> {
    chrono::DateTime::parse_from_rfc3339(text)
        .map(|time| time.timestamp())
        .map_err(|_| format!("`{text}` is no time such as `2026-01-09T16:00:00Z`"))
}
