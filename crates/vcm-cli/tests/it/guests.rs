//! Interrupts and guests of the flat machine: every device has two lines, and a guest serves what it is given at once.

use vcm::DeviceHandle;
use vcm_irq::kvm::{Fallback, Mode};
use vcm_irq::{DeviceInterrupt, HostInterrupt, Sense};
use vcm_platform::{
    AssignmentHandle, AssignmentRequest, DeviceDescription, GuestHandle, GuestRequest, InterruptCounts,
    InterruptRemains, Interrupts, LineDescription, Pace, PlatformError, Stage, Way,
};

/// What is wrong with a flat machine's interrupts.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Flaw {
    /// Nothing.
    #[default]
    None,
    /// It has none.
    NoInterrupts,
    /// Every tenth is never delivered.
    Loses,
    /// A killed guest's interrupt stays enabled, with a list register that names it.
    Leaks,
    /// It cannot forward.
    NeverForwards,
}

/// A line that asks more often than this without waiting is shut.
const STORM: u64 = 64;

#[derive(Default)]
struct Line {
    asking: bool,
    /// How often it will ask again, each time when it was served.
    more: u64,
    owner: Option<usize>,
}

struct Assigned {
    line: usize,
    guest: GuestHandle,
    gsi: u32,
    mode: Mode,
    stage: Stage,
    shut: bool,
    gone: bool,
    counts: InterruptCounts,
}

pub(crate) struct Guests {
    pub(crate) flaw: Flaw,
    descriptions: Vec<LineDescription>,
    lines: Vec<Line>,
    /// Whether each still runs.
    guests: Vec<bool>,
    assigned: Vec<Assigned>,
    left: InterruptRemains,
}

fn refused(what: &str, why: &str) -> PlatformError {
    PlatformError { what: what.into(), why: why.into() }
}

const AUTOMASKED: Mode = Mode::Automasked(Fallback::Configured);

impl Guests {
    pub(crate) fn new(flaw: Flaw, devices: &[DeviceDescription]) -> Self {
        let mut descriptions = Vec::new();
        for device in devices.iter().filter(|device| device.name != "cpu0") {
            for (index, sense) in [(0, Sense::Level), (1, Sense::Edge)] {
                descriptions.push(LineDescription {
                    device: device.handle,
                    interrupt: DeviceInterrupt { index, subindex: 0 },
                    host: HostInterrupt(40 + descriptions.len() as u32),
                    sense,
                    name: None,
                });
            }
        }
        let lines = descriptions.iter().map(|_| Line::default()).collect();
        Self { flaw, descriptions, lines, guests: Vec::new(), assigned: Vec::new(), left: Default::default() }
    }

    fn line(&self, device: DeviceHandle, interrupt: DeviceInterrupt) -> Result<usize, PlatformError> {
        let found =
            self.descriptions.iter().position(|line| (line.device, line.interrupt) == (device, interrupt));
        found.ok_or_else(|| refused("interrupt", "ENXIO: there is no such line"))
    }

    /// The device raises a line, if that is a device with lines.
    pub(crate) fn completed(&mut self, device: DeviceHandle) {
        if let Ok(line) = self.line(device, DeviceInterrupt { index: 0, subindex: 0 }) {
            self.raise(line);
        }
    }

    fn raise(&mut self, line: usize) {
        self.lines[line].asking = true;
        if let Some(owner) = self.lines[line].owner {
            self.assigned[owner].counts.asked += 1;
        }
    }

    /// One thing happens to an interrupt; `false` if there is nothing to do.
    fn step(&mut self, index: usize) -> bool {
        let one = &mut self.assigned[index];
        let line = &mut self.lines[one.line];
        let automasked = one.mode != Mode::Forwarded;
        match one.stage {
            Stage::Idle => {
                if one.gone || one.shut || !line.asking {
                    return false;
                }
                one.stage = Stage::Pending;
                one.counts.exits += 1;
                one.counts.mmio += if automasked { 4 } else { 2 };
            }
            Stage::Pending => one.stage = Stage::InService,
            Stage::InService => {
                one.stage = Stage::Idle;
                line.asking = false;
                one.counts.delivered += 1;
                if self.flaw == Flaw::Loses && one.counts.delivered.is_multiple_of(10) {
                    one.counts.delivered -= 1;
                    one.counts.lost += 1;
                }
                if automasked {
                    one.counts.exits += 1;
                    one.counts.maintenance_exits += 1;
                    one.counts.mmio += 2;
                }
                if line.more > 0 {
                    line.more -= 1;
                    let line = one.line;
                    self.raise(line);
                }
            }
        }
        true
    }
}

impl Interrupts for Guests {
    fn lines(&self) -> &[LineDescription] {
        &self.descriptions
    }

    fn start_guest(&mut self, request: &GuestRequest) -> Result<GuestHandle, PlatformError> {
        if request.vcpus > 8 {
            return Err(refused("start a guest", "EINVAL: at most 8 virtual CPUs"));
        }
        self.guests.push(true);
        Ok(GuestHandle(self.guests.len() as u32 - 1))
    }

    fn assign(&mut self, request: &AssignmentRequest) -> Result<(AssignmentHandle, Mode), PlatformError> {
        let line = self.line(request.device, request.interrupt)?;
        if !self.guests[request.guest.0 as usize] {
            return Err(refused("assign", "EBADF: the guest is gone"));
        }
        if let Some(owner) = self.lines[line].owner
            && self.assigned[owner].guest != request.guest
        {
            return Err(refused("assign", "EBUSY: another guest has the device"));
        }
        let same = |one: &Assigned| !one.gone && one.guest == request.guest && one.gsi == request.gsi;
        if self.lines[line].owner.is_some() || self.assigned.iter().any(same) {
            return Err(refused("assign", "EBUSY: it is taken"));
        }
        let forwarded = request.way == Way::Forwarded && self.flaw != Flaw::NeverForwards;
        let mode = if forwarded { Mode::Forwarded } else { AUTOMASKED };
        let handle = AssignmentHandle(self.assigned.len() as u32);
        self.lines[line].owner = Some(self.assigned.len());
        self.assigned.push(Assigned {
            line,
            guest: request.guest,
            gsi: request.gsi,
            mode,
            stage: Stage::Idle,
            shut: false,
            gone: false,
            counts: InterruptCounts::default(),
        });
        if self.lines[line].asking {
            self.raise(line);
        }
        Ok((handle, mode))
    }

    fn forward(&mut self, assignment: AssignmentHandle) -> Result<Mode, PlatformError> {
        let one = &mut self.assigned[assignment.0 as usize];
        if one.mode == Mode::Forwarded {
            return Err(refused("forward", "EINVAL: it is forwarded already"));
        }
        if one.stage != Stage::Idle {
            return Err(refused("forward", "EAGAIN: it is in flight"));
        }
        one.mode = Mode::Forwarded;
        Ok(one.mode)
    }

    fn unforward(&mut self, assignment: AssignmentHandle) {
        self.assigned[assignment.0 as usize].mode = AUTOMASKED;
    }

    fn kill(&mut self, guest: GuestHandle) {
        self.guests[guest.0 as usize] = false;
        for one in self.assigned.iter_mut().filter(|one| one.guest == guest && !one.gone) {
            one.gone = true;
            one.stage = Stage::Idle;
            // A device is reset when it is closed.
            self.lines[one.line] = Line::default();
            if self.flaw == Flaw::Leaks {
                self.left.enabled += 1;
                self.left.list_registers += 1;
            }
        }
    }

    fn ask(
        &mut self,
        device: DeviceHandle,
        interrupt: DeviceInterrupt,
        times: u64,
        pace: Pace,
    ) -> Result<(), PlatformError> {
        let line = self.line(device, interrupt)?;
        if pace == Pace::Served {
            // It goes on when what it asked for before was served.
            let now = u64::from(!self.lines[line].asking);
            self.lines[line].more += times - now;
            if now > 0 {
                self.raise(line);
            }
            return Ok(());
        }
        for _ in 0..times {
            self.raise(line);
        }
        if let Some(owner) = self.lines[line].owner
            && times > STORM
        {
            let one = &mut self.assigned[owner];
            one.shut = true;
            one.counts.shut += 1;
            one.counts.delivered += STORM;
            one.counts.exits += STORM;
            self.lines[line].asking = false;
        }
        Ok(())
    }

    fn run_until(&mut self, assignment: AssignmentHandle, stage: Stage) -> Result<bool, PlatformError> {
        let index = assignment.0 as usize;
        while self.assigned[index].stage != stage {
            if !self.step(index) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn settle(&mut self) -> Result<(), PlatformError> {
        for index in 0..self.assigned.len() {
            while self.step(index) {}
        }
        Ok(())
    }

    fn mode(&self, assignment: AssignmentHandle) -> Option<Mode> {
        let one = &self.assigned[assignment.0 as usize];
        (!one.gone).then_some(one.mode)
    }

    fn counts(&self, assignment: AssignmentHandle) -> InterruptCounts {
        self.assigned[assignment.0 as usize].counts
    }

    fn remains(&self) -> InterruptRemains {
        let mut remains = self.left;
        let mut devices = Vec::new();
        for one in self.assigned.iter().filter(|one| !one.gone) {
            remains.enabled += usize::from(!one.shut);
            remains.active += usize::from(one.stage != Stage::Idle);
            remains.list_registers += usize::from(one.stage != Stage::Idle);
            devices.push(self.descriptions[one.line].device);
        }
        devices.sort();
        devices.dedup();
        remains.references = devices.len();
        remains
    }
}
