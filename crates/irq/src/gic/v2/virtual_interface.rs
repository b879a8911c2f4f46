//! The virtual interface control.

use super::list_register::{decode, encode};
use super::spec::{
    GICH_APR, GICH_EISR0, GICH_ELRSR0, GICH_HCR, GICH_HCR_EN, GICH_HCR_EOI_COUNT, GICH_HCR_LRENPIE,
    GICH_HCR_NPIE, GICH_HCR_UIE, GICH_LR, GICH_MISR, GICH_VMCR, GICH_VMCR_VEM, GICH_VTR, GICH_VTR_LIST_REGS,
};
use crate::gic::{Maintenance, Registers};
use crate::vgic::{
    Attention, EndMode, GuestCpuInterface, ListRegister, LrState, MOST_LIST_REGISTERS, VirtualInterface as _,
};

/// The virtual interface of the CPU that runs this code.
///
/// `GICH_LRn` has five bits of priority, and the guest's deactivations cannot be trapped:
/// [`Attention::deactivation`] changes nothing here.
pub struct VirtualInterface<R> {
    registers: R,
    list_registers: usize,
    refused: u32,
}

impl<R: Registers> VirtualInterface<R> {
    /// The virtual interface behind this window of 4 KiB, whose type is read here.
    pub fn new(registers: R) -> Self {
        let told = GICH_VTR_LIST_REGS.get(registers.read(GICH_VTR)) as usize + 1;
        Self { registers, list_registers: told.min(MOST_LIST_REGISTERS), refused: 0 }
    }

    /// Switches the interface off and empties its list registers, whatever a predecessor left.
    pub fn init(&mut self) {
        self.registers.write(GICH_HCR, 0);
        for index in 0..self.list_registers {
            self.clear(index);
        }
        self.set_guest(&GuestCpuInterface::default());
    }

    /// Reads list register `index`, if there is one.
    pub fn read(&self, index: usize) -> Option<ListRegister> {
        (index < self.list_registers).then(|| decode(self.registers.read(GICH_LR + 4 * index as u32)))
    }

    /// Why the maintenance interrupt is raised.
    pub fn maintenance(&self) -> Maintenance {
        Maintenance(self.registers.read(GICH_MISR))
    }

    /// Which list registers were ended and asked for a maintenance interrupt (`GICH_EISR`): bit n is register n's.
    pub fn ended(&self) -> u32 {
        self.registers.read(GICH_EISR0) & self.implemented()
    }

    /// How many list registers [`write`](crate::vgic::VirtualInterface::write) refused because the hardware has no
    /// sound encoding for them ([`encode`] says why). They were left empty.
    pub const fn refused(&self) -> u32 {
        self.refused
    }

    const fn implemented(&self) -> u32 {
        (1 << self.list_registers) - 1
    }
}

impl<R: Registers> crate::vgic::VirtualInterface for VirtualInterface<R> {
    fn list_registers(&self) -> usize {
        self.list_registers
    }

    fn write(&mut self, index: usize, register: &ListRegister) {
        if index < self.list_registers {
            let value = encode(register).unwrap_or_else(|_| {
                self.refused = self.refused.saturating_add(1);
                0
            });
            self.registers.write(GICH_LR + 4 * index as u32, value);
        }
    }

    fn state(&mut self, index: usize) -> LrState {
        self.read(index).map_or(LrState::Empty, |register| register.state)
    }

    fn clear(&mut self, index: usize) {
        if index < self.list_registers {
            self.registers.write(GICH_LR + 4 * index as u32, 0);
        }
    }

    fn empty(&mut self) -> u32 {
        self.registers.read(GICH_ELRSR0) & self.implemented()
    }

    fn enable(&mut self, attention: Attention) {
        self.registers.write(
            GICH_HCR,
            GICH_HCR_EN.put(1)
                | GICH_HCR_UIE.put(attention.underflow.is_yes().into())
                | GICH_HCR_LRENPIE.put(attention.not_present.is_yes().into())
                | GICH_HCR_NPIE.put(attention.none_pending.is_yes().into()),
        );
    }

    fn disable(&mut self) -> u32 {
        let ends = GICH_HCR_EOI_COUNT.get(self.registers.read(GICH_HCR));
        self.registers.write(GICH_HCR, 0);
        ends
    }

    fn guest(&mut self) -> GuestCpuInterface {
        let mut guest = GuestCpuInterface { control: self.registers.read(GICH_VMCR), ..Default::default() };
        guest.active_priorities[0] = self.registers.read(GICH_APR);
        guest
    }

    fn set_guest(&mut self, guest: &GuestCpuInterface) {
        self.registers.write(GICH_VMCR, guest.control);
        self.registers.write(GICH_APR, guest.active_priorities[0]);
    }

    fn end_mode(&self, guest: &GuestCpuInterface) -> EndMode {
        if GICH_VMCR_VEM.get(guest.control) != 0 { EndMode::Apart } else { EndMode::Together }
    }
}
