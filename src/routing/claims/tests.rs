//! What claims grant, decided by small catalogs, squatters among them; and a naive
//! model of it all.

mod hosts;
mod mesh;
mod model;
mod properties;

use super::*;
use crate::domain::{Action, Gate, Request, RequestLine};
use crate::routing::RouteSettings;

/// One entity's claim, with everything that its author and Backstage wrote.
#[derive(Clone, Debug, Default)]
struct Said {
    entity: String,
    hosts: String,
    paths: String,
    workloads: String,
    owners: Vec<String>,
    wholes: Vec<String>,
    location: String,
}

/// `component:ns/name`, owned by `group:default/<owner>`, with hosts.
fn said(entity: &str, owner: &str, hosts: &str) -> Said {
    Said {
        entity: format!("component:{entity}"),
        hosts: hosts.to_owned(),
        owners: vec![format!("group:default/{owner}")],
        ..Said::default()
    }
}

fn paths(said: Said, paths: &str) -> Said {
    Said { paths: paths.to_owned(), ..said }
}

fn part_of(said: Said, whole: &str) -> Said {
    Said { wholes: vec![whole.to_owned()], ..said }
}

fn from(said: Said, location: &str) -> Said {
    Said { location: location.to_owned(), ..said }
}

fn workloads(said: Said, workloads: &str) -> Said {
    Said { workloads: workloads.to_owned(), ..said }
}

fn entity(text: &str) -> EntityRef {
    EntityRef::parse(text).expect(text)
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn delegation(to: Delegate, hosts: &[&str]) -> DelegationSettings {
    DelegationSettings {
        hosts: owned(hosts),
        workloads: Vec::new(),
        to,
        locations: Vec::new(),
        allow_shared_hosts: false,
    }
}

fn namespace(name: &str, hosts: &[&str]) -> DelegationSettings {
    delegation(Delegate::Namespace(name.to_owned()), hosts)
}

fn rules(delegations: Vec<DelegationSettings>) -> DelegationsSettings {
    DelegationsSettings { delegations, ..DelegationsSettings::default() }
}

/// A route of the table: public without an entity.
fn route(name: &str, hosts: &[&str], paths: &[&str], entity: Option<&str>) -> RouteSettings {
    RouteSettings {
        name: name.to_owned(),
        hosts: owned(hosts),
        paths: owned(paths),
        methods: Vec::new(),
        gate: if entity.is_some() { Gate::Policy } else { Gate::Public },
        entity: entity.map(str::to_owned),
        action: None,
        allow_path_parameters: false,
        demands: crate::domain::Demands::default(),
    }
}

/// Rules, a table and a catalog, ready to be asked.
struct World {
    rules: Delegations,
    table: RouteTable,
    routes: CatalogRoutes,
    findings: Vec<String>,
}

impl World {
    fn new(rules: DelegationsSettings, table: Vec<RouteSettings>, catalog: &[Said]) -> Self {
        let rules = Delegations::build(rules).expect("rules without mistakes");
        let table = RouteTable::build(table).expect("a table without mistakes");
        let (routes, findings) = build(&rules, &table, catalog);
        Self { rules, table, routes, findings }
    }

    /// `METHOD url`, or `METHOD url @ destination`; answered by the entity, by the name
    /// of a route without one, or by the reason.
    fn ask(&self, asked: &str) -> String {
        self.ask_of(asked, Ok(&self.routes))
    }

    fn ask_of(&self, asked: &str, routes: Result<&CatalogRoutes, Reason>) -> String {
        let (head, destination) = match asked.split_once(" @ ") {
            Some((head, destination)) => (head, Some(destination)),
            None => (asked, None),
        };
        let (method, url) = head.split_once(' ').expect("a method");
        let (host, path) = url.split_at(url.find('/').expect("a path"));
        let request = Request {
            method,
            host,
            path,
            destination_principal: destination,
            ..Request::default()
        };
        let line = RequestLine::of(&request).expect("canonical");
        let claims = Claims { rules: &self.rules, routes };
        match self.table.route_with(&request, &line, &claims) {
            Ok(target) => match target.resource {
                Some(entity) => entity.to_string(),
                None => target.route.to_string(),
            },
            Err(denial) => {
                assert!(denial.detail.is_some(), "{asked}");
                denial.reason.to_string()
            }
        }
    }

    #[track_caller]
    fn check(&self, cases: &[(&str, &str)]) {
        for (asked, want) in cases {
            assert_eq!(self.ask(asked), *want, "{asked}");
        }
    }

    /// That these are the findings, in any order.
    #[track_caller]
    fn finds(&self, want: &[&str]) {
        let mut want = owned(want);
        want.sort();
        assert_eq!(self.findings, want);
    }
}

fn build(
    rules: &Delegations,
    table: &RouteTable,
    catalog: &[Said],
) -> (CatalogRoutes, Vec<String>) {
    struct Refs {
        entity: EntityRef,
        owners: Vec<EntityRef>,
        wholes: Vec<EntityRef>,
    }
    let refs: Vec<Refs> = catalog
        .iter()
        .map(|said| Refs {
            entity: entity(&said.entity),
            owners: said.owners.iter().map(|text| entity(text)).collect(),
            wholes: said.wholes.iter().map(|text| entity(text)).collect(),
        })
        .collect();
    let claims = catalog.iter().zip(&refs).map(|(said, refs)| Claim {
        entity: &refs.entity,
        hosts: &said.hosts,
        paths: &said.paths,
        workloads: &said.workloads,
        owners: refs.owners.iter().collect(),
        wholes: refs.wholes.iter().collect(),
        location: &said.location,
    });
    let (routes, findings) = CatalogRoutes::build(rules, table, claims);
    let shown = findings.iter().map(|finding| format!("{}: {}", finding.entity, finding.message));
    let mut shown: Vec<String> = shown.collect();
    shown.sort();
    (routes, shown)
}

/// Rules of a mesh: the namespace `pay` may claim its workloads, everybody
/// their hosts below `apps.example.com`.
fn mesh() -> DelegationsSettings {
    DelegationsSettings {
        delegations: vec![
            DelegationSettings {
                workloads: owned(&["spiffe://c/ns/pay"]),
                ..namespace("pay", &[])
            },
            delegation(Delegate::AnyEntity, &["*.apps.example.com"]),
        ],
        workloads: Vec::new(),
        gateways: owned(&["spiffe://c/ns/istio/sa/gateway"]),
    }
}

const NO: &str = "no_route";

#[test]
fn context_extensions_come_before_everything() {
    let world = World::new(mesh(), Vec::new(), &[said("x/a", "a", "a.apps.example.com")]);
    let claims = Claims { rules: &world.rules, routes: Ok(&world.routes) };
    let ask = |pairs: &[(&'static str, &'static str)]| {
        let request = Request {
            method: "GET",
            host: "a.apps.example.com",
            path: "/",
            context_extensions: pairs.to_vec(),
            ..Request::default()
        };
        let line = RequestLine::of(&request).expect("canonical");
        let target = world.table.route_with(&request, &line, &claims);
        target.map(|target| target.route.to_string()).map_err(|denial| denial.reason)
    };
    assert_eq!(ask(&[("gate", "public")]), Ok("context".to_owned()));
    // The catalog's name is its own.
    assert_eq!(ask(&[("gate", "public"), ("route", "catalog")]), Err(Reason::RouteMisconfigured));
    let errors = RouteTable::build(vec![route("catalog", &["a"], &[], None)]).expect_err("kept");
    assert_eq!(errors[0].to_string(), "route 0: name: `catalog` is kept for what the catalog says");
}

/// As many as a large catalog has; each host's own entity, and none other.
#[test]
fn fifty_thousand_hosts() {
    let count = 50_000;
    let catalog: Vec<Said> = (0..count)
        .map(|at| said(&format!("p/c{at}"), "a", &format!("c{at}.p.example.com")))
        .collect();
    let world = World::new(rules(vec![namespace("p", &["*.p.example.com"])]), Vec::new(), &catalog);
    for at in (0..count).step_by(997) {
        world.check(&[(&format!("GET c{at}.p.example.com/"), &format!("component:p/c{at}"))]);
    }
    world.check(&[("GET c50000.p.example.com/", NO)]);
    assert_eq!(world.routes.iter().count(), count);
    // One host that all of them claim costs no more than one that each claims.
    let squatters: Vec<Said> =
        (0..count).map(|at| said(&format!("p/c{at}"), "a", "one.p.example.com")).collect();
    let world =
        World::new(rules(vec![namespace("p", &["*.p.example.com"])]), Vec::new(), &squatters);
    world.check(&[("GET one.p.example.com/", NO)]);
    assert_eq!(world.findings.len(), count);
}
