//! The set of page sizes that a translation format offers.

use core::fmt;

/// 4 KiB, in bytes.
pub const SIZE_4K: u64 = 1 << 12;
/// 64 KiB, in bytes.
pub const SIZE_64K: u64 = 1 << 16;
/// 1 MiB, in bytes.
pub const SIZE_1M: u64 = 1 << 20;
/// 2 MiB, in bytes.
pub const SIZE_2M: u64 = 1 << 21;
/// 16 MiB, in bytes.
pub const SIZE_16M: u64 = 1 << 24;
/// 1 GiB, in bytes.
pub const SIZE_1G: u64 = 1 << 30;

/// A non-empty set of page sizes, each a power of two in bytes: bit n set means pages of 2^n bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PageSizes(u64);

impl PageSizes {
    /// The sizes of the ARMv7 short descriptor: 4K, 64K, 1M, 16M.
    pub const ARM_SHORT: Self = Self(SIZE_4K | SIZE_64K | SIZE_1M | SIZE_16M);
    /// The sizes of AArch64 with the 4K granule: 4K, 2M, 1G.
    pub const AARCH64_4K: Self = Self(SIZE_4K | SIZE_2M | SIZE_1G);

    /// The set with the bits of `mask`; `None` when it is empty.
    pub const fn from_mask(mask: u64) -> Option<Self> {
        if mask == 0 { None } else { Some(Self(mask)) }
    }

    /// One bit per size: bit n for pages of 2^n bytes.
    pub const fn mask(self) -> u64 {
        self.0
    }

    /// The smallest page, in bytes: the unit of every reservation.
    pub const fn smallest(self) -> u64 {
        1 << self.0.trailing_zeros()
    }

    /// The largest page, in bytes.
    pub const fn largest(self) -> u64 {
        1 << (63 - self.0.leading_zeros())
    }

    /// Whether pages of `size` bytes are in the set.
    pub const fn contains(self, size: u64) -> bool {
        size.is_power_of_two() && self.0 & size != 0
    }

    /// The largest page of the set that is not longer than `len` bytes, if there is one.
    pub const fn largest_within(self, len: u128) -> Option<u64> {
        // Sizes above the highest power of two in `len` do not fit.
        let fitting = if len >= 1 << 64 {
            self.0
        } else if len == 0 {
            0
        } else {
            self.0 & (u64::MAX >> (len as u64).leading_zeros())
        };
        match Self::from_mask(fitting) {
            Some(sizes) => Some(sizes.largest()),
            None => None,
        }
    }

    /// The largest page that may start where `device` and `physical` (in bytes) point, for `len`
    /// bytes at least: both addresses and the length must allow it. `None` when not even the smallest does.
    pub const fn largest_at(self, device: u64, physical: u64, len: u128) -> Option<u64> {
        let misaligned = device | physical;
        let aligned = if misaligned == 0 { u64::MAX } else { misaligned ^ (misaligned - 1) };
        match Self::from_mask(self.0 & aligned) {
            Some(sizes) => sizes.largest_within(len),
            None => None,
        }
    }

    /// The sizes in both sets, if any.
    pub const fn intersection(self, other: Self) -> Option<Self> {
        Self::from_mask(self.0 & other.0)
    }

    /// The sizes in bytes, from the largest to the smallest.
    pub fn descending(self) -> impl Iterator<Item = u64> {
        let mut mask = self.0;
        core::iter::from_fn(move || {
            let sizes = Self::from_mask(mask)?;
            mask &= !sizes.largest();
            Some(sizes.largest())
        })
    }
}

impl fmt::Debug for PageSizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// As `16M, 1M, 64K, 4K`.
impl fmt::Display for PageSizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, size) in self.descending().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            Bytes(size).fmt(f)?;
        }
        Ok(())
    }
}

/// A number of bytes that prints in the largest binary unit that divides it: `64K`, `16M`, `12K`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = ["", "K", "M", "G", "T", "P", "E"];
        let unit = if self.0 == 0 { 0 } else { (self.0.trailing_zeros() / 10) as usize };
        write!(f, "{}{}", self.0 >> (10 * unit), units[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn sizes_print_largest_first() {
        assert_eq!(format!("{}", PageSizes::ARM_SHORT), "16M, 1M, 64K, 4K");
        assert_eq!(format!("{}", Bytes(0)), "0");
        assert_eq!(format!("{}", Bytes(SIZE_2M + SIZE_4K)), "2052K");
    }

    #[test]
    fn a_page_needs_both_addresses_and_the_length() {
        let sizes = PageSizes::ARM_SHORT;
        assert_eq!(sizes.largest_at(0, 0, 1 << 32), Some(SIZE_16M));
        assert_eq!(sizes.largest_at(0, 0, 1 << 64), Some(SIZE_16M));
        assert_eq!(sizes.largest_at(SIZE_16M, SIZE_1M, u128::from(SIZE_16M)), Some(SIZE_1M));
        assert_eq!(sizes.largest_at(SIZE_64K, SIZE_1M, u128::from(SIZE_16M)), Some(SIZE_64K));
        assert_eq!(sizes.largest_at(SIZE_1M, SIZE_1M, u128::from(SIZE_1M - 1)), Some(SIZE_64K));
        assert_eq!(sizes.largest_at(0, 0, u128::from(SIZE_4K - 1)), None);
        assert_eq!(sizes.largest_at(0x800, 0, u128::from(SIZE_4K)), None);
    }
}
