//! A submission queue with its completion queue: NVM Express Base Specification 1.4, 4.1.

use super::error::{NvmeError, NvmeRejected};
use super::spec::{COMPLETION, Command, Completion, DOORBELLS, SUBMISSION};
use crate::page::DmaPage;
use vcm_iommu::{Registers, SharedMemory};

/// What a command was, for messages.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Issued {
    pub(super) name: &'static str,
    pub(super) block: u64,
}

impl Issued {
    /// What a completion says of it, unless it is success.
    pub(super) fn rejection(self, completion: Completion) -> Option<NvmeRejected> {
        let status = completion.status();
        (status != 0).then_some(NvmeRejected {
            command: self.name,
            block: self.block,
            code_type: (status >> 8 & 7) as u8,
            code: status as u8,
        })
    }
}

/// A pair of queues, each of one page. The commands under way are counted, so that neither can overflow.
#[derive(Debug)]
pub(super) struct Ring {
    /// 0 for the admin queues.
    id: u16,
    submission: DmaPage,
    completion: DmaPage,
    entries: u16,
    /// Of the submission queue's tail and the completion queue's head.
    doorbells: [u32; 2],
    tail: u16,
    head: u16,
    /// What the controller was told of both.
    told: [u16; 2],
    /// The tag of entries that are new, 0 or 1.
    phase: u64,
    /// Numbers commands, so that an old completion is told from a new one.
    sequence: u16,
    /// The ids of the commands under way, by slot.
    slots: Vec<Option<u16>>,
}

impl Ring {
    /// With `entries` in each queue and room for `in_flight` commands, which must be fewer than 64. The completion queue
    /// is filled with zeros.
    ///
    /// # Errors
    /// [`NvmeError::NotSupported`] when its doorbells are too far away.
    pub(super) fn new(
        memory: &mut impl SharedMemory,
        id: u16,
        [submission, completion]: [DmaPage; 2],
        [entries, in_flight]: [u16; 2],
        stride: u32,
    ) -> Result<Self, NvmeError> {
        let doorbell = |side| {
            let offset = u64::from(DOORBELLS) + (2 * u64::from(id) + side) * u64::from(stride);
            let what = || format!("a doorbell at {offset:#x}");
            u32::try_from(offset).map_err(|_| NvmeError::NotSupported { what: what() })
        };
        let doorbells = [doorbell(0)?, doorbell(1)?];
        for offset in (0..u64::from(entries) * COMPLETION).step_by(8) {
            memory.write64(completion.at(offset).memory, 0);
        }
        let slots = vec![None; in_flight.into()];
        Ok(Self {
            id,
            submission,
            completion,
            entries,
            doorbells,
            tail: 0,
            head: 0,
            told: [0, 0],
            phase: 1,
            sequence: 0,
            slots,
        })
    }

    pub(super) const fn id(&self) -> u16 {
        self.id
    }

    pub(super) const fn submission(&self) -> DmaPage {
        self.submission
    }

    pub(super) const fn completion(&self) -> DmaPage {
        self.completion
    }

    pub(super) const fn entries(&self) -> u16 {
        self.entries
    }

    pub(super) fn in_flight(&self) -> usize {
        self.slots.iter().flatten().count()
    }

    /// A slot that no command uses.
    pub(super) fn free_slot(&self) -> Option<usize> {
        self.slots.iter().position(Option::is_none)
    }

    /// Puts a command into a free slot's name. [`Self::submit`] tells the controller.
    pub(super) fn push(&mut self, memory: &mut impl SharedMemory, slot: usize, command: &Command) {
        self.sequence = self.sequence.wrapping_add(1);
        // Slots are 0 to 62, so that 0xffff never comes out, which may stand for no command.
        let id = self.sequence << 6 | slot as u16;
        if let Some(entry) = self.slots.get_mut(slot) {
            *entry = Some(id);
        }
        let start = u64::from(self.tail) * SUBMISSION;
        for (word, offset) in command.encode(id).into_iter().zip((start..).step_by(8)) {
            memory.write64(self.submission.at(offset).memory, word);
        }
        self.tail = (self.tail + 1) % self.entries;
    }

    /// Tells the controller of all commands that were pushed.
    pub(super) fn submit(&mut self, registers: &mut impl Registers) {
        self.tell(registers, 0, self.tail);
    }

    /// Takes the next completion, if there is one, and gives its slot. [`Self::release`] tells the controller.
    pub(super) fn pop(
        &mut self,
        memory: &mut impl SharedMemory,
    ) -> Result<Option<(usize, Completion)>, NvmeError> {
        let entry = self.completion.at(u64::from(self.head) * COMPLETION);
        let state = memory.read64(entry.at(8).memory);
        let completion = Completion { result: 0, state };
        if completion.phase() != self.phase {
            return Ok(None);
        }
        // The tag is written last.
        let completion = Completion { result: memory.read64(entry.memory), state };
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
        Ok(Some((slot, completion)))
    }

    /// Tells the controller of all completions that were popped, so that their entries are its own again.
    pub(super) fn release(&mut self, registers: &mut impl Registers) {
        self.tell(registers, 1, self.head);
    }

    /// Writes a doorbell, if there is anything to tell. `side` is 0 for the submission queue's tail, 1 for the completion
    /// queue's head (3.1.24, 3.1.25).
    fn tell(&mut self, registers: &mut impl Registers, side: usize, value: u16) {
        if self.told[side] != value {
            self.told[side] = value;
            registers.write(self.doorbells[side], value.into());
        }
    }
}
