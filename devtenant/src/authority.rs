//! An authority whose certificates proxies and services show each other.

use std::fmt;
use std::net::IpAddr;
use std::ops::Range;

use anyhow::{Context as _, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use time::{Duration, OffsetDateTime};

use crate::keys::pem;

/// The days around now in which a certificate is good, unless told otherwise.
const DAYS: Range<i64> = -1..30;

/// An authority: a certificate of its own, and those that it issues.
pub struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its private key, both in PEM.
#[derive(Clone)]
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

impl Authority {
    /// An authority of this name, with a key of its own.
    ///
    /// # Errors
    /// No key or certificate can be made.
    pub fn new(name: &str) -> Result<Self> {
        let key = KeyPair::generate().context("no key could be made")?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let der = params.self_signed(&key).context("no certificate could be made")?.der().to_vec();
        let certificate = pem("CERTIFICATE", &der);
        Ok(Self { certificate, issuer: Issuer::new(params, key) })
    }

    /// The authority's own certificate, in PEM.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// A certificate with these alternative names: IP addresses, URIs, and else DNS names.
    ///
    /// # Errors
    /// A name can't stand in a certificate.
    pub fn issue(&self, names: &[&str]) -> Result<Issued> {
        self.issue_for(names, DAYS)
    }

    /// The same, good from so many days after now until so many.
    ///
    /// # Errors
    /// As above.
    pub fn issue_for(&self, names: &[&str], days: Range<i64>) -> Result<Issued> {
        let now = OffsetDateTime::now_utc();
        self.issue_between(names, now + Duration::days(days.start)..now + Duration::days(days.end))
    }

    /// The same, good since yesterday and for so much longer.
    ///
    /// # Errors
    /// As above.
    pub fn issue_lasting(&self, names: &[&str], lasts: std::time::Duration) -> Result<Issued> {
        let now = OffsetDateTime::now_utc();
        self.issue_between(names, now - Duration::days(1)..now + lasts)
    }

    fn issue_between(&self, names: &[&str], good: Range<OffsetDateTime>) -> Result<Issued> {
        let key = KeyPair::generate().context("no key could be made")?;
        let mut params = CertificateParams::default();
        // A common name like a client that is let in, to see that nobody looks at it.
        params.distinguished_name.push(DnType::CommonName, "envoy.example.com");
        params.subject_alt_names = names.iter().map(|name| san(name)).collect::<Result<_>>()?;
        params.not_before = good.start;
        params.not_after = good.end;
        let certificate = params.signed_by(&key, &self.issuer).context("no certificate")?;
        Ok(Issued {
            certificate: pem("CERTIFICATE", certificate.der()),
            key: pem("PRIVATE KEY", &key.serialize_der()),
        })
    }
}

fn san(name: &str) -> Result<SanType> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let text = name.try_into().with_context(|| format!("`{name}` is no name"))?;
    Ok(if name.contains("://") { SanType::URI(text) } else { SanType::DnsName(text) })
}

impl fmt::Debug for Authority {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the private key.
        out.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl fmt::Debug for Issued {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Issued").finish_non_exhaustive()
    }
}
