//! The hardware: a distributor with its inputs, a CPU interface, list registers.

use std::cell::RefCell;
use vcm_irq::host::{Acknowledged, Controller, CpuInterface};
use vcm_irq::vgic::{
    Attention, Completion, EndMode, GuestCpuInterface, ListRegister, LrState, VirtualInterface,
};
use vcm_irq::{HostInterrupt, Sense};

#[derive(Clone, Copy, Debug, Default)]
struct Input {
    high: bool,
    latched: bool,
    active: bool,
    enabled: bool,
    edge: bool,
}

impl Input {
    fn pending(self) -> bool {
        self.latched || self.high && !self.edge
    }
}

#[derive(Debug)]
pub struct Distributor {
    inputs: RefCell<Vec<Input>>,
    no_active_state: u32,
}

impl Distributor {
    pub fn new(interrupts: u32, no_active_state: u32) -> Self {
        Self { inputs: RefCell::new(vec![Input::default(); interrupts as usize]), no_active_state }
    }

    /// Sets a device's line.
    pub fn set(&self, interrupt: HostInterrupt, high: bool) {
        self.change(interrupt, |input| {
            input.latched |= input.edge && high && !input.high;
            input.high = high;
        });
    }

    pub fn is_enabled(&self, interrupt: HostInterrupt) -> bool {
        self.inputs.borrow()[interrupt.0 as usize].enabled
    }

    pub fn deactivated_by_guest(&self, interrupt: HostInterrupt) {
        assert!(self.is_active(interrupt), "the guest deactivates {interrupt}, which is not active");
        self.deactivate(interrupt);
    }

    fn change(&self, interrupt: HostInterrupt, change: impl FnOnce(&mut Input)) {
        change(&mut self.inputs.borrow_mut()[interrupt.0 as usize]);
    }
}

impl Controller for Distributor {
    fn interrupts(&self) -> u32 {
        self.inputs.borrow().len() as u32
    }
    fn has_active_state(&self, interrupt: HostInterrupt) -> bool {
        interrupt.0 < self.no_active_state
    }
    fn enable(&self, interrupt: HostInterrupt) {
        self.change(interrupt, |input| input.enabled = true);
    }
    fn disable(&self, interrupt: HostInterrupt) {
        self.change(interrupt, |input| input.enabled = false);
    }
    fn deactivate(&self, interrupt: HostInterrupt) {
        self.change(interrupt, |input| input.active = false);
    }
    fn set_active(&self, interrupt: HostInterrupt) {
        self.change(interrupt, |input| input.active = true);
    }
    fn set_pending(&self, interrupt: HostInterrupt) {
        self.change(interrupt, |input| input.latched = true);
    }
    fn clear_pending(&self, interrupt: HostInterrupt) {
        self.change(interrupt, |input| input.latched = false);
    }
    fn is_pending(&self, interrupt: HostInterrupt) -> bool {
        self.inputs.borrow()[interrupt.0 as usize].pending()
    }
    fn is_active(&self, interrupt: HostInterrupt) -> bool {
        self.inputs.borrow()[interrupt.0 as usize].active
    }
    fn set_sense(&self, interrupt: HostInterrupt, sense: Sense) {
        self.change(interrupt, |input| input.edge = sense == Sense::Edge);
    }
}

pub struct Cpu<'a>(pub &'a Distributor);

impl CpuInterface for Cpu<'_> {
    fn acknowledge(&mut self) -> Option<Acknowledged> {
        let mut inputs = self.0.inputs.borrow_mut();
        let ready = |input: &Input| input.enabled && !input.active && input.pending();
        let number = inputs.iter().position(ready)?;
        inputs[number].latched = false;
        inputs[number].active = true;
        Some(Acknowledged::new(HostInterrupt(number as u32), number as u32))
    }
    fn drop_priority(&mut self, _: &Acknowledged) {}
    fn deactivate(&mut self, acknowledged: Acknowledged) {
        self.0.deactivate(acknowledged.interrupt());
    }
}

/// The list registers of one CPU.
#[derive(Debug, Default)]
pub struct Registers {
    registers: [Option<ListRegister>; 4],
}

impl Registers {
    pub fn acknowledge(&mut self) -> Option<u32> {
        let register = self.registers.iter_mut().flatten().find(|one| one.state == LrState::Pending)?;
        register.state = LrState::Active;
        Some(register.interrupt.0)
    }

    /// Ends an interrupt; the physical one that the hardware deactivates.
    pub fn end(&mut self, interrupt: u32) -> Option<HostInterrupt> {
        let mut registers = self.registers.iter_mut().flatten();
        let register = registers.find(|one| one.interrupt.0 == interrupt && one.state == LrState::Active)?;
        register.state = LrState::Empty;
        match register.completion {
            Completion::Physical(physical) => Some(physical),
            Completion::Maintenance | Completion::Silent => None,
        }
    }

    pub fn names(&self, interrupt: HostInterrupt) -> bool {
        let names = |one: &ListRegister| {
            one.completion == Completion::Physical(interrupt) && one.state != LrState::Empty
        };
        self.registers.iter().flatten().any(names)
    }
}

impl VirtualInterface for Registers {
    fn list_registers(&self) -> usize {
        self.registers.len()
    }
    fn write(&mut self, index: usize, register: &ListRegister) {
        self.registers[index] = Some(*register);
    }
    fn state(&mut self, index: usize) -> LrState {
        self.registers[index].map_or(LrState::Empty, |register| register.state)
    }
    fn clear(&mut self, index: usize) {
        self.registers[index] = None;
    }
    fn empty(&mut self) -> u32 {
        let empty = |index: &usize| self.registers[*index].is_none_or(|one| one.state == LrState::Empty);
        (0..self.registers.len()).filter(empty).fold(0, |mask, index| mask | 1 << index)
    }
    fn enable(&mut self, _: Attention) {}
    fn disable(&mut self) -> u32 {
        0
    }
    fn guest(&mut self) -> GuestCpuInterface {
        GuestCpuInterface::default()
    }
    fn set_guest(&mut self, _: &GuestCpuInterface) {}
    fn end_mode(&self, _: &GuestCpuInterface) -> EndMode {
        EndMode::Together
    }
}
