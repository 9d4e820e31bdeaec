//! The last snapshot on disk, so that a restart survives an outage of Backstage.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::digest;

use super::decode::{SnapshotError, decode};
use super::encode::encode;
use super::snapshot::Snapshot;

/// The file in the store's folder.
const FILE: &str = "snapshot";
/// A larger one is none of ours: five million entities fit.
const MAX_BYTES: u64 = 1024 * 1024 * 1024;

/// How the name of a file ends that is being written.
const TEMPORARY: &str = ".new";
/// Nobody writes this long: whoever began it is gone.
const ABANDONED: Duration = Duration::from_secs(600);

/// Why a file gave or took no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system.
    #[error("`{}`: {cause}", .path.display())]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// What is wrong with it.
        cause: io::Error,
    },
    /// What stands in the file.
    #[error("`{}`: {cause}", .path.display())]
    Content {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        cause: SnapshotError,
    },
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |cause| StoreError::Io { path, cause }
}

/// A folder with the last snapshot.
#[derive(Clone, Debug)]
pub(super) struct Store {
    file: PathBuf,
}

impl Store {
    pub(super) fn new(folder: &Path) -> Self {
        Self { file: folder.join(FILE) }
    }

    /// The last snapshot, if there is one.
    pub(super) fn load(&self) -> Result<Option<Snapshot>, StoreError> {
        self.clear();
        match read_snapshot(&self.file) {
            Err(StoreError::Io { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => {
                Ok(None)
            }
            Err(error) => Err(error),
            Ok(mut snapshot) => {
                if let Some(seen) = self.seen(snapshot.version()) {
                    snapshot.crawled_at = snapshot.crawled_at.max(seen);
                }
                Ok(Some(snapshot))
            }
        }
    }

    /// Notes that a crawl found this very snapshot again. In a small file of its own: the
    /// snapshot can be large, and is as it was.
    pub(super) fn touch(&self, version: &str, crawled_at: i64) -> Result<(), StoreError> {
        let said = format!("{version} {crawled_at}");
        let checksum = digest::digest(&digest::SHA256, said.as_bytes());
        let checksum: String = checksum.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        write_whole(format!("{said} {checksum}\n").as_bytes(), &self.file.with_extension("seen"))
    }

    /// When a crawl last found this version, as far as that was noted and can be read.
    fn seen(&self, version: &str) -> Option<i64> {
        let text = fs::read_to_string(self.file.with_extension("seen")).ok()?;
        let (said, checksum) = text.trim_end().rsplit_once(' ')?;
        let hash = digest::digest(&digest::SHA256, said.as_bytes());
        let hash: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let (of, at) = said.split_once(' ')?;
        (hash == checksum && of == version).then(|| at.parse().ok())?
    }

    /// Removes what processes left that were killed while they wrote.
    fn clear(&self) {
        let Some(folder) = self.file.parent() else { return };
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.as_encoded_bytes();
            let ours = name.starts_with(b"snapshot.") && name.ends_with(TEMPORARY.as_bytes());
            let modified = entry.metadata().and_then(|metadata| metadata.modified());
            let age = modified.ok().and_then(|at| at.elapsed().ok());
            if ours && age.is_some_and(|age| age > ABANDONED) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    pub(super) fn save(&self, snapshot: &Snapshot) -> Result<(), StoreError> {
        write_snapshot(snapshot, &self.file)
    }
}

/// Reads a snapshot from a file.
///
/// # Errors
/// It can't be read, or is no whole snapshot of this format.
pub fn read_snapshot(path: &Path) -> Result<Snapshot, StoreError> {
    let file = File::open(path).map_err(failed(path))?;
    let mut bytes = Vec::new();
    if let Ok(metadata) = file.metadata() {
        bytes.reserve_exact(usize::try_from(metadata.len().min(MAX_BYTES)).unwrap_or(0));
    }
    file.take(MAX_BYTES).read_to_end(&mut bytes).map_err(failed(path))?;
    decode(&bytes).map_err(|cause| StoreError::Content { path: path.to_owned(), cause })
}

/// Writes a snapshot so that the file is at any time whole, the old or the new one: to
/// another file first, which takes its name once it is on disk.
///
/// # Errors
/// The file system's.
pub fn write_snapshot(snapshot: &Snapshot, path: &Path) -> Result<(), StoreError> {
    write_whole(&encode(snapshot), path)
}

fn write_whole(bytes: &[u8], path: &Path) -> Result<(), StoreError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}{TEMPORARY}", std::process::id()));
    let temporary = path.with_file_name(name);
    let mut file = File::create(&temporary).map_err(failed(&temporary))?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    drop(file);
    if let Err(cause) = written {
        // The disk may be full: what was begun is in the way.
        let _ = fs::remove_file(&temporary);
        return Err(StoreError::Io { path: temporary, cause });
    }
    fs::rename(&temporary, path).map_err(failed(path))?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed(folder))
}

/// A snapshot as the bytes that are kept on disk and shared.
#[must_use]
pub fn encode_snapshot(snapshot: &Snapshot) -> Vec<u8> {
    encode(snapshot)
}

/// Reads a snapshot from bytes.
///
/// # Errors
/// They are no whole snapshot of this format.
pub fn decode_snapshot(bytes: &[u8]) -> Result<Snapshot, SnapshotError> {
    decode(bytes)
}
