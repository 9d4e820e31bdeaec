//! `stagedoor check`

use std::borrow::Cow;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::Args;

use crate::app::overage;
use crate::authorizer::explain::Explainer;
use crate::authorizer::{Authorizer, Decide as _, Offline, Routes};
use crate::catalog::{self, Catalog};
use crate::clock::Now;
use crate::config::Config;
use crate::domain::{Credentials, Request};
use crate::entra::{Authenticator, GroupResolver};
use crate::fetch::HttpClient;
use crate::policy::Policies;
use crate::shutdown::Shutdown;

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// A file that holds the caller's token; without it the caller has none.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Print the explanation as JSON.
    #[arg(long)]
    json: bool,
    /// Write the explanation as a page into this file as well.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// The reason that the caller gives.
    #[arg(long, value_name = "TEXT")]
    justification: Option<String>,
    /// The method, as on the request line.
    #[arg(value_name = "METHOD")]
    method: String,
    /// The URL, as the client asks for it.
    #[arg(value_name = "URL")]
    url: String,
}

pub(super) fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let config = super::config::load(&args.config)?;
    let (host, path) = split(&args.url)?;
    let token = match &args.token_file {
        Some(file) => {
            Some(std::fs::read_to_string(file).with_context(|| format!("`{}`", file.display()))?)
        }
        None => None,
    };
    let request = Request {
        method: &args.method,
        host,
        path,
        credentials: token.as_deref().map_or(Credentials::Absent, |token| {
            Credentials::One(format!("Bearer {}", token.trim()).into())
        }),
        justification: args.justification.as_deref().map(Cow::Borrowed),
        ..Request::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (routes, now) = (config.routes.clone(), Now::read());
    let (decision, explanation) = runtime.block_on(async {
        let authorizer = authorizer(config).await?;
        let decision = Offline(authorizer.clone()).decide(&request, now).await;
        let explainer = Explainer::new(authorizer, routes, Vec::new());
        anyhow::Ok((decision, explainer.explain(&request, now).await))
    })?;
    if let Some(file) = &args.html {
        std::fs::write(file, explanation.html())
            .with_context(|| format!("`{}`", file.display()))?;
    }
    if args.json {
        let json = serde_json::json!({
            "decision": explanation.conclusion.decision,
            "reason": explanation.conclusion.reason,
            "explanation": explanation,
        });
        super::line(&serde_json::to_string_pretty(&json)?)?;
    } else {
        let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        super::line(explanation.text(colour).trim_end())?;
    }
    // What is said and what is decided come from the same parts by different ways.
    let agree = decision.is_allow() == explanation.is_allow()
        && decision.code() == explanation.conclusion.reason;
    if !agree {
        bail!(
            "the explanation does not agree with the decision ({}): this is a defect",
            decision.code()
        );
    }
    Ok(if decision.is_allow() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Host and path exactly as written: a URL parser would tidy up what a real client
/// could send.
fn split(url: &str) -> anyhow::Result<(&str, &str)> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let Some(rest) = rest else { bail!("`{url}`: expected a URL like https://host/path") };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (host, path) = rest.split_at(end);
    // What every client sends for a URL without a path.
    Ok((host, if path.is_empty() { "/" } else { path }))
}

/// Everything that decides, with keys and catalog fetched once.
async fn authorizer(config: Config) -> anyhow::Result<Authorizer> {
    let policy = super::config::policy(&config)?;
    let http = Arc::new(HttpClient::trusting(&config.authorities)?);
    let resolver = GroupResolver::new(&config.entra);
    let overage = overage(config.overage, resolver.as_ref());
    if let Some(resolver) = resolver {
        let (http, (handle, shutdown)) = (Arc::clone(&http), Shutdown::new());
        tokio::spawn(async move {
            // Held until the command ends.
            let _handle = handle;
            resolver.run(http, shutdown.receiver()).await;
        });
    }
    let authenticator = Authenticator::new(config.entra)?;
    // Without keys or catalog the decision says so; the cause is worth a line.
    for error in authenticator.fetch_once(&*http).await {
        super::note(&format!("keys: {error}"));
    }
    let routes = Routes::new(config.route_table, config.delegations);
    let catalog = Catalog::new(config.catalog.clone());
    match catalog::load_once(&config.catalog, &*http).await {
        Ok(snapshot) => {
            let snapshot = Arc::new(snapshot);
            routes.adopt(&snapshot);
            catalog.publish(snapshot, Now::read());
        }
        Err(error) => super::note(&format!("catalog: {error}")),
    }
    Ok(Authorizer {
        authenticator,
        catalog,
        routes,
        policy: Policies::fixed(policy),
        membership: config.membership,
        overage,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_not_tidied_up() {
        for (url, want) in [
            ("https://a.example.com/v1/../x?y=z", Some(("a.example.com", "/v1/../x?y=z"))),
            ("http://A.example.com:80", Some(("A.example.com:80", "/"))),
            ("https://u@h//x", Some(("u@h", "//x"))),
            ("https://h?x", Some(("h", "?x"))),
            ("a.example.com/x", None),
        ] {
            assert_eq!(split(url).ok(), want, "{url}");
        }
    }
}
