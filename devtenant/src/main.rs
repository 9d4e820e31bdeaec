//! A development tenant and a service behind Envoy, for the demo and for compose.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand};
use devtenant::keys::SigningKey;
use devtenant::people::People;
use devtenant::service::Echo;
use devtenant::tenant::{Tenant, TenantOptions};
use uuid::Uuid;

/// Plays an Entra tenant and a service, for development only: it signs tokens for
/// anybody who asks.
#[derive(Debug, Parser)]
#[command(name = "devtenant", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until SIGTERM or SIGINT. Prints the addresses as one JSON line.
    Serve {
        /// Where the tenant listens.
        #[arg(long, default_value = "127.0.0.1:8082")]
        tenant_listen: SocketAddr,
        /// Where the service listens.
        #[arg(long, default_value = "127.0.0.1:8081")]
        service_listen: SocketAddr,
        /// The tenant's id.
        #[arg(long, default_value = "11111111-2222-3333-4444-555555555555")]
        tenant_id: Uuid,
        /// Whom the tenant signs tokens for, at `/dev/token?as=NAME`.
        #[arg(long, value_name = "FILE")]
        people: Option<PathBuf>,
        /// Graph gives at most so many objects at once.
        #[arg(long, value_name = "N")]
        graph_page: Option<usize>,
    },
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Command::Serve { tenant_listen, service_listen, tenant_id, people, graph_page } =
        Cli::parse().command;
    let people = people.map_or_else(|| Ok(People::default()), |file| People::load(&file))?;
    let key = SigningKey::generate("devtenant-1", 2048)?;
    let tenant = Tenant::start(TenantOptions {
        id: tenant_id,
        listen: tenant_listen,
        authority: None,
        key,
        people,
    })
    .await?;
    if let Some(size) = graph_page {
        tenant.directory().page_size(size);
    }
    let service = Echo::start_on(service_listen).await?;
    let ready = serde_json::json!({
        "tenant": tenant.authority(),
        "tenant_id": tenant_id.to_string(),
        "service": format!("http://{}", service.address()),
        "graph": tenant.graph_url(),
        "identity_endpoint": tenant.identity_endpoint(),
        "identity_header": tenant.identity_header(),
    });
    writeln!(std::io::stdout(), "{ready}")?;
    let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        _ = term.recv() => {}
        result = tokio::signal::ctrl_c() => result?,
    }
    Ok(())
}
