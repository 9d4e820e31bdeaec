//! The entity model, written down once.
//!
//! The shipped schema and the tables in `docs/policy.md` are generated from here, and the
//! tests hold what is handed to Cedar to it.
//!
//! It is public API: within one [`VERSION`], optional attributes and context members are
//! added, and nothing is taken away or changes its type or meaning. A policy that was
//! accepted keeps being accepted and keeps deciding the same.

/// The version of the model.
pub const VERSION: u32 = 1;

/// What a policy can read of something.
#[derive(Clone, Copy, Debug)]
pub struct Attribute {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Whether it is always there; a policy asks `has` before it reads one that is not.
    pub optional: bool,
    /// What it means.
    pub doc: &'static str,
}

/// A type of Cedar's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A text.
    String,
    /// True or false.
    Bool,
    /// A whole number.
    Long,
    /// An instant.
    Datetime,
    /// Texts.
    Strings,
    /// Backstage groups.
    Groups,
    /// A Backstage system.
    System,
    /// A Backstage domain.
    Domain,
}

impl Kind {
    /// The type as the schema names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::String => "String",
            Self::Bool => "Bool",
            Self::Long => "Long",
            Self::Datetime => "datetime",
            Self::Strings => "Set<String>",
            Self::Groups => "Set<Group>",
            Self::System => "System",
            Self::Domain => "Domain",
        }
    }
}

/// An entity type, or several that have the same attributes.
#[derive(Clone, Copy, Debug)]
pub struct EntityType {
    /// Its name, or their names.
    pub names: &'static [&'static str],
    /// The types that it can be in.
    pub parents: &'static [&'static str],
    /// What can be read of it.
    pub attributes: &'static [&'static [Attribute]],
    /// What it stands for.
    pub doc: &'static str,
}

const fn always(name: &'static str, kind: Kind, doc: &'static str) -> Attribute {
    Attribute { name, kind, optional: false, doc }
}

const fn maybe(name: &'static str, kind: Kind, doc: &'static str) -> Attribute {
    Attribute { name, kind, optional: true, doc }
}

/// Of a caller, whatever it is.
pub const PRINCIPAL: &[Attribute] = &[
    always("tenant", Kind::String, "The directory that vouches (`tid`)."),
    always("object", Kind::String, "The object in it (`oid`)."),
    always(
        "kind",
        Kind::String,
        "`\"user\"`, `\"workload\"`, `\"managed_identity\"` or `\"agent\"`.",
    ),
    always("agent", Kind::Bool, "Whether an AI agent asks, for itself or for the user."),
    maybe("agent_parent", Kind::String, "The application that the agent belongs to."),
    always("guest", Kind::Bool, "Whether the user is at home in another directory."),
    maybe("home_tenant", Kind::String, "Which directory that is, where the token names it."),
    maybe("client", Kind::String, "The application that asked for the token (`azp`, `appid`)."),
    maybe(
        "client_auth",
        Kind::String,
        "How it proved itself: `\"public\"`, `\"secret\"` or `\"certificate\"`.",
    ),
    always("scopes", Kind::Strings, "Delegated scopes (`scp`)."),
    always("roles", Kind::Strings, "App roles (`roles`)."),
    always("directory_roles", Kind::Strings, "Directory role templates (`wids`)."),
    always(
        "auth_contexts",
        Kind::Strings,
        "The authentication contexts that the sign-in satisfied (`acrs`).",
    ),
];

/// Of everything that can be asked for.
pub const RESOURCE: &[Attribute] = &[
    always("owners", Kind::Groups, "Who owns it: groups, and the personal groups of users."),
    always("kind", Kind::String, "Its kind in Backstage: `\"component\"`, `\"api\"`, …"),
    always("namespace", Kind::String, "`metadata.namespace`."),
    always("name", Kind::String, "`metadata.name`, in lower case."),
    maybe("type", Kind::String, "`spec.type`."),
    maybe("lifecycle", Kind::String, "`spec.lifecycle`."),
    always("tags", Kind::Strings, "`metadata.tags`."),
    maybe("domain", Kind::Domain, "The domain that it, or else its system, is part of."),
];

/// Of what can be part of a system.
pub const PART: &[Attribute] =
    &[maybe("system", Kind::System, "The system that it is directly part of.")];

/// Of the request.
pub const CONTEXT: &[Attribute] = &[
    always("method", Kind::String, "The method of the request, as it was sent."),
    always("host", Kind::String, "The host: lower case, without port."),
    always("path", Kind::String, "The path in its canonical form, without query."),
    always("route", Kind::String, "The name of the route that matched."),
    maybe(
        "source",
        Kind::String,
        "The URI in the calling workload's certificate, where mutual TLS proved one: `spiffe://…`.",
    ),
    maybe("destination", Kind::String, "The same of the workload that is called."),
    always("token_age", Kind::Long, "Seconds since the token was issued."),
    always("time", Kind::Datetime, "Now, to the second."),
    always("weekday", Kind::Long, "The day of the week in UTC, from 1 (Monday) to 7."),
    maybe(
        "justification",
        Kind::String,
        "What the caller gave as a reason, in the header that `policy.justification_header` names.",
    ),
];

/// Every entity type, in the order of the schema.
pub const ENTITIES: &[EntityType] = &[
    EntityType {
        names: &["Group"],
        parents: &["Group"],
        attributes: &[],
        doc: "A Backstage group, or the personal group of a Backstage user who owns things. A \
              member of a child group is in its ancestors too.",
    },
    EntityType {
        names: &["EntraGroup"],
        parents: &["Group"],
        attributes: &[],
        doc: "A group of the Entra directory. Bound to a Backstage group by its id, it is in it.",
    },
    EntityType {
        names: &["User"],
        parents: &["EntraGroup", "Group"],
        attributes: &[PRINCIPAL],
        doc: "Somebody: an application, or an agent, acts for a signed-in user.",
    },
    EntityType {
        names: &["Workload"],
        parents: &["EntraGroup", "Group"],
        attributes: &[PRINCIPAL],
        doc: "Something: an application, service principal, managed identity or agent acts for \
              itself.",
    },
    EntityType {
        names: &["Domain"],
        parents: &["Domain"],
        attributes: &[RESOURCE],
        doc: "A Backstage domain.",
    },
    EntityType {
        names: &["System"],
        parents: &["Domain"],
        attributes: &[RESOURCE],
        doc: "A Backstage system.",
    },
    EntityType {
        names: &["Component", "API", "Resource", "Template"],
        parents: &["System", "Domain"],
        attributes: &[RESOURCE, PART],
        doc: "What requests are for.",
    },
];

/// The types that ask.
pub const PRINCIPALS: [&str; 2] = ["User", "Workload"];

/// The types that are asked for.
pub const RESOURCES: [&str; 6] = ["Component", "API", "Resource", "Template", "System", "Domain"];

/// The actions, from the widest to the narrowest: each is in the one before.
pub const ACTIONS: [&str; 3] = ["admin", "write", "read"];
