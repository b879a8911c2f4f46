//! The host's own part: the passing of time, and interrupts that no guest has.

use super::run::Turn;
use super::vmm::Hypervisor;
use super::world::{HOST, lock};
use crate::hardware::{CPUS, Signalling};
use std::sync::atomic::Ordering::SeqCst;
use vcm_irq::gic::{AnyAcknowledged, v2};
use vcm_irq::host::{Acknowledged, Controller as _, CpuInterface as _};
use vcm_irq::{HostInterrupt, Sense};

impl Hypervisor {
    /// Whether a guest has this line.
    pub(crate) fn has(&self, interrupt: u32) -> bool {
        self.world.host.state(HostInterrupt(interrupt)).is_some_and(|state| state.open)
    }

    /// One step of the next CPU that has something to do.
    pub(crate) fn step(&mut self) -> Turn {
        self.world.now.fetch_add(1, SeqCst);
        let cpus = CPUS - 1 - HOST;
        for offset in 0..cpus {
            let cpu = HOST + 1 + (self.turn + offset) % cpus;
            if self.world.turn(cpu) == Turn::Did {
                self.turn = (self.turn + offset + 1) % cpus;
                return Turn::Did;
            }
        }
        Turn::Idle
    }

    /// Whether nothing is left to do before a device asks.
    pub(crate) fn is_quiet(&self) -> bool {
        let asks = self.world.machine.lock().board.requests_go_on();
        !asks && !self.world.signalled(HOST) && self.world.is_quiet()
    }

    /// The next interrupt that waits for the host's own CPU.
    pub(crate) fn take(&mut self) -> Option<Acknowledged> {
        while self.world.signalled(HOST) {
            let mut interface = lock(&self.world.cpus[HOST].interface);
            match interface.acknowledge_any() {
                Some(AnyAcknowledged::Interrupt(acknowledged)) => return Some(acknowledged),
                Some(AnyAcknowledged::SoftwareGenerated(sent)) => interface.end(sent),
                None => return None,
            }
        }
        None
    }

    /// Handles an interrupt that came to the host's own CPU and is a guest's.
    pub(crate) fn handle(&mut self, acknowledged: Acknowledged) {
        self.world.handle(HOST, acknowledged);
    }

    /// Ends an interrupt of the host's own.
    pub(crate) fn end(&mut self, acknowledged: Acknowledged) {
        self.drop_priority(&acknowledged);
        self.deactivate(acknowledged);
    }

    /// Lets others come, but not this one.
    pub(crate) fn drop_priority(&mut self, acknowledged: &Acknowledged) {
        lock(&self.world.cpus[HOST].interface).drop_priority(acknowledged);
    }

    /// Lets this one come again.
    pub(crate) fn deactivate(&mut self, acknowledged: Acknowledged) {
        lock(&self.world.cpus[HOST].interface).deactivate(acknowledged);
    }

    /// Makes an interrupt the host's own.
    pub(crate) fn listen(&mut self, interrupt: u32, signalling: Signalling) {
        let interrupt = HostInterrupt(interrupt);
        let distributor: &v2::Distributor<_> = self.world.host.controller();
        distributor.set_sense(
            interrupt,
            match signalling {
                Signalling::Level => Sense::Level,
                Signalling::Pulse => Sense::Edge,
            },
        );
        distributor.set_targets(interrupt, 1 << HOST);
        distributor.enable(interrupt);
    }

    /// The host wants it no more.
    pub(crate) fn ignore(&mut self, interrupt: u32) {
        self.world.host.controller().disable(HostInterrupt(interrupt));
    }
}
