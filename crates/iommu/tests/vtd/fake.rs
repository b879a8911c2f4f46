//! A machine: memory, and a fake unit in it.

use crate::device::Unit;
use std::cell::{RefCell, RefMut};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use vcm::{OutOfMemory, PhysicalAddress};
use vcm_iommu::vtd::{Config, Mode, Vtd};
use vcm_iommu::{Registers, SharedMemory, StreamId, TableFormat, Tables, Translation};

pub(crate) const GONE: u32 = u32::MAX;

/// Memory: words that were written, and blocks that were allocated.
#[derive(Default, Debug)]
pub(crate) struct Memory {
    words: BTreeMap<u64, u64>,
    blocks: BTreeMap<u64, u64>,
    next: u64,
    /// Allocations until there is no more.
    pub(crate) allocations: Option<usize>,
}

impl Memory {
    pub(crate) fn word(&self, at: u64) -> u64 {
        assert_eq!(at % 8, 0, "{at:#x}");
        self.words.get(&at).copied().unwrap_or(0)
    }

    pub(crate) fn set(&mut self, at: u64, value: u64) {
        assert_eq!(at % 8, 0, "{at:#x}");
        self.words.insert(at, value);
    }

    pub(crate) fn allocate(&mut self, size: u64, align: u64) -> Option<u64> {
        match &mut self.allocations {
            Some(0) => return None,
            Some(left) => *left -= 1,
            None => {}
        }
        let at = self.next.max(0x10_0000).next_multiple_of(align);
        self.next = at + size;
        self.blocks.insert(at, size);
        Some(at)
    }

    /// How many blocks are allocated.
    pub(crate) fn live(&self) -> usize {
        self.blocks.len()
    }
}

#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) memory: Memory,
    pub(crate) unit: Unit,
    /// Devices that work all the time, at every moment between two writes of the driver: who, and at which address.
    pub(crate) traffic: Vec<(u16, u64)>,
    /// What they have reached.
    pub(crate) reached: BTreeSet<u64>,
}

impl Machine {
    /// Every device that works does an access.
    fn work(&mut self) {
        // Nothing there, and nothing else: no entry is ever half written.
        let is_absence = |reason: u64| matches!(reason, 0x01 | 0x02 | 0x39 | 0x41);
        for &(sid, address) in &self.traffic {
            if let Err(reason) = self.unit.look(&self.memory, sid) {
                assert!(is_absence(reason), "{reason:#x}");
            }
            match self.unit.translate(&self.memory, sid, address, true) {
                Ok(physical) => {
                    self.reached.insert(physical);
                }
                Err(reason) => assert!(is_absence(reason), "{reason:#x}"),
            }
        }
    }
}

/// The machine as its owners share it.
#[derive(Clone, Debug)]
pub(crate) struct Fake(Rc<RefCell<Machine>>);

pub(crate) type Driver = Vtd<Fake, Fake>;

impl Fake {
    pub(crate) fn new(cap: u64, ecap: u64) -> Self {
        Self(Rc::new(RefCell::new(Machine {
            memory: Memory::default(),
            unit: Unit::new(cap, ecap),
            traffic: Vec::new(),
            reached: BTreeSet::new(),
        })))
    }

    pub(crate) fn get(&self) -> RefMut<'_, Machine> {
        self.0.borrow_mut()
    }

    pub(crate) fn probe(&self, config: Config) -> Driver {
        Vtd::probe(self.clone(), self.clone(), config).expect("the fake unit is a good one")
    }

    /// What a device at `sid` reaches at `address`; `None` is a fault.
    pub(crate) fn read(&self, sid: u16, address: u64) -> Option<u64> {
        let machine = &mut *self.get();
        machine.unit.access(&mut machine.memory, sid, address, false)
    }

    pub(crate) fn write(&self, sid: u16, address: u64) -> Option<u64> {
        let machine = &mut *self.get();
        machine.unit.access(&mut machine.memory, sid, address, true)
    }

    /// The vector and the destination of an interrupt that a device raises.
    pub(crate) fn interrupt(&self, sid: u16, address: u64, data: u32) -> Option<(u8, u32)> {
        let machine = &mut *self.get();
        machine.unit.interrupt(&machine.memory, sid, address, data)
    }

    /// A table of `levels`.
    pub(crate) fn table(&self) -> u64 {
        self.get().memory.allocate(4096, 4096).expect("there is memory")
    }

    /// Maps a page of 4 KiB at `at` to `to`.
    pub(crate) fn map(&self, root: u64, levels: u32, at: u64, to: u64, bits: u64) {
        let mut table = root;
        for level in (1..levels).rev() {
            let entry = table + 8 * (at >> (12 + 9 * level) & 0x1ff);
            let word = self.get().memory.word(entry);
            table = if word & 1 == 0 {
                let next = self.table();
                self.get().memory.set(entry, next | 7);
                next
            } else {
                word & !0xfff
            };
        }
        self.get().memory.set(table + 8 * (at >> 12 & 0x1ff), to | bits);
    }

    /// Removes the entry of 4 KiB at `at`; with `tables`, the pointer to its table instead.
    pub(crate) fn unmap(&self, root: u64, levels: u32, at: u64, until: u32) {
        let mut table = root;
        for level in (until..levels).rev() {
            let entry = table + 8 * (at >> (12 + 9 * level) & 0x1ff);
            if level == until {
                self.get().memory.set(entry, 0);
                return;
            }
            table = self.get().memory.word(entry) & !0xfff;
        }
    }
}

impl Registers for Fake {
    fn read(&mut self, offset: u32) -> u32 {
        self.get().unit.read(offset)
    }

    fn write(&mut self, offset: u32, value: u32) {
        let machine = &mut *self.get();
        machine.unit.write(&mut machine.memory, offset, value);
        machine.work();
    }
}

impl SharedMemory for Fake {
    fn allocate(&mut self, size: u64, align: u64) -> Result<PhysicalAddress, OutOfMemory> {
        self.get().memory.allocate(size, align).map(PhysicalAddress::new).ok_or(OutOfMemory)
    }

    fn free(&mut self, address: PhysicalAddress, size: u64) {
        let mut machine = self.get();
        assert_eq!(machine.memory.blocks.remove(&address.raw()), Some(size), "{address:?} is not allocated");
        machine.memory.words.retain(|at, _| !(address.raw()..address.raw() + size).contains(at));
    }

    fn read32(&mut self, address: PhysicalAddress) -> u32 {
        let word = self.get().memory.word(address.raw() & !7);
        (word >> (8 * (address.raw() & 4))) as u32
    }

    fn write32(&mut self, address: PhysicalAddress, value: u32) {
        let shift = 8 * (address.raw() & 4);
        let machine = &mut *self.get();
        let word = machine.memory.word(address.raw() & !7);
        machine.memory.set(address.raw() & !7, word & !(0xffff_ffff << shift) | u64::from(value) << shift);
    }

    fn read64(&mut self, address: PhysicalAddress) -> u64 {
        self.get().memory.word(address.raw())
    }

    fn write64(&mut self, address: PhysicalAddress, value: u64) {
        let machine = &mut *self.get();
        machine.memory.set(address.raw(), value);
        machine.work();
    }
}

/// Domain ids of 8 bits, 3 to 5 levels, MGAW 57, 2M and 1G pages, page-selective invalidation of up to 2^9 pages,
/// drains, first-stage 1G pages and five levels; four fault records at 0x220.
pub(crate) const CAP: u64 = 2
    | 0b1110 << 8
    | 56 << 16
    | 0x22 << 24
    | 3 << 34
    | 1 << 39
    | 3 << 40
    | 9 << 48
    | 3 << 54
    | 1 << 56
    | 1 << 60;
/// Queue, interrupt remapping with wide destinations, pass-through, `IVA_REG` at 0xf0, masks of up to 2^4 interrupts.
pub(crate) const ECAP: u64 = 1 << 1 | 1 << 3 | 1 << 4 | 1 << 6 | 0xf << 8 | 4 << 20;
/// Scalable mode with both stages and walks that snoop.
pub(crate) const SCALABLE: u64 = ECAP | 1 << 43 | 1 << 46 | 1 << 47 | 1 << 48;
/// No queue: registers only, and so no interrupt remapping.
pub(crate) const NO_QUEUE: u64 = 1 << 6 | 0xf << 8;

/// Few polls, for units that do not answer.
pub(crate) fn config(mode: Mode) -> Config {
    Config::new("dmar0").with_mode(mode).with_polls(20)
}

pub(crate) fn second_stage(root: u64, levels: u8) -> Translation {
    let format = TableFormat::VtdSecondStage { levels };
    Translation::Tables(Tables { format, root: PhysicalAddress::new(root) })
}

pub(crate) fn first_stage(root: u64, levels: u8) -> Translation {
    let format = TableFormat::VtdFirstStage { levels };
    Translation::Tables(Tables { format, root: PhysicalAddress::new(root) })
}

pub(crate) const DEVICE: StreamId = StreamId(0x10);
pub(crate) const OTHER: StreamId = StreamId(0x3f9);
pub(crate) const READ_WRITE: u64 = 3;
/// A first-stage page: present, writable, user.
pub(crate) const USER_PAGE: u64 = 7;
