//! Memories, and what of them is not to be had.
//!
//! Sources: Devicetree Specification 0.4, 3.4 "`/memory` node" and 3.5 "`/reserved-memory` Node"; dt-schema
//! reserved-memory/reserved-memory.yaml for `iommu-addresses`; Linux Documentation/devicetree/bindings/sram/sram.yaml.
//!
//! `compatible = "vcm,on-package-memory"` is this project's own, for memory in the SoC's package such as the SMI of
//! MSM8x60: `reg`, and a `label` for its name.

use super::addressing::{Registers, cell_counts, number, registers};
use super::blob::Blob;
use super::notes::{Names, Notes};
use super::tree::Node;
use super::{Memory, MemoryKind, PhysicalRange, Reserved, ReservedWindow, TopologyError};
use vcm::{Iova, PhysicalAddress, Span};

/// The most memories, and the most reservations, that a machine has: each memory lists what is reserved of it.
const MAX_MEMORIES: usize = 256;
const MAX_RESERVATIONS: usize = 1024;

/// A range that is reserved, and by whom.
struct Reservation {
    name: String,
    span: Span,
}

/// Everything about memory that a tree says.
pub(super) struct Memories {
    /// By rising address.
    pub(super) list: Vec<Memory>,
    /// Reserved windows of devices' IOVA spaces, by the index of the device's node.
    pub(super) windows: Vec<(usize, ReservedWindow)>,
}

impl Memories {
    pub(super) fn read(blob: &Blob<'_>, notes: &mut Notes) -> Result<Self, TopologyError> {
        let mut memories = Self { list: Vec::new(), windows: Vec::new() };
        let whole = |&span| Reservation { name: "memreserve".into(), span };
        let mut reservations: Vec<_> = blob.reservations.iter().map(whole).collect();
        let mut names = Names::default();
        let mut on_chip = Vec::new();
        for node in Node::all(blob) {
            let compatible = node.strings("compatible")?;
            let kind = if node.strings("device_type")? == ["memory"] {
                MemoryKind::Main
            } else if compatible.contains(&"vcm,on-package-memory") {
                MemoryKind::OnPackage
            } else if compatible.contains(&"mmio-sram") {
                MemoryKind::OnChip
            } else {
                continue;
            };
            if !notes.enabled(node)? {
                continue;
            }
            match kind {
                MemoryKind::OnChip => on_chip.push(node),
                _ => memories.add(node, kind, &mut names, &mut reservations, notes)?,
            }
        }
        // After the others, so that it is known what they cover.
        for node in on_chip {
            memories.add(node, MemoryKind::OnChip, &mut names, &mut reservations, notes)?;
            // A part that has a node of its own has a user.
            node.children().try_for_each(|part| reserve(part, &mut reservations, notes))?;
        }
        let reserved_memory = Node::root(blob).children().find(|node| node.name() == "reserved-memory");
        for node in reserved_memory.iter().flat_map(|node| node.children()) {
            if !notes.enabled(node)? {
                continue;
            }
            memories.read_windows(node)?;
            // A reusable region is lent to everybody until its owner wants it, so it stays in.
            if node.has("reg") && !node.has("reusable") {
                reserve(node, &mut reservations, notes)?;
            } else if !node.has("reg") && node.has("size") {
                notes.pass_over(node, "a reservation without an address: the operating system places it");
            }
        }
        if reservations.len() > MAX_RESERVATIONS {
            let found = format!("{} reservations of memory", reservations.len());
            return Err(Node::root(blob).impossible(found, format!("{MAX_RESERVATIONS} at most")));
        }
        reservations.sort_by_key(|reservation| reservation.span.first());
        memories.list.sort_by_key(|memory| memory.base);
        for memory in &mut memories.list {
            set_aside(memory, &reservations);
        }
        Ok(memories)
    }

    fn add(
        &mut self,
        node: Node<'_>,
        kind: MemoryKind,
        names: &mut Names,
        reservations: &mut Vec<Reservation>,
        notes: &mut Notes,
    ) -> Result<(), TopologyError> {
        let ranges = match registers(node)? {
            Registers::Mapped(ranges) => ranges,
            Registers::NotMapped(reason) => {
                notes.pass_over(node, reason);
                return Ok(());
            }
        };
        if ranges.is_empty() {
            // Trees for boards whose boot loader finds out about their memory have `reg = <0 0>`.
            notes.pass_over(node, "a memory of no bytes: the boot loader fills it in");
            return Ok(());
        }
        let label = names.label(node)?;
        for (position, range) in ranges.into_iter().enumerate() {
            let PhysicalRange { base, size } = range;
            // An "SRAM" inside another memory is a part of it that some firmware has.
            if kind == MemoryKind::OnChip && self.covers_some_of(range) {
                notes.pass_over(node, "it is a part of another memory, and reserved there");
                reservations.extend(range.span().map(|span| Reservation { name: node.name().into(), span }));
                continue;
            }
            let name = match position {
                0 => label.clone(),
                _ => names.claim(node, format!("{label}.{position}"))?,
            };
            if self.list.len() >= MAX_MEMORIES {
                return Err(node.impossible("one memory more", format!("{MAX_MEMORIES} at most")));
            }
            let (reserved, usable) = (Vec::new(), Vec::new());
            self.list.push(Memory { name, path: node.path(), kind, base, size, reserved, usable });
        }
        Ok(())
    }

    fn covers_some_of(&self, range: PhysicalRange) -> bool {
        let mut spans = self.list.iter().filter_map(|memory| Span::new(memory.base.raw(), memory.size));
        range.span().is_some_and(|range| spans.any(|span| span.overlaps(range)))
    }

    /// Reads `iommu-addresses`: for each window the device's phandle, then address and size by the device's bus.
    fn read_windows(&mut self, node: Node<'_>) -> Result<(), TopologyError> {
        let property = "iommu-addresses";
        let Some(cells) = node.cells(property)? else { return Ok(()) };
        let memory = match registers(node)? {
            Registers::Mapped(ranges) => ranges,
            Registers::NotMapped(_) => Vec::new(),
        };
        let mut rest = cells.as_slice();
        while let Some((&phandle, after)) = rest.split_first() {
            let device = node.by_phandle(phandle).and_then(|device| Some((device, device.parent()?)));
            let (device, bus) = device.ok_or_else(|| {
                node.wrong(property, format!("phandle {phandle:#x}"), "the phandle of a device")
            })?;
            let counts = cell_counts(bus)?;
            let Some((base, after)) = after.split_at_checked(counts.address) else {
                return Err(node.wrong(
                    property,
                    "an address that is cut off",
                    format!("{} cells", counts.address),
                ));
            };
            let Some((size, after)) = after.split_at_checked(counts.size) else {
                return Err(node.wrong(property, "a size that is cut off", format!("{} cells", counts.size)));
            };
            rest = after;
            if base.len() > 2 || size.len() > 2 || Span::new(number(base), number(size)).is_none() {
                return Err(node.wrong(
                    property,
                    format!("{base:x?} {size:x?}"),
                    "a non-empty window within 64 bits",
                ));
            }
            let size = number(size);
            let memory = memory.iter().find(|range| range.size == size).copied();
            let window = ReservedWindow { base: Iova::new(number(base)), size, memory };
            self.windows.push((device.index(), window));
        }
        Ok(())
    }
}

fn reserve(
    node: Node<'_>,
    reservations: &mut Vec<Reservation>,
    notes: &mut Notes,
) -> Result<(), TopologyError> {
    match registers(node)? {
        Registers::Mapped(ranges) => {
            let spans = ranges.into_iter().filter_map(PhysicalRange::span);
            reservations.extend(spans.map(|span| Reservation { name: node.name().into(), span }));
        }
        Registers::NotMapped(reason) => notes.pass_over(node, format!("a reservation: {reason}")),
    }
    Ok(())
}

/// Takes what is reserved, which comes by rising address, out of a memory.
fn set_aside(memory: &mut Memory, reservations: &[Reservation]) {
    let Some(all) = Span::new(memory.base.raw(), memory.size) else { return };
    let range =
        |first: u64, last: u64| PhysicalRange { base: PhysicalAddress::new(first), size: last - first + 1 };
    // The first address that may be usable; none past the end of the space.
    let mut free = Some(all.first());
    for reservation in reservations {
        let Some(inside) = reservation.span.intersection(all) else { continue };
        let reserved = range(inside.first(), inside.last());
        memory.reserved.push(Reserved { name: reservation.name.clone(), range: reserved });
        if let Some(first) = free.filter(|&first| first < inside.first()) {
            memory.usable.push(range(first, inside.first() - 1));
        }
        free = free.and_then(|first| Some(first.max(inside.last().checked_add(1)?)));
    }
    if let Some(first) = free.filter(|&first| first <= all.last()) {
        memory.usable.push(range(first, all.last()));
    }
}
