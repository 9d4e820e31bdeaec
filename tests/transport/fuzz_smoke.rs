//! The fuzz targets, for a short while, on stable: the committed corpus and what becomes of
//! it by random changes. `fuzz/` runs them for as long as one likes.

use std::path::Path;

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|f| f.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// Some of the bytes changed, taken away, doubled, or put in from another seed.
fn mutated(rng: &mut SmallRng, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut data = seeds[rng.random_range(0..seeds.len())].clone();
    for _ in 0..rng.random_range(0..6) {
        if data.is_empty() {
            break;
        }
        let at = rng.random_range(0..data.len());
        match rng.random_range(0..5) {
            0 => data[at] ^= 1 << rng.random_range(0..8),
            1 => drop(data.remove(at)),
            2 => data.insert(at, rng.random()),
            3 => {
                let end = rng.random_range(at..=data.len());
                let part = data[at..end].to_vec();
                data.splice(at..at, part);
            }
            _ => {
                let other = &seeds[rng.random_range(0..seeds.len())];
                let from = rng.random_range(0..=other.len());
                data.splice(at..at, other[from..].iter().copied());
            }
        }
    }
    data.truncate(20_000);
    data
}

fn run(name: &str, rounds: usize, target: fn(&[u8]) -> bool) {
    let seeds = corpus(name);
    assert!(seeds.len() >= 5, "{name}: {} seeds", seeds.len());
    let mut rng = SmallRng::seed_from_u64(0x57a9_ed00);
    let as_they_are = seeds.iter().filter(|seed| target(seed)).count();
    assert!(as_they_are > 0, "{name}: some of the corpus is good");
    let (mut good, mut bad) = (0, 0);
    for _ in 0..rounds {
        let data = mutated(&mut rng, &seeds);
        if target(&data) { good += 1 } else { bad += 1 }
    }
    assert!(good > rounds / 100 && bad > rounds / 10, "{name}: {good} good, {bad} bad");
}

#[test]
fn tokens() {
    run("token", 4000, crate::fuzzed::token);
}

#[test]
fn checks() {
    run("check", 100_000, crate::fuzzed_check::check);
}

#[test]
fn key_sets() {
    run("key_set", 40_000, crate::fuzzed::key_set);
}

#[test]
fn entity_refs() {
    run("entity_ref", 200_000, crate::fuzzed_catalog::entity_ref);
}

#[test]
fn entities() {
    run("entity", 3_000, crate::fuzzed_catalog::entity);
}

#[test]
fn snapshots() {
    run("snapshot", 10_000, crate::fuzzed_catalog::snapshot);
}
