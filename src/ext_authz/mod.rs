//! The Check service: Envoy's words to ours and back. It decides nothing.

mod answer;
mod body;
mod guard;
mod metadata;
pub mod proto;
mod reply;
mod request;
mod service;
mod settings;
#[cfg(test)]
mod tests;

pub use answer::Answer;
pub use guard::{Guard, OnGuarded};
pub use reply::Reply;
pub use request::request;
pub use service::{CheckService, Decided, Record};
pub use settings::{AnswerSettings, CheckSettings, IdentityHeaders};
