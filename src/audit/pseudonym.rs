//! Names that say who is the same and not who it is.
//!
//! A pseudonym is a keyed hash of an id and its tenant: whoever has the key can find the
//! records of somebody, whoever has only the records can't even try all ids.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::hmac;
use tokio::time::Instant;

use crate::domain::{ClientId, ObjectId, TenantId};
use crate::seldom::Seldom;

/// A key of fewer bytes is none.
const MIN_KEY: usize = 32;
/// The file is looked at no more often.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const SAY_EVERY: Duration = Duration::from_secs(60);

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file can't be read.
    #[error("the key file `{}` can't be read: {cause}", path.display())]
    Unreadable {
        /// The configured path.
        path: PathBuf,
        /// The system's words.
        cause: io::Error,
    },
    /// It is too short to be one.
    #[error("the key file `{}` holds {found} bytes: a key has at least {MIN_KEY}", path.display())]
    Short {
        /// The configured path.
        path: PathBuf,
        /// Without the line's end.
        found: usize,
    },
}

/// The key that pseudonyms are made with.
#[derive(Clone)]
pub struct PseudonymKey(hmac::Key);

impl PseudonymKey {
    /// Reads a key: all bytes of the file but a line's end.
    ///
    /// # Errors
    /// The file can't be read, or holds too few bytes.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        key_bytes(path).map(|bytes| Self::of(&bytes))
    }

    fn of(bytes: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// What stands for an object of a tenant.
    #[must_use]
    pub fn object(&self, tenant: TenantId, object: ObjectId) -> String {
        self.pseudonym(&format!("{tenant}|{object}"))
    }

    /// What stands for a client application, as a tenant's callers use it.
    #[must_use]
    pub fn client(&self, tenant: TenantId, client: ClientId) -> String {
        self.pseudonym(&format!("client|{tenant}|{client}"))
    }

    fn pseudonym(&self, text: &str) -> String {
        let tag = hmac::sign(&self.0, text.as_bytes());
        let hex: String = tag.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        format!("p1_{hex}")
    }
}

fn key_bytes(path: &Path) -> Result<Vec<u8>, KeyError> {
    let mut bytes = std::fs::read(path)
        .map_err(|cause| KeyError::Unreadable { path: path.to_owned(), cause })?;
    while bytes.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        bytes.pop();
    }
    if bytes.len() < MIN_KEY {
        return Err(KeyError::Short { path: path.to_owned(), found: bytes.len() });
    }
    Ok(bytes)
}

/// The key of a file, read again when the file changes.
pub(super) struct KeyFile {
    path: PathBuf,
    bytes: Vec<u8>,
    key: PseudonymKey,
    looked: Instant,
    news: Seldom,
}

impl KeyFile {
    pub(super) fn open(path: &Path) -> Result<Self, KeyError> {
        let bytes = key_bytes(path)?;
        let key = PseudonymKey::of(&bytes);
        let news = Seldom::new(SAY_EVERY);
        Ok(Self { path: path.to_owned(), bytes, key, looked: Instant::now(), news })
    }

    pub(super) fn key(&self) -> &PseudonymKey {
        &self.key
    }

    /// Reads the file again, where it is time to or somebody asks for it. One that can't
    /// be read leaves the key as it is: no record is without a pseudonym.
    pub(super) fn refresh(&mut self, now: Instant, at_once: bool) {
        if !at_once && now.saturating_duration_since(self.looked) < LOOK_EVERY {
            return;
        }
        self.looked = now;
        match key_bytes(&self.path) {
            Ok(bytes) if bytes != self.bytes => {
                tracing::info!("pseudonyms in audit records are made with another key from now on");
                self.key = PseudonymKey::of(&bytes);
                self.bytes = bytes;
            }
            Ok(_) => {}
            Err(error) => {
                if let Some(unsaid) = self.news.ask(now) {
                    tracing::error!(%error, unsaid, "pseudonyms are made with the key before");
                }
            }
        }
    }
}

impl fmt::Debug for PseudonymKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PseudonymKey([redacted])")
    }
}

impl fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyFile").field("path", &self.path).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENANT: &str = "11111111-2222-3333-4444-555555555555";
    const OBJECT: &str = "aaaaaaaa-2222-3333-4444-555555555555";

    fn pseudonym(key: &PseudonymKey) -> String {
        key.object(TENANT.parse().expect("guid"), OBJECT.parse().expect("guid"))
    }

    /// The value is public API: whoever has the key can compute it elsewhere, as with
    /// `printf '%s' "$tenant|$object" | openssl dgst -sha256 -hmac "$key"`.
    #[test]
    fn a_pseudonym_is_a_truncated_hmac() {
        let key = PseudonymKey::of(b"0123456789abcdef0123456789abcdef");
        assert_eq!(pseudonym(&key), "p1_f2b80508e8ceda6892db2707fc030635");
        assert_eq!(format!("{key:?}"), "PseudonymKey([redacted])");
        let client = key.client(TENANT.parse().expect("guid"), OBJECT.parse().expect("guid"));
        assert_ne!(client, pseudonym(&key), "an id as a client is another thing than as an object");
    }

    #[tokio::test]
    async fn the_key_follows_its_file_and_outlives_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        for short in ["", "short", "0123456789abcdef0123456789abcde\n\n"] {
            std::fs::write(&path, short).expect("written");
            let error = KeyFile::open(&path).expect_err("too short").to_string();
            assert!(error.contains("a key has at least 32"), "{error}");
        }
        std::fs::write(&path, "0123456789abcdef0123456789abcdef\n").expect("written");
        let mut file = KeyFile::open(&path).expect("a key");
        let first = pseudonym(file.key());
        let start = Instant::now();
        // The same with another line's end.
        std::fs::write(&path, "0123456789abcdef0123456789abcdef\r\n").expect("written");
        file.refresh(start, true);
        assert_eq!(pseudonym(file.key()), first);
        std::fs::write(&path, [7; 32]).expect("written");
        file.refresh(start, false);
        assert_eq!(pseudonym(file.key()), first, "too early to look");
        file.refresh(start + LOOK_EVERY * 2, false);
        let second = pseudonym(file.key());
        assert_ne!(second, first);
        std::fs::remove_file(&path).expect("removed");
        file.refresh(start + LOOK_EVERY * 4, false);
        assert_eq!(pseudonym(file.key()), second);
        std::fs::write(&path, "0123456789abcdef0123456789abcdef").expect("written");
        file.refresh(start + LOOK_EVERY * 4, true);
        assert_eq!(pseudonym(file.key()), first);
    }
}
