//! The operator's files: policies, revocations, secrets.

use anyhow::Result;

use crate::callers::{Caller, GRAPH, POLICY};
use crate::load::Window;
use crate::run::{Fault, Scene, State, fault, more};
use crate::support::stack::POLICY as GOOD;
use crate::world::until;

const FAMILY: &str = "operator's files";

/// Nobody starts with a set that has a mistake; one that comes later is not taken over.
pub(crate) fn refused_at_start(state: State) -> Window {
    match state {
        State::Cold => Window::Everybody,
        State::Warm | State::Reloading => Window::Nobody,
    }
}

fn policy(name: &'static str, text: &'static str) -> Fault {
    fault(FAMILY, name)
        .inject(move |scene: Scene| async move { scene.world.write("policy.cedar", text) })
        .met(|scene| async move {
            if scene.state == State::Cold {
                return more("it did not start", 2, || scene.world.process.ends()).await;
            }
            let refused = "stagedoor_policy_reload_failures_total";
            until("it was refused", || async { scene.world.metric(refused).await > 0.0 }).await
        })
        .lift(|scene| async move { scene.world.write("policy.cedar", GOOD) })
        .costs(refused_at_start)
}

fn revocations(name: &'static str, change: fn(&Scene) -> Result<()>) -> Fault {
    fault(FAMILY, name)
        .inject(move |scene: Scene| async move { change(&scene) })
        .met(|scene| async move {
            if scene.state == State::Cold {
                return more("it did not start", 2, || scene.world.process.ends()).await;
            }
            let current = "stagedoor_revocations_current";
            until("it was refused", || async {
                scene.world.metric("stagedoor_issuers").await > 0.0
                    && scene.world.metric(current).await < 1.0
            })
            .await
        })
        .lift(|scene| async move {
            let all = format!("object {}\n", crate::callers::REVOKED);
            scene.world.write("revocations", all)
        })
        .costs(refused_at_start)
}

/// What is mounted now: a folder by a link, by which each file is a link, as Kubernetes
/// does it.
fn mount(scene: &Scene, folder: &str, policies: &str) -> Result<()> {
    let world = &scene.world;
    std::fs::create_dir_all(world.path(folder))?;
    std::fs::write(world.path(&format!("{folder}/policy.cedar")), policies)?;
    let new = world.path("..data.new");
    std::os::unix::fs::symlink(folder, &new)?;
    Ok(std::fs::rename(new, world.path("..data"))?)
}

pub(crate) fn faults() -> Vec<Fault> {
    vec![
        policy("policies that are no Cedar", "permit (principal, action"),
        policy(
            "policies that read what there is not",
            "permit (principal, action, resource) when { resource.nothing == 1 };\n",
        ),
        policy("policies cut off in the middle", "@id(\"owners\") permit (principal, action, res"),
        fault(FAMILY, "the policies are gone")
            .inject(|scene| async move {
                let _lock = scene.world.files.lock().unwrap();
                Ok(std::fs::remove_file(scene.world.path("policy.cedar"))?)
            })
            .met(|scene| async move {
                if scene.state == State::Cold {
                    return more("it did not start", 2, || scene.world.process.ends()).await;
                }
                let refused = "stagedoor_policy_reload_failures_total";
                until("it was refused", || async { scene.world.metric(refused).await > 0.0 }).await
            })
            .lift(|scene| async move { scene.world.write("policy.cedar", GOOD) })
            .costs(refused_at_start),
        policy("the policies are emptied", "// nothing\n"),
        fault(FAMILY, "the policies let nobody in any more")
            .inject(|scene| async move {
                let closed = "@id(\"closed\") forbid (principal, action, resource);\n";
                scene.world.write("policy.cedar", closed)
            })
            .met(|scene| async move {
                let denied = || async {
                    matches!(&*scene.load.last(Caller::Owner), "not_permitted" | "forbidden")
                };
                until("nothing is permitted", denied).await
            })
            .lift(|scene| async move { scene.world.write("policy.cedar", GOOD) })
            .costs(|_| Window::some(&[(POLICY, &["not_permitted", "forbidden"])])),
        fault(FAMILY, "a mounted folder is swapped for one with a mistake")
            .only(&[State::Warm])
            .inject(|scene| async move {
                mount(&scene, "..first", GOOD)?;
                let (file, link) = (scene.world.path("policy.cedar"), scene.world.path("link"));
                std::os::unix::fs::symlink("..data/policy.cedar", &link)?;
                std::fs::rename(link, file)?;
                scene.load.more(5).await?;
                mount(&scene, "..second", "permit (principal, action")
            })
            .met(|scene| async move {
                let refused = "stagedoor_policy_reload_failures_total";
                until("it was refused", || async { scene.world.metric(refused).await > 0.0 }).await
            })
            .lift(|scene| async move { mount(&scene, "..third", GOOD) }),
        revocations("revocations that are garbage", |scene| {
            scene.world.write("revocations", "\u{0}\u{1} revoke everything")
        }),
        revocations("the revocations are gone", |scene| {
            Ok(std::fs::remove_file(scene.world.path("revocations"))?)
        }),
        fault(FAMILY, "the secret for Graph is gone")
            .inject(|scene| async move {
                std::fs::remove_file(scene.world.path("graph-secret"))?;
                scene.world.tenant.revoke_graph_tokens();
                Ok(())
            })
            .met(|scene| async move {
                let refused =
                    || async { scene.load.last(Caller::NewListed) == "groups_unavailable" };
                if scene.state == State::Cold {
                    return more("it did not start", 2, || scene.world.process.ends()).await;
                }
                until("Graph can't be asked", refused).await
            })
            .lift(|scene| async move { scene.world.write("graph-secret", "the secret\n") })
            .costs(|state| match state {
                State::Cold => Window::Everybody,
                _ => Window::some(&[(GRAPH, &["groups_unavailable"])]),
            }),
        fault(FAMILY, "the catalog's token is no longer taken")
            .only(&[State::Warm, State::Reloading])
            .inject(|scene| async move {
                scene.world.write("catalog-token", "another-one-0123456789\n")
            })
            .met(|scene| async move {
                let failed = "stagedoor_catalog_refresh_failures_total";
                until("it was refused", || async { scene.world.metric(failed).await > 0.0 }).await
            })
            .lift(|scene| async move {
                scene.world.write("catalog-token", "catalog-token-0123456789\n")
            }),
    ]
}
