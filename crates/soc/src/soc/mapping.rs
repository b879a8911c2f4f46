//! What the mapping graph asks: spaces, mappings, attachments.

use super::devices::{Device, Unit, describe, format_of, guest_mmu, roots, short_mmu, split_of};
use super::machine::Port;
use super::space::{Space, short_table, stage2_table};
use super::{Soc, cpu_span};
use crate::hardware::{Access, Mmu, ProcessorFaultReason};
use vcm::{
    Attributes, DeviceHandle, FaultReason, Format, Hardware, HardwareError, HardwareErrorKind, Label,
    LeafCount, Part, PhysicalAddress, Quiesced, RegionKind, Segment, Segments, SpaceHandle, Span, Unfinished,
};
use vcm_iommu::msm::{ContextId, Invalidation, Smmu, SmmuError, TranslateAs, TranslateFault};
use vcm_pagetable::Gather;

/// Up to this many pages a processor invalidates one by one.
const PAGEWISE: usize = 64;

const fn error(kind: HardwareErrorKind, at: Label) -> HardwareError {
    HardwareError { kind, at }
}

const UNKNOWN_SPACE: HardwareError = error(HardwareErrorKind::Unknown, Label::new("space"));
const UNKNOWN_DEVICE: HardwareError = error(HardwareErrorKind::Unknown, Label::new("device"));

impl Soc {
    fn device(&self, device: DeviceHandle) -> Result<&Device, HardwareError> {
        self.devices.get(device.0 as usize).ok_or(UNKNOWN_DEVICE)
    }

    fn space(&self, space: SpaceHandle) -> Result<&Space, HardwareError> {
        self.spaces.get(&space.0).ok_or(UNKNOWN_SPACE)
    }

    /// The devices that translate through `space`, by their index.
    fn users(&self, space: SpaceHandle) -> Vec<usize> {
        let uses = |device: &Device| device.attached.iter().any(|(_, attached)| *attached == space);
        (0..self.devices.len()).filter(|index| uses(&self.devices[*index])).collect()
    }

    /// Programs the device's contexts or MMU with the tables of `parts`.
    fn program(&mut self, index: usize, parts: &[(Part, SpaceHandle)]) -> Result<(), HardwareError> {
        let tables = parts
            .iter()
            .map(|(part, space)| Ok((*part, self.space(*space)?.tables.root())))
            .collect::<Result<Vec<_>, _>>()?;
        match &self.devices[index].unit {
            Unit::Direct => {
                Err(error(HardwareErrorKind::NotSupported, Label::new("a device without translation")))
            }
            Unit::Processor(processor) => {
                let mmu = match (self.devices[index].kind, tables.first()) {
                    (_, None) => Mmu::Off,
                    (RegionKind::Guest, Some((_, root))) => guest_mmu(*root),
                    (_, Some((_, root))) => short_mmu(*root),
                };
                let mut machine = self.machine.lock();
                if let Some(unit) = machine.board.processor_mut(*processor) {
                    unit.set_mmu(mmu);
                    unit.invalidate_all();
                }
                Ok(())
            }
            Unit::Contexts(contexts) => {
                let roots = roots(tables.into_iter());
                for (smmu, context) in contexts {
                    let driver = &mut self.smmus[*smmu];
                    let done = match (roots, driver.roots(*context)) {
                        (None, _) => driver.deactivate(*context).map_err(SmmuError::from),
                        (Some(roots), None) => driver.activate(*context, roots),
                        (Some(roots), Some(_)) => driver.set_roots(*context, roots),
                    };
                    done.map_err(|refused| error(refused.kind(), driver.config().label))?;
                }
                Ok(())
            }
        }
    }

    /// Lets the device go on without `part`. It may be repeated until it succeeds.
    fn release_part(&mut self, index: usize, part: Part, space: SpaceHandle) -> Result<(), HardwareError> {
        let left: Vec<_> =
            self.devices[index].attached.iter().copied().filter(|entry| *entry != (part, space)).collect();
        if left.len() == self.devices[index].attached.len() {
            return Ok(());
        }
        if self.devices[index].kind == RegionKind::Cpu {
            self.hide_from_cpu(space)?;
        } else {
            match self.program(index, &left) {
                // Nothing of the old tables is in use; the context is seated when it is held next.
                Err(HardwareError { kind: HardwareErrorKind::NoFreeSlot, .. }) if !left.is_empty() => {}
                other => other?,
            }
        }
        self.devices[index].attached = left;
        Ok(())
    }

    /// Puts what is mapped in `space` into the CPU's table.
    fn show_to_cpu(&mut self, space: SpaceHandle) -> Result<(), HardwareError> {
        let mut machine = self.machine.lock();
        let space = self.spaces.get(&space.0).ok_or(UNKNOWN_SPACE)?;
        let mut leaves = Vec::new();
        space.tables.leaves(&*machine, space.span, |leaf| leaves.push(leaf));
        for leaf in leaves {
            let block = [Segment { base: leaf.physical, len: leaf.size }];
            let segments = Segments::new(&block, 0, leaf.size);
            self.cpu_tables.map(&mut *machine, leaf.at, segments, leaf.attributes)?;
        }
        Ok(())
    }

    /// Takes what is mapped in `space` out of the CPU's table and TLB.
    fn hide_from_cpu(&mut self, space: SpaceHandle) -> Result<(), HardwareError> {
        let span = self.space(space)?.span;
        self.unmap_from_cpu(span)
    }

    fn unmap_from_cpu(&mut self, span: Span) -> Result<(), HardwareError> {
        let mut machine = self.machine.lock();
        self.cpu_tables.unmap(&mut *machine, span, &mut self.cpu_pending)?;
        if self.cpu_pending.is_empty() {
            return Ok(());
        }
        let gather = std::mem::take(&mut self.cpu_pending);
        if let Some(cpu) = machine.board.processor_mut(self.cpu) {
            invalidate_processor(cpu, &gather);
        }
        self.cpu_tables.finish(gather, &mut *machine);
        Ok(())
    }

    /// Drops what `gather` names from the TLB of one device.
    fn invalidate(&mut self, index: usize, gather: &Gather) -> Result<(), HardwareError> {
        match &self.devices[index].unit {
            Unit::Direct => Ok(()),
            Unit::Processor(processor) => {
                let mut machine = self.machine.lock();
                if let Some(unit) = machine.board.processor_mut(*processor) {
                    invalidate_processor(unit, gather);
                }
                Ok(())
            }
            Unit::Contexts(contexts) => {
                for (smmu, context) in contexts {
                    let driver = &mut self.smmus[*smmu];
                    driver
                        .invalidate(*context, &Invalidation::from(gather))
                        .map_err(|_| error(HardwareErrorKind::Unresponsive, driver.config().label))?;
                }
                Ok(())
            }
        }
    }

    fn unmap_everywhere(&mut self, handle: SpaceHandle, span: Span) -> Result<(), HardwareError> {
        let users = self.users(handle);
        let space = self.spaces.get_mut(&handle.0).ok_or(UNKNOWN_SPACE)?;
        let Some(part) = span.intersection(space.span) else { return Ok(()) };
        if !part.is_aligned(0x1000) {
            return Err(error(HardwareErrorKind::Address, Label::new("page table")));
        }
        if space.kind == RegionKind::Cpu && !users.is_empty() {
            self.unmap_from_cpu(part)?;
        }
        let space = self.spaces.get_mut(&handle.0).ok_or(UNKNOWN_SPACE)?;
        space.tables.unmap(&mut *self.machine.lock(), part, &mut space.pending)?;
        if space.pending.is_empty() {
            return Ok(());
        }
        // The CPU walks its own table, and has been told above.
        let walked = space.kind != RegionKind::Cpu;
        let pending = std::mem::take(&mut space.pending);
        let told = users.into_iter().filter(|_| walked).try_for_each(|user| self.invalidate(user, &pending));
        let Some(space) = self.spaces.get_mut(&handle.0) else { return Err(UNKNOWN_SPACE) };
        match told {
            Ok(()) => {
                space.tables.finish(pending, &mut *self.machine.lock());
                Ok(())
            }
            Err(refused) => {
                space.pending = pending;
                Err(refused)
            }
        }
    }
}

fn invalidate_processor(processor: &mut crate::hardware::Processor, gather: &Gather) {
    if gather.pages(gather.granule()).nth(PAGEWISE).is_some() {
        processor.invalidate_all();
    } else {
        gather.pages(gather.granule()).for_each(|page| processor.invalidate_address(page));
    }
}

impl Hardware for Soc {
    fn format(&self, device: DeviceHandle, part: Part) -> Result<Format, HardwareError> {
        let kind = self.device(device)?.kind;
        let id = format_of(kind, part)
            .ok_or(error(HardwareErrorKind::NotSupported, Label::new("a device without this part")))?;
        let (name, page_sizes, addresses) = describe(id);
        let addresses = if kind == RegionKind::Cpu { cpu_span() } else { addresses };
        Ok(Format { id, name, page_sizes, addresses })
    }

    fn create_space(
        &mut self,
        kind: RegionKind,
        format: Format,
        span: Span,
    ) -> Result<SpaceHandle, HardwareError> {
        let translates = match kind {
            RegionKind::OneToOne => false,
            RegionKind::Guest => format.id == super::devices::STAGE2,
            RegionKind::Cpu | RegionKind::Remote => format.id == super::devices::SHORT,
            RegionKind::Translated => split_of(format.id).is_some(),
        };
        if !translates {
            return Err(error(
                HardwareErrorKind::NotSupported,
                Label::new("this kind of region in this format"),
            ));
        }
        if self.next_space == u32::MAX {
            return Err(error(HardwareErrorKind::OutOfMemory, Label::new("numbers of spaces")));
        }
        let mut machine = self.machine.lock();
        let tables = match split_of(format.id) {
            Some(split) => short_table(split, &mut machine)?,
            None => stage2_table(&mut machine)?,
        };
        let handle = SpaceHandle(self.next_space);
        self.next_space += 1;
        let space = Space { kind, format: format.id, span, tables, pending: Gather::new() };
        self.spaces.insert(handle.0, space);
        Ok(handle)
    }

    fn destroy_space(&mut self, space: SpaceHandle) {
        // Whoever is attached still, against the contract, is detached first.
        for index in self.users(space) {
            let attached = self.devices[index].attached.clone();
            for (part, _) in attached.into_iter().filter(|(_, attached)| *attached == space) {
                if self.release_part(index, part, space).is_err() {
                    // The hardware may walk the tables still: they stay.
                    return;
                }
            }
        }
        if let Some(Space { tables, pending, .. }) = self.spaces.remove(&space.0) {
            // To be detached was to be invalidated: nothing of it is in any TLB.
            let mut machine = self.machine.lock();
            tables.finish(pending, &mut *machine);
            tables.destroy(&mut *machine);
        }
    }

    fn map(
        &mut self,
        handle: SpaceHandle,
        at: u64,
        segments: Segments<'_>,
        attributes: Attributes,
    ) -> Result<(), HardwareError> {
        let attached = !self.users(handle).is_empty();
        let mut machine = self.machine.lock();
        let space = self.spaces.get_mut(&handle.0).ok_or(UNKNOWN_SPACE)?;
        let len = segments.clone().fold(0_u64, |len, segment| len.saturating_add(segment.len));
        let Some(span) = Span::new(at, len).filter(|span| space.span.covers(*span)) else {
            return Err(error(HardwareErrorKind::Address, Label::new("outside the space")));
        };
        space.tables.map(&mut *machine, at, segments.clone(), attributes)?;
        if space.kind != RegionKind::Cpu || !attached {
            return Ok(());
        }
        let shown = self.cpu_tables.map(&mut *machine, at, segments, attributes);
        if shown.is_err() {
            let mut gather = Gather::new();
            // Just mapped, and walked by nobody.
            let undone = space.tables.unmap(&mut *machine, span, &mut gather);
            space.tables.finish(gather, &mut *machine);
            undone.map_err(|_| error(HardwareErrorKind::HalfDone, Label::new("page table")))?;
        }
        shown
    }

    fn unmap(&mut self, space: SpaceHandle, span: Span) -> Result<Quiesced, Unfinished> {
        match self.unmap_everywhere(space, span) {
            Ok(()) => Ok(Quiesced::after_invalidation(space, span)),
            Err(error) => Err(Unfinished { error }),
        }
    }

    fn attach(&mut self, space: SpaceHandle, device: DeviceHandle, part: Part) -> Result<(), HardwareError> {
        let wanted = self.space(space)?;
        let (kind, id) = (wanted.kind, wanted.format);
        let found = self.device(device)?;
        if found.kind != kind || format_of(kind, part) != Some(id) {
            return Err(error(HardwareErrorKind::NotSupported, Label::new("this device with this space")));
        }
        let mut others = found.attached.iter();
        let in_the_way = match kind {
            RegionKind::Cpu => others.any(|(_, attached)| *attached == space),
            _ => others.any(|(other, _)| !other.is_beside(part)),
        };
        if in_the_way {
            return Err(error(HardwareErrorKind::Occupied, Label::new("another space is attached")));
        }
        let index = device.0 as usize;
        self.devices[index].attached.push((part, space));
        let parts = self.devices[index].attached.clone();
        let done = match kind {
            RegionKind::Cpu => self.show_to_cpu(space),
            _ => self.program(index, &parts),
        };
        let Err(refused) = done else { return Ok(()) };
        match self.release_part(index, part, space) {
            Ok(()) => Err(refused),
            // It is still attached, as far as the hardware goes: to be detached.
            Err(_) => Err(error(HardwareErrorKind::HalfDone, refused.at)),
        }
    }

    fn detach(
        &mut self,
        space: SpaceHandle,
        device: DeviceHandle,
        part: Part,
    ) -> Result<Quiesced, Unfinished> {
        let unfinished = |error| Unfinished { error };
        let span = self.space(space).map_err(unfinished)?.span;
        self.device(device).map_err(unfinished)?;
        self.release_part(device.0 as usize, part, space).map_err(unfinished)?;
        Ok(Quiesced::after_invalidation(space, span))
    }

    fn translate(&mut self, device: DeviceHandle, address: u64) -> Result<PhysicalAddress, HardwareError> {
        self.device(device)?;
        match &self.devices[device.0 as usize].unit {
            Unit::Direct => Ok(PhysicalAddress::new(address)),
            Unit::Processor(processor) => {
                let mut machine = self.machine.lock();
                match machine.board.processor_translate(*processor, address, Access::Read) {
                    Some(Ok(physical)) => Ok(PhysicalAddress::new(physical)),
                    Some(Err(fault)) => Err(error(
                        match fault.reason {
                            ProcessorFaultReason::Refused(FaultReason::NoContext) => {
                                HardwareErrorKind::Unknown
                            }
                            _ => HardwareErrorKind::Address,
                        },
                        Label::new("the processor's MMU"),
                    )),
                    None => Err(UNKNOWN_DEVICE),
                }
            }
            Unit::Contexts(contexts) => {
                // A device behind several SMMUs goes through any of them: they have to agree.
                let mut agreed = None;
                for (smmu, context) in contexts {
                    let found = translate_in(&mut self.smmus[*smmu], *context, address)?;
                    match agreed {
                        Some(before) if before != found => {
                            let label = self.smmus[*smmu].config().label;
                            return Err(HardwareError { kind: HardwareErrorKind::HalfDone, at: label });
                        }
                        _ => agreed = Some(found),
                    }
                }
                agreed.ok_or(UNKNOWN_DEVICE)
            }
        }
    }

    fn table_root(&self, space: SpaceHandle) -> Option<PhysicalAddress> {
        Some(self.spaces.get(&space.0)?.tables.root())
    }

    fn walk(&self, space: SpaceHandle, address: u64) -> Option<PhysicalAddress> {
        let machine = self.machine.lock();
        self.spaces.get(&space.0)?.tables.translate(&*machine, address).map(|found| found.physical)
    }

    fn leaves(&self, space: SpaceHandle, span: Span) -> LeafCount {
        let mut count = LeafCount::default();
        if let Some(space) = self.spaces.get(&space.0) {
            space.tables.leaves(&*self.machine.lock(), span, |leaf| count.add(leaf.size));
        }
        count
    }

    fn memory_taken(&mut self, memory: Segment) {
        if let Some(span) = Span::new(memory.base.raw(), memory.len) {
            self.machine.lock().board.bus_mut().hand_out(span);
        }
    }

    fn memory_returned(&mut self, memory: Segment) {
        if let Some(span) = Span::new(memory.base.raw(), memory.len) {
            self.machine.lock().board.bus_mut().give_back(span);
        }
    }
}

/// Asks the SMMU itself, as a privileged read: what is for supervisors only leads somewhere, too.
fn translate_in(
    driver: &mut Smmu<Port>,
    context: ContextId,
    address: u64,
) -> Result<PhysicalAddress, HardwareError> {
    let at = driver.config().label;
    driver.translate(context, address, TranslateAs::PrivilegedRead).map_err(|fault| match fault {
        TranslateFault::Fault(_) | TranslateFault::Beyond32Bits => {
            HardwareError { kind: HardwareErrorKind::Address, at }
        }
        TranslateFault::Smmu(refused) => HardwareError { kind: refused.kind(), at },
    })
}
