//! Topology: the IOMMUs, bus masters, memories and processors of a machine, read from a device tree.
//!
//! ```
//! use vcm_platform::topology::{Topology, shipped};
//!
//! let machine = Topology::from_device_tree(shipped("msm8x60").unwrap())?;
//! let decoder = machine.master("vcodec_a_mm1").unwrap();
//! let iommu = &machine.iommus[decoder.streams()[0].iommu];
//! assert_eq!(iommu.name, "vcodec_a");
//! assert_eq!(iommu.registers().unwrap().base.raw(), 0x07a0_0000);
//! print!("{machine}");
//! # Ok::<(), vcm_platform::topology::TopologyError>(())
//! ```
//!
//! Four kinds of IOMMU are understood: the MSM SMMU (mainline Linux's binding and the original one with named
//! contexts), Arm's SMMUv3, the RISC-V IOMMU and the virtio-iommu, these two as devices of the SoC and as PCI functions;
//! and PCI hosts with their `iommu-map`. Device trees from elsewhere load as well: what is not understood is passed over
//! and listed.
//!
//! This project adds four things of its own to what Linux's bindings define, all optional:
//!
//! | where | what | meaning |
//! |---|---|---|
//! | any device's node | `vcm,direct-master` | it masters the bus, without an IOMMU |
//! | an MSM SMMU's node | `vcm,tlb-entries = <n>` | its TLB holds n translations, 1 to 256 |
//! | an original MSM SMMU's node | `qcom,ncb = <n>` | it has n context banks, even if fewer contexts, or more without `reg` |
//! | a node | `compatible = "vcm,on-package-memory"` | memory in the SoC's package: `reg`, and `label` for its name |

mod addressing;
mod blob;
mod error;
mod hosts;
mod interrupt_map;
mod interrupts;
mod iommus;
#[cfg(feature = "serde")]
mod json;
#[cfg(feature = "serde")]
mod json_pci;
mod masters;
mod memories;
mod messages;
mod model;
mod msm;
mod notes;
mod pci;
mod read;
mod shipped;
mod text;
mod text_pci;
mod tree;

pub use error::TopologyError;
pub use messages::{MsiController, MsiControllerKind, MsiParent};
pub use model::{
    Attachment, Context, Cpu, Interrupt, InterruptController, InterruptControllerKind, InterruptKind, Iommu,
    IommuKind, IommuPlace, Master, Memory, MemoryKind, MsmSmmu, PassedOver, PhysicalRange, Reserved,
    ReservedWindow, Stream, Topology, Trigger,
};
pub use pci::{PciHost, PciInterrupt, PciPin, PciSpace, PciWindow, RequesterMap, RequesterRange};
pub use shipped::{qemu_tree, qemu_tree_names, shipped, shipped_names};
