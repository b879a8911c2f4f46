//! One context bank: its registers, and the transaction that waits in it.

use super::registers::{
    ACTLR_CFEIE, ACTLR_PRIVCFG, CONTEXT_KEPT, FAULTS, FSR_MASK, SCTLR_AFE, SCTLR_BE, SCTLR_M, SCTLR_TRE,
    context,
};
use crate::hardware::TypeModel;
use crate::hardware::oracle::Trail;
use crate::hardware::short_descriptor::{ByteOrder, PermissionModel, Regime};
use vcm::{FaultReason, Privilege};

/// A transaction that waits for `RESUME`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Parked {
    /// Whose it is.
    pub(super) master: usize,
    /// Why it waits.
    pub(super) reason: FaultReason,
    /// What became of it.
    pub(super) fate: Fate,
}

/// What became of a parked transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    /// It waits.
    Waits,
    /// It was terminated; its master has not heard yet.
    Terminated,
}

/// A context bank.
#[derive(Clone, Debug, Default)]
pub(super) struct Bank {
    kept: [u32; CONTEXT_KEPT.len()],
    pub(super) fsr: u32,
    pub(super) v2psr: u32,
    pub(super) parked: Option<Parked>,
}

/// The place in `kept` of the register at `offset`.
const fn place(offset: u32) -> Option<usize> {
    let mut index = 0;
    while index < CONTEXT_KEPT.len() {
        if CONTEXT_KEPT[index].offset == offset {
            return Some(index);
        }
        index += 1;
    }
    None
}

impl Bank {
    /// A register that keeps what is written; zero for any other.
    pub(super) fn get(&self, offset: u32) -> u32 {
        place(offset).map_or(0, |index| self.kept[index])
    }

    /// Writes a register that keeps what is written; bits that do not exist stay zero.
    pub(super) fn set(&mut self, offset: u32, value: u32) {
        if let Some(index) = place(offset) {
            self.kept[index] = value & CONTEXT_KEPT[index].mask;
        }
    }

    /// What a read of `offset` gives; `None` where no readable register is.
    pub(super) fn read(&self, offset: u32) -> Option<u32> {
        match offset {
            context::FSR => Some(self.fsr),
            context::V2PSR => Some(self.v2psr),
            _ => place(offset).map(|index| self.kept[index]),
        }
    }

    /// Clears the bits of `FSR` that are set in `value`.
    pub(super) const fn clear_faults(&mut self, value: u32) {
        self.fsr &= !value;
    }

    /// Writes `FSR` as it is.
    pub(super) const fn restore_faults(&mut self, value: u32) {
        self.fsr = value & FSR_MASK;
    }

    /// Fills the registers with what `next` gives; it does not translate, and no transaction waits.
    pub(super) fn scramble(&mut self, next: &mut impl FnMut() -> u32) {
        for (value, kept) in self.kept.iter_mut().zip(CONTEXT_KEPT) {
            *value = next() & kept.mask;
        }
        self.set(context::SCTLR, self.get(context::SCTLR) & !SCTLR_M);
        self.restore_faults(next());
    }

    /// Whether it translates.
    pub(super) fn enabled(&self) -> bool {
        self.get(context::SCTLR) & SCTLR_M != 0
    }

    /// Whether it asks for an interrupt.
    pub(super) fn interrupts(&self) -> bool {
        self.get(context::ACTLR) & ACTLR_CFEIE != 0 && self.fsr & FAULTS != 0
    }

    /// The address space's number.
    pub(super) fn asid(&self) -> u8 {
        self.get(context::CONTEXTIDR) as u8
    }

    /// How it walks.
    pub(super) fn regime(&self) -> Regime {
        let sctlr = self.get(context::SCTLR);
        Regime {
            ttbr0: self.get(context::TTBR0),
            ttbr1: self.get(context::TTBR1),
            ttbcr: self.get(context::TTBCR),
            permissions: if sctlr & SCTLR_AFE == 0 {
                PermissionModel::Full
            } else {
                PermissionModel::AccessFlag
            },
            types: if sctlr & SCTLR_TRE == 0 {
                TypeModel::Fixed
            } else {
                TypeModel::Remapped { prrr: self.get(context::PRRR), nmrr: self.get(context::NMRR) }
            },
            order: if sctlr & SCTLR_BE == 0 { ByteOrder::Little } else { ByteOrder::Big },
        }
    }

    /// The privilege that a transaction gets: `ACTLR.PRIVCFG` 2 makes it a user's, 3 privileged, else it keeps its own.
    /// No public source says so; it is taken from the successor (Arm IHI 0062, `SMMU_S2CR.PRIVCFG`).
    pub(super) fn privilege(&self, own: Privilege) -> Privilege {
        match self.get(context::ACTLR) >> ACTLR_PRIVCFG & 3 {
            2 => Privilege::User,
            3 => Privilege::Supervisor,
            _ => own,
        }
    }

    /// Shows the entries of a walk in `TLBFLPTER` and `TLBSLPTER`.
    pub(super) fn show_walk(&mut self, trail: &Trail) {
        for (offset, step) in [context::TLBFLPTER, context::TLBSLPTER].into_iter().zip(trail.steps()) {
            self.set(offset, step.value as u32);
        }
    }
}
