//! The machines that scenarios run on.

mod bindings;
mod emulated;
mod linux;
mod shipped;
mod simulated;

pub use bindings::{Base, Bindings, Description};
pub use emulated::Emulated;
pub use linux::LinuxMachine;
pub use shipped::{Shipped, find, machine_names, machines};
pub use simulated::Simulated;

use crate::problem::Problem;
use vcm_platform::Platform;
use vcm_platform::topology::Topology;

/// A machine that can be switched on, as often as needed: each time it starts afresh.
pub trait Machine {
    /// Its name.
    fn name(&self) -> &str;

    /// What it calls the roles and memories of scenarios.
    fn bindings(&self) -> &Bindings;

    /// The same, to change it.
    fn bindings_mut(&mut self) -> &mut Bindings;

    /// Why it records no fault, if it does not: scenarios that are about faults are not for it.
    fn records_no_faults(&self) -> Option<&str> {
        None
    }

    /// What its device tree says.
    ///
    /// # Errors
    /// It has none, or it cannot be had.
    fn topology(&self) -> Result<Topology, Problem> {
        Err(Problem::new(format!("machine {}: it has no device tree", self.name())))
    }

    /// Why it cannot be switched on here, where that is known without trying.
    ///
    /// # Errors
    /// What is missing.
    fn available(&self) -> Result<(), Problem> {
        Ok(())
    }

    /// Switches it on, with so many TLB entries in each IOMMU or as many as it has.
    ///
    /// # Errors
    /// It cannot be had, or not with so many entries.
    fn switch_on(&self, tlb_entries: Option<u32>) -> Result<Box<dyn Platform>, Problem>;
}
