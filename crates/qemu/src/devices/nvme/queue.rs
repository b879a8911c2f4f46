//! A submission queue with its completion queue: NVM Express Base Specification 1.4, 4.1.

use super::error::NvmeError;
use super::spec::{COMPLETION, Command, Completion, DOORBELLS, SUBMISSION};
use crate::devices::DmaPage;
use vcm::PhysicalAddress;
use vcm_iommu::{Registers, SharedMemory};

/// A pair of queues, each of one page. The commands under way are counted, so that neither can overflow.
#[derive(Debug)]
pub(super) struct Queue {
    /// 0 for the admin queues.
    id: u16,
    submission: DmaPage,
    completion: DmaPage,
    entries: u16,
    stride: u32,
    tail: u16,
    head: u16,
    /// The tag of entries that are new, 0 or 1.
    phase: u64,
    /// Numbers commands, so that an old completion is told from a new one.
    sequence: u16,
    /// The ids of the commands under way, by slot.
    slots: Vec<Option<u16>>,
}

impl Queue {
    /// With `entries` in each queue and room for `in_flight` commands, which must be fewer than 64. The completion queue
    /// is filled with zeros.
    pub(super) fn new(
        memory: &mut impl SharedMemory,
        id: u16,
        [submission, completion]: [DmaPage; 2],
        [entries, in_flight]: [u16; 2],
        stride: u32,
    ) -> Self {
        for offset in (0..u64::from(entries) * COMPLETION).step_by(8) {
            memory.write64(at(completion.memory, offset), 0);
        }
        let slots = vec![None; in_flight.into()];
        Self { id, submission, completion, entries, stride, tail: 0, head: 0, phase: 1, sequence: 0, slots }
    }

    pub(super) fn submission(&self) -> DmaPage {
        self.submission
    }

    pub(super) fn completion(&self) -> DmaPage {
        self.completion
    }

    pub(super) fn entries(&self) -> u16 {
        self.entries
    }

    pub(super) fn in_flight(&self) -> usize {
        self.slots.iter().flatten().count()
    }

    /// A slot that no command uses.
    pub(super) fn free_slot(&self) -> Option<usize> {
        self.slots.iter().position(Option::is_none)
    }

    /// Puts a command into a free slot's name and tells the controller.
    pub(super) fn push(
        &mut self,
        registers: &mut impl Registers,
        memory: &mut impl SharedMemory,
        slot: usize,
        command: &Command,
    ) {
        self.sequence = self.sequence.wrapping_add(1);
        // Slots are 0 to 62, so that 0xffff never comes out, which may stand for no command.
        let id = self.sequence << 6 | slot as u16;
        if let Some(entry) = self.slots.get_mut(slot) {
            *entry = Some(id);
        }
        let start = u64::from(self.tail) * SUBMISSION;
        for (word, offset) in command.encode(id).into_iter().zip((start..).step_by(8)) {
            memory.write64(at(self.submission.memory, offset), word);
        }
        self.tail = (self.tail + 1) % self.entries;
        registers.write(self.doorbell(0), self.tail.into());
    }

    /// Takes the next completion, if there is one, and gives its slot.
    pub(super) fn pop(
        &mut self,
        registers: &mut impl Registers,
        memory: &mut impl SharedMemory,
    ) -> Result<Option<(usize, Completion)>, NvmeError> {
        let entry = at(self.completion.memory, u64::from(self.head) * COMPLETION);
        let completion = Completion(memory.read64(at(entry, 8)));
        if completion.phase() != self.phase {
            return Ok(None);
        }
        let (id, queue, head) = (completion.id(), completion.queue(), completion.submission_head());
        let slot = usize::from(id & 0x3f);
        let known = self.slots.get(slot).copied().flatten() == Some(id);
        if !known || queue != self.id || head >= self.entries {
            let what =
                format!("command {id:#x} of queue {queue} with head {head} completed in queue {}", self.id);
            return Err(NvmeError::Garbage { what });
        }
        if let Some(entry) = self.slots.get_mut(slot) {
            *entry = None;
        }
        self.head += 1;
        if self.head == self.entries {
            self.head = 0;
            self.phase ^= 1;
        }
        registers.write(self.doorbell(1), self.head.into());
        Ok(Some((slot, completion)))
    }

    /// `side` is 0 for the submission queue's tail, 1 for the completion queue's head (3.1.24, 3.1.25).
    fn doorbell(&self, side: u32) -> u32 {
        DOORBELLS + (2 * u32::from(self.id) + side) * self.stride
    }
}

/// `offset` bytes into a page.
fn at(page: PhysicalAddress, offset: u64) -> PhysicalAddress {
    PhysicalAddress::new(page.raw().wrapping_add(offset))
}
