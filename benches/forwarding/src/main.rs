//! What an interrupt costs on its way to the guest and back, beside `arm_vgic`, in one run. See README.md.

mod locks;
#[path = "../../../crates/irq/benches/ours/mod.rs"]
mod ours;
mod peer;
#[path = "../../../crates/irq/benches/rounds/mod.rs"]
mod rounds;

use core_affinity::CoreId;
use ours::Ours;
use peer::ArmVgic;
use rounds::{Placement, cases, load, run, scaling};
use std::sync::OnceLock;

fn main() {
    println!("load of the machine: {}", load());
    println!("{:<62}{:>21}{:>21}{:>8}", "", "vcm-irq", "arm_vgic 0.6.0", "");
    println!("{:<62}{:>11}{:>10}{:>11}{:>10}{:>8}", "ns", "median", "best", "median", "best", "ratio");
    pin(0);
    let mut columns = run(vec![cases::<Ours>(), cases::<ArmVgic>()], 400);
    let (peers, ours) = (columns.remove(1), columns.remove(0));
    for ((name, our), (_, peer)) in ours.into_iter().zip(peers) {
        println!(
            "{name:<62}{:>11.1}{:>10.1}{:>11.1}{:>10.1}{:>8.1}",
            our.median,
            our.best,
            peer.median,
            peer.best,
            peer.median / our.median
        );
    }
    println!();
    println!(
        "{:<62}{:>10}{:>10}{:>10}{:>10}",
        "two threads, two vCPUs, 960 bound: ns a cycle", "rounds", "one", "two", "times"
    );
    for (name, placement) in [("side by side", Placement::Neighbours), ("far apart", Placement::Apart)] {
        let results = [
            ("vcm-irq", scaling::<Ours>(placement, 10, 40, pin)),
            ("arm_vgic", scaling::<ArmVgic>(placement, 10, 40, pin)),
        ];
        for (subject, result) in results {
            let name = format!("{subject}, the two threads' interrupts {name}");
            println!(
                "{name:<62}{:>10}{:>10.1}{:>10.1}{:>10.2}",
                result.rounds,
                result.one.median,
                result.two.median,
                result.times()
            );
            println!("{:<72}{:>10.1}{:>10.1}", "  best", result.one.best, result.two.best);
        }
    }
    println!("load of the machine: {}", load());
}

/// Keeps this thread on one CPU; without effect where there are too few or the system does not say.
fn pin(thread: usize) {
    // A thread that is kept on one CPU, and those that it starts, see only that one: so they are counted before.
    static CORES: OnceLock<Vec<CoreId>> = OnceLock::new();
    let cores = CORES.get_or_init(|| core_affinity::get_core_ids().unwrap_or_default());
    if let Some(&core) = cores.get(thread) {
        core_affinity::set_for_current(core);
    }
}
