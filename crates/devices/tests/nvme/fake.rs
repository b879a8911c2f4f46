//! A controller that is made up: it has its queues in memory and reads them from there, as the NVM Express Base
//! Specification 1.4 has them, and misbehaves when told to.
#![allow(unreachable_pub)] // It is a module of a test.

mod commands;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};
use vcm::{Iova, OutOfMemory, PhysicalAddress};
use vcm_devices::DmaPage;
use vcm_iommu::{Registers, SharedMemory};

/// How far device addresses are from those of memory.
const DISTANCE: u64 = 0x7_0000_0000;
/// The blocks of the disk, of 512 bytes.
pub const BLOCKS: u64 = 1000;

/// What it does that it must not.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Misbehaviour {
    #[default]
    None,
    LargePages,
    ShortQueues,
    FewQueues,
    NoSubmissionQueue,
    BlocksOf(u8),
    NeverReady,
    NeverStops,
    Gone,
    FatalAtStart,
    FatalLater,
    NoQueues,
    /// Refuses reads and writes at a block.
    Status {
        at_block: u64,
        status: u16,
    },
    Silent,
    WrongCommand,
    WrongQueue,
    WrongHead,
    Twice,
    /// Completions of any kind.
    Noise(u64),
}

#[derive(Default)]
struct Queue {
    /// The vector of its interrupts.
    vector: Option<u16>,
    submission: u64,
    completion: u64,
    entries: [u64; 2],
    /// Read up to, written up to, completed up to.
    head: u64,
    tail: u64,
    next: u64,
    phase: u64,
}

#[derive(Default)]
struct State {
    misbehaviour: Misbehaviour,
    registers: BTreeMap<u32, u32>,
    queues: BTreeMap<u16, Queue>,
    /// By address, in words of 8 bytes.
    memory: BTreeMap<u64, u64>,
    /// What was given out.
    given: Vec<Range<u64>>,
    next_free: u64,
    disk: Vec<u8>,
    outside: u32,
    enabled: bool,
    page_len: u64,
    noise: u64,
    /// How often each vector was signalled.
    messages: BTreeMap<u16, u32>,
    doorbells: u32,
}

/// The controller with its memory; a clone is the same.
#[derive(Clone, Default)]
pub struct Fake(Arc<Mutex<State>>);

impl std::fmt::Debug for Fake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fake")
    }
}

/// Memory that was given out.
pub struct Buffer {
    pub device: Iova,
    pub memory: u64,
}

impl Fake {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub fn that(misbehaviour: Misbehaviour) -> Self {
        let fake = Self::default();
        fake.misbehave(misbehaviour);
        fake
    }

    pub fn misbehave(&self, misbehaviour: Misbehaviour) {
        self.state().misbehaviour = misbehaviour;
    }

    /// Does what was asked while it was silent.
    pub fn catch_up(&self) {
        self.state().work();
    }

    /// How often the controller reached for what it was not given.
    pub fn accesses_outside(&self) -> u32 {
        self.state().outside
    }

    /// How often a vector was signalled since it was last asked.
    pub fn take_messages(&self, vector: u16) -> u32 {
        self.state().messages.remove(&vector).unwrap_or(0)
    }

    /// How often doorbells were rung since it was last asked.
    pub fn take_doorbells(&self) -> u32 {
        std::mem::take(&mut self.state().doorbells)
    }

    pub fn buffer(&self, len: u64) -> Buffer {
        self.aligned(len, 0x1000)
    }

    fn aligned(&self, len: u64, align: u64) -> Buffer {
        let mut state = self.state();
        let memory = (0x10_0000 + state.next_free).next_multiple_of(align);
        // A gap behind each, so that whoever goes on too far is seen.
        state.next_free = memory - 0x10_0000 + len.next_multiple_of(0x1000) + 0x1000;
        state.given.push(memory..memory + len);
        Buffer { device: Iova::new(memory + DISTANCE), memory }
    }

    pub fn page(&self) -> DmaPage {
        self.page_of(0x1000)
    }

    pub fn page_of(&self, page_len: u64) -> DmaPage {
        let Buffer { device, memory } = self.aligned(page_len, page_len);
        DmaPage { device, memory: PhysicalAddress::new(memory) }
    }

    pub fn put(&self, memory: u64, bytes: &[u8]) {
        self.state().put(memory, bytes);
    }

    pub fn get(&self, memory: u64, len: usize) -> Vec<u8> {
        let state = self.state();
        (memory..).take(len).map(|at| state.byte(at)).collect()
    }

    pub fn disk(&self, block: u64, len: usize) -> Vec<u8> {
        self.state().disk[512 * block as usize..][..len].to_vec()
    }
}

impl State {
    fn word(&self, at: u64) -> u64 {
        self.memory.get(&(at & !7)).copied().unwrap_or(0)
    }

    fn byte(&self, at: u64) -> u8 {
        (self.word(at) >> (8 * (at % 8))) as u8
    }

    fn put(&mut self, memory: u64, bytes: &[u8]) {
        for (&byte, at) in bytes.iter().zip(memory..) {
            let word = self.memory.entry(at & !7).or_default();
            let shift = 8 * (at % 8);
            *word = *word & !(0xff << shift) | u64::from(byte) << shift;
        }
    }

    /// Where in memory a device address leads.
    fn reach(&mut self, device: u64) -> u64 {
        let memory = device.wrapping_sub(DISTANCE);
        if !self.given.iter().any(|range| range.contains(&memory)) {
            self.outside += 1;
        }
        memory
    }

    fn device_word(&mut self, device: u64) -> u64 {
        let memory = self.reach(device);
        self.word(memory)
    }

    fn set_device_word(&mut self, device: u64, value: u64) {
        let memory = self.reach(device);
        self.memory.insert(memory, value);
    }

    fn random(&mut self) -> u64 {
        self.noise = self.noise.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        self.noise ^ self.noise >> 33
    }

    fn register(&self, offset: u32) -> u32 {
        self.registers.get(&offset).copied().unwrap_or(0)
    }

    fn wide(&self, offset: u32) -> u64 {
        u64::from(self.register(offset + 4)) << 32 | u64::from(self.register(offset))
    }

    fn enable(&mut self) {
        self.enabled = true;
        self.disk.resize(512 * BLOCKS as usize, 0);
        let sizes = u64::from(self.register(0x24));
        let entries = [(sizes & 0xfff) + 1, (sizes >> 16 & 0xfff) + 1];
        let (submission, completion) = (self.wide(0x28), self.wide(0x30));
        self.queues =
            BTreeMap::from([(0, Queue { submission, completion, entries, phase: 1, ..Queue::default() })]);
        self.page_len = 0x1000 << (self.register(0x14) >> 7 & 0xf);
    }
}

impl Registers for Fake {
    fn read(&mut self, offset: u32) -> u32 {
        let state = self.state();
        match (offset, state.misbehaviour) {
            (_, Misbehaviour::Gone) => u32::MAX,
            (0x00, Misbehaviour::ShortQueues) => 3,
            // 64 entries.
            (0x00, _) => 63,
            // Doorbells 4 << 1 bytes apart; pages of 4 KiB to 64, or of 8 KiB.
            (0x04, Misbehaviour::LargePages) => 1 | 1 << 16 | 1 << 20,
            (0x04, _) => 1 | 4 << 20,
            (0x1c, Misbehaviour::NeverReady) => 0,
            (0x1c, Misbehaviour::NeverStops) => 1,
            (0x1c, Misbehaviour::FatalAtStart) => 2,
            (0x1c, Misbehaviour::FatalLater) => 3,
            (0x1c, _) => state.enabled.into(),
            _ => state.register(offset),
        }
    }

    fn write(&mut self, offset: u32, value: u32) {
        let mut state = self.state();
        if offset >= 0x1000 {
            state.doorbells += 1;
            let (number, completion) = ((offset - 0x1000) / 16, (offset - 0x1000) % 16 == 8);
            let Some(queue) = state.queues.get_mut(&(number as u16)) else { return };
            assert!(u64::from(value) < queue.entries[usize::from(completion)]);
            if !completion {
                queue.tail = value.into();
            }
            if state.misbehaviour != Misbehaviour::FatalLater {
                state.work();
            }
            return;
        }
        state.registers.insert(offset, value);
        if offset == 0x14 {
            if value & 1 == 0 {
                state.enabled = false;
                state.queues.clear();
            } else if state.misbehaviour != Misbehaviour::FatalAtStart {
                assert_eq!(value & !(0xf << 7), 1 | 6 << 16 | 4 << 20);
                state.enable();
            }
        }
    }
}

impl SharedMemory for Fake {
    fn allocate(&mut self, _: u64, _: u64) -> Result<PhysicalAddress, OutOfMemory> {
        Err(OutOfMemory)
    }

    fn free(&mut self, _: PhysicalAddress, _: u64) {}

    fn read32(&mut self, address: PhysicalAddress) -> u32 {
        (self.state().word(address.raw()) >> (8 * (address.raw() & 4))) as u32
    }

    fn write32(&mut self, address: PhysicalAddress, value: u32) {
        self.put(address.raw(), &value.to_le_bytes());
    }

    fn read64(&mut self, address: PhysicalAddress) -> u64 {
        self.state().word(address.raw())
    }

    fn write64(&mut self, address: PhysicalAddress, value: u64) {
        self.state().memory.insert(address.raw(), value);
    }
}
