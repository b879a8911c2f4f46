//! First stage: from a process's virtual (or I/O virtual) to physical or guest physical addresses.

use super::spec::first_stage::{ACCESSED, DIRTY, PCD, PRESENT, PWT, USER, WRITE};
use super::{LargestPage, Pml5, Stage, VtdBits, check_common, check_host_bits};
use crate::format::Format;
use crate::{ConfigError, Unrepresentable};
use vcm::{Access, Attributes, CachePolicy, MemoryType, PageSizes, Privilege, Security, Shareability, Span};

/// The page attribute table that goes with [`MemoryTypes::PageAttributeTable`], one byte per index, for the PAT field
/// of the PASID-table entry: 0 write-back, 1 write-through, 2 write combining, 3 uncacheable, and 4 to 7 the same
/// again.
///
/// Source: the encodings of memory types are those of Intel 64 processors (SDM volume 3, "Page Attribute Table").
pub const PAGE_ATTRIBUTE_TABLE: u64 = 0x0001_0406_0001_0406;

/// How many levels there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FirstStageLevels {
    /// Four: 48 bits of virtual address.
    Four,
    /// Five: 57 bits. The hardware says in FS5LP whether it walks them.
    Five,
}

impl FirstStageLevels {
    /// The bits of virtual address that the levels can translate.
    pub const fn bits(self) -> u8 {
        match self {
            Self::Four => 48,
            Self::Five => 57,
        }
    }
}

/// Whether the entries' memory types count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemoryTypes {
    /// They do not: the hardware does not report memory-type support (MTS), or the device is outside of the processors'
    /// coherency domain, as all but integrated ones are. Everything is write-back cached, and all else is refused.
    Ignored,
    /// They do: the PASID-table entry holds [`PAGE_ATTRIBUTE_TABLE`], and the device is within that domain.
    PageAttributeTable,
}

/// What is chosen when a first-stage table is made; the PASID-table entry must agree with it.
///
/// Supervisors heed read-only pages only where WPE is set, so it must be. EAFE must be clear.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FirstStageConfig {
    /// The number of levels.
    pub levels: FirstStageLevels,
    /// The host address width in bits, 32 to 52 (of a nested table, the guest's). Entries that point beyond are
    /// reserved.
    pub host_bits: u8,
    /// Page sizes.
    pub largest_page: LargestPage,
    /// Memory types.
    pub memory_types: MemoryTypes,
}

/// The first stage: the entries of 64-bit paging on Intel 64 processors.
///
/// Addresses must be canonical: all bits from the most significant one that is translated upwards are alike (3.6). The
/// table is for the low half of them, 47 or 56 bits. Reads cannot be withheld, so write-only pages are refused.
///
/// With [`MemoryTypes::PageAttributeTable`], normal memory that is not cached is write combining. Device and strongly
/// ordered memory are both uncacheable, the strictest type that these machines have, which is reported as device.
#[derive(Clone, Copy, Debug)]
pub struct FirstStage {
    config: FirstStageConfig,
    sizes: PageSizes,
}

impl FirstStage {
    /// The configuration.
    pub const fn config(&self) -> FirstStageConfig {
        self.config
    }

    /// The index into the page attribute table.
    const fn attribute_index(&self, memory_type: MemoryType) -> Result<u64, Unrepresentable> {
        match (self.config.memory_types, memory_type) {
            (_, MemoryType::Normal(CachePolicy::WriteBackWriteAllocate)) => Ok(0),
            (MemoryTypes::PageAttributeTable, MemoryType::Normal(CachePolicy::WriteThrough)) => Ok(1),
            (MemoryTypes::PageAttributeTable, MemoryType::Normal(CachePolicy::NotCached)) => Ok(2),
            (MemoryTypes::PageAttributeTable, MemoryType::Device | MemoryType::StronglyOrdered) => Ok(3),
            _ => Err(Unrepresentable::MemoryType),
        }
    }
}

impl Stage for FirstStage {
    const ATTRIBUTES: u64 = PRESENT.mask()
        | WRITE.mask()
        | USER.mask()
        | PWT.mask()
        | PCD.mask()
        | ACCESSED.mask()
        | DIRTY.mask();
    const USED: u64 = PRESENT.mask();
    const PAGE: u64 = PRESENT.mask();
    const TABLE: u64 = PRESENT.mask() | WRITE.mask() | USER.mask() | ACCESSED.mask();
}

impl Format for FirstStage {
    type Word = u64;
    type Config = FirstStageConfig;
    type Top = Pml5<Self>;
    type Bits = VtdBits;
    type Inherited = ();

    const PAGE_SIZES: PageSizes = PageSizes::AARCH64_4K;
    const TABLE_BYTES: u64 = 4096;

    fn new(config: FirstStageConfig) -> Result<Self, ConfigError> {
        check_host_bits(config.host_bits)?;
        Ok(Self { config, sizes: config.largest_page.sizes() })
    }

    #[inline]
    fn start(&self) -> u32 {
        match self.config.levels {
            FirstStageLevels::Five => 0,
            FirstStageLevels::Four => 1,
        }
    }

    fn root_bytes(&self) -> u64 {
        Self::TABLE_BYTES
    }

    #[inline]
    fn page_sizes(&self) -> PageSizes {
        self.sizes
    }

    #[inline]
    fn input(&self) -> Span {
        Span::inclusive(0, (1 << (self.config.levels.bits() - 1)) - 1).unwrap_or(Span::ALL)
    }

    #[inline]
    fn physical_limit(&self) -> u64 {
        (1 << self.config.host_bits) - 1
    }

    #[inline]
    fn encode(&self, attributes: &Attributes) -> Result<VtdBits, Unrepresentable> {
        let access = attributes.access;
        if !access.contains(Access::READ) {
            return Err(Unrepresentable::without_read(access));
        }
        check_common(attributes)?;
        let index = self.attribute_index(attributes.memory_type)?;
        let write = u64::from(access.contains(Access::WRITE));
        Ok(VtdBits(
            PRESENT.of(1)
                | WRITE.of(write)
                | USER.of(u64::from(attributes.privilege == Privilege::User))
                | PWT.of(index)
                | PCD.of(index >> 1)
                | ACCESSED.of(1)
                | DIRTY.of(write),
        ))
    }

    #[inline]
    fn decode(&self, VtdBits(word): VtdBits) -> Attributes {
        let access = if WRITE.get(word) == 1 { Access::READ_WRITE } else { Access::READ };
        let memory_type = match (self.config.memory_types, PCD.get(word) << 1 | PWT.get(word)) {
            (MemoryTypes::Ignored, _) | (MemoryTypes::PageAttributeTable, 0) => {
                MemoryType::Normal(CachePolicy::WriteBackWriteAllocate)
            }
            (MemoryTypes::PageAttributeTable, 1) => MemoryType::Normal(CachePolicy::WriteThrough),
            (MemoryTypes::PageAttributeTable, 2) => MemoryType::Normal(CachePolicy::NotCached),
            (MemoryTypes::PageAttributeTable, _) => MemoryType::Device,
        };
        Attributes {
            access,
            privilege: if USER.get(word) == 1 { Privilege::User } else { Privilege::Supervisor },
            security: Security::NonSecure,
            memory_type,
            shareability: Shareability::Outer,
        }
    }
}
