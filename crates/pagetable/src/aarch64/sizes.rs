//! The numbers of each granule: what the levels cover, which sizes pages have, and where a table of some input starts.

use super::contiguous::Contiguous;
use super::granule::Granule;
use crate::ConfigError;
use vcm::{PageSizes, Span};

/// log2 of the number of entries of a table: a table is as long as the granule, an entry 8 bytes.
pub(super) const fn stride(granule: Granule) -> u32 {
    granule.shift() - 3
}

/// log2 of the bytes that an entry of `level` covers.
pub(super) const fn shift(granule: Granule, level: u32) -> u32 {
    granule.shift() + (3 - level) * stride(granule)
}

/// log2 of the bytes that a table of `level` covers.
const fn reach(granule: Granule, level: u32) -> u32 {
    shift(granule, level) + stride(granule)
}

/// The highest level.
pub(super) const fn top(granule: Granule) -> u32 {
    match granule {
        Granule::Size4K | Granule::Size16K => 0,
        Granule::Size64K => 1,
    }
}

/// Whether an entry of `level` may be a page. Those of level 1 with 16K and 64K need addresses of 52 bits.
pub(super) const fn has_pages(granule: Granule, level: u32) -> bool {
    match granule {
        Granule::Size4K => level >= 1,
        Granule::Size16K | Granule::Size64K => level >= 2,
    }
}

/// log2 of the number of contiguous entries at `level` that may be one page.
///
/// Source: Arm ARM DDI 0487, D8.3, "The Contiguous bit"; as `CONT_PTE_SHIFT` and `CONT_PMD_SHIFT` of Linux.
pub(super) const fn group_log2(granule: Granule, level: u32) -> u32 {
    match granule {
        Granule::Size4K => 4,
        Granule::Size16K if level == 3 => 7,
        Granule::Size16K | Granule::Size64K => 5,
    }
}

/// All sizes of pages that tables of the granule may have, as a mask.
const fn mask(granule: Granule, contiguous: Contiguous) -> u64 {
    let mut mask = 0;
    let mut level = 1;
    while level <= 3 {
        if has_pages(granule, level) {
            mask |= 1 << shift(granule, level);
            if let Contiguous::Used = contiguous {
                mask |= 1 << (shift(granule, level) + group_log2(granule, level));
            }
        }
        level += 1;
    }
    mask
}

/// All sizes of pages that tables of the granule may have.
pub(super) const fn page_sizes(granule: Granule) -> PageSizes {
    match PageSizes::from_mask(mask(granule, Contiguous::Used)) {
        Some(sizes) => sizes,
        None => unreachable!(),
    }
}

/// What is configured of a table of either stage.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Sizes {
    pub(super) input: u8,
    pub(super) output: u8,
    pub(super) contiguous: Contiguous,
    /// The level that the root is of.
    pub(super) level: u8,
    /// log2 of the number of tables that the root is long.
    pub(super) tables_log2: u8,
    /// Those of `page_sizes` that the root is high enough for.
    pub(super) pages: PageSizes,
}

impl Sizes {
    /// 64 - 39, the largest T0SZ without `FEAT_TTST`.
    const LEAST: u8 = 25;
    const MOST: u8 = 48;
    const LEAST_OUTPUT: u8 = 32;
    /// log2 of the most tables that a root of stage 2 may be.
    const MOST_TABLES_LOG2: u32 = 4;

    /// Of stage 1: the root is one table.
    pub(super) fn stage1(granule: Granule, input: u8, output: u8) -> Result<Self, ConfigError> {
        Self::new(granule, input, output, top(granule))
    }

    /// Of stage 2: the root is one table, except where that would be at level 0 with 16K. Without addresses of 52 bits
    /// stage 2 does not start there (`VTCR_EL2.SL0`).
    pub(super) fn stage2(granule: Granule, input: u8, output: u8) -> Result<Self, ConfigError> {
        Self::new(granule, input, output, Self::stage2_levels(granule)[0])
    }

    /// The levels that walks of stage 2 may start at, from the highest to the lowest (`VTCR_EL2.SL0`).
    const fn stage2_levels(granule: Granule) -> [u32; 3] {
        match granule {
            Granule::Size4K => [0, 1, 2],
            Granule::Size16K | Granule::Size64K => [1, 2, 3],
        }
    }

    /// With a root at the lowest level at which it is one table; but no higher than `highest`.
    fn new(granule: Granule, input: u8, output: u8, highest: u32) -> Result<Self, ConfigError> {
        let (least, most) = (Self::LEAST, Self::MOST);
        if !(least..=most).contains(&input) {
            return Err(ConfigError::InputBits { bits: input, least, most });
        }
        let least = Self::LEAST_OUTPUT;
        if !(least..=most).contains(&output) {
            return Err(ConfigError::OutputBits { bits: output, least, most });
        }
        let mut level = 3;
        while level > highest && u32::from(input) > reach(granule, level) {
            level -= 1;
        }
        let contiguous = Contiguous::default();
        let sizes = Self { input, output, contiguous, level: 0, tables_log2: 0, pages: page_sizes(granule) };
        Ok(sizes.with_root(granule, level))
    }

    /// With a root of stage 2 at `level`.
    pub(super) fn with_root_level(self, granule: Granule, level: u8) -> Result<Self, ConfigError> {
        let number = u32::from(level);
        let bits = u32::from(self.input);
        if Self::stage2_levels(granule).contains(&number)
            && bits > shift(granule, number)
            && bits <= reach(granule, number) + Self::MOST_TABLES_LOG2
        {
            return Ok(self.with_root(granule, number));
        }
        Err(ConfigError::RootLevel { level, bits: self.input })
    }

    const fn with_root(self, granule: Granule, level: u32) -> Self {
        let tables_log2 = (self.input as u32).saturating_sub(reach(granule, level));
        let sizes = Self { level: level as u8, tables_log2: tables_log2 as u8, ..self };
        sizes.with_contiguous(granule, self.contiguous)
    }

    /// With or without contiguous pages.
    pub(super) const fn with_contiguous(self, granule: Granule, contiguous: Contiguous) -> Self {
        // A page is at most half of what a table of the root's level reaches, and no longer than the input.
        let mut longest = reach(granule, self.level as u32) - 1;
        if longest > self.input as u32 {
            longest = self.input as u32;
        }
        // The smallest page is always among them.
        let pages = match PageSizes::from_mask(mask(granule, contiguous) & ((2 << longest) - 1)) {
            Some(pages) => pages,
            None => self.pages,
        };
        Self { contiguous, pages, ..self }
    }

    /// How many levels below the granule's highest the root is.
    #[inline]
    pub(super) const fn start(self, granule: Granule) -> u32 {
        self.level as u32 - top(granule)
    }

    #[inline]
    pub(super) fn span(self) -> Span {
        Span::inclusive(0, (1 << self.input) - 1).unwrap_or(Span::ALL)
    }

    #[inline]
    pub(super) const fn limit(self) -> u64 {
        (1 << self.output) - 1
    }
}
