//! The interrupt controller's interfaces.
//!
//! Every access checks what must hold of the hardware's state at that moment, and panics if it does not.

use super::architecture::{Cpu, Input, State};
use std::cell::RefCell;
use vcm_irq::host::{Acknowledged, Controller, CpuInterface};
use vcm_irq::vgic::{Attention, EndMode, GuestCpuInterface, ListRegister, LrState, VirtualInterface};
use vcm_irq::{FIRST_SPI, HostInterrupt, Sense};

/// The guest ends interrupts with two registers: what this model has in the control word for it.
pub(crate) const ENDS_APART: u32 = 1;

/// The hardware.
#[derive(Debug)]
pub(crate) struct Hardware(RefCell<State>);

impl Hardware {
    pub(crate) fn new(senses: &[Sense], cpus: usize, registers: usize) -> Self {
        let input = |&sense: &Sense| Input {
            sense,
            high: false,
            latch: false,
            active: false,
            enabled: false,
            has_active_state: true,
        };
        let cpu = || Cpu {
            registers: vec![None; registers],
            enabled: false,
            attention: Attention::default(),
            guest: GuestCpuInterface::default(),
            ended_outside: 0,
            ended: false,
            next: None,
            running: None,
        };
        Self(RefCell::new(State {
            inputs: senses.iter().map(input).collect(),
            cpus: (0..cpus).map(|_| cpu()).collect(),
        }))
    }

    /// Looks at the state.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&State) -> R) -> R {
        look(&self.0.borrow())
    }

    /// Changes the state, and checks it.
    pub(crate) fn act<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.0.borrow_mut();
        let result = act(&mut state);
        state.check();
        result
    }

    fn input<R>(&self, interrupt: HostInterrupt, act: impl FnOnce(&mut Input) -> R) -> Option<R> {
        let place = interrupt.0.checked_sub(FIRST_SPI)? as usize;
        self.act(|state| state.inputs.get_mut(place).map(act))
    }

    /// The device drives its line, or sends an edge.
    pub(crate) fn set_line(&self, place: usize, high: bool) {
        self.act(|state| {
            let input = &mut state.inputs[place];
            input.latch |= input.sense == Sense::Edge && high && !input.high;
            input.high = high;
        });
    }

    /// The virtual interface of a CPU.
    pub(crate) fn virtual_cpu(&self, cpu: usize) -> VirtualCpu<'_> {
        VirtualCpu { hardware: self, cpu }
    }

    /// The physical interface of a CPU, which acknowledges this interrupt next.
    pub(crate) fn physical_cpu(&self, cpu: usize, next: usize) -> PhysicalCpu<'_> {
        self.act(|state| state.cpus[cpu].next = Some(next));
        PhysicalCpu { hardware: self, cpu }
    }

    /// Whether a CPU has nothing acknowledged whose priority it has not dropped.
    pub(crate) fn is_idle(&self, cpu: usize) -> bool {
        self.look(|state| state.cpus[cpu].running.is_none())
    }
}

impl Controller for Hardware {
    fn interrupts(&self) -> u32 {
        FIRST_SPI + self.look(|state| state.inputs.len()) as u32
    }

    fn has_active_state(&self, interrupt: HostInterrupt) -> bool {
        self.input(interrupt, |input| input.has_active_state).unwrap_or(false)
    }

    fn enable(&self, interrupt: HostInterrupt) {
        self.input(interrupt, |input| input.enabled = true);
    }

    fn disable(&self, interrupt: HostInterrupt) {
        self.input(interrupt, |input| input.enabled = false);
    }

    fn deactivate(&self, interrupt: HostInterrupt) {
        self.input(interrupt, |input| input.active = false);
    }

    fn set_active(&self, interrupt: HostInterrupt) {
        self.input(interrupt, |input| input.active = true);
    }

    fn set_pending(&self, interrupt: HostInterrupt) {
        self.input(interrupt, |input| input.latch = true);
    }

    fn clear_pending(&self, interrupt: HostInterrupt) {
        self.input(interrupt, |input| input.latch = false);
    }

    fn is_pending(&self, interrupt: HostInterrupt) -> bool {
        self.input(interrupt, |input| input.is_pending()).unwrap_or(false)
    }

    fn is_active(&self, interrupt: HostInterrupt) -> bool {
        self.input(interrupt, |input| input.active).unwrap_or(false)
    }

    fn set_sense(&self, interrupt: HostInterrupt, sense: Sense) {
        self.input(interrupt, |input| {
            assert!(!input.enabled, "what {interrupt} reacts to is changed while it is enabled");
            input.sense = sense;
        });
    }
}

/// A CPU's physical interface.
pub(crate) struct PhysicalCpu<'a> {
    hardware: &'a Hardware,
    cpu: usize,
}

impl CpuInterface for PhysicalCpu<'_> {
    fn acknowledge(&mut self) -> Option<Acknowledged> {
        self.hardware.act(|state| {
            let cpu = &mut state.cpus[self.cpu];
            assert!(cpu.running.is_none(), "the priority of what was acknowledged before is not dropped");
            let next = cpu.next.take()?;
            let input = &mut state.inputs[next];
            if !input.is_signalled() {
                return None;
            }
            cpu.running = Some(next);
            input.active = true;
            input.latch = false;
            let number = FIRST_SPI + next as u32;
            Some(Acknowledged::new(HostInterrupt(number), number))
        })
    }

    fn drop_priority(&mut self, acknowledged: &Acknowledged) {
        let place = (acknowledged.interrupt().0 - FIRST_SPI) as usize;
        let running = self.hardware.act(|state| state.cpus[self.cpu].running.take());
        assert_eq!(running, Some(place), "the priority is dropped of what was acknowledged, once");
    }

    fn deactivate(&mut self, acknowledged: Acknowledged) {
        let active = self.hardware.input(acknowledged.interrupt(), |input| std::mem::take(&mut input.active));
        assert_eq!(active, Some(true), "{} is deactivated twice", acknowledged.interrupt());
    }
}

/// A CPU's virtual interface.
pub(crate) struct VirtualCpu<'a> {
    hardware: &'a Hardware,
    cpu: usize,
}

impl VirtualCpu<'_> {
    fn act<R>(&self, act: impl FnOnce(&mut Cpu) -> R) -> R {
        self.hardware.act(|state| act(&mut state.cpus[self.cpu]))
    }
}

impl VirtualInterface for VirtualCpu<'_> {
    fn list_registers(&self) -> usize {
        self.act(|cpu| cpu.registers.len())
    }

    fn write(&mut self, index: usize, register: &ListRegister) {
        self.act(|cpu| {
            assert!(!cpu.enabled, "list register {index} is written while the guest may run");
            assert!(cpu.registers[index].is_none(), "list register {index} is in use");
            assert_ne!(register.state, LrState::Empty, "an empty list register is written");
            cpu.registers[index] = Some(*register);
        });
    }

    fn state(&mut self, index: usize) -> LrState {
        self.act(|cpu| cpu.registers[index].map_or(LrState::Empty, |register| register.state))
    }

    fn clear(&mut self, index: usize) {
        self.act(|cpu| {
            assert!(!cpu.enabled, "list register {index} is cleared while the guest may run");
            cpu.registers[index] = None;
        });
    }

    fn empty(&mut self) -> u32 {
        self.act(|cpu| {
            let bit =
                |(index, register): (usize, &Option<ListRegister>)| u32::from(register.is_none()) << index;
            cpu.registers.iter().enumerate().map(bit).sum()
        })
    }

    fn enable(&mut self, attention: Attention) {
        self.act(|cpu| {
            assert!(!cpu.enabled);
            cpu.enabled = true;
            cpu.ended = false;
            cpu.attention = attention;
        });
    }

    fn disable(&mut self) -> u32 {
        self.act(|cpu| {
            assert!(cpu.enabled);
            cpu.enabled = false;
            cpu.ended = false;
            cpu.attention = Attention::default();
            std::mem::take(&mut cpu.ended_outside)
        })
    }

    fn guest(&mut self) -> GuestCpuInterface {
        self.act(|cpu| cpu.guest)
    }

    fn set_guest(&mut self, guest: &GuestCpuInterface) {
        self.act(|cpu| cpu.guest = *guest);
    }

    fn end_mode(&self, guest: &GuestCpuInterface) -> EndMode {
        if guest.control & ENDS_APART != 0 { EndMode::Apart } else { EndMode::Together }
    }
}
