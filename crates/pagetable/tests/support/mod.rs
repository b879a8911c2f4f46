//! What the tests share: a table memory that forgives nothing, and walkers that know nothing of the crate.
#![allow(dead_code, unreachable_pub)] // Each test binary uses a part of it.

pub mod long;
pub mod model;
pub mod short;
pub mod walkers;

use std::collections::BTreeMap;
use std::ops::Range;
use vcm::PhysicalAddress;
use vcm_pagetable::{TableError, TableMemory, Word};

/// One table: what the writer wrote, and what the walker sees of it.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Stored<W> {
    size: u64,
    written: Vec<W>,
    visible: Vec<W>,
}

/// A memory in which a table that was freed, or never allocated, cannot be touched; a word that was not published
/// is not seen by the walker; and the n-th allocation may fail.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pool<W> {
    tables: BTreeMap<u64, Stored<W>>,
    next: u64,
    /// How many more allocations succeed.
    pub budget: usize,
}

impl<W: Word> Pool<W> {
    /// Tables are allocated from `base` on, and no address is used twice.
    pub fn new(base: u64) -> Self {
        Self { tables: BTreeMap::new(), next: base, budget: usize::MAX }
    }

    /// How many tables are allocated.
    pub fn live(&self) -> usize {
        self.tables.len()
    }

    /// The addresses of all tables.
    pub fn addresses(&self) -> Vec<u64> {
        self.tables.keys().copied().collect()
    }

    /// The same, as far as tables go.
    pub fn same_tables(&self, other: &Self) -> bool {
        self.tables == other.tables
    }

    /// The word at a physical address, as the walker sees it.
    pub fn walker_reads(&self, address: u64) -> W {
        let (table, index) = self.place(address);
        table.visible[index]
    }

    /// Writes behind the crate's back.
    pub fn poke(&mut self, table: PhysicalAddress, index: usize, value: W) {
        self.write(table, index, value);
        self.publish(table, index..index + 1);
    }

    /// All tables with their words as the walker sees them.
    pub fn visible(&self) -> impl Iterator<Item = (u64, &[W])> {
        self.tables.iter().map(|(&address, table)| (address, &table.visible[..]))
    }

    fn place(&self, address: u64) -> (&Stored<W>, usize) {
        let (start, table) = self.tables.range(..=address).next_back().expect("a walk into no table");
        assert!(address - start < table.size, "a walk to {address:#x}, which is not in a table");
        (table, ((address - start) / W::BYTES) as usize)
    }

    fn table(&self, table: PhysicalAddress) -> &Stored<W> {
        self.tables.get(&table.raw()).unwrap_or_else(|| panic!("{table} is no table, or was freed"))
    }

    fn table_mut(&mut self, table: PhysicalAddress) -> &mut Stored<W> {
        self.tables.get_mut(&table.raw()).unwrap_or_else(|| panic!("{table} is no table, or was freed"))
    }
}

impl<W: Word> TableMemory<W> for Pool<W> {
    fn allocate(&mut self, size: u64, align: u64) -> Result<PhysicalAddress, TableError> {
        if self.budget == 0 {
            return Err(TableError::OutOfMemory { size });
        }
        self.budget -= 1;
        let address = self.next.next_multiple_of(align);
        self.next = address + size;
        let words = vec![W::ZERO; (size / W::BYTES) as usize];
        self.tables.insert(address, Stored { size, written: words.clone(), visible: words });
        Ok(PhysicalAddress::new(address))
    }

    fn free(&mut self, table: PhysicalAddress, size: u64) {
        let stored = self.tables.remove(&table.raw()).unwrap_or_else(|| panic!("{table} freed twice"));
        assert_eq!(stored.size, size, "{table} freed with another size");
    }

    fn read(&self, table: PhysicalAddress, index: usize) -> W {
        self.table(table).written[index]
    }

    fn write(&mut self, table: PhysicalAddress, index: usize, value: W) {
        self.table_mut(table).written[index] = value;
    }

    fn publish(&mut self, table: PhysicalAddress, words: Range<usize>) {
        let stored = self.table_mut(table);
        stored.visible[words.clone()].copy_from_slice(&stored.written[words]);
    }
}
