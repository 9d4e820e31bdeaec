//! The access tokens for Graph that were issued: opaque, as they are to everybody else.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

/// What was issued, and what will be.
pub(crate) struct Grants(Mutex<Issued>);

struct Issued {
    lifetime: u64,
    ends: HashMap<String, Instant>,
}

/// A token, and its seconds.
pub(crate) struct Grant {
    pub(crate) token: String,
    pub(crate) seconds: u64,
}

impl Default for Grants {
    fn default() -> Self {
        Self(Mutex::new(Issued { lifetime: 3599, ends: HashMap::new() }))
    }
}

impl Grants {
    pub(crate) fn set_lifetime(&self, seconds: u64) {
        self.issued().lifetime = seconds;
    }

    pub(crate) fn revoke(&self) {
        self.issued().ends.clear();
    }

    pub(crate) fn issue(&self) -> Grant {
        let mut issued = self.issued();
        let token = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        let seconds = issued.lifetime;
        let now = Instant::now();
        // One that would outlive the clock lives a day.
        let ends = now.checked_add(Duration::from_secs(seconds));
        let ends = ends.unwrap_or(now + Duration::from_secs(86_400));
        issued.ends.insert(token.clone(), ends);
        Grant { token, seconds }
    }

    pub(crate) fn valid(&self, token: &str) -> bool {
        self.issued().ends.get(token).is_some_and(|ends| Instant::now() < *ends)
    }

    fn issued(&self) -> MutexGuard<'_, Issued> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Grants {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the tokens.
        out.debug_struct("Grants")
            .field("lifetime", &self.issued().lifetime)
            .finish_non_exhaustive()
    }
}
