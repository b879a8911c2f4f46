//! The state of an interrupt controller with virtualization, and what a guest's accesses do to it, as its
//! architecture has that and nothing more: no registers, no timing.
//!
//! The rules are those of Arm IHI 0048B.b 3.2 (states of an interrupt), 5.2 and 5.3 (list registers,
//! maintenance interrupts).

use vcm_irq::vgic::{Attention, Completion, GuestCpuInterface, ListRegister, LrState};
use vcm_irq::{FIRST_SPI, Sense};

/// One physical interrupt.
#[derive(Clone, Debug)]
pub(crate) struct Input {
    pub(crate) sense: Sense,
    /// The wire, of a level-sensitive one.
    pub(crate) high: bool,
    /// Pending by a latch: an edge, or by the set-pending register.
    pub(crate) latch: bool,
    pub(crate) active: bool,
    pub(crate) enabled: bool,
    /// It has an active state; LPIs have none.
    pub(crate) has_active_state: bool,
}

impl Input {
    pub(crate) fn is_pending(&self) -> bool {
        self.latch || self.high && self.sense == Sense::Level
    }

    pub(crate) fn is_signalled(&self) -> bool {
        self.enabled && self.is_pending() && !self.active
    }
}

/// One CPU: its virtual interface, and what it acknowledged of the host's interrupts.
#[derive(Clone, Debug)]
pub(crate) struct Cpu {
    pub(crate) registers: Vec<Option<ListRegister>>,
    pub(crate) enabled: bool,
    pub(crate) attention: Attention,
    pub(crate) guest: GuestCpuInterface,
    pub(crate) ended_outside: u32,
    /// An end of a list register that asks for a maintenance interrupt.
    pub(crate) ended: bool,
    /// Which interrupt to acknowledge next.
    pub(crate) next: Option<usize>,
    /// Acknowledged, and the priority not dropped.
    pub(crate) running: Option<usize>,
}

#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) inputs: Vec<Input>,
    pub(crate) cpus: Vec<Cpu>,
}

/// What a guest's end of an interrupt did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ended {
    /// A list register was found.
    Inside,
    /// None was, and that was counted.
    Outside,
}

impl State {
    /// What must hold at every moment.
    pub(crate) fn check(&self) {
        let mut physical = Vec::new();
        for (number, cpu) in self.cpus.iter().enumerate() {
            let mut virtual_ids = Vec::new();
            for register in cpu.registers.iter().flatten() {
                let id = register.interrupt;
                assert!(!virtual_ids.contains(&id), "CPU {number}: {id} is in two list registers");
                virtual_ids.push(id);
                let Completion::Physical(host) = register.completion else { continue };
                assert_ne!(
                    register.state,
                    LrState::PendingAndActive,
                    "CPU {number}: {id} is both, with {host}"
                );
                assert!(!physical.contains(&host), "{host} is in two list registers");
                physical.push(host);
                let active = self.inputs[(host.0 - FIRST_SPI) as usize].active;
                assert!(
                    active || !cpu.enabled,
                    "CPU {number} runs with {id} {:?}, {host} is inactive",
                    register.state
                );
            }
        }
    }

    /// The most urgent one that the guest on a CPU would be told of, as the register's place.
    pub(crate) fn most_urgent(&self, cpu: usize) -> Option<usize> {
        let cpu = &self.cpus[cpu];
        let running = cpu.guest.active_priorities[0].trailing_zeros();
        let pending = |(place, register): (usize, &Option<ListRegister>)| {
            let register = register.as_ref()?;
            let told = register.state == LrState::Pending && u32::from(register.priority >> 3) < running;
            told.then_some((register.priority, register.interrupt, place))
        };
        cpu.registers.iter().enumerate().filter_map(pending).min().map(|(_, _, place)| place)
    }

    /// The guest acknowledges the most urgent one.
    pub(crate) fn acknowledge(&mut self, cpu: usize) -> Option<ListRegister> {
        assert!(self.cpus[cpu].enabled);
        let place = self.most_urgent(cpu)?;
        let cpu = &mut self.cpus[cpu];
        let register = cpu.registers[place].as_mut()?;
        register.state = LrState::Active;
        cpu.guest.active_priorities[0] |= 1 << (register.priority >> 3);
        Some(*register)
    }

    /// The guest drops the running priority.
    pub(crate) fn drop_priority(&mut self, cpu: usize) {
        let priorities = &mut self.cpus[cpu].guest.active_priorities[0];
        assert_ne!(*priorities, 0, "the guest model ends what it acknowledged");
        *priorities &= *priorities - 1;
    }

    /// The guest deactivates an interrupt, by either register.
    pub(crate) fn deactivate(&mut self, cpu: usize, interrupt: u32) -> Ended {
        assert!(self.cpus[cpu].enabled);
        let is = |register: &&mut Option<ListRegister>| {
            register.as_ref().is_some_and(|r| r.interrupt.0 == interrupt)
        };
        let Some(found) = self.cpus[cpu].registers.iter_mut().find(is) else {
            self.cpus[cpu].ended_outside += 1;
            return Ended::Outside;
        };
        let register = found.as_mut().expect("it was found by its content");
        let completion = register.completion;
        match register.state {
            LrState::Active => *found = None,
            LrState::PendingAndActive => register.state = LrState::Pending,
            state => panic!("the guest ends {interrupt}, which it acknowledged and is {state:?}"),
        }
        match completion {
            Completion::Physical(host) => {
                let input = &mut self.inputs[(host.0 - FIRST_SPI) as usize];
                assert!(input.active, "the hardware deactivates {host}, which is inactive");
                input.active = false;
            }
            Completion::Maintenance => self.cpus[cpu].ended = true,
            Completion::Silent => {}
        }
        Ended::Inside
    }

    /// Whether a CPU's virtual interface asks for attention.
    pub(crate) fn maintenance(&self, cpu: usize) -> bool {
        let cpu = &self.cpus[cpu];
        let used = cpu.registers.iter().flatten().count();
        let pending = |r: &ListRegister| r.state == LrState::Pending;
        cpu.enabled
            && (cpu.ended
                || cpu.attention.underflow.is_yes() && used <= 1
                || cpu.attention.not_present.is_yes() && cpu.ended_outside > 0
                || cpu.attention.none_pending.is_yes() && !cpu.registers.iter().flatten().any(pending))
    }
}
