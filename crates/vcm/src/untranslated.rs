//! A machine in which nothing translates.

use crate::block::Segments;
use crate::hardware::{
    DeviceHandle, Format, Hardware, HardwareError, HardwareErrorKind, LeafCount, Part, Quiesced, SpaceHandle,
    Unfinished,
};
use crate::{Attributes, Label, PageSizes, PhysicalAddress, RegionKind, Span};

/// The [`Hardware`] of a machine without any IOMMU: devices emit physical addresses, and regions are one-to-one.
///
/// The graph still knows who maps which memory, refuses conflicting mappings, and keeps memory from being freed
/// under a device.
#[derive(Clone, Copy, Default, Debug)]
pub struct Untranslated;

const NOT_SUPPORTED: HardwareError =
    HardwareError { kind: HardwareErrorKind::NotSupported, at: Label::new("no translation") };

impl Hardware for Untranslated {
    fn format(&self, _: DeviceHandle, part: Part) -> Result<Format, HardwareError> {
        match part {
            Part::Whole => Ok(Format {
                id: 0,
                name: "one-to-one",
                page_sizes: PageSizes::ARM_SHORT,
                addresses: Span::ALL,
            }),
            Part::Low { .. } | Part::High { .. } => Err(NOT_SUPPORTED),
        }
    }

    fn create_space(&mut self, _: RegionKind, _: Format, _: Span) -> Result<SpaceHandle, HardwareError> {
        Err(NOT_SUPPORTED)
    }

    fn destroy_space(&mut self, _: SpaceHandle) {}

    fn map(&mut self, _: SpaceHandle, _: u64, _: Segments<'_>, _: Attributes) -> Result<(), HardwareError> {
        Err(NOT_SUPPORTED)
    }

    fn unmap(&mut self, space: SpaceHandle, span: Span) -> Result<Quiesced, Unfinished> {
        // Nothing was ever mapped, so nothing can be in use.
        Ok(Quiesced::after_invalidation(space, span))
    }

    fn attach(&mut self, _: SpaceHandle, _: DeviceHandle, _: Part) -> Result<(), HardwareError> {
        Err(NOT_SUPPORTED)
    }

    fn detach(&mut self, space: SpaceHandle, _: DeviceHandle, _: Part) -> Result<Quiesced, Unfinished> {
        Ok(Quiesced::after_invalidation(space, Span::ALL))
    }

    fn translate(&mut self, _: DeviceHandle, address: u64) -> Result<PhysicalAddress, HardwareError> {
        Ok(PhysicalAddress::new(address))
    }

    fn walk(&self, _: SpaceHandle, _: u64) -> Option<PhysicalAddress> {
        None
    }

    fn leaves(&self, _: SpaceHandle, _: Span) -> LeafCount {
        LeafCount::default()
    }
}
