//! The address spaces of a machine's regions.

use super::mappings::{Mappings, Piece};
use crate::Error;
use crate::dma::DmaSpace;
use crate::iommufd::SharedIoas;
use crate::kvm::{Protection, Vm};
use crate::memory::{CpuSpace, Layout, MemoryPiece, MemoryRange};
use crate::vfio::Container;
use vcm::{
    Access, Attributes, CpuAddress, GuestPhysicalAddress, Iova, MemoryType, Privilege, RegionKind, Security,
    Span,
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
    /// A virtual machine's slots, while the region is active: others may have the virtual machine as well.
    Guest {
        /// The virtual machine.
        machine: Vm,
        /// Whether it has the slots.
        shown: Shown,
    },
}

/// Whether a guest sees what is mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shown {
    Yes,
    No,
}

/// What a device needs in every space that it is attached to: its own pages.
#[derive(Clone, Debug)]
pub(super) struct OwnMapping {
    pub(super) at: Iova,
    pub(super) memory: MemoryPiece,
}

/// Refuses what the kernel has no way to express for a device: it is told whether to read and to write, no more.
pub(super) fn device_access(attributes: Attributes) -> Result<Access, Error> {
    let refuse =
        |what: &str, why: &str| Err(Error::not_supported(format!("{what} for a device's memory"), why));
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

/// The parts of memories that pieces are made of, in order.
fn parts(memory: &Layout, pieces: &[Piece]) -> Result<Vec<MemoryPiece>, Error> {
    let mut parts = Vec::with_capacity(pieces.len());
    for piece in pieces {
        parts.extend(memory.pieces(piece.physical, piece.len)?);
    }
    Ok(parts)
}

fn ranges(parts: &[MemoryPiece]) -> Vec<MemoryRange<'_>> {
    parts.iter().map(MemoryPiece::range).collect()
}

/// Maps pieces in an IOAS, all or none. The library has every memory at the addresses that the graph knows it by.
fn copy_all(space: &SharedIoas, pieces: &[Piece], access: Access) -> Result<(), Error> {
    for (index, piece) in pieces.iter().enumerate() {
        let from = Span::new(piece.physical.raw(), piece.len)
            .ok_or_else(|| Error::argument(format!("the memory at {}", piece.physical), "no such addresses"));
        let copied =
            from.and_then(|from| space.library().copy(space.ioas(), Iova::new(piece.at), from, access));
        if let Err(error) = copied {
            let mut done = pieces[..index].iter().filter_map(|done| Span::new(done.at, done.len));
            let undone = done.try_for_each(|span| space.ioas().unmap_span(span));
            return Err(error.after_undoing(undone));
        }
    }
    Ok(())
}

/// Makes the pieces of one mapping a slot of a guest.
fn show(machine: &Vm, memory: &Layout, pieces: &[Piece], protection: Protection) -> Result<(), Error> {
    let Some(first) = pieces.first() else { return Ok(()) };
    let parts = parts(memory, pieces)?;
    machine.memory().map_pieces(GuestPhysicalAddress::new(first.at), &ranges(&parts), protection)
}

/// Takes all mappings from a guest.
fn hide(machine: &Vm, mappings: &Mappings) -> Result<(), Error> {
    for pieces in mappings.wholes() {
        let len = pieces.iter().fold(0_u64, |len, piece| len.saturating_add(piece.len));
        if let Some(span) = pieces.first().and_then(|first| Span::new(first.at, len)) {
            machine.memory().unmap(span)?;
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
        let told = self.tell(memory, cpu, pieces, attributes);
        if matches!(told, Ok(()) | Err(Error::HalfDone { .. })) {
            // What may be mapped still is noted, so that unmapping it asks the kernel.
            self.mappings.add(pieces);
        }
        told
    }

    /// Has the kernel map pieces of one mapping.
    fn tell(
        &mut self,
        memory: &Layout,
        cpu: &mut CpuSpace,
        pieces: &[Piece],
        attributes: Attributes,
    ) -> Result<(), Error> {
        let Some(at) = pieces.first().map(|piece| piece.at) else { return Ok(()) };
        match &mut self.kernel {
            Kernel::Ioas(space) => copy_all(space, pieces, device_access(attributes)?),
            Kernel::Container(container) => {
                let access = device_access(attributes)?;
                // Without a device there is nothing that could be told; it is told when one comes.
                match container {
                    Some(container) => container.map_all(Iova::new(at), &parts(memory, pieces)?, access),
                    None => Ok(()),
                }
            }
            Kernel::Process => {
                let parts = parts(memory, pieces)?;
                cpu.back(CpuAddress::new(at), &ranges(&parts), process_access(attributes)?)
            }
            Kernel::Guest { machine, shown } => {
                let protection = Protection::of(attributes)?;
                match shown {
                    Shown::Yes => show(machine, memory, pieces, protection),
                    Shown::No => Ok(()),
                }
            }
        }
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
            Kernel::Guest { machine, .. } => machine.memory().unmap(span)?,
        }
        self.mappings.remove(span);
        Ok(())
    }

    /// Tells a container that a device has just joined what is mapped, and the devices' own pages.
    ///
    /// # Errors
    /// The kernel's. The container is of no use then.
    pub(super) fn replay(
        &self,
        memory: &Layout,
        own: &[OwnMapping],
        container: &mut Container,
    ) -> Result<(), Error> {
        for own in own {
            container.map(own.at, own.memory.range(), Access::READ_WRITE)?;
        }
        for pieces in self.mappings.wholes() {
            let Some(first) = pieces.first() else { continue };
            container.map_all(Iova::new(first.at), &parts(memory, &pieces)?, first.access)?;
        }
        Ok(())
    }

    /// Shows a guest what is mapped, when its region becomes active: all, or nothing.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn show_guest(&mut self, memory: &Layout) -> Result<(), Error> {
        let Kernel::Guest { machine, shown } = &mut self.kernel else { return Ok(()) };
        for pieces in self.mappings.wholes() {
            let Some(first) = pieces.first() else { continue };
            let attributes = Attributes { access: first.access, ..Attributes::READ_WRITE };
            let told =
                Protection::of(attributes).and_then(|protection| show(machine, memory, &pieces, protection));
            if let Err(error) = told {
                return Err(error.after_undoing(hide(machine, &self.mappings)));
            }
        }
        *shown = Shown::Yes;
        Ok(())
    }

    /// Takes everything from a guest, when its region is not active any more: whoever has its virtual machine has no memory of
    /// ours.
    ///
    /// # Errors
    /// The kernel's: it may have it still.
    pub(super) fn hide_guest(&mut self) -> Result<(), Error> {
        let Kernel::Guest { machine, shown } = &mut self.kernel else { return Ok(()) };
        hide(machine, &self.mappings)?;
        *shown = Shown::No;
        Ok(())
    }
}
