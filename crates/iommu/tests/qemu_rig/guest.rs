//! A guest's memory, for two tables one after the other.

use std::ops::Range;
use vcm::PhysicalAddress;
use vcm_pagetable::{TableError, TableMemory};
use vcm_qemu::Ram;

/// How far guest physical addresses are above physical ones.
pub(crate) const GUEST: u64 = 0x2_0000_0000;

/// A guest's memory: RAM, at other addresses.
pub(crate) struct GuestMemory(pub(crate) Ram);

fn host(address: PhysicalAddress) -> PhysicalAddress {
    PhysicalAddress::new(address.raw() - GUEST)
}

pub(crate) fn guest(address: PhysicalAddress) -> PhysicalAddress {
    PhysicalAddress::new(address.raw() + GUEST)
}

impl TableMemory<u64> for GuestMemory {
    fn allocate(&mut self, size: u64, align: u64) -> Result<PhysicalAddress, TableError> {
        TableMemory::<u64>::allocate(&mut self.0, size, align).map(guest)
    }
    fn free(&mut self, table: PhysicalAddress, size: u64) {
        TableMemory::<u64>::free(&mut self.0, host(table), size);
    }
    fn read(&self, table: PhysicalAddress, index: usize) -> u64 {
        TableMemory::<u64>::read(&self.0, host(table), index)
    }
    fn write(&mut self, table: PhysicalAddress, index: usize, value: u64) {
        TableMemory::<u64>::write(&mut self.0, host(table), index, value);
    }
    fn publish(&mut self, table: PhysicalAddress, words: Range<usize>) {
        TableMemory::<u64>::publish(&mut self.0, host(table), words);
    }
}
