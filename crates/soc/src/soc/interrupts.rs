//! Interrupts: what the host takes itself, and what guests are given.

use super::Soc;
use crate::hardware::gic::registers::virtual_interface::LR;
use crate::hardware::gic::{Frame, Width};
use crate::hardware::{CPUS, MasterId, Signalling};
use crate::hypervisor::{DeviceLine, Hypervisor, Turn};
use std::collections::BTreeSet;
use std::time::Duration;
use vcm::DeviceHandle;
use vcm_irq::host::Acknowledged;
use vcm_irq::kvm::Mode;
use vcm_irq::{DeviceInterrupt, HostInterrupt, Sense};
use vcm_platform::topology::{InterruptKind, Topology};
use vcm_platform::{
    AssignmentHandle, AssignmentRequest, Event, GuestHandle, GuestRequest, InterruptCounts, InterruptRemains,
    Interrupts, LineDescription, Pace, PlatformError, Stage,
};

/// Steps without any request, after which guests are not expected to come to rest any more.
const PATIENCE: u32 = 200_000;
/// The bits of a list register's state.
const STATE: u32 = 3 << 28;

/// What the host has of the machine's interrupts.
#[derive(Debug, Default)]
pub(super) struct HostSide {
    descriptions: Vec<LineDescription>,
    /// The interrupts of devices that the host expects.
    listening: BTreeSet<u32>,
    /// Interrupts that could not be handled. They stay active, so that they do not come again.
    unhandled: Vec<Acknowledged>,
}

impl HostSide {
    /// The host listens to the SMMUs.
    pub(super) fn new(topology: &Topology, hypervisor: &mut Hypervisor) -> Self {
        let smmus = topology.iommus.iter().flat_map(|iommu| &iommu.interrupts);
        let smmus: BTreeSet<u32> = smmus.map(|interrupt| interrupt.number).collect();
        for number in &smmus {
            hypervisor.listen(*number, Signalling::Level);
        }
        let mut descriptions = Vec::new();
        for (index, master) in topology.masters.iter().enumerate() {
            let shared = master.interrupts.iter().filter(|interrupt| interrupt.kind == InterruptKind::Shared);
            for (interrupt, place) in shared.zip(0..).filter(|(one, _)| !smmus.contains(&one.number)) {
                let sense = match Signalling::from(interrupt.trigger) {
                    Signalling::Level => Sense::Level,
                    Signalling::Pulse => Sense::Edge,
                };
                descriptions.push(LineDescription {
                    device: DeviceHandle(index as u32),
                    interrupt: DeviceInterrupt { index: place, subindex: 0 },
                    host: HostInterrupt(interrupt.number),
                    sense,
                    name: interrupt.name.clone(),
                });
            }
        }
        Self { descriptions, ..Self::default() }
    }
}

impl Soc {
    /// Handles every interrupt that waits for the host.
    pub(super) fn handle_interrupts(&mut self) -> Result<(), PlatformError> {
        while let Some(acknowledged) = self.hypervisor.take() {
            let number = acknowledged.interrupt().0;
            let smmu = self.machine.lock().board.smmu_of_line(number);
            if let Some(smmu) = smmu {
                if let Err(silent) = self.handle_smmu(smmu, number) {
                    self.hypervisor.drop_priority(&acknowledged);
                    self.host_side.unhandled.push(acknowledged);
                    return Err(silent);
                }
                self.hypervisor.end(acknowledged);
            } else if self.hypervisor.has(number) {
                self.hypervisor.handle(acknowledged);
            } else {
                self.content(number);
                self.hypervisor.end(acknowledged);
                self.events.push_back(Event::Interrupt { number });
            }
        }
        Ok(())
    }

    /// Interrupts that could not be handled may come again.
    pub(super) fn repeat_interrupts(&mut self) {
        for acknowledged in std::mem::take(&mut self.host_side.unhandled) {
            self.hypervisor.deactivate(acknowledged);
        }
    }

    /// Contents every device that asks by the interrupt `number`, and listens no longer than one may ask.
    fn content(&mut self, number: u32) {
        let expected = {
            let board = &mut self.machine.lock().board;
            let askers: Vec<_> = board.requests_of_line(number).collect();
            let quieted = askers.into_iter().map(|(master, index)| {
                let open = board.requests(master).get(index).map_or(0, |request| request.open());
                board.content(master, index, open);
                board.master(master).is_some_and(|master| master.busy())
                    || board.requests(master).get(index).is_some_and(|request| request.goes_on())
            });
            quieted.fold(false, |expected, more| expected | more)
        };
        if !expected && self.host_side.listening.remove(&number) {
            self.hypervisor.ignore(number);
        }
    }

    /// The host expects an interrupt of a device, unless a guest has the device.
    pub(super) fn listen(&mut self, master: MasterId, index: usize) {
        let (number, signalling) = {
            let board = &self.machine.lock().board;
            let signalling = board.requests(master).get(index).map(|request| request.signalling());
            match board.number_of(master, index).zip(signalling) {
                Some(found) => found,
                None => return,
            }
        };
        if !self.hypervisor.has(number) && self.host_side.listening.insert(number) {
            self.hypervisor.listen(number, signalling);
        }
    }

    /// The interrupts of a device, by their index.
    fn device_lines(&self, device: DeviceHandle) -> Vec<DeviceLine> {
        let machine = self.machine.lock();
        let lines = self.host_side.descriptions.iter().filter(|line| line.device == device);
        lines
            .filter_map(|line| {
                let request = (self.devices.get(device.0 as usize)?.master, line.interrupt.index as usize);
                let signalling = machine.board.requests(request.0).get(request.1)?.signalling();
                Some(DeviceLine { host: line.host, signalling, request })
            })
            .collect()
    }

    fn request(&self, device: DeviceHandle, interrupt: DeviceInterrupt) -> Option<(MasterId, usize)> {
        let wanted = |line: &&LineDescription| line.device == device && line.interrupt == interrupt;
        self.host_side.descriptions.iter().find(wanted)?;
        Some((self.devices.get(device.0 as usize)?.master, interrupt.index as usize))
    }

    /// One step of the CPUs, and of what devices ask. Whether anything happened.
    fn step_machine(&mut self) -> Result<bool, PlatformError> {
        self.handle_interrupts()?;
        let turn = self.hypervisor.step();
        let goes_on = {
            let board = &mut self.machine.lock().board;
            let goes_on = board.requests_go_on();
            board.step_requests();
            goes_on
        };
        self.complaint()?;
        Ok(turn == Turn::Did || goes_on || !self.hypervisor.is_quiet())
    }

    /// Lets guests make `steps` steps: each is an exit, an entry, or one register access of a guest.
    ///
    /// # Errors
    /// When the machine finds that something was done which must not be.
    pub fn step_guests(&mut self, steps: u64) -> Result<(), PlatformError> {
        for _ in 0..steps {
            if !self.step_machine()? {
                break;
            }
        }
        Ok(())
    }

    /// A device takes back what it asks for, as one does that is reset: its line falls, though nobody served it.
    pub fn take_back(&mut self, device: DeviceHandle, interrupt: DeviceInterrupt) {
        if let Some((master, index)) = self.request(device, interrupt) {
            let board = &mut self.machine.lock().board;
            let open = board.requests(master).get(index).map_or(0, |request| request.open());
            board.content(master, index, open);
        }
    }

    /// Begins to measure how long the host's own code works for interrupts.
    pub fn start_host_meter(&mut self) {
        self.hypervisor.start_meter();
    }

    /// How long it worked since, without the simulated hardware's part.
    pub fn host_time(&self) -> Duration {
        self.hypervisor.host_time()
    }

    fn asked(&self) -> u64 {
        let machine = self.machine.lock();
        let masters = (0..machine.board.masters().len()).map(MasterId);
        masters.flat_map(|master| machine.board.requests(master)).map(|request| request.asked()).sum()
    }

    /// Lets guests run until `done`, or until nothing is left to do.
    fn run_guests(&mut self, done: impl Fn(&Self) -> bool) -> Result<bool, PlatformError> {
        let mut asked = self.asked();
        let mut patience = PATIENCE;
        loop {
            self.complaint()?;
            if done(self) {
                return Ok(true);
            }
            if !self.step_machine()? {
                return Ok(done(self));
            }
            patience -= 1;
            if patience == 0 {
                let now = self.asked();
                if now == asked {
                    let why = format!("{PATIENCE} steps were made, and no device asked");
                    return Err(PlatformError { what: "guests do not come to rest".to_owned(), why });
                }
                (asked, patience) = (now, PATIENCE);
            }
        }
    }
}

impl Interrupts for Soc {
    fn lines(&self) -> &[LineDescription] {
        &self.host_side.descriptions
    }

    fn start_guest(&mut self, request: &GuestRequest) -> Result<GuestHandle, PlatformError> {
        self.hypervisor.start(request)
    }

    fn assign(&mut self, request: &AssignmentRequest) -> Result<(AssignmentHandle, Mode), PlatformError> {
        let lines = self.device_lines(request.device);
        let opened = lines.iter().any(|line| self.hypervisor.has(line.host.0));
        let asked = {
            let machine = self.machine.lock();
            let found = self.request(request.device, request.interrupt);
            let found = found.and_then(|(master, index)| machine.board.requests(master).get(index));
            found.map_or(0, |request| request.asked() - if opened { request.open() } else { 0 })
        };
        let assigned = self.hypervisor.assign(request, &lines, asked)?;
        if !opened {
            // The bus driver resets a device when it is opened: what it asked for before is not the guest's.
            let board = &mut self.machine.lock().board;
            for DeviceLine { request: (master, index), .. } in &lines {
                let open = board.requests(*master).get(*index).map_or(0, |request| request.open());
                board.content(*master, *index, open);
            }
        }
        for line in lines {
            self.host_side.listening.remove(&line.host.0);
        }
        Ok(assigned)
    }

    fn forward(&mut self, assignment: AssignmentHandle) -> Result<Mode, PlatformError> {
        self.hypervisor.forward(assignment)
    }

    fn unforward(&mut self, assignment: AssignmentHandle) {
        self.hypervisor.unforward(assignment);
    }

    fn kill(&mut self, guest: GuestHandle) {
        // Its devices' driver resets them, as VFIO's do when a device is closed.
        for line in self.hypervisor.kill(guest) {
            self.machine.lock().board.reset_request(line.request.0, line.request.1);
        }
    }

    fn ask(
        &mut self,
        device: DeviceHandle,
        interrupt: DeviceInterrupt,
        times: u64,
        pace: Pace,
    ) -> Result<(), PlatformError> {
        let Some((master, index)) = self.request(device, interrupt) else {
            let what = format!("to let device {} ask by its {interrupt}", device.0);
            return Err(PlatformError { what, why: "there is no such line".to_owned() });
        };
        self.machine.lock().board.ask(master, index, times, pace);
        self.listen(master, index);
        Ok(())
    }

    fn run_until(&mut self, assignment: AssignmentHandle, stage: Stage) -> Result<bool, PlatformError> {
        self.run_guests(|soc| soc.hypervisor.stage(assignment) == Some(stage))
    }

    fn settle(&mut self) -> Result<(), PlatformError> {
        self.run_guests(|_| false).map(|_| ())
    }

    fn mode(&self, assignment: AssignmentHandle) -> Option<Mode> {
        self.hypervisor.mode(assignment)
    }

    fn counts(&self, assignment: AssignmentHandle) -> InterruptCounts {
        self.hypervisor.counts(assignment)
    }

    fn remains(&self) -> InterruptRemains {
        let states = || self.host_side.descriptions.iter().map(|line| self.hypervisor.state(line.host.0));
        let list_registers = {
            let gic = &mut self.machine.lock().board;
            let gic = gic.gic_mut();
            let each = gic.config().list_registers as u32;
            let all = (0..CPUS).flat_map(|cpu| (0..each).map(move |index| (cpu, index)));
            let used = all.filter(|(cpu, index)| {
                gic.read(*cpu, Frame::VirtualInterface, LR + 4 * index, Width::Word) & STATE != 0
            });
            used.count()
        };
        InterruptRemains {
            enabled: states().filter(|(enabled, _)| *enabled).count(),
            active: states().filter(|(_, active)| *active).count(),
            references: self.hypervisor.references(),
            list_registers,
            late: self.hypervisor.late() as usize,
        }
    }
}
