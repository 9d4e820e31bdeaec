//! Policies that are hardly meant so, as `stagedoor policy lint` finds them.

use super::report::{Report, Severity};
use crate::catalog::Snapshot;
use crate::cli::policy;
use crate::config::Config;
use crate::policy::{self as engine, PolicySet};

pub(super) fn look(config: &Config, set: &PolicySet, snapshot: &Snapshot, report: &mut Report) {
    for finding in policy::look(set, Some(config), Some(snapshot)) {
        let severity = match finding.severity {
            engine::Severity::Error => Severity::Error,
            engine::Severity::Warning => Severity::Warning,
            engine::Severity::Info => Severity::Info,
        };
        let (code, remedy) = (finding.kind.code(), finding.kind.remedy());
        report.add(severity, code, &*finding.policy, finding.message, remedy);
    }
}
