//! The applications of a tenant, and what they prove themselves with.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use time::OffsetDateTime;

use crate::assertion::Assertion;
use crate::certificate::thumbprint;
use crate::keys::SigningKey;
use crate::refusal::Refusal;

/// The audience of assertions by other issuers.
const EXCHANGE: &str = "api://AzureADTokenExchange";

/// An application's assertion lives at most so many seconds.
const LONGEST: i64 = 600;

/// Clocks may differ by so many seconds where something isn't valid yet.
const SKEW: i64 = 5;

/// The applications that may ask for tokens for themselves. One is there from its first
/// credential on, and stays without any.
#[derive(Default)]
pub struct Applications(Mutex<HashMap<String, Application>>);

#[derive(Default)]
struct Application {
    secrets: Vec<String>,
    certificates: Vec<Vec<u8>>,
    federated: Vec<Federated>,
    /// The ids of the assertions it has shown: each is taken once.
    used: HashSet<String>,
}

/// Whose assertions speak for an application.
#[derive(Debug)]
struct Federated {
    issuer: String,
    subject: String,
    key: Vec<u8>,
}

impl Applications {
    /// The application has this secret, beside others.
    pub fn secret(&self, client_id: &str, secret: &str) {
        self.change(client_id, |application| application.secrets.push(secret.to_owned()));
    }

    /// This secret is no more.
    pub fn remove_secret(&self, client_id: &str, secret: &str) {
        self.change(client_id, |application| application.secrets.retain(|known| known != secret));
    }

    /// The application has this certificate, beside others.
    pub fn certificate(&self, client_id: &str, der: &[u8]) {
        self.change(client_id, |application| application.certificates.push(der.to_vec()));
    }

    /// This certificate is no more.
    pub fn remove_certificate(&self, client_id: &str, der: &[u8]) {
        self.change(client_id, |application| application.certificates.retain(|known| known != der));
    }

    /// Tokens of this subject by this issuer, signed with this key, speak for the
    /// application: a federated identity credential.
    pub fn federated(&self, client_id: &str, issuer: &str, subject: &str, key: &SigningKey) {
        let (issuer, subject) = (issuer.to_owned(), subject.to_owned());
        let federated = Federated { issuer, subject, key: key.public_key_der() };
        self.change(client_id, |application| application.federated.push(federated));
    }

    /// Whether there is an application of this id.
    pub(crate) fn known(&self, client_id: &str) -> Result<(), Refusal> {
        self.with(client_id, |_| Ok(()))
    }

    /// Whether this is one of its secrets.
    pub(crate) fn check_secret(&self, client_id: &str, secret: &str) -> Result<(), Refusal> {
        self.with(client_id, |application| {
            if application.secrets.iter().any(|known| known == secret) {
                return Ok(());
            }
            let message = format!(
                "Invalid client secret provided. Ensure the secret being sent in the request \
                 is the client secret value, not the client secret ID, for a secret added to \
                 app '{client_id}'."
            );
            Err(Refusal::client(7_000_215, message))
        })
    }

    /// Whether this was signed by the application for this token endpoint, or for it by
    /// somebody it trusts.
    pub(crate) fn check_assertion(
        &self,
        client_id: &str,
        assertion: &str,
        endpoint: &str,
    ) -> Result<(), Refusal> {
        let assertion = Assertion::parse(assertion)
            .ok_or_else(|| Refusal::client(50_027, "JWT token is invalid or malformed."))?;
        let own = assertion.thumbprint().is_some() || assertion.text("iss") == Some(client_id);
        self.with(client_id, |application| {
            if own {
                application.check_own(client_id, &assertion, endpoint)
            } else {
                application.check_federated(&assertion)
            }
        })
    }

    fn change(&self, client_id: &str, change: impl FnOnce(&mut Application)) {
        change(self.applications().entry(client_id.to_lowercase()).or_default());
    }

    fn with(
        &self,
        client_id: &str,
        check: impl FnOnce(&mut Application) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        match self.applications().get_mut(&client_id.to_lowercase()) {
            Some(application) => check(application),
            None => {
                let message = format!(
                    "Application with identifier '{client_id}' was not found in the directory."
                );
                Err(Refusal::request("unauthorized_client", 700_016, message))
            }
        }
    }

    fn applications(&self) -> MutexGuard<'_, HashMap<String, Application>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Applications {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not their secrets.
        out.debug_set().entries(self.applications().keys()).finish()
    }
}

impl Application {
    fn check_own(
        &mut self,
        client_id: &str,
        assertion: &Assertion,
        endpoint: &str,
    ) -> Result<(), Refusal> {
        let invalid = |why: &str| {
            let message =
                format!("Client assertion contains an invalid signature. [Reason - {why}]");
            Refusal::client(700_027, message)
        };
        let named = assertion.thumbprint();
        let der = self
            .certificates
            .iter()
            .find(|der| named == Some(thumbprint(der).as_str()))
            .ok_or_else(|| invalid("The key was not found."))?;
        if !assertion.signed_by_certificate(der) {
            return Err(invalid("The key was found, but the signature does not fit."));
        }
        if assertion.text("aud") != Some(endpoint) {
            let message = "Client assertion audience claim does not match Realm issuer.";
            return Err(Refusal::client(700_023, message));
        }
        if assertion.text("iss") != Some(client_id) || assertion.text("sub") != Some(client_id) {
            let message =
                "Client assertion application identifier doesn't match 'client_id' parameter.";
            return Err(Refusal::client(700_021, message));
        }
        let (Some(begins), Some(ends)) = (assertion.seconds("nbf"), assertion.seconds("exp"))
        else {
            return Err(outside_its_time());
        };
        within(begins, ends)?;
        if ends.saturating_sub(begins) > LONGEST {
            return Err(outside_its_time());
        }
        match assertion.text("jti") {
            Some(id) if self.used.insert(id.to_owned()) => Ok(()),
            Some(_) => Err(Refusal::client(50_013, "Assertion is not valid: it was used before.")),
            None => Err(Refusal::client(50_013, "Assertion is not valid: it has no 'jti'.")),
        }
    }

    fn check_federated(&self, assertion: &Assertion) -> Result<(), Refusal> {
        let (issuer, subject) = (assertion.text("iss"), assertion.text("sub"));
        let trusted = assertion.text("aud") == Some(EXCHANGE)
            && self.federated.iter().any(|federated| {
                issuer == Some(&federated.issuer)
                    && subject == Some(&federated.subject)
                    && assertion.signed_by_key(&federated.key)
            });
        if !trusted {
            let message = format!(
                "No matching federated identity record found for presented assertion subject \
                 '{}'.",
                subject.unwrap_or_default()
            );
            return Err(Refusal::client(700_213, message));
        }
        let ends = assertion.seconds("exp").ok_or_else(outside_its_time)?;
        within(assertion.seconds("nbf").unwrap_or(0), ends)
    }
}

/// Whether it is valid now.
fn within(begins: i64, ends: i64) -> Result<(), Refusal> {
    let now = OffsetDateTime::now_utc().unix_timestamp();
    let valid = begins <= now.saturating_add(SKEW) && now < ends;
    if valid { Ok(()) } else { Err(outside_its_time()) }
}

fn outside_its_time() -> Refusal {
    Refusal::client(700_024, "Client assertion is not within its valid time range.")
}
