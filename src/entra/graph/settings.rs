//! What asking Microsoft Graph is configured with.

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use crate::bounded::Bounds;
use crate::domain::ClientId;

/// How Microsoft Graph is asked for a caller's groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphSettings {
    /// How Stagedoor proves itself.
    pub credential: CredentialSettings,
    /// How long a request waits.
    pub wait: Duration,
    /// When a lookup is given up, with all its pages and retries.
    pub timeout: Duration,
    /// How long a caller's groups are kept.
    pub ttl: Duration,
    /// How long a failure is kept.
    pub failure_ttl: Duration,
    /// Lookups at a time.
    pub max_calls: usize,
    /// Bounds of what is kept.
    pub cache: Bounds,
    /// Whether only the groups that the catalog binds are asked for where that is cheaper.
    pub only_known_groups: bool,
}

impl GraphSettings {
    /// With everything but the credential as the configuration's defaults have it.
    #[must_use]
    pub fn new(credential: CredentialSettings) -> Self {
        Self {
            credential,
            wait: Duration::from_millis(120),
            timeout: Duration::from_secs(10),
            ttl: Duration::from_secs(300),
            failure_ttl: Duration::from_secs(5),
            max_calls: 16,
            cache: Bounds { max_entries: 100_000, max_bytes: 64 << 20 },
            only_known_groups: true,
        }
    }
}

/// How Stagedoor proves itself to Entra. Secrets stay in their files, and are read each
/// time a token is asked for: a file that was replaced needs no restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialSettings {
    /// A client secret.
    Secret {
        /// The application.
        client: ClientId,
        /// The file that holds it.
        file: PathBuf,
    },
    /// A certificate (`private_key_jwt`).
    Certificate {
        /// The application.
        client: ClientId,
        /// The PEM file that holds certificate and RSA key.
        file: PathBuf,
    },
    /// A token of an issuer whom the application trusts.
    Federated {
        /// The application.
        client: ClientId,
        /// The file that holds it.
        file: PathBuf,
    },
    /// The machine's or the platform's own identity.
    Managed {
        /// A user-assigned identity; nothing is the machine's own.
        client: Option<ClientId>,
        /// Where it is asked for.
        endpoint: IdentityEndpoint,
    },
}

/// Who hands out tokens of a managed identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdentityEndpoint {
    /// The instance metadata service of a virtual machine; its base address.
    Machine(Url),
    /// App Service, Functions and others: `IDENTITY_ENDPOINT` and `IDENTITY_HEADER`.
    Platform {
        /// The endpoint.
        url: Url,
        /// The header's value. A secret of the process's environment.
        header: http::HeaderValue,
    },
}

/// Where a virtual machine's metadata service is.
pub const MACHINE_ENDPOINT: &str = "http://169.254.169.254/";
