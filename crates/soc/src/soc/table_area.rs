//! The part of memory that page tables live in: a buddy allocator (Knuth, "The Art of Computer Programming", 2.5).

use std::collections::BTreeSet;
use vcm::Span;

/// log2 of the smallest table, in bytes.
const SMALLEST: u32 = 10;
/// log2 of the largest block, in bytes.
const LARGEST: u32 = 20;

/// Where tables are, and which places are free.
#[derive(Debug)]
pub(super) struct TableArea {
    span: Span,
    /// The free blocks of each size, from [`SMALLEST`] on.
    free: [BTreeSet<u64>; (LARGEST - SMALLEST + 1) as usize],
    used: u64,
}

impl TableArea {
    /// All of `span`, which starts and ends at a multiple of 1 KiB, is free.
    pub(super) fn new(span: Span) -> Self {
        let mut area = Self { span, free: std::array::from_fn(|_| BTreeSet::new()), used: 0 };
        let mut at = u128::from(span.first());
        let end = u128::from(span.last()) + 1;
        while at < end {
            let order = (SMALLEST..=LARGEST)
                .rev()
                .find(|order| at.is_multiple_of(1 << order) && at + (1 << order) <= end);
            let Some(order) = order else { break };
            area.free[(order - SMALLEST) as usize].insert(at as u64);
            at += 1 << order;
        }
        area
    }

    /// Where it is.
    pub(super) const fn span(&self) -> Span {
        self.span
    }

    /// Bytes of tables that are in use.
    pub(super) const fn used(&self) -> u64 {
        self.used
    }

    /// A block of `size` bytes (a power of two) at a multiple of `align`.
    pub(super) fn allocate(&mut self, size: u64, align: u64) -> Option<u64> {
        let wanted = order(size.max(align))?;
        let found = (wanted..=LARGEST).find(|order| !self.free[(order - SMALLEST) as usize].is_empty())?;
        let block = self.free[(found - SMALLEST) as usize].pop_first()?;
        // The first half is split on; the second halves are free.
        for order in wanted..found {
            self.free[(order - SMALLEST) as usize].insert(block + (1 << order));
        }
        self.used += 1 << wanted;
        Some(block)
    }

    /// Takes back what `allocate` gave for the same size and alignment.
    pub(super) fn free(&mut self, block: u64, size: u64) {
        let Some(mut order) = order(size) else { return };
        self.used = self.used.saturating_sub(1 << order);
        let mut block = block;
        while order < LARGEST {
            let buddy = block ^ 1 << order;
            if !self.free[(order - SMALLEST) as usize].remove(&buddy) {
                break;
            }
            block = block.min(buddy);
            order += 1;
        }
        self.free[(order - SMALLEST) as usize].insert(block);
    }
}

/// log2 of the block that holds `size` bytes.
fn order(size: u64) -> Option<u32> {
    let order = size.checked_next_power_of_two()?.trailing_zeros().max(SMALLEST);
    (order <= LARGEST).then_some(order)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_freed_grows_together_again() {
        let mut area = TableArea::new(Span::new(0x7ff_0000, 0x21_0000).unwrap());
        let tables: Vec<_> =
            std::iter::from_fn(|| area.allocate(0x400, 0x400)).collect::<BTreeSet<_>>().into_iter().collect();
        assert_eq!((tables.len(), area.used()), (0x21_0000 / 0x400, 0x21_0000));
        for table in tables {
            area.free(table, 0x400);
        }
        assert_eq!(area.used(), 0);
        assert_eq!(area.allocate(0x10_0000, 0x10_0000), Some(0x800_0000));
        assert_eq!(area.allocate(0x4000, 0x4000), Some(0x7ff_0000));
        assert_eq!(area.allocate(0x20_0000, 0x1000), None);
    }

    #[test]
    fn blocks_are_aligned_to_their_size() {
        let mut area = TableArea::new(Span::new(0x1000, 0x1f_f000).unwrap());
        assert_eq!(area.allocate(0x400, 0x400), Some(0x1000));
        assert_eq!(area.allocate(0x4000, 0x4000), Some(0x4000));
        assert_eq!(area.allocate(0x1000, 0x4000), Some(0x8000));
    }
}
