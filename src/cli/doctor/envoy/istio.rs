//! Istio: the mesh's configuration, the policies that ask, and patches of Envoy's own.

use super::asking::{Asking, By};
use super::input::embedded;
use super::patches::Patches;
use super::scope::Scope;
use super::view::View;
use super::{Look, chain, filter, rules};
use crate::yaml::Document;

/// Istio's own default.
const ROOT_NAMESPACE: &str = "istio-system";

/// What the mesh is configured with.
pub(super) struct Mesh<'a> {
    /// Each configuration, and what is before places in it.
    pub(super) configs: Vec<(String, View<'a>)>,
    providers: Vec<Provider<'a>>,
}

/// Who is asked for authorization.
#[derive(Clone)]
pub(super) struct Provider<'a> {
    /// What is before places in the mesh's configuration.
    pub(super) mesh: String,
    /// Without the provider's name.
    pub(super) settings: View<'a>,
    pub(super) over_grpc: bool,
    view: View<'a>,
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

    let root = meshes.iter().find_map(|(_, view)| view.get("rootNamespace")?.text());
    let root = root.unwrap_or(ROOT_NAMESPACE);
    let mesh = mesh_config(meshes, look);
    let patches = Patches::read(objects, root, look);
    for asking in asking(objects, root, &mesh, &patches, look) {
        asking.look(&mesh, &patches, look);
    }
    for object in objects {
        if is(object, "extensions.istio.io/", "WasmPlugin") {
            look.prefix = named(object);
            let phase = object.at(&["spec", "phase"]).map(|phase| phase.shown());
            let before = matches!(phase.as_deref(), Some("AUTHN" | "AUTHZ"));
            chain::order("wasm", !before, object, look);
        }
    }
    look.prefix.clear();
    Ok(())
}

/// The providers, each judged by itself.
fn mesh_config<'a>(meshes: Vec<(String, View<'a>)>, look: &mut Look<'_>) -> Mesh<'a> {
    let mut mesh = Mesh { configs: Vec::new(), providers: Vec::new() };
    let mut others = Vec::new();
    for (name, config) in meshes {
        look.prefix.clone_from(&name);
        let before = mesh.providers.len();
        for provider in config.list("extensionProviders") {
            let grpc = provider.get("envoyExtAuthzGrpc");
            let over_grpc = grpc.is_some();
            let Some(settings) = grpc.or_else(|| provider.get("envoyExtAuthzHttp")) else {
                continue;
            };
            look.judged += 1;
            asks(&settings, look);
            if !over_grpc {
                covered(&settings, "headersToUpstreamOnAllow", look);
            }
            let mesh_name = name.clone();
            let provider = Provider { mesh: mesh_name, settings, over_grpc, view: provider };
            mesh.providers.push(provider);
        }
        let asks_somebody = mesh.providers.len() > before;
        let list = if asks_somebody { &mut mesh.configs } else { &mut others };
        list.push((name, config));
    }
    // One that asks is what the others are fragments of.
    if mesh.configs.is_empty() {
        mesh.configs = others;
    }
    mesh
}

/// By what proxies ask: policies, providers that no policy in here names, and filters that
/// patches bring.
fn asking<'a>(
    objects: &[View<'a>],
    root: &str,
    mesh: &Mesh<'a>,
    patches: &Patches<'a>,
    look: &mut Look<'_>,
) -> Vec<Asking<'a>> {
    let policies: Vec<&View<'a>> = objects
        .iter()
        .filter(|object| {
            is(object, "security.istio.io/", "AuthorizationPolicy")
                && object.at(&["spec", "action"]).is_some_and(|action| action.shown() == "CUSTOM")
        })
        .collect();
    if policies.is_empty()
        && let Some(provider) = mesh.providers.first()
    {
        look.prefix.clear();
        let message = "no AuthorizationPolicy with `action: CUSTOM` is in here";
        look.flag(&rules::NOT_ASKED, &provider.view, message);
    }
    let mut asking = Vec::new();
    let mut asked = Vec::new();
    for policy in policies {
        look.prefix = named(policy);
        custom(policy, mesh, look);
        let provider = provider_of(policy);
        let found = mesh.providers.iter().find(|one| one.view.word("name") == provider);
        asking.push(Asking {
            name: named(policy),
            view: policy.clone(),
            scope: Some(Scope::of_policy(policy, objects, root)),
            by: found.map_or(By::Unseen, |provider| By::Provider(provider.clone())),
        });
        asked.push(provider);
    }
    for provider in &mesh.providers {
        if !asked.iter().any(|name| name == provider.view.word("name")) {
            asking.push(Asking {
                name: provider.mesh.clone(),
                view: provider.view.clone(),
                scope: None,
                by: By::Provider(provider.clone()),
            });
        }
    }
    asking.extend(patches.brought.iter().map(|brought| Asking {
        name: brought.name.clone(),
        view: brought.value.clone(),
        scope: Some(brought.scope.clone()),
        by: By::Patch(brought.since),
    }));
    asking
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
    if let Some(code) = settings.get("statusOnError") {
        filter::status(&code, look);
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

/// An `AuthorizationPolicy` that has others asked.
fn custom(policy: &View<'_>, mesh: &Mesh<'_>, look: &mut Look<'_>) {
    look.judged += 1;
    let named = policy.at(&["spec", "provider", "name"]);
    let name = provider_of(policy);
    let place = named.as_ref().unwrap_or(policy);
    if mesh.configs.is_empty() {
        let message =
            format!("the mesh's configuration, with the provider `{name}`, is not in here");
        look.flag(&rules::NOT_SEEN, place, message);
    } else if !mesh.providers.iter().any(|provider| provider.view.word("name") == name) {
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

fn provider_of(policy: &View<'_>) -> String {
    policy.at(&["spec", "provider", "name"]).map(|name| name.shown()).unwrap_or_default()
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
