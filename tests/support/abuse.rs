//! HTTP/2 as nobody should speak it: frames written by hand.

#![allow(dead_code, reason = "each test binary uses its own part of this module")]

use std::net::SocketAddr;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::sleep;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// The fixed bytes and an empty SETTINGS frame.
pub(crate) const BEGINNING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// A way to wear a server out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Abuse {
    /// A connection that says nothing.
    Silence,
    /// One that begins and says nothing more.
    Idleness,
    /// Streams that are opened and taken back at once (CVE-2023-44487).
    RapidReset,
    /// A list of headers that goes on and on (CVE-2024-27316).
    Continuation,
    /// Settings, each of which is to be acknowledged.
    SettingsFlood,
    /// Pings, each of which is to be answered, and the answers are read.
    PingFlood,
    /// Pings whose answers are not read.
    UnreadPings,
    /// Frames of data without data (RUSTSEC-2026-0258).
    EmptyData,
    /// Requests whose answers find no room.
    ZeroWindow,
    /// Headers that come byte by byte.
    SlowHeaders,
    /// A message that comes byte by byte.
    SlowBody,
    /// A list of headers that is too long, and complete.
    HugeHeaders,
    /// A frame that is longer than frames may be.
    LongFrame,
    /// Frames of random bytes.
    Noise,
    /// Changes of priority, which mean nothing any more.
    Priorities,
    /// More room for answers, bit by bit.
    WindowUpdates,
    /// More streams at a time than there may be, none of which is finished.
    Streams,
}

pub(crate) const ALL: [Abuse; 17] = [
    Abuse::Silence,
    Abuse::Idleness,
    Abuse::RapidReset,
    Abuse::Continuation,
    Abuse::SettingsFlood,
    Abuse::PingFlood,
    Abuse::UnreadPings,
    Abuse::EmptyData,
    Abuse::ZeroWindow,
    Abuse::SlowHeaders,
    Abuse::SlowBody,
    Abuse::HugeHeaders,
    Abuse::LongFrame,
    Abuse::Noise,
    Abuse::Priorities,
    Abuse::WindowUpdates,
    Abuse::Streams,
];

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    /// Whether the server ended the connection.
    pub(crate) cut_off: bool,
    /// Steps until then.
    pub(crate) steps: u32,
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// A header field that is not remembered, by its name.
fn field(block: &mut Vec<u8>, name: &str, value: &str) {
    block.push(0);
    for text in [name, value] {
        // All are shorter than what one byte counts.
        block.push(u8::try_from(text.len()).unwrap());
        block.extend(text.as_bytes());
    }
}

/// The headers of a call of `Check`.
fn headers() -> Vec<u8> {
    // `:method: POST`, `:scheme: http`.
    let mut block = vec![0x83, 0x86];
    field(&mut block, ":path", "/envoy.service.auth.v3.Authorization/Check");
    field(&mut block, ":authority", "stagedoor");
    field(&mut block, "content-type", "application/grpc");
    field(&mut block, "te", "trailers");
    block
}

/// A message without attributes in its frame: it is denied.
const EMPTY_CHECK: [u8; 5] = [0; 5];

/// A call whose message never comes.
pub(crate) fn half_a_call() -> Vec<u8> {
    frame(HEADERS, END_HEADERS, 1, &headers())
}

impl Abuse {
    /// What follows the beginning at once.
    fn begins(self) -> Vec<u8> {
        match self {
            // `SETTINGS_INITIAL_WINDOW_SIZE: 0`.
            Self::ZeroWindow => frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]),
            Self::Continuation => frame(HEADERS, 0, 1, &headers()),
            Self::EmptyData | Self::SlowBody => frame(HEADERS, END_HEADERS, 1, &headers()),
            Self::SlowHeaders => vec![0, 0, 100, HEADERS, 0, 0, 0, 0, 1],
            _ => Vec::new(),
        }
    }

    fn step(self, number: u32, random: &mut StdRng) -> Vec<u8> {
        let stream = 2 * number + 1;
        let filler = || {
            let mut block = Vec::new();
            for _ in 0..60 {
                field(&mut block, &format!("x-{number}"), &"y".repeat(120));
            }
            block
        };
        match self {
            Self::Silence | Self::Idleness => Vec::new(),
            Self::RapidReset => {
                let mut both = frame(HEADERS, END_HEADERS | END_STREAM, stream, &headers());
                both.extend(frame(RESET, 0, stream, &8_u32.to_be_bytes()));
                both
            }
            Self::Continuation => frame(CONTINUATION, 0, 1, &filler()),
            Self::SettingsFlood => frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]).repeat(100),
            Self::PingFlood | Self::UnreadPings => frame(PING, 0, 0, b"pingpong").repeat(100),
            Self::EmptyData => frame(DATA, 0, 1, &[]).repeat(100),
            Self::ZeroWindow => {
                let mut both = frame(HEADERS, END_HEADERS, stream, &headers());
                both.extend(frame(DATA, END_STREAM, stream, &EMPTY_CHECK));
                both
            }
            // A field without an index, of so many bytes as are never there.
            Self::SlowHeaders => vec![if number == 0 { 0x83 } else { 0x86 }],
            Self::SlowBody => frame(DATA, 0, 1, &[0]),
            Self::HugeHeaders => {
                let mut all = frame(HEADERS, 0, stream, &headers());
                for _ in 0..12 {
                    all.extend(frame(CONTINUATION, 0, stream, &filler()));
                }
                all.extend(frame(CONTINUATION, END_HEADERS, stream, &[]));
                all
            }
            Self::LongFrame => frame(DATA, 0, 1, &vec![0; 1 << 20]),
            Self::Noise => {
                let bytes: Vec<u8> = (0..64).map(|_| random.random()).collect();
                frame(random.random_range(0..12), random.random(), stream, &bytes)
            }
            Self::Priorities => frame(PRIORITY, 0, stream, &[0, 0, 0, 0, 7]).repeat(100),
            Self::WindowUpdates => frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes()).repeat(100),
            Self::Streams => frame(HEADERS, END_HEADERS, stream, &headers()),
        }
    }

    /// Between two steps.
    fn pause(self) -> Option<Duration> {
        matches!(self, Self::Silence | Self::Idleness | Self::SlowHeaders | Self::SlowBody)
            .then_some(Duration::from_millis(20))
    }
}

/// One connection that does this, for so many steps or until the server ends it.
pub(crate) async fn once(to: SocketAddr, abuse: Abuse, steps: u32) -> std::io::Result<Ended> {
    let (mut reading, mut writing) = TcpStream::connect(to).await?.into_split();
    let mut random = StdRng::seed_from_u64(abuse as u64);
    let attack = async {
        if abuse != Abuse::Silence {
            writing.write_all(BEGINNING).await?;
            // As every client has to.
            writing.write_all(&frame(SETTINGS, ACK, 0, &[])).await?;
        }
        writing.write_all(&abuse.begins()).await?;
        for number in 0..steps {
            if let Err(error) = writing.write_all(&abuse.step(number, &mut random)).await {
                return Ok(match error.kind() {
                    std::io::ErrorKind::BrokenPipe | std::io::ErrorKind::ConnectionReset => number,
                    _ => return Err(error),
                });
            }
            if let Some(pause) = abuse.pause() {
                sleep(pause).await;
            }
        }
        Ok(steps)
    };
    if abuse == Abuse::UnreadPings {
        let steps_made = attack.await?;
        return Ok(Ended { cut_off: steps_made < steps, steps: steps_made });
    }
    let mut bytes = vec![0; 16 * 1024];
    let ended = async { while reading.read(&mut bytes).await.is_ok_and(|read| read > 0) {} };
    tokio::pin!(attack, ended);
    tokio::select! {
        () = &mut ended => Ok(Ended { cut_off: true, steps: 0 }),
        steps_made = &mut attack => {
            let steps_made = steps_made?;
            // What was sent last may be what ends it.
            let cut_off = tokio::time::timeout(Duration::from_secs(1), ended).await.is_ok();
            Ok(Ended { cut_off: cut_off || steps_made < steps, steps: steps_made })
        }
    }
}

/// So many connections that do this on and on.
pub(crate) async fn forever(to: SocketAddr, abuse: Abuse, connections: usize) {
    let attack = || async {
        loop {
            // An end is a reason to begin again, whatever it was.
            let _ = once(to, abuse, 500).await;
            // Not so many that a machine with few processors does nothing else.
            sleep(Duration::from_millis(100)).await;
        }
    };
    futures_util::future::join_all((0..connections).map(|_| attack())).await;
}
