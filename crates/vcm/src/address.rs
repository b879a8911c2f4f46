//! Addresses: one type for each kind, so that one cannot be passed for another.

use core::fmt;

macro_rules! address {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        #[repr(transparent)]
        pub struct $name(u64);

        impl $name {
            /// The address with the number `raw`, in bytes from the start of its space.
            pub const fn new(raw: u64) -> Self {
                Self(raw)
            }

            /// The bare number, in bytes from the start of the space.
            pub const fn raw(self) -> u64 {
                self.0
            }

            /// The address `bytes` further on, or `None` beyond the last byte of a 64-bit space.
            pub const fn checked_add(self, bytes: u64) -> Option<Self> {
                match self.0.checked_add(bytes) {
                    Some(raw) => Some(Self(raw)),
                    None => None,
                }
            }

            /// Whether the address is a multiple of `alignment`, a power of two in bytes.
            pub const fn is_aligned(self, alignment: u64) -> bool {
                self.0 & (alignment - 1) == 0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:#x})"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }

        impl fmt::LowerHex for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::LowerHex::fmt(&self.0, f)
            }
        }
    };
}

address! {
    /// An address on the memory bus: what a memory controller sees.
    PhysicalAddress
}
address! {
    /// An address that a device behind an IOMMU puts on the bus (I/O virtual address).
    Iova
}
address! {
    /// An address in the address space of a CPU's program or kernel.
    CpuAddress
}
address! {
    /// An address in the physical space that a virtual machine sees.
    GuestPhysicalAddress
}
address! {
    /// An address in a space that a remote processor's own system manages.
    RemoteAddress
}

/// An address in some region; which kind of address it is follows from the region's kind.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RegionAddress {
    /// In a translated region: behind an IOMMU.
    Iova(Iova),
    /// In a one-to-one region: the device emits physical addresses.
    Physical(PhysicalAddress),
    /// In a CPU's address space.
    Cpu(CpuAddress),
    /// In a virtual machine's physical space.
    Guest(GuestPhysicalAddress),
    /// In a remote processor's space.
    Remote(RemoteAddress),
}

impl RegionAddress {
    /// The bare number, in bytes from the start of the region's space.
    pub const fn raw(self) -> u64 {
        match self {
            Self::Iova(address) => address.raw(),
            Self::Physical(address) => address.raw(),
            Self::Cpu(address) => address.raw(),
            Self::Guest(address) => address.raw(),
            Self::Remote(address) => address.raw(),
        }
    }
}

impl fmt::Display for RegionAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.raw())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn addresses_print_as_hexadecimal() {
        assert_eq!(format!("{}", Iova::new(0x1000)), "0x1000");
        assert_eq!(format!("{:?}", PhysicalAddress::new(0x1000)), "PhysicalAddress(0x1000)");
    }

    #[test]
    fn adding_stops_at_the_last_byte_of_the_space() {
        assert_eq!(Iova::new(u64::MAX - 1).checked_add(1), Some(Iova::new(u64::MAX)));
        assert_eq!(Iova::new(u64::MAX).checked_add(1), None);
    }
}
