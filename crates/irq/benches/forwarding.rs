//! What an interrupt costs on its way to the guest and back, over a machine in memory: `cargo bench -p vcm-irq`.
//!
//! Nanoseconds per operation. How that compares with another crate is measured in a workspace of its own:
//! `benches/forwarding` at the top of the repository.

mod ours;
mod rounds;

use ours::Ours;
use rounds::{Placement, cases, load, run, scaling};

fn main() {
    println!("load of the machine: {}", load());
    println!("{:<62}{:>10}{:>10}", "ns", "median", "best");
    for (name, result) in run(vec![cases::<Ours>()], 800).remove(0) {
        println!("{name:<62}{:>10.1}{:>10.1}", result.median, result.best);
    }
    println!();
    println!("{:<62}{:>10}{:>10}{:>10}", "two threads, two vCPUs: ns a cycle", "one", "two", "times");
    for (name, placement) in
        [("interrupts side by side", Placement::Neighbours), ("interrupts apart", Placement::Apart)]
    {
        let result = scaling::<Ours>(placement, 10, 40, |_| {});
        println!(
            "{:<62}{:>10.1}{:>10.1}{:>10.2}",
            format!("{name} ({} rounds undisturbed)", result.rounds),
            result.one.median,
            result.two.median,
            result.times()
        );
        println!("{:<62}{:>10.1}{:>10.1}", "  best", result.one.best, result.two.best);
    }
    println!("load of the machine: {}", load());
}
