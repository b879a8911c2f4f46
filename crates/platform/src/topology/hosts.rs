//! PCI hosts as the tree has them, and what is on their buses.
//!
//! Sources: Linux Documentation/devicetree/bindings/pci/host-generic-pci.yaml, pci-iommu.txt (`iommu-map`) and
//! pci-msi.txt (`msi-map`); IEEE Std 1275 PCI Bus Binding 2.1, 2.2.1 for addresses. Of hosts only
//! `pci-host-ecam-generic` is understood, which firmware has set up; the others are passed over.

use super::addressing::{Registers, cell_counts, number, registers, translate};
use super::blob::Blob;
use super::interrupt_map::interrupt_map;
use super::iommus::Iommus;
use super::messages::MsiControllers;
use super::notes::{Names, Notes};
use super::tree::Node;
use super::{PciHost, PciSpace, PciWindow, PhysicalRange, RequesterMap, RequesterRange, TopologyError};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use vcm::PhysicalAddress;

const ECAM: &str = "pci-host-ecam-generic";

/// The configuration space of one bus: 32 devices of 8 functions of 4 KiB.
const BUS: u64 = 1 << 20;
/// A PCI address has 3 cells, a size 2 (PCI Bus Binding, 2.2.1).
const ADDRESS_CELLS: usize = 3;
const SIZE_CELLS: usize = 2;
/// How many requester ids there are.
const REQUESTERS: u64 = 1 << 16;
/// The most ranges of a map.
const MAX_RANGES: usize = 4096;
/// The most windows of a host; it bounds the time that a hostile tree can take.
const MAX_WINDOWS: usize = 256;

/// The PCI hosts of a tree.
pub(super) struct Hosts {
    pub(super) list: Vec<PciHost>,
    /// The index in `list` by the index of the node; `None` for a host that is passed over.
    by_node: BTreeMap<usize, Option<usize>>,
}

/// What a node is on a PCI bus.
pub(super) enum OnBus {
    /// A function: the index of its host, and its requester id.
    Function(usize, u16),
    /// It is on no bus of a host that is understood, for this reason.
    Nowhere(String),
}

impl Hosts {
    /// Every PCI host of the tree. Its `iommu-map` comes later, with [`connect`](Self::connect).
    pub(super) fn read(
        blob: &Blob<'_>,
        controllers: &MsiControllers,
        notes: &mut Notes,
    ) -> Result<Self, TopologyError> {
        let mut hosts = Self { list: Vec::new(), by_node: BTreeMap::new() };
        let mut names = Names::default();
        for node in Node::all(blob) {
            let compatible = node.strings("compatible")?;
            let known = compatible.contains(&ECAM);
            if !known && node.strings("device_type")? != ["pci"] {
                continue;
            }
            // What is on the bus of a host may be a bridge, and have a bus in its turn.
            if hosts.above(node).is_some() {
                if known {
                    notes.pass_over(node, "a PCI host on the bus of another");
                }
                continue;
            }
            let index = if !known {
                let map =
                    if node.has("iommu-map") { ", with streams by requester ids (iommu-map)" } else { "" };
                let kind = compatible.join(", ");
                notes.pass_over(node, format!("a PCI host of a kind that is not known: {kind}{map}"));
                None
            } else if !notes.enabled(node)? {
                None
            } else {
                hosts.list.push(host(node, controllers, &mut names, notes)?);
                Some(hosts.list.len() - 1)
            };
            hosts.by_node.insert(node.index(), index);
        }
        Ok(hosts)
    }

    /// Whether the node is a host, even if one that is passed over.
    pub(super) fn has(&self, node: Node<'_>) -> bool {
        self.by_node.contains_key(&node.index())
    }

    /// The nearest host above a node; `Some(None)` when that is passed over.
    fn above(&self, node: Node<'_>) -> Option<Option<usize>> {
        let mut next = node.parent();
        while let Some(node) = next {
            if let Some(host) = self.by_node.get(&node.index()) {
                return Some(*host);
            }
            next = node.parent();
        }
        None
    }

    /// Whether IOMMUs translate what is on the bus that a node is on.
    pub(super) fn translates(&self, node: Node<'_>) -> bool {
        let host = self.above(node).flatten().and_then(|host| self.list.get(host));
        host.is_some_and(|host| !host.iommu_map.ranges.is_empty())
    }

    /// The function that a node's `reg` names in configuration space.
    pub(super) fn function(&self, node: Node<'_>) -> Result<OnBus, TopologyError> {
        let host = match self.above(node) {
            Some(Some(index)) => self.list.get(index).map(|host| (index, host)),
            Some(None) => return Ok(OnBus::Nowhere("the PCI host that it is on is passed over".into())),
            None => None,
        };
        let Some((index, host)) = host else {
            return Ok(OnBus::Nowhere("it is a PCI function, and on no PCI bus".into()));
        };
        let cells = node.cells("reg")?.unwrap_or_default();
        let expected = || format!("a function's configuration space on buses {:?}", host.buses);
        let Some(&high) = cells.get(..ADDRESS_CELLS + SIZE_CELLS).and_then(|cells| cells.first()) else {
            return Err(node.wrong("reg", format!("{} cells", cells.len()), expected()));
        };
        // Bits 25 and 24 are the space, 0 that of configuration; bits 23 to 8 are the requester id.
        let requester_id = (high >> 8) as u16;
        if high >> 24 != 0 || !host.buses.contains(&requester_id.to_be_bytes()[0]) {
            return Err(node.wrong("reg", format!("a PCI address of {high:#010x}"), expected()));
        }
        Ok(OnBus::Function(index, requester_id))
    }

    /// Reads what each host says about IOMMUs, now that these are known.
    pub(super) fn connect(
        &mut self,
        blob: &Blob<'_>,
        iommus: &Iommus,
        notes: &mut Notes,
    ) -> Result<(), TopologyError> {
        let property = "iommu-map";
        for (&node, index) in &self.by_node {
            let (node, Some(index)) = (Node::at(blob, node), *index) else { continue };
            let Some(host) = self.list.get_mut(index) else { continue };
            host.iommu_map = requester_map(node, property, "iommu-map-mask", notes, |target| {
                let listed = iommus.referred(target).ok_or_else(|| {
                    node.wrong(property, format!("{}, which is not an IOMMU", target.path()), "an IOMMU")
                })?;
                let last = listed.and_then(|index| Some(iommus.list.get(index)?.kind.last_stream()));
                Ok(listed.zip(last))
            })?;
            check_one_each(node, property, &host.iommu_map)?;
        }
        Ok(())
    }
}

fn host(
    node: Node<'_>,
    controllers: &MsiControllers,
    names: &mut Names,
    notes: &mut Notes,
) -> Result<PciHost, TopologyError> {
    for (property, cells) in [("#address-cells", ADDRESS_CELLS), ("#size-cells", SIZE_CELLS)] {
        let found = node.cell(property)?;
        if found != Some(cells as u32) {
            let found = found.map_or("nothing".into(), |count| count.to_string());
            return Err(node.wrong(property, found, format!("{cells}, as every PCI bus has")));
        }
    }
    let ranges = match registers(node)? {
        Registers::Mapped(ranges) => ranges,
        Registers::NotMapped(reason) => {
            return Err(node.wrong("reg", reason, "the window of its configuration space"));
        }
    };
    let ecam = *ranges
        .first()
        .ok_or_else(|| node.wrong("reg", "nothing", "the window of its configuration space"))?;
    if ranges.len() > 1 {
        notes.pass_over(node, "a second register window, which no standard describes");
    }
    if node.property("dma-ranges").is_some_and(|ranges| !ranges.is_empty()) {
        notes.pass_over(node, "other addresses for DMA than the processors' (dma-ranges) are not modelled");
    }
    let (interrupt_map, interrupt_mask) = interrupt_map(node, notes)?;
    Ok(PciHost {
        name: names.node_name(node),
        path: node.path(),
        compatible: node.compatible()?,
        ecam,
        buses: buses(node, ecam, notes)?,
        windows: windows(node, notes)?,
        iommu_map: RequesterMap { mask: u16::MAX, ranges: Vec::new() },
        msi_map: requester_map(node, "msi-map", "msi-map-mask", notes, |target| {
            Ok(controllers.at(target).map(|index| (index, u32::MAX)))
        })?,
        msi_parent: controllers.parent(node, notes)?,
        interrupt_map,
        interrupt_mask,
        coherent: node.dma_coherent(),
    })
}

/// The buses of a host: `bus-range`, or all, as far as its window has room for them.
fn buses(
    node: Node<'_>,
    ecam: PhysicalRange,
    notes: &mut Notes,
) -> Result<RangeInclusive<u8>, TopologyError> {
    let (first, last) = match node.cells("bus-range")?.as_deref() {
        None => (0, 0xff),
        Some(&[first, last]) if first <= last && first <= 0xff => (first, last),
        Some(cells) => {
            return Err(node.wrong("bus-range", format!("{cells:x?}"), "the first and last of 256"));
        }
    };
    let room = ecam.size / BUS;
    let Some(more) = room.checked_sub(1) else {
        let expected = format!("{BUS:#x} for each bus");
        return Err(node.wrong("reg", format!("{:#x} bytes of configuration space", ecam.size), expected));
    };
    let reachable = u64::from(last).min(0xff).min(u64::from(first).saturating_add(more)) as u32;
    if reachable < last && node.has("bus-range") {
        notes.pass_over(node, format!("its buses from {:#x} on have no configuration space", reachable + 1));
    }
    // Both are 255 at most by now.
    Ok(first as u8..=reachable as u8)
}

/// The windows of `ranges`, for each PCI address (3 cells), physical address on the bus above, and size (2 cells).
fn windows(node: Node<'_>, notes: &mut Notes) -> Result<Vec<PciWindow>, TopologyError> {
    let mut windows = Vec::new();
    let (Some(cells), Some(bus)) = (node.cells("ranges")?, node.parent()) else { return Ok(windows) };
    let above = cell_counts(bus)?.address;
    if !(1..=2).contains(&above) {
        notes.pass_over(node, format!("its windows: the addresses of {} are not one number", bus.path()));
        return Ok(windows);
    }
    let each = ADDRESS_CELLS + above + SIZE_CELLS;
    if !cells.len().is_multiple_of(each) || cells.len() / each > MAX_WINDOWS {
        let expected = format!("a multiple of {each}, for {MAX_WINDOWS} windows at most");
        return Err(node.wrong("ranges", format!("{} cells", cells.len()), expected));
    }
    for entry in cells.chunks_exact(each) {
        let (pci, rest) = entry.split_at(ADDRESS_CELLS);
        let (base, size) = rest.split_at(above);
        let (pci_address, base, size) = (number(&pci[1..]), number(base), number(size));
        let space = match pci[0] >> 24 & 3 {
            1 => PciSpace::Io,
            2 => PciSpace::Memory32,
            3 => PciSpace::Memory64,
            _ => {
                notes.pass_over(node, "a window of configuration space: it has its own");
                continue;
            }
        };
        if size == 0 {
            continue;
        }
        if base.checked_add(size - 1).is_none() || pci_address.checked_add(size - 1).is_none() {
            let found = format!("a window of {size:#x} bytes");
            return Err(node.wrong("ranges", found, "an end within 64 bits"));
        }
        match translate(bus, base, size)? {
            Ok(base) => windows.push(PciWindow {
                space,
                prefetchable: pci[0] >> 30 & 1 == 1,
                pci_address,
                range: PhysicalRange { base: PhysicalAddress::new(base), size },
            }),
            Err(reason) => notes.pass_over(node, format!("a window: {reason}")),
        }
    }
    Ok(windows)
}

/// A map from requester ids: for each range the first of them, a phandle, what the first one is called there, and how
/// many there are. `target` tells the index of the node that is meant and the highest id there; `None` for one that
/// is passed over.
fn requester_map<'t>(
    node: Node<'t>,
    property: &str,
    mask_property: &str,
    notes: &mut Notes,
    target: impl Fn(Node<'t>) -> Result<Option<(usize, u32)>, TopologyError>,
) -> Result<RequesterMap, TopologyError> {
    // Requester ids have 16 bits, so the upper ones of a mask make no difference.
    let mask = node.cell(mask_property)?.unwrap_or(u32::MAX) as u16;
    let cells = node.cells(property)?.unwrap_or_default();
    let (entries, rest) = cells.as_chunks::<4>();
    if !rest.is_empty() || entries.len() > MAX_RANGES {
        let expected = format!("a multiple of 4, for {MAX_RANGES} ranges at most");
        return Err(node.wrong(property, format!("{} cells", cells.len()), expected));
    }
    let mut ranges = Vec::new();
    for &[first, phandle, first_id, len] in entries {
        let to = node.by_phandle(phandle).ok_or_else(|| {
            node.wrong(property, format!("phandle {phandle:#x}"), "the phandle of what requester ids lead to")
        })?;
        if u64::from(first) + u64::from(len) > REQUESTERS {
            let found = format!("{len:#x} requester ids from {first:#x}");
            return Err(node.wrong(property, found, format!("an end within {REQUESTERS:#x}")));
        }
        let first = first as u16;
        if first & !mask != 0 {
            let found = format!("requester ids from {first:#x}, which the mask {mask:#x} hides");
            return Err(node.wrong(property, found, "a first one that can occur"));
        }
        let Some((target, last_id)) = target(to)? else {
            notes.pass_over(
                node,
                format!("requester ids from {first:#x} lead to {}, which is passed over", to.path()),
            );
            continue;
        };
        if len == 0 {
            // Boot loaders fill in some of these.
            notes.pass_over(node, format!("no requester ids from {first:#x} lead to {}", to.path()));
            continue;
        }
        if u64::from(first_id) + u64::from(len) - 1 > u64::from(last_id) {
            let found = format!("{len:#x} ids from {first_id:#x} at {}", to.path());
            return Err(node.wrong(property, found, format!("{last_id:#x} as the last one at most")));
        }
        ranges.push(RequesterRange { first, len, target, first_id });
    }
    Ok(RequesterMap { mask, ranges })
}

/// Whether no requester id is in two ranges: a function masters through one IOMMU (pci-iommu.txt).
fn check_one_each(node: Node<'_>, property: &str, map: &RequesterMap) -> Result<(), TopologyError> {
    let mut ranges: Vec<_> = map.ranges.iter().collect();
    ranges.sort_by_key(|range| range.first);
    match ranges.windows(2).find(|pair| pair[1].first <= pair[0].last()) {
        Some(pair) => {
            let found = format!("requester id {:#x} a second time", pair[1].first);
            Err(node.wrong(property, found, "each once"))
        }
        None => Ok(()),
    }
}
