//! The nodes of the tree: arrays only.

use super::fit::Measure;

/// No node, no slot.
pub(super) const NONE: u32 = u32::MAX;

/// Ranges per leaf.
pub(super) const LEAF: usize = 24;
/// Children per inner node.
pub(super) const FAN: usize = 24;

/// A range in a leaf.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// The first address.
    pub(super) first: u64,
    /// One past the last address, wrapping.
    pub(super) end: u64,
    pub(super) slot: u32,
}

impl Entry {
    const EMPTY: Self = Self { first: 0, end: 0, slot: NONE };
}

/// Ranges that follow one another. The gap after a range belongs to it.
#[derive(Clone, Debug)]
pub(super) struct Leaf {
    pub(super) len: u32,
    pub(super) parent: u32,
    /// The index in the parent.
    pub(super) at: u32,
    pub(super) previous: u32,
    /// The next leaf; in a free leaf, the next free one.
    pub(super) next: u32,
    pub(super) measure: Measure,
    /// The ranges. Behind the last, `first` is that of the next leaf's first range, or one past the window
    /// (which wraps to 0 at the end of a 64-bit space: all differences wrap too).
    pub(super) entries: [Entry; LEAF + 1],
}

impl Leaf {
    pub(super) const EMPTY: Self = Self {
        len: 0,
        parent: NONE,
        at: 0,
        previous: NONE,
        next: NONE,
        measure: Measure { gap: 0, order: 0 },
        entries: [Entry::EMPTY; LEAF + 1],
    };

    /// The first leaf, with nothing but the edge of the window from `first` to `last`.
    pub(super) fn edge(first: u64, last: u64) -> Self {
        let mut leaf = Self { len: 1, ..Self::EMPTY };
        leaf.entries[0] = Entry { first, end: first, slot: NONE };
        leaf.entries[1].first = last.wrapping_add(1);
        leaf.remeasure();
        leaf
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        (self.len as usize).min(LEAF)
    }

    /// The length of the gap behind range `index`.
    #[inline]
    pub(super) fn gap(&self, index: usize) -> u64 {
        self.entries[index + 1].first.wrapping_sub(self.entries[index].end)
    }

    #[inline]
    pub(super) fn measure_of(&self, index: usize) -> Measure {
        Measure::of(self.entries[index].end, self.gap(index))
    }

    #[inline]
    pub(super) fn remeasure(&mut self) {
        let len = self.len();
        let mut best = Measure::default();
        for pair in self.entries[..=len].windows(2) {
            best = best.max(Measure::of(pair[0].end, pair[1].first.wrapping_sub(pair[0].end)));
        }
        self.measure = best;
    }

    /// The last range that starts at or below `address`, or the first.
    #[inline]
    pub(super) fn index_for(&self, address: u64) -> usize {
        // Counting all reads all cache lines at once; a binary search waits for one after the other.
        self.entries[..self.len()].iter().skip(1).filter(|entry| entry.first <= address).count()
    }

    #[inline]
    pub(super) fn insert(&mut self, index: usize, first: u64, end: u64, slot: u32) {
        let len = self.len();
        self.entries.copy_within(index..=len, index + 1);
        self.entries[index] = Entry { first, end, slot };
        self.len += 1;
    }

    #[inline]
    pub(super) fn remove(&mut self, index: usize) {
        let len = self.len();
        self.entries.copy_within(index + 1..=len, index);
        self.len -= 1;
    }
}

/// The children of a node, in address order, with what a search needs to know of each.
#[derive(Clone, Debug)]
pub(super) struct Inner {
    /// The first address of each child's first range.
    pub(super) low: [u64; FAN],
    pub(super) gap: [u64; FAN],
    pub(super) order: [u8; FAN],
    pub(super) child: [u32; FAN],
    pub(super) len: u32,
    /// The parent; in a free node, the next free one.
    pub(super) parent: u32,
    pub(super) at: u32,
    /// The best of all children.
    pub(super) measure: Measure,
}

impl Inner {
    pub(super) const EMPTY: Self = Self {
        low: [0; FAN],
        gap: [0; FAN],
        order: [0; FAN],
        child: [NONE; FAN],
        len: 0,
        parent: NONE,
        at: 0,
        measure: Measure { gap: 0, order: 0 },
    };

    #[inline]
    pub(super) fn len(&self) -> usize {
        (self.len as usize).min(FAN)
    }

    #[inline]
    pub(super) fn measure_of(&self, index: usize) -> Measure {
        Measure { gap: self.gap[index], order: self.order[index] }
    }

    #[inline]
    pub(super) fn set_measure(&mut self, index: usize, measure: Measure) {
        let before = self.measure_of(index);
        self.gap[index] = measure.gap;
        self.order[index] = measure.order;
        // Only a child that was the best in something can lower the whole.
        let lower = (measure.gap < before.gap && before.gap == self.measure.gap)
            || (measure.order < before.order && before.order == self.measure.order);
        if lower {
            self.remeasure();
        } else {
            self.measure = self.measure.max(measure);
        }
    }

    #[inline]
    fn remeasure(&mut self) {
        let len = self.len();
        self.measure = Measure {
            gap: self.gap[..len].iter().copied().fold(0, u64::max),
            order: self.order[..len].iter().copied().fold(0, u8::max),
        };
    }

    /// Leaves the first `len` children.
    pub(super) fn truncate(&mut self, len: usize) {
        self.len = len as u32;
        self.remeasure();
    }

    /// The child in which `address` is: the last that starts at or below it.
    #[inline]
    pub(super) fn child_for(&self, address: u64) -> usize {
        self.low[..self.len()].iter().skip(1).filter(|low| **low <= address).count()
    }

    pub(super) fn insert(&mut self, index: usize, low: u64, child: u32, measure: Measure) {
        let len = self.len();
        self.low.copy_within(index..len, index + 1);
        self.gap.copy_within(index..len, index + 1);
        self.order.copy_within(index..len, index + 1);
        self.child.copy_within(index..len, index + 1);
        self.low[index] = low;
        self.child[index] = child;
        self.gap[index] = measure.gap;
        self.order[index] = measure.order;
        self.len += 1;
        self.measure = self.measure.max(measure);
    }

    pub(super) fn remove(&mut self, index: usize) {
        let len = self.len();
        self.low.copy_within(index + 1..len, index);
        self.gap.copy_within(index + 1..len, index);
        self.order.copy_within(index + 1..len, index);
        self.child.copy_within(index + 1..len, index);
        self.len -= 1;
        self.remeasure();
    }
}
