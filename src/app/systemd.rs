//! What systemd is told, where it started the process (`Type=notify-reload`).
//!
//! By a thread of its own: whoever listens can be slow, and nobody waits for that.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use sd_notify::NotifyState;

/// Messages that wait to be sent; more than this are not worth it.
const QUEUE: usize = 64;

/// Tells systemd. Cheap to clone; does nothing where nobody listens.
#[derive(Clone, Debug, Default)]
pub struct Systemd {
    queue: Option<SyncSender<Message>>,
}

#[derive(Debug)]
enum Message {
    Ready,
    Reloading,
    Stopping,
    Status(String),
    Alive,
}

impl Systemd {
    /// Whoever the environment names (`NOTIFY_SOCKET`).
    #[must_use]
    pub fn from_environment() -> Self {
        if std::env::var_os("NOTIFY_SOCKET").is_none() {
            return Self::default();
        }
        let (queue, messages) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new().name("systemd".to_owned());
        let started = thread.spawn(move || {
            for message in messages {
                if let Err(error) = send(&message) {
                    tracing::warn!(%error, "systemd could not be told");
                }
            }
        });
        match started {
            Ok(_) => Self { queue: Some(queue) },
            Err(error) => {
                tracing::warn!(%error, "systemd is told nothing");
                Self::default()
            }
        }
    }

    /// How long systemd waits for a sign of life, if it does.
    #[must_use]
    pub fn watchdog(&self) -> Option<Duration> {
        self.queue.as_ref().and_then(|_| sd_notify::watchdog_enabled())
    }

    /// The listeners are open, or a reload is over.
    pub(super) fn ready(&self) {
        self.tell(Message::Ready);
    }

    /// A reload begins.
    pub(super) fn reloading(&self) {
        self.tell(Message::Reloading);
    }

    /// The end has begun.
    pub(super) fn stopping(&self) {
        self.tell(Message::Stopping);
    }

    /// What `systemctl status` shows.
    pub(super) fn status(&self, text: impl Into<String>) {
        self.tell(Message::Status(text.into()));
    }

    /// The threads that serve answer.
    pub(super) fn alive(&self) {
        self.tell(Message::Alive);
    }

    fn tell(&self, message: Message) {
        if let Some(queue) = &self.queue {
            let _ = queue.try_send(message);
        }
    }
}

fn send(message: &Message) -> std::io::Result<()> {
    match message {
        Message::Ready => sd_notify::notify(&[NotifyState::Ready]),
        Message::Reloading => {
            sd_notify::notify(&[NotifyState::Reloading, NotifyState::monotonic_usec_now()?])
        }
        Message::Stopping => sd_notify::notify(&[NotifyState::Stopping]),
        Message::Status(text) => sd_notify::notify(&[NotifyState::Status(text)]),
        Message::Alive => sd_notify::notify(&[NotifyState::Watchdog]),
    }
}
