//! Key sets on disk, for a start without network.
//!
//! A file an issuer, written whole or not at all. It holds what the issuer published, when
//! that was fetched, and a checksum over both: a damaged file, or one of another issuer, is
//! told and left alone.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};

use super::key_set::KeySet;

/// The version of the file's form.
const VERSION: u32 = 1;
const MAX_BYTES: u64 = 4 << 20;

/// Why a kept key set is not used, or could not be kept.
#[derive(Debug, thiserror::Error)]
#[error("`{}`: {cause}", .file.display())]
pub(super) struct StoreError {
    file: PathBuf,
    cause: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    version: u32,
    issuer: String,
    /// Seconds since 1970.
    fetched_at: i64,
    /// SHA-256 over issuer, time and body.
    checksum: String,
    /// The key document, as it came.
    body: String,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn checksum(issuer: &str, fetched_at: i64, body: &str) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in [issuer.as_bytes(), &fetched_at.to_be_bytes(), body.as_bytes()] {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    hex(context.finish().as_ref())
}

/// A file's name says nothing of its issuer but which one it is.
fn file(folder: &Path, issuer: &str) -> PathBuf {
    let hash = digest::digest(&digest::SHA256, issuer.as_bytes());
    let name: String = hex(hash.as_ref()).chars().take(32).collect();
    folder.join(format!("keys-{name}.json"))
}

/// Keeps a key document that was fetched at `fetched_at`.
pub(super) fn save(
    folder: &Path,
    issuer: &str,
    fetched_at: i64,
    body: &[u8],
) -> Result<(), StoreError> {
    let file = file(folder, issuer);
    let failed = |cause: String| StoreError { file: file.clone(), cause };
    let body = std::str::from_utf8(body).map_err(|e| failed(e.to_string()))?;
    let kept = Kept {
        version: VERSION,
        issuer: issuer.to_owned(),
        fetched_at,
        checksum: checksum(issuer, fetched_at, body),
        body: body.to_owned(),
    };
    let text = serde_json::to_vec(&kept).map_err(|e| failed(e.to_string()))?;
    let temporary = file.with_extension(format!("{}.tmp", std::process::id()));
    let write = || -> std::io::Result<()> {
        let mut opened = std::fs::File::create(&temporary)?;
        opened.write_all(&text)?;
        opened.sync_all()?;
        std::fs::rename(&temporary, &file)?;
        // The rename lasts once the folder is on disk as well.
        std::fs::File::open(folder)?.sync_all()
    };
    write().map_err(|error| {
        let _ = std::fs::remove_file(&temporary);
        failed(error.to_string())
    })
}

/// The key set that was kept, and its age at `now` (seconds since 1970). Nothing where
/// none was.
pub(super) fn load(
    folder: &Path,
    issuer: &str,
    now: i64,
) -> Result<Option<(KeySet, Duration)>, StoreError> {
    let file = file(folder, issuer);
    let failed = |cause: String| StoreError { file: file.clone(), cause };
    match std::fs::metadata(&file) {
        Ok(metadata) if metadata.len() > MAX_BYTES => {
            return Err(failed(format!("larger than {MAX_BYTES} bytes")));
        }
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error.to_string())),
    }
    let text = std::fs::read(&file).map_err(|e| failed(e.to_string()))?;
    let kept: Kept = serde_json::from_slice(&text).map_err(|e| failed(e.to_string()))?;
    if kept.version != VERSION {
        return Err(failed(format!("its form is of version {}, not {VERSION}", kept.version)));
    }
    if kept.issuer != issuer {
        return Err(failed(format!("it is of the issuer `{}`", kept.issuer)));
    }
    if kept.checksum != checksum(&kept.issuer, kept.fetched_at, &kept.body) {
        return Err(failed("its checksum is wrong: it was damaged or changed".to_owned()));
    }
    // A clock that was set back makes nothing young.
    let age = now.checked_sub(kept.fetched_at).and_then(|age| u64::try_from(age).ok());
    let age = age.ok_or_else(|| failed("it was fetched in the future".to_owned()))?;
    let keys = KeySet::parse(kept.body.as_bytes()).map_err(|e| failed(e.to_string()))?;
    Ok(Some((keys, Duration::from_secs(age))))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISSUER: &str = "https://login.example.com/t/v2.0";
    const NOW: i64 = 1_800_000_000;

    /// A key document with a modulus that nobody has the primes of.
    fn body() -> Vec<u8> {
        let modulus = "w".repeat(341) + "Q";
        format!(r#"{{"keys":[{{"kty":"RSA","kid":"k","n":"{modulus}","e":"AQAB"}}]}}"#).into_bytes()
    }

    #[test]
    fn what_is_kept_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        assert!(load(folder.path(), ISSUER, NOW).unwrap().is_none());
        save(folder.path(), ISSUER, NOW - 60, &body()).unwrap();
        let (keys, age) = load(folder.path(), ISSUER, NOW).unwrap().unwrap();
        assert_eq!((keys.len(), age), (1, Duration::from_secs(60)));
        assert!(load(folder.path(), "https://other.example.com/", NOW).unwrap().is_none());
        assert!(load(folder.path(), ISSUER, NOW - 61).is_err(), "a clock set back");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file");
    }

    /// What can't be kept leaves nothing behind that somebody would have to clear away.
    #[test]
    fn what_cannot_be_kept_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing");
        let error = save(&missing, ISSUER, NOW, &body()).unwrap_err().to_string();
        assert!(error.contains(&missing.display().to_string()), "{error}");
        // No file can take the place of a folder.
        let path = file(folder.path(), ISSUER);
        std::fs::create_dir(&path).unwrap();
        assert!(save(folder.path(), ISSUER, NOW, &body()).is_err());
        let left: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(left, [path]);
    }

    /// Only where there is no file was nothing kept.
    #[test]
    fn what_cannot_be_looked_at_is_no_clean_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = file(folder.path(), ISSUER);
        std::fs::File::create(&path).unwrap().set_len(MAX_BYTES + 1).unwrap();
        let error = load(folder.path(), ISSUER, NOW).unwrap_err().to_string();
        assert!(error.contains("larger than 4194304 bytes"), "{error}");
        // The folder is a file.
        assert!(load(&path, ISSUER, NOW).is_err());
    }

    /// Whatever becomes of the file: what was written, or an error, or a clean nothing.
    #[test]
    fn no_damage_is_taken_for_keys() {
        let folder = tempfile::tempdir().unwrap();
        save(folder.path(), ISSUER, NOW, &body()).unwrap();
        let path = file(folder.path(), ISSUER);
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << (at % 8);
            std::fs::write(&path, &flipped).unwrap();
            assert!(load(folder.path(), ISSUER, NOW).is_err(), "a bit of byte {at}");
            if at % 16 == 0 {
                std::fs::write(&path, &whole[..at]).unwrap();
                assert!(load(folder.path(), ISSUER, NOW).is_err(), "cut at {at}");
            }
        }
        // A file of another issuer, or of a later form.
        let other = file(folder.path(), "https://other.example.com/");
        std::fs::write(&other, &whole).unwrap();
        let error = load(folder.path(), "https://other.example.com/", NOW).unwrap_err();
        assert!(error.to_string().contains("is of the issuer"), "{error}");
        let later = String::from_utf8(whole).unwrap().replace("\"version\":1", "\"version\":2");
        std::fs::write(&path, later).unwrap();
        let error = load(folder.path(), ISSUER, NOW).unwrap_err();
        assert!(error.to_string().contains("version 2"), "{error}");
    }
}
