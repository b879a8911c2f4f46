//! What devices are called.

use super::read::plain;
use crate::Error;
use std::fmt;

/// A bus whose devices VFIO can take.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "lowercase"))]
pub enum Bus {
    /// PCI and PCI Express.
    Pci,
    /// Devices that firmware tables or a device tree describe.
    Platform,
}

impl Bus {
    /// Every bus.
    pub const ALL: [Self; 2] = [Self::Pci, Self::Platform];

    /// Its folder in `/sys/bus`.
    pub const fn folder(self) -> &'static str {
        match self {
            Self::Pci => "pci",
            Self::Platform => "platform",
        }
    }

    /// The driver that gives a device of the bus to user space.
    pub const fn vfio_driver(self) -> &'static str {
        match self {
            Self::Pci => "vfio-pci",
            Self::Platform => "vfio-platform",
        }
    }
}

impl fmt::Display for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.folder())
    }
}

/// A device's bus, and its name there: `0000:00:06.0`, `fd500000.dma`. The name has no slash in it and is that of one folder.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct DeviceName {
    bus: Bus,
    name: String,
}

impl DeviceName {
    /// A device of `bus`. PCI addresses may come without domain, in capital letters, and with a driver's or tool's `pci:` before
    /// them.
    ///
    /// # Errors
    /// [`Error::Argument`] when no device of the bus can be called so.
    pub fn new(bus: Bus, name: &str) -> Result<Self, Error> {
        let name = match bus {
            Bus::Pci => pci_address(name).ok_or_else(|| {
                Error::argument(
                    format!("{name:?} as a PCI device"),
                    "expected DOMAIN:BUS:DEVICE.FUNCTION in hexadecimal, such as 0000:00:06.0",
                )
            })?,
            Bus::Platform if plain(name) => name.to_owned(),
            Bus::Platform => {
                return Err(Error::argument(format!("{name:?} as a device"), "no device has such a name"));
            }
        };
        Ok(Self { bus, name })
    }

    /// What `text` names: a PCI device when it looks like an address, otherwise a platform device.
    ///
    /// # Errors
    /// [`Error::Argument`] when no device can be called so.
    pub fn parse(text: &str) -> Result<Self, Error> {
        Self::new(Bus::Pci, text).or_else(|_| Self::new(Bus::Platform, text))
    }

    /// Its bus.
    pub const fn bus(&self) -> Bus {
        self.bus
    }

    /// Its name on the bus.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its folder below the root of the file system.
    pub(crate) fn folder(&self) -> String {
        format!("sys/bus/{}/devices/{}", self.bus, self.name)
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// The address as sysfs writes it. Domains have four digits or more: those behind a VMD have five.
fn pci_address(text: &str) -> Option<String> {
    let text = text.strip_prefix("pci:").unwrap_or(text);
    let hexadecimal = |text: &str, most: usize| {
        let fits = (1..=most).contains(&text.len()) && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        if fits { u32::from_str_radix(text, 16).ok() } else { None }
    };
    let (place, function) = text.rsplit_once('.')?;
    let (front, device) = place.rsplit_once(':')?;
    let (domain, bus) = front.rsplit_once(':').unwrap_or(("0", front));
    let (domain, bus) = (hexadecimal(domain, 8)?, hexadecimal(bus, 2)?);
    let (device, function) = (hexadecimal(device, 2)?, hexadecimal(function, 1)?);
    (device < 32 && function < 8).then(|| format!("{domain:04x}:{bus:02x}:{device:02x}.{function}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_understood_as_people_write_them() {
        for text in ["0000:00:06.0", "00:06.0", "0:0:6.0", "pci:0000:00:06.0"] {
            let name = DeviceName::parse(text).unwrap();
            assert_eq!((name.bus(), name.name()), (Bus::Pci, "0000:00:06.0"), "{text}");
        }
        assert_eq!(DeviceName::parse("10000:E1:00.0").unwrap().name(), "10000:e1:00.0");
        assert_eq!(DeviceName::parse("fd500000.dma").unwrap().bus(), Bus::Platform);
    }

    #[test]
    fn nothing_else_is_a_device() {
        for text in ["", "..", "../../etc", "a/b", "x\n"] {
            let error = DeviceName::parse(text).unwrap_err();
            assert!(error.to_string().contains("as a device"), "{error}");
        }
        for text in ["0000:00:20.0", "0000:00:06.8", "0000:100:06.0", "+000:00:06.0", "00:06"] {
            assert!(DeviceName::new(Bus::Pci, text).is_err(), "{text}");
        }
    }
}
