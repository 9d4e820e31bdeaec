//! From settings to a table, or to all their mistakes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::claims::CATALOG;
use super::context::UNNAMED;
use super::entity::EntityTemplate;
use super::host_pattern::{HostPattern, HostShape};
use super::index::{HostIndex, PathIndex};
use super::path_pattern::{PathPattern, PathShape, Placeholder};
use super::{Route, RouteError, RouteSettings, RouteTable, Rule, check_auth_context, check_name};
use crate::domain::{Demands, Gate};

pub(super) fn build(routes: Vec<RouteSettings>) -> Result<RouteTable, Vec<RouteError>> {
    let mut errors = Vec::new();
    let mut names = HashMap::new();
    let mut hosts = Rules::new();
    for (index, settings) in routes.into_iter().enumerate() {
        let mut mistakes = Mistakes { route: index, errors: &mut errors };
        check_unique(&settings.name, index, &mut names, &mut mistakes);
        let draft = Draft::read(index, settings, &mut mistakes);
        draft.add_to(&mut hosts, &mut mistakes);
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let hosts = hosts.into_iter().map(|(host, paths)| (host, PathIndex::new(paths)));
    Ok(RouteTable { hosts: HostIndex::new(hosts) })
}

type Rules = HashMap<HostShape, HashMap<PathShape, Vec<Rule>>>;

/// Where the mistakes of one route go.
struct Mistakes<'e> {
    route: usize,
    errors: &'e mut Vec<RouteError>,
}

impl Mistakes<'_> {
    fn add(&mut self, field: impl Into<String>, message: impl Into<String>) {
        let (field, message) = (field.into(), message.into());
        self.errors.push(RouteError { route: self.route, field, message });
    }
}

/// One route, read by itself. What was wrong is left out.
struct Draft {
    route: Arc<Route>,
    /// With their places in the configuration.
    hosts: Vec<(usize, HostPattern)>,
    paths: Vec<(usize, PathPattern)>,
    entity: EntityTemplate,
}

impl Draft {
    fn read(index: usize, settings: RouteSettings, mistakes: &mut Mistakes<'_>) -> Self {
        if settings.hosts.is_empty() {
            mistakes.add("hosts", "expected at least one; `*` is any host");
        }
        let hosts = read_each(&settings.hosts, "hosts", mistakes, |text| {
            let pattern = HostPattern::parse(text)?;
            check_distinct(&pattern.placeholders)?;
            Ok(pattern)
        });
        let everything = ["/".to_owned()];
        let paths = if settings.paths.is_empty() { &everything } else { &*settings.paths };
        let paths = read_each(paths, "paths", mistakes, |text| {
            let pattern = PathPattern::parse(text)?;
            check_distinct(&pattern.placeholders)?;
            Ok(pattern)
        });
        let mut listed = HashSet::new();
        read_each(&settings.methods, "methods", mistakes, |method| {
            check_method(method)?;
            if listed.insert(method) { Ok(()) } else { Err(format!("`{method}` is listed twice")) }
        });
        let entity = match settings.entity.as_deref().map(EntityTemplate::parse) {
            Some(Ok(entity)) => entity,
            Some(Err(error)) => {
                mistakes.add("entity", error);
                EntityTemplate::None
            }
            None => {
                if settings.gate == Gate::Policy {
                    mistakes.add("entity", "is missing, and the gate is `policy`");
                }
                EntityTemplate::None
            }
        };
        if let Some(Err(error)) = settings.demands.auth_context.as_deref().map(check_auth_context) {
            mistakes.add("auth_context", error);
        }
        if settings.gate == Gate::Public && settings.demands != Demands::default() {
            mistakes.add("gate", "is `public`: nothing can be asked of callers nobody knows");
        }
        let route = Arc::new(Route {
            index,
            name: settings.name.into(),
            methods: settings.methods,
            gate: settings.gate,
            action: settings.action,
            allow_path_parameters: settings.allow_path_parameters,
            demands: (settings.demands != Demands::default()).then(|| Arc::new(settings.demands)),
        });
        Self { route, hosts, paths, entity }
    }

    /// Adds a rule for each host with each path. A mistake that shows in many of
    /// these pairs is reported once.
    fn add_to(&self, all: &mut Rules, mistakes: &mut Mistakes<'_>) {
        let mut placeholders_told = HashSet::new();
        let mut routes_told = HashSet::new();
        for (host_at, host) in &self.hosts {
            for (path_at, path) in &self.paths {
                if let Some(name) = shared(&host.placeholders, &path.placeholders)
                    && placeholders_told.insert(name)
                {
                    mistakes.add(
                        format!("paths[{path_at}]"),
                        format!("`{{{name}}}` is also in hosts[{host_at}]"),
                    );
                }
                let entity = match self.entity.bind(&host.placeholders, &path.placeholders) {
                    Ok(entity) => entity,
                    Err(name) => {
                        if placeholders_told.insert(name) {
                            let message = format!(
                                "`{{{name}}}` is neither in hosts[{host_at}] nor in paths[{path_at}]"
                            );
                            mistakes.add("entity", message);
                        }
                        continue;
                    }
                };
                let rules = all
                    .entry(host.shape.clone())
                    .or_default()
                    .entry(path.shape.clone())
                    .or_default();
                for other in rules.iter() {
                    if let Some(method) = in_common(&self.route.methods, &other.route.methods)
                        && routes_told.insert(other.route.index)
                    {
                        let message = if other.route.index == self.route.index {
                            format!("with paths[{path_at}] stands in this route twice")
                        } else {
                            format!(
                                "with paths[{path_at}] is ambiguous: route `{}` has the same host, \
                                 path and method ({method})",
                                other.route.name
                            )
                        };
                        mistakes.add(format!("hosts[{host_at}]"), message);
                    }
                }
                rules.push(Rule { route: Arc::clone(&self.route), entity });
            }
        }
    }
}

/// Reads each item of a list, and reports those that can't be read.
fn read_each<'t, T>(
    texts: &'t [String],
    field: &str,
    mistakes: &mut Mistakes<'_>,
    mut read: impl FnMut(&'t str) -> Result<T, String>,
) -> Vec<(usize, T)> {
    let mut items = Vec::new();
    for (at, text) in texts.iter().enumerate() {
        match read(text) {
            Ok(item) => items.push((at, item)),
            Err(message) => mistakes.add(format!("{field}[{at}]"), message),
        }
    }
    items
}

fn check_unique(
    name: &str,
    index: usize,
    names: &mut HashMap<String, usize>,
    mistakes: &mut Mistakes<'_>,
) {
    if let Err(error) = check_name(name) {
        mistakes.add("name", error);
    } else if name == UNNAMED {
        mistakes.add("name", format!("`{UNNAMED}` is kept for envoy routes without a name"));
    } else if name == CATALOG {
        mistakes.add("name", format!("`{CATALOG}` is kept for what the catalog says"));
    } else if let Some(first) = names.get(name) {
        mistakes.add("name", format!("`{name}` is also the name of route {first}"));
    } else {
        names.insert(name.to_owned(), index);
    }
}

fn check_method(method: &str) -> Result<(), String> {
    let mut bytes = method.bytes();
    if bytes.next().is_some_and(|b| b.is_ascii_uppercase())
        && bytes.all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'))
    {
        Ok(())
    } else {
        Err(format!("`{method}`: expected a method in upper case, as on the request line"))
    }
}

/// No placeholder stands twice in one pattern.
pub(super) fn check_distinct(placeholders: &[Placeholder]) -> Result<(), String> {
    let mut seen = HashSet::new();
    match placeholders.iter().find(|placeholder| !seen.insert(&placeholder.name)) {
        Some(Placeholder { name, .. }) => Err(format!("`{{{name}}}` stands there twice")),
        None => Ok(()),
    }
}

/// A placeholder that both have.
fn shared<'p>(host: &'p [Placeholder], path: &[Placeholder]) -> Option<&'p str> {
    host.iter()
        .find(|placeholder| path.iter().any(|other| other.name == placeholder.name))
        .map(|placeholder| placeholder.name.as_str())
}

/// What two routes of the same patterns can both be chosen by.
fn in_common<'m>(methods: &'m [String], others: &[String]) -> Option<&'m str> {
    if methods.is_empty() && others.is_empty() {
        return Some("any");
    }
    methods.iter().find(|method| others.contains(method)).map(String::as_str)
}
