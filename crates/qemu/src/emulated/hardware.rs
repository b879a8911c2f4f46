//! What the mapping graph asks: spaces, mappings, attachments.

use super::device::Unit;
use super::space::{GUEST, GUEST_TABLES, PHYSICAL, PROCESSOR, PROCESSOR_TABLES, Space, TRANSLATED, Tables};
use super::{Emulated, cpu_span};
use vcm::{
    Attributes, DeviceHandle, FaultAccess, Format, Hardware, HardwareError, HardwareErrorKind, Label,
    LeafCount, PageSizes, Part, PhysicalAddress, Quiesced, RegionKind, Segments, SpaceHandle, Span,
    Unfinished,
};
use vcm_iommu::{AddressSpace, AnyTable, Iommu as _, TableLimits};

const fn error(kind: HardwareErrorKind, at: &str) -> HardwareError {
    HardwareError { kind, at: Label::new(at) }
}

const UNKNOWN_SPACE: HardwareError = error(HardwareErrorKind::Unknown, "space");
const UNKNOWN_DEVICE: HardwareError = error(HardwareErrorKind::Unknown, "device");

/// Every power of two from 4K on.
const ALL_SIZES: PageSizes = match PageSizes::from_mask(!0xfff) {
    Some(sizes) => sizes,
    None => PageSizes::AARCH64_4K,
};

/// The number of the format in which a device of `kind` translates.
const fn format_of(kind: RegionKind) -> u32 {
    match kind {
        RegionKind::Translated => TRANSLATED,
        RegionKind::Cpu | RegionKind::Remote => PROCESSOR,
        RegionKind::Guest => GUEST,
        RegionKind::OneToOne => PHYSICAL,
    }
}

impl Emulated {
    /// An empty space behind the IOMMU, in which every bus master finds the pages that it needs for itself.
    fn behind_iommu(&mut self) -> Result<AddressSpace, HardwareError> {
        let iommu = &mut self.iommu;
        let mut space = AddressSpace::new(iommu, &mut self.ram)?;
        for device in &self.devices {
            let Unit::Master(master) = &device.unit else { continue };
            let own = [master.own_pages()];
            let segments = Segments::new(&own, 0, own[0].len);
            let mapped =
                space.map(iommu, &mut self.ram, master.own_address(), segments, Attributes::READ_WRITE);
            if let Err(refused) = mapped {
                if let Err((space, _)) = space.destroy(iommu, &mut self.ram) {
                    self.remains.push(space);
                }
                return Err(refused);
            }
        }
        Ok(space)
    }

    /// Tries again to destroy what could not be destroyed before.
    fn reap(&mut self) {
        for space in std::mem::take(&mut self.remains) {
            if let Err((space, _)) = space.destroy(&mut self.iommu, &mut self.ram) {
                self.remains.push(space);
            }
        }
    }

    fn release(&mut self, handle: SpaceHandle, index: usize) -> Result<(), HardwareError> {
        let device = self.devices.get_mut(index).ok_or(UNKNOWN_DEVICE)?;
        if !device.attached.contains(&handle) {
            return Ok(());
        }
        let space = self.spaces.get_mut(&handle.0).ok_or(UNKNOWN_SPACE)?;
        if let (Tables::Iommu(space), Some(stream)) = (&mut space.tables, device.unit.stream()) {
            space.detach(&mut self.iommu, stream)?;
        }
        device.attached.retain(|attached| *attached != handle);
        Ok(())
    }
}

impl Hardware for Emulated {
    fn format(&self, device: DeviceHandle, part: Part) -> Result<Format, HardwareError> {
        let kind = self.devices.get(device.0 as usize).ok_or(UNKNOWN_DEVICE)?.kind;
        if part != Part::Whole {
            return Err(error(HardwareErrorKind::NotSupported, "a PCI device's half"));
        }
        let id = format_of(kind);
        let of_tables = |name, format| -> Result<Format, HardwareError> {
            let (page_sizes, addresses) = AnyTable::describe(format, TableLimits::NONE)?;
            Ok(Format { id, name, page_sizes, addresses })
        };
        match kind {
            RegionKind::Translated => AddressSpace::format(&self.iommu, id),
            RegionKind::OneToOne => {
                Ok(Format { id, name: "physical addresses", page_sizes: ALL_SIZES, addresses: Span::ALL })
            }
            RegionKind::Guest => of_tables("AArch64 stage 2", GUEST_TABLES),
            RegionKind::Remote => of_tables("AArch64 stage 1", PROCESSOR_TABLES),
            RegionKind::Cpu => of_tables("AArch64 stage 1", PROCESSOR_TABLES)
                .map(|format| Format { addresses: cpu_span(), ..format }),
        }
    }

    fn create_space(
        &mut self,
        kind: RegionKind,
        format: Format,
        span: Span,
    ) -> Result<SpaceHandle, HardwareError> {
        if format.id != format_of(kind) || kind == RegionKind::OneToOne {
            return Err(error(HardwareErrorKind::NotSupported, "this kind of region in this format"));
        }
        if self.next_space == u32::MAX {
            return Err(error(HardwareErrorKind::OutOfMemory, "numbers of spaces"));
        }
        self.reap();
        let tables = match kind {
            RegionKind::Translated => Tables::Iommu(self.behind_iommu()?),
            RegionKind::Guest => {
                Tables::Played(AnyTable::new(GUEST_TABLES, TableLimits::NONE, &mut self.ram)?)
            }
            _ => Tables::Played(AnyTable::new(PROCESSOR_TABLES, TableLimits::NONE, &mut self.ram)?),
        };
        let handle = SpaceHandle(self.next_space);
        self.next_space += 1;
        self.spaces.insert(handle.0, Space { kind, span, tables });
        Ok(handle)
    }

    fn destroy_space(&mut self, space: SpaceHandle) {
        for device in &mut self.devices {
            // Whoever is attached still, against the contract, is detached below.
            device.attached.retain(|attached| *attached != space);
        }
        match self.spaces.remove(&space.0).map(|space| space.tables) {
            Some(Tables::Iommu(space)) => {
                self.remains.push(space);
                self.reap();
            }
            Some(Tables::Played(table)) => table.destroy(&mut self.ram),
            None => {}
        }
    }

    fn map(
        &mut self,
        space: SpaceHandle,
        at: u64,
        segments: Segments<'_>,
        attributes: Attributes,
    ) -> Result<(), HardwareError> {
        let space = self.spaces.get_mut(&space.0).ok_or(UNKNOWN_SPACE)?;
        space.map(&mut self.iommu, &mut self.ram, at, segments, attributes)
    }

    fn unmap(&mut self, handle: SpaceHandle, span: Span) -> Result<Quiesced, Unfinished> {
        let unfinished = |error| Unfinished { error };
        let space = self.spaces.get_mut(&handle.0).ok_or(unfinished(UNKNOWN_SPACE))?;
        space.unmap(&mut self.iommu, &mut self.ram, span).map_err(unfinished)?;
        Ok(Quiesced::after_invalidation(handle, span))
    }

    fn attach(&mut self, handle: SpaceHandle, device: DeviceHandle, part: Part) -> Result<(), HardwareError> {
        let found = self.devices.get_mut(device.0 as usize).ok_or(UNKNOWN_DEVICE)?;
        let space = self.spaces.get_mut(&handle.0).ok_or(UNKNOWN_SPACE)?;
        if found.kind != space.kind || part != Part::Whole {
            return Err(error(HardwareErrorKind::NotSupported, "this device with this space"));
        }
        let in_the_way = match found.kind {
            RegionKind::Cpu => found.attached.contains(&handle),
            _ => !found.attached.is_empty(),
        };
        if in_the_way {
            return Err(error(HardwareErrorKind::Occupied, "another space is attached"));
        }
        if let (Tables::Iommu(space), Some(stream)) = (&mut space.tables, found.unit.stream())
            && let Err(refused) = space.attach(&mut self.iommu, stream)
        {
            return match space.detach(&mut self.iommu, stream) {
                Ok(()) => Err(refused),
                Err(_) => {
                    // It is still attached, as far as the hardware goes: to be detached.
                    found.attached.push(handle);
                    Err(HardwareError { kind: HardwareErrorKind::HalfDone, at: refused.at })
                }
            };
        }
        found.attached.push(handle);
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

    fn translate(&mut self, device: DeviceHandle, address: u64) -> Result<PhysicalAddress, HardwareError> {
        let found = self.devices.get(device.0 as usize).ok_or(UNKNOWN_DEVICE)?;
        match (found.unit.stream(), found.kind) {
            (_, RegionKind::OneToOne) => Ok(PhysicalAddress::new(address)),
            (Some(stream), _) => {
                let label = self.iommu.label();
                let asked = self.iommu.translate(stream, address, FaultAccess::Read);
                asked.map_err(|refused| refused.of(label))
            }
            (None, _) if found.attached.is_empty() => Err(UNKNOWN_DEVICE),
            (None, _) => {
                let mut spaces = found.attached.iter().filter_map(|handle| self.spaces.get(&handle.0));
                let found = spaces.find_map(|space| space.walk(&self.ram, address));
                found.ok_or(error(HardwareErrorKind::Address, "a processor that this process plays"))
            }
        }
    }

    fn table_root(&self, space: SpaceHandle) -> Option<PhysicalAddress> {
        self.spaces.get(&space.0)?.root()
    }

    fn walk(&self, space: SpaceHandle, address: u64) -> Option<PhysicalAddress> {
        self.spaces.get(&space.0)?.walk(&self.ram, address)
    }

    fn leaves(&self, space: SpaceHandle, span: Span) -> LeafCount {
        self.spaces.get(&space.0).map_or_else(LeafCount::default, |space| space.leaves(&self.ram, span))
    }
}
