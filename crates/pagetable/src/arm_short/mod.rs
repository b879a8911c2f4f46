//! The ARMv7 short-descriptor format: 4K, 64K, 1M and 16M pages in two levels, 32-bit addresses on both sides.
//!
//! All entries are in domain 0, not global, and of the memory class that TEX remap gives them (see [`Remap`]).
//! Source: Arm ARM DDI 0406C B3.5, "Short-descriptor translation table format".

mod levels;
mod remap;
pub mod spec;

pub use levels::{Level1, Level2};
pub use remap::{NMRR, PRRR, PRRR_OUTER, Remap};

use crate::format::Format;
use crate::{ConfigError, Unrepresentable};
use spec::level1;
use vcm::{Access, Attributes, CachePolicy, MemoryType, PageSizes, Privilege, Security, Shareability, Span};

/// Which part of the 32-bit address space the table translates.
///
/// With TTBCR.N = n above zero, addresses below 2^(32-n) go to TTBR0 and all others to TTBR1
/// (Arm ARM DDI 0406C B3.5, and the register TTBCR).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Split {
    /// All of it, from TTBR0 with N = 0. The root is 16 KiB.
    #[default]
    Whole,
    /// Below 2^(32-n), from TTBR0. The root is 16 KiB >> n, aligned to its size.
    Low {
        /// TTBCR.N, 1 to 7.
        n: u8,
    },
    /// From 2^(32-n) on, from TTBR1. The root is 16 KiB, of which the first 1/2^n is not used.
    High {
        /// TTBCR.N, 1 to 7.
        n: u8,
    },
}

impl Split {
    /// TTBCR.N.
    pub const fn n(self) -> u8 {
        match self {
            Self::Whole => 0,
            Self::Low { n } | Self::High { n } => n,
        }
    }
}

/// How hardware reads the three AP bits: SCTLR.AFE.
///
/// The four encodings that are written here mean the same in both: with the access flag model AP\[0\] is the
/// access flag, always set, and with the full model AP\[0\] = 0 never occurs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum AccessModel {
    /// AFE = 0: AP\[2:0\] are permissions (Arm ARM DDI 0406C, chapter B3, "Access permissions").
    #[default]
    Full,
    /// AFE = 1: AP\[2:1\] are permissions, AP\[0\] is the access flag.
    AccessFlag,
}

/// What is chosen when a table is made; the registers of the walker must agree with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// The part of the address space.
    pub split: Split,
    /// The meaning of AP.
    pub access_model: AccessModel,
    /// The meaning of memory classes.
    pub remap: Remap,
}

impl Default for Config {
    fn default() -> Self {
        Self { split: Split::Whole, access_model: AccessModel::Full, remap: Remap::INNER }
    }
}

/// Whether a level-2 table is of secure or non-secure pages, as its level-1 entry says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct World(Security);

/// The ARMv7 short-descriptor format.
#[derive(Clone, Copy, Debug)]
pub struct ArmShort {
    config: Config,
    input: Span,
    /// By memory type and shareability: {S, TEX0, C, B}, or [`NO_CLASS`].
    classes: [u8; 18],
}

const NO_CLASS: u8 = 0xff;

/// Encoded attributes: a section's entry without type, size and address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ArmShortBits(u32);

const fn class_index(memory_type: MemoryType, shareability: Shareability) -> usize {
    let memory_type = match memory_type {
        MemoryType::Normal(CachePolicy::NotCached) => 0,
        MemoryType::Normal(CachePolicy::WriteBackWriteAllocate) => 1,
        MemoryType::Normal(CachePolicy::WriteBackNoWriteAllocate) => 2,
        MemoryType::Normal(CachePolicy::WriteThrough) => 3,
        MemoryType::Device => 4,
        MemoryType::StronglyOrdered => 5,
    };
    let shareability = match shareability {
        Shareability::NonShareable => 0,
        Shareability::Inner => 1,
        Shareability::Outer => 2,
    };
    memory_type * 3 + shareability
}

const MEMORY_TYPES: [MemoryType; 6] = [
    MemoryType::Normal(CachePolicy::NotCached),
    MemoryType::Normal(CachePolicy::WriteBackWriteAllocate),
    MemoryType::Normal(CachePolicy::WriteBackNoWriteAllocate),
    MemoryType::Normal(CachePolicy::WriteThrough),
    MemoryType::Device,
    MemoryType::StronglyOrdered,
];
const SHAREABILITIES: [Shareability; 3] =
    [Shareability::NonShareable, Shareability::Inner, Shareability::Outer];

impl ArmShort {
    /// The configuration.
    pub const fn config(&self) -> Config {
        self.config
    }
}

impl Format for ArmShort {
    type Word = u32;
    type Config = Config;
    type Top = Level1;
    type Bits = ArmShortBits;
    type Inherited = World;

    const PAGE_SIZES: PageSizes = PageSizes::ARM_SHORT;
    const TABLE_BYTES: u64 = 1 << 10;

    fn new(config: Config) -> Result<Self, ConfigError> {
        if let Split::Low { n } | Split::High { n } = config.split
            && !(1..=7).contains(&n)
        {
            return Err(ConfigError::Split { n });
        }
        let mut classes = [NO_CLASS; 18];
        for memory_type in MEMORY_TYPES {
            for shareability in SHAREABILITIES {
                if let Some((class, s)) = config.remap.class_for(memory_type, shareability) {
                    classes[class_index(memory_type, shareability)] = (s << 3 | class) as u8;
                }
            }
        }
        let boundary = 1_u64 << (32 - config.split.n());
        let input = match config.split {
            Split::Whole | Split::Low { .. } => Span::inclusive(0, boundary - 1),
            Split::High { .. } => Span::inclusive(boundary, u64::from(u32::MAX)),
        };
        Ok(Self { config, input: input.unwrap_or(Span::ALL), classes })
    }

    #[inline]
    fn start(&self) -> u32 {
        0
    }

    fn root_bytes(&self) -> u64 {
        match self.config.split {
            Split::Whole | Split::High { .. } => 16 << 10,
            Split::Low { n } => (16 << 10) >> n,
        }
    }

    #[inline]
    fn input(&self) -> Span {
        self.input
    }

    #[inline]
    fn physical_limit(&self) -> u64 {
        u64::from(u32::MAX)
    }

    #[inline]
    fn encode(&self, attributes: &Attributes) -> Result<ArmShortBits, Unrepresentable> {
        use level1::section::{AP, AP2, B, C, NG, NS, S, TEX0, XN};

        let access = attributes.access;
        if !access.contains(Access::READ) {
            return Err(Unrepresentable::without_read(access));
        }
        let class = self.classes[class_index(attributes.memory_type, attributes.shareability)];
        if class == NO_CLASS {
            return Err(self.missing_class(attributes.memory_type));
        }
        let class = u32::from(class);
        let read_only = u32::from(!access.contains(Access::WRITE));
        let user = u32::from(attributes.privilege == Privilege::User);
        let never_execute = u32::from(!access.contains(Access::EXECUTE));
        let non_secure = u32::from(attributes.security == Security::NonSecure);
        Ok(ArmShortBits(
            // AP[2]: read-only; AP[1]: users too; AP[0]: accessed, or not 0b000 in the full model.
            AP2.of(read_only)
                | AP.of(user << 1 | 1)
                | XN.of(never_execute)
                | B.of(class)
                | C.of(class >> 1)
                | TEX0.of(class >> 2)
                | S.of(class >> 3)
                | NG.of(1)
                | NS.of(non_secure),
        ))
    }

    /// An entry that this crate did not write may permit what [`Attributes`] cannot say, or be of no memory type.
    /// Of permissions, what everybody has is reported; an unknown memory type is reported as strongly ordered.
    #[inline]
    fn decode(&self, bits: ArmShortBits) -> Attributes {
        use level1::section::{AP, AP2, B, C, NS, S, TEX0, XN};

        let word = bits.0;
        let ap = AP2.get(word) << 2 | AP.get(word);
        let (mut access, privilege) = match (self.config.access_model, ap) {
            (_, 0b001) => (Access::READ_WRITE, Privilege::Supervisor),
            (_, 0b011) => (Access::READ_WRITE, Privilege::User),
            (_, 0b101) => (Access::READ, Privilege::Supervisor),
            (_, 0b111) => (Access::READ, Privilege::User),
            // Supervisors may write as well. / A deprecated encoding of read-only.
            (AccessModel::Full, 0b010 | 0b110) => (Access::READ, Privilege::User),
            // No access, reserved, or the access flag clear: every access faults.
            _ => (Access::empty(), Privilege::User),
        };
        if XN.get(word) == 0 && !access.is_empty() {
            access |= Access::EXECUTE;
        }
        let class = TEX0.get(word) << 2 | C.get(word) << 1 | B.get(word);
        let memory_type = self.config.remap.memory_type(class).unwrap_or(MemoryType::StronglyOrdered);
        let shareability = match memory_type {
            MemoryType::Normal(_) => self.config.remap.shareability(class, S.get(word)),
            MemoryType::Device | MemoryType::StronglyOrdered => Shareability::Outer,
        };
        Attributes { access, privilege, security: security(NS.get(word)), memory_type, shareability }
    }

    #[inline]
    fn allows(inherited: World, bits: ArmShortBits) -> bool {
        inherited.0 == security(level1::section::NS.get(bits.0))
    }
}

impl ArmShort {
    /// Whether the memory type or only its shareability is missing.
    #[cold]
    fn missing_class(&self, memory_type: MemoryType) -> Unrepresentable {
        let known = SHAREABILITIES
            .into_iter()
            .any(|shareability| self.classes[class_index(memory_type, shareability)] != NO_CLASS);
        if known { Unrepresentable::Shareability } else { Unrepresentable::MemoryType }
    }
}

#[inline]
const fn security(ns: u32) -> Security {
    if ns == 1 { Security::NonSecure } else { Security::Secure }
}
