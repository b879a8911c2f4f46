//! The driver's state in words.

use super::Smmu;
use super::context::Bank;
use core::fmt;

/// The state of an [`Smmu`], to print: counters, banks, contexts. It does not touch the device.
#[derive(Debug)]
pub struct Description<'a, R>(&'a Smmu<R>);

impl<R> Smmu<R> {
    /// The driver's state, to print. It does not touch the device.
    pub const fn describe(&self) -> Description<'_, R> {
        Description(self)
    }
}

impl<R> fmt::Display for Description<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let smmu = self.0;
        let counts = &smmu.statistics;
        writeln!(f, "smmu {}: {} banks, {} masters", smmu.config.label, smmu.banks.len(), smmu.masters())?;
        for (index, bank) in smmu.banks.iter().enumerate() {
            match bank {
                Bank::Free => writeln!(f, "  bank {index}: free")?,
                Bank::Taken(seat) => {
                    writeln!(
                        f,
                        "  bank {index}: {}, asid {}, tables {}",
                        seat.context, seat.asid, seat.roots
                    )?;
                }
                Bank::Quarantined(seat) => {
                    writeln!(f, "  bank {index}: quarantined with {}, asid {}", seat.context, seat.asid)?;
                }
            }
        }
        for (key, context) in smmu.contexts.iter() {
            write!(f, "  context {key}: masters")?;
            for master in context.masters.iter() {
                write!(f, " {}", master.0)?;
            }
            match (&context.active, context.doomed) {
                (_, true) => f.write_str(", destroyed")?,
                (Some(roots), false) => write!(f, ", active with tables {roots}")?,
                (None, false) => f.write_str(", inactive")?,
            }
            if context.holds > 0 {
                write!(f, ", held {} times", context.holds)?;
            } else if context.bank.is_some() {
                write!(f, ", idle since {} of {}", context.used_at, smmu.clock)?;
            }
            f.write_str(if context.stalled { ", stalled\n" } else { "\n" })?;
        }
        writeln!(
            f,
            "  {} seatings, {} context switches; invalidated {} pages, {} contexts; {} faults, {} stray; \
             {} retried, {} terminated; {} times unresponsive",
            counts.seatings,
            counts.context_switches,
            counts.page_invalidations,
            counts.context_invalidations,
            counts.faults,
            counts.stray_faults,
            counts.retried,
            counts.terminated,
            counts.unresponsive,
        )
    }
}
