//! What a space has mapped, as far as we had the kernel map it: it tells nobody afterwards.

use std::collections::BTreeMap;
use vcm::{Access, Attributes, LeafCount, PhysicalAddress, Segments, Span};

/// A piece that is mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Piece {
    /// The first address in the space.
    pub(super) at: u64,
    /// Bytes.
    pub(super) len: u64,
    /// Where it leads, in the machine's memory addresses.
    pub(super) physical: PhysicalAddress,
    pub(super) access: Access,
    /// Where the mapping begins that it is part of: it was made whole, and goes whole.
    pub(super) whole: u64,
}

impl Piece {
    fn end(&self) -> u64 {
        self.at.saturating_add(self.len)
    }
}

/// The pieces of a space, none over another.
#[derive(Debug, Default)]
pub(super) struct Mappings {
    pieces: BTreeMap<u64, Piece>,
}

impl Mappings {
    /// The pieces that `segments` are when they are mapped from `at` on: as few as can be, since what is beside each other
    /// in memory as well is one. `None` when they pass the end of the addresses.
    pub(super) fn cut(at: u64, segments: Segments<'_>, attributes: Attributes) -> Option<Vec<Piece>> {
        let mut pieces: Vec<Piece> = Vec::new();
        let mut next = at;
        for segment in segments {
            let end = next.checked_add(segment.len)?;
            match pieces.last_mut() {
                Some(last) if last.physical.checked_add(last.len) == Some(segment.base) => {
                    last.len += segment.len
                }
                _ => pieces.push(Piece {
                    at: next,
                    len: segment.len,
                    physical: segment.base,
                    access: attributes.access,
                    whole: at,
                }),
            }
            next = end;
        }
        Some(pieces)
    }

    /// Whether something is mapped in `span`.
    pub(super) fn touches(&self, span: Span) -> bool {
        self.within(span).next().is_some()
    }

    /// The pieces of which something is in `span`, in order.
    pub(super) fn within(&self, span: Span) -> impl Iterator<Item = &Piece> {
        let before = self.pieces.range(..span.first()).next_back().map(|(_, piece)| piece);
        let before = before.filter(|piece| piece.end() > span.first());
        before.into_iter().chain(self.pieces.range(span.first()..=span.last()).map(|(_, piece)| piece))
    }

    /// Notes pieces that the kernel has mapped.
    pub(super) fn add(&mut self, pieces: &[Piece]) {
        for piece in pieces {
            let replaced = self.pieces.insert(piece.at, *piece);
            debug_assert_eq!(replaced, None, "one mapping over another");
        }
    }

    /// Forgets what begins in `span`.
    pub(super) fn remove(&mut self, span: Span) {
        while let Some((&at, _)) = self.pieces.range(span.first()..=span.last()).next() {
            self.pieces.remove(&at);
        }
    }

    /// The mappings that the pieces are of, each whole, in order.
    pub(super) fn wholes(&self) -> Vec<Vec<Piece>> {
        let pieces: Vec<Piece> = self.pieces.values().copied().collect();
        pieces.chunk_by(|one, next| one.whole == next.whole).map(<[Piece]>::to_vec).collect()
    }

    /// Where an address leads, for how many bytes on, and for which accesses.
    pub(super) fn find(&self, address: u64) -> Option<(PhysicalAddress, u64, Access)> {
        let (_, piece) = self.pieces.range(..=address).next_back()?;
        let into = address.checked_sub(piece.at).filter(|into| *into < piece.len)?;
        Some((piece.physical.checked_add(into)?, piece.len - into, piece.access))
    }

    /// The leaves that page tables need at least for what is mapped in `span`, with pages of the sizes that `page_len` gives
    /// for the memory at an address, besides those of 4 KiB.
    pub(super) fn leaves(&self, span: Span, page_len: impl Fn(PhysicalAddress) -> u64) -> LeafCount {
        let mut count = LeafCount::default();
        for piece in self.within(span) {
            let page = page_len(piece.physical).max(SMALLEST);
            let first = piece.at.max(span.first());
            let end = piece.end().min(span.last().saturating_add(1));
            let mut at = first;
            while at < end {
                let physical = piece.physical.raw().wrapping_add(at - piece.at);
                let fits = (at | physical).is_multiple_of(page) && end - at >= page;
                let size = if fits { page } else { SMALLEST };
                count.add(size);
                at = at.saturating_add(size);
            }
        }
        count
    }
}

/// The smallest page.
const SMALLEST: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use vcm::Segment;

    fn cut(at: u64, segments: &[(u64, u64)]) -> Vec<Piece> {
        let segments: Vec<Segment> =
            segments.iter().map(|&(base, len)| Segment { base: PhysicalAddress::new(base), len }).collect();
        let len = segments.iter().map(|segment| segment.len).sum();
        Mappings::cut(at, Segments::new(&segments, 0, len), Attributes::READ_WRITE).unwrap()
    }

    #[test]
    fn what_is_beside_each_other_is_one_piece() {
        let pieces = cut(0x1000, &[(0x10_0000, 0x1000), (0x10_1000, 0x2000), (0x20_0000, 0x1000)]);
        let found: Vec<(u64, u64)> = pieces.iter().map(|piece| (piece.at, piece.len)).collect();
        assert_eq!(found, [(0x1000, 0x3000), (0x4000, 0x1000)]);
    }

    #[test]
    fn an_address_is_found_in_its_piece_and_nowhere_else() {
        let mut mappings = Mappings::default();
        mappings.add(&cut(0x1000, &[(0x10_0000, 0x2000)]));
        mappings.add(&cut(0x8000, &[(0x40_0000, 0x1000)]));
        let found = |mappings: &Mappings, address| {
            mappings.find(address).map(|(physical, left, _)| (physical.raw(), left))
        };
        assert_eq!(found(&mappings, 0x0fff), None);
        assert_eq!(found(&mappings, 0x1800), Some((0x10_0800, 0x1800)));
        assert_eq!(found(&mappings, 0x3000), None);
        assert_eq!(found(&mappings, 0x8fff), Some((0x40_0fff, 1)));
        let touched = |first, last| mappings.touches(Span::inclusive(first, last).unwrap());
        assert!(touched(0x2fff, 0x2fff) && touched(0, 0x1000) && touched(0x7000, 0x8000));
        assert!(!touched(0x3000, 0x7fff) && !touched(0x9000, u64::MAX));
        mappings.remove(Span::inclusive(0, 0x7fff).unwrap());
        assert_eq!(found(&mappings, 0x1800), None);
        assert_eq!(mappings.wholes().len(), 1);
    }

    #[test]
    fn large_pages_are_counted_where_both_sides_are_aligned() {
        let mut mappings = Mappings::default();
        // A page of 2 MiB, one whose memory is not aligned as its address is, and 4 KiB behind.
        mappings.add(&cut(0x20_0000, &[(0x4000_0000, 0x20_1000)]));
        mappings.add(&cut(0x80_0000, &[(0x5000_1000, 0x20_0000)]));
        let leaves = mappings.leaves(Span::ALL, |_| 0x20_0000);
        assert_eq!(leaves.iter().collect::<Vec<_>>(), [(0x20_0000, 1), (0x1000, 513)]);
        let leaves = mappings.leaves(Span::ALL, |_| 0x1000);
        assert_eq!(leaves.total(), 512 + 1 + 512);
    }
}
