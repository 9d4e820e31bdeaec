//! From an address and the environment to a place.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::client::{HttpClient, HttpConnector, ReqwestConnector};
use object_store::path::Path;
use object_store::{Certificate, ClientConfigKey, ClientOptions, ObjectStoreScheme, RetryConfig};
use url::{Host, Url};

use super::bucket::Bucket;
use super::error::{SharedError, cause};
use super::folder::Folder;
use super::place::Place;
use crate::tls::Authorities;

const AZURE_HINT: &str = "set AZURE_STORAGE_ACCOUNT_NAME, and for credentials \
     AZURE_FEDERATED_TOKEN_FILE with AZURE_CLIENT_ID and AZURE_TENANT_ID (workload identity), \
     AZURE_STORAGE_ACCOUNT_KEY, or none (managed identity)";
const AWS_HINT: &str = "set AWS_REGION, and for credentials AWS_WEB_IDENTITY_TOKEN_FILE with \
     AWS_ROLE_ARN, AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY, or none (the instance's role)";
const AUTHORITIES_HINT: &str = "its authorities are those of `outgoing.ca_files`";

/// Where the Azure emulator is looked for; `object_store` reads the same variable.
const EMULATOR_URL: &str = "AZURITE_BLOB_STORAGE_URL";
const EMULATOR: &str = "http://127.0.0.1:10000";

/// Tries within one call. What fails longer is the caller's to repeat.
const RETRIES: usize = 2;
const RETRY_TIMEOUT: Duration = Duration::from_secs(8);
/// The calls' own deadlines are shorter; this one keeps the client from having none.
const CLIENT_TIMEOUT: &str = "10 minutes";

/// Connects to stores, and to those who give out credentials for them, trusting these beside
/// the system's authorities. What the environment says of connections stays as it is.
#[derive(Debug)]
struct Trusting(Vec<Certificate>);

impl Trusting {
    fn new(authorities: &Authorities) -> object_store::Result<Self> {
        let all = authorities.certificates().iter();
        all.map(|der| Certificate::from_der(der)).collect::<object_store::Result<_>>().map(Self)
    }
}

impl HttpConnector for Trusting {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let all = self.0.iter().cloned();
        let options = all.fold(options.clone(), ClientOptions::with_root_certificate);
        ReqwestConnector::default().connect(&options)
    }
}

/// Opens the place that `text` names, which may have a certificate of these authorities.
pub(super) fn open(text: &str, authorities: &Authorities) -> Result<Arc<dyn Place>, SharedError> {
    let url = Url::parse(text).map_err(|e| {
        // Not to be taken apart, so nothing of it is repeated but its scheme.
        let scheme = text.split_once(':').map_or("", |(scheme, _)| scheme);
        SharedError::Address { url: scheme.escape_debug().take(20).collect(), cause: e.to_string() }
    })?;
    let wrong = |cause: String| SharedError::Address { url: shown(&url), cause };
    if url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("credentials and options belong into the environment".to_owned()));
    }
    let trusting =
        || Trusting::new(authorities).map_err(|error| setup(&url, &error, AUTHORITIES_HINT));
    match parse(&url)?.0 {
        ObjectStoreScheme::Local => {
            let path: PathBuf =
                url.to_file_path().map_err(|()| wrong("is no path of this machine".to_owned()))?;
            Ok(Arc::new(Folder::open(path)?))
        }
        ObjectStoreScheme::MicrosoftAzure => {
            azure(&url, MicrosoftAzureBuilder::from_env().with_http_connector(trusting()?))
        }
        ObjectStoreScheme::AmazonS3 => {
            s3(&url, AmazonS3Builder::from_env().with_http_connector(trusting()?))
        }
        _ => Err(wrong("is of a kind that isn't supported".to_owned())),
    }
}

fn parse(url: &Url) -> Result<(ObjectStoreScheme, Path), SharedError> {
    ObjectStoreScheme::parse(url)
        .map_err(|e| SharedError::Address { url: shown(url), cause: cause(&e) })
}

pub(super) fn azure(
    url: &Url,
    environment: MicrosoftAzureBuilder,
) -> Result<Arc<dyn Place>, SharedError> {
    let (_, prefix) = parse(url)?;
    let endpoint = environment.get_config_value(&AzureConfigKey::Endpoint);
    let mut plain = is_plain_loopback(url, endpoint.as_deref())?;
    let emulator = environment.get_config_value(&AzureConfigKey::UseEmulator);
    if emulator.is_some_and(|value| value != "false") {
        let endpoint = std::env::var(EMULATOR_URL).unwrap_or_else(|_| EMULATOR.to_owned());
        plain |= is_plain_loopback(url, Some(&endpoint))?;
    }
    let key = AzureConfigKey::Client;
    let store = environment
        .with_url(url.as_str())
        .with_retry(retries())
        .with_config(key(ClientConfigKey::AllowInvalidCertificates), "false")
        .with_config(key(ClientConfigKey::Timeout), CLIENT_TIMEOUT)
        .with_allow_http(plain)
        .build()
        .map_err(|e| setup(url, &e, AZURE_HINT))?;
    Ok(Arc::new(Bucket::new(Arc::new(store), prefix)))
}

pub(super) fn s3(url: &Url, environment: AmazonS3Builder) -> Result<Arc<dyn Place>, SharedError> {
    let (_, prefix) = parse(url)?;
    let endpoint = environment
        .get_config_value(&AmazonS3ConfigKey::S3Endpoint)
        .or_else(|| environment.get_config_value(&AmazonS3ConfigKey::Endpoint));
    let plain = is_plain_loopback(url, endpoint.as_deref())?;
    let key = AmazonS3ConfigKey::Client;
    let store = environment
        .with_url(url.as_str())
        .with_retry(retries())
        .with_config(key(ClientConfigKey::AllowInvalidCertificates), "false")
        .with_config(key(ClientConfigKey::Timeout), CLIENT_TIMEOUT)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_allow_http(plain)
        .build()
        .map_err(|e| setup(url, &e, AWS_HINT))?;
    Ok(Arc::new(Bucket::new(Arc::new(store), prefix)))
}

fn retries() -> RetryConfig {
    RetryConfig { max_retries: RETRIES, retry_timeout: RETRY_TIMEOUT, ..RetryConfig::default() }
}

/// Whether the endpoint is one without TLS on this machine. Elsewhere it is refused.
fn is_plain_loopback(url: &Url, endpoint: Option<&str>) -> Result<bool, SharedError> {
    let Some(endpoint) = endpoint else {
        return Ok(false);
    };
    let insecure = |endpoint: String| SharedError::Insecure { url: shown(url), endpoint };
    let parsed = Url::parse(endpoint).map_err(|e| insecure(format!("({e})")))?;
    match (parsed.scheme(), parsed.host()) {
        ("https", Some(_)) => Ok(false),
        ("http", Some(Host::Ipv4(ip))) if ip.is_loopback() => Ok(true),
        ("http", Some(Host::Ipv6(ip))) if ip.is_loopback() => Ok(true),
        ("http", Some(Host::Domain("localhost"))) => Ok(true),
        _ => Err(insecure(shown(&parsed))),
    }
}

/// An address without what could be secret. The part before `@` is Azure's container.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // An address that has no authority has no password either.
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}

fn setup(url: &Url, error: &object_store::Error, hint: &'static str) -> SharedError {
    SharedError::Setup { url: shown(url), cause: cause(error), hint }
}
