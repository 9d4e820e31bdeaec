//! `stagedoor snapshot`

mod confirm;
mod diff;
mod fetch;
mod show;
mod who;
mod why;

pub(super) use fetch::now;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};

use crate::catalog::{self, Snapshot};
use crate::config::Config;
use crate::domain::EntityRef;
use crate::nearest::nearest;

pub(super) use fetch::now as fetch_now;

/// Where a snapshot is looked at.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(super) struct Source {
    /// A file that `snapshot fetch` or a store wrote.
    #[arg(long, value_name = "FILE")]
    snapshot: Option<PathBuf>,
    /// The configuration file. Without `--snapshot` the catalog that it names is read now;
    /// with it, its policies say who may do what.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(super) enum SnapshotCommand {
    /// Read the catalog once, into a file.
    Fetch {
        /// The configuration file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// The file to write.
        #[arg(long, value_name = "SNAPSHOT")]
        out: PathBuf,
    },
    /// Show what a snapshot says.
    Show {
        /// The snapshot's file.
        #[arg(value_name = "SNAPSHOT")]
        file: PathBuf,
        /// Everything, as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show what became different from one snapshot to another. Exits with 1 if something
    /// did.
    Diff {
        /// The file of the snapshot before.
        #[arg(value_name = "BEFORE")]
        before: PathBuf,
        /// The file of the snapshot after.
        #[arg(value_name = "AFTER")]
        after: PathBuf,
        /// As JSON, one change a line.
        #[arg(long)]
        json: bool,
    },
    /// Say who owns an entity, group by group and person by person, and with `--config`
    /// what the policies let each of them do.
    Who {
        #[command(flatten)]
        source: Source,
        /// Such as `component:default/orders`.
        #[arg(value_name = "ENTITY", value_parser = entity_ref)]
        entity: EntityRef,
    },
    /// Say why somebody owns an entity, or what is nearest to it. Exits with 1 if they do
    /// not.
    Why {
        #[command(flatten)]
        source: Source,
        /// A user or group of the catalog (`user:default/ada`), or the object id of a user or
        /// group of the directory.
        #[arg(value_name = "PRINCIPAL")]
        principal: String,
        /// Such as `component:default/orders`.
        #[arg(value_name = "ENTITY", value_parser = entity_ref)]
        entity: EntityRef,
    },
    /// Show what a running server holds back.
    Held {
        /// The server's configuration file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Have a running server adopt what it holds back.
    Confirm {
        /// The server's configuration file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// What is held, as `snapshot held` names it.
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Have a running server read the catalog again now.
    Refresh {
        /// The server's configuration file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
}

pub(super) fn run(command: &SnapshotCommand) -> anyhow::Result<ExitCode> {
    match command {
        SnapshotCommand::Fetch { config, out } => fetch::run(config, out),
        SnapshotCommand::Show { file, json } => show::run(file, *json),
        SnapshotCommand::Diff { before, after, json } => diff::run(before, after, *json),
        SnapshotCommand::Who { source, entity } => who::run(source, entity),
        SnapshotCommand::Why { source, principal, entity } => why::run(source, principal, entity),
        SnapshotCommand::Held { config } => confirm::held(config),
        SnapshotCommand::Confirm { config, id } => confirm::confirm(config, id),
        SnapshotCommand::Refresh { config } => confirm::refresh(config),
    }
}

fn entity_ref(text: &str) -> Result<EntityRef, String> {
    EntityRef::parse(text).map_err(|error| error.to_string())
}

fn read(file: &Path) -> anyhow::Result<Snapshot> {
    Ok(catalog::read_snapshot(file)?)
}

/// The snapshot and the configuration that a command names.
fn open(source: &Source) -> anyhow::Result<(Snapshot, Option<Config>)> {
    let config = source.config.as_deref().map(super::config::load).transpose()?;
    let snapshot = match (&source.snapshot, &config) {
        (Some(file), _) => read(file)?,
        (None, Some(config)) => fetch::now(config)?,
        (None, None) => bail!("expected `--snapshot` or `--config`"),
    };
    Ok((snapshot, config))
}

fn entity<'s>(snapshot: &'s Snapshot, entity: &EntityRef) -> anyhow::Result<catalog::Entity<'s>> {
    snapshot.entity(entity).with_context(|| {
        let known: Vec<_> = snapshot.entities().map(|known| known.entity().as_str()).collect();
        match nearest(entity.as_str(), &known) {
            Some(near) => format!("`{entity}` is not in the snapshot; did you mean `{near}`?"),
            None => format!("`{entity}` is not in the snapshot"),
        }
    })
}
