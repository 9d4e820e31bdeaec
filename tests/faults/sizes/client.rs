//! A client of `Check` that costs little: HTTP/2 by hand, with messages made beforehand.
//!
//! It shares the machine with what it measures. A library for HTTP/2 takes about as much for a
//! call as Stagedoor does for the whole decision, and could not ask for three times of what
//! Stagedoor can do on the same two processors.

use std::collections::{HashMap, VecDeque};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use futures_util::future::select_all;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::task::yield_now;
use tokio::time::{Instant, timeout};

use crate::world::DEADLINE;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
/// Before each frame's payload.
const HEAD: usize = 9;

/// What the server may send ahead: of one answer, and of all.
const ANSWER_WINDOW: u32 = 1 << 20;
const ANSWERS_WINDOW: u32 = 1 << 24;
/// What is written and not taken yet, beyond which nothing more is asked.
const UNWRITTEN: usize = 256 * 1024;
/// What a client may send of all requests before the server says more (RFC 9113).
const FIRST_WINDOW: i64 = 65_535;

/// Some connections, and what is asked on them.
pub(super) struct Client {
    lines: Vec<Line>,
    waiting: VecDeque<Waiting>,
    /// The line that was given the last request.
    last: usize,
    room: Vec<u8>,
}

/// What has no room on any connection yet.
struct Waiting {
    tag: u64,
    due: Instant,
    frame: Bytes,
}

/// One connection.
struct Line {
    stream: TcpStream,
    out: Vec<u8>,
    written: usize,
    read: Vec<u8>,
    next_stream: u32,
    /// Bytes of requests that may still be sent.
    window: i64,
    /// Requests at a time.
    most: usize,
    asked: HashMap<u32, Asked>,
    /// Bytes of answers since the server was last told that there is room again.
    taken: u32,
}

struct Asked {
    tag: u64,
    due: Instant,
    message: Vec<u8>,
}

/// What came back.
pub(super) struct Answer {
    /// What the request was called.
    pub(super) tag: u64,
    /// Since it was due.
    pub(super) took: Duration,
    /// A gRPC message with its frame; nothing where none came.
    message: Vec<u8>,
}

/// What an answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Allowed,
    Denied,
    /// Denied because there was no room or no time for it.
    TurnedAway,
    /// No answer to a check: an Envoy may let the request pass for that.
    Broken,
}

impl Answer {
    pub(super) fn outcome(&self) -> Outcome {
        // The status is the first in the answer, and the code in it where there is one.
        match self.message.get(5..) {
            Some([0x0a, 0, ..] | [0x0a, _, 0x12, ..]) => Outcome::Allowed,
            // A defect has this code as well.
            Some([0x0a, _, 0x08, 14, ..]) if self.says("overloaded") || self.says("timeout") => {
                Outcome::TurnedAway
            }
            Some([0x0a, _, 0x08, code, ..]) if *code > 0 => Outcome::Denied,
            _ => Outcome::Broken,
        }
    }

    /// Whether a reason is told.
    pub(super) fn says(&self, reason: &str) -> bool {
        self.message.windows(reason.len()).any(|part| part == reason.as_bytes())
    }

    /// For who wants to know what came instead.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.message).chars().filter(|c| !c.is_control()).collect()
    }
}

/// What came of asking for a while.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asking {
    /// Requests that were sent.
    pub(super) asked: u64,
    /// Those that were due while as many as may were on their way.
    pub(super) withheld: u64,
    /// How long there were new ones.
    pub(super) took: Duration,
    /// When there were no new ones any more.
    pub(super) ended: Instant,
}

/// Runs on a thread of its own, so that neither it nor the suite waits for the other.
pub(super) async fn apart<F, T>(work: impl FnOnce() -> F + Send + 'static) -> Result<T>
where
    F: Future<Output = Result<T>>,
    T: Send + 'static,
{
    tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(work())
    })
    .await?
}

impl Client {
    /// Opens so many connections.
    pub(super) async fn connect(to: SocketAddr, lines: usize) -> Result<Self> {
        let mut all = Vec::new();
        for _ in 0..lines {
            all.push(Line::connect(to).await?);
        }
        Ok(Self { lines: all, waiting: VecDeque::new(), last: 0, room: vec![0; 16 * 1024] })
    }

    /// Requests without an answer.
    pub(super) fn on_their_way(&self) -> usize {
        self.waiting.len() + self.lines.iter().map(|line| line.asked.len()).sum::<usize>()
    }

    /// Asks, as soon as there is room on a connection and a [`turn`](Self::turn).
    pub(super) fn ask(&mut self, tag: u64, due: Instant, frame: Bytes) {
        self.waiting.push_back(Waiting { tag, due, frame });
    }

    /// Sends what may be sent and takes what has come, and waits for that, but no longer.
    pub(super) async fn turn(&mut self, wait: Duration, answers: &mut Vec<Answer>) -> Result<()> {
        yield_now().await;
        let before = answers.len();
        self.pass(answers)?;
        if answers.len() == before && !wait.is_zero() {
            let ready = self.lines.iter().map(|line| Box::pin(line.ready()));
            // Whether anything came is looked at in either case.
            let _ = timeout(wait, select_all(ready)).await;
            self.pass(answers)?;
        }
        Ok(())
    }

    /// Asks once, and waits for the answer.
    pub(super) async fn one(&mut self, frame: &Bytes) -> Result<Answer> {
        let begun = Instant::now();
        self.ask(0, begun, frame.clone());
        let mut answers = Vec::new();
        loop {
            self.turn(Duration::from_millis(100), &mut answers).await?;
            if let Some(answer) = answers.pop() {
                return Ok(answer);
            }
            ensure!(begun.elapsed() < DEADLINE, "no answer within {DEADLINE:?}");
        }
    }

    /// Asks on and on, so many at a time, for as long as `goes_on` says so of the number of the
    /// next request.
    pub(super) async fn closed(
        &mut self,
        at_a_time: usize,
        mut goes_on: impl FnMut(u64) -> bool,
        mut next: impl FnMut(u64) -> (u64, Bytes),
        mut each: impl FnMut(&Answer),
    ) -> Result<Asking> {
        /// So that answers are taken while requests are made.
        const AT_ONCE: usize = 16;
        let (begun, mut asked, mut answers) = (Instant::now(), 0, Vec::new());
        let (mut more, mut heard) = (true, begun);
        while more {
            let room = at_a_time.saturating_sub(self.on_their_way()).min(AT_ONCE);
            for _ in 0..room {
                more = goes_on(asked);
                if !more {
                    break;
                }
                let (tag, frame) = next(asked);
                self.ask(tag, Instant::now(), frame);
                asked += 1;
            }
            let wait = if room > 0 { Duration::ZERO } else { Duration::from_millis(10) };
            self.turn(wait, &mut answers).await?;
            if !answers.is_empty() {
                heard = Instant::now();
            }
            ensure!(heard.elapsed() < DEADLINE, "no answer within {DEADLINE:?}");
            answers.drain(..).for_each(|answer| each(&answer));
        }
        let ended = Instant::now();
        self.drain(each).await?;
        Ok(Asking { asked, withheld: 0, took: ended - begun, ended })
    }

    /// Asks so often a second, whether or not there are answers, but with no more than `most`
    /// on their way: Envoy, too, sends no more.
    pub(super) async fn paced(
        &mut self,
        (rate, most): (f64, usize),
        length: Duration,
        mut next: impl FnMut(u64) -> (u64, Bytes),
        mut each: impl FnMut(&Answer),
    ) -> Result<Asking> {
        let period = Duration::from_secs_f64(1.0 / rate);
        let begun = Instant::now();
        let (mut due, mut asked, mut withheld, mut answers) = (begun, 0, 0, Vec::new());
        while begun.elapsed() < length {
            let now = Instant::now();
            while due <= now {
                if self.on_their_way() < most {
                    let (tag, frame) = next(asked);
                    self.ask(tag, due, frame);
                    asked += 1;
                } else {
                    withheld += 1;
                }
                due += period;
            }
            self.turn(Duration::from_millis(1), &mut answers).await?;
            answers.drain(..).for_each(|answer| each(&answer));
        }
        let ended = Instant::now();
        self.drain(each).await?;
        Ok(Asking { asked, withheld, took: ended - begun, ended })
    }

    /// Waits for the answers to all that was asked.
    async fn drain(&mut self, mut each: impl FnMut(&Answer)) -> Result<()> {
        let (begun, mut answers) = (Instant::now(), Vec::new());
        while self.on_their_way() > 0 {
            let left = self.on_their_way();
            ensure!(begun.elapsed() < DEADLINE, "{left} answers are missing");
            self.turn(Duration::from_millis(100), &mut answers).await?;
            answers.drain(..).for_each(|answer| each(&answer));
        }
        Ok(())
    }

    fn pass(&mut self, answers: &mut Vec<Answer>) -> Result<()> {
        self.give();
        for line in &mut self.lines {
            line.flush()?;
            line.take(&mut self.room, answers)?;
            // What the server wants to have acknowledged.
            line.flush()?;
        }
        Ok(())
    }

    /// Gives requests to the connections in turn.
    fn give(&mut self) {
        let count = self.lines.len();
        while let Some(length) = self.waiting.front().map(|first| first.frame.len()) {
            let mut places = (1..=count).map(|step| (self.last + step) % count);
            let Some(at) = places.find(|at| self.lines[*at].has_room(length)) else { return };
            self.last = at;
            if let Some(first) = self.waiting.pop_front() {
                self.lines[at].ask(first);
            }
        }
    }
}

impl Line {
    async fn connect(to: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        let mut out = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        // No pushes, and `SETTINGS_INITIAL_WINDOW_SIZE`.
        let mut settings = vec![0, 2, 0, 0, 0, 0, 0, 4];
        settings.extend(ANSWER_WINDOW.to_be_bytes());
        frame(&mut out, SETTINGS, 0, 0, &settings);
        frame(&mut out, WINDOW_UPDATE, 0, 0, &ANSWERS_WINDOW.to_be_bytes());
        Ok(Self {
            stream,
            out,
            written: 0,
            read: Vec::new(),
            next_stream: 1,
            window: FIRST_WINDOW,
            most: 100,
            asked: HashMap::new(),
            taken: 0,
        })
    }

    /// Until something can be read, or written where there is something.
    async fn ready(&self) {
        let interest = match self.out.is_empty() {
            true => Interest::READABLE,
            false => Interest::READABLE | Interest::WRITABLE,
        };
        // An error is found where it is read.
        let _ = self.stream.ready(interest).await;
    }

    fn has_room(&self, length: usize) -> bool {
        self.asked.len() < self.most
            && self.out.len() - self.written < UNWRITTEN
            && i64::try_from(length).is_ok_and(|length| length <= self.window)
    }

    fn ask(&mut self, Waiting { tag, due, frame: message }: Waiting) {
        let stream = self.next_stream;
        self.next_stream += 2;
        frame(&mut self.out, HEADERS, END_HEADERS, stream, &headers(stream == 1));
        frame(&mut self.out, DATA, END_STREAM, stream, &message);
        self.window -= i64::try_from(message.len()).unwrap();
        self.asked.insert(stream, Asked { tag, due, message: Vec::new() });
    }

    fn flush(&mut self) -> Result<()> {
        while self.written < self.out.len() {
            match self.stream.try_write(&self.out[self.written..]) {
                Ok(0) => bail!("the server takes no more"),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error).context("writing to the server"),
            }
        }
        if self.written == self.out.len() {
            self.out.clear();
            self.written = 0;
        } else if self.written > UNWRITTEN {
            self.out.drain(..self.written);
            self.written = 0;
        }
        Ok(())
    }

    fn take(&mut self, room: &mut [u8], answers: &mut Vec<Answer>) -> Result<()> {
        // Others have a turn as well.
        for _ in 0..32 {
            match self.stream.try_read(room) {
                Ok(0) => bail!("the server ended the connection"),
                Ok(count) => self.read.extend_from_slice(&room[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error).context("reading from the server"),
            }
            self.frames(answers)?;
        }
        Ok(())
    }

    /// Takes apart what was read.
    fn frames(&mut self, answers: &mut Vec<Answer>) -> Result<()> {
        let mut read = std::mem::take(&mut self.read);
        let mut at = 0;
        while let Some(head) = read.get(at..at + HEAD) {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
            let (kind, flags) = (head[3], head[4]);
            let Some(payload) = read.get(at + HEAD..at + HEAD + length) else { break };
            self.obey((kind, flags, stream), payload, answers)?;
            at += HEAD + length;
        }
        read.drain(..at);
        self.read = read;
        if self.taken > ANSWERS_WINDOW / 4 {
            frame(&mut self.out, WINDOW_UPDATE, 0, 0, &self.taken.to_be_bytes());
            self.taken = 0;
        }
        Ok(())
    }

    fn obey(
        &mut self,
        (kind, flags, stream): (u8, u8, u32),
        payload: &[u8],
        answers: &mut Vec<Answer>,
    ) -> Result<()> {
        match kind {
            DATA => {
                self.taken += u32::try_from(payload.len())?;
                if let Some(asked) = self.asked.get_mut(&stream) {
                    asked.message.extend_from_slice(payload);
                }
            }
            RESET => {
                if let Some(asked) = self.asked.get_mut(&stream) {
                    asked.message.clear();
                }
            }
            SETTINGS if flags & ACK == 0 => {
                for setting in payload.chunks_exact(6) {
                    let value = u32::from_be_bytes(setting[2..].try_into()?);
                    // `SETTINGS_MAX_CONCURRENT_STREAMS`. One request fits into any window
                    // of a stream that a server of this kind gives.
                    if setting[..2] == [0, 3] {
                        self.most = value as usize;
                    }
                }
                frame(&mut self.out, SETTINGS, ACK, 0, &[]);
            }
            PING if flags & ACK == 0 => frame(&mut self.out, PING, ACK, 0, payload),
            WINDOW_UPDATE if stream == 0 => {
                self.window += i64::from(u32::from_be_bytes(payload.try_into()?));
            }
            GOAWAY => bail!("the server asks to end the connection"),
            _ => {}
        }
        // What the trailers say is packed; what they can say is seen by the message: a call
        // that fails has none.
        let ends = kind == RESET || (matches!(kind, DATA | HEADERS) && flags & END_STREAM > 0);
        if ends && let Some(Asked { tag, due, message }) = self.asked.remove(&stream) {
            answers.push(Answer { tag, took: due.elapsed(), message });
        }
        Ok(())
    }
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap();
    // What every server takes without having said so.
    assert!(length <= 16 * 1024, "a frame of {length} bytes");
    out.extend(&length.to_be_bytes()[1..]);
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// The headers of a call of `Check`. The server remembers those of the first one, and they are
/// named by their places from then on, as every client does.
fn headers(first: bool) -> Vec<u8> {
    // `:method: POST`, `:scheme: http`.
    let mut block = vec![0x83, 0x86];
    if !first {
        block.extend([0x80 | 65, 0x80 | 64, 0x80 | 63, 0x80 | 62]);
        return block;
    }
    for (name, value) in [
        (":path", "/envoy.service.auth.v3.Authorization/Check"),
        (":authority", "stagedoor"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ] {
        block.push(0x40);
        for text in [name, value] {
            // All are shorter than what one byte counts.
            block.push(u8::try_from(text.len()).unwrap());
            block.extend(text.as_bytes());
        }
    }
    block
}
