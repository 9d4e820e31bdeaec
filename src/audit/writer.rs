//! The thread that writes records.
//!
//! Writing to a file or a pipe blocks, for as long as a disk or a reader likes; so
//! it has a thread of its own, and a queue in front of it that never waits.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};

use super::catalog::{CatalogRecord, Entry};
use super::line;
use super::sink::{Appending, Sink, Stdout};
use super::{AuditRecord, AuditSettings, AuditSink};
use crate::seldom::Seldom;

/// Records in one write.
const BATCH: usize = 64;
/// Between two tries on a sink that is set not to block.
const RETRY: Duration = Duration::from_millis(10);
const SAY_EVERY: Duration = Duration::from_secs(10);
/// The buffer of lines is given back beyond this.
const KEPT_BUFFER: usize = 256 * 1024;

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
}

/// Queues records. Cheap to clone.
#[derive(Clone)]
pub struct AuditSender {
    queue: Option<mpsc::Sender<Entry>>,
    counters: Arc<Counters>,
}

/// How many records came to what end since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuditStats {
    /// Handed to the system as whole lines.
    pub written: u64,
    /// Not queued: the queue was full, or the writer had stopped.
    pub dropped: u64,
    /// Queued, but the system did not take them.
    pub failed: u64,
}

/// The running writer.
#[derive(Debug)]
pub struct AuditTask {
    control: Arc<Control>,
    stop: oneshot::Sender<()>,
    done: oneshot::Receiver<()>,
}

/// What runs on the thread.
pub struct AuditWriter {
    sink: Box<dyn Sink>,
    queue: mpsc::Receiver<Entry>,
    counters: Arc<Counters>,
    control: Arc<Control>,
    lines: Lines,
    /// A line was begun that could not be finished.
    torn: bool,
    news: Seldom,
}

#[derive(Debug, Default)]
struct Counters {
    written: AtomicU64,
    dropped: AtomicU64,
    failed: AtomicU64,
}

#[derive(Debug, Default)]
struct Control {
    reopen: AtomicBool,
    abandoned: AtomicBool,
}

/// Lines for one write, and where each ends.
#[derive(Debug, Default)]
struct Lines {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl AuditWriter {
    /// Opens the sink and starts the writer. The writer runs until it is stopped
    /// or all senders are gone, and writes what is queued in either case.
    ///
    /// A file is made where there is none (mode 0640), in a folder that must exist.
    ///
    /// # Errors
    /// The sink can't be opened, or the thread not be started.
    pub fn start(settings: &AuditSettings) -> Result<(AuditSender, AuditTask), AuditError> {
        let sink: Box<dyn Sink> = match &settings.sink {
            AuditSink::Stdout => Box::new(Stdout::open().map_err(AuditError::Stdout)?),
            AuditSink::File(path) => Box::new(
                Appending::open(path)
                    .map_err(|cause| AuditError::File { path: path.clone(), cause })?,
            ),
            AuditSink::Off => return Ok(off()),
        };
        Self::start_with(sink, settings.queue)
    }

    fn start_with(
        sink: Box<dyn Sink>,
        queue: usize,
    ) -> Result<(AuditSender, AuditTask), AuditError> {
        // Of no use here but to wait; it has neither timers nor sockets.
        let runtime =
            tokio::runtime::Builder::new_current_thread().build().map_err(AuditError::Thread)?;
        let (sender, receiver) = mpsc::channel(queue.clamp(1, tokio::sync::Semaphore::MAX_PERMITS));
        let counters = Arc::new(Counters::default());
        let control = Arc::new(Control::default());
        let (stop, stopped) = oneshot::channel();
        let (finished, done) = oneshot::channel();
        let writer = Self {
            sink,
            queue: receiver,
            counters: Arc::clone(&counters),
            control: Arc::clone(&control),
            lines: Lines::default(),
            torn: false,
            news: Seldom::new(SAY_EVERY),
        };
        thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || {
                runtime.block_on(writer.run(stopped));
                // Nobody may be waiting, which is as well.
                let _ = finished.send(());
            })
            .map_err(AuditError::Thread)?;
        Ok((AuditSender { queue: Some(sender), counters }, AuditTask { control, stop, done }))
    }

    async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        let mut batch = Vec::with_capacity(BATCH);
        let mut stoppable = true;
        loop {
            tokio::select! {
                biased;
                order = &mut stopped, if stoppable => {
                    stoppable = false;
                    // A task that was dropped without an order lets the writer run.
                    if order.is_ok() {
                        self.queue.close();
                    }
                }
                count = self.queue.recv_many(&mut batch, BATCH) => {
                    if count == 0 {
                        return;
                    }
                    self.write(&mut batch);
                }
            }
        }
    }

    fn write(&mut self, batch: &mut Vec<Entry>) {
        if self.control.reopen.swap(false, Ordering::Relaxed)
            && let Err(error) = self.sink.reopen()
        {
            tracing::error!(%error, "the audit file cannot be reopened, writing to the old one");
        }
        let records = batch.len();
        self.lines.fill(batch, self.torn);
        let (taken, result) = self.write_out();
        let written = self.lines.whole_within(taken);
        count(&self.counters.written, written);
        count(&self.counters.failed, records - written);
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

impl AuditSender {
    /// Queues a record; never waits. What doesn't fit is dropped and counted.
    pub fn send(&self, record: AuditRecord) {
        if let Some(queue) = &self.queue
            && queue.try_send(Entry::Decision(Box::new(record))).is_err()
        {
            count(&self.counters.dropped, 1);
        }
    }

    /// Queues a record of the catalog, of which very many can come at once: waits until
    /// decisions have at least half of the queue to themselves. Not to be called where
    /// waiting matters.
    pub fn send_patiently(&self, record: CatalogRecord) {
        let Some(queue) = &self.queue else { return };
        while queue.capacity() < queue.max_capacity().div_ceil(2) && !queue.is_closed() {
            thread::sleep(RETRY);
        }
        if queue.try_send(Entry::Catalog(Box::new(record))).is_err() {
            count(&self.counters.dropped, 1);
        }
    }

    /// Whether records go anywhere, so that none needs to be made where not.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.queue.is_some()
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> AuditStats {
        AuditStats {
            written: self.counters.written.load(Ordering::Relaxed),
            dropped: self.counters.dropped.load(Ordering::Relaxed),
            failed: self.counters.failed.load(Ordering::Relaxed),
        }
    }
}

impl AuditTask {
    /// Has the file opened anew before the next record, for when it was renamed.
    pub fn reopen(&self) {
        self.control.reopen.store(true, Ordering::Relaxed);
    }

    /// Takes no more records, writes what is queued, and ends. The answer is
    /// whether that was done within `limit`; when not, the thread is left behind
    /// in its write, for the end of the process.
    pub async fn stop(self, limit: Duration) -> bool {
        // A writer that is gone has nothing to write.
        let _ = self.stop.send(());
        let flushed = matches!(timeout(limit, self.done).await, Ok(Ok(())));
        if !flushed {
            self.control.abandoned.store(true, Ordering::Relaxed);
            tracing::error!("audit records are lost: the sink does not take them");
        }
        flushed
    }
}

impl Lines {
    fn fill(&mut self, batch: &mut Vec<Entry>, torn: bool) {
        self.bytes.clear();
        self.bytes.shrink_to(KEPT_BUFFER);
        self.ends.clear();
        if torn {
            // Ends the line that was cut, so that it spoils no other.
            self.bytes.push(b'\n');
        }
        for record in batch.drain(..) {
            if line::append(&mut self.bytes, &record).is_ok() {
                self.ends.push(self.bytes.len());
            }
        }
    }

    /// How many lines lie within the first `taken` bytes.
    fn whole_within(&self, taken: usize) -> usize {
        self.ends.partition_point(|end| *end <= taken)
    }

    fn ends_at(&self, taken: usize) -> bool {
        taken.checked_sub(1).and_then(|last| self.bytes.get(last)) == Some(&b'\n')
    }
}

/// A sender to nowhere, and a task that has ended.
fn off() -> (AuditSender, AuditTask) {
    let (stop, _) = oneshot::channel();
    let (ended, done) = oneshot::channel();
    // The receiver is right here.
    let _ = ended.send(());
    (
        AuditSender { queue: None, counters: Arc::default() },
        AuditTask { control: Arc::default(), stop, done },
    )
}

fn count(counter: &AtomicU64, more: usize) {
    counter.fetch_add(u64::try_from(more).unwrap_or(u64::MAX), Ordering::Relaxed);
}

impl fmt::Debug for AuditSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditSender")
            .field("on", &self.is_on())
            .field("stats", &self.stats())
            .finish()
    }
}

impl fmt::Debug for AuditWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditWriter").field("queued", &self.queue.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
