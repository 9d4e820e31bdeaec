//! The catalog: whether it can be read, and what in it grants nothing.

use super::report::{Report, Severity};
use crate::catalog::{CatalogError, CrawlError, FindingKind, Snapshot, SourceSettings};
use crate::config::Config;

/// How old what Backstage says can be: it looks at each location so seldom.
const PROCESSING_SECONDS: u64 = 150;

pub(super) fn look_at_settings(config: &Config, report: &mut Report) {
    let catalog = &config.catalog;
    let refresh = catalog.refresh_every.as_secs();
    let own = match &catalog.source {
        SourceSettings::Folder(_) => 0,
        SourceSettings::Backstage(backstage) => {
            if backstage.token_file.is_none() {
                let message = "no token: a Backstage that asks for none tells everybody everything";
                let remedy = "`backend.auth.externalAccess` and `token_file`";
                report.add(Severity::Warning, "no_token", "catalog.backstage", message, remedy);
            }
            PROCESSING_SECONDS
        }
    };
    let message = format!(
        "an edit decides after about {} s at most; in an outage snapshots are used for {} s",
        own + refresh,
        catalog.max_age.as_secs()
    );
    report.add(Severity::Info, "freshness", "catalog", message, "");
    if catalog.store.is_none() && matches!(catalog.source, SourceSettings::Backstage(_)) {
        let message = "a start while Backstage is down has no ownership to decide by";
        let remedy = "`catalog.store` names a folder that keeps the last snapshot";
        report.add(Severity::Warning, "no_store", "catalog.store", message, remedy);
    }
}

pub(super) fn unreadable(error: &CatalogError, report: &mut Report) {
    let remedy = match error {
        CatalogError::Crawl(CrawlError::Empty) => {
            "`accessRestrictions` of the token need `plugin: catalog` with `permission: \
             catalog.entity.read`; a backend that has just started needs a few minutes"
        }
        CatalogError::Crawl(CrawlError::Unauthorized | CrawlError::Forbidden) => {
            "compare the token file with `backend.auth.externalAccess` (docs/backstage.md)"
        }
        CatalogError::Crawl(_) => "Stagedoor must reach `catalog.backstage.url`",
        CatalogError::Folder(_) => "mend the file that is named",
        CatalogError::Compile(_) => "a catalog needs groups, and entities that they own",
        CatalogError::Join(_) => "",
    };
    report.add(Severity::Error, "catalog_unreadable", error.code(), error.to_string(), remedy);
}

pub(super) fn look(snapshot: &Snapshot, report: &mut Report) {
    let (entities, groups, users) = snapshot.counts();
    let message = format!("{entities} entities, {groups} groups, {users} users");
    report.add(Severity::Info, "catalog", snapshot.version().to_string(), message, "");
    for finding in snapshot.findings() {
        let (code, remedy) = match finding.kind {
            FindingKind::Dangling => ("dangling", "an owner, parent or group that is not there"),
            FindingKind::Untrusted => {
                ("untrusted", "`trusted_id_locations` if whoever writes there is to be believed")
            }
            FindingKind::Ambiguous => ("ambiguous", "one Entra id belongs to one entity"),
            FindingKind::InvalidId => ("invalid_id", "the annotation holds an object id"),
            FindingKind::Root => ("root", "own by a team, or `root_groups_grant: true`"),
            FindingKind::Repeated => ("repeated", "rename one of the two"),
            FindingKind::Moved => ("moved", "`stagedoor snapshot confirm` adopts it"),
            FindingKind::TooNested => ("too_nested", "shorten the chain of domains"),
            FindingKind::Route => ("route", "shorten the claim"),
            FindingKind::Unreadable => ("unreadable", "mend the entity"),
        };
        let subject = finding.entity.clone();
        report.add(Severity::Warning, code, subject, finding.message.clone(), remedy);
    }
    for entity in snapshot.entities().filter(|entity| entity.owners().next().is_none()) {
        let remedy = "give it an owner that exists: nobody gets in by owning it";
        let subject = entity.entity().to_string();
        report.add(Severity::Warning, "no_owner", subject, "no owner of it exists", remedy);
    }
    unbound(snapshot, report);
}

/// Teams that own something and nobody is in.
fn unbound(snapshot: &Snapshot, report: &mut Report) {
    let owning: std::collections::BTreeSet<_> =
        snapshot.entities().flat_map(|entity| entity.owners().collect::<Vec<_>>()).collect();
    for group in snapshot.groups().filter(|group| group.id().is_none()) {
        if owning.contains(group.entity()) {
            let remedy = "its members' tokens don't count for it: annotate it with \
                          `graph.microsoft.com/group-id`, or import it by the Microsoft Graph module";
            let message = "owns something and is bound to no group of the directory";
            let subject = group.entity().to_string();
            report.add(Severity::Warning, "team_without_group", subject, message, remedy);
        }
    }
    for user in snapshot.users().filter(|user| user.id().is_none()) {
        let remedy = "annotate it with `graph.microsoft.com/user-id`; without it `membership: \
                      catalog` knows nobody by it";
        let subject = user.entity().to_string();
        let message = "is bound to no user of the directory";
        report.add(Severity::Info, "user_without_id", subject, message, remedy);
    }
}
