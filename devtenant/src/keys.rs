//! Signing keys.

use std::sync::{Arc, OnceLock};

use anyhow::{Context as _, Result, bail};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// An RSA key and its id. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SigningKey {
    kid: String,
    pair: Arc<RsaKeyPair>,
}

impl SigningKey {
    /// A new key of 2048, 3072, 4096 or 8192 bits.
    ///
    /// # Errors
    /// Another size.
    pub fn generate(kid: &str, bits: usize) -> Result<Self> {
        let size = match bits {
            2048 => KeySize::Rsa2048,
            3072 => KeySize::Rsa3072,
            4096 => KeySize::Rsa4096,
            8192 => KeySize::Rsa8192,
            other => bail!("no key of {other} bits can be made"),
        };
        let pair = RsaKeyPair::generate(size).context("no key could be made")?;
        Ok(Self { kid: kid.to_owned(), pair: Arc::new(pair) })
    }

    /// A private key (PKCS #8) under this id.
    ///
    /// # Errors
    /// No RSA private key.
    pub fn from_pkcs8(kid: &str, der: &[u8]) -> Result<Self> {
        let pair = RsaKeyPair::from_pkcs8(der).context("no RSA key")?;
        Ok(Self { kid: kid.to_owned(), pair: Arc::new(pair) })
    }

    /// One of four keys that are made once a process: making one takes a while.
    ///
    /// # Panics
    /// There is no fifth.
    #[must_use]
    #[allow(clippy::expect_used, reason = "only tests call this, and there a panic is the result")]
    pub fn test(number: usize) -> Self {
        static KEYS: [OnceLock<SigningKey>; 4] = [const { OnceLock::new() }; 4];
        KEYS.get(number)
            .expect("there are four test keys")
            .get_or_init(|| {
                Self::generate(&format!("test-key-{number}"), 2048).expect("a key can be made")
            })
            .clone()
    }

    /// The same key under another id.
    #[must_use]
    pub fn named(&self, kid: &str) -> Self {
        Self { kid: kid.to_owned(), pair: Arc::clone(&self.pair) }
    }

    /// The key's id.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// As Entra's key documents list it: without `alg`, with an issuer in v2.0 ones.
    #[must_use]
    pub fn jwk(&self, issuer: Option<&str>) -> Value {
        let public = self.pair.public_key();
        let mut jwk = json!({
            "kty": "RSA",
            "use": "sig",
            "kid": self.kid,
            "x5t": self.kid,
            "n": URL_SAFE_NO_PAD.encode(public.modulus().big_endian_without_leading_zero()),
            "e": URL_SAFE_NO_PAD.encode(public.exponent().big_endian_without_leading_zero()),
        });
        if let (Some(issuer), Some(members)) = (issuer, jwk.as_object_mut()) {
            members.insert("issuer".to_owned(), issuer.into());
        }
        jwk
    }

    /// The public key as DER (PKCS #1).
    #[must_use]
    pub fn public_key_der(&self) -> Vec<u8> {
        self.pair.public_key().as_ref().to_vec()
    }

    /// The public key as PEM (PKCS #1).
    #[must_use]
    pub fn public_key_pem(&self) -> Vec<u8> {
        pem("RSA PUBLIC KEY", &self.public_key_der()).into_bytes()
    }

    /// Signs with `RS256`, `RS384` or `PS256`.
    ///
    /// # Panics
    /// Another algorithm, or one that fails.
    #[must_use]
    #[allow(clippy::expect_used, clippy::panic, reason = "a caller's mistake")]
    pub fn sign(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let encoding: &'static dyn RsaEncoding = match algorithm {
            "RS256" => &RSA_PKCS1_SHA256,
            "RS384" => &RSA_PKCS1_SHA384,
            "PS256" => &RSA_PSS_SHA256,
            other => panic!("no signatures of {other}"),
        };
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(encoding, &SystemRandom::new(), message, &mut signature)
            .expect("an RSA key signs");
        signature
    }
}

/// These bytes as PEM (RFC 7468).
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let mut pem = format!("-----BEGIN {label}-----");
    for (at, character) in STANDARD.encode(der).chars().enumerate() {
        if at % 64 == 0 {
            pem.push('\n');
        }
        pem.push(character);
    }
    pem.push_str(&format!("\n-----END {label}-----\n"));
    pem
}
