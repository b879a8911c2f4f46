//! As much of NVMe as makes DMA and message interrupts: the admin queue, and one command. NVM Express Base 1.4.

use std::time::{Duration, Instant};
use vcm_iommu::Registers;
use vcm_linux::memory::MemoryFile;
use vcm_linux::vfio::{BarMapping, Device};

pub const VERSION: u32 = 0x08;
const CONFIGURATION: u32 = 0x14;
const STATUS: u32 = 0x1c;
const ADMIN_ATTRIBUTES: u32 = 0x24;
const ADMIN_SUBMISSION: u32 = 0x28;
const ADMIN_COMPLETION: u32 = 0x30;
const SUBMISSION_TAIL: u32 = 0x1000;
const COMPLETION_HEAD: u32 = 0x1004;
const ENTRIES: u32 = 16;

/// Where things are in the memory: four pages.
const SUBMISSIONS: u64 = 0;
const COMPLETIONS: u64 = 0x1000;
pub const DATA: u64 = 0x2000;
pub const MEMORY: u64 = 0x4000;

pub struct Nvme {
    pub registers: BarMapping,
    memory: MemoryFile,
    at: u64,
    tail: u32,
    head: u32,
    phase: u32,
}

impl Nvme {
    /// Starts the controller, with `memory` mapped for it at `at`.
    pub fn new(device: &Device, memory: MemoryFile, at: u64) -> Self {
        let registers = device.map(0).unwrap();
        let mut nvme = Self { registers, memory, at, tail: 0, head: 0, phase: 1 };
        nvme.registers.write(CONFIGURATION, 0);
        nvme.ready(0);
        let size = ENTRIES - 1;
        nvme.registers.write(ADMIN_ATTRIBUTES, size << 16 | size);
        nvme.registers.write64(ADMIN_SUBMISSION, at + SUBMISSIONS);
        nvme.registers.write64(ADMIN_COMPLETION, at + COMPLETIONS);
        // Entries of 64 and 16 bytes; on.
        nvme.registers.write(CONFIGURATION, 4 << 20 | 6 << 16 | 1);
        nvme.ready(1);
        nvme
    }

    fn ready(&mut self, wanted: u32) {
        let start = Instant::now();
        while self.registers.read(STATUS) & 1 != wanted {
            assert!(start.elapsed() < Duration::from_secs(10), "the controller does not answer");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    pub fn memory(&self) -> &MemoryFile {
        &self.memory
    }

    /// Asks for the controller's description, to DATA.
    pub fn submit(&mut self) {
        let at = SUBMISSIONS + u64::from(self.tail) * 64;
        let mut command = [0_u8; 64];
        command[0] = 6;
        command[2] = self.tail as u8;
        command[24..32].copy_from_slice(&(self.at + DATA).to_le_bytes());
        command[40] = 1;
        self.memory.write(at, &command).unwrap();
        self.tail = (self.tail + 1) % ENTRIES;
        let tail = self.tail;
        self.registers.write(SUBMISSION_TAIL, tail);
    }

    /// Takes a completion, if there is one.
    pub fn complete(&mut self) -> bool {
        let at = COMPLETIONS + u64::from(self.head) * 16;
        let status: u32 = self.memory.load(at + 12).unwrap();
        if status >> 16 & 1 != self.phase {
            return false;
        }
        assert_eq!(status >> 17, 0, "the command failed");
        self.head = (self.head + 1) % ENTRIES;
        if self.head == 0 {
            self.phase ^= 1;
        }
        let head = self.head;
        self.registers.write(COMPLETION_HEAD, head);
        true
    }

    pub fn wait(&mut self) {
        let start = Instant::now();
        while !self.complete() {
            assert!(start.elapsed() < Duration::from_secs(10), "the command does not end");
            std::thread::sleep(Duration::from_micros(100));
        }
    }

    /// What the controller says its serial number is.
    pub fn serial(&self) -> String {
        let bytes = super::bytes(&self.memory, DATA + 4, 20);
        String::from_utf8_lossy(&bytes).trim().to_owned()
    }
}
