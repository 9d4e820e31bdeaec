//! The signals that end the process. In a binary of its own: they reach all of it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "in tests a panic is the result, in their helpers as well"
)]

use std::process::Command;
use std::time::Duration;

use stagedoor::shutdown::{Shutdown, Stage};

fn kill(signal: &str) {
    let line = format!("kill -{signal} {}", std::process::id());
    assert!(Command::new("sh").args(["-c", &line]).status().unwrap().success());
}

#[tokio::test]
async fn the_first_signal_drains_and_the_second_aborts() {
    let soon = Duration::from_secs(20);
    for (first, second) in [("TERM", "TERM"), ("INT", "TERM"), ("TERM", "INT")] {
        let (handle, shutdown) = Shutdown::new();
        let signals = tokio::spawn(handle.signals().unwrap());
        kill(first);
        tokio::time::timeout(soon, shutdown.draining()).await.expect(first);
        assert_eq!(shutdown.stage(), Stage::Draining);
        kill(second);
        tokio::time::timeout(soon, shutdown.aborting()).await.expect(second);
        signals.abort();
    }
}
