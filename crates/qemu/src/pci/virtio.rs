//! Where a virtio function has its structures: Virtual I/O Device (VIRTIO) Version 1.2, 4.1.4.

use super::{ConfigurationSpace, PciFunction, VENDOR};
use crate::error::Error;
use crate::qtest::Width;
use vcm::PhysicalAddress;

/// What a structure is for (4.1.4 `cfg_type`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VirtioStructureKind {
    /// 1: features, status and queues (4.1.4.3).
    Common,
    /// 2: where queues are notified (4.1.4.4).
    Notify {
        /// Times a queue's own offset.
        multiplier: u32,
    },
    /// 3: the interrupt status (4.1.4.5).
    InterruptStatus,
    /// 4: the device's own configuration (4.1.4.6).
    Device,
}

/// A structure of a virtio function.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VirtioStructure {
    /// What it is for.
    pub kind: VirtioStructureKind,
    /// Where it is.
    pub address: PhysicalAddress,
    /// Its length in bytes.
    pub len: u32,
}

impl PciFunction {
    /// Its virtio structures, the preferred of each kind first (4.1.4.1). Those of kinds that are not known and those
    /// outside of its memory are left out.
    ///
    /// # Errors
    ///
    /// Those of the connection.
    pub fn virtio_structures(
        &self,
        space: &mut impl ConfigurationSpace,
    ) -> Result<Vec<VirtioStructure>, Error> {
        let mut structures = Vec::new();
        for capability in self.capabilities.iter().filter(|capability| capability.id == VENDOR) {
            let mut read = |width, at| space.read(self.address, width, capability.offset + at);
            // The longest is 20 bytes; the standard header ends at 0x100.
            if capability.offset > 0x100 - 20 {
                continue;
            }
            let (kind, bar) = (read(Width::Bits8, 3)?, read(Width::Bits8, 4)?);
            let (offset, len) = (read(Width::Bits32, 8)?, read(Width::Bits32, 12)?);
            let kind = match kind {
                1 => VirtioStructureKind::Common,
                2 => VirtioStructureKind::Notify { multiplier: read(Width::Bits32, 16)? },
                3 => VirtioStructureKind::InterruptStatus,
                4 => VirtioStructureKind::Device,
                _ => continue,
            };
            let bar = self.bar(bar as u8).filter(|bar| u64::from(offset) + u64::from(len) <= bar.len);
            if let Some(address) = bar.and_then(|bar| bar.address.checked_add(offset.into())) {
                structures.push(VirtioStructure { kind, address, len });
            }
        }
        Ok(structures)
    }
}
