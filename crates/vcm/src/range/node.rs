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
    /// Whether an insertion may have left the measure too large.
    pub(super) loose: bool,
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
        loose: false,
        measure: Measure { gap: 0, order: 0, point: 0 },
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
    fn gaps(&self) -> impl Iterator<Item = (u64, u64)> {
        let pairs = self.entries[..=self.len()].windows(2);
        pairs.map(|pair| (pair[0].end, pair[1].first.wrapping_sub(pair[0].end)))
    }

    /// The length of the longest gap.
    #[inline]
    pub(super) fn longest(&self) -> u64 {
        self.gaps().fold(0, |longest, (_, gap)| longest.max(gap))
    }

    pub(super) fn remeasure(&mut self) {
        let measures = self.gaps().map(|(start, gap)| Measure::of(start, gap));
        self.measure = measures.fold(Measure::default(), Measure::max);
        self.loose = false;
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

/// The largest of all.
#[inline]
fn best<N: Copy + Default + Ord>(all: &[N]) -> N {
    all.iter().copied().fold(N::default(), N::max)
}

/// The children of a node, in address order, with what a search needs to know of each.
#[derive(Clone, Debug)]
pub(super) struct Inner {
    /// The first address of each child's first range.
    pub(super) low: [u64; FAN],
    pub(super) gap: [u64; FAN],
    pub(super) order: [u8; FAN],
    pub(super) point: [u8; FAN],
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
        point: [0; FAN],
        child: [NONE; FAN],
        len: 0,
        parent: NONE,
        at: 0,
        measure: Measure { gap: 0, order: 0, point: 0 },
    };

    #[inline]
    pub(super) fn len(&self) -> usize {
        (self.len as usize).min(FAN)
    }

    #[inline]
    pub(super) fn measure_of(&self, index: usize) -> Measure {
        Measure { gap: self.gap[index], order: self.order[index], point: self.point[index] }
    }

    #[inline]
    pub(super) fn set_measure(&mut self, index: usize, measure: Measure) {
        let (len, before) = (self.len(), self.measure_of(index));
        self.gap[index] = measure.gap;
        self.order[index] = measure.order;
        self.point[index] = measure.point;
        // Only a child that was the best in something can lower the whole in that.
        let whole = self.measure;
        self.measure = whole.max(measure);
        if measure.gap < before.gap && before.gap == whole.gap {
            self.measure.gap = best(&self.gap[..len]);
        }
        if measure.order < before.order && before.order == whole.order {
            self.measure.order = best(&self.order[..len]);
        }
        if measure.point < before.point && before.point == whole.point {
            self.measure.point = best(&self.point[..len]);
        }
    }

    fn remeasure(&mut self) {
        let len = self.len();
        self.measure = Measure {
            gap: best(&self.gap[..len]),
            order: best(&self.order[..len]),
            point: best(&self.point[..len]),
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
        self.point.copy_within(index..len, index + 1);
        self.child.copy_within(index..len, index + 1);
        self.low[index] = low;
        self.child[index] = child;
        self.gap[index] = measure.gap;
        self.order[index] = measure.order;
        self.point[index] = measure.point;
        self.len += 1;
        self.measure = self.measure.max(measure);
    }

    pub(super) fn remove(&mut self, index: usize) {
        let len = self.len();
        self.low.copy_within(index + 1..len, index);
        self.gap.copy_within(index + 1..len, index);
        self.order.copy_within(index + 1..len, index);
        self.point.copy_within(index + 1..len, index);
        self.child.copy_within(index + 1..len, index);
        self.len -= 1;
        self.remeasure();
    }
}
