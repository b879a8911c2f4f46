//! The list of capabilities: PCI Local Bus Specification 3.0, 6.7.

use super::{ConfigurationSpace, PciAddress};
use crate::error::Error;
use crate::qtest::Width;

/// Message-signalled interrupts (PCI Local Bus Specification 3.0, appendix H).
pub const MSI: u8 = 0x05;
/// Of the vendor; virtio describes its structures so (PCI Local Bus Specification 3.0, appendix H).
pub const VENDOR: u8 = 0x09;
/// Message-signalled interrupts with a table (PCI Local Bus Specification 3.0, appendix H).
pub const MSIX: u8 = 0x11;

/// The status register, whose bit 4 says that there is a list (6.2.3).
const STATUS: u16 = 0x06;
/// Where the list starts (6.7).
const POINTER: u16 = 0x34;
/// No capability is within the header.
const HEADER: u16 = 0x40;

/// A capability of a function.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capability {
    /// Which it is: [`MSI`], [`MSIX`], [`VENDOR`] and others.
    pub id: u8,
    /// Where it is in the function's configuration space: 0x40 to 0xfc.
    pub offset: u16,
}

/// All capabilities, in the order of the list, which ends where it comes back to itself or leaves its place.
pub(super) fn list(
    space: &mut impl ConfigurationSpace,
    function: PciAddress,
) -> Result<Vec<Capability>, Error> {
    let mut found = Vec::new();
    if space.read(function, Width::Bits16, STATUS)? >> 4 & 1 == 0 {
        return Ok(found);
    }
    let mut seen = 0_u64;
    let mut next = space.read(function, Width::Bits8, POINTER)?;
    loop {
        // The two lowest bits are reserved.
        let offset = next as u16 & 0xfc;
        let bit = 1 << (offset / 4);
        if offset < HEADER || seen & bit != 0 {
            return Ok(found);
        }
        seen |= bit;
        let header = space.read(function, Width::Bits16, offset)?;
        let id = header as u8;
        if id == 0xff {
            return Ok(found);
        }
        found.push(Capability { id, offset });
        next = header >> 8;
    }
}
