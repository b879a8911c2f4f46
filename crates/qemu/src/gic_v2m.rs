//! Where the interrupts of Arm `virt`'s PCI functions arrive.
//!
//! Messages go to a GICv2m frame, which turns them into shared interrupts of the GICv2: Arm Server Base System
//! Architecture (ARM-DEN-0029), appendix E "GICv2m Architecture". Wires go to four fixed ones.

use crate::bus::Bus;
use crate::error::Error;
use crate::pci::{Message, PciFunction};
use crate::qtest::Width;
use std::ops::Range;
use vcm::{Iova, PhysicalAddress};

/// `VIRT_GIC_DIST` and `VIRT_GIC_V2M` of `base_memmap` in QEMU's hw/arm/virt.c.
const DISTRIBUTOR: u64 = 0x0800_0000;
const FRAME: u64 = 0x0802_0000;

/// MSI_TYPER: the first INTID in bits 25 to 16, how many in bits 9 to 0.
const MSI_TYPER: u64 = 0x008;
/// MSI_SETSPI_NS: writing an INTID signals that interrupt.
const MSI_SETSPI: u64 = 0x040;

/// GICD_ISPENDR0: a bit for each interrupt that is pending (Arm IHI 0048B.b 4.3.7).
const ISPENDR: u64 = 0x200;
/// GICD_ICPENDR0: written bits are pending no more (Arm IHI 0048B.b 4.3.8).
const ICPENDR: u64 = 0x280;
/// GICD_ICFGR0: two bits for each interrupt, the upper one for edges (Arm IHI 0048B.b 4.3.13).
const ICFGR: u64 = 0xc00;

/// The INTID of INTA# of device 0: `VIRT_PCIE` of `a15irqmap` in QEMU's hw/arm/virt.c, as a shared interrupt.
const WIRES: u32 = 32 + 3;

/// The machine's GIC, as far as it takes to see interrupts arrive. No CPU acknowledges them.
#[derive(Clone, Debug)]
pub struct GicV2m {
    bus: Bus,
    interrupts: Range<u32>,
}

impl GicV2m {
    /// That of an Arm machine: [`crate::IommuModel::NoneOnArm`], [`crate::IommuModel::Smmuv3`] and
    /// [`crate::IommuModel::VirtioOnArm`]. Its interrupts are set to take messages.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] when there is none, and those of the connection.
    pub fn new(bus: &Bus) -> Result<Self, Error> {
        let typer = bus.read(Width::Bits32, PhysicalAddress::new(FRAME + MSI_TYPER))? as u32;
        let (first, count) = (typer >> 16 & 0x3ff, typer & 0x3ff);
        // Shared interrupts are 32 to 1019 (Arm IHI 0048B.b 2.2.1).
        if count == 0 || first < 32 || first + count > 1020 {
            return Err(Error::argument(format!("there is no GICv2m: {count} interrupts from {first} on")));
        }
        let interrupts = first..first + count;
        bus.batch(|batch| {
            // A message is an edge.
            for word in first / 16..(first + count).div_ceil(16) {
                let bits = (0..16).filter(|bit| interrupts.contains(&(16 * word + bit)));
                let value = bits.fold(0, |value, bit| value | 2_u64 << (2 * bit));
                let register = DISTRIBUTOR + ICFGR + 4 * u64::from(word);
                batch.write(Width::Bits32, PhysicalAddress::new(register), value)?;
            }
            Ok(())
        })?;
        Ok(Self { bus: bus.clone(), interrupts })
    }

    /// The INTIDs that messages can signal.
    pub fn interrupts(&self) -> Range<u32> {
        self.interrupts.clone()
    }

    /// Where messages are written to. A device behind an IOMMU needs a mapping of the page.
    pub fn doorbell(&self) -> PhysicalAddress {
        PhysicalAddress::new(FRAME + MSI_SETSPI)
    }

    /// The message for `intid`, from a device that sees the [`doorbell`](Self::doorbell) at `doorbell`.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] when messages cannot signal it.
    pub fn message(&self, intid: u32, doorbell: Iova) -> Result<Message, Error> {
        if !self.interrupts.contains(&intid) {
            return Err(Error::argument(format!(
                "messages signal {:?}, not interrupt {intid}",
                self.interrupts
            )));
        }
        Ok(Message { address: doorbell, data: intid })
    }

    /// The INTID of a function's wired interrupt; `None` when it has none. Each next device's wires are one further on
    /// (`create_pcie_irq_map` in QEMU's hw/arm/virt.c).
    pub fn wired(&self, function: &PciFunction) -> Option<u32> {
        let pin = u32::from(function.interrupt_pin).checked_sub(1).filter(|&pin| pin < 4)?;
        Some(WIRES + (u32::from(function.address.device()) + pin) % 4)
    }

    /// Whether an interrupt is pending.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] for an INTID above 1019, and those of the connection.
    pub fn is_pending(&self, intid: u32) -> Result<bool, Error> {
        let word = self.bus.read(Width::Bits32, word_of(ISPENDR, intid)?)?;
        Ok(word >> (intid % 32) & 1 == 1)
    }

    /// Takes a message back. One that comes by wire is pending for as long as the wire is high.
    ///
    /// # Errors
    ///
    /// As [`Self::is_pending`].
    pub fn clear(&self, intid: u32) -> Result<(), Error> {
        self.bus.write(Width::Bits32, word_of(ICPENDR, intid)?, 1 << (intid % 32))
    }
}

/// The register of a bit for `intid`.
fn word_of(block: u64, intid: u32) -> Result<PhysicalAddress, Error> {
    if intid >= 1020 {
        return Err(Error::argument(format!("interrupt {intid} cannot be")));
    }
    Ok(PhysicalAddress::new(DISTRIBUTOR + block + 4 * u64::from(intid / 32)))
}
