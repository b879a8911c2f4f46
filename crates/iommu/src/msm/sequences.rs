//! The orders in which registers are written. Each is that of the Linux drivers (`msm_iommu.c`,
//! `msm_iommu_dev.c`), with what differs said beside it.

use super::context::{Bank, Seat};
use super::spec::{self, context_register};
use super::{MasterId, Smmu, TableRoots, Unresponsive};
use crate::Registers;

impl<R: Registers> Smmu<R> {
    /// Initialises the whole SMMU.
    pub(super) fn initialise(&mut self) -> Result<(), Unresponsive> {
        let cr = spec::Cr::from_bits(self.registers.read(spec::CR)).with_rpue(false);
        self.registers.write(spec::CR, cr.into_bits());
        let cr = cr.with_clientpd(true);
        self.registers.write(spec::CR, cr.into_bits());
        self.registers.write(spec::CR, cr.with_rpueie(false).into_bits());
        self.registers.write(spec::ESRRESTORE, 0);
        let test = spec::Testbuscr::from_bits(self.registers.read(spec::TESTBUSCR)).with_tbe(false);
        self.registers.write(spec::TESTBUSCR, test.into_bits());
        // Not in the drivers: before the port opens again, no master finds a bank that an earlier owner left
        // behind.
        for master in 0..self.idr.masters() {
            self.registers.write(spec::m2vcbr(master), self.config.unclaimed_master().into_bits());
        }
        self.registers.write(spec::CR, 0);
        self.registers.write(spec::TESTBUSCR, test.with_spdmbe(false).into_bits());
        self.registers.write(spec::TESTBUSCR, 0);
        self.registers.write(spec::TLBRSW, 0);
        self.registers.write(spec::GLOBAL_TLBIALL, 0);
        self.registers.write(spec::RPU_ACR, 0);
        self.registers.write(spec::CR, spec::Cr::new().with_tlblkcrwe(true).into_bits());
        for bank in 0..self.banks.len() as u8 {
            // Resetting the status does not end a stall.
            self.write(bank, spec::RESUME, spec::Resume::new().with_tnr(true).into_bits());
            self.reset_bank(bank);
        }
        self.probe_liveness()?;
        // Not in the drivers, which never hear of a transaction that no bank takes.
        self.registers.write(spec::CR, self.config.cr().into_bits());
        let last = self.idr.masters() - 1;
        self.check("M2VCBR", spec::m2vcbr(last), self.config.unclaimed_master().into_bits())?;
        self.check_alive()
    }

    /// Asks bank 0, which is reset, for a translation: the answer is a fault, which is not zero.
    fn probe_liveness(&mut self) -> Result<(), Unresponsive> {
        self.write(0, spec::SCTLR, spec::Sctlr::new().with_m(true).into_bits());
        self.write(0, spec::PAR, 0);
        self.write(0, spec::ACTLR, spec::Actlr::new().with_v2pcfg(spec::V2PCFG_PROBE).into_bits());
        self.write(0, spec::V2PPR, 0);
        let par = self.registers.read(context_register(0, spec::PAR));
        self.reset_bank(0);
        if par == 0 || par == u32::MAX {
            let expected = spec::Par::new().with_f(true).into_bits();
            return Err(self.unresponsive("PAR", context_register(0, spec::PAR), expected, par));
        }
        Ok(())
    }

    /// Resets a bank: disabled, no tables, nothing in the TLB.
    ///
    /// The drivers first clear the bypass fields of `M2VCBR`, but number it by the bank instead of the
    /// master. Here a master's `M2VCBR` is always written whole, with those fields clear.
    fn reset_bank(&mut self, bank: u8) {
        for register in [
            spec::ACTLR,
            spec::SCTLR,
            spec::FSRRESTORE,
            spec::TTBR0,
            spec::TTBR1,
            spec::TTBCR,
            spec::BFBCR,
            spec::PAR,
            spec::FAR,
            spec::CTX_TLBIALL,
            spec::TLBFLPTER,
            spec::TLBSLPTER,
            spec::TLBLKCR,
            spec::PRRR,
            spec::NMRR,
            spec::CONTEXTIDR,
        ] {
            self.write(bank, register, 0);
        }
    }

    /// Routes the masters of `seat`'s context to `bank`, and lets it translate.
    ///
    /// The drivers write `M2VCBR` 0 first, which sends the master to bank 0 for a moment, and then field by
    /// field. Here it is written once. They also write the attributes of table walks after the tables, to the
    /// same registers.
    pub(super) fn program(&mut self, bank: u8, seat: &Seat) -> Result<(), Unresponsive> {
        self.reset_bank(bank);
        self.registers.write(spec::cbacr(bank), 0);
        self.for_masters(seat, |smmu, master| {
            let value = smmu.config.master_of(bank).into_bits();
            smmu.registers.write(spec::m2vcbr(master.0), value);
            Ok(())
        })?;
        let asid = spec::Contextidr::new().with_asid(seat.asid);
        self.write(bank, spec::CONTEXTIDR, asid.into_bits());

        let mut actlr = spec::Actlr::new().with_tlbmcfg(spec::TLBMCFG_WALK);
        self.write(bank, spec::ACTLR, actlr.into_bits());
        actlr = actlr.with_v2pcfg(spec::V2PCFG_WALK);
        self.write(bank, spec::ACTLR, actlr.into_bits());
        self.write(bank, spec::TTBCR, seat.roots.ttbcr().into_bits());
        self.write_table(bank, spec::TTBR0, seat.roots.low);
        self.write_table(bank, spec::TTBR1, seat.roots.high);
        self.write(bank, spec::CTX_TLBIALL, 0);
        let interrupt = spec::Cbacr::new().with_irptndx(self.config.interrupt);
        self.registers.write(spec::cbacr(bank), interrupt.into_bits());
        actlr = actlr.with_cfeie(true);
        self.write(bank, spec::ACTLR, actlr.into_bits());
        actlr = actlr.with_cfcfg(true);
        self.write(bank, spec::ACTLR, actlr.into_bits());
        actlr = actlr.with_rcish(true).with_rcosh(true).with_rcnsh(true);
        self.write(bank, spec::ACTLR, actlr.into_bits());
        self.write(bank, spec::SCTLR, self.config.sctlr_disabled().into_bits());
        self.write(bank, spec::PRRR, self.config.remap.prrr);
        self.write(bank, spec::NMRR, self.config.remap.nmrr);
        self.write(bank, spec::BFBCR, spec::Bfbcr::new().with_bfbdfe(true).into_bits());
        self.write(bank, spec::SCTLR, self.config.sctlr().into_bits());
        self.check_bank(bank)
    }

    /// Takes the masters of `seat`'s context off `bank`, drops its TLB entries and resets it. It may be
    /// called in any state of the bank.
    ///
    /// The drivers leave the masters routed to the reset bank, so that from then on they bypass.
    pub(super) fn leave(&mut self, bank: u8, seat: &Seat) -> Result<(), Unresponsive> {
        let unclaimed = self.config.unclaimed_master().into_bits();
        self.for_masters(seat, |smmu, master| {
            smmu.registers.write(spec::m2vcbr(master.0), unclaimed);
            Ok(())
        })?;
        self.for_masters(seat, |smmu, master| smmu.check("M2VCBR", spec::m2vcbr(master.0), unclaimed))?;
        self.write(bank, spec::ACTLR, 0);
        self.terminate_stalled(bank, seat.context);
        self.write(bank, spec::TLBIASID, u32::from(seat.asid));
        self.write(bank, spec::CTX_TLBIALL, 0);
        self.reset_bank(bank);
        self.statistics.context_invalidations += 1;
        self.check("SCTLR", context_register(bank, spec::SCTLR), 0)?;
        // A device that is off reads zero everywhere; `CR` tells it from one that is reset.
        self.check_alive()
    }

    /// Writes a TTBR, with the attributes of walks if there is a table.
    fn write_table(&mut self, bank: u8, register: u32, table: Option<vcm::PhysicalAddress>) {
        let value = match table {
            // The address was validated: it has 32 bits.
            Some(table) => self.config.walk_attributes().with_table(table.raw() as u32),
            None => spec::Ttbr::new(),
        };
        self.write(bank, register, value.into_bits());
    }

    /// Changes the tables of a translating bank to `roots`, which have the same split as those of `seat`. A
    /// half whose table does not change keeps translating.
    pub(super) fn change_roots(
        &mut self,
        bank: u8,
        seat: Seat,
        roots: TableRoots,
    ) -> Result<(), Unresponsive> {
        let (low, high) = (seat.roots.low != roots.low, seat.roots.high != roots.high);
        if !low && !high {
            return Ok(());
        }
        let asid = self.asid_for(&roots, bank);
        // The ASID that nobody may take should the device fall silent half-way: the one that only this bank
        // has.
        let shared = self.asid_is_shared(bank, seat.asid);
        let blocked = Seat { asid: if shared { asid } else { seat.asid }, ..seat };
        self.banks[usize::from(bank)] = Bank::Quarantined(blocked);

        // First no new walk begins in the halves that change, so that nothing of them enters the TLB any
        // more. What a walk that had begun before enters may have either ASID.
        let before = seat.roots.ttbcr();
        let closed = before.with_pd0(before.pd0() || low).with_pd1(before.pd1() || high);
        self.write(bank, spec::TTBCR, closed.into_bits());
        if asid != seat.asid {
            self.write(bank, spec::CONTEXTIDR, spec::Contextidr::new().with_asid(asid).into_bits());
            self.write(bank, spec::TLBIASID, u32::from(asid));
        }
        self.write(bank, spec::TLBIASID, u32::from(seat.asid));
        self.statistics.context_invalidations += 1;
        self.check_bank(bank)?;
        // Only then come the new tables.
        if low {
            self.write_table(bank, spec::TTBR0, roots.low);
        }
        if high {
            self.write_table(bank, spec::TTBR1, roots.high);
        }
        self.write(bank, spec::TTBCR, roots.ttbcr().into_bits());
        self.check_bank(bank)?;
        self.banks[usize::from(bank)] = Bank::Taken(Seat { asid, roots, ..seat });
        Ok(())
    }

    /// Whether another bank than `bank` uses `asid`.
    fn asid_is_shared(&self, bank: u8, asid: u8) -> bool {
        self.banks.iter().enumerate().any(|(other, state)| {
            other != usize::from(bank) && state.seat().is_some_and(|seat| seat.asid == asid)
        })
    }

    /// Calls `each` with every master of `seat`'s context, until one fails.
    fn for_masters(
        &mut self,
        seat: &Seat,
        mut each: impl FnMut(&mut Self, MasterId) -> Result<(), Unresponsive>,
    ) -> Result<(), Unresponsive> {
        let master =
            |smmu: &Self, index: usize| smmu.contexts.get(seat.context.0)?.masters.get(index).copied();
        let mut index = 0;
        while let Some(master) = master(self, index) {
            each(self, master)?;
            index += 1;
        }
        Ok(())
    }

    /// Writes a context register.
    pub(super) fn write(&mut self, bank: u8, register: u32, value: u32) {
        self.registers.write(context_register(bank, register), value);
    }

    /// Checks that a translating bank is what it was programmed to be. It reads a register behind the writes
    /// before, so that they have arrived; and a device that is off or gone reads something else.
    pub(super) fn check_bank(&mut self, bank: u8) -> Result<(), Unresponsive> {
        self.check("SCTLR", context_register(bank, spec::SCTLR), self.config.sctlr().into_bits())
    }

    /// Checks that the device answers and has not lost its state.
    pub(super) fn check_alive(&mut self) -> Result<(), Unresponsive> {
        self.check("CR", spec::CR, self.config.cr().into_bits())
    }

    /// Checks that the register at `offset` reads `expected`.
    pub(super) fn check(
        &mut self,
        register: &'static str,
        offset: u32,
        expected: u32,
    ) -> Result<(), Unresponsive> {
        let found = self.registers.read(offset);
        if found == expected { Ok(()) } else { Err(self.unresponsive(register, offset, expected, found)) }
    }

    fn unresponsive(
        &mut self,
        register: &'static str,
        offset: u32,
        expected: u32,
        found: u32,
    ) -> Unresponsive {
        self.statistics.unresponsive += 1;
        Unresponsive { label: self.config.label, register, offset, expected, found }
    }
}
