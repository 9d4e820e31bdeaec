//! A folder as the shared place.
//!
//! A file system has no write on a condition, so it is made here: under a lock of
//! the operating system, which dies with the process that holds it, the present
//! file is compared, the new one written beside it, synced, and renamed over it.
//! Readers take no lock: what they opened stays whole.
//!
//! On a network file system that holds if locks are shared between machines (NFS 4
//! does so, SMB mounted with `nobrl` doesn't).

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::error::SharedError;
use super::place::{Ask, ETag, Expect, Object, Place, Read, STAMPED_HEAD, Written};

/// How long another's write is waited for.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
const LOCK_PAUSE: Duration = Duration::from_millis(2);

/// A folder that exists.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// The folder is not created: where a volume isn't mounted, each replica would
    /// make one of its own, and lead there.
    pub(super) fn open(path: PathBuf) -> Result<Self, SharedError> {
        let metadata = fs::metadata(&path).map_err(|e| failed(&path, &e))?;
        if !metadata.is_dir() {
            return Err(failed(&path, &"is no folder"));
        }
        Ok(Self { path })
    }

    fn file(&self, object: Object) -> PathBuf {
        self.path.join(object.name())
    }

    fn read_now(&self, object: Object, ask: &Ask) -> Result<Read, SharedError> {
        let path = self.file(object);
        let Some((mut file, size)) = open(&path)? else {
            // A missing folder is a volume that isn't mounted, not an empty one.
            fs::metadata(&self.path).map_err(|e| failed(&self.path, &e))?;
            return Ok(Read::Absent);
        };
        let wanted = ask.head.unwrap_or(size).min(size);
        if wanted > ask.limit {
            return Err(SharedError::TooLarge { object: object.name(), size, limit: ask.limit });
        }
        let mut bytes = Vec::new();
        read_up_to(&mut file, STAMPED_HEAD, &mut bytes).map_err(|e| failed(&path, &e))?;
        let etag = tag(&bytes, size);
        if ask.unless.as_ref() == Some(&etag) {
            return Ok(Read::Unchanged);
        }
        let have = bytes.len() as u64;
        read_up_to(&mut file, wanted.saturating_sub(have), &mut bytes)
            .map_err(|e| failed(&path, &e))?;
        bytes.truncate(usize::try_from(wanted).unwrap_or(usize::MAX));
        Ok(Read::Found { etag, bytes: bytes.into() })
    }

    fn write_now(
        &self,
        object: Object,
        parts: &[Bytes],
        expect: &Expect,
    ) -> Result<Written, SharedError> {
        let _lock = self.lock(object)?;
        let path = self.file(object);
        let holds = match (expect, tag_of(&path)?) {
            (Expect::Anything, _) | (Expect::Absent, None) => true,
            (Expect::Is(wanted), Some(present)) => *wanted == present,
            (Expect::Absent, Some(_)) | (Expect::Is(_), None) => false,
        };
        if !holds {
            return Ok(Written::Conflict);
        }
        // One name is enough under the lock, and so nothing is left lying about by a
        // process that was killed.
        let beside = self.path.join(format!(".{}.new", object.name()));
        let etag = write_synced(&beside, parts).map_err(|e| failed(&beside, &e))?;
        fs::rename(&beside, &path).map_err(|e| failed(&path, &e))?;
        sync_folder(&self.path).map_err(|e| failed(&self.path, &e))?;
        Ok(Written::As(etag))
    }

    /// One lock per object: a large snapshot mustn't hold up the lease.
    fn lock(&self, object: Object) -> Result<File, SharedError> {
        let path = self.path.join(format!(".{}.lock", object.name()));
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|e| failed(&path, &e))?;
        // Not the waiting kind of lock: a thread that waits on a stopped process
        // would never come back.
        let start = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::Error(e)) => return Err(failed(&path, &e)),
                Err(TryLockError::WouldBlock) if start.elapsed() < LOCK_PATIENCE => {
                    std::thread::sleep(LOCK_PAUSE);
                }
                Err(TryLockError::WouldBlock) => {
                    let cause = format!("locked by another process for over {LOCK_PATIENCE:?}");
                    return Err(failed(&path, &cause));
                }
            }
        }
    }
}

impl Place for Folder {
    fn read(&self, object: Object, ask: Ask) -> BoxFuture<'_, Result<Read, SharedError>> {
        let folder = self.clone();
        off_the_runtime(object, move || folder.read_now(object, &ask))
    }

    fn write(
        &self,
        object: Object,
        parts: Vec<Bytes>,
        expect: Expect,
    ) -> BoxFuture<'_, Result<Written, SharedError>> {
        let folder = self.clone();
        off_the_runtime(object, move || folder.write_now(object, &parts, &expect))
    }

    fn is_proved(&self) -> bool {
        true
    }
}

fn off_the_runtime<T: Send + 'static>(
    object: Object,
    work: impl FnOnce() -> Result<T, SharedError> + Send + 'static,
) -> BoxFuture<'static, Result<T, SharedError>> {
    tokio::task::spawn_blocking(work)
        .map(move |done| {
            done.unwrap_or_else(|e| {
                Err(SharedError::Store { object: object.name(), cause: e.to_string() })
            })
        })
        .boxed()
}

fn failed(path: &Path, cause: &dyn std::fmt::Display) -> SharedError {
    SharedError::File { path: path.to_owned(), cause: cause.to_string() }
}

/// Opens a regular file. Anything else (a pipe would wait for ever) is an error.
fn open(path: &Path) -> Result<Option<(File, u64)>, SharedError> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => return Err(failed(path, &"is no regular file")),
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed(path, &e)),
    }
    match File::open(path) {
        Ok(file) => {
            let size = file.metadata().map_err(|e| failed(path, &e))?.len();
            Ok(Some((file, size)))
        }
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(failed(path, &e)),
    }
}

fn read_up_to(file: &mut File, count: u64, bytes: &mut Vec<u8>) -> std::io::Result<()> {
    file.take(count).read_to_end(bytes).map(drop)
}

/// From the beginning, where the stamp is, and the size. The file system's own marks
/// won't do: inodes are used again, and times tick slower than writes come.
fn tag(beginning: &[u8], size: u64) -> ETag {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&size.to_be_bytes());
    context.update(beginning);
    let hex: String =
        context.finish().as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    ETag::new(format!("\"{hex}\""))
}

fn tag_of(path: &Path) -> Result<Option<ETag>, SharedError> {
    let Some((mut file, size)) = open(path)? else {
        return Ok(None);
    };
    let mut beginning = Vec::new();
    read_up_to(&mut file, STAMPED_HEAD, &mut beginning).map_err(|e| failed(path, &e))?;
    Ok(Some(tag(&beginning, size)))
}

fn write_synced(path: &Path, parts: &[Bytes]) -> std::io::Result<ETag> {
    // What a killed process left; and never through a link.
    match fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    let mut beginning = Vec::new();
    let mut size = 0_u64;
    for part in parts {
        file.write_all(part)?;
        let missing =
            usize::try_from(STAMPED_HEAD).unwrap_or(usize::MAX).saturating_sub(beginning.len());
        beginning.extend(part.iter().take(missing));
        size = size.saturating_add(part.len() as u64);
    }
    file.sync_all()?;
    Ok(tag(&beginning, size))
}

/// A rename lasts when the folder itself is on disk.
fn sync_folder(path: &Path) -> std::io::Result<()> {
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}
