//! `stagedoor audit show`

use std::fmt::Write as _;
use std::io::{self, BufWriter, IsTerminal as _, Write};

use anyhow::bail;
use clap::Args;

use super::filter::Filter;
use super::follow;
use super::read::{Source, Strange};
use crate::audit::form::{CatalogForm, DecisionForm, GapForm, Outcome, RecordForm};

#[derive(Debug, Args)]
pub(in crate::cli) struct ShowArgs {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    filter: Filter,
    /// As they stand, one JSON object a line.
    #[arg(long)]
    json: bool,
    /// Go on with what is written from now on, also into the files after this one.
    #[arg(long)]
    follow: bool,
}

pub(super) fn run(args: &ShowArgs) -> anyhow::Result<()> {
    if args.follow && args.source.is_stdin() {
        bail!("standard input cannot be followed: leave `--follow` out, it is read as it comes");
    }
    let stdout = io::stdout().lock();
    let colour =
        stdout.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty());
    let mut out =
        Shown { out: BufWriter::new(stdout), filter: &args.filter, json: args.json, colour };
    let mut strange = Strange::default();
    if args.follow {
        return follow::follow(&args.source, &mut strange, &mut out);
    }
    let prompt = args.source.is_stdin();
    args.source.each(&mut strange, |line, record| {
        out.tell(line, &record)?;
        // Whoever writes to us may be slow, and nobody waits for a full buffer.
        if prompt { out.flush() } else { Ok(()) }
    })?;
    out.flush()?;
    if strange.count() > 0 {
        crate::cli::note(&strange.to_string());
    }
    Ok(())
}

/// Shows what the filter admits.
pub(super) struct Shown<'a, W: Write> {
    out: W,
    filter: &'a Filter,
    json: bool,
    colour: bool,
}

impl<W: Write> Shown<'_, W> {
    pub(super) fn tell(&mut self, line: &[u8], record: &RecordForm<'_>) -> anyhow::Result<()> {
        if !self.filter.admits(record) {
            return Ok(());
        }
        if self.json {
            self.out.write_all(line)?;
            self.out.write_all(b"\n")?;
        } else {
            writeln!(self.out, "{}", text(record, self.colour))?;
        }
        Ok(())
    }

    pub(super) fn flush(&mut self) -> anyhow::Result<()> {
        self.out.flush().map_err(Into::into)
    }
}

const GREEN: &str = "32";
const RED: &str = "31";
const YELLOW: &str = "33";

/// A record as a person reads it, on one line.
fn text(record: &RecordForm<'_>, colour: bool) -> String {
    let paint = |code: &str, word: &str| {
        if colour { format!("\u{1b}[{code}m{word}\u{1b}[0m") } else { word.to_owned() }
    };
    let mut parts = vec![record.time().to_string()];
    match record {
        RecordForm::Decision(record) => decision(record, paint, &mut parts),
        RecordForm::Catalog(record) => catalog(record, paint, &mut parts),
        RecordForm::Config(record) => {
            parts.push(paint(YELLOW, "CONFIG"));
            parts.push(record.event.as_str().to_owned());
            let texts = [&record.config_before, &record.config_version, &record.detail];
            parts.extend(texts.into_iter().flatten().map(|text| clean(text)));
        }
        RecordForm::Gap(GapForm { lost, since, .. }) => {
            parts.push(paint(YELLOW, "GAP  "));
            parts.push(format!("{lost} records are missing, the first since {since}"));
        }
    }
    parts.join("  ")
}

fn decision(
    record: &DecisionForm<'_>,
    paint: impl Fn(&str, &str) -> String,
    parts: &mut Vec<String>,
) {
    parts.push(match record.decision {
        Outcome::Allow => paint(GREEN, "allow"),
        Outcome::Deny => paint(RED, "DENY "),
    });
    parts.push(clean(&record.reason));
    let masked = |text: &Option<_>| text.as_deref().map_or("[masked]".to_owned(), clean);
    let (method, host, path) = (&record.method, &record.host, &record.path);
    parts.push(format!("{} {}{}", masked(method), masked(host), masked(path)));
    if let Some(entity) = &record.entity {
        parts.push(format!("{} {}", clean(record.action.as_deref().unwrap_or("")), clean(entity)));
    }
    parts.push(record.principal.as_ref().map_or("nobody".to_owned(), |principal| {
        format!("{} {}", clean(&principal.kind), clean(&principal.object))
    }));
    let list = |word: &str, ids: &[_]| {
        let ids: Vec<_> = ids.iter().map(|id: &std::borrow::Cow<'_, str>| clean(id)).collect();
        (!ids.is_empty()).then(|| format!("{word} {}", ids.join(", ")))
    };
    parts.extend(list("by", &record.policies));
    if let Some(detail) = &record.detail {
        parts.push(format!("({})", clean(detail)));
    }
    for alert in &record.alerts {
        parts.push(paint(YELLOW, &format!("! {}: {}", clean(&alert.policy), clean(&alert.text))));
    }
    if let Some(justification) = &record.justification {
        parts.push(format!("because \"{}\"", clean(justification)));
    }
    for shadow in &record.shadow {
        let word = if shadow.allow { "would be allowed" } else { "would be denied" };
        let set = clean(&shadow.set);
        let mut text = format!("[{set}: {word}, {}", clean(&shadow.reason));
        if let Some(policies) = list("by", &shadow.policies) {
            let _ = write!(text, " {policies}");
        }
        parts.push(paint(YELLOW, &format!("{text}]")));
    }
    parts.push(duration(record.latency_us));
    parts.push(clean(&record.decision_id));
}

fn catalog(
    record: &CatalogForm<'_>,
    paint: impl Fn(&str, &str) -> String,
    parts: &mut Vec<String>,
) {
    parts.push(paint(YELLOW, "CATALOG"));
    // As it is written.
    let event = serde_json::to_value(record.event).ok();
    parts.extend(event.as_ref().and_then(serde_json::Value::as_str).map(str::to_owned));
    let texts = [&record.change, &record.entity, &record.other, &record.detail];
    parts.extend(texts.into_iter().flatten().map(|text| clean(text)));
}

/// `950µs`, `1.25ms`, `2.10s`.
pub(super) fn duration(micros: u64) -> String {
    let (unit, factor) = match micros {
        0..1000 => return format!("{micros}µs"),
        1000..1_000_000 => ("ms", 1000),
        _ => ("s", 1_000_000),
    };
    format!("{}.{:02}{unit}", micros / factor, micros % factor * 100 / factor)
}

/// A client can have written it: no terminal is told anything but text, in the order in
/// which it is stored.
pub(super) fn clean(text: &str) -> String {
    let plain = |c: char| c == ' ' || c.is_ascii_graphic() || c.is_alphanumeric();
    let escaped = |c: char| match plain(c) {
        true => c.to_string(),
        false => c.escape_unicode().to_string(),
    };
    text.chars().map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_for_people() {
        let line = |json: &str| {
            text(&serde_json::from_str::<RecordForm<'_>>(json).expect("a record"), false)
        };
        assert_eq!(
            line(
                r#"{"version":1,"time":"2026-03-01T12:00:00.000Z","decision_id":"d1",
                "method":"GET","host":"h","path":"/a\u001b[31m\u202e\nb","decision":"deny",
                "reason":"not_permitted","entity":"component:default/x","action":"read",
                "principal":{"kind":"user","tenant":"t","object":"o"},"policies":["p"],
                "detail":"why","shadow":[{"set":"mode","allow":true,"reason":"permitted",
                "policies":["new"]}],"latency_us":1250}"#
            ),
            "2026-03-01T12:00:00.000Z  DENY   not_permitted  \
             GET h/a\\u{1b}[31m\\u{202e}\\u{a}b  read component:default/x  user o  by p  (why)  \
             [mode: would be allowed, permitted by new]  1.25ms  d1"
        );
        assert_eq!(
            line(
                r#"{"version":1,"time":"2026-03-01T12:00:00.000Z","decision_id":"d1",
                "decision":"allow","reason":"public_route","latency_us":7,
                "masked":["method","host","path"]}"#
            ),
            "2026-03-01T12:00:00.000Z  allow  public_route  [masked] [masked][masked]  nobody  \
             7µs  d1"
        );
        assert_eq!(
            line(
                r#"{"version":1,"time":"2026-03-01T12:00:00.000Z","event":"audit_gap",
                "lost":3,"since":"2026-03-01T11:00:00.000Z"}"#
            ),
            "2026-03-01T12:00:00.000Z  GAP    3 records are missing, the first since \
             2026-03-01T11:00:00.000Z"
        );
        assert_eq!(
            line(
                r#"{"version":1,"time":"2026-03-01T12:00:00.000Z","event":"catalog_change",
                "change":"owner_added","entity":"component:default/x","other":"group:default/y"}"#
            ),
            "2026-03-01T12:00:00.000Z  CATALOG  catalog_change  owner_added  \
             component:default/x  group:default/y"
        );
        let red = r#"{"version":1,"time":"2026-03-01T12:00:00.000Z","decision_id":"d1",
            "decision":"deny","reason":"no_route","latency_us":2100000}"#;
        let red = text(&serde_json::from_str::<RecordForm<'_>>(red).expect("a record"), true);
        assert!(red.contains("\u{1b}[31mDENY \u{1b}[0m") && red.contains("2.10s"), "{red}");
    }
}
