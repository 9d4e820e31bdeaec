//! `catalog`: where ownership comes from.

use super::Findings;
use crate::catalog::{
    BackstageSettings, CatalogSettings, GuardSettings, Membership, SharedSettings, SharedStore,
    SourceSettings,
};
use crate::config::document::{self, Backstage, Catalog, Guard, Shared};
use crate::config::problem::below;
use crate::config::values::Period;
use crate::tls::Authorities;

pub(super) fn settings(
    catalog: &Catalog,
    authorities: Authorities,
    findings: &mut Findings<'_>,
) -> Option<CatalogSettings> {
    let (s, h) = (Period::seconds, Period::hours);
    if catalog.max_age < catalog.refresh_every {
        let message =
            format!("must not be less than `refresh_every` (`{}`)", catalog.refresh_every);
        findings.say_of("/catalog/max_age", &["/catalog/refresh_every"], message);
    }
    let refresh = catalog.refresh_every;
    let refresh_every = findings.period("/catalog/refresh_every", refresh, s(1), h(24));
    let max_age = findings.period("/catalog/max_age", catalog.max_age, s(1), h(168));
    let source = match (&catalog.folder, &catalog.backstage) {
        (Some(folder), None) => {
            findings.folder("/catalog/folder", folder).map(SourceSettings::Folder)
        }
        (None, Some(given)) => backstage(given, findings).map(SourceSettings::Backstage),
        (Some(_), Some(_)) => {
            findings.say("/catalog/backstage", "either this or `folder`, not both");
            None
        }
        (None, None) => {
            findings.say("/catalog", "expected `folder` or `backstage`");
            None
        }
    };
    let store = match &catalog.store {
        Some(folder) => findings.folder("/catalog/store", folder).map(Some),
        None => Some(None),
    };
    let shared = match &catalog.shared {
        Some(given) => shared(given, authorities, findings).map(Some),
        None => Some(None),
    };
    let Guard { max_loss_percent, max_reassigned_percent, adopt_after } = catalog.guard;
    Some(CatalogSettings {
        source: source?,
        refresh_every,
        max_age,
        guard: GuardSettings { max_loss_percent, max_reassigned_percent, adopt_after },
        root_groups_grant: catalog.root_groups_grant,
        store: store?,
        shared: shared?,
    })
}

fn shared(
    shared: &Shared,
    authorities: Authorities,
    findings: &mut Findings<'_>,
) -> Option<SharedSettings> {
    let at = |name: &str| below("/catalog/shared", name);
    let s = Period::seconds;
    let lease = findings.period(&at("lease"), shared.lease, s(3), s(600));
    let poll_every = findings.period(&at("poll_every"), shared.poll_every, s(1), Period::hours(1));
    if let Err(error) = SharedStore::open(&shared.url, &authorities) {
        findings.say(at("url"), error.to_string());
        return None;
    }
    // In a pod its name.
    let name = std::env::var("HOSTNAME").unwrap_or_default();
    let mut name: String = name
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'))
        .take(63)
        .collect();
    if name.is_empty() {
        name.push_str("stagedoor");
    }
    Some(SharedSettings { url: shared.url.clone(), name, lease, poll_every, authorities })
}

fn backstage(backstage: &Backstage, findings: &mut Findings<'_>) -> Option<BackstageSettings> {
    let at = |name: &str| below("/catalog/backstage", name);
    let url = findings.secure_url(&at("url"), &backstage.url);
    let token_file = match &backstage.token_file {
        Some(file) => findings.file(&at("token_file"), file).map(Some),
        None => Some(None),
    };
    let crawl_timeout = findings.period(
        &at("crawl_timeout"),
        backstage.crawl_timeout,
        Period::seconds(1),
        Period::hours(1),
    );
    let trusted_id_locations =
        findings.read_all(&at("trusted_id_locations"), &backstage.trusted_id_locations, bounded);
    let graph_providers =
        findings.read_all(&at("graph_providers"), &backstage.graph_providers, |id| {
            let fits = !id.is_empty() && id.bytes().all(|b| b.is_ascii_graphic() && b != b'/');
            if fits {
                Ok(id.to_owned())
            } else {
                Err("expected a provider's id, such as `default`")
            }
        });
    Some(BackstageSettings {
        url: url?,
        token_file: token_file?,
        page_size: backstage.page_size,
        crawl_timeout,
        trusted_id_locations,
        graph_providers,
    })
}

const UNBOUNDED: &str = "expected a prefix that ends with `/`, such as \
     `url:https://github.com/contoso/org/`, or a whole location that ends with `.yaml`: anything \
     shorter would trust its namesakes as well";

/// A prefix of locations that covers no namesakes.
pub(super) fn bounded(prefix: &str) -> Result<String, &'static str> {
    if is_bounded(prefix) { Ok(prefix.to_owned()) } else { Err(UNBOUNDED) }
}

/// Whether a prefix ends where a name ends: `url:https://github.com/contoso` would
/// also believe `contoso-evil`, and `url:` everybody.
fn is_bounded(prefix: &str) -> bool {
    let Some((kind, rest)) = prefix.split_once(':') else { return false };
    let ends = rest.ends_with('/') || rest.ends_with(".yaml") || rest.ends_with(".yml");
    let name = match rest.split_once("://") {
        Some((_, name)) => name,
        None => rest,
    };
    !kind.is_empty() && ends && !name.trim_matches('/').is_empty()
}

pub(super) fn membership(membership: document::Membership) -> Membership {
    match membership {
        document::Membership::Token => Membership::Token,
        document::Membership::Catalog => Membership::Catalog,
        document::Membership::Either => Membership::Either,
        document::Membership::Both => Membership::Both,
    }
}
