//! Interrupt remapping: blocks of entries, and the messages that name them.

use super::request::Request;
use super::{Vtd, spec};
use crate::{Feature, IommuError, Registers, SharedMemory, StreamId, Unresponsive};
use core::fmt;
use vcm::{Arena, Key, List, PhysicalAddress, Span};

/// The addresses that are no memory to devices: writes there raise interrupts, whatever a table says, and a translation
/// that leads there is refused.
///
/// Source: the specification, *Handling Requests to Interrupt Address Range*.
pub const INTERRUPT_ADDRESSES: Span = {
    let first = (spec::INTERRUPT_WINDOW as u64) << 20;
    match Span::new(first, 1 << 20) {
        Some(span) => span,
        None => Span::ALL,
    }
};

/// What interrupt destinations look like.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Destinations {
    /// Local APICs have ids of 8 bits.
    Xapic,
    /// They have ids of 32 bits. Needs [`spec::ExtendedCapability::eim`].
    X2apic,
}

/// Names a block of interrupts of one IOMMU. It stays invalid once the block is freed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct InterruptBlockId(Key<Block>);

impl fmt::Display for InterruptBlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "interrupt block {}", self.0)
    }
}

/// How many interrupts a block has: the numbers that a device with message-signalled interrupts can ask for. For MSI-X,
/// take one block for each.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum BlockSize {
    /// 1.
    One = 0,
    /// 2.
    Two = 1,
    /// 4.
    Four = 2,
    /// 8.
    Eight = 3,
    /// 16.
    Sixteen = 4,
    /// 32.
    ThirtyTwo = 5,
}

/// How an interrupt is delivered.
///
/// Source: the specification, *Interrupt Remapping Table Entry (IRTE) for Remapped Interrupts*, DLM.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Delivery {
    /// With its vector, to the destination.
    Fixed = 0b000,
    /// With its vector, to the one of the destinations that has the lowest priority.
    LowestPriority = 0b001,
    /// As a non-maskable interrupt.
    Nmi = 0b100,
}

/// Whether a destination is one processor's or a set's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DestinationMode {
    /// The id of a local APIC.
    Physical,
    /// A logical id, which can stand for several.
    Logical,
}

/// How the destination takes the interrupt.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Trigger {
    /// As an edge: all message-signalled interrupts.
    Edge,
    /// As a level.
    Level,
}

/// Where an interrupt goes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct InterruptTarget {
    /// The vector, 0x10 to 0xfe.
    pub vector: u8,
    /// The local APIC, or several.
    pub destination: u32,
    /// What `destination` is.
    pub destination_mode: DestinationMode,
    /// How it is delivered.
    pub delivery: Delivery,
    /// How it is taken.
    pub trigger: Trigger,
}

impl InterruptTarget {
    /// `vector`, fixed, as an edge, at the local APIC `apic`.
    pub const fn new(vector: u8, apic: u32) -> Self {
        Self {
            vector,
            destination: apic,
            destination_mode: DestinationMode::Physical,
            delivery: Delivery::Fixed,
            trigger: Trigger::Edge,
        }
    }
}

/// What a device writes to raise an interrupt; for its MSI capability or MSI-X table.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct InterruptMessage {
    /// The address.
    pub address: u64,
    /// The data. A device with several interrupts replaces its low bits by the interrupt's number.
    pub data: u32,
}

/// A block of entries.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    first: u16,
    /// It has 2^order entries, and starts at a multiple of that.
    order: u8,
}

/// The interrupt remapping table.
#[derive(Debug)]
pub(super) struct InterruptTable {
    base: PhysicalAddress,
    /// It has 2^order entries.
    order: u8,
    destinations: Destinations,
    /// A bit for each entry: taken.
    taken: List<u64>,
    blocks: Arena<Block>,
}

impl InterruptTable {
    const fn entry(&self, index: u16) -> PhysicalAddress {
        PhysicalAddress::new(self.base.raw() + index as u64 * spec::INTERRUPT_ENTRY_BYTES)
    }

    fn bits(block: Block) -> (usize, u64) {
        let ones = u64::MAX >> (64 - (1_u32 << block.order));
        (usize::from(block.first / 64), ones << (block.first % 64))
    }

    fn is_free(&self, block: Block) -> bool {
        let (word, bits) = Self::bits(block);
        self.taken.get(word).is_some_and(|taken| taken & bits == 0)
    }

    fn take(&mut self, order: u8) -> Option<Block> {
        let starts = (0..1_u32 << self.order).step_by(1 << order);
        let block =
            starts.map(|first| Block { first: first as u16, order }).find(|&block| self.is_free(block))?;
        let (word, bits) = Self::bits(block);
        self.taken[word] |= bits;
        Some(block)
    }

    fn give_back(&mut self, block: Block) {
        let (word, bits) = Self::bits(block);
        self.taken[word] &= !bits;
    }

    fn low(&self, target: &InterruptTarget) -> Result<u64, IommuError> {
        let destination = match self.destinations {
            Destinations::X2apic => target.destination,
            Destinations::Xapic if target.destination <= 0xff => target.destination << 8,
            Destinations::Xapic => return Err(IommuError::Attributes),
        };
        // The lowest 16 vectors are the processor's own exceptions, and 0xff has no priority above others.
        if !(0x10..=0xfe).contains(&target.vector) {
            return Err(IommuError::Attributes);
        }
        Ok(spec::InterruptEntryLow::new()
            .with_present(true)
            .with_logical(target.destination_mode == DestinationMode::Logical)
            .with_redirection_hint(target.delivery == Delivery::LowestPriority)
            .with_level(target.trigger == Trigger::Level)
            .with_delivery(target.delivery as u8)
            .with_vector(target.vector)
            .with_destination(destination)
            .into_bits())
    }
}

impl<R: Registers, M: SharedMemory> Vtd<R, M> {
    /// Makes an interrupt remapping table of 2^`order` entries (8 to 16: one page has 256) and enables it. From then on,
    /// only interrupts that were allocated here pass; those in compatibility format are blocked. Doing it again with
    /// the same arguments repeats what an [`Unresponsive`] IOMMU did not complete.
    ///
    /// # Errors
    /// `NotSupported` where the hardware has no interrupt remapping, no invalidation queue, or no destinations of 32
    /// bits, or where a table of another shape is in use; `OutOfMemory`, `Unresponsive`.
    pub fn enable_interrupt_remapping(
        &mut self,
        order: u8,
        destinations: Destinations,
    ) -> Result<(), IommuError> {
        let unable = Err(IommuError::NotSupported(Feature::InterruptRemapping));
        let wide = destinations == Destinations::X2apic;
        if !self.extended.ir()
            || self.queue.is_none()
            || wide && !self.extended.eim()
            || !(8..=16).contains(&order)
        {
            return unable;
        }
        match &self.interrupts {
            Some(table) if table.order == order && table.destinations == destinations => {}
            Some(_) => return unable,
            None => {
                let mut taken = List::new();
                let words = 1 << (order - 6);
                taken.reserve(words)?;
                taken.extend_reserved((0..words).map(|_| 0));
                let bytes = spec::INTERRUPT_ENTRY_BYTES << order;
                let base = self.memory.allocate(bytes, 4096)?;
                self.interrupts =
                    Some(InterruptTable { base, order, destinations, taken, blocks: Arena::new() });
            }
        }
        Ok(self.start_interrupts()?)
    }

    /// Programs the table, if there is one.
    pub(super) fn start_interrupts(&mut self) -> Result<(), Unresponsive> {
        let Some(table) = &self.interrupts else {
            return Ok(());
        };
        let address = spec::InterruptTableAddress::new()
            .with_size(table.order - 1)
            .with_eime(table.destinations == Destinations::X2apic)
            .with_page(table.base.raw() >> 12);
        self.registers.write64(spec::IRTA, address.into_bits());
        self.set_interrupt_pointer()?;
        self.perform(&[Request::Interrupts])?;
        self.block_compatibility_interrupts()?;
        self.enable_interrupt_remapping_now()
    }

    /// Takes a block of interrupts for a device. They are blocked until [`route_interrupt`](Self::route_interrupt).
    ///
    /// # Errors
    /// `NotSupported` before [`enable_interrupt_remapping`](Self::enable_interrupt_remapping); `StreamOutOfRange`,
    /// `NoFreeSlot`, `OutOfMemory`.
    pub fn allocate_interrupts(
        &mut self,
        stream: StreamId,
        size: BlockSize,
    ) -> Result<InterruptBlockId, IommuError> {
        let sid = Self::requester(stream)?;
        let table = self.interrupts.as_mut().ok_or(IommuError::NotSupported(Feature::InterruptRemapping))?;
        table.blocks.reserve(1)?;
        let block = table.take(size as u8).ok_or(IommuError::NoFreeSlot(1 << table.order))?;
        let id = InterruptBlockId(table.blocks.insert_reserved(block));
        let high = spec::InterruptEntryHigh::new().with_sid(sid).with_svt(spec::SVT_REQUESTER).into_bits();
        for index in 0..1 << block.order {
            let entry = table.entry(block.first + index);
            // Not present, so the hardware does not look at the rest.
            self.memory.write64(PhysicalAddress::new(entry.raw() + 8), high);
        }
        Ok(id)
    }

    /// Sends interrupt `index` of a block to `target`. When this answers `Ok`, no further one goes where it went before.
    ///
    /// # Errors
    /// `NotSupported` before [`enable_interrupt_remapping`](Self::enable_interrupt_remapping), `Address` where there is
    /// no such block or interrupt, `Attributes` for a vector or destination that there cannot be. `Unresponsive`: it may
    /// go to either; the call may be repeated.
    pub fn route_interrupt(
        &mut self,
        block: InterruptBlockId,
        index: u16,
        target: &InterruptTarget,
    ) -> Result<(), IommuError> {
        let (table, found) = self.block(block)?;
        if index >> found.order != 0 {
            return Err(IommuError::Address { at: u64::from(index), len: 1 });
        }
        let (low, entry) = (table.low(target)?, table.entry(found.first + index));
        // The other half stays as it is, so that each interrupt sees the entry before or after, never a mixture.
        self.memory.write64(entry, low);
        Ok(self.perform(&[Request::InterruptsOf { first: found.first + index, order: 0 }])?)
    }

    /// What a device of `block` writes to raise its interrupts.
    ///
    /// # Errors
    /// `NotSupported` before [`enable_interrupt_remapping`](Self::enable_interrupt_remapping), `Address` where there is
    /// no such block.
    pub fn interrupt_message(&self, block: InterruptBlockId) -> Result<InterruptMessage, IommuError> {
        let (_, found) = self.block(block)?;
        let address = spec::MessageAddress::new()
            .with_window(spec::INTERRUPT_WINDOW)
            .with_remappable(true)
            .with_subhandle_valid(true)
            .with_handle_low(found.first & 0x7fff)
            .with_handle_high((found.first >> 15) as u8);
        Ok(InterruptMessage { address: u64::from(address.into_bits()), data: 0 })
    }

    /// Blocks the interrupts of a block, and gives its entries back. A block that does not exist is passed over.
    ///
    /// # Errors
    /// [`Unresponsive`]: they may be delivered still, and the entries stay taken; the call may be repeated.
    pub fn free_interrupts(&mut self, block: InterruptBlockId) -> Result<(), Unresponsive> {
        let Ok((table, found)) = self.block(block) else {
            return Ok(());
        };
        let (first, base) = (found.first, table.entry(found.first));
        for index in 0..1_u64 << found.order {
            let entry = base.raw() + index * spec::INTERRUPT_ENTRY_BYTES;
            self.memory.write64(PhysicalAddress::new(entry), 0);
        }
        // The mask may reach less than the block.
        let order = found.order.min(self.extended.mhmv());
        for step in 0..1_u16 << (found.order - order) {
            self.perform(&[Request::InterruptsOf { first: first + (step << order), order }])?;
        }
        if let Some(table) = &mut self.interrupts {
            table.blocks.remove(block.0);
            table.give_back(found);
        }
        Ok(())
    }

    fn block(&self, block: InterruptBlockId) -> Result<(&InterruptTable, Block), IommuError> {
        let table = self.interrupts.as_ref().ok_or(IommuError::NotSupported(Feature::InterruptRemapping))?;
        let found = table.blocks.get(block.0).ok_or(IommuError::Address { at: 0, len: 1 })?;
        Ok((table, *found))
    }
}
