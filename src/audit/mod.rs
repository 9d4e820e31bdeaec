//! The audit record: one JSON line per decision, and per change of catalog and
//! configuration, written off the request's path.
//!
//! A request makes its record and queues it, and neither waits nor fails: a full
//! queue, a slow disk or a reader that is gone cost records, which are counted,
//! and never a decision. What was lost is said where it is missing.

mod catalog;
mod config;
pub mod form;
mod latest;
mod line;
mod lines;
mod loss;
mod member;
mod otlp;
mod present;
mod pseudonym;
mod record;
mod rotate;
mod sender;
mod settings;
mod sink;
mod writer;

pub use catalog::CatalogRecord;
pub use config::ConfigRecord;
pub use latest::{LATEST_DENIALS, LatestDenials};
pub use member::Member;
pub use pseudonym::{KeyError, PseudonymKey};
pub use record::AuditRecord;
pub(crate) use rotate::sibling;
pub use sender::{AuditQueue, AuditSender, AuditStats};
pub use settings::*;
pub use writer::{AuditError, AuditTask, AuditWriter};
