//! How a device is called.

use crate::Error;
use std::fmt;
use std::str::FromStr;

/// A device's name on its bus, as sysfs has it: `0000:00:04.0` for a PCI function, `fff51000.ethernet` for a platform
/// device.
///
/// Having one tells that it is a single, plain component of a path, so that it can be looked up; not that there is such a
/// device.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DeviceName(String);

/// A PCI function's address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PciAddress {
    /// The PCI domain (segment).
    pub domain: u32,
    /// The bus.
    pub bus: u8,
    /// The device on the bus, 0 to 31.
    pub device: u8,
    /// The function of the device, 0 to 7.
    pub function: u8,
}

impl DeviceName {
    /// The name `text`.
    ///
    /// # Errors
    /// [`Error::Argument`] when no device can be called so: empty, longer than a file name, `.`, `..`, or with a slash, a
    /// space or a control character. (A space would begin an option for `VFIO_GROUP_GET_DEVICE_FD`.)
    pub fn new(text: &str) -> Result<Self, Error> {
        let wrong = |why: &str| Err(Error::argument(format!("a device called {text:?}"), why));
        if text.is_empty() || text.len() > 255 {
            return wrong("a name has 1 to 255 bytes");
        }
        if text == "." || text == ".." || text.contains('/') {
            return wrong("that is a path; the name is its last component, such as 0000:00:04.0");
        }
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return wrong("names have no spaces and no control characters");
        }
        Ok(Self(text.into()))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The address that it is, for a PCI function.
    pub fn pci(&self) -> Option<PciAddress> {
        let (domain, rest) = self.0.split_once(':')?;
        let (bus, rest) = rest.split_once(':')?;
        let (device, function) = rest.split_once('.')?;
        let hex = |text: &str, digits: std::ops::RangeInclusive<usize>, most: u32| {
            let plain = digits.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            plain.then(|| u32::from_str_radix(text, 16).ok()).flatten().filter(|&value| value <= most)
        };
        Some(PciAddress {
            domain: hex(domain, 4..=8, u32::MAX)?,
            bus: hex(bus, 2..=2, 0xff)? as u8,
            device: hex(device, 2..=2, 0x1f)? as u8,
            function: hex(function, 1..=1, 7)? as u8,
        })
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for DeviceName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::new(text)
    }
}

impl fmt::Display for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}:{:02x}:{:02x}.{:x}", self.domain, self.bus, self.device, self.function)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pci_functions_and_others() {
        let name = DeviceName::new("0000:00:1f.2").unwrap();
        let address = name.pci().unwrap();
        assert_eq!(address, PciAddress { domain: 0, bus: 0, device: 0x1f, function: 2 });
        assert_eq!(address.to_string(), name.as_str());
        assert!(DeviceName::new("10000:e1:00.0").unwrap().pci().is_some());
        for other in ["fff51000.ethernet", "0000:00:20.0", "0000:00:00.8", "+000:00:00.0", "0:0:0.0"] {
            assert_eq!(DeviceName::new(other).unwrap().pci(), None, "{other}");
        }
    }

    #[test]
    fn what_is_no_component_of_a_path_is_no_name() {
        for wrong in ["", ".", "..", "a/b", "../0000:00:04.0", "0000:00:04.0 vf_token=x", "a\0", "a\n"] {
            assert!(matches!(DeviceName::new(wrong), Err(Error::Argument { .. })), "{wrong:?}");
        }
    }
}
