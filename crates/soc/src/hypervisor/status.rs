//! What became of interrupts that guests were given.

use super::account::Account;
use super::vmm::Hypervisor;
use super::world::lock;
use crate::hardware::guest::Service;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;
use vcm_irq::HostInterrupt;
use vcm_irq::Sense;
use vcm_irq::host::Controller as _;
use vcm_irq::kvm::{Fallback, Mode};
use vcm_platform::{AssignmentHandle, InterruptCounts, Stage};

impl Hypervisor {
    /// How an interrupt reaches its guest.
    pub(crate) fn mode(&self, assignment: AssignmentHandle) -> Option<Mode> {
        let (found, vmm) = self.find(assignment)?;
        let (device, _) = vmm.devices.get(&found.request.device.0)?;
        let mode = vmm.control.mode(device, found.request.interrupt);
        Some(mode.unwrap_or(Mode::Automasked(Fallback::Configured)))
    }

    /// Where a guest stands with an interrupt.
    pub(crate) fn stage(&self, assignment: AssignmentHandle) -> Option<Stage> {
        let (found, vmm) = self.find(assignment)?;
        let service = lock(&vmm.guest.software).driver(found.number.0).map(|driver| driver.service);
        if service == Some(Service::Runs) {
            return Some(Stage::InService);
        }
        let plugged = lock(&vmm.guest.plugged);
        let taken = plugged.iter().any(|one| one.number == found.number.0 && one.taken);
        let state = self.world.host.state(found.line.host)?;
        let under_way = match found.line.sense() {
            Sense::Level if state.forwarded => self.world.host.controller().is_active(found.line.host),
            Sense::Level => state.automasked,
            Sense::Edge => true,
        };
        Some(if taken && under_way { Stage::Pending } else { Stage::Idle })
    }

    /// What became of an interrupt.
    pub(crate) fn counts(&self, assignment: AssignmentHandle) -> InterruptCounts {
        let Some((found, vmm)) = self.find(assignment) else {
            let gone = self.assignments.get(assignment.0 as usize);
            return gone.and_then(|gone| gone.last).unwrap_or_default();
        };
        let (asked, open) = {
            let machine = self.world.machine.lock();
            let (master, index) = found.line.request;
            let request = machine.board.requests(master).get(index);
            request.map_or((0, 0), |request| (request.asked(), request.open()))
        };
        let Account { exits, maintenance_exits, mmio } = lock(&self.world.accounts).get(found.line.host.0);
        let software = lock(&vmm.guest.software);
        let (delivered, spurious) =
            software.driver(found.number.0).map_or((0, 0), |driver| (driver.delivered, driver.spurious));
        drop(software);
        let statistics = self.world.host.statistics(found.line.host).unwrap_or_default();
        InterruptCounts {
            asked: asked - found.before,
            delivered,
            spurious,
            lost: if self.is_quiet() { open } else { 0 },
            exits,
            maintenance_exits,
            mmio,
            shut: u64::from(statistics.storms) + u64::from(statistics.undeliverable),
        }
    }

    /// Devices that somebody holds a reference on.
    pub(crate) fn references(&self) -> usize {
        self.kept.len() + self.vmms.values().map(|vmm| vmm.devices.len()).sum::<usize>()
    }

    /// Events that came for a guest that was gone.
    pub(crate) fn late(&self) -> u64 {
        self.world.late.load(SeqCst)
    }

    /// Whether the interrupt is enabled, and whether it is active.
    pub(crate) fn state(&self, interrupt: u32) -> (bool, bool) {
        let distributor = self.world.host.controller();
        let interrupt = HostInterrupt(interrupt);
        (distributor.is_enabled(interrupt), distributor.is_active(interrupt))
    }

    /// Begins to measure how long the host's code for interrupts takes.
    pub(crate) fn start_meter(&self) {
        self.world.meter.start();
    }

    /// How long it took since.
    pub(crate) fn host_time(&self) -> Duration {
        self.world.meter.elapsed()
    }
}
