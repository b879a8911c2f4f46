//! Hardware that takes one caller at a time, for many.

use crate::lock::{Rank, Ranked};
use vcm::{
    Attributes, DeviceHandle, Format, Hardware, HardwareError, LeafCount, Part, PhysicalAddress, Quiesced,
    RegionKind, Segment, Segments, SpaceHandle, Span, Unfinished,
};

/// Makes hardware for one caller usable by a [`Manager`](crate::Manager): each call takes a lock.
///
/// Operations on independent regions still overlap outside the calls. Hardware with locks of its own, one for
/// each IOMMU say, implements [`Hardware`] for a reference to itself instead and needs none of this.
#[derive(Debug)]
pub struct Exclusive<H>(Ranked<H>);

impl<H> Exclusive<H> {
    /// Takes the hardware in.
    pub const fn new(hardware: H) -> Self {
        Self(Ranked::new(Rank::Hardware, hardware))
    }

    /// Calls `visit` with the hardware, locked. It must not call the manager.
    pub fn with<R>(&self, visit: impl FnOnce(&mut H) -> R) -> R {
        visit(&mut self.0.lock())
    }
}

impl<H: Hardware> Hardware for &Exclusive<H> {
    fn format(&self, device: DeviceHandle, part: Part) -> Result<Format, HardwareError> {
        self.0.lock().format(device, part)
    }

    fn create_space(
        &mut self,
        kind: RegionKind,
        format: Format,
        span: Span,
    ) -> Result<SpaceHandle, HardwareError> {
        self.0.lock().create_space(kind, format, span)
    }

    fn destroy_space(&mut self, space: SpaceHandle) {
        self.0.lock().destroy_space(space);
    }

    fn map(
        &mut self,
        space: SpaceHandle,
        at: u64,
        segments: Segments<'_>,
        attributes: Attributes,
    ) -> Result<(), HardwareError> {
        self.0.lock().map(space, at, segments, attributes)
    }

    fn unmap(&mut self, space: SpaceHandle, span: Span) -> Result<Quiesced, Unfinished> {
        self.0.lock().unmap(space, span)
    }

    fn attach(&mut self, space: SpaceHandle, device: DeviceHandle, part: Part) -> Result<(), HardwareError> {
        self.0.lock().attach(space, device, part)
    }

    fn detach(
        &mut self,
        space: SpaceHandle,
        device: DeviceHandle,
        part: Part,
    ) -> Result<Quiesced, Unfinished> {
        self.0.lock().detach(space, device, part)
    }

    fn translate(&mut self, device: DeviceHandle, address: u64) -> Result<PhysicalAddress, HardwareError> {
        self.0.lock().translate(device, address)
    }

    fn walk(&self, space: SpaceHandle, address: u64) -> Option<PhysicalAddress> {
        self.0.lock().walk(space, address)
    }

    fn table_root(&self, space: SpaceHandle) -> Option<PhysicalAddress> {
        self.0.lock().table_root(space)
    }

    fn leaves(&self, space: SpaceHandle, span: Span) -> LeafCount {
        self.0.lock().leaves(space, span)
    }

    fn memory_taken(&mut self, memory: Segment) {
        self.0.lock().memory_taken(memory);
    }

    fn memory_returned(&mut self, memory: Segment) {
        self.0.lock().memory_returned(memory);
    }
}
