//! Faults: read from the device, kept until fetched, answered.

use super::context::Bank;
use super::spec::{self, context_register};
use super::{ContextId, MasterId, Smmu, SmmuError, Unresponsive};
use crate::Registers;
use core::fmt;
use vcm::{Answer, DeviceHandle, Fault, FaultAccess, FaultReason, FaultState, Privilege};

/// Which part of the SMMU refused a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FaultSource {
    /// A context bank.
    Bank(u8),
    /// No bank takes the master's transactions, and they must not bypass.
    Bypass,
    /// The master's configuration makes no sense to the device.
    Configuration,
}

/// A refused transaction.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FaultRecord {
    /// Where it was refused.
    pub source: FaultSource,
    /// Whose transaction it was: the context in the bank, or the one that the master belongs to.
    pub context: Option<ContextId>,
    /// Who issued it.
    pub master: MasterId,
    /// The address that it carried, in bytes.
    pub address: u64,
    /// What it wanted.
    pub access: FaultAccess,
    /// As whom.
    pub privilege: Privilege,
    /// Why it was refused.
    pub reason: FaultReason,
    /// Whether it waits for [`Smmu::resume`].
    pub state: FaultState,
    /// Whether further faults were lost behind this one.
    pub multiple: bool,
}

impl FaultRecord {
    /// The fault as the mapping graph knows it, of the device `device`.
    pub const fn of_device(&self, device: DeviceHandle) -> Fault {
        Fault { device, address: self.address, access: self.access, reason: self.reason, state: self.state }
    }
}

impl fmt::Display for FaultRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} fault: {} of {} at {:#x}", self.reason, self.access, self.master, self.address)?;
        if let FaultSource::Bank(bank) = self.source {
            write!(f, ", bank {bank}")?;
        }
        if let Some(context) = self.context {
            write!(f, ", {context}")?;
        }
        f.write_str(match self.state {
            FaultState::Stalled => ", stalled",
            FaultState::Terminated => ", terminated",
        })?;
        f.write_str(if self.multiple { ", and more" } else { "" })
    }
}

impl<R: Registers> Smmu<R> {
    /// Reads the faults of all banks, and the global one, from the device; [`next_fault`](Self::next_fault)
    /// has them then. To be called when one of the SMMU's interrupts was raised; it does no harm at other
    /// times.
    ///
    /// It reads at most one fault of each bank. A bank whose last one was not fetched yet is left alone, so
    /// that its interrupt stays raised.
    ///
    /// # Errors
    /// [`Unresponsive`]. Faults read before are there.
    pub fn handle_interrupt(&mut self) -> Result<(), Unresponsive> {
        for bank in 0..self.banks.len() as u8 {
            if !self.is_queued(|source| source == FaultSource::Bank(bank)) {
                self.read_bank_fault(bank)?;
            }
        }
        if !self.is_queued(|source| !matches!(source, FaultSource::Bank(_))) {
            self.read_global_fault()?;
        }
        Ok(())
    }

    /// The next fault that [`handle_interrupt`](Self::handle_interrupt) read.
    pub fn next_fault(&mut self) -> Option<FaultRecord> {
        if self.faults.is_empty() { None } else { Some(self.faults.remove(0)) }
    }

    /// Answers the stalled transaction of a context.
    ///
    /// # Errors
    /// `UnknownContext`; `NotStalled` when none waits (any more); `Unresponsive`: it waits still.
    pub fn resume(&mut self, id: ContextId, answer: Answer) -> Result<(), SmmuError> {
        let context = self.contexts.get_mut(id.0).ok_or(SmmuError::UnknownContext(id))?;
        let bank = context.bank.filter(|_| context.stalled).ok_or(SmmuError::NotStalled(id))?;
        self.answer(bank, answer);
        self.check_bank(bank)?;
        if let Some(context) = self.contexts.get_mut(id.0) {
            context.stalled = false;
        }
        Ok(())
    }

    /// Reads and clears the fault of `bank`, if it has one.
    fn read_bank_fault(&mut self, bank: u8) -> Result<(), Unresponsive> {
        let seated = match self.banks[usize::from(bank)] {
            Bank::Taken(seat) => Some(seat.context),
            Bank::Free | Bank::Quarantined(_) => None,
        };
        let register = |register| context_register(bank, register);
        let raw = self.registers.read(register(spec::FSR));
        if raw == u32::MAX {
            self.check_alive()?;
        }
        if raw == 0 {
            return Ok(());
        }
        let status = spec::Fsr::from_bits(raw);
        let address = self.registers.read(register(spec::FAR));
        let who = spec::Fsynr0::from_bits(self.registers.read(register(spec::FSYNR0)));
        let what = spec::Fsynr1::from_bits(self.registers.read(register(spec::FSYNR1)));
        // A device that fell silent meanwhile said all ones: that is no fault of anybody's.
        self.check_alive()?;
        // The value read, all of it: a constant would leave bits standing, and the interrupt raised for ever.
        self.registers.write(register(spec::FSR), raw);
        let (Some(id), Some(reason)) = (seated, reason(status)) else {
            if seated.and_then(|id| self.contexts.get(id.0)).is_some_and(|context| context.stalled) {
                // A device may keep FSR.SS until the answer, which this one waits for.
                return Ok(());
            }
            // Nobody can answer for it, but a stalled master would hang.
            self.statistics.stray_faults += 1;
            if status.ss() {
                self.answer(bank, Answer::Terminate);
            }
            return Ok(());
        };
        let state = if status.ss() { FaultState::Stalled } else { FaultState::Terminated };
        if let Some(context) = self.contexts.get_mut(id.0) {
            context.stalled |= status.ss();
        }
        self.queue(FaultRecord {
            source: FaultSource::Bank(bank),
            context: Some(id),
            master: MasterId(u16::from(who.amid())),
            address: u64::from(address),
            access: access(what.ainst(), what.awrite()),
            privilege: privilege(what.apriv()),
            reason,
            state,
            multiple: status.multi(),
        });
        Ok(())
    }

    /// Reads and clears the global fault, if there is one.
    fn read_global_fault(&mut self) -> Result<(), Unresponsive> {
        let raw = self.registers.read(spec::ESR);
        if raw == u32::MAX {
            self.check_alive()?;
        }
        if raw == 0 {
            return Ok(());
        }
        let status = spec::Esr::from_bits(raw);
        let address = self.registers.read(spec::EAR);
        let who = spec::Esynr0::from_bits(self.registers.read(spec::ESYNR0));
        let what = spec::Esynr1::from_bits(self.registers.read(spec::ESYNR1));
        self.check_alive()?;
        self.registers.write(spec::ESR, raw);
        let source = match (status.bypass(), status.cfg()) {
            (true, _) => FaultSource::Bypass,
            (false, true) => FaultSource::Configuration,
            (false, false) => {
                self.statistics.stray_faults += 1;
                return Ok(());
            }
        };
        let master = MasterId(u16::from(who.amid()));
        self.queue(FaultRecord {
            source,
            context: self.owner(master),
            master,
            address: u64::from(address),
            access: access(what.ainst(), what.awrite()),
            privilege: privilege(what.apriv()),
            reason: FaultReason::NoContext,
            state: FaultState::Terminated,
            multiple: status.multi(),
        });
        Ok(())
    }

    fn is_queued(&self, of: impl Fn(FaultSource) -> bool) -> bool {
        self.faults.iter().any(|fault| of(fault.source))
    }

    fn queue(&mut self, fault: FaultRecord) {
        // There is room for one fault of each source, and no source has two.
        self.faults.push_reserved(fault);
        self.statistics.faults += 1;
    }

    fn answer(&mut self, bank: u8, answer: Answer) {
        let resume = spec::Resume::new().with_tnr(answer == Answer::Terminate);
        self.write(bank, spec::RESUME, resume.into_bits());
        match answer {
            Answer::Retry => self.statistics.retried += 1,
            Answer::Terminate => self.statistics.terminated += 1,
        }
    }

    /// Terminates what is stalled in a bank that is being left, reported or not.
    pub(super) fn terminate_stalled(&mut self, bank: u8, id: ContextId) {
        let offset = context_register(bank, spec::FSR);
        let raw = self.registers.read(offset);
        let reported = self.contexts.get(id.0).is_some_and(|context| context.stalled);
        if raw != 0 {
            self.registers.write(offset, raw);
        }
        if reported || spec::Fsr::from_bits(raw).ss() {
            self.answer(bank, Answer::Terminate);
        }
        for fault in self.faults.iter_mut().filter(|fault| fault.source == FaultSource::Bank(bank)) {
            fault.state = FaultState::Terminated;
        }
        if let Some(context) = self.contexts.get_mut(id.0) {
            context.stalled = false;
        }
    }
}

/// Why a status says that a transaction was refused. Where several bits are set, the one that the walk meets
/// first.
pub(super) const fn reason(status: spec::Fsr) -> Option<FaultReason> {
    Some(if status.mhf() {
        FaultReason::TlbConflict
    } else if status.htwdeef() || status.htwseef() {
        FaultReason::TableWalk
    } else if status.tf() || status.tlbmf() {
        FaultReason::Translation
    } else if status.aff() {
        FaultReason::AccessFlag
    } else if status.apf() {
        FaultReason::Permission
    } else {
        return None;
    })
}

const fn access(instruction: bool, write: bool) -> FaultAccess {
    if instruction {
        FaultAccess::Execute
    } else if write {
        FaultAccess::Write
    } else {
        FaultAccess::Read
    }
}

const fn privilege(privileged: bool) -> Privilege {
    if privileged { Privilege::Supervisor } else { Privilege::User }
}
