//! Numbers that tag cached translations.

use vcm::{List, OutOfMemory};

/// The numbers of one kind that are free: ASIDs or VMIDs. 0 is never given: it is what structures say that have none.
#[derive(Debug)]
pub(super) struct Tags {
    /// One more than the last number.
    end: u32,
    /// All from here on were never given.
    next: u32,
    /// Given back. There is room for all that are given.
    free: List<u16>,
}

impl Tags {
    pub(super) const fn new(end: u32) -> Self {
        Self { end, next: 1, free: List::new() }
    }

    /// How many numbers there are.
    pub(super) const fn count(&self) -> u32 {
        self.end - 1
    }

    /// A number that nothing in the caches is tagged with; `None` when all are taken.
    pub(super) fn take(&mut self) -> Result<Option<u16>, OutOfMemory> {
        if let Some(tag) = self.free.pop() {
            return Ok(Some(tag));
        }
        if self.next >= self.end {
            return Ok(None);
        }
        // Room for it to come back, so that giving back cannot fail.
        let given = self.next as usize;
        self.free.reserve(given - self.free.len())?;
        let tag = self.next as u16;
        self.next += 1;
        Ok(Some(tag))
    }

    /// Takes a number back. To be called when its invalidation has completed.
    pub(super) fn give(&mut self, tag: u16) {
        self.free.push_reserved(tag);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn every_number_but_zero_is_given_once() {
        let mut tags = Tags::new(256);
        let mut given: Vec<u16> = (0..255).map(|_| tags.take().unwrap().unwrap()).collect();
        assert_eq!(tags.take(), Ok(None));
        given.sort_unstable();
        given.dedup();
        assert_eq!((given.len(), given[0], given[254]), (255, 1, 255));
        for tag in given {
            tags.give(tag);
        }
        assert!(tags.take().unwrap().is_some());
    }
}
