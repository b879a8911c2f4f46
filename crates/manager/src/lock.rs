//! Locks that know their place in the order.
//!
//! A thread takes locks by ascending rank only, so that no two threads ever wait for each other. Debug builds keep
//! each thread's ranks and stop a thread that breaks the order, whether or not another thread happens to be in the
//! way; release builds pay nothing.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The place of a lock in the order: see [`vcm::parts`]. Objects of one kind follow each other by slot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Rank {
    /// Whoever decides which physical range is whose, one at a time.
    PhysicalRanges,
    Devices,
    Region(u32),
    Allocation(u32),
    Targets,
    Hardware,
}

/// A value behind a lock with a rank.
#[derive(Debug)]
pub(crate) struct Ranked<T> {
    rank: Rank,
    mutex: Mutex<T>,
}

impl<T> Ranked<T> {
    pub(crate) const fn new(rank: Rank, value: T) -> Self {
        Self { rank, mutex: Mutex::new(value) }
    }

    /// Takes the lock. A thread that panicked with it left the graph as it was before its operation or as after it,
    /// so the value is used all the same.
    pub(crate) fn lock(&self) -> RankedGuard<'_, T> {
        order::enter(self.rank);
        let guard = self.mutex.lock().unwrap_or_else(PoisonError::into_inner);
        RankedGuard { guard, rank: self.rank }
    }
}

/// The lock, held.
#[derive(Debug)]
pub(crate) struct RankedGuard<'a, T> {
    guard: MutexGuard<'a, T>,
    rank: Rank,
}

impl<T> Deref for RankedGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T> DerefMut for RankedGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

impl<T> Drop for RankedGuard<'_, T> {
    fn drop(&mut self) {
        order::leave(self.rank);
    }
}

#[cfg(debug_assertions)]
mod order {
    use super::Rank;
    use std::cell::RefCell;

    thread_local! {
        static HELD: RefCell<Vec<Rank>> = const { RefCell::new(Vec::new()) };
    }

    pub(super) fn enter(rank: Rank) {
        HELD.with_borrow_mut(|held| {
            let highest = held.iter().max().copied();
            assert!(
                highest.is_none_or(|highest| highest < rank),
                "lock order: {rank:?} taken while holding {held:?}"
            );
            held.push(rank);
        });
    }

    pub(super) fn leave(rank: Rank) {
        HELD.with_borrow_mut(|held| {
            if let Some(index) = held.iter().rposition(|other| *other == rank) {
                held.remove(index);
            }
        });
    }
}

#[cfg(not(debug_assertions))]
mod order {
    use super::Rank;

    pub(super) const fn enter(_: Rank) {}
    pub(super) const fn leave(_: Rank) {}
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::*;

    #[test]
    fn locks_are_taken_by_ascending_rank() {
        let region = Ranked::new(Rank::Region(3), ());
        let other = Ranked::new(Rank::Region(4), ());
        let targets = Ranked::new(Rank::Targets, ());
        let first = region.lock();
        let second = other.lock();
        let third = targets.lock();
        drop(second);
        drop(first);
        drop(third);
        // All were given back: the lowest may be taken again.
        drop(region.lock());
    }

    #[test]
    #[should_panic(expected = "lock order: Region(3) taken while holding [Allocation(0)]")]
    fn a_thread_that_goes_back_is_stopped() {
        let region = Ranked::new(Rank::Region(3), ());
        let allocation = Ranked::new(Rank::Allocation(0), ());
        let _held = allocation.lock();
        let _refused = region.lock();
    }

    #[test]
    #[should_panic(expected = "lock order")]
    fn one_lock_is_not_taken_twice() {
        let targets = Ranked::new(Rank::Targets, ());
        let _held = targets.lock();
        let _refused = targets.lock();
    }
}
