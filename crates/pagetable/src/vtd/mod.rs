//! Intel VT-d: 4K, 2M and 1G pages, first and second stage.
//!
//! Both stages have tables of 512 entries on three (second stage only), four or five levels. Which large pages there
//! are is for the hardware to say: see [`LargestPage`].
//!
//! What DMA on these machines cannot be told, and is refused:
//! - **Secure memory.** There are no worlds.
//! - **Execution.** There are no requests for it, so that no entry permits or forbids it (3.6.1, 3.7.1).
//! - **Shareability other than outer**, of normal memory. Requests are coherent with all processors' caches, if the
//!   device did not ask for something else (see [`NoSnoop`]); no entry says less.
//!
//! Accessed and dirty flags are set from the start (dirty where writes pass), so that hardware never writes to a table.
//! It could not where tables are not snooped (3.10). The dirty flag therefore tells nothing.
//!
//! Source: Intel Virtualization Technology for Directed I/O, Architecture Specification (D51397), revision 5.10, 3.6,
//! 3.7 and chapter 9.

mod first_stage;
mod second_stage;
pub mod spec;

pub use crate::no_snoop::NoSnoop;
pub use first_stage::{FirstStage, FirstStageConfig, FirstStageLevels, MemoryTypes, PAGE_ATTRIBUTE_TABLE};
pub use second_stage::{SecondStage, SecondStageConfig, SecondStageLevels};

use crate::format::{Entry, Format, LeafSize, Level, Table};
use crate::{ConfigError, Unrepresentable};
use core::fmt;
use core::marker::PhantomData;
use spec::{ADDRESS, PAGE_SIZE};
use vcm::{
    Access, Attributes, MemoryType, PageSizes, PhysicalAddress, SIZE_1G, SIZE_2M, SIZE_4K, Security,
    Shareability,
};

/// Encoded attributes: a page's entry without size and address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VtdBits(u64);

/// First or second stage: what differs between them is the encoding of attributes, not the shape.
pub trait Stage: Format<Word = u64, Bits = VtdBits, Inherited = (), Top = Pml5<Self>> + fmt::Debug {
    /// The bits of a page's entry that hold attributes.
    const ATTRIBUTES: u64;
    /// An entry is used when one of these bits is set.
    const USED: u64;
    /// A bit that every page has, and no free entry.
    const PAGE: u64;
    /// An entry that leads to a table, without the address: it permits everything, so that the page decides.
    const TABLE: u64;
}

/// The largest page that the hardware understands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum LargestPage {
    /// 4 KiB: a second stage without large pages (SSLPS = 0).
    Size4K,
    /// 2 MiB: a second stage with SSLPS = 1, a first stage with FS1GP = 0.
    Size2M,
    /// 1 GiB: a second stage with SSLPS = 3, a first stage with FS1GP = 1.
    Size1G,
}

impl LargestPage {
    /// The sizes up to this one.
    fn sizes(self) -> PageSizes {
        let largest = match self {
            Self::Size4K => SIZE_4K,
            Self::Size2M => SIZE_2M,
            Self::Size1G => SIZE_1G,
        };
        PageSizes::from_mask(PageSizes::AARCH64_4K.mask() & (2 * largest - 1))
            .unwrap_or(PageSizes::AARCH64_4K)
    }
}

/// The least host address width that is accepted.
const LEAST_HOST_BITS: u8 = 32;
/// The most that an entry can hold.
const MOST_HOST_BITS: u8 = 52;

const fn check_host_bits(bits: u8) -> Result<u8, ConfigError> {
    if bits < LEAST_HOST_BITS || bits > MOST_HOST_BITS {
        return Err(ConfigError::OutputBits { bits, least: LEAST_HOST_BITS, most: MOST_HOST_BITS });
    }
    Ok(bits)
}

/// Refuses what neither stage can express.
#[inline]
fn check_common(attributes: &Attributes) -> Result<(), Unrepresentable> {
    if attributes.access.contains(Access::EXECUTE) {
        return Err(Unrepresentable::Execute);
    }
    if attributes.security == Security::Secure {
        return Err(Unrepresentable::Secure);
    }
    if matches!(attributes.memory_type, MemoryType::Normal(_))
        && attributes.shareability != Shareability::Outer
    {
        return Err(Unrepresentable::Shareability);
    }
    Ok(())
}

macro_rules! level {
    (
        $(#[$doc:meta])* $level:ident, $descriptor:ident, child $child:ident, depth $depth:literal,
        shift $shift:literal, leaf $leaf:literal
    ) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $level<S>(PhantomData<S>);

        impl<S: Stage> Level for $level<S> {
            type Format = S;
            type Word = u64;
            type Child = $child<S>;
            type Descriptor = spec::$descriptor;

            const DEPTH: u32 = $depth;
            const LAST: bool = $depth == 4;
            const SHIFT: u32 = $shift;
            const ENTRIES: usize = 512;
            const LEAF: bool = $leaf;
            const LEAF_TEST: (u64, u64) = {
                let page = if Self::LAST { S::PAGE } else { S::PAGE | PAGE_SIZE.mask() };
                (page, page)
            };

            #[inline]
            fn leaf(physical: u64, bits: VtdBits) -> Self::Descriptor {
                spec::$descriptor(physical | bits.0 | if Self::LAST { 0 } else { PAGE_SIZE.mask() })
            }

            #[inline]
            fn table(table: PhysicalAddress, _: VtdBits) -> Self::Descriptor {
                spec::$descriptor(table.raw() | S::TABLE)
            }

            #[inline]
            fn entry(spec::$descriptor(word): Self::Descriptor) -> Entry<Self> {
                let address = word & ADDRESS.mask();
                let is_page = Self::LAST || Self::LEAF && PAGE_SIZE.get(word) == 1;
                if word & S::USED == 0 {
                    Entry::Free
                } else if is_page {
                    Entry::Leaf { physical: address, size: LeafSize::Single }
                } else {
                    Entry::Table(Table::new(PhysicalAddress::new(address), ()))
                }
            }

            #[inline]
            fn bits(spec::$descriptor(word): Self::Descriptor, (): ()) -> VtdBits {
                VtdBits(word & S::ATTRIBUTES)
            }
        }
    };
}

level! {
    /// PML5 tables: tables only.
    Pml5, Pml5Entry, child Pml4, depth 0, shift 48, leaf false
}
level! {
    /// PML4 tables: tables only.
    Pml4, Pml4Entry, child PageDirectoryPointers, depth 1, shift 39, leaf false
}
level! {
    /// Page-directory-pointer tables: tables and pages of 1 GiB.
    PageDirectoryPointers, PageDirectoryPointerEntry, child PageDirectory, depth 2, shift 30, leaf true
}
level! {
    /// Page directories: tables and pages of 2 MiB.
    PageDirectory, PageDirectoryEntry, child Pages, depth 3, shift 21, leaf true
}
level! {
    /// Page tables: pages of 4 KiB.
    Pages, PageTableEntry, child Pages, depth 4, shift 12, leaf true
}
