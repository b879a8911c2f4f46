//! The MMIO transport, version 2: `virtio,mmio` in a device tree.

use super::spec::mmio::{
    CONFIG, CONFIG_GENERATION, DEVICE_FEATURES, DEVICE_FEATURES_SELECT, DRIVER_FEATURES,
    DRIVER_FEATURES_SELECT, INTERRUPT_ACKNOWLEDGE, INTERRUPT_STATUS, MAGIC, MAGIC_VALUE, QUEUE_DESC,
    QUEUE_DEVICE, QUEUE_DRIVER, QUEUE_NOTIFY, QUEUE_READY, QUEUE_SELECT, QUEUE_SIZE, QUEUE_SIZE_MAX, STATUS,
    VERSION, VERSION_2,
};
use super::spec::{self, Features, Status};
use super::{Rings, Stranger, Transport};
use crate::{NarrowRegisters, Registers};
use vcm::PhysicalAddress;

/// A virtio device in one window of registers.
#[derive(Debug)]
pub struct MmioTransport<R> {
    registers: R,
}

impl<R> MmioTransport<R> {
    /// The device with `registers`.
    pub const fn new(registers: R) -> Self {
        Self { registers }
    }

    /// The register window. Whoever writes to it does so behind the driver's back.
    pub const fn registers_mut(&mut self) -> &mut R {
        &mut self.registers
    }
}

impl<R: Registers> MmioTransport<R> {
    /// Only 32-bit accesses are allowed (4.2.2.2).
    fn set_address(&mut self, offset: u32, address: PhysicalAddress) {
        self.registers.write(offset, address.raw() as u32);
        self.registers.write(offset + 4, (address.raw() >> 32) as u32);
    }

    fn expect(
        &mut self,
        register: &'static str,
        offset: u32,
        expected: u32,
        what: &'static str,
    ) -> Result<(), Stranger> {
        match self.registers.read(offset) {
            found if found == expected => Ok(()),
            found => Err(Stranger { what, register, found: found.into() }),
        }
    }
}

impl<R: NarrowRegisters> Transport for MmioTransport<R> {
    fn identify(&mut self) -> Result<(), Stranger> {
        self.expect("MagicValue", MAGIC_VALUE, MAGIC, "not a virtio device")?;
        self.expect("Version", VERSION, VERSION_2, "not version 2 of the interface")?;
        self.expect("DeviceID", spec::mmio::DEVICE_ID, spec::DEVICE_ID, "not an IOMMU")
    }

    fn status(&mut self) -> Status {
        // Only eight bits are defined; a device that is gone has all of them.
        Status(self.registers.read(STATUS) as u8)
    }

    fn set_status(&mut self, status: Status) {
        self.registers.write(STATUS, status.0.into());
    }

    fn offered(&mut self) -> Features {
        self.registers.write(DEVICE_FEATURES_SELECT, 0);
        let low = self.registers.read(DEVICE_FEATURES);
        self.registers.write(DEVICE_FEATURES_SELECT, 1);
        Features(u64::from(self.registers.read(DEVICE_FEATURES)) << 32 | u64::from(low))
    }

    fn accept(&mut self, features: Features) {
        self.registers.write(DRIVER_FEATURES_SELECT, 0);
        self.registers.write(DRIVER_FEATURES, features.0 as u32);
        self.registers.write(DRIVER_FEATURES_SELECT, 1);
        self.registers.write(DRIVER_FEATURES, (features.0 >> 32) as u32);
    }

    fn queue_size_max(&mut self, queue: u16) -> u16 {
        self.registers.write(QUEUE_SELECT, queue.into());
        self.registers.read(QUEUE_SIZE_MAX).min(spec::QUEUE_SIZE_MAX.into()) as u16
    }

    fn enable_queue(&mut self, queue: u16, rings: &Rings) -> Result<(), &'static str> {
        self.registers.write(QUEUE_SELECT, queue.into());
        if self.registers.read(QUEUE_READY) != 0 {
            return Err("a queue is in use after a reset");
        }
        self.registers.write(QUEUE_SIZE, rings.size.into());
        self.set_address(QUEUE_DESC, rings.descriptors);
        self.set_address(QUEUE_DRIVER, rings.driver);
        self.set_address(QUEUE_DEVICE, rings.device);
        self.registers.write(QUEUE_READY, 1);
        if self.registers.read(QUEUE_READY) != 1 {
            return Err("it does not enable a queue");
        }
        Ok(())
    }

    fn notify(&mut self, queue: u16) {
        self.registers.write(QUEUE_NOTIFY, queue.into());
    }

    fn take_interrupt(&mut self) -> u32 {
        let status = self.registers.read(INTERRUPT_STATUS);
        self.registers.write(INTERRUPT_ACKNOWLEDGE, status);
        status
    }

    fn config_generation(&mut self) -> u32 {
        self.registers.read(CONFIG_GENERATION)
    }

    fn config(&mut self, offset: u32) -> u32 {
        self.registers.read(CONFIG + offset)
    }

    fn config8(&mut self, offset: u32) -> u8 {
        self.registers.read8(CONFIG + offset)
    }

    fn set_config8(&mut self, offset: u32, value: u8) {
        self.registers.write8(CONFIG + offset, value);
    }
}
