//! The Check service: proxies' words to ours and back. It decides nothing.

mod answer;
mod denial;
mod endpoint;
mod header;
mod metadata;
mod over_http;
mod pressure;
pub mod proto;
mod reply;
mod request;
mod service;
mod settings;
#[cfg(test)]
mod tests;
mod warning;
mod wire;
mod within;

pub use answer::Answer;
pub use denial::{
    Audience, Denials, Direction, Language, Languages, Page, ReasonTexts, Tell, TemplateError,
    Texts,
};
pub use endpoint::{Body, CallLimits, Endpoint, OnGuarded};
pub use metadata::{MetadataField, MetadataFields};
pub use over_http::{Dialect, HttpEndpoint};
pub use pressure::{Pressure, PressureLoad, PressureStats};
pub use reply::Reply;
pub use request::request;
pub use service::{CheckService, Decided, Record, Replaced};
pub use settings::{AnswerSettings, CheckSettings, IdentityHeaders};
pub use wire::read;
