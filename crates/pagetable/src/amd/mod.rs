//! AMD I/O page tables, version 1 ("host translations"): every power of two from 4K to 256G is the size of a page.
//!
//! A table has 512 entries. An entry is a page, leads to a table of the next level, or is one of a group of identical
//! entries that are one page together. Hardware can skip levels on the way down; these tables never do. Pages of 512
//! GiB and more exist in the specification only: a size of 512 GiB does not work in hardware (as Linux's driver
//! notes, drivers/iommu/amd/amd_iommu_types.h), and more is of no use.
//!
//! What DMA on these machines cannot be told, and is refused:
//! - **Secure memory.** There are no worlds.
//! - **Execution, and supervisors only.** These tables tell neither fetches from reads nor supervisors from users.
//! - **Memory types**: everything is write-back cached as far as the tables are concerned.
//! - **Shareability other than outer.** Requests are coherent, if the device did not ask for something else (see
//!   [`NoSnoop`]); no entry says less.
//!
//! Write-only pages can be expressed.
//!
//! The accessed and dirty flags are not used: hardware leaves them alone while HAD is 0 in the device table entry,
//! and so it must be.
//!
//! Source: AMD I/O Virtualization Technology (IOMMU) Specification, 48882, 2.2.3.

mod levels;
pub mod spec;

pub use crate::no_snoop::NoSnoop;
pub use levels::{Level1, Level2, Level3, Level4, Level5, Level6};

use crate::format::Format;
use crate::{ConfigError, Unrepresentable};
use spec::{FORCE_COHERENT, PRESENT, READ, WRITE};
use vcm::{
    Access, Attributes, CachePolicy, MemoryType, PageSizes, Privilege, SIZE_4K, Security, Shareability, Span,
};

/// How many levels a table has: the mode of the device table entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Three levels: 39 bits of input address.
    Three,
    /// Four levels: 48 bits.
    Four,
    /// Five levels: 57 bits.
    Five,
    /// Six levels. Hardware translates 64 bits; a table of this crate reaches half of that, 63 bits.
    Six,
}

impl Mode {
    /// What the mode field of the device table entry must hold; the number of levels.
    pub const fn encoding(self) -> u64 {
        match self {
            Self::Three => 3,
            Self::Four => 4,
            Self::Five => 5,
            Self::Six => 6,
        }
    }

    /// The bits of input address that a table translates.
    pub const fn bits(self) -> u8 {
        match self {
            Self::Three => 39,
            Self::Four => 48,
            Self::Five => 57,
            Self::Six => 63,
        }
    }
}

/// What is chosen when a table is made; the device table entry must agree with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// The number of levels.
    pub mode: Mode,
    /// Bits of physical address that the machine has, 32 to 52.
    pub physical_bits: u8,
    /// Non-coherent requests; overridden, FC is set in every page.
    pub no_snoop: NoSnoop,
}

/// AMD I/O page tables, version 1.
#[derive(Clone, Copy, Debug)]
pub struct AmdV1 {
    config: Config,
}

impl AmdV1 {
    /// The configuration.
    pub const fn config(&self) -> Config {
        self.config
    }
}

/// Encoded attributes: a page's entry without size and address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AmdBits(u64);

/// The bits of an entry that hold attributes.
const ATTRIBUTES: u64 = PRESENT.mask() | FORCE_COHERENT.mask() | READ.mask() | WRITE.mask();

impl Format for AmdV1 {
    type Word = u64;
    type Config = Config;
    type Top = Level6;
    type Bits = AmdBits;
    type Inherited = ();

    /// Below 512 GiB, every power of two.
    const PAGE_SIZES: PageSizes = match PageSizes::from_mask((1 << 39) - SIZE_4K) {
        Some(sizes) => sizes,
        None => PageSizes::AARCH64_4K,
    };
    const TABLE_BYTES: u64 = 4096;

    fn new(config: Config) -> Result<Self, ConfigError> {
        let (bits, least, most) = (config.physical_bits, 32, 52);
        if !(least..=most).contains(&bits) {
            return Err(ConfigError::OutputBits { bits, least, most });
        }
        Ok(Self { config })
    }

    #[inline]
    fn start(&self) -> u32 {
        match self.config.mode {
            Mode::Six => 0,
            Mode::Five => 1,
            Mode::Four => 2,
            Mode::Three => 3,
        }
    }

    fn root_bytes(&self) -> u64 {
        Self::TABLE_BYTES
    }

    #[inline]
    fn input(&self) -> Span {
        Span::inclusive(0, (1 << self.config.mode.bits()) - 1).unwrap_or(Span::ALL)
    }

    #[inline]
    fn physical_limit(&self) -> u64 {
        (1 << self.config.physical_bits) - 1
    }

    #[inline]
    fn encode(&self, attributes: &Attributes) -> Result<AmdBits, Unrepresentable> {
        let access = attributes.access;
        if access.is_empty() {
            return Err(Unrepresentable::NoAccess);
        }
        if access.contains(Access::EXECUTE) {
            return Err(Unrepresentable::Execute);
        }
        if attributes.privilege == Privilege::Supervisor {
            return Err(Unrepresentable::Supervisor);
        }
        if attributes.security == Security::Secure {
            return Err(Unrepresentable::Secure);
        }
        if attributes.memory_type != MemoryType::Normal(CachePolicy::WriteBackWriteAllocate) {
            return Err(Unrepresentable::MemoryType);
        }
        if attributes.shareability != Shareability::Outer {
            return Err(Unrepresentable::Shareability);
        }
        Ok(AmdBits(
            PRESENT.of(1)
                | FORCE_COHERENT.of(u64::from(self.config.no_snoop == NoSnoop::Overridden))
                | READ.of(u64::from(access.contains(Access::READ)))
                | WRITE.of(u64::from(access.contains(Access::WRITE))),
        ))
    }

    #[inline]
    fn decode(&self, AmdBits(word): AmdBits) -> Attributes {
        let mut access = Access::empty();
        access.set(Access::READ, READ.get(word) == 1);
        access.set(Access::WRITE, WRITE.get(word) == 1);
        Attributes {
            access,
            privilege: Privilege::User,
            security: Security::NonSecure,
            memory_type: MemoryType::Normal(CachePolicy::WriteBackWriteAllocate),
            shareability: Shareability::Outer,
        }
    }
}
