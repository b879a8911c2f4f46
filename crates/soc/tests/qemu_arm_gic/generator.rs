//! Random sequences, in which interesting states are frequent: the model is followed to know what runs.

#[path = "generator_actions.rs"]
mod generator_actions;

use crate::deviations;
use crate::random::Random;
use crate::step::Step;
use vcm_soc::hardware::gic::Frame::{
    CpuInterface as GICC, Distributor as GICD, VirtualCpuInterface as GICV, VirtualInterface as GICH,
};
use vcm_soc::hardware::gic::registers::{
    cpu_interface as gicc, distributor as gicd, virtual_interface as gich,
};
use vcm_soc::hardware::gic::{Frame, Gic, Width};

/// Steps of a sequence, before the registers are looked at.
const STEPS: usize = 400;
/// Interrupts in use have numbers below this.
const INTERRUPTS: u32 = 96;

/// What the host or the guest does next with an interrupt it has.
struct Taken {
    /// As `IAR` gave them.
    running: Vec<u32>,
    /// Ended without being deactivated.
    dropped: Vec<u32>,
}

struct Generator {
    random: Random,
    gic: Gic,
    steps: Vec<Step>,
    /// Interrupts that most steps are about.
    frequent: Vec<u32>,
    host: Taken,
    guest: Taken,
}

/// The sequence of `seed`, for a GIC as `gic`, which is as after a reset.
pub(crate) fn sequence(seed: u64, gic: Gic) -> Vec<Step> {
    let mut random = Random::new(seed);
    let mut frequent = vec![random.below(16), random.below(16), 16 + random.below(16)];
    frequent.extend((0..7).map(|_| 32 + random.below(INTERRUPTS - 32)));
    let empty = || Taken { running: Vec::new(), dropped: Vec::new() };
    let mut generator = Generator { random, gic, steps: Vec::new(), frequent, host: empty(), guest: empty() };
    for step in deviations::BEGINNING {
        step.on_model(&mut generator.gic);
    }
    generator.prepare();
    while generator.steps.len() < STEPS {
        generator.next();
    }
    generator.look_at_all();
    generator.steps
}

impl Generator {
    /// Adds a step, unless it is one to be avoided; gives what the model reads.
    fn add(&mut self, step: Step) -> Option<u32> {
        if deviations::avoided(&self.gic, step).is_some() {
            return None;
        }
        self.steps.push(step);
        step.on_model(&mut self.gic).value
    }

    fn write(&mut self, frame: Frame, offset: u32, value: u32) {
        self.add(Step::Write { frame, offset, width: Width::Word, value });
    }

    fn write_byte(&mut self, frame: Frame, offset: u32, value: u32) {
        self.add(Step::Write { frame, offset, width: Width::Byte, value });
    }

    fn read(&mut self, frame: Frame, offset: u32) -> Option<u32> {
        self.add(Step::Read { frame, offset, width: Width::Word })
    }

    fn read_byte(&mut self, frame: Frame, offset: u32) {
        self.add(Step::Read { frame, offset, width: Width::Byte });
    }

    fn interrupt(&mut self) -> u32 {
        if self.random.one_in(6) {
            return self.random.below(INTERRUPTS);
        }
        let Self { random, frequent, .. } = self;
        random.of(frequent)
    }

    fn priority(&mut self) -> u32 {
        if self.random.one_in(16) { self.random.below(256) } else { self.random.below(32) * 8 }
    }

    /// What a host and a guest do once: everything enabled.
    fn prepare(&mut self) {
        for interrupt in self.frequent.clone() {
            let priority = self.priority();
            self.write_byte(GICD, gicd::IPRIORITYR + interrupt, priority);
        }
        for word in 0..INTERRUPTS / 32 {
            let (group, edge) = (self.random.word(), self.random.word());
            self.write(GICD, gicd::IGROUPR + 4 * word, group);
            self.write(GICD, gicd::ISENABLER + 4 * word, u32::MAX);
            self.write(GICD, gicd::ICFGR + 8 * word, edge);
            self.write(GICD, gicd::ICFGR + 8 * word + 4, edge.rotate_left(16));
        }
        self.write(GICD, gicd::CTLR, 3);
        let points = if self.random.one_in(3) { 5 } else { 1 };
        let point = 2 + self.random.below(points);
        for frame in [GICC, GICV] {
            self.write(frame, gicc::BPR, point);
            self.write(frame, gicc::ABPR, point + 1);
            self.write(frame, gicc::PMR, 0xf8);
            let ctlr = self.interface_control();
            self.write(frame, gicc::CTLR, ctlr | 3);
        }
        self.write(GICH, gich::HCR, 1);
    }

    fn interface_control(&mut self) -> u32 {
        let groups = if self.random.one_in(16) { self.random.below(4) } else { 3 };
        let common = if self.random.one_in(4) { gicc::CTLR_COMMON_BINARY_POINT } else { 0 };
        let optional = [gicc::CTLR_ACKNOWLEDGE, gicc::CTLR_FIQ, gicc::CTLR_EOI_MODE];
        // Acknowledging either group is what most do.
        let odds = [5, 2, 3];
        optional.iter().zip(odds).fold(groups | common, |value, (bit, odds)| {
            if self.random.below(6) < odds { value | bit } else { value }
        })
    }

    fn next(&mut self) {
        match self.random.below(100) {
            0..16 => self.change_line(),
            16..25 => self.distributor_bit(),
            25..29 => self.distributor_bytes(),
            29 => {
                let (index, value) = (self.random.below(INTERRUPTS / 16), self.random.word());
                self.write(GICD, gicd::ICFGR + 4 * index, value);
            }
            30 => {
                let value = self.random.of(&[0, 1, 2, 3, 3, 3, 3, 3]);
                self.write(GICD, gicd::CTLR, value);
            }
            31..36 => self.software_interrupt(),
            36..39 => self.configure_interface(GICC),
            39..51 => self.acknowledge(GICC),
            51..60 => self.end(GICC),
            60..66 => self.deactivate(GICC),
            66..69 => self.configure_virtual_interface(),
            69..76 => self.list_register(),
            76..78 => self.configure_interface(GICV),
            78..85 => self.acknowledge(GICV),
            85..91 => self.end(GICV),
            91..94 => self.deactivate(GICV),
            94..96 => self.forward(),
            96 => self.preempt(),
            97 => self.access_anything(),
            _ => self.look(),
        }
    }

    fn look(&mut self) {
        match self.random.below(4) {
            0 => self.read(GICC, gicc::HPPIR),
            1 => self.read(GICV, gicc::HPPIR),
            2 => self.read(GICC, gicc::RPR),
            _ => self.read(GICV, gicc::RPR),
        };
        let word = self.random.below(INTERRUPTS / 32);
        let register = self.random.of(&[gicd::ISENABLER, gicd::ISPENDR, gicd::ISACTIVER, gicd::IGROUPR]);
        self.read(GICD, register + 4 * word);
        let register =
            self.random.of(&[gich::HCR, gich::MISR, gich::EISR0, gich::ELRSR0, gich::APR, gich::LR]);
        self.read(GICH, register);
    }

    /// Everything that software can see, since what it does not look at may have gone wrong.
    fn look_at_all(&mut self) {
        let bits = [gicd::IGROUPR, gicd::ISENABLER, gicd::ICENABLER, gicd::ISPENDR, gicd::ICPENDR];
        for register in bits.into_iter().chain([gicd::ISACTIVER, gicd::ICACTIVER]) {
            for word in 0..INTERRUPTS / 32 {
                self.read(GICD, register + 4 * word);
            }
        }
        for index in 0..INTERRUPTS / 16 {
            self.read(GICD, gicd::ICFGR + 4 * index);
        }
        for index in 0..4 {
            self.read(GICD, gicd::SPENDSGIR + 4 * index);
            self.read(GICH, gich::LR + 4 * index);
        }
        for offset in [gicd::CTLR, gicd::TYPER] {
            self.read(GICD, offset);
        }
        for frame in [GICC, GICV] {
            for offset in [gicc::CTLR, gicc::PMR, gicc::BPR, gicc::ABPR, gicc::RPR, gicc::HPPIR] {
                self.read(frame, offset);
            }
        }
        let virtual_interface = [gich::HCR, gich::VTR, gich::VMCR, gich::MISR, gich::EISR0, gich::EISR1];
        for offset in virtual_interface.into_iter().chain([gich::ELRSR0, gich::ELRSR1, gich::APR]) {
            self.read(GICH, offset);
        }
    }
}
