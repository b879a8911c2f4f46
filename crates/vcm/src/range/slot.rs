//! The slots of the ranges: what a key leads to.

use super::node::NONE;
use super::request::RangeKey;
use crate::{List, OutOfMemory, Span};

/// A range that is placed (it has a value), one that waits in the cache (it has none, but is still in the
/// tree), or an unused slot.
#[derive(Clone, Debug)]
pub(super) struct Slot<T> {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) value: Option<T>,
    pub(super) generation: u32,
    /// The leaf that holds the range; in an unused slot, the next unused one.
    pub(super) leaf: u32,
}

/// All slots, the unused ones chained.
#[derive(Debug)]
pub(super) struct Slots<T> {
    all: List<Slot<T>>,
    unused: u32,
}

impl<T> Slots<T> {
    pub(super) const fn new() -> Self {
        Self { all: List::new(), unused: NONE }
    }

    /// Makes room for one more range.
    #[inline]
    pub(super) fn reserve(&mut self) -> Result<(), OutOfMemory> {
        if self.unused != NONE {
            return Ok(());
        }
        // The last number is `NONE`.
        if self.all.len() >= NONE as usize {
            return Err(OutOfMemory);
        }
        self.all.reserve(1)
    }

    /// Takes a slot, in room that [`Slots::reserve`] made.
    #[inline]
    pub(super) fn take(&mut self, span: Span, value: T) -> RangeKey {
        let (first, last) = (span.first(), span.last());
        if self.unused != NONE {
            let number = self.unused;
            let slot = &mut self.all[number as usize];
            self.unused = slot.leaf;
            slot.first = first;
            slot.last = last;
            slot.value = Some(value);
            return RangeKey::new(number, slot.generation);
        }
        let number = self.all.len() as u32;
        self.all.push_reserved(Slot { first, last, value: Some(value), generation: 0, leaf: NONE });
        RangeKey::new(number, 0)
    }

    /// Makes the slot unused. One whose generations are used up stays empty for ever, so that an old key
    /// never comes true again.
    #[inline]
    pub(super) fn give_back(&mut self, number: u32) {
        let slot = &mut self.all[number as usize];
        if slot.generation != u32::MAX {
            slot.leaf = self.unused;
            self.unused = number;
        }
    }

    /// The slot with `key`, if its range is placed.
    #[inline]
    pub(super) fn get(&self, key: RangeKey) -> Option<&Slot<T>> {
        self.all
            .get(key.slot() as usize)
            .filter(|slot| slot.generation == key.generation() && slot.value.is_some())
    }

    /// The slot with `key`, to change, if its range is placed.
    #[inline]
    pub(super) fn get_mut(&mut self, key: RangeKey) -> Option<&mut Slot<T>> {
        self.all
            .get_mut(key.slot() as usize)
            .filter(|slot| slot.generation == key.generation() && slot.value.is_some())
    }

    #[inline]
    pub(super) fn at(&self, number: u32) -> &Slot<T> {
        &self.all[number as usize]
    }

    #[inline]
    pub(super) fn at_mut(&mut self, number: u32) -> &mut Slot<T> {
        &mut self.all[number as usize]
    }

    pub(super) fn try_clone(&self) -> Result<Self, OutOfMemory>
    where
        T: Clone,
    {
        Ok(Self { all: self.all.try_clone()?, unused: self.unused })
    }
}
