//! First stage: from virtual (or I/O virtual) to physical or guest physical addresses.

use super::spec::USER;
use super::{ALL_SIZES, ENTRIES, Level4, RiscvBits, Shape, Stage, Svnapot, Svpbmt, decode};
use crate::format::Format;
use crate::{ConfigError, Unrepresentable};
use vcm::{Attributes, PageSizes, Privilege, Span};

/// The scheme of a first-stage table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FirstStageMode {
    /// Three levels, 39 bits of virtual address.
    Sv39,
    /// Four levels, 48 bits.
    Sv48,
    /// Five levels, 57 bits.
    Sv57,
}

impl FirstStageMode {
    /// The number of levels.
    pub const fn levels(self) -> u32 {
        match self {
            Self::Sv39 => 3,
            Self::Sv48 => 4,
            Self::Sv57 => 5,
        }
    }

    /// What the MODE field of `satp`, `vsatp` or an IOMMU's `iosatp` must hold (with 64-bit addresses).
    pub const fn encoding(self) -> u64 {
        match self {
            Self::Sv39 => 8,
            Self::Sv48 => 9,
            Self::Sv57 => 10,
        }
    }
}

/// What is chosen when a first-stage table is made; the walker must agree with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FirstStageConfig {
    /// The scheme.
    pub mode: FirstStageMode,
    /// Bits of output address that the walker has, 32 to 56.
    pub physical_bits: u8,
    /// Pages of 64 KiB.
    pub svnapot: Svnapot,
    /// Memory types.
    pub svpbmt: Svpbmt,
}

/// The first stage.
///
/// Addresses must be canonical: all bits from the most significant one that is translated upwards are alike. The table
/// is for the low half of them: 38, 47 or 56 bits.
///
/// A page for users is open to supervisors where SUM is set, and then only for reading and writing: what
/// [`Privilege::User`] says holds only there. A page for supervisors is closed to users. A request to an IOMMU that
/// does not say who makes it is a user's.
#[derive(Clone, Copy, Debug)]
pub struct FirstStage {
    mode: FirstStageMode,
    shape: Shape,
}

impl FirstStage {
    /// The configuration.
    pub const fn config(&self) -> FirstStageConfig {
        let Shape { physical_bits, svnapot, svpbmt, .. } = self.shape;
        FirstStageConfig { mode: self.mode, physical_bits, svnapot, svpbmt }
    }
}

impl Stage for FirstStage {
    #[inline]
    fn entries((): ()) -> usize {
        ENTRIES
    }
}

impl Format for FirstStage {
    type Word = u64;
    type Config = FirstStageConfig;
    type Top = Level4<Self>;
    type Bits = RiscvBits;
    type Inherited = ();

    const PAGE_SIZES: PageSizes = ALL_SIZES;
    const TABLE_BYTES: u64 = 4096;

    fn new(config: FirstStageConfig) -> Result<Self, ConfigError> {
        let FirstStageConfig { mode, physical_bits, svnapot, svpbmt } = config;
        Ok(Self { mode, shape: Shape::new(mode.levels(), physical_bits, svnapot, svpbmt)? })
    }

    #[inline]
    fn start(&self) -> u32 {
        self.shape.start()
    }

    fn root_bytes(&self) -> u64 {
        Self::TABLE_BYTES
    }

    #[inline]
    fn page_sizes(&self) -> PageSizes {
        self.shape.sizes
    }

    #[inline]
    fn input(&self) -> Span {
        let bits = 12 + 9 * self.shape.levels - 1;
        Span::inclusive(0, (1 << bits) - 1).unwrap_or(Span::ALL)
    }

    #[inline]
    fn physical_limit(&self) -> u64 {
        self.shape.physical_limit()
    }

    #[inline]
    fn encode(&self, attributes: &Attributes) -> Result<RiscvBits, Unrepresentable> {
        let user = USER.of(u64::from(attributes.privilege == Privilege::User));
        Ok(RiscvBits(self.shape.encode(attributes)? | user))
    }

    #[inline]
    fn decode(&self, bits: RiscvBits) -> Attributes {
        decode(bits)
    }
}
