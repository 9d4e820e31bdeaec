//! What a certificate says of itself, for people.

use std::net::IpAddr;

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::domain::plain;

/// Of its names, so many are told, each no longer than this.
const MOST_NAMES: usize = 20;
const LONGEST: usize = 200;
const DAY: i64 = 86_400;
/// When a certificate should have been renewed: less of its lifetime is left than one part of
/// so many, and less than so many seconds. The alert `StagedoorCertificateExpires` has the same.
const SOON: (i64, i64) = (5, 30 * DAY);
/// When somebody has to act at once, as `StagedoorCertificateNearEnd` has it.
const NEAR_END: (i64, i64) = (20, 3 * DAY);

/// What stands in a certificate. Nothing of it is secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Its subject, as `CN=stagedoor.example.com`.
    pub subject: String,
    /// Its alternative names: DNS names, URIs, IP and mail addresses, as far as there are not
    /// very many.
    pub names: Vec<String>,
    /// Its first second, in Unix time.
    pub not_before: i64,
    /// Its last second, in Unix time.
    pub not_after: i64,
}

/// How much longer a certificate is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateState {
    /// For long enough.
    Good,
    /// Not for long: it should have been renewed.
    EndsSoon,
    /// Hardly.
    NearEnd,
    /// Not any more.
    Expired,
}

impl CertificateFacts {
    /// Those of a certificate in DER.
    pub(crate) fn read(der: &[u8]) -> Result<Self, String> {
        let (_, certificate) =
            X509Certificate::from_der(der).map_err(|error| format!("can't be read: {error}"))?;
        let validity = certificate.validity();
        // Names that can't be read are for those to judge who are shown them.
        let names = certificate.subject_alternative_name().ok().flatten();
        let names = names.iter().flat_map(|all| &all.value.general_names);
        Ok(Self {
            subject: plain(&certificate.subject().to_string(), LONGEST),
            names: names.filter_map(name).take(MOST_NAMES).collect(),
            not_before: validity.not_before.timestamp(),
            not_after: validity.not_after.timestamp(),
        })
    }

    /// Seconds that are left of it; less than 0 after its end.
    #[must_use]
    pub fn left(&self, now: i64) -> i64 {
        self.not_after.saturating_sub(now)
    }

    /// Seconds from its first to its last: how long it was issued for.
    #[must_use]
    pub fn lifetime(&self) -> i64 {
        self.not_after.saturating_sub(self.not_before)
    }

    /// How much longer it is good. Certificates are issued for hours or for years, so it goes
    /// by the share that is left.
    #[must_use]
    pub fn state(&self, now: i64) -> CertificateState {
        let left = self.left(now);
        let within =
            |(parts, most): (i64, i64)| left.saturating_mul(parts) < self.lifetime() && left < most;
        if left < 0 {
            CertificateState::Expired
        } else if within(NEAR_END) {
            CertificateState::NearEnd
        } else if within(SOON) {
            CertificateState::EndsSoon
        } else {
            CertificateState::Good
        }
    }
}

impl CertificateState {
    /// Its stable name.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::EndsSoon => "ends_soon",
            Self::NearEnd => "near_end",
            Self::Expired => "expired",
        }
    }
}

/// A name in words; nothing for the kinds that nobody has.
fn name(name: &GeneralName<'_>) -> Option<String> {
    let text = match name {
        GeneralName::DNSName(text) | GeneralName::URI(text) | GeneralName::RFC822Name(text) => {
            (*text).to_owned()
        }
        GeneralName::IPAddress(bytes) => address(bytes)?.to_string(),
        _ => return None,
    };
    Some(plain(&text, LONGEST))
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let short = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    short.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

#[cfg(test)]
mod tests {
    use devtenant::authority::Authority;
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;

    use super::*;
    use crate::clock::Now;

    fn read(names: &[&str], days: std::ops::Range<i64>) -> CertificateFacts {
        let authority = Authority::new("Contoso").expect("an authority");
        let issued = authority.issue_for(names, days).expect("a certificate");
        let der = CertificateDer::from_pem_slice(issued.certificate.as_bytes()).expect("PEM");
        CertificateFacts::read(&der).expect("a certificate")
    }

    #[test]
    fn names_of_each_kind() {
        let names =
            ["a.example.com", "spiffe://cluster.local/ns/a/sa/b", "10.1.2.3", "2001:db8::1"];
        let now = Now::read().unix;
        let facts = read(&names, -1..30);
        assert_eq!(facts.names, names);
        assert_eq!(facts.subject, "CN=envoy.example.com");
        assert!((facts.not_before - (now - 86_400)).abs() < 60, "{facts:?}");
        assert!((facts.left(now) - 30 * 86_400).abs() < 60, "{facts:?}");
        assert_eq!(read(&[], -1..1).names, Vec::<String>::new());
    }

    #[test]
    fn very_many_names_are_cut() {
        let many: Vec<_> = (0..MOST_NAMES + 5).map(|at| format!("h{at}.example.com")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(read(&many, -1..1).names, many[..MOST_NAMES]);
    }

    #[test]
    fn what_is_no_certificate_is_refused() {
        for der in [&b""[..], b"\x30\x03\x02\x01\x01"] {
            let error = CertificateFacts::read(der).expect_err("no certificate");
            assert!(error.starts_with("can't be read: "), "{error}");
        }
    }

    /// The page, the metric's alerts and the runbook call the same thing soon.
    #[test]
    fn soon_is_what_the_alerts_call_soon() {
        let hour = 3600;
        for (lifetime, left, want) in [
            (365 * DAY, 31 * DAY, "good"),
            (365 * DAY, 30 * DAY - 1, "ends_soon"),
            (365 * DAY, 3 * DAY, "ends_soon"),
            (365 * DAY, 3 * DAY - 1, "near_end"),
            (90 * DAY, 18 * DAY, "good"),
            (90 * DAY, 18 * DAY - 1, "ends_soon"),
            (24 * hour, 5 * hour, "good"),
            (24 * hour, 4 * hour, "ends_soon"),
            (24 * hour, hour, "near_end"),
            (hour, 0, "near_end"),
            (hour, -1, "expired"),
        ] {
            let (not_before, not_after) = (1_000_000, 1_000_000 + lifetime);
            let facts =
                CertificateFacts { subject: String::new(), names: vec![], not_before, not_after };
            assert_eq!(facts.state(not_after - left).code(), want, "{left} of {lifetime}");
        }
        let alerts = include_str!("../../deploy/prometheus/alerts.yml");
        for ((parts, most), share) in [(SOON, "0.2"), (NEAR_END, "0.05")] {
            assert_eq!(share.parse(), Ok(1.0 / parts as f64));
            let left = "stagedoor_tls_certificate_expiry_seconds";
            for expr in [
                format!("{left} < {share} * stagedoor_tls_certificate_lifetime_seconds\n"),
                format!("{left} < {} * 86400\n", most / DAY),
            ] {
                assert!(alerts.contains(&expr), "{expr}");
            }
        }
    }
}
