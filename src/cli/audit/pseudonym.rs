//! `stagedoor audit pseudonym`

use std::path::PathBuf;

use anyhow::{anyhow, bail};
use clap::Args;

use crate::audit::PseudonymKey;
use crate::config::Config;
use crate::domain::{ClientId, ObjectId, TenantId};
use crate::entra::Tenants;

#[derive(Debug, Args)]
pub(in crate::cli) struct PseudonymArgs {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The id is a client application's.
    #[arg(long)]
    client: bool,
    /// The tenant of the caller. Without, the one that is configured.
    #[arg(long, value_name = "TENANT")]
    tenant: Option<TenantId>,
    /// The id.
    #[arg(value_name = "ID")]
    id: String,
}

pub(super) fn run(args: &PseudonymArgs) -> anyhow::Result<()> {
    let config = crate::cli::config::load(&args.config)?;
    let Some(settings) = &config.audit.content.pseudonyms else {
        bail!("the configuration asks for no pseudonyms: `audit.pseudonyms` is not given");
    };
    let key = PseudonymKey::read(&settings.key_file)?;
    let tenant = args.tenant.or_else(|| only_tenant(&config));
    let tenant = tenant.ok_or_else(|| anyhow!("which tenant? `--tenant` says"))?;
    let pseudonym = if args.client {
        key.client(tenant, args.id.parse::<ClientId>()?)
    } else {
        key.object(tenant, args.id.parse::<ObjectId>()?)
    };
    crate::cli::line(&pseudonym)
}

fn only_tenant(config: &Config) -> Option<TenantId> {
    match config.entra.tenants.as_slice() {
        [only] => match only.tenants {
            Tenants::One(tenant) => Some(tenant),
            Tenants::Listed(_) | Tenants::Any => None,
        },
        _ => None,
    }
}
