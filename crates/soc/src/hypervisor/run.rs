//! One step of a CPU that runs guests: an exit, an entry, or one access of a guest.

use super::account::Reason;
use super::seat::NOWHERE;
use super::world::{HOST, Runner, World, lock};
use crate::hardware::gic::registers::{cpu_interface, distributor};
use crate::hardware::gic::{Frame, MAINTENANCE, Width};
use crate::hardware::guest::{Action, Place};
use crate::hardware::{CPUS, Level};
use std::sync::atomic::Ordering::SeqCst;
use vcm_irq::gic::AnyAcknowledged;
use vcm_irq::host::{Acknowledged, CpuInterface as _};
use vcm_irq::vgic;

/// Accesses that a vCPU makes before another one that waits for its CPU has its turn.
const SLICE: u32 = 24;

/// What a CPU did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Turn {
    /// Something.
    Did,
    /// It has nothing to do.
    Idle,
}

impl World {
    /// One step of `cpu`.
    pub(super) fn turn(&self, cpu: usize) -> Turn {
        self.as_cpu(cpu, || {
            if self.signalled(cpu) {
                self.interrupted(cpu);
                return Turn::Did;
            }
            let current = lock(&self.cpus[cpu].duty).current.clone();
            match current.filter(|runner| runner.place().is_inside()) {
                Some(runner) if runner.place().kicked.load(SeqCst) => {
                    let causes = lock(&runner.place().kicked_by).clone();
                    self.leave(&runner, &Reason::of(causes));
                    Turn::Did
                }
                Some(runner) => self.act(cpu, &runner),
                None => match self.choose(cpu) {
                    Some(runner) => {
                        self.enter(cpu, &runner);
                        Turn::Did
                    }
                    None => Turn::Idle,
                },
            }
        })
    }

    /// Takes every interrupt that waits for `cpu`.
    fn interrupted(&self, cpu: usize) {
        let current = lock(&self.cpus[cpu].duty).current.clone();
        let mut causes = Vec::new();
        if let Some(runner) = current.filter(|runner| runner.place().is_inside()) {
            let reason = self.reason(cpu, &runner);
            self.leave(&runner, &reason);
            causes = reason.causes;
        }
        loop {
            let taken = lock(&self.cpus[cpu].interface).acknowledge_any();
            match taken {
                Some(AnyAcknowledged::Interrupt(acknowledged)) => {
                    causes = vec![acknowledged.interrupt().0];
                    self.handle(cpu, acknowledged);
                }
                Some(AnyAcknowledged::SoftwareGenerated(sent)) => lock(&self.cpus[cpu].interface).end(sent),
                // That there are no more took an access to find out.
                None => return lock(&self.accounts).accesses(&causes, 1),
            }
        }
    }

    /// Why the vCPU on `cpu` leaves the guest: the most urgent interrupt that waits, and those whose end raised the
    /// maintenance interrupt. To find out is not the host's work, so that it is not counted.
    fn reason(&self, cpu: usize, runner: &Runner) -> Reason {
        let (pending, maintenance) = {
            let mut machine = self.machine.lock();
            let gic = machine.board.gic_mut();
            let pending = gic.read(cpu, Frame::CpuInterface, cpu_interface::HPPIR, Width::Word);
            (pending, gic.maintenance(cpu) == Level::High)
        };
        let mut reason = Reason::default();
        if maintenance {
            let interface = lock(&self.cpus[cpu].virtual_interface);
            let bits = interface.ended();
            for index in (0..32).filter(|index| bits >> index & 1 != 0) {
                let Some(register) = interface.read(index) else { continue };
                let plugged = lock(&runner.guest.plugged);
                let hosts = plugged.iter().filter(|plugged| plugged.number == register.interrupt.0);
                reason.ended.extend(hosts.map(|plugged| plugged.host));
            }
            reason.causes.clone_from(&reason.ended);
        }
        if (32..cpu_interface::SPECIAL).contains(&pending) && !reason.causes.contains(&pending) {
            reason.causes.push(pending);
        }
        reason
    }

    /// Handles an interrupt that `cpu` acknowledged.
    pub(super) fn handle(&self, cpu: usize, acknowledged: Acknowledged) {
        let number = acknowledged.interrupt().0;
        let mut interface = lock(&self.cpus[cpu].interface);
        if number == MAINTENANCE {
            // What was to be done was done when the vCPU left the guest.
            interface.drop_priority(&acknowledged);
            interface.deactivate(acknowledged);
            return;
        }
        // To acknowledge it took one access.
        let before = self.accesses() - 1;
        let now = self.now.load(SeqCst);
        self.on_behalf(vec![number], || {
            self.meter.host(|| self.host.handle(acknowledged, &mut *interface, self, now));
        });
        lock(&self.accounts).accesses(&[number], self.accesses() - before);
    }

    /// The vCPU that `cpu` is to run.
    fn choose(&self, cpu: usize) -> Option<Runner> {
        let mut duty = lock(&self.cpus[cpu].duty);
        let ready = |runner: &Runner| runner.place().on.load(SeqCst) == NOWHERE && !runner.waits();
        if let Some(current) = &duty.current
            && duty.slice > 0
            && !current.waits()
        {
            return Some(current.clone());
        }
        if let Some(place) = duty.queue.iter().position(ready) {
            duty.queue.rotate_left(place + 1);
            return duty.queue.back().cloned();
        }
        let current = duty.current.clone();
        drop(duty);
        if current.as_ref().is_some_and(|runner| !runner.waits()) {
            return current;
        }
        self.find_elsewhere(cpu).or(current)
    }

    /// A vCPU of another CPU that is busy with something else.
    fn find_elsewhere(&self, cpu: usize) -> Option<Runner> {
        let mut others = (HOST + 1..CPUS).filter(|other| *other != cpu);
        others.find_map(|other| {
            let duty = lock(&self.cpus[other].duty);
            let busy = duty.current.as_ref().is_some_and(|runner| !runner.waits());
            let ready = |runner: &&Runner| runner.place().on.load(SeqCst) == NOWHERE && !runner.waits();
            duty.queue.iter().find(ready).filter(|_| busy).cloned()
        })
    }

    /// Whether another vCPU wants `cpu`.
    fn is_wanted(&self, cpu: usize) -> bool {
        let duty = lock(&self.cpus[cpu].duty);
        duty.queue.iter().any(|runner| runner.place().on.load(SeqCst) == NOWHERE && !runner.waits())
    }

    /// A vCPU enters its guest.
    fn enter(&self, cpu: usize, runner: &Runner) {
        let place = runner.place();
        let causes = {
            let mut duty = lock(&self.cpus[cpu].duty);
            let same = duty.current.as_ref().is_some_and(|current| current.is(runner));
            if !same || duty.slice == 0 {
                duty.slice = SLICE;
            }
            if let Some(before) = duty.current.replace(runner.clone()).filter(|_| !same) {
                before.place().on.store(NOWHERE, SeqCst);
            }
            std::mem::take(&mut duty.causes)
        };
        place.on.store(cpu, SeqCst);
        place.kicked.store(false, SeqCst);
        lock(&place.kicked_by).clear();
        let before = self.accesses();
        let loaded = {
            let mut vcpu = lock(&runner.guest.vcpus[usize::from(runner.vcpu)]);
            let mut interface = lock(&self.cpus[cpu].virtual_interface);
            self.meter.host(|| vcpu.load(&runner.guest.vm, &mut *interface))
        };
        place.trap_deactivation.store(loaded.trap_deactivation.is_yes(), SeqCst);
        place.inside.store(true, SeqCst);
        lock(&self.accounts).accesses(&causes, self.accesses() - before);
    }

    /// One access of the guest.
    fn act(&self, cpu: usize, runner: &Runner) -> Turn {
        let interrupt = self.machine.lock().board.gic().virtual_irq(cpu);
        let action = lock(&runner.guest.software).next(runner.vcpu, interrupt);
        let over = {
            let mut duty = lock(&self.cpus[cpu].duty);
            duty.slice = duty.slice.saturating_sub(1);
            duty.slice == 0
        };
        if (over || action == Action::Wait) && self.is_wanted(cpu) {
            self.leave(runner, &Reason::default());
            return Turn::Did;
        }
        let (place, value) = match action {
            Action::Wait => return Turn::Idle,
            Action::Read(place) => (place, None),
            Action::Write(place, value) => (place, Some(value)),
        };
        let answer = match place {
            Place::Distributor { offset, width } => self.trap_distributor(runner, offset, width, value),
            Place::Interface { offset: cpu_interface::DIR }
                if runner.place().trap_deactivation.load(SeqCst) =>
            {
                let number = value.unwrap_or(0) & 0x3ff;
                self.trap(runner, &[number], || runner.guest.vm.deactivate(runner.id(), number));
                0
            }
            Place::Interface { offset } => self.reach(cpu, offset, value),
            Place::Device { device } => self.reach_device(runner, device, value),
        };
        if action == Action::Read(Place::Interface { offset: cpu_interface::IAR }) {
            let mut plugged = lock(&runner.guest.plugged);
            plugged
                .iter_mut()
                .filter(|plugged| plugged.number == answer & 0x3ff)
                .for_each(|one| one.taken = false);
        }
        lock(&runner.guest.software).done(runner.vcpu, interrupt, answer);
        Turn::Did
    }

    /// An access to the virtual CPU interface, which the hardware makes.
    fn reach(&self, cpu: usize, offset: u32, value: Option<u32>) -> u32 {
        let mut machine = self.machine.lock();
        let gic = machine.board.gic_mut();
        match value {
            None => gic.read(cpu, Frame::VirtualCpuInterface, offset, Width::Word),
            Some(value) => {
                gic.write(cpu, Frame::VirtualCpuInterface, offset, Width::Word, value);
                0
            }
        }
    }

    /// An access to a device, whose registers the guest has.
    fn reach_device(&self, runner: &Runner, device: usize, value: Option<u32>) -> u32 {
        let Some((master, index)) = lock(&runner.guest.plugged).get(device).map(|one| one.request) else {
            return 0;
        };
        let board = &mut self.machine.lock().board;
        match value {
            None => board.requests(master).get(index).map_or(0, |request| request.open() as u32),
            Some(value) => {
                board.content(master, index, value.into());
                0
            }
        }
    }

    /// An access to the distributor, which the guest has none of.
    fn trap_distributor(&self, runner: &Runner, offset: u32, width: Width, value: Option<u32>) -> u32 {
        let frame = vgic::Frame::Distributor;
        let size = match width {
            Width::Byte => vgic::Width::Byte,
            Width::Word => vgic::Width::Word,
        };
        let vm = &runner.guest.vm;
        let Some(value) = value else {
            return self.trap(runner, &[], || vm.read(runner.id(), frame, offset.into(), size) as u32);
        };
        let enables = (distributor::ISENABLER..distributor::ICENABLER).contains(&offset);
        let disables = (distributor::ICENABLER..distributor::ISPENDR).contains(&offset);
        let first = offset % 0x80 / 4 * 32;
        let named = (0..32).filter(|bit| (enables || disables) && value >> bit & 1 != 0);
        let mut named: Vec<u32> = named.map(|bit| first + bit).collect();
        // When a driver enables its interrupt for the first time, that is no interrupt's doing.
        for plugged in lock(&runner.guest.plugged).iter_mut() {
            if !plugged.set_up && named.contains(&plugged.number) {
                plugged.set_up = true;
                named.retain(|number| *number != plugged.number);
            }
        }
        self.trap(runner, &named, || vm.write(runner.id(), frame, offset.into(), size, value.into()));
        0
    }

    /// Does for the guest what it cannot do itself, because of the interrupts that it named.
    fn trap<T>(&self, runner: &Runner, named: &[u32], act: impl FnOnce() -> T) -> T {
        let causes: Vec<u32> = {
            let plugged = lock(&runner.guest.plugged);
            plugged.iter().filter(|one| named.contains(&one.number)).map(|one| one.host).collect()
        };
        self.leave(runner, &Reason::of(causes.clone()));
        let before = self.accesses();
        let done = self.on_behalf(causes.clone(), || self.meter.host(act));
        lock(&self.accounts).accesses(&causes, self.accesses() - before);
        done
    }

    /// Whether no CPU that runs guests has anything to do.
    pub(super) fn is_quiet(&self) -> bool {
        (HOST + 1..CPUS).all(|cpu| {
            let current = lock(&self.cpus[cpu].duty).current.clone();
            let idle = |runner: &Runner| {
                let interrupted = self.machine.lock().board.gic().virtual_irq(cpu) == Level::High;
                runner.waits() && runner.place().is_inside() && !interrupted
            };
            !self.signalled(cpu) && !self.is_wanted(cpu) && current.as_ref().is_none_or(idle)
        })
    }
}
