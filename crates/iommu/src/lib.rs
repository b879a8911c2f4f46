//! IOMMU drivers. They reach the hardware through [`Registers`] and nothing else, and need no operating
//! system.
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
//! | module | IOMMU | tables |
//! |---|---|---|
//! | [`msm`] | Qualcomm MSM SMMU | `ARMv7` short descriptor |
//!
//! A driver does not write page tables: it is given their roots, and is told which addresses to invalidate
//! after [`vcm_pagetable`] changed them. When an invalidation has returned without an error, it has
//! completed.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod msm;
mod registers;

pub use registers::Registers;
