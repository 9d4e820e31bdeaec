//! `stagedoor snapshot who`

use std::process::ExitCode;

use super::Source;
use crate::domain::EntityRef;

/// As many people as are listed one by one.
const MAX_PEOPLE: usize = 200;

pub(super) fn run(source: &Source, entity: &EntityRef) -> anyhow::Result<ExitCode> {
    let (snapshot, config) = super::open(source)?;
    let found = super::entity(&snapshot, entity)?;
    let judge = config.as_ref().map(super::why::Judge::new).transpose()?;
    let mut lines = vec![format!("{entity}")];
    let owners: Vec<_> = found.owners().map(EntityRef::as_str).collect();
    lines.push(match owners.as_slice() {
        [] => "owned by nobody: no owner of it exists".to_owned(),
        owners => format!("owned by {}", owners.join(", ")),
    });
    let owning = snapshot.owning_groups(&found);
    lines.push("\ngroups whose members own it".to_owned());
    for (group, way) in &owning {
        let id = group.id().map_or_else(
            || "bound to no group of the directory".to_owned(),
            |id| format!("directory group {id}"),
        );
        let way: Vec<_> = way.groups.iter().map(|group| group.as_str()).collect();
        let over =
            if way.len() > 1 { format!("  by {}", way.join(" → ")) } else { String::new() };
        lines.push(format!("  {}  {} ({id}){over}", group.entity(), group.title()));
    }
    let groups: Vec<_> = owning.iter().map(|(group, _)| *group).collect();
    let people = snapshot.people_in(&groups, &found);
    lines.push(format!("\npeople, as the catalog has them: {}", people.len()));
    for user in people.iter().take(MAX_PEOPLE) {
        let may = judge.as_ref().map(|judge| judge.may(&snapshot, user, &found));
        let may = may.map_or_else(String::new, |may| format!("  may {may}"));
        lines.push(format!("  {}  {}{may}", user.entity(), user.title()));
    }
    if people.len() > MAX_PEOPLE {
        lines.push(format!("  … and {} more", people.len() - MAX_PEOPLE));
    }
    if judge.is_some() {
        let note = "Policies can let others in as well: applications, callers with a role, whoever \
                    a policy names.";
        lines.push(format!("\n{note}"));
    }
    crate::cli::line(&lines.join("\n"))?;
    Ok(ExitCode::SUCCESS)
}
