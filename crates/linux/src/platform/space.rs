//! The address spaces of a machine's regions.

use super::mappings::{Mappings, Piece};
use crate::Error;
use crate::dma::DmaSpace;
use crate::iommufd::SharedIoas;
use crate::kvm::{Protection, Vm};
use crate::memory::{CpuSpace, Layout, MemoryPiece, MemoryRange};
use crate::vfio::Container;
use vcm::{
    Access, Attributes, CpuAddress, GuestPhysicalAddress, Iova, MemoryType, Privilege, RegionKind, Security, Span,
};

/// An address space.
#[derive(Debug)]
pub(super) struct Space {
    pub(super) kind: RegionKind,
    /// The number of the format that it was made in.
    pub(super) format: u32,
    /// The region's addresses.
    pub(super) span: Span,
    /// What is mapped in it for the region.
    pub(super) mappings: Mappings,
    pub(super) kernel: Kernel,
}

/// What the kernel has of it.
#[derive(Debug)]
pub(super) enum Kernel {
    /// An IOAS.
    Ioas(SharedIoas),
    /// A container, while a device is attached: it forgets everything with the last one.
    Container(Option<Container>),
    /// A stretch of this process's addresses.
    Process,
    /// A virtual machine's slots.
    Guest(Vm),
}

/// What a device needs in every space that it is attached to: its own pages.
#[derive(Clone, Debug)]
pub(super) struct OwnMapping {
    pub(super) at: Iova,
    pub(super) memory: MemoryPiece,
}

/// Refuses what the kernel has no way to express for a device: it is told whether to read and to write, no more.
pub(super) fn device_access(attributes: Attributes) -> Result<Access, Error> {
    let refuse = |what: &str, why: &str| Err(Error::not_supported(format!("{what} for a device's memory"), why));
    if attributes.privilege != Privilege::default() {
        return refuse("supervisor only", "VFIO does not distinguish who of the device makes an access");
    }
    if attributes.security != Security::default() {
        return refuse("secure memory", "VFIO maps non-secure memory");
    }
    if attributes.memory_type != MemoryType::default() {
        return refuse(&attributes.memory_type.to_string(), "VFIO maps memory that caches are coherent with");
    }
    if attributes.shareability != Attributes::READ_WRITE.shareability {
        return refuse(&attributes.shareability.to_string(), "VFIO keeps devices coherent with all CPUs");
    }
    if attributes.access.contains(Access::EXECUTE) {
        return refuse("execute", "VFIO neither grants nor denies it");
    }
    Ok(attributes.access)
}

/// What a process's own mapping can be.
fn process_access(attributes: Attributes) -> Result<Access, Error> {
    let refuse = |what: &str, why: &str| Err(Error::not_supported(format!("{what} for this process"), why));
    if attributes.privilege != Privilege::default() {
        return refuse("supervisor only", "it would be the kernel's");
    }
    if attributes.security != Security::default() {
        return refuse("secure memory", "processes map non-secure memory");
    }
    if attributes.memory_type != MemoryType::default() {
        return refuse(&attributes.memory_type.to_string(), "memory is mapped cached, write-back");
    }
    if attributes.shareability != Attributes::READ_WRITE.shareability {
        return refuse(&attributes.shareability.to_string(), "the kernel keeps all CPUs coherent");
    }
    Ok(attributes.access)
}

/// The parts of memories that pieces are made of, each with its address in the space.
fn parts(memory: &Layout, pieces: &[Piece]) -> Result<Vec<(u64, MemoryPiece)>, Error> {
    let mut parts = Vec::new();
    for piece in pieces {
        let mut at = piece.at;
        for part in memory.pieces(piece.physical, piece.len)? {
            let len = part.len();
            parts.push((at, part));
            at += len;
        }
    }
    Ok(parts)
}

/// Maps parts for devices, all or none.
fn map_all(space: &mut dyn DmaSpace, parts: &[(u64, MemoryPiece)], access: Access) -> Result<(), Error> {
    for (index, (at, part)) in parts.iter().enumerate() {
        if let Err(error) = space.map(Iova::new(*at), part.range(), access) {
            for (at, part) in &parts[..index] {
                if let Some(span) = Span::new(*at, part.len()) {
                    space.unmap(span)?;
                }
            }
            return Err(error);
        }
    }
    Ok(())
}

impl Space {
    /// Maps pieces: all of them, or none.
    ///
    /// # Errors
    /// The kernel's, and attributes that it has no way to express.
    pub(super) fn map(
        &mut self,
        memory: &Layout,
        cpu: &mut CpuSpace,
        pieces: &[Piece],
        attributes: Attributes,
    ) -> Result<(), Error> {
        let parts = parts(memory, pieces)?;
        let Some((first, _)) = parts.first() else { return Ok(()) };
        let together = || parts.iter().map(|(_, part)| part.range()).collect::<Vec<MemoryRange<'_>>>();
        match &mut self.kernel {
            Kernel::Ioas(space) => map_all(space, &parts, device_access(attributes)?)?,
            Kernel::Container(container) => {
                let access = device_access(attributes)?;
                // Without a device there is nothing that could be told; it is told when one comes.
                if let Some(container) = container {
                    map_all(container, &parts, access)?;
                }
            }
            Kernel::Process => {
                cpu.back(CpuAddress::new(*first), &together(), process_access(attributes)?)?;
            }
            Kernel::Guest(vm) => {
                let protection = Protection::of(attributes)?;
                vm.memory().map_pieces(GuestPhysicalAddress::new(*first), &together(), protection)?;
            }
        }
        self.mappings.add(pieces);
        Ok(())
    }

    /// Unmaps `span`; what it covers are whole mappings.
    ///
    /// # Errors
    /// The kernel's: something may be mapped still.
    pub(super) fn unmap(&mut self, cpu: &mut CpuSpace, span: Span) -> Result<(), Error> {
        if !self.mappings.touches(span) {
            return Ok(());
        }
        match &mut self.kernel {
            Kernel::Ioas(space) => space.unmap(span)?,
            Kernel::Container(Some(container)) => container.unmap(span)?,
            Kernel::Container(None) => {}
            Kernel::Process => cpu.unback(span)?,
            Kernel::Guest(vm) => vm.memory().unmap(span)?,
        }
        self.mappings.remove(span);
        Ok(())
    }

    /// Tells a container that a device has just joined what is mapped, and the devices' own pages.
    ///
    /// # Errors
    /// The kernel's. The container is of no use then.
    pub(super) fn replay(&self, memory: &Layout, own: &[OwnMapping], container: &mut Container) -> Result<(), Error> {
        for own in own {
            container.map(own.at, own.memory.range(), Access::READ_WRITE)?;
        }
        for piece in self.mappings.iter() {
            map_all(container, &parts(memory, &[*piece])?, piece.access)?;
        }
        Ok(())
    }
}
