//! What a program asks: transfers, events, faults, the CPU's own accesses.

use super::device::{Device, Unit, Work};
use super::job::{Job, Mover, Stepped, Stop};
use super::space::{Tables, processor};
use super::{Emulated, cpu_span};
use vcm::{Answer, CpuAddress, DeviceHandle, Fault, FaultState, Privilege, RegionKind, Span};
use vcm_iommu::FaultRecord;
use vcm_platform::{
    DeviceDescription, Event, FaultToken, MemoryDescription, Platform, PlatformError, Run, Transfer,
};

/// Progress is told at most once in as many bytes.
const PROGRESS: u64 = 64 << 10;

impl Emulated {
    /// Lets the transfer of a device go on by one step.
    fn step(&mut self, index: usize) -> Result<(), PlatformError> {
        let Some(mut work) = self.devices[index].work.take() else { return Ok(()) };
        let stepped = self.moved(index, &mut work);
        let device = DeviceHandle(index as u32);
        match stepped {
            Ok(Stepped::Moved) => {
                let (done, total) = work.job.progress();
                if done - work.told >= PROGRESS && done < total {
                    work.told = done;
                    self.events.push_back(Event::Progress { device, done, total });
                }
                self.devices[index].work = Some(work);
            }
            Ok(Stepped::Refused(refusal)) => {
                self.last_token += 1;
                let token = FaultToken(self.last_token);
                let fault = Fault {
                    device,
                    address: refusal.address,
                    access: refusal.access,
                    reason: refusal.reason,
                    // The hardware terminated the transaction. The transfer waits, and can make it anew.
                    state: FaultState::Stalled,
                };
                self.events.push_back(Event::Fault { token, fault });
                work.waits = Some((token, refusal));
                self.devices[index].work = Some(work);
            }
            Ok(Stepped::Ended(report)) => self.events.push_back(Event::Completed { device, report }),
            // The transfer is lost with what moved it. If that is QEMU itself, a driver knows only that registers are gone.
            Err(broken) => {
                self.complaint()?;
                return Err(broken);
            }
        }
        Ok(())
    }

    /// Moves the next bytes of a transfer, by whatever moves the device's bytes.
    fn moved(&mut self, index: usize, work: &mut Work) -> Result<Stepped, PlatformError> {
        let device = &mut self.devices[index];
        let mut spaces = device.attached.iter().filter_map(|handle| self.spaces.get(&handle.0));
        match &mut device.unit {
            Unit::Controller(_) | Unit::Played => {
                work.job.step(&mut processor(spaces, &self.ram, work.privilege))
            }
            Unit::Master(master) => {
                let space = spaces.find_map(|space| match &space.tables {
                    Tables::Iommu(space) => Some(space),
                    Tables::Played(_) => None,
                });
                let mut strays = Vec::new();
                let stepped = work.job.step(&mut master.port(&mut self.iommu, &self.ram, space, &mut strays));
                strays.into_iter().try_for_each(|record| self.tell(&record))?;
                stepped
            }
        }
    }

    /// Tells of a fault of a device that makes no transfer for us. Nothing waits for an answer.
    fn tell(&mut self, record: &FaultRecord) -> Result<(), PlatformError> {
        let whose = |device: &Device| device.unit.stream() == Some(record.stream);
        let Some(index) = self.devices.iter().position(whose) else {
            let what = "a fault of a stream that is no device's".to_owned();
            return Err(PlatformError { what, why: record.to_string() });
        };
        let fault = record.of_device(DeviceHandle(index as u32));
        self.last_token += 1;
        self.events.push_back(Event::Fault { token: FaultToken(self.last_token), fault });
        Ok(())
    }

    fn cpu_access(
        &self,
        what: &str,
        access: impl FnOnce(&mut dyn Mover) -> Result<(), Stop>,
    ) -> Result<(), PlatformError> {
        let cpu = self.devices.iter().find(|device| device.kind == RegionKind::Cpu);
        let attached = cpu.map_or(&[][..], |cpu| &cpu.attached);
        let spaces = attached.iter().filter_map(|handle| self.spaces.get(&handle.0));
        match access(&mut processor(spaces, &self.ram, Privilege::Supervisor)) {
            Ok(()) => Ok(()),
            Err(Stop::Broken(error)) => Err(error),
            Err(Stop::Refused(refusal)) => Err(PlatformError {
                what: what.to_owned(),
                why: format!("{} fault: {} at {:#x}", refusal.reason, refusal.access, refusal.address),
            }),
        }
    }
}

impl Platform for Emulated {
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

    fn start(
        &mut self,
        device: DeviceHandle,
        transfer: &Transfer,
        privilege: Privilege,
    ) -> Result<(), PlatformError> {
        let index = device.0 as usize;
        let Some(found) = self.devices.get_mut(index) else {
            let what = format!("to start a transfer of device {}", device.0);
            return Err(PlatformError { what, why: "there is no such device".to_owned() });
        };
        let name = &self.descriptions[index].name;
        let refused = |why: String| PlatformError { what: format!("to start a transfer of `{name}`"), why };
        if found.work.is_some() {
            return Err(refused("EBUSY: a transfer is under way".to_owned()));
        }
        if matches!(found.unit, Unit::Controller(_)) {
            return Err(refused(
                "EOPNOTSUPP: it moves what its driver tells it, and nothing else".to_owned(),
            ));
        }
        if matches!(found.unit, Unit::Master(_)) && privilege == Privilege::Supervisor {
            return Err(refused("EOPNOTSUPP: a PCI device's transactions are a user's".to_owned()));
        }
        let job = Job::new(transfer).map_err(refused)?;
        found.work = Some(Work { job, privilege, told: 0, waits: None });
        Ok(())
    }

    fn next_event(&mut self) -> Result<Option<Event>, PlatformError> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            self.complaint()?;
            let under_way = |index: &usize| self.devices[*index].work.is_some();
            let busy: Vec<usize> = (0..self.devices.len()).filter(under_way).collect();
            let waits =
                |index: &usize| self.devices[*index].work.as_ref().is_some_and(|work| work.waits.is_some());
            let waiting = busy.iter().filter(|index| waits(index)).count();
            if busy.is_empty() {
                return Ok(None);
            }
            if waiting == busy.len() {
                let why = format!("{waiting} faults wait for an answer");
                return Err(PlatformError { what: "no transfer can go on".to_owned(), why });
            }
            let ready: Vec<usize> = busy.into_iter().filter(|index| !waits(index)).collect();
            for index in ready {
                self.step(index)?;
            }
        }
    }

    fn answer(&mut self, token: FaultToken, answer: Answer) {
        for (index, device) in self.devices.iter_mut().enumerate() {
            let Some(work) = &mut device.work else { continue };
            if work.waits.is_none_or(|(waiting, _)| waiting != token) {
                continue;
            }
            work.waits = None;
            if answer == Answer::Terminate {
                let report = work.job.abort();
                device.work = None;
                let device = DeviceHandle(index as u32);
                self.events.push_back(Event::Completed { device, report });
            }
            return;
        }
    }

    fn cpu_read(&mut self, address: CpuAddress, bytes: &mut [u8]) -> Result<(), PlatformError> {
        let run = Run { address: address.raw(), len: bytes.len() as u64 };
        self.cpu_access("the CPU reads", |cpu| cpu.read(&[run], bytes))
    }

    fn cpu_write(&mut self, address: CpuAddress, bytes: &[u8]) -> Result<(), PlatformError> {
        let run = Run { address: address.raw(), len: bytes.len() as u64 };
        self.cpu_access("the CPU writes", |cpu| cpu.write(&[run], bytes))
    }
}
