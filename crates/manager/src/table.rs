//! Objects behind locks of their own, by generational key.

use crate::lock::{Rank, Ranked};
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, PoisonError, RwLock};
use vcm::{Arena, Key, OutOfMemory};

/// An object that operations may still have in hand when it is removed: then there is nothing in it any more.
type Slot<T> = Ranked<Option<T>>;

/// A table of objects. Its own lock is held for a look-up only, never while an object's lock is taken.
#[derive(Debug)]
pub(crate) struct Table<T> {
    rank: fn(u32) -> Rank,
    slots: RwLock<Arena<Arc<Slot<T>>>>,
}

impl<T> Table<T> {
    pub(crate) fn new(rank: fn(u32) -> Rank) -> Self {
        Self { rank, slots: RwLock::new(Arena::new()) }
    }

    /// Puts in what `make` makes of its own key. Others find the key at once, but not the object until it is made.
    pub(crate) fn insert_with<E: From<OutOfMemory>>(
        &self,
        make: impl FnOnce(Key<T>) -> Result<T, E>,
    ) -> Result<Key<T>, E> {
        let mut slot = None;
        let key = self.write().insert_with(|key| {
            let fresh = Arc::new(Ranked::new((self.rank)(key.slot()), None));
            slot = Some(Arc::clone(&fresh));
            Ok::<_, OutOfMemory>(fresh)
        })?;
        let made = make(key.cast());
        match (made, slot) {
            (Ok(value), Some(slot)) => {
                *slot.lock() = Some(value);
                Ok(key.cast())
            }
            (Ok(_), None) => Err(OutOfMemory.into()),
            (Err(error), _) => {
                self.write().remove(key);
                Err(error)
            }
        }
    }

    /// Calls `visit` with the object, locked. `None` when it is gone.
    pub(crate) fn with<R>(&self, key: Key<T>, visit: impl FnOnce(&mut T) -> R) -> Option<R> {
        let slot = self.read().get(key.cast()).map(Arc::clone)?;
        let mut guard = slot.lock();
        guard.as_mut().map(visit)
    }

    /// Calls `decide` with the object, locked; takes it out if the answer is `Ok`.
    pub(crate) fn remove_if<E>(
        &self,
        key: Key<T>,
        decide: impl FnOnce(&mut T) -> Result<(), E>,
    ) -> Option<Result<T, E>> {
        let slot = self.read().get(key.cast()).map(Arc::clone)?;
        let mut guard = slot.lock();
        let decision = decide(guard.as_mut()?);
        if let Err(error) = decision {
            return Some(Err(error));
        }
        self.write().remove(key.cast());
        guard.take().map(Ok)
    }

    /// The keys of all objects, as they are now.
    pub(crate) fn keys(&self) -> Vec<Key<T>> {
        self.read().iter().map(|(key, _)| key.cast()).collect()
    }

    fn read(&self) -> impl Deref<Target = Arena<Arc<Slot<T>>>> {
        self.slots.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> impl DerefMut<Target = Arena<Arc<Slot<T>>>> {
        self.slots.write().unwrap_or_else(PoisonError::into_inner)
    }
}
