//! The words of a denial, in one language.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::domain::Reason;

/// The words of a denial in one language, as a language's file gives them. What it leaves
/// out is in English.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Texts {
    /// Which way the language is written: `ltr` or `rtl`.
    pub direction: Direction,
    /// The titles of denials, by their status.
    pub titles: Titles,
    /// Titles and sentences of single reasons, by their codes.
    pub reasons: Reasons,
    /// Follows the sentence of a denial that the owners can do something about;
    /// `{owners}` stands for their names.
    pub ask_owners: String,
    /// The subject of an e-mail to an owner; `{entity}` and `{decision_id}` stand for
    /// themselves.
    pub mail_subject: String,
    /// Kinds of callers.
    pub kinds: Kinds,
    /// Actions.
    pub actions: Actions,
    /// The words around the facts of the page.
    pub page: PageTexts,
}

/// Which way a language is written.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From left to right.
    #[default]
    Ltr,
    /// From right to left.
    Rtl,
}

macro_rules! texts {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident = $english:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: String,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $english.to_owned(),)* }
            }
        }
    };
}

texts! {
    /// Titles by whose matter a denial is.
    Titles {
        /// Of status 400.
        request = "This request can’t be read",
        /// Of status 401.
        credentials = "A valid sign-in is needed",
        /// Of status 403.
        caller = "You don’t have access",
        /// Of status 503.
        stagedoor = "This can’t be decided right now",
    }
}

texts! {
    /// Kinds of callers.
    Kinds {
        /// A person.
        user = "User",
        /// An application.
        workload = "Application",
        /// An application whose credential the platform keeps.
        managed_identity = "Managed identity",
        /// An AI agent.
        agent = "Agent",
    }
}

texts! {
    /// Actions.
    Actions {
        /// Reading.
        read = "read",
        /// Changing.
        write = "change",
        /// Administering.
        admin = "administer",
    }
}

texts! {
    /// The words around the facts of the page.
    PageTexts {
        /// Above the policies' advice.
        advice = "What the policy says",
        /// Above the owners.
        owners = "Who can help",
        /// Above the facts.
        facts = "Details",
        /// The request.
        request = "Request",
        /// The entity.
        entity = "Entity",
        /// The action.
        action = "Action",
        /// The caller.
        caller = "Signed in as",
        /// The caller's tenant.
        tenant = "Tenant",
        /// The policies.
        policies = "Policies",
        /// The code of the reason.
        reason = "Reason",
        /// The decision's id.
        decision = "Decision",
        /// Beside the decision's id.
        quote = "Quote this id when you ask for help.",
        /// The link to an entity's page.
        open = "Open in Backstage",
        /// Owners that the page has no room for; `{count}` stands for how many.
        more = "and {count} more",
    }
}

impl Default for Texts {
    fn default() -> Self {
        Self {
            direction: Direction::Ltr,
            titles: Titles::default(),
            reasons: Reasons::default(),
            ask_owners: "It is owned by {owners}: ask there.".to_owned(),
            mail_subject: "Access to {entity} (decision {decision_id})".to_owned(),
            kinds: Kinds::default(),
            actions: Actions::default(),
            page: PageTexts::default(),
        }
    }
}

/// What is said of single reasons.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Reasons(BTreeMap<String, ReasonTexts>);

/// What is said of a reason.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ReasonTexts {
    /// Instead of the title of its status.
    pub title: Option<String>,
    /// What it means, in one sentence.
    pub sentence: Option<String>,
}

impl JsonSchema for Reasons {
    fn schema_name() -> Cow<'static, str> {
        "Reasons".into()
    }

    /// The codes are the keys, so that a misspelt one is found.
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let texts = generator.subschema_for::<ReasonTexts>();
        let properties: serde_json::Map<_, _> = Reason::ALL
            .iter()
            .map(|reason| (reason.code().to_owned(), texts.clone().to_value()))
            .collect();
        json_schema!({
            "type": "object",
            "properties": properties,
            "additionalProperties": false,
        })
    }
}

impl Texts {
    /// The title of a denial.
    pub(super) fn title(&self, reason: Reason) -> &str {
        let own = self.reasons.0.get(reason.code()).and_then(|texts| texts.title.as_deref());
        own.unwrap_or(match reason.status() {
            400 => &self.titles.request,
            401 => &self.titles.credentials,
            403 => &self.titles.caller,
            _ => &self.titles.stagedoor,
        })
    }

    /// The sentence of a denial.
    pub(super) fn sentence(&self, reason: Reason) -> &str {
        let own = self.reasons.0.get(reason.code()).and_then(|texts| texts.sentence.as_deref());
        own.unwrap_or(reason.sentence())
    }

    /// The name of an action, by its code.
    pub(super) fn action(&self, code: &str) -> &str {
        match code {
            "write" => &self.actions.write,
            "admin" => &self.actions.admin,
            _ => &self.actions.read,
        }
    }

    /// The name of a kind of callers, by its code.
    pub(super) fn kind(&self, code: &str) -> &str {
        match code {
            "user" => &self.kinds.user,
            "managed_identity" => &self.kinds.managed_identity,
            "agent" => &self.kinds.agent,
            _ => &self.kinds.workload,
        }
    }
}
