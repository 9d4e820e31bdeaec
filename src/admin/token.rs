//! The token that the admin port asks for, by a file that is read again when it changes.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Digest, SHA256, digest};
use axum::http::{HeaderMap, header};
use tokio::sync::watch;

/// How often the file is looked at.
const EVERY: Duration = Duration::from_secs(2);
/// Fewer characters could be guessed.
const SHORTEST: usize = 32;
const LONGEST: usize = 4096;

/// Why a file holds no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the file `{}` {cause}", .file.display())]
pub struct AdminTokenError {
    file: PathBuf,
    cause: String,
}

/// Who has it is who may act on the admin port. Cheap to clone.
#[derive(Clone, Debug)]
pub struct AdminToken(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    file: PathBuf,
    current: ArcSwap<Hashed>,
}

/// A token's hash: as long as any other, whatever the token.
#[derive(Debug)]
struct Hashed(Digest);

impl AdminToken {
    /// Reads the file for the first time.
    ///
    /// # Errors
    /// It can't be read, or holds no token.
    pub fn load(file: PathBuf) -> Result<Self, AdminTokenError> {
        let current = ArcSwap::from_pointee(Hashed::of(&read(&file)?));
        Ok(Self(Arc::new(Shared { file, current })))
    }

    /// Whether a request has the token, and only that.
    pub(super) fn is_in(&self, headers: &HeaderMap) -> bool {
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else { return false };
        let Some((scheme, token)) = value.to_str().ok().and_then(|value| value.split_once(' '))
        else {
            return false;
        };
        scheme.eq_ignore_ascii_case("bearer") && self.0.current.load().is_of(token.trim())
    }

    /// Reads the file again whenever it changes, until the end. While it holds no token, the
    /// one before stays.
    pub async fn run(&self, mut stop: watch::Receiver<bool>) {
        let mut failing = false;
        loop {
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
            // A call to the file system of a few microseconds; the file is small.
            match read(&self.0.file) {
                Ok(token) => {
                    failing = false;
                    if !self.0.current.load().is_of(&token) {
                        self.0.current.store(Arc::new(Hashed::of(&token)));
                        tracing::info!("the admin port asks for another token");
                    }
                }
                Err(error) if !failing => {
                    failing = true;
                    tracing::error!(%error, "the admin token is not replaced: the one before stays");
                }
                Err(_) => {}
            }
        }
    }
}

impl Hashed {
    fn of(token: &str) -> Self {
        Self(digest(&SHA256, token.as_bytes()))
    }

    fn is_of(&self, token: &str) -> bool {
        verify_slices_are_equal(self.0.as_ref(), Self::of(token).0.as_ref()).is_ok()
    }
}

/// The token in a file, for whoever asks the admin port.
pub(crate) fn read(file: &Path) -> Result<String, AdminTokenError> {
    let wrong = |cause: String| AdminTokenError { file: file.to_owned(), cause };
    let mut text = String::new();
    File::open(file)
        .and_then(|file| file.take(LONGEST as u64 + 2).read_to_string(&mut text))
        .map_err(|cause| wrong(format!("can't be read: {cause}")))?;
    let token = text.trim();
    let is_plain = token.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_plain || !(SHORTEST..=LONGEST).contains(&token.len()) {
        let expected = format!(
            "holds no token: expected {SHORTEST} to {LONGEST} letters, digits and marks, as \
             `openssl rand -hex 32` makes them"
        );
        return Err(wrong(expected));
    }
    Ok(token.to_owned())
}
