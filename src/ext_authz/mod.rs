//! The Check service: Envoy's words to ours and back. It decides nothing.

mod answer;
mod denial;
mod guard;
mod metadata;
pub mod proto;
mod reply;
mod request;
mod service;
mod settings;
#[cfg(test)]
mod tests;
mod warning;

pub use answer::Answer;
pub use denial::{
    Audience, Denials, Direction, Language, Languages, Page, ReasonTexts, Tell, TemplateError,
    Texts,
};
pub use guard::{Guard, OnGuarded};
pub use reply::Reply;
pub use request::request;
pub use service::{CheckService, Decided, Record};
pub use settings::{AnswerSettings, CheckSettings, IdentityHeaders};
