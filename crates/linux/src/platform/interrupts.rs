//! Devices' interrupts, and guests that own them.
//!
//! An interrupt reaches a guest through the kernel alone (forwarded) or through this process (automasked). What counts as an exit
//! is what this process sees: being woken. What the kernel's own KVM does with each interrupt is not told to user space. So a
//! forwarded interrupt costs none, and an automasked one two: the device's interrupt, and the guest's end of it.

use super::Linux;
use super::device::Unit;
use super::guests::{GuestMachine, Line};
use crate::Error;
use crate::kvm::forwarding::Way as Forwarded;
use crate::vfio::BarMapping;
use std::time::{Duration, Instant};
use vcm::DeviceHandle;
use vcm_devices::edu::spec;
use vcm_iommu::Registers as _;
use vcm_irq::kvm::Mode;
use vcm_irq::vgic::Fallback;
use vcm_irq::{DeviceInterrupt, HostInterrupt, Sense};
use vcm_platform::{
    AssignmentHandle, AssignmentRequest, GuestHandle, GuestRequest, InterruptCounts, InterruptRemains,
    Interrupts, LineDescription, Pace, PlatformError, Stage, Way,
};

/// How long a guest may take for one interrupt.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between looks.
const LOOK: Duration = Duration::from_micros(100);
/// The bit that a program raises.
const ASKED: u32 = 1;

/// An interrupt that was given to a guest.
#[derive(Debug)]
pub(super) struct Assignment {
    device: DeviceHandle,
    guest: GuestHandle,
    /// Its place in the guest.
    line: usize,
    asked: u64,
    /// How often it is still to ask, each time when it was served the time before.
    to_ask: u64,
    /// What became of it until its guest ended.
    last: Option<InterruptCounts>,
}

fn refused(what: impl Into<String>, error: &Error) -> PlatformError {
    let errno = match error {
        Error::System { errno, .. } => format!("{errno:?}: "),
        _ => String::new(),
    };
    PlatformError { what: what.into(), why: format!("{errno}{error}") }
}

impl Linux {
    /// Describes the interrupts that a guest can be given.
    pub(super) fn describe_interrupts(&mut self) {
        for (index, device) in self.devices.iter().enumerate() {
            let Unit::Assigned(assigned) = &device.unit else { continue };
            if !assigned.is_edu() {
                continue;
            }
            self.lines.push(LineDescription {
                device: DeviceHandle(index as u32),
                interrupt: DeviceInterrupt { index: crate::vfio::INTX, subindex: 0 },
                host: HostInterrupt(assigned.host_interrupt().unwrap_or(0)),
                sense: Sense::Level,
                name: Some("intx".to_owned()),
            });
        }
    }

    fn assignment(&self, handle: AssignmentHandle) -> Option<&Assignment> {
        self.assignments.get(handle.0 as usize)
    }

    fn line(&self, assignment: &Assignment) -> Option<(&GuestMachine, &Line)> {
        let guest = self.guests.get(assignment.guest.0 as usize)?.as_ref()?;
        Some((guest, guest.lines.get(assignment.line)?))
    }

    fn count(&self, assignment: &Assignment) -> InterruptCounts {
        if let Some(last) = assignment.last {
            return last;
        }
        let Some((guest, line)) = self.line(assignment) else { return InterruptCounts::default() };
        let counts = guest.counts(assignment.line);
        let delivered = u64::from(counts.delivered);
        // What the device still asks for, and what the guest is about, is under way.
        let under_way = counts.in_service || line.asks();
        let lost = if under_way { 0 } else { assignment.asked.saturating_sub(delivered) };
        InterruptCounts {
            asked: assignment.asked,
            delivered,
            spurious: u64::from(counts.spurious),
            lost,
            exits: line.wakes(),
            maintenance_exits: line.ends(),
            mmio: line.wakes(),
            shut: 0,
        }
    }

    /// Whether everything that a line's device asked was served, and the guest is out of its handler.
    fn is_served(&self, assignment: &Assignment) -> bool {
        let Some((guest, _)) = self.line(assignment) else { return true };
        let counts = guest.counts(assignment.line);
        u64::from(counts.delivered) >= assignment.asked && !counts.in_service
    }

    /// The device asks, if it is not asking already.
    fn raise(&mut self, index: usize) {
        let Some(bar) = self.assignments.get(index).and_then(|one| self.edu(one.device)) else { return };
        let mut bar = bar;
        let asks = bar.read(spec::INTERRUPT_STATUS) & ASKED != 0;
        bar.write(spec::INTERRUPT_RAISE, ASKED);
        if !asks && let Some(one) = self.assignments.get_mut(index) {
            one.asked += 1;
        }
    }

    fn edu(&self, device: DeviceHandle) -> Option<BarMapping> {
        match &self.devices.get(device.0 as usize)?.unit {
            Unit::Assigned(assigned) => assigned.registers_of_edu(),
            Unit::Played => None,
        }
    }

    /// Has devices ask that were served. Whether one did.
    fn feed(&mut self) -> bool {
        let mut fed = false;
        for index in 0..self.assignments.len() {
            let one = &self.assignments[index];
            if one.to_ask > 0 && one.last.is_none() && self.is_served(one) {
                self.assignments[index].to_ask -= 1;
                self.raise(index);
                fed = true;
            }
        }
        fed
    }

    /// A device whose interrupt a guest has tells it of the end of a transfer.
    ///
    /// # Errors
    /// The device does not do what it is told.
    pub(super) fn transfer_ended(&mut self, device: DeviceHandle) -> Result<(), PlatformError> {
        let has = |one: &Assignment| one.device == device && one.last.is_none();
        let Some(index) = self.assignments.iter().position(has) else { return Ok(()) };
        let Some(Unit::Assigned(assigned)) =
            self.devices.get_mut(device.0 as usize).map(|device| &mut device.unit)
        else {
            return Ok(());
        };
        let what = || format!("the interrupt at the end of a transfer of {}", device.0);
        let (engine, own) = assigned.engine_and_pages().map_err(|error| refused(what(), &error))?;
        match engine.tell_end(own) {
            Ok(tells) => self.assignments[index].asked += u64::from(tells),
            Err(error) => return Err(PlatformError { what: what(), why: format!("{error:?}") }),
        }
        Ok(())
    }

    /// Lets guests run until `done`, for as long as something goes on.
    fn run_guests(&mut self, what: &str, done: impl Fn(&Self) -> bool) -> Result<bool, PlatformError> {
        let mut since = Instant::now();
        loop {
            if done(self) {
                return Ok(true);
            }
            if self.feed() {
                since = Instant::now();
            }
            for guest in self.guests.iter().flatten() {
                if let Some(why) = guest.ended() {
                    let what = format!("guest {}", guest.request.name);
                    return Err(PlatformError { what, why: format!("it ended: {why}") });
                }
            }
            if since.elapsed() > PATIENCE {
                let why = format!("no interrupt was served for {PATIENCE:?}");
                return Err(PlatformError { what: what.to_owned(), why });
            }
            std::thread::sleep(LOOK);
        }
    }
}

impl Interrupts for Linux {
    fn lines(&self) -> &[LineDescription] {
        &self.lines
    }

    fn start_guest(&mut self, request: &GuestRequest) -> Result<GuestHandle, PlatformError> {
        let what = || format!("to start guest {}", request.name);
        if request.end != vcm_platform::GuestEnd::Together {
            let why = "ENOTSUP: an x86 guest ends interrupts in one step".to_owned();
            return Err(PlatformError { what: what(), why });
        }
        let guest = GuestMachine::new(request).map_err(|error| refused(what(), &error))?;
        self.guests.push(Some(guest));
        Ok(GuestHandle(self.guests.len() as u32 - 1))
    }

    fn assign(&mut self, request: &AssignmentRequest) -> Result<(AssignmentHandle, Mode), PlatformError> {
        let what = || format!("to give {} of device {} to a guest", request.interrupt, request.device.0);
        let wrong = |why: &str| Err(PlatformError { what: what(), why: why.to_owned() });
        let Self { guests, devices, .. } = self;
        let holds = |one: &&Assignment| one.device == request.device && one.last.is_none();
        if let Some(holder) = self.assignments.iter().find(holds) {
            let name =
                guests.get(holder.guest.0 as usize).and_then(Option::as_ref).map(|guest| &guest.request.name);
            return wrong(&format!("EBUSY: guest {} has the device", name.map_or("", String::as_str)));
        }
        let Some(Some(guest)) = guests.get_mut(request.guest.0 as usize) else {
            return wrong("there is no such guest");
        };
        let Some(Unit::Assigned(device)) = devices.get(request.device.0 as usize).map(|device| &device.unit)
        else {
            return wrong("there is no such device");
        };
        let line =
            guest.give(device, request.interrupt, request.gsi).map_err(|error| refused(what(), &error))?;
        let handle = AssignmentHandle(self.assignments.len() as u32);
        self.assignments.push(Assignment {
            device: request.device,
            guest: request.guest,
            line,
            asked: 0,
            to_ask: 0,
            last: None,
        });
        let mode = match request.way {
            Way::Forwarded => match self.forward(handle) {
                Ok(mode) => mode,
                Err(error) => {
                    self.assignments.pop();
                    if let Some(Some(guest)) = self.guests.get_mut(request.guest.0 as usize) {
                        // The first error is the one that tells.
                        let _ = guest.take_last();
                    }
                    return Err(error);
                }
            },
            Way::Automasked => Mode::Automasked(Fallback::Configured),
        };
        Ok((handle, mode))
    }

    fn forward(&mut self, assignment: AssignmentHandle) -> Result<Mode, PlatformError> {
        let what = || "to forward an interrupt".to_owned();
        let found = self.assignment(assignment).and_then(|one| self.line(one));
        let Some((_, line)) = found else {
            return Err(PlatformError { what: what(), why: "EINVAL: it is nobody's".to_owned() });
        };
        line.control.forward(&line.source, line.interrupt, line.gsi).map_err(|error| PlatformError {
            what: what(),
            why: format!("{}: {error}", errno_name(&error)),
        })?;
        Ok(Mode::Forwarded)
    }

    fn unforward(&mut self, assignment: AssignmentHandle) {
        if let Some((_, line)) = self.assignment(assignment).and_then(|one| self.line(one)) {
            line.control.unforward(&line.source, line.interrupt);
        }
    }

    fn kill(&mut self, guest: GuestHandle) {
        for index in 0..self.assignments.len() {
            if self.assignments[index].guest == guest && self.assignments[index].last.is_none() {
                let counts = self.count(&self.assignments[index]);
                self.assignments[index].last = Some(counts);
                self.assignments[index].to_ask = 0;
            }
        }
        if let Some(guest) = self.guests.get_mut(guest.0 as usize) {
            *guest = None;
        }
    }

    fn ask(
        &mut self,
        device: DeviceHandle,
        interrupt: DeviceInterrupt,
        times: u64,
        pace: Pace,
    ) -> Result<(), PlatformError> {
        let has = |one: &Assignment| {
            one.device == device && self.line(one).is_some_and(|(_, line)| line.interrupt == interrupt)
        };
        let Some(index) = self.assignments.iter().position(has) else {
            let why = "no guest has it, and nobody else would serve it".to_owned();
            return Err(PlatformError { what: format!("{interrupt} of device {}", device.0), why });
        };
        match pace {
            Pace::Served => self.assignments[index].to_ask += times,
            Pace::AtOnce => (0..times).for_each(|_| self.raise(index)),
        }
        Ok(())
    }

    fn run_until(&mut self, assignment: AssignmentHandle, stage: Stage) -> Result<bool, PlatformError> {
        let at = |linux: &Self| {
            let Some(one) = linux.assignment(assignment) else { return stage == Stage::Idle };
            let in_service = linux.line(one).is_some_and(|(guest, _)| guest.counts(one.line).in_service);
            let served = linux.is_served(one) && one.to_ask == 0;
            match stage {
                Stage::Idle => served,
                Stage::InService => in_service || served,
                Stage::Pending => (!in_service && !linux.is_served(one)) || served,
            }
        };
        self.run_guests("the guest does not come to that stage", at)?;
        // The guest runs on meanwhile: a stage that passes quickly may have been missed.
        Ok(match self.assignment(assignment) {
            Some(one) => stage == Stage::Idle || !self.is_served(one),
            None => stage == Stage::Idle,
        })
    }

    fn settle(&mut self) -> Result<(), PlatformError> {
        let idle = |linux: &Self| {
            linux
                .assignments
                .iter()
                .all(|one| one.last.is_some() || (one.to_ask == 0 && linux.is_served(one)))
        };
        self.run_guests("guests do not come to rest", idle).map(drop)
    }

    fn mode(&self, assignment: AssignmentHandle) -> Option<Mode> {
        let (_, line) = self.line(self.assignment(assignment)?)?;
        line.control.way(&line.source, line.interrupt).map(|way| match way {
            Forwarded::Forwarded => Mode::Forwarded,
            Forwarded::Automasked => Mode::Automasked(Fallback::Configured),
        })
    }

    fn counts(&self, assignment: AssignmentHandle) -> InterruptCounts {
        self.assignment(assignment).map(|one| self.count(one)).unwrap_or_default()
    }

    fn remains(&self) -> InterruptRemains {
        // What the kernel's interrupt controllers hold it does not tell; what we hold, it keeps for us.
        let held = self.guests.iter().flatten().map(|guest| guest.lines.len()).sum();
        InterruptRemains { enabled: held, active: 0, references: held, list_registers: 0, late: 0 }
    }
}

fn errno_name(error: &crate::kvm::forwarding::ForwardError) -> &'static str {
    match error.errno() {
        rustix::io::Errno::INVAL => "EINVAL",
        rustix::io::Errno::BUSY => "EBUSY",
        rustix::io::Errno::NOMEM => "ENOMEM",
        _ => "EIO",
    }
}
