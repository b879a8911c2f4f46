//! A virtual CPU's own part: what it has in list registers, and what waits for one.

use super::interface::{GuestCpuInterface, MOST_LIST_REGISTERS};
use super::load::{can_be_taken, passes};
use super::vm::{Machine, Vm};
use super::word::{Kind, State, Word};
use crate::VcpuId;
use crate::storage::OutOfMemory;
use crate::sync::Ordering;
use alloc::vec::Vec;

/// An interrupt that wants a list register.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Waiting {
    /// Its place among the others, the most urgent lowest, as of the last look: others change what it depends on.
    pub(super) order: u32,
    pub(super) interrupt: u32,
}

/// What is in a list register.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Slot {
    pub(super) interrupt: u32,
    /// The pending state came from a latch, not from the line alone.
    pub(super) latched: bool,
    /// The sender of a software-generated interrupt.
    pub(super) source: u8,
}

/// A virtual CPU: moved to whichever CPU runs it, and used by that one alone.
#[derive(Debug)]
pub struct Vcpu {
    pub(super) id: VcpuId,
    pub(super) loaded: bool,
    pub(super) slots: [Slot; MOST_LIST_REGISTERS],
    pub(super) used: usize,
    /// Interrupts that want a list register, each once.
    pub(super) waiting: Vec<Waiting>,
    /// Which interrupts are in `waiting`.
    members: [u64; 16],
    pub(super) guest: GuestCpuInterface,
    pub(super) statistics: VcpuStatistics,
}

/// What a vCPU has counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct VcpuStatistics {
    /// How often it was loaded.
    pub loads: u64,
    /// Interrupts that were put into list registers.
    pub list_registers: u64,
    /// Loads with more interrupts than list registers.
    pub overflows: u64,
    /// Ends of interrupts that were in no list register.
    pub ended_outside: u64,
}

impl Vcpu {
    /// The vCPU `id` of a virtual machine; there is to be one of each.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn new<M: Machine>(vm: &Vm<M>, id: VcpuId) -> Result<Self, OutOfMemory> {
        let mut waiting = Vec::new();
        waiting.try_reserve_exact(vm.end() as usize).map_err(|_| OutOfMemory)?;
        Ok(Self {
            id,
            loaded: false,
            slots: [Slot::default(); MOST_LIST_REGISTERS],
            used: 0,
            waiting,
            members: [0; 16],
            guest: GuestCpuInterface::default(),
            statistics: VcpuStatistics::default(),
        })
    }

    /// Which one.
    pub const fn id(&self) -> VcpuId {
        self.id
    }

    /// What it counted.
    pub const fn statistics(&self) -> VcpuStatistics {
        self.statistics
    }

    /// What the guest set in its CPU interface, as of the last save.
    pub const fn guest(&self) -> &GuestCpuInterface {
        &self.guest
    }

    /// Sets what the next load gives to the guest's CPU interface: to reset it, or to restore it.
    pub const fn set_guest(&mut self, guest: GuestCpuInterface) {
        self.guest = guest;
    }

    /// Whether there are interrupts that the guest could take, as far as its distributor goes. A vCPU that
    /// has some should not be left waiting for one; what its own CPU interface masks is not looked at.
    pub fn has_waiting<M: Machine>(&self, vm: &Vm<M>) -> bool {
        let groups = vm.groups.load(Ordering::Acquire);
        self.waiting.iter().any(|one| {
            let state = vm.word(self.id, one.interrupt).map_or(State(0), Word::load);
            state.destination() == Some(self.id)
                && passes(state, groups)
                && can_be_taken(state, Kind::of(one.interrupt))
        })
    }

    /// Adds to those that wait, unless it is there.
    #[inline]
    pub(super) fn wait(&mut self, interrupt: u32) {
        let (word, bit) = (interrupt as usize / 64 % 16, 1 << (interrupt % 64));
        // There is room for every interrupt; one that is none is not taken.
        if self.members[word] & bit == 0 && self.waiting.len() < self.waiting.capacity() {
            self.members[word] |= bit;
            self.waiting.push(Waiting { order: 0, interrupt });
        }
    }

    /// Notes that one does not wait any more; the caller takes it out.
    #[inline]
    pub(super) fn leave(&mut self, interrupt: u32) {
        self.members[interrupt as usize / 64 % 16] &= !(1 << (interrupt % 64));
    }
}
