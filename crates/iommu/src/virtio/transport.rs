//! How the driver reaches the device's registers.

use super::spec::{Features, Status};
use vcm::PhysicalAddress;

/// Where the three parts of a queue are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rings {
    /// How many descriptors there are, and entries in each ring: a power of two.
    pub size: u16,
    /// The table of descriptors.
    pub descriptors: PhysicalAddress,
    /// The ring of what is available, which the driver writes.
    pub driver: PhysicalAddress,
    /// The ring of what was used, which the device writes.
    pub device: PhysicalAddress,
}

/// A device that is not one that the driver can drive, by a register that says so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stranger {
    /// What is strange.
    pub what: &'static str,
    /// The register.
    pub register: &'static str,
    /// What it read.
    pub found: u64,
}

/// The registers of a virtio device, wherever a bus has them. What a device answers is not trusted by the caller.
pub trait Transport {
    /// Looks whether an IOMMU is there at all.
    ///
    /// # Errors
    /// [`Stranger`] says why not.
    fn identify(&mut self) -> Result<(), Stranger>;

    /// The device status.
    fn status(&mut self) -> Status;

    /// Writes the device status; [`Status::RESET`] begins a reset.
    fn set_status(&mut self, status: Status);

    /// What the device offers.
    fn offered(&mut self) -> Features;

    /// Tells the device what the driver accepts.
    fn accept(&mut self, features: Features);

    /// The largest size of a queue, 0 when there is none.
    fn queue_size_max(&mut self, queue: u16) -> u16;

    /// Tells the device where a queue is, and enables it.
    ///
    /// # Errors
    /// What the device did that it must not.
    fn enable_queue(&mut self, queue: u16, rings: &Rings) -> Result<(), &'static str>;

    /// Tells the device that there is something new in a queue that was enabled.
    fn notify(&mut self, queue: u16);

    /// Reads the device's interrupt status and clears it: bit 0 for queues, bit 1 for the configuration.
    fn take_interrupt(&mut self) -> u32;

    /// A number that changes with the device's configuration.
    fn config_generation(&mut self) -> u32;

    /// Reads 32 bits of the device's configuration at `offset` bytes.
    fn config(&mut self, offset: u32) -> u32;

    /// Reads 8 bits of the device's configuration at `offset` bytes.
    fn config8(&mut self, offset: u32) -> u8;

    /// Writes 8 bits of the device's configuration at `offset` bytes.
    fn set_config8(&mut self, offset: u32, value: u8);
}
