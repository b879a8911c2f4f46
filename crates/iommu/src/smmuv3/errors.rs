//! Global errors.

use super::{Smmu, spec};
use crate::{Registers, SharedMemory, Unresponsive};

impl<R: Registers, M: SharedMemory> Smmu<R, M> {
    /// The error that the hardware does not do what it must; counted.
    #[cold]
    pub(super) fn unresponsive(&mut self, what: &'static str) -> Unresponsive {
        self.statistics.unresponsive += 1;
        Unresponsive { label: self.config.label, what }
    }

    /// The global errors that are not acknowledged.
    pub(super) fn active_errors(&mut self) -> Result<spec::Gerror, Unresponsive> {
        let raised = self.registers.read(spec::GERROR);
        if raised == u32::MAX {
            return Err(self.unresponsive("GERROR reads all ones"));
        }
        let acknowledged = self.registers.read(spec::GERRORN);
        Ok(spec::Gerror::from_bits(raised ^ acknowledged))
    }

    /// Counts and acknowledges global errors, but for those of the command queue, which whoever waits for it mends.
    pub(super) fn take_errors(&mut self) -> Result<(), Unresponsive> {
        let active = self.active_errors()?;
        if active.sfm_err() {
            return Err(self.unresponsive("service failure mode"));
        }
        let others = [
            active.priq_abt_err(),
            active.msi_cmdq_abt_err(),
            active.msi_eventq_abt_err(),
            active.msi_priq_abt_err(),
            active.msi_gerror_abt_err(),
        ];
        self.statistics.event_aborts += u64::from(active.eventq_abt_err());
        self.statistics.other_errors += others.into_iter().filter(|&is| is).count() as u64;
        let toggled = active.with_cmdq_err(false).into_bits() & known_errors();
        if toggled != 0 {
            let acknowledged = self.registers.read(spec::GERRORN) ^ toggled;
            self.registers.write(spec::GERRORN, acknowledged);
        }
        Ok(())
    }
}

/// The bits of `GERROR` that are errors.
const fn known_errors() -> u32 {
    spec::Gerror::new()
        .with_eventq_abt_err(true)
        .with_priq_abt_err(true)
        .with_msi_cmdq_abt_err(true)
        .with_msi_eventq_abt_err(true)
        .with_msi_priq_abt_err(true)
        .with_msi_gerror_abt_err(true)
        .into_bits()
}
