//! Holding back a snapshot that loses or reassigns too much at once.
//!
//! Backstage answers 200 while it starts, while its token is restricted, and while one of
//! its sources is broken; and whoever can write to many files at once can take over much.
//! Such a snapshot waits until the very same losses have come with some crawls in a row, or
//! until an operator has confirmed them.

use std::fmt;

use aws_lc_rs::digest;

use super::changes::{Change, ChangeKind, changes};
use super::names::Number;
use super::snapshot::Snapshot;

/// As many as a person reads.
pub(super) const MAX_EXAMPLES: usize = 10;

/// How much may change at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuardSettings {
    /// The share of the entities with owners, of the groups, of the Entra ids and of the
    /// memberships that may go at once, in percent.
    pub max_loss_percent: u8,
    /// The share of the entities with owners of which these may change at once, in percent.
    pub max_reassigned_percent: u8,
    /// After so many crawls in a row that lose the same, it is taken to be meant.
    pub adopt_after: u32,
}

/// Why a snapshot is held back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Names exactly these losses, so that nobody confirms others.
    pub id: String,
    /// What is over its share.
    pub excesses: Vec<Excess>,
    /// Some of the changes.
    pub examples: Vec<String>,
    /// With how many crawls in a row they have come.
    pub crawls: u32,
    /// After how many they are adopted.
    pub adopt_after: u32,
}

/// Something of which too much would change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Excess {
    /// Of what.
    pub what: &'static str,
    /// How much.
    pub changed: usize,
    /// Of how many.
    pub of: usize,
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, Excess { what, changed, of }) in self.excesses.iter().enumerate() {
            write!(f, "{}{changed} of {of} {what}", if at == 0 { "" } else { ", " })?;
        }
        write!(f, " (crawl {} of {})", self.crawls, self.adopt_after)
    }
}

/// What is held, from crawl to crawl.
#[derive(Debug, Default)]
pub(super) struct Guard {
    held: Option<Held>,
    confirmed: Option<String>,
}

impl Guard {
    /// Whether a snapshot is held back. Asked once a crawl.
    pub(super) fn judge(
        &mut self,
        before: &Snapshot,
        after: &Snapshot,
        settings: &GuardSettings,
    ) -> Option<Held> {
        let Some(mut held) = Losses::count(before, after).over(before, settings) else {
            (self.held, self.confirmed) = (None, None);
            return None;
        };
        held.crawls = match &self.held {
            Some(last) if last.id == held.id => last.crawls.saturating_add(1),
            _ => 1,
        };
        let confirmed = self.confirmed.as_ref() == Some(&held.id);
        if confirmed || held.crawls >= settings.adopt_after {
            (self.held, self.confirmed) = (None, None);
            return None;
        }
        self.held = Some(held.clone());
        Some(held)
    }

    /// Has these losses be adopted with the next crawl that has them; says whether it is
    /// these that are held.
    pub(super) fn confirm(&mut self, id: &str) -> bool {
        let is = self.held.as_ref().is_some_and(|held| held.id == id);
        if is {
            self.confirmed = Some(id.to_owned());
        }
        is
    }
}

/// What a snapshot loses.
struct Losses {
    owned: usize,
    groups: usize,
    bindings: usize,
    members: usize,
    reassigned: usize,
    examples: Vec<String>,
    id: digest::Context,
}

impl Losses {
    fn count(before: &Snapshot, after: &Snapshot) -> Self {
        let mut losses = Self {
            owned: 0,
            groups: 0,
            bindings: 0,
            members: 0,
            reassigned: 0,
            examples: Vec::new(),
            id: digest::Context::new(&digest::SHA256),
        };
        let mut last_reassigned = None;
        changes(before, after, |change| {
            let stays = after.find(&change.entity).is_some();
            let was = before.find(&change.entity);
            match change.kind {
                ChangeKind::Removed if change.entity.kind() == "group" => losses.groups += 1,
                ChangeKind::Removed => {
                    let owners = was.map_or(&[] as &[Number], |at| before.owners.get(at));
                    losses.owned += usize::from(!owners.is_empty());
                }
                ChangeKind::BindingRemoved => losses.bindings += 1,
                ChangeKind::MemberRemoved => losses.members += 1,
                ChangeKind::OwnerAdded | ChangeKind::OwnerRemoved if stays => {
                    let owned = was.is_some_and(|at| !before.owners.get(at).is_empty());
                    if !owned {
                        return;
                    }
                    if last_reassigned.as_ref() != Some(&change.entity) {
                        losses.reassigned += 1;
                        last_reassigned = Some(change.entity.clone());
                    }
                }
                _ => return,
            }
            losses.add(&change);
        });
        losses
    }

    fn add(&mut self, change: &Change) {
        let text = change.to_string();
        self.id.update(&(text.len() as u64).to_be_bytes());
        self.id.update(text.as_bytes());
        if self.examples.len() < MAX_EXAMPLES {
            self.examples.push(text);
        }
    }

    fn over(self, before: &Snapshot, settings: &GuardSettings) -> Option<Held> {
        let owned = (0..before.refs.len()).filter(|at| !before.owners.get(*at).is_empty()).count();
        let bindings = before.group_by_id.len() + before.user_by_id.len();
        let (loss, reassigned) = (settings.max_loss_percent, settings.max_reassigned_percent);
        let excesses: Vec<Excess> = [
            ("entities with owners would go", self.owned, owned, loss),
            ("groups would go", self.groups, before.groups.len(), loss),
            ("Entra ids would go", self.bindings, bindings, loss),
            ("memberships would go", self.members, before.member_of.items(), loss),
            ("entities would change owners", self.reassigned, owned, reassigned),
        ]
        .into_iter()
        .filter(|(_, changed, of, percent)| changed * 100 > of * usize::from(*percent))
        .map(|(what, changed, of, _)| Excess { what, changed, of })
        .collect();
        if excesses.is_empty() {
            return None;
        }
        let adopt_after = settings.adopt_after;
        Some(Held { id: short(self.id), excesses, examples: self.examples, crawls: 0, adopt_after })
    }
}

/// A hash that people can type.
pub(super) fn short(hash: digest::Context) -> String {
    hash.finish().as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
