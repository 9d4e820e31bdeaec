//! Whom we trust besides the authorities of the system.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, TrustAnchor};

/// Nobody has more authorities.
const MAX_BYTES: u64 = 1 << 20;

/// Authorities that others' certificates may come from, beside those of the system. Cheap
/// to clone.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Authorities(Arc<Vec<CertificateDer<'static>>>);

impl Authorities {
    /// The authorities of these files, in PEM.
    ///
    /// # Errors
    /// What is wrong with a file, and its place in the list.
    pub fn read<P: AsRef<Path>>(files: &[P]) -> Result<Self, (usize, String)> {
        let mut all = Vec::new();
        for (index, file) in files.iter().enumerate() {
            let file = file.as_ref();
            let found = read(file)
                .map_err(|cause| (index, format!("the file `{}` {cause}", file.display())))?;
            all.extend(found);
        }
        Ok(Self(Arc::new(all)))
    }

    pub(crate) fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.0
    }

    pub(crate) fn anchors(&self) -> impl Iterator<Item = TrustAnchor<'static>> {
        // Each was one when it was read.
        let anchor = |der| webpki::anchor_from_trusted_cert(der).ok().map(|a| a.to_owned());
        self.0.iter().filter_map(anchor)
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authorities({})", self.0.len())
    }
}

fn read(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let mut pem = Vec::new();
    File::open(file)
        .and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut pem))
        .map_err(|cause| format!("can't be read: {cause}"))?;
    if u64::try_from(pem.len()).unwrap_or(u64::MAX) > MAX_BYTES {
        return Err(format!("is larger than {MAX_BYTES} bytes"));
    }
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let all = all.map_err(|_| "holds a certificate that is not whole")?;
    if all.is_empty() {
        return Err("holds no certificate in PEM".to_owned());
    }
    for certificate in &all {
        webpki::anchor_from_trusted_cert(certificate)
            .map_err(|error| format!("holds what is no certificate: {error}"))?;
    }
    Ok(all)
}
