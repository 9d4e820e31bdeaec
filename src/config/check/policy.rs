//! `policy`.

use std::path::PathBuf;

use super::Findings;
use super::rest::header;
use crate::bounded::Bounds;
use crate::config::document::Policy;
use crate::config::problem::below;
use crate::config::values::{ByteSize, Period};
use crate::domain::EntityRef;
use crate::policy::PolicySettings;

pub(super) fn settings(policy: &Policy, findings: &mut Findings<'_>) -> PolicySettings {
    let (least, most) = (Period::seconds(1), Period::minutes(60));
    PolicySettings {
        files: files("/policy/files", &policy.files, findings),
        shadow: files("/policy/shadow/files", &policy.shadow.files, findings),
        shadow_sample: policy.shadow.sample_percent.min(100),
        reload_every: Some(findings.period(
            "/policy/reload_every",
            policy.reload_every,
            least,
            most,
        )),
        memory: Bounds {
            max_entries: usize::try_from(policy.cache.max_entries).unwrap_or(usize::MAX),
            max_bytes: findings.size(
                "/policy/cache/max_bytes",
                policy.cache.max_bytes,
                ByteSize(0),
                ByteSize::mib(64 << 10),
            ),
        },
    }
}

/// Files, and folders of them.
fn files(pointer: &str, texts: &[String], findings: &mut Findings<'_>) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        let pointer = below(pointer, index);
        let Some(path) = findings.path(&pointer, text) else { continue };
        let found = match path.is_dir() {
            true => findings.folder(&pointer, text),
            false => findings.file(&pointer, text),
        };
        if let Some(file) = found {
            if files.contains(&file) {
                findings.say(pointer, "is given twice");
            }
            files.push(file);
        }
    }
    files
}

/// The header in which a caller gives a reason.
pub(super) fn justification(policy: &Policy, findings: &mut Findings<'_>) -> String {
    let name = &policy.justification_header;
    if let Err(message) = header(name) {
        findings.say("/policy/justification_header", message);
    }
    name.clone()
}

/// The groups whose members may ask why.
pub(super) fn debug_groups(policy: &Policy, findings: &mut Findings<'_>) -> Vec<EntityRef> {
    let mut groups = Vec::new();
    for (index, text) in policy.debug.groups.iter().enumerate() {
        match EntityRef::resolve(text, "group", "default") {
            Ok(group) if group.kind() == "group" => groups.push(group),
            Ok(group) => findings.say(
                below("/policy/debug/groups", index),
                format!("expected a Backstage group, not `{group}`"),
            ),
            Err(error) => findings.say(below("/policy/debug/groups", index), error.to_string()),
        }
    }
    groups
}
