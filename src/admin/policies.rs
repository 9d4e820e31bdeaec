//! The state of the policies, for people.

use std::time::SystemTime;

use serde_json::{Value, json};

use crate::policy::Policies;

/// Differences that are shown; all are counted.
const MAX_SHOWN: usize = 50;

/// What an operator wants to know of the policies.
pub(super) fn status(policies: &Policies) -> Value {
    let (status, stats, set) = (policies.status(), policies.stats(), policies.current());
    let (differences, others) = stats.differences();
    let total: u64 = differences.iter().map(|(_, count)| count).sum::<u64>() + others;
    let shown: Vec<_> = differences
        .into_iter()
        .take(MAX_SHOWN)
        .map(|(difference, count)| {
            json!({
                "set": difference.set,
                "policy": difference.policy.as_deref(),
                "entity": difference.entity.as_str(),
                "would": if difference.would_allow { "allow" } else { "deny" },
                "count": count,
            })
        })
        .collect();
    let errors: Vec<_> = stats
        .errors()
        .into_iter()
        .map(|(policy, count)| json!({ "policy": policy.as_deref(), "count": count }))
        .collect();
    let memory = set.memory();
    json!({
        "version": status.version,
        "policies": status.policies,
        "since": rfc3339(status.since),
        "reloads": status.adopted,
        "refused": status.refused,
        "last_error": status.last_error,
        "errors": errors,
        "shadow": { "differences": total, "most": shown },
        "cache": {
            "entries": memory.entries, "bytes": memory.bytes,
            "hits": memory.hits, "misses": memory.misses,
        },
    })
}

fn rfc3339(time: SystemTime) -> String {
    chrono::DateTime::<chrono::Utc>::from(time).to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}
