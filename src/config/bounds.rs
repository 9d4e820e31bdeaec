//! How much memory a configuration lets be used, as far as it is bounded by settings.

use super::Config;
use super::values::ByteSize;
use crate::serve::CONNECTION_BYTES;

/// One bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryBound {
    /// What takes the memory.
    pub what: &'static str,
    /// The settings that bound it.
    pub settings: &'static str,
    /// At most so many bytes.
    pub bytes: u64,
}

impl MemoryBound {
    /// The bytes as a file would say them, in whole `KiB` and up.
    #[must_use]
    pub fn size(&self) -> String {
        shown(self.bytes)
    }
}

/// Bytes for people: whole, and rounded up.
#[must_use]
pub(super) fn shown(bytes: u64) -> String {
    let unit = if bytes >= 10 << 20 { 1 << 20 } else { 1 << 10 };
    ByteSize(bytes.div_ceil(unit) * unit).to_string()
}

impl Config {
    /// The bounds, and their sum as the last one. What a busy server with well-behaved
    /// clients takes is the caches; what is bounded by connections and checks is what hostile
    /// clients could have it take beside.
    #[must_use]
    pub fn memory_bounds(&self) -> Vec<MemoryBound> {
        let bytes = |size: usize| u64::try_from(size).unwrap_or(u64::MAX);
        let times = |count: usize, each: usize| bytes(count).saturating_mul(bytes(each));
        let graph = self.entra.graph.as_ref().map_or(0, |graph| graph.cache.max_bytes);
        let bound = |what, settings, bytes| MemoryBound { what, settings, bytes };
        let mut bounds = vec![
            bound(
                "verified tokens",
                "entra.token_cache.max_bytes",
                bytes(self.entra.cache.max_bytes),
            ),
            bound("groups from Graph", "entra.graph.max_bytes", bytes(graph)),
            bound(
                "answers of policies",
                "policy.cache.max_bytes",
                bytes(self.policy.memory.max_bytes),
            ),
            bound(
                // On their way, waiting for a turn, and in it.
                "messages of checks that wait",
                "3 * check.max_concurrent * limits.max_message_bytes",
                times(self.check.max_concurrent.saturating_mul(3), self.serve.max_message_bytes),
            ),
            bound(
                "what connections read ahead",
                "limits.max_connections * (1MiB + limits.max_header_list_bytes)",
                times(
                    self.serve.max_connections,
                    CONNECTION_BYTES
                        + usize::try_from(self.serve.max_header_list_bytes).unwrap_or(usize::MAX),
                ),
            ),
        ];
        let sum = bounds.iter().fold(0_u64, |sum, bound| sum.saturating_add(bound.bytes));
        bounds.push(bound("all of these", "", sum));
        bounds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_whole_and_never_less() {
        for (bytes, want) in
            [(0, "0"), (1, "1KiB"), (1025, "2KiB"), (64 << 20, "64MiB"), ((64 << 20) + 1, "65MiB")]
        {
            assert_eq!(shown(bytes), want);
        }
    }
}
