//! The lease as it is written: a small JSON document.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::election::TTL_RANGE;
use super::error::SharedError;
use super::place::STAMPED_HEAD;

const VERSION: u32 = 1;
/// No lease is larger, so its stamp stands where [`STAMPED_HEAD`] promises.
pub(super) const MAX_BYTES: u64 = STAMPED_HEAD;
/// A name, a slash and a random id.
const MAX_HOLDER: usize = 128 + 1 + 36;

/// Who publishes, by its own word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    format: u32,
    /// One run of one replica.
    pub(super) holder: String,
    /// Grows with each change of holder.
    pub(super) epoch: u64,
    /// Another for each write.
    pub(super) stamp: Uuid,
    ttl_ms: u64,
    /// For people: takes the holder's clock as right.
    expires_unix_ms: i64,
    /// Given back: whoever comes first may take it.
    pub(super) released: bool,
}

/// What stands in all versions.
#[derive(Deserialize)]
struct AnyVersion {
    format: u32,
}

impl Document {
    /// A lease from now on.
    pub(super) fn new(holder: &str, epoch: u64, ttl: Duration, unix: i64) -> Self {
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        let expires_unix_ms = unix.saturating_mul(1000).saturating_add_unsigned(ttl_ms);
        Self {
            format: VERSION,
            holder: holder.to_owned(),
            epoch,
            stamp: Uuid::now_v7(),
            ttl_ms,
            expires_unix_ms,
            released: false,
        }
    }

    /// The same lease, given back.
    pub(super) fn released(self) -> Self {
        Self { stamp: Uuid::now_v7(), released: true, ..self }
    }

    pub(super) fn ttl(&self) -> Duration {
        Duration::from_millis(self.ttl_ms)
    }

    pub(super) fn encode(&self) -> Result<Bytes, SharedError> {
        serde_json::to_vec(self).map(Bytes::from).map_err(|e| SharedError::Lease(e.to_string()))
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, SharedError> {
        let no_lease = |e: serde_json::Error| SharedError::Lease(format!("is no lease: {e}"));
        let any: AnyVersion = serde_json::from_slice(bytes).map_err(no_lease)?;
        if any.format != VERSION {
            return Err(SharedError::Lease(format!(
                "has format version {}, this program knows {VERSION}",
                any.format
            )));
        }
        let document: Self = serde_json::from_slice(bytes).map_err(no_lease)?;
        let holder = &document.holder;
        if holder.is_empty() || holder.len() > MAX_HOLDER || !holder.chars().all(is_plain) {
            return Err(SharedError::Lease("is no lease: its holder has no proper name".into()));
        }
        if !TTL_RANGE.contains(&document.ttl()) {
            return Err(SharedError::Lease(format!(
                "is no lease: it runs {:?}, expected {:?} to {:?}",
                document.ttl(),
                TTL_RANGE.start(),
                TTL_RANGE.end()
            )));
        }
        Ok(document)
    }
}

/// What a holder's name is made of. It ends up in logs.
pub(super) fn is_plain(char: char) -> bool {
    char.is_ascii_alphanumeric() || matches!(char, '-' | '_' | '.' | '/')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document() -> Document {
        Document::new("replica-1/x", 3, Duration::from_secs(30), 1_700_000_000)
    }

    #[test]
    fn what_was_written_is_read() {
        let lease = document();
        assert_eq!(lease.expires_unix_ms, 1_700_000_030_000);
        assert_eq!(Document::decode(&lease.encode().unwrap()).unwrap(), lease);
        let released = lease.clone().released();
        assert_ne!(released.stamp, lease.stamp);
        assert!(Document::decode(&released.encode().unwrap()).unwrap().released);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let good = String::from_utf8(document().encode().unwrap().to_vec()).unwrap();
        for (text, want) in [
            ("", "is no lease: EOF"),
            ("[]", "is no lease"),
            ("{}", "missing field `format`"),
            ("{\"format\":1}", "missing field `holder`"),
            ("{\"format\":2,\"leader\":\"x\"}", "has format version 2, this program knows 1"),
            (&good.replace("replica-1/x", ""), "no proper name"),
            (&good.replace("replica-1/x", "a\\nb"), "no proper name"),
            (&good.replace("replica-1/x", &"a".repeat(500)), "no proper name"),
            (&good.replace("\"ttl_ms\":30000", "\"ttl_ms\":0"), "it runs 0ns"),
            (&good.replace("\"ttl_ms\":30000", "\"ttl_ms\":18446744073709551615"), "it runs"),
            (&good.replace("\"epoch\":3", "\"epoch\":-3"), "is no lease: invalid value"),
            (&good.replace("\"epoch\":3", "\"epoch\":3,\"more\":1"), "unknown field `more`"),
            (good.trim_end_matches('}'), "is no lease: EOF"),
        ] {
            let said = Document::decode(text.as_bytes()).unwrap_err().to_string();
            assert!(said.starts_with("object `lease`: ") && said.contains(want), "{said}");
        }
    }
}
