//! Registers: from a node's `reg`, through the buses above it, to physical addresses.
//!
//! Source: Devicetree Specification 0.4, 2.3.5 `#address-cells` and `#size-cells`, 2.3.6 `reg`, 2.3.8 `ranges`.

use super::tree::Node;
use super::{PhysicalRange, TopologyError};
use vcm::PhysicalAddress;

/// The most entries of one `reg`: none that is known has half as many.
const MAX_REGISTERS: usize = 64;
/// The most entries of one `ranges`, likewise; it bounds the time that a hostile tree can take.
const MAX_RANGES: usize = 256;

/// What a node's `reg` comes to.
pub(super) enum Registers {
    /// Physical ranges, the empty ones left out.
    Mapped(Vec<PhysicalRange>),
    /// The processors cannot reach them by an address, for the reason given: a device on an I2C bus, for example.
    NotMapped(String),
}

/// How many cells a child's address has, and how many a size.
#[derive(Clone, Copy)]
pub(super) struct CellCounts {
    pub(super) address: usize,
    pub(super) size: usize,
}

/// What `bus` says about the addresses of its children. The defaults are the specification's.
pub(super) fn cell_counts(bus: Node<'_>) -> Result<CellCounts, TopologyError> {
    let count = |name: &str, default| {
        let count = bus.cell(name)?.unwrap_or(default);
        // Buses such as PCI have 3 cells; more than 4 is in no binding.
        if count > 4 { Err(bus.wrong(name, count.to_string(), "0 to 4")) } else { Ok(count as usize) }
    };
    Ok(CellCounts { address: count("#address-cells", 2)?, size: count("#size-cells", 1)? })
}

/// The number in one or two cells.
pub(super) fn number(cells: &[u32]) -> u64 {
    cells.iter().fold(0, |number, &cell| number << 32 | u64::from(cell))
}

/// The pairs of address and size in a property, by the cells of `bus`; `None` when the bus has other addresses than
/// one number, or no sizes.
pub(super) fn pairs(
    node: Node<'_>,
    property: &str,
    bus: Node<'_>,
) -> Result<Option<Vec<(u64, u64)>>, TopologyError> {
    let counts = cell_counts(bus)?;
    if !(1..=2).contains(&counts.address) || !(1..=2).contains(&counts.size) {
        return Ok(None);
    }
    let cells = node.cells(property)?.unwrap_or_default();
    let each = counts.address + counts.size;
    if !cells.len().is_multiple_of(each) {
        let expected =
            format!("a multiple of {each}: {} for an address, {} for a size", counts.address, counts.size);
        return Err(node.wrong(property, format!("{} cells", cells.len()), expected));
    }
    let entries = cells.chunks_exact(each);
    if entries.len() > MAX_REGISTERS {
        return Err(node.wrong(
            property,
            format!("{} entries", entries.len()),
            format!("{MAX_REGISTERS} at most"),
        ));
    }
    Ok(Some(
        entries.map(|entry| (number(&entry[..counts.address]), number(&entry[counts.address..]))).collect(),
    ))
}

/// The physical ranges of a node's `reg`; none when it has none.
pub(super) fn registers(node: Node<'_>) -> Result<Registers, TopologyError> {
    let (true, Some(bus)) = (node.has("reg"), node.parent()) else {
        return Ok(Registers::Mapped(Vec::new()));
    };
    let Some(pairs) = pairs(node, "reg", bus)? else {
        return Ok(Registers::NotMapped(format!(
            "its registers are not at addresses of memory, on {}",
            bus.path()
        )));
    };
    let mut ranges = Vec::new();
    for (base, size) in pairs {
        if size == 0 {
            continue;
        }
        if base.checked_add(size - 1).is_none() {
            return Err(node.wrong(
                "reg",
                format!("{size:#x} bytes from {base:#x}"),
                "an end within 64 bits",
            ));
        }
        match translate(bus, base, size)? {
            Ok(base) => ranges.push(PhysicalRange { base: PhysicalAddress::new(base), size }),
            Err(reason) => return Ok(Registers::NotMapped(reason)),
        }
    }
    Ok(Registers::Mapped(ranges))
}

/// Takes `size` bytes from `base` on `bus` up to the root; the inner error is why they are not mapped.
///
/// `base` plus `size` less one must not wrap, and `size` not be 0.
pub(super) fn translate(bus: Node<'_>, base: u64, size: u64) -> Result<Result<u64, String>, TopologyError> {
    let (mut bus, mut base) = (bus, base);
    while let Some(parent) = bus.parent() {
        match bus.property("ranges") {
            // No `ranges` is no way through; an empty one leaves addresses as they are.
            None => return Ok(Err(format!("{} has no `ranges` to reach its registers through", bus.path()))),
            Some([]) => {}
            Some(_) => {
                let Some(windows) = windows(bus, parent)? else {
                    return Ok(Err(format!("the addresses of {} are not one number", bus.path())));
                };
                let last = base + (size - 1);
                let window =
                    windows.iter().find(|window| window.child <= base && last - window.child < window.size);
                // Some buses put more than an address into the cells (Marvell's MBus), so this is no contradiction.
                let Some(window) = window else {
                    return Ok(Err(format!(
                        "{size:#x} bytes from {base:#x} are in no window of {}",
                        bus.path()
                    )));
                };
                base = window.parent + (base - window.child);
            }
        }
        bus = parent;
    }
    Ok(Ok(base))
}

/// An entry of `ranges`: `size` bytes from `child` on the bus are at `parent` on its parent. Neither end wraps.
struct Window {
    child: u64,
    parent: u64,
    size: u64,
}

fn windows(bus: Node<'_>, parent: Node<'_>) -> Result<Option<Vec<Window>>, TopologyError> {
    let (own, above) = (cell_counts(bus)?, cell_counts(parent)?);
    if ![own.address, above.address, own.size].iter().all(|count| (1..=2).contains(count)) {
        return Ok(None);
    }
    let cells = bus.cells("ranges")?.unwrap_or_default();
    let each = own.address + above.address + own.size;
    if !cells.len().is_multiple_of(each) || cells.len() / each > MAX_RANGES {
        let expected = format!("a multiple of {each}, for {MAX_RANGES} windows at most");
        return Err(bus.wrong("ranges", format!("{} cells", cells.len()), expected));
    }
    let mut windows = Vec::new();
    for entry in cells.chunks_exact(each) {
        let (child, rest) = entry.split_at(own.address);
        let (above, size) = rest.split_at(above.address);
        let window = Window { child: number(child), parent: number(above), size: number(size) };
        if window.size == 0 {
            continue;
        }
        if window.child.checked_add(window.size - 1).is_none()
            || window.parent.checked_add(window.size - 1).is_none()
        {
            return Err(bus.wrong(
                "ranges",
                format!("a window of {:#x} bytes", window.size),
                "an end within 64 bits",
            ));
        }
        windows.push(window);
    }
    Ok(Some(windows))
}
