//! What becomes of one crawl after another: what is adopted, what is held back, what is
//! kept for the next start.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use stagedoor::catalog::{
    BackstageSettings, CatalogSettings, CatalogState, ConfirmError, FindingKind, GuardSettings,
    SourceSettings, read_snapshot,
};
use stagedoor::domain::EntityRef;
use tokio::time::sleep;

use crate::served::*;

/// What the clock of ages left out counts, and nobody waits for the next regular crawl.
#[tokio::test(start_paused = true)]
async fn a_machine_that_was_suspended_has_an_old_snapshot() {
    let running = Running::start(organisation(), None);
    running.crawl().await;
    assert!(matches!(running.catalog.current(now()), CatalogState::Fresh(_)));

    running.served.set_down(true);
    running.catalog.suspended(MAX_AGE + REFRESH);
    assert!(matches!(running.catalog.current(now()), CatalogState::Expired));
    // Its tries included, by the clock of the test, which is long before the next crawl is due;
    // and by the true one, for what goes over a socket.
    let moment = Duration::from_millis(10);
    for _ in 0..1000 {
        if running.catalog.status(now()).last_error.is_some() {
            break;
        }
        sleep(moment).await;
        tokio::task::spawn_blocking(move || std::thread::sleep(moment)).await.unwrap();
    }
    assert!(running.catalog.status(now()).last_error.is_some(), "it is read at once");
    assert!(matches!(running.catalog.current(now()), CatalogState::Expired));

    running.served.set_down(false);
    running.crawl().await;
    assert!(matches!(running.catalog.current(now()), CatalogState::Fresh(_)));
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_loses_too_much_waits_until_it_persists() {
    for (name, candidate, want) in [
        (
            "entities",
            without(|name| ["c0", "c1", "c2"].contains(&name)),
            Some("3 of 10 entities with owners would go"),
        ),
        ("a few entities", without(|name| ["c0", "c1"].contains(&name)), None),
        (
            "groups",
            without(|name| ["g0", "g1", "g2"].contains(&name)),
            Some("3 of 10 groups would go"),
        ),
        (
            "bindings",
            without(|name| ["u0", "u1", "u2", "u3", "u4"].contains(&name)),
            Some("5 of 20 Entra ids would go, 5 of 10 memberships would go"),
        ),
        ("owners", reassigned(3), Some("3 of 10 entities would change owners")),
        ("a few owners", reassigned(2), None),
    ] {
        let running = Running::start(organisation(), None);
        running.crawl().await;
        let first = running.catalog.snapshot().unwrap();
        assert_eq!(running.told.take(), ["first"], "{name}");

        running.served.set(candidate.clone());
        for crawl in 1..ADOPT_AFTER {
            running.crawl().await;
            let Some(want) = want else { break };
            let held = running.held().unwrap_or_else(|| panic!("{name}: held"));
            assert!(held.to_string().contains(want), "{name}: {held}");
            assert_eq!(held.crawls, crawl, "{name}");
            assert!(!held.examples.is_empty());
            let current = running.catalog.snapshot().unwrap();
            assert_eq!(current.version(), first.version(), "{name}: the old one goes on");
            assert_eq!(running.told.take(), [format!("held {held}")], "{name}");
        }
        if want.is_some() {
            running.crawl().await;
        }
        assert_eq!(running.held(), None, "{name}: it was meant");
        assert_ne!(running.catalog.snapshot().unwrap().version(), first.version(), "{name}");
        assert!(!running.told.take().is_empty(), "{name}");
        running.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn other_losses_begin_from_the_beginning() {
    let running = Running::start(organisation(), None);
    running.crawl().await;
    let first = running.catalog.snapshot().unwrap();
    // As after a restart of Backstage: little, and each time more, and at last everything.
    for known in [1, 2, 3, 4, 5, 6] {
        let small = |name: &str| {
            name.trim_start_matches(char::is_alphabetic).parse::<usize>().unwrap() > known
        };
        running.served.set(without(small));
        running.crawl().await;
        assert_eq!(running.held().expect("held").crawls, 1, "{known}");
        assert_eq!(running.catalog.snapshot().unwrap().version(), first.version());
    }
    running.served.set(organisation());
    running.crawl().await;
    assert_eq!(running.held(), None);
    assert_eq!(running.catalog.snapshot().unwrap().version(), first.version());
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_held_ages_and_expires() {
    let running = Running::start(organisation(), None);
    running.crawl().await;
    for crawl in 0..70 {
        // Never twice the same.
        let gone = format!("u{}", crawl % 10);
        running.served.set(without(|name| name.starts_with('c') && name != "c0" || name == gone));
        running.crawl().await;
        let state = running.catalog.current(now());
        match crawl {
            0..=1 => assert!(matches!(state, CatalogState::Fresh(_)), "{crawl}: {state}"),
            4..=57 => assert!(matches!(state, CatalogState::Stale(_)), "{crawl}: {state}"),
            62.. => assert!(matches!(state, CatalogState::Expired), "{crawl}: {state}"),
            _ => {}
        }
    }
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_held_is_adopted_when_it_is_confirmed() {
    let running = Running::start(organisation(), None);
    assert_eq!(running.catalog.confirm("x"), Err(ConfirmError::Nothing));
    running.crawl().await;
    running.served.set(reassigned(5));
    running.crawl().await;
    let held = running.held().unwrap();
    assert_eq!(running.catalog.confirm("x"), Err(ConfirmError::Other));
    assert_eq!(running.owners("component:default/c0"), ["group:default/g0"]);
    // Something else by the time it is read: that was not what was confirmed.
    running.served.set(reassigned(6));
    running.catalog.confirm(&held.id).unwrap();
    sleep(Duration::from_secs(5)).await;
    let other = running.held().expect("held");
    assert_ne!(other.id, held.id);
    assert_eq!(running.owners("component:default/c0"), ["group:default/g0"]);
    running.catalog.confirm(&other.id).unwrap();
    sleep(Duration::from_secs(5)).await;
    assert_eq!(running.held(), None);
    assert_eq!(running.owners("component:default/c0"), ["group:default/g9"]);
    running.stop().await;
}

/// Somebody takes the name of an entity that is gone.
#[tokio::test(start_paused = true)]
async fn a_name_that_is_taken_over_waits() {
    let take_over = |change: &dyn Fn(&mut Value)| {
        let mut entities = organisation();
        entities.iter_mut().filter(|entity| entity["metadata"]["name"] == "c0").for_each(change);
        entities
    };
    let owned_by_nine = |entity: &mut Value| {
        entity["relations"][0]["targetRef"] = json!("group:default/g9");
    };
    let by_uid = take_over(&|entity| {
        entity["metadata"]["uid"] = json!(id('f', 1));
        owned_by_nine(entity);
    });
    let by_location = take_over(&|entity| {
        let evil = json!("url:https://github.com/evil/c0/catalog-info.yaml");
        entity["metadata"]["annotations"]["backstage.io/managed-by-origin-location"] = evil;
        owned_by_nine(entity);
    });
    for (name, entities) in [("another uid", by_uid), ("another origin", by_location)] {
        let running = Running::start(organisation(), None);
        running.crawl().await;
        running.told.take();
        running.served.set(entities.clone());
        for crawl in 1..ADOPT_AFTER {
            running.crawl().await;
            assert_eq!(running.owners("component:default/c0"), ["group:default/g0"], "{name}");
            let held = running.held().expect("held");
            assert_eq!(held.crawls, crawl, "{name}");
            assert_eq!(held.examples, ["moved component:default/c0"], "{name}");
            let findings = running.catalog.status(now()).findings;
            assert_eq!(findings.get(&FindingKind::Moved), Some(&1), "{name}");
        }
        running.crawl().await;
        assert_eq!(running.owners("component:default/c0"), ["group:default/g9"], "{name}");
        assert_eq!(running.held(), None, "{name}");
        running.stop().await;

        let running = Running::start(organisation(), None);
        running.crawl().await;
        running.served.set(entities);
        running.crawl().await;
        running.catalog.confirm(&running.held().unwrap().id).unwrap();
        sleep(Duration::from_secs(5)).await;
        assert_eq!(running.owners("component:default/c0"), ["group:default/g9"], "{name}");
        running.stop().await;
    }
    // The same author who names another owner does not wait.
    let running = Running::start(organisation(), None);
    running.crawl().await;
    running.served.set(take_over(&owned_by_nine));
    running.crawl().await;
    assert_eq!(running.owners("component:default/c0"), ["group:default/g9"]);
    running.stop().await;
}

/// Nor does whoever takes a team's name get its mail.
#[tokio::test(start_paused = true)]
async fn a_team_that_is_taken_over_keeps_its_contact() {
    let reached_at = |email: &str, uid: Option<&str>| {
        let mut entities = organisation();
        let team = entities.iter_mut().find(|entity| entity["metadata"]["name"] == "g0").unwrap();
        team["spec"] = json!({ "profile": { "email": email } });
        if let Some(uid) = uid {
            team["metadata"]["uid"] = json!(uid);
        }
        entities
    };
    let running = Running::start(reached_at("team@example.com", None), None);
    running.crawl().await;
    let email = || {
        let team = EntityRef::parse("group:default/g0").unwrap();
        let contact = running.catalog.snapshot().unwrap().owner(&team).contact;
        contact.unwrap().email.as_ref().unwrap().as_str().to_owned()
    };
    assert_eq!(email(), "team@example.com");
    running.served.set(reached_at("evil@example.org", Some(&id('f', 1))));
    for _ in 1..ADOPT_AFTER {
        running.crawl().await;
        assert_eq!(email(), "team@example.com");
    }
    running.crawl().await;
    assert_eq!(email(), "evil@example.org");
    // The team itself changes it at once.
    running.served.set(reached_at("other@example.com", Some(&id('f', 1))));
    running.crawl().await;
    assert_eq!(email(), "other@example.com");
    running.stop().await;
}

/// Also where the name was free in between.
#[tokio::test(start_paused = true)]
async fn a_name_that_was_free_for_a_while_waits() {
    let back = |uid: Option<&str>| {
        let mut entities = organisation();
        for entity in entities.iter_mut().filter(|entity| entity["metadata"]["name"] == "c0") {
            entity["relations"][0]["targetRef"] = json!("group:default/g9");
            entity["metadata"]["uid"] = uid.map_or(entity["metadata"]["uid"].clone(), Value::from);
        }
        entities
    };
    let other = id('f', 1);
    for (uid, waits) in [(Some(other.as_str()), true), (None, false)] {
        let running = Running::start(organisation(), None);
        running.crawl().await;
        running.served.set(without(|name| name == "c0"));
        running.crawl().await;
        running.crawl().await;
        assert!(running.owners("component:default/c0").is_empty());
        running.served.set(back(uid));
        for _ in 1..ADOPT_AFTER {
            running.crawl().await;
            let owners = running.owners("component:default/c0");
            assert_eq!(owners.is_empty(), waits, "{uid:?} {owners:?}");
            // Nor is it there without what is said of it, as no `forbid` could know it.
            let there = running.catalog.snapshot().unwrap();
            let there = there.entity(&EntityRef::parse("component:default/c0").unwrap()).is_some();
            assert_eq!(there, !waits, "{uid:?}");
            assert_eq!(running.held().is_some(), waits);
        }
        running.crawl().await;
        assert_eq!(running.owners("component:default/c0"), ["group:default/g9"], "{uid:?}");
        assert_eq!(running.held(), None);
        running.stop().await;
    }
}

/// And also where that crawl was held back for something else.
#[tokio::test(start_paused = true)]
async fn a_name_waits_although_the_crawl_that_showed_it_was_held() {
    let taken = |gone: &dyn Fn(&str) -> bool| {
        let mut entities = without(gone);
        for entity in entities.iter_mut().filter(|entity| entity["metadata"]["name"] == "c0") {
            entity["metadata"]["uid"] = json!(id('f', 1));
        }
        entities
    };
    let running = Running::start(organisation(), None);
    running.crawl().await;
    running.served.set(without(|name| name == "c0"));
    running.crawl().await;
    let nobody = |running: &Running| running.owners("component:default/c0").is_empty();
    running.served.set(taken(&|name| name.starts_with('c') && name > "c4"));
    running.crawl().await;
    assert!(nobody(&running) && running.held().is_some());
    running.served.set(taken(&|_| false));
    running.crawl().await;
    assert!(nobody(&running), "the second of {ADOPT_AFTER} crawls");
    running.crawl().await;
    assert!(!nobody(&running));
    running.stop().await;
}

/// A confirmation is for what was seen, and for nothing that came with it.
#[tokio::test(start_paused = true)]
async fn who_confirms_a_loss_confirms_no_newcomer() {
    let running = Running::start(organisation(), None);
    running.crawl().await;
    let mut entities = without(|name| name.starts_with('c') && name > "c4");
    for entity in entities.iter_mut().filter(|entity| entity["metadata"]["name"] == "c0") {
        entity["metadata"]["uid"] = json!(id('f', 1));
        entity["metadata"]["tags"] = json!(["open"]);
    }
    running.served.set(entities);
    running.crawl().await;
    let held = running.held().unwrap();
    assert!(held.to_string().contains("would go"), "{held}");
    running.catalog.confirm(&held.id).unwrap();
    sleep(Duration::from_secs(5)).await;
    let snapshot = running.catalog.snapshot().unwrap();
    assert_eq!(snapshot.counts().0, 5, "the loss is adopted");
    let c0 = EntityRef::parse("component:default/c0").unwrap();
    assert_eq!(snapshot.entity(&c0).unwrap().tags().count(), 0, "the newcomer waits");
    assert_eq!(running.held().unwrap().examples, ["moved component:default/c0"]);
    running.stop().await;
}

/// What is forbidden in a domain stays so when the domain, or the system between, is gone
/// from the catalog, while entities still say they are part of it.
#[tokio::test(start_paused = true)]
async fn systems_and_domains_that_are_gone_go_on_for_a_while() {
    let part = |kind: &str, name: &str, number: usize, whole: Option<&str>| {
        let mut entity = component(number, "group:default/g1");
        entity["kind"] = json!(kind);
        entity["metadata"]["name"] = json!(name);
        if let Some(whole) = whole {
            let relation = json!({ "type": "partOf", "targetRef": whole });
            entity["relations"].as_array_mut().unwrap().push(relation);
        }
        entity
    };
    let all = |gone: &[&str]| {
        let mut entities = organisation();
        entities.push(part("Domain", "pci", 50, None));
        entities.push(part("System", "cards", 51, Some("domain:default/pci")));
        entities.push(part("Component", "vault", 52, Some("system:default/cards")));
        entities.retain(|entity| !gone.contains(&entity["metadata"]["name"].as_str().unwrap()));
        entities
    };
    let wholes = |running: &Running| {
        let vault = EntityRef::parse("component:default/vault").unwrap();
        let snapshot = running.catalog.snapshot().unwrap();
        let vault = snapshot.entity(&vault).unwrap();
        vault.wholes().map(ToString::to_string).collect::<Vec<_>>()
    };
    let both = ["domain:default/pci", "system:default/cards"];
    for (gone, left) in
        [(&["pci"][..], &both[1..]), (&["cards"], &[][..]), (&["pci", "cards"], &[])]
    {
        let running = Running::start(all(&[]), None);
        running.crawl().await;
        assert_eq!(wholes(&running), both);
        running.served.set(all(gone));
        for _ in 1..ADOPT_AFTER {
            running.crawl().await;
            assert_eq!(wholes(&running), both, "{gone:?}");
            let held = running.held().unwrap();
            assert!(held.to_string().contains("are gone that others are part of"), "{held}");
        }
        running.crawl().await;
        assert_eq!(wholes(&running), left, "{gone:?}");
        assert_eq!(running.held(), None);
        let findings = running.catalog.status(now()).findings;
        assert!(findings.get(&FindingKind::Dangling).is_some_and(|count| *count > 0));
        running.stop().await;

        // Or until it is confirmed; and back again it is as it was.
        let running = Running::start(all(&[]), None);
        running.crawl().await;
        running.served.set(all(gone));
        running.crawl().await;
        running.catalog.confirm(&running.held().unwrap().id).unwrap();
        sleep(Duration::from_secs(5)).await;
        assert_eq!(wholes(&running), left, "{gone:?}");
        running.stop().await;
    }
    // Who takes the whole away with its parts is not waited for.
    let running = Running::start(all(&[]), None);
    running.crawl().await;
    running.served.set(all(&["cards", "vault"]));
    running.crawl().await;
    assert_eq!(running.held(), None);
    assert_eq!(running.catalog.snapshot().unwrap().counts().0, 11);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_unchanged_catalog_is_not_sent_again() {
    let running = Running::start(organisation(), None);
    running.crawl().await;
    let first = running.catalog.snapshot().unwrap();
    running.served.asked();
    running.crawl().await;
    running.crawl().await;
    assert_eq!(running.served.asked(), ["unchanged", "unchanged"]);
    let same = running.catalog.snapshot().unwrap();
    assert!(Arc::ptr_eq(&first, &same), "nothing that is remembered of it is lost");
    let age = running.catalog.status(now()).age.unwrap();
    assert!(age <= REFRESH, "it is as old as the last crawl: {age:?}");

    running.served.set(reassigned(1));
    running.crawl().await;
    assert_eq!(running.owners("component:default/c0"), ["group:default/g9"]);
    assert_eq!(running.served.asked(), ["page", "page", "count"]);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_next_start_needs_no_backstage() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(organisation(), Some(folder.path()));
    running.crawl().await;
    let version = Arc::clone(running.catalog.snapshot().unwrap().version());
    running.stop().await;
    assert_eq!(read_snapshot(&folder.path().join("snapshot")).unwrap().version(), &version);

    let served = Arc::new(Served::default());
    served.set_down(true);
    let running = Running::on(Arc::clone(&served), Some(folder.path()));
    sleep(Duration::from_millis(10)).await;
    let CatalogState::Fresh(snapshot) = running.catalog.current(now()) else { panic!("fresh") };
    assert_eq!(snapshot.version(), &version);
    assert!(running.catalog.status(now()).last_error.is_none());
    running.crawl().await;
    assert_eq!(running.catalog.status(now()).last_error.unwrap().code, "unavailable");
    // What it decides by is also what the next crawl is compared with.
    served.set(without(|name| name.starts_with('c') && name != "c0"));
    served.set_down(false);
    running.crawl().await;
    assert!(running.held().is_some());
    running.stop().await;

    // Its age is counted from its crawl, by the clock on the wall.
    std::thread::sleep(Duration::from_millis(2100));
    served.set_down(true);
    let running = Running::aging(served, Some(folder.path()), Duration::from_secs(1));
    sleep(Duration::from_millis(10)).await;
    assert!(matches!(running.catalog.current(now()), CatalogState::Initializing));
    let error = running.catalog.status(now()).last_error.unwrap();
    assert!(error.message.contains("`max_age` is 1 s"), "{}", error.message);
    running.stop().await;
}

/// None of these is started from, and each is named.
#[tokio::test(start_paused = true)]
async fn a_stored_snapshot_that_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("snapshot");
    let running = Running::start(organisation(), Some(folder.path()));
    running.crawl().await;
    running.stop().await;
    let good = std::fs::read(&file).unwrap();
    let changed = |at: usize, to: u8| {
        let mut bytes = good.clone();
        bytes[at] = to;
        bytes
    };
    let middle = good.len() / 2;
    for (name, bytes, want) in [
        ("empty", Vec::new(), "does not begin as one"),
        ("another file", b"{\"json\": true, \"and\": \"long enough\"}".to_vec(), "does not begin"),
        ("an earlier format", changed(8, 1), "format 1"),
        ("a later format", changed(8, 3), "format 3"),
        ("cut off", good[..middle].to_vec(), "cut off"),
        ("added to", [good.clone(), vec![0]].concat(), "cut off, or added to"),
        ("damaged", changed(middle, good[middle] ^ 1), "checksum"),
        ("older than it says", changed(20, good[20] ^ 1), "checksum"),
    ] {
        std::fs::write(&file, bytes).unwrap();
        let served = Arc::new(Served::default());
        served.set_down(true);
        let running = Running::on(served, Some(folder.path()));
        sleep(Duration::from_millis(10)).await;
        let status = running.catalog.status(now());
        assert!(matches!(status.state, CatalogState::Initializing), "{name}");
        let error = status.last_error.expect(name);
        assert_eq!(error.code, "store", "{name}");
        assert!(error.message.contains(want), "{name}: {}", error.message);
        assert!(error.message.contains("snapshot`"), "{name}: {}", error.message);
        running.stop().await;
    }
}

/// Whose word is believed can change while the pages stay the same: they are read again all
/// the same, judged by the new settings, and guarded as ever.
#[tokio::test(start_paused = true)]
async fn settings_change_in_place() {
    let running = Running::start(organisation(), None);
    running.crawl().await;
    let first = running.catalog.snapshot().unwrap();
    let with_provider = |provider: &str| {
        let before = running.catalog.settings();
        let SourceSettings::Backstage(backstage) = before.source.clone() else {
            panic!("a backend")
        };
        let graph_providers = vec![provider.to_owned()];
        let source = SourceSettings::Backstage(BackstageSettings { graph_providers, ..backstage });
        CatalogSettings { source, ..(*before).clone() }
    };
    running.catalog.configure(with_provider("other"));
    running.crawl().await;
    let held = running.held().expect("held").to_string();
    assert!(held.contains("20 of 20 Entra ids would go"), "{held}");
    assert_eq!(running.catalog.snapshot().unwrap().version(), first.version());

    let guard =
        GuardSettings { max_loss_percent: 100, max_reassigned_percent: 100, adopt_after: 3 };
    running.catalog.configure(CatalogSettings { guard, ..with_provider("other") });
    running.crawl().await;
    assert_eq!(running.held(), None);
    let second = running.catalog.snapshot().unwrap();
    assert_ne!(second.version(), first.version());
    // And back, at once: nobody waits for the next regular crawl.
    let began = tokio::time::Instant::now();
    running.catalog.configure(with_provider("default"));
    while running.catalog.snapshot().unwrap().version() != first.version() {
        assert!(began.elapsed() < REFRESH / 2, "it is read again now");
        sleep(Duration::from_millis(100)).await;
    }
    // Where entities come from stays.
    let elsewhere = SourceSettings::Folder("/nowhere".into());
    running
        .catalog
        .configure(CatalogSettings { source: elsewhere, ..(*running.catalog.settings()).clone() });
    assert!(matches!(running.catalog.settings().source, SourceSettings::Backstage(_)));
    running.stop().await;
}
