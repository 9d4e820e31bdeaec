//! What of a configuration takes effect at a start only.
//!
//! Everything does that isn't named here: a setting that is added needs a restart until
//! somebody has made it change in place and says so.

use serde_json::Value;

use super::document::{Answer, CatalogRoutes, Check, Denial, Document, Entra, Policy, Reload};
use super::problem;

/// The settings that change in place, as JSON pointers: each with everything below it.
const CHANGE_IN_PLACE: [&str; 18] = [
    "/entra",
    "/catalog/backstage/token_file",
    "/catalog/backstage/page_size",
    "/catalog/backstage/crawl_timeout",
    "/catalog/backstage/trusted_id_locations",
    "/catalog/backstage/graph_providers",
    "/catalog/refresh_every",
    "/catalog/max_age",
    "/catalog/guard",
    "/catalog/root_groups_grant",
    "/catalog/membership",
    "/routes",
    "/catalog_routes",
    "/policy",
    "/answer",
    "/denial",
    "/check",
    "/reload",
];

/// The settings that don't, with the values that they were started with.
#[derive(Clone, Debug, PartialEq)]
pub struct Fixed(Value);

impl Fixed {
    pub(super) fn of(document: &Document) -> Self {
        // Of very many routes no copy is made.
        let document = Document {
            listen: document.listen.clone(),
            http_authorization: document.http_authorization.clone(),
            entra: Entra::default(),
            catalog: document.catalog.clone(),
            routes: Vec::new(),
            catalog_routes: CatalogRoutes::default(),
            policy: Policy::default(),
            answer: Answer::default(),
            denial: Denial::default(),
            check: Check::default(),
            limits: document.limits.clone(),
            audit: document.audit.clone(),
            telemetry: document.telemetry.clone(),
            outgoing: document.outgoing.clone(),
            reload: Reload::default(),
        };
        let mut value = serde_json::to_value(document).unwrap_or_default();
        for pointer in CHANGE_IN_PLACE {
            let Some((parent, name)) = pointer.rsplit_once('/') else { continue };
            if let Some(parent) = value.pointer_mut(parent).and_then(Value::as_object_mut) {
                parent.remove(name);
            }
        }
        Self(value)
    }

    /// The settings in which the other differs, as they are written: `listen.grpc`.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let mut found = Vec::new();
        // What can't be compared may be anything.
        if !self.0.is_object() {
            found.push("the configuration".to_owned());
        }
        differ(&self.0, &other.0, &mut String::new(), &mut found);
        found
    }
}

/// Lists are compared as a whole: a setting is what has a name.
fn differ(one: &Value, other: &Value, pointer: &mut String, found: &mut Vec<String>) {
    if one == other {
        return;
    }
    let (Some(one), Some(other)) = (one.as_object(), other.as_object()) else {
        found.push(problem::path(pointer));
        return;
    };
    let mut names: Vec<_> = one.keys().chain(other.keys()).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let (one, other) = (one.get(name), other.get(name));
        let nothing = Value::Null;
        let outer = pointer.len();
        pointer.push_str(&problem::below("", name));
        differ(one.unwrap_or(&nothing), other.unwrap_or(&nothing), pointer, found);
        pointer.truncate(outer);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Config;

    const BASE: &str = r#"
listen: { grpc: ["127.0.0.1:0"] }
entra: { tenants: [{ id: 11111111-2222-3333-4444-555555555555, audiences: ["api://a"] }] }
"#;

    fn fixed(more: &str) -> super::Fixed {
        Config::parse(&format!("{BASE}{more}"), Path::new("."))
            .unwrap_or_else(|problems| panic!("{problems}"))
            .fixed
    }

    #[test]
    fn what_needs_a_restart_is_named_as_it_is_written() {
        let backstage = |more: &str| {
            fixed(&format!("catalog: {{ backstage: {{ url: 'http://127.0.0.1:7007'{more} }} }}"))
        };
        let folder = |more: &str| fixed(&format!("catalog: {{ folder: '.'{more} }}"));
        let before = backstage("");
        assert_eq!(before.differences(&before), [""; 0]);
        let in_place = backstage(
            ", page_size: 7, crawl_timeout: 9s, trusted_id_locations: ['url:https://a.example.com/b/'],
             graph_providers: [a]",
        );
        assert_eq!(before.differences(&in_place), [""; 0]);
        assert_eq!(before.differences(&folder("")), ["catalog.backstage", "catalog.folder"]);
        let before = folder("");
        for (more, named) in [
            (
                ", refresh_every: 2s, max_age: 3h, root_groups_grant: true, membership: both",
                &[][..],
            ),
            (", guard: { max_loss_percent: 1 }", &[]),
            (" }\nroutes: [{ name: a, hosts: ['*'], gate: public }]\nreload: { watch: false", &[]),
            (" }\nanswer: { remove_authorization: true }\ncheck: { deadline: 1s", &[]),
            (" }\ndenial: { tell: { owners: never } }\npolicy: { cache: { max_entries: 9 }", &[]),
            (", store: '.'", &["catalog.store"]),
            (" }\nhttp_authorization: { dialect: nginx", &["http_authorization.dialect"]),
            (", shared: { url: 'file:///tmp' }", &["catalog.shared"]),
            (
                " }\nlimits: { max_connections: 7, pre_stop: 1s",
                &["limits.max_connections", "limits.pre_stop"],
            ),
            (" }\naudit: { to: off }\ntelemetry: { log: debug", &["audit.to", "telemetry.log"]),
            (" }\ntelemetry: { metrics_every: 0s", &["telemetry.metrics_every"]),
        ] {
            assert_eq!(before.differences(&folder(more)), named, "{more}");
        }
        let other = BASE
            .replace("127.0.0.1:0", "127.0.0.1:1")
            .replace("] }\nentra", "], workers: 3 }\nentra");
        let other = Config::parse(&format!("{other}catalog: {{ folder: '.' }}"), Path::new("."));
        let other = other.unwrap_or_else(|problems| panic!("{problems}")).fixed;
        assert_eq!(before.differences(&other), ["listen.grpc", "listen.workers"]);
    }

    /// The reference says of each section what is so.
    #[test]
    fn the_reference_says_what_reloads() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
        let reference = std::fs::read_to_string(file).expect("a file");
        let sections = serde_json::json!(super::Document::default());
        for name in sections.as_object().expect("sections").keys() {
            let (_, text) = reference.split_once(&format!("## `{name}`\n")).expect(name);
            let text = text.split("\n## ").next().unwrap_or_default();
            let within = format!("/{name}/");
            let all = super::CHANGE_IN_PLACE.contains(&format!("/{name}").as_str());
            let some = super::CHANGE_IN_PLACE.iter().any(|pointer| pointer.starts_with(&within));
            assert_eq!(text.contains("**Reloads.**"), all, "{name}");
            assert_eq!(text.contains("**Needs a restart.**"), !all && !some, "{name}");
            assert_eq!(text.contains("**Reloads**"), some, "{name}");
        }
    }
}
