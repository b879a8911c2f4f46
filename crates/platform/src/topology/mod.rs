//! Topology: the IOMMUs, bus masters, memories and processors of a machine, read from a device tree.
//!
//! ```
//! use vcm_platform::topology::{Topology, shipped};
//!
//! let machine = Topology::from_device_tree(shipped("msm8x60").unwrap())?;
//! let decoder = machine.master("vcodec_a_mm1").unwrap();
//! let iommu = &machine.iommus[decoder.streams()[0].iommu];
//! assert_eq!(iommu.name, "vcodec_a");
//! assert_eq!(iommu.base.raw(), 0x07a0_0000);
//! print!("{machine}");
//! # Ok::<(), vcm_platform::topology::TopologyError>(())
//! ```
//!
//! Two bindings for the MSM SMMU are understood, mainline Linux's and the original one with named contexts; `iommus.rs`
//! describes them. Device trees from elsewhere load as well: what is not understood is passed over and listed.
//!
//! This project adds four things of its own to what Linux's bindings define, all optional:
//!
//! | where | what | meaning |
//! |---|---|---|
//! | any device's node | `vcm,direct-master` | it masters the bus, without an IOMMU |
//! | an IOMMU's node | `vcm,tlb-entries = <n>` | its TLB holds n translations, 1 to 256 |
//! | an original IOMMU's node | `qcom,ncb = <n>` | it has n context banks, even if fewer contexts, or more without `reg` |
//! | a node | `compatible = "vcm,on-package-memory"` | memory in the SoC's package: `reg`, and `label` for its name |

mod addressing;
mod blob;
mod error;
mod interrupts;
mod iommus;
#[cfg(feature = "serde")]
mod json;
mod masters;
mod memories;
mod model;
mod notes;
mod read;
mod shipped;
mod text;
mod tree;

pub use error::TopologyError;
pub use model::{
    Attachment, Context, Cpu, Interrupt, InterruptController, InterruptControllerKind, InterruptKind, Iommu,
    IommuKind, Master, Memory, MemoryKind, PassedOver, PhysicalRange, Reserved, ReservedWindow, Stream,
    Topology, Trigger,
};
pub use shipped::{shipped, shipped_names};
