//! The certificates that Stagedoor and Envoy show each other.

use std::time::Duration;

use anyhow::{Context as _, Result};
use devtenant::authority::{Authority, Issued};

use crate::callers::{ALL, May};
use crate::door::Door;
use crate::load::Window;
use crate::policies::refused_at_start;
use crate::run::{Fault, Scene, State, fault, more};
use crate::support::tls::{ENVOY, SERVER};
use crate::world::{Setting, until};

const FAMILY: &str = "tls";
const RUNNING: &[State] = &[State::Warm, State::Reloading];

/// Connections last for longer than any fault.
const LASTING: Setting = Setting { tls: true, ..Setting::USUAL };
/// Each connection is asked to end after a second, so that others begin all the time, and show
/// what is in force by then.
const RENEWED: Setting = Setting {
    tls: true,
    more: "limits: { max_connection_age: 1s, preface_timeout: 30s }\n",
    ..Setting::USUAL
};

/// How long a certificate lasts that is to be over soon: longer than it takes to be in use and
/// to serve everybody with it.
const SOON: Duration = Duration::from_secs(15);
const DAY: f64 = 86_400.0;

const CURRENT: &str = "stagedoor_tls_certificate_current";
const LEFT: &str = "stagedoor_tls_certificate_expiry_seconds";
const FAILED: &str = "stagedoor_tls_handshake_failures_total";
const ACCEPTED: &str = "stagedoor_connections_accepted_total";

fn door(scene: &Scene) -> Result<&Door> {
    scene.world.door.as_ref().context("there is no TLS")
}

/// Waits until so many more connections have come, each with a handshake of its own.
async fn connections(scene: &Scene, count: f64) -> Result<()> {
    let before = scene.world.metric(ACCEPTED).await;
    until("there are other connections", || async {
        scene.world.metric(ACCEPTED).await >= before + count
    })
    .await
}

/// Everybody is served over a connection that was made with a certificate that ends soon, and
/// then it is over.
async fn outlives_its_certificate(scene: &Scene) -> Result<()> {
    let door = door(scene)?;
    door.ours.swap(&door.ours.authority.issue_lasting(&[SERVER], SOON)?);
    until("the certificate is in use", || async {
        (1.0..60.0).contains(&scene.world.metric(LEFT).await)
    })
    .await?;
    // The connections there are were made with the one before.
    scene.load.announce(&Window::Everybody);
    door.cut();
    scene.load.served(&Window::Nobody).await?;
    scene.load.announce(&Window::Nobody);
    until("the certificate is over", || async { scene.world.metric(LEFT).await < 0.0 }).await
}

/// What is mounted can't be used as a whole: what was read before goes on, for new connections
/// as well. Nobody starts with it.
fn unusable(name: &'static str, mount: fn(&Door) -> Result<()>) -> Fault {
    fault(FAMILY, name)
        .with(RENEWED)
        .inject(move |scene: Scene| async move { mount(door(&scene)?) })
        .met(|scene| async move {
            if scene.state == State::Cold {
                return more("it did not start", 2, || scene.world.process.ends()).await;
            }
            until("it was refused", || async {
                // What can't be asked is nought as well, but days are left.
                scene.world.metric(LEFT).await > DAY && scene.world.metric(CURRENT).await < 1.0
            })
            .await?;
            connections(&scene, 3.0).await
        })
        .lift(|scene| async move {
            door(&scene)?.renew()?;
            until("what is mounted is in use", || async { scene.world.metric(CURRENT).await > 0.0 })
                .await
        })
        .costs(refused_at_start)
}

/// One of the two shows what the other doesn't take. Envoy gets no answer then, and lets nobody
/// in.
fn refused(name: &'static str, mount: fn(&Door) -> Result<()>) -> Fault {
    fault(FAMILY, name)
        .with(RENEWED)
        .inject(move |scene: Scene| async move { mount(door(&scene)?) })
        .met(|scene| async move { shut_out(&scene).await })
        .lift(|scene| async move { let_in_again(&scene) })
        .costs(|_| Window::Everybody)
}

/// Waits until Envoy answers everybody by itself. From then on nobody at all may get in.
async fn shut_out(scene: &Scene) -> Result<()> {
    until("there is no handshake", || async { scene.world.metric(FAILED).await > 0.0 }).await?;
    until("nobody is answered", || async {
        ALL.iter().all(|caller| scene.load.last(*caller).starts_with("envoy_"))
    })
    .await?;
    for caller in ALL {
        scene.load.rule(caller, May::No);
    }
    Ok(())
}

fn let_in_again(scene: &Scene) -> Result<()> {
    for caller in ALL {
        scene.load.rule(caller, caller.may());
    }
    door(scene)?.renew()
}

/// A certificate of an authority that neither side knows.
fn elsewhere(name: &str) -> Result<Issued> {
    Authority::new("Elsewhere")?.issue(&[name])
}

pub(crate) fn faults() -> Vec<Fault> {
    vec![
        fault(FAMILY, "its certificate is over, and connections go on")
            .only(RUNNING)
            .with(LASTING)
            .inject(|scene| async move { outlives_its_certificate(&scene).await })
            .met(|scene| async move { scene.load.more(20).await })
            .lift(|scene| async move { door(&scene)?.renew() }),
        fault(FAMILY, "its certificate is over, and connections are new")
            .with(LASTING)
            .inject(|scene| async move {
                if scene.state == State::Cold {
                    let door = door(&scene)?;
                    door.ours.swap(&door.ours.authority.issue_for(&[SERVER], -9..-1)?);
                    return Ok(());
                }
                outlives_its_certificate(&scene).await?;
                scene.load.announce(&Window::Everybody);
                door(&scene)?.cut();
                Ok(())
            })
            .met(|scene| async move {
                if scene.state == State::Cold {
                    return more("it did not start", 2, || scene.world.process.ends()).await;
                }
                shut_out(&scene).await
            })
            .lift(|scene| async move { let_in_again(&scene) })
            .costs(|_| Window::Everybody),
        unusable("its certificate is half written", |door| {
            let new = door.ours.authority.issue(&[SERVER])?;
            let half = &new.certificate[..new.certificate.len() / 2];
            door.ours.swap_to(half, &new.key, door.ours.authority.certificate());
            Ok(())
        }),
        unusable("its key is half written", |door| {
            let new = door.ours.authority.issue(&[SERVER])?;
            let half = &new.key[..new.key.len() / 2];
            door.ours.swap_to(&new.certificate, half, door.ours.authority.certificate());
            Ok(())
        }),
        unusable("its key is not that of its certificate", |door| {
            let [new, other] =
                [door.ours.authority.issue(&[SERVER])?, door.ours.authority.issue(&[SERVER])?];
            door.ours.swap_to(&new.certificate, &other.key, door.ours.authority.certificate());
            Ok(())
        }),
        unusable("the next certificate is over already", |door| {
            door.ours.swap(&door.ours.authority.issue_for(&[SERVER], -9..-1)?);
            Ok(())
        }),
        unusable("the certificates are gone", |door| {
            // What each of the files leads to.
            Ok(std::fs::remove_file(door.ours.path("..data"))?)
        }),
        unusable("the authority of clients is emptied", |door| {
            let new = door.ours.authority.issue(&[SERVER])?;
            door.ours.swap_to(&new.certificate, &new.key, "");
            Ok(())
        }),
        unusable("the authority of clients is garbage", |door| {
            let new = door.ours.authority.issue(&[SERVER])?;
            let garbage = "-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n";
            door.ours.swap_to(&new.certificate, &new.key, garbage);
            Ok(())
        }),
        fault(FAMILY, "certificates of both sides change again and again")
            .only(RUNNING)
            .with(RENEWED)
            .met(|scene| async move {
                let door = door(&scene)?;
                for round in 1..=3_i32 {
                    let days = 30 + 10 * round;
                    let good = -1..i64::from(days);
                    door.ours.swap(&door.ours.authority.issue_for(&[SERVER], good.clone())?);
                    door.theirs.swap(&door.ours.authority.issue_for(&[ENVOY], good)?);
                    let wanted = f64::from(days - 1) * DAY;
                    until("the certificate is in use", || async {
                        scene.world.metric(LEFT).await > wanted
                    })
                    .await?;
                    connections(&scene, 3.0).await?;
                }
                Ok(())
            }),
        refused("Envoy's certificate is of a strange authority", |door| {
            let strange = elsewhere(ENVOY)?;
            let ours = door.ours.authority.certificate();
            door.theirs.swap_to(&strange.certificate, &strange.key, ours);
            Ok(())
        }),
        refused("Envoy's certificate is over", |door| {
            door.theirs.swap(&door.ours.authority.issue_for(&[ENVOY], -9..-1)?);
            Ok(())
        }),
        refused("Envoy's certificate is another client's", |door| {
            let other = "spiffe://cluster.local/ns/edge/sa/another";
            door.theirs.swap(&door.ours.authority.issue(&[other])?);
            Ok(())
        }),
        refused("the authority of clients is another one", |door| {
            let new = door.ours.authority.issue(&[SERVER])?;
            let other = Authority::new("Elsewhere")?;
            door.ours.swap_to(&new.certificate, &new.key, other.certificate());
            Ok(())
        }),
        refused("its certificate is of a strange authority", |door| {
            let strange = elsewhere(SERVER)?;
            let ours = door.ours.authority.certificate();
            door.ours.swap_to(&strange.certificate, &strange.key, ours);
            Ok(())
        }),
        refused("its certificate is for another name", |door| {
            door.ours.swap(&door.ours.authority.issue(&["other.example.com"])?);
            Ok(())
        }),
    ]
}
