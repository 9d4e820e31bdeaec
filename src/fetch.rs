//! Fetching a document over HTTP, within bounds.
//!
//! Every outgoing request by whose answer something is decided goes through here, so the rules
//! stand in one place: https or loopback only, no redirects, a cap on the body after
//! decompression, one deadline for the whole exchange.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use url::{Host, Url};

use crate::tls::Authorities;

/// Why a document could not be fetched. Never holds a secret or a body.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Plain http to anything but loopback.
    #[error("`{}` is neither https nor on loopback", shown(.0))]
    Insecure(Url),
    /// The exchange did not end within its deadline.
    #[error("`{}` did not answer within {after:?}", shown(.url))]
    Timeout {
        /// What was asked.
        url: Url,
        /// The deadline.
        after: Duration,
    },
    /// Connecting, TLS or HTTP failed.
    #[error("`{}` could not be fetched: {cause}", shown(.url))]
    Transport {
        /// What was asked.
        url: Url,
        /// The client's words, with their causes.
        cause: String,
    },
    /// An answer with another status than 200. Redirects count: none is followed.
    #[error("`{}` answered {status}", shown(.url))]
    Status {
        /// What was asked.
        url: Url,
        /// The status.
        status: StatusCode,
    },
    /// The body is larger than allowed.
    #[error("`{}` sent more than {limit} bytes", shown(.url))]
    TooLarge {
        /// What was asked.
        url: Url,
        /// The cap.
        limit: usize,
    },
    /// The answer is of another kind than asked for.
    #[error("`{}` sent `{found}` instead of JSON", shown(.url))]
    NotJson {
        /// What was asked.
        url: Url,
        /// Its content type.
        found: String,
    },
}

/// A document and what came with it.
#[derive(Clone, Debug)]
pub struct Document {
    /// The body, decompressed.
    pub body: Bytes,
    /// The response's headers.
    pub headers: HeaderMap,
}

/// Fetches JSON documents. A narrow trait, so that a fault can be had in a test
/// that no server would show.
pub trait Fetch: Send + Sync + 'static {
    /// Asks for `url`, with `bearer` as the credential if there is one.
    ///
    /// # Errors
    /// Anything but a complete JSON document with status 200.
    fn get(
        &self,
        url: &Url,
        bearer: Option<&HeaderValue>,
        limits: Limits,
    ) -> impl Future<Output = Result<Document, FetchError>> + Send;
}

/// A request beyond asking for a document.
#[derive(Clone, Debug)]
pub struct Outgoing<'a> {
    /// Where to.
    pub url: &'a Url,
    /// Headers; a credential among them is marked as sensitive.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// What is sent; nothing is a GET.
    pub body: Option<Body>,
}

/// What is posted. Never shown: it can hold a secret.
#[derive(Clone)]
pub enum Body {
    /// Fields of a form.
    Form(Vec<(&'static str, String)>),
    /// A JSON document.
    Json(serde_json::Value),
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Form(_) => "Form([redacted])",
            Self::Json(_) => "Json([redacted])",
        })
    }
}

/// An answer of any status.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, decompressed.
    pub body: Bytes,
}

/// Exchanges requests for answers, whatever the answer's status. As narrow as
/// [`Fetch`], and for the same reason.
pub trait Exchange: Send + Sync + 'static {
    /// Sends a request.
    ///
    /// # Errors
    /// There was no answer, or none within the limits.
    fn exchange(
        &self,
        request: Outgoing<'_>,
        limits: Limits,
    ) -> impl Future<Output = Result<Incoming, FetchError>> + Send;
}

/// Bounds of one exchange.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From the first byte sent to the last received.
    pub timeout: Duration,
    /// The body after decompression.
    pub max_bytes: usize,
}

/// The real client.
#[derive(Clone, Debug)]
pub struct HttpClient {
    client: reqwest::Client,
    /// For plain http, which is allowed to this machine alone: never over a proxy.
    direct: reqwest::Client,
}

impl HttpClient {
    /// A client that follows no redirect and keeps few idle connections. What is fetched
    /// over https goes over the environment's proxy, if one is set there.
    ///
    /// # Errors
    /// The TLS backend can't be set up.
    pub fn new() -> Result<Self, reqwest::Error> {
        Self::trusting(&Authorities::default())
    }

    /// The same, trusting these authorities beside those of the system.
    ///
    /// # Errors
    /// As above.
    pub fn trusting(more: &Authorities) -> Result<Self, reqwest::Error> {
        let authorities = more.certificates().iter();
        let authorities = authorities
            .map(|der| reqwest::Certificate::from_der(der))
            .collect::<Result<Vec<_>, _>>()?;
        let builder = || builder().tls_certs_merge(authorities.clone());
        Ok(Self { client: builder().build()?, direct: builder().no_proxy().build()? })
    }

    /// A client of a server on this machine: never over a proxy, with TLS of its own.
    ///
    /// # Errors
    /// The TLS backend can't be set up.
    pub fn local(tls: rustls::ClientConfig) -> Result<Self, reqwest::Error> {
        let client = builder().no_proxy().tls_backend_preconfigured(tls).build()?;
        Ok(Self { direct: client.clone(), client })
    }

    async fn answer(
        &self,
        request: Outgoing<'_>,
        max_bytes: usize,
    ) -> Result<Incoming, FetchError> {
        let url = request.url;
        let transport = |error: reqwest::Error| FetchError::Transport {
            url: url.clone(),
            // Its own words hold the whole URL.
            cause: causes(&error.without_url()),
        };
        let client = if url.scheme() == "https" { &self.client } else { &self.direct };
        let mut builder = match request.body {
            None => client.get(url.clone()),
            Some(Body::Form(fields)) => {
                let mut form = url::form_urlencoded::Serializer::new(String::new());
                form.extend_pairs(fields);
                client
                    .post(url.clone())
                    .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                    .body(form.finish())
            }
            Some(Body::Json(json)) => client
                .post(url.clone())
                .header(header::CONTENT_TYPE, "application/json")
                .body(json.to_string()),
        };
        builder = builder.header(header::ACCEPT, "application/json");
        for (name, value) in request.headers {
            builder = builder.header(name, value);
        }
        let mut response = builder.send().await.map_err(transport)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(transport)? {
            if body.len() + chunk.len() > max_bytes {
                return Err(FetchError::TooLarge { url: url.clone(), limit: max_bytes });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Incoming { status, headers, body: body.freeze() })
    }
}

fn builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(5))
        .pool_max_idle_per_host(2)
        .user_agent(concat!("stagedoor/", env!("CARGO_PKG_VERSION")))
}

impl Exchange for HttpClient {
    async fn exchange(
        &self,
        request: Outgoing<'_>,
        limits: Limits,
    ) -> Result<Incoming, FetchError> {
        let url = request.url;
        if !is_secure(url) && !is_link_local(url) {
            return Err(FetchError::Insecure(url.clone()));
        }
        tokio::time::timeout(limits.timeout, self.answer(request, limits.max_bytes))
            .await
            .unwrap_or_else(|_| {
                Err(FetchError::Timeout { url: url.clone(), after: limits.timeout })
            })
    }
}

impl Fetch for HttpClient {
    async fn get(
        &self,
        url: &Url,
        bearer: Option<&HeaderValue>,
        limits: Limits,
    ) -> Result<Document, FetchError> {
        if !is_secure(url) {
            return Err(FetchError::Insecure(url.clone()));
        }
        let headers =
            bearer.map(|bearer| (header::AUTHORIZATION, bearer.clone())).into_iter().collect();
        let answer = self.exchange(Outgoing { url, headers, body: None }, limits).await?;
        if answer.status != StatusCode::OK {
            return Err(FetchError::Status { url: url.clone(), status: answer.status });
        }
        check_json(url, &answer.headers)?;
        Ok(Document { body: answer.body, headers: answer.headers })
    }
}

/// Whether this is a link-local address, at which machines and platforms hand out their
/// identities without https. What is sent there never leaves the link.
#[must_use]
pub fn is_link_local(url: &Url) -> bool {
    let link_local = matches!(url.host(), Some(Host::Ipv4(ip)) if ip.is_link_local());
    url.scheme() == "http" && link_local
}

/// Whether what is fetched from `url` can't be changed on its way: https, or http
/// to this machine.
#[must_use]
pub fn is_secure(url: &Url) -> bool {
    match (url.scheme(), url.host()) {
        ("https", Some(_)) => true,
        ("http", Some(Host::Ipv4(ip))) => IpAddr::V4(ip).is_loopback(),
        ("http", Some(Host::Ipv6(ip))) => IpAddr::V6(ip).is_loopback(),
        ("http", Some(Host::Domain(name))) => name == "localhost",
        _ => false,
    }
}

pub(crate) fn check_json(url: &Url, headers: &HeaderMap) -> Result<(), FetchError> {
    let found = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    let essence = found.split(';').next().unwrap_or("").trim();
    let json = essence.eq_ignore_ascii_case("application/json")
        || (essence.to_ascii_lowercase().starts_with("application/")
            && essence.to_ascii_lowercase().ends_with("+json"));
    if json {
        Ok(())
    } else {
        Err(FetchError::NotJson { url: url.clone(), found: essence.chars().take(80).collect() })
    }
}

/// A URL for people: without its query, which is long and can hold what is nobody's
/// business.
fn shown(url: &Url) -> Url {
    let mut url = url.clone();
    url.set_query(None);
    url
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_or_loopback() {
        for (url, want) in [
            ("https://login.microsoftonline.com/x", true),
            ("http://127.0.0.1:8080/x", true),
            ("http://127.9.9.9/x", true),
            ("http://[::1]/x", true),
            ("http://localhost:7007/x", true),
            ("http://login.microsoftonline.com/x", false),
            ("http://127.0.0.1.example.com/x", false),
            ("http://localhost.example.com/x", false),
            ("http://10.0.0.1/x", false),
            ("ftp://127.0.0.1/x", false),
            ("file:///etc/passwd", false),
        ] {
            assert_eq!(is_secure(&url.parse().unwrap()), want, "{url}");
        }
    }

    /// Plain http leaves this machine for the link's own addresses only, where identities are
    /// handed out, and for no document.
    #[tokio::test]
    async fn nothing_is_sent_in_clear() {
        for (url, want) in [
            ("http://169.254.169.254/metadata", true),
            ("http://169.254.1.1:42356/msi", true),
            ("https://169.254.169.254/metadata", false),
            ("http://169.253.169.254/metadata", false),
            ("http://169.254.169.254.example.com/", false),
            ("http://[fe80::1]/", false),
        ] {
            assert_eq!(is_link_local(&url.parse().unwrap()), want, "{url}");
        }
        let client = HttpClient::new().unwrap();
        let limits = Limits { timeout: Duration::from_secs(1), max_bytes: 1 };
        let refused = |error| matches!(error, FetchError::Insecure(_));
        for url in ["http://192.0.2.1/", "ftp://127.0.0.1/", "http://localhost.example.com/"] {
            let url = url.parse().unwrap();
            let request = Outgoing { url: &url, headers: Vec::new(), body: None };
            assert!(client.exchange(request, limits).await.is_err_and(refused), "{url}");
        }
        for url in ["http://192.0.2.1/", "http://169.254.169.254/"] {
            let url = url.parse().unwrap();
            assert!(client.get(&url, None, limits).await.is_err_and(refused), "{url}");
        }
    }

    #[test]
    fn what_is_posted_is_never_shown() {
        let form = Body::Form(vec![("client_secret", "abc".to_owned())]);
        let json = Body::Json(serde_json::json!({ "groupIds": ["abc"] }));
        let url = "https://a.example.com".parse().unwrap();
        for body in [form, json] {
            let request = Outgoing { url: &url, headers: Vec::new(), body: Some(body) };
            let shown = format!("{request:?}");
            assert!(shown.contains("[redacted]") && !shown.contains("abc"), "{shown}");
        }
    }
}
