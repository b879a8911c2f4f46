//! The graph: every object and every operation, for one caller at a time.

mod associations;
mod faults;
mod info;
#[cfg(feature = "serde")]
mod json;
mod look;
mod memory;
mod regions;
mod reservations;
mod view;

pub use faults::{Handled, Verdict};
pub use info::{
    AllocationInfo, AssociationInfo, AssociationState, DeviceInfo, MapperInfo, PoolInfo, RegionInfo,
    ReservationInfo, ReservationState, TargetInfo, Translation,
};
pub use view::{Explained, View};

use crate::allocation::Allocation;
use crate::association::Devices;
use crate::error::Error;
use crate::id::{AllocationId, RegionId};
use crate::region::Region;
use crate::storage::Arena;
use crate::target::Targets;

/// The mapping graph of one machine.
///
/// Operations that reach the hardware take it as an argument; the graph holds nothing of it.
#[derive(Debug, Default)]
pub struct Graph {
    pub(crate) regions: Arena<Region>,
    pub(crate) allocations: Arena<Allocation>,
    pub(crate) devices: Devices,
    pub(crate) targets: Targets,
}

impl Graph {
    /// A graph without objects; allocates nothing.
    pub fn new() -> Self {
        Self::default()
    }

    pub(crate) fn region_ref(&self, id: RegionId) -> Result<&Region, Error> {
        self.regions.get(id.0).ok_or(Error::UnknownRegion(id))
    }

    pub(crate) fn region_mut(&mut self, id: RegionId) -> Result<&mut Region, Error> {
        self.regions.get_mut(id.0).ok_or(Error::UnknownRegion(id))
    }

    pub(crate) fn allocation_ref(&self, id: AllocationId) -> Result<&Allocation, Error> {
        self.allocations
            .get(id.0)
            .filter(|allocation| allocation.ownership == crate::reservation::Ownership::Held)
            .ok_or(Error::UnknownAllocation(id))
    }
}
