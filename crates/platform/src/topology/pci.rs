//! PCI hosts as plain data, and how requester ids find their IOMMU, their interrupt and their MSI controller.
//!
//! A requester id names a function of the buses of one host: bus in bits 15 to 8, device in bits 7 to 3, function in
//! bits 2 to 0 (Linux Documentation/devicetree/bindings/pci/pci-iommu.txt).

use super::{Interrupt, MsiParent, PhysicalRange};
use std::fmt;
use std::ops::RangeInclusive;
use vcm::PhysicalAddress;

/// A PCI Express host whose configuration space lies in memory as the specification has it (ECAM).
#[derive(Debug, Clone, PartialEq)]
pub struct PciHost {
    /// The node's name.
    pub name: String,
    /// The node's path.
    pub path: String,
    /// The node's `compatible` strings, the most specific first.
    pub compatible: Vec<String>,
    /// Its configuration space: 4 KiB for each function, from device 0 of the first bus on.
    pub ecam: PhysicalRange,
    /// The numbers of its buses; `ecam` has room for all of them.
    pub buses: RangeInclusive<u8>,
    /// Through which physical addresses the processors reach which PCI addresses, in the order of the tree.
    pub windows: Vec<PciWindow>,
    /// Which IOMMU translates which function, and as which stream; targets are indices of
    /// [`Topology::iommus`](super::Topology::iommus).
    pub iommu_map: RequesterMap,
    /// Which controller takes the messages of which function; targets are indices of
    /// [`Topology::msi_controllers`](super::Topology::msi_controllers). Those of one function may have several.
    pub msi_map: RequesterMap,
    /// Where messages go for which `msi_map` says nothing.
    pub msi_parent: Option<MsiParent>,
    /// Where the wired interrupts of functions go, as far as the controller is understood.
    pub interrupt_map: Vec<PciInterrupt>,
    /// Which bits of a function and of its pin count in `interrupt_map`.
    pub interrupt_mask: PciPin,
    /// Whether DMA of its functions sees what is in the CPUs' caches (`dma-coherent` here or on a node above).
    pub coherent: bool,
}

impl PciHost {
    /// The IOMMU that translates what the function with this requester id does, as an index of
    /// [`Topology::iommus`](super::Topology::iommus), and its stream there; `None` for one that no IOMMU translates.
    ///
    /// ```
    /// use vcm_platform::topology::{Topology, qemu_tree};
    ///
    /// let machine = Topology::from_device_tree(qemu_tree("qemu-virt-smmuv3").unwrap())?;
    /// let host = &machine.pci_hosts[0];
    /// // Device 2 of bus 0.
    /// assert_eq!(host.stream_of(0x0010), Some((0, 0x10)));
    /// # Ok::<(), vcm_platform::topology::TopologyError>(())
    /// ```
    pub fn stream_of(&self, requester_id: u16) -> Option<(usize, u32)> {
        self.iommu_map.targets(requester_id).next()
    }

    /// The wired interrupt of a pin (1 for INTA# to 4 for INTD#) of a function on the host's own bus; behind a bridge,
    /// the bridge's pin is the one to ask for.
    pub fn interrupt_of(&self, requester_id: u16, pin: u8) -> Option<&Interrupt> {
        let masked = self.interrupt_mask.of(requester_id, pin);
        self.interrupt_map.iter().find(|entry| entry.from == masked).map(|entry| &entry.interrupt)
    }

    /// Where the 4 KiB of a function's configuration space are; `None` for a bus that the host does not have.
    ///
    /// Source: PCI Express Base Specification, 7.2.2 "PCI Express Enhanced Configuration Access Mechanism".
    pub fn configuration_space(&self, requester_id: u16) -> Option<PhysicalAddress> {
        let [bus, function] = requester_id.to_be_bytes();
        let bus = self.buses.contains(&bus).then(|| u64::from(bus - self.buses.start()))?;
        self.ecam.base.raw().checked_add(bus << 20 | u64::from(function) << 12).map(PhysicalAddress::new)
    }
}

/// A window of physical addresses through which processors reach a PCI bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PciWindow {
    /// Which space of the bus it leads to.
    pub space: PciSpace,
    /// Whether reads in it have no side effects.
    pub prefetchable: bool,
    /// The first address on the bus. Buses have addresses of their own, which BARs hold.
    pub pci_address: u64,
    /// The physical addresses.
    pub range: PhysicalRange,
}

/// An address space of a PCI bus (IEEE Std 1275 PCI Bus Binding 2.1, 2.2.1.1, the field `ss`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PciSpace {
    /// Ports.
    Io,
    /// Memory for BARs of 32 bits.
    Memory32,
    /// Memory for BARs of 64 bits.
    Memory64,
}

/// A map from requester ids, as `iommu-map` and `msi-map` have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequesterMap {
    /// Which bits of a requester id count.
    pub mask: u16,
    /// Its ranges, in the order of the tree.
    pub ranges: Vec<RequesterRange>,
}

impl RequesterMap {
    /// Where a requester id leads: the index of the target and the id there, in the order of the tree.
    pub fn targets(&self, requester_id: u16) -> impl Iterator<Item = (usize, u32)> {
        let masked = requester_id & self.mask;
        self.ranges.iter().filter_map(move |range| Some((range.target, range.id(masked)?)))
    }
}

/// A run of requester ids that lead to one target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequesterRange {
    /// The first requester id.
    pub first: u16,
    /// How many there are, 1 to 0x10000; the last one is at most 0xffff.
    pub len: u32,
    /// The index of what they lead to.
    pub target: usize,
    /// What the first one is called there; each further one is one more.
    pub first_id: u32,
}

impl RequesterRange {
    /// What this requester id is called at the target; `None` for one outside.
    fn id(&self, requester_id: u16) -> Option<u32> {
        let offset = u32::from(requester_id.checked_sub(self.first)?);
        (offset < self.len).then(|| self.first_id.wrapping_add(offset))
    }

    /// The last requester id.
    pub fn last(&self) -> u16 {
        self.first.saturating_add(u16::try_from(self.len.saturating_sub(1)).unwrap_or(u16::MAX))
    }
}

/// A pin of a function; also which bits of both count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PciPin {
    /// The function, in the form of a requester id.
    pub function: u16,
    /// 1 for INTA# to 4 for INTD#.
    pub pin: u8,
}

impl PciPin {
    const fn of(self, function: u16, pin: u8) -> Self {
        Self { function: self.function & function, pin: self.pin & pin }
    }
}

/// Where a wired interrupt goes.
#[derive(Debug, Clone, PartialEq)]
pub struct PciInterrupt {
    /// The pin, with the bits that do not count cleared.
    pub from: PciPin,
    /// What it raises.
    pub interrupt: Interrupt,
}

/// A requester id as people write it: `01:02.3` for bus 1, device 2, function 3.
pub(super) struct Function(pub(super) u16);

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}:{:02x}.{}", self.0 >> 8, self.0 >> 3 & 0x1f, self.0 & 7)
    }
}
