//! The stream table in memory.

use super::entry::{self, Ste};
use super::{Capabilities, Config, StreamTable, Unattached, spec};
use crate::SharedMemory;
use vcm::{List, OutOfMemory, PhysicalAddress};

/// Bits of a stream id that index a table of the second level: 256 entries, as many as a PCI bus has functions
/// (16 KiB).
pub const SPLIT: u8 = 8;

/// Bits of stream id that are covered by default: with two levels, and in a linear table.
const DEFAULT_BITS: (u8, u8) = (25, 16);

/// Where the table is, and what of it there is.
#[derive(Debug)]
pub(super) struct Table {
    base: PhysicalAddress,
    /// Bits of stream id that it covers.
    bits: u8,
    levels: Levels,
    vacant: Ste,
}

#[derive(Debug)]
enum Levels {
    One,
    /// The second-level tables that there are, ascending by index.
    Two(List<Second>),
}

#[derive(Clone, Copy, Debug)]
struct Second {
    index: u32,
    table: PhysicalAddress,
}

impl Table {
    pub(super) fn new(
        capabilities: &Capabilities,
        config: &Config,
        memory: &mut impl SharedMemory,
    ) -> Result<Self, OutOfMemory> {
        let most = capabilities.idr1.sidsize();
        let wanted = |default: u8| most.min(config.stream_bits.unwrap_or(default));
        let can = capabilities.idr0.st_level() == 1;
        let two = match config.stream_table {
            StreamTable::Automatic => can && wanted(DEFAULT_BITS.0) > SPLIT,
            StreamTable::Linear => false,
            // A table of one second-level table is two levels for nothing, and not every size is valid.
            StreamTable::TwoLevel => can && wanted(DEFAULT_BITS.0) >= SPLIT,
        };
        let bits = wanted(if two { DEFAULT_BITS.0 } else { DEFAULT_BITS.1 });
        let bytes = if two { spec::L1STD_BYTES << (bits - SPLIT) } else { spec::STE_BYTES << bits };
        let base = memory.allocate(bytes, bytes.max(64))?;
        let vacant = match config.unattached {
            Unattached::Recorded => entry::INVALID,
            Unattached::Silent => entry::abort(),
        };
        let levels = if two { Levels::Two(List::new()) } else { Levels::One };
        let table = Self { base, bits, levels, vacant };
        if !two {
            table.vacate(memory, base, 1 << bits);
        }
        Ok(table)
    }

    /// The entry of a stream that is not attached.
    pub(super) const fn vacant(&self) -> &Ste {
        &self.vacant
    }

    /// The last stream that the table covers.
    pub(super) const fn last_stream(&self) -> u32 {
        ((1_u64 << self.bits) - 1) as u32
    }

    /// Whether it has two levels.
    pub(super) const fn is_two_level(&self) -> bool {
        matches!(self.levels, Levels::Two(_))
    }

    /// `STRTAB_BASE` and `STRTAB_BASE_CFG`.
    pub(super) const fn registers(&self) -> (u64, u32) {
        let base = spec::StrtabBase::new().with_address(self.base.raw() >> 6).with_ra(true);
        let shape = spec::StrtabBaseCfg::new().with_log2size(self.bits);
        let shape = if self.is_two_level() { shape.with_fmt(1).with_split(SPLIT) } else { shape };
        (base.into_bits(), shape.into_bits())
    }

    /// Where the entry of `stream`, one that the table covers, is; `None` where its second-level table was not needed
    /// yet.
    pub(super) fn find(&self, stream: u32) -> Option<PhysicalAddress> {
        let (table, slot) = match &self.levels {
            Levels::One => (self.base, stream),
            Levels::Two(seconds) => {
                let index = stream >> SPLIT;
                let place = seconds.binary_search_by_key(&index, |second| second.index).ok()?;
                (seconds[place].table, stream & ((1 << SPLIT) - 1))
            }
        };
        Some(PhysicalAddress::new(table.raw() + spec::STE_BYTES * u64::from(slot)))
    }

    /// The same, with a table where there was none.
    pub(super) fn find_or_make(
        &mut self,
        stream: u32,
        memory: &mut impl SharedMemory,
    ) -> Result<PhysicalAddress, OutOfMemory> {
        if let Some(found) = self.find(stream) {
            return Ok(found);
        }
        let index = stream >> SPLIT;
        if let Levels::Two(seconds) = &mut self.levels {
            seconds.reserve(1)?;
            let bytes = spec::STE_BYTES << SPLIT;
            let table = memory.allocate(bytes, bytes)?;
            let place = seconds.partition_point(|second| second.index < index);
            seconds.insert(place, Second { index, table })?;
            self.vacate(memory, table, 1 << SPLIT);
            self.write_descriptor(memory, index, table);
        }
        self.find(stream).ok_or(OutOfMemory)
    }

    /// Makes all entries those of streams that are not attached, and all descriptors what they should be, whatever has
    /// become of the memory. The hardware must be disabled.
    pub(super) fn restore(&self, memory: &mut impl SharedMemory) {
        match &self.levels {
            Levels::One => self.write_vacant(memory, self.base, 1 << self.bits),
            Levels::Two(seconds) => {
                for second in seconds {
                    self.write_vacant(memory, second.table, 1 << SPLIT);
                    self.write_descriptor(memory, second.index, second.table);
                }
            }
        }
    }

    fn write_descriptor(&self, memory: &mut impl SharedMemory, index: u32, table: PhysicalAddress) {
        let descriptor = spec::L1Std::new().with_span(SPLIT + 1).with_table(table.raw() >> 6);
        let at = self.base.raw() + spec::L1STD_BYTES * u64::from(index);
        memory.write64(PhysicalAddress::new(at), descriptor.into_bits());
    }

    /// Makes fresh entries, which are zero, those of streams that are not attached.
    fn vacate(&self, memory: &mut impl SharedMemory, table: PhysicalAddress, entries: u64) {
        if self.vacant != entry::INVALID {
            self.write_vacant(memory, table, entries);
        }
    }

    fn write_vacant(&self, memory: &mut impl SharedMemory, table: PhysicalAddress, entries: u64) {
        for slot in 0..entries {
            write(memory, PhysicalAddress::new(table.raw() + spec::STE_BYTES * slot), &self.vacant);
        }
    }
}

pub(super) fn read(memory: &mut impl SharedMemory, at: PhysicalAddress) -> Ste {
    let mut entry = entry::INVALID;
    for (word, value) in entry.iter_mut().enumerate() {
        *value = memory.read64(PhysicalAddress::new(at.raw() + 8 * word as u64));
    }
    entry
}

/// Writes all words, the first one last.
pub(super) fn write(memory: &mut impl SharedMemory, at: PhysicalAddress, entry: &Ste) {
    for (word, &value) in entry.iter().enumerate().rev() {
        memory.write64(PhysicalAddress::new(at.raw() + 8 * word as u64), value);
    }
}
