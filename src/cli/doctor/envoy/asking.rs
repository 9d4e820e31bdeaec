//! What Istio's configuration and its patches, taken together, make of those who ask.

use super::istio::{Mesh, Provider};
use super::patches::{FILTER, Of, Patches};
use super::scope::{Proxy, Scope};
use super::trailers::Since;
use super::view::View;
use super::{Look, rules};

/// Where it isn't known who asks.
const ANYBODY: &[Proxy] = &[Proxy::Named];

/// By what proxies ask.
pub(super) struct Asking<'a> {
    /// For people, and what is before the place of a finding.
    pub(super) name: String,
    pub(super) view: View<'a>,
    /// Which proxies; nothing where that isn't known, and what is patched for anybody counts.
    pub(super) scope: Option<Scope<'a>>,
    pub(super) by: By<'a>,
}

/// Where the ext_authz filter comes from.
pub(super) enum By<'a> {
    /// Istio makes it of this provider.
    Provider(Provider<'a>),
    /// Istio makes it of a provider that is not in here.
    Unseen,
    /// A patch brings it whole, and it was judged with the patch.
    Patch(Since),
}

impl Asking<'_> {
    /// Finds what neither the mesh's configuration nor a patch sets.
    pub(super) fn look(&self, mesh: &Mesh<'_>, patches: &Patches<'_>, look: &mut Look<'_>) {
        for proxy in self.scope.as_ref().map_or(ANYBODY, |scope| scope.proxies()) {
            self.paths(*proxy, mesh, patches, look);
            self.settings(*proxy, patches, look);
            self.trailers(*proxy, patches, look);
        }
    }

    /// Each step of Istio's path normalisation holds the ones before it: the first that
    /// is missing is the finding.
    fn paths(&self, proxy: Proxy, mesh: &Mesh<'_>, patches: &Patches<'_>, look: &mut Look<'_>) {
        let steps = [
            (&rules::NORMALIZE_PATH, "normalize_path", "paths are not normalised"),
            (&rules::MERGE_SLASHES, "merge_slashes", "doubled slashes are not merged"),
            (
                &rules::ESCAPED_SLASHES,
                "path_with_escaped_slashes_action",
                "escaped slashes are left as they are",
            ),
        ];
        let said = |name: &str| patches.say(Of::Manager, name, self.scope.as_ref(), proxy);
        // A policy whose mesh is not in here is a finding already.
        if mesh.configs.is_empty()
            && matches!(self.by, By::Patch(_))
            && !steps.iter().all(|(_, name, _)| said(name))
        {
            look.prefix.clone_from(&self.name);
            let message = "the mesh's configuration, which says how paths are read, is not in here";
            look.flag(&rules::NOT_SEEN, &self.view, message);
        }
        for (name, config) in &mesh.configs {
            let given = config.at(&["pathNormalization", "normalization"]);
            let kind = given.as_ref().map_or_else(|| "DEFAULT".to_owned(), View::shown);
            let taken = match kind.as_str() {
                "DECODE_AND_MERGE_SLASHES" => 3,
                "MERGE_SLASHES" => 2,
                "BASE" | "DEFAULT" => 1,
                _ => 0,
            };
            let missing = steps.into_iter().skip(taken).find(|(_, name, _)| !said(name));
            if let Some((rule, setting, what)) = missing {
                look.prefix.clone_from(name);
                let message = format!("{what}, and {}", self.unsaid(setting, proxy));
                look.flag(rule, given.as_ref().unwrap_or(config), message);
            }
        }
    }

    /// What Istio has no words for, but for the status.
    fn settings(&self, proxy: Proxy, patches: &Patches<'_>, look: &mut Look<'_>) {
        let (filter, grpc) = match &self.by {
            By::Provider(provider) => (true, provider.over_grpc),
            By::Unseen => (true, true),
            By::Patch(_) => (false, false),
        };
        let said = |of: Of, name: &str| patches.say(of, name, self.scope.as_ref(), proxy);
        for (judged, rule, of, name, what) in [
            (
                true,
                &rules::UNDERSCORES,
                Of::Protocol,
                "headers_with_underscores_action",
                "header names with underscores pass",
            ),
            (
                filter,
                &rules::VALIDATE_MUTATIONS,
                Of::Filter,
                "validate_mutations",
                "what Stagedoor sets is not validated",
            ),
            (
                grpc,
                &rules::RAW_HEADERS,
                Of::Filter,
                "encode_raw_headers",
                "headers are not sent byte for byte",
            ),
        ] {
            if judged && !said(of, name) {
                look.prefix.clone_from(&self.name);
                let message = format!("{what}: {}", self.unsaid(name, proxy));
                look.flag(rule, &self.view, message);
            }
        }
        if let By::Provider(provider) = &self.by
            && provider.settings.get("statusOnError").is_none()
            && !said(Of::Filter, "status_on_error")
        {
            look.prefix.clone_from(&provider.mesh);
            let message = "a Stagedoor that can't be asked is told as 403";
            look.flag(&rules::STATUS_ON_ERROR, &provider.settings, message);
        }
    }

    /// Istio has no words for them at all.
    fn trailers(&self, proxy: Proxy, patches: &Patches<'_>, look: &mut Look<'_>) {
        let authorizer = match self.by {
            By::Provider(_) | By::Unseen => (FILTER, Since::Ever),
            By::Patch(since) => (self.view.word("name"), since),
        };
        let headers = &look.own.headers;
        let left = patches.trailers_left(headers, self.scope.as_ref(), proxy, authorizer);
        if !left.is_empty() {
            let (left, whom) = (left.join("`, `"), self.whom(proxy));
            let message = format!(
                "no EnvoyFilter in here takes the trailers `{left}` of requests away{whom}"
            );
            look.prefix.clone_from(&self.name);
            look.flag(&rules::REQUEST_TRAILERS, &self.view, message);
        }
    }

    /// That a patch is missing, for people.
    fn unsaid(&self, setting: &str, proxy: Proxy) -> String {
        format!("no EnvoyFilter in here sets `{setting}`{}", self.whom(proxy))
    }

    /// For whom a patch is missing.
    fn whom(&self, proxy: Proxy) -> String {
        match &self.scope {
            Some(scope) => {
                format!(" for all {} of {}{}", proxy.plural(), self.name, scope.doubt())
            }
            None => String::new(),
        }
    }
}
