//! Whom the development tenant signs tokens for, from a file.

use std::collections::HashMap;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::token::TokenBuilder;

/// The people and applications of a tenant.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct People {
    /// Each of them.
    pub people: Vec<Person>,
    /// The groups that the directory lists.
    #[serde(default)]
    pub groups: Vec<Group>,
}

/// Somebody, or an application.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Person {
    /// What they are asked for by.
    pub name: String,
    /// A user, or an application.
    pub kind: Kind,
    /// Their object id.
    pub oid: String,
    /// The Entra groups they are in.
    #[serde(default)]
    pub groups: Vec<String>,
    /// The app roles they were given.
    #[serde(default)]
    pub roles: Vec<String>,
    /// What the directory shows them as; their name, if not given.
    #[serde(default)]
    pub display_name: Option<String>,
    /// Their address.
    #[serde(default)]
    pub mail: Option<String>,
    /// Whether they were shut out.
    #[serde(default)]
    pub disabled: bool,
}

/// A group, as the directory lists it. Who is in it for a token, their person says.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Its object id.
    pub id: String,
    /// What it is shown as; nothing keeps two from having the same.
    pub display_name: String,
    /// What stands before the `@` of its address.
    #[serde(default)]
    pub mail_nickname: String,
    /// Whether it is one for mail alone.
    #[serde(default)]
    pub mail_only: bool,
    /// The object ids of the people, applications and groups directly in it.
    #[serde(default)]
    pub members: Vec<String>,
}

/// What somebody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A person, for whom an application acts.
    User,
    /// An application, for itself.
    Workload,
}

impl People {
    /// Reads a file.
    ///
    /// # Errors
    /// The file can't be read, or is of another form.
    pub fn load(file: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        serde_json::from_str(&text).with_context(|| file.display().to_string())
    }

    /// The token that a query asks for: `as` names the person, `aud` another
    /// audience, `expired=true` has it end an hour ago.
    pub(crate) fn token(
        &self,
        token: TokenBuilder,
        query: &HashMap<String, String>,
    ) -> Result<String> {
        let name = query.get("as").context("say whose token: /dev/token?as=NAME")?;
        let person = self.people.iter().find(|person| person.name == *name);
        let person = person.with_context(|| {
            let names: Vec<_> = self.people.iter().map(|person| person.name.as_str()).collect();
            format!("nobody is called `{name}`; there are {}", names.join(", "))
        })?;
        let groups: Vec<&str> = person.groups.iter().map(String::as_str).collect();
        let roles: Vec<&str> = person.roles.iter().map(String::as_str).collect();
        let mut token = token.oid(&person.oid).groups(&groups);
        token = match person.kind {
            Kind::Workload => token.app_only(&roles),
            Kind::User if roles.is_empty() => token,
            Kind::User => token.claim("roles", serde_json::json!(roles)),
        };
        if let Some(audience) = query.get("aud") {
            token = token.audience(audience);
        }
        if query.get("expired").is_some_and(|value| value == "true") {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            token = token.expires(i64::try_from(now.as_secs()).unwrap_or(0) - 3600);
        }
        Ok(token.sign())
    }
}
