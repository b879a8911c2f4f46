//! From the bytes of a device tree to a topology.

use super::addressing::{Registers, cell_counts, number, registers};
use super::blob::Blob;
use super::hosts::Hosts;
use super::interrupts::gic;
use super::iommus::{Iommus, Surroundings};
use super::masters::masters;
use super::memories::Memories;
use super::messages::MsiControllers;
use super::notes::{Names, Notes};
use super::tree::Node;
use super::{Attachment, Cpu, InterruptController, Iommu, Master, Memory, PciHost, Topology, TopologyError};
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

        let controllers = MsiControllers::read(&blob, &mut notes)?;
        let mut hosts = Hosts::read(&blob, &controllers, &mut notes)?;
        let around =
            Surroundings { hosts: &hosts, controllers: &controllers, names: &mut names, notes: &mut notes };
        let mut iommus = Iommus::read(&blob, around)?;
        hosts.connect(&blob, &iommus, &mut notes)?;
        let (mut masters, master_nodes) = masters(&blob, &mut iommus, &hosts, &mut names, &mut notes)?;
        let memories = Memories::read(&blob, &mut notes)?;
        reserve_windows(&blob, &memories, &mut masters, &master_nodes, &mut notes);
        check_apart(&iommus.list, &hosts.list, &memories.list)?;
        Ok(Self {
            name,
            compatible,
            iommus: iommus.list,
            masters,
            pci_hosts: hosts.list,
            memories: memories.list,
            cpus: cpus(root, &mut notes)?,
            interrupt_controllers: interrupt_controllers(&blob, &mut notes)?,
            msi_controllers: controllers.list,
            passed_over: notes.finish(),
        })
    }

    /// The IOMMU with this name.
    pub fn iommu(&self, name: &str) -> Option<&Iommu> {
        self.iommus.iter().find(|iommu| iommu.name == name)
    }

    /// The PCI host with this name.
    pub fn pci_host(&self, name: &str) -> Option<&PciHost> {
        self.pci_hosts.iter().find(|host| host.name == name)
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
        let Some(kind) = gic(node)? else {
            // One that takes messages is noted with those.
            if !node.has("msi-controller") && is_riscv_controller(node)? {
                let kind = node.strings("compatible")?.join(", ");
                notes.pass_over(node, format!("an interrupt controller of a kind that is not known: {kind}"));
            }
            continue;
        };
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

/// Whether a node is an interrupt controller of RISC-V machines (Linux Documentation/devicetree/bindings/
/// interrupt-controller/riscv,cpu-intc.yaml, sifive,plic-1.0.0.yaml, riscv,aplic.yaml).
fn is_riscv_controller(node: Node<'_>) -> Result<bool, TopologyError> {
    let known = ["riscv,cpu-intc", "sifive,plic-1.0.0", "riscv,plic0", "thead,c900-plic", "riscv,aplic"];
    let compatible = node.strings("compatible")?;
    Ok(node.has("interrupt-controller") && compatible.iter().any(|name| known.contains(name)))
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

/// Whether the windows of IOMMUs and PCI hosts and the memories share no byte.
fn check_apart(iommus: &[Iommu], hosts: &[PciHost], memories: &[Memory]) -> Result<(), TopologyError> {
    let iommus = iommus.iter().filter_map(|iommu| Some((iommu.registers()?.span(), &iommu.path)));
    let hosts = hosts.iter().map(|host| (host.ecam.span(), &host.path));
    let memories = memories.iter().map(|memory| (Span::new(memory.base.raw(), memory.size), &memory.path));
    let all = iommus.chain(hosts).chain(memories);
    let mut spans: Vec<_> = all.filter_map(|(span, path)| Some((span?, path))).collect();
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
