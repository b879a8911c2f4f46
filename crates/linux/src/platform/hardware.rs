//! What the mapping graph asks: spaces, mappings, attachments.

use super::Linux;
use super::device::Unit;
use super::mappings::Mappings;
use super::space::{Kernel, Shown, Space};
use crate::Error;
use crate::iommufd::{Ioas, SharedIoas};
use crate::kvm::{InterruptController, Kvm};
use crate::vfio::{Container, Way};
use rustix::io::Errno;
use std::sync::Arc;
use vcm::{
    Attributes, DeviceHandle, Format, Hardware, HardwareError, HardwareErrorKind, Label, LeafCount, Part,
    PhysicalAddress, Quiesced, RegionKind, Segments, SpaceHandle, Span, Unfinished,
};

const fn error(kind: HardwareErrorKind, at: &str) -> HardwareError {
    HardwareError { kind, at: Label::new(at) }
}

const UNKNOWN_SPACE: HardwareError = error(HardwareErrorKind::Unknown, "space");
const UNKNOWN_DEVICE: HardwareError = error(HardwareErrorKind::Unknown, "device");

/// What a refusal of the kernel's is to the graph.
fn kind_of(error: &Error) -> HardwareErrorKind {
    if matches!(error, Error::HalfDone { .. }) {
        return HardwareErrorKind::HalfDone;
    }
    match error.errno() {
        Errno::NOMEM | Errno::NOSPC | Errno::MFILE | Errno::NFILE => HardwareErrorKind::OutOfMemory,
        Errno::EXIST | Errno::BUSY => HardwareErrorKind::Occupied,
        Errno::OPNOTSUPP | Errno::NOTTY | Errno::PERM | Errno::ACCESS => HardwareErrorKind::NotSupported,
        Errno::INVAL | Errno::RANGE | Errno::OVERFLOW | Errno::ADDRINUSE => HardwareErrorKind::Address,
        Errno::NODEV | Errno::NOENT | Errno::NXIO => HardwareErrorKind::Unknown,
        _ => HardwareErrorKind::Unresponsive,
    }
}

impl Linux {
    /// Keeps what the kernel said, for whoever asks, and gives the graph what it can carry.
    fn refused(&mut self, at: &str, refusal: Error) -> HardwareError {
        let kind = kind_of(&refusal);
        self.refusal = Some(refusal);
        error(kind, at)
    }

    /// An empty space of one way for devices.
    pub(super) fn device_space(&self, way: Way, format: u32, span: Span) -> Result<Space, Error> {
        let kernel = match (way, &self.iommufd) {
            (Way::Cdev, Some((iommufd, library))) => {
                let space = SharedIoas::new(Ioas::new(iommufd)?, Arc::clone(library));
                for own in &self.own {
                    space.library().map(space.ioas(), own.at, own.memory.range(), vcm::Access::READ_WRITE)?;
                }
                Kernel::Ioas(space)
            }
            _ => Kernel::Container(None),
        };
        Ok(Space { kind: RegionKind::Translated, format, span, mappings: Mappings::default(), kernel })
    }

    fn space_of(&self, kind: RegionKind, format: Format, span: Span) -> Result<Space, Error> {
        let number = format.id;
        let space = |kernel| Space { kind, format: number, span, mappings: Mappings::default(), kernel };
        match kind {
            RegionKind::Translated => {
                let of = |device: &&super::device::Device| device.format == number;
                let way = self.devices.iter().find(of).and_then(|device| match &device.unit {
                    Unit::Assigned(assigned) => Some(assigned.way),
                    Unit::Played => None,
                });
                let way = way.ok_or_else(|| Error::argument("a space", "no device has this format"))?;
                self.device_space(way, number, span)
            }
            RegionKind::Cpu => Ok(space(Kernel::Process)),
            RegionKind::Guest => {
                let controller = if cfg!(target_arch = "x86_64") {
                    InterruptController::Kernel
                } else {
                    InterruptController::None
                };
                let machine = Kvm::open()?.create(controller)?;
                Ok(space(Kernel::Guest { machine, shown: Shown::No }))
            }
            RegionKind::OneToOne | RegionKind::Remote => Err(Error::not_supported(
                format!("a region of kind {kind}"),
                "Linux makes no address spaces for it",
            )),
        }
    }

    /// Attaches a device of this machine.
    fn connect(&mut self, handle: SpaceHandle, index: usize) -> Result<(), Error> {
        let Self { spaces, devices, memory, own, .. } = self;
        let none = || Error::argument("attaching", "there is no such space or device");
        let space = spaces.get_mut(&handle.0).ok_or_else(none)?;
        let Unit::Assigned(device) = &mut devices.get_mut(index).ok_or_else(none)?.unit else {
            return space.show_guest(memory);
        };
        connect(space, device, memory, own)
    }

    fn release(&mut self, handle: SpaceHandle, index: usize) -> Result<(), HardwareError> {
        let device = self.devices.get_mut(index).ok_or(UNKNOWN_DEVICE)?;
        if !device.attached.contains(&handle) {
            return Ok(());
        }
        if let Unit::Assigned(assigned) = &mut device.unit {
            if let Err(refusal) = assigned.leave() {
                return Err(self.refused("detaching", refusal));
            }
            device.attached.clear();
            let others = self.devices.iter().any(|device| device.attached.contains(&handle));
            if let Some(space) = self.spaces.get_mut(&handle.0)
                && let Kernel::Container(container) = &mut space.kernel
                && let Some(open) = container
            {
                if !others && let Err(refusal) = open.unmap_all() {
                    // Whoever has the device's interrupts or registers keeps its group, and with it the container: nothing of
                    // ours may be in it.
                    return Err(self.refused("detaching", refusal));
                }
                open.close_unused_groups();
                if !others {
                    *container = None;
                }
            }
            return Ok(());
        }
        if let Some(space) = self.spaces.get_mut(&handle.0)
            && let Err(refusal) = space.hide_guest()
        {
            return Err(self.refused("taking memory from a guest", refusal));
        }
        if let Some(device) = self.devices.get_mut(index) {
            device.attached.retain(|attached| *attached != handle);
        }
        Ok(())
    }
}

/// Attaches a device of this machine to a space.
pub(super) fn connect(
    space: &mut Space,
    device: &mut super::assigned::Assigned,
    memory: &crate::memory::Layout,
    own: &[super::space::OwnMapping],
) -> Result<(), Error> {
    match &space.kernel {
        Kernel::Ioas(ioas) => device.attach_ioas(ioas.ioas()),
        Kernel::Container(Some(container)) => device.join(container).inspect_err(|_| {
            // A group that has no open device is another region's to take.
            container.close_unused_groups();
        }),
        Kernel::Container(None) => {
            let mut container = Container::new()?;
            device.join(&container)?;
            if let Err(error) = space.replay(memory, own, &mut container) {
                device.leave()?;
                return Err(error);
            }
            space.kernel = Kernel::Container(Some(container));
            Ok(())
        }
        Kernel::Process | Kernel::Guest { .. } => {
            Err(Error::argument("attaching a device", "that is no device's space"))
        }
    }
}

impl Hardware for Linux {
    fn format(&self, device: DeviceHandle, part: Part) -> Result<Format, HardwareError> {
        let found = self.devices.get(device.0 as usize).ok_or(UNKNOWN_DEVICE)?;
        if part != Part::Whole {
            return Err(error(HardwareErrorKind::NotSupported, "half of a device's addresses"));
        }
        self.formats.get(found.format as usize).copied().ok_or(UNKNOWN_DEVICE)
    }

    fn create_space(
        &mut self,
        kind: RegionKind,
        format: Format,
        span: Span,
    ) -> Result<SpaceHandle, HardwareError> {
        if self.next_space == u32::MAX {
            return Err(error(HardwareErrorKind::OutOfMemory, "numbers of spaces"));
        }
        let space = self.space_of(kind, format, span).map_err(|refusal| self.refused("space", refusal))?;
        let handle = SpaceHandle(self.next_space);
        self.next_space += 1;
        self.spaces.insert(handle.0, space);
        Ok(handle)
    }

    fn destroy_space(&mut self, space: SpaceHandle) {
        for index in 0..self.devices.len() {
            // Whoever is attached still, against the contract, is detached first.
            let _ = self.release(space, index);
        }
        let Some(mut space) = self.spaces.remove(&space.0) else { return };
        // The kernel's own go with their descriptors, but for those that somebody else has as well.
        if matches!(space.kernel, Kernel::Process) {
            let _ = space.unmap(&mut self.cpu, Span::ALL);
        }
        let _ = space.hide_guest();
    }

    fn map(
        &mut self,
        space: SpaceHandle,
        at: u64,
        segments: Segments<'_>,
        attributes: Attributes,
    ) -> Result<(), HardwareError> {
        let Self { spaces, memory, cpu, .. } = self;
        let found = spaces.get_mut(&space.0).ok_or(UNKNOWN_SPACE)?;
        let pieces = Mappings::cut(at, segments, attributes);
        let pieces = pieces.ok_or(error(HardwareErrorKind::Address, "the end of the addresses"))?;
        let len = pieces.iter().fold(0_u64, |len, piece| len.saturating_add(piece.len));
        let Some(span) = Span::new(at, len).filter(|span| found.span.covers(*span)) else {
            return Err(error(HardwareErrorKind::Address, "outside the space"));
        };
        if found.mappings.touches(span) {
            return Err(error(HardwareErrorKind::Occupied, "space"));
        }
        let mapped = found.map(memory, cpu, &pieces, attributes);
        mapped.map_err(|refusal| {
            let kind = if matches!(refusal, Error::NotSupported { .. }) {
                HardwareErrorKind::Attributes
            } else {
                kind_of(&refusal)
            };
            self.refusal = Some(refusal);
            error(kind, "mapping")
        })
    }

    fn unmap(&mut self, handle: SpaceHandle, span: Span) -> Result<Quiesced, Unfinished> {
        let Self { spaces, cpu, .. } = self;
        let space = spaces.get_mut(&handle.0).ok_or(Unfinished { error: UNKNOWN_SPACE })?;
        match space.unmap(cpu, span) {
            Ok(()) => Ok(Quiesced::after_invalidation(handle, span)),
            Err(refusal) => Err(Unfinished { error: self.refused("unmapping", refusal) }),
        }
    }

    fn attach(&mut self, handle: SpaceHandle, device: DeviceHandle, part: Part) -> Result<(), HardwareError> {
        let index = device.0 as usize;
        let found = self.devices.get(index).ok_or(UNKNOWN_DEVICE)?;
        let space = self.spaces.get(&handle.0).ok_or(UNKNOWN_SPACE)?;
        if found.kind != space.kind || found.format != space.format || part != Part::Whole {
            return Err(error(HardwareErrorKind::NotSupported, "this device with this space"));
        }
        let in_the_way = match found.kind {
            RegionKind::Cpu => found.attached.contains(&handle),
            _ => !found.attached.is_empty(),
        };
        if in_the_way {
            return Err(error(HardwareErrorKind::Occupied, "another space is attached"));
        }
        if let Err(refusal) = self.connect(handle, index) {
            return Err(self.refused("attaching", refusal));
        }
        self.devices[index].attached.push(handle);
        Ok(())
    }

    fn detach(
        &mut self,
        space: SpaceHandle,
        device: DeviceHandle,
        part: Part,
    ) -> Result<Quiesced, Unfinished> {
        let unfinished = |error| Unfinished { error };
        let span = self.spaces.get(&space.0).ok_or(unfinished(UNKNOWN_SPACE))?.span;
        if part == Part::Whole {
            self.release(space, device.0 as usize).map_err(unfinished)?;
        }
        Ok(Quiesced::after_invalidation(space, span))
    }

    /// What we had the kernel map: it has no way to ask the hardware.
    fn translate(&mut self, device: DeviceHandle, address: u64) -> Result<PhysicalAddress, HardwareError> {
        let found = self.devices.get(device.0 as usize).ok_or(UNKNOWN_DEVICE)?;
        if found.kind == RegionKind::OneToOne {
            return Ok(PhysicalAddress::new(address));
        }
        if found.attached.is_empty() {
            return Err(UNKNOWN_DEVICE);
        }
        let found = found.attached.iter().find_map(|handle| self.walk(*handle, address));
        found.ok_or(error(HardwareErrorKind::Address, "what the kernel was told"))
    }

    fn walk(&self, space: SpaceHandle, address: u64) -> Option<PhysicalAddress> {
        self.spaces.get(&space.0)?.mappings.find(address).map(|(physical, ..)| physical)
    }

    fn leaves(&self, space: SpaceHandle, span: Span) -> LeafCount {
        let page_len = |physical: PhysicalAddress| {
            let of = |(span, _): &&(Span, u64)| span.contains(physical.raw());
            self.page_lens.iter().find(of).map_or(0, |(_, len)| *len)
        };
        self.spaces
            .get(&space.0)
            .map_or_else(LeafCount::default, |space| space.mappings.leaves(span, page_len))
    }
}
