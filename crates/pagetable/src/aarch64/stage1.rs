//! Stage 1: from virtual (or I/O virtual) to physical or intermediate physical addresses.

use super::sizes::{self, Sizes};
use super::spec::{AF, stage1};
use super::{
    Aarch64Bits, Contiguous, Granule4K, Stage, TypedGranule, decode_shareability, encode_shareability,
};
use crate::format::Format;
use crate::{ConfigError, Unrepresentable};
use core::marker::PhantomData;
use vcm::{Access, Attributes, CachePolicy, MemoryType, PageSizes, Privilege, Security, Shareability, Span};

/// The memory attribute indirection register that goes with the format, one byte per `AttrIndx`:
/// 0 Device-nGnRnE, 1 Device-nGnRE, 2 normal not cached, 3 write-through, 4 write-back without and 5 with write
/// allocation (all non-transient, inner and outer alike), 6 and 7 as 0.
///
/// Source: Arm ARM DDI 0487, register `MAIR_EL1`.
pub const MAIR: u64 = 0x0000_ffee_bb44_0400;

/// The memory type that the byte `attribute` of a MAIR stands for; `None` for those that [`MemoryType`] has no word
/// for.
pub const fn memory_type_of_mair(attribute: u8) -> Option<MemoryType> {
    match attribute {
        // Strongly ordered is nGnRnE: no gathering, no reordering, no early write acknowledgement.
        0x00 => Some(MemoryType::StronglyOrdered),
        0x04 => Some(MemoryType::Device),
        0x44 => Some(MemoryType::Normal(CachePolicy::NotCached)),
        // Per half: 0b10RW write-through, 0b11RW write-back, non-transient; R and W allocate on reads and writes.
        0xbb => Some(MemoryType::Normal(CachePolicy::WriteThrough)),
        0xee => Some(MemoryType::Normal(CachePolicy::WriteBackNoWriteAllocate)),
        0xff => Some(MemoryType::Normal(CachePolicy::WriteBackWriteAllocate)),
        _ => None,
    }
}

const fn attribute_index(memory_type: MemoryType) -> u64 {
    match memory_type {
        MemoryType::StronglyOrdered => 0,
        MemoryType::Device => 1,
        MemoryType::Normal(CachePolicy::NotCached) => 2,
        MemoryType::Normal(CachePolicy::WriteThrough) => 3,
        MemoryType::Normal(CachePolicy::WriteBackNoWriteAllocate) => 4,
        MemoryType::Normal(CachePolicy::WriteBackWriteAllocate) => 5,
    }
}

/// What is chosen when a stage-1 table is made; the registers of the walker must agree with it. What the walker need not
/// know is chosen on the format: [`Stage1::with_contiguous`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stage1Config {
    /// Bits of input address, 25 to 48: 64 - T0SZ. The table is for TTBR0: it starts at address 0.
    pub input_bits: u8,
    /// Bits of output address that the walker is set to, 32 to 48 (IPS).
    pub output_bits: u8,
    /// The world that the walker belongs to. In the non-secure world no page can be secure.
    pub world: Security,
}

/// Stage 1 of AArch64, for a regime with two privilege levels.
///
/// Memory that is `NotCached` inside and outside is outer shareable to the hardware, whatever the entry says.
#[derive(Clone, Copy, Debug)]
pub struct Stage1<G = Granule4K> {
    sizes: Sizes,
    world: Security,
    granule: PhantomData<G>,
}

impl<G: TypedGranule> Stage1<G> {
    /// The configuration.
    pub const fn config(&self) -> Stage1Config {
        Stage1Config { input_bits: self.sizes.input, output_bits: self.sizes.output, world: self.world }
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

    /// The level, 0 to 3, that the root is of.
    pub const fn root_level(&self) -> u32 {
        self.sizes.level as u32
    }
}

impl<G: TypedGranule> Stage for Stage1<G> {
    type Granule = G;

    const ATTRIBUTES: u64 = super::spec::SH.mask()
        | AF.mask()
        | stage1::ATTR_INDEX.mask()
        | stage1::NS.mask()
        | stage1::AP_USER.mask()
        | stage1::AP_READ_ONLY.mask()
        | stage1::NG.mask()
        | stage1::PXN.mask()
        | stage1::UXN.mask();

    #[inline]
    fn tables_log2((): ()) -> u32 {
        0
    }
}

impl<G: TypedGranule> Format for Stage1<G> {
    type Word = u64;
    type Config = Stage1Config;
    type Top = G::Top<Self>;
    type Bits = Aarch64Bits;
    type Inherited = ();

    const PAGE_SIZES: PageSizes = sizes::page_sizes(G::GRANULE);
    const TABLE_BYTES: u64 = G::GRANULE.bytes();

    fn new(config: Stage1Config) -> Result<Self, ConfigError> {
        let sizes = Sizes::stage1(G::GRANULE, config.input_bits, config.output_bits)?;
        Ok(Self { sizes, world: config.world, granule: PhantomData })
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
        if !access.contains(Access::READ) {
            return Err(Unrepresentable::without_read(access));
        }
        let user = attributes.privilege == Privilege::User;
        let execute = access.contains(Access::EXECUTE);
        let ns = match (self.world, attributes.security) {
            (Security::NonSecure, Security::Secure) => return Err(Unrepresentable::Secure),
            (Security::Secure, Security::NonSecure) => 1,
            // RES0 in the non-secure world.
            (Security::NonSecure, Security::NonSecure) | (Security::Secure, Security::Secure) => 0,
        };
        let shareability = match attributes.memory_type {
            MemoryType::Normal(_) => attributes.shareability,
            MemoryType::Device | MemoryType::StronglyOrdered => Shareability::Outer,
        };
        Ok(Aarch64Bits(
            stage1::ATTR_INDEX.of(attribute_index(attributes.memory_type))
                | stage1::NS.of(ns)
                | stage1::AP_USER.of(u64::from(user))
                | stage1::AP_READ_ONLY.of(u64::from(!access.contains(Access::WRITE)))
                | encode_shareability(shareability)
                | AF.of(1)
                | stage1::NG.of(1)
                | stage1::PXN.of(u64::from(!execute))
                | stage1::UXN.of(u64::from(!(execute && user))),
        ))
    }

    #[inline]
    fn decode(&self, Aarch64Bits(word): Aarch64Bits) -> Attributes {
        let mut access = Access::READ;
        if stage1::AP_READ_ONLY.get(word) == 0 {
            access |= Access::WRITE;
        }
        if stage1::PXN.get(word) == 0 {
            access |= Access::EXECUTE;
        }
        let privilege = if stage1::AP_USER.get(word) == 1 { Privilege::User } else { Privilege::Supervisor };
        let security = match self.world {
            Security::Secure if stage1::NS.get(word) == 0 => Security::Secure,
            Security::Secure | Security::NonSecure => Security::NonSecure,
        };
        let attribute = (MAIR >> (8 * stage1::ATTR_INDEX.get(word))) as u8;
        Attributes {
            access,
            privilege,
            security,
            memory_type: memory_type_of_mair(attribute).unwrap_or(MemoryType::StronglyOrdered),
            shareability: decode_shareability(word),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mair_gives_each_index_the_memory_type_it_is_used_for() {
        let types = [
            MemoryType::StronglyOrdered,
            MemoryType::Device,
            MemoryType::Normal(CachePolicy::NotCached),
            MemoryType::Normal(CachePolicy::WriteThrough),
            MemoryType::Normal(CachePolicy::WriteBackNoWriteAllocate),
            MemoryType::Normal(CachePolicy::WriteBackWriteAllocate),
        ];
        for memory_type in types {
            let attribute = (MAIR >> (8 * attribute_index(memory_type))) as u8;
            assert_eq!(memory_type_of_mair(attribute), Some(memory_type));
        }
    }
}
