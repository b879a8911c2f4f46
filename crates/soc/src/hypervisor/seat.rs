//! What the virtual interrupt controller of a guest needs of this hypervisor.

use super::account::Causes;
use super::world::{Controller, World};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, Weak};
use vcm_irq::VcpuId;
use vcm_irq::host::Host;
use vcm_irq::vgic::{Machine, VmId};

/// No CPU.
pub(super) const NOWHERE: usize = usize::MAX;

/// Where a vCPU is, and who wants it.
#[derive(Debug)]
pub(super) struct Place {
    /// The CPU that it belongs to, and that takes its devices' interrupts.
    pub(super) home: usize,
    /// The CPU that has it, or [`NOWHERE`].
    pub(super) on: AtomicUsize,
    /// Whether its deactivations are trapped.
    pub(super) trap_deactivation: AtomicBool,
    /// Whether it is in the guest.
    pub(super) inside: AtomicBool,
    pub(super) kicked: AtomicBool,
    /// On whose behalf it was kicked.
    pub(super) kicked_by: Mutex<Causes>,
}

impl Place {
    pub(super) const fn new(home: usize) -> Self {
        Self {
            home,
            on: AtomicUsize::new(NOWHERE),
            trap_deactivation: AtomicBool::new(false),
            inside: AtomicBool::new(false),
            kicked: AtomicBool::new(false),
            kicked_by: Mutex::new(Vec::new()),
        }
    }

    pub(super) fn is_inside(&self) -> bool {
        self.inside.load(SeqCst)
    }
}

/// A guest's view of the hypervisor.
pub(crate) struct Seat {
    pub(super) id: VmId,
    pub(super) host: Arc<Host<Controller>>,
    pub(super) world: Weak<World>,
    pub(super) places: Arc<[Place]>,
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seat").field("id", &self.id).field("places", &self.places).finish_non_exhaustive()
    }
}

impl Machine for Seat {
    type Controller = Controller;

    fn host(&self) -> &Host<Controller> {
        &self.host
    }

    fn kick(&self, vcpu: VcpuId) {
        let Some(place) = self.places.get(usize::from(vcpu.0)) else { return };
        place.kicked.store(true, SeqCst);
        if let Some(world) = self.world.upgrade() {
            world.blame(place);
        }
    }

    /// One thread runs all CPUs: the vCPU leaves the guest here and now.
    fn wait_for(&self, vcpu: VcpuId) {
        if let Some(world) = self.world.upgrade() {
            world.evict(self.id, vcpu);
        }
    }
}
