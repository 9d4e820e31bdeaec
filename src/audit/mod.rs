//! The audit record: one JSON line per decision, and per change of the catalog, written
//! off the request's path.
//!
//! A request makes its record and queues it, and neither waits nor fails: a full
//! queue, a slow disk or a reader that is gone cost records, which are counted,
//! and never a decision.

mod catalog;
mod line;
mod record;
mod settings;
mod sink;
mod writer;

pub use catalog::CatalogRecord;
pub use record::{AuditPrincipal, AuditRecord};
pub use settings::*;
pub use writer::{AuditError, AuditSender, AuditStats, AuditTask, AuditWriter};
