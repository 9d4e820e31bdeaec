//! Backstage.

use std::time::Duration;

use devtenant::backstage::Fault as Wrong;
use devtenant::front::Passage;

use crate::callers::POLICY;
use crate::load::Window;
use crate::run::{Fault, State, fault, more};
use crate::world::until;

const FAMILY: &str = "catalog";

/// Started for the first time there is no snapshot; later the last one goes on.
fn without_catalog(state: State) -> Window {
    match state {
        State::Cold => Window::some(&[(POLICY, &["catalog_unavailable"])]),
        State::Warm | State::Reloading => Window::Nobody,
    }
}

fn answers(name: &'static str, wrong: Wrong) -> Fault {
    fault(FAMILY, name)
        .inject(move |scene: crate::run::Scene| {
            scene.world.backstage.set_fault(Some(wrong.clone()));
            async { Ok(()) }
        })
        .met(|scene| async move {
            more("Backstage was asked", 3, || scene.world.backstage.requests()).await
        })
        .lift(|scene| async move {
            scene.world.backstage.set_fault(None);
            Ok(())
        })
        .costs(without_catalog)
}

fn network(name: &'static str, passage: Passage) -> Fault {
    fault(FAMILY, name)
        .inject(move |scene| async move {
            scene.world.backstage_front.set(passage);
            Ok(())
        })
        .met(|scene| async move {
            more("Backstage was looked for", 2, || scene.world.backstage_front.accepted()).await
        })
        .lift(|scene| async move {
            scene.world.backstage_front.set(Passage::Open);
            Ok(())
        })
        .costs(without_catalog)
}

/// Answers well, but with other entities.
fn entities_are(name: &'static str, change: fn(&mut Vec<serde_json::Value>)) -> Fault {
    fault(FAMILY, name)
        .only(&[State::Warm, State::Reloading])
        .inject(move |scene| async move {
            let mut changed = scene.world.entities.clone();
            change(&mut changed);
            scene.world.backstage.set_entities(changed);
            Ok(())
        })
        .lift(|scene| async move {
            scene.world.backstage.set_entities(scene.world.entities.clone());
            until("nothing is held any more", || async {
                scene.world.metric("stagedoor_catalog_held").await < 1.0
            })
            .await
        })
}

pub(crate) fn faults() -> Vec<Fault> {
    let held = |fault: Fault| {
        fault.met(|scene| async move {
            until("it is held back", || async {
                scene.world.metric("stagedoor_catalog_held").await > 0.0
            })
            .await
        })
    };
    let asked = |fault: Fault| {
        fault.met(|scene| async move {
            more("Backstage was asked", 6, || scene.world.backstage.requests()).await
        })
    };
    vec![
        answers("answered with 503", Wrong::Status(503)),
        answers("answered with 401", Wrong::Status(401)),
        answers("answered with 404, as while it starts", Wrong::Status(404)),
        answers("answers that never come", Wrong::Hang),
        answers("answers that come after the crawl's end", Wrong::Slow(Duration::from_secs(3))),
        answers("no entities, with 200", Wrong::Empty),
        answers("a page that ends in the middle", Wrong::Truncated),
        answers("a page for people", Wrong::Html),
        answers("an error on the third page", Wrong::Page(3)),
        answers("cursors that are not known any more", Wrong::Cursors),
        answers("another number of entities on each page", Wrong::Changing),
        answers("each entity twice", Wrong::Twice),
        answers("entities of no form", Wrong::Malformed),
        network("Backstage is down", Passage::Closed),
        network("Backstage accepts and is silent", Passage::Silent),
        network("Backstage is cut off after 2,000 bytes", Passage::CutOff(2000)),
        network("Backstage's certificate is nobody's", Passage::Untrusted),
        network("Backstage's certificate is over", Passage::Expired),
        held(entities_are("half of the components are gone", |all| {
            all.truncate(all.len() / 2);
            // Those that the requests are for are gone as well.
            all.retain(|entity| entity["metadata"]["name"] != "payments");
        })),
        held(entities_are("the owning team is gone", |all| {
            all.retain(|entity| entity["metadata"]["name"] != "payments-team");
        })),
        asked(entities_are("a second entity under a known name", |all| {
            let mut other = devtenant::backstage::component("payments", "orders-team");
            other["metadata"]["annotations"]["backstage.io/managed-by-location"] =
                "url:https://github.com/mallory/catalog-info.yaml".into();
            all.push(other);
        })),
    ]
}
