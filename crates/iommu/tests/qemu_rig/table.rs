//! Page tables in the machine's memory.

use vcm::{Attributes, PhysicalAddress, Span};
use vcm_pagetable::{Format, Gather, PageTable, Segment, TableMemory};
use vcm_qemu::Ram;

/// A table of any format, in RAM.
pub(crate) trait Table {
    fn map_in(&mut self, ram: &mut Ram, at: u64, segment: Segment, attributes: Attributes);
    fn unmap_in(&mut self, ram: &mut Ram, span: Span) -> Gather;
}

impl<F: Format<Word = u64>> Table for PageTable<F> {
    fn map_in(&mut self, ram: &mut Ram, at: u64, segment: Segment, attributes: Attributes) {
        map_in(ram, self, at, segment.physical, segment.len, attributes);
    }

    fn unmap_in(&mut self, ram: &mut Ram, span: Span) -> Gather {
        let mut gather = Gather::new();
        self.unmap(ram, span, &mut gather).unwrap();
        gather
    }
}

pub(crate) fn map_in<F: Format<Word = u64>>(
    memory: &mut impl TableMemory<u64>,
    table: &mut PageTable<F>,
    at: u64,
    physical: PhysicalAddress,
    len: u64,
    attributes: Attributes,
) {
    table.map(memory, at, [Segment { physical, len }].into_iter(), attributes).unwrap();
}
