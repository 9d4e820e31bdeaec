//! What one denial tells: the same for a person and for a program.

use std::borrow::Cow;

use serde::Serialize;

use super::languages::Language;
use super::{Denials, percent};
use crate::domain::{Decision, Denial, EntityRef, Owner, Reason, Request, RequestLine, plain};

/// Nobody reads more of a path.
const MAX_PATH: usize = 200;
/// Nobody reads more of an advice.
const MAX_ADVICE: usize = 500;
/// Nobody reads more of a name.
const MAX_NAME: usize = 150;

/// What a denial tells its caller. Every text of others in it is one line of bounded
/// length, without marks that move what stands around it; it is not escaped. What is one
/// already is not copied.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Told<'a> {
    pub(super) status: u16,
    pub(super) reason: &'static str,
    pub(super) title: &'a str,
    pub(super) sentence: &'a str,
    pub(super) decision_id: &'a str,
    pub(super) request: Option<Asked<'a>>,
    pub(super) entity: Option<Cow<'a, str>>,
    pub(super) entity_url: Option<String>,
    pub(super) action: Option<&'a str>,
    pub(super) action_text: Option<&'a str>,
    pub(super) owners: Vec<ToldOwner<'a>>,
    /// Owners that there was no room for.
    pub(super) more_owners: usize,
    pub(super) advice: Vec<Cow<'a, str>>,
    pub(super) policies: Vec<Cow<'a, str>>,
    pub(super) caller: Option<Caller<'a>>,
}

/// What the caller sent.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Asked<'a> {
    pub(super) method: Cow<'a, str>,
    pub(super) host: Cow<'a, str>,
    pub(super) path: Cow<'a, str>,
}

/// Whom to ask.
#[derive(Clone, Debug, Serialize)]
pub(super) struct ToldOwner<'a> {
    pub(super) entity: Cow<'a, str>,
    pub(super) title: Cow<'a, str>,
    pub(super) entity_url: Option<String>,
    pub(super) email: Option<Cow<'a, str>>,
    pub(super) email_url: Option<String>,
    pub(super) links: Vec<ToldLink<'a>>,
}

/// Where to ask.
#[derive(Clone, Debug, Serialize)]
pub(super) struct ToldLink<'a> {
    pub(super) title: Cow<'a, str>,
    pub(super) url: &'a str,
}

/// Who the caller is, by their token: no names, which it can't vouch for.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Caller<'a> {
    pub(super) kind: &'static str,
    pub(super) kind_text: Option<&'a str>,
    pub(super) object_id: Cow<'a, str>,
    pub(super) tenant_id: Cow<'a, str>,
}

impl<'a> Told<'a> {
    /// For a page, or for a program, which needs less.
    pub(super) fn new(
        denials: &Denials,
        (decision, decision_id): (&'a Decision, &'a str),
        denial: &'a Denial,
        request: Option<&Request<'a>>,
        (language, page): (&'a Language, bool),
    ) -> Self {
        let (tell, texts) = (&denials.tell, &language.texts);
        let identity = decision.principal.identity();
        let known = identity.is_some();
        let target = decision.target.as_ref().filter(|_| tell.entity.includes(known));
        let resource = target.and_then(|target| target.resource.as_ref());
        let caller = identity.filter(|_| tell.caller.includes(known));
        let owners: &[Owner] = if tell.owners.includes(known) { &decision.owners } else { &[] };
        let subject = resource.filter(|_| page).map(|resource| {
            let subject = texts.mail_subject.replace("{entity}", resource.as_str());
            subject.replace("{decision_id}", decision_id)
        });
        let contacts = tell.contacts.includes(known);
        Self {
            status: denial.reason.status(),
            reason: denial.reason.code(),
            title: texts.title(denial.reason),
            sentence: texts.sentence(denial.reason),
            request: request.and_then(asked),
            entity: resource.map(|resource| line(resource.as_str(), MAX_NAME)),
            // What the catalog doesn't have has no page there.
            entity_url: resource
                .filter(|_| denial.reason != Reason::EntityUnknown)
                .and_then(|resource| denials.page_of(resource)),
            action: target.map(|target| target.action.as_str()),
            action_text: target.filter(|_| page).map(|target| texts.action(target.action.as_str())),
            owners: owners
                .iter()
                .map(|owner| ToldOwner::new(denials, owner, contacts, (page, subject.as_deref())))
                .collect(),
            more_owners: 0,
            advice: lines(&denial.advice, tell.advice.includes(known), MAX_ADVICE),
            policies: lines(&denial.policies, tell.policies.includes(known), MAX_NAME),
            caller: caller.map(|identity| Caller {
                kind: identity.kind.as_str(),
                kind_text: page.then(|| texts.kind(identity.kind.as_str())),
                object_id: identity.object.to_string().into(),
                tenant_id: identity.tenant.to_string().into(),
            }),
            decision_id,
        }
    }

    /// The same with lists of at most so many items.
    pub(super) fn cut(&mut self, most: usize) {
        let owners = self.owners.len();
        self.owners.truncate(most);
        self.more_owners += owners - self.owners.len();
        for owner in &mut self.owners {
            owner.links.truncate(most);
        }
        self.advice.truncate(most);
        self.policies.truncate(most);
    }

    /// Whether the owners could give what is asked for.
    pub(super) fn asks_owners(&self) -> bool {
        let asks = [Reason::NotPermitted.code(), Reason::Forbidden.code()];
        asks.contains(&self.reason) && !self.owners.is_empty()
    }
}

impl<'a> ToldOwner<'a> {
    fn new(
        denials: &Denials,
        owner: &'a Owner,
        contacts: bool,
        (page, subject): (bool, Option<&str>),
    ) -> Self {
        let contact = owner.contact.as_deref().filter(|_| contacts);
        let email = contact.and_then(|contact| contact.email.as_ref());
        let links = contact.map(|contact| &*contact.links).unwrap_or_default();
        Self {
            entity: line(owner.entity.as_str(), MAX_NAME),
            title: line(&owner.title, MAX_NAME),
            entity_url: denials.page_of(&owner.entity),
            email: email.map(|email| email.as_str().into()),
            // An address holds nothing that would have to be escaped here.
            email_url: email.filter(|_| page).map(|email| {
                let subject = subject.map(|subject| format!("?subject={}", percent(subject)));
                format!("mailto:{}{}", email.as_str(), subject.unwrap_or_default())
            }),
            links: links
                .iter()
                .map(|link| ToldLink { title: link.title().into(), url: link.url() })
                .collect(),
        }
    }
}

impl Denials {
    /// The page of an entity in Backstage.
    fn page_of(&self, entity: &EntityRef) -> Option<String> {
        let base = self.backstage_url.as_ref()?.as_str().trim_end_matches('/');
        let [namespace, kind, name] =
            [entity.namespace(), entity.kind(), entity.name()].map(percent);
        Some(format!("{base}/catalog/{namespace}/{kind}/{name}"))
    }
}

/// What was asked, where it has one reading; the query may hold anything and isn't echoed.
fn asked<'a>(request: &Request<'a>) -> Option<Asked<'a>> {
    let RequestLine { host, path, .. } = RequestLine::of(request).ok()?;
    let of = |text: Cow<'a, str>| match text {
        Cow::Borrowed(text) => line(text, MAX_PATH),
        Cow::Owned(text) => line(&text, MAX_PATH).into_owned().into(),
    };
    Some(Asked {
        method: line(request.method, MAX_NAME),
        host: of(host.into_text()),
        path: of(path.into_text()),
    })
}

fn lines(texts: &[std::sync::Arc<str>], told: bool, longest: usize) -> Vec<Cow<'_, str>> {
    let texts = if told { texts } else { &[] };
    texts.iter().map(|text| line(text, longest)).filter(|text| !text.is_empty()).collect()
}

/// A text of others as one line.
fn line(text: &str, longest: usize) -> Cow<'_, str> {
    // Mostly it is one already.
    let bytes = text.as_bytes();
    if bytes.len() <= longest
        && bytes.iter().all(|byte| matches!(byte, b' '..=b'~'))
        && bytes.first() != Some(&b' ')
        && bytes.last() != Some(&b' ')
    {
        return text.into();
    }
    let blank = |c: char| if c.is_whitespace() { ' ' } else { c };
    // What is left out of a longer one is no text to look at.
    let start: String = text.chars().take(longest.saturating_mul(4)).map(blank).collect();
    let mut line = plain(start.trim(), longest);
    if text.chars().nth(longest).is_some() {
        line.push('…');
    }
    line.into()
}
