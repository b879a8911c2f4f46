//! Sequences of everything that happens to a virtual machine's interrupts: its guest's accesses to its
//! controller, its devices' lines, the host's interrupts, vCPUs that enter and leave, lines that are joined,
//! parted and closed.
//!
//! The machine asserts after each step that no list register is what it must not be; this asserts that the lines are as
//! their state says, and at the end that every device that is still joined reaches the guest, once.

// The small machine of vcm-irq's own tests.
#[path = "../../irq/tests/frames_machine/mod.rs"]
mod machine;

use machine::{APART, World};
use vcm_irq::host::OpenLine;
use vcm_irq::kvm::{Mode, join, part};
use vcm_irq::vgic::{CompletionBy, Config, Frame, GuestCpuInterface, Level, Model, SgiRegister, VmId, Width};
use vcm_irq::{GuestInterrupt, HostInterrupt, Sense, Token, VcpuId};

/// How many device lines there are: host interrupts from [`FIRST`] on. The odd ones are edges.
const LINES: usize = 8;
const FIRST: u32 = 32;
/// Guest interrupts from 32 to before this are for devices; what is above is for software to raise.
const DEVICE_END: u32 = 46;

/// How often something came to pass: to see that an input reaches what it is meant to test.
#[derive(Clone, Copy, Default, Debug)]
pub struct InterruptTally {
    /// Interrupts that the guest acknowledged.
    pub acknowledged: u64,
    /// Interrupts that the guest ended.
    pub ended: u64,
    /// Host interrupts that were handled.
    pub handled: u64,
    /// Lines that were joined and forwarded.
    pub forwarded: u64,
    /// Lines that were joined and completed by the host.
    pub automasked: u64,
    /// Lines that were parted while they were in flight.
    pub parted_in_flight: u64,
    /// Accesses that no register took.
    pub ignored: u64,
    /// Snapshots that were put back.
    pub restored: u64,
    /// Devices that reached the guest at the end.
    pub reached: u64,
}

impl std::ops::AddAssign for InterruptTally {
    fn add_assign(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        self.ended += other.ended;
        self.handled += other.handled;
        self.forwarded += other.forwarded;
        self.automasked += other.automasked;
        self.parted_in_flight += other.parted_in_flight;
        self.ignored += other.ignored;
        self.restored += other.restored;
        self.reached += other.reached;
    }
}

/// The bytes that are left, read as numbers; 0 when they are used up.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn number(&mut self, bytes: u32) -> u64 {
        (0..bytes).fold(0, |value, _| value << 8 | u64::from(self.byte()))
    }

    /// Below `end`.
    fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte()) % end
    }

    /// What a guest writes: everything, one bit, or anything.
    fn value(&mut self) -> u64 {
        match self.byte() % 4 {
            0 => u64::MAX,
            1 => 1 << (self.byte() % 64),
            2 => self.number(1),
            _ => self.number(8),
        }
    }

    fn width(&mut self) -> Width {
        [Width::Word, Width::Word, Width::Word, Width::Byte, Width::DoubleWord, Width::HalfWord]
            [self.below(6)]
    }

    /// Mostly near the start of a row of registers.
    fn offset(&mut self) -> u64 {
        const STARTS: [u64; 20] = [
            0x0, 0x80, 0x100, 0x180, 0x200, 0x280, 0x300, 0x380, 0x400, 0x420, 0x800, 0x820, 0xC00, 0xF00,
            0xF10, 0xF20, 0x6100, 0x1_0000, 0xFFE8, 0x1_0200,
        ];
        match self.byte() {
            0..=15 => self.number(8),
            16..=47 => self.number(3),
            48..=79 => STARTS[self.below(20)] + u64::from(self.byte() % 64) + 0x1_0000,
            _ => STARTS[self.below(20)] + u64::from(self.byte() % 16) * 4,
        }
    }
}

/// A device's line, when it is open.
#[derive(Clone, Copy)]
struct Device {
    line: OpenLine,
    guest: Option<(GuestInterrupt, Mode)>,
}

struct Run<'a> {
    input: Input<'a>,
    world: World,
    devices: [Option<Device>; LINES],
    tally: InterruptTally,
}

/// Runs what `bytes` spell, then lets the guest start anew, and checks that its devices reach it.
pub fn interrupts(bytes: &[u8]) -> InterruptTally {
    let mut input = Input(bytes);
    let shape = input.byte();
    let model = if shape & 1 == 0 { Model::V2 } else { Model::V3 };
    let vcpus = match (shape >> 1 & 3, model) {
        (3, Model::V3) => 17,
        (many, _) => u16::from(many) + 1,
    };
    let completion = if shape & 0b1110_0000 == 0 { CompletionBy::Host } else { CompletionBy::Guest };
    let world = World::new(
        Config { id: VmId(3), model, completion, vcpus, interrupts: 64 },
        FIRST as usize + LINES,
        usize::from(shape >> 3 & 3) + 1,
    );
    if shape & 0b10_0000 != 0 {
        for vcpu in 0..vcpus {
            let guest = GuestCpuInterface { control: APART, ..GuestCpuInterface::default() };
            world.seat(vcpu).vcpu.set_guest(guest);
        }
    }
    let mut run = Run { input, world, devices: [None; LINES], tally: InterruptTally::default() };
    run.start();
    while !run.input.0.is_empty() {
        run.step();
        run.check();
    }
    run.finish();
    run.tally.ignored = run.world.vm.ignored_accesses();
    run.tally
}

impl Run<'_> {
    fn vcpu(&mut self) -> u16 {
        self.input.below(usize::from(self.world.vm.config().vcpus)) as u16
    }

    fn write(&self, vcpu: u16, frame: Frame, offset: u64, value: u64) {
        self.world.write(vcpu, frame, offset, Width::Word, value);
    }

    /// What a guest's kernel does first: everything is known, and enabled.
    fn start(&self) {
        let vcpus = self.world.vm.config().vcpus;
        for vcpu in 0..vcpus {
            let (frame, shift) = match self.world.vm.config().model {
                Model::V2 => (Frame::Distributor, 0),
                Model::V3 => (Frame::Redistributor(VcpuId(vcpu)), 0x1_0000),
            };
            for (frame, shift, word) in [(frame, shift, 0), (Frame::Distributor, 0, 1)] {
                for clear in [0x180, 0x280, 0x380] {
                    self.write(vcpu, frame, shift + clear + 4 * word, u64::MAX);
                }
                for place in 0..8 {
                    self.write(vcpu, frame, shift + 0x400 + 32 * word + 4 * place, 0x8080_8080);
                }
                // All react to levels.
                self.write(vcpu, frame, shift + 0xC00 + 8 * word, 0);
                self.write(vcpu, frame, shift + 0xC04 + 8 * word, 0);
                self.write(vcpu, frame, shift + 0x100 + 4 * word, u64::MAX);
            }
            for place in 0..4 {
                self.write(vcpu, Frame::Distributor, 0xF10 + 4 * place, u64::MAX);
            }
        }
        for interrupt in 32..64 {
            match self.world.vm.config().model {
                Model::V2 => self.world.write(0, Frame::Distributor, 0x800 + interrupt, Width::Byte, 1),
                Model::V3 => self.write(0, Frame::Distributor, 0x6000 + 8 * interrupt, 0),
            }
        }
        self.write(0, Frame::Distributor, 0, 3);
    }

    fn step(&mut self) {
        match self.input.byte() % 32 {
            0..=6 => self.access(),
            7 => {
                let (by, value) = (self.vcpu(), self.input.value());
                let register = [SgiRegister::Sgi0, SgiRegister::Sgi1, SgiRegister::AliasSgi1];
                let register = register[self.input.below(3)];
                self.world.leave(by);
                self.world.vm.write_sgi_register(VcpuId(by), register, value);
            }
            8 => {
                let (vcpu, interrupt) = (self.vcpu(), u32::from(self.input.byte() % 72));
                let ended = self.world.seat(vcpu).ended.pop();
                self.world.deactivate(vcpu, ended.unwrap_or(interrupt));
            }
            9 => {
                let by = self.vcpu();
                let value = self.input.value();
                self.world.leave(by);
                self.world.vm.write_deactivation_register(VcpuId(by), value);
            }
            10..=13 => {
                let line = self.input.below(LINES) as u32;
                self.world.lines.drive(FIRST + line, self.input.byte() % 2 == 1);
            }
            14 | 15 => self.tally.handled += self.world.take_interrupts().len() as u64,
            16 => {
                let vcpu = self.vcpu();
                self.world.enter(vcpu);
            }
            17 => {
                let vcpu = self.vcpu();
                self.world.leave(vcpu);
            }
            18..=20 => {
                let vcpu = self.vcpu();
                self.tally.acknowledged += u64::from(self.world.acknowledge(vcpu).is_some());
            }
            21 | 22 => {
                let vcpu = self.vcpu();
                self.tally.ended += u64::from(self.world.end(vcpu).is_some());
            }
            23 => self.raise(),
            24..=26 => self.join(),
            27 => self.part(),
            28 => self.close(),
            29 => self.restore(),
            _ => self.mask(),
        }
    }

    fn access(&mut self) {
        let by = self.vcpu();
        let frame = match self.input.byte() % 3 {
            0 => Frame::Redistributor(VcpuId(u16::from(self.input.byte() % 20))),
            _ => Frame::Distributor,
        };
        let (offset, width) = (self.input.offset(), self.input.width());
        if self.input.byte().is_multiple_of(4) {
            let value = self.world.read(by, frame, offset, width);
            assert!(width == Width::DoubleWord || value < 1 << (8 * width.bytes()), "{value:#x}");
        } else {
            let value = self.input.value();
            self.world.write(by, frame, offset, width, value);
        }
    }

    /// Software interrupts the guest.
    fn raise(&mut self) {
        let (number, what) = (u32::from(self.input.byte() % 56) + 16, self.input.byte());
        let level = if what & 1 == 0 { Level::Low } else { Level::High };
        let guest = GuestInterrupt(number);
        let vcpu = VcpuId(self.vcpu());
        // Those that devices use are theirs.
        if (32..DEVICE_END).contains(&number) {
            return;
        }
        match what >> 1 & 3 {
            0 => _ = self.world.vm.set_line(guest, level),
            1 => _ = self.world.vm.pulse(guest),
            _ => self.world.vm.set_private_line(vcpu, number, level),
        }
    }

    fn join(&mut self) {
        let (index, guest) =
            (self.input.below(LINES), GuestInterrupt(u32::from(self.input.byte() % 16) + 30));
        let sense = if index % 2 == 0 { Sense::Level } else { Sense::Edge };
        let interrupt = HostInterrupt(FIRST + index as u32);
        let line = match self.devices[index] {
            Some(device) => device.line,
            None => self.world.host().open(interrupt, sense).expect("it is closed"),
        };
        let device = self.devices[index].get_or_insert(Device { line, guest: None });
        if let Ok(mode) = join(&self.world.vm, line, guest) {
            if let Some((before, _)) = device.guest {
                assert_eq!(before, guest, "joined to two");
            }
            device.guest = Some((guest, mode));
            match mode {
                Mode::Forwarded => self.tally.forwarded += 1,
                Mode::Automasked(_) => self.tally.automasked += 1,
            }
        }
    }

    fn part(&mut self) {
        let (index, token) = (self.input.below(LINES), Token::new(u64::from(self.input.byte() % 4)));
        self.part_device(index, token);
    }

    fn part_device(&mut self, index: usize, token: Option<Token>) {
        let Some(device) = &mut self.devices[index] else { return };
        let Some((guest, mode)) = device.guest.take() else { return };
        let active = self.world.lines.get(FIRST + index as u32).active;
        self.tally.parted_in_flight += u64::from(mode == Mode::Forwarded && active);
        part(&self.world.vm, device.line, guest, token);
    }

    fn close(&mut self) {
        let index = self.input.below(LINES);
        self.part_device(index, None);
        if let Some(device) = self.devices[index].take() {
            self.world.host().close(device.line);
            let physical = self.world.lines.get(FIRST + index as u32);
            assert!(!physical.enabled && !physical.active && !physical.latched, "closed");
            // Nothing comes of it any more.
            self.world.host().complete(device.line);
            self.world.host().unmask(device.line);
        }
    }

    fn mask(&mut self) {
        let (index, what) = (self.input.below(LINES), self.input.byte());
        let Some(device) = self.devices[index] else { return };
        match what % 5 {
            0 => self.world.host().mask(device.line),
            1 => self.world.host().rearm(device.line),
            2 => {
                let joined = device.guest.is_some();
                let connected = self.world.host().connect(device.line, Token::new(2));
                assert_eq!(connected.is_err(), joined, "a line that is a guest's keeps its trigger");
            }
            // What is in flight in the guest is not for the user to end.
            _ => self.world.host().unmask(device.line),
        }
    }

    /// What is kept and put back somewhere else is the same.
    fn restore(&mut self) {
        self.world.leave_all();
        let snapshot = self.world.vm.snapshot().expect("memory");
        let other = World::new(self.world.vm.config(), FIRST as usize, 4);
        other.vm.restore(&snapshot).expect("what was kept can be put back");
        assert_eq!(other.vm.snapshot().expect("memory"), snapshot);
        (0..other.vm.config().vcpus).for_each(|vcpu| other.enter(vcpu));
        other.leave_all();
        assert_eq!(other.vm.snapshot().expect("memory"), snapshot, "and running changes nothing by itself");
        self.tally.restored += 1;
    }

    /// That the lines are as their state says.
    fn check(&mut self) {
        for (index, device) in self.devices.iter().enumerate() {
            let interrupt = FIRST + index as u32;
            let physical = self.world.lines.get(interrupt);
            let state = self.world.host().state(HostInterrupt(interrupt)).expect("it exists");
            let quiet = state.user_masked || state.automasked || state.guest_masked || state.shut;
            let signals = state.open && state.connected && !quiet;
            assert_eq!(physical.enabled, signals, "{interrupt}: {state:?}");
            assert_eq!(state.open, device.is_some());
            let forwarded =
                device.and_then(|device| device.guest).is_some_and(|(_, mode)| mode == Mode::Forwarded);
            assert_eq!(state.forwarded, forwarded, "{interrupt}");
            assert!(!physical.active || forwarded, "{interrupt} is active for nobody: {state:?}");
        }
    }

    /// That what a guest has of a forwarded interrupt is what the hardware has. All vCPUs leave the guest.
    fn check_guest(&self) {
        self.world.leave_all();
        for (index, device) in self.devices.iter().enumerate() {
            let Some((guest, Mode::Forwarded)) = device.and_then(|device| device.guest) else { continue };
            let physical = self.world.lines.get(FIRST + index as u32);
            let seen = self.world.vm.interrupt(VcpuId(0), guest.0).expect("it exists");
            assert!(!seen.active || physical.active, "{guest} is active, and its host interrupt is not");
            assert!(!seen.pending || physical.active || physical.pending(), "{guest} is pending by nothing");
            // One that the guest has not acknowledged is gone for it when the line is low, and is withdrawn
            // when it looks.
            let gone = !physical.edge && !physical.high;
            assert!(
                !physical.active || seen.active || seen.pending || gone,
                "{guest} has lost its interrupt"
            );
        }
    }

    /// The guest starts anew, and its devices ask once more.
    fn finish(&mut self) {
        self.check_guest();
        for index in 0..LINES {
            self.world.lines.drive(FIRST + index as u32, false);
            if let Some(device) = self.devices[index] {
                let state = self.world.host().state(device.line.interrupt()).expect("it exists");
                if state.user_masked {
                    self.world.host().unmask(device.line);
                }
                self.world.host().rearm(device.line);
            }
        }
        let vcpus = self.world.vm.config().vcpus;
        for interrupt in 16..64 {
            if interrupt >= DEVICE_END {
                let _ = self.world.vm.set_line(GuestInterrupt(interrupt), Level::Low);
            }
            (0..vcpus).for_each(|vcpu| self.world.vm.set_private_line(VcpuId(vcpu), interrupt, Level::Low));
        }
        self.world.leave_all();
        for vcpu in 0..vcpus {
            let mut seat = self.world.seat(vcpu);
            seat.running.clear();
            seat.ended.clear();
        }
        self.start();
        // What came before the new start may come once more.
        for _ in 0..3 {
            self.world.take_interrupts();
            (0..vcpus).for_each(|vcpu| while self.serve(vcpu).is_some() {});
        }
        self.check();
        for index in 0..LINES {
            let Some((guest, mode)) = self.devices[index].and_then(|device| device.guest) else { continue };
            let physical = self.world.lines.get(FIRST + index as u32);
            assert!(!physical.active && !physical.pending(), "line {index}, {mode:?}: quiet");
            self.world.lines.drive(FIRST + index as u32, true);
            let state = self.world.host().state(HostInterrupt(FIRST + index as u32));
            assert_eq!(self.world.take_interrupts().len(), 1, "line {index}, {mode:?}: {state:?}");
            self.world.enter(0);
            assert_eq!(self.world.acknowledge(0), Some(guest.0), "line {index}, {mode:?}");
            self.world.lines.drive(FIRST + index as u32, false);
            self.end(0);
            self.world.leave(0);
            assert_eq!(self.world.take_interrupts(), [], "line {index}, {mode:?}: once");
            assert_eq!(self.serve(0), None, "line {index}, {mode:?}: once");
            self.check();
            self.tally.reached += 1;
        }
        self.world.leave_all();
        for index in 0..LINES {
            self.part_device(index, None);
            if let Some(device) = self.devices[index].take() {
                self.world.host().close(device.line);
            }
        }
        self.check();
    }

    /// The guest takes one interrupt and ends it.
    fn serve(&self, vcpu: u16) -> Option<u32> {
        self.world.leave(vcpu);
        let interrupt = self.world.acknowledge(vcpu)?;
        self.end(vcpu);
        Some(interrupt)
    }

    fn end(&self, vcpu: u16) {
        self.world.end(vcpu);
        let ended = self.world.seat(vcpu).ended.pop();
        if let Some(interrupt) = ended {
            self.world.deactivate(vcpu, interrupt);
        }
    }
}
