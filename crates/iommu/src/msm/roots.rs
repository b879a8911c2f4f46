//! The tables of a context.

use super::spec::Ttbcr;
use core::fmt;
use vcm::PhysicalAddress;

/// The root tables of a context, in the `ARMv7` short-descriptor format.
///
/// With `split` 0, `low` serves all addresses. With `split` N (1 to 7), `low` serves the addresses whose top
/// N bits are zero and `high` all others. Where a half has no table, every transaction there faults (a
/// translation fault). Contexts with equal roots share one ASID, and so their TLB entries.
///
/// Entries must be non-global (nG = 1): global ones outlive the invalidation of an ASID.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct TableRoots {
    /// The low half's level-1 table, 16 KiB >> `split` bytes long and aligned to its length.
    pub low: Option<PhysicalAddress>,
    /// The high half's level-1 table, 16 KiB long and aligned to that. It is indexed by bits 31:20 of the
    /// *whole* address, so its first entries are unused.
    pub high: Option<PhysicalAddress>,
    /// The number of leading zero bits of an address that `low` serves, 0 to 7.
    pub split: u8,
}

impl TableRoots {
    /// One table for all addresses.
    pub const fn whole(table: PhysicalAddress) -> Self {
        Self { low: Some(table), high: None, split: 0 }
    }

    /// What is wrong with the roots, if anything.
    pub(super) fn validate(self) -> Result<(), RootsError> {
        if self.split > 7 {
            return Err(RootsError::Split(self.split));
        }
        if self.split == 0
            && let Some(table) = self.high
        {
            return Err(RootsError::HighWithoutSplit(table));
        }
        for (table, length) in [(self.low, 0x4000 >> self.split), (self.high, 0x4000)] {
            if let Some(table) = table {
                if !table.is_aligned(length) {
                    return Err(RootsError::Misaligned { table, length });
                }
                if table.raw() > u64::from(u32::MAX) {
                    return Err(RootsError::Beyond32Bits(table));
                }
            }
        }
        Ok(())
    }

    /// `TTBCR` for the roots.
    pub(super) fn ttbcr(self) -> Ttbcr {
        // Without a split TTBR1 is never walked, and the drivers leave PD1 clear.
        let pd1 = self.split > 0 && self.high.is_none();
        Ttbcr::new().with_n(self.split).with_pd0(self.low.is_none()).with_pd1(pd1)
    }
}

/// As `0x80004000`, or `low 0x80004000 high - split 1`.
impl fmt::Display for TableRoots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = |f: &mut fmt::Formatter<'_>, table: Option<PhysicalAddress>| match table {
            Some(table) => write!(f, "{table}"),
            None => f.write_str("-"),
        };
        if self.split == 0 {
            return table(f, self.low);
        }
        f.write_str("low ")?;
        table(f, self.low)?;
        f.write_str(" high ")?;
        table(f, self.high)?;
        write!(f, " split {}", self.split)
    }
}

/// Roots that the hardware cannot take.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RootsError {
    /// The split is more than 7.
    #[error("a split of {0}: the hardware has 0 to 7")]
    Split(u8),
    /// There is a high table, but no split that would use it.
    #[error("a high table at {0} without a split")]
    HighWithoutSplit(PhysicalAddress),
    /// The table is not aligned to its length.
    #[error("the table at {table} is not aligned to its {length:#x} bytes")]
    Misaligned {
        /// Where it is.
        table: PhysicalAddress,
        /// Its length in bytes.
        length: u64,
    },
    /// The table is not in the first 4 GiB.
    #[error("the table at {0} is beyond the first 4 GiB")]
    Beyond32Bits(PhysicalAddress),
}
