//! Register windows for drivers.

use super::Bus;
use crate::error::Error;
use crate::qtest::Width;
use vcm::PhysicalAddress;
use vcm_iommu::{NarrowRegisters, Registers};

/// How a [`Window`] does accesses of 64 bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WideAccess {
    /// As two of 32 bits, the low half first. QEMU's SMMUv3 has 64-bit accesses for some registers only.
    Halves,
    /// As one.
    Whole,
}

/// A device's registers over the qtest socket.
///
/// Every access has been done by the device when the call returns, and with it all that the device does at once, such
/// as working off a queue. When QEMU does not answer, or no such access can be asked for, reads give all ones, writes
/// are dropped, and [`Bus::failure`] tells the first such error. Where the machine has no device at all, QEMU gives
/// zeros, and tells nobody.
#[derive(Clone, Debug)]
pub struct Window {
    bus: Bus,
    start: PhysicalAddress,
    wide: WideAccess,
}

impl Window {
    pub(super) fn new(bus: Bus, start: PhysicalAddress, wide: WideAccess) -> Self {
        Self { bus, start, wide }
    }

    /// Where it starts.
    pub fn start(&self) -> PhysicalAddress {
        self.start
    }

    fn address(&self, offset: u32) -> Result<PhysicalAddress, Error> {
        let address = self.start.checked_add(offset.into());
        address
            .ok_or_else(|| Error::argument(format!("offset {offset:#x} of the registers at {}", self.start)))
    }

    fn get(&self, width: Width, offset: u32) -> u64 {
        let result = self.address(offset).and_then(|address| self.bus.read(width, address));
        self.bus.first_failure().value_or(result, width.max())
    }

    fn set(&self, width: Width, offset: u32, value: u64) {
        let result = self.address(offset).and_then(|address| self.bus.write(width, address, value));
        self.bus.first_failure().value_or(result, ());
    }

    /// The addresses of both halves of a 64-bit register.
    fn halves(&self, offset: u32) -> Result<[PhysicalAddress; 2], Error> {
        let low = self.address(offset)?;
        let high = low.checked_add(4);
        Ok([low, high.ok_or_else(|| Error::argument(format!("a register of 64 bits at {low}")))?])
    }
}

impl Registers for Window {
    fn read(&mut self, offset: u32) -> u32 {
        self.get(Width::Bits32, offset) as u32
    }

    fn write(&mut self, offset: u32, value: u32) {
        self.set(Width::Bits32, offset, value.into());
    }

    fn read64(&mut self, offset: u32) -> u64 {
        if self.wide == WideAccess::Whole {
            return self.get(Width::Bits64, offset);
        }
        let values = self.halves(offset).and_then(|halves| {
            self.bus.batch(|batch| {
                halves.into_iter().for_each(|address| batch.read(Width::Bits32, address));
                Ok(())
            })
        });
        let values = self.bus.first_failure().value_or(values, Vec::new());
        if let [low, high] = values[..] { high << 32 | low } else { u64::MAX }
    }

    fn write64(&mut self, offset: u32, value: u64) {
        if self.wide == WideAccess::Whole {
            return self.set(Width::Bits64, offset, value);
        }
        let result = self.halves(offset).and_then(|[low, high]| {
            self.bus.batch(|batch| {
                batch.write(Width::Bits32, low, value & u64::from(u32::MAX))?;
                batch.write(Width::Bits32, high, value >> 32)
            })
        });
        self.bus.first_failure().value_or(result.map(drop), ());
    }
}

impl NarrowRegisters for Window {
    fn read8(&mut self, offset: u32) -> u8 {
        self.get(Width::Bits8, offset) as u8
    }

    fn write8(&mut self, offset: u32, value: u8) {
        self.set(Width::Bits8, offset, value.into());
    }

    fn read16(&mut self, offset: u32) -> u16 {
        self.get(Width::Bits16, offset) as u16
    }

    fn write16(&mut self, offset: u32, value: u16) {
        self.set(Width::Bits16, offset, value.into());
    }
}
