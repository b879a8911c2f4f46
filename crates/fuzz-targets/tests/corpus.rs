//! Replays what the fuzzers found, and many short random inputs, on every run of the tests.

use std::path::Path;
use vcm_fuzz_targets::Fed;

/// Feeds every file of a target's corpus.
fn replay(target: &str, mut feed: impl FnMut(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut files = 0;
    for entry in std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        feed(&std::fs::read(&path).unwrap());
        files += 1;
    }
    assert!(files > 0, "no corpus in {}", folder.display());
}

#[test]
fn device_trees() {
    replay("device_tree", vcm_fuzz_targets::device_tree);
    for name in vcm_platform::topology::shipped_names() {
        vcm_fuzz_targets::device_tree(vcm_platform::topology::shipped(name).unwrap());
    }
    for name in vcm_platform::topology::qemu_tree_names() {
        vcm_fuzz_targets::device_tree(vcm_platform::topology::qemu_tree(name).unwrap());
    }
}

#[test]
fn scenarios() {
    let mut fed = Vec::new();
    replay("scenario", |bytes| fed.push(vcm_fuzz_targets::scenario(bytes)));
    for name in vcm_cli::scenario::shipped_names() {
        fed.push(vcm_fuzz_targets::scenario(vcm_cli::scenario::shipped(name).unwrap().as_bytes()));
    }
    // The proof that they reach what they are meant to test.
    let count = |what: Fed| fed.iter().filter(|fed| **fed == what).count();
    println!("{fed:?}");
    assert!(count(Fed::Ran) > 10 && count(Fed::Refused) > 2, "{fed:?}");
    assert!(count(Fed::NotRun) > 2 && count(Fed::TooMuch) > 0, "{fed:?}");
}

#[test]
fn operations() {
    replay("operations", |bytes| {
        vcm_fuzz_targets::operations(bytes);
    });
}

/// Random inputs, and the proof that they reach what they are meant to test.
#[test]
fn random_operations() {
    let mut tally = vcm_fuzz_targets::Tally::default();
    for seed in 0..400_u64 {
        let bytes: Vec<u8> = (0..1000).map(|index| vcm_platform::pattern(seed, index)).collect();
        println!("seed {seed}");
        tally += vcm_fuzz_targets::operations(&bytes);
    }
    println!("{tally:?}");
    let counts = [
        tally.reserved,
        tally.backed,
        tally.activated,
        tally.transferred,
        tally.faults,
        tally.hardware_failures,
        tally.quarantined,
    ];
    assert!(counts.iter().all(|count| *count > 20), "{tally:?}");
}

#[test]
fn interrupts() {
    replay("interrupts", |bytes| {
        vcm_fuzz_targets::interrupts(bytes);
    });
}

/// Random inputs, and the proof that they reach what they are meant to test.
#[test]
fn random_interrupts() {
    let mut tally = vcm_fuzz_targets::InterruptTally::default();
    for seed in 0..2000_u64 {
        let bytes: Vec<u8> = (0..600).map(|index| vcm_platform::pattern(seed, index)).collect();
        println!("seed {seed}");
        tally += vcm_fuzz_targets::interrupts(&bytes);
    }
    println!("{tally:?}");
    let counts = [
        tally.acknowledged,
        tally.ended,
        tally.handled,
        tally.forwarded,
        tally.automasked,
        tally.parted_in_flight,
        tally.ignored,
        tally.restored,
        tally.reached,
    ];
    assert!(counts.iter().all(|count| *count > 100), "{tally:?}");
}
