//! What the values of a file mean, and whether they can be meant together.

mod audit;
mod catalog;
mod catalog_routes;
mod denial;
mod entra;
mod graph;
mod http;
mod listen;
mod policy;
mod rest;
mod routes;
mod tenant;
mod transport;

use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use url::Url;

use super::document::{Document, Overage};
use super::problem::below;
use super::values::{ByteSize, Period};
use super::{Config, Fixed, OverageFrom};
use crate::policy::PolicySettings;

/// A value that can't be meant.
pub(super) struct Finding {
    /// The value, as a JSON pointer.
    pub(super) pointer: String,
    /// The other values that it was held against.
    others: Vec<String>,
    /// What is wrong, and what is expected.
    pub(super) message: String,
}

impl Finding {
    /// Everything the finding rests on, as JSON pointers.
    pub(super) fn about(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.pointer).chain(&self.others).map(String::as_str)
    }
}

/// Turns a document into settings. Nothing comes back only if there is a finding;
/// with a finding, what comes back must not be used.
pub(super) fn check(document: &Document, base_dir: &Path) -> (Option<Config>, Vec<Finding>) {
    let mut findings = Findings { base_dir, list: Vec::new() };
    let config = settings(document, &mut findings);
    (config, findings.list)
}

/// The policy files that a document with mistakes names.
pub(super) fn policy(document: &Document, base_dir: &Path) -> PolicySettings {
    policy::settings(&document.policy, &mut Findings { base_dir, list: Vec::new() })
}

fn settings(document: &Document, findings: &mut Findings<'_>) -> Option<Config> {
    // Each part is looked at before the first missing one ends it.
    let listeners = listen::listeners(document, findings);
    let http = http::settings(document, findings);
    let limits = listen::limits(document, findings);
    let entra = entra::settings(&document.entra, &document.check, findings);
    let authorities = transport::authorities(&document.outgoing, findings);
    let trusted = authorities.clone().unwrap_or_default();
    let catalog = catalog::settings(&document.catalog, trusted.clone(), findings);
    let routes = routes::settings(&document.routes);
    routes::times(&document.routes, findings);
    let route_table = routes::table(&routes, findings);
    let delegations = catalog_routes::delegations(&document.catalog_routes, findings);
    let policy = policy::settings(&document.policy, findings);
    let justification = policy::justification(&document.policy, findings);
    let debug_groups = policy::debug_groups(&document.policy, findings);
    let answer = rest::answer(&document.answer, findings);
    let denials = denial::settings(&document.denial, findings);
    let check = rest::check(&document.check, justification, findings);
    let audit = audit::settings(&document.audit, trusted.clone(), findings);
    let telemetry = rest::telemetry(&document.telemetry, trusted, findings);
    let reload = rest::reload(&document.reload, findings);
    let listeners = listeners?;
    Some(Config {
        admin: listeners.admin,
        admin_tls: listeners.admin_tls,
        admin_token_file: listeners.admin_token_file,
        tls: listeners.tls,
        http_tls: listeners.http_tls,
        authorities: authorities?,
        serve: limits.with(listeners.grpc, listeners.http),
        http: http?,
        entra: entra?,
        overage: match document.entra.overage {
            Overage::Deny => OverageFrom::Nowhere,
            Overage::Catalog => OverageFrom::Catalog,
            Overage::Graph => OverageFrom::Graph,
        },
        catalog: catalog?,
        membership: catalog::membership(document.catalog.membership),
        routes,
        route_table: route_table?,
        delegations: delegations?,
        policy,
        debug_groups,
        answer,
        denials: denials?,
        check,
        audit: audit?,
        telemetry: telemetry?,
        reload,
        origin: None,
        fixed: Fixed::of(document),
    })
}

/// Collects findings.
struct Findings<'a> {
    base_dir: &'a Path,
    list: Vec<Finding>,
}

impl Findings<'_> {
    fn say(&mut self, pointer: impl Into<String>, message: impl Into<String>) {
        self.say_of(pointer, &[], message);
    }

    /// A finding that holds a value against others.
    fn say_of(&mut self, pointer: impl Into<String>, others: &[&str], message: impl Into<String>) {
        self.list.push(Finding {
            pointer: pointer.into(),
            others: others.iter().map(|&other| other.to_owned()).collect(),
            message: message.into(),
        });
    }

    fn between<T: PartialOrd + Display>(&mut self, pointer: &str, value: T, least: T, most: T) {
        if value < least || value > most {
            self.say(pointer, format!("must be from `{least}` to `{most}`"));
        }
    }

    /// A duration within bounds.
    fn period(&mut self, pointer: &str, value: Period, least: Period, most: Period) -> Duration {
        self.between(pointer, value, least, most);
        value.0
    }

    /// A size within bounds.
    fn size(&mut self, pointer: &str, value: ByteSize, least: ByteSize, most: ByteSize) -> usize {
        self.between(pointer, value, least, most);
        usize::try_from(value.0).unwrap_or(usize::MAX)
    }

    /// That one value is not more than another.
    fn at_most(&mut self, pointer: &str, value: Period, other: &str, limit: Period, name: &str) {
        if value > limit {
            self.say_of(pointer, &[other], format!("must not be more than `{name}` (`{limit}`)"));
        }
    }

    /// A value read from a text.
    fn read<T, E: Display>(&mut self, pointer: &str, read: Result<T, E>) -> Option<T> {
        read.map_err(|error| self.say(pointer, error.to_string())).ok()
    }

    /// Values read from a list of texts; none of them lost without a finding.
    fn read_all<T, E: Display>(
        &mut self,
        pointer: &str,
        texts: &[String],
        read: impl Fn(&str) -> Result<T, E>,
    ) -> Vec<T> {
        let each = texts.iter().enumerate();
        each.filter_map(|(i, text)| self.read(&below(pointer, i), read(text))).collect()
    }

    /// An address of http or https.
    fn url(&mut self, pointer: &str, text: &str) -> Option<Url> {
        let read = match Url::parse(text) {
            Ok(url) if !matches!(url.scheme(), "http" | "https") => {
                Err("expected an address that begins with `https://`".to_owned())
            }
            Ok(url) => refuse_extras(&url).map(|()| url).map_err(str::to_owned),
            Err(error) => Err(format!("expected an address: {error}")),
        };
        self.read(pointer, read)
    }

    /// An address from which what is trusted is fetched.
    fn secure_url(&mut self, pointer: &str, text: &str) -> Option<Url> {
        let url = self.url(pointer, text)?;
        if !crate::fetch::is_secure(&url) {
            self.say(pointer, "plain http is for loopback only: use https");
            return None;
        }
        Some(url)
    }

    /// A path, relative to the file's folder.
    fn path(&mut self, pointer: &str, text: &str) -> Option<PathBuf> {
        if text.is_empty() {
            self.say(pointer, "expected a path");
            return None;
        }
        Some(self.base_dir.join(text))
    }

    /// A file that can be read.
    fn file(&mut self, pointer: &str, text: &str) -> Option<PathBuf> {
        let path = self.path(pointer, text)?;
        let shown = path.display();
        let read = match fs::File::open(&path).and_then(|file| file.metadata()) {
            Ok(metadata) if metadata.is_dir() => Err(format!("`{shown}` is a folder, not a file")),
            Ok(_) => Ok(()),
            Err(error) => Err(format!("the file `{shown}` can't be read: {error}")),
        };
        self.read(pointer, read).map(|()| path)
    }

    /// A folder that can be read.
    fn folder(&mut self, pointer: &str, text: &str) -> Option<PathBuf> {
        let path = self.path(pointer, text)?;
        let read = fs::read_dir(&path)
            .map(drop)
            .map_err(|error| format!("the folder `{}` can't be read: {error}", path.display()));
        self.read(pointer, read).map(|()| path)
    }
}

fn refuse_extras(url: &Url) -> Result<(), &'static str> {
    if !url.username().is_empty() || url.password().is_some() {
        Err("an address must hold no user and no password")
    } else if url.query().is_some() || url.fragment().is_some() {
        Err("an address must end before `?` and `#`")
    } else {
        Ok(())
    }
}
