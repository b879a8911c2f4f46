//! A GIC, and short ways to its registers.
#![allow(dead_code, unused_imports, reason = "not every test file uses every helper")]

pub(crate) use vcm_soc::hardware::Level::{self, High, Low};
pub(crate) use vcm_soc::hardware::gic::registers::{
    cpu_interface as gicc, distributor as gicd, virtual_interface as gich,
};
pub(crate) use vcm_soc::hardware::gic::{Config, Deactivation, Finding, FindingKind, Frame, Gic, Width};

pub(crate) const SPURIOUS: u32 = 1023;

/// Fields of a list register, from the manual's figure.
pub(crate) const HW: u32 = 1 << 31;
pub(crate) const GROUP_1: u32 = 1 << 30;
pub(crate) const ACTIVE: u32 = 1 << 29;
pub(crate) const PENDING: u32 = 1 << 28;
pub(crate) const EOI: u32 = 1 << 19;

pub(crate) fn priority(value: u32) -> u32 {
    (value >> 3) << 23
}

pub(crate) fn physical(id: u32) -> u32 {
    HW | id << 10
}

pub(crate) fn gic(cpus: usize, interrupts: u32) -> Gic {
    Gic::new(Config { cpus, interrupts, list_registers: 4 }).unwrap()
}

/// A GIC that forwards and signals everything, with `EOImode` on the physical side.
pub(crate) fn running(cpus: usize, interrupts: u32) -> Gic {
    let mut gic = gic(cpus, interrupts);
    gic.dist(0, gicd::CTLR, 3);
    for cpu in 0..cpus {
        gic.cpu(cpu, gicc::CTLR, 3);
        gic.cpu(cpu, gicc::PMR, 0xf8);
        gic.hyp(cpu, gich::HCR, 1);
        gic.hyp(cpu, gich::VMCR, 0x1f << 27 | 3);
    }
    gic
}

pub(crate) trait Short {
    fn dist(&mut self, cpu: usize, offset: u32, value: u32);
    fn dist_read(&mut self, cpu: usize, offset: u32) -> u32;
    fn byte(&mut self, cpu: usize, offset: u32, value: u8);
    fn cpu(&mut self, cpu: usize, offset: u32, value: u32);
    fn cpu_read(&mut self, cpu: usize, offset: u32) -> u32;
    fn hyp(&mut self, cpu: usize, offset: u32, value: u32);
    fn hyp_read(&mut self, cpu: usize, offset: u32) -> u32;
    fn guest(&mut self, cpu: usize, offset: u32, value: u32);
    fn guest_read(&mut self, cpu: usize, offset: u32) -> u32;

    /// Enables the interrupt, at CPU 0, with this priority.
    fn enable(&mut self, id: u32, priority: u8);
    /// Whether the bit of the interrupt is set in a register that CPU 0 sees.
    fn bit(&mut self, register: u32, id: u32) -> bool;
    /// Writes one to the bit of the interrupt.
    fn one(&mut self, register: u32, id: u32);
    fn acknowledge(&mut self, cpu: usize) -> u32;
    fn list_register(&mut self, index: u32) -> u32;
    fn kinds(&mut self) -> Vec<FindingKind>;
    /// Nothing was wrong.
    fn clean(&mut self);
}

impl Short for Gic {
    fn dist(&mut self, cpu: usize, offset: u32, value: u32) {
        self.write(cpu, Frame::Distributor, offset, Width::Word, value);
    }
    fn dist_read(&mut self, cpu: usize, offset: u32) -> u32 {
        self.read(cpu, Frame::Distributor, offset, Width::Word)
    }
    fn byte(&mut self, cpu: usize, offset: u32, value: u8) {
        self.write(cpu, Frame::Distributor, offset, Width::Byte, value.into());
    }
    fn cpu(&mut self, cpu: usize, offset: u32, value: u32) {
        self.write(cpu, Frame::CpuInterface, offset, Width::Word, value);
    }
    fn cpu_read(&mut self, cpu: usize, offset: u32) -> u32 {
        self.read(cpu, Frame::CpuInterface, offset, Width::Word)
    }
    fn hyp(&mut self, cpu: usize, offset: u32, value: u32) {
        self.write(cpu, Frame::VirtualInterface, offset, Width::Word, value);
    }
    fn hyp_read(&mut self, cpu: usize, offset: u32) -> u32 {
        self.read(cpu, Frame::VirtualInterface, offset, Width::Word)
    }
    fn guest(&mut self, cpu: usize, offset: u32, value: u32) {
        self.write(cpu, Frame::VirtualCpuInterface, offset, Width::Word, value);
    }
    fn guest_read(&mut self, cpu: usize, offset: u32) -> u32 {
        self.read(cpu, Frame::VirtualCpuInterface, offset, Width::Word)
    }

    fn enable(&mut self, id: u32, priority: u8) {
        self.byte(0, gicd::IPRIORITYR + id, priority);
        if id >= 32 && self.config().cpus > 1 {
            self.byte(0, gicd::ITARGETSR + id, 1);
        }
        self.one(gicd::ISENABLER, id);
    }
    fn bit(&mut self, register: u32, id: u32) -> bool {
        self.dist_read(0, register + id / 32 * 4) >> (id % 32) & 1 != 0
    }
    fn one(&mut self, register: u32, id: u32) {
        self.dist(0, register + id / 32 * 4, 1 << (id % 32));
    }
    fn acknowledge(&mut self, cpu: usize) -> u32 {
        self.cpu_read(cpu, gicc::IAR)
    }
    fn list_register(&mut self, index: u32) -> u32 {
        self.hyp_read(0, gich::LR + 4 * index)
    }
    fn kinds(&mut self) -> Vec<FindingKind> {
        std::iter::from_fn(|| self.take_finding()).map(|finding| finding.kind).collect()
    }
    fn clean(&mut self) {
        assert_eq!(self.take_finding(), None);
        assert_eq!(self.take_misuse(), None);
    }
}
