//! Certificates that applications sign in with.

use std::fmt;

use anyhow::{Context as _, Result};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{CertificateParams, DnType, KeyPair, PKCS_RSA_SHA256, RsaKeySize};

use crate::keys::{SigningKey, pem};

/// A certificate and its private key.
#[derive(Clone)]
pub struct Certificate {
    der: Vec<u8>,
    key_der: Vec<u8>,
    key: SigningKey,
}

impl Certificate {
    /// A self-signed certificate of an RSA key of 2048 bits, with this common name.
    ///
    /// # Errors
    /// No key or certificate can be made.
    pub fn generate(name: &str) -> Result<Self> {
        let pair = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)
            .context("no key could be made")?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        let der = params.self_signed(&pair).context("no certificate could be made")?.der().to_vec();
        let key_der = pair.serialize_der();
        let key = SigningKey::from_pkcs8(&thumbprint(&der), &key_der)?;
        Ok(Self { der, key_der, key })
    }

    /// The certificate as PEM.
    #[must_use]
    pub fn cert_pem(&self) -> String {
        pem("CERTIFICATE", &self.der)
    }

    /// The private key as PEM (PKCS #8).
    #[must_use]
    pub fn key_pem(&self) -> String {
        pem("PRIVATE KEY", &self.key_der)
    }

    /// The certificate as DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Its private key; the key's id is the certificate's thumbprint.
    #[must_use]
    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    /// What an assertion names it by, as `x5t#S256`.
    #[must_use]
    pub fn thumbprint(&self) -> &str {
        self.key.kid()
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the private key.
        out.debug_struct("Certificate")
            .field("thumbprint", &self.thumbprint())
            .finish_non_exhaustive()
    }
}

/// The SHA-256 of a certificate, as `x5t#S256` has it (RFC 7515, section 4.1.8).
pub(crate) fn thumbprint(der: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, der))
}
