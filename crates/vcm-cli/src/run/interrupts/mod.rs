//! Guests, and the devices' interrupts that they are given: making them, and what steps do with them.

mod end;
mod expect;
mod steps;

pub(crate) use expect::per;
pub(super) use steps::Said;

use super::failure::Failure;
use super::world::World;
use crate::problem::{Name, Place, Problem};
use crate::scenario::{GuestSpec, InterruptSpec, When};
use vcm::DeviceHandle;
use vcm_irq::kvm::{Fallback, Mode};
use vcm_irq::{DeviceInterrupt, HostInterrupt, Sense};
use vcm_platform::{
    AssignmentHandle, AssignmentRequest, GuestHandle, GuestRequest, Interrupts, LineDescription, Platform,
    PlatformError, Way,
};

/// What a guest came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Life {
    /// It runs.
    Running,
    /// A step killed it.
    Killed,
}

/// A guest that was started.
#[derive(Clone, Debug)]
struct GuestEntry {
    name: String,
    handle: GuestHandle,
    life: Life,
}

/// An interrupt that was given to a guest.
#[derive(Clone, Debug)]
struct GivenEntry {
    spec: InterruptSpec,
    /// What the machine calls the device.
    device: String,
    line: DeviceHandle,
    host: HostInterrupt,
    sense: Sense,
    handle: AssignmentHandle,
    /// How it reaches its guest; of one whose guest is gone, how it did.
    mode: Mode,
}

/// The guests of a run and what they were given.
#[derive(Debug, Default)]
pub(super) struct Guests {
    guests: Vec<GuestEntry>,
    /// All that are declared, given or not.
    declared: Vec<InterruptSpec>,
    /// In the order in which they were given.
    given: Vec<GivenEntry>,
    /// Devices' interrupts of which not every asking is an interrupt of its own, since one may come while
    /// another waits: asked for without waiting, or by the ends of transfers.
    merging: Vec<(DeviceHandle, DeviceInterrupt)>,
}

impl Guests {
    fn life(&self, name: &str) -> Option<Life> {
        self.guests.iter().find(|guest| guest.name == name).map(|guest| guest.life)
    }

    fn declared(&self, name: &Name) -> Result<InterruptSpec, Failure> {
        let found = self.declared.iter().find(|spec| spec.name.text == name.text);
        found.cloned().ok_or_else(|| name.problem(format!("there is no interrupt \"{name}\"")).into())
    }

    /// The interrupt as it was given last.
    fn given(&self, name: &Name) -> Result<&GivenEntry, Failure> {
        self.given.iter().rev().find(|entry| entry.spec.name.text == name.text).ok_or_else(|| {
            let problem = name.problem(format!("interrupt \"{name}\" is nobody's at this point"));
            problem.with_help("give it to its guest first").into()
        })
    }
}

/// A machine's interrupts.
///
/// # Errors
/// It has none that a guest could be given; `place` is what needs them.
fn seam<'p>(platform: &'p mut dyn Platform, place: &Place) -> Result<&'p mut dyn Interrupts, Problem> {
    let machine = platform.name().to_owned();
    match platform.interrupts() {
        Some(interrupts) => Ok(interrupts),
        None => Err(Problem::at(place, format!("{machine} cannot give devices' interrupts to guests"))
            .with_help("`vcm machines` lists others")),
    }
}

fn machine(error: PlatformError) -> Failure {
    Failure::Machine(error.to_string())
}

/// How an interrupt reaches its guest, in a word.
pub(super) const fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Forwarded => "forwarded",
        Mode::Automasked(_) => "automasked",
    }
}

/// Why an interrupt that was to be forwarded is not.
fn why_not(fallback: Fallback) -> &'static str {
    match fallback {
        Fallback::NoActiveState => "the host's interrupt has no active state",
        Fallback::Configured => "the guest completes in software",
    }
}

/// What to call a device's interrupt.
fn which(interrupt: DeviceInterrupt) -> String {
    match interrupt.subindex {
        0 => interrupt.index.to_string(),
        subindex => format!("{}.{subindex}", interrupt.index),
    }
}

impl World<'_> {
    /// Notes that a device ended a transfer, which raises its interrupt.
    pub(super) fn note_transfer(&mut self, device: DeviceHandle) {
        let given = self.guests.declared.iter().map(|spec| (spec.device.text.as_str(), spec.interrupt));
        let of_device = given.filter(|(role, _)| {
            self.masters.iter().any(|master| master.handle == device && master.role == *role)
        });
        let lines: Vec<_> = of_device.map(|(_, interrupt)| (device, interrupt)).collect();
        self.guests.merging.extend(lines);
    }

    /// Starts a guest.
    pub(super) fn start_guest(&mut self, spec: &GuestSpec) -> Result<String, Failure> {
        let request = GuestRequest {
            name: spec.name.text.clone(),
            vcpus: spec.vcpus,
            quieting: spec.quieting,
            end: spec.end,
        };
        let interrupts = seam(self.platform, &spec.name.place)?;
        let handle = interrupts.start_guest(&request).map_err(machine)?;
        let name = spec.name.text.clone();
        self.guests.guests.push(GuestEntry { name, handle, life: Life::Running });
        Ok(format!("guest {} runs", spec.name))
    }

    /// Makes an interrupt known, and gives it to its guest if that is to be at the start.
    pub(super) fn declare_interrupt(&mut self, spec: &InterruptSpec) -> Result<String, Failure> {
        self.line_of(spec)?;
        self.guests.declared.push(spec.clone());
        match spec.given {
            When::Start => self.give(spec),
            When::Later => Ok(format!("{} is not given yet", spec.name)),
        }
    }

    /// The line that an interrupt is, and what the machine calls its device.
    fn line_of(&mut self, spec: &InterruptSpec) -> Result<(LineDescription, String), Failure> {
        let master = self.master(&spec.device)?;
        let interrupts = seam(self.platform, &spec.name.place)?;
        let all = interrupts.lines().to_vec();
        let found = all.iter().find(|line| line.device == master.handle && line.interrupt == spec.interrupt);
        if let Some(line) = found {
            return Ok((line.clone(), master.name));
        }
        let of_device: Vec<String> = all
            .iter()
            .filter(|line| line.device == master.handle)
            .map(|line| which(line.interrupt))
            .collect();
        let number = which(spec.interrupt);
        let what = format!("{} has no interrupt {number} that a guest could be given", master.title());
        let problem = Problem::at(&spec.place, what);
        Err(match of_device.is_empty() {
            true => {
                let with: Vec<String> = all.iter().map(|line| self.device_name(line.device)).collect();
                problem.with_known(&master.name, with.iter().map(String::as_str)).into()
            }
            false => problem.with_help(format!("it has {}", of_device.join(", "))).into(),
        })
    }

    fn give(&mut self, spec: &InterruptSpec) -> Result<String, Failure> {
        let (line, device) = self.line_of(spec)?;
        let guest = self.guests.guests.iter().find(|guest| guest.name == spec.guest.text);
        let Some(guest) = guest.map(|guest| guest.handle) else {
            return Err(spec.guest.problem(format!("guest \"{}\" was not started", spec.guest)).into());
        };
        let request = AssignmentRequest {
            device: line.device,
            interrupt: spec.interrupt,
            guest,
            gsi: spec.gsi,
            way: spec.way,
        };
        let interrupts = seam(self.platform, &spec.name.place)?;
        let (handle, mode) = interrupts.assign(&request).map_err(machine)?;
        self.guests.given.push(GivenEntry {
            spec: spec.clone(),
            device,
            line: line.device,
            host: line.host,
            sense: line.sense,
            handle,
            mode,
        });
        let told = match (spec.way, mode) {
            (Way::Forwarded, Mode::Automasked(fallback)) => {
                format!(", since {}", why_not(fallback))
            }
            _ => String::new(),
        };
        Ok(format!("{} is interrupt {} of {}, {}{told}", line.host, spec.gsi, spec.guest, mode_name(mode)))
    }
}
