//! What holds for any rules, any table, any catalog and any request.

use proptest::prelude::*;

use super::model::{Answer, Asked, decide};
use super::*;

/// From few labels, so that claims often meet.
fn host() -> impl Strategy<Value = String> {
    "(a|b)(\\.(a|b)){0,1}\\.(x|y)"
}

fn host_pattern() -> impl Strategy<Value = String> {
    prop_oneof![host(), Just("*.x".to_owned()), "\\*\\.(a|b)\\.(x|y)", Just("*.y".to_owned())]
}

fn workload() -> impl Strategy<Value = String> {
    "spiffe://(c|d)/ns/(n|m)/sa/(a|b)"
}

fn delegate() -> impl Strategy<Value = Delegate> {
    prop_oneof![
        "(n|m)".prop_map(Delegate::Namespace),
        "system:d/(s|t)".prop_map(|text| Delegate::Whole(entity(&text))),
        "group:d/(g|h)".prop_map(|text| Delegate::Group(entity(&text))),
        Just(Delegate::AnyEntity),
    ]
}

fn some_delegation() -> impl Strategy<Value = DelegationSettings> {
    (
        prop::collection::btree_set(host_pattern(), 1..4),
        prop::collection::btree_set("spiffe://c(/ns(/(n|m)(/sa(/(a|b))?)?)?)", 0..3),
        delegate(),
        prop::option::weighted(0.3, Just("url:https://e/p/".to_owned())),
        any::<bool>(),
    )
        .prop_map(|(hosts, workloads, to, location, allow_shared_hosts)| DelegationSettings {
            hosts: hosts.into_iter().collect(),
            workloads: workloads.into_iter().collect(),
            to,
            locations: location.into_iter().collect(),
            allow_shared_hosts,
        })
}

fn some_rules() -> impl Strategy<Value = DelegationsSettings> {
    (
        prop::collection::vec(some_delegation(), 0..5),
        prop::collection::btree_set("(n|\\{namespace\\})", 0..2),
        prop::collection::vec(workload(), 0..2),
    )
        .prop_map(|(delegations, namespaces, gateways)| DelegationsSettings {
            delegations,
            workloads: namespaces
                .into_iter()
                .map(|namespace| NamingSettings {
                    id: format!("spiffe://c/ns/{namespace}/sa/{{name}}"),
                    entity: match namespace.as_str() {
                        "n" => "component:n/{name}".to_owned(),
                        _ => "component:{namespace}/{name}".to_owned(),
                    },
                })
                .collect(),
            gateways,
        })
}

fn some_table() -> impl Strategy<Value = Vec<RouteSettings>> {
    let pattern = prop_oneof![6 => host_pattern(), 1 => Just("*".to_owned())];
    prop::collection::btree_set(pattern, 0..3).prop_map(|hosts| {
        let named = hosts.into_iter().enumerate();
        named.map(|(at, host)| route(&format!("r{at}"), &[&host], &["/"], None)).collect()
    })
}

/// Entities with names of their own, some with a slip in their paths.
fn some_catalog() -> impl Strategy<Value = Vec<Said>> {
    let path = prop_oneof![8 => "/(a|b)?\\$?|/(a|b)/(a|b)\\$?", 1 => Just("slip".to_owned())];
    let one = (
        "(n|m)",
        prop::collection::vec(host(), 0..4),
        prop::collection::vec(path, 0..3),
        prop::collection::vec(workload(), 0..2),
        prop::collection::vec("group:d/(g|h)", 0..2),
        prop::collection::vec("system:d/(s|t)", 0..2),
        "(url:https://e/(p|q)/f\\.yaml)?",
    );
    prop::collection::vec(one, 0..6).prop_map(|entities| {
        let mut catalog = Vec::new();
        for (namespace, hosts, paths, workloads, owners, wholes, location) in entities {
            let nothing = hosts.is_empty() && workloads.is_empty();
            catalog.push(Said {
                entity: format!("component:{namespace}/e{}", catalog.len()),
                hosts: hosts.join(","),
                paths: if nothing { String::new() } else { paths.join(" ") },
                workloads: workloads.join(" "),
                owners,
                wholes,
                location,
            });
        }
        catalog
    })
}

fn some_request() -> impl Strategy<Value = (String, String, Option<String>)> {
    (
        host(),
        "/((a|b)(;p)?)?|/(a|b)/(a|b)?|/(a|b)/(a|b)/(a|b)",
        prop::option::of(prop_oneof![6 => workload(), 1 => Just("a.x".to_owned())]),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn claims_are_the_rule(
        rules in some_rules(),
        table in some_table(),
        catalog in some_catalog(),
        requests in prop::collection::vec(some_request(), 1..20),
    ) {
        let world = World::new(rules.clone(), table.clone(), &catalog);
        for (host, path, destination) in &requests {
            let asked = match destination {
                Some(destination) => format!("GET {host}{path} @ {destination}"),
                None => format!("GET {host}{path}"),
            };
            let request = Asked { host, path, destination: destination.as_deref() };
            for present in [true, false] {
                let routes = if present { Ok(&world.routes) } else { Err(Reason::CatalogUnavailable) };
                let found = world.ask_of(&asked, routes);
                let shown = match decide(&rules, &table, present.then_some(&*catalog), &request) {
                    Answer::Entity(entity) => entity,
                    // Which route is the table's own matter; none allows parameters.
                    Answer::Table if path.contains(';') => NO.to_owned(),
                    Answer::Table => {
                        prop_assert!(found.starts_with('r'), "{}: {}", asked, found);
                        continue;
                    }
                    Answer::Nobody => NO.to_owned(),
                    Answer::Unknown => "catalog_unavailable".to_owned(),
                };
                prop_assert_eq!(&found, &shown, "{} {:?}", asked, world.findings);
            }
        }
    }

    /// What one entity's author writes, and they alone, never brings a request to
    /// their entity that no delegation gives them, and never takes one to a third.
    #[test]
    fn an_author_can_only_take_up_or_contest(
        rules in some_rules(),
        table in some_table(),
        catalog in some_catalog(),
        requests in prop::collection::vec(some_request(), 1..20),
    ) {
        let Some((squatter, others)) = catalog.split_last() else { return Ok(()) };
        let before = World::new(rules.clone(), table.clone(), others);
        let after = World::new(rules, table, &catalog);
        for (host, path, destination) in &requests {
            let asked = match destination {
                Some(destination) => format!("GET {host}{path} @ {destination}"),
                None => format!("GET {host}{path}"),
            };
            let (was, is) = (before.ask(&asked), after.ask(&asked));
            prop_assert!(is == was || is == NO || is == squatter.entity, "{}: {} {}", asked, was, is);
            // From another entity a request is taken only by one with the same owners.
            if is == squatter.entity && is != was && was != NO {
                let other = others.iter().find(|other| other.entity == was).expect("an entity");
                let owners = |said: &Said| said.owners.iter().cloned().collect::<std::collections::BTreeSet<_>>();
                prop_assert_eq!(owners(other), owners(squatter));
            }
        }
    }

    /// Whatever stands in annotations: no panic, and findings that can be printed.
    #[test]
    fn any_texts(hosts in any::<String>(), paths in any::<String>(), workloads in any::<String>()) {
        let said = Said { hosts, paths, workloads, ..said("n/a", "g", "") };
        let world = World::new(
            rules(vec![delegation(Delegate::AnyEntity, &["*.x"])]),
            Vec::new(),
            &[said],
        );
        for finding in &world.findings {
            prop_assert!(finding.chars().all(|c| c == ' ' || c.is_ascii_graphic()), "{:?}", finding);
        }
    }

    #[test]
    fn the_order_of_entities_means_nothing(rules in some_rules(), catalog in some_catalog()) {
        let forward = World::new(rules.clone(), Vec::new(), &catalog);
        let reversed: Vec<Said> = catalog.into_iter().rev().collect();
        let backward = World::new(rules, Vec::new(), &reversed);
        prop_assert_eq!(&forward.findings, &backward.findings);
        let all = |world: &World| world.routes.iter().map(|r| format!("{r:?}")).collect::<std::collections::BTreeSet<_>>();
        prop_assert_eq!(all(&forward), all(&backward));
    }
}
