//! The thread that writes records.
//!
//! Writing to a file or a pipe blocks, for as long as a disk or a reader likes; so
//! it has a thread of its own, and a queue in front of it that never waits.

use std::fmt;
use std::future::pending;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout};

use super::catalog::Entry;
use super::latest::{LATEST_DENIALS, LatestDenials};
use super::lines::Lines;
use super::otlp::Otlp;
use super::present::Presenter;
use super::pseudonym::KeyError;
use super::rotate::Rotating;
use super::sender::{AuditSender, Counters, count};
use super::sink::{Appending, Nowhere, Sink, Stdout};
use super::{AuditSettings, AuditSink};
use crate::seldom::Seldom;

/// Records in one write.
const BATCH: usize = 256;
/// How long records are left to gather once there were few: who sends one while the writer
/// waits for it has to wake it, which costs more than the record.
const GATHER: Duration = Duration::from_millis(5);
/// Records beside those of decisions that wait: a reload or a snapshot makes one.
const RARE: usize = 64;
/// Between two tries on a sink that is set not to block.
pub(super) const RETRY: Duration = Duration::from_millis(10);
const SAY_EVERY: Duration = Duration::from_secs(10);

/// Why records can't be written at all.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// Standard output is closed.
    #[error("audit records cannot be written to standard output: {0}")]
    Stdout(io::Error),
    /// The file can't be opened for appending.
    #[error("audit records cannot be written to `{}`: {cause}", path.display())]
    File {
        /// The configured path.
        path: PathBuf,
        /// The system's words.
        cause: io::Error,
    },
    /// The writer's thread can't be started.
    #[error("the audit writer cannot be started: {0}")]
    Thread(io::Error),
    /// Ids can't be replaced, so nothing may be written.
    #[error("pseudonyms cannot be made: {0}")]
    Pseudonyms(#[from] KeyError),
    /// The collector's address can't be used.
    #[error("audit records cannot be sent by OTLP: {0}")]
    Otlp(#[from] opentelemetry_otlp::ExporterBuildError),
    /// There is no runtime to carry the connection to the collector.
    #[error("audit records cannot be sent by OTLP: not on a runtime")]
    NoRuntime,
}

/// The running writer.
#[derive(Debug)]
pub struct AuditTask {
    control: Arc<Control>,
    otlp: Option<Otlp>,
    stop: oneshot::Sender<()>,
    thread: Thread,
}

/// The writer's thread.
#[derive(Debug)]
enum Thread {
    /// There is nothing to write.
    None,
    /// It says when it is done, or how it panicked.
    Running(oneshot::Receiver<thread::Result<()>>),
    /// It ended without having been told to.
    Gone,
}

/// What runs on the thread.
pub struct AuditWriter {
    sink: Box<dyn Sink>,
    otlp: Option<Otlp>,
    presenter: Presenter,
    queue: mpsc::Receiver<Entry>,
    rare: mpsc::Receiver<Entry>,
    counters: Arc<Counters>,
    control: Arc<Control>,
    latest: LatestDenials,
    lines: Lines,
    /// A line was begun that could not be finished.
    torn: bool,
    news: Seldom,
    moves: Seldom,
}

#[derive(Debug, Default)]
struct Control {
    reopen: AtomicBool,
    abandoned: AtomicBool,
}

impl AuditWriter {
    /// Opens the sink and starts the writer. The writer runs until it is stopped
    /// or all senders are gone, and writes what is queued in either case.
    ///
    /// A file is made where there is none (mode 0640), in a folder that must exist.
    ///
    /// # Errors
    /// The sink can't be opened, the key of pseudonyms not be read, or the thread not be
    /// started.
    pub fn start(settings: &AuditSettings) -> Result<(AuditSender, AuditTask), AuditError> {
        let file = |path: &PathBuf, result: io::Result<Box<dyn Sink>>| {
            result.map_err(|cause| AuditError::File { path: path.clone(), cause })
        };
        let sink: Box<dyn Sink> = match (&settings.sink, settings.rotate) {
            (AuditSink::Stdout, _) => Box::new(Stdout::open().map_err(AuditError::Stdout)?),
            (AuditSink::File(path), None) => {
                file(path, Appending::open(path).map(|sink| Box::new(sink) as _))?
            }
            (AuditSink::File(path), Some(rotate)) => {
                file(path, Rotating::open(path, rotate).map(|sink| Box::new(sink) as _))?
            }
            (AuditSink::Off, _) if settings.otlp.is_none() => return Ok(off()),
            (AuditSink::Off, _) => Box::new(Nowhere),
        };
        let otlp = match &settings.otlp {
            None => None,
            Some(_) if tokio::runtime::Handle::try_current().is_err() => {
                return Err(AuditError::NoRuntime);
            }
            Some(endpoint) => Some(Otlp::new(endpoint, &settings.authorities)?),
        };
        Self::start_with(sink, otlp, Presenter::new(&settings.content)?, settings.queue)
    }

    fn start_with(
        sink: Box<dyn Sink>,
        otlp: Option<Otlp>,
        presenter: Presenter,
        queue: usize,
    ) -> Result<(AuditSender, AuditTask), AuditError> {
        // Of no use here but to wait.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(AuditError::Thread)?;
        let (sender, receiver) = mpsc::channel(queue.clamp(1, tokio::sync::Semaphore::MAX_PERMITS));
        let (rare, rare_receiver) = mpsc::channel(RARE);
        let counters = Arc::new(Counters::default());
        let control = Arc::new(Control::default());
        let latest = LatestDenials::default();
        let (stop, stopped) = oneshot::channel();
        let (finished, done) = oneshot::channel();
        let writer = Self {
            sink,
            otlp: otlp.clone(),
            presenter,
            queue: receiver,
            rare: rare_receiver,
            counters: Arc::clone(&counters),
            control: Arc::clone(&control),
            latest: latest.clone(),
            lines: Lines::default(),
            torn: false,
            news: Seldom::new(SAY_EVERY),
            moves: Seldom::new(SAY_EVERY),
        };
        thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || {
                let run = || runtime.block_on(writer.run(stopped));
                // Nobody may be waiting, which is as well.
                let _ = finished.send(catch_unwind(AssertUnwindSafe(run)));
            })
            .map_err(AuditError::Thread)?;
        let sender = AuditSender {
            queue: Some(sender),
            rare: Some(rare),
            counters,
            otlp: otlp.clone(),
            latest,
        };
        Ok((sender, AuditTask { control, otlp, stop, thread: Thread::Running(done) }))
    }

    async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        let mut batch = Vec::with_capacity(BATCH);
        let mut stoppable = true;
        let mut gather = false;
        loop {
            tokio::select! {
                biased;
                order = &mut stopped, if stoppable => {
                    (stoppable, gather) = (false, false);
                    // A task that was dropped without an order lets the writer run.
                    if order.is_ok() {
                        self.queue.close();
                        self.rare.close();
                    }
                }
                () = sleep(GATHER), if gather => gather = false,
                count = self.queue.recv_many(&mut batch, BATCH), if !gather => {
                    self.take_rare(&mut batch);
                    // At the end only what is yet to be said of a gap.
                    self.write(&mut batch);
                    if count == 0 {
                        return;
                    }
                    gather = count < BATCH && stoppable;
                }
                Some(entry) = self.rare.recv(), if !gather => {
                    self.take_rare(&mut batch);
                    batch.insert(0, entry);
                    self.write(&mut batch);
                }
            }
        }
    }

    /// What is rare goes with any batch, so that decisions without end don't hold it up; and
    /// at its head, since what is in the queue may follow from it.
    fn take_rare(&mut self, batch: &mut Vec<Entry>) {
        let queued = batch.len();
        while let Ok(entry) = self.rare.try_recv() {
            batch.push(entry);
        }
        batch.rotate_left(queued);
    }

    fn write(&mut self, batch: &mut Vec<Entry>) {
        let reopen = self.control.reopen.swap(false, Ordering::Relaxed);
        if reopen && let Err(error) = self.sink.reopen() {
            tracing::error!(%error, "the audit file cannot be reopened, writing to the old one");
        }
        self.presenter.refresh(Instant::now(), reopen);
        let records = batch.len();
        self.lines.begin(self.torn, self.counters.gap.take());
        if let Some(otlp) = &self.otlp {
            otlp.send_gap(SystemTime::now());
        }
        // What others of the batch would push out is not made.
        let mut left = batch.iter().filter(|entry| entry.is_denial()).count();
        for entry in batch.drain(..) {
            let form = self.presenter.form(&entry);
            self.lines.add(&form);
            if entry.is_denial() {
                if left <= LATEST_DENIALS {
                    self.latest.add(&form);
                }
                left -= 1;
            }
            if let Some(otlp) = &self.otlp {
                otlp.send(&form);
            }
        }
        if self.lines.bytes.is_empty() || !self.sink.keeps() {
            return;
        }
        // A line that was cut has its end in the file where it began.
        if !self.torn
            && let Err(error) = self.sink.make_room(self.lines.bytes.len())
            && let Some(unsaid) = self.moves.ask(Instant::now())
        {
            tracing::error!(%error, unsaid, "the audit file cannot be begun anew, writing on");
        }
        let (taken, result) = self.write_out();
        if let Some(lost) = self.lines.unsaid_within(taken) {
            self.counters.gap.give_back(lost);
        }
        let written = self.lines.whole_within(taken);
        let failed = records - written;
        count(&self.counters.written, written);
        count(&self.counters.failed, failed);
        self.counters.gap.lose(u64::try_from(failed).unwrap_or(u64::MAX));
        if taken > 0 {
            self.torn = !self.lines.ends_at(taken);
        }
        if let Err(error) = result
            && let Some(unsaid) = self.news.ask(Instant::now())
        {
            tracing::error!(%error, unsaid, "audit records are lost");
        }
    }

    /// Writes all lines, or says how many bytes the sink took before it failed.
    fn write_out(&mut self) -> (usize, io::Result<()>) {
        let mut taken = 0;
        while let Some(rest) = self.lines.bytes.get(taken..).filter(|rest| !rest.is_empty()) {
            match self.sink.write(rest) {
                Ok(0) => return (taken, Err(io::ErrorKind::WriteZero.into())),
                Ok(more) => taken += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Some who start us hand over a pipe that is set not to block.
                Err(error)
                    if error.kind() == io::ErrorKind::WouldBlock
                        && !self.control.abandoned.load(Ordering::Relaxed) =>
                {
                    thread::sleep(RETRY);
                }
                Err(error) => return (taken, Err(error)),
            }
        }
        (taken, self.sink.flush())
    }
}

impl AuditTask {
    /// Has the file opened anew before the next record, for when it was renamed.
    pub fn reopen(&self) {
        self.control.reopen.store(true, Ordering::Relaxed);
    }

    /// Comes to an end when the writer does without having been told to, with its panic if that
    /// is why: from then on every record is lost. Never does where no records are written.
    pub async fn ended(&mut self) -> thread::Result<()> {
        let Thread::Running(done) = &mut self.thread else { return pending().await };
        let outcome = done.await;
        self.thread = Thread::Gone;
        outcome.unwrap_or(Ok(()))
    }

    /// Takes no more records, writes what is queued, sends it to the collector where there
    /// is one, and ends. The answer is whether all was written within `limit`; when not, the
    /// thread is left behind in its write, for the end of the process.
    pub async fn stop(self, limit: Duration) -> bool {
        // A disk that is stuck leaves the collector its share.
        let limit = if self.otlp.is_some() { limit / 2 } else { limit };
        // A writer that is gone has nothing to write.
        let _ = self.stop.send(());
        let lost = match self.thread {
            Thread::None => None,
            Thread::Gone => Some("the writer is gone"),
            Thread::Running(done) => match timeout(limit, done).await {
                Ok(Ok(Ok(()))) => None,
                Ok(_) => Some("the writer is gone"),
                Err(_) => Some("the sink does not take them"),
            },
        };
        if let Some(why) = lost {
            self.control.abandoned.store(true, Ordering::Relaxed);
            tracing::error!("audit records are lost: {why}");
        }
        if let Some(otlp) = self.otlp {
            // It says itself what it could not send.
            let _ = tokio::task::spawn_blocking(move || otlp.shutdown(limit)).await;
        }
        lost.is_none()
    }
}

/// A sender to nowhere, and a task that has nothing to do.
fn off() -> (AuditSender, AuditTask) {
    let (stop, _) = oneshot::channel();
    (
        AuditSender {
            queue: None,
            rare: None,
            counters: Arc::default(),
            otlp: None,
            latest: LatestDenials::default(),
        },
        AuditTask { control: Arc::default(), otlp: None, stop, thread: Thread::None },
    )
}

impl fmt::Debug for AuditWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditWriter").field("queued", &self.queue.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
