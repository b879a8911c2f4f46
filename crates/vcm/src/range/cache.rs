//! Ranges of common lengths that were just removed, for the next placement of the same length.
//!
//! A cached range stays in the tree, so that neither its removal nor its return touches the tree. Nobody
//! outside sees it: to everyone else it is free, and it leaves the tree as soon as its space is wanted for
//! something else.

use crate::{List, OutOfMemory};

/// Lengths of one to this many granules have a class each.
const SMALL: u64 = 256;
/// So have the powers of two above, up to 2^this granules.
const LARGEST_ORDER: u32 = 12;
/// Ranges per class: with the count, two cache lines.
const DEPTH: usize = 31;

/// The class for ranges of `extra` + 1 bytes in granules of 2^`shift` bytes.
#[inline]
pub(super) fn class_of(extra: u64, shift: u32) -> Option<usize> {
    let extra_granules = extra >> shift;
    if extra_granules < SMALL {
        return Some(extra_granules as usize);
    }
    let granules = extra_granules.checked_add(1)?;
    let order = granules.trailing_zeros();
    (granules.is_power_of_two() && order <= LARGEST_ORDER)
        .then(|| SMALL as usize + (order - SMALL.trailing_zeros()) as usize - 1)
}

#[derive(Clone, Debug)]
struct Class {
    len: u32,
    slots: [u32; DEPTH],
}

/// A stack of slots per class.
#[derive(Debug)]
pub(super) struct Cache {
    classes: List<Class>,
}

impl Cache {
    pub(super) const fn new() -> Self {
        Self { classes: List::new() }
    }

    /// Makes room for `class` and those of smaller lengths. Before that nothing of the class is cached.
    pub(super) fn reserve(&mut self, class: usize) -> Result<(), OutOfMemory> {
        if class >= self.classes.len() {
            let missing = class + 1 - self.classes.len();
            self.classes.reserve(missing)?;
            for _ in 0..missing {
                self.classes.push_reserved(Class { len: 0, slots: [0; DEPTH] });
            }
        }
        Ok(())
    }

    /// The slot last put into `class`.
    #[inline]
    pub(super) fn top(&self, class: usize) -> Option<u32> {
        let class = self.classes.get(class)?;
        class.slots.get((class.len as usize).wrapping_sub(1)).copied()
    }

    /// Takes the slot last put into `class`.
    #[inline]
    pub(super) fn pop(&mut self, class: usize) {
        if let Some(class) = self.classes.get_mut(class)
            && class.len > 0
        {
            class.len -= 1;
        }
    }

    /// Puts `slot` into `class`; `false` when the class is full.
    #[inline]
    pub(super) fn push(&mut self, class: usize, slot: u32) -> bool {
        if let Some(class) = self.classes.get_mut(class)
            && let Some(place) = class.slots.get_mut(class.len as usize)
        {
            *place = slot;
            class.len += 1;
            return true;
        }
        false
    }

    /// Takes `slot` out of `class`, wherever it is.
    pub(super) fn remove(&mut self, class: usize, slot: u32) {
        if let Some(class) = self.classes.get_mut(class) {
            let len = class.len as usize;
            if let Some(index) = class.slots[..len].iter().position(|each| *each == slot) {
                class.slots.copy_within(index + 1..len, index);
                class.len -= 1;
            }
        }
    }

    /// Takes any slot out.
    pub(super) fn pop_any(&mut self) -> Option<u32> {
        let class = self.classes.iter_mut().find(|class| class.len > 0)?;
        class.len -= 1;
        Some(class.slots[class.len as usize])
    }

    /// All cached slots.
    pub(super) fn iter(&self) -> impl Iterator<Item = u32> {
        self.classes.iter().flat_map(|class| class.slots[..class.len as usize].iter().copied())
    }

    pub(super) fn try_clone(&self) -> Result<Self, OutOfMemory> {
        Ok(Self { classes: self.classes.try_clone()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_common_length_has_a_class_of_its_own() {
        let classes: std::vec::Vec<_> =
            (1..=1u64 << 13).filter_map(|granules| class_of(granules * 4096 - 1, 12)).collect();
        assert_eq!(classes, (0..260).collect::<std::vec::Vec<_>>());
        assert_eq!(class_of(u64::MAX, 0), None);
        assert_eq!(class_of(u64::MAX, 12), None);
    }
}
