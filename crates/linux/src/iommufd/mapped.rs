//! What is mapped in an I/O address space, as far as this process did it.
//!
//! The kernel answers ENOENT both where nothing is mapped and where a mapping is only partly in the range, and in the second
//! case it may have unmapped others before it noticed (drivers/iommu/iommufd/io_pagetable.c, `iopt_unmap_iova_range`). These
//! notes tell the two apart beforehand, so that unmapping is whole or not at all.

use super::window::Window;
use std::collections::BTreeMap;
use std::sync::Arc;
use vcm::Span;

#[derive(Debug, Default)]
pub(super) struct Mapped {
    /// By the first address.
    pieces: BTreeMap<u64, Piece>,
}

#[derive(Debug)]
struct Piece {
    last: u64,
    /// What has to stay as long as the kernel may look the memory up by address.
    windows: Vec<Arc<Window>>,
}

impl Mapped {
    pub(super) fn add(&mut self, span: Span, windows: Vec<Arc<Window>>) {
        self.pieces.insert(span.first(), Piece { last: span.last(), windows });
    }

    /// The number of mappings in `span`, or the one that is only partly in it.
    pub(super) fn inside(&self, span: Span) -> Result<usize, Span> {
        let partly = |(first, piece): (&u64, &Piece)| Span::inclusive(*first, piece.last);
        let before = self.pieces.range(..span.first()).next_back().and_then(partly);
        let last = self.pieces.range(span.first()..=span.last()).next_back().and_then(partly);
        if let Some(before) = before.filter(|before| before.overlaps(span)) {
            return Err(before);
        }
        if let Some(last) = last.filter(|last| !span.covers(*last)) {
            return Err(last);
        }
        Ok(self.pieces.range(span.first()..=span.last()).count())
    }

    /// Whether every byte of `span` is mapped; otherwise the first that is not.
    pub(super) fn first_hole(&self, span: Span) -> Option<u64> {
        let mut at = span.first();
        let from = self.pieces.range(..=at).next_back().map_or(at, |(first, _)| *first);
        for (first, piece) in self.pieces.range(from..=span.last()) {
            if *first > at {
                return Some(at);
            }
            if piece.last >= span.last() {
                return None;
            }
            at = at.max(piece.last + 1);
        }
        Some(at)
    }

    pub(super) fn remove(&mut self, span: Span) {
        while let Some((first, _)) = self.pieces.range(span.first()..=span.last()).next() {
            let first = *first;
            self.pieces.remove(&first);
        }
    }

    /// The windows behind `span`.
    pub(super) fn windows(&self, span: Span) -> Vec<Arc<Window>> {
        let from = self.pieces.range(..=span.first()).next_back().map_or(span.first(), |(first, _)| *first);
        self.pieces.range(from..=span.last()).flat_map(|(_, piece)| piece.windows.iter().cloned()).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.pieces.len()
    }

    /// The bytes of all mappings.
    pub(super) fn bytes(&self) -> u128 {
        self.pieces.iter().map(|(first, piece)| u128::from(piece.last - first) + 1).sum()
    }

    /// Lets nobody give the windows up any more: the kernel did not let go of the address space.
    pub(super) fn keep_for_ever(&mut self) {
        for (_, piece) in std::mem::take(&mut self.pieces) {
            std::mem::forget(piece.windows);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(first: u64, last: u64) -> Span {
        Span::inclusive(first, last).unwrap()
    }

    fn three() -> Mapped {
        let mut mapped = Mapped::default();
        for (first, last) in [(0x1000, 0x1fff), (0x2000, 0x3fff), (0x8000, 0x8fff)] {
            mapped.add(span(first, last), Vec::new());
        }
        mapped
    }

    #[test]
    fn only_whole_mappings_are_inside() {
        let mapped = three();
        assert_eq!(mapped.inside(Span::ALL), Ok(3));
        assert_eq!(mapped.inside(span(0x4000, 0x7fff)), Ok(0));
        assert_eq!(mapped.inside(span(0x1000, 0x3fff)), Ok(2));
        assert_eq!(mapped.inside(span(0x1000, 0x2fff)), Err(span(0x2000, 0x3fff)));
        assert_eq!(mapped.inside(span(0x3000, 0x8fff)), Err(span(0x2000, 0x3fff)));
        assert_eq!(mapped.inside(span(0x2800, 0x2fff)), Err(span(0x2000, 0x3fff)));
    }

    #[test]
    fn a_hole_is_found_wherever_it_is() {
        let mapped = three();
        assert_eq!(mapped.first_hole(span(0x1000, 0x3fff)), None);
        assert_eq!(mapped.first_hole(span(0x1800, 0x2fff)), None);
        assert_eq!(mapped.first_hole(span(0x800, 0x1fff)), Some(0x800));
        assert_eq!(mapped.first_hole(span(0x1000, 0x8fff)), Some(0x4000));
        assert_eq!(mapped.first_hole(span(0x8000, 0x9fff)), Some(0x9000));
        assert_eq!(mapped.first_hole(span(0x5000, 0x5fff)), Some(0x5000));
    }

    #[test]
    fn the_last_byte_of_the_space_can_be_mapped_and_removed() {
        let mut mapped = Mapped::default();
        mapped.add(span(u64::MAX - 0xfff, u64::MAX), Vec::new());
        assert_eq!(mapped.first_hole(span(u64::MAX - 0xfff, u64::MAX)), None);
        assert_eq!(mapped.inside(span(u64::MAX - 0xf, u64::MAX)), Err(span(u64::MAX - 0xfff, u64::MAX)));
        mapped.remove(Span::ALL);
        assert_eq!(mapped.len(), 0);
    }
}
