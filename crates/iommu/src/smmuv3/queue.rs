//! Where a queue is, and the arithmetic of its indices.

use super::spec;
use vcm::PhysicalAddress;

/// A queue in memory. Its indices have one bit more than counts its entries: the wrap bit, so that a full queue and an
/// empty one differ (Arm IHI 0070, 3.5.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Queue {
    pub(super) base: PhysicalAddress,
    pub(super) log2: u8,
    pub(super) entry_bytes: u64,
}

impl Queue {
    pub(super) const fn entries(self) -> u32 {
        1 << self.log2
    }

    pub(super) const fn bytes(self) -> u64 {
        self.entry_bytes << self.log2
    }

    /// The bits of an index with its wrap bit.
    pub(super) const fn mask(self) -> u32 {
        (2 << self.log2) - 1
    }

    pub(super) const fn next(self, index: u32) -> u32 {
        index.wrapping_add(1) & self.mask()
    }

    /// How many entries there are from `from` to before `to`. More than [`Self::entries`] makes no sense.
    pub(super) const fn distance(self, from: u32, to: u32) -> u32 {
        to.wrapping_sub(from) & self.mask()
    }

    /// Where the entry at `index` is.
    pub(super) const fn entry(self, index: u32) -> PhysicalAddress {
        let slot = index & (self.entries() - 1);
        PhysicalAddress::new(self.base.raw() + slot as u64 * self.entry_bytes)
    }

    pub(super) const fn register(self) -> u64 {
        spec::QueueBase::new()
            .with_log2size(self.log2)
            .with_address(self.base.raw() >> 5)
            .with_allocate(true)
            .into_bits()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_is_not_an_empty_one() {
        let queue = Queue { base: PhysicalAddress::new(0x1000), log2: 2, entry_bytes: 16 };
        let mut index = 0;
        for _ in 0..4 {
            index = queue.next(index);
        }
        assert_eq!(index, 4, "the wrap bit");
        assert_eq!(queue.distance(0, index), queue.entries());
        assert_eq!(queue.entry(index), queue.entry(0));
        for _ in 0..4 {
            index = queue.next(index);
        }
        assert_eq!(index, 0);
        assert_eq!(queue.distance(6, 1), 3);
    }
}
