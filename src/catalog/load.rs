//! Making one snapshot of whatever is configured.

use std::path::Path;

use super::backstage::{self, CrawlError, Crawled, Memory, Progress};
use super::compile::{CompileError, Terms, compile};
use super::draft::Draft;
use super::folder::{self, FolderError};
use super::origin::Moves;
use super::settings::{CatalogSettings, SourceSettings};
use super::snapshot::Snapshot;
use crate::clock::Now;
use crate::fetch::Exchange;

/// Why there is no new snapshot.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The crawl.
    #[error(transparent)]
    Crawl(#[from] CrawlError),
    /// The folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// What came can't be decided by.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// Making the snapshot panicked.
    #[error("the snapshot could not be made: {0}")]
    Join(#[from] tokio::task::JoinError),
}

impl CatalogError {
    /// Its stable code, for metrics and status.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Crawl(error) => error.code(),
            Self::Folder(_) => "folder",
            Self::Compile(CompileError::NoGroups) => "no_groups",
            Self::Compile(CompileError::NoOwnedEntities) => "no_owned_entities",
            Self::Compile(CompileError::TooNested) => "too_nested",
            Self::Join(_) => "internal",
        }
    }
}

/// Makes a snapshot of a folder. `root_groups_grant` is as in the settings.
///
/// # Errors
/// A file that can't be read, or a folder that makes no snapshot.
pub fn load_folder(folder: &Path, root_groups_grant: bool) -> Result<Snapshot, CatalogError> {
    let now = Now::read().unix;
    Ok(alone(folder::read(folder)?, root_groups_grant, now)?)
}

/// Makes a snapshot of entities that stand in a file about something else, each with its
/// line.
///
/// # Errors
/// One that is none, or entities that make no snapshot.
pub fn load_entities(
    path: &Path,
    entities: Vec<(usize, serde_json::Value)>,
) -> Result<Snapshot, CatalogError> {
    let now = Now::read().unix;
    Ok(alone(folder::of_entities(path, entities)?, false, now)?)
}

/// Makes a snapshot of whatever is configured.
///
/// # Errors
/// The crawl or the folder, or what came can't be decided by.
pub async fn load_once<F: Exchange>(
    settings: &CatalogSettings,
    exchange: &F,
) -> Result<Snapshot, CatalogError> {
    load_with_progress(settings, exchange, &|_| {}).await
}

/// As [`load_once`], and tells how far it is.
///
/// # Errors
/// As [`load_once`].
pub async fn load_with_progress<F: Exchange>(
    settings: &CatalogSettings,
    exchange: &F,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Snapshot, CatalogError> {
    let now = Now::read().unix;
    let Some(draft) = draft(settings, exchange, &mut Memory::default(), progress).await? else {
        return Err(CompileError::NoGroups.into());
    };
    let root_groups_grant = settings.root_groups_grant;
    Ok(tokio::task::spawn_blocking(move || alone(draft, root_groups_grant, now)).await??)
}

/// Reads the entities; nothing where they are those of the last time.
pub(super) async fn draft<F: Exchange>(
    settings: &CatalogSettings,
    exchange: &F,
    memory: &mut Memory,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Option<Draft>, CatalogError> {
    match &settings.source {
        SourceSettings::Folder(folder) => {
            let folder = folder.clone();
            let draft = tokio::task::spawn_blocking(move || folder::read(&folder)).await??;
            Ok(Some(draft))
        }
        SourceSettings::Backstage(backstage) => {
            match backstage::crawl(backstage, exchange, memory, progress).await? {
                Crawled::Draft(draft) => Ok(Some(*draft)),
                Crawled::Unchanged => Ok(None),
            }
        }
    }
}

/// A snapshot that follows upon no other: nothing can have moved.
fn alone(draft: Draft, roots_grant: bool, crawled_at: i64) -> Result<Snapshot, CompileError> {
    let moves = &mut Moves::default();
    compile(draft, Terms { crawled_at, before: None, moves, adopt_after: 1, roots_grant })
}
