//! Stage 2: from a guest's physical (intermediate physical) to physical addresses.

use super::sizes::{self, Sizes};
use super::spec::{AF, stage2};
use super::{
    Aarch64Bits, Contiguous, Granule, Granule4K, Stage, TypedGranule, decode_shareability,
    encode_shareability,
};
use crate::format::Format;
use crate::{ConfigError, Unrepresentable};
use core::marker::PhantomData;
use vcm::{Access, Attributes, CachePolicy, MemoryType, PageSizes, Privilege, Security, Shareability, Span};

/// What is chosen when a stage-2 table is made; the registers of the walker must agree with it. The root is one table
/// (two with the 16K granule and 48 bits of input), unless [`Stage2::with_root_level`] makes it more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stage2Config {
    /// Bits of intermediate physical address, 25 to 48: 64 - T0SZ.
    pub input_bits: u8,
    /// Bits of output address that the walker is set to, 32 to 48 (PS).
    pub output_bits: u8,
}

/// How many tables beside each other a table of stage 2 is: one, if it is not the root.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RootTables {
    log2: u8,
}

/// Stage 2 of AArch64, of the non-secure world.
///
/// It tells neither users from supervisors nor write-back with from without write allocation: a mapping for
/// supervisors only, and [`CachePolicy::WriteBackNoWriteAllocate`], are refused. It can express write-only pages.
#[derive(Clone, Copy, Debug)]
pub struct Stage2<G = Granule4K> {
    sizes: Sizes,
    granule: PhantomData<G>,
}

impl<G: TypedGranule> Stage2<G> {
    /// The configuration.
    pub const fn config(&self) -> Stage2Config {
        Stage2Config { input_bits: self.sizes.input, output_bits: self.sizes.output }
    }

    /// Whether there are contiguous pages. There are, if nothing else is chosen.
    pub const fn contiguous(&self) -> Contiguous {
        self.sizes.contiguous
    }

    /// The same format with or without contiguous pages, for [`PageTable::of_format`](crate::PageTable::of_format).
    #[must_use]
    pub const fn with_contiguous(self, contiguous: Contiguous) -> Self {
        Self { sizes: self.sizes.with_contiguous(G::GRANULE, contiguous), ..self }
    }

    /// The same format with a root at `level`, 0 to 3, for [`PageTable::of_format`](crate::PageTable::of_format).
    ///
    /// Where one table at the level would not do, the root is up to 16 tables beside each other ("concatenated"), and
    /// walks are one level shorter. Few physical addresses may ask for it: the highest level (0 with the 4K granule, 1
    /// with the others) is for machines with 44 bits of them or more, 42 with 16K.
    ///
    /// Source: Arm ARM DDI 0487, chapter D8, "Concatenated translation tables", and `VTCR_EL2.SL0`.
    ///
    /// # Errors
    /// [`ConfigError::RootLevel`] when the root would be less than two entries or more than 16 tables there, or
    /// walks cannot start there.
    pub fn with_root_level(self, level: u8) -> Result<Self, ConfigError> {
        Ok(Self { sizes: self.sizes.with_root_level(G::GRANULE, level)?, ..self })
    }

    /// The level, 0 to 3, that the root is of.
    pub const fn root_level(&self) -> u32 {
        self.sizes.level as u32
    }

    /// How many tables beside each other the root is: 1, 2, 4, 8 or 16.
    pub const fn root_tables(&self) -> u32 {
        1 << self.sizes.tables_log2
    }

    /// The field that tells the walker the root's level, `VTCR_EL2.SL0`.
    ///
    /// Source: Arm ARM DDI 0487, `VTCR_EL2`: 0 is level 2 with the 4K granule and level 3 with the others, and each
    /// number more is a level higher.
    pub const fn sl0(&self) -> u32 {
        match G::GRANULE {
            Granule::Size4K => 2 - self.root_level(),
            Granule::Size16K | Granule::Size64K => 3 - self.root_level(),
        }
    }
}

/// `MemAttr[3:0]`, without `FEAT_S2FWB`: DDI 0487, chapter D8, "Stage 2 memory type and Cacheability attributes".
const fn mem_attr(memory_type: MemoryType) -> Option<u64> {
    match memory_type {
        MemoryType::StronglyOrdered => Some(0b0000),
        MemoryType::Device => Some(0b0001),
        MemoryType::Normal(CachePolicy::NotCached) => Some(0b0101),
        MemoryType::Normal(CachePolicy::WriteThrough) => Some(0b1010),
        MemoryType::Normal(CachePolicy::WriteBackWriteAllocate) => Some(0b1111),
        MemoryType::Normal(CachePolicy::WriteBackNoWriteAllocate) => None,
    }
}

impl<G: TypedGranule> Stage for Stage2<G> {
    type Granule = G;

    const ATTRIBUTES: u64 = super::spec::SH.mask()
        | AF.mask()
        | stage2::MEM_ATTR.mask()
        | stage2::READ.mask()
        | stage2::WRITE.mask()
        | stage2::XN.mask();

    #[inline]
    fn tables_log2(root: RootTables) -> u32 {
        u32::from(root.log2)
    }
}

impl<G: TypedGranule> Format for Stage2<G> {
    type Word = u64;
    type Config = Stage2Config;
    type Top = G::Top<Self>;
    type Bits = Aarch64Bits;
    type Inherited = RootTables;

    const PAGE_SIZES: PageSizes = sizes::page_sizes(G::GRANULE);
    const TABLE_BYTES: u64 = G::GRANULE.bytes();

    fn new(config: Stage2Config) -> Result<Self, ConfigError> {
        let sizes = Sizes::stage2(G::GRANULE, config.input_bits, config.output_bits)?;
        Ok(Self { sizes, granule: PhantomData })
    }

    #[inline]
    fn start(&self) -> u32 {
        self.sizes.start(G::GRANULE)
    }

    #[inline]
    fn page_sizes(&self) -> PageSizes {
        self.sizes.pages
    }

    fn root_bytes(&self) -> u64 {
        Self::TABLE_BYTES << self.sizes.tables_log2
    }

    #[inline]
    fn root(&self) -> RootTables {
        RootTables { log2: self.sizes.tables_log2 }
    }

    #[inline]
    fn input(&self) -> Span {
        self.sizes.span()
    }

    #[inline]
    fn physical_limit(&self) -> u64 {
        self.sizes.limit()
    }

    #[inline]
    fn encode(&self, attributes: &Attributes) -> Result<Aarch64Bits, Unrepresentable> {
        let access = attributes.access;
        // Instruction fetches need the permission to read; writes alone are a permission of their own.
        if !access.contains(Access::READ) && access != Access::WRITE {
            return Err(Unrepresentable::without_read(access));
        }
        if attributes.privilege == Privilege::Supervisor {
            return Err(Unrepresentable::Supervisor);
        }
        if attributes.security == Security::Secure {
            return Err(Unrepresentable::Secure);
        }
        let mem_attr = mem_attr(attributes.memory_type).ok_or(Unrepresentable::MemoryType)?;
        let shareability = match attributes.memory_type {
            MemoryType::Normal(_) => attributes.shareability,
            MemoryType::Device | MemoryType::StronglyOrdered => Shareability::Outer,
        };
        Ok(Aarch64Bits(
            stage2::MEM_ATTR.of(mem_attr)
                | stage2::READ.of(u64::from(access.contains(Access::READ)))
                | stage2::WRITE.of(u64::from(access.contains(Access::WRITE)))
                | encode_shareability(shareability)
                | AF.of(1)
                | stage2::XN.of(u64::from(!access.contains(Access::EXECUTE))),
        ))
    }

    #[inline]
    fn decode(&self, Aarch64Bits(word): Aarch64Bits) -> Attributes {
        let mut access = Access::empty();
        access.set(Access::READ, stage2::READ.get(word) == 1);
        access.set(Access::WRITE, stage2::WRITE.get(word) == 1);
        access.set(Access::EXECUTE, stage2::XN.get(word) == 0);
        Attributes {
            access,
            privilege: Privilege::User,
            security: Security::NonSecure,
            memory_type: match stage2::MEM_ATTR.get(word) {
                0b0001 => MemoryType::Device,
                0b0101 => MemoryType::Normal(CachePolicy::NotCached),
                0b1010 => MemoryType::Normal(CachePolicy::WriteThrough),
                0b1111 => MemoryType::Normal(CachePolicy::WriteBackWriteAllocate),
                _ => MemoryType::StronglyOrdered,
            },
            shareability: decode_shareability(word),
        }
    }
}
