//! The occupied ranges of an address space, and the gaps between them.
//!
//! ```
//! use vcm::Span;
//! use vcm::range::{Alignment, RangeError, Ranges, Request};
//!
//! // The I/O virtual addresses of a device with 32 address bits, in pages of 4K.
//! let window = Span::inclusive(0, 0xffff_ffff).unwrap();
//! let mut ranges = Ranges::new(window, 0x1000);
//! let frame = ranges.place_at(Span::new(0x1000_0000, 0x20_0000).unwrap(), "frame buffer")?;
//! let request = Request { len: 0x10_0000, alignment: Alignment::Preferring(0x10_0000), within: window };
//! let queue = ranges.place(&request, "queue")?;
//!
//! assert_eq!(ranges.span_of(queue), Span::new(0, 0x10_0000));
//! assert_eq!(ranges.find(0x1000_1234).map(|(key, ..)| key), Some(frame));
//! let again = ranges.place_at(Span::new(0x1010_0000, 0x1000).unwrap(), "late");
//! assert!(matches!(again, Err(RangeError::Occupied { key, .. }) if key == frame));
//! ranges.remove(frame);
//! assert_eq!(ranges.len(), 1);
//! # Ok::<(), RangeError>(())
//! ```
//!
//! # How long things take
//! The ranges are in a B+ tree in which each subtree knows its longest gap, its largest aligned block and the
//! best alignment of any of its free addresses. With n ranges every operation takes O(log n) steps, but for
//! [`Ranges::place`] in two cases. What a subtree knows of blocks and alignments may be outdated by insertions;
//! each leaf that a search visits in vain is measured again, so that an insertion misleads one search at most.
//! And when no gap is sure to take the range *wherever* the gap starts, the search looks at each leaf in which
//! some gap is long enough, some holds an aligned block, if the range is as long as its alignment, and some an
//! aligned address. There is no such search when length and alignment are the same power of two.
//!
//! A range goes beside the one that was removed last, into the shortest gap there that takes it, because that
//! part of the tree is still in the processor's cache; else into the lowest gap that is sure to take it.
//!
//! Ranges of common lengths (up to 256 granules, and powers of two up to 4096) wait in a bounded cache after
//! their removal. The next placement of that length takes one from there in constant time, last in, first
//! out. A cached range is free in every answer; when its space is wanted for something else, it is given up.
//! The cache keeps 31 ranges per length and costs 128 bytes for each granule of the longest such range, 33 KB
//! at most.

mod cache;
mod fit;
mod insert;
mod node;
mod remove;
mod request;
mod search;
mod slot;
mod tree;

pub use request::{Alignment, RangeError, RangeKey, Request};

use crate::{OutOfMemory, Span};
use cache::{Cache, class_of};
use fit::Wanted;
use search::Found;
use slot::Slots;
use tree::{Place, Tree};

/// Ranges that do not overlap, inside a window of a 64-bit space, each with a payload `T`.
#[derive(Debug)]
pub struct Ranges<T> {
    window: Span,
    granule: u64,
    /// The number of ranges: no more than slots. (Of another width than `used`: compilers change two
    /// neighbours of the same in one go, which is slow after one of them was written alone.)
    len: u32,
    /// The bytes of all ranges; 2^64 wraps to 0.
    used: u64,
    slots: Slots<T>,
    tree: Tree,
    cache: Cache,
}

impl<T> Ranges<T> {
    /// No ranges in `window`, whose two ends are multiples of `granule`: a power of two in bytes, the unit of
    /// every length and address. Allocates nothing.
    pub const fn new(window: Span, granule: u64) -> Self {
        debug_assert!(granule.is_power_of_two() && window.is_aligned(granule));
        Self {
            window,
            granule,
            len: 0,
            used: 0,
            slots: Slots::new(),
            tree: Tree::new(window, granule),
            cache: Cache::new(),
        }
    }

    /// The space in which ranges lie.
    pub const fn window(&self) -> Span {
        self.window
    }

    /// The unit of lengths and addresses, in bytes.
    pub const fn granule(&self) -> u64 {
        self.granule
    }

    /// The number of ranges.
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there are no ranges.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes of the window that no range occupies.
    pub const fn free_bytes(&self) -> u128 {
        if self.used == 0 && self.len > 0 { 0 } else { self.window.len() - self.used as u128 }
    }

    /// The longest run of the window that no range occupies; the lowest, if several are as long. `None` when
    /// the window is full.
    pub fn largest_gap(&self) -> Option<Span> {
        let mut best = self.tree.largest_gap(self.window);
        // Cached ranges join the gaps beside them. Each run of them is walked once, from its first.
        for slot in self.cache.iter() {
            let Some(run) = self.run_from(slot) else { continue };
            if best.is_none_or(|best| (run.len(), best.first()) > (best.len(), run.first())) {
                best = Some(run);
            }
        }
        best
    }

    /// The free run that `slot`, a cached range, is the first cached range of.
    fn run_from(&self, slot: u32) -> Option<Span> {
        let mut place = self.place_of(slot);
        let before = self.tree.previous(place)?;
        if self.is_cached(before) {
            return None;
        }
        let first = self.tree.leaf(before.leaf).entries[before.index].end;
        while let Some(next) = self.tree.next(place)
            && self.is_cached(next)
        {
            place = next;
        }
        let limit = self.tree.leaf(place.leaf).entries[place.index + 1].first;
        Span::inclusive(first, limit.wrapping_sub(1))
    }

    fn is_cached(&self, place: Place) -> bool {
        let slot = self.tree.leaf(place.leaf).entries[place.index].slot;
        slot != node::NONE && self.slots.at(slot).value.is_none()
    }

    /// Places a range wherever one fits, with `value`.
    ///
    /// # Errors
    /// [`RangeError::BadLength`], [`RangeError::BadAlignment`]: the request makes no sense.
    /// [`RangeError::OutOfWindow`]: it looks outside the window. [`RangeError::NoSpace`]: no gap takes it.
    /// [`RangeError::OutOfMemory`]. The ranges are as before, and `value` is dropped.
    pub fn place(&mut self, request: &Request, value: T) -> Result<RangeKey, RangeError> {
        let granule = self.granule;
        let extra = request.len.wrapping_sub(1);
        if extra > u128::from(u64::MAX) || request.len as u64 & (granule - 1) != 0 {
            return Err(RangeError::BadLength { asked: request.len, granule });
        }
        let extra = extra as u64;
        if !request.alignment.bytes().is_power_of_two() {
            return Err(RangeError::BadAlignment { asked: request.alignment.bytes() });
        }
        if !self.window.covers(request.within) {
            return Err(RangeError::OutOfWindow { asked: request.within, window: self.window });
        }
        let alignment = request.alignment.bytes().max(granule);
        if let Some(class) = class_of(extra, granule.trailing_zeros())
            && let Some(number) = self.cache.top(class)
        {
            let slot = self.slots.at_mut(number);
            let aligned = slot.first & (alignment - 1) == 0;
            if aligned && request.within.first() <= slot.first && slot.last <= request.within.last() {
                slot.value = Some(value);
                let key = RangeKey::new(number, slot.generation);
                self.cache.pop(class);
                self.len += 1;
                self.used = self.used.wrapping_add(extra).wrapping_add(1);
                return Ok(key);
            }
        }
        self.place_in_tree(request, value)
    }

    /// Places a range, of a request that makes sense, in a gap of the tree.
    #[inline(never)]
    fn place_in_tree(&mut self, request: &Request, value: T) -> Result<RangeKey, RangeError> {
        let granule = self.granule;
        let extra = (request.len - 1) as u64;
        let alignment = request.alignment.bytes().max(granule);
        let wanted = Wanted::new(extra, alignment, granule, request.within);
        if let Some(found) = self.tree.find_near(&wanted)
            && let Some(span) = Span::inclusive(found.first, found.first + extra)
        {
            return Ok(self.occupy(found.after, span, value)?);
        }
        let Some(found) = self.search(&wanted, request.alignment) else {
            let largest = self.tree.largest_gap(request.within).map_or(0, Span::len);
            let (asked, within, free) = (request.len, request.within, self.free_bytes());
            // Where a smaller alignment would do, none was met.
            let alignment = match request.alignment {
                Alignment::Exactly(_) => alignment,
                Alignment::Preferring(_) => granule,
            };
            return Err(RangeError::NoSpace { asked, alignment, within, largest, free });
        };
        let Some(span) = Span::inclusive(found.first, found.first + extra) else {
            return Err(RangeError::BadLength { asked: request.len, granule });
        };
        Ok(self.occupy(found.after, span, value)?)
    }

    /// Where the range goes. `None` only with an empty cache.
    fn search(&mut self, wanted: &Wanted, alignment: Alignment) -> Option<Found> {
        let sure = self.tree.find_sure(wanted);
        if sure.is_some() {
            return sure;
        }
        if self.tree.len() > self.len() {
            self.flush();
            let sure = self.tree.find_sure(wanted);
            if sure.is_some() {
                return sure;
            }
        }
        match alignment {
            Alignment::Exactly(_) => self.tree.find_any(wanted),
            Alignment::Preferring(_) => {
                self.tree.find_any(wanted).or_else(|| self.tree.find_most_aligned(wanted))
            }
        }
    }

    /// Occupies `span`, which is in the gap behind `after`.
    fn occupy(&mut self, after: Place, span: Span, value: T) -> Result<RangeKey, OutOfMemory> {
        if let Some(class) = class_of(span.last() - span.first(), self.granule.trailing_zeros()) {
            self.cache.reserve(class)?;
        }
        self.slots.reserve()?;
        let after = self.tree.reserve(after)?;
        let key = self.slots.take(span, value);
        self.tree.insert(&mut self.slots, after, span, key.slot());
        self.len += 1;
        self.used = self.used.wrapping_add(span.len() as u64);
        Ok(key)
    }

    /// Places a range at `span`, with `value`.
    ///
    /// # Errors
    /// [`RangeError::OutOfWindow`], [`RangeError::Misaligned`]: the span makes no sense here.
    /// [`RangeError::Occupied`]: a range is in the way; names the first. [`RangeError::OutOfMemory`].
    /// The ranges are as before, and `value` is dropped.
    pub fn place_at(&mut self, span: Span, value: T) -> Result<RangeKey, RangeError> {
        if !self.window.covers(span) {
            return Err(RangeError::OutOfWindow { asked: span, window: self.window });
        }
        if !span.is_aligned(self.granule) {
            return Err(RangeError::Misaligned { asked: span, granule: self.granule });
        }
        loop {
            let after = self.tree.locate(span.first()).unwrap_or(Place { leaf: node::NONE, index: 0 });
            let Some(slot) = self.first_in(after, span) else {
                return Ok(self.occupy(after, span, value)?);
            };
            let held = self.slots.at(slot);
            if held.value.is_some() {
                let by = Span::inclusive(held.first, held.last).unwrap_or(span);
                let key = RangeKey::new(slot, held.generation);
                return Err(RangeError::Occupied { asked: span, by, key });
            }
            if let Some(class) = self.class_of(slot) {
                self.cache.remove(class, slot);
            }
            self.forget(slot);
        }
    }

    /// The first range or cached range that shares a byte with `span`, which starts in the entry `at` or in
    /// the gap behind.
    fn first_in(&self, at: Place, span: Span) -> Option<u32> {
        if at.leaf == node::NONE {
            return None;
        }
        let slot = self.tree.leaf(at.leaf).entries[at.index].slot;
        if slot != node::NONE && self.slots.at(slot).last >= span.first() {
            return Some(slot);
        }
        let next = self.tree.next(at)?;
        let entry = self.tree.leaf(next.leaf).entries[next.index];
        (entry.first <= span.last()).then_some(entry.slot)
    }

    fn class_of(&self, slot: u32) -> Option<usize> {
        let slot = self.slots.at(slot);
        class_of(slot.last - slot.first, self.granule.trailing_zeros())
    }

    #[inline]
    fn place_of(&self, slot: u32) -> Place {
        let slot = self.slots.at(slot);
        self.tree.place_of(slot.leaf, slot.first)
    }

    /// Takes a range that is not placed any more out of the tree.
    fn forget(&mut self, slot: u32) {
        let place = self.place_of(slot);
        self.tree.remove(&mut self.slots, place);
        self.slots.give_back(slot);
    }

    /// Empties the cache.
    fn flush(&mut self) {
        while let Some(slot) = self.cache.pop_any() {
            self.forget(slot);
        }
    }

    /// Removes the range with `key`; `None` when it is gone already. Allocates nothing.
    pub fn remove(&mut self, key: RangeKey) -> Option<(Span, T)> {
        let slot = self.slots.get_mut(key)?;
        let value = slot.value.take()?;
        let span = Span::inclusive(slot.first, slot.last)?;
        self.len -= 1;
        self.used = self.used.wrapping_sub(span.len() as u64);
        if slot.generation != u32::MAX {
            slot.generation += 1;
            if let Some(class) = class_of(span.last() - span.first(), self.granule.trailing_zeros())
                && self.cache.push(class, key.slot())
            {
                return Some((span, value));
            }
        } else {
            // The generations of this slot are used up: it is neither cached nor ever used again.
            let place = self.place_of(key.slot());
            self.tree.remove(&mut self.slots, place);
            return Some((span, value));
        }
        self.forget(key.slot());
        Some((span, value))
    }

    /// The payload of the range with `key`.
    pub fn get(&self, key: RangeKey) -> Option<&T> {
        self.slots.get(key)?.value.as_ref()
    }

    /// The payload of the range with `key`, to change.
    pub fn get_mut(&mut self, key: RangeKey) -> Option<&mut T> {
        self.slots.get_mut(key)?.value.as_mut()
    }

    /// Where the range with `key` is.
    pub fn span_of(&self, key: RangeKey) -> Option<Span> {
        let slot = self.slots.get(key)?;
        Span::inclusive(slot.first, slot.last)
    }

    /// The range that `address` is in.
    pub fn find(&self, address: u64) -> Option<(RangeKey, Span, &T)> {
        if !self.window.contains(address) {
            return None;
        }
        let place = self.tree.locate(address)?;
        self.entry(place).filter(|(_, span, _)| span.contains(address))
    }

    /// The placed range at `place`; `None` for the edge and for cached ranges.
    fn entry(&self, place: Place) -> Option<(RangeKey, Span, &T)> {
        let number = self.tree.leaf(place.leaf).entries[place.index].slot;
        if number == node::NONE {
            return None;
        }
        let slot = self.slots.at(number);
        let value = slot.value.as_ref()?;
        let key = RangeKey::new(number, slot.generation);
        Some((key, Span::inclusive(slot.first, slot.last)?, value))
    }

    /// The ranges that share a byte with `span`, in the order of their addresses.
    pub fn overlapping(&self, span: Span) -> impl Iterator<Item = (RangeKey, Span, &T)> {
        let part = span.intersection(self.window);
        let mut next = part.and_then(|part| self.tree.locate(part.first()));
        core::iter::from_fn(move || {
            loop {
                let place = next?;
                if self.tree.leaf(place.leaf).entries[place.index].first > span.last() {
                    next = None;
                    return None;
                }
                next = self.tree.next(place);
                if let Some(entry) = self.entry(place)
                    && entry.1.overlaps(span)
                {
                    return Some(entry);
                }
            }
        })
    }

    /// All ranges, in the order of their addresses.
    pub fn iter(&self) -> impl Iterator<Item = (RangeKey, Span, &T)> {
        self.overlapping(self.window)
    }

    /// A copy in which every key finds the copy of its range.
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn try_clone(&self) -> Result<Self, OutOfMemory>
    where
        T: Clone,
    {
        Ok(Self {
            slots: self.slots.try_clone()?,
            tree: self.tree.try_clone()?,
            cache: self.cache.try_clone()?,
            ..*self
        })
    }
}

#[cfg(test)]
mod tests;
