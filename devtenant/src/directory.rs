//! Who is in a tenant, and in which groups, as Graph tells it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::people::{Kind, People};

/// The users and service principals of a tenant.
#[derive(Debug)]
pub struct Directory(Mutex<Contents>);

#[derive(Debug)]
struct Contents {
    principals: HashMap<String, Principal>,
    page_size: usize,
    next_link: Option<String>,
}

#[derive(Debug)]
struct Principal {
    kind: Kind,
    groups: Vec<String>,
}

impl Default for Directory {
    fn default() -> Self {
        let (principals, next_link) = (HashMap::new(), None);
        Self(Mutex::new(Contents { principals, page_size: 1000, next_link }))
    }
}

impl Directory {
    /// There is a user with this object id, in exactly these groups, nested ones included.
    pub fn user(&self, oid: &str, groups: &[&str]) {
        self.insert(Kind::User, oid, groups.iter().map(|group| (*group).to_owned()).collect());
    }

    /// There is a service principal with this object id, in exactly these groups, nested
    /// ones included.
    pub fn service_principal(&self, oid: &str, groups: &[&str]) {
        self.insert(Kind::Workload, oid, groups.iter().map(|group| (*group).to_owned()).collect());
    }

    /// There is nobody with this object id any more.
    pub fn remove(&self, oid: &str) {
        self.contents().principals.remove(&oid.to_lowercase());
    }

    /// Graph gives so many groups at once: 1000 at first, at least one.
    pub fn page_size(&self, n: usize) {
        self.contents().page_size = n.max(1);
    }

    /// From now on this address stands as the next page in every answer with groups,
    /// whether there are more of them or not; nothing makes it tell the truth again.
    pub fn next_link(&self, address: Option<&str>) {
        self.contents().next_link = address.map(str::to_owned);
    }

    pub(crate) fn add(&self, people: &People) {
        for person in &people.people {
            self.insert(person.kind, &person.oid, person.groups.clone());
        }
    }

    /// The groups of somebody of this kind.
    pub(crate) fn groups(&self, kind: Kind, oid: &str) -> Option<Vec<String>> {
        let contents = self.contents();
        let principal = contents.principals.get(&oid.to_lowercase())?;
        (principal.kind == kind).then(|| principal.groups.clone())
    }

    pub(crate) fn groups_at_once(&self) -> usize {
        self.contents().page_size
    }

    pub(crate) fn forged_next_link(&self) -> Option<String> {
        self.contents().next_link.clone()
    }

    fn insert(&self, kind: Kind, oid: &str, groups: Vec<String>) {
        self.contents().principals.insert(oid.to_lowercase(), Principal { kind, groups });
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
