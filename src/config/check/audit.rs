//! `audit`.

use super::Findings;
use crate::audit::{
    AuditSettings, AuditSink, ContentSettings, PseudonymKey, PseudonymSettings, RotateSettings,
};
use crate::config::document::{Audit, PseudonymField, Pseudonyms, Rotate};
use crate::config::problem::below;
use crate::config::values::ByteSize;
use crate::tls::Authorities;

pub(super) fn settings(
    audit: &Audit,
    authorities: Authorities,
    findings: &mut Findings<'_>,
) -> Option<AuditSettings> {
    let sink = sink(&audit.to, findings);
    let rotate = audit.rotate.as_ref().map(|rotate| rotation(rotate, &sink, findings));
    let otlp = audit.otlp.as_ref().map(|text| findings.url("/audit/otlp", text));
    for (index, member) in audit.mask.iter().enumerate() {
        if audit.mask.iter().take(index).any(|before| before == member) {
            findings.say(below("/audit/mask", index), "is given twice");
        }
    }
    let pseudonyms = audit.pseudonyms.as_ref().map(|names| pseudonyms(names, findings));
    Some(AuditSettings {
        sink,
        rotate,
        queue: usize::try_from(audit.queue).unwrap_or(usize::MAX),
        otlp: match otlp {
            Some(url) => Some(url?),
            None => None,
        },
        authorities,
        content: ContentSettings {
            facts: audit.facts,
            mask: audit.mask.clone(),
            pseudonyms: match pseudonyms {
                Some(settings) => Some(settings?),
                None => None,
            },
        },
    })
}

fn sink(to: &str, findings: &mut Findings<'_>) -> AuditSink {
    let Some(path) = to.strip_prefix("file:") else {
        return if to == "off" { AuditSink::Off } else { AuditSink::Stdout };
    };
    let Some(path) = findings.path("/audit/to", path) else { return AuditSink::Off };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder
        && !folder.is_dir()
    {
        let message = format!("the folder `{}` isn't there", folder.display());
        findings.say("/audit/to", message);
    } else if path.is_dir() {
        findings.say("/audit/to", format!("`{}` is a folder, not a file", path.display()));
    }
    AuditSink::File(path)
}

fn rotation(rotate: &Rotate, sink: &AuditSink, findings: &mut Findings<'_>) -> RotateSettings {
    if !matches!(sink, AuditSink::File(_)) {
        findings.say_of("/audit/rotate", &["/audit/to"], "only a file can be begun anew");
    }
    let (least, most) = (ByteSize::kib(64), ByteSize::mib(64 << 10));
    findings.between("/audit/rotate/max_size", rotate.max_size, least, most);
    RotateSettings { max_size: rotate.max_size.0, keep: rotate.keep }
}

fn pseudonyms(names: &Pseudonyms, findings: &mut Findings<'_>) -> Option<PseudonymSettings> {
    let pointer = "/audit/pseudonyms/key_file";
    let key_file = findings.file(pointer, &names.key_file)?;
    // Also what is read again later must be good once: no record is written without it.
    findings.read(pointer, PseudonymKey::read(&key_file))?;
    let replaces = |field| names.fields.contains(&field);
    Some(PseudonymSettings {
        key_file,
        object: replaces(PseudonymField::Object),
        client: replaces(PseudonymField::Client),
    })
}
