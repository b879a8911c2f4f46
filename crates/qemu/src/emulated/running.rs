//! What a program asks: transfers, events, faults, the CPU's own accesses.

use super::device::{Device, Unit};
use super::space::{Tables, processor};
use super::{Emulated, cpu_span};
use vcm::{Answer, CpuAddress, DeviceHandle, Privilege, RegionKind, Span};
use vcm_iommu::FaultRecord;
use vcm_platform::job::{Mover, Stop};
use vcm_platform::{
    DeviceDescription, Event, FaultToken, MemoryDescription, Platform, PlatformError, Run, Transfer,
};

impl Emulated {
    /// Lets the transfer of a device go on by one step, by whatever moves the device's bytes.
    fn step(&mut self, device: DeviceHandle) -> Result<(), PlatformError> {
        let Self { devices, spaces, iommu, ram, transfers, .. } = self;
        let Some(found) = devices.get_mut(device.0 as usize) else { return Ok(()) };
        let mut spaces = found.attached.iter().filter_map(|handle| spaces.get(&handle.0));
        let mut strays = Vec::new();
        let stepped = transfers.step(device, |job, privilege| match &mut found.unit {
            Unit::Controller(_) | Unit::Played => job.step(&mut processor(spaces, ram, privilege)),
            Unit::Master(master) => {
                let space = spaces.find_map(|space| match &space.tables {
                    Tables::Iommu(space) => Some(space),
                    Tables::Played(_) => None,
                });
                job.step(&mut master.port(iommu, ram, space, &mut strays))
            }
        });
        strays.into_iter().try_for_each(|record| self.tell(&record))?;
        // The transfer is lost with what moved it. If that is QEMU itself, a driver knows only that registers are gone.
        stepped.or_else(|broken| self.complaint().and(Err(broken)))
    }

    /// Tells of a fault of a device that makes no transfer for us. Nothing waits for an answer.
    fn tell(&mut self, record: &FaultRecord) -> Result<(), PlatformError> {
        let whose = |device: &Device| device.unit.stream() == Some(record.stream);
        let Some(index) = self.devices.iter().position(whose) else {
            let what = "a fault of a stream that is no device's".to_owned();
            return Err(PlatformError { what, why: record.to_string() });
        };
        let fault = record.of_device(DeviceHandle(index as u32));
        self.transfers.tell(fault);
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
        let Some(found) = self.devices.get(device.0 as usize) else {
            let what = format!("to start a transfer of device {}", device.0);
            return Err(PlatformError { what, why: "there is no such device".to_owned() });
        };
        let name = &self.descriptions[device.0 as usize].name;
        let refused = |why: String| PlatformError { what: format!("to start a transfer of `{name}`"), why };
        if matches!(found.unit, Unit::Controller(_)) {
            return Err(refused(
                "EOPNOTSUPP: it moves what its driver tells it, and nothing else".to_owned(),
            ));
        }
        if matches!(found.unit, Unit::Master(_)) && privilege == Privilege::Supervisor {
            return Err(refused("EOPNOTSUPP: a PCI device's transactions are a user's".to_owned()));
        }
        self.transfers.start(device, transfer, privilege).map_err(|error| refused(error.to_string()))
    }

    fn next_event(&mut self) -> Result<Option<Event>, PlatformError> {
        loop {
            if let Some(event) = self.transfers.next_event() {
                return Ok(Some(event));
            }
            self.complaint()?;
            let ready = self.transfers.ready()?;
            if ready.is_empty() {
                return Ok(None);
            }
            ready.into_iter().try_for_each(|device| self.step(device))?;
        }
    }

    fn answer(&mut self, token: FaultToken, answer: Answer) {
        self.transfers.answer(token, answer);
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
