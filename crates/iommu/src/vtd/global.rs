//! Global commands: one bit at a time, each seen to have taken effect.

use super::{Vtd, spec};
use crate::{Registers, SharedMemory, Unresponsive};

impl<R: Registers, M: SharedMemory> Vtd<R, M> {
    pub(super) const fn unresponsive(&self, what: &'static str) -> Unresponsive {
        Unresponsive { label: self.config.label, what }
    }

    /// `GSTS`. All ones is what a bus answers for a device that is gone.
    pub(super) fn global_status(&mut self) -> Result<spec::Global, Unresponsive> {
        match self.registers.read(spec::GSTS) {
            u32::MAX => Err(self.unresponsive("gone: GSTS reads all ones")),
            raw => Ok(spec::Global::from_bits(raw)),
        }
    }

    /// Gives one command, and waits until the status says `done`.
    fn command(
        &mut self,
        change: impl Fn(spec::Global) -> spec::Global,
        done: impl Fn(&spec::Global) -> bool,
        what: &'static str,
    ) -> Result<(), Unresponsive> {
        let states = self.global_status()?.into_bits() & !spec::ONE_SHOT.into_bits();
        let command = change(spec::Global::from_bits(states));
        self.registers.write(spec::GCMD, command.into_bits());
        for _ in 0..self.config.polls {
            if done(&self.global_status()?) {
                return Ok(());
            }
        }
        Err(self.unresponsive(what))
    }

    /// Takes the root table's address over.
    pub(super) fn set_root_pointer(&mut self) -> Result<(), Unresponsive> {
        self.command(|g| g.with_srtp(true), spec::Global::srtp, "GSTS.RTPS was not set")
    }

    /// Takes the interrupt remapping table's address over.
    pub(super) fn set_interrupt_pointer(&mut self) -> Result<(), Unresponsive> {
        self.command(|g| g.with_sirtp(true), spec::Global::sirtp, "GSTS.IRTPS was not set")
    }

    pub(super) fn enable_translation(&mut self) -> Result<(), Unresponsive> {
        self.command(|g| g.with_te(true), spec::Global::te, "GSTS.TES was not set")
    }

    pub(super) fn disable_translation(&mut self) -> Result<(), Unresponsive> {
        self.command(|g| g.with_te(false), |g| !g.te(), "GSTS.TES was not cleared")
    }

    pub(super) fn enable_queue(&mut self) -> Result<(), Unresponsive> {
        self.command(|g| g.with_qie(true), spec::Global::qie, "GSTS.QIES was not set")
    }

    pub(super) fn disable_queue(&mut self) -> Result<(), Unresponsive> {
        self.command(|g| g.with_qie(false), |g| !g.qie(), "GSTS.QIES was not cleared")
    }

    pub(super) fn block_compatibility_interrupts(&mut self) -> Result<(), Unresponsive> {
        self.command(|g| g.with_cfi(false), |g| !g.cfi(), "GSTS.CFIS was not cleared")
    }

    pub(super) fn enable_interrupt_remapping_now(&mut self) -> Result<(), Unresponsive> {
        self.command(|g| g.with_ire(true), spec::Global::ire, "GSTS.IRES was not set")
    }

    /// Makes what was written to tables visible to the hardware, where it buffers writes (`CAP.RWBF`). The driver does
    /// it for its own tables. Who writes page tables must do it after mapping, unless something is invalidated anyway:
    /// invalidations flush as well. Elsewhere it does nothing.
    ///
    /// Source: the specification, *Write Buffer Flushing*.
    ///
    /// # Errors
    /// [`Unresponsive`]: it was not seen to complete. The call may be repeated.
    pub fn flush_write_buffer(&mut self) -> Result<(), Unresponsive> {
        if !self.capability.rwbf() {
            return Ok(());
        }
        self.command(|g| g.with_wbf(true), |g| !g.wbf(), "GSTS.WBFS was not cleared")
    }
}
