//! The board's interrupts: its controller, what masters ask for, and the lines of SMMUs.

use super::{Board, MasterId, SmmuId};
use crate::hardware::gic;
use crate::hardware::interrupts::{Interrupts, Level, Wire};
use crate::hardware::request::{Request, Signalling};
use vcm_platform::Pace;

impl Board {
    /// Adds an interrupt to a bus master. It raises its first one at the end of a transfer.
    pub fn add_request(&mut self, master: MasterId, number: u32, signalling: Signalling) {
        if let Some(requests) = self.requests.get_mut(master.0) {
            requests.push(Request::new(self.interrupts.wire(number), signalling));
        }
    }

    /// The interrupt controller and its lines.
    pub const fn interrupts(&self) -> &Interrupts {
        &self.interrupts
    }

    /// The interrupt controller and its lines.
    pub const fn interrupts_mut(&mut self) -> &mut Interrupts {
        &mut self.interrupts
    }

    /// The interrupt controller.
    pub const fn gic(&self) -> &gic::Gic {
        self.interrupts.gic()
    }

    /// The interrupt controller.
    pub const fn gic_mut(&mut self) -> &mut gic::Gic {
        self.interrupts.gic_mut()
    }

    /// The interrupts of a master.
    pub fn requests(&self, master: MasterId) -> &[Request] {
        self.requests.get(master.0).map_or(&[], Vec::as_slice)
    }

    /// The number of a master's interrupt.
    pub fn number_of(&self, master: MasterId, index: usize) -> Option<u32> {
        self.interrupts.number(self.requests(master).get(index)?.wire())
    }

    /// Every master's interrupt that has the number `number`: the master, and which of its interrupts.
    pub fn requests_of_line(&self, number: u32) -> impl Iterator<Item = (MasterId, usize)> {
        let all = self.requests.iter().enumerate();
        let all = all.flat_map(|(master, requests)| (0..requests.len()).map(move |index| (master, index)));
        all.map(|(master, index)| (MasterId(master), index))
            .filter(move |(master, index)| self.number_of(*master, *index) == Some(number))
    }

    /// Lets a master ask, as often and as fast as is said; time passes by [`step_requests`](Self::step_requests).
    pub fn ask(&mut self, master: MasterId, index: usize, times: u64, pace: Pace) {
        self.with_request(master, index, |request, _| request.ask(times, pace));
    }

    /// Software contents `count` of the requests of a master's interrupt.
    pub fn content(&mut self, master: MasterId, index: usize, count: u64) {
        self.with_request(master, index, |request, interrupts| request.content(count, interrupts));
    }

    /// Resets what a master asks for.
    pub fn reset_request(&mut self, master: MasterId, index: usize) {
        self.with_request(master, index, Request::reset);
    }

    pub(super) fn with_request(
        &mut self,
        master: MasterId,
        index: usize,
        act: impl FnOnce(&mut Request, &mut Interrupts),
    ) {
        if let Some(request) = self.requests.get_mut(master.0).and_then(|requests| requests.get_mut(index)) {
            act(request, &mut self.interrupts);
        }
    }

    /// A step of time for what masters ask.
    pub fn step_requests(&mut self) {
        for request in self.requests.iter_mut().flatten() {
            request.step(&mut self.interrupts);
        }
    }

    /// Whether a master will ask without anybody doing anything.
    pub fn requests_go_on(&self) -> bool {
        self.requests.iter().flatten().any(Request::goes_on)
    }

    /// The SMMU whose interrupt line has the number `number`.
    pub fn smmu_of_line(&self, number: u32) -> Option<SmmuId> {
        let leads_there = |wire: &Wire| self.interrupts.number(*wire) == Some(number);
        self.wires.iter().position(|wires| wires.iter().any(leads_there)).map(SmmuId)
    }

    /// Sets the interrupt lines of an SMMU to what it wants.
    pub(super) fn drive_lines(&mut self, smmu: usize) {
        let (Some(unit), Some(wires)) = (self.smmus.get(smmu), self.wires.get(smmu)) else { return };
        for (index, wire) in (0..u8::MAX).zip(wires) {
            let level = if unit.line(index) { Level::High } else { Level::Low };
            self.interrupts.set(*wire, level);
        }
    }

    /// Takes the oldest of what the interrupt controller found that software must not do.
    pub fn take_interrupt_finding(&mut self) -> Option<gic::Finding> {
        self.interrupts.gic_mut().take_finding()
    }

    /// Takes the oldest note of an access to the interrupt controller that made no sense.
    pub fn take_interrupt_misuse(&mut self) -> Option<gic::Misuse> {
        self.interrupts.gic_mut().take_misuse()
    }
}
