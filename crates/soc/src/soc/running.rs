//! What a program asks: transfers, events, faults, the CPU's own accesses.

use super::devices::Device;
use super::{Soc, Waiting, cpu_span};
use crate::hardware::{Access, Activity, Master, MasterFault, MasterId, ProcessorFault, SmmuId};
use vcm::{Answer, CpuAddress, DeviceHandle, Fault, FaultAccess, FaultState, Privilege, Span};
use vcm_iommu::msm::{FaultRecord, SmmuError};
use vcm_platform::{
    DeviceDescription, Event, FaultToken, Interrupts, MemoryDescription, Platform, PlatformError, Transfer,
    TransferReport,
};

/// Progress is told at most once in as many bytes.
const PROGRESS: u64 = 1 << 20;
/// Steps between two looks at progress.
const BATCH: u32 = 1024;
/// Steps of guests while masters make that many.
const GUEST_BATCH: u32 = 64;
const SENSELESS: &str = "a register was used in a way that makes no sense";

const fn fault_access(access: Access) -> FaultAccess {
    match access {
        Access::Read => FaultAccess::Read,
        Access::Write => FaultAccess::Write,
        Access::Fetch => FaultAccess::Execute,
    }
}

impl Soc {
    fn device_of_master(&self, master: MasterId) -> Option<usize> {
        self.devices.iter().position(|device| device.master == master)
    }

    /// Reads faults from the SMMU whose interrupt came, and tells of them.
    pub(super) fn handle_smmu(&mut self, smmu: SmmuId, number: u32) -> Result<(), PlatformError> {
        let driver = &mut self.smmus[smmu.0];
        let read = driver.handle_interrupt();
        while let Some(record) = self.smmus[smmu.0].next_fault() {
            self.tell_fault(smmu.0, &record);
        }
        read.map_err(|silent| PlatformError {
            what: format!("interrupt {number}"),
            why: silent.to_string(),
        })?;
        Ok(())
    }

    fn tell_fault(&mut self, smmu: usize, record: &FaultRecord) {
        let of_context = |device: &Device| {
            record.context.is_some_and(|context| device.contexts().contains(&(smmu, context)))
        };
        let Some(index) = self.devices.iter().position(of_context) else { return };
        let token = self.token();
        if let (FaultState::Stalled, Some(context)) = (record.state, record.context) {
            self.waiting.insert(token.0, Waiting { smmu, context });
        }
        self.devices[index].reported = Some((record.address, record.reason));
        let fault = record.of_device(DeviceHandle(index as u32));
        self.events.push_back(Event::Fault { token, fault });
    }

    fn token(&mut self) -> FaultToken {
        self.next_token += 1;
        FaultToken(self.next_token)
    }

    /// A transfer ended: its contexts are idle, and whoever waits hears of it.
    fn ended(
        &mut self,
        master: MasterId,
        report: TransferReport,
        fault: Option<MasterFault>,
    ) -> Result<(), PlatformError> {
        let Some(index) = self.device_of_master(master) else { return Ok(()) };
        for (smmu, context) in std::mem::take(&mut self.devices[index].held) {
            self.smmus[smmu].release(context);
        }
        let handled = self.handle_interrupts();
        let device = DeviceHandle(index as u32);
        // What no SMMU told of, the master tells itself: it got an error from the bus.
        if let Some(fault) = fault
            && self.devices[index].reported != Some((fault.address, fault.reason))
        {
            let token = self.token();
            let fault = Fault {
                device,
                address: fault.address,
                access: fault_access(fault.access),
                reason: fault.reason,
                state: FaultState::Terminated,
            };
            self.events.push_back(Event::Fault { token, fault });
        }
        self.events.push_back(Event::Completed { device, report });
        handled
    }

    /// Tells of the progress of every transfer that went far enough since it was last told.
    fn tell_progress(&mut self) {
        let machine = self.machine.lock();
        for (device, handle) in self.devices.iter_mut().zip(0..) {
            let Some((done, total)) = machine.board.master(device.master).and_then(Master::progress) else {
                continue;
            };
            if done - device.progress >= PROGRESS && done < total {
                device.progress = done;
                self.events.push_back(Event::Progress { device: DeviceHandle(handle), done, total });
            }
        }
    }

    /// What the machine itself says is wrong.
    pub(super) fn complaint(&mut self) -> Result<(), PlatformError> {
        let mut machine = self.machine.lock();
        if let Some(finding) = machine.board.take_finding() {
            let what = "memory that was given back was reached".to_owned();
            return Err(PlatformError { what, why: finding.to_string() });
        }
        if let Some(misuse) = machine.board.take_misuse() {
            return Err(PlatformError { what: SENSELESS.to_owned(), why: misuse.to_string() });
        }
        if let Some(finding) = machine.board.take_interrupt_finding() {
            let what = "the interrupt controller was used as it must not be".to_owned();
            return Err(PlatformError { what, why: finding.to_string() });
        }
        if let Some(misuse) = machine.board.take_interrupt_misuse() {
            return Err(PlatformError { what: SENSELESS.to_owned(), why: misuse.to_string() });
        }
        Ok(())
    }

    /// Why a processor's access was not made.
    fn processor_error(&mut self, what: &str, fault: Option<ProcessorFault>) -> PlatformError {
        if let Err(complaint) = self.complaint() {
            return complaint;
        }
        let why = fault.map_or_else(|| "no such processor".to_owned(), |fault| fault.to_string());
        PlatformError { what: what.to_owned(), why }
    }
}

impl Platform for Soc {
    fn name(&self) -> &str {
        &self.name
    }

    fn devices(&self) -> &[DeviceDescription] {
        &self.descriptions
    }

    fn memories(&self) -> &[MemoryDescription] {
        &self.memories
    }

    fn cpu_span(&self) -> Span {
        cpu_span()
    }

    fn interrupts(&mut self) -> Option<&mut dyn Interrupts> {
        Some(self)
    }

    fn start(
        &mut self,
        device: DeviceHandle,
        transfer: &Transfer,
        privilege: Privilege,
    ) -> Result<(), PlatformError> {
        let index = device.0 as usize;
        let Some(description) = self.descriptions.get(index) else {
            let what = format!("to start a transfer of device {}", device.0);
            return Err(PlatformError { what, why: "there is no such device".to_owned() });
        };
        let refused = |why: String| PlatformError {
            what: format!("to start a transfer of `{}`", description.name),
            why,
        };
        let master = self.devices[index].master;
        if self.machine.lock().board.master(master).is_some_and(|master| master.busy()) {
            return Err(refused("a transfer is under way".to_owned()));
        }
        // The device's contexts are seated, and keep their seats until the transfer has ended.
        let mut held = Vec::new();
        for (smmu, context) in self.devices[index].contexts() {
            match self.smmus[*smmu].hold(*context) {
                Ok(()) => held.push((*smmu, *context)),
                // Nothing is attached: its transactions will be refused, and that is told as a fault.
                Err(SmmuError::NotActive(_)) => {}
                Err(error) => {
                    held.into_iter().for_each(|(smmu, context)| self.smmus[smmu].release(context));
                    return Err(refused(error.to_string()));
                }
            }
        }
        let started = {
            let board = &mut self.machine.lock().board;
            if let Some(master) = board.master_mut(master) {
                master.set_privilege(privilege);
            }
            board.start(master, transfer)
        };
        if let Err(error) = started {
            held.into_iter().for_each(|(smmu, context)| self.smmus[smmu].release(context));
            return Err(refused(error.to_string()));
        }
        let device = &mut self.devices[index];
        (device.held, device.reported, device.progress) = (held, None, 0);
        self.listen(master, 0);
        Ok(())
    }

    fn next_event(&mut self) -> Result<Option<Event>, PlatformError> {
        loop {
            self.complaint()?;
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            self.handle_interrupts()?;
            if !self.events.is_empty() {
                continue;
            }
            self.step_guests(GUEST_BATCH.into())?;
            if !self.events.is_empty() {
                continue;
            }
            let activity = self.machine.lock().board.run(BATCH);
            match activity {
                Activity::Idle => {
                    self.settle()?;
                    if self.events.is_empty() {
                        return Ok(None);
                    }
                }
                Activity::Moved(_) => self.tell_progress(),
                // The SMMU's interrupt tells the rest.
                Activity::Stalled(_) => {}
                Activity::Ended(master, report, fault) => self.ended(master, report, fault)?,
                Activity::Stuck => {
                    let why = match self.waiting.len() {
                        0 => "a transaction is stalled, and no driver knows of it".to_owned(),
                        waiting => format!("{waiting} faults wait for an answer"),
                    };
                    return Err(PlatformError { what: "no transfer can go on".to_owned(), why });
                }
            }
        }
    }

    fn answer(&mut self, token: FaultToken, answer: Answer) {
        let Some(waiting) = self.waiting.remove(&token.0) else { return };
        if let Err(SmmuError::Unresponsive(_)) = self.smmus[waiting.smmu].resume(waiting.context, answer) {
            // It waits still, and can be answered again.
            self.waiting.insert(token.0, waiting);
        }
    }

    fn cpu_read(&mut self, address: CpuAddress, bytes: &mut [u8]) -> Result<(), PlatformError> {
        let read = self.machine.lock().board.processor_read(self.cpu, address.raw(), bytes);
        read.map_err(|fault| self.processor_error("the CPU reads", fault))
    }

    fn cpu_write(&mut self, address: CpuAddress, bytes: &[u8]) -> Result<(), PlatformError> {
        let written = self.machine.lock().board.processor_write(self.cpu, address.raw(), bytes);
        written.map_err(|fault| self.processor_error("the CPU writes", fault))
    }
}
