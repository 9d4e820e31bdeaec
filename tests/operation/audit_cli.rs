//! `stagedoor audit`, as an auditor runs it.

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};
use stagedoor::audit::{AuditRecord, AuditSettings, AuditSink, AuditWriter, RotateSettings};
use stagedoor::domain::{
    Decision, DecisionId, Denial, Notes, Owners, Principal, Reason, Request, Verdict, Versions,
};
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(60);
const JANE: &str = "aaaaaaaa-0000-0000-0000-000000000001";
const ROBOT: &str = "aaaaaaaa-0000-0000-0000-000000000002";

fn stagedoor(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_stagedoor"))
        .args(["audit"])
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The ids of the decisions that were shown, in order.
fn shown(output: &Output) -> Vec<String> {
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).lines().map(name).collect()
}

fn name(line: &str) -> String {
    let line: Value = serde_json::from_str(line).unwrap();
    let name = line.get("decision_id").or_else(|| line.get("event")).unwrap();
    name.as_str().unwrap().to_owned()
}

/// A decision; what is not said of it is a denied read of payments by Jane.
fn decision(id: &str, minute: u32, more: Value) -> Value {
    let mut record = json!({
        "version": 1,
        "time": format!("2026-03-01T12:{minute:02}:00.000Z"),
        "decision_id": id,
        "method": "GET",
        "host": "payments.example.com",
        "path": "/v1",
        "route": "payments",
        "gate": "policy",
        "entity": "component:default/payments",
        "action": "read",
        "decision": "deny",
        "reason": "not_permitted",
        "status": 403,
        "principal": { "kind": "user", "tenant": "t", "object": JANE },
        "snapshot_version": "s1",
        "policy_version": "p1",
        "latency_us": 100,
    });
    for (member, value) in more.as_object().unwrap() {
        record[member] = value.clone();
    }
    record
}

/// Ten decisions, a change, a gap, and three lines that are none.
struct Corpus {
    folder: TempDir,
}

impl Corpus {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let robot = json!({ "kind": "workload", "tenant": "t", "object": ROBOT });
        let owners = json!({
            "decision": "allow", "reason": "permitted", "policies": ["owners"],
            "cache": { "token": true, "decision": true },
        });
        let mut old: Vec<String> = (0..4)
            .map(|n| decision(&format!("d{n}"), n, json!({ "latency_us": 10 + n })).to_string())
            .collect();
        old.push("{\"version\":1,\"time\":\"2026-03-01T12:0".to_owned());
        let mut new = vec![
            String::new(),
            decision("d4", 4, owners.clone()).to_string(),
            decision("d5", 5, owners).to_string(),
            decision(
                "d6",
                6,
                json!({
                    "principal": robot, "reason": "forbidden", "policies": ["freeze"],
                    "action": "write", "cache": { "token": true, "decision": false },
                    "shadow": [{
                        "set": "files", "allow": true, "reason": "permitted",
                        "policies": ["thaw"],
                    }],
                }),
            )
            .to_string(),
            "not JSON at all".to_owned(),
            json!({ "event": "something_else", "time": "2026-03-01T12:06:30.000Z" }).to_string(),
            json!({
                "version": 1, "time": "2026-03-01T12:06:40.000Z", "event": "catalog_change",
                "change": "owner_added", "entity": "component:default/payments",
                "other": "group:default/x",
            })
            .to_string(),
            json!({
                "version": 1, "time": "2026-03-01T12:06:50.000Z", "event": "audit_gap",
                "lost": 5, "since": "2026-03-01T12:06:45.000Z",
            })
            .to_string(),
        ];
        new.push(
            decision(
                "d7",
                7,
                json!({
                    "decision": "allow", "reason": "permitted", "policies": ["break-glass"],
                    "alerts": [{ "policy": "break-glass", "text": "look" }],
                    "latency_us": 1000,
                }),
            )
            .to_string(),
        );
        for (id, route) in [("d8", Some("health")), ("d9", None)] {
            let mut record = decision(id, 8, json!({ "latency_us": 1 }));
            let record = record.as_object_mut().unwrap();
            for member in ["principal", "entity", "action", "gate", "route", "snapshot_version"] {
                record.remove(member);
            }
            match route {
                Some(route) => {
                    record.extend([
                        ("route".to_owned(), json!(route)),
                        ("decision".to_owned(), json!("allow")),
                        ("reason".to_owned(), json!("public_route")),
                    ]);
                }
                None => record.extend([("reason".to_owned(), json!("no_route"))]),
            }
            new.push(Value::Object(record.clone()).to_string());
        }
        fs::write(folder.path().join("audit.1"), old.join("\n")).unwrap();
        fs::write(folder.path().join("audit"), new.join("\n") + "\n").unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn show(&self, filter: &[&str]) -> Vec<String> {
        let file = self.path("audit");
        shown(&stagedoor(&[&["show", &file, "--all", "--json"], filter].concat()))
    }
}

#[test]
fn filters() {
    let corpus = Corpus::new();
    let upper = JANE.to_uppercase();
    for (filter, want) in [
        (&[][..], "d0 d1 d2 d3 d4 d5 d6 catalog_change audit_gap d7 d8 d9"),
        (&["--denied"], "d0 d1 d2 d3 d6 audit_gap d9"),
        (&["--allowed"], "d4 d5 audit_gap d7 d8"),
        (&["--reason", "not_permitted"], "d0 d1 d2 d3 audit_gap"),
        (&["--reason", "not_permitted", "--until", "2026-03-01T12:02:00Z"], "d0 d1"),
        (&["--since", "2026-03-01T12:06:45Z", "--until", "2026-03-01T12:08:00Z"], "audit_gap d7"),
        (&["--since", "2026-03-02"], ""),
        (&["--principal", &upper, "--allowed"], "d4 d5 audit_gap d7"),
        (&["--principal", ROBOT], "d6 audit_gap"),
        (&["--policy", "owners"], "d4 d5 audit_gap"),
        (&["--policy", "thaw"], "d6 audit_gap"),
        (&["--route", "health"], "audit_gap d8"),
        (
            &["--entity", "Component:default/payments", "--since", "2026-03-01T12:06:30Z"],
            "catalog_change audit_gap d7",
        ),
        (&["--id", "d9"], "d9"),
    ] {
        let want: Vec<_> = want.split_whitespace().collect();
        assert_eq!(corpus.show(filter), want, "{filter:?}");
    }
}

#[test]
fn lines_that_are_no_records_are_named_and_stop_nothing() {
    let corpus = Corpus::new();
    let file = corpus.path("audit");
    let output = stagedoor(&["show", &file, "--all"]);
    assert!(output.status.success());
    assert_eq!(text(&output.stdout).lines().count(), 12);
    assert_eq!(
        text(&output.stderr),
        format!("3 lines are no records: {file}.1:5, {file}:5, {file}:6\n")
    );
    // Without its siblings, and for people.
    let output = stagedoor(&["show", &file, "--id", "d6"]);
    let line = text(&output.stdout);
    assert!(line.contains("DENY   forbidden  GET payments.example.com/v1  write"), "{line}");
    assert!(line.contains(&format!("workload {ROBOT}  by freeze")), "{line}");
    assert!(!line.contains('\u{1b}'), "no colour but on a terminal: {line}");
    assert!(text(&output.stderr).starts_with("2 lines are no records: "));
    let output = stagedoor(&["show", &corpus.path("none")]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("none"), "{}", text(&output.stderr));
}

#[test]
fn a_sum_of_known_records() {
    let corpus = Corpus::new();
    let file = corpus.path("audit");
    let policies = corpus.folder.path().join("policies");
    fs::create_dir(&policies).unwrap();
    for (file, ids) in [("a.cedar", &["owners", "thaw"][..]), ("b.cedar", &["silent"])] {
        let text: String = ids
            .iter()
            .map(|id| format!("@id(\"{id}\") permit (principal, action, resource);\n"))
            .collect();
        fs::write(policies.join(file), text).unwrap();
    }
    fs::write(policies.join("notes.txt"), "no policy").unwrap();
    let policies = policies.display().to_string();
    let args = ["sum", &file, "--all", "--top", "2", "--policies", &policies];
    let output = stagedoor(&[&args[..], &["--json"]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let sum: Value = serde_json::from_slice(&output.stdout).unwrap();
    let jane = format!("user {JANE}");
    let robot = format!("workload {ROBOT}");
    let payments = "component:default/payments";
    assert_eq!(
        sum,
        json!({
            "first": "2026-03-01T12:00:00.000Z",
            "last": "2026-03-01T12:08:00.000Z",
            "totals": { "decisions": 10, "allowed": 4, "denied": 6 },
            "outcomes": [
                { "decision": "deny", "reason": "not_permitted", "count": 4 },
                { "decision": "allow", "reason": "permitted", "count": 3 },
                { "decision": "allow", "reason": "public_route", "count": 1 },
                { "decision": "deny", "reason": "forbidden", "count": 1 },
                { "decision": "deny", "reason": "no_route", "count": 1 },
            ],
            "denied_most": [
                { "who": jane, "what": format!("read {payments}"), "reason": "not_permitted", "count": 4 },
                { "who": "nobody", "what": "ask for (no route)", "reason": "no_route", "count": 1 },
            ],
            "entities": [{ "name": payments, "allowed": 3, "denied": 5 }],
            "routes": [
                { "name": "payments", "allowed": 3, "denied": 5 },
                { "name": "(no route)", "allowed": 0, "denied": 1 },
            ],
            "policies": [
                { "policy": "owners", "allowed": 2, "denied": 0, "warned": 0, "alerted": 0, "shadow": 0 },
                { "policy": "break-glass", "allowed": 1, "denied": 0, "warned": 0, "alerted": 1, "shadow": 0 },
            ],
            "policies_that_never_decided": ["silent", "thaw"],
            "shadow": [{ "set": "files", "policies": ["thaw"], "entity": payments, "would": "allow", "count": 1 }],
            "latency": { "p50": 12, "p90": 100, "p99": 1000, "p999": 1000, "max": 1000 },
            "cache": { "tokens": 8, "tokens_remembered": 3, "decisions": 8, "decisions_remembered": 2 },
            "versions": { "policy": 1, "snapshot": 1 },
            "catalog": { "catalog_change": 1 },
            "missing": { "gaps": 1, "lost": 5 },
            "strange_lines": 3,
        })
    );
    let output = stagedoor(&args);
    let words = text(&output.stdout);
    for want in [
        "10 decisions: 4 allowed, 6 denied",
        "5 records are missing, in 1 gaps",
        &format!("4  {jane}  read {payments}  not_permitted"),
        "policies that never decided\n  silent\n  thaw",
        "99 % within 1.00ms",
        "remembered: 37.5 % of tokens, 25.0 % of decisions by policies",
        "1  files: allow component:default/payments, by thaw",
    ] {
        assert!(words.contains(want), "`{want}` in\n{words}");
    }
    // With a filter, of what it admits.
    let output = stagedoor(&["sum", &file, "--principal", ROBOT, "--json"]);
    let sum: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(sum["totals"], json!({ "decisions": 1, "allowed": 0, "denied": 1 }));
    assert_eq!(sum["denied_most"][0]["who"], robot);
    assert_eq!(sum.get("policies_that_never_decided"), None);
}

/// What became of a configuration and of a catalog is no decision, and is told as well.
#[test]
fn changes_of_configuration_and_catalog() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit");
    let event = |minute: u32, event: &str, more: Value| {
        let time = format!("2026-03-01T12:{minute:02}:00.000Z");
        let mut record = json!({ "version": 1, "time": time, "event": event });
        record.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        record.to_string()
    };
    let warned = json!({
        "policies": ["late"], "warnings": [{ "policy": "late", "text": "soon over" }], "justification": "on call",
    });
    let records = [
        event(0, "config_applied", json!({ "config_before": "c1", "config_version": "c2" })),
        event(1, "config_refused", json!({ "detail": "stagedoor.yaml:1:\u{1b}1: no" })),
        event(2, "catalog_adopted", json!({ "snapshot_before": "s1", "snapshot_version": "s2" })),
        event(3, "catalog_held", json!({ "detail": "2 of 3 groups are gone" })),
        decision("d1", 4, warned).to_string(),
    ];
    fs::write(&file, records.join("\n") + "\n").unwrap();
    let file = file.display().to_string();
    let output = text(&stagedoor(&["show", &file]).stdout);
    let lines: Vec<&str> = output.lines().collect();
    for (line, words) in lines.iter().zip([
        "CONFIG  config_applied  c1  c2",
        "CONFIG  config_refused  stagedoor.yaml:1:\\u{1b}1: no",
        "CATALOG  catalog_adopted",
        "CATALOG  catalog_held  2 of 3 groups are gone",
        "because \"on call\"",
    ]) {
        assert!(line.contains(words), "{words}: {line}");
    }
    assert_eq!(lines.len(), 5, "{output}");

    // Who asks for decisions, or for an entity, asks for none of these.
    for (filter, want) in [
        (
            &["--since", "2026-03-01T12:01:00Z"][..],
            "config_refused catalog_adopted catalog_held d1",
        ),
        (&["--denied"], "d1"),
        (&["--entity", "component:default/payments"], "d1"),
        (&["--policy", "late"], "d1"),
    ] {
        let want: Vec<&str> = want.split(' ').collect();
        let found = shown(&stagedoor(&[&["show", &file, "--json"], filter].concat()));
        assert_eq!(found, want, "{filter:?}");
    }
    let output = stagedoor(&["sum", &file, "--json"]);
    let sum: Value = serde_json::from_slice(&output.stdout).unwrap();
    let each = json!({
        "config_applied": 1, "config_refused": 1, "catalog_adopted": 1, "catalog_held": 1,
    });
    assert_eq!(sum["catalog"], each);
    assert_eq!(sum["policies"][0]["policy"], "late");
    assert_eq!(sum["policies"][0]["warned"], 1);

    // Nothing is said where there is nothing, and none of the policies was silent.
    let policies = folder.path().join("late.cedar");
    fs::write(&policies, "@id(\"late\") permit (principal, action, resource);").unwrap();
    let policies = policies.display().to_string();
    let sum = |more: &[&str]| {
        let args = [&["sum", &file, "--policies", &policies], more].concat();
        text(&stagedoor(&args).stdout)
    };
    let all = sum(&[]);
    assert!(all.contains("policies that never decided\n  none\n"), "{all}");
    let events = sum(&["--until", "2026-03-01T12:04:00Z"]);
    assert!(!events.contains("denied most") && events.contains("1 config_refused"), "{events}");
    assert_eq!(sum(&["--since", "2026-03-02"]), "no records\n");
}

/// Of many lines that are none the first are named; one of any length is one.
#[test]
fn lines_without_end_are_no_records() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit");
    let good = decision("d1", 0, json!({})).to_string();
    let bad = "x\n".repeat(50);
    fs::write(&file, format!("{}\n{good}\n{bad}", "y".repeat(5 << 20))).unwrap();
    let file = file.display().to_string();
    let output = stagedoor(&["show", &file, "--json"]);
    assert_eq!(text(&output.stdout), format!("{good}\n"));
    let said = text(&output.stderr);
    assert!(said.starts_with(&format!("51 lines are no records: {file}:1, {file}:3, ")), "{said}");
    assert!(said.ends_with(" and more\n"), "{said}");
    fs::write(&file, format!("{good}\nx\n")).unwrap();
    let output = stagedoor(&["show", &file]);
    assert_eq!(text(&output.stderr), format!("1 line is no record: {file}:2\n"));
}

#[test]
fn records_come_from_standard_input_too() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_stagedoor"))
        .args(["audit", "show", "-", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for id in ["a", "b"] {
        writeln!(stdin, "{}", decision(id, 0, json!({}))).unwrap();
        // As it comes, not at the end.
        assert_eq!(name(&lines.next().unwrap().unwrap()), id);
    }
    drop(stdin);
    assert!(child.wait().unwrap().success());
}

/// A `show --follow` that runs.
struct Following {
    child: Child,
    lines: Receiver<String>,
}

impl Following {
    fn start(file: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_stagedoor"))
            .args(["audit", "show", "--json", "--follow"])
            .arg(file)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if sender.send(name(&line)).is_err() {
                    break;
                }
            }
        });
        Self { child, lines }
    }

    fn expect(&self, want: &str) {
        assert_eq!(self.lines.recv_timeout(SOON).expect("a line"), want);
    }

    /// Nobody reads on, as after `head`: with the next record it ends, and well. What it said
    /// beside the records.
    fn ends_without_a_reader(mut self, file: &Written) -> String {
        self.lines = channel().1;
        let begun = Instant::now();
        let status = loop {
            file.record("unread");
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(begun.elapsed() < SOON, "it goes on");
            std::thread::sleep(Duration::from_millis(20));
        };
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(status.success(), "{status}: {said}");
        said
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Written(PathBuf);

impl Written {
    fn append(&self, text: &str) {
        let mut file = OpenOptions::new().append(true).create(true).open(&self.0).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn record(&self, id: &str) {
        self.append(&format!("{}\n", decision(id, 0, json!({}))));
    }

    fn moved(&self, from: &str, to: &str) {
        let name = |end: &str| format!("{}{end}", self.0.display());
        fs::rename(name(from), name(to)).unwrap();
    }
}

#[test]
fn following_survives_rotation_and_truncation() {
    let folder = tempfile::tempdir().unwrap();
    let file = Written(folder.path().join("audit"));
    file.record("before");
    let following = Following::start(&file.0);
    following.expect("before");
    // A line comes in two pieces.
    let whole = format!("{}\n", decision("pieces", 0, json!({})));
    file.append(&whole[..50]);
    file.record("x");
    // Which makes it a torn one, with what came after on its line; the next is read.
    file.record("next");
    following.expect("next");
    // Once, and once more before anybody looks: nothing in between is missed.
    file.record("last");
    file.moved("", ".1");
    file.record("between");
    file.moved(".1", ".2");
    file.moved("", ".1");
    file.record("after");
    for want in ["last", "between", "after"] {
        following.expect(want);
    }
    // To a name of somebody else's.
    file.moved("", "-of-yesterday");
    file.record("of today");
    following.expect("of today");
    // Emptied in place.
    OpenOptions::new().write(true).truncate(true).open(&file.0).unwrap();
    // Shorter than what was there, so that it shows whenever it is looked at.
    file.record("a");
    following.expect("a");
    let said = following.ends_without_a_reader(&file);
    assert!(said.contains(&format!("{}:2 is no record", file.0.display())), "{said}");
    let output = stagedoor(&["show", "-", "--follow"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("standard input cannot be followed"));
}

/// Whoever follows a file that is begun anew again and again reads every decision once, in
/// the order in which they were made.
#[tokio::test]
async fn following_a_busy_writer_misses_nothing() {
    const RECORDS: usize = 5000;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("audit");
    let settings = AuditSettings {
        rotate: Some(RotateSettings { max_size: 64 << 10, keep: 1000 }),
        ..AuditSettings::to(AuditSink::File(file.clone()))
    };
    let (sender, task) = AuditWriter::start(&settings).unwrap();
    let following = Following::start(&file);
    let mut ids = Vec::new();
    for number in 0..RECORDS {
        let decision = Decision {
            id: DecisionId::new(),
            verdict: Verdict::Deny(Denial::from(Reason::NoRoute)),
            principal: Principal::Anonymous,
            target: None,
            owners: Owners::new(),
            versions: Versions::default(),
            notes: Notes::default(),
        };
        ids.push(decision.id.to_string());
        let request = Request::default();
        sender.send(AuditRecord::of(decision, &request, SystemTime::now(), Duration::ZERO));
        // Some of it comes while it is looked at, some between.
        if number % 500 == 0 {
            following.expect(&ids[number]);
        } else if number % 500 == 499 {
            for id in &ids[number - 498..=number] {
                following.expect(id);
            }
        }
    }
    assert!(task.stop(SOON).await);
    // And all of it is found again afterwards.
    let path = file.display().to_string();
    let all = shown(&stagedoor(&["show", &path, "--all", "--json"]));
    assert_eq!(all, ids);
    assert!(fs::read_dir(folder.path()).unwrap().count() > 10);
}
