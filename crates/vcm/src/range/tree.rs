//! A B+ tree of ranges in address order. Each subtree knows its longest gap and its largest aligned block.
//!
//! What always holds:
//! 1. The first entry of the first leaf is no range but the edge: it ends where the window starts, and the
//!    gap behind it is the window's first. So every gap belongs to the entry before it.
//! 2. A leaf knows where the next leaf's first range starts, so the gap behind its last range is its own.
//! 3. A parent's `low` is the start of the child's first range, and its measure the child's. A leaf's longest
//!    gap is exactly as long as it says, its largest block and alignment are at most what it says.
//! 4. A slot knows the leaf of its range, a node its parent: removal goes up from there, without a search.

use super::node::{Inner, Leaf, NONE};
use crate::{List, OutOfMemory, Span};

/// Where an entry is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub(super) leaf: u32,
    pub(super) index: usize,
}

#[derive(Debug)]
pub(super) struct Tree {
    pub(super) leaves: List<Leaf>,
    pub(super) inners: List<Inner>,
    pub(super) unused_leaf: u32,
    pub(super) unused_inner: u32,
    pub(super) root: u32,
    /// The leaf of the last removal, if no search was in vain there since: looked at first, because it is
    /// still in the processor's cache.
    pub(super) hint: u32,
    /// The number of levels of inner nodes.
    pub(super) height: u32,
    /// The number of ranges.
    pub(super) len: usize,
    pub(super) window: Span,
    pub(super) granule: u64,
}

impl Tree {
    pub(super) const fn new(window: Span, granule: u64) -> Self {
        Self {
            leaves: List::new(),
            inners: List::new(),
            unused_leaf: NONE,
            unused_inner: NONE,
            root: NONE,
            hint: NONE,
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
    pub(super) fn leaf_mut(&mut self, leaf: u32) -> &mut Leaf {
        &mut self.leaves[leaf as usize]
    }

    #[inline]
    pub(super) fn inner(&self, inner: u32) -> &Inner {
        &self.inners[inner as usize]
    }

    #[inline]
    pub(super) fn inner_mut(&mut self, inner: u32) -> &mut Inner {
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

    pub(super) fn try_clone(&self) -> Result<Self, OutOfMemory> {
        Ok(Self { leaves: self.leaves.try_clone()?, inners: self.inners.try_clone()?, ..*self })
    }
}
