//! Who owns what: from catalog entities to a snapshot that decisions are made by.
//!
//! A catalog is data that many can write. Decisions use what Backstage resolved
//! (`relations`), owners that exist, and Entra ids from places that can't be forged;
//! the rest is a finding and grants nothing.

mod backstage;
mod changes;
mod compile;
mod decode;
mod draft;
mod encode;
mod entity;
mod finding;
mod folder;
mod guard;
mod hierarchy;
mod lenient;
mod lists;
mod load;
mod names;
mod origin;
mod reach;
mod refresh;
mod relations;
mod settings;
mod shared;
mod sharing;
mod snapshot;
mod source;
mod state;
mod store;
mod trust;
mod view;

pub use backstage::{CrawlError, Progress};
pub use changes::{Change, ChangeKind, changes};
pub use compile::CompileError;
pub use decode::SnapshotError;
pub use finding::{Finding, FindingKind, Findings};
pub use folder::FolderError;
pub use guard::{Excess, GuardSettings, Held};
pub use load::{CatalogError, load_entities, load_folder, load_once, load_with_progress};
pub use reach::Way;
pub use settings::{
    BackstageSettings, CatalogSettings, Membership, SharedSettings, SourceSettings,
};
pub use shared::{
    ETag, Elector, Lease, Lost, Mark, Polled, Published, Reader, Seen, SharedError, SharedLimits,
    SharedSnapshot, SharedStore, Standing, TTL_RANGE,
};
pub use snapshot::{RouteClaim, Snapshot};
pub use source::{Adopted, Catalog, ConfirmError, Observe};
pub use state::{CatalogState, CatalogStatus};
pub use store::{StoreError, decode_snapshot, encode_snapshot, read_snapshot, write_snapshot};
pub use view::{Entity, Group, User};
