//! Numbers for group ids: a quarter of the bytes, of which a token lists up to two hundred.

use std::hash::BuildHasher as _;
use std::sync::{PoisonError, RwLock};

use hashbrown::{DefaultHashBuilder, HashTable};

use super::GroupId;

/// Group ids and their numbers. It only grows, so a number stands for one id for good; when
/// it is full, who comes later does without numbers.
#[derive(Debug)]
pub(super) struct GroupTable {
    max: usize,
    table: RwLock<Table>,
}

#[derive(Debug, Default)]
struct Table {
    hasher: DefaultHashBuilder,
    ids: Vec<GroupId>,
    /// Places in `ids`.
    numbers: HashTable<u32>,
}

/// An id, its place in the hash table, and what both have free.
const BYTES: usize = 2 * (size_of::<GroupId>() + size_of::<u32>());

impl GroupTable {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self { max: max_bytes / BYTES, table: RwLock::default() }
    }

    /// The numbers of these ids, or nothing where there is no room for them all.
    pub(super) fn numbers(&self, ids: &[GroupId]) -> Option<Box<[u32]>> {
        let known: Option<Box<[u32]>> = {
            let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
            ids.iter().map(|id| table.find(id)).collect()
        };
        if known.is_some() {
            return known;
        }
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        ids.iter().map(|id| table.find(id).or_else(|| table.add(*id, self.max))).collect()
    }

    /// The ids of numbers that were given out here.
    pub(super) fn ids(&self, numbers: &[u32]) -> Vec<GroupId> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        #[expect(clippy::expect_used, reason = "without a group a `forbid` would be missed")]
        let id = |number: &u32| {
            *table.id(*number).expect("numbers come from this table, which only grows")
        };
        numbers.iter().map(id).collect()
    }

    pub(super) fn bytes(&self) -> usize {
        self.table.read().unwrap_or_else(PoisonError::into_inner).ids.len() * BYTES
    }
}

impl Table {
    fn find(&self, id: &GroupId) -> Option<u32> {
        let is_it = |number: &u32| self.id(*number) == Some(id);
        self.numbers.find(self.hasher.hash_one(id), is_it).copied()
    }

    fn id(&self, number: u32) -> Option<&GroupId> {
        self.ids.get(usize::try_from(number).ok()?)
    }

    fn add(&mut self, id: GroupId, max: usize) -> Option<u32> {
        let number = u32::try_from(self.ids.len()).ok().filter(|_| self.ids.len() < max)?;
        self.ids.push(id);
        let (ids, hasher) = (&self.ids, &self.hasher);
        // Those that are in it have an id each.
        let hash = |number: &u32| {
            usize::try_from(*number)
                .ok()
                .and_then(|at| ids.get(at))
                .map_or(0, |id| hasher.hash_one(id))
        };
        self.numbers.insert_unique(hasher.hash_one(id), number, hash);
        Some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_for_ids_until_there_is_no_room() {
        let id = |n: usize| format!("aaaaaaaa-0000-0000-0000-{n:012}").parse().unwrap();
        let table = GroupTable::new(100 * BYTES);
        let all: Vec<GroupId> = (0..100).map(id).collect();
        let numbers: Vec<_> =
            all.chunks(7).map(|some| table.numbers(some).expect("there is room")).collect();
        for (some, numbers) in all.chunks(7).zip(&numbers) {
            assert_eq!(table.ids(numbers), some);
            assert_eq!(table.numbers(some).as_ref(), Some(numbers));
        }
        assert_eq!(table.bytes(), 100 * BYTES);
        assert_eq!(table.numbers(&[id(5), id(100)]), None);
        assert_eq!(table.numbers(&[]), Some(Box::default()));
    }
}
