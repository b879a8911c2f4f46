//! Scenarios on the flat machine.

use crate::flat::FlatFactory;
use vcm_cli::machine::Simulated;
use vcm_cli::run::{Run, Silent, run};
use vcm_cli::scenario::{Scenario, shipped, shipped_names};

pub(crate) fn on(machine: &FlatFactory, text: &str) -> Run {
    let scenario = Scenario::parse("test.toml", text).unwrap_or_else(|problem| panic!("{problem}"));
    run(&scenario, machine, None, &mut Silent).unwrap_or_else(|problem| panic!("{problem}"))
}

pub(crate) fn on_flat(text: &str) -> Run {
    on(&FlatFactory::default(), text)
}

/// Two devices and the CPU share a buffer.
pub(crate) const SHARED: &str = r#"
[[region]]
name = "codec space"
kind = "translated"
[[region]]
name = "dma space"
kind = "one-to-one"
memory = "main"
[[region]]
name = "kernel"
kind = "cpu"
[[association]]
region = "codec space"
device = "codec"
[[association]]
region = "dma space"
device = "dma"
[[association]]
region = "kernel"
device = "cpu"
[[target]]
name = "main"
memories = ["main"]
[[buffer]]
name = "frame"
target = "main"
len = "64K"
contiguous = true
[[share]]
buffer = "frame"
region = "codec space"
[[share]]
buffer = "frame"
region = "dma space"
[[share]]
buffer = "frame"
region = "kernel"
[[step]]
do = "write"
device = "codec"
to = "frame"
seed = 1
"#;

fn failed(run: &Run) -> Vec<&str> {
    run.record.failed().map(|check| check.name.as_str()).collect()
}

#[test]
fn every_shipped_scenario_holds() {
    // The order of scattered pieces is the simulated SoC's, and this machine has another; nor has it guests.
    for name in shipped_names().filter(|name| !["block-sizes", "virtual-machine"].contains(name)) {
        let run = on_flat(shipped(name).unwrap());
        let failed: Vec<_> = run.record.failed().collect();
        assert!(run.record.ok, "{name}: {failed:#?}");
        assert!(!run.fullest.mappings.is_empty() || !run.record.interrupts.is_empty(), "{name}");
    }
}

#[test]
fn a_byte_that_is_written_wrong_is_found_by_every_reader() {
    let reads = "
[[step]]
do = \"read\"
device = \"dma\"
from = \"frame\"
[[step]]
do = \"read\"
device = \"cpu\"
from = \"frame\"
seed = 1
[[step]]
do = \"read\"
device = \"dma\"
from = { buffer = \"frame\", offset = \"32K\" }
";
    let text = format!("{SHARED}{reads}");
    assert!(on_flat(&text).record.ok);
    let run = on(&FlatFactory { flips: 1000, ..FlatFactory::default() }, &text);
    assert!(!run.record.ok);
    // The one that reads the other half is content.
    assert_eq!(
        failed(&run),
        ["dma reads frame", "cpu reads frame", "at the end frame holds what was written"]
    );
    let last = run.record.failed().last().unwrap();
    assert!(last.detail.starts_with("byte 0x3e7 is "), "{}", last.detail);
}

#[test]
fn memory_that_the_hardware_does_not_let_go_of_is_a_leak() {
    let run = on(&FlatFactory { stuck: true, ..FlatFactory::default() }, SHARED);
    assert!(!run.record.ok);
    assert!(run.record.leaks.quarantined > 0, "{:?}", run.record.leaks);
    assert!(run.record.leaks.allocations > 0 && run.record.leaks.mappings > 0, "{:?}", run.record.leaks);
}

#[test]
fn a_wrong_expectation_fails() {
    let steps = r#"
[[step]]
about = "address"
do = "expect-address"
share = "frame@dma space"
is = "0x1000"
[[step]]
about = "leaves"
do = "expect-leaves"
share = "frame@codec space"
leaves = { "4K" = 16 }
[[step]]
about = "blocks"
do = "expect-blocks"
buffer = "frame"
blocks = { "4K" = 16 }
[[step]]
about = "faults"
do = "expect-faults"
device = "codec"
count = 1
[[step]]
about = "bytes"
do = "read"
device = "dma"
from = "frame"
seed = 2
[[step]]
about = "outcome"
do = "read"
device = "dma"
from = "frame"
ends = "aborted"
[[step]]
about = "errno"
do = "free"
buffer = "frame"
refused = "EINVAL"
[[step]]
about = "kind"
do = "free"
buffer = "frame"
refused = { errno = "EBUSY", kind = "Conflict", naming = ["nobody"] }
[[step]]
about = "good"
do = "free"
buffer = "frame"
refused = { errno = "EBUSY", kind = "Mapped", naming = ["codec space"] }
[[step]]
about = "not refused"
do = "deactivate"
region = "codec space"
device = "codec"
refused = "EBUSY"
[[step]]
about = "not done"
do = "reap"
"#;
    let run = on_flat(&format!("{SHARED}{steps}"));
    let expected =
        ["address", "leaves", "blocks", "faults", "bytes", "outcome", "errno", "kind", "not refused"];
    assert_eq!(failed(&run), expected);
    assert!(run.record.checks.iter().any(|check| check.name == "good"));
    assert!(run.record.checks.iter().all(|check| check.name != "not done"));
    assert!(run.record.warnings[0].contains("1 step not done"), "{:?}", run.record.warnings);
}

/// Two shares that begin at different bytes of the buffer, whichever is asked about.
#[test]
fn shares_of_different_parts_lead_to_their_common_byte() {
    let shares = r#"
[[step]]
do = "share"
name = "tail"
buffer = "frame"
region = "codec space"
offset = "48K"
[[step]]
do = "share"
name = "middle"
buffer = "frame"
region = "kernel"
offset = "16K"
len = "36K"
"#;
    let expect = |share: &str, other: &str| {
        format!("[[step]]\ndo = \"expect-translation\"\nshare = \"{share}\"\nother = \"{other}\"\n")
    };
    let pairs = [
        ("tail", "middle"),
        ("middle", "tail"),
        ("tail", "frame@kernel"),
        ("frame@kernel", "tail"),
        ("middle", "frame@dma space"),
        ("frame@dma space", "middle"),
    ];
    for (share, other) in pairs {
        let run = on_flat(&format!("{SHARED}{shares}{}", expect(share, other)));
        let check = run.record.checks.iter().find(|check| check.name == format!("{share} is {other}"));
        assert!(check.is_some_and(|check| check.ok), "{check:?}");
    }
}

/// As much as the buffer has is asked for, not gigabytes of addresses.
#[test]
fn a_surface_ends_with_the_buffer() {
    let steps = r#"
[[step]]
do = "share"
name = "wide"
buffer = "frame"
region = "codec space"
offset = "60K"
len = "3G"
backed = "later"
[[step]]
about = "no memory"
do = "copy"
device = "codec"
from = "wide"
to = { buffer = "frame@codec space", len = "4K" }
ends = "aborted"
faults = 1
"#;
    let run = on_flat(&format!("{SHARED}{steps}"));
    assert!(run.record.ok, "{:?}", run.record.checks);
}

#[test]
fn a_supervisors_share_is_not_a_users() {
    let text = SHARED.replacen(
        "[[share]]\nbuffer = \"frame\"\nregion = \"codec space\"\n",
        "[[share]]\nbuffer = \"frame\"\nregion = \"codec space\"\nprivilege = \"supervisor\"\n",
        1,
    );
    assert_eq!(failed(&on_flat(&text)), ["codec writes frame"]);
    let text = text.replace("to = \"frame\"", "to = \"frame\"\nas = \"supervisor\"");
    assert_eq!(failed(&on_flat(&text)), [""; 0]);
}

/// A mapper may do what the CPU's tables cannot say. That is no fault of what it wrote.
#[test]
fn what_the_cpu_cannot_map_is_not_a_failed_look() {
    let text = |kind: &str, device: &str, memory: &str| {
        format!(
            r#"
[[region]]
name = "space"
kind = "{kind}"
{memory}
[[association]]
region = "space"
device = "{device}"
[[target]]
name = "main"
memories = ["main"]
[[buffer]]
name = "frame"
target = "main"
len = "64K"
contiguous = true
[[share]]
buffer = "frame"
region = "space"
shareability = "inner"
[[step]]
do = "write"
device = "{device}"
to = "frame"
"#
        )
    };
    let machine = Simulated::find("two-banks").unwrap();
    for (kind, device, memory) in [("one-to-one", "dma", "memory = \"main\""), ("guest", "guest0", "")] {
        let scenario = Scenario::parse("test.toml", &text(kind, device, memory)).unwrap();
        let run = run(&scenario, &machine, None, &mut Silent).unwrap();
        assert!(run.record.ok, "{kind}: {:?}", run.record.checks);
        let names: Vec<_> = run.record.checks.iter().map(|check| check.name.as_str()).collect();
        assert!(names.contains(&"at the end frame is not checked by the CPU"), "{names:?}");
        assert!(run.record.warnings[0].contains("was not checked by the CPU"), "{:?}", run.record.warnings);
        // With attributes that the CPU has as well it looks.
        let plain = text(kind, device, memory).replace("\"inner\"", "\"outer\"");
        let scenario = Scenario::parse("test.toml", &plain).unwrap();
        let run = vcm_cli::run::run(&scenario, &machine, None, &mut Silent).unwrap();
        assert!(
            run.record.checks.iter().any(|check| check.name == "at the end frame holds what was written")
        );
        assert_eq!(run.record.warnings, [""; 0]);
    }
}

#[test]
fn faults_are_warned_of_once_and_recorded() {
    let steps = r#"
[[step]]
do = "read"
device = "codec"
from = { address = "0xf0000000", len = "4K" }
ends = "aborted"
[[step]]
do = "read"
device = "codec"
from = { address = "0xf0000000", len = "4K" }
ends = "aborted"
"#;
    let run = on_flat(&format!("{SHARED}{steps}"));
    assert!(run.record.ok, "{:?}", failed(&run));
    assert_eq!(run.record.warnings.len(), 1);
    assert_eq!(run.record.faults.len(), 2);
    let fault = &run.record.faults[0];
    assert_eq!(
        (fault.device.as_str(), fault.address.as_str(), fault.access.as_str(), fault.reason.as_str()),
        ("codec", "0xf0000000", "read", "translation")
    );
    assert_eq!((fault.answer.as_str(), fault.by.as_str()), ("terminate", "nobody"));
    assert_eq!(fault.region.as_deref(), Some("codec space"));
}

#[test]
fn what_cannot_be_had_stops_the_run_and_leaves_nothing() {
    let run = on_flat(&SHARED.replace("len = \"64K\"", "len = \"1G\""));
    assert_eq!(failed(&run), ["buffer frame can be had"]);
    assert_eq!(run.record.leaks, vcm_cli::run::Leaks::default());
    assert!(run.record.transfers.is_empty());
}

#[test]
fn misses_are_measured_and_judged() {
    let text = r#"
[measure]
device = "codec"
len = "1M"
blocks = ["4K", "64K"]
tlb-entries = [4, 32]
[[measure.pattern]]
name = "linear"
len = "1M"
[[measure.pattern]]
name = "rotated"
layout = "columns"
width = 64
height = 256
pixel = 4
stride = 4096
"#;
    let run = on_flat(text);
    assert!(run.record.ok, "{:?}", run.record.checks);
    let misses: Vec<_> = run
        .record
        .measurements
        .iter()
        .map(|row| (row.tlb_entries, row.block.as_str(), row.tlb_misses))
        .collect();
    // Every page once; every pixel another page unless all of them fit.
    let expected = [
        (Some(4), "4K", 256),
        (Some(4), "64K", 16),
        (Some(32), "4K", 256),
        (Some(32), "64K", 16),
        (Some(4), "4K", 64 * 256),
        (Some(4), "64K", 64 * 16),
        (Some(32), "4K", 64 * 256),
        (Some(32), "64K", 16),
    ];
    assert_eq!(misses, expected);
}

#[test]
fn a_seed_moves_every_pattern() {
    let scenario = Scenario::parse("test.toml", SHARED).unwrap();
    let seed = |seed| run(&scenario, &FlatFactory::default(), seed, &mut Silent).unwrap().record;
    assert_eq!(seed(None).seed, 0);
    assert_eq!(seed(Some(7)).seed, 7);
    assert!(seed(Some(u64::MAX)).ok);
}
