//! One virtual machine.

use super::capabilities::Capabilities;
use super::memory::{GuestMemory, Slots};
use super::routing::{Routing, Table};
use crate::Error;
use kvm_ioctls::{VcpuFd, VmFd};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Who plays the guest's interrupt controller.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum InterruptController {
    /// Nobody: a guest that is never interrupted.
    None,
    /// KVM: on x86-64 two PICs, an I/O APIC with 24 pins, and a local APIC for each virtual CPU.
    Kernel,
}

/// A virtual machine. Clones are the same one; it ends with the last of them.
#[derive(Clone, Debug)]
pub struct Vm {
    inner: Arc<Inner>,
}

/// The order matters: the descriptor is closed before the memory that the guest sees goes. Every virtual CPU holds
/// this, so that no guest runs when it is dropped.
#[derive(Debug)]
struct Inner {
    fd: VmFd,
    capabilities: Capabilities,
    controller: InterruptController,
    /// vCPUs that nobody uses now. KVM has no call that takes one away, and refuses to make another one with its
    /// number.
    idle: Mutex<BTreeMap<u32, VcpuFd>>,
    slots: Mutex<Slots>,
    routes: Mutex<Table>,
}

impl Vm {
    pub(super) fn new(fd: VmFd, controller: InterruptController) -> Result<Self, Error> {
        let capabilities = Capabilities::read(|cap| fd.check_extension_int(cap));
        let table = match controller {
            InterruptController::None => Table::empty(0),
            InterruptController::Kernel => create_controller(&fd, &capabilities)?,
        };
        let slots = Slots::new(capabilities.memory_slots, reserved(controller));
        let inner = Inner {
            fd,
            capabilities,
            controller,
            idle: Mutex::default(),
            slots: Mutex::new(slots),
            routes: Mutex::new(table),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// What KVM can do for this virtual machine.
    pub fn capabilities(&self) -> &Capabilities {
        &self.inner.capabilities
    }

    /// Who plays its interrupt controller.
    pub fn interrupt_controller(&self) -> InterruptController {
        self.inner.controller
    }

    /// Its memory.
    pub fn memory(&self) -> GuestMemory {
        GuestMemory::of(self.clone())
    }

    /// Its table of GSIs.
    pub fn routing(&self) -> Routing {
        Routing::of(self.clone())
    }

    /// The name for messages.
    pub(super) const fn name(&self) -> &'static str {
        "virtual machine"
    }

    pub(super) fn fd(&self) -> &VmFd {
        &self.inner.fd
    }

    /// A panic while the lock was held leaves a table that says what the kernel was told: every change is made after
    /// the kernel's.
    pub(super) fn slots(&self) -> MutexGuard<'_, Slots> {
        self.inner.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn idle(&self) -> MutexGuard<'_, BTreeMap<u32, VcpuFd>> {
        self.inner.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn routes(&self) -> MutexGuard<'_, Table> {
        self.inner.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(target_arch = "x86_64")]
fn create_controller(fd: &VmFd, capabilities: &Capabilities) -> Result<Table, Error> {
    use super::open::refused;
    if !capabilities.interrupt_controller {
        return Err(Error::not_supported("an interrupt controller in the kernel", "no KVM_CAP_IRQCHIP"));
    }
    // Intel's KVM needs three pages for itself until a guest turns paging on; at this address, below the BIOS, there
    // is never RAM (Documentation/virt/kvm/api.rst, KVM_SET_TSS_ADDR). AMD's ignores it.
    fd.set_tss_address(TSS as usize)
        .map_err(|error| refused("KVM_SET_TSS_ADDR", "virtual machine", error))?;
    fd.create_irq_chip().map_err(|error| refused("KVM_CREATE_IRQCHIP", "virtual machine", error))?;
    Ok(Table::of_pc(capabilities.interrupt_routes))
}

#[cfg(target_arch = "x86_64")]
const TSS: u64 = 0xfffb_d000;

#[cfg(not(target_arch = "x86_64"))]
fn create_controller(_: &VmFd, _: &Capabilities) -> Result<Table, Error> {
    Err(Error::not_supported("an interrupt controller in the kernel", "written for x86-64 only"))
}

/// Guest physical addresses that answer by themselves: memory there would hide them.
fn reserved(controller: InterruptController) -> &'static [(u64, u64, &'static str)] {
    match controller {
        InterruptController::None => &[],
        // Intel 82093AA, 3.0; Intel SDM volume 3, 12.4.1.
        #[cfg(target_arch = "x86_64")]
        InterruptController::Kernel => &[
            (0xfec0_0000, 0x1000, "I/O APIC"),
            (0xfee0_0000, 0x1000, "local APICs"),
            (TSS, 0x3000, "three pages of KVM's own"),
        ],
        #[cfg(not(target_arch = "x86_64"))]
        InterruptController::Kernel => &[],
    }
}
