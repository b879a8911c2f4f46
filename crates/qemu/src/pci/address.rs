//! The names of PCI functions.

use std::fmt;

/// The address of a function: its bus, device and function number. It is also its requester id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PciAddress(u16);

impl PciAddress {
    /// Function `function` (0 to 7) of device `device` (0 to 31) of a bus; higher bits do not count.
    pub const fn new(bus: u8, device: u8, function: u8) -> Self {
        Self((bus as u16) << 8 | ((device & 31) as u16) << 3 | (function & 7) as u16)
    }

    /// The bus.
    pub const fn bus(self) -> u8 {
        (self.0 >> 8) as u8
    }

    /// The device, 0 to 31.
    pub const fn device(self) -> u8 {
        (self.0 >> 3) as u8 & 31
    }

    /// The function, 0 to 7.
    pub const fn function(self) -> u8 {
        self.0 as u8 & 7
    }

    /// The requester id, by which an IOMMU tells its DMA: bus << 8 | device << 3 | function.
    pub const fn requester_id(self) -> u16 {
        self.0
    }
}

impl fmt::Display for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}:{:02x}.{}", self.bus(), self.device(), self.function())
    }
}

impl fmt::Debug for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PciAddress({self})")
    }
}
