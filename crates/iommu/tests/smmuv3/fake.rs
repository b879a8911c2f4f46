//! A fake `SMMUv3`: registers, memory, and what tests let it do wrong. Written from Arm IHI 0070, not from the driver.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use vcm::{OutOfMemory, PhysicalAddress};
use vcm_iommu::smmuv3::{Config, Smmu};
use vcm_iommu::{ProbeError, Registers, SharedMemory, TableFormat, Tables, Translation};
use vcm_pagetable::aarch64::Granule;

/// IDR0 of a machine with both stages, 16-bit ASIDs and VMIDs, coherent, two-level tables, stalls as configured.
pub(crate) const BOTH_STAGES: u32 = 3 | 2 << 2 | 1 << 4 | 1 << 12 | 1 << 18 | 2 << 21 | 1 << 27;

/// How commands are consumed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pace {
    /// When they are published.
    AtOnce,
    /// One at each read of `CMDQ_CONS`.
    WhenAsked,
    /// Never.
    Stuck,
}

/// What a stream's configuration came to when it was fetched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fetched {
    Event(u8),
    Abort,
    Bypass,
    Translate { root1: Option<u64>, root2: Option<u64>, asid: u16, vmid: u16 },
}

/// A cached translation: VMID, ASID (none for stage 2 alone), page of 4 KiB.
pub(crate) type Cached = (u16, Option<u16>, u64);

pub(crate) struct Hardware {
    pub(crate) registers: BTreeMap<u32, u32>,
    pub(crate) words: BTreeMap<u64, u64>,
    next: u64,
    pub(crate) allocated: BTreeMap<u64, u64>,
    /// Allocations until one fails.
    pub(crate) allocations: Option<usize>,
    /// Register accesses until it falls silent, and what it reads then.
    pub(crate) lives: Option<usize>,
    pub(crate) silence: u32,
    pub(crate) accesses: usize,
    /// The state of what it answers at random, once it is out of its mind.
    pub(crate) madness: Option<u64>,
    pub(crate) pace: Pace,
    /// How many fetches of commands are aborted.
    pub(crate) fetch_aborts: u32,
    /// Illegal ones put in the place of the driver's commands, by how many commands come before.
    pub(crate) corrupt: BTreeSet<u64>,
    /// Opcodes of what was carried out.
    pub(crate) log: Vec<u8>,
    pub(crate) consumed: u64,
    pub(crate) configurations: BTreeMap<u32, Fetched>,
    pub(crate) tlb: BTreeSet<Cached>,
    /// Stream and tag of what waits, and what became of those that did.
    pub(crate) stalled: BTreeSet<(u32, u16)>,
    pub(crate) answered: Vec<(u32, u16, u8)>,
}

impl Hardware {
    pub(crate) fn new() -> Self {
        let mut registers = BTreeMap::new();
        registers.insert(0x00, BOTH_STAGES);
        // 16-bit stream ids, queues of up to 2^8.
        registers.insert(0x04, 16 | 8 << 16 | 8 << 21);
        registers.insert(0x0c, 1 << 10);
        // 44 bits, all granules, two stalls.
        registers.insert(0x14, 4 | 7 << 4 | 2 << 16);
        registers.insert(0x1c, 1);
        registers.insert(0x44, 0x1000);
        Self {
            registers,
            words: BTreeMap::new(),
            next: 0x8000_0000,
            allocated: BTreeMap::new(),
            allocations: None,
            lives: None,
            silence: u32::MAX,
            accesses: 0,
            madness: None,
            pace: Pace::AtOnce,
            fetch_aborts: 0,
            corrupt: BTreeSet::new(),
            log: Vec::new(),
            consumed: 0,
            configurations: BTreeMap::new(),
            tlb: BTreeSet::new(),
            stalled: BTreeSet::new(),
            answered: Vec::new(),
        }
    }

    pub(crate) fn get(&self, offset: u32) -> u32 {
        self.registers.get(&offset).copied().unwrap_or(0)
    }

    pub(crate) fn get64(&self, offset: u32) -> u64 {
        u64::from(self.get(offset)) | u64::from(self.get(offset + 4)) << 32
    }

    pub(crate) fn set(&mut self, offset: u32, value: u32) {
        self.registers.insert(offset, value);
    }

    pub(crate) fn word(&self, address: u64) -> u64 {
        assert_eq!(address % 8, 0);
        self.words.get(&address).copied().unwrap_or(0)
    }

    /// Power was cut and came back: registers and caches are as at the start, memory is as it was.
    pub(crate) fn reset(&mut self) {
        let fresh = Self::new().registers;
        let kept = [0x00, 0x04, 0x0c, 0x14].map(|id| (id, self.get(id)));
        self.registers = fresh;
        self.registers.extend(kept);
        self.configurations.clear();
        self.tlb.clear();
        self.stalled.clear();
        self.lives = None;
        self.madness = None;
        self.pace = Pace::AtOnce;
    }

    fn silent(&mut self) -> bool {
        self.accesses += 1;
        match &mut self.lives {
            None => false,
            Some(0) => true,
            Some(lives) => {
                *lives -= 1;
                false
            }
        }
    }

    fn write(&mut self, offset: u32, value: u32) {
        if self.silent() {
            return;
        }
        // The driver of mad hardware cannot know what is enabled.
        let enabled = if self.madness.is_some() { 0 } else { self.get(0x20) };
        match offset {
            0x20 => {
                self.set(0x20, value);
                self.set(0x24, value & 0x1f);
                self.run();
            }
            0x44 => {
                assert_ne!(value >> 31, 0, "GBPA without UPDATE changes nothing");
                self.set(0x44, value & 0x7fff_ffff);
            }
            0x50 => {
                self.set(0x50, value);
                self.set(0x54, value);
            }
            0x64 => {
                let pending = self.get(0x60) ^ self.get(0x64);
                let sane = self.madness.is_none();
                assert!(
                    (self.get(0x64) ^ value) & !pending == 0 || !sane,
                    "acknowledges what is not pending"
                );
                self.set(0x64, value);
                self.run();
            }
            0x98 => {
                self.set(0x98, value);
                self.run();
            }
            0x28 | 0x2c | 0x80..=0x8b => {
                assert_eq!(enabled & 1, 0, "{offset:#x} is written while translation is enabled");
                self.set(offset, value);
            }
            0x90..=0x97 | 0x9c => {
                assert_eq!(enabled & 8, 0, "{offset:#x} is written while commands are enabled");
                self.set(offset, value);
            }
            0xa0..=0xa7 | 0x1_00a8 => {
                assert_eq!(enabled & 4, 0, "{offset:#x} is written while events are enabled");
                self.set(offset, value);
            }
            0x1_00ac => self.set(offset, value),
            0x68..=0x74 | 0xb0..=0xbc => self.set(offset, value),
            _ => panic!("a write of {value:#x} to {offset:#x}"),
        }
    }

    fn read(&mut self, offset: u32) -> u32 {
        if self.silent() {
            return self.silence;
        }
        if let Some(state) = &mut self.madness {
            // xorshift64
            *state ^= *state << 13;
            *state ^= *state >> 7;
            *state ^= *state << 17;
            // Small numbers, and what is right, are among what it says.
            match *state >> 60 {
                0..4 => return *state as u32,
                4..8 => return *state as u32 & 0xf,
                8..10 => return *state as u32 & 0xf | 1 << 24,
                _ => {}
            }
        }
        if offset == 0x9c && self.pace == Pace::WhenAsked {
            self.consume();
        }
        self.get(offset)
    }

    /// Consumes what there is.
    pub(crate) fn run(&mut self) {
        if self.pace == Pace::AtOnce {
            while self.consume() {}
        }
    }

    /// Translates a transaction: what the caches hold counts, however old.
    pub(crate) fn access(&mut self, stream: u32, address: u64) -> Fetched {
        if self.get(0x20) & 1 == 0 {
            return if self.get(0x44) >> 20 & 1 == 1 { Fetched::Abort } else { Fetched::Bypass };
        }
        let fetched = match self.configurations.get(&stream) {
            Some(cached) => *cached,
            None => {
                let fetched = self.fetch(stream);
                self.configurations.insert(stream, fetched);
                fetched
            }
        };
        match fetched {
            Fetched::Event(kind) => self.record([u64::from(kind) | u64::from(stream) << 32, 0, 0, 0]),
            Fetched::Translate { root1, asid, vmid, .. } => {
                self.tlb.insert((vmid, root1.map(|_| asid), address >> 12));
            }
            Fetched::Abort | Fetched::Bypass => {}
        }
        fetched
    }

    /// Records an event, or that there is no room.
    pub(crate) fn record(&mut self, words: [u64; 4]) {
        let base = self.get64(0xa0);
        let log2 = base as u32 & 0x1f;
        let (producer, consumer) = (self.get(0x1_00a8), self.get(0x1_00ac));
        let mask = (2 << log2) - 1;
        if (producer ^ consumer) & mask == 1 << log2 {
            if (producer ^ consumer) >> 31 == 0 {
                self.set(0x1_00a8, producer ^ 1 << 31);
            }
            return;
        }
        let at = (base & 0x000f_ffff_ffff_ffe0) + 32 * u64::from(producer & ((1 << log2) - 1));
        for (index, word) in words.into_iter().enumerate() {
            self.words.insert(at + 8 * index as u64, word);
        }
        self.set(0x1_00a8, producer & 1 << 31 | producer.wrapping_add(1) & mask);
    }
}

#[derive(Clone)]
pub(crate) struct Window(pub(crate) Rc<RefCell<Hardware>>);

impl Registers for Window {
    fn read(&mut self, offset: u32) -> u32 {
        self.0.borrow_mut().read(offset)
    }

    fn write(&mut self, offset: u32, value: u32) {
        self.0.borrow_mut().write(offset, value);
    }
}

#[derive(Clone)]
pub(crate) struct Memory(pub(crate) Rc<RefCell<Hardware>>);

impl SharedMemory for Memory {
    fn allocate(&mut self, size: u64, align: u64) -> Result<PhysicalAddress, OutOfMemory> {
        let mut hardware = self.0.borrow_mut();
        match &mut hardware.allocations {
            Some(0) => return Err(OutOfMemory),
            Some(left) => *left -= 1,
            None => {}
        }
        assert!(align.is_power_of_two() && size > 0);
        let at = hardware.next.next_multiple_of(align);
        hardware.next = at + size;
        hardware.allocated.insert(at, size);
        Ok(PhysicalAddress::new(at))
    }

    fn free(&mut self, address: PhysicalAddress, size: u64) {
        let mut hardware = self.0.borrow_mut();
        assert_eq!(hardware.allocated.remove(&address.raw()), Some(size), "freed, but not allocated");
        hardware.words.retain(|&at, _| at < address.raw() || at >= address.raw() + size);
    }

    fn read32(&mut self, address: PhysicalAddress) -> u32 {
        let word = self.0.borrow().word(address.raw() & !7);
        (word >> (8 * (address.raw() & 4))) as u32
    }

    fn write32(&mut self, _: PhysicalAddress, _: u32) {
        panic!("all structures are made of 64-bit words");
    }

    fn read64(&mut self, address: PhysicalAddress) -> u64 {
        self.0.borrow().word(address.raw())
    }

    fn write64(&mut self, address: PhysicalAddress, value: u64) {
        let mut hardware = self.0.borrow_mut();
        let mut inside = hardware.allocated.range(..=address.raw());
        let (start, size) = inside.next_back().expect("a write before all that is allocated");
        assert!(address.raw() + 8 <= start + size, "a write to {address} is outside of what is allocated");
        hardware.words.insert(address.raw(), value);
    }
}

pub(crate) type Driver = Smmu<Window, Memory>;

/// A fake with its driver.
pub(crate) struct Bench {
    pub(crate) hardware: Rc<RefCell<Hardware>>,
    pub(crate) smmu: Driver,
}

/// Few polls, so that a test of silence is short; queues of 8.
pub(crate) fn config() -> Config {
    Config { command_queue: 3, event_queue: 3, polls: 100, ..Config::new("fake") }
}

pub(crate) fn try_bench(hardware: Hardware, config: Config) -> Result<Bench, ProbeError> {
    let hardware = Rc::new(RefCell::new(hardware));
    let smmu = Smmu::probe(Window(hardware.clone()), Memory(hardware.clone()), config)?;
    Ok(Bench { hardware, smmu })
}

pub(crate) fn bench() -> Bench {
    try_bench(Hardware::new(), config()).unwrap()
}

pub(crate) fn stage1(root: u64) -> Tables {
    let format = TableFormat::Aarch64Stage1 { granule: Granule::Size4K, input_bits: 39, output_bits: 44 };
    Tables { format, root: PhysicalAddress::new(root) }
}

pub(crate) fn stage2(root: u64) -> Tables {
    let format = TableFormat::Aarch64Stage2 {
        granule: Granule::Size4K,
        input_bits: 40,
        output_bits: 40,
        start_level: 1,
    };
    Tables { format, root: PhysicalAddress::new(root) }
}

pub(crate) const fn by(tables: Tables) -> Translation {
    Translation::Tables(tables)
}
