//! From the bytes of a device tree to a topology.

use super::addressing::{Registers, cell_counts, number, registers};
use super::blob::Blob;
use super::interrupts::gic;
use super::iommus::Iommus;
use super::masters::masters;
use super::memories::Memories;
use super::notes::{Names, Notes};
use super::tree::Node;
use super::{Attachment, Cpu, InterruptController, Iommu, Master, Memory, Topology, TopologyError};
use std::collections::BTreeMap;
use vcm::Span;

impl Topology {
    /// Reads a flattened device tree (DTB).
    ///
    /// What is not understood is passed over and listed in [`Topology::passed_over`]; what cannot be is an error.
    /// Any bytes are safe to give: reading takes bounded memory and no recursion. A blob may have 2 MiB at most, its
    /// tree 64 levels.
    ///
    /// # Errors
    /// [`TopologyError::Blob`] when the bytes are not a whole device tree, [`TopologyError::Node`] when a node that
    /// belongs to the topology contradicts its binding, itself or another node.
    pub fn from_device_tree(bytes: &[u8]) -> Result<Self, TopologyError> {
        let blob = Blob::read(bytes)?;
        let root = Node::root(&blob);
        let compatible = root.compatible()?;
        let name =
            root.string("model")?.or(compatible.first().map(String::as_str)).unwrap_or("unnamed").into();
        let (mut names, mut notes) = (Names::default(), Notes::default());

        let mut iommus = Iommus::read(&blob, &mut names, &mut notes)?;
        let (mut masters, master_nodes) = masters(&blob, &mut iommus, &mut names, &mut notes)?;
        let memories = Memories::read(&blob, &mut notes)?;
        reserve_windows(&blob, &memories, &mut masters, &master_nodes, &mut notes);
        check_apart(&iommus.list, &memories.list)?;
        Ok(Self {
            name,
            compatible,
            iommus: iommus.list,
            masters,
            memories: memories.list,
            cpus: cpus(root, &mut notes)?,
            interrupt_controllers: interrupt_controllers(&blob, &mut notes)?,
            passed_over: notes.finish(),
        })
    }

    /// The IOMMU with this name.
    pub fn iommu(&self, name: &str) -> Option<&Iommu> {
        self.iommus.iter().find(|iommu| iommu.name == name)
    }

    /// The bus master with this name.
    pub fn master(&self, name: &str) -> Option<&Master> {
        self.masters.iter().find(|master| master.name == name)
    }

    /// The memory with this name.
    pub fn memory(&self, name: &str) -> Option<&Memory> {
        self.memories.iter().find(|memory| memory.name == name)
    }
}

fn cpus(root: Node<'_>, notes: &mut Notes) -> Result<Vec<Cpu>, TopologyError> {
    let mut cpus = Vec::new();
    let Some(parent) = root.children().find(|node| node.name() == "cpus") else { return Ok(cpus) };
    let width = cell_counts(parent)?.address;
    for node in parent.children() {
        if node.strings("device_type")? != ["cpu"] || !notes.enabled(node)? {
            continue;
        }
        let id = match node.cells("reg")? {
            // Trees for single processors leave the id out.
            None => 0,
            // With several hardware threads the first one's id names the processor.
            Some(cells) => {
                number(cells.get(..width).filter(|id| (1..=2).contains(&id.len())).ok_or_else(|| {
                    node.wrong(
                        "reg",
                        format!("{} cells", cells.len()),
                        format!("an id of {width} cells, 1 or 2"),
                    )
                })?)
            }
        };
        let name = node.name().into();
        cpus.push(Cpu { name, path: node.path(), compatible: node.compatible()?, id });
    }
    Ok(cpus)
}

fn interrupt_controllers(
    blob: &Blob<'_>,
    notes: &mut Notes,
) -> Result<Vec<InterruptController>, TopologyError> {
    let mut controllers = Vec::new();
    for node in Node::all(blob) {
        let Some(kind) = gic(node)? else { continue };
        if !notes.enabled(node)? {
            continue;
        }
        let registers = match registers(node)? {
            Registers::Mapped(registers) => registers,
            Registers::NotMapped(reason) => {
                return Err(node.wrong("reg", reason, "the windows of its distributor and CPU interface"));
            }
        };
        let (name, compatible) = (node.name().into(), node.compatible()?);
        controllers.push(InterruptController { name, path: node.path(), compatible, kind, registers });
    }
    Ok(controllers)
}

/// Gives the reserved windows to the masters that they are for.
fn reserve_windows(
    blob: &Blob<'_>,
    memories: &Memories,
    masters: &mut [Master],
    master_nodes: &[usize],
    notes: &mut Notes,
) {
    let by_node: BTreeMap<_, _> = master_nodes.iter().zip(0..).collect();
    for (device, window) in &memories.windows {
        let master = by_node.get(device).and_then(|&index: &usize| masters.get_mut(index));
        match master {
            Some(master) if master.attachment != Attachment::Direct => master.reserved_windows.push(*window),
            _ => notes
                .pass_over(Node::at(blob, *device), "an IOVA window is reserved for it, but it has no IOVAs"),
        }
    }
}

/// Whether the windows of IOMMUs and the memories share no byte.
fn check_apart(iommus: &[Iommu], memories: &[Memory]) -> Result<(), TopologyError> {
    let windows = iommus.iter().map(|iommu| (Span::new(iommu.base.raw(), iommu.size), &iommu.path));
    let memories = memories.iter().map(|memory| (Span::new(memory.base.raw(), memory.size), &memory.path));
    let mut spans: Vec<_> = windows.chain(memories).filter_map(|(span, path)| Some((span?, path))).collect();
    spans.sort_by_key(|(span, _)| (span.first(), span.last()));
    for pair in spans.windows(2) {
        if let [(first, before), (second, path)] = pair
            && first.overlaps(*second)
        {
            return Err(TopologyError::Node {
                path: (*path).clone(),
                property: Some("reg".into()),
                found: format!("{second}, which overlaps {first} of {before}"),
                expected: "addresses of its own".into(),
            });
        }
    }
    Ok(())
}
