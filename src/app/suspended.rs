//! Notices that the machine was suspended.
//!
//! Ages are measured by a clock that can't be set, and stands still while the machine does. By it
//! alone, the keys and owners of yesterday would be some minutes old when a machine wakes up,
//! would be decided by as such, and fetched again when the rest of their hour is over.

use std::time::Duration;

use super::task::Ended;
use crate::authorizer::Current;
use crate::catalog::Catalog;

/// How often it is looked: for so long at most does a machine that woke up decide by what is
/// too old.
const LOOK: Duration = Duration::from_secs(1);
/// By less nothing becomes too old that wasn't nearly so.
const SHORT: Duration = Duration::from_secs(30);

/// Makes what was fetched before as old as it is, and has it fetched again. Never ends.
pub(super) async fn watch(current: Current, catalog: Catalog) -> Option<Ended> {
    let mut known = suspended();
    loop {
        tokio::time::sleep(LOOK).await;
        let now = suspended();
        let by = now.saturating_sub(known);
        if by < SHORT {
            continue;
        }
        known = now;
        tracing::warn!(
            seconds = by.as_secs(),
            "the machine was suspended: keys, catalog and groups are that much older, and are \
             fetched again"
        );
        let explainer = current.load();
        let authorizer = explainer.authorizer();
        authorizer.authenticator.suspended(by);
        catalog.suspended(by);
        if let Some(resolver) = authorizer.overage.resolver() {
            resolver.suspended();
        }
    }
}

/// For how long the machine was suspended since it was started, as far as the system tells: the
/// clock that counts this as well, less the one that doesn't.
///
/// What passes between the two readings would count too. They are made anew where that is long,
/// as it is where the process itself stands still just there.
#[cfg(target_os = "linux")]
fn suspended() -> Duration {
    use nix::time::{ClockId, clock_gettime};

    let read = |clock: ClockId| clock_gettime(clock).map(Duration::from);
    loop {
        let awake = read(ClockId::CLOCK_MONOTONIC);
        let (all, after) = (read(ClockId::CLOCK_BOOTTIME), read(ClockId::CLOCK_MONOTONIC));
        let (Ok(awake), Ok(all), Ok(after)) = (awake, all, after) else { return Duration::ZERO };
        if after.saturating_sub(awake) < LOOK {
            return all.saturating_sub(awake);
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn suspended() -> Duration {
    Duration::ZERO
}
