//! The wired interrupts of a PCI bus: `interrupt-map`.
//!
//! Source: Devicetree Specification 0.4, 2.4.3 "Interrupt Nexus Properties"; IEEE Std 1275 PCI Bus Binding 2.1 and its
//! Recommended Practice "Interrupt Mapping" for the four cells of a function and its pin.

use super::interrupts::{decode, gic, interrupt_cells};
use super::notes::Notes;
use super::tree::Node;
use super::{Interrupt, PciInterrupt, PciPin, TopologyError};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

const MAP: &str = "interrupt-map";
const MASK: &str = "interrupt-map-mask";

/// A PCI address, then the pin.
const KEY: usize = 4;
/// The most cells of an address at a controller.
const MAX_ADDRESS: u32 = 4;

/// What of `interrupt-map` goes to a GIC, and the mask; of the other controllers is noted why they are left out.
pub(super) fn interrupt_map(
    node: Node<'_>,
    notes: &mut Notes,
) -> Result<(Vec<PciInterrupt>, PciPin), TopologyError> {
    let cells = node.cells(MAP)?.unwrap_or_default();
    if !cells.is_empty() && node.cell("#interrupt-cells")? != Some(1) {
        return Err(node.wrong("#interrupt-cells", "other cells", "1: the pin"));
    }
    let mask = match node.cells(MASK)? {
        None => [u32::MAX; KEY],
        Some(mask) => <[u32; KEY]>::try_from(mask.as_slice())
            .map_err(|_| node.wrong(MASK, format!("{} cells", mask.len()), format!("{KEY}")))?,
    };
    let mut found = Vec::new();
    // Which controllers are a GIC; each of the others is noted once.
    let mut gics = BTreeMap::new();
    let mut rest = cells.as_slice();
    while !rest.is_empty() {
        let Some((&[high, middle, low, pin, phandle], after)) = rest.split_first_chunk() else {
            let expected = format!("{KEY} cells and the phandle of a controller");
            return Err(node.wrong(MAP, format!("{} cells at its end", rest.len()), expected));
        };
        let controller = node.by_phandle(phandle).ok_or_else(|| {
            node.wrong(MAP, format!("phandle {phandle:#x}"), "the phandle of an interrupt controller")
        })?;
        // Unlike for a bus, no `#address-cells` here is none, as in Linux (of_irq_parse_raw).
        let address = controller.cell("#address-cells")?.unwrap_or(0);
        if address > MAX_ADDRESS {
            return Err(controller.wrong("#address-cells", address.to_string(), "0 to 4"));
        }
        let count = interrupt_cells(controller)?;
        let specifier = after.get(address as usize..).and_then(|after| after.split_at_checked(count));
        let Some((specifier, after)) = specifier else {
            let expected = format!("{address} and {count} after the phandle of {}", controller.path());
            return Err(node.wrong(MAP, format!("{} cells", after.len()), expected));
        };
        rest = after;
        let is_gic = match gics.entry(controller.index()) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(unknown) => {
                let is_gic = gic(controller)?.is_some();
                if !is_gic {
                    let path = controller.path();
                    notes.pass_over(node, format!("its wired interrupts go to {path}, which is not a GIC"));
                }
                *unknown.insert(is_gic)
            }
        };
        if !is_gic {
            continue;
        }
        // A function's address is that of its configuration space: all but the requester id is zero.
        let key = [high & mask[0], middle & mask[1], low & mask[2], pin & mask[3]];
        let (0, 0, 0, Ok(pin)) = (key[0] & !0xff_ff00, key[1], key[2], u8::try_from(key[3])) else {
            notes.pass_over(node, format!("wired interrupts of what no function is: {key:x?}"));
            continue;
        };
        match decode(node, MAP, specifier)? {
            Ok((kind, number, trigger)) => found.push(PciInterrupt {
                from: PciPin { function: (key[0] >> 8) as u16, pin },
                interrupt: Interrupt { name: None, kind, number, trigger },
            }),
            Err(reason) => notes.pass_over(node, format!("a wired interrupt: {reason}")),
        }
    }
    Ok((found, PciPin { function: (mask[0] >> 8) as u16, pin: mask[3] as u8 }))
}
