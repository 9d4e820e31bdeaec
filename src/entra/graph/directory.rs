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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::entra::graph::fake::Answers;
    use crate::entra::{CredentialSettings, GraphSettings, TenantSettings};

    const TENANT: &str = "11111111-2222-3333-4444-555555555555";

    fn settings(folder: &tempfile::TempDir, tenants: Tenants) -> EntraSettings {
        let file = folder.path().join("secret");
        std::fs::write(&file, "secret").expect("written");
        let client = TENANT.parse().expect("an id");
        let tenant = TenantSettings::new(
            tenants,
            "https://login.example.com".parse().expect("an address"),
            "https://graph.example.com".parse().expect("an address"),
            vec!["api://payments".to_owned()],
        );
        let graph = GraphSettings::new(CredentialSettings::Secret { client, file });
        EntraSettings { graph: Some(graph), ..EntraSettings::new(vec![tenant]) }
    }

    fn page(id: &str, next: Option<&str>) -> (u16, Value) {
        let group = json!({ "id": id, "displayName": "A team" });
        (200, json!({ "value": [group, { "id": "no id" }], "@odata.nextLink": next }))
    }

    /// A directory with a few pages of groups, to the last of them and nowhere else.
    #[tokio::test]
    async fn a_directory_is_listed_page_by_page() {
        let folder = tempfile::tempdir().expect("a folder");
        let one = settings(&folder, Tenants::One(TENANT.parse().expect("an id")));
        let token = || (200, json!({ "access_token": "t", "expires_in": 60 }));
        let next = "https://graph.example.com/v1.0/groups?$skiptoken=a";
        let ids = ["aaaaaaaa-0000-0000-0000-000000000001", "aaaaaaaa-0000-0000-0000-000000000002"];
        let answers = Answers::of([token(), page(ids[0], Some(next)), page(ids[1], None)]);
        let groups = directory_groups(&one, &answers).await.expect("listed").expect("asked");
        let named =
            |id: &str| DirectoryGroup { id: id.parse().expect("an id"), name: "A team".to_owned() };
        assert_eq!(groups, ids.map(named));
        assert_eq!(answers.asked()[2], next);

        for (next, cause) in [
            ("https://evil.example.com/v1.0/groups", "the next page is elsewhere"),
            ("http://graph.example.com/v1.0/groups", "the next page is elsewhere"),
            ("groups", "the next page's address is none"),
        ] {
            let answers = Answers::of([token(), page(ids[0], Some(next))]);
            let error = directory_groups(&one, &answers).await.expect_err(next);
            assert_eq!(error, cause);
            assert_eq!(answers.asked().len(), 2, "the token goes nowhere else");
        }
        let refused = Answers::of([token(), (403, Value::Null)]);
        let error = directory_groups(&one, &refused).await.expect_err("refused");
        assert_eq!(error, "`/v1.0/groups` answered 403 Forbidden");
        let endless = Answers::of([token()]);
        (0..200).map(|_| page(ids[0], Some(next))).for_each(|(status, page)| {
            endless.add(status, page);
        });
        let error = directory_groups(&one, &endless).await.expect_err("endless");
        assert_eq!(error, "more than 100 pages");

        // Of several tenants none is the one to compare with.
        for tenants in [Tenants::Any, Tenants::Listed(vec![TENANT.parse().expect("an id")])] {
            let answers = Answers::default();
            assert_eq!(directory_groups(&settings(&folder, tenants), &answers).await, Ok(None));
            assert!(answers.asked().is_empty());
        }
    }
}
