//! Every shipped scenario on every machine of QEMU: it holds there, with the same bytes and the same graph as on the
//! simulated SoC, or it is told what the machine cannot do. The table in the README is this one.

use serde_json::Value;
use std::collections::BTreeMap;
use vcm_cli::machine::{Machine, find};
use vcm_cli::run::{Silent, run};
use vcm_cli::scenario::{Scenario, shipped_names};

const MACHINES: [&str; 5] = ["qemu-smmuv3", "qemu-vtd", "qemu-riscv", "qemu-amdvi", "qemu-virtio"];

/// What the README says of a scenario on a machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    /// It holds.
    Holds,
    /// The machine cannot do it; the problem has these words.
    Cannot(&'static str),
}

use Verdict::{Cannot, Holds};

const ATTRIBUTES: Verdict = Cannot("attributes that the hardware cannot express");
const INTERRUPTS: Verdict = Cannot("cannot give devices' interrupts to guests");
const PRIVILEGE: Verdict = Cannot("a PCI device's transactions are a user's");
const SPLIT: Verdict = Cannot("a PCI device's half");
const TLB: Verdict = Cannot("the size of its TLB is QEMU's");
const FAULTS: Verdict = Cannot("records no faults, which this is about");

/// Scenarios by machine, in the order of [`MACHINES`].
const TABLE: [(&str, [Verdict; 5]); 14] = [
    ("walkthrough", [Holds, Holds, Holds, Holds, Holds]),
    ("three-mappings", [Holds, Holds, Holds, Holds, Holds]),
    ("video-pipeline", [Holds, Holds, Holds, FAULTS, Holds]),
    ("context-switch", [Holds, Holds, Holds, Holds, Holds]),
    ("split", [SPLIT, SPLIT, SPLIT, FAULTS, SPLIT]),
    ("faults", [Holds, Holds, Holds, FAULTS, Holds]),
    ("permissions", [PRIVILEGE, ATTRIBUTES, PRIVILEGE, FAULTS, ATTRIBUTES]),
    ("block-sizes", [TLB; 5]),
    ("alias", [Holds, ATTRIBUTES, ATTRIBUTES, ATTRIBUTES, ATTRIBUTES]),
    ("virtual-machine", [Holds, Holds, Holds, FAULTS, Holds]),
    ("forward", [INTERRUPTS; 5]),
    ("unforward-live", [INTERRUPTS; 5]),
    ("kill", [INTERRUPTS; 5]),
    ("storm", [INTERRUPTS; 5]),
];

fn left_out() -> bool {
    let left_out = std::env::var_os("VCM_WITHOUT_QEMU_IOMMUS").is_some_and(|value| value == "1");
    if left_out {
        println!("left out: VCM_WITHOUT_QEMU_IOMMUS is set");
    }
    left_out
}

/// What of a run has to be the same on every machine: what was moved, what was found, and the graph.
#[derive(PartialEq, Debug)]
struct Essence {
    transfers: Vec<Value>,
    faults: Vec<Value>,
    graph: Value,
}

/// Takes out of the graph what depends on the machine: addresses, formats, pools, and in which pieces memory came.
fn strip(value: &mut Value, roles: &BTreeMap<String, String>) {
    match value {
        Value::Object(object) => {
            for key in ["pools", "first", "last", "base", "address", "format", "blocks"] {
                object.remove(key);
            }
            if let Some(Value::String(device)) = object.get_mut("device")
                && let Some(role) = roles.get(device)
            {
                device.clone_from(role);
            }
            object.values_mut().for_each(|value| strip(value, roles));
        }
        Value::Array(values) => values.iter_mut().for_each(|value| strip(value, roles)),
        _ => {}
    }
}

fn essence(scenario: &Scenario, machine: &dyn Machine) -> Essence {
    let done = run(scenario, machine, None, &mut Silent).unwrap_or_else(|problem| {
        panic!("{} on {}: {problem}", scenario.name, machine.name());
    });
    let failed: Vec<_> =
        done.record.failed().map(|check| format!("{}: {}", check.name, check.detail)).collect();
    assert!(done.record.ok, "{} on {}: {failed:?}, {:?}", scenario.name, machine.name(), done.record.leaks);
    // Roles that the scenario uses, each by the device that plays it: two roles may be one device.
    let used = scenario.roles();
    let roles: BTreeMap<String, String> = used
        .iter()
        .map(|role| {
            (
                machine.bindings().roles.get(*role).map_or_else(|| (*role).to_owned(), Clone::clone),
                (*role).to_owned(),
            )
        })
        .collect();
    assert_eq!(
        roles.len(),
        used.len(),
        "two roles of {} are one device of {}",
        scenario.name,
        machine.name()
    );
    let json = done.record.to_json().unwrap();
    let json: Value = serde_json::from_str(&json).unwrap();
    let named = |device: &Value| roles.get(device.as_str().unwrap()).cloned();
    let pick = |list: &Value, keys: &[&str]| -> Vec<Value> {
        let rows = list.as_array().unwrap().iter().map(|row| {
            let mut picked = serde_json::Map::new();
            picked.insert("device".into(), named(&row["device"]).into());
            picked.extend(keys.iter().map(|key| ((*key).to_owned(), row[*key].clone())));
            Value::Object(picked)
        });
        rows.collect()
    };
    let mut graph = json["graph"].clone();
    strip(&mut graph, &roles);
    Essence {
        transfers: pick(
            &json["transfers"],
            &["name", "outcome", "bytes_read", "bytes_written", "checksum", "faults"],
        ),
        faults: pick(&json["faults"], &["access", "reason", "answer", "by", "region"]),
        graph,
    }
}

fn holds(scenario: &str, index: usize) {
    let (_, verdicts) = TABLE.iter().find(|(name, _)| *name == scenario).unwrap();
    let machine = find(MACHINES[index]).unwrap();
    let found = Scenario::open(scenario).unwrap();
    match verdicts[index] {
        Holds => {
            // The simulated SoC that the original ran on; where roles share a device there, the scenario's own.
            let simulated = find(found.machine.as_ref().map_or("msm8x60", |name| &name.text)).unwrap();
            assert_eq!(
                essence(&found, &*machine),
                essence(&found, &*simulated),
                "{scenario} on {}",
                MACHINES[index]
            );
        }
        Cannot(words) => match run(&found, &*machine, None, &mut Silent) {
            Err(problem) => assert!(problem.to_string().contains(words), "{scenario}: {problem}"),
            Ok(run) => panic!("{scenario} on {}: it ran, and held: {}", MACHINES[index], run.record.ok),
        },
    }
}

macro_rules! machines {
    ($($test:ident $index:literal)*) => {
        $(#[test]
        fn $test() {
            if left_out() {
                return;
            }
            for (scenario, _) in TABLE {
                holds(scenario, $index);
            }
        })*
    };
}

machines! {
    every_scenario_on_the_smmuv3 0
    every_scenario_on_vt_d 1
    every_scenario_on_the_riscv_iommu 2
    every_scenario_on_amd_vi 3
    every_scenario_on_virtio_iommu 4
}

#[test]
fn no_scenario_is_left_out() {
    for name in shipped_names() {
        assert!(TABLE.iter().any(|(known, _)| *known == name), "{name} is not in the table");
    }
}

/// The README's table says what is tested.
#[test]
fn the_readme_has_this_table() {
    let readme = include_str!("../../../README.md");
    for (scenario, verdicts) in TABLE {
        let cells = verdicts.map(|verdict| if verdict == Holds { "holds" } else { "-" });
        let row = format!("| `{scenario}` | {} |", cells.join(" | "));
        assert!(readme.contains(&row), "the README lacks the row {row}");
    }
}
