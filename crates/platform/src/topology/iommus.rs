//! IOMMUs, of every kind that is understood.
//!
//! | `compatible` | binding in Linux's Documentation/devicetree/bindings |
//! |---|---|
//! | `qcom,apq8064-iommu`, `qcom,msm-smmu-v0` | see `msm.rs` |
//! | `arm,smmu-v3` | iommu/arm,smmu-v3.yaml |
//! | `riscv,iommu`, `riscv,pci-iommu` | iommu/riscv,iommu.yaml |
//! | `virtio,pci-iommu`, `pci1af4,1057` | virtio/pci-iommu.yaml |
//! | `virtio,mmio` with `#iommu-cells` | virtio/mmio.yaml |
//!
//! All have `#iommu-cells = <1>`, the id of a stream. Those on a PCI bus are children of its host, and their `reg` is
//! their function, not a window.

use super::addressing::{Registers, registers};
use super::blob::Blob;
use super::hosts::{Hosts, OnBus};
use super::interrupts::interrupts;
use super::messages::MsiControllers;
use super::notes::{Names, Notes};
use super::tree::Node;
use super::{Iommu, IommuKind, IommuPlace, PhysicalRange, TopologyError, msm};
use std::collections::{BTreeMap, BTreeSet};

/// A binding that is understood.
enum Binding {
    MsmMainline,
    MsmOriginal,
    /// `reg` is the window of registers, and the binding adds nothing to what all have.
    Device(IommuKind),
    /// `reg` is a function of a PCI bus.
    Function(IommuKind),
}

/// The bindings by what a node is compatible with.
static BINDINGS: [(&str, Binding); 8] = [
    ("qcom,apq8064-iommu", Binding::MsmMainline),
    ("qcom,msm-smmu-v0", Binding::MsmOriginal),
    ("arm,smmu-v3", Binding::Device(IommuKind::ArmSmmuV3)),
    ("riscv,pci-iommu", Binding::Function(IommuKind::RiscvPciIommu)),
    ("riscv,iommu", Binding::Device(IommuKind::RiscvIommu)),
    ("virtio,pci-iommu", Binding::Function(IommuKind::VirtioPciIommu)),
    ("pci1af4,1057", Binding::Function(IommuKind::VirtioPciIommu)),
    ("virtio,mmio", Binding::Device(IommuKind::VirtioMmioIommu)),
];

/// What `iommus` and `iommu-map` can refer to.
#[derive(Default)]
pub(super) struct Iommus {
    pub(super) list: Vec<Iommu>,
    /// The index in `list` by the index of the node; `None` for an IOMMU that is passed over.
    by_node: BTreeMap<usize, Option<usize>>,
    /// The index of the IOMMU and the stream ids on it that have a master.
    taken: BTreeSet<(usize, u32)>,
    /// The nodes of the contexts of MSM SMMUs, as `list` orders them.
    pub(super) context_nodes: Vec<usize>,
}

/// What the reading of an IOMMU needs to know of the rest of the tree.
pub(super) struct Surroundings<'a> {
    pub(super) hosts: &'a Hosts,
    pub(super) controllers: &'a MsiControllers,
    /// The names of devices of the graph, which contexts of the original MSM binding are.
    pub(super) names: &'a mut Names,
    pub(super) notes: &'a mut Notes,
}

impl Iommus {
    /// Every IOMMU of the tree.
    pub(super) fn read(blob: &Blob<'_>, mut around: Surroundings<'_>) -> Result<Self, TopologyError> {
        let mut iommus = Self::default();
        // IOMMUs are not devices of the graph: their names are apart from the masters' and contexts'.
        let mut own_names = Names::default();
        for node in Node::all(blob) {
            let compatible = node.strings("compatible")?;
            let refers = node.has("#iommu-cells");
            let mut known = BINDINGS.iter().filter(|(name, _)| compatible.contains(name));
            // Virtio's registers lead to devices of every kind, and the tree says of IOMMUs only that they are one.
            let binding = known.find(|(_, binding)| {
                refers || !matches!(binding, Binding::Device(IommuKind::VirtioMmioIommu))
            });
            let index = match binding {
                None if !refers => continue,
                None => {
                    let kind = compatible.join(", ");
                    around.notes.pass_over(node, format!("an IOMMU of a kind that is not known: {kind}"));
                    None
                }
                Some(_) if !around.notes.enabled(node)? => None,
                Some((_, binding)) => {
                    let iommu = iommus.iommu(node, binding, &mut own_names, &mut around)?;
                    iommu.map(|iommu| {
                        iommus.list.push(iommu);
                        iommus.list.len() - 1
                    })
                }
            };
            iommus.by_node.insert(node.index(), index);
        }
        Ok(iommus)
    }

    /// What a master's reference leads to: the IOMMU's index, or `None` when that IOMMU is passed over.
    pub(super) fn referred(&self, iommu: Node<'_>) -> Option<Option<usize>> {
        self.by_node.get(&iommu.index()).copied()
    }

    /// Gives stream `id` of an IOMMU, whose last one is `last`, to whom `node` describes, which says so in `property`.
    pub(super) fn take_stream(
        &mut self,
        node: Node<'_>,
        property: &str,
        (iommu, last): (usize, u32),
        id: u32,
    ) -> Result<(), TopologyError> {
        if id > last {
            return Err(node.wrong(property, format!("stream id {id}"), format!("0 to {last}")));
        }
        if !self.taken.insert((iommu, id)) {
            return Err(node.wrong(
                property,
                format!("stream id {id}, which is taken"),
                "each stream once at an IOMMU",
            ));
        }
        Ok(())
    }

    /// The IOMMU at a node, or `None` with a note when it cannot be reached.
    fn iommu(
        &mut self,
        node: Node<'_>,
        binding: &Binding,
        own_names: &mut Names,
        around: &mut Surroundings<'_>,
    ) -> Result<Option<Iommu>, TopologyError> {
        let name = match binding {
            Binding::MsmOriginal => own_names.label(node)?,
            _ => own_names.node_name(node),
        };
        let (kind, place) = match binding {
            Binding::Function(kind) => match around.hosts.function(node)? {
                OnBus::Function(host, function) => (kind.clone(), IommuPlace::Pci { host, function }),
                OnBus::Nowhere(reason) => {
                    around.notes.pass_over(node, reason);
                    return Ok(None);
                }
            },
            Binding::Device(kind) => (kind.clone(), IommuPlace::Registers(window(node)?)),
            Binding::MsmOriginal => {
                let window = window(node)?;
                let smmu = msm::original(self, node, window, around.names, around.notes)?;
                (IommuKind::MsmV0(smmu), IommuPlace::Registers(window))
            }
            Binding::MsmMainline => {
                let window = window(node)?;
                (IommuKind::MsmV0(msm::mainline(node, window)?), IommuPlace::Registers(window))
            }
        };
        if let Some(cells) = node.cell("#iommu-cells")?.filter(|&cells| cells != 1)
            && !matches!(binding, Binding::MsmOriginal)
        {
            return Err(node.wrong("#iommu-cells", cells.to_string(), "1: the stream id"));
        }
        Ok(Some(Iommu {
            name,
            path: node.path(),
            compatible: node.compatible()?,
            kind,
            place,
            interrupts: interrupts(node, around.notes)?,
            msi_parent: around.controllers.parent(node, around.notes)?,
            coherent_walk: node.dma_coherent(),
        }))
    }
}

/// The window of an IOMMU's registers.
fn window(node: Node<'_>) -> Result<PhysicalRange, TopologyError> {
    let window = match registers(node)? {
        Registers::Mapped(ranges) => ranges.first().copied(),
        Registers::NotMapped(reason) => {
            return Err(node.wrong("reg", reason, "a window of physical addresses"));
        }
    };
    window.ok_or_else(|| node.wrong("reg", "nothing", "the window of its registers"))
}
