//! QEMU's educational device: docs/specs/edu.rst and hw/misc/edu.c of QEMU.

use std::time::{Duration, Instant};
use vcm_iommu::Registers;
use vcm_linux::vfio::{BarMapping, Device};

const IDENTIFICATION: u32 = 0x00;
pub const LIVENESS: u32 = 0x04;
const INTERRUPT_STATUS: u32 = 0x24;
const INTERRUPT_RAISE: u32 = 0x60;
const INTERRUPT_ACKNOWLEDGE: u32 = 0x64;
const SOURCE: u32 = 0x80;
const DESTINATION: u32 = 0x88;
const COUNT: u32 = 0x90;
const COMMAND: u32 = 0x98;
const RUN: u64 = 1;
const TO_MEMORY: u64 = 1 << 1;
const BUFFER: u64 = 0x4_0000;

pub struct Edu {
    pub registers: BarMapping,
}

impl Edu {
    pub fn new(device: &Device) -> Self {
        let mut registers = device.map(0).unwrap();
        assert_eq!(registers.read(IDENTIFICATION) & 0xff, 0xed);
        Self { registers }
    }

    /// From memory to its buffer.
    pub fn load(&mut self, memory: u64, offset: u64, len: u64) {
        self.run(memory, BUFFER + offset, len, RUN);
    }

    /// From its buffer to memory.
    pub fn store(&mut self, memory: u64, offset: u64, len: u64) {
        self.run(BUFFER + offset, memory, len, RUN | TO_MEMORY);
    }

    fn run(&mut self, source: u64, destination: u64, len: u64, command: u64) {
        self.registers.write64(SOURCE, source);
        self.registers.write64(DESTINATION, destination);
        self.registers.write64(COUNT, len);
        self.registers.write64(COMMAND, command);
        let start = Instant::now();
        while self.registers.read64(COMMAND) & RUN != 0 {
            assert!(start.elapsed() < Duration::from_secs(10), "the DMA does not end");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    pub fn raise(&mut self, bits: u32) {
        self.registers.write(INTERRUPT_RAISE, bits);
    }

    pub fn acknowledge(&mut self) {
        let raised = self.raised();
        self.registers.write(INTERRUPT_ACKNOWLEDGE, raised);
    }

    pub fn raised(&mut self) -> u32 {
        self.registers.read(INTERRUPT_STATUS)
    }
}
