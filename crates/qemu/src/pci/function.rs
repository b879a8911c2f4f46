//! A function and what is done with it.

use super::{Bar, Capability, ConfigurationSpace, PciAddress};
use crate::error::Error;
use crate::qtest::Width;

/// The command register: PCI Local Bus Specification 3.0, 6.2.2.
const COMMAND: u16 = 0x04;
/// Bit 1: answers at its memory BARs.
const MEMORY_SPACE: u32 = 1 << 1;
/// Bit 2: may do DMA, and with it send messages.
const BUS_MASTER: u32 = 1 << 2;
/// Bit 10: does not raise its wired interrupt.
const INTERRUPT_DISABLE: u32 = 1 << 10;

/// What a function may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decoding {
    /// Nothing.
    Off,
    /// Answer at its BARs.
    Memory,
    /// Answer at its BARs, and do DMA.
    MemoryAndBusMaster,
}

/// A function as it was found. A reset of the machine undoes what was set up in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PciFunction {
    /// Where it is.
    pub address: PciAddress,
    /// Its vendor.
    pub vendor: u16,
    /// Which of the vendor's devices it is.
    pub device: u16,
    /// What it is: base class in bits 23 to 16, subclass in bits 15 to 8, programming interface in bits 7 to 0 (6.2.1).
    pub class: u32,
    /// Its wired interrupt: 0 none, 1 for INTA# to 4 for INTD# (6.2.4).
    pub interrupt_pin: u8,
    /// Its memory, where it was put.
    pub bars: Vec<Bar>,
    /// Its capabilities.
    pub capabilities: Vec<Capability>,
}

impl PciFunction {
    /// The memory of BAR `index`.
    pub fn bar(&self, index: u8) -> Option<&Bar> {
        self.bars.iter().find(|bar| bar.index == index)
    }

    /// The first capability with this id.
    pub fn capability(&self, id: u8) -> Option<Capability> {
        self.capabilities.iter().copied().find(|capability| capability.id == id)
    }

    /// Lets it decode addresses and do DMA, or not.
    ///
    /// # Errors
    ///
    /// Those of the connection.
    pub fn set_decoding(&self, space: &mut impl ConfigurationSpace, decoding: Decoding) -> Result<(), Error> {
        set_decoding(space, self.address, decoding)
    }

    pub(super) fn disable_wired_interrupt(&self, space: &mut impl ConfigurationSpace) -> Result<(), Error> {
        let command = space.read(self.address, Width::Bits16, COMMAND)?;
        space.write(self.address, Width::Bits16, COMMAND, command | INTERRUPT_DISABLE)
    }

    /// An error about this function.
    pub(crate) fn wrong(&self, what: impl std::fmt::Display) -> Error {
        let Self { address, vendor, device, .. } = self;
        Error::argument(format!("{address} ({vendor:04x}:{device:04x}): {what}"))
    }
}

pub(super) fn set_decoding(
    space: &mut impl ConfigurationSpace,
    function: PciAddress,
    decoding: Decoding,
) -> Result<(), Error> {
    let bits = match decoding {
        Decoding::Off => 0,
        Decoding::Memory => MEMORY_SPACE,
        Decoding::MemoryAndBusMaster => MEMORY_SPACE | BUS_MASTER,
    };
    let command = space.read(function, Width::Bits16, COMMAND)? & !(MEMORY_SPACE | BUS_MASTER);
    space.write(function, Width::Bits16, COMMAND, command | bits)
}
