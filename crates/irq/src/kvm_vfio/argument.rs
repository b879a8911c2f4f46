//! What a user hands over, and where it is read from.

use super::error::{ControlError, DescriptorError, Fault};
use crate::DeviceInterrupt;

/// The group of the attributes, as the patch had it (`KVM_DEV_VFIO_DEVICE`). Others claim this number too, so it is the
/// caller's to choose.
pub const GROUP: u32 = 2;

/// The attributes of the group.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Attribute {
    /// `KVM_DEV_VFIO_DEVICE_FORWARD_IRQ`: makes a device's interrupt a guest's.
    Forward,
    /// `KVM_DEV_VFIO_DEVICE_UNFORWARD_IRQ`: takes it back.
    Unforward,
}

impl Attribute {
    /// `KVM_DEV_VFIO_DEVICE_FORWARD_IRQ`
    pub const FORWARD_IRQ: u64 = 1;
    /// `KVM_DEV_VFIO_DEVICE_UNFORWARD_IRQ`
    pub const UNFORWARD_IRQ: u64 = 2;

    /// The attribute with this number in the group `group`.
    pub(super) const fn of(ours: u32, group: u32, attribute: u64) -> Result<Self, ControlError> {
        match attribute {
            _ if group != ours => Err(ControlError::NoSuchAttribute { group, attribute }),
            Self::FORWARD_IRQ => Ok(Self::Forward),
            Self::UNFORWARD_IRQ => Ok(Self::Unforward),
            _ => Err(ControlError::NoSuchAttribute { group, attribute }),
        }
    }
}

/// The argument of both attributes (`struct kvm_arch_forwarded_irq` of the patch): four numbers of 32 bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Argument {
    /// The device's descriptor.
    pub descriptor: i32,
    /// Which of its interrupts.
    pub interrupt: DeviceInterrupt,
    /// The guest interrupt, as a GSI. Not looked at when un-forwarding.
    pub gsi: u32,
}

impl Argument {
    /// How many bytes it has.
    pub const SIZE: usize = 16;

    /// Reads it at `address` of the user's memory, in the byte order of this machine.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn read(memory: &impl UserMemory, address: u64) -> Result<Self, Fault> {
        let mut bytes = [0; Self::SIZE];
        memory.read(address, &mut bytes)?;
        let (words, _) = bytes.as_chunks::<4>();
        let [descriptor, index, subindex, gsi] = core::array::from_fn(|word| words[word]);
        let number = u32::from_ne_bytes;
        Ok(Self {
            descriptor: i32::from_ne_bytes(descriptor),
            interrupt: DeviceInterrupt { index: number(index), subindex: number(subindex) },
            gsi: number(gsi),
        })
    }
}

/// The memory of the user who calls.
pub trait UserMemory {
    /// Copies from it.
    ///
    /// # Errors
    /// [`Fault`], if it is not all readable.
    fn read(&self, address: u64, into: &mut [u8]) -> Result<(), Fault>;
}

/// The descriptors of the user who calls.
pub trait Descriptors {
    /// What stands for a device with the [control](super::Control) that is called.
    type Device;

    /// The device that a descriptor names. No reference is taken by that.
    ///
    /// # Errors
    /// [`DescriptorError`].
    fn device(&self, descriptor: i32) -> Result<&Self::Device, DescriptorError>;
}
