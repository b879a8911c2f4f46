//! The configuration space of a PCI function.
//!
//! Offsets and bits are those of the PCI Local Bus Specification 3.0, chapter 6, and of PCI Express Base 4.0, chapter 7, as
//! include/uapi/linux/pci_regs.h has them too.

use super::device::Device;
use super::inner::Inner;
use super::mapping::Decoding;
use super::region::{CONFIG_REGION, Region};
use crate::Error;
use std::sync::Arc;

/// Vendor id, 16 bits; the device id follows.
pub const VENDOR: u16 = 0x00;
/// Command register, 16 bits.
pub const COMMAND: u16 = 0x04;
/// Status register, 16 bits.
pub const STATUS: u16 = 0x06;
/// Where the first capability is, 8 bits.
pub const CAPABILITIES: u16 = 0x34;

/// COMMAND bit 1: it answers at its memory BARs.
pub const COMMAND_MEMORY: u16 = 1 << 1;
/// COMMAND bit 2: it may begin transactions: DMA and message interrupts.
pub const COMMAND_MASTER: u16 = 1 << 2;
/// COMMAND bit 10: it raises no `INTx`.
pub const COMMAND_INTX_DISABLE: u16 = 1 << 10;
/// STATUS bit 4: there are capabilities.
const STATUS_CAPABILITIES: u16 = 1 << 4;

/// Power management.
pub const CAPABILITY_POWER: u16 = 0x01;
/// Message interrupts.
pub const CAPABILITY_MSI: u16 = 0x05;
/// PCI Express.
pub const CAPABILITY_EXPRESS: u16 = 0x10;
/// Message interrupts by a table.
pub const CAPABILITY_MSIX: u16 = 0x11;

/// Control and status, from the power management capability on; bits 1:0 are the power state.
const POWER_CONTROL: u16 = 4;
/// Where capabilities begin.
const FIRST_CAPABILITY: u16 = 0x40;
/// Where extended capabilities begin.
const FIRST_EXTENDED: u16 = 0x100;

/// A capability of a PCI function.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PciCapability {
    /// Its id.
    pub id: u16,
    /// Where it is in the configuration space.
    pub offset: u16,
}

/// Whether a function may begin transactions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BusMaster {
    /// It may: DMA and message interrupts pass.
    On,
    /// It may not.
    Off,
}

/// Whether a function answers at its memory BARs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemoryDecoding {
    /// It does.
    On,
    /// It does not. Mappings of its BARs read as all ones until it does again.
    Off,
}

/// The configuration space of a device, as VFIO shows it: some of it is virtual.
///
/// Writes wait for accesses through [mappings](super::BarMapping) and hold new ones back, since some make the device stop
/// answering for a while: a reset, another power state, decoding switched off.
#[derive(Clone, Copy, Debug)]
pub struct Config<'d> {
    inner: &'d Inner,
}

impl Device {
    /// The configuration space.
    ///
    /// # Errors
    /// [`Error::NotSupported`] when it is no PCI function.
    pub fn config(&self) -> Result<Config<'_>, Error> {
        if !self.inner.info.is_pci() {
            return Err(Error::not_supported(
                "a configuration space",
                format!("{} is no PCI function", self.inner.name),
            ));
        }
        Ok(Config { inner: &self.inner })
    }
}

impl Config<'_> {
    /// Its size: 256 bytes, or 4096 with PCI Express.
    ///
    /// # Errors
    /// The kernel's.
    pub fn size(&self) -> Result<u64, Error> {
        Ok(self.inner.config_region()?.len)
    }

    /// Reads 8 bits.
    ///
    /// # Errors
    /// [`Error::Argument`] behind its end; the kernel's.
    pub fn read8(&self, offset: u16) -> Result<u8, Error> {
        self.inner.config_read(offset).map(u8::from_le_bytes)
    }

    /// Reads 16 bits.
    ///
    /// # Errors
    /// [`Error::Argument`] behind its end, and when `offset` is odd; the kernel's.
    pub fn read16(&self, offset: u16) -> Result<u16, Error> {
        self.inner.config_read(offset).map(u16::from_le_bytes)
    }

    /// Reads 32 bits.
    ///
    /// # Errors
    /// [`Error::Argument`] behind its end, and when `offset` is no multiple of 4; the kernel's.
    pub fn read32(&self, offset: u16) -> Result<u32, Error> {
        self.inner.config_read(offset).map(u32::from_le_bytes)
    }

    /// Writes 8 bits.
    ///
    /// # Errors
    /// As [`Self::read8`].
    pub fn write8(&self, offset: u16, value: u8) -> Result<(), Error> {
        self.inner.config_write(offset, value.to_le_bytes())
    }

    /// Writes 16 bits.
    ///
    /// # Errors
    /// As [`Self::read16`].
    pub fn write16(&self, offset: u16, value: u16) -> Result<(), Error> {
        self.inner.config_write(offset, value.to_le_bytes())
    }

    /// Writes 32 bits.
    ///
    /// # Errors
    /// As [`Self::read32`].
    pub fn write32(&self, offset: u16, value: u32) -> Result<(), Error> {
        self.inner.config_write(offset, value.to_le_bytes())
    }

    /// Vendor and device id.
    ///
    /// # Errors
    /// The kernel's.
    pub fn id(&self) -> Result<(u16, u16), Error> {
        Ok((self.read16(VENDOR)?, self.read16(VENDOR + 2)?))
    }

    /// Lets the function begin transactions, or stops it.
    ///
    /// A device without a function reset comes as its last owner left it: make it quiet before it may write memory again.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_bus_master(&self, bus_master: BusMaster) -> Result<(), Error> {
        self.inner.set_bus_master(bus_master)
    }

    /// Switches the function's answering at its memory BARs.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_memory_decoding(&self, decoding: MemoryDecoding) -> Result<(), Error> {
        self.inner.set_command(COMMAND_MEMORY, decoding == MemoryDecoding::On)
    }

    /// The capabilities, in the order of their chain.
    ///
    /// # Errors
    /// [`Error::Garbage`] when the chain does not end; the kernel's.
    pub fn capabilities(&self) -> Result<Vec<PciCapability>, Error> {
        self.inner.capabilities()
    }

    /// The extended capabilities, in the order of their chain. None without PCI Express.
    ///
    /// # Errors
    /// As [`Self::capabilities`].
    pub fn extended_capabilities(&self) -> Result<Vec<PciCapability>, Error> {
        let len = self.size()?;
        let mut found = Vec::new();
        let mut at = FIRST_EXTENDED;
        while at >= FIRST_EXTENDED && u64::from(at) + 4 <= len {
            let header = self.read32(at)?;
            // Bits 15:0 id, 19:16 version, 31:20 next. All zeros or all ones: there is none.
            if header == 0 || header == u32::MAX {
                break;
            }
            found.push(PciCapability { id: header as u16, offset: at });
            if found.len() > usize::from((4096 - FIRST_EXTENDED) / 4) {
                return Err(self.inner.endless());
            }
            at = (header >> 20) as u16 & !3;
        }
        Ok(found)
    }

    /// The first capability with this id.
    ///
    /// # Errors
    /// As [`Self::capabilities`].
    pub fn capability(&self, id: u16) -> Result<Option<PciCapability>, Error> {
        Ok(self.capabilities()?.into_iter().find(|found| found.id == id))
    }
}

impl Inner {
    fn config_region(&self) -> Result<Arc<Region>, Error> {
        self.region(CONFIG_REGION)
    }

    fn check_config(&self, offset: u16, len: usize) -> Result<(), Error> {
        if usize::from(offset).is_multiple_of(len) {
            return Ok(());
        }
        Err(Error::argument(
            format!("{len} bytes at {offset:#x} of the configuration space"),
            "that is not aligned",
        ))
    }

    fn config_read<const LEN: usize>(&self, offset: u16) -> Result<[u8; LEN], Error> {
        self.check_config(offset, LEN)?;
        let mut bytes = [0; LEN];
        self.read(&*self.config_region()?, offset.into(), &mut bytes)?;
        Ok(bytes)
    }

    fn config_write<const LEN: usize>(&self, offset: u16, bytes: [u8; LEN]) -> Result<(), Error> {
        self.check_config(offset, LEN)?;
        let region = self.config_region()?;
        self.with_windows_stopped(|| self.write(&region, offset.into(), &bytes))
    }

    fn set_command(&self, bit: u16, on: bool) -> Result<(), Error> {
        let command = u16::from_le_bytes(self.config_read(COMMAND)?);
        let wanted = if on { command | bit } else { command & !bit };
        self.config_write(COMMAND, wanted.to_le_bytes())
    }

    pub(super) fn set_bus_master(&self, bus_master: BusMaster) -> Result<(), Error> {
        self.set_command(COMMAND_MASTER, bus_master == BusMaster::On)
    }

    fn endless(&self) -> Error {
        Error::Garbage { object: self.name.to_string(), what: "a chain of capabilities without end".into() }
    }

    fn capabilities(&self) -> Result<Vec<PciCapability>, Error> {
        let mut found = Vec::new();
        if u16::from_le_bytes(self.config_read(STATUS)?) & STATUS_CAPABILITIES == 0 {
            return Ok(found);
        }
        let [first] = self.config_read(CAPABILITIES)?;
        let mut at = u16::from(first & !3);
        while at >= FIRST_CAPABILITY {
            let [id, next] = self.config_read(at)?;
            found.push(PciCapability { id: id.into(), offset: at });
            if found.len() > usize::from((FIRST_EXTENDED - FIRST_CAPABILITY) / 4) {
                return Err(self.endless());
            }
            at = u16::from(next & !3);
        }
        Ok(found)
    }

    fn find(&self, id: u16) -> Result<Option<u16>, Error> {
        Ok(self.capabilities()?.into_iter().find(|found| found.id == id).map(|found| found.offset))
    }

    /// Whether the device answers at its memory: as the kernel decides it for mappings (drivers/vfio/pci/vfio_pci_config.c,
    /// `__vfio_pci_memory_enabled`).
    pub(super) fn decoding(&self) -> Decoding {
        if self.is_closed() {
            return Decoding::Gone;
        }
        if !self.info.is_pci() {
            return Decoding::Active;
        }
        let answers = || -> Result<bool, Error> {
            if u16::from_le_bytes(self.config_read(COMMAND)?) & COMMAND_MEMORY == 0 {
                return Ok(false);
            }
            let power = match self.power_management.get() {
                Some(power) => *power,
                None => {
                    let power = self.find(CAPABILITY_POWER)?;
                    *self.power_management.get_or_init(|| power)
                }
            };
            let Some(power) = power else { return Ok(true) };
            let state = u16::from_le_bytes(self.config_read(power + POWER_CONTROL)?) & 3;
            Ok(state < 3)
        };
        if answers().unwrap_or(false) { Decoding::Active } else { Decoding::Stopped }
    }
}
