//! Sending to a collector by HTTP.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use opentelemetry_http::{HttpClient, HttpError};
use tokio::runtime::Handle;
use url::Url;

use crate::tls::Authorities;

/// An answer is empty, or says in a few words what was not taken.
const MAX_ANSWER: usize = 64 * 1024;
/// As OpenTelemetry has it where nothing else is said.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Sends what exporters prepare. Exporters run on threads of their own, and the connection on
/// the runtime that this was made on.
#[derive(Clone, Debug)]
pub(crate) struct HttpSender {
    client: reqwest::Client,
    runtime: Handle,
}

impl HttpSender {
    /// A client for a collector at `endpoint`, whose certificate must be of these authorities,
    /// if there are some, or of the system's and these `more`. Over https it goes over the
    /// environment's proxy, if one is set there; an exporter over gRPC doesn't.
    pub(crate) fn new(
        endpoint: &Url,
        authorities: Option<&[u8]>,
        more: &Authorities,
    ) -> Result<Self, reqwest::Error> {
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(5))
            .timeout(TIMEOUT)
            .pool_max_idle_per_host(2)
            .user_agent(concat!("stagedoor/", env!("CARGO_PKG_VERSION")));
        if endpoint.scheme() != "https" {
            builder = builder.no_proxy();
        }
        builder = match authorities {
            Some(pem) => builder.tls_certs_only(reqwest::Certificate::from_pem_bundle(pem)?),
            None => {
                let more = more.certificates().iter();
                let more = more.map(|der| reqwest::Certificate::from_der(der));
                builder.tls_certs_merge(more.collect::<Result<Vec<_>, _>>()?)
            }
        };
        Ok(Self { client: builder.build()?, runtime: Handle::current() })
    }

    async fn exchange(
        client: reqwest::Client,
        request: Request<Bytes>,
    ) -> Result<Response<Bytes>, HttpError> {
        let request = reqwest::Request::try_from(request.map(reqwest::Body::from))?;
        let mut answer = client.execute(request).await?;
        let mut response = Response::builder().status(answer.status());
        if let Some(headers) = response.headers_mut() {
            headers.clone_from(answer.headers());
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = answer.chunk().await? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err("the answer is too large".into());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(response.body(body.freeze())?)
    }
}

#[tonic::async_trait]
impl HttpClient for HttpSender {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        self.runtime.spawn(Self::exchange(self.client.clone(), request)).await?
    }
}
