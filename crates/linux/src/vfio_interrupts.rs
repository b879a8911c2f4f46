//! A VFIO device's interrupts for [`Forwarding`](crate::kvm::forwarding::Forwarding).

use crate::Error;
use crate::kvm::borrow;
use crate::kvm::forwarding::{InterruptSource, Lending};
use crate::vfio::{Device, Interrupt, InterruptFlags};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use vcm_irq::{DeviceInterrupt, Sense};
use vmm_sys_util::eventfd::EventFd;

/// The interrupts of an open device, to be led into a guest.
///
/// An interrupt is enabled when it is led somewhere first, and disabled when it is led nowhere any more.
#[derive(Debug)]
pub struct VfioInterrupts {
    device: Arc<Device>,
    enabled: Mutex<BTreeMap<(u32, u32), Interrupt>>,
    lending: Lending,
}

impl VfioInterrupts {
    /// Those of `device`. None is enabled.
    pub fn new(device: Arc<Device>) -> Self {
        Self { device, enabled: Mutex::default(), lending: Lending::default() }
    }

    /// The device.
    pub const fn device(&self) -> &Arc<Device> {
        &self.device
    }

    /// How many of them are enabled.
    pub fn enabled(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(u32, u32), Interrupt>> {
        // The kernel's calls are all or nothing: the list is right whenever a panic comes.
        self.enabled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const fn key(interrupt: DeviceInterrupt) -> (u32, u32) {
    (interrupt.index, interrupt.subindex)
}

impl InterruptSource for VfioInterrupts {
    fn sense(&self, interrupt: DeviceInterrupt) -> Option<Sense> {
        let info = self.device.interrupt_info(interrupt.index).ok()?;
        if interrupt.subindex >= info.count {
            return None;
        }
        Some(if info.flags.contains(InterruptFlags::AUTOMASKED) { Sense::Level } else { Sense::Edge })
    }

    fn lend(&self, interrupt: DeviceInterrupt) -> bool {
        self.lending.lend(interrupt)
    }

    fn give_back(&self, interrupt: DeviceInterrupt) {
        self.lending.give_back(interrupt);
    }

    fn set_trigger(&self, interrupt: DeviceInterrupt, trigger: Option<&EventFd>) -> Result<(), Error> {
        let mut enabled = self.lock();
        let Some(trigger) = trigger else {
            // Dropping it disables it.
            enabled.remove(&key(interrupt));
            return Ok(());
        };
        let fresh = !enabled.contains_key(&key(interrupt));
        if fresh {
            enabled.insert(key(interrupt), self.device.interrupt(interrupt)?);
        }
        let set = self.device.set_trigger(interrupt, Some(borrow(trigger)));
        if set.is_err() && fresh {
            enabled.remove(&key(interrupt));
        }
        set
    }

    fn set_unmask(&self, interrupt: DeviceInterrupt, unmask: Option<&EventFd>) -> Result<(), Error> {
        self.device.set_unmask(interrupt, unmask.map(borrow))
    }

    fn unmask(&self, interrupt: DeviceInterrupt) -> Result<(), Error> {
        match self.lock().get(&key(interrupt)) {
            Some(enabled) => enabled.unmask(),
            None => Err(Error::argument(
                format!("unmasking {interrupt} of {}", self.device.name()),
                "it is not in use",
            )),
        }
    }
}
