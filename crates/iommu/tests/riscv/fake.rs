//! A RISC-V IOMMU that reads its directory and queue from memory, caches all that it may for as long as it may, and
//! checks at every write what the specification leaves undefined otherwise.
//!
//! Page tables are not walked: a table is a root, and the tests say where its pages lead.

#[path = "fake/commands.rs"]
mod commands;
#[path = "fake/rig.rs"]
mod rig;
#[path = "fake/walk.rs"]
mod walk;

use crate::fake_rig::Power;
use crate::fake_rig::memory::Memory;
use std::cell::{RefCell, RefMut};
use std::collections::BTreeMap;
use std::rc::Rc;
use vcm::{OutOfMemory, PhysicalAddress};
use vcm_iommu::riscv::{Config, RiscvIommu};
use vcm_iommu::{Registers, SharedMemory, StreamId};

/// Version 1.0, Sv39 to Sv57 and their second stages, extended contexts, either interrupt, translation requests, 46
/// bits of physical address.
pub(crate) const CAPABILITIES: u64 = 0x10 | 0xe00 | 0xe_0000 | 1 << 22 | 2 << 28 | 1 << 31 | 46 << 32;

/// A command that the device does not know, though the specification does: opcode and function.
pub(crate) type Unknown = (u64, u64);

/// Tags of a cached translation: guest, process, page.
type Tag = (Option<u64>, u64, u64);

pub(crate) struct Device {
    pub(crate) memory: Memory,
    /// Where pages lead: by root and page number.
    pub(crate) tables: BTreeMap<(u64, u64), u64>,
    pub(crate) registers: BTreeMap<u32, u32>,
    /// Modes of the directory that it has.
    pub(crate) modes: Vec<u64>,
    /// How often a register reads busy after a write.
    pub(crate) slowness: u32,
    busy: BTreeMap<u32, u32>,
    /// Fetched, and not executed before the next fence.
    pending: Vec<(u64, u64)>,
    pub(crate) contexts: BTreeMap<u32, [u64; 4]>,
    pub(crate) translations: BTreeMap<Tag, u64>,
    pub(crate) unknown: Option<Unknown>,
    /// It takes no commands.
    pub(crate) deaf: bool,
    /// Fences' stores meet a memory fault.
    pub(crate) no_store: bool,
    pub(crate) power: Power,
    /// Commands that were executed.
    pub(crate) executed: Vec<(u64, u64)>,
}

const CSR_ERRORS: u32 = 0xf00;

impl Device {
    fn new(capabilities: u64) -> Self {
        let mut registers = BTreeMap::new();
        registers.insert(0x00, capabilities as u32);
        registers.insert(0x04, (capabilities >> 32) as u32);
        Self {
            memory: Memory::new(0x8000_0000),
            tables: BTreeMap::new(),
            registers,
            modes: vec![0, 1, 2, 3, 4],
            slowness: 0,
            busy: BTreeMap::new(),
            pending: vec![],
            contexts: BTreeMap::new(),
            translations: BTreeMap::new(),
            unknown: None,
            deaf: false,
            no_store: false,
            power: Power::on(),
            executed: vec![],
        }
    }

    pub(crate) fn get(&self, offset: u32) -> u32 {
        self.registers.get(&offset).copied().unwrap_or(0)
    }

    pub(crate) fn get64(&self, offset: u32) -> u64 {
        u64::from(self.get(offset + 4)) << 32 | u64::from(self.get(offset))
    }

    pub(crate) fn set(&mut self, offset: u32, value: u32) {
        self.registers.insert(offset, value);
    }

    /// Cuts the power: registers and caches are as after a reset, memory is as it was.
    pub(crate) fn reset(&mut self) {
        let capabilities = self.get64(0);
        self.registers.clear();
        self.set(0, capabilities as u32);
        self.set(4, (capabilities >> 32) as u32);
        self.contexts.clear();
        self.translations.clear();
        self.pending.clear();
        self.busy.clear();
    }

    fn extended(&self) -> bool {
        self.get64(0) & 1 << 22 != 0
    }

    fn read(&mut self, offset: u32) -> u32 {
        if !self.power.survives() {
            return self.power.silence;
        }
        let busy_bit = match offset {
            0x10 => 1 << 4,
            0x48 | 0x4c | 0x50 => 1 << 17,
            _ => 0,
        };
        match self.busy.get_mut(&offset) {
            Some(left) if *left > 0 => {
                *left -= 1;
                self.get(offset) | busy_bit
            }
            _ => self.get(offset),
        }
    }

    fn write(&mut self, offset: u32, value: u32) {
        if !self.power.survives() {
            return;
        }
        assert!(
            self.busy.get(&(offset & !4)).is_none_or(|left| *left == 0) || offset & !4 == 0x48,
            "{offset:#x} is busy"
        );
        let queues_on = (self.get(0x48) | self.get(0x4c)) & 1 << 16 != 0;
        match offset {
            // Read-only.
            0x00 | 0x04 | 0x20 | 0x34 | 0x268 | 0x26c => {}
            0x08 => {
                assert!(!queues_on && self.get(0x10) & 0xf == 0, "features are changed while in use");
                self.set(offset, value & 2);
            }
            // What acts on a write of 64 bits is in the low half.
            0x10 => self.write_ddtp(value),
            0x18 | 0x1c => {
                assert_eq!(self.get(0x48) & 1 << 16, 0, "cqb is written while the queue is on");
                self.set(offset, value);
            }
            0x28 | 0x2c => {
                assert_eq!(self.get(0x4c) & 1 << 16, 0, "fqb is written while the queue is on");
                self.set(offset, value);
            }
            0x24 => {
                let mask = (2 << (self.get(0x18) & 0x1f)) - 1;
                self.set(offset, value & mask);
                self.commands();
            }
            0x30 => {
                let mask = (2 << (self.get(0x28) & 0x1f)) - 1;
                self.set(offset, value & mask);
            }
            0x48 => self.write_csr(offset, value, 0x20),
            0x4c => self.write_csr(offset, value, 0x34),
            0x54 => self.set(offset, self.get(offset) & !value),
            0x260 => self.request(value),
            _ => self.set(offset, value),
        }
    }

    fn write_ddtp(&mut self, value: u32) {
        let old = self.get(0x10);
        let (from, to) = (u64::from(old & 0xf), u64::from(value & 0xf));
        if to == 0 {
            assert_eq!(old >> 10, value >> 10, "the root changes with the write of Off");
        } else {
            assert!(from < 2 || from == to, "from mode {from} to {to}");
        }
        // A mode that there is not leaves the old one.
        let mode = if self.modes.contains(&to) { to as u32 } else { old & 0xf };
        self.set(0x10, value & !0x3ff | mode);
        self.busy.insert(0x10, self.slowness);
    }

    fn write_csr(&mut self, offset: u32, value: u32, index: u32) {
        let old = self.get(offset);
        let was_on = old & 1 << 16 != 0;
        let on = value & 1 != 0;
        let mut new = value & 3 | old & CSR_ERRORS & !value | u32::from(on) << 16;
        if on && !was_on {
            new &= !CSR_ERRORS;
            self.set(index, 0);
        }
        if !on {
            self.pending.clear();
        }
        self.set(offset, new);
        self.busy.insert(offset, self.slowness);
        if offset == 0x48 {
            self.commands();
        }
    }

    fn store32(&mut self, at: u64, value: u32) {
        let shift = (at & 4) * 8;
        let word = self.memory.word(at & !7);
        self.memory.set_word(at & !7, word & !(0xffff_ffff << shift) | u64::from(value) << shift);
    }
}

/// The device's register window and its memory, for as many owners as want it.
#[derive(Clone)]
pub(crate) struct Fake(Rc<RefCell<Device>>);

/// Devices that the tests have.
pub(crate) const STREAMS: [StreamId; 3] = [StreamId(0x10), StreamId(0x11), StreamId(0x8000)];

impl Fake {
    pub(crate) fn new() -> Self {
        Self::with(CAPABILITIES)
    }

    pub(crate) fn with(capabilities: u64) -> Self {
        Self(Rc::new(RefCell::new(Device::new(capabilities))))
    }

    pub(crate) fn device(&self) -> RefMut<'_, Device> {
        self.0.borrow_mut()
    }

    pub(crate) fn probe(&self, config: Config) -> RiscvIommu<Self, Self> {
        RiscvIommu::probe(self.clone(), self.clone(), config).unwrap()
    }

    /// Where a device's read goes.
    pub(crate) fn read_of(&self, stream: StreamId, address: u64) -> Result<u64, u64> {
        self.device().access(stream.0, address, false)
    }
}

pub(crate) fn config() -> Config {
    Config { polls: 20, ..Config::new("test") }
}

impl Registers for Fake {
    fn read(&mut self, offset: u32) -> u32 {
        self.device().read(offset)
    }

    fn write(&mut self, offset: u32, value: u32) {
        self.device().write(offset, value);
    }
}

impl SharedMemory for Fake {
    fn allocate(&mut self, size: u64, align: u64) -> Result<PhysicalAddress, OutOfMemory> {
        self.device().memory.allocate(size, align)
    }

    fn free(&mut self, address: PhysicalAddress, size: u64) {
        self.device().memory.free(address, size);
    }

    fn read32(&mut self, address: PhysicalAddress) -> u32 {
        (self.device().memory.word(address.raw() & !7) >> ((address.raw() & 4) * 8)) as u32
    }

    fn write32(&mut self, address: PhysicalAddress, value: u32) {
        self.device().store32(address.raw(), value);
    }

    fn read64(&mut self, address: PhysicalAddress) -> u64 {
        self.device().memory.word(address.raw())
    }

    fn write64(&mut self, address: PhysicalAddress, value: u64) {
        let mut device = self.device();
        let at = address.raw();
        for stream in STREAMS {
            // The device may read a context's words at any moment and in any order.
            if let Ok(place) = device.place(stream.0)
                && (place + 8..place + 64).contains(&at)
            {
                assert_eq!(device.memory.word(place) & 1, 0, "a context is changed while it is valid");
            }
        }
        device.memory.set_word(at, value);
    }
}
