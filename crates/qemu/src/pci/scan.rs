//! Finding the functions of bus 0.

use super::function::{Decoding, set_decoding};
use super::{ConfigurationSpace, PciAddress, PciFunction, bar, capability};
use crate::error::Error;
use crate::qtest::Width;
use vcm::Span;

/// Vendor and device id (PCI Local Bus Specification 3.0, 6.2.1).
const ID: u16 = 0x00;
/// Class code in bits 31 to 8 (6.2.1).
const CLASS: u16 = 0x08;
/// Header type, whose bit 7 says that there are further functions (6.2.1).
const HEADER_TYPE: u16 = 0x0e;
/// Interrupt pin (6.2.4).
const INTERRUPT_PIN: u16 = 0x3d;

/// The addresses that are given to BARs, the lowest first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    span: Span,
    next: Option<u64>,
}

impl Window {
    /// All of `span`, whose addresses are the same on the bus and for the CPUs.
    pub const fn new(span: Span) -> Self {
        Self { span, next: Some(span.first()) }
    }

    /// `len` bytes, a power of two, at a multiple of it, and up to `limit` at most.
    pub(super) fn take(&mut self, len: u64, limit: u64) -> Option<u64> {
        let start = self.next?.checked_next_multiple_of(len)?;
        let last = start.checked_add(len - 1)?;
        if last > self.span.last().min(limit) {
            return None;
        }
        self.next = last.checked_add(1);
        Some(start)
    }
}

/// Why something on the bus is not used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Skipped {
    /// A bridge (header type 1): what is behind it is not looked for.
    Bridge,
    /// A header of a type that is not known.
    Header {
        /// Its type.
        kind: u8,
    },
    /// Ports: none are given.
    IoBar {
        /// Which register asks for them.
        bar: u8,
    },
    /// A base address register that makes no sense, or does not keep its value.
    BadBar {
        /// Which register.
        bar: u8,
    },
    /// The window has no room.
    NoRoom {
        /// Which register asks.
        bar: u8,
        /// For how many bytes.
        len: u64,
    },
}

/// Something that is not used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PassedOver {
    /// Which function.
    pub address: PciAddress,
    /// What of it, and why.
    pub what: Skipped,
}

/// The functions of bus 0, with addresses for their memory BARs. They decode them, unless some found no room or make no
/// sense. They may not do DMA yet.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Pci {
    /// What can be used, in the order of its addresses.
    pub functions: Vec<PciFunction>,
    /// What is there and not used.
    pub passed_over: Vec<PassedOver>,
}

impl Pci {
    /// Looks at every function of bus 0 and puts its memory into `window`.
    ///
    /// # Errors
    ///
    /// Those of the connection. Devices that make no sense are passed over.
    pub fn scan(space: &mut impl ConfigurationSpace, mut window: Window) -> Result<Self, Error> {
        let mut pci = Self::default();
        for device in 0..32 {
            for function in 0..8 {
                let address = PciAddress::new(0, device, function);
                let id = space.read(address, Width::Bits32, ID)?;
                // All ones where there is nothing; QEMU gives zeros where there is not even a bus.
                let present = !matches!(id as u16, 0 | 0xffff);
                let header = if present { space.read(address, Width::Bits8, HEADER_TYPE)? as u8 } else { 0 };
                if present {
                    pci.take(space, address, id, header & 0x7f, &mut window)?;
                }
                if function == 0 && header >> 7 == 0 {
                    break;
                }
            }
        }
        Ok(pci)
    }

    fn take(
        &mut self,
        space: &mut impl ConfigurationSpace,
        address: PciAddress,
        id: u32,
        header: u8,
        window: &mut Window,
    ) -> Result<(), Error> {
        let mut pass_over = |what| self.passed_over.push(PassedOver { address, what });
        if header != 0 {
            pass_over(if header == 1 { Skipped::Bridge } else { Skipped::Header { kind: header } });
            return Ok(());
        }
        set_decoding(space, address, Decoding::Off)?;
        let bars = bar::assign(space, address, window, &mut pass_over)?;
        let function = PciFunction {
            address,
            vendor: id as u16,
            device: (id >> 16) as u16,
            class: space.read(address, Width::Bits32, CLASS)? >> 8,
            interrupt_pin: space.read(address, Width::Bits8, INTERRUPT_PIN)? as u8,
            bars,
            capabilities: capability::list(space, address)?,
        };
        // What found no room is at address zero, where it must not answer.
        let placed = !self.passed_over.iter().any(|over| {
            over.address == address && matches!(over.what, Skipped::NoRoom { .. } | Skipped::BadBar { .. })
        });
        if placed && !function.bars.is_empty() {
            function.set_decoding(space, Decoding::Memory)?;
        }
        self.functions.push(function);
        Ok(())
    }

    /// The function at `address`.
    pub fn at(&self, address: PciAddress) -> Option<&PciFunction> {
        self.functions.iter().find(|function| function.address == address)
    }

    /// The functions of this vendor and device id.
    pub fn with_id(&self, vendor: u16, device: u16) -> impl Iterator<Item = &PciFunction> {
        self.functions.iter().filter(move |function| (function.vendor, function.device) == (vendor, device))
    }
}
