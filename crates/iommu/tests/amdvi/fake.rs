//! An AMD IOMMU that reads its table and buffers from memory, caches all that it may for as long as it may, and
//! checks at every write what must hold.
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
use vcm_iommu::amdvi::{AmdVi, Config};
use vcm_iommu::{Registers, SharedMemory, StreamId};

/// Invalidate-all, six levels.
pub(crate) const FEATURES: u64 = 1 << 6 | 2 << 10;

/// Devices that the tests have.
pub(crate) const STREAMS: [StreamId; 3] = [StreamId(0x10), StreamId(0x11), StreamId(0x3f)];

const DEVICE_TABLE: u32 = 0;
const COMMAND_BASE: u32 = 8;
const EVENT_BASE: u32 = 0x10;
const CONTROL: u32 = 0x18;
const EXTENDED: u32 = 0x30;
const COMMAND_HEAD: u32 = 0x2000;
const COMMAND_TAIL: u32 = 0x2008;
const EVENT_HEAD: u32 = 0x2010;
const EVENT_TAIL: u32 = 0x2018;
const STATUS: u32 = 0x2020;

const ADDRESS: u64 = 0xf_ffff_ffff_f000;
const OPEN: u64 = 3 << 61;

/// Why an access was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refused {
    NotPresent,
    Permission,
}

/// Where a page leads, and for what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leads {
    pub(crate) to: u64,
    /// Read and write, as bits 0 and 1.
    pub(crate) access: u64,
}

pub(crate) struct Device {
    pub(crate) memory: Memory,
    /// Where pages lead: by root and page number.
    pub(crate) tables: BTreeMap<(u64, u64), Leads>,
    pub(crate) registers: BTreeMap<u32, u64>,
    /// Fetched, and not executed before the next wait.
    pending: Vec<(u64, u64)>,
    pub(crate) entries: BTreeMap<u32, (u64, u64)>,
    /// By domain, device and page: some implementations find them without the device's entry.
    pub(crate) translations: BTreeMap<(u64, u32, u64), Leads>,
    /// An opcode that it does not know, though the specification does.
    pub(crate) unknown: Option<u64>,
    /// It takes no commands.
    pub(crate) deaf: bool,
    /// Waits do not store.
    pub(crate) no_store: bool,
    /// How often an event is read before it is there.
    pub(crate) late: u32,
    /// An event that is not there yet.
    coming: Option<(u64, u64, u32)>,
    pub(crate) power: Power,
    /// How often the driver has read memory.
    pub(crate) memory_reads: usize,
    /// Commands that were executed.
    pub(crate) executed: Vec<(u64, u64)>,
}

impl Device {
    fn new(features: u64) -> Self {
        Self {
            memory: Memory::new(0x100_0000),
            tables: BTreeMap::new(),
            registers: BTreeMap::from([(EXTENDED, features)]),
            pending: vec![],
            entries: BTreeMap::new(),
            translations: BTreeMap::new(),
            unknown: None,
            deaf: false,
            no_store: false,
            late: 0,
            coming: None,
            power: Power::on(),
            memory_reads: 0,
            executed: vec![],
        }
    }

    pub(crate) fn get(&self, register: u32) -> u64 {
        self.registers.get(&register).copied().unwrap_or(0)
    }

    pub(crate) fn set(&mut self, register: u32, value: u64) {
        self.registers.insert(register, value);
    }

    /// Cuts the power: registers and caches are as after a reset, memory is as it was.
    pub(crate) fn reset(&mut self) {
        self.registers = BTreeMap::from([(EXTENDED, self.get(EXTENDED))]);
        self.entries.clear();
        self.translations.clear();
        self.pending.clear();
    }

    pub(crate) fn is_on(&self) -> bool {
        self.get(CONTROL) & 1 != 0
    }

    fn write(&mut self, offset: u32, half: u32) {
        if !self.power.survives() {
            return;
        }
        let register = offset & !7;
        let shift = (offset & 4) * 8;
        let old = self.get(register);
        let new = old & !(0xffff_ffff << shift) | u64::from(half) << shift;
        match register {
            EXTENDED => {}
            STATUS => self.set(STATUS, old & !(u64::from(half) << shift & 7)),
            CONTROL => self.write_control(old, new),
            DEVICE_TABLE => {
                assert!(!self.is_on() || old == new, "the device table is moved while it is in use");
                self.set(register, new);
            }
            COMMAND_BASE | EVENT_BASE => {
                let (run, head) =
                    if register == COMMAND_BASE { (1 << 12, COMMAND_HEAD) } else { (1 << 2, EVENT_HEAD) };
                assert_eq!(self.get(CONTROL) & run, 0, "a base is changed while it is in use");
                self.set(register, new);
                self.set(head, 0);
                self.set(head + 8, 0);
            }
            COMMAND_HEAD | EVENT_TAIL => {
                let run = if register == COMMAND_HEAD { 1 << 12 } else { 1 << 2 };
                assert_eq!(self.get(CONTROL) & run, 0, "the device's pointer is changed while it is in use");
                self.set(register, new);
            }
            COMMAND_TAIL => {
                self.set(register, new);
                self.commands();
            }
            _ => self.set(register, new),
        }
    }

    fn write_control(&mut self, old: u64, new: u64) {
        self.set(CONTROL, new);
        let started = new & !old;
        let mut status = self.get(STATUS);
        for (enable, run) in [(1 << 12, 1 << 4), (1 << 2, 1 << 3)] {
            if new & enable == 0 {
                status &= !run;
            } else if started & enable != 0 {
                status |= run;
            }
        }
        // Logging starts only without overflow.
        if status & 1 != 0 {
            status &= !(1 << 3);
        }
        self.set(STATUS, status);
        if new & 1 << 12 == 0 {
            self.pending.clear();
        }
        self.commands();
    }
}

/// The device's register window and its memory, for as many owners as want it.
#[derive(Clone)]
pub(crate) struct Fake(Rc<RefCell<Device>>);

impl Fake {
    pub(crate) fn new() -> Self {
        Self::with(FEATURES)
    }

    pub(crate) fn with(features: u64) -> Self {
        Self(Rc::new(RefCell::new(Device::new(features))))
    }

    pub(crate) fn device(&self) -> RefMut<'_, Device> {
        self.0.borrow_mut()
    }

    pub(crate) fn probe(&self, config: Config) -> AmdVi<Self, Self> {
        AmdVi::probe(self.clone(), self.clone(), config).unwrap()
    }

    /// Where a device's read goes.
    pub(crate) fn read_of(&self, stream: StreamId, address: u64) -> Result<u64, Refused> {
        self.device().access(stream.0, address, false)
    }
}

pub(crate) fn config() -> Config {
    Config { polls: 20, last_device: 0x7f, commands_log2: 8, events_log2: 8, ..Config::new("test") }
}

/// By halves, as a bus without accesses of 64 bits has it.
impl Registers for Fake {
    fn read(&mut self, offset: u32) -> u32 {
        let mut device = self.device();
        if !device.power.survives() {
            return device.power.silence;
        }
        (device.get(offset & !7) >> ((offset & 4) * 8)) as u32
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
        panic!("{address} is read by 32 bits")
    }

    fn write32(&mut self, address: PhysicalAddress, _: u32) {
        panic!("{address} is written by 32 bits")
    }

    fn read64(&mut self, address: PhysicalAddress) -> u64 {
        let mut device = self.device();
        device.memory_reads += 1;
        if let Some((at, first, left)) = device.coming
            && at == address.raw()
        {
            device.coming = (left > 1).then_some((at, first, left - 1));
            if left == 1 {
                device.memory.set_word(at, first);
            }
            return 0;
        }
        device.memory.word(address.raw())
    }

    fn write64(&mut self, address: PhysicalAddress, value: u64) {
        let mut device = self.device();
        let (at, table) = (address.raw(), device.get(DEVICE_TABLE) & ADDRESS);
        for stream in STREAMS {
            // The device may read an entry's words at any moment.
            let entry = table + u64::from(stream.0) * 32;
            if device.is_on() && (entry..entry + 32).contains(&at) {
                let now = device.memory.word(entry);
                if at == entry {
                    assert_eq!(value & 3, 3, "everything would pass");
                    assert!(now & OPEN == 0 || value & OPEN == 0 || now == value, "from one way to another");
                } else {
                    assert!(
                        now & OPEN == 0 || device.memory.word(at) == value,
                        "an entry is changed while it is open"
                    );
                }
            }
        }
        device.memory.set_word(at, value);
    }
}
