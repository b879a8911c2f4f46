//! Spans of addresses as naturally aligned powers of two of pages, for the commands that name addresses so.

use vcm::Span;

/// Bytes of a page, as a logarithm to base 2.
const PAGE_LOG2: u32 = 12;

/// 2^`order` pages from page number `page` on, a multiple of as many.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Pages {
    pub(crate) page: u64,
    pub(crate) order: u32,
}

impl Pages {
    /// All pages of a 64-bit space.
    pub(crate) const ALL: Self = Self { page: 0, order: u64::BITS - PAGE_LOG2 };

    /// The page number in which the lowest 0 bit tells the size: at bit `x`, 2^(x + 1) pages. PCIe, AMD and RISC-V
    /// name a range like this. Not for a single page, which has no such bit.
    pub(crate) const fn encoded(self) -> u64 {
        self.page | (1_u64 << self.order >> 1).saturating_sub(1)
    }
}

/// What one command can name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sizes {
    /// A page of 4 KiB.
    Single,
    /// Any power of two of them.
    PowersOfTwo,
}

/// The way through a span, from its first page to its last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ranges {
    next: u64,
    last: u64,
    sizes: Sizes,
}

impl Ranges {
    pub(crate) const fn of(span: Span, sizes: Sizes) -> Self {
        Self { next: span.first() >> PAGE_LOG2, last: span.last() >> PAGE_LOG2, sizes }
    }

    /// How many there are, or more.
    pub(crate) const fn at_most(&self) -> u64 {
        let pages = self.last - self.next + 1;
        match self.sizes {
            Sizes::Single => pages,
            // The sizes go up once and down once.
            Sizes::PowersOfTwo => 2 * (u64::BITS - pages.leading_zeros()) as u64,
        }
    }
}

impl Iterator for Ranges {
    type Item = Pages;

    fn next(&mut self) -> Option<Pages> {
        if self.next > self.last {
            return None;
        }
        let page = self.next;
        let order = match self.sizes {
            Sizes::Single => 0,
            // Page 0 has as many trailing zeros as any range may have pages.
            Sizes::PowersOfTwo => page.trailing_zeros().min((self.last - page + 1).ilog2()),
        };
        self.next = page + (1 << order);
        Some(Pages { page, order })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn ranges(first: u64, len: u64) -> Vec<(u64, u32)> {
        let ranges = Ranges::of(Span::new(first, len).unwrap(), Sizes::PowersOfTwo);
        let all: Vec<_> = ranges.map(|pages| (pages.encoded(), pages.order)).collect();
        assert!(all.len() as u64 <= ranges.at_most());
        all
    }

    /// The encodings are those of the address range invalidation extension of RISC-V: 0 is 8 KiB, 01 16 KiB, 011 32
    /// KiB.
    #[test]
    fn ranges_are_natural_powers_of_two() {
        assert_eq!(ranges(0x1000, 0x1000), [(1, 0)]);
        assert_eq!(ranges(0x2000, 0x2000), [(2, 1)]);
        assert_eq!(ranges(0x4000, 0x4000), [(0b101, 2)]);
        assert_eq!(ranges(0x8000, 0x8000), [(0b1011, 3)]);
        assert_eq!(ranges(0x1000, 0x7000), [(1, 0), (2, 1), (0b101, 2)]);
        assert_eq!(ranges(0x1800, 1), [(1, 0)]);
    }

    #[test]
    fn the_whole_space_is_one_range() {
        let all: Vec<_> = Ranges::of(Span::ALL, Sizes::PowersOfTwo).collect();
        assert_eq!(all, [Pages::ALL]);
        assert_eq!(Pages::ALL.encoded(), (1 << 51) - 1);
    }

    #[test]
    fn pages_are_all_named() {
        let span = Span::new(0xfff, 0x1002).unwrap();
        let all: Vec<_> = Ranges::of(span, Sizes::Single).map(|pages| pages.page).collect();
        assert_eq!(all, [0, 1, 2]);
    }
}
