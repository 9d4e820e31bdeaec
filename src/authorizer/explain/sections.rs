//! An explanation in sections, as every rendering shows it.

use serde::{Serialize, Serializer};

use super::model::Explanation;
use crate::policy::Applies;

/// A heading, and lines below it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Section {
    /// The heading.
    pub title: &'static str,
    /// What it says, line by line: a tone, a short label, and a text. Both may hold what
    /// callers and catalogs wrote.
    #[serde(serialize_with = "lines")]
    pub lines: Vec<(Tone, String, String)>,
}

/// What a line means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Tone {
    /// Nothing in particular.
    Plain,
    /// In favour of the request.
    Good,
    /// Against it.
    Bad,
    /// Nearly.
    Near,
}

impl Explanation {
    /// The explanation in sections.
    #[must_use]
    pub fn sections(&self) -> Vec<Section> {
        let all = [
            self.answer(),
            self.way(),
            self.rules(),
            self.memberships(),
            self.owners(),
            self.said(),
            self.wanted(),
        ];
        all.into_iter().filter(|section| !section.lines.is_empty()).collect()
    }

    /// As text, with colours of a terminal or without.
    #[must_use]
    pub fn text(&self, colour: bool) -> String {
        let mut text = String::new();
        for section in self.sections() {
            text.push_str(&paint(section.title, "1", colour));
            text.push('\n');
            let width = section.lines.iter().map(|(_, label, _)| label.chars().count()).max();
            let width = width.unwrap_or(0).min(32);
            for (tone, label, words) in section.lines {
                let (mark, code) = match tone {
                    Tone::Plain => (' ', ""),
                    Tone::Good => ('+', "32"),
                    Tone::Bad => ('-', "31"),
                    Tone::Near => ('~', "33"),
                };
                // What others wrote moves no cursor and changes no colour here.
                let label = format!("{:<width$}", safe(&label));
                let line = format!("{mark} {label}  {}", safe(&words));
                text.push_str("  ");
                text.push_str(&paint(line.trim_end(), code, colour));
                text.push('\n');
            }
        }
        text
    }

    fn answer(&self) -> Section {
        let conclusion = &self.conclusion;
        let tone = if self.is_allow() { Tone::Good } else { Tone::Bad };
        let mut lines = vec![
            (tone, "answer".to_owned(), format!("{} ({})", conclusion.decision, conclusion.reason)),
            (Tone::Plain, "why".to_owned(), conclusion.sentence.clone()),
        ];
        lines.extend(
            conclusion.detail.iter().map(|d| (Tone::Plain, "detail".to_owned(), d.clone())),
        );
        if !conclusion.policies.is_empty() {
            lines.push((tone, "policies".to_owned(), conclusion.policies.join(", ")));
        }
        Section { title: "decision", lines }
    }

    fn way(&self) -> Section {
        let plain = |label: &str, text: &str| (Tone::Plain, label.to_owned(), text.to_owned());
        let (request, route) = (&self.request, &self.route);
        let asked = format!("{} {}{}", request.method, request.host, request.path);
        let mut lines = vec![plain("asked", &asked)];
        lines.extend(request.normalised.iter().map(|text| plain("read", text)));
        if let Some(name) = &route.matched {
            let gate = route.gate.unwrap_or_default();
            lines.push((Tone::Good, "route".to_owned(), format!("{name} (gate {gate})")));
        }
        lines.extend(route.action.map(|action| plain("action", action)));
        lines.extend(route.entity.as_ref().map(|entity| plain("entity", entity)));
        let refused = route.refused.iter();
        lines.extend(refused.map(|text| (Tone::Bad, "route".to_owned(), text.clone())));
        lines.extend(route.near.iter().map(|near| {
            let text =
                format!("would match but for the {}: `{}`", near.but_for, near.wants.join("`, `"));
            (Tone::Near, near.route.clone(), text)
        }));
        Section { title: "request", lines }
    }

    fn rules(&self) -> Section {
        let mut lines = Vec::new();
        if let Some(token) = &self.token {
            if let Some((kind, tenant, object)) = &token.caller {
                lines.push((
                    Tone::Plain,
                    "caller".to_owned(),
                    format!("{kind} {object} of {tenant}"),
                ));
            }
            for rule in &token.rules {
                let tone = match rule.outcome {
                    "passed" => Tone::Good,
                    "unasked" => Tone::Plain,
                    _ => Tone::Bad,
                };
                let outcome = if rule.outcome == "passed" { "" } else { rule.outcome };
                let setting = match rule.setting.as_str() {
                    "" => String::new(),
                    setting => format!("[{setting}]"),
                };
                let words = [outcome, &rule.detail, &setting];
                let words: Vec<_> = words.into_iter().filter(|text| !text.is_empty()).collect();
                lines.push((tone, rule.rule.to_owned(), words.join("  ")));
            }
        }
        Section { title: "token", lines }
    }

    fn memberships(&self) -> Section {
        let line = |group: &super::GroupPart| {
            (
                Tone::Plain,
                group.group.clone(),
                format!("{}: {}", group.title, group.from.join("; ")),
            )
        };
        Section { title: "groups", lines: self.groups.iter().map(line).collect() }
    }

    fn owners(&self) -> Section {
        let mut lines = Vec::new();
        if let Some(ownership) = &self.ownership {
            for (owner, title) in &ownership.owners {
                lines.push((Tone::Plain, "owner".to_owned(), format!("{title} ({owner})")));
            }
            if ownership.owners.is_empty() {
                lines.push((Tone::Bad, "owner".to_owned(), "nobody".to_owned()));
            }
            if !ownership.part_of.is_empty() {
                lines.push((Tone::Plain, "part of".to_owned(), ownership.part_of.join(", ")));
            }
            lines.extend(
                ownership.ways.iter().map(|way| (Tone::Good, "way".to_owned(), way.clone())),
            );
            let miss = ownership.nearest_miss.iter();
            lines.extend(miss.map(|way| (Tone::Near, "nearest miss".to_owned(), way.clone())));
        }
        Section { title: "ownership", lines }
    }

    fn said(&self) -> Section {
        let mut lines = Vec::new();
        for policy in self.policies.iter().flat_map(|traces| &traces.policies) {
            let mode = if policy.mode == "enforce" {
                String::new()
            } else {
                format!(" [{}]", policy.mode)
            };
            let (tone, words) = match (&policy.applies, policy.effect) {
                (Applies::Yes, "permit") => (Tone::Good, "permits".to_owned()),
                (Applies::Yes, _) => (Tone::Bad, "forbids".to_owned()),
                (Applies::Fails(error), _) => (Tone::Bad, format!("can't be evaluated: {error}")),
                (Applies::No, _) => {
                    let lacks: Vec<_> =
                        policy.lacks.iter().map(|lack| lack.text.as_str()).collect();
                    (Tone::Near, format!("would permit, but for: {}", lacks.join("; ")))
                }
            };
            lines.push((tone, policy.id.clone(), format!("{words}{mode}  {}", policy.place)));
        }
        if let Some(traces) = self.policies.as_ref().filter(|traces| traces.others > 0) {
            let text = format!("{} others neither apply nor come near", traces.others);
            lines.push((Tone::Plain, String::new(), text));
        }
        Section { title: "policies", lines }
    }

    fn wanted(&self) -> Section {
        let line = |text: &String| (Tone::Near, String::new(), text.clone());
        Section { title: "for an allow", lines: self.to_allow.iter().map(line).collect() }
    }
}

/// Lines with names for their parts.
fn lines<S: Serializer>(
    lines: &[(Tone, String, String)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Line<'a> {
        tone: Tone,
        label: &'a str,
        text: &'a str,
    }
    serializer.collect_seq(lines.iter().map(|(tone, label, text)| Line {
        tone: *tone,
        label,
        text,
    }))
}

/// Without characters that a terminal acts on.
fn safe(text: &str) -> String {
    let odd = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if odd(c) { '\u{fffd}' } else { c }).collect()
}

fn paint(text: &str, code: &str, colour: bool) -> String {
    if colour && !code.is_empty() {
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    } else {
        text.to_owned()
    }
}
