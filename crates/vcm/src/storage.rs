//! The one place where the graph's memory grows: every growth can fail, none aborts.
//!
//! A kernel with another allocator replaces this file.

use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};

/// No memory for the graph's own bookkeeping. Nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutOfMemory;

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("out of memory for the graph's bookkeeping")
    }
}

impl core::error::Error for OutOfMemory {}

/// A vector that cannot grow without the caller hearing of failure. Reading and shrinking are a slice's.
#[derive(Debug)]
pub struct List<T>(Vec<T>);

impl<T> List<T> {
    /// An empty list; allocates nothing.
    #[inline]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Makes room for `additional` more elements, so that as many pushes cannot fail.
    ///
    /// # Errors
    /// [`OutOfMemory`]; the list is as before.
    #[inline]
    pub fn reserve(&mut self, additional: usize) -> Result<(), OutOfMemory> {
        self.0.try_reserve(additional).map_err(|_| OutOfMemory)
    }

    /// Appends `value`.
    ///
    /// # Errors
    /// [`OutOfMemory`]; `value` is dropped and the list is as before.
    #[inline]
    pub fn push(&mut self, value: T) -> Result<(), OutOfMemory> {
        self.reserve(1)?;
        self.0.push(value);
        Ok(())
    }

    /// Inserts `value` before position `index` (at most the length).
    ///
    /// # Errors
    /// [`OutOfMemory`]; `value` is dropped and the list is as before.
    #[inline]
    pub fn insert(&mut self, index: usize, value: T) -> Result<(), OutOfMemory> {
        self.reserve(1)?;
        self.0.insert(index, value);
        Ok(())
    }

    /// Appends `value` to a list whose room was made by [`List::reserve`] before.
    ///
    /// Without that room it still appends, but then growth may abort: it is for the mutation half of
    /// validate-then-mutate, and debug builds check.
    #[inline]
    pub fn push_reserved(&mut self, value: T) {
        debug_assert!(self.0.len() < self.0.capacity(), "push without room reserved");
        self.0.push(value);
    }

    /// Appends `values` to a list whose room was made by [`List::reserve`] before; see [`List::push_reserved`].
    #[inline]
    pub fn extend_reserved(&mut self, values: impl ExactSizeIterator<Item = T>) {
        debug_assert!(values.len() <= self.0.capacity() - self.0.len(), "extended without room reserved");
        self.0.extend(values);
    }

    /// Takes the last element off.
    #[inline]
    pub fn pop(&mut self) -> Option<T> {
        self.0.pop()
    }

    /// Removes the element at `index` and moves the last into its place.
    #[inline]
    pub fn swap_remove(&mut self, index: usize) -> T {
        self.0.swap_remove(index)
    }

    /// Removes the element at `index`; those after it move down.
    #[inline]
    pub fn remove(&mut self, index: usize) -> T {
        self.0.remove(index)
    }

    /// Keeps the elements for which `keep` answers true.
    #[inline]
    pub fn retain(&mut self, keep: impl FnMut(&T) -> bool) {
        self.0.retain(keep);
    }

    /// Removes everything from `len` on.
    #[inline]
    pub fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }

    /// Removes everything, keeping the room.
    #[inline]
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// A copy.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    #[inline]
    pub fn try_clone(&self) -> Result<Self, OutOfMemory>
    where
        T: Clone,
    {
        let mut copy = Self::new();
        copy.reserve(self.len())?;
        copy.0.extend(self.0.iter().cloned());
        Ok(copy)
    }
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Deref for List<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T> DerefMut for List<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}

impl<'a, T> IntoIterator for &'a List<T> {
    type Item = &'a T;
    type IntoIter = core::slice::Iter<'a, T>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// The key of a value in an [`Arena`]: its slot and the slot's generation, so that the key of a value
/// that is gone never finds the one that took its place.
pub struct Key<T> {
    slot: u32,
    generation: u32,
    of: PhantomData<fn() -> T>,
}

impl<T> Key<T> {
    /// The key of the same slot and generation in an arena of something else: of locks around the values, say.
    #[inline]
    pub const fn cast<U>(self) -> Key<U> {
        Key { slot: self.slot, generation: self.generation, of: PhantomData }
    }

    /// The slot's number: small, dense, and reused with another generation.
    #[inline]
    pub const fn slot(self) -> u32 {
        self.slot
    }

    /// How often the slot was taken.
    #[inline]
    pub const fn generation(self) -> u32 {
        self.generation
    }
}

impl<T> Clone for Key<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Key<T> {}
impl<T> PartialEq for Key<T> {
    fn eq(&self, other: &Self) -> bool {
        (self.slot, self.generation) == (other.slot, other.generation)
    }
}
impl<T> Eq for Key<T> {}
impl<T> PartialOrd for Key<T> {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<T> Ord for Key<T> {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        (self.slot, self.generation).cmp(&(other.slot, other.generation))
    }
}
impl<T> core::hash::Hash for Key<T> {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        (self.slot, self.generation).hash(state);
    }
}

/// As `3` for a slot's first value, `3.1` for the second, and so on.
impl<T> fmt::Display for Key<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.generation {
            0 => write!(f, "{}", self.slot),
            generation => write!(f, "{}.{generation}", self.slot),
        }
    }
}
impl<T> fmt::Debug for Key<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{self}")
    }
}

#[derive(Clone, Debug)]
struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

/// Values by generational key. Insertion and removal take constant time; removal never fails.
#[derive(Debug)]
pub struct Arena<T> {
    slots: List<Slot<T>>,
    /// The free slots, with room for every slot, so that removal need not grow it.
    free: List<u32>,
    live: usize,
}

impl<T> Arena<T> {
    /// An empty arena; allocates nothing.
    #[inline]
    pub const fn new() -> Self {
        Self { slots: List::new(), free: List::new(), live: 0 }
    }

    /// The number of values.
    #[inline]
    pub const fn len(&self) -> usize {
        self.live
    }

    /// Whether there are no values.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// Makes room for `additional` more values, so that as many inserts cannot fail.
    ///
    /// # Errors
    /// [`OutOfMemory`]; the values are as before.
    #[inline]
    pub fn reserve(&mut self, additional: usize) -> Result<(), OutOfMemory> {
        let fresh = additional.saturating_sub(self.free.len());
        if fresh > 0 {
            if self.slots.len() + fresh > u32::MAX as usize {
                return Err(OutOfMemory);
            }
            self.slots.reserve(fresh)?;
            let all = self.slots.len() + fresh;
            self.free.reserve(all - self.free.len())?;
        }
        Ok(())
    }

    /// Puts `value` in and returns its key.
    ///
    /// # Errors
    /// [`OutOfMemory`]; `value` is dropped.
    #[inline]
    pub fn insert(&mut self, value: T) -> Result<Key<T>, OutOfMemory> {
        self.reserve(1)?;
        Ok(self.insert_reserved(value))
    }

    /// Puts `value` in, in room that [`Arena::reserve`] made before.
    #[inline]
    pub fn insert_reserved(&mut self, value: T) -> Key<T> {
        self.live += 1;
        if let Some(slot) = self.free.pop() {
            let place = &mut self.slots[slot as usize];
            place.value = Some(value);
            return Key { slot, generation: place.generation, of: PhantomData };
        }
        let slot = self.slots.len() as u32;
        self.slots.push_reserved(Slot { generation: 0, value: Some(value) });
        Key { slot, generation: 0, of: PhantomData }
    }

    /// Puts in what `make` makes of its own key.
    ///
    /// # Errors
    /// [`OutOfMemory`], or what `make` answers; the values are as before.
    #[inline]
    pub fn insert_with<E: From<OutOfMemory>>(
        &mut self,
        make: impl FnOnce(Key<T>) -> Result<T, E>,
    ) -> Result<Key<T>, E> {
        self.reserve(1)?;
        let value = make(self.next_key())?;
        Ok(self.insert_reserved(value))
    }

    /// The key that the next value will get.
    #[inline]
    pub fn next_key(&self) -> Key<T> {
        let slot = self.free.last().copied().unwrap_or(self.slots.len() as u32);
        let generation = self.slots.get(slot as usize).map_or(0, |place| place.generation);
        Key { slot, generation, of: PhantomData }
    }

    /// Takes the value with `key` out; `None` when it is gone already.
    #[inline]
    pub fn remove(&mut self, key: Key<T>) -> Option<T> {
        let slot = self.slots.get_mut(key.slot as usize)?;
        if slot.generation != key.generation {
            return None;
        }
        let value = slot.value.take()?;
        self.live -= 1;
        // A slot whose generations are used up is never handed out again: an old key must not come true.
        if let Some(next) = slot.generation.checked_add(1) {
            slot.generation = next;
            self.free.push_reserved(key.slot);
        }
        Some(value)
    }

    /// The value with `key`.
    #[inline]
    pub fn get(&self, key: Key<T>) -> Option<&T> {
        let slot = self.slots.get(key.slot as usize)?;
        if slot.generation == key.generation { slot.value.as_ref() } else { None }
    }

    /// The value with `key`, to change.
    #[inline]
    pub fn get_mut(&mut self, key: Key<T>) -> Option<&mut T> {
        let slot = self.slots.get_mut(key.slot as usize)?;
        if slot.generation == key.generation { slot.value.as_mut() } else { None }
    }

    /// The number of slots, taken or free: with [`Arena::key_at`], a way through all values that lets them be
    /// changed and removed on the way.
    #[inline]
    pub fn slots(&self) -> u32 {
        self.slots.len() as u32
    }

    /// The key of the value in a slot, if there is one.
    #[inline]
    pub fn key_at(&self, slot: u32) -> Option<Key<T>> {
        let place = self.slots.get(slot as usize)?;
        place.value.as_ref().map(|_| Key { slot, generation: place.generation, of: PhantomData })
    }

    /// All values with their keys, in the order of slots.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = (Key<T>, &T)> {
        self.slots.iter().enumerate().filter_map(|(slot, place)| {
            let key = Key { slot: slot as u32, generation: place.generation, of: PhantomData };
            place.value.as_ref().map(|value| (key, value))
        })
    }

    /// All values with their keys, to change, in the order of slots.
    #[inline]
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Key<T>, &mut T)> {
        self.slots.iter_mut().enumerate().filter_map(|(slot, place)| {
            let key = Key { slot: slot as u32, generation: place.generation, of: PhantomData };
            place.value.as_mut().map(|value| (key, value))
        })
    }

    /// A copy in which every key finds the copy of its value.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    #[inline]
    pub fn try_clone(&self) -> Result<Self, OutOfMemory>
    where
        T: Clone,
    {
        self.try_map(|value| Ok(value.clone()))
    }

    /// A copy in which every key finds what `copy` made of its value.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    #[inline]
    pub fn try_map(&self, mut copy: impl FnMut(&T) -> Result<T, OutOfMemory>) -> Result<Self, OutOfMemory> {
        let mut free = self.free.try_clone()?;
        free.reserve(self.slots.len() - free.len())?;
        let mut slots = List::new();
        slots.reserve(self.slots.len())?;
        for slot in &self.slots {
            let value = slot.value.as_ref().map(&mut copy).transpose()?;
            slots.push_reserved(Slot { generation: slot.generation, value });
        }
        Ok(Self { slots, free, live: self.live })
    }
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_key_never_finds_the_next_value_of_its_slot() {
        let mut arena = Arena::new();
        let first = arena.insert("first").unwrap();
        assert_eq!(arena.remove(first), Some("first"));
        let second = arena.insert("second").unwrap();
        assert_eq!(first.slot(), second.slot());
        assert_eq!(arena.get(first), None);
        assert_eq!(arena.remove(first), None);
        assert_eq!(arena.get(second), Some(&"second"));
        assert_eq!(arena.len(), 1);
    }

    #[test]
    fn a_slot_is_retired_before_its_generations_wrap() {
        let mut arena = Arena::new();
        let key = arena.insert(1).unwrap();
        arena.slots[0].generation = u32::MAX;
        let last = Key { generation: u32::MAX, ..key };
        assert_eq!(arena.remove(last), Some(1));
        assert_eq!(arena.insert(2).unwrap().slot(), 1);
    }

    #[test]
    fn a_copy_answers_to_the_same_keys() {
        let mut arena = Arena::new();
        let gone = arena.insert(1).unwrap();
        let kept = arena.insert(2).unwrap();
        arena.remove(gone);
        let mut copy = arena.try_clone().unwrap();
        assert_eq!(copy.get(kept), Some(&2));
        assert_eq!(copy.remove(kept), Some(2));
        assert_eq!(arena.get(kept), Some(&2));
    }
}
