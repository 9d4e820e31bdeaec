//! A snapshot as bytes.
//!
//! ```text
//! "SGDRSNAP"  format: u32  length of what follows: u64
//! crawled_at: i64  version: 16 bytes
//! content     what decides; the version is the hash of it
//! extras      origins, trust, findings
//! SHA-256 of everything before
//! ```
//!
//! Numbers are little-endian, texts and lists begin with their length. Equal contents have
//! equal bytes: everything is sorted.

use std::io::{self, Write};
use std::sync::Arc;

use aws_lc_rs::digest;

use super::finding::Findings;
use super::lists::Lists;
use super::names::{Number, number};
use super::snapshot::{RouteClaim, Snapshot};
use crate::domain::Email;

/// How a snapshot begins.
pub(super) const MAGIC: &[u8; 8] = b"SGDRSNAP";
/// Read is this one only: a snapshot is made anew within a minute.
pub(super) const FORMAT: u32 = 2;
/// The magic, the format and the length.
pub(super) const PREAMBLE: usize = 20;
pub(super) const CHECKSUM: usize = 32;
pub(super) const VERSION: usize = 16;

/// The hash of everything that decides.
pub(super) fn version(snapshot: &Snapshot) -> Arc<str> {
    let mut hash = Hashing(digest::Context::new(&digest::SHA256));
    // Hashing doesn't fail.
    let _ = Encoder(&mut hash).content(snapshot);
    let hash = hash.0.finish();
    let first = hash.as_ref().iter().take(VERSION);
    first.map(|byte| format!("{byte:02x}")).collect::<String>().into()
}

/// The whole snapshot.
pub(super) fn encode(snapshot: &Snapshot) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(snapshot.refs.len().saturating_mul(128));
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&FORMAT.to_le_bytes());
    bytes.extend_from_slice(&[0; 8]);
    let mut encoder = Encoder(&mut bytes);
    // Writing to memory doesn't fail.
    let _ = encoder.body(snapshot);
    let length = (bytes.len().saturating_sub(PREAMBLE) + CHECKSUM) as u64;
    if let Some(place) = bytes.get_mut(PREAMBLE - 8..PREAMBLE) {
        place.copy_from_slice(&length.to_le_bytes());
    }
    let checksum = digest::digest(&digest::SHA256, &bytes);
    bytes.extend_from_slice(checksum.as_ref());
    bytes
}

struct Hashing(digest::Context);

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Encoder<'w, W: Write>(&'w mut W);

impl<W: Write> Encoder<'_, W> {
    fn body(&mut self, snapshot: &Snapshot) -> io::Result<()> {
        self.0.write_all(&snapshot.crawled_at.to_le_bytes())?;
        let version = u128::from_str_radix(&snapshot.version, 16).unwrap_or_default();
        self.0.write_all(&version.to_be_bytes())?;
        self.content(snapshot)?;
        self.extras(snapshot)
    }

    fn content(&mut self, snapshot: &Snapshot) -> io::Result<()> {
        self.number(number(snapshot.refs.len()))?;
        for entity in &snapshot.refs {
            self.text(entity.as_str())?;
        }
        self.number(number(snapshot.symbols.len()))?;
        for symbol in &snapshot.symbols {
            self.text(symbol)?;
        }
        self.numbers(snapshot.nodes.iter().map(|node| node.title))?;
        self.numbers(snapshot.nodes.iter().map(|node| node.spec_type))?;
        self.numbers(snapshot.nodes.iter().map(|node| node.lifecycle))?;
        for lists in [
            &snapshot.owners,
            &snapshot.part_of,
            &snapshot.wholes,
            &snapshot.tags,
            &snapshot.parents,
            &snapshot.ancestors,
            &snapshot.member_of,
        ] {
            self.lists(lists)?;
        }
        for id in &snapshot.group_ids {
            self.0.write_all(id.as_ref().map_or(&[0; 16], |id| id.as_bytes()))?;
        }
        for id in &snapshot.user_ids {
            self.0.write_all(id.as_ref().map_or(&[0; 16], |id| id.as_bytes()))?;
        }
        self.number(number(snapshot.claims.len()))?;
        for (at, RouteClaim { hosts, paths, workloads, location }) in &snapshot.claims {
            self.number(*at)?;
            for text in [hosts, paths, workloads, location] {
                self.text(text)?;
            }
        }
        self.contacts(snapshot)
    }

    fn contacts(&mut self, snapshot: &Snapshot) -> io::Result<()> {
        self.number(number(snapshot.contacts.len()))?;
        for (at, contact) in &snapshot.contacts {
            self.number(*at)?;
            self.text(contact.email.as_ref().map_or("", Email::as_str))?;
            self.number(number(contact.links.len()))?;
            for link in &contact.links {
                self.text(link.title())?;
                self.text(link.url())?;
            }
        }
        Ok(())
    }

    fn extras(&mut self, snapshot: &Snapshot) -> io::Result<()> {
        for origin in &snapshot.origins {
            let [high, low] = origin.uid;
            self.0.write_all(&high.to_le_bytes())?;
            self.0.write_all(&low.to_le_bytes())?;
            self.0.write_all(&origin.location.to_le_bytes())?;
        }
        let trusted: Vec<u8> = snapshot.nodes.iter().map(|node| u8::from(node.trusted)).collect();
        self.0.write_all(&trusted)?;
        self.findings(&snapshot.findings)
    }

    fn findings(&mut self, findings: &Findings) -> io::Result<()> {
        self.number(number(findings.counts().len()))?;
        for (kind, count) in findings.counts() {
            self.text(kind.code())?;
            self.number(number(*count))?;
        }
        self.number(number(findings.kept().len()))?;
        for finding in findings.kept() {
            self.text(&finding.entity)?;
            self.text(finding.kind.code())?;
            self.text(&finding.message)?;
        }
        Ok(())
    }

    fn number(&mut self, number: Number) -> io::Result<()> {
        self.0.write_all(&number.to_le_bytes())
    }

    fn text(&mut self, text: &str) -> io::Result<()> {
        self.number(number(text.len()))?;
        self.0.write_all(text.as_bytes())
    }

    /// Numbers without their count, which the reader knows.
    fn numbers(&mut self, numbers: impl Iterator<Item = Number>) -> io::Result<()> {
        let mut buffer = Vec::with_capacity(4096);
        for number in numbers {
            buffer.extend_from_slice(&number.to_le_bytes());
            if buffer.len() == 4096 {
                self.0.write_all(&buffer)?;
                buffer.clear();
            }
        }
        self.0.write_all(&buffer)
    }

    fn lists(&mut self, lists: &Lists) -> io::Result<()> {
        let (ends, items) = lists.parts();
        self.number(number(ends.len()))?;
        self.number(number(items.len()))?;
        self.numbers(ends.iter().copied())?;
        self.numbers(items.iter().copied())
    }
}
