//! Every shipped scenario, through the program, on its own machine: what the README promises.

use std::process::Command;
use vcm_cli::scenario::shipped_names;

/// Runs a scenario; its JSON.
fn run(name: &str) -> serde_json::Value {
    let output = Command::new(env!("CARGO_BIN_EXE_vcm"))
        .args(["run", name, "--json", "-", "--quiet"])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{name}: {errors}{}", String::from_utf8_lossy(&output.stdout));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn holds(name: &str) {
    let json = run(name);
    assert_eq!(json["ok"], true, "{name}");
    let checks = json["checks"].as_array().unwrap();
    assert!(!checks.is_empty() && checks.iter().all(|check| check["ok"] == true), "{name}: {checks:?}");
    let leaks = json["leaks"].as_object().unwrap();
    assert!(
        leaks.contains_key("allocations") && leaks.values().all(|count| *count == 0),
        "{name}: {leaks:?}"
    );
}

macro_rules! scenarios {
    ($($test:ident $name:literal)*) => {
        $(#[test]
        fn $test() {
            holds($name);
        })*

        #[test]
        fn none_is_left_out() {
            let tested = [$($name),*];
            for name in shipped_names() {
                assert!(tested.contains(&name), "{name} has no test");
            }
        }
    };
}

scenarios! {
    walkthrough "walkthrough"
    three_mappings "three-mappings"
    video_pipeline "video-pipeline"
    context_switch "context-switch"
    split "split"
    faults "faults"
    permissions "permissions"
    block_sizes "block-sizes"
    alias "alias"
    virtual_machine "virtual-machine"
    forward "forward"
    unforward_live "unforward-live"
    kill "kill"
    storm "storm"
}

/// What the scenario measures: the document's claim that larger blocks make fewer TLB misses.
#[test]
fn larger_blocks_miss_less() {
    let json = run("block-sizes");
    let measured = json["measurements"].as_array().unwrap();
    let misses = |pattern: &str, block: &str, entries: u64| {
        let row = measured
            .iter()
            .find(|row| row["pattern"] == pattern && row["block"] == block && row["tlb_entries"] == entries);
        row.and_then(|row| row["tlb_misses"].as_u64())
            .unwrap_or_else(|| panic!("{pattern} {block} {entries}"))
    };
    for entries in [8, 16, 32, 64] {
        // 4 MiB from end to end: one miss for each page, whatever the TLB.
        let linear = ["4K", "64K", "1M"].map(|block| misses("linear", block, entries));
        assert_eq!(linear, [1024, 64, 4], "{entries} entries");
        for pattern in ["tiled", "rotated", "scattered"] {
            let [small, middle, large] = ["4K", "64K", "1M"].map(|block| misses(pattern, block, entries));
            assert!(
                large < middle && middle < small,
                "{pattern}, {entries} entries: {small}, {middle}, {large}"
            );
        }
    }
}

/// Two runs of one scenario are one run: nothing depends on anything but the seed.
#[test]
fn runs_repeat() {
    assert_eq!(run("video-pipeline"), run("video-pipeline"));
}

/// What forwarding is for: the guest's end of the interrupt costs the host nothing.
#[test]
fn a_forwarded_interrupt_costs_half_the_exits() {
    let json = run("forward");
    let interrupts = json["interrupts"].as_array().unwrap();
    let each = |name: &str, mode: &str, cost: &str| {
        let row = interrupts.iter().find(|row| row["name"] == name).unwrap();
        assert_eq!(row["mode"], mode);
        assert_eq!((&row["lost"], &row["spurious"]), (&0.into(), &0.into()));
        row[cost].as_f64().unwrap() / row["delivered"].as_f64().unwrap()
    };
    let exits = |name, mode| each(name, mode, "exits");
    assert!(
        exits("transfer done", "forwarded") * 2.0 <= exits("engine done", "automasked"),
        "{interrupts:?}"
    );
    assert_eq!(each("transfer done", "forwarded", "maintenance_exits"), 0.0);
}
