//! Audit records in a real file.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "in tests a panic is the result, in their helpers as well"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use stagedoor::audit::{AuditRecord, AuditSettings, AuditSink, AuditStats, AuditWriter};
use stagedoor::domain::{
    Decision, DecisionId, Denial, Notes, Principal, Reason, Request, Verdict, Versions,
};

const SOON: Duration = Duration::from_secs(20);

fn record(path: &str) -> AuditRecord {
    let decision = Decision {
        id: DecisionId::new(),
        verdict: Verdict::Deny(Denial::from(Reason::NoRoute)),
        principal: Principal::Anonymous,
        target: None,
        owners: Vec::new(),
        versions: Versions::default(),
        notes: Notes::default(),
    };
    let request = Request { path, ..Request::default() };
    AuditRecord::of(&decision, &request, SystemTime::now(), Duration::ZERO)
}

fn to_file(path: &Path, queue: usize) -> AuditSettings {
    AuditSettings { sink: AuditSink::File(path.to_owned()), queue }
}

/// The `path` member of each line.
fn paths(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines()
        .map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            line["path"].as_str().unwrap().to_owned()
        })
        .collect()
}

#[tokio::test]
async fn everything_queued_is_in_the_file_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.jsonl");
    fs::write(&file, "").unwrap();
    let mut want = Vec::new();
    // Twice: the second start appends.
    for round in 0..2 {
        let (sender, task) = AuditWriter::start(&to_file(&file, 5000)).unwrap();
        for number in 0..2000 {
            let path = format!("/{round}/{number}/\n\"\u{2028}\u{202e}é");
            sender.send(record(&path));
            want.push(path);
        }
        assert!(task.stop(SOON).await);
        assert_eq!(sender.stats(), AuditStats { written: 2000, dropped: 0, failed: 0 });
    }
    assert_eq!(paths(&file), want);
}

#[tokio::test]
async fn the_last_sender_gone_ends_the_writer() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.jsonl");
    let (sender, task) = AuditWriter::start(&to_file(&file, 10)).unwrap();
    let other = sender.clone();
    sender.send(record("/1"));
    other.send(record("/2"));
    drop((sender, other));
    assert!(task.stop(SOON).await);
    assert_eq!(paths(&file), ["/1", "/2"]);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o007, 0, "not for everybody");
}

#[tokio::test]
async fn a_renamed_file_is_left_when_it_is_reopened() {
    let folder = tempfile::tempdir().unwrap();
    let (file, old) = (folder.path().join("audit.jsonl"), folder.path().join("audit.1"));
    let (sender, task) = AuditWriter::start(&to_file(&file, 10)).unwrap();
    sender.send(record("/1"));
    while sender.stats().written < 1 {
        tokio::task::yield_now().await;
    }
    fs::rename(&file, &old).unwrap();
    task.reopen();
    sender.send(record("/2"));
    assert!(task.stop(SOON).await);
    assert_eq!((paths(&old), paths(&file)), (vec!["/1".to_owned()], vec!["/2".to_owned()]));
}

#[tokio::test]
async fn a_file_that_can_not_be_written_is_an_error_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("none/audit.jsonl");
    for path in [folder.path(), &missing] {
        let error = AuditWriter::start(&to_file(path, 10)).expect_err("not a file").to_string();
        assert!(error.starts_with("audit records cannot be written to `"), "{error}");
        assert!(error.contains(path.to_str().unwrap()), "{error}");
    }
}
