//! A split virtqueue over memory that is shared with a device which is not trusted.
//!
//! What the driver must remember it keeps to itself; of what the device writes, only the used ring is read, each word
//! once, and each is checked against what the device was given. After the first word that makes no sense the queue
//! answers with an error until it is made anew, which is for a device that was reset.

use super::Rings;
use super::spec::{
    AVAILABLE_ENTRY_BYTES, AVAILABLE_NO_INTERRUPT, DESCRIPTOR_ALIGN, DESCRIPTOR_BYTES, DESCRIPTOR_FLAGS_NEXT,
    DESCRIPTOR_LEN, DESCRIPTOR_NEXT, DESCRIPTOR_WRITE, RING_ENTRIES, RING_EXTRA_BYTES, RING_FLAGS_INDEX,
    USED_ENTRY_BYTES,
};
use crate::SharedMemory;
use vcm::{List, OutOfMemory, PhysicalAddress};

/// Whether the device is to raise its interrupt for a queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Interrupts {
    Wanted,
    Unwanted,
}

/// A piece of memory that goes to the device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Piece {
    pub(super) at: PhysicalAddress,
    pub(super) len: u32,
    pub(super) direction: Direction,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Direction {
    ToDevice,
    FromDevice,
}

/// A chain that came back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Used {
    /// Its first descriptor.
    pub(super) head: u16,
    /// How many bytes were written; no more than there was room for.
    pub(super) len: u32,
    /// How many chains had come back, this one among them.
    pub(super) waiting: u16,
}

/// What the device did that it must not.
pub(super) type Nonsense = &'static str;

#[derive(Debug)]
pub(super) struct Queue {
    rings: Rings,
    flags: u16,
    next_available: u16,
    next_used: u16,
    /// For the first descriptor of each chain that the device has: how many bytes it may write.
    given: List<Option<u32>>,
    outstanding: u16,
    nonsense: Option<Nonsense>,
}

impl Queue {
    /// An empty queue of `size` descriptors, a power of two.
    pub(super) fn new<M: SharedMemory>(
        memory: &mut M,
        size: u16,
        interrupts: Interrupts,
    ) -> Result<Self, OutOfMemory> {
        let mut given = List::new();
        given.reserve(size.into())?;
        given.extend_reserved((0..size).map(|_| None));
        let base = memory.allocate(Self::bytes(size), DESCRIPTOR_ALIGN)?;
        let driver = DESCRIPTOR_BYTES * u64::from(size);
        let rings = Rings {
            size,
            descriptors: base,
            driver: after(base, driver),
            device: after(base, driver + available_bytes(size)),
        };
        let flags = match interrupts {
            Interrupts::Wanted => 0,
            Interrupts::Unwanted => AVAILABLE_NO_INTERRUPT,
        };
        let mut queue =
            Self { rings, flags, next_available: 0, next_used: 0, given, outstanding: 0, nonsense: None };
        queue.restart(memory);
        Ok(queue)
    }

    /// All three parts, one after the other.
    fn bytes(size: u16) -> u64 {
        let used = RING_EXTRA_BYTES + USED_ENTRY_BYTES * u64::from(size);
        (DESCRIPTOR_BYTES * u64::from(size) + available_bytes(size) + used).next_multiple_of(DESCRIPTOR_ALIGN)
    }

    /// Makes the queue as new. The device has been reset and uses none of it.
    pub(super) fn restart<M: SharedMemory>(&mut self, memory: &mut M) {
        (self.next_available, self.next_used, self.outstanding, self.nonsense) = (0, 0, 0, None);
        self.given.fill(None);
        memory.write32(after(self.rings.device, RING_FLAGS_INDEX), 0);
        self.publish(memory);
    }

    /// Gives the memory back. The device has been reset and uses none of it.
    pub(super) fn free<M: SharedMemory>(&self, memory: &mut M) {
        memory.free(self.rings.descriptors, Self::bytes(self.rings.size));
    }

    pub(super) const fn rings(&self) -> &Rings {
        &self.rings
    }

    /// How many chains the device has.
    pub(super) const fn outstanding(&self) -> u16 {
        self.outstanding
    }

    /// Puts a chain of `pieces` into the descriptors from `head` on, and into the available ring. The device sees it
    /// with the next [`publish`](Self::publish). None of the descriptors is the device's already.
    pub(super) fn offer<M: SharedMemory>(&mut self, memory: &mut M, head: u16, pieces: &[Piece]) {
        let mut writable = 0;
        for (number, (index, piece)) in (head..).zip(pieces.iter().enumerate()) {
            let mut flags = 0;
            if piece.direction == Direction::FromDevice {
                flags |= DESCRIPTOR_WRITE;
                writable += piece.len;
            }
            let mut next = 0;
            if index + 1 < pieces.len() {
                flags |= DESCRIPTOR_NEXT;
                next = number + 1;
            }
            debug_assert!(number < self.rings.size, "a chain goes beyond the table");
            let descriptor = after(self.rings.descriptors, DESCRIPTOR_BYTES * u64::from(number));
            memory.write64(descriptor, piece.at.raw());
            memory.write32(after(descriptor, DESCRIPTOR_LEN), piece.len);
            memory.write32(after(descriptor, DESCRIPTOR_FLAGS_NEXT), pair(flags, next));
        }
        self.set_available(memory, head);
        debug_assert_eq!(self.given.get(usize::from(head)), Some(&None), "a descriptor is given twice");
        if let Some(given) = self.given.get_mut(usize::from(head)) {
            *given = Some(writable);
        }
        self.next_available = self.next_available.wrapping_add(1);
        self.outstanding += 1;
    }

    /// Two entries of the available ring share a word, which only the driver writes.
    fn set_available<M: SharedMemory>(&self, memory: &mut M, head: u16) {
        let entry = u64::from(self.next_available & (self.rings.size - 1)) * AVAILABLE_ENTRY_BYTES;
        let word = after(self.rings.driver, RING_ENTRIES + (entry & !3));
        let old = memory.read32(word);
        let new = if entry & 3 == 0 { old & !0xffff | u32::from(head) } else { pair(old as u16, head) };
        memory.write32(word, new);
    }

    /// Lets the device see what was offered.
    pub(super) fn publish<M: SharedMemory>(&self, memory: &mut M) {
        memory.write32(after(self.rings.driver, RING_FLAGS_INDEX), pair(self.flags, self.next_available));
    }

    /// Takes the next chain that the device is done with.
    pub(super) fn take<M: SharedMemory>(&mut self, memory: &mut M) -> Result<Option<Used>, Nonsense> {
        if let Some(nonsense) = self.nonsense {
            return Err(nonsense);
        }
        let index = (memory.read32(after(self.rings.device, RING_FLAGS_INDEX)) >> 16) as u16;
        let fresh = index.wrapping_sub(self.next_used);
        if fresh == 0 {
            return Ok(None);
        }
        if fresh > self.outstanding {
            return Err(self.give_up("the used ring has more entries than the device was given buffers"));
        }
        let entry = u64::from(self.next_used & (self.rings.size - 1)) * USED_ENTRY_BYTES;
        let entry = after(self.rings.device, RING_ENTRIES + entry);
        let (head, len) = (memory.read32(entry), memory.read32(after(entry, 4)));
        let given = usize::try_from(head).ok().and_then(|head| self.given.get_mut(head));
        let Some(writable) = given.and_then(Option::take) else {
            return Err(self.give_up("the used ring names a buffer that the device was not given"));
        };
        if len > writable {
            return Err(self.give_up("the used ring has a length beyond its buffer"));
        }
        self.next_used = self.next_used.wrapping_add(1);
        self.outstanding -= 1;
        Ok(Some(Used { head: head as u16, len, waiting: fresh }))
    }

    /// Makes the queue answer with an error from now on, until [`restart`](Self::restart).
    pub(super) const fn give_up(&mut self, nonsense: Nonsense) -> Nonsense {
        self.nonsense = Some(nonsense);
        nonsense
    }
}

/// `bytes` further on, within one allocation.
pub(super) const fn after(address: PhysicalAddress, bytes: u64) -> PhysicalAddress {
    PhysicalAddress::new(address.raw().wrapping_add(bytes))
}

/// Bytes of the available ring, up to where the used ring may begin.
fn available_bytes(size: u16) -> u64 {
    (RING_EXTRA_BYTES + AVAILABLE_ENTRY_BYTES * u64::from(size)).next_multiple_of(4)
}

/// Two 16-bit fields of one word.
const fn pair(low: u16, high: u16) -> u32 {
    (high as u32) << 16 | low as u32
}
