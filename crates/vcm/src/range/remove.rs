//! Removing from the tree: merging, and nothing that could fail.

use super::node::{FAN, LEAF, NONE};
use super::slot::Slots;
use super::tree::{Place, Tree};

impl Tree {
    /// Removes the range at `place`, which is not the edge.
    pub(super) fn remove<T>(&mut self, slots: &mut Slots<T>, place: Place) {
        let Place { leaf, index } = place;
        self.len -= 1;
        self.hint = leaf;
        let node = self.leaf_mut(leaf);
        if index > 0 {
            node.remove(index);
            let gap = node.measure_of(index - 1);
            let larger = node.measure.include(gap);
            let (parent, len) = (node.parent, node.len());
            if larger {
                self.leaf_changed(leaf);
            }
            if len < LEAF / 4 && parent != NONE {
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
        let gap = before.measure_of(last);
        if before.measure.include(gap) {
            self.leaf_changed(previous);
        }
        if len == 0 {
            self.remove_leaf(leaf);
            return;
        }
        self.low_changed(parent, at, start);
        self.measure_changed(parent, at, measure);
        if len < LEAF / 4 && parent != NONE {
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
        self.hint = previous;
        self.remove_child(parent, at as usize, 0);
    }

    /// Merges a leaf with few ranges, which has a parent, with a sibling that has room, if there is one. Full
    /// nodes are left some room, so that a range that comes and goes does not split and merge each time.
    fn merge<T>(&mut self, slots: &mut Slots<T>, leaf: u32) {
        let node = self.leaf(leaf);
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
        to.loose |= from.loose;
        for entry in &from.entries[..moved] {
            slots.at_mut(entry.slot).leaf = left;
        }
        self.leaf_changed(left);
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
}
