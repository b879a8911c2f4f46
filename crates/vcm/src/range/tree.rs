//! A B+ tree of ranges in address order. Each subtree knows its longest gap and its largest aligned block.
//!
//! What always holds:
//! 1. The first entry of the first leaf is no range but the edge: it ends where the window starts, and the
//!    gap behind it is the window's first. So every gap belongs to the entry before it.
//! 2. A leaf knows where the next leaf's first range starts, so the gap behind its last range is its own.
//! 3. A parent's `low` is the start of the child's first range, and its measure the child's.
//! 4. A slot knows the leaf of its range, a node its parent: removal goes up from there, without a search.

use super::fit::{Measure, Wanted};
use super::node::{FAN, Inner, LEAF, Leaf, NONE};
use super::slot::Slots;
use crate::{List, OutOfMemory, Span};

/// Where an entry is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub(super) leaf: u32,
    pub(super) index: usize,
}

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

#[derive(Debug)]
pub(super) struct Tree {
    leaves: List<Leaf>,
    inners: List<Inner>,
    unused_leaf: u32,
    unused_inner: u32,
    root: u32,
    /// The number of levels of inner nodes.
    height: u32,
    /// The number of ranges.
    len: usize,
    window: Span,
    granule: u64,
}

impl Tree {
    pub(super) const fn new(window: Span, granule: u64) -> Self {
        Self {
            leaves: List::new(),
            inners: List::new(),
            unused_leaf: NONE,
            unused_inner: NONE,
            root: NONE,
            height: 0,
            len: 0,
            window,
            granule,
        }
    }

    /// The number of ranges, cached ones too.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(super) fn leaf(&self, leaf: u32) -> &Leaf {
        &self.leaves[leaf as usize]
    }

    #[inline]
    fn leaf_mut(&mut self, leaf: u32) -> &mut Leaf {
        &mut self.leaves[leaf as usize]
    }

    #[inline]
    fn inner(&self, inner: u32) -> &Inner {
        &self.inners[inner as usize]
    }

    #[inline]
    fn inner_mut(&mut self, inner: u32) -> &mut Inner {
        &mut self.inners[inner as usize]
    }

    /// The last entry that starts at or below `address`, which is in the window. `None` without entries.
    pub(super) fn locate(&self, address: u64) -> Option<Place> {
        if self.root == NONE {
            return None;
        }
        let mut node = self.root;
        for _ in 0..self.height {
            let inner = self.inner(node);
            node = inner.child[inner.child_for(address)];
        }
        let leaf = self.leaf(node);
        Some(Place { leaf: node, index: leaf.index_for(address) })
    }

    /// The place of the range that starts at `first`, in `leaf`. (The edge may start there too, before it.)
    #[inline]
    pub(super) fn place_of(&self, leaf: u32, first: u64) -> Place {
        let node = self.leaf(leaf);
        Place { leaf, index: node.index_for(first) }
    }

    /// The entry behind `place`.
    pub(super) fn next(&self, place: Place) -> Option<Place> {
        let leaf = self.leaf(place.leaf);
        if place.index + 1 < leaf.len() {
            return Some(Place { index: place.index + 1, ..place });
        }
        (leaf.next != NONE).then_some(Place { leaf: leaf.next, index: 0 })
    }

    /// The entry before `place`.
    pub(super) fn previous(&self, place: Place) -> Option<Place> {
        if place.index > 0 {
            return Some(Place { index: place.index - 1, ..place });
        }
        let previous = self.leaf(place.leaf).previous;
        (previous != NONE).then(|| Place { leaf: previous, index: self.leaf(previous).len() - 1 })
    }

    // Searching.

    /// A place in a gap that takes the range for certain, wherever it starts: the lowest such, in the time of
    /// one descent. The only search needed when length and alignment are the same power of two.
    pub(super) fn find_sure(&self, wanted: &Wanted) -> Option<Found> {
        self.find(wanted, Test::Sure)
    }

    /// A place in any gap: the lowest.
    pub(super) fn find_any(&self, wanted: &Wanted) -> Option<Found> {
        self.find(wanted, Test::All)
    }

    fn find(&self, wanted: &Wanted, test: Test) -> Option<Found> {
        if self.len == 0 {
            let first = wanted.place(self.window.first(), self.window.last())?;
            return Some(Found { after: Place { leaf: self.root, index: 0 }, first });
        }
        self.find_below(self.root, self.height, self.window.last(), wanted, test)
    }

    /// The search in `node`, whose last gap ends at `last` at most.
    fn find_below(&self, node: u32, height: u32, last: u64, wanted: &Wanted, test: Test) -> Option<Found> {
        if height == 0 {
            let leaf = self.leaf(node);
            for index in 0..leaf.len() {
                let gap = leaf.gap(index);
                if gap > wanted.extra {
                    let start = leaf.entries[index].end;
                    if let Some(first) = wanted.place(start, start + (gap - 1)) {
                        return Some(Found { after: Place { leaf: node, index }, first });
                    }
                }
            }
            return None;
        }
        let inner = self.inner(node);
        let len = inner.len();
        for index in 0..len {
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
            if measure.gap <= wanted.extra || u32::from(measure.order) < needed {
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

    // Inserting.

    /// Makes room for one range behind `after`. The first call makes the first leaf.
    pub(super) fn reserve(&mut self, after: Place) -> Result<Place, OutOfMemory> {
        if self.root == NONE {
            self.leaves.reserve(1)?;
            self.leaves.push_reserved(Leaf::edge(self.window.first(), self.window.last()));
            self.root = 0;
            return Ok(Place { leaf: 0, index: 0 });
        }
        let leaf = self.leaf(after.leaf);
        if leaf.len() < LEAF {
            return Ok(after);
        }
        // Every full node from here up splits, and a root that splits gets a root above it.
        let mut inners = 0;
        let mut parent = leaf.parent;
        while parent != NONE && self.inner(parent).len() == FAN {
            inners += 1;
            parent = self.inner(parent).parent;
        }
        if parent == NONE {
            inners += 1;
        }
        if self.unused_leaf == NONE {
            if self.leaves.len() >= NONE as usize {
                return Err(OutOfMemory);
            }
            self.leaves.reserve(1)?;
        }
        let mut unused = self.unused_inner;
        while inners > 0 && unused != NONE {
            unused = self.inner(unused).parent;
            inners -= 1;
        }
        self.inners.reserve(inners)?;
        Ok(after)
    }

    /// Inserts `span` in the gap behind `after`, in room that [`Tree::reserve`] made.
    pub(super) fn insert<T>(&mut self, slots: &mut Slots<T>, after: Place, span: Span, slot: u32) {
        let Place { mut leaf, index } = after;
        let mut index = index + 1;
        if self.leaf(leaf).len() == LEAF {
            let right = self.split(slots, leaf, index);
            let len = self.leaf(leaf).len();
            if index > len {
                index -= len;
                leaf = right;
            }
        }
        let node = &mut self.leaves[leaf as usize];
        let whole = node.measure_of(index - 1);
        node.insert(index, span.first(), span.last().wrapping_add(1), slot);
        slots.at_mut(slot).leaf = leaf;
        self.len += 1;
        // Only a gap that was the best in something can lower the leaf's measure. The gap of the empty
        // 64-bit space is 2^64 bytes, more than a measure can say: then measure anew as well.
        if self.len == 1 || whole.gap >= node.measure.gap || whole.order >= node.measure.order {
            let before = node.measure;
            node.remeasure();
            if node.measure != before {
                let (parent, at, measure) = (node.parent, node.at, node.measure);
                self.measure_changed(parent, at, measure);
            }
        }
    }

    /// Tells the parents that their child's measure is now `measure`.
    fn measure_changed(&mut self, mut parent: u32, mut at: u32, mut measure: Measure) {
        while parent != NONE {
            let inner = self.inner_mut(parent);
            if inner.measure_of(at as usize) == measure {
                return;
            }
            let before = inner.measure;
            inner.set_measure(at as usize, measure);
            if inner.measure == before {
                return;
            }
            measure = inner.measure;
            (parent, at) = (inner.parent, inner.at);
        }
    }

    /// Tells the parents that their child's first range now starts at `low`.
    fn low_changed(&mut self, mut parent: u32, mut at: u32, low: u64) {
        while parent != NONE {
            let inner = self.inner_mut(parent);
            inner.low[at as usize] = low;
            if at != 0 {
                return;
            }
            (parent, at) = (inner.parent, inner.at);
        }
    }

    /// Splits a full leaf for an insertion at `index`; the new leaf is the right part.
    fn split<T>(&mut self, slots: &mut Slots<T>, left: u32, index: usize) -> u32 {
        let right = match self.unused_leaf {
            NONE => {
                self.leaves.push_reserved(Leaf::EMPTY);
                self.leaves.len() as u32 - 1
            }
            unused => {
                self.unused_leaf = self.leaf(unused).next;
                unused
            }
        };
        // A window that fills from below keeps its leaves nearly full.
        let keep = if index == LEAF && self.leaf(left).next == NONE { LEAF - 1 } else { LEAF / 2 };
        let old = self.leaf_mut(left);
        let mut new = Leaf { len: (LEAF - keep) as u32, previous: left, next: old.next, ..Leaf::EMPTY };
        new.entries[..=LEAF - keep].copy_from_slice(&old.entries[keep..]);
        old.len = keep as u32;
        old.next = right;
        old.remeasure();
        new.remeasure();
        for entry in &new.entries[..LEAF - keep] {
            slots.at_mut(entry.slot).leaf = right;
        }
        let (parent, at, measure) = (old.parent, old.at, old.measure);
        let (next, low, right_measure) = (new.next, new.entries[0].first, new.measure);
        *self.leaf_mut(right) = new;
        if next != NONE {
            self.leaf_mut(next).previous = right;
        }
        self.measure_changed(parent, at, measure);
        self.insert_child(left, parent, at as usize + 1, low, right, right_measure, 0);
        right
    }

    /// Puts `child` (whose children are `height` levels of inner nodes high) behind its sibling `left`, at
    /// `index` of `parent`, splitting upwards.
    #[allow(clippy::too_many_arguments)]
    fn insert_child(
        &mut self,
        left: u32,
        mut parent: u32,
        mut index: usize,
        low: u64,
        child: u32,
        measure: Measure,
        height: u32,
    ) {
        if parent == NONE {
            let root = self.take_inner();
            let (left_low, left_measure) = if height == 0 {
                (self.leaf(left).entries[0].first, self.leaf(left).measure)
            } else {
                (self.inner(left).low[0], self.inner(left).measure)
            };
            self.inner_mut(root).insert(0, left_low, left, left_measure);
            self.inner_mut(root).insert(1, low, child, measure);
            self.root = root;
            self.height = height + 1;
            self.adopt(root, 0, height);
            return;
        }
        if self.inner(parent).len() == FAN {
            let right = self.split_inner(parent, index, height + 1);
            let len = self.inner(parent).len();
            if index > len {
                index -= len;
                parent = right;
            }
        }
        let inner = self.inner_mut(parent);
        inner.insert(index, low, child, measure);
        let (above, at, whole) = (inner.parent, inner.at, inner.measure);
        self.adopt(parent, index, height);
        self.measure_changed(above, at, whole);
    }

    fn split_inner(&mut self, left: u32, index: usize, height: u32) -> u32 {
        let right = self.take_inner();
        let old = self.inner_mut(left);
        let keep = if index == FAN { FAN - 1 } else { FAN / 2 };
        let mut new = Inner::EMPTY;
        for at in keep..FAN {
            new.insert(at - keep, old.low[at], old.child[at], old.measure_of(at));
        }
        old.truncate(keep);
        let (parent, at, measure) = (old.parent, old.at, old.measure);
        let (low, right_measure) = (new.low[0], new.measure);
        *self.inner_mut(right) = new;
        self.adopt(right, 0, height - 1);
        self.measure_changed(parent, at, measure);
        self.insert_child(left, parent, at as usize + 1, low, right, right_measure, height);
        right
    }

    fn take_inner(&mut self) -> u32 {
        match self.unused_inner {
            NONE => {
                self.inners.push_reserved(Inner::EMPTY);
                self.inners.len() as u32 - 1
            }
            unused => {
                self.unused_inner = self.inner(unused).parent;
                *self.inner_mut(unused) = Inner::EMPTY;
                unused
            }
        }
    }

    /// Tells the children of `parent` from `index` on where they are; they are `height` levels high.
    fn adopt(&mut self, parent: u32, index: usize, height: u32) {
        for at in index..self.inner(parent).len() {
            let child = self.inner(parent).child[at];
            if height == 0 {
                let leaf = self.leaf_mut(child);
                (leaf.parent, leaf.at) = (parent, at as u32);
            } else {
                let inner = self.inner_mut(child);
                (inner.parent, inner.at) = (parent, at as u32);
            }
        }
    }

    // Removing.

    /// Removes the range at `place`, which is not the edge.
    pub(super) fn remove<T>(&mut self, slots: &mut Slots<T>, place: Place) {
        let Place { leaf, index } = place;
        self.len -= 1;
        let node = self.leaf_mut(leaf);
        if index > 0 {
            node.remove(index);
            let before = node.measure;
            node.measure = before.max(node.measure_of(index - 1));
            let (parent, at, measure, len) = (node.parent, node.at, node.measure, node.len());
            if measure != before {
                self.measure_changed(parent, at, measure);
            }
            if len < LEAF / 4 {
                self.merge(slots, leaf);
            }
            return;
        }
        // The gap goes to the last range of the leaf before: there is one, because of the edge.
        node.remove(0);
        node.remeasure();
        let (parent, at, measure, len) = (node.parent, node.at, node.measure, node.len());
        let (start, previous) = (node.entries[0].first, node.previous);
        let before = self.leaf_mut(previous);
        let last = before.len() - 1;
        before.entries[last + 1].first = start;
        before.measure = before.measure.max(before.measure_of(last));
        let (before_parent, before_at, before_measure) = (before.parent, before.at, before.measure);
        self.measure_changed(before_parent, before_at, before_measure);
        if len == 0 {
            self.remove_leaf(leaf);
            return;
        }
        self.low_changed(parent, at, start);
        self.measure_changed(parent, at, measure);
        if len < LEAF / 4 {
            self.merge(slots, leaf);
        }
    }

    /// Unlinks a leaf without entries.
    fn remove_leaf(&mut self, leaf: u32) {
        let node = self.leaf_mut(leaf);
        let (previous, next, parent, at) = (node.previous, node.next, node.parent, node.at);
        if previous != NONE {
            self.leaf_mut(previous).next = next;
        }
        if next != NONE {
            self.leaf_mut(next).previous = previous;
        }
        self.leaf_mut(leaf).next = self.unused_leaf;
        self.unused_leaf = leaf;
        self.remove_child(parent, at as usize, 0);
    }

    /// Merges a leaf with few entries with a sibling that has room, if there is one. Full nodes are left
    /// some room, so that a range that comes and goes does not split and merge each time.
    fn merge<T>(&mut self, slots: &mut Slots<T>, leaf: u32) {
        let node = self.leaf(leaf);
        if node.parent == NONE {
            return;
        }
        let parent = self.inner(node.parent);
        let at = node.at as usize;
        let fits = |left: u32, right: u32| self.leaf(left).len() + self.leaf(right).len() <= LEAF * 3 / 4;
        let (left, right) = if at + 1 < parent.len() && fits(leaf, parent.child[at + 1]) {
            (leaf, parent.child[at + 1])
        } else if at > 0 && fits(parent.child[at - 1], leaf) {
            (parent.child[at - 1], leaf)
        } else {
            return;
        };
        let from = self.leaf(right).clone();
        let moved = from.len();
        let to = self.leaf_mut(left);
        let len = to.len();
        to.entries[len..=len + moved].copy_from_slice(&from.entries[..=moved]);
        to.len += moved as u32;
        to.measure = to.measure.max(from.measure);
        let (parent, at, measure) = (to.parent, to.at, to.measure);
        for entry in &from.entries[..moved] {
            slots.at_mut(entry.slot).leaf = left;
        }
        self.measure_changed(parent, at, measure);
        self.remove_leaf(right);
    }

    /// Removes the child at `index` of `parent`; children there are `height` levels high.
    fn remove_child(&mut self, parent: u32, index: usize, height: u32) {
        let inner = self.inner_mut(parent);
        inner.remove(index);
        let (above, at, len, low, measure) =
            (inner.parent, inner.at, inner.len(), inner.low[0], inner.measure);
        if len == 0 {
            // Never the root: that has two children or gives way to the one it has.
            self.give_back_inner(parent);
            self.remove_child(above, at as usize, height + 1);
            return;
        }
        self.adopt(parent, index, height);
        if index == 0 {
            self.low_changed(above, at, low);
        }
        self.measure_changed(above, at, measure);
        if above == NONE {
            self.lower_root();
        } else if len < FAN / 4 {
            self.merge_inner(parent, height + 1);
        }
    }

    fn give_back_inner(&mut self, inner: u32) {
        self.inner_mut(inner).parent = self.unused_inner;
        self.unused_inner = inner;
    }

    /// Drops roots with one child.
    fn lower_root(&mut self) {
        while self.height > 0 && self.inner(self.root).len() == 1 {
            let child = self.inner(self.root).child[0];
            self.give_back_inner(self.root);
            self.root = child;
            self.height -= 1;
            if self.height == 0 {
                (self.leaf_mut(child).parent, self.leaf_mut(child).at) = (NONE, 0);
            } else {
                (self.inner_mut(child).parent, self.inner_mut(child).at) = (NONE, 0);
            }
        }
    }

    fn merge_inner(&mut self, inner: u32, height: u32) {
        let (above, at) = (self.inner(inner).parent, self.inner(inner).at as usize);
        let parent = self.inner(above);
        let fits = |left: u32, right: u32| self.inner(left).len() + self.inner(right).len() <= FAN * 3 / 4;
        let (left, right) = if at + 1 < parent.len() && fits(inner, parent.child[at + 1]) {
            (inner, parent.child[at + 1])
        } else if at > 0 && fits(parent.child[at - 1], inner) {
            (parent.child[at - 1], inner)
        } else {
            return;
        };
        let from = self.inner(right).clone();
        let to = self.inner_mut(left);
        let len = to.len();
        for index in 0..from.len() {
            to.insert(len + index, from.low[index], from.child[index], from.measure_of(index));
        }
        let (at, measure) = (to.at, to.measure);
        self.adopt(left, len, height - 1);
        self.measure_changed(above, at, measure);
        self.give_back_inner(right);
        self.remove_child(above, self.child_index(above, right), height);
    }

    fn child_index(&self, parent: u32, child: u32) -> usize {
        let inner = self.inner(parent);
        inner.child[..inner.len()].iter().position(|each| *each == child).unwrap_or(0)
    }

    pub(super) fn try_clone(&self) -> Result<Self, OutOfMemory> {
        Ok(Self { leaves: self.leaves.try_clone()?, inners: self.inners.try_clone()?, ..*self })
    }

    /// Checks everything that must always hold.
    #[cfg(test)]
    pub(super) fn check<T>(&self, slots: &Slots<T>) {
        if self.root == NONE {
            return;
        }
        let mut entries = std::vec::Vec::new();
        let mut leaves = std::vec::Vec::new();
        self.check_below(self.root, self.height, NONE, 0, &mut leaves);
        for (position, leaf) in leaves.iter().enumerate() {
            let node = self.leaf(*leaf);
            assert_eq!(node.previous, if position == 0 { NONE } else { leaves[position - 1] });
            assert_eq!(node.next, leaves.get(position + 1).copied().unwrap_or(NONE));
            for index in 0..node.len() {
                let entry = node.entries[index];
                entries.push((entry.first, entry.end));
                if position + index > 0 {
                    let slot = slots.at(entry.slot);
                    assert_eq!((slot.first, slot.leaf), (entry.first, *leaf));
                    assert_eq!(slot.last.wrapping_add(1), entry.end);
                }
            }
            let limit = leaves.get(position + 1).map(|next| self.leaf(*next).entries[0].first);
            assert_eq!(node.entries[node.len()].first, limit.unwrap_or(self.window.last().wrapping_add(1)));
        }
        assert_eq!(entries.len(), self.len + 1);
        assert!(entries[1..].is_sorted_by(|a, b| a.1 <= b.0 && a.0 < b.0));
        let chained = |leaf: u32| (leaf != NONE).then_some(leaf);
        let unused = core::iter::successors(chained(self.unused_leaf), |leaf| chained(self.leaf(*leaf).next));
        assert_eq!(leaves.len() + unused.count(), self.leaves.len());
    }

    #[cfg(test)]
    fn check_below(&self, node: u32, height: u32, parent: u32, at: u32, leaves: &mut std::vec::Vec<u32>) {
        if height == 0 {
            let leaf = self.leaf(node);
            assert_eq!((leaf.parent, leaf.at), (parent, at));
            assert!(leaf.len() > 0);
            let mut again = leaf.clone();
            again.remeasure();
            // The gap of the empty 64-bit space is beyond measure.
            assert!(again.measure == leaf.measure || self.len == 0);
            leaves.push(node);
            return;
        }
        let inner = self.inner(node);
        assert_eq!((inner.parent, inner.at), (parent, at));
        assert!(inner.len() > usize::from(parent == NONE));
        let measures = (0..inner.len()).map(|index| inner.measure_of(index));
        assert_eq!(inner.measure, measures.fold(Measure::default(), Measure::max));
        for index in 0..inner.len() {
            let child = inner.child[index];
            let (low, measure) = if height == 1 {
                (self.leaf(child).entries[0].first, self.leaf(child).measure)
            } else {
                (self.inner(child).low[0], self.inner(child).measure)
            };
            assert_eq!((inner.low[index], inner.measure_of(index)), (low, measure));
            self.check_below(child, height - 1, node, index as u32, leaves);
        }
    }
}
