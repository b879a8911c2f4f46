//! Second stage: from I/O virtual or guest physical to host physical addresses.

use super::spec::second_stage::{ACCESSED, DIRTY, READ, SNOOP, WRITE};
use super::{LargestPage, NoSnoop, Pml5, Stage, VtdBits, check_common, check_host_bits};
use crate::format::Format;
use crate::{ConfigError, Unrepresentable};
use vcm::{Access, Attributes, CachePolicy, MemoryType, PageSizes, Privilege, Security, Shareability, Span};

/// How many levels there are. The hardware says in SAGAW which it walks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SecondStageLevels {
    /// Three: 39 bits of input address.
    Three,
    /// Four: 48 bits.
    Four,
    /// Five: 57 bits.
    Five,
}

impl SecondStageLevels {
    /// The bits of input address that the levels can translate: the adjusted guest address width.
    pub const fn bits(self) -> u8 {
        match self {
            Self::Three => 39,
            Self::Four => 48,
            Self::Five => 57,
        }
    }

    /// What the address width (AW) field of a context or PASID-table entry must hold (9.3, 9.6).
    pub const fn address_width(self) -> u8 {
        match self {
            Self::Three => 0b001,
            Self::Four => 0b010,
            Self::Five => 0b011,
        }
    }
}

/// What is chosen when a second-stage table is made; the context or PASID-table entry must agree with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SecondStageConfig {
    /// The number of levels.
    pub levels: SecondStageLevels,
    /// Bits of input address that the hardware lets pass, 31 to [`SecondStageLevels::bits`]: at most MGAW + 1.
    pub input_bits: u8,
    /// The host address width in bits, 32 to 52. Entries that point beyond are reserved.
    pub host_bits: u8,
    /// Page sizes.
    pub largest_page: LargestPage,
    /// Non-coherent requests; overridden, SNP is set in every page. It needs snoop control (SC): where the hardware does
    /// not report it, SNP is reserved, and every access faults.
    pub no_snoop: NoSnoop,
}

impl SecondStageConfig {
    const LEAST_INPUT: u8 = 31;

    /// All of the input that `levels` translate, for a host address width of `host_bits`, with pages up to 1 GiB and
    /// without snoop control.
    pub const fn new(levels: SecondStageLevels, host_bits: u8) -> Self {
        let (input_bits, largest_page) = (levels.bits(), LargestPage::Size1G);
        Self { levels, input_bits, host_bits, largest_page, no_snoop: NoSnoop::Honoured }
    }
}

/// The second stage.
///
/// A mapping for supervisors only is refused, since the stage does not see privileges, and all memory but
/// write-back cached: the entries' memory type (EMT) counts for few devices and only where it is enabled, and is not
/// used. Another device's registers and non-cached memory are therefore refused as such; to these machines they are
/// addresses like others. Write-only pages can be expressed.
#[derive(Clone, Copy, Debug)]
pub struct SecondStage {
    config: SecondStageConfig,
    sizes: PageSizes,
}

impl SecondStage {
    /// The configuration.
    pub const fn config(&self) -> SecondStageConfig {
        self.config
    }
}

impl Stage for SecondStage {
    const ATTRIBUTES: u64 = READ.mask() | WRITE.mask() | ACCESSED.mask() | DIRTY.mask() | SNOOP.mask();
    const USED: u64 = READ.mask() | WRITE.mask();
    // A page may have R or W or both, but is always marked as accessed.
    const PAGE: u64 = ACCESSED.mask();
    const TABLE: u64 = READ.mask() | WRITE.mask() | ACCESSED.mask();
}

impl Format for SecondStage {
    type Word = u64;
    type Config = SecondStageConfig;
    type Top = Pml5<Self>;
    type Bits = VtdBits;
    type Inherited = ();

    const PAGE_SIZES: PageSizes = PageSizes::AARCH64_4K;
    const TABLE_BYTES: u64 = 4096;

    fn new(config: SecondStageConfig) -> Result<Self, ConfigError> {
        let (bits, least, most) = (config.input_bits, SecondStageConfig::LEAST_INPUT, config.levels.bits());
        if !(least..=most).contains(&bits) {
            return Err(ConfigError::InputBits { bits, least, most });
        }
        check_host_bits(config.host_bits)?;
        Ok(Self { config, sizes: config.largest_page.sizes() })
    }

    #[inline]
    fn start(&self) -> u32 {
        match self.config.levels {
            SecondStageLevels::Five => 0,
            SecondStageLevels::Four => 1,
            SecondStageLevels::Three => 2,
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
        Span::inclusive(0, (1 << self.config.input_bits) - 1).unwrap_or(Span::ALL)
    }

    #[inline]
    fn physical_limit(&self) -> u64 {
        (1 << self.config.host_bits) - 1
    }

    #[inline]
    fn encode(&self, attributes: &Attributes) -> Result<VtdBits, Unrepresentable> {
        check_common(attributes)?;
        let (read, write) =
            (attributes.access.contains(Access::READ), attributes.access.contains(Access::WRITE));
        if !read && !write {
            return Err(Unrepresentable::NoAccess);
        }
        if attributes.privilege == Privilege::Supervisor {
            return Err(Unrepresentable::Supervisor);
        }
        if attributes.memory_type != MemoryType::Normal(CachePolicy::WriteBackWriteAllocate) {
            return Err(Unrepresentable::MemoryType);
        }
        Ok(VtdBits(
            READ.of(u64::from(read))
                | WRITE.of(u64::from(write))
                | ACCESSED.of(1)
                | DIRTY.of(u64::from(write))
                | SNOOP.of(u64::from(self.config.no_snoop == NoSnoop::Overridden)),
        ))
    }

    #[inline]
    fn decode(&self, VtdBits(word): VtdBits) -> Attributes {
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
