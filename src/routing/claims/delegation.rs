//! What the operator has delegated to the catalog.

use super::Claim;
use super::workload::{WorkloadRule, check_id, is_below};
use crate::domain::{Denial, EntityRef, Host, Request};

/// One delegation, as written in the configuration.
#[derive(Clone, Debug, Default)]
pub struct DelegationSettings {
    /// Hosts that may be claimed: exact, or `*.apps.example.com` for everything below.
    pub hosts: Vec<String>,
    /// SPIFFE ids that may be claimed, with everything below each.
    pub workloads: Vec<String>,
    /// To the entities of this namespace.
    pub namespace: Option<String>,
    /// To what is part of this system.
    pub system: Option<String>,
    /// To what is part of this domain.
    pub domain: Option<String>,
    /// To what this group owns.
    pub group: Option<String>,
    /// To every entity. Whoever may register an entity can then claim what is free.
    pub dangerously_any_entity: bool,
}

/// One rule from workloads to entities, as written in the configuration.
#[derive(Clone, Debug)]
pub struct WorkloadSettings {
    /// `spiffe://cluster.local/ns/{namespace}/sa/{name}`.
    pub id: String,
    /// `component:{namespace}/{name}`.
    pub entity: String,
}

/// A mistake in what is delegated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{section}[{at}].{field}: {message}")]
pub struct DelegationError {
    /// `delegations` or `workloads`.
    pub section: &'static str,
    /// Which of them, counted from 0.
    pub at: usize,
    /// Where in it: `hosts[1]`, `namespace`, …; empty for the whole.
    pub field: String,
    /// What is wrong, and what is expected.
    pub message: String,
}

/// Everything that is delegated.
#[derive(Clone, Debug, Default)]
pub struct Delegations {
    list: Vec<Delegation>,
    rules: Vec<WorkloadRule>,
}

#[derive(Clone, Debug)]
struct Delegation {
    hosts: Vec<HostScope>,
    workloads: Vec<String>,
    to: To,
}

#[derive(Clone, Debug)]
enum HostScope {
    Exact(String),
    /// Without the `*`: `.apps.example.com`.
    Below(String),
}

#[derive(Clone, Debug)]
enum To {
    Namespace(String),
    Whole(EntityRef),
    Owner(EntityRef),
    Anyone,
}

impl Delegations {
    /// Reads what is delegated.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn build(
        delegations: &[DelegationSettings],
        workloads: &[WorkloadSettings],
    ) -> Result<Self, Vec<DelegationError>> {
        let mut errors = Vec::new();
        let mut list = Vec::new();
        for (at, settings) in delegations.iter().enumerate() {
            let mut mistake = |field: String, message: String| {
                errors.push(DelegationError { section: "delegations", at, field, message });
            };
            list.extend(Delegation::read(settings, &mut mistake));
        }
        let mut rules = Vec::new();
        for (at, settings) in workloads.iter().enumerate() {
            match WorkloadRule::parse(&settings.id, &settings.entity) {
                Ok(rule) => rules.push(rule),
                Err((field, message)) => errors.push(DelegationError {
                    section: "workloads",
                    at,
                    field: field.to_owned(),
                    message,
                }),
            }
        }
        if errors.is_empty() { Ok(Self { list, rules }) } else { Err(errors) }
    }

    /// Whether nothing is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty() && self.rules.is_empty()
    }

    pub(super) fn delegates_host(&self, host: &str, claim: &Claim<'_>) -> bool {
        self.list.iter().any(|delegation| delegation.has_host(host) && delegation.to.is_for(claim))
    }

    pub(super) fn delegates_workload(&self, id: &str, claim: &Claim<'_>) -> bool {
        let has = |delegation: &&Delegation| delegation.has_workload(id);
        self.list.iter().filter(has).any(|delegation| delegation.to.is_for(claim))
    }

    pub(super) fn covers_host(&self, host: &str) -> bool {
        self.list.iter().any(|delegation| delegation.has_host(host))
    }

    pub(super) fn covers_workload(&self, id: &str) -> bool {
        self.list.iter().any(|delegation| delegation.has_workload(id))
    }

    /// The entity that a rule names for a workload.
    pub(super) fn named(&self, id: &str) -> Option<Result<EntityRef, Denial>> {
        self.rules.iter().find_map(|rule| rule.entity(id))
    }

    /// The workload that a request is for, where workloads are routed by.
    pub(super) fn workload_of<'r>(&self, request: &Request<'r>) -> Option<&'r str> {
        let by_workload =
            !self.rules.is_empty() || self.list.iter().any(|each| !each.workloads.is_empty());
        let id = request.destination_principal.filter(|id| id.starts_with("spiffe://"))?;
        by_workload.then_some(id)
    }
}

impl Delegation {
    fn read(
        settings: &DelegationSettings,
        mistake: &mut impl FnMut(String, String),
    ) -> Option<Self> {
        let mut hosts = Vec::new();
        for (at, text) in settings.hosts.iter().enumerate() {
            match HostScope::read(text) {
                Ok(scope) => hosts.push(scope),
                Err(message) => mistake(format!("hosts[{at}]"), message),
            }
        }
        let mut workloads = Vec::new();
        for (at, text) in settings.workloads.iter().enumerate() {
            match check_id(text) {
                Ok(()) => workloads.push(text.clone()),
                Err(message) => mistake(format!("workloads[{at}]"), message),
            }
        }
        if settings.hosts.is_empty() && settings.workloads.is_empty() {
            mistake(String::new(), "expected `hosts` or `workloads`".to_owned());
        }
        let to = To::read(settings, mistake)?;
        Some(Self { hosts, workloads, to })
    }

    fn has_host(&self, host: &str) -> bool {
        self.hosts.iter().any(|scope| match scope {
            HostScope::Exact(exact) => exact == host,
            HostScope::Below(suffix) => {
                host.strip_suffix(suffix.as_str()).is_some_and(|rest| !rest.is_empty())
            }
        })
    }

    fn has_workload(&self, id: &str) -> bool {
        self.workloads.iter().any(|prefix| is_below(id, prefix))
    }
}

impl HostScope {
    fn read(text: &str) -> Result<Self, String> {
        let (name, below) = match text.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (text, false),
        };
        let host = Host::parse(name).map_err(|error| format!("`{text}`: {error}"))?;
        if host.as_str() != name {
            return Err(format!("`{text}` is not canonical: write `{}`", host.as_str()));
        }
        if host.is_address() {
            return Err(format!("`{text}`: an ip address can't be delegated"));
        }
        Ok(if below { Self::Below(format!(".{name}")) } else { Self::Exact(name.to_owned()) })
    }
}

impl To {
    fn read(
        settings: &DelegationSettings,
        mistake: &mut impl FnMut(String, String),
    ) -> Option<Self> {
        let whole = |field: &str, text: &str, mistake: &mut dyn FnMut(String, String)| {
            let kind = if field == "group" { "group" } else { field };
            match EntityRef::parse(text) {
                Ok(entity) if entity.kind() == kind => Some(entity),
                Ok(_) => {
                    mistake(field.to_owned(), format!("`{text}`: expected `{kind}:…`"));
                    None
                }
                Err(error) => {
                    mistake(field.to_owned(), format!("`{text}`: {error}"));
                    None
                }
            }
        };
        let mut given = Vec::new();
        if let Some(namespace) = &settings.namespace {
            match EntityRef::new("x", namespace, "x") {
                Ok(entity) if entity.namespace() == namespace => {
                    given.push(Some(Self::Namespace(namespace.clone())));
                }
                _ => {
                    let message = format!("`{namespace}`: expected a namespace in lower case");
                    mistake("namespace".to_owned(), message);
                    given.push(None);
                }
            }
        }
        if let Some(system) = &settings.system {
            given.push(whole("system", system, mistake).map(Self::Whole));
        }
        if let Some(domain) = &settings.domain {
            given.push(whole("domain", domain, mistake).map(Self::Whole));
        }
        if let Some(group) = &settings.group {
            given.push(whole("group", group, mistake).map(Self::Owner));
        }
        if settings.dangerously_any_entity {
            given.push(Some(Self::Anyone));
        }
        if given.len() == 1 {
            return given.pop().flatten();
        }
        let message = "expected exactly one of `namespace`, `system`, `domain`, `group` and \
                       `dangerously_any_entity`";
        mistake(String::new(), message.to_owned());
        None
    }

    fn is_for(&self, claim: &Claim<'_>) -> bool {
        match self {
            Self::Namespace(namespace) => claim.entity.namespace() == namespace,
            Self::Whole(whole) => claim.wholes.contains(&whole),
            Self::Owner(group) => claim.owners.contains(&group),
            Self::Anyone => true,
        }
    }
}
