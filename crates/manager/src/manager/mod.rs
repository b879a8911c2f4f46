//! The operations of the graph, for many callers.

mod associations;
mod look;
mod memory;
mod regions;

use crate::hooks::Hooks;
use crate::lock::{Rank, Ranked};
use crate::table::Table;
use vcm::parts::{Allocation, Devices, Lookup, Region, Targets};
use vcm::{AllocationId, Error, Hardware, RegionId};

/// The mapping graph of one machine, for many threads at a time.
///
/// Each region, each allocation, the table of devices and the targets have a lock of their own, taken in the order
/// that [`vcm::parts`] gives. Operations on independent regions proceed in parallel, in the hardware too where
/// it allows it.
///
/// The operations have the names, arguments and errors of [`vcm::Graph`]'s, without the hardware, which the manager
/// has itself; [the crate's page](crate#beside-the-graph) says what differs.
#[derive(Debug)]
pub struct Manager<H> {
    physical_ranges: Ranked<()>,
    devices: Ranked<Devices>,
    regions: Table<Region>,
    allocations: Table<Allocation>,
    targets: Ranked<Targets>,
    hooks: Hooks<H>,
    hardware: H,
}

/// Finds parts for operations that have to visit several.
struct Locked<'m, T>(&'m Table<T>);

impl Lookup<AllocationId, Allocation> for Locked<'_, Allocation> {
    fn visit(&mut self, id: AllocationId, visit: &mut dyn FnMut(&mut Allocation)) {
        self.0.with(id.key(), visit);
    }
}

impl Lookup<RegionId, Region> for Locked<'_, Region> {
    fn visit(&mut self, id: RegionId, visit: &mut dyn FnMut(&mut Region)) {
        self.0.with(id.key(), visit);
    }
}

impl<H> Manager<H>
where
    for<'a> &'a H: Hardware,
{
    /// A graph without objects, over `hardware`.
    pub fn new(hardware: H) -> Self {
        Self {
            physical_ranges: Ranked::new(Rank::PhysicalRanges, ()),
            devices: Ranked::new(Rank::Devices, Devices::default()),
            regions: Table::new(Rank::Region),
            allocations: Table::new(Rank::Allocation),
            targets: Ranked::new(Rank::Targets, Targets::default()),
            hooks: Hooks::default(),
            hardware,
        }
    }

    /// The hardware.
    pub const fn hardware(&self) -> &H {
        &self.hardware
    }

    /// Calls `visit` with a region, locked.
    fn with_region<R>(
        &self,
        id: RegionId,
        visit: impl FnOnce(&mut Region) -> Result<R, Error>,
    ) -> Result<R, Error> {
        self.regions.with(id.key(), visit).unwrap_or(Err(Error::UnknownRegion(id)))
    }
}
