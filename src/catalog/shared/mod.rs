//! A shared place for snapshots: one replica crawls and publishes, the others read.
//!
//! The place is a folder, Azure Blob Storage or S3. It holds two objects: `lease`
//! says who publishes, `snapshot` is what was published. What a snapshot is, this
//! module doesn't know: it carries bytes.
//!
//! # Why readers are safe
//!
//! Safety rests on three things:
//!
//! 1. **An object is replaced whole or not at all**, and only by a writer who saw
//!    its predecessor: each write names the `ETag` it replaces, and each written
//!    object holds a random stamp, so no two ever share an `ETag` (S3 derives it from
//!    the content, and two equal contents would look like none had happened between).
//! 2. **Epochs grow.** A change of publisher is a conditional write of `lease` with
//!    a higher epoch than both `lease` and `snapshot` held before. A published
//!    snapshot carries its publisher's epoch, and none is replaced by one of a
//!    lower epoch. A publisher that slept through its own replacement either finds
//!    the higher epoch, or loses the conditional write to it, or is the last whole
//!    snapshot before it.
//! 3. **Readers verify and never go back.** Magic, version, length and two digests
//!    hold, or the object is refused by name; one of an earlier crawl than the one
//!    held is left alone, whatever its epoch. Crawls are dated by the publisher's
//!    clock, and by the same rule a publisher leaves a later crawl where it is; so
//!    this rests on epochs only where a clock is wrong.
//!
//! Epochs come from what stands there and what a replica remembers of it. Where
//! somebody takes `lease` and `snapshot` away and nobody remembers, they begin anew,
//! and objects of before that are put back have higher ones: that is why the third
//! rule goes by the crawl.
//!
//! So with two publishers alive at once, the worst is a crawl too many.
//!
//! # Why there is one publisher
//!
//! The lease keeps that from being the usual state, and here time counts, but never
//! the wall clocks of two machines against each other. The holder measures its lease
//! on its own monotonic clock from before the write was sent, and gives it up a
//! margin early. A follower measures from after it first read this very write of the
//! lease, and waits a margin longer. The follower's count starts later than the
//! holder's, so the holder has given up first unless their clocks run at speeds that
//! differ by more than the two margins, a tenth of the lease each. A machine whose
//! clock stood still altogether (a suspended virtual machine) is caught by rule 2,
//! and by `publish` reading the lease again before it writes.
//!
//! `expires_unix_ms` in the lease is for the person who looks at it.

mod bucket;
mod election;
mod error;
mod folder;
mod frame;
mod lease;
mod open;
mod place;
mod probe;
mod publish;
mod reader;
mod store;

#[cfg(test)]
mod tests;

pub use election::{Elector, Lease, Standing, TTL_RANGE};
pub use error::SharedError;
pub use place::ETag;
pub use publish::{Lost, Published};
pub use reader::{Reader, Seen};
pub use store::{Mark, Polled, SharedLimits, SharedSnapshot, SharedStore};
