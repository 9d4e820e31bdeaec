//! Who owns what: from catalog entities to a snapshot that decisions are made by.
//!
//! A catalog is data that many can write. Decisions use what Backstage resolved
//! (`relations`), owners that exist, and Entra ids from places that can't be forged;
//! the rest is a finding and grants nothing.

mod backstage;
mod compile;
mod entity;
mod folder;
mod hierarchy;
mod relations;
mod settings;
mod snapshot;
mod source;

pub use backstage::CrawlError;
pub use compile::CompileError;
pub use folder::FolderError;
pub use settings::{BackstageSettings, CatalogSettings, Membership, SourceSettings};
pub use snapshot::{Entity, Finding, Group, GroupIndex, Snapshot, User};
pub use source::{Catalog, CatalogError, CatalogState, CatalogStatus, load_folder, load_once};
