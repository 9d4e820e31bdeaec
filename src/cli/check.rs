//! `stagedoor check`

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::Args;

use crate::app::overage;
use crate::authorizer::{Authorizer, Decide as _, Offline, Routes};
use crate::catalog::{self, Catalog};
use crate::clock::Now;
use crate::config::Config;
use crate::domain::{Credentials, Decision, Request, Verdict};
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
    /// Print the decision as JSON.
    #[arg(long)]
    json: bool,
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
        ..Request::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let decision = runtime.block_on(async {
        let authorizer = authorizer(config).await?;
        anyhow::Ok(Offline(authorizer).decide(&request, Now::read()).await)
    })?;
    if args.json {
        let json = serde_json::json!({
            "decision": if decision.is_allow() { "allow" } else { "deny" },
            "reason": decision.code(),
            "explanation": super::decide::explanation(&decision),
        });
        super::line(&serde_json::to_string_pretty(&json)?)?;
    } else {
        super::line(&text(&decision))?;
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
    let http = Arc::new(HttpClient::new()?);
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

/// The decision as a person reads it.
fn text(decision: &Decision) -> String {
    let mut lines = Vec::new();
    let mut row = |name: &str, value: &str| lines.push(format!("{name:<10}{value}"));
    let word = if decision.is_allow() { "allow" } else { "deny" };
    row("decision", &format!("{word} ({})", decision.code()));
    if let Verdict::Deny(denial) = &decision.verdict {
        row("status", &denial.reason.status().to_string());
        row("why", denial.reason.sentence());
        if let Some(detail) = &denial.detail {
            row("detail", detail);
        }
        for advice in &denial.advice {
            row("advice", advice);
        }
    }
    match decision.principal.identity() {
        Some(identity) => {
            row("caller", &format!("{} {}", identity.kind.as_str(), identity.object));
            row("tenant", &identity.tenant.to_string());
        }
        None => row("caller", "not known"),
    }
    if let Some(target) = &decision.target {
        row("route", &format!("{} (gate {})", target.route, target.gate));
        row("action", target.action.as_str());
        if let Some(resource) = &target.resource {
            row("entity", resource.as_str());
        }
    }
    for owner in &decision.owners {
        row("owner", &format!("{} ({})", owner.title, owner.entity));
    }
    for policy in decision.policies() {
        row("policy", policy);
    }
    if let Some(snapshot) = &decision.versions.snapshot {
        row("snapshot", snapshot);
    }
    if let Some(keys) = &decision.versions.keys {
        row("keys", keys);
    }
    lines.join("\n")
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
