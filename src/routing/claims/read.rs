//! What one entity claims, read from the texts that its author wrote.

use super::Claim;
use super::finding::excerpt;
use crate::domain::{Host, SpiffeId};
use crate::routing::path_pattern::{PathPattern, PathShape};

/// The longest list that is read, in bytes.
const MAX_TEXT: usize = 16 * 1024;

/// The most items of a list.
const MAX_ITEMS: usize = 64;

/// A claim, as far as it can be read. With a mistake it grants nothing, but what it
/// claims still counts against others who claim the same.
pub(super) struct Reading<'a> {
    /// Without repetitions, as are the other lists.
    pub(super) hosts: Vec<Host<'a>>,
    pub(super) workloads: Vec<SpiffeId<'a>>,
    /// Never empty, unless there is a mistake.
    pub(super) paths: Vec<PathShape>,
    /// What is wrong, at most one for each list.
    pub(super) mistakes: Vec<String>,
}

/// Reads a claim; nothing, if the entity claims nothing.
pub(super) fn read<'a>(claim: &Claim<'a>) -> Option<Reading<'a>> {
    if claim.hosts.is_empty() && claim.paths.is_empty() && claim.workloads.is_empty() {
        return None;
    }
    let mut mistakes = Vec::new();
    let mut hosts = Vec::new();
    list(claim.hosts, "hosts", &mut mistakes, |text| {
        let host = Host::parse(text)
            .map_err(|error| format!("`{}`: expected one host: {error}", excerpt(text)))?;
        let error = (host.as_str() != text)
            .then(|| format!("`{text}` is not canonical: write `{}`", host.as_str()));
        add(&mut hosts, host);
        error.map_or(Ok(()), Err)
    });
    let mut workloads = Vec::new();
    list(claim.workloads, "workloads", &mut mistakes, |text| {
        let id = SpiffeId::parse(text).map_err(|error| format!("`{}`: {error}", excerpt(text)))?;
        add(&mut workloads, id);
        Ok(())
    });
    let mut paths = Vec::new();
    list(claim.paths, "paths", &mut mistakes, |text| {
        let pattern =
            PathPattern::parse(text).map_err(|error| error.replace(text, &excerpt(text)))?;
        if !pattern.placeholders.is_empty() {
            return Err(format!("`{}`: a placeholder means nothing here", excerpt(text)));
        }
        add(&mut paths, pattern.shape);
        Ok(())
    });
    if claim.paths.is_empty() {
        paths.extend(PathPattern::parse("/").map(|everything| everything.shape));
    } else if claim.hosts.is_empty() && claim.workloads.is_empty() {
        mistakes.push("`paths` mean nothing without `hosts` or `workloads`".to_owned());
    }
    Some(Reading { hosts, workloads, paths, mistakes })
}

/// Reads each item of a list, as far as the bounds go, and tells the first thing that
/// is wrong with it.
fn list<'a>(
    text: &'a str,
    name: &str,
    mistakes: &mut Vec<String>,
    mut read: impl FnMut(&'a str) -> Result<(), String>,
) {
    let mut wrong = None;
    let within = if text.len() <= MAX_TEXT {
        text
    } else {
        wrong = Some(format!("longer than {MAX_TEXT} bytes"));
        let cut = text.get(..text.floor_char_boundary(MAX_TEXT)).unwrap_or_default();
        // What stands at the end is perhaps only a part.
        cut.rsplit_once(is_separator).map_or("", |(whole, _)| whole)
    };
    let mut items = within.split(is_separator).filter(|item| !item.is_empty());
    let mut count = 0_usize;
    for item in items.by_ref().take(MAX_ITEMS) {
        count += 1;
        if let Err(error) = read(item) {
            wrong.get_or_insert(error);
        }
    }
    if items.next().is_some() {
        wrong.get_or_insert_with(|| format!("more than {MAX_ITEMS} of them"));
    }
    if count == 0 && !text.is_empty() {
        wrong.get_or_insert_with(|| "nothing but separators".to_owned());
    }
    mistakes.extend(wrong.map(|wrong| format!("`{name}`: {wrong}; no claim of it counts")));
}

fn is_separator(c: char) -> bool {
    c == ',' || c.is_ascii_whitespace()
}

fn add<T: PartialEq>(list: &mut Vec<T>, item: T) {
    if !list.contains(&item) {
        list.push(item);
    }
}
