//! The directory beside the catalog: groups that only one of them has, and names that
//! differ.

use std::collections::HashMap;

use super::report::{Report, Severity};
use crate::catalog::Snapshot;
use crate::config::Config;
use crate::domain::GroupId;
use crate::entra::directory_groups;
use crate::fetch::HttpClient;
use crate::nearest::nearest;

pub(super) async fn look(
    config: &Config,
    client: &HttpClient,
    snapshot: &Snapshot,
    report: &mut Report,
) {
    let groups = match directory_groups(&config.entra, client).await {
        Ok(Some(groups)) => groups,
        Ok(None) => {
            let message = "not compared with the catalog: Microsoft Graph is not configured";
            report.add(Severity::Info, "directory", "entra.graph", message, "");
            return;
        }
        Err(error) => {
            let remedy = "docs/entra.md lists the permissions; listing groups needs \
                          `GroupMember.Read.All`";
            report.add(Severity::Error, "graph_unavailable", "entra.graph", error, remedy);
            return;
        }
    };
    let by_id: HashMap<GroupId, &str> =
        groups.iter().map(|group| (group.id, group.name.as_str())).collect();
    let unbound: Vec<_> =
        groups.iter().filter(|group| snapshot.group_bound_to(&group.id).is_none()).collect();
    let names: Vec<&str> = unbound.iter().map(|group| group.name.as_str()).collect();
    for group in snapshot.groups() {
        let subject = group.entity().to_string();
        let Some(id) = group.id() else {
            if let Some(near) = nearest(&group.title(), &names) {
                let message = format!("is bound to no group; the directory has `{near}`");
                report.add(Severity::Info, "group_like_team", subject, message, "");
            }
            continue;
        };
        match by_id.get(&id) {
            None => {
                let message = format!("is bound to `{id}`, which the directory does not have");
                let remedy = "it was deleted, or is of another tenant: nobody is in the team by it";
                report.add(Severity::Warning, "group_gone", subject, message, remedy);
            }
            Some(name) if !alike(name, &group.title()) => {
                let message = format!("is called `{}`, its group `{name}`", group.title());
                let remedy = "decides nothing; was the right group bound?";
                report.add(Severity::Info, "names_differ", subject, message, remedy);
            }
            Some(_) => {}
        }
    }
    if !unbound.is_empty() {
        let message = format!("{} groups of the directory are bound to no team", unbound.len());
        report.add(Severity::Info, "groups_without_team", "entra", message, "");
    }
}

fn alike(one: &str, other: &str) -> bool {
    let letters = |text: &str| -> String {
        text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
    };
    letters(one) == letters(other)
}
