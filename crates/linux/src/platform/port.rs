//! A device while it moves a transfer's bytes, as the kernel's IOMMU driver lets it.

use super::engine::{Engine, EngineError};
use super::kernel_log::{KernelLog, LoggedFault};
use super::mappings::Mappings;
use super::own_pages::OwnPages;
use std::time::{Duration, Instant};
use vcm::{Access, FaultAccess, FaultReason};
use vcm_platform::job::{Mover, Refusal, Stop};
use vcm_platform::{PlatformError, Run};

/// How long a fault may take to get into the kernel's log. Its drivers leave faults out for five seconds when there were
/// many (`DEFAULT_RATELIMIT_INTERVAL`, include/linux/ratelimit_types.h): the access is made again until one is told.
const PATIENCE: Duration = Duration::from_secs(12);
/// How long is waited before an access is made again.
const PAUSE: Duration = Duration::from_millis(50);

/// A device while it makes accesses.
///
/// What the IOMMU refuses, hardware may tell (an NVMe controller's status) and the kernel's log tells. Whether nothing is
/// mapped or not for this access is what we had the kernel map.
#[derive(Debug)]
pub(super) struct Port<'m> {
    pub(super) engine: &'m mut dyn Engine,
    /// The device's name in sysfs.
    pub(super) device: &'m str,
    pub(super) own: &'m OwnPages,
    /// What it translates through.
    pub(super) through: Through<'m>,
    /// Who refuses what is not mapped.
    pub(super) guard: Guard,
    pub(super) log: Option<&'m mut KernelLog>,
    /// Faults of other devices.
    pub(super) strays: &'m mut Vec<LoggedFault>,
}

/// Who refuses a device's access to what is not mapped for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Guard {
    /// The IOMMU.
    Iommu,
    /// Nobody: it is not tried, but refused here.
    Nobody,
}

/// What a device's addresses lead through.
#[derive(Clone, Copy, Debug)]
pub(super) enum Through<'m> {
    /// Nothing: it is attached to no space.
    Nothing,
    /// A space.
    Space(&'m Mappings),
}

impl Port<'_> {
    /// Why an access would be refused, if it would.
    fn expected(&self, run: &Run, access: FaultAccess) -> Option<FaultReason> {
        let needed = if access == FaultAccess::Write { Access::WRITE } else { Access::READ };
        let Through::Space(mappings) = self.through else { return Some(FaultReason::NoContext) };
        // A run is in one page.
        match mappings.find(run.address) {
            None => Some(FaultReason::Translation),
            Some((.., allowed)) if !allowed.contains(needed) => Some(FaultReason::Permission),
            Some(_) => None,
        }
    }

    /// Has the engine copy bytes that are beside each other, between the device's own pages at `place` and memory.
    fn copy(&mut self, run: Run, place: u64, access: FaultAccess) -> Result<(), EngineError> {
        match access {
            FaultAccess::Write => self.engine.store(self.own, place, run),
            _ => self.engine.fetch(self.own, place, run),
        }
    }

    /// The first fault of this device that was logged since.
    fn logged(&mut self) -> Option<LoggedFault> {
        let faults = self.log.as_mut().map(|log| log.faults()).unwrap_or_default();
        let (ours, others): (Vec<_>, Vec<_>) =
            faults.into_iter().partition(|fault| fault.device == self.device);
        self.strays.extend(others);
        ours.into_iter().next()
    }

    /// Makes the accesses of `runs`, one after the other, and nothing after one that is refused.
    fn make(&mut self, runs: &[Run], access: FaultAccess) -> Result<(), Stop> {
        let (mut done, mut place) = (0, 0);
        while let Some(&first) = runs.get(done) {
            if let Some(reason) = self.expected(&first, access) {
                if self.guard == Guard::Nobody {
                    return Err(self.refused(first, done, access, reason));
                }
                return Err(self.probe(first, done, place, access, reason));
            }
            // What is beside each other, and expected to pass, is one access.
            let mut next = first;
            let mut count = 1;
            for run in &runs[done + 1..] {
                let beside = next.address.checked_add(next.len) == Some(run.address);
                if !beside || self.expected(run, access).is_some() {
                    break;
                }
                next.len += run.len;
                count += 1;
            }
            match self.copy(next, place, access) {
                Ok(()) => {}
                // Mapped, and yet it did not pass.
                Err(EngineError::Refused) => {
                    return Err(self.refused(first, done, access, FaultReason::Bus));
                }
                Err(EngineError::Broken(why)) => return Err(self.broken(why)),
            }
            if let Some(fault) = self.logged() {
                let why =
                    format!("the kernel logged a fault at {:#x}, where memory is mapped", fault.address);
                return Err(self.broken(why));
            }
            place += next.len;
            done += count;
        }
        Ok(())
    }

    /// Tries what is not expected to pass, until somebody says that it did not.
    fn probe(
        &mut self,
        run: Run,
        index: usize,
        place: u64,
        access: FaultAccess,
        reason: FaultReason,
    ) -> Stop {
        let first = Run { len: run.len.min(self.engine.unit()), ..run };
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            match self.copy(first, place, access) {
                Err(EngineError::Refused) => {
                    // The log tells it as well.
                    self.logged();
                    return self.refused(run, index, access, reason);
                }
                Err(EngineError::Broken(why))
                    if self.expected(&run, access) != Some(FaultReason::NoContext) =>
                {
                    return self.broken(why);
                }
                // It passed as far as the device knows; or it could not even fetch its orders.
                Ok(()) | Err(EngineError::Broken(_)) => {}
            }
            let waited = Instant::now();
            while waited.elapsed() < PAUSE * 4 {
                if self.logged().is_some() {
                    return self.refused(run, index, access, reason);
                }
                std::thread::sleep(PAUSE / 10);
            }
        }
        let why = format!(
            "an access to {:#x}, where nothing is mapped for it, was refused by nobody whom this process can hear",
            run.address
        );
        self.broken(why)
    }

    fn refused(&self, run: Run, index: usize, access: FaultAccess, reason: FaultReason) -> Stop {
        Stop::Refused(Refusal { run: index, address: run.address, access, reason })
    }

    fn broken(&self, why: String) -> Stop {
        Stop::Broken(PlatformError { what: format!("a transfer of {}", self.device), why })
    }
}

impl Mover for Port<'_> {
    fn read(&mut self, runs: &[Run], bytes: &mut [u8]) -> Result<(), Stop> {
        let made = self.make(runs, FaultAccess::Read);
        let read = match &made {
            Ok(()) => runs,
            Err(Stop::Refused(refusal)) => &runs[..refusal.run],
            Err(Stop::Broken(_)) => return made,
        };
        let len: u64 = read.iter().map(|run| run.len).sum();
        self.own.read(&mut bytes[..len as usize]).map_err(Stop::broken)?;
        made
    }

    fn write(&mut self, runs: &[Run], bytes: &[u8]) -> Result<(), Stop> {
        self.own.write(bytes).map_err(Stop::broken)?;
        self.make(runs, FaultAccess::Write)
    }
}
