//! Interrupts: from a node's specifiers, through the controller above it, to the GIC's numbers.
//!
//! Sources: Devicetree Specification 0.4, 2.4 "Interrupts and Interrupt Mapping"; Linux
//! Documentation/devicetree/bindings/interrupt-controller/arm,gic.yaml and arm,gic-v3.yaml for the specifiers.

use super::notes::Notes;
use super::tree::Node;
use super::{Interrupt, InterruptControllerKind, InterruptKind, TopologyError, Trigger};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// The `compatible` strings of GIC versions 1 and 2 that bindings name.
const GIC_V2: [&str; 12] = [
    "arm,arm11mp-gic",
    "arm,cortex-a15-gic",
    "arm,cortex-a5-gic",
    "arm,cortex-a7-gic",
    "arm,cortex-a9-gic",
    "arm,eb11mp-gic",
    "arm,gic-400",
    "arm,pl390",
    "arm,tc11mp-gic",
    "qcom,msm-8660-qgic",
    "qcom,msm-qgic2",
    "nvidia,tegra210-agic",
];

/// The first shared interrupt's INTID (GIC architecture: 0-15 are software generated, 16-31 private).
const FIRST_SHARED: u32 = 32;
/// The first private interrupt's INTID.
const FIRST_PRIVATE: u32 = 16;
/// How many shared interrupts a GIC has at most: INTIDs 1020 to 1023 are special.
const SHARED: u32 = 1020 - FIRST_SHARED;
/// How many private interrupts a GIC has.
const PRIVATE: u32 = FIRST_SHARED - FIRST_PRIVATE;
/// How far the search for a controller goes before it must have gone in a circle.
const MAX_STEPS: usize = 128;

/// Which GIC a node is; `None` when it is none.
pub(super) fn gic(node: Node<'_>) -> Result<Option<InterruptControllerKind>, TopologyError> {
    let compatible = node.strings("compatible")?;
    Ok(if !node.has("interrupt-controller") {
        None
    } else if compatible.contains(&"arm,gic-v3") {
        Some(InterruptControllerKind::GicV3)
    } else if compatible.iter().any(|name| GIC_V2.contains(name)) {
        Some(InterruptControllerKind::GicV2)
    } else {
        None
    })
}

/// The interrupts of `node` that go to a GIC; of the others is noted why they are left out.
pub(super) fn interrupts(node: Node<'_>, notes: &mut Notes) -> Result<Vec<Interrupt>, TopologyError> {
    let names = node.strings("interrupt-names")?;
    let mut found = Vec::new();
    // Whether a controller is a GIC is asked once for each, however many interrupts go to it.
    let mut gics = BTreeMap::new();
    for Specifier { position, controller, cells } in specifiers(node)? {
        let is_gic = match gics.entry(controller.index()) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(unknown) => *unknown.insert(gic(controller)?.is_some()),
        };
        if !is_gic {
            notes.pass_over(
                node,
                format!("interrupt {position} goes to {}, which is not a GIC", controller.path()),
            );
            continue;
        }
        match decode(node, "interrupts", &cells)? {
            Ok((kind, number, trigger)) => {
                let name =
                    names.get(position).filter(|name| !name.is_empty()).map(|name| String::from(*name));
                found.push(Interrupt { name, kind, number, trigger });
            }
            Err(reason) => notes.pass_over(node, format!("interrupt {position}: {reason}")),
        }
    }
    Ok(found)
}

/// An interrupt of a node as the tree has it.
struct Specifier<'t> {
    /// Which one it is: entries that are left empty count, since names go by position.
    position: usize,
    /// The controller, or the nexus, that it is for.
    controller: Node<'t>,
    cells: Vec<u32>,
}

/// Every interrupt specifier of a node that is not left empty.
fn specifiers(node: Node<'_>) -> Result<Vec<Specifier<'_>>, TopologyError> {
    let mut specifiers = Vec::new();
    // The extended form takes precedence where a node has both.
    if let Some(cells) = node.cells("interrupts-extended")? {
        let property = "interrupts-extended";
        let mut rest = cells.as_slice();
        for position in 0.. {
            let Some((&phandle, after)) = rest.split_first() else { break };
            rest = after;
            if phandle == 0 {
                continue;
            }
            let controller = node.by_phandle(phandle).ok_or_else(|| {
                node.wrong(
                    property,
                    format!("phandle {phandle:#x}"),
                    "the phandle of an interrupt controller",
                )
            })?;
            let count = interrupt_cells(controller)?;
            let Some((cells, after)) = rest.split_at_checked(count) else {
                let expected = format!("{count} after the phandle of {}", controller.path());
                return Err(node.wrong(property, format!("{} cells", rest.len()), expected));
            };
            specifiers.push(Specifier { position, controller, cells: cells.to_vec() });
            rest = after;
        }
    } else if let Some(cells) = node.cells("interrupts")? {
        let controller = interrupt_parent(node)?;
        let count = interrupt_cells(controller)?;
        if count == 0 || !cells.len().is_multiple_of(count) {
            let expected = format!("a multiple of the {count} that {} asks for", controller.path());
            return Err(node.wrong("interrupts", format!("{} cells", cells.len()), expected));
        }
        let cells = cells.chunks_exact(count).map(<[u32]>::to_vec).enumerate();
        specifiers.extend(cells.map(|(position, cells)| Specifier { position, controller, cells }));
    }
    Ok(specifiers)
}

pub(super) fn interrupt_cells(controller: Node<'_>) -> Result<usize, TopologyError> {
    match controller.cell("#interrupt-cells")? {
        Some(count @ 0..=8) => Ok(count as usize),
        Some(count) => Err(controller.wrong("#interrupt-cells", count.to_string(), "8 at most")),
        None => {
            Err(controller.impossible("no #interrupt-cells", "them, as an interrupt is routed to this node"))
        }
    }
}

/// The nearest node up the interrupt tree that takes specifiers.
fn interrupt_parent(node: Node<'_>) -> Result<Node<'_>, TopologyError> {
    let mut at = node;
    for _ in 0..MAX_STEPS {
        let next = match at.cell("interrupt-parent")? {
            Some(phandle) => Some(at.by_phandle(phandle).ok_or_else(|| {
                at.wrong("interrupt-parent", format!("phandle {phandle:#x}"), "the phandle of a node")
            })?),
            None => at.parent(),
        };
        match next {
            Some(next) if next.has("#interrupt-cells") => return Ok(next),
            Some(next) => at = next,
            None => {
                return Err(node.wrong("interrupts", "no interrupt parent", "one here or on a node above"));
            }
        }
    }
    Err(node.wrong("interrupts", "interrupt parents in a circle", "a way to an interrupt controller"))
}

pub(super) type Decoded = Result<(InterruptKind, u32, Trigger), String>;

/// Reads a GIC's specifier in a property of `node`: kind, number within the kind, flags. The inner error is a kind that
/// is not modelled.
pub(super) fn decode(node: Node<'_>, property: &str, specifier: &[u32]) -> Result<Decoded, TopologyError> {
    let &[kind, number, flags, ..] = specifier else {
        return Err(node.wrong(property, format!("{} cells for a GIC", specifier.len()), "3 at least"));
    };
    let (kind, first, count) = match kind {
        0 => (InterruptKind::Shared, FIRST_SHARED, SHARED),
        1 => (InterruptKind::Private, FIRST_PRIVATE, PRIVATE),
        2 | 3 => return Ok(Err("the extended ranges of GICv3 are not modelled".into())),
        _ => {
            return Err(node.wrong(property, format!("interrupt type {kind}"), "0 (shared) or 1 (private)"));
        }
    };
    if number >= count {
        return Err(node.wrong(
            property,
            format!("interrupt {number} of type {kind:?}"),
            format!("0 to {}", count - 1),
        ));
    }
    // The upper bits of a private interrupt's flags are a mask of processors.
    let trigger = match flags & 0xf {
        0 => Trigger::Unspecified,
        1 => Trigger::EdgeRising,
        2 => Trigger::EdgeFalling,
        3 => Trigger::EdgeBoth,
        4 => Trigger::LevelHigh,
        8 => Trigger::LevelLow,
        other => {
            return Err(node.wrong(property, format!("trigger flags {other:#x}"), "0, 1, 2, 3, 4 or 8"));
        }
    };
    Ok(Ok((kind, first + number, trigger)))
}
