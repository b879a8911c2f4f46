//! The control of one virtual machine.

use super::argument::{Attribute, Descriptors, UserMemory};
use super::engine::{Control, Done};
use super::error::ControlError;
use crate::host::OpenLine;
use crate::kvm::{self, Eventfds, Mode};
use crate::route::Route;
use crate::storage::OutOfMemory;
use crate::vfio::Device;
use crate::vgic::{Machine, Vm};
use crate::{DeviceInterrupt, GuestInterrupt, Token};
use core::mem::ManuallyDrop;
use core::ops::Deref;
use hashbrown::HashMap;

#[derive(Debug)]
struct Registration<D> {
    /// The reference on the device: taken when this is made, and dropped by un-registering, nowhere else. A
    /// control that is dropped without being released keeps it, so that a device whose interrupts are a
    /// guest's cannot be closed.
    device: ManuallyDrop<D>,
    interrupt: DeviceInterrupt,
    guest: GuestInterrupt,
    mode: Mode,
}

/// Forwards interrupts of devices to one virtual machine.
///
/// `V` points to the virtual machine, `D` to a device, `E` to the machine's table of [`Eventfds`]. Registering and
/// un-registering take the same time however many are registered.
#[derive(Debug)]
#[must_use = "what it forwards stays forwarded until it is released"]
pub struct KvmVfio<V, D, E> {
    vm: V,
    eventfds: E,
    group: u32,
    /// By line: every interrupt of a device has a line of its own, so this is by device, index and sub-index.
    registered: HashMap<OpenLine, Registration<D>>,
}

impl<M, V, D, E> KvmVfio<V, D, E>
where
    M: Machine,
    V: Deref<Target = Vm<M>>,
    D: Deref<Target = Device> + Clone,
    E: Deref<Target = Eventfds>,
{
    /// A control with nothing registered, whose attributes are in `group` (the patch's is [`GROUP`](super::GROUP)).
    pub fn new(vm: V, eventfds: E, group: u32) -> Self {
        Self { vm, eventfds, group, registered: HashMap::new() }
    }

    /// Whether there is such an attribute (`KVM_HAS_DEVICE_ATTR`).
    ///
    /// # Errors
    /// ENXIO.
    pub fn has_attribute(&self, group: u32, attribute: u64) -> Result<Attribute, ControlError> {
        Control::has_attribute(self, group, attribute)
    }

    /// Does what an attribute stands for (`KVM_SET_DEVICE_ATTR`), with the argument at `address` of the user's memory.
    ///
    /// # Errors
    /// [`ControlError`].
    pub fn set_attribute(
        &mut self,
        group: u32,
        attribute: u64,
        address: u64,
        memory: &impl UserMemory,
        descriptors: &impl Descriptors<Device = D>,
    ) -> Result<Done, ControlError> {
        Control::set_attribute(self, group, attribute, address, memory, descriptors)
    }

    /// Makes a device's interrupt a guest interrupt: registers it, takes a reference on the device, and joins
    /// the two. How it reaches the guest then: where the machine cannot forward it, in the ordinary way, and
    /// that is no error.
    ///
    /// # Errors
    /// [`ControlError`].
    pub fn forward(
        &mut self,
        device: &D,
        interrupt: DeviceInterrupt,
        guest: GuestInterrupt,
    ) -> Result<Mode, ControlError> {
        let line = device.line(interrupt).ok_or(ControlError::NoSuchInterrupt(interrupt))?;
        let host = line.interrupt();
        if let Some(Registration { guest, .. }) = self.registered.get(&line) {
            return Err(ControlError::Duplicate { interrupt, host, guest: *guest });
        }
        self.registered.try_reserve(1).map_err(|_| OutOfMemory)?;
        let Some(trigger) = device.lend(interrupt) else {
            return Err(ControlError::Held { interrupt, host, by: self.leads(line) });
        };
        match self.join(line, interrupt, guest, trigger) {
            Ok(mode) => {
                let device = ManuallyDrop::new(device.clone());
                self.registered.insert(line, Registration { device, interrupt, guest, mode });
                Ok(mode)
            }
            Err(refused) => {
                device.give_back(interrupt);
                Err(refused)
            }
        }
    }

    fn join(
        &self,
        line: OpenLine,
        interrupt: DeviceInterrupt,
        guest: GuestInterrupt,
        trigger: Option<Token>,
    ) -> Result<Mode, ControlError> {
        let host = line.interrupt();
        if let Some(trigger) = trigger {
            let consumer = self.eventfds.consumer(trigger).map(|irqfd| (irqfd.vm, irqfd.guest));
            if consumer != Some((self.vm.config().id, guest)) {
                return Err(ControlError::Conflict { interrupt, host, trigger, consumer });
            }
        }
        kvm::join(&self.vm, line, guest)
            .map_err(|error| ControlError::join(interrupt, host, error, self.leads(line)))
    }

    /// Takes an interrupt back, whatever it is doing. Its line signals the trigger that was connected before,
    /// if any; what is in flight ends in the ordinary way. The reference on the device is dropped.
    ///
    /// # Errors
    /// EINVAL, if this control did not forward it. Else it cannot fail.
    pub fn unforward(&mut self, device: &Device, interrupt: DeviceInterrupt) -> Result<(), ControlError> {
        let line = device.line(interrupt).ok_or(ControlError::NoSuchInterrupt(interrupt))?;
        let registration = self.registered.remove(&line).ok_or(ControlError::NotForwarded { interrupt })?;
        unregister(&self.vm, &self.eventfds, line, registration);
        Ok(())
    }

    /// Takes everything back: when the control's descriptor is closed, by whatever end of its user.
    pub fn release(&mut self) {
        for (line, registration) in self.registered.drain() {
            unregister(&self.vm, &self.eventfds, line, registration);
        }
    }

    /// How an interrupt that is registered reaches the guest.
    pub fn mode(&self, device: &Device, interrupt: DeviceInterrupt) -> Option<Mode> {
        Some(self.registered.get(&device.line(interrupt)?)?.mode)
    }

    /// How many are registered.
    pub fn registered(&self) -> usize {
        self.registered.len()
    }

    fn leads(&self, line: OpenLine) -> Option<Route> {
        self.vm.machine().host().trigger(line).map(Route::of)
    }
}

impl<M, V, D, E> Control for KvmVfio<V, D, E>
where
    M: Machine,
    V: Deref<Target = Vm<M>>,
    D: Deref<Target = Device> + Clone,
    E: Deref<Target = Eventfds>,
{
    type Device = D;

    fn group(&self) -> u32 {
        self.group
    }

    fn forward_gsi(
        &mut self,
        device: &D,
        interrupt: DeviceInterrupt,
        gsi: u32,
    ) -> Result<Mode, ControlError> {
        let guest = GuestInterrupt::from_gsi(gsi).ok_or(ControlError::NoSuchGsi(gsi))?;
        self.forward(device, interrupt, guest)
    }

    fn unforward(&mut self, device: &D, interrupt: DeviceInterrupt) -> Result<(), ControlError> {
        self.unforward(device, interrupt)
    }

    fn release(&mut self) {
        self.release();
    }
}

fn unregister<M: Machine, D: Deref<Target = Device>>(
    vm: &Vm<M>,
    eventfds: &Eventfds,
    line: OpenLine,
    registration: Registration<D>,
) {
    let Registration { device, interrupt, guest, .. } = registration;
    let device = ManuallyDrop::into_inner(device);
    kvm::part_and_resume(vm, line, guest, device.trigger(interrupt), eventfds);
    device.give_back(interrupt);
}
