//! RISC-V: Sv39, Sv48 and Sv57, first stage and second stage (x4). Pages of 4K, 2M, 1G, 512G and 256T, as far as there
//! are levels for them, and of 64K where there is Svnapot.
//!
//! CPUs and the RISC-V IOMMU use the same tables. What they cannot be told, and is refused:
//! - **Secure memory.** There are no worlds.
//! - **Writes without reads.** The encoding is reserved.
//! - **Memory types**, without Svpbmt: everything is what its physical address makes it (its PMA), main memory
//!   write-back cached. That is what write-back memory with write allocation is mapped as, with or without Svpbmt.
//!   With it, memory that is not cached is NC, and device and strongly ordered memory are IO: one type, reported as
//!   device.
//! - **Shareability other than outer**, of normal memory. No entry says how far coherence goes.
//!
//! The accessed flag is set from the start, and the dirty flag where writes pass: hardware that does not set them
//! faults instead, and hardware that does need not write to the tables.
//!
//! Source: The RISC-V Instruction Set Manual, Volume II: Privileged Architecture, chapters on Sv39, Sv48, Sv57, Svnapot
//! and Svpbmt, and on the hypervisor extension; RISC-V IOMMU Architecture Specification.

mod first_stage;
mod second_stage;
pub mod spec;

pub use first_stage::{FirstStage, FirstStageConfig, FirstStageMode};
pub use second_stage::{SecondStage, SecondStageConfig, SecondStageMode, TableLength};

use crate::format::{Entry, Format, LeafSize, Level, Table};
use crate::{ConfigError, Unrepresentable};
use core::fmt;
use core::marker::PhantomData;
use spec::{
    ACCESSED, DIRTY, EXECUTE, NAPOT, NAPOT_64K, NAPOT_SIZE, PBMT, PBMT_IO, PBMT_NC, PBMT_PMA, PPN, READ,
    USER, VALID, WRITE,
};
use vcm::{
    Access, Attributes, CachePolicy, MemoryType, PageSizes, PhysicalAddress, Privilege, SIZE_1G, SIZE_2M,
    SIZE_4K, SIZE_64K, Security, Shareability,
};

/// Whether the walker understands Svnapot: pages of 64 KiB, as 16 entries.
///
/// An IOMMU does not report it: one that follows its specification understands what any hart of the machine does. A
/// walker that does not, and does not check reserved bits either, goes to wrong addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Svnapot {
    /// It does not.
    Absent,
    /// It does.
    Present,
}

/// Whether the walker understands Svpbmt: memory types in entries. (For CPUs it must be switched on as well; an IOMMU
/// reports it among its capabilities.)
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Svpbmt {
    /// It does not.
    Absent,
    /// It does.
    Present,
}

/// What either stage's table is made for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Shape {
    /// 3 to 5.
    levels: u32,
    physical_bits: u8,
    svnapot: Svnapot,
    svpbmt: Svpbmt,
    sizes: PageSizes,
}

/// All sizes: 4K, 64K, 2M, 1G, 512G, 256T.
const ALL_SIZES: PageSizes =
    match PageSizes::from_mask(SIZE_4K | SIZE_64K | SIZE_2M | SIZE_1G | 1 << 39 | 1 << 48) {
        Some(sizes) => sizes,
        None => PageSizes::AARCH64_4K,
    };
/// The most that an entry can hold.
const MOST_PHYSICAL_BITS: u8 = 56;
/// The least that is accepted.
const LEAST_PHYSICAL_BITS: u8 = 32;

impl Shape {
    fn new(levels: u32, physical_bits: u8, svnapot: Svnapot, svpbmt: Svpbmt) -> Result<Self, ConfigError> {
        let (bits, least, most) = (physical_bits, LEAST_PHYSICAL_BITS, MOST_PHYSICAL_BITS);
        if bits < least || bits > most {
            return Err(ConfigError::OutputBits { bits, least, most });
        }
        let napot = match svnapot {
            Svnapot::Absent => 0,
            Svnapot::Present => SIZE_64K,
        };
        // Those that there are levels for.
        let sizes = ALL_SIZES.mask() & !SIZE_64K & ((1 << (12 + 9 * levels)) - 1) | napot;
        let sizes = PageSizes::from_mask(sizes).unwrap_or(PageSizes::AARCH64_4K);
        Ok(Self { levels, physical_bits, svnapot, svpbmt, sizes })
    }

    /// How many levels below level 4 the root is.
    #[inline]
    const fn start(self) -> u32 {
        5 - self.levels
    }

    #[inline]
    const fn physical_limit(self) -> u64 {
        (1 << self.physical_bits) - 1
    }

    /// All but the privilege, which the stages see differently.
    #[inline]
    fn encode(self, attributes: &Attributes) -> Result<u64, Unrepresentable> {
        let access = attributes.access;
        let (read, write) = (access.contains(Access::READ), access.contains(Access::WRITE));
        if access.is_empty() {
            return Err(Unrepresentable::NoAccess);
        }
        if write && !read {
            return Err(Unrepresentable::WriteOnly);
        }
        if attributes.security == Security::Secure {
            return Err(Unrepresentable::Secure);
        }
        let pbmt = match (self.svpbmt, attributes.memory_type) {
            (_, MemoryType::Normal(CachePolicy::WriteBackWriteAllocate)) => PBMT_PMA,
            (Svpbmt::Present, MemoryType::Normal(CachePolicy::NotCached)) => PBMT_NC,
            (Svpbmt::Present, MemoryType::Device | MemoryType::StronglyOrdered) => PBMT_IO,
            _ => return Err(Unrepresentable::MemoryType),
        };
        if pbmt != PBMT_IO && attributes.shareability != Shareability::Outer {
            return Err(Unrepresentable::Shareability);
        }
        Ok(VALID.of(1)
            | READ.of(u64::from(read))
            | WRITE.of(u64::from(write))
            | EXECUTE.of(u64::from(access.contains(Access::EXECUTE)))
            | ACCESSED.of(1)
            | DIRTY.of(u64::from(write))
            | PBMT.of(pbmt))
    }
}

const fn decode(RiscvBits(word): RiscvBits) -> Attributes {
    let read = if READ.get(word) == 1 { Access::READ } else { Access::empty() };
    let write = if WRITE.get(word) == 1 { Access::WRITE } else { Access::empty() };
    let execute = if EXECUTE.get(word) == 1 { Access::EXECUTE } else { Access::empty() };
    Attributes {
        access: read.union(write).union(execute),
        privilege: if USER.get(word) == 1 { Privilege::User } else { Privilege::Supervisor },
        security: Security::NonSecure,
        memory_type: match PBMT.get(word) {
            PBMT_PMA => MemoryType::Normal(CachePolicy::WriteBackWriteAllocate),
            PBMT_NC => MemoryType::Normal(CachePolicy::NotCached),
            _ => MemoryType::Device,
        },
        shareability: Shareability::Outer,
    }
}

/// Encoded attributes: a page's entry without address and size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RiscvBits(u64);

/// First or second stage: what differs between them is the root, and who is a user.
pub trait Stage: Format<Word = u64, Bits = RiscvBits, Top = Level4<Self>> + fmt::Debug {
    /// The number of entries of a table that `inherited` is known of.
    fn entries(inherited: Self::Inherited) -> usize;
}

/// The number of entries of every table but the second stage's root.
const ENTRIES: usize = 512;

/// The bits of an entry that hold attributes.
const ATTRIBUTES: u64 = VALID.mask()
    | READ.mask()
    | WRITE.mask()
    | EXECUTE.mask()
    | USER.mask()
    | ACCESSED.mask()
    | DIRTY.mask()
    | PBMT.mask();

/// A page has A set, and an entry that leads to a table cannot have it.
const PAGE: u64 = VALID.mask() | ACCESSED.mask();

/// How much higher an address is than its bits in an entry.
const ADDRESS_SHIFT: u32 = 12 - PPN.shift;

macro_rules! level {
    (
        $(#[$doc:meta])* $level:ident, $descriptor:ident, child $child:ident, depth $depth:literal,
        shift $shift:literal, groups $groups:expr
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
            const ENTRIES: usize = ENTRIES;
            const LEAF: bool = true;
            const GROUPS: u32 = $groups;
            const LEAF_TEST: (u64, u64) = (PAGE | NAPOT.mask(), PAGE);

            #[inline]
            fn entries(inherited: S::Inherited) -> usize {
                S::entries(inherited)
            }

            #[inline]
            fn group_test(_: u32) -> (u64, u64) {
                (PAGE | NAPOT.mask(), PAGE | NAPOT.mask())
            }

            #[inline]
            fn step() -> u64 {
                1 << (Self::SHIFT - ADDRESS_SHIFT)
            }

            #[inline]
            fn leaf(physical: u64, bits: RiscvBits) -> Self::Descriptor {
                spec::$descriptor(physical >> ADDRESS_SHIFT | bits.0)
            }

            #[inline]
            fn group(physical: u64, bits: RiscvBits, _: u32) -> Self::Descriptor {
                let napot = NAPOT.of(1) | NAPOT_SIZE.of(NAPOT_64K);
                spec::$descriptor(physical >> ADDRESS_SHIFT | bits.0 | napot)
            }

            #[inline]
            fn table(table: PhysicalAddress, _: RiscvBits) -> Self::Descriptor {
                spec::$descriptor(table.raw() >> ADDRESS_SHIFT | VALID.of(1))
            }

            #[inline]
            fn entry(spec::$descriptor(word): Self::Descriptor) -> Entry<Self> {
                let is_page = word & (READ.mask() | WRITE.mask() | EXECUTE.mask()) != 0;
                let address = (word & PPN.mask()) << ADDRESS_SHIFT;
                if VALID.get(word) == 0 {
                    Entry::Free
                } else if is_page && Self::LAST && NAPOT.get(word) == 1 {
                    let physical = address & !(SIZE_64K - 1);
                    Entry::Leaf { physical, size: LeafSize::Group { log2: 4 } }
                } else if is_page {
                    Entry::Leaf { physical: address, size: LeafSize::Single }
                } else if Self::LAST {
                    // Not one of ours: there is no further table.
                    Entry::Free
                } else {
                    Entry::Table(Table::new(PhysicalAddress::new(address), S::Inherited::default()))
                }
            }

            #[inline]
            fn bits(spec::$descriptor(word): Self::Descriptor, _: S::Inherited) -> RiscvBits {
                RiscvBits(word & ATTRIBUTES)
            }
        }
    };
}

level! {
    /// Level 4, the root of Sv57: tables and pages of 256 TiB.
    Level4, Level4Entry, child Level3, depth 0, shift 48, groups 0
}
level! {
    /// Level 3, the root of Sv48: tables and pages of 512 GiB.
    Level3, Level3Entry, child Level2, depth 1, shift 39, groups 0
}
level! {
    /// Level 2, the root of Sv39: tables and pages of 1 GiB.
    Level2, Level2Entry, child Level1, depth 2, shift 30, groups 0
}
level! {
    /// Level 1: tables and pages of 2 MiB.
    Level1, Level1Entry, child Level0, depth 3, shift 21, groups 0
}
level! {
    /// Level 0: pages of 4 KiB, and of 64 KiB in 16 entries.
    Level0, Level0Entry, child Level0, depth 4, shift 12, groups 1 << 4
}
