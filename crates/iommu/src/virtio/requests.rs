//! The queue of requests: one batch at a time, each waited for.
//!
//! A request has a slot of two descriptors and of memory. What was not seen to complete keeps its slot, and no other
//! request goes to the device until it has come back: a request that was given up can do its work late, but not
//! behind a later one's.

use super::Transport;
use super::link::Link;
use super::queue::{Direction, Interrupts, Nonsense, Piece, Queue, after};
use super::request::{Refusal, Request};
use super::spec::{self, PROBE_BYTES, TAIL_BYTES};
use crate::{IommuError, SharedMemory, Unresponsive};
use vcm::{List, OutOfMemory, PhysicalAddress};

/// Bytes of a slot's memory: the longest request, then the tail.
const SLOT_BYTES: u64 = 80;
/// Where in it the tail is.
const TAIL: u64 = PROBE_BYTES as u64;
/// Descriptors of a slot. PROBE takes one more, the next slot's first: it goes alone.
const SLOT_DESCRIPTORS: u16 = 2;
/// The descriptors of PROBE.
const PROBE_DESCRIPTORS: u16 = 3;

/// A request that the device did not do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Refused {
    /// Which one of those that were asked, the first if there were several.
    pub(super) index: usize,
    pub(super) why: Refusal,
}

#[derive(Debug)]
pub(super) struct Requests {
    queue: Queue,
    slots: PhysicalAddress,
    /// Where properties go, and how many bytes.
    properties: Option<(PhysicalAddress, u32)>,
}

impl Requests {
    /// A queue of `size` descriptors. `probe_size`: how many bytes of properties there are.
    pub(super) fn new<M: SharedMemory>(
        memory: &mut M,
        size: u16,
        probe_size: Option<u32>,
    ) -> Result<Self, OutOfMemory> {
        let queue = Queue::new(memory, size, Interrupts::Unwanted)?;
        let slots = match memory.allocate(SLOT_BYTES * u64::from(size / SLOT_DESCRIPTORS), 8) {
            Ok(slots) => slots,
            Err(error) => {
                queue.free(memory);
                return Err(error);
            }
        };
        let mut requests = Self { queue, slots, properties: None };
        if let Some(bytes) = probe_size.filter(|_| size >= PROBE_DESCRIPTORS) {
            match memory.allocate(u64::from(bytes).next_multiple_of(8), 8) {
                Ok(properties) => requests.properties = Some((properties, bytes)),
                Err(error) => {
                    requests.free(memory);
                    return Err(error);
                }
            }
        }
        Ok(requests)
    }

    /// Gives the memory back. The device has been reset.
    pub(super) fn free<M: SharedMemory>(&self, memory: &mut M) {
        self.queue.free(memory);
        memory.free(self.slots, SLOT_BYTES * u64::from(self.batch()));
        if let Some((properties, bytes)) = self.properties {
            memory.free(properties, u64::from(bytes).next_multiple_of(8));
        }
    }

    pub(super) const fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Forgets what is under way. The device has been reset.
    pub(super) fn restart<M: SharedMemory>(&mut self, memory: &mut M) {
        self.queue.restart(memory);
    }

    /// Answers with an error from now on, until [`restart`](Self::restart).
    pub(super) const fn close(&mut self, why: Nonsense) {
        self.queue.give_up(why);
    }

    /// How many requests go in one notification.
    const fn batch(&self) -> u16 {
        self.queue.rings().size / SLOT_DESCRIPTORS
    }

    /// Asks for all of `requests`, in order but for those of one batch, and waits. After the first batch in which one
    /// is refused there are no more.
    pub(super) fn run<T: Transport, M: SharedMemory>(
        &mut self,
        link: &mut Link<T, M>,
        requests: impl IntoIterator<Item = Request>,
    ) -> Result<Result<(), Refused>, Unresponsive> {
        self.drain(link)?;
        let mut requests = requests.into_iter();
        let mut before = 0;
        loop {
            let mut count = 0;
            while count < self.batch()
                && let Some(request) = requests.next()
            {
                self.put(link, count, &request, None);
                count += 1;
            }
            if count == 0 {
                return Ok(Ok(()));
            }
            self.kick(link);
            if let Some((slot, why)) = self.collect(link, TAIL_BYTES)? {
                return Ok(Err(Refused { index: before + usize::from(slot), why }));
            }
            before += usize::from(count);
        }
    }

    /// Asks for the properties of an endpoint; `None` where the device has no such request.
    pub(super) fn probe<T: Transport, M: SharedMemory>(
        &mut self,
        link: &mut Link<T, M>,
        endpoint: u32,
    ) -> Result<Result<Option<List<u8>>, Refusal>, IommuError> {
        let Some((properties, bytes)) = self.properties else {
            return Ok(Ok(None));
        };
        // All that can be refused first: a copy, so that what is looked at does not change.
        let mut copy = List::new();
        copy.reserve(bytes as usize)?;
        self.drain(link)?;
        let request = Request::Probe { endpoint };
        let piece = Piece { at: properties, len: bytes, direction: Direction::FromDevice };
        self.put(link, 0, &request, Some(piece));
        self.kick(link);
        if let Some((_, why)) = self.collect(link, bytes + TAIL_BYTES)? {
            return Ok(Err(why));
        }
        for offset in (0..u64::from(bytes)).step_by(4) {
            let word = link.memory.read32(after(properties, offset)).to_le_bytes();
            let count = (u64::from(bytes) - offset).min(4) as usize;
            copy.extend_reserved(word[..count].iter().copied());
        }
        Ok(Ok(Some(copy)))
    }

    /// Waits for what was given up before. What became of it nobody asks any more.
    fn drain<T: Transport, M: SharedMemory>(&mut self, link: &mut Link<T, M>) -> Result<(), Unresponsive> {
        self.collect(link, 0).map(drop)
    }

    /// Writes a request into a slot, for the next [`kick`](Self::kick).
    fn put<T, M: SharedMemory>(
        &mut self,
        link: &mut Link<T, M>,
        slot: u16,
        request: &Request,
        middle: Option<Piece>,
    ) {
        let base = after(self.slots, SLOT_BYTES * u64::from(slot));
        let bytes = request.bytes();
        for (offset, word) in (0..u64::from(bytes)).step_by(4).zip(request.words()) {
            link.memory.write32(after(base, offset), word);
        }
        let head = Piece { at: base, len: bytes, direction: Direction::ToDevice };
        let tail = Piece { at: after(base, TAIL), len: TAIL_BYTES, direction: Direction::FromDevice };
        let first = SLOT_DESCRIPTORS * slot;
        match middle {
            None => self.queue.offer(&mut link.memory, first, &[head, tail]),
            Some(middle) => self.queue.offer(&mut link.memory, first, &[head, middle, tail]),
        }
    }

    fn kick<T: Transport, M: SharedMemory>(&mut self, link: &mut Link<T, M>) {
        self.queue.publish(&mut link.memory);
        link.transport.notify(spec::REQUEST_QUEUE);
    }

    /// Waits until everything has come back, each with `expected` bytes. Answers with the first that was refused.
    fn collect<T: Transport, M: SharedMemory>(
        &mut self,
        link: &mut Link<T, M>,
        expected: u32,
    ) -> Result<Option<(u16, Refusal)>, Unresponsive> {
        let mut refused: Option<(u16, Refusal)> = None;
        let mut wait = link.wait();
        loop {
            while let Some(used) = self.queue.take(&mut link.memory).map_err(|what| link.lost(what))? {
                let slot = used.head / SLOT_DESCRIPTORS;
                let Err(why) = self.outcome(link, slot, used.len, expected) else { continue };
                if refused.is_none_or(|(first, _)| slot < first) {
                    refused = Some((slot, why));
                }
            }
            if self.queue.outstanding() == 0 {
                return Ok(refused);
            }
            wait.once_more(link, "a request did not complete")?;
        }
    }

    /// What the device says of a request that came back with `len` bytes.
    fn outcome<T, M: SharedMemory>(
        &self,
        link: &mut Link<T, M>,
        slot: u16,
        len: u32,
        expected: u32,
    ) -> Result<(), Refusal> {
        match len {
            0 => Err(Refusal::Unread),
            // Beyond `len` nothing can be relied on (2.7.8.2): the status was not written.
            len if len < expected => Err(Refusal::Failed),
            _ => {
                let tail = after(self.slots, SLOT_BYTES * u64::from(slot) + TAIL);
                Refusal::check(link.memory.read32(tail) as u8)
            }
        }
    }
}
