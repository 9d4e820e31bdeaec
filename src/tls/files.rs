//! The files of a listener, as they are at one moment.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use aws_lc_rs::digest::{Context, SHA256};

use super::{TlsError, TlsFile, TlsSettings};

/// Nobody has a longer chain, or more authorities.
const MAX_BYTES: u64 = 1 << 20;

/// What the files hold. Never shown: one of them is a private key.
pub(super) struct Files {
    pub(super) certificate: Vec<u8>,
    pub(super) key: Vec<u8>,
    pub(super) client_ca: Option<Vec<u8>>,
}

/// Tells contents apart without keeping them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint([u8; 32]);

impl Files {
    pub(super) fn read(settings: &TlsSettings) -> Result<Self, TlsError> {
        let read = |file, path: &Path| {
            text(path).map_err(|cause| {
                TlsError::new(file, format!("the file `{}` can't be read: {cause}", path.display()))
            })
        };
        Ok(Self {
            certificate: read(TlsFile::Certificate, &settings.certificate_file)?,
            key: read(TlsFile::Key, &settings.key_file)?,
            client_ca: match &settings.client_ca_file {
                Some(path) => Some(read(TlsFile::ClientCa, path)?),
                None => None,
            },
        })
    }

    pub(super) fn fingerprint(&self) -> Fingerprint {
        let mut all = Context::new(&SHA256);
        for part in [&self.certificate, &self.key, self.client_ca.as_ref().unwrap_or(&Vec::new())] {
            all.update(&part.len().to_be_bytes());
            all.update(part);
        }
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(all.finish().as_ref());
        Fingerprint(fingerprint)
    }
}

fn text(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let read = File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut text)?;
    if u64::try_from(read).unwrap_or(u64::MAX) > MAX_BYTES {
        return Err(io::Error::other(format!("it is larger than {MAX_BYTES} bytes")));
    }
    Ok(text)
}
