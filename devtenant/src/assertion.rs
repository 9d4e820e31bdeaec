//! What an application signs, or has signed for it, to say who it is.

use aws_lc_rs::signature::{
    RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, RsaParameters, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls_pki_types::CertificateDer;
use serde_json::{Map, Value};
use webpki::EndEntityCert;

/// A JWT whose signature hasn't been looked at.
#[derive(Debug)]
pub(crate) struct Assertion {
    header: Map<String, Value>,
    claims: Map<String, Value>,
    signed: String,
    signature: Vec<u8>,
}

impl Assertion {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let decode = |part: &str| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok();
        Some(Self {
            header: decode(header)?,
            claims: decode(claims)?,
            signed: signed.to_owned(),
            signature: URL_SAFE_NO_PAD.decode(signature).ok()?,
        })
    }

    /// The thumbprint of the certificate it names.
    pub(crate) fn thumbprint(&self) -> Option<&str> {
        self.header.get("x5t#S256").and_then(Value::as_str)
    }

    pub(crate) fn text(&self, claim: &str) -> Option<&str> {
        self.claims.get(claim).and_then(Value::as_str)
    }

    pub(crate) fn seconds(&self, claim: &str) -> Option<i64> {
        self.claims.get(claim).and_then(Value::as_i64)
    }

    /// Whether the key of this certificate signed it, with PS256 or RS256.
    pub(crate) fn signed_by_certificate(&self, der: &[u8]) -> bool {
        let der = CertificateDer::from(der);
        let Ok(certificate) = EndEntityCert::try_from(&der) else { return false };
        let key = certificate.subject_public_key_info();
        match self.header.get("alg").and_then(Value::as_str) {
            Some("PS256") => self.verifies(&RSA_PSS_2048_8192_SHA256, &key),
            Some("RS256") => self.verifies(&RSA_PKCS1_2048_8192_SHA256, &key),
            _ => false,
        }
    }

    /// Whether this key (PKCS #1) signed it, with RS256.
    pub(crate) fn signed_by_key(&self, der: &[u8]) -> bool {
        self.header.get("alg").and_then(Value::as_str) == Some("RS256")
            && self.verifies(&RSA_PKCS1_2048_8192_SHA256, der)
    }

    fn verifies(&self, algorithm: &'static RsaParameters, key: &[u8]) -> bool {
        let key = UnparsedPublicKey::new(algorithm, key);
        key.verify(self.signed.as_bytes(), &self.signature).is_ok()
    }
}
