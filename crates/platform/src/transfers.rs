//! The transfers of a machine that moves their bytes itself, with a [`Job`] each.

use crate::job::{BadTransfer, Job, Refusal, Stepped};
use crate::{Event, FaultToken, PlatformError, Transfer};
use std::collections::{BTreeMap, VecDeque};
use vcm::{Answer, DeviceHandle, Fault, FaultState, Privilege};

/// Progress is told at most once in as many bytes.
const PROGRESS: u64 = 64 << 10;

/// A transfer under way.
#[derive(Debug)]
struct Work {
    job: Job,
    privilege: Privilege,
    /// How many bytes were done when progress was last told.
    told: u64,
    /// A fault that waits for its answer.
    waits: Option<FaultToken>,
}

/// Why a transfer was not started.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotStarted {
    /// One is under way.
    #[error("EBUSY: a transfer is under way")]
    Busy,
    /// No master can make it.
    #[error(transparent)]
    Bad(#[from] BadTransfer),
}

/// All transfers of a machine, and what is to be told of them.
///
/// What is refused is over for the hardware but not for the transfer: as a device's driver would, it waits for the answer, and
/// makes the access again when told to.
#[derive(Debug, Default)]
pub struct Transfers {
    works: BTreeMap<DeviceHandle, Work>,
    events: VecDeque<Event>,
    last_token: u64,
}

impl Transfers {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins a transfer of `device`, whose transactions are made as `privilege`.
    ///
    /// # Errors
    /// [`NotStarted`].
    pub fn start(
        &mut self,
        device: DeviceHandle,
        transfer: &Transfer,
        privilege: Privilege,
    ) -> Result<(), NotStarted> {
        if self.works.contains_key(&device) {
            return Err(NotStarted::Busy);
        }
        let job = Job::new(transfer)?;
        self.works.insert(device, Work { job, privilege, told: 0, waits: None });
        Ok(())
    }

    /// What is to be told next.
    pub fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Whose transfers can go on. Empty when nothing is under way.
    ///
    /// # Errors
    /// Some are under way, and all of them wait for the answer to a fault.
    pub fn ready(&self) -> Result<Vec<DeviceHandle>, PlatformError> {
        let ready = self.works.iter().filter(|(_, work)| work.waits.is_none());
        let ready: Vec<DeviceHandle> = ready.map(|(device, _)| *device).collect();
        if ready.is_empty() && !self.works.is_empty() {
            let why = format!("{} faults wait for an answer", self.works.len());
            return Err(PlatformError { what: "no transfer can go on".to_owned(), why });
        }
        Ok(ready)
    }

    /// Lets the transfer of `device` go on by one step, which `step` makes with whatever moves its bytes.
    ///
    /// # Errors
    /// Those of `step`: the machine is broken, and the transfer lost.
    pub fn step(
        &mut self,
        device: DeviceHandle,
        step: impl FnOnce(&mut Job, Privilege) -> Result<Stepped, PlatformError>,
    ) -> Result<(), PlatformError> {
        let Some(mut work) = self.works.remove(&device) else { return Ok(()) };
        match step(&mut work.job, work.privilege)? {
            Stepped::Moved => {
                let (done, total) = work.job.progress();
                if done - work.told >= PROGRESS && done < total {
                    work.told = done;
                    self.events.push_back(Event::Progress { device, done, total });
                }
                self.works.insert(device, work);
            }
            Stepped::Refused(Refusal { address, access, reason, .. }) => {
                // The hardware terminated the transaction. The transfer waits, and can make it anew.
                let token = self.tell(Fault { device, address, access, reason, state: FaultState::Stalled });
                work.waits = Some(token);
                self.works.insert(device, work);
            }
            Stepped::Ended(report) => self.events.push_back(Event::Completed { device, report }),
        }
        Ok(())
    }

    /// Tells of a fault, and how to answer it.
    pub fn tell(&mut self, fault: Fault) -> FaultToken {
        self.last_token += 1;
        let token = FaultToken(self.last_token);
        self.events.push_back(Event::Fault { token, fault });
        token
    }

    /// Answers a fault that waits. A token that is no longer waiting is passed over.
    pub fn answer(&mut self, token: FaultToken, answer: Answer) {
        let waits = |work: &Work| work.waits == Some(token);
        let Some((&device, work)) = self.works.iter_mut().find(|(_, work)| waits(work)) else { return };
        work.waits = None;
        if answer == Answer::Terminate {
            let report = work.job.abort();
            self.works.remove(&device);
            self.events.push_back(Event::Completed { device, report });
        }
    }
}
