//! What a device, a host and a guest do at random.

use super::{GICC, GICD, GICH, GICV, Generator, Taken};
use crate::step::{Step, peek};
use vcm_qemu::Level;
use vcm_soc::hardware::gic::registers::{
    cpu_interface as gicc, distributor as gicd, virtual_interface as gich,
};
use vcm_soc::hardware::gic::{Frame, Width};

impl Generator {
    pub(super) fn change_line(&mut self) {
        let interrupt = self.interrupt().max(32);
        let level = if self.random.one_in(2) { Level::Low } else { Level::High };
        self.add(Step::Line { interrupt, level });
    }

    pub(super) fn distributor_bit(&mut self) {
        let registers = [
            gicd::ISENABLER,
            gicd::ISENABLER,
            gicd::ISENABLER,
            gicd::ICENABLER,
            gicd::ISPENDR,
            gicd::ISPENDR,
            gicd::ICPENDR,
            gicd::ISACTIVER,
            gicd::ICACTIVER,
            gicd::ICACTIVER,
            gicd::IGROUPR,
        ];
        let (register, interrupt) = (self.random.of(&registers), self.interrupt());
        let offset = register + interrupt / 32 * 4;
        let bit = 1 << (interrupt % 32);
        let value = if register == gicd::IGROUPR { peek(&self.gic, GICD, offset) ^ bit } else { bit };
        self.write(GICD, offset, value);
    }

    pub(super) fn distributor_bytes(&mut self) {
        let (interrupt, priority) = (self.interrupt(), self.priority());
        match self.random.below(6) {
            0 => {
                let value = self.random.word() & 0xf8f8_f8f8;
                self.write(GICD, gicd::IPRIORITYR + (interrupt & !3), value);
            }
            1 => self.read_byte(GICD, gicd::IPRIORITYR + interrupt),
            2 => self.write_byte(GICD, gicd::ITARGETSR + interrupt, 1),
            _ => self.write_byte(GICD, gicd::IPRIORITYR + interrupt, priority),
        }
    }

    pub(super) fn software_interrupt(&mut self) {
        let sgi = self.frequent[self.random.below(2) as usize];
        match self.random.below(6) {
            0 => self.write_byte(GICD, gicd::CPENDSGIR + sgi, 1),
            1 => {
                let sources = self.random.below(3);
                self.write_byte(GICD, gicd::SPENDSGIR + sgi, sources);
            }
            2 => self.write(GICD, gicd::SPENDSGIR + (sgi & !3), 0x0101_0101),
            3 => self.read_byte(GICD, gicd::CPENDSGIR + sgi),
            _ => {
                let (filter, targets) = (self.random.below(4), self.random.below(4));
                self.write(GICD, gicd::SGIR, filter << 24 | targets << 16 | sgi);
            }
        }
    }

    pub(super) fn configure_interface(&mut self, frame: Frame) {
        match self.random.below(8) {
            0..4 => {
                let value = self.interface_control();
                self.write(frame, gicc::CTLR, value);
            }
            4..6 => {
                let value = if self.random.one_in(6) { self.priority() } else { 0xf8 };
                self.write(frame, gicc::PMR, value);
            }
            6 => {
                let point = 2 + self.random.below(5);
                self.write(frame, gicc::BPR, point);
                self.write(frame, gicc::ABPR, point + 1);
            }
            _ => {
                let offset = self.random.of(&[gicc::CTLR, gicc::PMR, gicc::BPR, gicc::ABPR]);
                self.read(frame, offset);
            }
        }
    }

    fn taken(&mut self, frame: Frame) -> &mut Taken {
        if frame == GICC { &mut self.host } else { &mut self.guest }
    }

    pub(super) fn acknowledge(&mut self, frame: Frame) {
        if let Some(value) = self.read(frame, gicc::IAR).filter(|value| value & 0x3ff < gicc::SPECIAL) {
            self.taken(frame).running.push(value);
        }
    }

    /// Mostly in order.
    pub(super) fn end(&mut self, frame: Frame) {
        let running = self.taken(frame).running.len() as u32;
        let value = match (self.random.below(12), running) {
            (0, _) => self.interrupt(),
            // An end that missed its group leaves a priority running.
            (_, 0) if peek(&self.gic, frame, gicc::RPR) != 0xff => self.interrupt(),
            (_, 0) => return,
            (1, _) => {
                let place = self.random.below(running) as usize;
                self.taken(frame).running.remove(place)
            }
            _ => self.taken(frame).running.pop().unwrap(),
        };
        self.write(frame, gicc::EOIR, value);
        if peek(&self.gic, frame, gicc::CTLR) & gicc::CTLR_EOI_MODE == 0 {
            return;
        }
        let taken = self.taken(frame);
        taken.dropped.push(value);
        if taken.dropped.len() > 4 {
            taken.dropped.remove(0);
        }
    }

    pub(super) fn deactivate(&mut self, frame: Frame) {
        let value = match self.taken(frame).dropped.pop() {
            Some(dropped) if !self.random.one_in(6) => dropped,
            _ => self.interrupt(),
        };
        self.write(frame, gicc::DIR, value);
    }

    pub(super) fn configure_virtual_interface(&mut self) {
        let enabled = u32::from(!self.random.one_in(8));
        match self.random.below(6) {
            0..3 => {
                let causes = self.random.below(256) & self.random.below(256) & !1;
                let count = if self.random.one_in(3) { self.random.below(32) } else { 0 };
                self.write(GICH, gich::HCR, enabled | causes | count << gich::HCR_EOI_COUNT);
            }
            3 => {
                let point = 2 + self.random.below(5);
                let priority = if self.random.one_in(6) { self.random.below(32) } else { 0x1f };
                let control = self.interface_control();
                let value = priority << gich::VMCR_PMR
                    | point << gich::VMCR_BPR
                    | (point + 1) << gich::VMCR_ABPR
                    | control;
                self.write(GICH, gich::VMCR, value);
            }
            4 => {
                let value = if self.random.one_in(2) { 0 } else { 1 << self.random.below(32) };
                self.write(GICH, gich::APR, value);
            }
            _ => self.write(GICH, gich::HCR, enabled),
        }
    }

    /// Mostly one that is free.
    fn free_list_register(&mut self) -> u32 {
        let free = peek(&self.gic, GICH, gich::ELRSR0);
        let index = self.random.below(4);
        let first = free.trailing_zeros().min(3);
        gich::LR + 4 * if self.random.one_in(4) { index } else { first }
    }

    /// With the HW bit, mostly for an interrupt that the host has taken and ended.
    pub(super) fn list_register(&mut self) {
        let register = self.free_list_register();
        if self.random.one_in(12) {
            let value = self.random.word();
            return self.write(GICH, register, value);
        }
        let group = self.random.below(2) << 30;
        let state = self.random.of(&[1, 1, 1, 1, 0, 2, 3]) << 28;
        let common = self.random.below(32) << 23 | group | state;
        let value = if self.random.one_in(2) {
            let physical = match self.host.dropped.last() {
                Some(dropped) if !self.random.one_in(4) => dropped & 0x3ff,
                _ => self.interrupt(),
            };
            1 << 31 | physical << 10 | self.random.below(48)
        } else {
            let number = self.random.below(48);
            let source = if number < 16 { self.random.below(8) << 10 } else { 0 };
            self.random.below(2) << 19 | source | number
        };
        self.write(GICH, register, common | value);
    }

    /// The life of an interrupt that a host forwards to a guest, as far as the present state lets it come.
    pub(super) fn forward(&mut self) {
        let interrupt = self.interrupt().max(32);
        self.add(Step::Line { interrupt, level: Level::High });
        self.acknowledge(GICC);
        let Some(physical) = self.host.running.pop() else { return };
        self.write(GICC, gicc::EOIR, physical);
        let register = self.free_list_register();
        let (number, group) = (16 + self.random.below(32), self.random.below(2));
        let physical = physical & 0x3ff;
        self.write(GICH, register, 1 << 31 | group << 30 | 1 << 28 | physical << 10 | number);
        self.acknowledge(GICV);
        let Some(number) = self.guest.running.pop() else { return };
        if self.random.one_in(2) {
            self.change_line();
        }
        self.write(GICV, gicc::EOIR, number);
        self.write(GICV, gicc::DIR, number);
    }

    /// Something more urgent than what runs.
    pub(super) fn preempt(&mut self) {
        let running = peek(&self.gic, GICC, gicc::RPR);
        if running == 0 || running == 0xff {
            return;
        }
        let (interrupt, priority) = (self.interrupt().max(32), self.random.below(running / 8) * 8);
        self.write_byte(GICD, gicd::IPRIORITYR + interrupt, priority);
        self.write(GICD, gicd::ISENABLER + interrupt / 32 * 4, 1 << (interrupt % 32));
        self.add(Step::Line { interrupt, level: Level::High });
        self.acknowledge(GICC);
    }

    /// Any register and also what is none, with any value.
    pub(super) fn access_anything(&mut self) {
        let (frame, end) = [(GICD, gicd::END), (GICC, 0x100), (GICH, gich::LR + 0x10), (GICV, 0x100)]
            [self.random.below(4) as usize];
        let offset = self.random.below(end);
        let (offset, width) =
            if self.random.one_in(4) { (offset, Width::Byte) } else { (offset & !3, Width::Word) };
        let value = if width == Width::Byte { self.random.below(256) } else { self.random.word() };
        let read = Step::Read { frame, offset, width };
        let write = Step::Write { frame, offset, width, value };
        let step = if self.random.one_in(2) { read } else { write };
        self.add(step);
    }
}
