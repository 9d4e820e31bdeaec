//! `stagedoor snapshot show`

use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use crate::catalog::Snapshot;
use crate::domain::EntityRef;

/// As many as a person reads.
const MAX_FINDINGS: usize = 20;

pub(super) fn run(file: &Path, as_json: bool) -> anyhow::Result<ExitCode> {
    let snapshot = super::read(file)?;
    if as_json {
        crate::cli::line(&serde_json::to_string_pretty(&json(&snapshot))?)?;
    } else {
        crate::cli::line(&summary(&snapshot))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A snapshot at a glance.
pub(super) fn summary(snapshot: &Snapshot) -> String {
    let (entities, groups, users) = snapshot.counts();
    let bound = snapshot.groups().filter(|group| group.id().is_some()).count();
    let known = snapshot.users().filter(|user| user.id().is_some()).count();
    let owned = snapshot.entities().filter(|entity| entity.owners().next().is_some()).count();
    let at = chrono::DateTime::from_timestamp(snapshot.crawled_at(), 0)
        .map_or_else(|| "no time".to_owned(), |at| at.format("%F %T UTC").to_string());
    let mut lines = vec![
        format!("version    {}", snapshot.version()),
        format!("crawled    {at}"),
        format!("entities   {entities}, {owned} of them with an owner that exists"),
        format!("groups     {groups}, {bound} of them bound to a group of the directory"),
        format!("users      {users}, {known} of them bound to a user of the directory"),
        format!("findings   {}", snapshot.all_findings().total()),
    ];
    for (kind, count) in snapshot.all_findings().counts() {
        lines.push(format!("  {count} {kind}"));
    }
    for finding in snapshot.findings().iter().take(MAX_FINDINGS) {
        lines.push(format!("  {}  {}: {}", finding.kind, finding.entity, finding.message));
    }
    if snapshot.findings().len() > MAX_FINDINGS {
        lines.push("  …  `--json` shows all".to_owned());
    }
    lines.join("\n")
}

fn json(snapshot: &Snapshot) -> serde_json::Value {
    fn refs<'r>(refs: impl Iterator<Item = &'r EntityRef>) -> Vec<&'r str> {
        refs.map(EntityRef::as_str).collect()
    }
    let entities: Vec<_> = snapshot
        .entities()
        .map(|entity| {
            let claim = entity.claim().map(|claim| {
                json!({ "hosts": claim.hosts, "paths": claim.paths, "workloads": claim.workloads })
            });
            json!({
                "ref": entity.entity().as_str(),
                "type": entity.spec_type(),
                "lifecycle": entity.lifecycle(),
                "tags": entity.tags().collect::<Vec<_>>(),
                "owners": refs(entity.owners()),
                "part_of": refs(entity.part_of()),
                "claim": claim,
            })
        })
        .collect();
    let groups: Vec<_> = snapshot
        .groups()
        .map(|group| {
            json!({
                "ref": group.entity().as_str(),
                "title": group.title(),
                "id": group.id().map(|id| id.to_string()),
                "parents": refs(group.parents()),
                "ancestors": refs(group.ancestors()),
            })
        })
        .collect();
    let users: Vec<_> = snapshot
        .users()
        .map(|user| {
            json!({
                "ref": user.entity().as_str(),
                "title": user.title(),
                "id": user.id().map(|id| id.to_string()),
                "member_of": refs(user.member_of()),
            })
        })
        .collect();
    let findings: Vec<_> = snapshot
        .findings()
        .iter()
        .map(|finding| {
            json!({
                "entity": finding.entity,
                "kind": finding.kind.code(),
                "message": finding.message,
            })
        })
        .collect();
    json!({
        "version": snapshot.version(),
        "crawled_at": snapshot.crawled_at(),
        "entities": entities,
        "groups": groups,
        "users": users,
        "findings": findings,
    })
}
