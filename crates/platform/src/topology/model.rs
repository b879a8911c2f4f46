//! What a machine consists of, as plain data: addresses are physical unless their type or their name says otherwise,
//! every size is in bytes.

use super::{MsiController, MsiParent, PciHost};
use vcm::{Iova, PhysicalAddress, Span};

/// What a device tree says about a machine, as far as DMA and interrupts go.
#[derive(Debug, Clone, PartialEq)]
pub struct Topology {
    /// The machine's `model`; its first `compatible` where it has no model.
    pub name: String,
    /// The machine's `compatible` strings, the most specific first.
    pub compatible: Vec<String>,
    /// The IOMMUs, in the order of the tree. Names are unique.
    pub iommus: Vec<Iommu>,
    /// The bus masters, in the order of the tree. Names are unique. The functions of PCI buses are not among them:
    /// they are found on the bus.
    pub masters: Vec<Master>,
    /// The PCI hosts that are understood, in the order of the tree. Names are unique.
    pub pci_hosts: Vec<PciHost>,
    /// The memories, by rising address. They do not overlap.
    pub memories: Vec<Memory>,
    /// The processors, in the order of the tree.
    pub cpus: Vec<Cpu>,
    /// The interrupt controllers that are understood, in the order of the tree.
    pub interrupt_controllers: Vec<InterruptController>,
    /// The controllers of message-signalled interrupts that are understood, in the order of the tree.
    pub msi_controllers: Vec<MsiController>,
    /// What might have belonged here, and why it does not.
    pub passed_over: Vec<PassedOver>,
}

/// A non-empty run of physical addresses that ends at or before the last byte of the 64-bit space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PhysicalRange {
    /// The first byte.
    pub base: PhysicalAddress,
    /// The number of bytes, at least 1.
    pub size: u64,
}

impl PhysicalRange {
    /// The same bytes as a span; `None` for a range that someone built empty or past the end of the space.
    pub const fn span(self) -> Option<Span> {
        Span::new(self.base.raw(), self.size)
    }
}

/// An IOMMU: what kind it is, and where its programming interface is.
#[derive(Debug, Clone, PartialEq)]
pub struct Iommu {
    /// The `label` in the original MSM binding (`vcodec_a`), the node's name otherwise (`iommu@7a00000`).
    pub name: String,
    /// The node's path.
    pub path: String,
    /// The node's `compatible` strings, the most specific first.
    pub compatible: Vec<String>,
    /// Which programming model it has, with what only that model has.
    pub kind: IommuKind,
    /// Where its programming interface is.
    pub place: IommuPlace,
    /// Its own interrupts; those of a context of an MSM SMMU are in [`Context::interrupts`].
    pub interrupts: Vec<Interrupt>,
    /// Where the messages that it signals its own interrupts with go, as far as that is understood (`msi-parent`).
    pub msi_parent: Option<MsiParent>,
    /// Whether table walks see what is in the CPUs' caches (`dma-coherent` on the IOMMU's node or on one above).
    pub coherent_walk: bool,
}

impl Iommu {
    /// What only an MSM SMMU has; `None` for another kind.
    pub const fn msm(&self) -> Option<&MsmSmmu> {
        match &self.kind {
            IommuKind::MsmV0(smmu) => Some(smmu),
            _ => None,
        }
    }

    /// As [`msm`](Self::msm), to change it.
    pub const fn msm_mut(&mut self) -> Option<&mut MsmSmmu> {
        match &mut self.kind {
            IommuKind::MsmV0(smmu) => Some(smmu),
            _ => None,
        }
    }

    /// Its register window; `None` for a PCI function, whose registers are where its BARs say.
    pub const fn registers(&self) -> Option<PhysicalRange> {
        match self.place {
            IommuPlace::Registers(range) => Some(range),
            IommuPlace::Pci { .. } => None,
        }
    }
}

/// The programming model of an IOMMU.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum IommuKind {
    /// Qualcomm's MSM SMMU, "version 0": `qcom,msm-smmu-v0` and `qcom,apq8064-iommu`.
    MsmV0(MsmSmmu),
    /// Arm's SMMU, architecture version 3: `arm,smmu-v3`.
    ArmSmmuV3,
    /// The RISC-V IOMMU as a device of the SoC: `riscv,iommu`.
    RiscvIommu,
    /// The RISC-V IOMMU as a PCI function: `riscv,pci-iommu`.
    RiscvPciIommu,
    /// The virtio-iommu as a PCI function: `virtio,pci-iommu`, `pci1af4,1057`.
    VirtioPciIommu,
    /// The virtio-iommu behind virtio's own registers: `virtio,mmio` with `#iommu-cells`.
    VirtioMmioIommu,
}

impl IommuKind {
    /// The highest stream id that it can tell from others.
    ///
    /// Sources: the MSM SMMU's register IDR.NM2VCBMT has 9 bits and holds the number of streams less one; Arm IHI 0070,
    /// SMMU_IDR1.SIDSIZE, is 32 at most; a device id has up to 24 bits (RISC-V IOMMU Architecture, "Data Structures");
    /// an endpoint has 32 (virtio 1.2, 5.13 "IOMMU Device").
    pub const fn last_stream(&self) -> u32 {
        match self {
            Self::MsmV0(_) => super::msm::LAST_STREAM,
            Self::RiscvIommu | Self::RiscvPciIommu => 0xff_ffff,
            Self::ArmSmmuV3 | Self::VirtioPciIommu | Self::VirtioMmioIommu => u32::MAX,
        }
    }
}

/// Where the programming interface of an IOMMU is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IommuPlace {
    /// At physical addresses.
    Registers(PhysicalRange),
    /// In a function of a PCI bus, whose BARs say where its registers are.
    Pci {
        /// The index of the host in [`Topology::pci_hosts`].
        host: usize,
        /// Bus, device and function in the form of a requester id.
        function: u16,
    },
}

/// What only Qualcomm's MSM SMMU has.
#[derive(Debug, Clone, PartialEq)]
pub struct MsmSmmu {
    /// Where the page of global registers begins, in bytes from the window's base: 0xff000 in a window of 1 MiB.
    pub global_offset: u64,
    /// How many hardware slots for translation contexts it has, 1 to 256.
    pub context_banks: u32,
    /// The named contexts of the original binding; none in mainline's, where masters share the banks at run time.
    pub contexts: Vec<Context>,
    /// How many translations its TLB holds, where the tree says so (`vcm,tlb-entries`), 1 to 256.
    pub tlb_entries: Option<u32>,
}

/// A named translation context of an IOMMU, the device that the original driver handed out.
#[derive(Debug, Clone, PartialEq)]
pub struct Context {
    /// Its `label`, unique in the machine: `vcodec_a_mm1`.
    pub name: String,
    /// The node's path.
    pub path: String,
    /// The context bank that belongs to it; `None` where the tree fixes none, and any free one will do.
    pub number: Option<u32>,
    /// The ids of the bus masters that it translates (Qualcomm: MID, machine id), 0 to 511, in the tree's order.
    pub stream_ids: Vec<u32>,
    /// What it raises on a fault.
    pub interrupts: Vec<Interrupt>,
}

/// Something that reads and writes memory on its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Master {
    /// What the mapping graph calls the device: the context's name in the original binding, the node's name otherwise
    /// (or its `label`, for a direct master that has one).
    pub name: String,
    /// The node's path.
    pub path: String,
    /// The node's `compatible` strings, the most specific first; none for a context.
    pub compatible: Vec<String>,
    /// Its register windows; none for a context, whose master the original binding does not describe.
    pub registers: Vec<PhysicalRange>,
    /// How its transactions reach memory.
    pub attachment: Attachment,
    /// Its interrupts. Those of a context are the IOMMU's, not the master's, and not here.
    pub interrupts: Vec<Interrupt>,
    /// Windows of its IOVA space that nothing else may use (`iommu-addresses`).
    pub reserved_windows: Vec<ReservedWindow>,
}

impl Master {
    /// The streams of a translated master, and none for a direct one.
    pub fn streams(&self) -> &[Stream] {
        match &self.attachment {
            Attachment::Translated(streams) => streams,
            Attachment::Direct => &[],
        }
    }
}

/// How a master's transactions reach memory.
#[derive(Debug, Clone, PartialEq)]
pub enum Attachment {
    /// Through IOMMUs: at least one stream.
    Translated(Vec<Stream>),
    /// As they are: the master emits physical addresses.
    Direct,
}

/// One kind of transaction of a master, as an IOMMU tells it from others.
#[derive(Debug, Clone, PartialEq)]
pub struct Stream {
    /// The index of the IOMMU in [`Topology::iommus`].
    pub iommu: usize,
    /// The name of the context that translates it, where the tree fixes one.
    pub context: Option<String>,
    /// The stream's id at that IOMMU, at most its [`IommuKind::last_stream`] (Qualcomm: MID; RISC-V: device id; virtio:
    /// endpoint).
    pub id: u32,
}

/// A window of a master's IOVA space that is spoken for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReservedWindow {
    /// Its first address.
    pub base: Iova,
    /// Its size in bytes, at least 1.
    pub size: u64,
    /// The memory that the firmware expects to be mapped there; `None` for a mere hole.
    pub memory: Option<PhysicalRange>,
}

/// A memory that buffers can come from.
#[derive(Debug, Clone, PartialEq)]
pub struct Memory {
    /// Its `label`, else the node's name; `name.1` and so on for the further ranges of one node.
    pub name: String,
    /// The node's path.
    pub path: String,
    /// Where on the machine it is.
    pub kind: MemoryKind,
    /// The first byte.
    pub base: PhysicalAddress,
    /// Its size in bytes.
    pub size: u64,
    /// What of it is somebody else's, by rising address, possibly overlapping.
    pub reserved: Vec<Reserved>,
    /// What is left for pools: the memory without what is reserved, by rising address.
    pub usable: Vec<PhysicalRange>,
}

/// Where on the machine a memory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MemoryKind {
    /// Main memory: a node with `device_type = "memory"`.
    Main,
    /// Memory in the SoC's package, faster than main memory: `compatible = "vcm,on-package-memory"`.
    OnPackage,
    /// Memory on the SoC's die: `compatible = "mmio-sram"`.
    OnChip,
}

/// A part of a memory that pools must leave alone.
#[derive(Debug, Clone, PartialEq)]
pub struct Reserved {
    /// The name of the node that reserves it; `memreserve` for an entry of the blob's own list.
    pub name: String,
    /// What it covers of the memory.
    pub range: PhysicalRange,
}

/// A processor.
#[derive(Debug, Clone, PartialEq)]
pub struct Cpu {
    /// The node's name.
    pub name: String,
    /// The node's path.
    pub path: String,
    /// The node's `compatible` strings, the most specific first.
    pub compatible: Vec<String>,
    /// Its hardware id (`reg`; on Arm the affinity fields of MPIDR); 0 where the tree gives none.
    pub id: u64,
}

/// An interrupt controller.
#[derive(Debug, Clone, PartialEq)]
pub struct InterruptController {
    /// The node's name.
    pub name: String,
    /// The node's path.
    pub path: String,
    /// The node's `compatible` strings, the most specific first.
    pub compatible: Vec<String>,
    /// Which programming model it has.
    pub kind: InterruptControllerKind,
    /// Its register windows: for a GICv2 the distributor, then the CPU interface, then what virtualization adds.
    pub registers: Vec<PhysicalRange>,
}

/// The programming model of an interrupt controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum InterruptControllerKind {
    /// Arm's Generic Interrupt Controller, architecture versions 1 and 2 (Qualcomm's QGIC among them).
    GicV2,
    /// Arm's Generic Interrupt Controller, architecture version 3 and later.
    GicV3,
}

/// An interrupt of the machine's GIC.
#[derive(Debug, Clone, PartialEq)]
pub struct Interrupt {
    /// Its entry in `interrupt-names`, where there is one.
    pub name: Option<String>,
    /// Whom it reaches.
    pub kind: InterruptKind,
    /// Its INTID: 16 to 31 for a private one, 32 to 1019 for a shared one.
    pub number: u32,
    /// What its line does when it is raised.
    pub trigger: Trigger,
}

/// Whom an interrupt reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InterruptKind {
    /// Any processor (SPI).
    Shared,
    /// The one processor whose line it is (PPI).
    Private,
}

/// What an interrupt's line does when it is raised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trigger {
    /// The tree does not say (flags 0, as old trees have it).
    Unspecified,
    /// It goes high once.
    EdgeRising,
    /// It goes low once.
    EdgeFalling,
    /// It changes.
    EdgeBoth,
    /// It stays high.
    LevelHigh,
    /// It stays low.
    LevelLow,
}

/// Something in the tree that is left out of the topology.
#[derive(Debug, Clone, PartialEq)]
pub struct PassedOver {
    /// The node's path.
    pub path: String,
    /// Why.
    pub reason: String,
}
