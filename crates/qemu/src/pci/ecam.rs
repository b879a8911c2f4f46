//! Access to configuration space.

use super::PciAddress;
use crate::bus::Bus;
use crate::error::Error;
use crate::qtest::Width;
use vcm::PhysicalAddress;

/// The configuration spaces of the functions of some buses.
pub trait ConfigurationSpace {
    /// Reads `width`, at most 32 bits, at `offset`, below 4096 and aligned. Where there is no function, all ones.
    ///
    /// # Errors
    ///
    /// Those of the connection.
    fn read(&mut self, function: PciAddress, width: Width, offset: u16) -> Result<u32, Error>;

    /// Writes `width`, at most 32 bits, at `offset`, below 4096 and aligned.
    ///
    /// # Errors
    ///
    /// Those of the connection.
    fn write(&mut self, function: PciAddress, width: Width, offset: u16, value: u32) -> Result<(), Error>;
}

/// Configuration space in memory: 4 KiB for each function, from device 0 of bus 0 on (PCI Express Base Specification,
/// 7.2.2).
#[derive(Clone, Debug)]
pub struct Ecam {
    bus: Bus,
    start: PhysicalAddress,
}

impl Ecam {
    /// The one at `start`.
    pub fn new(bus: Bus, start: PhysicalAddress) -> Self {
        Self { bus, start }
    }

    fn address(&self, function: PciAddress, width: Width, offset: u16) -> Result<PhysicalAddress, Error> {
        let wrong = || Error::argument(format!("{} bytes at {offset:#x} of {function}", width.bytes()));
        if width == Width::Bits64 || !u64::from(offset).is_multiple_of(width.bytes()) || offset >= 0x1000 {
            return Err(wrong());
        }
        let inside = u64::from(function.requester_id()) << 12 | u64::from(offset);
        self.start.checked_add(inside).ok_or_else(wrong)
    }
}

impl ConfigurationSpace for Ecam {
    fn read(&mut self, function: PciAddress, width: Width, offset: u16) -> Result<u32, Error> {
        let address = self.address(function, width, offset)?;
        Ok(self.bus.read(width, address)? as u32)
    }

    fn write(&mut self, function: PciAddress, width: Width, offset: u16, value: u32) -> Result<(), Error> {
        let address = self.address(function, width, offset)?;
        self.bus.write(width, address, value.into())
    }
}
