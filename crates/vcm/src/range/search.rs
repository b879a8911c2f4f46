//! Searching the tree for a gap.

use super::fit::Wanted;
use super::node::NONE;
use super::tree::{Place, Tree};
use crate::Span;

/// A place for a new range: in the gap behind the entry `after`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) after: Place,
    pub(super) first: u64,
}

/// What a search accepts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Test {
    /// Subtrees in which some gap takes the range for certain: one descent.
    Sure,
    /// Every subtree that may have such a gap.
    All,
}

impl Tree {
    /// A place beside the range that was removed last: in the shortest gap of the same leaf that takes the
    /// range.
    #[inline]
    pub(super) fn find_near(&mut self, wanted: &Wanted) -> Option<Found> {
        let leaf = self.hint;
        if leaf == NONE || self.len == 0 {
            return None;
        }
        let node = self.leaf(leaf);
        let mut best = None;
        let mut shortest = u64::MAX;
        for index in 0..node.len() {
            let gap = node.gap(index);
            if gap > wanted.extra && gap <= shortest {
                let start = node.entries[index].end;
                if let Some(first) = wanted.place(start, start + (gap - 1)) {
                    shortest = gap;
                    best = Some((index, first));
                }
            }
        }
        let Some((index, first)) = best else {
            self.hint = NONE;
            return None;
        };
        Some(Found { after: Place { leaf, index }, first })
    }

    /// A place in a gap that takes the range for certain, wherever it starts: the lowest such, in the time of
    /// one descent, and of one for each leaf whose measure misled it and is corrected. The only search needed
    /// when length and alignment are the same power of two.
    pub(super) fn find_sure(&mut self, wanted: &Wanted) -> Option<Found> {
        self.find(wanted, Test::Sure)
    }

    /// A place in any gap: the lowest.
    pub(super) fn find_any(&mut self, wanted: &Wanted) -> Option<Found> {
        self.find(wanted, Test::All)
    }

    fn find(&mut self, wanted: &Wanted, test: Test) -> Option<Found> {
        if self.len == 0 {
            let first = wanted.place(self.window.first(), self.window.last())?;
            return Some(Found { after: Place { leaf: self.root, index: 0 }, first });
        }
        self.find_below(self.root, self.height, self.window.last(), wanted, test)
    }

    /// The lowest place in `leaf`.
    #[inline]
    fn find_in_leaf(&self, leaf: u32, wanted: &Wanted) -> Option<Found> {
        let node = self.leaf(leaf);
        for index in 0..node.len() {
            let gap = node.gap(index);
            if gap > wanted.extra {
                let start = node.entries[index].end;
                if let Some(first) = wanted.place(start, start + (gap - 1)) {
                    return Some(Found { after: Place { leaf, index }, first });
                }
            }
        }
        None
    }

    /// The search in `node`, whose last gap ends at `last` at most.
    fn find_below(
        &mut self,
        node: u32,
        height: u32,
        last: u64,
        wanted: &Wanted,
        test: Test,
    ) -> Option<Found> {
        if height == 0 {
            let found = self.find_in_leaf(node, wanted);
            if found.is_none() {
                self.tighten(node);
            }
            return found;
        }
        let len = self.inner(node).len();
        for index in 0..len {
            let inner = self.inner(node);
            let measure = inner.measure_of(index);
            if !wanted.may_fit(measure) || (test == Test::Sure && !wanted.surely_fits(measure)) {
                continue;
            }
            let child_last = if index + 1 < len { inner.low[index + 1] - 1 } else { last };
            if child_last < wanted.within.first() {
                continue;
            }
            if inner.low[index] > wanted.within.last() {
                break;
            }
            let found = self.find_below(inner.child[index], height - 1, child_last, wanted, test);
            if found.is_some() {
                return found;
            }
        }
        None
    }

    /// The place with the largest alignment of all gaps.
    pub(super) fn find_most_aligned(&self, wanted: &Wanted) -> Option<Found> {
        if self.len == 0 {
            let first = wanted.most_aligned_place(self.granule, self.window.first(), self.window.last())?;
            return Some(Found { after: Place { leaf: self.root, index: 0 }, first });
        }
        let mut best = None;
        self.improve_below(self.root, self.height, self.window.last(), wanted, &mut best);
        best
    }

    fn improve_below(&self, node: u32, height: u32, last: u64, wanted: &Wanted, best: &mut Option<Found>) {
        if height == 0 {
            let leaf = self.leaf(node);
            for index in 0..leaf.len() {
                let gap = leaf.gap(index);
                if gap <= wanted.extra {
                    continue;
                }
                let start = leaf.entries[index].end;
                let Some(first) = wanted.most_aligned_place(self.granule, start, start + (gap - 1)) else {
                    continue;
                };
                if best.is_none_or(|best| first.trailing_zeros() > best.first.trailing_zeros()) {
                    *best = Some(Found { after: Place { leaf: node, index }, first });
                }
            }
            return;
        }
        let inner = self.inner(node);
        let len = inner.len();
        for index in 0..len {
            // A range that is longer than its alignment holds an aligned block: so must the gap.
            let least = best.map_or(0, |best| best.first.trailing_zeros().saturating_add(1).min(64));
            let needed = if least == 64 || (1u64 << least) - 1 > wanted.extra { 0 } else { least };
            let measure = inner.measure_of(index);
            if measure.gap <= wanted.extra
                || u32::from(measure.order) < needed
                || u32::from(measure.point) < least
            {
                continue;
            }
            let child_last = if index + 1 < len { inner.low[index + 1] - 1 } else { last };
            if child_last >= wanted.within.first() && inner.low[index] <= wanted.within.last() {
                self.improve_below(inner.child[index], height - 1, child_last, wanted, best);
            }
        }
    }

    /// The longest gap, or part of a gap, inside `within`.
    pub(super) fn largest_gap(&self, within: Span) -> Option<Span> {
        if self.len == 0 {
            return self.window.intersection(within);
        }
        let mut best = None;
        self.longer_below(self.root, self.height, self.window.last(), within, &mut best);
        best
    }

    fn longer_below(&self, node: u32, height: u32, last: u64, within: Span, best: &mut Option<Span>) {
        let beats = |best: &Option<Span>, len: u64| best.is_none_or(|best| u128::from(len) > best.len());
        if height == 0 {
            let leaf = self.leaf(node);
            for index in 0..leaf.len() {
                if let Some(gap) = Span::new(leaf.entries[index].end, leaf.gap(index))
                    && let Some(part) = gap.intersection(within)
                    && beats(best, part.len() as u64)
                {
                    *best = Some(part);
                }
            }
            return;
        }
        let inner = self.inner(node);
        let len = inner.len();
        for index in 0..len {
            let child_last = if index + 1 < len { inner.low[index + 1] - 1 } else { last };
            if beats(best, inner.gap[index])
                && child_last >= within.first()
                && inner.low[index] <= within.last()
            {
                self.longer_below(inner.child[index], height - 1, child_last, within, best);
            }
        }
    }
}
