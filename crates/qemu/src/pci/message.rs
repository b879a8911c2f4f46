//! Message-signalled interrupts: PCI Local Bus Specification 3.0, 6.8.

use super::{ConfigurationSpace, MSI, MSIX, PciFunction};
use crate::bus::Bus;
use crate::error::Error;
use crate::qtest::Width;
use vcm::{Iova, PhysicalAddress};

/// What a function writes to signal an interrupt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Message {
    /// Where to, as the function puts it on the bus: an IOMMU may translate it.
    pub address: Iova,
    /// What.
    pub data: u32,
}

impl PciFunction {
    /// Has MSI signal one interrupt by `message`, of whose data 16 bits count, instead of by wire (6.8.1).
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] when it has no MSI, or not for such an address; and those of the connection.
    pub fn enable_msi(&self, space: &mut impl ConfigurationSpace, message: Message) -> Result<(), Error> {
        let at = self.capability(MSI).ok_or_else(|| self.wrong("it has no MSI"))?.offset;
        let control = space.read(self.address, Width::Bits16, at + 2)?;
        let address = message.address.raw();
        // Bit 7: has the upper half of the address.
        let data = if control >> 7 & 1 == 1 {
            space.write(self.address, Width::Bits32, at + 8, (address >> 32) as u32)?;
            at + 0xc
        } else if address >> 32 == 0 {
            at + 8
        } else {
            return Err(self.wrong(format!("its MSI has 32 bits of address, not {address:#x}")));
        };
        space.write(self.address, Width::Bits32, at + 4, address as u32)?;
        space.write(self.address, Width::Bits16, data, message.data & 0xffff)?;
        self.disable_wired_interrupt(space)?;
        // Bit 0 enables; bits 6 to 4, how many messages, as a power of two: one.
        space.write(self.address, Width::Bits16, at + 2, control & !0x70 | 1)
    }

    /// Has MSI-X signal interrupts by `messages`, the first one's table entry being 0 (6.8.2). The function's memory
    /// must be decoded.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] when it has no MSI-X, or a smaller table; and those of the connection.
    pub fn enable_msix(
        &self,
        space: &mut impl ConfigurationSpace,
        bus: &Bus,
        messages: &[Message],
    ) -> Result<(), Error> {
        let at = self.capability(MSIX).ok_or_else(|| self.wrong("it has no MSI-X"))?.offset;
        let control = space.read(self.address, Width::Bits16, at + 2)?;
        let entries = (control & 0x7ff) as usize + 1;
        let place = space.read(self.address, Width::Bits32, at + 4)?;
        let (index, offset) = ((place & 7) as u8, u64::from(place & !7));
        let table = self.bar(index).filter(|bar| {
            let end = offset + 16 * messages.len() as u64;
            messages.len() <= entries && end <= bar.len
        });
        let table = table.ok_or_else(|| {
            let count = messages.len();
            self.wrong(format!("{count} messages for {entries} entries at {offset:#x} of BAR {index}"))
        })?;
        let start = table.address.raw() + offset;
        bus.batch(|batch| {
            for (number, message) in messages.iter().enumerate() {
                let address = message.address.raw();
                // The last word's bit 0 masks.
                let words = [address as u32, (address >> 32) as u32, message.data, 0];
                for (at, word) in (start + 16 * number as u64..).step_by(4).zip(words) {
                    batch.write(Width::Bits32, PhysicalAddress::new(at), word.into())?;
                }
            }
            Ok(())
        })?;
        self.disable_wired_interrupt(space)?;
        // Bit 15 enables, bit 14 masks all.
        space.write(self.address, Width::Bits16, at + 2, control & !(1 << 14) | 1 << 15)
    }
}
