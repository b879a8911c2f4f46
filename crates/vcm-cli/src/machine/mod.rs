//! The machines that scenarios run on.

mod bindings;
mod simulated;

pub use bindings::{Bindings, Description};
pub use simulated::{Simulated, machine_names, machines};

use crate::problem::Problem;
use vcm_platform::Platform;

/// A machine that can be switched on, as often as needed: each time it starts afresh.
pub trait Machine {
    /// Its name.
    fn name(&self) -> &str;

    /// What it calls the roles and memories of scenarios.
    fn bindings(&self) -> &Bindings;

    /// Switches it on, with so many TLB entries in each IOMMU or as many as it has.
    ///
    /// # Errors
    /// It cannot be had, or not with so many entries.
    fn switch_on(&self, tlb_entries: Option<u32>) -> Result<Box<dyn Platform>, Problem>;
}
