//! Page tables: one radix engine, formats as types.
//!
//! ```
//! use vcm::{Attributes, PhysicalAddress, Shareability, Span};
//! use vcm_pagetable::arm_short::{ArmShort, Config};
//! use vcm_pagetable::{Gather, PageTable, Segment, TableError, TableMemory};
//!
//! /// Tables in a vector, each 16 KiB from the next.
//! struct Tables(Vec<[u32; 4096]>);
//!
//! impl TableMemory<u32> for Tables {
//!     fn allocate(&mut self, _: u64, _: u64) -> Result<PhysicalAddress, TableError> {
//!         self.0.push([0; 4096]);
//!         Ok(PhysicalAddress::new((self.0.len() as u64 - 1) << 14))
//!     }
//!     fn free(&mut self, _: PhysicalAddress, _: u64) {}
//!     fn read(&self, table: PhysicalAddress, index: usize) -> u32 {
//!         self.0[(table.raw() >> 14) as usize][index]
//!     }
//!     fn write(&mut self, table: PhysicalAddress, index: usize, value: u32) {
//!         self.0[(table.raw() >> 14) as usize][index] = value;
//!     }
//! }
//!
//! let mut memory = Tables(Vec::new());
//! let mut table = PageTable::<ArmShort>::new(Config::default(), &mut memory)?;
//!
//! // Two blocks, one after the other from 0x10_0000 on: a section of 1 MiB and a small page.
//! let blocks = [(0x8000_0000, 0x10_0000), (0x9000_5000, 0x1000)];
//! let segments = blocks.iter().map(|&(at, len)| Segment { physical: PhysicalAddress::new(at), len });
//! let attributes = Attributes::READ_WRITE.with_shareability(Shareability::Inner);
//! table.map(&mut memory, 0x10_0000, segments, attributes)?;
//!
//! let found = table.translate(&memory, 0x20_0123).expect("just mapped");
//! assert_eq!(found.physical, PhysicalAddress::new(0x9000_5123));
//!
//! let mut gather = Gather::new();
//! table.unmap(&mut memory, Span::inclusive(0x10_0000, 0x20_0fff).unwrap(), &mut gather)?;
//! // Here the hardware is told to forget `gather.spans()`, and waited for. Only then:
//! gather.finish(&mut memory);
//! table.destroy(&mut memory);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What holds
//! 1. **Whole or not at all.** Every operation checks its whole range, then allocates all tables it will need, then
//!    writes. What is refused, or runs out of tables, has changed nothing.
//! 2. **Nothing is overwritten.** Mapping needs a free range, unmapping and protecting a full one.
//! 3. **Nothing is freed on hope.** Tables that unmapping removes stay allocated, in the [`Gather`], until its owner
//!    says that no translation cache can point to them any more.
//! 4. **No empty table is linked.** A table goes with its last page, so that a large page finds its place free.
//! 5. **Large pages by themselves.** Neighbouring segments are joined, and each stretch is mapped in the largest pages
//!    that both addresses and the length allow.
//!
//! # Formats
//! | format | sizes of pages | groups of entries |
//! |---|---|---|
//! | [`arm_short::ArmShort`]: the ARMv7 short descriptor | 4K, 1M | 64K, 16M |
//! | [`aarch64::Stage1`], [`aarch64::Stage2`]: AArch64, 4K granule | 4K, 2M, 1G | 64K, 32M, 16G |
//! | the same, 16K granule | 16K, 32M | 2M, 1G |
//! | the same, 64K granule | 64K, 512M | 2M, 16G |
//! | [`vtd::FirstStage`], [`vtd::SecondStage`]: Intel VT-d | 4K, 2M, 1G | |
//! | [`riscv::FirstStage`], [`riscv::SecondStage`]: RISC-V, Sv39 to Sv57 | 4K, 2M, 1G, 512G, 256T | 64K |
//! | [`amd::AmdV1`]: AMD-Vi, version 1 | 4K, 2M, 1G | every other power of two up to 256G |
//!
//! Some pages are several neighbouring entries: a group. It is mapped, split and reported as the one page that it is.
//! Which sizes a table has depends on its root and its configuration: [`PageTable::page_sizes`].
//!
//! A format is a [`Format`] with a type for each [`Level`]; the engine is compiled for each with its
//! constants in place. The descriptor layouts, as data with their sources, are in the `spec` module of each format.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod aarch64;
pub mod amd;
pub mod arm_short;
mod engine;
mod error;
mod format;
mod gather;
mod layout;
mod memory;
mod no_snoop;
pub mod riscv;
mod table;
pub mod vtd;

pub use error::{ConfigError, MapError, ProtectError, TableError, UnmapError, Unrepresentable};
pub use format::{Bits, Entry, Format, GroupEntries, Inherited, LeafSize, Level, Table};
pub use gather::{GATHERED_SPANS, Gather, TableChain};
pub use memory::{TableMemory, Word, fill_slice, first_unlike_in_slice};
pub use table::{Leaf, PageTable, Segment, Translation};
