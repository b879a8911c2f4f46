//! Inserting into the tree: room first, then splitting.

use super::fit::Measure;
use super::node::{FAN, Inner, LEAF, Leaf, NONE};
use super::slot::Slots;
use super::tree::{Place, Tree};
use crate::{OutOfMemory, Span};

impl Tree {
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
        let whole = node.gap(index - 1);
        node.insert(index, span.first(), span.last().wrapping_add(1), slot);
        node.loose = true;
        slots.at_mut(slot).leaf = leaf;
        self.len += 1;
        if self.len == 1 {
            // The gap of the empty 64-bit space was 2^64 bytes, more than a measure can say.
            self.tighten(leaf);
        } else if whole == node.measure.gap {
            let gap = node.longest();
            if gap != whole {
                node.measure.shrink(gap);
                self.leaf_changed(leaf);
            }
        }
    }

    /// Measures a leaf anew, if that may make a difference.
    pub(super) fn tighten(&mut self, leaf: u32) {
        let node = self.leaf_mut(leaf);
        if !node.loose {
            return;
        }
        let before = node.measure;
        node.remeasure();
        if node.measure != before {
            self.leaf_changed(leaf);
        }
    }

    /// Tells the parents of `leaf` its measure.
    #[inline]
    pub(super) fn leaf_changed(&mut self, leaf: u32) {
        let node = self.leaf(leaf);
        if node.parent != NONE {
            self.measure_changed(node.parent, node.at, node.measure);
        }
    }

    /// Tells the parents that their child's measure is now `measure`.
    pub(super) fn measure_changed(&mut self, mut parent: u32, mut at: u32, mut measure: Measure) {
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
    pub(super) fn low_changed(&mut self, mut parent: u32, mut at: u32, low: u64) {
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
    #[expect(
        clippy::too_many_arguments,
        reason = "where the child goes, and all that the parent notes of it"
    )]
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
    pub(super) fn adopt(&mut self, parent: u32, index: usize, height: u32) {
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
}
