//! The tenant's documents and keys.

use devtenant::front::Passage;
use devtenant::keys::SigningKey;
use devtenant::tenant::{Endpoint, Fault as Wrong};
use std::time::Duration;

use crate::callers::{Caller, GRAPH, May, TOKENS};
use crate::figures::Figure;
use crate::load::Window;
use crate::run::{Fault, Scene, State, fault, more};
use crate::world::until;

const FAMILY: &str = "keys";

/// Started for the first time, there are no keys; later those that are there go on. Groups
/// come through the same door in faults of the network.
fn without_keys(state: State) -> Window {
    match state {
        State::Cold => Window::some(&[(TOKENS, &["keys_unavailable", "groups_unavailable"])]),
        State::Warm | State::Reloading => Window::Nobody,
    }
}

fn without_network(state: State) -> Window {
    match state {
        State::Cold => without_keys(State::Cold),
        State::Warm | State::Reloading => {
            Window::some(&[(crate::callers::NEW_GRAPH, &["groups_unavailable"])])
        }
    }
}

/// The key documents are asked for and answered so.
fn documents(name: &'static str, wrong: Wrong) -> Fault {
    fault(FAMILY, name)
        .inject(move |scene: Scene| {
            for endpoint in [Endpoint::Discovery, Endpoint::Keys] {
                scene.world.tenant.faults().set(endpoint, wrong.clone());
            }
            async { Ok(()) }
        })
        .met(|scene| async move {
            more("the documents were asked for", 3, || scene.world.documents_asked()).await
        })
        .lift(|scene| async move {
            scene.world.tenant.faults().clear();
            Ok(())
        })
        .costs(without_keys)
}

/// The way to the tenant is so.
fn network(name: &'static str, passage: Passage) -> Fault {
    fault(FAMILY, name)
        .slowly()
        .inject(move |scene| async move {
            scene.world.tenant_front.set(passage);
            Ok(())
        })
        .met(|scene| async move {
            more("the tenant was looked for", 3, || scene.world.tenant_front.accepted()).await
        })
        .lift(|scene| async move {
            scene.world.tenant_front.set(Passage::Open);
            Ok(())
        })
        .costs(without_network)
}

/// A name that nobody ever has (RFC 6761).
const NOWHERE: &str = "authority: https://stagedoor.invalid:";

/// Changes the configuration, and has it read if there is somebody to read it.
fn elsewhere(scene: &Scene, change: impl Fn(&str) -> String) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(scene.world.path("stagedoor.yaml"))?;
    scene.world.write("stagedoor.yaml", change(&text))?;
    scene.world.process.signal("HUP");
    Ok(())
}

pub(crate) fn faults() -> Vec<Fault> {
    vec![
        documents("documents answered with 500", Wrong::Status(500)),
        documents("documents that never come", Wrong::Hang),
        documents("documents that come after their deadline", Wrong::Slow(Duration::from_secs(3))),
        documents("garbage instead of documents", Wrong::Garbage),
        documents("a sign-in page instead of documents", Wrong::Html),
        documents("documents that end in the middle", Wrong::Truncated),
        documents("documents of 8 MiB", Wrong::Huge),
        documents(
            "redirects to another place",
            Wrong::Redirect("http://127.0.0.1:9/keys".to_owned()),
        ),
        // Only the key document of it: a discovery document has no keys to be empty of.
        fault(FAMILY, "an empty key set")
            .inject(|scene| async move {
                scene.world.tenant.faults().set(Endpoint::Keys, Wrong::EmptyKeys);
                Ok(())
            })
            .met(|scene| async move {
                let keys = || scene.world.tenant.requests(Endpoint::Keys);
                more("the keys were asked for", 2, keys).await
            })
            .lift(|scene| async move {
                scene.world.tenant.faults().clear();
                Ok(())
            })
            .costs(without_keys),
        fault(FAMILY, "a discovery document of another issuer")
            .only(&[State::Cold])
            .inject(|scene| async move {
                scene.world.tenant.faults().set(Endpoint::Discovery, Wrong::WrongIssuer);
                Ok(())
            })
            .met(|scene| async move {
                let documents = || scene.world.documents_asked();
                more("the documents were asked for", 2, documents).await
            })
            .lift(|scene| async move {
                scene.world.tenant.faults().clear();
                Ok(())
            })
            .costs(without_keys),
        network("the tenant is down", Passage::Closed),
        network("the tenant accepts and is silent", Passage::Silent),
        network("the tenant is cut off after 300 bytes", Passage::CutOff(300)),
        network("the tenant answers byte by byte", Passage::Drip(Duration::from_millis(50))),
        network("the tenant's certificate is nobody's", Passage::Untrusted),
        network("the tenant's certificate is another host's", Passage::OtherHost),
        network("the tenant's certificate is over", Passage::Expired),
        network("the tenant speaks no TLS", Passage::Plain),
        fault(FAMILY, "the tenant's name is not found")
            .inject(|scene| async move {
                elsewhere(&scene, |text| text.replace("authority: https://localhost:", NOWHERE))
            })
            .met(|scene| async move {
                let failed = "stagedoor_key_set_fetch_failures_total";
                until("it was looked for", || async { scene.world.metric(failed).await >= 2.0 })
                    .await
            })
            .lift(|scene| async move {
                elsewhere(&scene, |text| text.replace(NOWHERE, "authority: https://localhost:"))
            })
            // The configuration that names it is taken over, with the keys that were kept. The
            // token for Graph would come from there too.
            .costs(|state| match state {
                State::Cold => without_keys(State::Cold),
                State::Warm | State::Reloading => Window::some(&[(GRAPH, &["groups_unavailable"])]),
            }),
        fault(FAMILY, "a new key signs from one moment to the next")
            .only(&[State::Warm, State::Reloading])
            .inject(|scene| async move {
                scene.load.rule(Caller::NextKey, May::Either);
                scene.world.tenant.publish_key(&SigningKey::test(1));
                Ok(())
            })
            .met(|scene| async move {
                until("the new key works", || async { scene.load.last(Caller::NextKey) == "200" })
                    .await
            })
            .lift(|scene| async move {
                scene.load.rule(Caller::NextKey, May::Yes);
                Ok(())
            }),
        fault(FAMILY, "a key is withdrawn")
            .only(&[State::Warm, State::Reloading])
            .inject(|scene| async move {
                scene.load.rule(Caller::OldKey, May::Either);
                scene.world.tenant.withdraw_key("old-key");
                Ok(())
            })
            .met(|scene| async move {
                let refused = || async { scene.load.last(Caller::OldKey) == "token_key_unknown" };
                until("the old key stops working", refused).await
            })
            .lift(|scene| async move {
                scene.load.rule(Caller::OldKey, May::No);
                Ok(())
            }),
        fault(FAMILY, "fifty made-up key ids at a time")
            .only(&[State::Warm, State::Reloading])
            .alone()
            .inject(|scene| async move {
                let world = std::sync::Arc::clone(&scene.world);
                let tokens: Vec<String> = (0..50)
                    .map(|number| {
                        let key = SigningKey::test(2).named(&format!("made-up-{number}"));
                        world
                            .tenant
                            .token()
                            .audience(crate::support::stack::AUDIENCE)
                            .sign_with(&key)
                    })
                    .collect();
                crate::floods::requests(&scene, tokens);
                Ok(())
            })
            .met(|scene| async move {
                // The fetches that they make for are counted: one a second, and a few more.
                let before = scene.world.documents_asked();
                let begun = tokio::time::Instant::now();
                scene.load.more(40).await?;
                let asked = scene.world.documents_asked() - before;
                // Two issuers of two documents each.
                let most = 4 * (begun.elapsed().as_secs() + 4);
                anyhow::ensure!(
                    asked as u64 <= most,
                    "{asked} fetches in {:?}: at most {most}",
                    begun.elapsed()
                );
                #[allow(clippy::cast_precision_loss, reason = "a few")]
                scene.note(Figure::Fetches, asked as f64 / 4.0 / begun.elapsed().as_secs_f64());
                Ok(())
            })
            .lift(|scene| async move {
                scene.world.calm();
                Ok(())
            }),
    ]
}
