//! From what was kept of a decision to what is written of it.
//!
//! On the writer's thread: ids become text here, what is to be masked is left out, and
//! ids become pseudonyms.

use std::borrow::Cow;

use tokio::time::Instant;

use super::Member;
use super::catalog::{CatalogRecord, Entry};
use super::config::ConfigRecord;
use super::form::{
    AlertForm, CacheForm, CatalogForm, ConfigForm, DecisionForm, FactsForm, Outcome, PrincipalForm,
    RecordForm, ShadowForm, VERSION,
};
use super::pseudonym::{KeyError, KeyFile};
use super::record::{AuditRecord, Text};
use super::settings::ContentSettings;
use crate::domain::{ClientAuth, Identity, Notice, ObjectId, Shadow, Verdict};

/// Makes the written form of records.
#[derive(Debug)]
pub(super) struct Presenter {
    facts: bool,
    mask: Vec<Member>,
    pseudonyms: Option<Pseudonyms>,
}

#[derive(Debug)]
struct Pseudonyms {
    key: KeyFile,
    object: bool,
    client: bool,
}

/// What stands for the ids of one caller.
struct Names {
    object: Cow<'static, str>,
    client: Option<Cow<'static, str>>,
    /// Ids that must not be read anywhere, and what to read instead.
    hidden: Vec<(String, String)>,
}

impl Presenter {
    pub(super) fn new(settings: &ContentSettings) -> Result<Self, KeyError> {
        let pseudonyms = match &settings.pseudonyms {
            Some(pseudonyms) => Some(Pseudonyms {
                key: KeyFile::open(&pseudonyms.key_file)?,
                object: pseudonyms.object,
                client: pseudonyms.client,
            }),
            None => None,
        };
        Ok(Self { facts: settings.facts, mask: settings.mask.clone(), pseudonyms })
    }

    /// Looks whether there is another key, at once or when it is time to.
    pub(super) fn refresh(&mut self, now: Instant, at_once: bool) {
        if let Some(pseudonyms) = &mut self.pseudonyms {
            pseudonyms.key.refresh(now, at_once);
        }
    }

    pub(super) fn form<'a>(&self, entry: &'a Entry) -> RecordForm<'a> {
        match entry {
            Entry::Decision(record) => RecordForm::Decision(Box::new(self.decision(record))),
            Entry::Catalog(record) => RecordForm::Catalog(Box::new(self.catalog(record))),
            Entry::Config(record) => RecordForm::Config(Box::new(config(record))),
        }
    }

    fn decision<'a>(&self, record: &'a AuditRecord) -> DecisionForm<'a> {
        let AuditRecord { time, latency, request, decision } = record;
        let target = decision.target.as_ref();
        let (outcome, denial) = match &decision.verdict {
            Verdict::Allow(_) => (Outcome::Allow, None),
            Verdict::Deny(denial) => (Outcome::Deny, Some(denial)),
        };
        let identity = decision.principal.identity();
        let names = identity.map(|identity| self.names(identity));
        let (names, hidden) = names.map_or_else(Default::default, |names| {
            (Some((names.object, names.client)), names.hidden)
        });
        let hidden = hidden.as_slice();
        let shown = |text: &'a str| without(text, hidden);
        let sent = |text: Text| request.text(text).map(shown);
        let detail = denial.and_then(|denial| denial.detail.as_deref());
        let mut masks = Masks { list: &self.mask, masked: Vec::new() };
        let notes = &decision.notes;
        DecisionForm {
            version: VERSION,
            time: (*time).into(),
            decision_id: decision.id.to_string().into(),
            request_id: masks.some(Member::RequestId, sent(Text::RequestId)),
            trace_id: masks.some(Member::TraceId, sent(Text::TraceId)),
            source: masks.some(Member::Source, sent(Text::Source)),
            destination: masks.some(Member::Destination, sent(Text::Destination)),
            method: masks.some(Member::Method, sent(Text::Method)),
            host: masks.some(Member::Host, sent(Text::Host)),
            path: masks.some(Member::Path, sent(Text::Path)),
            route: target.map(|target| Cow::Borrowed(&*target.route)),
            gate: target.map(|target| target.gate.as_str().into()),
            entity: target
                .and_then(|target| target.resource.as_ref())
                .map(|entity| Cow::Borrowed(entity.as_str())),
            action: target.map(|target| target.action.as_str().into()),
            decision: outcome,
            reason: decision.code().into(),
            status: denial.map(|denial| denial.reason.status()),
            policies: decision.policies().iter().map(|id| Cow::Borrowed(&**id)).collect(),
            detail: masks.some(Member::Detail, detail.map(|detail| self.detail(detail, hidden))),
            facts: masks
                .some(Member::Facts, identity.filter(|_| self.facts).map(|i| self.facts(i))),
            principal: identity.zip(names).map(|(identity, (object, client))| PrincipalForm {
                kind: identity.kind.as_str().into(),
                tenant: identity.tenant.to_string().into(),
                object,
                client: masks.some(Member::Client, client),
            }),
            owners: masks.list(
                Member::Owners,
                decision.owners.iter().map(|owner| Cow::Borrowed(owner.entity.as_str())),
            ),
            justification: masks
                .some(Member::Justification, notes.justification.as_deref().map(shown)),
            warnings: masks.list(Member::Warnings, notes.warnings.iter().map(notice)),
            alerts: masks.list(Member::Alerts, notes.alerts.iter().map(notice)),
            shadow: masks.list(Member::Shadow, notes.shadow.iter().map(shadow)),
            cache: CacheForm { token: notes.remembered.token, decision: notes.remembered.decision },
            policy_version: decision.versions.policy.as_deref().map(Cow::Borrowed),
            snapshot_version: decision.versions.snapshot.as_deref().map(Cow::Borrowed),
            keys_version: decision.versions.keys.as_deref().map(Cow::Borrowed),
            latency_us: u64::try_from(latency.as_micros()).unwrap_or(u64::MAX),
            masked: masks.masked,
        }
    }

    fn names(&self, identity: &Identity) -> Names {
        let (object, client) = (identity.object, identity.client);
        let mut names = Names {
            object: object.to_string().into(),
            client: client.map(|client| client.to_string().into()),
            hidden: Vec::new(),
        };
        let Some(pseudonyms) = &self.pseudonyms else { return names };
        let key = pseudonyms.key.key();
        if pseudonyms.object {
            let pseudonym = key.object(identity.tenant, object);
            names.hidden.push((object.to_string(), pseudonym.clone()));
            names.object = pseudonym.into();
        }
        if pseudonyms.client
            && let Some(client) = client
        {
            let pseudonym = key.client(identity.tenant, client);
            names.hidden.push((client.to_string(), pseudonym.clone()));
            names.client = Some(pseudonym.into());
        }
        names
    }

    /// Of who was not accepted there is no pseudonym, but the detail may hold their client
    /// application's id: that is left out where such ids are replaced.
    fn detail<'a>(&self, detail: &'a str, hidden: &[(String, String)]) -> Cow<'a, str> {
        const CLIENT: &str = "the client is ";
        match &self.pseudonyms {
            Some(Pseudonyms { client: true, .. })
                if hidden.is_empty() && detail.starts_with(CLIENT) =>
            {
                "the client is not one that is accepted".into()
            }
            _ => without(detail, hidden),
        }
    }

    fn facts<'a>(&self, identity: &'a Identity) -> FactsForm<'a> {
        let facts = &identity.facts;
        let texts = |list: &'a [Box<str>]| list.iter().map(|text| Cow::Borrowed(&**text)).collect();
        let agents_parent = facts.agent_parent.map(|parent| match &self.pseudonyms {
            Some(Pseudonyms { key, client: true, .. }) => key.key().client(identity.tenant, parent),
            _ => parent.to_string(),
        });
        FactsForm {
            token_issued_at: identity.issued_at,
            delegated: identity.delegated,
            guest: facts.guest,
            home_tenant: facts.home_tenant.map(|tenant| tenant.to_string().into()),
            client_auth: facts.client_auth.map(ClientAuth::as_str).map(Cow::Borrowed),
            agent_parent: agents_parent.map(Cow::Owned),
            roles: texts(&identity.roles),
            scopes: texts(&identity.scopes),
            groups: identity.groups().iter().map(|group| group.to_string().into()).collect(),
            groups_elsewhere: identity.groups_elsewhere,
            directory_roles: texts(&facts.directory_roles),
            auth_contexts: texts(&facts.auth_contexts),
        }
    }

    fn catalog<'a>(&self, record: &'a CatalogRecord) -> CatalogForm<'a> {
        let mut masked = Vec::new();
        let mut other = record.other.as_deref().map(Cow::Borrowed);
        // What a user is bound to is their object id, of a tenant that isn't known here.
        let is_user =
            record.entity.as_ref().is_some_and(|entity| entity.as_str().starts_with("user:"));
        let is_id = record.change.is_some_and(|change| change.starts_with("binding_"));
        let is_named = self.pseudonyms.as_ref().is_some_and(|names| names.object);
        if is_named && is_user && is_id {
            other = None;
            masked.push(Cow::Borrowed("other"));
        }
        CatalogForm {
            version: VERSION,
            time: record.time.into(),
            event: record.event,
            change: record.change.map(Cow::Borrowed),
            entity: record.entity.as_ref().map(|entity| Cow::Borrowed(entity.as_str())),
            other,
            detail: record.detail.as_deref().map(|detail| match is_named {
                true => without_ids(detail),
                false => Cow::Borrowed(detail),
            }),
            snapshot_before: record.snapshot_before.as_deref().map(Cow::Borrowed),
            snapshot_version: record.snapshot_version.as_deref().map(Cow::Borrowed),
            masked,
        }
    }
}

/// Nothing of it is about a caller.
fn config(record: &ConfigRecord) -> ConfigForm<'_> {
    ConfigForm {
        version: VERSION,
        time: record.time.into(),
        event: record.event,
        detail: record.detail.as_deref().map(Cow::Borrowed),
        config_before: record.before.as_deref().map(Cow::Borrowed),
        config_version: record.version.as_deref().map(Cow::Borrowed),
    }
}

/// Leaves members out, and remembers which ones had something to say.
struct Masks<'m> {
    list: &'m [Member],
    masked: Vec<Cow<'static, str>>,
}

impl Masks<'_> {
    fn hides(&mut self, member: Member, something: bool) -> bool {
        let hides = self.list.contains(&member);
        if hides && something {
            self.masked.push(member.as_str().into());
        }
        hides
    }

    fn some<T>(&mut self, member: Member, value: Option<T>) -> Option<T> {
        if self.hides(member, value.is_some()) { None } else { value }
    }

    fn list<T>(&mut self, member: Member, values: impl ExactSizeIterator<Item = T>) -> Vec<T> {
        if self.hides(member, values.len() > 0) { Vec::new() } else { values.collect() }
    }
}

/// The text with other words for what is hidden, in whatever case it stands there: a
/// caller's id can be in the path that they ask for.
fn without<'a>(text: &'a str, hidden: &[(String, String)]) -> Cow<'a, str> {
    let mut shown = Cow::Borrowed(text);
    for (id, instead) in hidden {
        while let Some(at) = find(&shown, id) {
            let mut other = shown.get(..at).unwrap_or_default().to_owned();
            other.push_str(instead);
            other.push_str(shown.get(at + id.len()..).unwrap_or_default());
            shown = Cow::Owned(other);
        }
    }
    shown
}

/// Where an id, which is of ASCII, stands in a text.
fn find(text: &str, id: &str) -> Option<usize> {
    text.as_bytes().windows(id.len()).position(|part| part.eq_ignore_ascii_case(id.as_bytes()))
}

/// The text without any GUID: examples of changes can be about what users are bound to.
fn without_ids(text: &str) -> Cow<'_, str> {
    const LENGTH: usize = 36;
    let is_id =
        |at: usize| text.get(at..at + LENGTH).is_some_and(|part| part.parse::<ObjectId>().is_ok());
    let mut shown = String::new();
    let mut from = 0;
    while let Some(at) = (from..text.len()).find(|at| is_id(*at)) {
        shown.push_str(text.get(from..at).unwrap_or_default());
        shown.push_str("[id]");
        from = at + LENGTH;
    }
    if from == 0 {
        return Cow::Borrowed(text);
    }
    shown.push_str(text.get(from..).unwrap_or_default());
    Cow::Owned(shown)
}

fn notice(notice: &Notice) -> AlertForm<'_> {
    AlertForm { policy: Cow::Borrowed(&notice.policy), text: Cow::Borrowed(&notice.text) }
}

fn shadow(shadow: &Shadow) -> ShadowForm<'_> {
    ShadowForm {
        set: shadow.set.as_str().into(),
        allow: shadow.allow,
        reason: shadow.reason.into(),
        policies: shadow.policies.iter().map(|id| Cow::Borrowed(&**id)).collect(),
    }
}

#[cfg(test)]
mod tests;
