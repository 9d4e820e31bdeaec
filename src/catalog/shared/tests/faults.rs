//! A place with a will of its own: slow, and forgetful of answers.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::*;
use crate::catalog::shared::frame::{self, Header};
use crate::catalog::shared::lease::Document;
use crate::catalog::shared::place::{Ask, Read};
use crate::catalog::shared::{Mark, SharedError};

/// Delays each call, loses answers, and carries out writes after it has said that it
/// failed. Keeps a record of what was written.
#[derive(Clone, Debug)]
pub(super) struct Moody {
    inner: Arc<dyn Place>,
    mood: Arc<Mutex<Mood>>,
}

#[derive(Debug)]
struct Mood {
    rng: StdRng,
    faulty: bool,
    record: Record,
}

/// What happened to the objects, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Record {
    /// Every published snapshot.
    pub(super) marks: Vec<Mark>,
    /// Who held each epoch.
    pub(super) holders: BTreeMap<u64, String>,
}

enum Fate {
    Fine,
    Unheard,
    Unanswered,
    /// The client repeated it itself, and found its own write in the way.
    Doubled,
    Late(Duration),
}

impl Moody {
    pub(super) fn new(inner: Arc<dyn Place>, seed: u64) -> Self {
        let rng = StdRng::seed_from_u64(seed);
        let mood = Mood { rng, faulty: true, record: Record::default() };
        Self { inner, mood: Arc::new(Mutex::new(mood)) }
    }

    pub(super) fn calm(&self) {
        self.with(|mood| mood.faulty = false);
    }

    pub(super) fn record(&self) -> Record {
        self.with(|mood| mood.record.clone())
    }

    fn with<T>(&self, ask: impl FnOnce(&mut Mood) -> T) -> T {
        ask(&mut self.mood.lock().unwrap_or_else(PoisonError::into_inner))
    }

    async fn dawdle(&self) {
        let pause = self.with(|mood| match mood.rng.random_range(0..20) {
            0 if mood.faulty => mood.rng.random_range(0..5_000),
            _ => mood.rng.random_range(0..40),
        });
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }

    fn fate(&self) -> Fate {
        self.with(|mood| match mood.rng.random_range(0..30) {
            _ if !mood.faulty => Fate::Fine,
            0 => Fate::Unheard,
            1 | 2 => Fate::Unanswered,
            3 | 4 => Fate::Doubled,
            5 | 6 => Fate::Late(Duration::from_millis(mood.rng.random_range(0..90_000))),
            _ => Fate::Fine,
        })
    }

    async fn carry_out(
        &self,
        object: Object,
        parts: Vec<Bytes>,
        expect: Expect,
    ) -> Result<Written, SharedError> {
        let written = self.inner.write(object, parts.clone(), expect).await?;
        if matches!(written, Written::As(_)) {
            self.with(|mood| mood.record.note(object, &parts));
        }
        Ok(written)
    }
}

impl Record {
    fn note(&mut self, object: Object, parts: &[Bytes]) {
        match object {
            Object::Snapshot => self.marks.push(Header::decode(&parts[0]).unwrap().mark()),
            Object::Lease => {
                let lease = Document::decode(&parts[0]).unwrap();
                let holder = self.holders.entry(lease.epoch).or_insert(lease.holder.clone());
                assert_eq!(*holder, lease.holder, "two hold epoch {}", lease.epoch);
                let last = self.holders.last_key_value().unwrap();
                assert_eq!(*last.0, lease.epoch, "epochs grow");
            }
            Object::Probe => {}
        }
    }
}

fn fault(object: Object) -> SharedError {
    SharedError::Store { object: object.name(), cause: "a fault".to_owned() }
}

impl Place for Moody {
    fn read(&self, object: Object, ask: Ask) -> BoxFuture<'_, Result<Read, SharedError>> {
        async move {
            self.dawdle().await;
            let read = self.inner.read(object, ask).await;
            self.dawdle().await;
            if matches!(self.fate(), Fate::Unheard) { Err(fault(object)) } else { read }
        }
        .boxed()
    }

    fn write(
        &self,
        object: Object,
        parts: Vec<Bytes>,
        expect: Expect,
    ) -> BoxFuture<'_, Result<Written, SharedError>> {
        async move {
            self.dawdle().await;
            let written = match self.fate() {
                Fate::Fine => self.carry_out(object, parts, expect).await,
                Fate::Unheard => Err(fault(object)),
                Fate::Unanswered => {
                    self.carry_out(object, parts, expect).await?;
                    Err(fault(object))
                }
                // Without a condition it would have been repeated to no effect.
                Fate::Doubled if expect == Expect::Anything => {
                    self.carry_out(object, parts, expect).await
                }
                Fate::Doubled => {
                    self.carry_out(object, parts, expect).await?;
                    Ok(Written::Conflict)
                }
                Fate::Late(after) => {
                    let place = self.clone();
                    tokio::spawn(async move {
                        tokio::time::sleep(after).await;
                        place.carry_out(object, parts, expect).await
                    });
                    Err(fault(object))
                }
            };
            self.dawdle().await;
            written
        }
        .boxed()
    }

    fn is_proved(&self) -> bool {
        self.inner.is_proved()
    }
}

/// Whether a content is one that [`content`] made, whole.
pub(super) fn is_whole(bytes: &Bytes, mark: Mark) -> bool {
    *bytes == content(mark, bytes.len())
}

/// Bytes that say in each place which publication they belong to.
pub(super) fn content(mark: Mark, length: usize) -> Bytes {
    let word = format!("<{} {}>", mark.epoch, mark.crawled_at);
    let mut bytes = word.repeat(length / word.len() + 1).into_bytes();
    bytes.truncate(length);
    bytes.into()
}

#[test]
fn the_header_is_within_what_tells_writes_apart() {
    assert!(frame::HEADER as u64 <= crate::catalog::shared::place::STAMPED_HEAD);
}
