//! The kinds of region, and what follows from them.

use crate::{CpuAddress, GuestPhysicalAddress, Iova, PhysicalAddress, RegionAddress, RemoteAddress};
use core::fmt;

/// Whose address space a region is, and who translates its addresses. A device is of a kind as well: it is
/// associated with regions of that kind only.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum RegionKind {
    /// Behind an IOMMU, whose page table the machine writes.
    Translated,
    /// Of a device without an IOMMU: its addresses are physical addresses.
    OneToOne,
    /// Of a CPU, managed by an existing virtual memory manager (a kernel or a process).
    Cpu,
    /// A virtual machine's physical space.
    Guest,
    /// Of a processor that runs another system.
    Remote,
}

impl RegionKind {
    /// All kinds.
    pub const ALL: [Self; 5] = [Self::Translated, Self::OneToOne, Self::Cpu, Self::Guest, Self::Remote];

    /// The address with the number `raw` in a region of this kind.
    pub const fn address(self, raw: u64) -> RegionAddress {
        match self {
            Self::Translated => RegionAddress::Iova(Iova::new(raw)),
            Self::OneToOne => RegionAddress::Physical(PhysicalAddress::new(raw)),
            Self::Cpu => RegionAddress::Cpu(CpuAddress::new(raw)),
            Self::Guest => RegionAddress::Guest(GuestPhysicalAddress::new(raw)),
            Self::Remote => RegionAddress::Remote(RemoteAddress::new(raw)),
        }
    }

    /// Whether its associations are counted when activated, rather than held by one at a time: more than one
    /// user of a CPU's or of a one-to-one space changes nothing in the hardware.
    pub const fn counts_activations(self) -> bool {
        matches!(self, Self::Cpu | Self::OneToOne)
    }

    /// The name that scenario files and dumps use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Translated => "translated",
            Self::OneToOne => "one-to-one",
            Self::Cpu => "cpu",
            Self::Guest => "guest",
            Self::Remote => "remote",
        }
    }
}

impl fmt::Display for RegionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
