//! Stagedoor's own token for Microsoft Graph.
//!
//! Written here rather than taken from a library: Microsoft's own brings an HTTP stack
//! and a certificate backend of its own, for two requests and one signature.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PSS_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use dashmap::DashMap;
use http::header::HeaderName;
use http::{HeaderValue, StatusCode};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};
use url::Url;
use uuid::Uuid;

use super::settings::{CredentialSettings, IdentityEndpoint};
use crate::clock::Now;
use crate::domain::{ClientId, TenantId};
use crate::fetch::{Body, Exchange, FetchError, Incoming, Limits, Outgoing};
use crate::tls::CertificateFacts;

/// A token answer is a few kilobytes.
const LIMITS: Limits = Limits { timeout: Duration::from_secs(5), max_bytes: 64 * 1024 };
/// After a refusal nobody asks again for this long: more would lock the application out.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(5);
/// How long a renewal may keep lookups waiting that could use the old token.
const RENEWAL_TIMEOUT: Duration = Duration::from_secs(1);
/// How long an assertion of ours is valid; Entra takes ten minutes at most.
const ASSERTION_SECONDS: i64 = 540;
/// How often a machine's identity service is asked until it is there.
const ATTEMPTS: u32 = 3;

/// Why there is no token for Graph.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum CredentialError {
    /// A file of the credential.
    #[error("`{}`: {cause}", .file.display())]
    File { file: PathBuf, cause: String },
    #[error(transparent)]
    Fetch(Arc<FetchError>),
    /// Entra says no, and why.
    #[error("{0}")]
    Refused(Refusal),
    #[error("`{url}` sent no token: {cause}")]
    Answer { url: Url, cause: String },
    #[error("no token within {0:?}")]
    Slow(Duration),
    #[error("asked in vain less than five seconds ago: {0}")]
    Paused(String),
}

/// Entra's words, and what helps.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    error: String,
    description: String,
    remedy: Option<&'static str>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "entra refused the credential ({}, {})", self.status.as_u16(), self.error)?;
        if !self.description.is_empty() {
            write!(f, ": {}", self.description)?;
        }
        match self.remedy {
            Some(remedy) => write!(f, "; {remedy}"),
            None => Ok(()),
        }
    }
}

/// The tokens of one credential, one a tenant.
#[derive(Debug)]
pub(super) struct Credential {
    settings: CredentialSettings,
    /// Each behind a lock of its own: a tenant that hangs holds up no other.
    tokens: DashMap<TenantId, Arc<Mutex<Kept>>>,
    /// What there was in the file of a certificate.
    seen: std::sync::Mutex<Seen>,
}

#[derive(Clone, Debug, Default)]
struct Seen {
    facts: Option<CertificateFacts>,
    read: Option<Instant>,
    last_error: Option<String>,
}

/// The certificate that Stagedoor proves itself to Entra with, as its file was when a token was
/// last asked for.
#[derive(Clone, Debug)]
pub struct CredentialCertificate {
    /// Its file, which holds its key as well.
    pub file: PathBuf,
    /// What stands in it; nothing before it was read, or where that is no certificate in X.509.
    pub facts: Option<CertificateFacts>,
    /// When it could last be read.
    pub read: Option<Instant>,
    /// Why the file can't be used as it is now.
    pub last_error: Option<String>,
}

#[derive(Debug, Default)]
struct Kept {
    token: Option<Token>,
    failed: Option<(Instant, String)>,
}

#[derive(Clone, Debug)]
struct Token {
    /// Marked as sensitive: it is never shown.
    value: HeaderValue,
    renew_at: Instant,
    ends_at: Instant,
}

/// For whom a token is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Audience<'a> {
    pub(super) tenant: TenantId,
    pub(super) authority: &'a Url,
    pub(super) graph: &'a Url,
}

impl Credential {
    pub(super) fn new(settings: CredentialSettings) -> Self {
        Self { settings, tokens: DashMap::new(), seen: std::sync::Mutex::default() }
    }

    /// The certificate, where it is one that proves who asks.
    pub(super) fn certificate(&self) -> Option<CredentialCertificate> {
        let CredentialSettings::Certificate { file, .. } = &self.settings else { return None };
        let Seen { facts, read, last_error } =
            self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Some(CredentialCertificate { file: file.clone(), facts, read, last_error })
    }

    /// The `authorization` header for Graph. One request at a time asks for a token; an
    /// old one is used on while it lasts and a new one can't be had.
    pub(super) async fn token<E: Exchange>(
        &self,
        exchange: &E,
        audience: Audience<'_>,
    ) -> Result<HeaderValue, CredentialError> {
        let slot = Arc::clone(&self.tokens.entry(audience.tenant).or_default());
        let mut kept = slot.lock().await;
        let now = Instant::now();
        if let Some(token) = kept.token.as_ref().filter(|token| now < token.renew_at) {
            return Ok(token.value.clone());
        }
        let paused = kept.failed.as_ref().filter(|(at, _)| now < *at + PAUSE_AFTER_FAILURE);
        // While the old one lasts nobody waits long for the new one.
        let lasts = kept.token.as_ref().is_some_and(|token| now < token.ends_at);
        let patience = if lasts { RENEWAL_TIMEOUT } else { LIMITS.timeout * ATTEMPTS };
        let fresh = match paused {
            Some((_, cause)) => Err(CredentialError::Paused(cause.clone())),
            None => timeout(patience, self.ask(exchange, audience))
                .await
                .unwrap_or_else(|_| Err(CredentialError::Slow(patience))),
        };
        match fresh {
            Ok(token) => {
                let value = token.value.clone();
                *kept = Kept { token: Some(token), failed: None };
                Ok(value)
            }
            Err(error) => {
                if !matches!(error, CredentialError::Paused(_)) {
                    tracing::warn!(%error, "no new token for microsoft graph");
                    kept.failed = Some((now, error.to_string()));
                }
                match kept.token.as_ref().filter(|token| now < token.ends_at) {
                    Some(token) => Ok(token.value.clone()),
                    None => Err(error),
                }
            }
        }
    }

    /// Graph did not accept this token: the next one is asked for anew.
    pub(super) async fn forget(&self, tenant: TenantId, refused: &HeaderValue) {
        let Some(slot) = self.tokens.get(&tenant).map(|slot| Arc::clone(&slot)) else { return };
        let mut kept = slot.lock().await;
        if kept.token.as_ref().is_some_and(|token| token.value == *refused) {
            kept.token = None;
        }
    }

    async fn ask<E: Exchange>(
        &self,
        exchange: &E,
        audience: Audience<'_>,
    ) -> Result<Token, CredentialError> {
        if let CredentialSettings::Managed { client, endpoint } = &self.settings {
            return managed(exchange, *client, endpoint, audience.graph).await;
        }
        let mut url = audience.authority.clone();
        url.set_path(&format!("/{}/oauth2/v2.0/token", audience.tenant));
        let scope = format!("{}/.default", audience.graph.as_str().trim_end_matches('/'));
        let mut form = vec![("grant_type", "client_credentials".to_owned()), ("scope", scope)];
        form.extend(self.proof(&url)?);
        let asked = Instant::now();
        let request = Outgoing { url: &url, headers: Vec::new(), body: Some(Body::Form(form)) };
        let answer = fetched(exchange.exchange(request, LIMITS).await)?;
        token(&url, &answer, asked)
    }

    /// The form fields that prove who asks.
    fn proof(&self, endpoint: &Url) -> Result<Vec<(&'static str, String)>, CredentialError> {
        const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
        let assertion = |client: &ClientId, assertion: String| {
            vec![
                ("client_id", client.to_string()),
                ("client_assertion_type", TYPE.to_owned()),
                ("client_assertion", assertion),
            ]
        };
        match &self.settings {
            CredentialSettings::Secret { client, file } => {
                Ok(vec![("client_id", client.to_string()), ("client_secret", read(file)?)])
            }
            CredentialSettings::Certificate { client, file } => {
                let signed = signed_assertion(*client, file, endpoint);
                self.see(&signed);
                Ok(assertion(client, signed?.0))
            }
            CredentialSettings::Federated { client, file } => Ok(assertion(client, read(file)?)),
            // Asked for elsewhere, without a proof.
            CredentialSettings::Managed { .. } => Ok(Vec::new()),
        }
    }

    /// Keeps what people are told of the certificate.
    fn see(&self, signed: &Result<(String, Option<CertificateFacts>), CredentialError>) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match signed {
            Ok((_, facts)) => {
                let (facts, read) = (facts.clone(), Some(Instant::now()));
                *seen = Seen { facts, read, last_error: None };
            }
            Err(error) => seen.last_error = Some(error.to_string()),
        }
    }
}

fn fetched(answer: Result<Incoming, FetchError>) -> Result<Incoming, CredentialError> {
    answer.map_err(|error| CredentialError::Fetch(error.into()))
}

/// A secret or token, without the line end that editors leave.
fn read(file: &Path) -> Result<String, CredentialError> {
    let failed = |cause: String| CredentialError::File { file: file.to_owned(), cause };
    let text = std::fs::read_to_string(file).map_err(|e| failed(e.to_string()))?;
    let text = text.trim();
    if text.is_empty() {
        return Err(failed("it is empty".to_owned()));
    }
    Ok(text.to_owned())
}

/// A JWT that proves possession of the certificate's key (RFC 7523, with the members that
/// Entra asks for), and what stands in the certificate.
fn signed_assertion(
    client: ClientId,
    file: &Path,
    endpoint: &Url,
) -> Result<(String, Option<CertificateFacts>), CredentialError> {
    let failed = |cause: &dyn fmt::Display| CredentialError::File {
        file: file.to_owned(),
        cause: cause.to_string(),
    };
    let pem = std::fs::read(file).map_err(|e| failed(&e))?;
    let certificate = CertificateDer::pem_slice_iter(&pem)
        .next()
        .ok_or_else(|| failed(&"it holds no certificate"))?
        .map_err(|_| failed(&"the certificate is no PEM"))?;
    let key = PrivateKeyDer::from_pem_slice(&pem)
        .map_err(|_| failed(&"it holds no private key in PEM"))?;
    let pair = match &key {
        PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
        PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
        _ => return Err(failed(&"the private key is no RSA key")),
    };
    let pair = pair.map_err(|_| failed(&"the private key is no RSA key that can be used"))?;
    let thumbprint = digest::digest(&digest::SHA256, &certificate);
    let header = json!({
        "typ": "JWT", "alg": "PS256", "x5t#S256": URL_SAFE_NO_PAD.encode(thumbprint.as_ref()),
    });
    let now = Now::read().unix;
    let claims = json!({
        "aud": endpoint.as_str(), "iss": client.to_string(), "sub": client.to_string(),
        "jti": Uuid::now_v7().to_string(), "nbf": now - 30, "exp": now + ASSERTION_SECONDS,
    });
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", part(&header), part(&claims));
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(&RSA_PSS_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature)
        .map_err(|_| failed(&"the private key does not sign"))?;
    // Whether it is good is for Entra to say.
    let facts = CertificateFacts::read(&certificate).ok();
    Ok((format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)), facts))
}

/// Asks the identity service of the machine or the platform, which takes a while to be
/// there after a start.
async fn managed<E: Exchange>(
    exchange: &E,
    client: Option<ClientId>,
    endpoint: &IdentityEndpoint,
    graph: &Url,
) -> Result<Token, CredentialError> {
    let (mut url, version, header) = match endpoint {
        IdentityEndpoint::Machine(base) => {
            let mut url = base.clone();
            url.set_path("/metadata/identity/oauth2/token");
            let header = (HeaderName::from_static("metadata"), HeaderValue::from_static("true"));
            (url, "2018-02-01", header)
        }
        IdentityEndpoint::Platform { url, header } => {
            let name = HeaderName::from_static("x-identity-header");
            (url.clone(), "2019-08-01", (name, header.clone()))
        }
    };
    url.query_pairs_mut()
        .append_pair("api-version", version)
        .append_pair("resource", graph.as_str().trim_end_matches('/'));
    if let Some(client) = client {
        url.query_pairs_mut().append_pair("client_id", &client.to_string());
    }
    let mut attempt = 1;
    loop {
        let asked = Instant::now();
        let request = Outgoing { url: &url, headers: vec![header.clone()], body: None };
        let answer = fetched(exchange.exchange(request, LIMITS).await)?;
        let again = matches!(answer.status.as_u16(), 404 | 410 | 429 | 500..=599);
        if !again || attempt == ATTEMPTS {
            return token(&url, &answer, asked);
        }
        sleep(Duration::from_millis(200) * 2_u32.pow(attempt)).await;
        attempt += 1;
    }
}

/// The token of an answer that was asked for at `asked`.
fn token(url: &Url, answer: &Incoming, asked: Instant) -> Result<Token, CredentialError> {
    let json: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    if answer.status != StatusCode::OK {
        return Err(CredentialError::Refused(refusal(answer.status, &json)));
    }
    let failed = |cause: &str| {
        let mut url = url.clone();
        url.set_query(None);
        CredentialError::Answer { url, cause: cause.to_owned() }
    };
    let value = json.get("access_token").and_then(Value::as_str).unwrap_or_default();
    if value.is_empty() {
        return Err(failed("no `access_token`"));
    }
    let mut value = HeaderValue::try_from(format!("Bearer {value}"))
        .map_err(|_| failed("`access_token` holds what no header can"))?;
    value.set_sensitive(true);
    // Managed identities get numbers as texts, and some only the second of the end.
    let number = |name: &str| match json.get(name) {
        Some(Value::Number(number)) => number.as_u64(),
        Some(Value::String(number)) => number.parse().ok(),
        _ => None,
    };
    let seconds = number("expires_in").or_else(|| {
        let now = u64::try_from(Now::read().unix).ok()?;
        number("expires_on")?.checked_sub(now)
    });
    let seconds = seconds.filter(|seconds| *seconds <= 7 * 86_400);
    let lifetime = Duration::from_secs(seconds.ok_or_else(|| failed("no `expires_in`"))?);
    // Five minutes before its end, or after four fifths of a short life.
    let early = (lifetime / 5).min(Duration::from_secs(300));
    Ok(Token { value, renew_at: asked + lifetime - early, ends_at: asked + lifetime })
}

/// What Entra says (its error shape), and what helps against the codes that operators
/// meet.
fn refusal(status: StatusCode, json: &Value) -> Refusal {
    let text = |name: &str| json.get(name).and_then(Value::as_str).unwrap_or_default();
    let described = text("error_description");
    let code = json.pointer("/error_codes/0").and_then(Value::as_i64).or_else(|| {
        described.strip_prefix("AADSTS").and_then(|rest| rest.split(':').next()?.parse().ok())
    });
    let remedy = code.and_then(|code| match code {
        7_000_215 => Some("the secret is wrong: its value is needed, not its id"),
        7_000_222 => Some("the secret has expired: make a new one"),
        700_016 => Some("the application is not in this tenant: check `client_id`, or consent"),
        90_002 => Some("the tenant does not exist in this cloud"),
        700_027 => Some("the certificate is not registered with the application"),
        700_024 => Some("the assertion is outside its time: check this machine's clock"),
        700_213 | 70_021 => {
            Some("no federated credential of the application matches issuer, subject and audience")
        }
        500_011 => Some("microsoft graph is not in this tenant"),
        65_001 => Some("an administrator has to consent to the application's permissions"),
        _ => None,
    });
    let line = described.lines().next().unwrap_or_default();
    Refusal {
        status,
        error: text("error").chars().take(100).collect(),
        description: line.chars().take(300).collect(),
        remedy,
    }
}

#[cfg(test)]
mod tests;
