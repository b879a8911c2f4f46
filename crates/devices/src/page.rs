//! Memory that a device and its driver share.

use vcm::{Iova, PhysicalAddress};

/// A page that a device and its driver both access: of 4 KiB, unless the driver says otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DmaPage {
    /// Where the device has it.
    pub device: Iova,
    /// Where it is in memory, as the driver's [`SharedMemory`](vcm_iommu::SharedMemory) has it.
    pub memory: PhysicalAddress,
}

impl DmaPage {
    /// What begins `offset` bytes further on.
    pub(crate) const fn at(self, offset: u64) -> Self {
        Self {
            device: Iova::new(self.device.raw().wrapping_add(offset)),
            memory: PhysicalAddress::new(self.memory.raw().wrapping_add(offset)),
        }
    }
}
