//! What reads and writes do.

use super::Access;
use super::affinity::{affinity, vcpu_at};
use super::register::{Content, Each, Whole};
use crate::field::Field;
use crate::sync::Ordering;
use crate::vgic::interface::Group;
use crate::vgic::vm::{Machine, Model, Vm};
use crate::vgic::word::{EDGE, ENABLED, GROUP_1, Kind};
use crate::wanted::Wanted;
use crate::{FIRST_SPI, Sense, VcpuId};

/// `GICD_CTLR` \[0\]: group 0 is passed on.
const CONTROL_GROUP_0: Field = Field::new(0, 0);
/// `GICD_CTLR` \[1\]: group 1 is passed on.
const CONTROL_GROUP_1: Field = Field::new(1, 1);
/// `GICD_CTLR` of GICv3 \[4\]: affinity routing.
const CONTROL_ARE: Field = Field::new(4, 4);
/// `GICD_CTLR` of GICv3 \[6\]: one Security state.
const CONTROL_DS: Field = Field::new(6, 6);

/// `GICD_TYPER` \[4:0\]: a 32nd of the number of interrupts, minus 1.
const TYPE_LINES: Field = Field::new(4, 0);
/// `GICD_TYPER` \[7:5\]: the number of CPUs, minus 1. Zero with affinity routing.
const TYPE_CPUS: Field = Field::new(7, 5);
/// `GICD_TYPER` of GICv3 \[23:19\]: the number of bits that interrupt numbers have, minus 1.
const TYPE_ID_BITS: Field = Field::new(23, 19);
/// `GICD_TYPER` of GICv3 \[25\]: a shared interrupt goes to one CPU, never to any of them (`No1N`).
const TYPE_NO_1_OF_N: Field = Field::new(25, 25);

/// `GICR_TYPER` \[4\]: the last redistributor.
const REDISTRIBUTOR_LAST: Field = Field::new(4, 4);
/// `GICR_TYPER` \[23:8\]: the CPU's number.
const REDISTRIBUTOR_CPU: Field = Field::new(23, 8);
/// `GICR_TYPER` \[63:32\]: the CPU's affinity.
const REDISTRIBUTOR_AFFINITY: Field = Field::new(63, 32);

/// `GICD_IROUTER` \[23:0\]: affinity levels 2, 1 and 0. Level 3 and the choice of any CPU read as zero.
const ROUTE_AFFINITY: Field = Field::new(23, 0);

/// The bits of a priority that there are.
const PRIORITY: u32 = 0xF8;

impl<M: Machine> Vm<M> {
    pub(super) fn read_registers(&self, access: &Access) -> u64 {
        match access.row.content {
            Content::Zero => 0,
            Content::Constant(value) => u64::from(value),
            Content::Whole(whole) => self.read_whole(access.whose, whole) >> (8 * access.offset),
            Content::Each(bits, each) => {
                let (first, count) = access.covers(bits);
                (0..count).fold(0, |value, place| {
                    let interrupt = first + place;
                    let known = access.interrupts.contains(&interrupt);
                    let field = if known { self.read_each(access.whose, interrupt, each) } else { 0 };
                    value | u64::from(field) << (bits * place)
                })
            }
            Content::Route => self.read_route(access.route()) >> (8 * (access.offset & 4)),
        }
    }

    pub(super) fn write_registers(&self, by: VcpuId, access: &Access, value: u64) {
        match access.row.content {
            Content::Zero | Content::Constant(_) => {}
            Content::Whole(Whole::Control) => {
                let group = |field: Field| Wanted::when(field.get_wide(value) != 0);
                self.set_groups(group(CONTROL_GROUP_0), group(CONTROL_GROUP_1));
            }
            Content::Whole(Whole::Send) => self.send_by_mask(by, value as u32),
            Content::Whole(Whole::Type | Whole::RedistributorType) => {}
            Content::Each(bits, each) => {
                let (first, count) = access.covers(bits);
                for place in 0..count {
                    let interrupt = first + place;
                    let field = (value >> (bits * place)) as u32 & ((1 << bits) - 1);
                    if access.interrupts.contains(&interrupt) {
                        self.write_each(access.whose, interrupt, each, field);
                    }
                }
            }
            Content::Route if access.offset & 4 == 0 => self.write_route(access.route(), value),
            // Affinity level 3.
            Content::Route => {}
        }
    }

    fn read_whole(&self, whose: VcpuId, whole: Whole) -> u64 {
        let config = self.config;
        match whole {
            Whole::Control => {
                let [zero, one] = self.groups().map(|group| u32::from(group.is_yes()));
                let fixed = match config.model {
                    Model::V2 => 0,
                    Model::V3 => CONTROL_ARE.put(1) | CONTROL_DS.put(1),
                };
                u64::from(fixed | CONTROL_GROUP_0.put(zero) | CONTROL_GROUP_1.put(one))
            }
            Whole::Type => {
                let lines = TYPE_LINES.put(config.interrupts / 32 - 1);
                u64::from(match config.model {
                    Model::V2 => lines | TYPE_CPUS.put(u32::from(config.vcpus) - 1),
                    Model::V3 => lines | TYPE_ID_BITS.put(10 - 1) | TYPE_NO_1_OF_N.put(1),
                })
            }
            Whole::Send => 0,
            Whole::RedistributorType => {
                REDISTRIBUTOR_AFFINITY.put_wide(affinity(whose))
                    | REDISTRIBUTOR_CPU.put_wide(u32::from(whose.0))
                    | REDISTRIBUTOR_LAST.put_wide(u32::from(whose.0 + 1 == config.vcpus))
            }
        }
    }

    /// What is in a list register is asked for by [`Vm::interrupt`]; what is not, is in the word whoever runs.
    fn read_each(&self, whose: VcpuId, interrupt: u32, each: Each) -> u32 {
        let Some(word) = self.word(whose, interrupt) else { return 0 };
        let state = word.load();
        match each {
            Each::Group => u32::from(state.has(GROUP_1)),
            Each::SetEnable | Each::ClearEnable => u32::from(state.has(ENABLED)),
            Each::Priority => u32::from(state.priority()),
            Each::Configuration => {
                let edge = state.has(EDGE) || Kind::of(interrupt) == Kind::Software;
                u32::from(edge) << 1
            }
            // A controller for one CPU has no targets to choose.
            Each::Targets if self.config.vcpus == 1 => 0,
            Each::Targets if interrupt < FIRST_SPI => 1 << whose.0,
            Each::Targets => u32::from(state.cpus()),
            Each::SetPending | Each::ClearPending => {
                self.interrupt(whose, interrupt).map_or(0, |seen| u32::from(seen.pending))
            }
            Each::SetActive | Each::ClearActive => {
                self.interrupt(whose, interrupt).map_or(0, |seen| u32::from(seen.active))
            }
            Each::SetSenders | Each::ClearSenders => {
                self.interrupt(whose, interrupt).map_or(0, |seen| u32::from(seen.cpus))
            }
        }
    }

    fn write_each(&self, whose: VcpuId, interrupt: u32, each: Each, field: u32) {
        let Some(word) = self.word(whose, interrupt) else { return };
        let state = word.load();
        match each {
            // What is so already needs nobody to leave the guest for it.
            Each::Group => {
                let group = if field == 0 { Group::Zero } else { Group::One };
                if group != state.group() {
                    self.set_group(whose, interrupt, group);
                }
            }
            Each::Configuration => {
                let (edge, sense) = if field & 2 == 0 { (false, Sense::Level) } else { (true, Sense::Edge) };
                if edge != state.has(EDGE) {
                    self.set_sense(whose, interrupt, sense);
                }
            }
            Each::Priority => self.set_priority(whose, interrupt, (field & PRIORITY) as u8),
            Each::Targets => {
                if interrupt >= FIRST_SPI && self.config.vcpus > 1 {
                    self.set_targets(interrupt, field as u8);
                }
            }
            _ if field == 0 => {}
            Each::SetEnable => self.enable(whose, interrupt),
            Each::ClearEnable => {
                if state.has(ENABLED) {
                    self.disable(whose, interrupt);
                }
            }
            Each::SetPending => self.set_pending(whose, interrupt),
            Each::ClearPending => self.clear_pending(whose, interrupt),
            Each::SetActive => self.set_active(whose, interrupt),
            Each::ClearActive => self.clear_active(whose, interrupt),
            Each::SetSenders => (0..self.config.vcpus.min(8))
                .filter(|from| field & 1 << from != 0)
                .for_each(|from| self.send(VcpuId(from), whose, interrupt)),
            Each::ClearSenders => self.take_back(whose, interrupt, field as u8),
        }
    }

    /// Where an interrupt goes, as the guest's register has it.
    pub(in crate::vgic) fn read_route(&self, interrupt: u32) -> u64 {
        let Some(word) = self.word(VcpuId(0), interrupt) else { return 0 };
        match word.load().target() {
            Some(vcpu) => u64::from(affinity(vcpu)),
            None => {
                let route = self.frames.routes.get((interrupt - FIRST_SPI) as usize);
                route.map_or(0, |route| u64::from(route.load(Ordering::SeqCst)))
            }
        }
    }

    pub(in crate::vgic) fn write_route(&self, interrupt: u32, value: u64) {
        let Some(route) = self.frames.routes.get((interrupt - FIRST_SPI) as usize) else { return };
        let mut written = ROUTE_AFFINITY.get_wide(value);
        route.store(written, Ordering::SeqCst);
        // Should two vCPUs write at once, the register and the target are to agree in the end.
        loop {
            self.set_target(interrupt, vcpu_at(written, self.config.vcpus));
            let now = route.load(Ordering::SeqCst);
            if now == written {
                return;
            }
            written = now;
        }
    }
}

impl Access {
    /// The first interrupt that it covers and how many, in a register with so many bits for each.
    const fn covers(&self, bits: u32) -> (u32, u32) {
        (self.offset * 8 / bits, self.width.bytes() * 8 / bits)
    }

    /// The interrupt whose route it is about.
    const fn route(&self) -> u32 {
        FIRST_SPI + self.offset / 8
    }
}
