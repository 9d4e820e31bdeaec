//! What can go wrong with the shared place.

use std::path::PathBuf;
use std::time::Duration;

/// Why the shared place can't be used, or what was found there. Holds no secret:
/// queries of addresses are cut out of what a store says.
#[derive(Debug, thiserror::Error)]
pub enum SharedError {
    /// The configured address is none.
    #[error(
        "`{url}` is no shared place: {cause}; expected `file:///folder`, \
         `az://container/prefix` or `s3://bucket/prefix`"
    )]
    Address {
        /// The address, without what could be secret.
        url: String,
        /// What is wrong with it.
        cause: String,
    },
    /// An endpoint without TLS that isn't on this machine.
    #[error("endpoint `{endpoint}` of `{url}` is neither https nor on loopback")]
    Insecure {
        /// The address.
        url: String,
        /// The endpoint that the environment names.
        endpoint: String,
    },
    /// The store can't be set up from the environment.
    #[error("`{url}` can't be set up: {cause}; {hint}")]
    Setup {
        /// The address.
        url: String,
        /// What the store's client says.
        cause: String,
        /// Which variables are read.
        hint: &'static str,
    },
    /// A file or the folder itself can't be read, locked or written.
    #[error("`{path}`: {cause}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        cause: String,
    },
    /// The store answered with an error, or not at all.
    #[error("object `{object}`: {cause}")]
    Store {
        /// Which object was asked for.
        object: &'static str,
        /// What the store's client says, shortened.
        cause: String,
    },
    /// No answer in time. A write may or may not have happened.
    #[error("object `{object}`: no answer within {after:?}")]
    Timeout {
        /// Which object was asked for.
        object: &'static str,
        /// The deadline.
        after: Duration,
    },
    /// An object is larger than allowed.
    #[error("object `{object}` has {size} bytes, more than {limit}")]
    TooLarge {
        /// Which.
        object: &'static str,
        /// Its size.
        size: u64,
        /// The cap.
        limit: u64,
    },
    /// Without an `ETag` nothing can be written conditionally.
    #[error("object `{object}` came without an ETag: this store can't be shared")]
    NoETag {
        /// Which.
        object: &'static str,
    },
    /// The store wrote although the condition didn't hold.
    #[error("the store ignores `{condition}` on writes: it can't elect a publisher")]
    Unconditional {
        /// The header that had no effect.
        condition: &'static str,
    },
    /// The lease is no lease, or one of a version this program doesn't know.
    #[error("object `lease`: {0}")]
    Lease(String),
    /// The snapshot is none, or is damaged.
    #[error("object `snapshot`: {0}")]
    Snapshot(String),
    /// The snapshot is of a version this program doesn't know.
    #[error("object `snapshot`: has format version {found}, this program knows {known}")]
    SnapshotVersion {
        /// Its version.
        found: u16,
        /// The one that is read and written.
        known: u16,
    },
    /// Each conditional write met another writer's.
    #[error("object `{object}` changed under each of {attempts} attempts to write it")]
    Contended {
        /// Which.
        object: &'static str,
        /// How many.
        attempts: u32,
    },
    /// A lease of a length that can't be kept.
    #[error("a lease of {ttl:?} is not possible; expected {min:?} to {max:?}")]
    Ttl {
        /// The length asked for.
        ttl: Duration,
        /// The shortest.
        min: Duration,
        /// The longest.
        max: Duration,
    },
    /// A holder's name that can't be written to the lease.
    #[error("`{0}` can't name a holder; expected 1 to 128 letters, digits, `-`, `_` or `.`")]
    Holder(String),
}

/// The longest text of a store's client that is passed on.
const MAX_CAUSE: usize = 400;

/// What a store's client says, on one line, without the queries of addresses
/// (a shared access signature is one) and not at length.
pub(super) fn cause(error: &dyn std::fmt::Display) -> String {
    let mut said = String::new();
    let mut query = false;
    for char in error.to_string().chars() {
        query = match char {
            '?' => true,
            _ if query => !char.is_whitespace() && !matches!(char, ')' | '"' | '`' | '<' | '>'),
            _ => false,
        };
        if !query {
            said.push(if char.is_control() { ' ' } else { char });
        } else if char == '?' {
            said.push('?');
        }
        if said.len() > MAX_CAUSE {
            said.push('…');
            break;
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_cut_out() {
        for (said, want) in [
            ("GET https://a/b?sig=SECRET&x=1 failed", "GET https://a/b? failed"),
            (
                "error for url (https://a/b?sig=SECRET): refused",
                "error for url (https://a/b?): refused",
            ),
            ("two\nlines", "two lines"),
            ("plain", "plain"),
        ] {
            assert_eq!(cause(&said), want);
        }
        assert!(cause(&"x".repeat(10_000)).len() < MAX_CAUSE + 10);
    }
}
