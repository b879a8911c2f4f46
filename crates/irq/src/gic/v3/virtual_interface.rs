//! The virtual interface control.

use super::list_register::{decode, encode};
use super::spec::{
    ICH_HCR_EN, ICH_HCR_EOI_COUNT, ICH_HCR_LRENPIE, ICH_HCR_NPIE, ICH_HCR_TC, ICH_HCR_TDIR, ICH_HCR_UIE,
    ICH_VMCR_VEOIM, ICH_VTR_LIST_REGS, ICH_VTR_PRE_BITS, ICH_VTR_TDS,
};
use super::{SystemRegister, SystemRegisters, active_priority_registers};
use crate::gic::Maintenance;
use crate::vgic::{
    Attention, EndMode, GuestCpuInterface, ListRegister, LrState, MOST_LIST_REGISTERS, VirtualInterface as _,
    Wanted,
};

/// What traps when the guest's deactivations do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeactivationTrap {
    /// They alone (`TDIR`).
    Alone,
    /// Every access to a register that both groups share (`TC`): this hardware has nothing finer, so whoever asks for
    /// [`Attention::deactivation`] has to emulate `ICV_CTLR_EL1`, `ICV_PMR_EL1`, `ICV_RPR_EL1` and the sending of
    /// software-generated interrupts too.
    WithSharedRegisters,
}

/// The virtual interface of the CPU that runs this code.
pub struct VirtualInterface<S> {
    registers: S,
    list_registers: usize,
    priority_registers: usize,
    trap: DeactivationTrap,
    refused: u32,
}

impl<S: SystemRegisters> VirtualInterface<S> {
    /// The virtual interface behind these system registers, whose type is read here.
    pub fn new(registers: S) -> Self {
        let told = registers.read(SystemRegister::IchVtr);
        Self {
            registers,
            list_registers: (ICH_VTR_LIST_REGS.get_wide(told) as usize + 1).min(MOST_LIST_REGISTERS),
            priority_registers: active_priority_registers(ICH_VTR_PRE_BITS.get_wide(told) + 1),
            trap: match ICH_VTR_TDS.get_wide(told) {
                0 => DeactivationTrap::WithSharedRegisters,
                _ => DeactivationTrap::Alone,
            },
            refused: 0,
        }
    }

    /// Switches the interface off and empties its list registers, whatever a predecessor left.
    pub fn init(&mut self) {
        self.registers.write(SystemRegister::IchHcr, 0);
        for index in 0..self.list_registers {
            self.clear(index);
        }
        self.set_guest(&GuestCpuInterface::default());
    }

    /// Reads list register `index`, if there is one.
    pub fn read(&self, index: usize) -> Option<ListRegister> {
        Some(decode(self.registers.read(self.list_register(index)?)))
    }

    /// Why the maintenance interrupt is raised.
    pub fn maintenance(&self) -> Maintenance {
        Maintenance(self.registers.read(SystemRegister::IchMisr) as u32)
    }

    /// Which list registers were ended and asked for a maintenance interrupt (`ICH_EISR_EL2`): bit n is register n's.
    pub fn ended(&self) -> u32 {
        self.registers.read(SystemRegister::IchEisr) as u32 & self.implemented()
    }

    /// What traps with [`Attention::deactivation`].
    pub const fn deactivation_trap(&self) -> DeactivationTrap {
        self.trap
    }

    /// How many list registers [`write`](crate::vgic::VirtualInterface::write) refused because the hardware has no
    /// sound encoding for them ([`encode`] says why). They were left empty.
    pub const fn refused(&self) -> u32 {
        self.refused
    }

    const fn implemented(&self) -> u32 {
        (1 << self.list_registers) - 1
    }

    fn list_register(&self, index: usize) -> Option<SystemRegister> {
        SystemRegister::LIST_REGISTERS[..self.list_registers].get(index).copied()
    }

    /// The registers of active priorities that there are, each with its place in [`GuestCpuInterface`].
    fn priorities(&self) -> impl Iterator<Item = (usize, SystemRegister)> + use<S> {
        let count = self.priority_registers;
        let group_0 = SystemRegister::VIRTUAL_ACTIVE_PRIORITIES_0.into_iter().take(count).enumerate();
        let group_1 = SystemRegister::VIRTUAL_ACTIVE_PRIORITIES_1.into_iter().take(count).enumerate();
        group_0.chain(group_1.map(|(index, register)| (index + 4, register)))
    }
}

impl<S: SystemRegisters> crate::vgic::VirtualInterface for VirtualInterface<S> {
    fn list_registers(&self) -> usize {
        self.list_registers
    }

    fn write(&mut self, index: usize, register: &ListRegister) {
        if let Some(target) = self.list_register(index) {
            let value = encode(register).unwrap_or_else(|_| {
                self.refused = self.refused.saturating_add(1);
                0
            });
            self.registers.write(target, value);
        }
    }

    fn state(&mut self, index: usize) -> LrState {
        self.read(index).map_or(LrState::Empty, |register| register.state)
    }

    fn clear(&mut self, index: usize) {
        if let Some(target) = self.list_register(index) {
            self.registers.write(target, 0);
        }
    }

    fn empty(&mut self) -> u32 {
        self.registers.read(SystemRegister::IchElrsr) as u32 & self.implemented()
    }

    fn enable(&mut self, attention: Attention) {
        let trap = match (attention.deactivation, self.trap) {
            (Wanted::No, _) => 0,
            (Wanted::Yes, DeactivationTrap::Alone) => ICH_HCR_TDIR.put_wide(1),
            (Wanted::Yes, DeactivationTrap::WithSharedRegisters) => ICH_HCR_TC.put_wide(1),
        };
        self.registers.write(
            SystemRegister::IchHcr,
            trap | ICH_HCR_EN.put_wide(1)
                | ICH_HCR_UIE.put_wide(attention.underflow.is_yes().into())
                | ICH_HCR_LRENPIE.put_wide(attention.not_present.is_yes().into())
                | ICH_HCR_NPIE.put_wide(attention.none_pending.is_yes().into()),
        );
    }

    fn disable(&mut self) -> u32 {
        let ends = ICH_HCR_EOI_COUNT.get_wide(self.registers.read(SystemRegister::IchHcr));
        self.registers.write(SystemRegister::IchHcr, 0);
        ends
    }

    fn guest(&mut self) -> GuestCpuInterface {
        let mut guest = GuestCpuInterface {
            control: self.registers.read(SystemRegister::IchVmcr) as u32,
            ..Default::default()
        };
        for (index, register) in self.priorities() {
            guest.active_priorities[index] = self.registers.read(register) as u32;
        }
        guest
    }

    fn set_guest(&mut self, guest: &GuestCpuInterface) {
        self.registers.write(SystemRegister::IchVmcr, guest.control.into());
        for (index, register) in self.priorities() {
            self.registers.write(register, guest.active_priorities[index].into());
        }
    }

    fn end_mode(&self, guest: &GuestCpuInterface) -> EndMode {
        if ICH_VMCR_VEOIM.get_wide(guest.control.into()) != 0 { EndMode::Apart } else { EndMode::Together }
    }
}
