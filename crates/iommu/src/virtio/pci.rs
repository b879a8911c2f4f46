//! The modern PCI transport.

use super::spec::pci::{
    CONFIG_GENERATION, DEVICE_FEATURE, DEVICE_FEATURE_SELECT, DEVICE_STATUS, DRIVER_FEATURE,
    DRIVER_FEATURE_SELECT, INTERRUPT_STATUS, NUM_QUEUES, QUEUE_DESC, QUEUE_DEVICE, QUEUE_DRIVER,
    QUEUE_ENABLE, QUEUE_NOTIFY_OFF, QUEUE_SELECT, QUEUE_SIZE,
};
use super::spec::{Features, QUEUES, Status};
use super::{Rings, Stranger, Transport};
use crate::{NarrowRegisters, Registers};
use vcm::PhysicalAddress;

/// The structures of a function, each a window of its own. Whoever enumerates the bus finds them by the function's
/// vendor-specific capabilities ([`spec::pci`](super::spec::pci)), and enables its memory accesses and bus mastering.
#[derive(Clone, Copy, Debug)]
pub struct PciWindows<R> {
    /// The common configuration.
    pub common: R,
    /// The notifications.
    pub notify: R,
    /// How many bytes of notifications there are.
    pub notify_len: u32,
    /// What a queue's number for notifications is multiplied by, to give an offset in bytes.
    pub notify_multiplier: u32,
    /// The interrupt status.
    pub interrupt: R,
    /// The configuration of the IOMMU.
    pub device: R,
}

/// A virtio function on a PCI bus.
#[derive(Debug)]
pub struct PciTransport<R> {
    windows: PciWindows<R>,
    /// Where each queue's notifications go.
    doorbells: [u32; QUEUES as usize],
}

impl<R> PciTransport<R> {
    /// The function with `windows`.
    pub const fn new(windows: PciWindows<R>) -> Self {
        Self { windows, doorbells: [0; QUEUES as usize] }
    }

    /// The windows. Whoever writes to them does so behind the driver's back.
    pub const fn windows_mut(&mut self) -> &mut PciWindows<R> {
        &mut self.windows
    }
}

impl<R: Registers> PciTransport<R> {
    /// 64-bit fields are written in halves (4.1.3.1).
    fn set_address(&mut self, offset: u32, address: PhysicalAddress) {
        self.windows.common.write(offset, address.raw() as u32);
        self.windows.common.write(offset + 4, (address.raw() >> 32) as u32);
    }
}

impl<R: NarrowRegisters> Transport for PciTransport<R> {
    fn identify(&mut self) -> Result<(), Stranger> {
        // The kind of device is in its PCI configuration. A function that is gone answers all ones.
        match self.windows.common.read16(NUM_QUEUES) {
            u16::MAX => Err(Stranger { what: "nothing answers", register: "num_queues", found: 0xffff }),
            found if found < QUEUES => {
                Err(Stranger { what: "not two queues", register: "num_queues", found: found.into() })
            }
            _ => Ok(()),
        }
    }

    fn status(&mut self) -> Status {
        Status(self.windows.common.read8(DEVICE_STATUS))
    }

    fn set_status(&mut self, status: Status) {
        self.windows.common.write8(DEVICE_STATUS, status.0);
    }

    fn offered(&mut self) -> Features {
        let common = &mut self.windows.common;
        common.write(DEVICE_FEATURE_SELECT, 0);
        let low = common.read(DEVICE_FEATURE);
        common.write(DEVICE_FEATURE_SELECT, 1);
        Features(u64::from(common.read(DEVICE_FEATURE)) << 32 | u64::from(low))
    }

    fn accept(&mut self, features: Features) {
        let common = &mut self.windows.common;
        common.write(DRIVER_FEATURE_SELECT, 0);
        common.write(DRIVER_FEATURE, features.0 as u32);
        common.write(DRIVER_FEATURE_SELECT, 1);
        common.write(DRIVER_FEATURE, (features.0 >> 32) as u32);
    }

    fn queue_size_max(&mut self, queue: u16) -> u16 {
        self.windows.common.write16(QUEUE_SELECT, queue);
        self.windows.common.read16(QUEUE_SIZE)
    }

    fn enable_queue(&mut self, queue: u16, rings: &Rings) -> Result<(), &'static str> {
        self.windows.common.write16(QUEUE_SELECT, queue);
        self.windows.common.write16(QUEUE_SIZE, rings.size);
        if self.windows.common.read16(QUEUE_SIZE) != rings.size {
            return Err("it does not take the size of a queue");
        }
        let number = self.windows.common.read16(QUEUE_NOTIFY_OFF);
        let doorbell = u64::from(number) * u64::from(self.windows.notify_multiplier);
        if doorbell + 2 > u64::from(self.windows.notify_len) || doorbell % 2 != 0 {
            return Err("a queue's notifications go elsewhere than its capability says");
        }
        let Some(place) = self.doorbells.get_mut(usize::from(queue)) else {
            return Err("there is no such queue");
        };
        *place = doorbell as u32;
        self.set_address(QUEUE_DESC, rings.descriptors);
        self.set_address(QUEUE_DRIVER, rings.driver);
        self.set_address(QUEUE_DEVICE, rings.device);
        self.windows.common.write16(QUEUE_ENABLE, 1);
        if self.windows.common.read16(QUEUE_ENABLE) != 1 {
            return Err("it does not enable a queue");
        }
        Ok(())
    }

    fn notify(&mut self, queue: u16) {
        if let Some(&doorbell) = self.doorbells.get(usize::from(queue)) {
            self.windows.notify.write16(doorbell, queue);
        }
    }

    fn take_interrupt(&mut self) -> u32 {
        self.windows.interrupt.read8(INTERRUPT_STATUS).into()
    }

    fn config_generation(&mut self) -> u32 {
        self.windows.common.read8(CONFIG_GENERATION).into()
    }

    fn config(&mut self, offset: u32) -> u32 {
        self.windows.device.read(offset)
    }

    fn config8(&mut self, offset: u32) -> u8 {
        self.windows.device.read8(offset)
    }

    fn set_config8(&mut self, offset: u32, value: u8) {
        self.windows.device.write8(offset, value);
    }
}
