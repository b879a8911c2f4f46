//! The control interface over any engine.

use super::argument::{Argument, Attribute, Descriptors, UserMemory};
use super::error::ControlError;
use crate::DeviceInterrupt;
use crate::kvm::Mode;

/// What an attribute did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Done {
    /// The interrupt is the guest's.
    Forwarded(Mode),
    /// It is not the guest's any more.
    Unforwarded,
}

/// The control of one virtual machine: what a user calls it with, and what an engine has to do for it.
///
/// An engine says how an interrupt is forwarded and taken back; reading and checking what the user hands over is the
/// same with all of them.
pub trait Control {
    /// What stands for a device.
    type Device;

    /// The group that the attributes are in.
    fn group(&self) -> u32;

    /// Makes a device's interrupt a guest's, by GSI. A reference on the device is held from now on.
    ///
    /// # Errors
    /// [`ControlError`]. Nothing has changed then.
    fn forward_gsi(
        &mut self,
        device: &Self::Device,
        interrupt: DeviceInterrupt,
        gsi: u32,
    ) -> Result<Mode, ControlError>;

    /// Takes an interrupt back, whatever it is doing. The reference on the device is dropped.
    ///
    /// # Errors
    /// EINVAL, if this control did not forward it. Else it cannot fail.
    fn unforward(&mut self, device: &Self::Device, interrupt: DeviceInterrupt) -> Result<(), ControlError>;

    /// Takes everything back: when the control's descriptor is closed, by whatever end of its user.
    fn release(&mut self);

    /// Whether there is such an attribute (`KVM_HAS_DEVICE_ATTR`).
    ///
    /// # Errors
    /// ENXIO.
    fn has_attribute(&self, group: u32, attribute: u64) -> Result<Attribute, ControlError> {
        Attribute::of(self.group(), group, attribute)
    }

    /// Does what an attribute stands for (`KVM_SET_DEVICE_ATTR`), with the argument at `address` of the user's memory.
    ///
    /// # Errors
    /// [`ControlError`].
    fn set_attribute(
        &mut self,
        group: u32,
        attribute: u64,
        address: u64,
        memory: &impl UserMemory,
        descriptors: &impl Descriptors<Device = Self::Device>,
    ) -> Result<Done, ControlError> {
        let attribute = self.has_attribute(group, attribute)?;
        let Argument { descriptor, interrupt, gsi } = Argument::read(memory, address)?;
        let refused = |error| ControlError::Descriptor { descriptor, error };
        let device = descriptors.device(descriptor).map_err(refused)?;
        match attribute {
            Attribute::Forward => self.forward_gsi(device, interrupt, gsi).map(Done::Forwarded),
            Attribute::Unforward => self.unforward(device, interrupt).map(|()| Done::Unforwarded),
        }
    }
}
