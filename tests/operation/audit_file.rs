//! Audit records in a real file.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use crate::support::process::Process;
use crate::support::stack::Options;
use serde_json::Value;
use stagedoor::audit::{
    AuditRecord, AuditSettings, AuditSink, AuditStats, AuditWriter, RotateSettings,
};
use stagedoor::domain::{
    Decision, DecisionId, Denial, Notes, Owners, Principal, Reason, Request, Verdict, Versions,
};

const SOON: Duration = Duration::from_secs(60);

fn record(path: &str) -> AuditRecord {
    let decision = Decision {
        id: DecisionId::new(),
        verdict: Verdict::Deny(Denial::from(Reason::NoRoute)),
        principal: Principal::Anonymous,
        target: None,
        owners: Owners::new(),
        versions: Versions::default(),
        notes: Notes::default(),
    };
    let request = Request { path, ..Request::default() };
    AuditRecord::of(decision, &request, SystemTime::now(), Duration::ZERO)
}

fn to_file(path: &Path, queue: usize) -> AuditSettings {
    AuditSettings { queue, ..AuditSettings::to(AuditSink::File(path.to_owned())) }
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
        assert_eq!(sender.stats(), AuditStats { written: 2000, ..AuditStats::default() });
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

/// Many threads, a small file: each record is in one of the files, once, on a whole line.
#[tokio::test(flavor = "multi_thread")]
async fn no_record_is_lost_or_cut_where_files_are_begun_anew() {
    const THREADS: usize = 4;
    const RECORDS: usize = 5000;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit.jsonl");
    let settings = AuditSettings {
        rotate: Some(RotateSettings { max_size: 64 << 10, keep: 1000 }),
        ..to_file(&file, THREADS * RECORDS)
    };
    let (sender, task) = AuditWriter::start(&settings).unwrap();
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let sender = sender.clone();
            std::thread::spawn(move || {
                for number in 0..RECORDS {
                    sender.send(record(&format!("/{thread}/{number}")));
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    // What an operator does meanwhile.
    task.reopen();
    assert!(task.stop(SOON).await);
    let all = u64::try_from(THREADS * RECORDS).unwrap();
    assert_eq!(sender.stats(), AuditStats { written: all, ..AuditStats::default() });
    let mut found = Vec::new();
    let mut files = 0;
    for entry in fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        assert!(fs::metadata(&path).unwrap().len() <= 64 << 10, "{}", path.display());
        found.extend(paths(&path));
        files += 1;
    }
    assert!(files > 20, "{files} files");
    found.sort();
    let mut want: Vec<_> = (0..THREADS)
        .flat_map(|thread| (0..RECORDS).map(move |number| format!("/{thread}/{number}")))
        .collect();
    want.sort();
    assert_eq!(found, want);
}

#[tokio::test]
async fn a_key_that_is_not_there_is_an_error_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = to_file(&folder.path().join("audit.jsonl"), 10);
    settings.content.pseudonyms = Some(stagedoor::audit::PseudonymSettings {
        key_file: folder.path().join("key"),
        object: true,
        client: false,
    });
    let error = AuditWriter::start(&settings).expect_err("no key").to_string();
    assert!(error.starts_with("pseudonyms cannot be made: the key file `"), "{error}");
}

/// Records on standard output are all that is there, and stay there when files are begun anew.
#[tokio::test]
async fn records_on_standard_output() {
    let mut process = Process::begin(&Options::default(), |command, folder| {
        let file = folder.join("stagedoor.yaml");
        let text = fs::read_to_string(&file).unwrap();
        let to_file = format!("file:{}", folder.join("audit.jsonl").display());
        assert!(text.contains(&to_file));
        fs::write(&file, text.replace(&to_file, "stdout")).unwrap();
        command.stdout(fs::File::create(folder.join("out")).unwrap());
    })
    .await;
    let out = process.folder.path().join("out");
    let begun = Instant::now();
    while !fs::read_to_string(&out).unwrap().contains("catalog_adopted") {
        assert!(begun.elapsed() < SOON, "no snapshot was adopted");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    process.address().await;
    process.signal("HUP");
    process.said("that it begins anew", |line| line.contains("opening the audit file anew")).await;
    process.edit(|text| format!("{text}# changed\n"));
    process.signal("HUP");
    while !fs::read_to_string(&out).unwrap().contains("config_applied") {
        assert!(begun.elapsed() < SOON * 2, "the change is on no record");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    process.signal("TERM");
    assert!(process.child.wait().await.unwrap().success());
    let text = fs::read_to_string(&out).unwrap();
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        let record: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert!(record["event"].is_string(), "{line}");
    }
    assert!(!process.folder.path().join("audit.jsonl").exists());
}
