//! The table that a test run ends with.

use crate::output::Counts;
use std::borrow::Cow;
use std::process::ExitCode;
use std::time::Duration;

/// How a tier ended.
pub(crate) enum Ending {
    /// Tests ran.
    Counted(Counts),
    /// A check without tests of its own held.
    Held,
    /// A check without tests of its own did not hold, or tests could not be built.
    Broken,
    /// It cannot run on this machine.
    CannotRun(String),
}

/// One line of the table.
pub(crate) struct Tier {
    pub(crate) name: &'static str,
    pub(crate) what: Cow<'static, str>,
    pub(crate) ending: Ending,
    pub(crate) took: Duration,
}

/// Prints the table; the last line counts everything.
pub(crate) fn print(tiers: &[Tier]) -> ExitCode {
    let mut all = Counts::default();
    let mut cannot_run = 0;
    println!("\n{:<21} {:>8} {:>8} {:>8}  what", "tier", "passed", "failed", "seconds");
    for tier in tiers {
        let seconds = tier.took.as_secs_f64();
        let counts = match &tier.ending {
            Ending::Counted(counts) => *counts,
            Ending::Held => Counts { passed: 1, ..Counts::default() },
            Ending::Broken => Counts { failed: 1, ..Counts::default() },
            Ending::CannotRun(why) => {
                cannot_run += 1;
                println!("{:<21} {:>8} {:>8} {seconds:>8.1}  CANNOT RUN HERE: {why}", tier.name, "-", "-");
                continue;
            }
        };
        all.add(counts);
        let ignored =
            if counts.ignored > 0 { format!(", {} ignored", counts.ignored) } else { String::new() };
        println!(
            "{:<21} {:>8} {:>8} {seconds:>8.1}  {}{ignored}",
            tier.name, counts.passed, counts.failed, tier.what
        );
    }
    if cannot_run > 0 {
        println!("{cannot_run} tier(s) cannot run on this machine, see above.");
    }
    println!();
    println!("{} passed, {} failed", all.passed, all.failed);
    if all.failed == 0 && all.passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
