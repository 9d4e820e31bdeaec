//! Texts and refs that are kept once and named by a number.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use hashbrown::HashTable;

use crate::domain::{EntityRef, EntityRefError};

/// Where something stands in a list. Catalogs are counted in hundreds of thousands.
pub(super) type Number = u32;

/// No number.
pub(super) const NONE: Number = Number::MAX;

/// A list's place as a number. A list that long doesn't fit in memory.
pub(super) fn number(place: usize) -> Number {
    Number::try_from(place).unwrap_or(NONE)
}

/// A number as a list's place.
pub(super) fn place(number: Number) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Finds the place of a text in a list, by hash. Seeded anew in each process, since
/// strangers choose the texts.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    places: HashTable<Number>,
    seed: RandomState,
}

impl Index {
    /// An index of `count` texts, of which each is another.
    pub(super) fn of<'t>(count: usize, text: impl Fn(usize) -> &'t str) -> Self {
        let mut index =
            Self { places: HashTable::with_capacity(count), seed: RandomState::default() };
        for at in 0..count {
            let hash = index.seed.hash_one(text(at));
            index.places.insert_unique(hash, number(at), |_| 0);
        }
        index
    }

    pub(super) fn find<'t>(
        &self,
        wanted: &str,
        text: impl Fn(usize) -> Option<&'t str>,
    ) -> Option<Number> {
        let hash = self.seed.hash_one(wanted);
        self.places.find(hash, |at| text(place(*at)) == Some(wanted)).copied()
    }

    fn reserve<'t>(&mut self, texts: usize, text: impl Fn(usize) -> Option<&'t str>) {
        let more = texts.saturating_sub(self.places.len());
        let seed = &self.seed;
        self.places.reserve(more, |at| seed.hash_one(text(place(*at)).unwrap_or_default()));
    }

    fn insert<'t>(&mut self, new: &str, at: usize, text: impl Fn(usize) -> Option<&'t str>) {
        let hash = self.seed.hash_one(new);
        let seed = &self.seed;
        self.places.insert_unique(hash, number(at), |at| {
            seed.hash_one(text(place(*at)).unwrap_or_default())
        });
    }
}

/// Texts, each kept once.
#[derive(Debug, Default)]
pub(super) struct Symbols {
    texts: Vec<Arc<str>>,
    index: Index,
}

impl Symbols {
    pub(super) fn intern(&mut self, text: &str) -> Number {
        if let Some(known) = self.index.find(text, |at| self.texts.get(at).map(|text| &**text)) {
            return known;
        }
        let at = self.texts.len();
        self.texts.push(text.into());
        self.index.insert(text, at, |at| self.texts.get(at).map(|text| &**text));
        number(at)
    }

    pub(super) fn get(&self, at: Number) -> Option<&Arc<str>> {
        self.texts.get(place(at))
    }
}

/// Refs, each kept once, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Names {
    refs: Vec<EntityRef>,
    index: Index,
    spelled: String,
}

impl Names {
    /// The number of a full ref, in any letter case.
    pub(super) fn intern(&mut self, text: &str) -> Result<Number, EntityRefError> {
        EntityRef::spell(text, &mut self.spelled)?;
        self.intern_spelled()
    }

    /// The number of the ref of these parts, in any letter case.
    pub(super) fn intern_parts(
        &mut self,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Result<Number, EntityRefError> {
        EntityRef::spell_parts(kind, namespace, name, &mut self.spelled)?;
        self.intern_spelled()
    }

    pub(super) fn intern_ref(&mut self, entity: &EntityRef) -> Result<Number, EntityRefError> {
        self.spelled.clear();
        self.spelled.push_str(entity.as_str());
        self.intern_spelled()
    }

    fn intern_spelled(&mut self) -> Result<Number, EntityRefError> {
        let refs = &self.refs;
        if let Some(known) =
            self.index.find(&self.spelled, |at| refs.get(at).map(EntityRef::as_str))
        {
            return Ok(known);
        }
        let entity = EntityRef::of_canonical(&self.spelled)?;
        let at = self.refs.len();
        self.refs.push(entity);
        let refs = &self.refs;
        self.index.insert(&self.spelled, at, |at| refs.get(at).map(EntityRef::as_str));
        Ok(number(at))
    }

    /// The number of a ref that came before.
    pub(super) fn find(&self, entity: &EntityRef) -> Option<Number> {
        self.index.find(entity.as_str(), |at| self.refs.get(at).map(EntityRef::as_str))
    }

    /// Room for so many.
    pub(super) fn reserve(&mut self, names: usize) {
        self.refs.reserve_exact(names.saturating_sub(self.refs.len()));
        self.index.reserve(names, |at| self.refs.get(at).map(EntityRef::as_str));
    }

    pub(super) fn get(&self, at: Number) -> Option<&EntityRef> {
        self.refs.get(place(at))
    }

    pub(super) fn len(&self) -> usize {
        self.refs.len()
    }
}
