use std::io::Write;
use std::sync::Mutex;
use std::sync::mpsc as std_mpsc;
use std::time::SystemTime;

use super::*;
use crate::audit::form::ConfigWhat;
use crate::audit::{AuditRecord, AuditStats, ConfigRecord, line};
use crate::domain::{
    Decision, DecisionId, Denial, Notes, Owners, Principal, Reason, Request, Verdict, Versions,
};

const SOON: Duration = Duration::from_secs(20);

/// A record that names itself by its request id.
fn record(name: usize) -> AuditRecord {
    let decision = Decision {
        id: DecisionId::new(),
        verdict: Verdict::Deny(Denial::from(Reason::NoRoute)),
        principal: Principal::Anonymous,
        target: None,
        owners: Owners::new(),
        versions: Versions::default(),
        notes: Notes::default(),
    };
    let request = Request { request_id: Some(name.to_string().into()), ..Request::default() };
    AuditRecord::of(decision, &request, SystemTime::now(), Duration::ZERO)
}

fn plain() -> Presenter {
    Presenter::new(&AuditSettings::to(AuditSink::Off).content).expect("no key is needed")
}

fn start(sink: Box<dyn Sink>, queue: usize) -> Result<(AuditSender, AuditTask), AuditError> {
    AuditWriter::start_with(sink, None, plain(), queue)
}

/// The names on the lines that are whole, in order.
fn names(bytes: &[u8]) -> Vec<usize> {
    bytes
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice::<serde_json::Value>(line).ok())
        .filter(|line| line.get("event").is_none())
        .map(|line| line["request_id"].as_str().expect("named").parse().expect("a number"))
        .collect()
}

/// What a sink does next: it takes so many bytes, or fails.
type Step = Result<usize, io::ErrorKind>;

/// Takes what the test tells it to.
/// Without a step it blocks; when the test has dropped the steps, it takes all.
struct Scripted {
    steps: std_mpsc::Receiver<Step>,
    waiting: std_mpsc::Sender<()>,
    out: Arc<Mutex<Vec<u8>>>,
}

impl Sink for Scripted {}

impl Write for Scripted {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let _ = self.waiting.send(());
        let most = self.steps.recv().unwrap_or(Ok(usize::MAX))?;
        let taken = &lines[..most.min(lines.len())];
        self.out.lock().expect("no panic").extend_from_slice(taken);
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Script {
    steps: std_mpsc::Sender<Step>,
    waiting: std_mpsc::Receiver<()>,
    out: Arc<Mutex<Vec<u8>>>,
}

fn scripted() -> (Box<Scripted>, Script) {
    let (steps, receiver) = std_mpsc::channel();
    let (waiting, waits) = std_mpsc::channel();
    let out = Arc::new(Mutex::new(Vec::new()));
    let sink = Scripted { steps: receiver, waiting, out: Arc::clone(&out) };
    (Box::new(sink), Script { steps, waiting: waits, out })
}

/// A writer that holds the first record and is stuck with it; four more fit into the queue.
fn stuck() -> (AuditSender, AuditTask, Script) {
    let (sink, script) = scripted();
    let (sender, task) = start(sink, 4).expect("started");
    sender.send(record(0));
    script.waiting.recv_timeout(SOON).expect("a write");
    (sender, task, script)
}

#[tokio::test]
async fn a_full_queue_drops_and_counts_and_never_waits() {
    let (sender, task, script) = stuck();
    for name in 1..=10 {
        sender.send(record(name));
    }
    assert_eq!(sender.stats(), AuditStats { written: 0, dropped: 6, ..AuditStats::default() });

    drop(script.steps);
    assert!(task.stop(SOON).await);
    assert_eq!(names(&script.out.lock().expect("no panic")), [0, 1, 2, 3, 4]);
    assert_eq!(sender.stats(), AuditStats { written: 5, dropped: 6, ..AuditStats::default() });

    sender.send(record(11));
    assert_eq!(sender.stats().dropped, 7, "a stopped writer takes nothing");
}

/// Who reloads all the time while nobody takes records neither waits nor fills the memory,
/// and decisions without end don't push out what a reload did.
#[tokio::test]
async fn what_is_rare_has_places_of_its_own_and_never_waits() {
    let (sender, task, script) = stuck();
    for name in 1..=10 {
        sender.send(record(name));
    }
    for _ in 0..RARE + 3 {
        sender.send_config(ConfigRecord::of(ConfigWhat::ConfigApplied, SystemTime::now()));
    }
    assert_eq!(sender.stats().dropped, 6 + 3);

    drop(script.steps);
    assert!(task.stop(SOON).await);
    let out = String::from_utf8(script.out.lock().expect("no panic").clone()).expect("text");
    assert_eq!(names(out.as_bytes()), [0, 1, 2, 3, 4]);
    let applied = |line: &&str| line.contains("\"config_applied\"");
    assert_eq!(out.lines().filter(applied).count(), RARE);
    let queued = out.lines().position(|line| line.contains("\"request_id\":\"1\""));
    assert!(out.lines().take(queued.expect("written")).filter(applied).count() == RARE, "{out}");
    sender.send_config(ConfigRecord::of(ConfigWhat::ConfigApplied, SystemTime::now()));
    assert_eq!(sender.stats().dropped, 6 + 3 + 1, "a stopped writer takes nothing");
}

/// The last of them says what is in force.
#[tokio::test]
async fn what_is_rare_stays_in_order() {
    for with_decisions in [false, true] {
        let (sender, task, script) = stuck();
        if with_decisions {
            sender.send(record(1));
        }
        let versions = ["a", "b", "c"];
        for version in versions {
            let event = ConfigRecord::of(ConfigWhat::ConfigApplied, SystemTime::now());
            sender.send_config(ConfigRecord { version: Some(version.into()), ..event });
        }
        drop(script.steps);
        assert!(task.stop(SOON).await);
        let out = String::from_utf8(script.out.lock().expect("no panic").clone()).expect("text");
        let lines = out.lines().map(|line| serde_json::from_str(line).expect("JSON"));
        let told = lines.filter_map(|line: serde_json::Value| {
            Some(line.get("config_version")?.as_str()?.to_owned())
        });
        assert_eq!(told.collect::<Vec<_>>(), versions, "{out}");
    }
}

/// Where there are no decisions, it needs none to be written.
#[tokio::test]
async fn what_is_rare_is_written_by_itself() {
    let (sink, script) = scripted();
    let (sender, task) = start(sink, 4).expect("started");
    sender.send_config(ConfigRecord::of(ConfigWhat::ConfigApplied, SystemTime::now()));
    script.waiting.recv_timeout(SOON).expect("a write");
    drop(script.steps);
    assert!(task.stop(SOON).await);
    assert_eq!(sender.stats(), AuditStats { written: 1, ..AuditStats::default() });
}

#[tokio::test]
async fn failures_are_counted_by_the_record_and_the_next_is_tried() {
    let whole = {
        let mut line = Vec::new();
        let entry = Entry::Decision(Box::new(record(1)));
        line::append(&mut line, &plain().form(&entry)).expect("a record");
        line.len()
    };
    let full = io::ErrorKind::StorageFull;
    // What the sink does with record 1, and the names
    // on whole lines when record 2 has been taken.
    let cases: [(Vec<Step>, &[usize]); 8] = [
        (vec![Ok(usize::MAX)], &[1, 2]),
        (vec![Err(full)], &[2]),
        (vec![Ok(0)], &[2]),
        (vec![Ok(10), Err(full)], &[2]),
        (vec![Ok(10), Ok(10), Ok(usize::MAX)], &[1, 2]),
        // All but the line feed: it counts as lost, but the next one completes it.
        (vec![Ok(whole - 1), Err(full)], &[1, 2]),
        (vec![Err(io::ErrorKind::Interrupted), Ok(usize::MAX)], &[1, 2]),
        (vec![Ok(10), Err(io::ErrorKind::WouldBlock), Ok(usize::MAX)], &[1, 2]),
    ];
    for (steps, want) in cases {
        let (sink, script) = scripted();
        let (sender, task) = start(sink, 4).expect("started");
        sender.send(record(1));
        for step in &steps {
            script.waiting.recv_timeout(SOON).expect("a write");
            script.steps.send(*step).expect("still there");
        }
        sender.send(record(2));
        drop(script.steps);
        assert!(task.stop(SOON).await);
        let out = script.out.lock().expect("no panic").clone();
        assert_eq!(names(&out), want, "{steps:?}");
        let failed = u64::from(!matches!(steps.last(), Some(Ok(1..))));
        assert_eq!(
            sender.stats(),
            AuditStats { written: 2 - failed, failed, ..AuditStats::default() },
            "{steps:?}"
        );
    }
}

#[tokio::test]
async fn a_sink_that_takes_nothing_does_not_hold_up_the_end() {
    // A pipe that nobody reads.
    struct Pipe(io::PipeWriter);
    impl Sink for Pipe {}
    impl Write for Pipe {
        fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
            self.0.write(lines)
        }
        fn flush(&mut self) -> io::Result<()> {
            self.0.flush()
        }
    }
    let (reader, pipe) = io::pipe().expect("a pipe");
    // What the queue holds alone is more than the pipe takes, whenever the writer begins.
    let (sender, task) = start(Box::new(Pipe(pipe)), 1000).expect("started");
    for name in 0..10_000 {
        sender.send(record(name));
    }
    assert!(!task.stop(Duration::from_millis(50)).await);
    assert!(sender.stats().dropped > 0);
    drop(reader);
}

#[tokio::test]
async fn a_writer_whose_task_is_dropped_writes_on() {
    let (sink, script) = scripted();
    drop(script.steps);
    let (sender, task) = start(sink, 4).expect("started");
    drop(task);
    sender.send(record(1));
    script.waiting.recv_timeout(SOON).expect("a write");
    sender.send(record(2));
    script.waiting.recv_timeout(SOON).expect("another write");
}

#[tokio::test]
async fn nowhere_is_a_sink_too() {
    let settings = AuditSettings { queue: 0, ..AuditSettings::to(AuditSink::Off) };
    let (sender, task) = AuditWriter::start(&settings).expect("started");
    assert!(!sender.is_on());
    sender.send(record(1));
    assert_eq!(sender.stats(), AuditStats::default());
    assert!(task.stop(SOON).await);
}

/// What a reader of the stream is told of what is missing in it: how much, and where.
#[tokio::test]
async fn what_is_lost_is_said_where_it_is_missing() {
    let (sender, task, script) = stuck();
    // Four fit, six don't; and the one that is being written fails.
    for name in 1..=10 {
        sender.send(record(name));
    }
    script.steps.send(Err(io::ErrorKind::StorageFull)).expect("still there");
    // So does the news of it, at first.
    script.waiting.recv_timeout(SOON).expect("a write");
    script.steps.send(Ok(10)).expect("still there");
    script.waiting.recv_timeout(SOON).expect("a write");
    script.steps.send(Err(io::ErrorKind::StorageFull)).expect("still there");
    drop(script.steps);
    assert!(task.stop(SOON).await);
    assert_eq!(
        sender.stats(),
        AuditStats { written: 0, dropped: 6, failed: 5, ..AuditStats::default() }
    );
    let out = script.out.lock().expect("no panic").clone();
    let lines: Vec<_> = out.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    // The torn news, and the whole.
    assert_eq!(lines.len(), 2);
    let gap: serde_json::Value = serde_json::from_slice(lines[1]).expect("JSON");
    assert_eq!((&gap["event"], &gap["lost"]), (&"audit_gap".into(), &11.into()));
    assert!(gap["since"].as_str() <= gap["time"].as_str(), "{gap}");
    crate::audit::form::follows_schema(&gap);
}

#[tokio::test]
async fn a_gap_is_said_once() {
    let (sink, script) = scripted();
    let (sender, task) = start(sink, 100).expect("started");
    sender.send(record(1));
    script.waiting.recv_timeout(SOON).expect("a write");
    script.steps.send(Err(io::ErrorKind::StorageFull)).expect("still there");
    drop(script.steps);
    for name in 2..5 {
        sender.send(record(name));
    }
    assert!(task.stop(SOON).await);
    let out = String::from_utf8(script.out.lock().expect("no panic").clone()).expect("text");
    assert_eq!(out.matches("audit_gap").count(), 1);
    assert!(out.starts_with("{\"version\":1,\"time\":"), "{out}");
    assert_eq!(names(out.as_bytes()), [2, 3, 4]);
}

/// Fails as no sink should.
struct Broken;

impl Sink for Broken {}

impl Write for Broken {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        panic!("the sink is broken")
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_writer_that_panics_says_so() {
    let moment = Duration::from_millis(50);
    let (sender, mut task) = start(Box::new(Broken), 4).expect("started");
    assert!(timeout(moment, task.ended()).await.is_err(), "it has nothing to write yet");
    sender.send(record(0));
    let panic = timeout(SOON, task.ended()).await.expect("in time").expect_err("a panic");
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"the sink is broken"));
    sender.send(record(1));
    assert_eq!(sender.stats().dropped, 1);
    assert!(timeout(moment, task.ended()).await.is_err(), "it is said once");
    assert!(!task.stop(SOON).await);

    // Nothing to write is no end.
    let (_sender, mut task) = AuditWriter::start(&AuditSettings::to(AuditSink::Off)).expect("off");
    assert!(timeout(moment, task.ended()).await.is_err());
    assert!(task.stop(SOON).await);
}
