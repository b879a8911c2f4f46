//! IOMMU drivers. They reach the hardware through [`Registers`] and [`SharedMemory`] and nothing else, and need no
//! operating system. [`Iommu`] is what all of them offer, and [`AddressSpace`] a region's address space over any of them: its
//! example shows the whole way from a driver to a mapping. This one shows a driver by itself:
//!
//! ```
//! use std::collections::BTreeMap;
//! use vcm::PhysicalAddress;
//! use vcm_iommu::Registers;
//! use vcm_iommu::msm::{Config, Invalidation, MasterId, Smmu, TableRoots, spec};
//!
//! /// Remembers what is written; every translation that is asked for faults.
//! struct Toy(BTreeMap<u32, u32>);
//!
//! impl Registers for Toy {
//!     fn read(&mut self, offset: u32) -> u32 {
//!         self.0.get(&offset).copied().unwrap_or(0)
//!     }
//!     fn write(&mut self, offset: u32, value: u32) {
//!         self.0.insert(offset, value);
//!         if offset == spec::context_register(0, spec::V2PPR) {
//!             self.0.insert(spec::context_register(0, spec::PAR), 3);
//!         }
//!     }
//! }
//!
//! // Two context banks, 16 masters.
//! let idr = spec::Idr::new().with_ncb(1).with_nm2vcbmt(15).into_bits();
//! let mut smmu = Smmu::probe(Toy(BTreeMap::from([(spec::IDR, idr)])), Config::new("jpegd"))?;
//!
//! let source = smmu.create_context(&[MasterId(0)])?;
//! smmu.activate(source, TableRoots::whole(PhysicalAddress::new(0x8000_4000)))?;
//! smmu.hold(source)?; // Before the device is started ...
//! smmu.release(source); // ... and after it has finished.
//!
//! // Entries of the table were changed:
//! smmu.invalidate(source, &Invalidation::Everything)?;
//! // Only now may memory that was mapped before be given to another use.
//!
//! smmu.deactivate(source)?;
//! println!("{}", smmu.describe());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Each driver has a module of its own, with the layouts of its registers and descriptors as data in `spec`:
//!
//! | module | IOMMU | translates by |
//! |---|---|---|
//! | [`amdvi`] | AMD-Vi | its own tables, version 1 |
//! | [`msm`] | Qualcomm MSM SMMU | `ARMv7` short descriptor |
//! | [`riscv`] | RISC-V IOMMU | Sv39, Sv48, Sv57, their x4 second stages, and one of each |
//! | [`smmuv3`] | Arm `SMMUv3` | `AArch64` stage 1, stage 2, and one after the other |
//! | [`virtio`] | virtio-iommu | requests: [`Iommu::map`] and [`Iommu::unmap`] |
//! | [`vtd`] | Intel VT-d | VT-d second stage, VT-d first stage |
//!
//! What all have in common is the trait [`Iommu`]. A driver does not write page tables: it is given their roots, and
//! is told which addresses to invalidate after [`vcm_pagetable`] changed them. When an invalidation has returned
//! without an error, it has completed.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod amdvi;
mod error;
mod fault;
mod invalidation;
mod iommu;
pub mod msm;
mod numbers;
mod ranges;
mod registers;
pub mod riscv;
mod shared_memory;
pub mod smmuv3;
mod space;
mod streams;
mod translation;
pub mod virtio;
pub mod vtd;

pub use error::{Feature, IommuError, ProbeError, Unresponsive};
pub use fault::{FaultRecord, Stall};
pub use invalidation::{Invalidation, Reach};
pub use iommu::{DomainId, Iommu, StreamId};
pub use registers::{NarrowRegisters, Registers};
pub use shared_memory::SharedMemory;
pub use space::{AddressSpace, AnyTable, AnyTableMemory};
pub use translation::{TableFormat, TableLimits, Tables, Translation, Way};
