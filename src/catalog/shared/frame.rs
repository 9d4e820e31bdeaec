//! What is written around the bytes of a snapshot, so that a reader knows a whole one.
//!
//! ```text
//! magic     16 bytes   stagedoor-shared
//! version    2 bytes   1
//! stamp     16 bytes   random, another for each write
//! epoch      8 bytes   of the publisher's lease
//! crawled    8 bytes   seconds since 1970, when the catalog was crawled
//! length     8 bytes   of what follows the header
//! content   32 bytes   SHA-256 of what follows the header
//! header    32 bytes   SHA-256 of all of the above
//! ```
//!
//! Numbers are big-endian. Magic and version keep their places in all versions.

use aws_lc_rs::digest;
use bytes::{Bytes, BytesMut};
use uuid::Uuid;

use super::error::SharedError;

const MAGIC: [u8; 16] = *b"stagedoor-shared";
const VERSION: u16 = 1;
const DIGEST: usize = 32;
/// Up to the header's own digest.
const COVERED: usize = 16 + 2 + 16 + 8 + 8 + 8 + DIGEST;
/// The whole header.
pub(super) const HEADER: usize = COVERED + DIGEST;

/// What the header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Which write this was.
    pub(super) stamp: Uuid,
    /// Of the publisher's lease.
    pub(super) epoch: u64,
    /// When the catalog was crawled, in seconds since 1970.
    pub(super) crawled_at: i64,
    length: u64,
    content: [u8; DIGEST],
}

impl Header {
    /// A header for `content`, with a stamp of its own.
    pub(super) fn of(content: &[u8], epoch: u64, crawled_at: i64) -> Self {
        Self {
            stamp: Uuid::now_v7(),
            epoch,
            crawled_at,
            length: content.len() as u64,
            content: sha256(content),
        }
    }

    /// The header as it is written.
    pub(super) fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(HEADER);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_be_bytes());
        bytes.extend_from_slice(self.stamp.as_bytes());
        bytes.extend_from_slice(&self.epoch.to_be_bytes());
        bytes.extend_from_slice(&self.crawled_at.to_be_bytes());
        bytes.extend_from_slice(&self.length.to_be_bytes());
        bytes.extend_from_slice(&self.content);
        let digest = sha256(&bytes);
        bytes.extend_from_slice(&digest);
        bytes.freeze()
    }

    /// Reads a header from an object's beginning.
    pub(super) fn decode(beginning: &[u8]) -> Result<Self, SharedError> {
        let mut rest = beginning;
        let magic: [u8; 16] = take(&mut rest).map_err(|_| foreign())?;
        if magic != MAGIC {
            return Err(foreign());
        }
        let version = u16::from_be_bytes(take(&mut rest)?);
        if version != VERSION {
            return Err(SharedError::SnapshotVersion { found: version, known: VERSION });
        }
        let header = Self {
            stamp: Uuid::from_bytes(take(&mut rest)?),
            epoch: u64::from_be_bytes(take(&mut rest)?),
            crawled_at: i64::from_be_bytes(take(&mut rest)?),
            length: u64::from_be_bytes(take(&mut rest)?),
            content: take(&mut rest)?,
        };
        let digest: [u8; DIGEST] = take(&mut rest)?;
        if beginning.get(..COVERED).map(sha256) != Some(digest) {
            return Err(damaged("its header"));
        }
        Ok(header)
    }
}

/// Takes a whole object apart.
pub(super) fn decode(object: &Bytes) -> Result<(Header, Bytes), SharedError> {
    let header = Header::decode(object)?;
    let content = if object.len() >= HEADER { object.slice(HEADER..) } else { Bytes::new() };
    if content.len() as u64 != header.length {
        return Err(SharedError::Snapshot(format!(
            "has {} bytes of content instead of {}: cut off or added to",
            content.len(),
            header.length
        )));
    }
    if sha256(&content) != header.content {
        return Err(damaged("its content"));
    }
    Ok((header, content))
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], SharedError> {
    let (taken, left) = rest
        .split_first_chunk()
        .ok_or_else(|| SharedError::Snapshot("is cut off within its header".to_owned()))?;
    *rest = left;
    Ok(*taken)
}

fn foreign() -> SharedError {
    SharedError::Snapshot("was not written by stagedoor".to_owned())
}

fn damaged(part: &str) -> SharedError {
    SharedError::Snapshot(format!("is damaged: {part} doesn't match the digest"))
}

fn sha256(bytes: &[u8]) -> [u8; DIGEST] {
    let mut out = [0; DIGEST];
    for (to, from) in out.iter_mut().zip(digest::digest(&digest::SHA256, bytes).as_ref()) {
        *to = *from;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(content: &[u8]) -> Vec<u8> {
        let mut bytes = Header::of(content, 7, 1_700_000_000).encode().to_vec();
        bytes.extend_from_slice(content);
        bytes
    }

    #[test]
    fn what_was_written_is_read() {
        for content in [&b""[..], b"x", &[0; 5000]] {
            let (header, read) = decode(&object(content).into()).unwrap();
            assert_eq!((header.epoch, header.crawled_at), (7, 1_700_000_000));
            assert_eq!(read, content);
        }
    }

    #[test]
    fn no_two_writes_begin_alike() {
        assert_ne!(Header::of(b"a", 1, 1).encode(), Header::of(b"a", 1, 1).encode());
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_refused() {
        let whole = object(b"some content");
        for length in 0..whole.len() {
            decode(&Bytes::copy_from_slice(&whole[..length])).unwrap_err();
        }
        let mut longer = whole.clone();
        longer.push(0);
        decode(&longer.into()).unwrap_err();
        for byte in 0..whole.len() {
            for bit in 0..8 {
                let mut flipped = whole.clone();
                flipped[byte] ^= 1 << bit;
                decode(&flipped.into()).unwrap_err();
            }
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let whole = object(b"some content");
        let mut future = whole.clone();
        future[17] = 2;
        let mut content = whole.clone();
        *content.last_mut().unwrap() ^= 1;
        let mut epoch = whole.clone();
        epoch[40] ^= 1;
        for (bytes, want) in [
            (b"".to_vec(), "was not written by stagedoor"),
            (b"{\"kind\":\"something else\"}".to_vec(), "was not written by stagedoor"),
            (future, "has format version 2, this program knows 1"),
            (whole[..60].to_vec(), "is cut off within its header"),
            (whole[..whole.len() - 2].to_vec(), "has 10 bytes of content instead of 12"),
            (content, "is damaged: its content"),
            (epoch, "is damaged: its header"),
        ] {
            let said = decode(&bytes.into()).unwrap_err().to_string();
            assert!(said.contains(want), "{said}");
        }
    }
}
