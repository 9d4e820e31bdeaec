//! `stagedoor doctor --envoy`: what in Envoy's, Istio's or Envoy Gateway's configuration
//! undoes the protection.
//!
//! What can't be read or isn't known is an error or a finding, never silence: an empty
//! answer means that everything was seen.

mod asking;
mod chain;
mod cluster;
mod filter;
mod gateway;
mod input;
mod istio;
mod listener;
mod mutation;
mod order;
mod patches;
mod routes;
mod rules;
mod running;
mod scope;
#[cfg(test)]
mod tests;
mod trailers;
mod view;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use super::report::Report;
use crate::config;
use input::{Input, Part};
pub(super) use rules::Rule;
use view::View;

/// What Stagedoor itself is configured with, as far as Envoy's side must fit it.
struct Own {
    deadline: Duration,
    /// The identity headers, in lower case.
    headers: Vec<String>,
}

impl Own {
    /// As a configuration says it, or by default.
    fn of(file: Option<&Path>) -> anyhow::Result<Self> {
        let own = match file {
            Some(file) => {
                let config = super::super::config::load(file)?;
                (config.check.deadline, config.answer.headers)
            }
            None => config::seen_by_envoy(),
        };
        let (deadline, names) = own;
        let headers =
            [names.subject, names.tenant, names.kind, names.entity, names.decision_id].into();
        Ok(Self { deadline, headers })
    }
}

/// Where findings go, and what they are judged by.
struct Look<'r> {
    own: Own,
    report: &'r mut Report,
    /// What is before each place: the file, or the name of an object in it.
    prefix: String,
    /// Connection managers, objects and patches that were judged.
    judged: usize,
}

impl Look<'_> {
    fn flag(&mut self, rule: &'static Rule, view: &View<'_>, message: impl Into<String>) {
        let place = [self.prefix.as_str(), view.path()];
        let place: Vec<&str> = place.into_iter().filter(|part| !part.is_empty()).collect();
        self.report.flag(rule, place.join(" "), view.line(), message);
    }

    /// The same, about a member that should be there.
    fn flag_member(
        &mut self,
        rule: &'static Rule,
        (view, name): (&View<'_>, &str),
        message: impl Into<String>,
    ) {
        match view.get(name) {
            Some(member) => self.flag(rule, &member, message),
            None => self.flag(rule, view, message),
        }
    }
}

pub(super) fn run(target: &str, file: Option<&Path>, as_json: bool) -> anyhow::Result<ExitCode> {
    let own = Own::of(file)?;
    let mut report = Report::default();
    look(&Input::read(target)?, own, &mut report)?;
    super::tell(&report, as_json)
}

fn look(input: &Input, own: Own, report: &mut Report) -> anyhow::Result<()> {
    let mut look = Look { own, report, prefix: String::new(), judged: 0 };
    let mut objects = Vec::new();
    let mut mesh = Vec::new();
    for part in input.parts()? {
        match part {
            Part::Bootstrap(view) => listener::bootstrap(&view, &mut look),
            Part::Dump(view) => listener::dump(&view, &mut look),
            Part::Mesh(view) => mesh.push(view),
            Part::Object(view) => objects.push(view),
        }
    }
    if !objects.is_empty() || !mesh.is_empty() {
        istio::look(&objects, &mesh, &mut look)?;
        gateway::look(&objects, &mut look);
    }
    anyhow::ensure!(
        look.judged > 0,
        "`{}` holds no HTTP connection manager, and nothing of Istio or Envoy Gateway that asks \
         for authorization: there is nothing to judge",
        input.name
    );
    Ok(())
}
