//! What an operator revoked, by a file that is read again when it changes.
//!
//! One entry a line, so that a script or `stagedoor keys distrust` can append without
//! touching what stands there:
//!
//! ```text
//! # an incident, 2026-03-01
//! key            AbC123                                 # a signing key, of any issuer
//! object         bbbbbbbb-0000-0000-0000-000000000001   # everything of this user or application
//! session        3f2c…                                  # `sid`
//! token          m5RaaRnoFUyp2TbSCAAAAA                 # `uti`
//! issued-before  2026-03-01T09:30:00Z                   # every older token
//! ```

use std::collections::HashSet;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::jwt::is_key_id;
use crate::domain::{Denial, Identity, ObjectId, OpaqueId, Reason};

/// How often the file is looked at.
const EVERY: Duration = Duration::from_millis(500);
/// A larger file is a mistake.
const MAX_BYTES: u64 = 16 << 20;

/// Why a file of revocations can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RevocationError {
    /// It can't be read or written.
    #[error("`{}`: {cause}", .file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// A line says nothing that is understood.
    #[error("{}:{line}: {cause}", .file.display())]
    Line {
        /// In which file.
        file: PathBuf,
        /// Which, from 1.
        line: usize,
        /// What was expected.
        cause: String,
    },
}

/// What was revoked.
#[derive(Clone, Debug, Default)]
pub(super) struct Revocations {
    keys: HashSet<Box<str>>,
    objects: HashSet<ObjectId>,
    sessions: HashSet<OpaqueId>,
    tokens: HashSet<OpaqueId>,
    issued_before: Option<i64>,
}

impl Revocations {
    fn read(file: &Path) -> Result<Self, RevocationError> {
        let failed = |cause: String| RevocationError::File { file: file.to_owned(), cause };
        let size = std::fs::metadata(file).map_err(|e| failed(e.to_string()))?.len();
        if size > MAX_BYTES {
            return Err(failed(format!("larger than {MAX_BYTES} bytes")));
        }
        let text = std::fs::read_to_string(file).map_err(|e| failed(e.to_string()))?;
        let mut all = Self::default();
        for (number, line) in text.lines().enumerate() {
            all.line(line).map_err(|cause| RevocationError::Line {
                file: file.to_owned(),
                line: number + 1,
                cause,
            })?;
        }
        Ok(all)
    }

    fn line(&mut self, line: &str) -> Result<(), String> {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let (kind, value) = match (words.next(), words.next(), words.next()) {
            (None, ..) => return Ok(()),
            (Some(kind), Some(value), None) => (kind, value),
            _ => return Err("expected a kind and a value, such as `object <oid>`".to_owned()),
        };
        match kind {
            "key" if is_key_id(value) => drop(self.keys.insert(value.into())),
            "key" => return Err(format!("`{value}` is no key id")),
            "object" => {
                let id = value.parse().map_err(|error| format!("`{value}`: {error}"))?;
                self.objects.insert(id);
            }
            "session" => drop(self.sessions.insert(OpaqueId::of(value))),
            "token" => drop(self.tokens.insert(OpaqueId::of(value))),
            "issued-before" => {
                let time = chrono::DateTime::parse_from_rfc3339(value).map_err(|_| {
                    format!("`{value}`: expected a time such as `2026-03-01T09:30:00Z`")
                })?;
                self.issued_before = self.issued_before.max(Some(time.timestamp()));
            }
            other => {
                return Err(format!(
                    "unknown kind `{other}` (known: `key`, `object`, `session`, `token`, \
                     `issued-before`)"
                ));
            }
        }
        Ok(())
    }

    /// Whether everything that the other revokes is revoked here.
    fn covers(&self, other: &Self) -> bool {
        other.keys.is_subset(&self.keys)
            && other.objects.is_subset(&self.objects)
            && other.sessions.is_subset(&self.sessions)
            && other.tokens.is_subset(&self.tokens)
            && other.issued_before <= self.issued_before
    }

    /// Revokes what the other does as well.
    fn add(&mut self, other: &Self) {
        self.keys.extend(other.keys.iter().cloned());
        self.objects.extend(&other.objects);
        self.sessions.extend(other.sessions.iter().cloned());
        self.tokens.extend(other.tokens.iter().cloned());
        self.issued_before = self.issued_before.max(other.issued_before);
    }

    /// Whether the key was declared compromised.
    pub(super) fn key(&self, id: &str) -> Result<(), Denial> {
        if self.keys.contains(id) { Err(Reason::TokenKeyDistrusted.into()) } else { Ok(()) }
    }

    /// Whether the holder, the session or the token was revoked.
    pub(super) fn holder(&self, identity: &Identity) -> Result<(), Denial> {
        let revoked = |what: &str| Err(Denial::with_detail(Reason::TokenRevoked, what));
        let listed = |set: &HashSet<OpaqueId>, id: &Option<OpaqueId>| {
            id.as_ref().is_some_and(|id| set.contains(id))
        };
        if self.objects.contains(&identity.object) {
            return revoked("the object is listed");
        }
        if listed(&self.sessions, &identity.session) {
            return revoked("the session is listed");
        }
        if listed(&self.tokens, &identity.token_id) {
            return revoked("the token is listed");
        }
        if self.issued_before.is_some_and(|time| identity.issued_at < time) {
            return revoked("it was issued before the time that is listed");
        }
        Ok(())
    }
}

/// The revocations in force.
#[derive(Debug)]
pub(super) struct RevocationList {
    file: Option<PathBuf>,
    /// Keys that the configuration itself distrusts.
    always: Vec<String>,
    current: ArcSwap<Revocations>,
    last_error: ArcSwap<Option<String>>,
}

/// What tells that a file was changed or replaced.
type Stamp = Option<(u64, u64, i64, i64)>;

impl RevocationList {
    /// Reads the file for the first time; without one, only `keys` are distrusted.
    pub(super) fn new(file: Option<PathBuf>, keys: &[String]) -> Result<Self, RevocationError> {
        let list = Self {
            file,
            always: keys.to_vec(),
            current: ArcSwap::default(),
            last_error: ArcSwap::default(),
        };
        list.reload(true)?;
        Ok(list)
    }

    /// The list of a changed configuration. Of the same file, what it said before holds on
    /// until it is read and settled: just now somebody may be writing it.
    pub(super) fn following(
        &self,
        file: Option<PathBuf>,
        keys: &[String],
    ) -> Result<Self, RevocationError> {
        let same = file.is_some() && file == self.file;
        let list = match Self::new(file.clone(), keys) {
            Err(error) if same => {
                let list = Self::new(None, keys)?;
                list.last_error.store(Arc::new(Some(error.to_string())));
                Self { file, ..list }
            }
            list => list?,
        };
        if same {
            let mut all = self.current.load().as_ref().clone();
            all.add(&list.current.load());
            list.current.store(Arc::new(all));
        }
        Ok(list)
    }

    pub(super) fn load(&self) -> arc_swap::Guard<Arc<Revocations>> {
        self.current.load()
    }

    /// Why the file could not be read the last time, if so. What it said before holds on.
    pub(super) fn last_error(&self) -> Option<String> {
        (**self.last_error.load()).clone()
    }

    /// Reads the file. What revokes more holds at once; what takes something back only when
    /// the file is `settled`, since one that is being written looks like it. Returns whether
    /// it holds.
    fn reload(&self, settled: bool) -> Result<bool, RevocationError> {
        let mut all = match &self.file {
            Some(file) => Revocations::read(file)?,
            None => Revocations::default(),
        };
        all.keys.extend(self.always.iter().map(|id| id.as_str().into()));
        self.last_error.store(Arc::default());
        if !settled && !all.covers(&self.current.load()) {
            return Ok(false);
        }
        self.current.store(Arc::new(all));
        Ok(true)
    }

    fn stamp(&self) -> Stamp {
        let metadata = std::fs::metadata(self.file.as_ref()?).ok()?;
        Some((metadata.ino(), metadata.len(), metadata.mtime(), metadata.mtime_nsec()))
    }

    /// Reads the file again whenever it changes, until told to stop.
    pub(super) async fn watch(&self, mut stop: watch::Receiver<bool>) {
        if self.file.is_none() {
            let _ = stop.wait_for(|stop| *stop).await;
            return;
        }
        // What changed since the first reading counts as a change.
        let (mut seen, mut taken): (Stamp, Stamp) = (None, None);
        loop {
            // A call to the file system of a few microseconds; the file is small.
            let stamp = self.stamp();
            if stamp != taken || stamp.is_none() {
                let settled = stamp == seen && stamp.is_some();
                match self.reload(settled) {
                    Ok(true) => {
                        tracing::info!("the revocations were read");
                        taken = stamp;
                    }
                    Ok(false) => {}
                    Err(error) => {
                        let text = error.to_string();
                        if self.last_error().as_ref() != Some(&text) {
                            tracing::error!(%error, "the revocations cannot be read: the last ones hold");
                        }
                        self.last_error.store(Arc::new(Some(text)));
                    }
                }
                seen = stamp;
            }
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }
}

/// Adds a key to a file of revocations; makes one where there is none. Whoever reads the
/// file takes it up within a second.
///
/// # Errors
/// The id is none, the file holds something else, or can't be written.
pub fn distrust_key(file: &Path, id: &str) -> Result<(), RevocationError> {
    let failed = |cause: String| RevocationError::File { file: file.to_owned(), cause };
    if !is_key_id(id) {
        return Err(failed(format!("`{id}` is no key id")));
    }
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(failed(error.to_string())),
    };
    if !text.is_empty() {
        // Not what somebody else reads as something else.
        Revocations::read(file)?;
    }
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    let mut opened = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(file)
        .map_err(|e| failed(e.to_string()))?;
    opened
        .write_all(format!("{end}key {id}\n").as_bytes())
        .and_then(|()| opened.sync_all())
        .map_err(|e| failed(e.to_string()))
}
