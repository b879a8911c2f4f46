//! What was counted.

use super::Soc;
use crate::hardware::smmu::Counters;
use std::fmt;

/// What one SMMU and its driver have counted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SmmuStatistics {
    /// The SMMU's name.
    pub name: String,
    /// What the hardware counted.
    pub counters: Counters,
    /// Contexts that were put into a bank.
    pub seatings: u64,
    /// Of those, the ones that displaced another.
    pub context_switches: u64,
    /// Invalidations by page.
    pub page_invalidations: u64,
    /// Invalidations of all of a context's entries.
    pub context_invalidations: u64,
    /// Faults that the driver reported.
    pub faults: u64,
}

/// What the machine has counted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Statistics {
    /// Of each SMMU, in the order of the topology.
    pub smmus: Vec<SmmuStatistics>,
    /// Transactions of all masters and processors.
    pub transactions: u64,
    /// Bytes of page tables in use.
    pub table_bytes: u64,
    /// Bytes that there are for page tables.
    pub table_room: u64,
}

impl Soc {
    /// What was counted until now.
    pub fn statistics(&self) -> Statistics {
        let machine = self.machine.lock();
        let smmus = machine.board.smmus().iter().zip(&self.smmus);
        Statistics {
            smmus: smmus
                .map(|(hardware, driver)| {
                    let counted = driver.statistics();
                    SmmuStatistics {
                        name: hardware.name().to_owned(),
                        counters: hardware.counters(),
                        seatings: counted.seatings,
                        context_switches: counted.context_switches,
                        page_invalidations: counted.page_invalidations,
                        context_invalidations: counted.context_invalidations,
                        faults: counted.faults,
                    }
                })
                .collect(),
            transactions: machine.board.bus().now(),
            table_bytes: machine.tables.used(),
            table_room: machine.tables.span().len() as u64,
        }
    }
}

/// As `rot: 4096 lookups, 16 misses, 16 walks, 0 faults, 1 seatings, 0 context switches`, a line for each
/// that was used.
impl fmt::Display for Statistics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for smmu in self.smmus.iter().filter(|smmu| smmu.seatings > 0 || smmu.counters != Counters::default())
        {
            let Counters { lookups, misses, walks, .. } = smmu.counters;
            let SmmuStatistics { name, seatings, context_switches, faults, .. } = smmu;
            writeln!(
                f,
                "{name}: {lookups} lookups, {misses} misses, {walks} walks, {faults} faults, {seatings} seatings, \
                 {context_switches} context switches"
            )?;
        }
        writeln!(
            f,
            "{} transactions, {} of {} for page tables",
            self.transactions,
            vcm::Bytes(self.table_bytes),
            vcm::Bytes(self.table_room)
        )
    }
}
