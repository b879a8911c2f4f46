//! Message-signalled interrupts: their controllers, and who sends to which.
//!
//! Sources: Linux Documentation/devicetree/bindings/interrupt-controller/msi.txt, arm,gic.yaml (GICv2m frames) and
//! arm,gic-v3.yaml (ITS).

use super::addressing::{Registers, registers};
use super::blob::Blob;
use super::notes::Notes;
use super::tree::Node;
use super::{PhysicalRange, TopologyError};
use std::collections::BTreeMap;

/// A controller of message-signalled interrupts.
#[derive(Debug, Clone, PartialEq)]
pub struct MsiController {
    /// The node's name.
    pub name: String,
    /// The node's path.
    pub path: String,
    /// The node's `compatible` strings, the most specific first.
    pub compatible: Vec<String>,
    /// Which programming model it has.
    pub kind: MsiControllerKind,
    /// Its register window, with the address that messages are written to.
    pub registers: PhysicalRange,
}

/// The programming model of a controller of message-signalled interrupts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MsiControllerKind {
    /// A frame that turns messages into shared interrupts of a GICv2: `arm,gic-v2m-frame`.
    GicV2m {
        /// The INTID of its first interrupt, where the tree overrules the frame (`arm,msi-base-spi`).
        first_interrupt: Option<u32>,
        /// How many it has, where the tree overrules the frame (`arm,msi-num-spis`).
        interrupts: Option<u32>,
    },
    /// The interrupt translation service of a GICv3: `arm,gic-v3-its`.
    GicV3Its,
}

/// Where a device's messages go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MsiParent {
    /// The index of the controller in [`Topology::msi_controllers`](super::Topology::msi_controllers).
    pub controller: usize,
    /// What the device is called there, where the tree says so.
    pub id: Option<u32>,
}

/// What `msi-parent` and `msi-map` can refer to.
#[derive(Default)]
pub(super) struct MsiControllers {
    pub(super) list: Vec<MsiController>,
    by_node: BTreeMap<usize, usize>,
}

impl MsiControllers {
    /// Every controller of the tree.
    pub(super) fn read(blob: &Blob<'_>, notes: &mut Notes) -> Result<Self, TopologyError> {
        let mut controllers = Self::default();
        for node in Node::all(blob) {
            let compatible = node.strings("compatible")?;
            let kind = if compatible.contains(&"arm,gic-v2m-frame") {
                MsiControllerKind::GicV2m {
                    first_interrupt: node.cell("arm,msi-base-spi")?,
                    interrupts: node.cell("arm,msi-num-spis")?,
                }
            } else if compatible.contains(&"arm,gic-v3-its") {
                MsiControllerKind::GicV3Its
            } else {
                if node.has("msi-controller") {
                    let kind = compatible.join(", ");
                    notes.pass_over(node, format!("an MSI controller of a kind that is not known: {kind}"));
                }
                continue;
            };
            if !notes.enabled(node)? {
                continue;
            }
            let registers = match registers(node)? {
                Registers::Mapped(ranges) => ranges.first().copied().ok_or("nothing".to_owned()),
                Registers::NotMapped(reason) => Err(reason),
            };
            let registers =
                registers.map_err(|found| node.wrong("reg", found, "the window of its registers"))?;
            let (name, compatible) = (node.name().into(), node.compatible()?);
            controllers.by_node.insert(node.index(), controllers.list.len());
            controllers.list.push(MsiController { name, path: node.path(), compatible, kind, registers });
        }
        Ok(controllers)
    }

    /// The index of the controller at a node; `None` when that is passed over, or no controller at all.
    pub(super) fn at(&self, node: Node<'_>) -> Option<usize> {
        self.by_node.get(&node.index()).copied()
    }

    /// The first controller of `msi-parent` that is understood; of the others is noted why they are left out.
    ///
    /// A reference to something else is no error: QEMU's RISC-V machines without an IMSIC name a processor there.
    pub(super) fn parent(
        &self,
        node: Node<'_>,
        notes: &mut Notes,
    ) -> Result<Option<MsiParent>, TopologyError> {
        let property = "msi-parent";
        let cells = node.cells(property)?.unwrap_or_default();
        let mut parent = None;
        let mut rest = cells.as_slice();
        while let Some((&phandle, after)) = rest.split_first() {
            let target = node.by_phandle(phandle).ok_or_else(|| {
                node.wrong(property, format!("phandle {phandle:#x}"), "the phandle of an MSI controller")
            })?;
            // A lone phandle is the old form, whatever the controller asks for.
            let count = if cells.len() == 1 { 0 } else { target.cell("#msi-cells")?.unwrap_or(0) };
            let split = usize::try_from(count).ok().and_then(|count| after.split_at_checked(count));
            let Some((id, after)) = split else {
                let expected = format!("{count} after the phandle of {}", target.path());
                return Err(node.wrong(property, format!("{} cells", after.len()), expected));
            };
            rest = after;
            match self.at(target) {
                Some(controller) if parent.is_none() => {
                    parent = Some(MsiParent { controller, id: id.first().copied() });
                }
                Some(_) => notes.pass_over(node, format!("a further MSI parent: {}", target.path())),
                None => {
                    let path = target.path();
                    notes.pass_over(
                        node,
                        format!("its MSI parent {path} is no MSI controller that is understood"),
                    );
                }
            }
        }
        Ok(parent)
    }
}
