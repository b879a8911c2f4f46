//! A non-empty run of bytes in a 64-bit space.

use core::fmt;

/// A non-empty, inclusive run of addresses, in bytes.
///
/// It is kept by its first and *last* byte, so that the whole of a 64-bit space and the last byte of
/// it can be named; its length is a `u128` for the same reason.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Span {
    first: u64,
    last: u64,
}

impl Span {
    /// The whole 64-bit space.
    pub const ALL: Self = Self { first: 0, last: u64::MAX };

    /// `len` bytes from `first` on; `None` when `len` is zero or the run passes the end of the space.
    pub const fn new(first: u64, len: u64) -> Option<Self> {
        if len == 0 {
            return None;
        }
        match first.checked_add(len - 1) {
            Some(last) => Some(Self { first, last }),
            None => None,
        }
    }

    /// From `first` to `last`, both inclusive; `None` when `last` is before `first`.
    pub const fn inclusive(first: u64, last: u64) -> Option<Self> {
        if last < first { None } else { Some(Self { first, last }) }
    }

    /// The address of the first byte.
    pub const fn first(self) -> u64 {
        self.first
    }

    /// The address of the last byte.
    pub const fn last(self) -> u64 {
        self.last
    }

    /// The number of bytes: 1 to 2^64.
    pub const fn len(self) -> u128 {
        (self.last - self.first) as u128 + 1
    }

    /// Never: a span holds a byte at least. Here so that `len` has its customary companion.
    pub const fn is_empty(self) -> bool {
        false
    }

    /// Whether the byte at `address` is in the span.
    pub const fn contains(self, address: u64) -> bool {
        self.first <= address && address <= self.last
    }

    /// Whether all of `other` is in the span.
    pub const fn covers(self, other: Self) -> bool {
        self.first <= other.first && other.last <= self.last
    }

    /// Whether the two share a byte.
    pub const fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    /// The bytes that are in both.
    pub const fn intersection(self, other: Self) -> Option<Self> {
        let first = if self.first > other.first { self.first } else { other.first };
        let last = if self.last < other.last { self.last } else { other.last };
        Self::inclusive(first, last)
    }

    /// The largest part whose two ends are multiples of `alignment` (a power of two, in bytes).
    pub const fn aligned_inside(self, alignment: u64) -> Option<Self> {
        let mask = alignment - 1;
        let Some(first) = self.first.checked_add(mask) else {
            return None;
        };
        let first = first & !mask;
        // One past the last byte may be 2^64: shrink by the bytes after the last whole unit instead.
        let tail = (self.last & mask).wrapping_add(1) & mask;
        if self.last < tail {
            return None;
        }
        Self::inclusive(first, self.last - tail)
    }

    /// Whether both ends are multiples of `alignment` (a power of two, in bytes).
    pub const fn is_aligned(self, alignment: u64) -> bool {
        let mask = alignment - 1;
        self.first & mask == 0 && self.last & mask == mask
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// As `0x1000-0x1fff`, both ends inclusive.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}-{:#x}", self.first, self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_space_has_a_length() {
        assert_eq!(Span::ALL.len(), 1 << 64);
        assert_eq!(Span::ALL.aligned_inside(0x1000), Some(Span::ALL));
    }

    #[test]
    fn no_span_is_empty_or_wraps() {
        assert_eq!(Span::new(5, 0), None);
        assert_eq!(Span::new(u64::MAX, 2), None);
        assert_eq!(Span::new(u64::MAX, 1).unwrap().last(), u64::MAX);
        assert_eq!(Span::inclusive(2, 1), None);
    }

    #[test]
    fn a_start_inside_a_page_moves_up_and_an_end_inside_a_page_moves_down() {
        let asked = Span::new(0x400, 0x100_0000).unwrap();
        assert_eq!(asked.aligned_inside(0x1000), Span::inclusive(0x1000, 0xff_ffff));
        assert_eq!(Span::new(0x400, 0x800).unwrap().aligned_inside(0x1000), None);
        assert_eq!(Span::new(0, 1).unwrap().aligned_inside(0x1000), None);
        let top = Span::inclusive(u64::MAX - 0x1800, u64::MAX).unwrap();
        assert_eq!(top.aligned_inside(0x1000), Span::inclusive(u64::MAX - 0xfff, u64::MAX));
    }

    #[test]
    fn overlap_counts_shared_bytes() {
        let a = Span::new(0x1000, 0x1000).unwrap();
        assert!(a.overlaps(Span::new(0x1fff, 1).unwrap()));
        assert!(!a.overlaps(Span::new(0x2000, 1).unwrap()));
        assert_eq!(a.intersection(Span::new(0x1800, 0x1000).unwrap()), Span::new(0x1800, 0x800));
    }
}
