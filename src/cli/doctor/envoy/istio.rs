//! Istio: the mesh's configuration, the policies that ask, and patches of Envoy's own.

use super::input::embedded;
use super::view::View;
use super::{Look, chain, filter, listener, routes, rules};
use crate::yaml::Document;

/// Envoy's own name of the filter, which is Istio's as well.
const FILTER: &str = "envoy.filters.http.ext_authz";
const ROUTER: &str = "envoy.filters.http.router";
const MANAGER: &str =
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";

/// What providers of the mesh are called.
#[derive(Default)]
struct Providers<'a> {
    /// Whether any mesh configuration was seen.
    seen: bool,
    asking: Vec<View<'a>>,
}

pub(super) fn look(
    objects: &[View<'_>],
    mesh: &[View<'_>],
    look: &mut Look<'_>,
) -> anyhow::Result<()> {
    let texts = objects.iter().filter(|object| object.word("kind") == "ConfigMap");
    let texts: Vec<(&View<'_>, View<'_>)> =
        texts.filter_map(|object| Some((object, object.at(&["data", "mesh"])?))).collect();
    let documents: Vec<(String, &View<'_>, Vec<Document>)> = texts
        .into_iter()
        .map(|(object, text)| {
            let parsed = embedded(text.text().unwrap_or_default());
            let parsed =
                parsed.map_err(|error| error.context(format!("{}: data.mesh", named(object))))?;
            Ok((named(object), object, parsed))
        })
        .collect::<anyhow::Result<_>>()?;

    let mut meshes: Vec<(String, View<'_>)> =
        mesh.iter().map(|view| (String::new(), view.clone())).collect();
    for (name, object, parsed) in &documents {
        let line = object.at(&["data", "mesh"]).and_then(|text| text.line());
        meshes.extend(parsed.iter().map(|document| {
            (name.clone(), View::new(&document.root, "data.mesh").with_line(line))
        }));
    }
    for object in objects {
        let inner = [&["spec", "meshConfig"][..], &["spec", "values", "meshConfig"][..]];
        let found = inner.iter().find_map(|path| object.at(path));
        meshes.extend(found.map(|view| (named(object), view)));
    }

    let mut providers = Providers::default();
    for (name, view) in &meshes {
        look.prefix.clone_from(name);
        mesh_config(view, &mut providers, look);
    }
    let policies: Vec<&View<'_>> = objects
        .iter()
        .filter(|object| {
            is(object, "security.istio.io/", "AuthorizationPolicy")
                && object.at(&["spec", "action"]).is_some_and(|action| action.shown() == "CUSTOM")
        })
        .collect();
    if policies.is_empty()
        && let Some(provider) = providers.asking.first()
    {
        look.prefix.clear();
        let message = "no AuthorizationPolicy with `action: CUSTOM` is in here";
        look.flag(&rules::NOT_ASKED, provider, message);
    }
    for policy in policies {
        look.prefix = named(policy);
        custom(policy, &providers, look);
    }
    for object in objects {
        look.prefix = named(object);
        if is(object, "networking.istio.io/", "EnvoyFilter") {
            for patch in object.at(&["spec", "configPatches"]).iter().flat_map(View::items) {
                self::patch(&patch, look);
            }
        } else if is(object, "extensions.istio.io/", "WasmPlugin") {
            let phase = object.at(&["spec", "phase"]).map(|phase| phase.shown());
            let before = matches!(phase.as_deref(), Some("AUTHN" | "AUTHZ"));
            chain::order("wasm", !before, object, look);
        }
    }
    look.prefix.clear();
    Ok(())
}

fn mesh_config<'a>(mesh: &View<'a>, providers: &mut Providers<'a>, look: &mut Look<'_>) {
    providers.seen = true;
    let mut asking = Vec::new();
    for provider in mesh.list("extensionProviders") {
        let grpc = provider.get("envoyExtAuthzGrpc");
        let Some(settings) = grpc.clone().or_else(|| provider.get("envoyExtAuthzHttp")) else {
            continue;
        };
        look.judged += 1;
        asks(&settings, look);
        if grpc.is_none() {
            covered(&settings, "headersToUpstreamOnAllow", look);
        }
        asking.push(provider);
    }
    if !asking.is_empty() {
        spelling(mesh, look);
    }
    providers.asking.append(&mut asking);
}

/// Settings of a provider, which Istio makes ext_authz's of.
fn asks(settings: &View<'_>, look: &mut Look<'_>) {
    if let Some(open) = settings.may_be_on("failOpen") {
        let message = "requests pass while Stagedoor can't be asked";
        look.flag(&rules::FAILURE_MODE_ALLOW, &open, message);
    }
    if let Some(clear) = settings.may_be_on("clearRouteCache") {
        look.flag(&rules::CLEAR_ROUTE_CACHE, &clear, "the route is chosen again");
    }
    if let Some(body) = settings.get("includeRequestBodyInCheck") {
        look.flag(&rules::REQUEST_BODY, &body, "request bodies are held back and sent");
    }
    if let Some(timeout) = settings.get("timeout") {
        filter::given_timeout(&timeout, look);
    }
    match settings.get("statusOnError") {
        Some(code) => filter::status(&code, look),
        None => {
            let message = "a Stagedoor that can't be asked is told as 403";
            look.flag(&rules::STATUS_ON_ERROR, settings, message);
        }
    }
}

/// Whether all identity headers are taken over from an answer over HTTP.
pub(super) fn covered(settings: &View<'_>, name: &str, look: &mut Look<'_>) {
    let patterns = settings.list(name);
    let covers = |header: &String| {
        patterns.iter().filter_map(|pattern| pattern.text()).any(|pattern| {
            let pattern = pattern.to_ascii_lowercase();
            match (pattern.strip_suffix('*'), pattern.strip_prefix('*')) {
                (Some(start), _) => header.starts_with(start),
                (None, Some(end)) => header.ends_with(end),
                (None, None) => *header == pattern,
            }
        })
    };
    let missing: Vec<&str> =
        look.own.headers.iter().filter(|header| !covers(header)).map(|s| &**s).collect();
    if !missing.is_empty() {
        let message = format!("the client's own `{}` pass", missing.join("`, `"));
        look.flag_member(&rules::HEADERS_NOT_COVERED, (settings, name), message);
    }
}

/// Each step of Istio's path normalisation holds the ones before it.
fn spelling(mesh: &View<'_>, look: &mut Look<'_>) {
    let given = mesh.at(&["pathNormalization", "normalization"]);
    let kind = given.as_ref().map_or_else(|| "DEFAULT".to_owned(), View::shown);
    let (rule, message) = match kind.as_str() {
        "DECODE_AND_MERGE_SLASHES" => return,
        "MERGE_SLASHES" => (&rules::ESCAPED_SLASHES, "escaped slashes are left as they are"),
        "BASE" | "DEFAULT" => (&rules::MERGE_SLASHES, "doubled slashes are not merged"),
        _ => (&rules::NORMALIZE_PATH, "paths are not normalised"),
    };
    look.flag(rule, given.as_ref().unwrap_or(mesh), message);
}

/// An `AuthorizationPolicy` that has others asked.
fn custom(policy: &View<'_>, providers: &Providers<'_>, look: &mut Look<'_>) {
    look.judged += 1;
    let named = policy.at(&["spec", "provider", "name"]);
    let name = named.as_ref().map(View::shown).unwrap_or_default();
    let place = named.as_ref().unwrap_or(policy);
    if !providers.seen {
        let message =
            format!("the mesh's configuration, with the provider `{name}`, is not in here");
        look.flag(&rules::NOT_SEEN, place, message);
    } else if !providers.asking.iter().any(|provider| provider.word("name") == name) {
        let message = format!("no extension provider `{name}` asks for authorization");
        look.flag(&rules::PROVIDER_UNKNOWN, place, message);
    }
    let rules = policy.at(&["spec", "rules"]);
    let items = rules.as_ref().map(View::items).unwrap_or_default();
    if items.is_empty() {
        let message = "without a rule it matches no request";
        look.flag(&rules::NOT_ASKED, rules.as_ref().unwrap_or(policy), message);
    } else if !items.iter().any(|rule| rule.is_mapping() && rule.members().is_empty()) {
        let message = "its rules choose which requests are asked about";
        look.flag(&rules::POLICY_PARTIAL, rules.as_ref().unwrap_or(policy), message);
    }
}

/// One patch of an `EnvoyFilter`.
fn patch(patch: &View<'_>, look: &mut Look<'_>) {
    if patch.at(&["match", "context"]).is_some_and(|context| context.shown() == "SIDECAR_OUTBOUND")
    {
        return;
    }
    let operation = patch.at(&["patch", "operation"]).map(|one| one.shown()).unwrap_or_default();
    let beside = patch.at(&["match", "listener", "filterChain", "filter", "subFilter", "name"]);
    let beside = beside.as_ref().and_then(|name| name.text());
    let value = patch.at(&["patch", "value"]);
    match (patch.word("applyTo"), value) {
        ("HTTP_FILTER", None) if operation == "REMOVE" && beside == Some(FILTER) => {
            look.judged += 1;
            look.flag(&rules::FILTER_DISABLED, patch, "the ext_authz filter is removed");
        }
        ("HTTP_FILTER" | "EXTENSION_CONFIG", Some(value)) => {
            http_filter(&value, &operation, beside, look);
        }
        ("NETWORK_FILTER", Some(value)) => {
            if let Some(config) = value.get("typed_config")
                && let (MANAGER, manager) = config.typed()
            {
                look.judged += 1;
                listener::spelling(&manager, false, look);
            }
        }
        ("HTTP_ROUTE" | "VIRTUAL_HOST" | "ROUTE_CONFIGURATION", Some(value)) => {
            look.judged += 1;
            routes::route(&value, &[FILTER], None, look);
        }
        _ => {}
    }
}

fn http_filter(value: &View<'_>, operation: &str, beside: Option<&str>, look: &mut Look<'_>) {
    let (kind, config) = chain::kind_of(value);
    if kind == "ext_authz" {
        look.judged += 1;
        if let Some(disabled) = value.may_be_on("disabled") {
            look.flag(&rules::FILTER_DISABLED, &disabled, "the ext_authz filter is disabled");
        }
        match config {
            // A patch of another filter: what it doesn't say stays.
            Some(config) if operation == "MERGE" => filter::given(&config, look),
            Some(config) => filter::whole(&config, None, look),
            None => {}
        }
    } else if operation == "INSERT_FIRST"
        || (operation == "INSERT_BEFORE" && beside != Some(ROUTER))
    {
        chain::order(kind, false, value, look);
    } else if operation.starts_with("INSERT") || operation == "ADD" {
        chain::order(kind, true, value, look);
    }
}

/// A Kubernetes object of a group and kind.
pub(super) fn is(object: &View<'_>, group: &str, kind: &str) -> bool {
    object.word("apiVersion").starts_with(group) && object.word("kind") == kind
}

/// A Kubernetes object, for people.
pub(super) fn named(object: &View<'_>) -> String {
    let metadata = object.get("metadata");
    let word = |name: &str| metadata.as_ref().map(|meta| meta.word(name)).unwrap_or_default();
    let (namespace, name) = (word("namespace"), word("name"));
    let slash = if namespace.is_empty() { "" } else { "/" };
    format!("{} {namespace}{slash}{name}", object.word("kind"))
}
