//! What a program asks: transfers, events, faults, the CPU's own accesses.

use super::Linux;
use super::device::Unit;
use super::mappings::Mappings;
use super::played::Played;
use super::port::{Guard, Port, Through};
use crate::vfio::Way;
use vcm::{
    Answer, CpuAddress, DeviceHandle, Fault, FaultAccess, FaultReason, FaultState, Privilege, RegionKind,
    Span,
};
#[cfg(target_arch = "x86_64")]
use vcm_platform::Interrupts;
use vcm_platform::{
    DeviceDescription, Event, FaultToken, MemoryDescription, Platform, PlatformError, Transfer,
};

impl Linux {
    /// Lets the transfer of a device go on by one step, by whatever moves the device's bytes.
    fn step(&mut self, device: DeviceHandle) -> Result<(), PlatformError> {
        let Self { devices, spaces, identity, memory, transfers, log, .. } = self;
        let Some(found) = devices.get_mut(device.0 as usize) else { return Ok(()) };
        let attached = found.attached.iter().filter_map(|handle| spaces.get(&handle.0));
        let mut attached: Vec<&Mappings> = attached.map(|space| &space.mappings).collect();
        if found.kind == RegionKind::OneToOne {
            attached.extend(
                identity.iter().filter(|space| space.format == found.format).map(|space| &space.mappings),
            );
        }
        let mut strays = Vec::new();
        let stepped = transfers.step(device, |job, _| match &mut found.unit {
            Unit::Played => job.step(&mut Played { spaces: attached, memory }),
            Unit::Assigned(assigned) => {
                let name = assigned.name().to_owned();
                let refused = |error: crate::Error| PlatformError {
                    what: format!("a transfer of {name}"),
                    why: error.to_string(),
                };
                let guard = if assigned.way == Way::NoIommu { Guard::Nobody } else { Guard::Iommu };
                let (engine, own) = assigned.engine_and_pages().map_err(refused)?;
                let through = attached.first().map_or(Through::Nothing, |space| Through::Space(space));
                job.step(&mut Port {
                    engine,
                    device: &name,
                    own,
                    through,
                    guard,
                    log: log.as_mut(),
                    strays: &mut strays,
                })
            }
        });
        for stray in strays {
            let whose = self.devices.iter().position(
                |device| matches!(&device.unit, Unit::Assigned(assigned) if assigned.name() == stray.device),
            );
            if let Some(index) = whose {
                self.transfers.tell(Fault {
                    device: DeviceHandle(index as u32),
                    address: stray.address,
                    access: stray.access.unwrap_or(FaultAccess::Read),
                    reason: FaultReason::Translation,
                    state: FaultState::Terminated,
                });
            }
        }
        stepped
    }

    fn cpu_fault(what: &str, error: &crate::Error) -> PlatformError {
        PlatformError { what: what.to_owned(), why: error.to_string() }
    }
}

impl Platform for Linux {
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
        self.cpu.span()
    }

    #[cfg(target_arch = "x86_64")]
    fn interrupts(&mut self) -> Option<&mut dyn Interrupts> {
        Some(self)
    }

    fn notes(&self) -> &[String] {
        &self.notes
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }

    fn explanation(&self) -> Option<String> {
        self.refusal.as_ref().map(ToString::to_string)
    }

    fn start(
        &mut self,
        device: DeviceHandle,
        transfer: &Transfer,
        privilege: Privilege,
    ) -> Result<(), PlatformError> {
        let Some(found) = self.devices.get_mut(device.0 as usize) else {
            let what = format!("to start a transfer of device {}", device.0);
            return Err(PlatformError { what, why: "there is no such device".to_owned() });
        };
        let name = &self.descriptions[device.0 as usize].name;
        let refused = |why: String| PlatformError { what: format!("to start a transfer of `{name}`"), why };
        if privilege == Privilege::Supervisor && found.kind != RegionKind::Cpu {
            return Err(refused("EOPNOTSUPP: its transactions are a user's".to_owned()));
        }
        if let Unit::Assigned(assigned) = &mut found.unit {
            assigned.engine_and_pages().map_err(|error| refused(error.to_string()))?;
        }
        self.transfers.start(device, transfer, privilege).map_err(|error| refused(error.to_string()))
    }

    fn next_event(&mut self) -> Result<Option<Event>, PlatformError> {
        loop {
            if let Some(event) = self.transfers.next_event() {
                #[cfg(target_arch = "x86_64")]
                if let Event::Completed { device, .. } = event {
                    self.transfer_ended(device)?;
                }
                return Ok(Some(event));
            }
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
        self.cpu.read(address, bytes).map_err(|error| Self::cpu_fault("the CPU reads", &error))
    }

    fn cpu_write(&mut self, address: CpuAddress, bytes: &[u8]) -> Result<(), PlatformError> {
        self.cpu.write(address, bytes).map_err(|error| Self::cpu_fault("the CPU writes", &error))
    }
}
