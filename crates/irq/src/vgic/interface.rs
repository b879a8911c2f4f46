//! What a CPU's virtual interface has to do: list registers and what surrounds them.

use crate::wanted::Wanted;
use crate::{GuestInterrupt, HostInterrupt};

/// The most list registers that a CPU has (Arm IHI 0048B.b 5.3.2, Arm IHI 0069H 12.4.9).
pub const MOST_LIST_REGISTERS: usize = 16;

/// The state of a virtual interrupt in a list register.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum LrState {
    /// The register is free.
    #[default]
    Empty,
    /// The guest has not acknowledged it.
    Pending,
    /// The guest has acknowledged it and not deactivated it.
    Active,
    /// Both: acknowledged, and pending again. Never with a physical interrupt.
    PendingAndActive,
}

/// How the deactivation by the guest reaches the host.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Completion {
    /// The hardware deactivates this physical interrupt (the HW bit).
    Physical(HostInterrupt),
    /// A maintenance interrupt is raised (the EOI bit).
    Maintenance,
    /// Not at all.
    Silent,
}

/// A list register, whatever its layout in hardware.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ListRegister {
    /// The virtual interrupt.
    pub interrupt: GuestInterrupt,
    /// Its state.
    pub state: LrState,
    /// Its priority, 0 the most urgent. The hardware may keep the upper five bits only.
    pub priority: u8,
    /// Whether it is in group 1, which GICv3 guests use.
    pub group: Group,
    /// What its deactivation does.
    pub completion: Completion,
    /// Of a software-generated interrupt of a GICv2 guest: the vCPU that sent it, 0 to 7; else 0.
    pub source: u8,
}

/// The interrupt's group (Arm IHI 0048B.b 2.3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Group {
    /// Group 0.
    Zero,
    /// Group 1.
    One,
}

/// When the virtual interface asks for attention, beside ends of interrupts whose list register says so.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Attention {
    /// When none or one list register is in use (`UIE`): others wait for them.
    pub underflow: Wanted,
    /// When the guest ends an interrupt that is in no list register (`LRENPIE`): active ones wait outside.
    pub not_present: Wanted,
    /// When none is pending any more (`NPIE`): pending ones wait outside.
    pub none_pending: Wanted,
    /// When the guest deactivates an interrupt apart from ending it (`TDIR` of GICv3; on GICv2 the page with
    /// `GICV_DIR` is not mapped).
    pub deactivation: Wanted,
}

/// What the guest set in its CPU interface, and its active priorities: kept for it while it does not run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct GuestCpuInterface {
    /// `GICH_VMCR` or `ICH_VMCR_EL2`, as the hardware lays it out.
    pub control: u32,
    /// Active priorities (`GICH_APR`; `ICH_AP0R0_EL2` to `ICH_AP0R3_EL2`, then `ICH_AP1R0_EL2` to `ICH_AP1R3_EL2`).
    pub active_priorities: [u32; 8],
}

/// How the guest ends interrupts (its `EOImode`; Arm IHI 0048B.b 4.4.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EndMode {
    /// End-of-interrupt drops the priority and deactivates.
    Together,
    /// End-of-interrupt drops the priority, another register deactivates.
    Apart,
}

/// The virtual interface of the CPU that runs this code.
///
/// Between [`Vcpu::save`](super::Vcpu::save) and [`Vcpu::load`](super::Vcpu::load) all its list registers are empty.
pub trait VirtualInterface {
    /// How many list registers there are, 1 to [`MOST_LIST_REGISTERS`].
    fn list_registers(&self) -> usize;

    /// Writes list register `index`.
    fn write(&mut self, index: usize, register: &ListRegister);

    /// The state of list register `index`.
    fn state(&mut self, index: usize) -> LrState;

    /// Empties list register `index`.
    fn clear(&mut self, index: usize);

    /// Which list registers are empty: bit n is register n's (`GICH_ELRSR`).
    fn empty(&mut self) -> u32;

    /// Switches the virtual interface on.
    fn enable(&mut self, attention: Attention);

    /// Switches it off, and answers how many ends of interrupts found no list register since it was switched on
    /// (`EOICount`), which becomes 0.
    fn disable(&mut self) -> u32;

    /// Reads what the guest set.
    fn guest(&mut self) -> GuestCpuInterface;

    /// Sets it for the guest.
    fn set_guest(&mut self, guest: &GuestCpuInterface);

    /// The groups that the guest, with this in its CPU interface, takes: bits 0 and 1. Interrupts of the
    /// other one do not keep these out of list registers.
    fn taken_groups(&self, guest: &GuestCpuInterface) -> u32 {
        // GICH_VMCR and ICH_VMCR_EL2 have them in the same place (Arm IHI 0048B.b 5.3.8, Arm IHI 0069H 12.4).
        guest.control & 3
    }

    /// How the guest, with this in its CPU interface, ends interrupts. For a machine that decides by it
    /// whether to map the page of `GICV_DIR`; a guest may change it without leaving.
    fn end_mode(&self, guest: &GuestCpuInterface) -> EndMode;
}
