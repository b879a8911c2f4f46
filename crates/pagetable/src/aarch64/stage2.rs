//! Stage 2: from a guest's physical (intermediate physical) to physical addresses.

use super::spec::{AF, stage2};
use super::{Aarch64Bits, Level0, Sizes, Stage, decode_shareability, encode_shareability};
use crate::format::Format;
use crate::{ConfigError, Unrepresentable};
use vcm::{Access, Attributes, CachePolicy, MemoryType, PageSizes, Privilege, Security, Shareability, Span};

/// What is chosen when a stage-2 table is made; the registers of the walker must agree with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stage2Config {
    /// Bits of intermediate physical address, 31 to 48: 64 - T0SZ.
    ///
    /// Up to 39 the walk starts at level 1 (SL0 = 1), from 40 on at level 0 (SL0 = 2): initial tables are never
    /// concatenated. The architecture permits level 0 only where 44 bits or more of physical address are implemented
    /// (Arm ARM DDI 0487, chapter D8, and `VTCR_EL2.SL0`); elsewhere choose 39 bits or less.
    pub input_bits: u8,
    /// Bits of output address that the walker is set to, 32 to 48 (PS).
    pub output_bits: u8,
}

/// Stage 2 of AArch64, 4 KiB granule, of the non-secure world.
///
/// It tells neither users from supervisors nor write-back with from without write allocation: a mapping for
/// supervisors only, and [`CachePolicy::WriteBackNoWriteAllocate`], are refused. It can express write-only pages.
#[derive(Clone, Copy, Debug)]
pub struct Stage2 {
    sizes: Sizes,
}

impl Stage2 {
    /// The configuration.
    pub const fn config(&self) -> Stage2Config {
        Stage2Config { input_bits: self.sizes.input, output_bits: self.sizes.output }
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

impl Stage for Stage2 {
    const ATTRIBUTES: u64 = super::spec::SH.mask()
        | AF.mask()
        | stage2::MEM_ATTR.mask()
        | stage2::READ.mask()
        | stage2::WRITE.mask()
        | stage2::XN.mask();
}

impl Format for Stage2 {
    type Word = u64;
    type Config = Stage2Config;
    type Top = Level0<Self>;
    type Bits = Aarch64Bits;
    type Inherited = ();

    const PAGE_SIZES: PageSizes = PageSizes::AARCH64_4K;
    const TABLE_BYTES: u64 = 4096;

    fn new(config: Stage2Config) -> Result<Self, ConfigError> {
        Ok(Self { sizes: Sizes::new(config.input_bits, config.output_bits)? })
    }

    #[inline]
    fn start(&self) -> u32 {
        self.sizes.start()
    }

    fn root_bytes(&self) -> u64 {
        Self::TABLE_BYTES
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
