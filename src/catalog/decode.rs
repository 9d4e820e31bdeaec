//! A snapshot from bytes that may be anything.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_lc_rs::digest;

use super::encode::{CHECKSUM, FORMAT, MAGIC, PREAMBLE, VERSION};
use super::finding::{Finding, FindingKind, Findings};
use super::lists::Lists;
use super::names::{NONE, Number, place};
use super::origin::Origin;
use super::snapshot::{Node, RouteClaim, Snapshot};
use crate::domain::{Contact, Email, EntityRef, GroupId, Link, ObjectId};

/// Why bytes are no snapshot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// Another kind of file.
    #[error("not a snapshot: it does not begin as one")]
    Foreign,
    /// Written by another version of Stagedoor.
    #[error("a snapshot of format {0}, and only format {FORMAT} is read")]
    Format(u32),
    /// Writing it was interrupted, or something was added.
    #[error("{found} bytes where there should be {expected}: cut off, or added to")]
    Length {
        /// What the beginning says.
        expected: u64,
        /// What is there.
        found: u64,
    },
    /// Bytes have changed.
    #[error("the checksum is wrong: the file is damaged")]
    Checksum,
    /// The bytes are as they were written, and still don't fit together.
    #[error("damaged: {0}")]
    Content(&'static str),
}

/// Reads a snapshot.
pub(super) fn decode(bytes: &[u8]) -> Result<Snapshot, SnapshotError> {
    let mut reader = Reader { rest: bytes };
    if reader.take(MAGIC.len()).ok() != Some(MAGIC) {
        return Err(SnapshotError::Foreign);
    }
    let found = bytes.len() as u64;
    let cut = |_| SnapshotError::Length { expected: PREAMBLE as u64, found };
    let format = reader.number().map_err(cut)?;
    if format != FORMAT {
        return Err(SnapshotError::Format(format));
    }
    let length = u64::from_le_bytes(reader.array().map_err(cut)?);
    let expected = length.saturating_add(PREAMBLE as u64);
    if expected != found {
        return Err(SnapshotError::Length { expected, found });
    }
    let (content, checksum) = bytes
        .len()
        .checked_sub(CHECKSUM)
        .and_then(|at| bytes.split_at_checked(at))
        .ok_or(SnapshotError::Length { expected, found })?;
    if digest::digest(&digest::SHA256, content).as_ref() != checksum {
        return Err(SnapshotError::Checksum);
    }
    reader.rest = content.get(PREAMBLE..).ok_or(SnapshotError::Length { expected, found })?;
    let snapshot = reader.snapshot()?;
    if reader.rest.is_empty() { Ok(snapshot) } else { Err(SnapshotError::Content("more follows")) }
}

struct Reader<'a> {
    rest: &'a [u8],
}

type Read<T> = Result<T, SnapshotError>;

impl<'a> Reader<'a> {
    fn snapshot(&mut self) -> Read<Snapshot> {
        let mut snapshot = Snapshot::empty();
        snapshot.crawled_at = i64::from_le_bytes(self.array()?);
        let version: [u8; VERSION] = self.array()?;
        snapshot.version = format!("{:032x}", u128::from_be_bytes(version)).into();
        snapshot.refs = self.refs()?;
        snapshot.symbols = self.symbols()?;
        self.nodes(&mut snapshot)?;
        let (refs, symbols) = (snapshot.refs.len(), snapshot.symbols.len());
        snapshot.owners = self.lists(refs)?;
        snapshot.part_of = self.lists(refs)?;
        snapshot.wholes = self.lists(refs)?;
        snapshot.tags = self.lists(symbols)?;
        snapshot.parents = self.lists(refs)?;
        snapshot.ancestors = self.lists(refs)?;
        snapshot.member_of = self.lists(refs)?;
        for _ in 0..snapshot.parents.len() {
            snapshot.group_ids.push(GroupId::from_bytes(self.array()?));
        }
        for _ in 0..snapshot.member_of.len() {
            snapshot.user_ids.push(ObjectId::from_bytes(self.array()?));
        }
        self.claims(&mut snapshot)?;
        self.contacts(&mut snapshot)?;
        for _ in 0..refs {
            let [high, low, location] = [self.array()?, self.array()?, self.array()?];
            let uid = [u64::from_le_bytes(high), u64::from_le_bytes(low)];
            snapshot.origins.push(Origin { uid, location: u64::from_le_bytes(location) });
        }
        let trusted = self.take(refs)?;
        for (node, trusted) in snapshot.nodes.iter_mut().zip(trusted) {
            node.trusted = *trusted == 1;
        }
        snapshot.findings = self.findings()?;
        snapshot.finish();
        fits(&snapshot)?;
        Ok(snapshot)
    }

    fn refs(&mut self) -> Read<Vec<EntityRef>> {
        let count = self.count(4)?;
        let mut refs: Vec<EntityRef> = Vec::with_capacity(count);
        for _ in 0..count {
            let text = self.text()?;
            let entity =
                EntityRef::of_canonical(text).map_err(|_| SnapshotError::Content("a ref"))?;
            if refs.last().is_some_and(|last| *last >= entity) {
                return Err(SnapshotError::Content("the order of the refs"));
            }
            refs.push(entity);
        }
        Ok(refs)
    }

    fn symbols(&mut self) -> Read<Vec<Arc<str>>> {
        let count = self.count(4)?;
        (0..count).map(|_| Ok(Arc::from(self.text()?))).collect()
    }

    fn nodes(&mut self, snapshot: &mut Snapshot) -> Read<()> {
        let count = snapshot.refs.len();
        let symbols = snapshot.symbols.len();
        let columns = [self.numbers(count)?, self.numbers(count)?, self.numbers(count)?];
        let fits = |symbol: &Number| *symbol == NONE || place(*symbol) < symbols;
        if !columns.iter().flatten().all(fits) {
            return Err(SnapshotError::Content("a symbol"));
        }
        let [titles, types, lifecycles] = columns;
        let nodes = titles.into_iter().zip(types).zip(lifecycles);
        snapshot.nodes = nodes
            .map(|((title, spec_type), lifecycle)| Node {
                title,
                spec_type,
                lifecycle,
                trusted: false,
            })
            .collect();
        Ok(())
    }

    fn claims(&mut self, snapshot: &mut Snapshot) -> Read<()> {
        let mut last = None;
        for _ in 0..self.count(20)? {
            let at = self.number()?;
            if place(at) >= snapshot.refs.len() || last.is_some_and(|last| last >= at) {
                return Err(SnapshotError::Content("a claim"));
            }
            last = Some(at);
            let texts = [self.text()?, self.text()?, self.text()?, self.text()?];
            let [hosts, paths, workloads, location] = texts.map(Box::from);
            snapshot.claims.push((at, RouteClaim { hosts, paths, workloads, location }));
        }
        Ok(())
    }

    /// The texts come the same way as those of a catalog, so they can't be anything else.
    fn contacts(&mut self, snapshot: &mut Snapshot) -> Read<()> {
        const WRONG: SnapshotError = SnapshotError::Content("a contact");
        let mut last = None;
        for _ in 0..self.count(12)? {
            let at = self.number()?;
            if place(at) >= snapshot.refs.len() || last.is_some_and(|last| last >= at) {
                return Err(WRONG);
            }
            last = Some(at);
            let email = match self.text()? {
                "" => None,
                text => Some(Email::parse(text).ok_or(WRONG)?),
            };
            let count = self.count(8)?;
            if count > Contact::MAX_LINKS {
                return Err(WRONG);
            }
            let mut links = Vec::with_capacity(count);
            for _ in 0..count {
                let (title, url) = (self.text()?, self.text()?);
                let link = Link::parse(Some(title), url).ok_or(WRONG)?;
                if link.title() != title || link.url() != url {
                    return Err(WRONG);
                }
                links.push(link);
            }
            let contact = Contact { email, links: links.into() };
            if contact.is_empty() {
                return Err(WRONG);
            }
            snapshot.contacts.push((at, Arc::new(contact)));
        }
        Ok(())
    }

    fn findings(&mut self) -> Read<Findings> {
        let kind =
            |code: &str| FindingKind::of_code(code).ok_or(SnapshotError::Content("a finding"));
        let mut counts = BTreeMap::new();
        for _ in 0..self.count(8)? {
            counts.insert(kind(self.text()?)?, place(self.number()?));
        }
        let mut kept = Vec::new();
        for _ in 0..self.count(12)? {
            let entity = self.text()?.to_owned();
            let kind = kind(self.text()?)?;
            kept.push(Finding { entity, kind, message: self.text()?.to_owned() });
        }
        Ok(Findings::of_parts(kept, counts))
    }

    fn lists(&mut self, below: usize) -> Read<Lists> {
        let (ends, items) = (self.count(4)?, self.count(4)?);
        let (ends, items) = (self.numbers(ends)?, self.numbers(items)?);
        Lists::of_parts(ends, items, below).ok_or(SnapshotError::Content("a list"))
    }

    fn numbers(&mut self, count: usize) -> Read<Vec<Number>> {
        let bytes = self.take(count.checked_mul(4).ok_or(SnapshotError::Content("a length"))?)?;
        let (numbers, _) = bytes.as_chunks::<4>();
        Ok(numbers.iter().map(|number| Number::from_le_bytes(*number)).collect())
    }

    /// A count of things of which each takes at least so many bytes, so that a wrong one
    /// asks for no memory.
    fn count(&mut self, least: usize) -> Read<usize> {
        let count = place(self.number()?);
        match count.checked_mul(least) {
            Some(bytes) if bytes <= self.rest.len() => Ok(count),
            _ => Err(SnapshotError::Content("a length")),
        }
    }

    fn text(&mut self) -> Read<&'a str> {
        let length = place(self.number()?);
        std::str::from_utf8(self.take(length)?).map_err(|_| SnapshotError::Content("a text"))
    }

    fn number(&mut self) -> Read<Number> {
        Ok(Number::from_le_bytes(self.array()?))
    }

    fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        let (array, rest) =
            self.rest.split_first_chunk::<N>().ok_or(SnapshotError::Content("its end"))?;
        self.rest = rest;
        Ok(*array)
    }

    fn take(&mut self, length: usize) -> Read<&'a [u8]> {
        let (taken, rest) =
            self.rest.split_at_checked(length).ok_or(SnapshotError::Content("its end"))?;
        self.rest = rest;
        Ok(taken)
    }
}

/// Whether the lists are as long as what they speak of, and groups are groups.
fn fits(snapshot: &Snapshot) -> Read<()> {
    let (refs, groups, users) =
        (snapshot.refs.len(), snapshot.groups.clone(), snapshot.users.clone());
    let lengths = [
        (snapshot.owners.len(), refs),
        (snapshot.part_of.len(), refs),
        (snapshot.wholes.len(), refs),
        (snapshot.tags.len(), refs),
        (snapshot.parents.len(), groups.len()),
        (snapshot.ancestors.len(), groups.len()),
        (snapshot.member_of.len(), users.len()),
    ];
    if lengths.iter().any(|(found, expected)| found != expected) {
        return Err(SnapshotError::Content("the length of a list"));
    }
    let all_groups = |lists: &Lists| lists.parts().1.iter().all(|at| groups.contains(&place(*at)));
    if ![&snapshot.parents, &snapshot.ancestors, &snapshot.member_of].into_iter().all(all_groups) {
        return Err(SnapshotError::Content("a membership"));
    }
    let owner = |at: &Number| groups.contains(&place(*at)) || users.contains(&place(*at));
    if !snapshot.owners.parts().1.iter().all(owner) {
        return Err(SnapshotError::Content("an owner"));
    }
    let bound = |ids: usize, by_id: usize| ids == by_id;
    let group_ids = snapshot.group_ids.iter().flatten().count();
    let user_ids = snapshot.user_ids.iter().flatten().count();
    if !bound(group_ids, snapshot.group_by_id.len()) || !bound(user_ids, snapshot.user_by_id.len())
    {
        return Err(SnapshotError::Content("an Entra id"));
    }
    if !snapshot.contacts.iter().all(|(at, _)| groups.contains(&place(*at))) {
        return Err(SnapshotError::Content("a contact"));
    }
    if groups.is_empty() {
        return Err(SnapshotError::Content("the groups"));
    }
    Ok(())
}
