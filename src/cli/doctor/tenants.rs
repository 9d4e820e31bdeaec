//! The tenants: whether their keys can be had, and what is accepted of them.

use super::report::{Report, Severity};
use crate::catalog::Membership;
use crate::clock::Now;
use crate::config::{Config, OverageFrom};
use crate::domain::TenantId;
use crate::entra::{Authenticator, Tenants};
use crate::fetch::HttpClient;

pub(super) async fn look(
    config: &Config,
    client: &HttpClient,
    report: &mut Report,
) -> anyhow::Result<()> {
    let authenticator = Authenticator::new(config.entra.clone())?;
    for error in authenticator.fetch_once(client).await {
        let remedy = "Stagedoor must reach the authority over https; a wrong tenant id or \
                      `authority` shows as 400 or 404";
        report.add(Severity::Error, "keys_unavailable", "entra", error.to_string(), remedy);
    }
    for issuer in authenticator.status(Now::read()) {
        if issuer.state.is_usable() {
            let message = format!("{} keys", issuer.keys);
            report.add(Severity::Info, "keys", issuer.issuer.to_string(), message, "");
        }
    }
    for tenant in &config.entra.tenants {
        let name = match &tenant.tenants {
            Tenants::One(tenant) => tenant.to_string(),
            Tenants::Listed(tenants) => {
                tenants.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
            }
            Tenants::Any => "any tenant".to_owned(),
        };
        if tenant.tenants == Tenants::Any {
            let remedy = "`allowed_tenants` lists those that are meant";
            let message = "whoever has a tenant can get a token that is accepted";
            report.add(Severity::Warning, "any_tenant", &name, message, remedy);
        }
        if tenant.accept_tokens_without_grant {
            let remedy = "define a scope or an app role, and have callers be given it";
            let message = "any application of the tenant gets a token that is accepted";
            report.add(Severity::Warning, "no_grant_required", &name, message, remedy);
        }
        audiences(&name, &tenant.audiences, tenant.issuer_v2.is_some(), report);
    }
    overage(config, report);
    Ok(())
}

/// v2.0 tokens carry the API's client id, v1.0 tokens what was asked for.
fn audiences(name: &str, audiences: &[String], v2: bool, report: &mut Report) {
    let is_id = |audience: &String| audience.parse::<TenantId>().is_ok();
    if v2 && !audiences.iter().any(is_id) {
        let message = "no audience is a client id, and v2.0 tokens carry nothing else";
        let remedy = "add the API's client id to `audiences`, or accept only `versions: [v1]`";
        report.add(Severity::Warning, "audience_not_a_client", name, message, remedy);
    }
}

fn overage(config: &Config, report: &mut Report) {
    if config.membership == Membership::Catalog {
        return;
    }
    if config.overage == OverageFrom::Nowhere {
        let message = "callers in more than 200 groups (150 with SAML) get 503: their tokens don't \
                       list them";
        let remedy = "`overage: graph` asks Microsoft Graph, `overage: catalog` the catalog; or \
                      have the API emit only groups assigned to the application";
        report.add(Severity::Warning, "overage_denied", "entra.overage", message, remedy);
    }
}
