//! Random accesses to the guest's frames, beside a plain model of the same registers.
//!
//! The model knows offsets as the manuals print them (Arm IHI 0048B.b 4.1.2, Arm IHI 0069H 12.8 and 12.10),
//! keeps a plain structure for each interrupt, and knows nothing of list registers: entering the guest
//! changes nothing for it.

mod frames_machine;

use frames_machine::World;
use proptest::prelude::*;
use vcm_irq::vgic::{CompletionBy, Config, Frame, Level, Model, SgiRegister, VmId, Width};
use vcm_irq::{GuestInterrupt, VcpuId};

const GICD: Frame = Frame::Distributor;

#[derive(Clone, Default)]
struct Interrupt {
    group: bool,
    enabled: bool,
    latch: bool,
    line: bool,
    active: bool,
    edge: bool,
    priority: u8,
    senders: u8,
    targets: u8,
    route: u32,
}

struct Plain {
    v3: bool,
    vcpus: u16,
    interrupts: u32,
    control: u32,
    private: Vec<Vec<Interrupt>>,
    shared: Vec<Interrupt>,
    ignored: u64,
}

/// What an offset is: a register of its own by name, or an array with so many bits for each interrupt.
enum Meaning {
    Own(&'static str),
    Array(&'static str, u32, u32),
}
use Meaning::{Array, Own};

impl Plain {
    fn new(v3: bool, vcpus: u16, interrupts: u32) -> Self {
        let shared = Interrupt { targets: 1, ..Interrupt::default() };
        Self {
            v3,
            vcpus,
            interrupts,
            control: 0,
            private: vec![vec![Interrupt::default(); 32]; usize::from(vcpus)],
            shared: vec![shared; (interrupts.min(1020) - 32) as usize],
            ignored: 0,
        }
    }

    fn interrupt(&mut self, vcpu: u16, number: u32) -> Option<&mut Interrupt> {
        if number < 32 {
            self.private.get_mut(usize::from(vcpu))?.get_mut(number as usize)
        } else {
            self.shared.get_mut(number as usize - 32)
        }
    }

    fn meaning(&self, frame: Frame, offset: u64) -> Option<Meaning> {
        let redistributor = matches!(frame, Frame::Redistributor(_));
        if redistributor {
            match offset {
                _ if !self.v3 => return None,
                0x0 | 0x10 | 0x14 | 0x10D00 | 0x10E00 => return Some(Own("zero")),
                0x4 => return Some(Own("iidr")),
                0x8 | 0xC => return Some(Own("gicr_typer")),
                0xFFE8 => return Some(Own("pidr2")),
                0x10000..0x20000 => {}
                _ => return None,
            }
        } else {
            match offset {
                0x0 => return Some(Own("ctlr")),
                0x4 => return Some(Own("typer")),
                0x8 => return Some(Own("iidr")),
                0xC | 0x10 if self.v3 => return Some(Own("zero")),
                0xE00..0xF00 => return Some(Own("zero")),
                0xD00..0xD80 if self.v3 => return Some(Own("zero")),
                0xF00 if self.v3 => return Some(Own("zero")),
                0xF00 => return Some(Own("sgir")),
                0x800..0xBFC | 0xF10..0xF30 if self.v3 => return Some(Own("zero bytes")),
                0x800..0xBFC => return Some(Array("targets", 8, offset as u32 - 0x800)),
                0xF10..0xF20 => return Some(Array("clear senders", 8, offset as u32 - 0xF10)),
                0xF20..0xF30 => return Some(Array("set senders", 8, offset as u32 - 0xF20)),
                0x6100..0x7FE0 if self.v3 => return Some(Own("irouter")),
                0xFE8 if !self.v3 => return Some(Own("pidr2")),
                0xFFE8 if self.v3 => return Some(Own("pidr2")),
                _ => {}
            }
        }
        let local = offset as u32 & 0xFFFF;
        let arrays = [
            ("group", 1, 0x80),
            ("set enable", 1, 0x100),
            ("clear enable", 1, 0x180),
            ("set pending", 1, 0x200),
            ("clear pending", 1, 0x280),
            ("set active", 1, 0x300),
            ("clear active", 1, 0x380),
            ("priority", 8, 0x400),
            ("configuration", 2, 0xC00),
        ];
        let bytes = |bits: u32| match bits {
            _ if redistributor => 4 * bits,
            1 => 0x80,
            2 => 0x100,
            _ => 0x3FC,
        };
        let (name, bits, base) =
            arrays.into_iter().find(|(_, bits, base)| (*base..base + bytes(*bits)).contains(&local))?;
        (redistributor || offset < 0x1000).then(|| Array(name, bits, local - base))
    }

    /// The register that an access is about, if its width and alignment are right.
    fn find(&self, by: u16, frame: Frame, offset: u64, width: Width) -> Option<Meaning> {
        let whose = if let Frame::Redistributor(vcpu) = frame { vcpu.0 } else { by };
        if by >= self.vcpus || whose >= self.vcpus {
            return None;
        }
        let size = u64::from(width.bytes());
        if !offset.is_multiple_of(size) {
            return None;
        }
        let register = offset & !3;
        let register = if width == Width::DoubleWord { offset } else { register };
        let meaning = self.meaning(frame, register)?;
        let fits = match (&meaning, width) {
            (_, Width::Word) => true,
            (_, Width::HalfWord) => false,
            (Own("irouter" | "gicr_typer"), Width::DoubleWord) => true,
            (_, Width::DoubleWord) => false,
            (Array(_, 8, _) | Own("zero bytes"), Width::Byte) => true,
            (_, Width::Byte) => false,
        };
        fits.then_some(meaning)
    }

    fn affinity(vcpu: u16) -> u32 {
        u32::from(vcpu % 16) + u32::from(vcpu / 16) * 256
    }

    fn read(&mut self, by: u16, frame: Frame, offset: u64, width: Width) -> u64 {
        let Some(meaning) = self.find(by, frame, offset, width) else {
            self.ignored += 1;
            return 0;
        };
        let whose = if let Frame::Redistributor(vcpu) = frame { vcpu.0 } else { by };
        let bits = width.bytes() * 8;
        let value = match meaning {
            Own("ctlr") => u64::from(self.control | if self.v3 { 0x50 } else { 0 }),
            Own("typer") if self.v3 => u64::from((self.interrupts / 32 - 1) | 9 << 19 | 1 << 25),
            Own("typer") => u64::from((self.interrupts / 32 - 1) | u32::from(self.vcpus - 1) << 5),
            Own("iidr") => 0x5600_0000,
            Own("pidr2") => {
                if self.v3 {
                    0x30
                } else {
                    0x20
                }
            }
            Own("gicr_typer") => {
                let last = if whose == self.vcpus - 1 { 1 << 4 } else { 0 };
                let all = u64::from(Self::affinity(whose)) << 32 | u64::from(whose) << 8 | last;
                if offset & 4 == 0 { all } else { all >> 32 }
            }
            Own("irouter") if offset & 4 == 0 => {
                let number = (offset as u32 - 0x6000) / 8;
                self.interrupt(0, number).map_or(0, |interrupt| u64::from(interrupt.route))
            }
            Own(_) => 0,
            Array(name, each, _) => {
                let first = self.first(frame, offset, name, each);
                let mut value = 0;
                for place in 0..bits / each {
                    let field = self.field(whose, frame, first + place, name);
                    value |= u64::from(field) << (place * each);
                }
                value
            }
        };
        if bits == 64 { value } else { value & ((1 << bits) - 1) }
    }

    fn first(&self, frame: Frame, offset: u64, _name: &str, each: u32) -> u32 {
        // `meaning` was asked with a whole register's offset; bytes of it count here.
        match self.meaning(frame, offset & !3) {
            Some(Array(_, _, from)) => (from + (offset & 3) as u32) * 8 / each,
            _ => unreachable!(),
        }
    }

    fn field(&mut self, whose: u16, frame: Frame, number: u32, name: &str) -> u32 {
        if self.v3 && frame == Frame::Distributor && number < 32 {
            return 0;
        }
        let alone = self.vcpus == 1;
        let Some(interrupt) = self.interrupt(whose, number) else { return 0 };
        match name {
            "group" => u32::from(interrupt.group),
            "set enable" | "clear enable" => u32::from(interrupt.enabled),
            "set pending" | "clear pending" if number < 16 => u32::from(interrupt.senders != 0),
            "set pending" | "clear pending" => {
                u32::from(interrupt.latch || interrupt.line && !interrupt.edge)
            }
            "set active" | "clear active" => u32::from(interrupt.active),
            "priority" => u32::from(interrupt.priority),
            "configuration" => {
                if number < 16 || interrupt.edge {
                    2
                } else {
                    0
                }
            }
            "targets" if alone => 0,
            "targets" if number < 32 => 1 << whose,
            "targets" => u32::from(interrupt.targets),
            "set senders" | "clear senders" => u32::from(interrupt.senders),
            _ => unreachable!("{name}"),
        }
    }

    fn write(&mut self, by: u16, frame: Frame, offset: u64, width: Width, value: u64) {
        let Some(meaning) = self.find(by, frame, offset, width) else {
            self.ignored += 1;
            return;
        };
        let whose = if let Frame::Redistributor(vcpu) = frame { vcpu.0 } else { by };
        match meaning {
            Own("ctlr") => self.control = value as u32 & 3,
            Own("sgir") => {
                let mask = match value >> 24 & 3 {
                    0 => value as u32 >> 16 & 0xFF,
                    1 => 0xFF & !(1 << by),
                    2 => 1 << by,
                    _ => 0,
                };
                for to in (0..self.vcpus).filter(|to| mask & 1 << to != 0) {
                    self.private[usize::from(to)][value as usize & 15].senders |= 1 << by;
                }
            }
            Own("irouter") if offset & 4 == 0 => {
                let number = (offset as u32 - 0x6000) / 8;
                if let Some(interrupt) = self.interrupt(0, number) {
                    interrupt.route = value as u32 & 0xFF_FFFF;
                }
            }
            Own(_) => {}
            Array(name, each, _) => {
                let first = self.first(frame, offset, name, each);
                for place in 0..width.bytes() * 8 / each {
                    let field = (value >> (place * each)) as u32 & ((1 << each) - 1);
                    self.set(whose, frame, first + place, name, field);
                }
            }
        }
    }

    fn set(&mut self, whose: u16, frame: Frame, number: u32, name: &str, field: u32) {
        if self.v3 && frame == Frame::Distributor && number < 32 {
            return;
        }
        let (v3, alone, everybody) = (self.v3, self.vcpus == 1, (1u32 << self.vcpus.min(8)) - 1);
        let Some(interrupt) = self.interrupt(whose, number) else { return };
        let one = field != 0;
        match name {
            "group" => interrupt.group = one,
            "set enable" => interrupt.enabled |= one,
            "clear enable" => interrupt.enabled &= !one,
            "set pending" | "clear pending" if number < 16 => {
                if v3 && one {
                    interrupt.senders = u8::from(name == "set pending");
                }
            }
            "set pending" => interrupt.latch |= one,
            "clear pending" => interrupt.latch &= !one,
            "set active" => interrupt.active |= one,
            "clear active" => interrupt.active &= !one,
            "priority" => interrupt.priority = field as u8 & 0xF8,
            "configuration" => interrupt.edge = number >= 16 && field & 2 != 0,
            "targets" => {
                if number >= 32 && !alone {
                    interrupt.targets = (field & everybody) as u8;
                }
            }
            "set senders" => interrupt.senders |= (field & everybody) as u8,
            "clear senders" => interrupt.senders &= !field as u8,
            _ => unreachable!("{name}"),
        }
    }

    fn send(&mut self, by: u16, register: SgiRegister, value: u64) {
        if !self.v3 {
            self.ignored += 1;
            return;
        }
        let number = (value >> 24 & 15) as usize;
        for to in 0..self.vcpus {
            let affinity = u64::from(Self::affinity(to));
            let cluster = (value >> 48 & 0xFF) << 24 | (value >> 32 & 0xFF) << 16 | (value >> 16 & 0xFF) << 8;
            let meant = if value & 1 << 40 != 0 {
                to != by
            } else {
                affinity & !0xFF == cluster && value & 1 << (affinity & 0xFF) != 0
            };
            let interrupt = &mut self.private[usize::from(to)][number];
            if meant && (register == SgiRegister::Sgi1 || !interrupt.group) {
                interrupt.senders = 1;
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Read { by: u16, frame: Frame, offset: u64, width: Width },
    Write { by: u16, frame: Frame, offset: u64, width: Width, value: u64 },
    Send { by: u16, register: SgiRegister, value: u64 },
    Line { number: u32, level: Level },
    Enter(u16),
    Leave(u16),
}

fn frame() -> impl Strategy<Value = Frame> {
    prop_oneof![2 => Just(Frame::Distributor), 1 => (0..20u16).prop_map(|v| Frame::Redistributor(VcpuId(v)))]
}

fn offset() -> impl Strategy<Value = u64> {
    let bases = vec![
        0u64, 4, 8, 0xC, 0x10, 0x14, 0x80, 0x100, 0x180, 0x200, 0x280, 0x300, 0x380, 0x400, 0x7F8, 0x800,
        0xBF8, 0xC00, 0xCFC, 0xD00, 0xE00, 0xF00, 0xF10, 0xF20, 0xF2C, 0xFE8, 0x6000, 0x6100, 0x7FD8, 0xFFE8,
        0xFFFC,
    ];
    let by = prop_oneof![3 => 0..8u64, 1 => 0..0x50u64];
    let near = (prop::sample::select(bases), by, any::<bool>(), any::<bool>());
    prop_oneof![
        8 => near.prop_map(|(base, by, upper, aligned)| {
            base + if aligned { by & !3 } else { by } + if upper { 0x1_0000 } else { 0 }
        }),
        2 => 0..0x2_0010u64,
        1 => any::<u64>(),
    ]
}

fn width() -> impl Strategy<Value = Width> {
    prop_oneof![
        6 => Just(Width::Word),
        3 => Just(Width::Byte),
        1 => Just(Width::HalfWord),
        2 => Just(Width::DoubleWord),
    ]
}

fn value() -> impl Strategy<Value = u64> {
    prop_oneof![any::<u64>(), Just(u64::MAX), (0..64u32).prop_map(|bit| 1 << bit), 0..0x400u64]
}

fn step() -> impl Strategy<Value = Step> {
    let registers = prop::sample::select(vec![SgiRegister::Sgi0, SgiRegister::Sgi1, SgiRegister::AliasSgi1]);
    let small = (any::<u16>(), 0..16u64, 0..3u64, any::<bool>());
    let sent = small.prop_map(|(list, number, cluster, others)| {
        u64::from(list) | number << 24 | cluster << 16 | u64::from(others) << 40
    });
    prop_oneof![
        6 => (0..20u16, frame(), offset(), width())
            .prop_map(|(by, frame, offset, width)| Step::Read { by, frame, offset, width }),
        10 => (0..20u16, frame(), offset(), width(), value())
            .prop_map(|(by, frame, offset, width, value)| Step::Write { by, frame, offset, width, value }),
        2 => (0..20u16, registers, prop_oneof![3 => sent.boxed(), 1 => any::<u64>().boxed()])
            .prop_map(|(by, register, value)| Step::Send { by, register, value }),
        2 => (32..100u32, any::<bool>()).prop_map(|(number, high)| Step::Line {
            number,
            level: if high { Level::High } else { Level::Low },
        }),
        4 => (0..20u16).prop_map(Step::Enter),
        1 => (0..20u16).prop_map(Step::Leave),
    ]
}

/// Runs the steps on both, and compares all that can be read at the end as well.
fn compare(model: Model, vcpus: u16, interrupts: u32, steps: &[Step]) {
    let config = Config { id: VmId(1), model, completion: CompletionBy::Guest, vcpus, interrupts };
    let world = World::new(config, 64, 4);
    let mut plain = Plain::new(model == Model::V3, vcpus, interrupts);
    for step in steps {
        match *step {
            // One in ten comes from a vCPU that there is not.
            Step::Read { by, frame, offset, width } => {
                let by = if by < 18 { by % vcpus } else { by };
                if by < vcpus {
                    world.leave(by);
                }
                let read = world.vm.read(VcpuId(by), frame, offset, width);
                assert_eq!(read, plain.read(by, frame, offset, width), "{step:?}");
            }
            Step::Write { by, frame, offset, width, value } => {
                let by = if by < 18 { by % vcpus } else { by };
                if by < vcpus {
                    world.leave(by);
                }
                world.vm.write(VcpuId(by), frame, offset, width, value);
                plain.write(by, frame, offset, width, value);
            }
            Step::Send { by, register, value } => {
                world.leave(by % vcpus);
                world.vm.write_sgi_register(VcpuId(by % vcpus), register, value);
                plain.send(by % vcpus, register, value);
            }
            Step::Line { number, level } => {
                let set = world.vm.set_line(GuestInterrupt(number), level);
                let interrupt = plain.interrupt(0, number);
                assert_eq!(set.is_ok(), interrupt.is_some());
                if let Some(interrupt) = interrupt {
                    interrupt.line = level == Level::High;
                }
            }
            Step::Enter(vcpu) => world.enter(vcpu % vcpus),
            Step::Leave(vcpu) => world.leave(vcpu % vcpus),
        }
        world.check();
    }
    assert_eq!(world.vm.ignored_accesses(), plain.ignored);
    world.leave_all();
    for vcpu in 0..vcpus {
        for frame in [Frame::Distributor, Frame::Redistributor(VcpuId(vcpu))] {
            if frame == GICD && model == Model::V3 && vcpu > 0 {
                // The same for all.
                continue;
            }
            // Between these are registers that are reserved.
            let written =
                |offset: &u64| offset & 0xFFFF < 0x1000 || offset & 0xFFFF >= 0xFFE0 || frame == GICD;
            for offset in (0..frame.size(model)).step_by(4).filter(written) {
                let read = world.vm.read(VcpuId(vcpu), frame, offset, Width::Word);
                assert_eq!(read, plain.read(vcpu, frame, offset, Width::Word), "{frame:?} {offset:#x}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_gicv2_guest(
        vcpus in 1..=8u16,
        interrupts in prop::sample::select(vec![64, 96, 1024]),
        steps in prop::collection::vec(step(), 50..300),
    ) {
        compare(Model::V2, vcpus, interrupts, &steps);
    }

    #[test]
    fn a_gicv3_guest(
        vcpus in prop::sample::select(vec![1u16, 2, 5, 16, 17, 20]),
        interrupts in prop::sample::select(vec![64, 96, 1024]),
        steps in prop::collection::vec(step(), 50..300),
    ) {
        compare(Model::V3, vcpus, interrupts, &steps);
    }
}
