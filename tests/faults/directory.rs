//! Microsoft Graph, and the token that it is asked with.

use std::time::Duration;

use devtenant::tenant::{Endpoint, Fault as Wrong};

use crate::callers::{GRAPH, NEW_GRAPH};
use crate::load::Window;
use crate::run::{Fault, State, fault, more};
use crate::world::Setting;

const FAMILY: &str = "graph";

/// Who is known goes on; who is new has to wait.
fn without_graph(state: State) -> Window {
    let reasons: &[&str] = &["groups_unavailable"];
    Window::some(&[(if state == State::Cold { GRAPH } else { NEW_GRAPH }, reasons)])
}

fn graph(name: &'static str, endpoint: Endpoint, wrong: Wrong) -> Fault {
    fault(FAMILY, name)
        .slowly()
        .inject(move |scene: crate::run::Scene| {
            scene.world.tenant.faults().set(endpoint, wrong.clone());
            if endpoint == Endpoint::Token {
                // What it has is taken no more, so that it asks for another.
                scene.world.tenant.revoke_graph_tokens();
            }
            async { Ok(()) }
        })
        .met(move |scene| async move {
            more("it was asked", 3, || scene.world.tenant.requests(endpoint)).await
        })
        .lift(|scene| async move {
            scene.world.tenant.faults().clear();
            Ok(())
        })
        .costs(without_graph)
}

pub(crate) fn faults() -> Vec<Fault> {
    vec![
        graph("groups answered with 503", Endpoint::Graph, Wrong::Status(503)),
        graph("groups answered with 429", Endpoint::Graph, Wrong::Throttle { retry_after: 1 }),
        graph("groups answered with 403", Endpoint::Graph, Wrong::Status(403)),
        graph("groups that never come", Endpoint::Graph, Wrong::Hang),
        graph(
            "groups that come after a request waits",
            Endpoint::Graph,
            Wrong::Slow(Duration::from_secs(6)),
        ),
        graph("garbage instead of groups", Endpoint::Graph, Wrong::Garbage),
        graph("groups that end in the middle", Endpoint::Graph, Wrong::Truncated),
        graph("no token for Graph: 500", Endpoint::Token, Wrong::Status(500)),
        graph("no token for Graph: silence", Endpoint::Token, Wrong::Hang),
        fault(FAMILY, "a next page at another place")
            // All groups are asked for, which come in pages.
            .with(Setting { graph: ", only_catalog_groups: false", ..Setting::USUAL })
            .inject(|scene| async move {
                let forged = "https://evil.example.com/v1.0/more";
                scene.world.tenant.directory().next_link(Some(forged));
                Ok(())
            })
            .met(|scene| async move {
                let asked = || scene.world.tenant.requests(Endpoint::Graph);
                more("it was asked", 3, asked).await
            })
            .lift(|scene| async move {
                scene.world.tenant.directory().next_link(None);
                Ok(())
            })
            .costs(without_graph),
    ]
}
