//! Asking the server that runs with a configuration, by its admin port.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, bail};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::Value;
use url::Url;

use crate::admin::token;
use crate::config::Config;
use crate::fetch::{Body, Exchange as _, HttpClient, Incoming, Limits, Outgoing};

const LIMITS: Limits = Limits { timeout: Duration::from_secs(5), max_bytes: 1024 * 1024 };

/// Asks for a path, or posts there, with the token and by the TLS that are configured.
pub(super) fn ask(config: &Config, path: &str, body: Option<Value>) -> anyhow::Result<Incoming> {
    let (scheme, client) = match &config.admin_tls {
        None => ("http", HttpClient::new()),
        Some(tls) => ("https", HttpClient::local(tls.client().map_err(anyhow::Error::msg)?)),
    };
    let client = client.context("the HTTP client can't be set up")?;
    let url: Url = format!("{scheme}://{}{path}", reached(config.admin))
        .parse()
        .with_context(|| format!("`{}` is no address of an admin port", config.admin))?;
    let headers = match &config.admin_token_file {
        Some(file) => vec![bearer(&token::read(file)?)?],
        None => Vec::new(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime can't be started")?;
    let request = Outgoing { url: &url, headers, body: body.map(Body::Json) };
    let answer = runtime
        .block_on(client.exchange(request, LIMITS))
        .with_context(|| format!("is a server running with `listen.admin: {}`?", config.admin))?;
    if answer.status == StatusCode::UNAUTHORIZED && config.admin_token_file.is_none() {
        bail!("the admin port asks for a certificate: for commands, set `listen.admin_token_file`");
    }
    Ok(answer)
}

/// Where a listener is reached from this machine.
fn reached(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        let is_v4 = address.is_ipv4();
        address.set_ip(if is_v4 { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
    }
    address
}

fn bearer(token: &str) -> anyhow::Result<(HeaderName, HeaderValue)> {
    let mut value = HeaderValue::try_from(format!("Bearer {token}"))
        .map_err(|_| anyhow::anyhow!("the admin token holds what no header can"))?;
    value.set_sensitive(true);
    Ok((header::AUTHORIZATION, value))
}
