//! Snapshots as files: what is written is read, whatever happened while it was written.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use rand::SeedableRng as _;
use stagedoor::catalog::{
    Snapshot, changes, decode_snapshot, encode_snapshot, load_folder, read_snapshot, write_snapshot,
};

/// In the process that is killed: the folder to work in.
const WRITE_TO: &str = "STAGEDOOR_TEST_WRITE_TO";
const KILLS: usize = 200;
const MOST_KILLS: usize = 6 * KILLS;
/// How long it may write before it is killed, in microseconds. Where the disk is so slow, or the
/// machine so busy, that this is not enough, it gets more, up to so much.
const FIRST_TIME: u64 = 20_000;
const LAST_TIME: u64 = 10_000_000;

/// An organisation with this many components, large enough for writing it to take a while.
fn organisation(components: usize) -> Snapshot {
    let folder = tempfile::tempdir().unwrap();
    let mut text = "kind: Group\nmetadata:\n  name: team\n  annotations:\n    \
        graph.microsoft.com/group-id: aaaaaaaa-0000-0000-0000-000000000001\n    \
        stagedoor.dev/hosts: nobody reads it here\n  links: [{ url: 'https://chat.example.com', \
        title: Chat }]\nspec: { type: team, children: [], profile: { email: team@example.com } }\n"
        .to_owned();
    for number in 0..components {
        text.push_str(&format!(
            "---\nkind: Component\nmetadata:\n  name: c{number}\n  tags: [t{}, go]\n  annotations:\n    \
             stagedoor.dev/hosts: c{number}.example.com\n\
             spec: {{ type: service, lifecycle: production, owner: team, system: s }}\n",
            number % 7,
        ));
    }
    text.push_str(
        "---\nkind: User\nmetadata:\n  name: ada\n  annotations:\n    graph.microsoft.com/user-id: \
         bbbbbbbb-0000-0000-0000-000000000001\nspec: { memberOf: [team, nobody] }\n---\nkind: \
         System\nmetadata: { name: s }\nspec: { owner: ada, domain: d }\n",
    );
    std::fs::write(folder.path().join("catalog.yaml"), text).unwrap();
    load_folder(folder.path(), false).unwrap()
}

/// What is killed.
fn write_without_end(folder: &Path) -> ! {
    let both = ["a", "b"].map(|name| read_snapshot(&folder.join(name)).unwrap());
    std::fs::write(folder.join("begun"), "").unwrap();
    loop {
        for snapshot in &both {
            write_snapshot(snapshot, &folder.join("store/snapshot")).unwrap();
        }
    }
}

#[test]
fn a_kill_leaves_the_old_one_or_the_new_one() {
    if let Ok(folder) = std::env::var(WRITE_TO) {
        write_without_end(Path::new(&folder));
    }
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let file = store.join("snapshot");
    let begun = folder.path().join("begun");
    std::fs::create_dir(&store).unwrap();
    let versions = [("a", 2000), ("b", 2001)].map(|(name, components)| {
        let snapshot = organisation(components);
        write_snapshot(&snapshot, &folder.path().join(name)).unwrap();
        snapshot.version().clone()
    });
    let mut rng = rand::rngs::SmallRng::seed_from_u64(7);
    let mut seen = [0, 0];
    let mut torn = 0;
    for kill in 0..MOST_KILLS {
        let enough = seen[0] > 0 && seen[1] > 0 && torn > KILLS / 10;
        if kill >= KILLS && enough {
            break;
        }
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::a_kill_leaves_the_old_one_or_the_new_one"])
            .env(WRITE_TO, folder.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        while !begun.exists() {
            assert!(child.try_wait().unwrap().is_none(), "it ended");
            std::thread::sleep(Duration::from_millis(1));
        }
        std::fs::remove_file(&begun).unwrap();
        // Not to synchronise, but to hit it anywhere.
        let time = (FIRST_TIME << (2 * (kill / KILLS))).min(LAST_TIME);
        std::thread::sleep(Duration::from_micros(rng.random_range(0..time)));
        child.kill().unwrap();
        child.wait().unwrap();
        if !file.exists() {
            // Before the first one was there.
            continue;
        }
        let snapshot = read_snapshot(&file).unwrap_or_else(|error| panic!("{kill}: {error}"));
        let which = versions.iter().position(|version| version == snapshot.version());
        seen[which.unwrap_or_else(|| panic!("{kill}: neither"))] += 1;
        let files = std::fs::read_dir(&store).unwrap().count();
        torn += files - 1;
        for entry in std::fs::read_dir(&store).unwrap().flatten() {
            if entry.path() != file {
                std::fs::remove_file(entry.path()).unwrap();
            }
        }
    }
    assert!(seen[0] > 0 && seen[1] > 0, "{seen:?}");
    assert!(torn > KILLS / 10, "it was also hit while it wrote: {torn}");
}

#[test]
fn what_is_written_is_read() {
    let snapshot = organisation(50);
    let read = decode_snapshot(&encode_snapshot(&snapshot)).unwrap();
    assert_eq!(read.version(), snapshot.version());
    assert_eq!(read.crawled_at(), snapshot.crawled_at());
    assert_eq!(read.counts(), snapshot.counts());
    assert_eq!(read.all_findings(), snapshot.all_findings());
    assert_eq!(read.claims().count(), 50);
    changes(&snapshot, &read, |change| panic!("{change}"));
    let all = |snapshot: &Snapshot| -> Vec<String> {
        let entities = snapshot.entities().map(|entity| {
            format!(
                "{} {:?} {:?} {:?} {:?} {:?} {:?} {:?}",
                entity.entity(),
                entity.spec_type(),
                entity.lifecycle(),
                entity.tags().collect::<Vec<_>>(),
                entity.owners().collect::<Vec<_>>(),
                entity.part_of().collect::<Vec<_>>(),
                entity.wholes().collect::<Vec<_>>(),
                entity.claim(),
            )
        });
        let groups = snapshot.groups().map(|group| {
            let (parents, ancestors) = (group.parents(), group.ancestors());
            let (parents, ancestors): (Vec<_>, Vec<_>) = (parents.collect(), ancestors.collect());
            format!(
                "{} {} {:?} {parents:?} {ancestors:?} {:?}",
                group.entity(),
                group.title(),
                group.id(),
                snapshot.owner(group.entity()).contact
            )
        });
        let users = snapshot.users().map(|user| {
            let member_of: Vec<_> = user.member_of().collect();
            format!("{} {} {:?} {member_of:?}", user.entity(), user.title(), user.id())
        });
        entities.chain(groups).chain(users).collect()
    };
    assert_eq!(all(&snapshot), all(&read));
    // The same content has the same bytes.
    assert_eq!(encode_snapshot(&read), encode_snapshot(&snapshot));
}

/// Read is what this version writes, and what isn't is refused by the number of its format.
#[test]
fn other_formats_are_refused_by_name() {
    for other in [1, 3, u32::MAX] {
        let mut bytes = encode_snapshot(&organisation(1));
        bytes[8..12].copy_from_slice(&other.to_le_bytes());
        let error = decode_snapshot(&bytes).unwrap_err().to_string();
        assert_eq!(error, format!("a snapshot of format {other}, and only format 2 is read"));
    }
}

/// A bit that is another one, and an end that came too soon, wherever they are.
#[test]
fn one_bit_and_each_cut() {
    let good = encode_snapshot(&organisation(20));
    let mut rng = rand::rngs::SmallRng::seed_from_u64(11);
    for _ in 0..1000 {
        let mut bytes = good.clone();
        let at = rng.random_range(0..bytes.len());
        bytes[at] ^= 1 << rng.random_range(0..8_u32);
        assert!(decode_snapshot(&bytes).is_err(), "byte {at}");
    }
    for part in 0..256 {
        let cut = good.len() * part / 256;
        assert!(decode_snapshot(&good[..cut]).is_err(), "cut at {cut}");
    }
    assert!(decode_snapshot(&good).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Whatever is done to a snapshot's bytes, they are refused; also where whoever did it
    /// knows how to make the checksum right, nothing but a snapshot comes of it.
    #[test]
    fn bytes_that_are_none(
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
        mended in any::<bool>(),
    ) {
        let good = encode_snapshot(&organisation(3));
        prop_assert!(decode_snapshot(&good[..cut.index(good.len())]).is_err());
        let mut bytes = good.clone();
        for (at, to) in edits {
            let at = at.index(bytes.len());
            bytes[at] = to;
        }
        if mended {
            let end = bytes.len() - 32;
            let checksum = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &bytes[..end]);
            bytes[end..].copy_from_slice(checksum.as_ref());
        }
        let began = Instant::now();
        match decode_snapshot(&bytes) {
            Ok(snapshot) => {
                prop_assert!(bytes == good || mended, "a wrong checksum was accepted");
                // It can be asked anything.
                for entity in snapshot.entities() {
                    prop_assert!(entity.owners().count() + entity.wholes().count() < 100);
                }
                prop_assert!(snapshot.groups().count() > 0);
            }
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
        prop_assert!(began.elapsed() < Duration::from_secs(30), "no length is believed");
    }
}
