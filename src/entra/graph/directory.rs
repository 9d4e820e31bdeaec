//! The groups of a whole directory, by name: for the command that compares it with the
//! catalog. No decision is made by it.

use std::time::Duration;

use serde::Deserialize;
use url::Url;

use super::credential::{Audience, Credential};
use crate::domain::{GroupId, TenantId};
use crate::entra::{EntraSettings, Tenants};
use crate::fetch::{Exchange, Limits, Outgoing};

const LIMITS: Limits = Limits { timeout: Duration::from_secs(20), max_bytes: 16 * 1024 * 1024 };
/// A hundred thousand groups.
const MAX_PAGES: usize = 101;

/// A group of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryGroup {
    /// Its object id.
    pub id: GroupId,
    /// The name that people know it by.
    pub name: String,
}

#[derive(Deserialize)]
struct Page {
    value: Vec<Listed>,
    #[serde(default, rename = "@odata.nextLink")]
    next: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    id: String,
    #[serde(default)]
    display_name: Option<String>,
}

/// Lists the groups of the first single tenant that Microsoft Graph is configured for;
/// nothing where it isn't.
///
/// # Errors
/// What went wrong, for people.
pub async fn directory_groups<E: Exchange>(
    settings: &EntraSettings,
    exchange: &E,
) -> Result<Option<Vec<DirectoryGroup>>, String> {
    let Some(graph) = &settings.graph else { return Ok(None) };
    let single = settings.tenants.iter().find_map(|tenant| match &tenant.tenants {
        Tenants::One(id) => Some((tenant, *id)),
        Tenants::Listed(_) | Tenants::Any => None,
    });
    let Some((tenant, id)): Option<(_, TenantId)> = single else { return Ok(None) };
    let audience = Audience { tenant: id, authority: &tenant.authority, graph: &tenant.graph };
    let credential = Credential::new(graph.credential.clone());
    let token = credential.token(exchange, audience).await.map_err(|error| error.to_string())?;
    let mut url = first(&tenant.graph);
    let mut groups = Vec::new();
    for _ in 0..MAX_PAGES {
        let headers = vec![(http::header::AUTHORIZATION, token.clone())];
        let request = Outgoing { url: &url, headers, body: None };
        let answer = exchange.exchange(request, LIMITS).await.map_err(|error| error.to_string())?;
        if answer.status != http::StatusCode::OK {
            return Err(format!("`{}` answered {}", url.path(), answer.status));
        }
        let page: Page = serde_json::from_slice(&answer.body).map_err(|error| error.to_string())?;
        groups.extend(page.value.into_iter().filter_map(|listed| {
            let name = listed.display_name.unwrap_or_default();
            Some(DirectoryGroup { id: listed.id.parse().ok()?, name })
        }));
        let Some(next) = page.next else { return Ok(Some(groups)) };
        let next: Url = next.parse().map_err(|_| "the next page's address is none".to_owned())?;
        // The token goes nowhere else.
        if next.origin() != tenant.graph.origin() {
            return Err("the next page is elsewhere".to_owned());
        }
        url = next;
    }
    Err(format!("more than {} pages", MAX_PAGES - 1))
}

fn first(graph: &Url) -> Url {
    let mut url = graph.clone();
    let base = url.path().trim_end_matches('/').to_owned();
    url.set_path(&format!("{base}/v1.0/groups"));
    url.query_pairs_mut().append_pair("$select", "id,displayName").append_pair("$top", "999");
    url
}
