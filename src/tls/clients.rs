//! Which of the clients with a certificate are let in.

use std::str::FromStr;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, DnsName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
};
use webpki::EndEntityCert;

use crate::domain::{SpiffeId, plain};

/// Of the names of a client that is not let in, so many are told, each no longer than this.
const MOST_SHOWN: usize = 5;
const LONGEST_SHOWN: usize = 200;

/// A client, by an alternative name of its certificate (RFC 5280, section 4.2.1.6). A
/// common name counts for nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientName {
    /// A DNS name, in lower case.
    Dns(Box<str>),
    /// A SPIFFE id.
    Spiffe(Box<str>),
    /// Every SPIFFE id below this, which ends in `/`.
    SpiffeBelow(Box<str>),
}

impl FromStr for ClientName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(above) = text.strip_suffix("/*").filter(|text| text.starts_with("spiffe://")) {
            // Below a whole trust domain as well, which is no id by itself.
            SpiffeId::parse(&format!("{above}/x"))?;
            return Ok(Self::SpiffeBelow(format!("{above}/").into()));
        }
        if text.contains("://") {
            return SpiffeId::parse(text).map(|id| Self::Spiffe(id.as_str().into()));
        }
        if text.contains('*') {
            return Err("a DNS name must be written out");
        }
        DnsName::try_from(text)
            .map(|name| Self::Dns(name.to_lowercase_owned().as_ref().into()))
            .map_err(
                |_| "expected a DNS name or a SPIFFE id such as `spiffe://cluster.local/ns/a/sa/b`",
            )
    }
}

impl ClientName {
    /// Whether it is one of these names. A certificate with more than one URI has no SPIFFE
    /// id at all (X.509-SVID, section 2).
    fn is_among(&self, dns: &[&str], uris: &[&str]) -> bool {
        let id = match uris {
            [only] => SpiffeId::parse(only).ok().map(SpiffeId::as_str),
            _ => None,
        };
        match self {
            Self::Dns(name) => dns.iter().any(|dns| dns.eq_ignore_ascii_case(name)),
            Self::Spiffe(name) => id == Some(name),
            Self::SpiffeBelow(above) => id.is_some_and(|id| id.starts_with(&**above)),
        }
    }
}

/// Lets in whom the authorities vouch for, if the name is one of these.
#[derive(Debug)]
pub(super) struct NamedClients {
    pub(super) vouched: Arc<dyn ClientCertVerifier>,
    pub(super) names: Vec<ClientName>,
}

/// A client that is none of those that are let in.
#[derive(Debug, thiserror::Error)]
#[error("the client is not one of `clients`: its certificate is for {0}")]
struct Stranger(String);

impl Stranger {
    fn new(dns: &[&str], uris: &[&str]) -> Self {
        let shown = |name: &&str| format!("`{}`", plain(name, LONGEST_SHOWN));
        let names: Vec<_> = uris.iter().chain(dns).take(MOST_SHOWN).map(shown).collect();
        Self(if names.is_empty() { "nobody".to_owned() } else { names.join(", ") })
    }
}

impl ClientCertVerifier for NamedClients {
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.vouched.verify_client_cert(end_entity, intermediates, now)?;
        let certificate = EndEntityCert::try_from(end_entity)
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        let dns: Vec<_> = certificate.valid_dns_names().collect();
        let uris: Vec<_> = certificate.valid_uri_names().collect();
        if self.names.iter().any(|name| name.is_among(&dns, &uris)) {
            return Ok(verified);
        }
        let stranger = OtherError(Arc::new(Stranger::new(&dns, &uris)));
        Err(Error::InvalidCertificate(CertificateError::Other(stranger)))
    }

    fn offer_client_auth(&self) -> bool {
        self.vouched.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.vouched.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.vouched.root_hint_subjects()
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.vouched.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.vouched.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.vouched.supported_verify_schemes()
    }
}
