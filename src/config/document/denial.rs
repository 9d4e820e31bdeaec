//! `denial`: what a denied caller reads.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ext_authz::Denials;

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Denial {
    /// How much is told, and to whom.
    pub(in crate::config) tell: Tell,
    /// Where people see Backstage: `https://backstage.example.com`. Without it no denial
    /// links there.
    pub(in crate::config) backstage_url: Option<String>,
    /// The reason's code is added to this for the `type` of problem details.
    pub(in crate::config) problem_type_base: String,
    /// Further languages: the tag of each, such as `de`, and the file with its texts. The
    /// client's `accept-language` chooses; English is built in.
    pub(in crate::config) languages: BTreeMap<String, String>,
    /// A template for the page that browsers get, instead of the built-in one.
    pub(in crate::config) template: Option<String>,
}

impl Default for Denial {
    fn default() -> Self {
        Self {
            tell: Tell::default(),
            backstage_url: None,
            problem_type_base: Denials::PROBLEM_TYPE_BASE.to_owned(),
            languages: BTreeMap::new(),
            template: None,
        }
    }
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Tell {
    /// Which entity the request was for, its page in Backstage, and the action: told to
    /// nobody (`never`), to callers with a valid token (`known`), or to everybody who can
    /// send a request (`everyone`).
    pub(in crate::config) entity: Audience,
    /// Who owns the entity.
    pub(in crate::config) owners: Audience,
    /// The owners' e-mail addresses and links, where the owners are told.
    pub(in crate::config) contacts: Audience,
    /// Who the caller is: kind, object id and tenant, as the token says.
    pub(in crate::config) caller: Audience,
    /// The `@reason` of the policies that denied it.
    pub(in crate::config) advice: Audience,
    /// The ids of the policies that denied it.
    pub(in crate::config) policies: Audience,
}

impl Default for Tell {
    fn default() -> Self {
        Self {
            entity: Audience::Known,
            owners: Audience::Known,
            contacts: Audience::Known,
            caller: Audience::Known,
            advice: Audience::Known,
            policies: Audience::Never,
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum Audience {
    Never,
    Known,
    Everyone,
}
