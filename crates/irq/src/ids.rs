//! The three interrupt numbers, which no layer can mix up, and who is meant by them.

use core::fmt;
use core::num::NonZeroU64;

/// An interrupt's number at the host's interrupt controller: on Arm, its INTID.
///
/// Known from the bus driver all the way to the architecture.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct HostInterrupt(pub u32);

/// Names one interrupt of a device: a VFIO interrupt index (`INTx`, MSI, MSI-X, or a platform device's interrupt)
/// and the number in it.
///
/// Known to the bus driver, vfio and kvm-vfio; nobody below them can name it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DeviceInterrupt {
    /// The index (`VFIO_PCI_INTX_IRQ_INDEX` and so on; a platform device has one for each interrupt).
    pub index: u32,
    /// The number in the index.
    pub subindex: u32,
}

/// An interrupt's number at a guest's virtual interrupt controller: on Arm, the virtual INTID, 0 to 1019.
///
/// Known from kvm-vfio to the architecture.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct GuestInterrupt(pub u32);

/// The first shared peripheral interrupt (Arm IHI 0048B.b 2.2.1).
pub const FIRST_SPI: u32 = 32;

/// The number after that of the last shared peripheral interrupt (Arm IHI 0048B.b 2.2.1).
pub const SPI_END: u32 = 1020;

impl GuestInterrupt {
    /// The interrupt that a GSI of the control interfaces means: GSI 0 is the first shared peripheral interrupt, as
    /// for KVM's irqfd on Arm (Linux `arch/arm64/kvm/vgic/vgic-irqfd.c`). `None` above 987.
    pub const fn from_gsi(gsi: u32) -> Option<Self> {
        if gsi < SPI_END - FIRST_SPI { Some(Self(gsi + FIRST_SPI)) } else { None }
    }

    /// The GSI of a shared peripheral interrupt.
    pub const fn gsi(self) -> Option<u32> {
        if self.0 >= FIRST_SPI && self.0 < SPI_END { Some(self.0 - FIRST_SPI) } else { None }
    }
}

/// Names a virtual CPU of one virtual machine: its place, from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct VcpuId(pub u16);

/// What a producer of interrupts and their consumer have in common: an eventfd, as a number that the machine gave it,
/// or the way of a joined interrupt ([`kvm::Route`](crate::kvm::Route) says which).
///
/// The bus driver signals it and knows no more.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Token(pub NonZeroU64);

impl Token {
    /// The token with this number; `None` for 0.
    pub const fn new(number: u64) -> Option<Self> {
        match NonZeroU64::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// Its number.
    pub const fn number(self) -> u64 {
        self.0.get()
    }
}

/// What an interrupt input reacts to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Sense {
    /// The line being high; it asks until the device is content.
    Level,
    /// The line going high; it asks once.
    Edge,
}

impl fmt::Display for HostInterrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "host interrupt {}", self.0)
    }
}

impl fmt::Display for GuestInterrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "guest interrupt {}", self.0)
    }
}

impl fmt::Display for DeviceInterrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "device interrupt {}.{}", self.index, self.subindex)
    }
}

impl fmt::Display for VcpuId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "vCPU {}", self.0)
    }
}
