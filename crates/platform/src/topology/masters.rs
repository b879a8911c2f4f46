//! Bus masters: who reads and writes memory on its own.
//!
//! - A context of the original binding is a master by its own name, when it translates any streams.
//! - A node with `iommus` is a translated master (Linux Documentation/devicetree/bindings/iommu/iommu.txt).
//! - A node with `iommu-map` is a bus. That of a PCI host is read with the host; others are passed over.
//! - A node without is a direct one when it has `vcm,direct-master` (an empty property of this project), or is a DMA
//!   controller (`#dma-cells`, Linux Documentation/devicetree/bindings/dma/dma-controller.yaml): those move data for
//!   others, and without an IOMMU they do it with physical addresses. A DMA router (`dma-masters`) moves nothing. One
//!   on a PCI bus behind an IOMMU is passed over: like every function it is found on the bus.

use super::addressing::{Registers, registers};
use super::blob::Blob;
use super::hosts::Hosts;
use super::interrupts::interrupts;
use super::iommus::Iommus;
use super::notes::{Names, Notes};
use super::tree::Node;
use super::{Attachment, Master, Stream, TopologyError};

/// Every bus master, and the index of the node of each.
pub(super) fn masters(
    blob: &Blob<'_>,
    iommus: &mut Iommus,
    hosts: &Hosts,
    names: &mut Names,
    notes: &mut Notes,
) -> Result<(Vec<Master>, Vec<usize>), TopologyError> {
    let (mut masters, mut nodes) = (Vec::new(), Vec::new());
    let contexts = iommus
        .list
        .iter()
        .enumerate()
        .filter_map(|(index, iommu)| Some((index, iommu.msm()?)))
        .flat_map(|(index, smmu)| smmu.contexts.iter().map(move |context| (index, context)));
    for ((iommu, context), &node) in contexts.zip(&iommus.context_nodes) {
        if context.stream_ids.is_empty() {
            continue;
        }
        let stream = |&id: &u32| Stream { iommu, context: Some(context.name.clone()), id };
        masters.push(Master {
            name: context.name.clone(),
            path: context.path.clone(),
            compatible: Vec::new(),
            registers: Vec::new(),
            attachment: Attachment::Translated(context.stream_ids.iter().map(stream).collect()),
            interrupts: Vec::new(),
            reserved_windows: Vec::new(),
        });
        nodes.push(node);
    }
    for node in Node::all(blob) {
        let direct = node.has("vcm,direct-master");
        let translated = node.has("iommus");
        let dma_controller = node.has("#dma-cells") && !node.has("dma-masters");
        if hosts.has(node) {
            continue;
        }
        if node.has("iommu-map") {
            notes
                .pass_over(node, "a bus whose streams follow from requester ids (iommu-map) is not modelled");
            continue;
        }
        if direct && translated {
            return Err(node.wrong("vcm,direct-master", "iommus as well", "one of the two"));
        }
        if !(direct || translated || dma_controller) || !notes.enabled(node)? {
            continue;
        }
        if !(direct || translated) && hosts.translates(node) {
            notes.pass_over(node, "a function of a PCI bus, whose stream follows from its requester id");
            continue;
        }
        let (name, attachment) = if translated {
            let streams = streams(node, iommus, notes)?;
            if streams.is_empty() {
                continue;
            }
            (names.node_name(node), Attachment::Translated(streams))
        } else if direct {
            (names.label(node)?, Attachment::Direct)
        } else {
            (names.node_name(node), Attachment::Direct)
        };
        let registers = match registers(node)? {
            Registers::Mapped(registers) => registers,
            Registers::NotMapped(reason) => {
                notes.pass_over(node, format!("its registers: {reason}"));
                Vec::new()
            }
        };
        masters.push(Master {
            name,
            path: node.path(),
            compatible: node.compatible()?,
            registers,
            attachment,
            interrupts: interrupts(node, notes)?,
            reserved_windows: Vec::new(),
        });
        nodes.push(node.index());
    }
    Ok((masters, nodes))
}

/// The streams that a node's `iommus` lists, at IOMMUs that are not passed over.
fn streams(node: Node<'_>, iommus: &mut Iommus, notes: &mut Notes) -> Result<Vec<Stream>, TopologyError> {
    let cells = node.cells("iommus")?.unwrap_or_default();
    if cells.is_empty() {
        return Err(node.wrong("iommus", "nothing", "an IOMMU's phandle and its cells"));
    }
    let mut streams = Vec::new();
    let mut noted = None;
    let mut rest = cells.as_slice();
    while let Some((&phandle, after)) = rest.split_first() {
        let target = node.by_phandle(phandle);
        let target = target.ok_or_else(|| {
            node.wrong("iommus", format!("phandle {phandle:#x}"), "the phandle of an IOMMU")
        })?;
        let Some(iommu) = iommus.referred(target) else {
            return Err(node.wrong(
                "iommus",
                format!("{}, which is not an IOMMU", target.path()),
                "an IOMMU",
            ));
        };
        let count = target.cell("#iommu-cells")?.ok_or_else(|| {
            node.wrong(
                "iommus",
                format!("{}, which has no #iommu-cells", target.path()),
                "an IOMMU that can be referred to",
            )
        })?;
        let Some((specifier, after)) =
            usize::try_from(count).ok().and_then(|count| after.split_at_checked(count))
        else {
            let expected = format!("{count} after the phandle of {}", target.path());
            return Err(node.wrong("iommus", format!("{} cells", after.len()), expected));
        };
        rest = after;
        match (iommu, specifier) {
            (Some(iommu), &[id]) => {
                let last = iommus.list.get(iommu).map_or(0, |iommu| iommu.kind.last_stream());
                iommus.take_stream(node, "iommus", (iommu, last), id)?;
                streams.push(Stream { iommu, context: None, id });
            }
            (Some(_), _) => {
                return Err(node.wrong("iommus", format!("{count} cells for a stream"), "one: its id"));
            }
            (None, _) if noted == Some(phandle) => {}
            (None, _) => {
                notes.pass_over(node, format!("it is behind {}, which is passed over", target.path()));
                noted = Some(phandle);
            }
        }
    }
    Ok(streams)
}
