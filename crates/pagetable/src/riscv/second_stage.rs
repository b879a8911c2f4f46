//! Second stage: from guest physical to supervisor physical addresses.

use super::spec::USER;
use super::{ALL_SIZES, ENTRIES, Level4, RiscvBits, Shape, Stage, Svnapot, Svpbmt, decode};
use crate::format::Format;
use crate::{ConfigError, Unrepresentable};
use vcm::{Attributes, PageSizes, Privilege, Span};

/// The scheme of a second-stage table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SecondStageMode {
    /// Three levels, 41 bits of guest physical address.
    Sv39x4,
    /// Four levels, 50 bits.
    Sv48x4,
    /// Five levels, 59 bits.
    Sv57x4,
}

impl SecondStageMode {
    /// The number of levels.
    pub const fn levels(self) -> u32 {
        match self {
            Self::Sv39x4 => 3,
            Self::Sv48x4 => 4,
            Self::Sv57x4 => 5,
        }
    }

    /// What the MODE field of `hgatp` or an IOMMU's `iohgatp` must hold (with 64-bit addresses).
    pub const fn encoding(self) -> u64 {
        match self {
            Self::Sv39x4 => 8,
            Self::Sv48x4 => 9,
            Self::Sv57x4 => 10,
        }
    }
}

/// What is chosen when a second-stage table is made; the walker must agree with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SecondStageConfig {
    /// The scheme.
    pub mode: SecondStageMode,
    /// Bits of output address that the walker has, 32 to 56.
    pub physical_bits: u8,
    /// Pages of 64 KiB.
    pub svnapot: Svnapot,
    /// Memory types.
    pub svpbmt: Svpbmt,
}

/// The second stage (G-stage).
///
/// The root is four tables long, 16 KiB, so that two more bits of address are translated than by the first stage's
/// scheme, and they are not sign-extended: 41, 50 or 59 bits, all of which the table is for.
///
/// To this stage every access is a user's: a mapping for supervisors only is refused.
#[derive(Clone, Copy, Debug)]
pub struct SecondStage {
    mode: SecondStageMode,
    shape: Shape,
}

impl SecondStage {
    /// The configuration.
    pub const fn config(&self) -> SecondStageConfig {
        let Shape { physical_bits, svnapot, svpbmt, .. } = self.shape;
        SecondStageConfig { mode: self.mode, physical_bits, svnapot, svpbmt }
    }
}

/// How long a table is.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum TableLength {
    /// 4 KiB, 512 entries: every table but the root.
    #[default]
    One,
    /// 16 KiB, 2048 entries: the root.
    Four,
}

impl Stage for SecondStage {
    #[inline]
    fn entries(length: TableLength) -> usize {
        match length {
            TableLength::One => ENTRIES,
            TableLength::Four => 4 * ENTRIES,
        }
    }
}

impl Format for SecondStage {
    type Word = u64;
    type Config = SecondStageConfig;
    type Top = Level4<Self>;
    type Bits = RiscvBits;
    type Inherited = TableLength;

    const PAGE_SIZES: PageSizes = ALL_SIZES;
    const TABLE_BYTES: u64 = 4096;

    fn new(config: SecondStageConfig) -> Result<Self, ConfigError> {
        let SecondStageConfig { mode, physical_bits, svnapot, svpbmt } = config;
        Ok(Self { mode, shape: Shape::new(mode.levels(), physical_bits, svnapot, svpbmt)? })
    }

    #[inline]
    fn start(&self) -> u32 {
        self.shape.start()
    }

    fn root_bytes(&self) -> u64 {
        4 * Self::TABLE_BYTES
    }

    #[inline]
    fn root(&self) -> TableLength {
        TableLength::Four
    }

    #[inline]
    fn page_sizes(&self) -> PageSizes {
        self.shape.sizes
    }

    #[inline]
    fn input(&self) -> Span {
        let bits = 12 + 9 * self.shape.levels + 2;
        Span::inclusive(0, (1 << bits) - 1).unwrap_or(Span::ALL)
    }

    #[inline]
    fn physical_limit(&self) -> u64 {
        self.shape.physical_limit()
    }

    #[inline]
    fn encode(&self, attributes: &Attributes) -> Result<RiscvBits, Unrepresentable> {
        let word = self.shape.encode(attributes)?;
        if attributes.privilege == Privilege::Supervisor {
            return Err(Unrepresentable::Supervisor);
        }
        Ok(RiscvBits(word | USER.of(1)))
    }

    #[inline]
    fn decode(&self, bits: RiscvBits) -> Attributes {
        decode(bits)
    }
}
