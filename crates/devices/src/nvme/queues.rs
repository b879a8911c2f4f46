//! A controller's pairs of I/O queues: created, known by their numbers, deleted.

use super::config::{NvmeMessages, NvmeQueueConfig};
use super::controller::Nvme;
use super::error::NvmeError;
use super::queue::{Life, NvmeQueue};
use super::ring::Ring;
use super::spec::{self, Command};
use crate::page::DmaPage;
use std::sync::{Arc, Weak};
use vcm_iommu::{Registers, SharedMemory};

/// What is known of a pair of I/O queues.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Who uses it.
    pub(super) life: Weak<Life>,
    /// Whether the controller has it.
    pub(super) created: bool,
}

impl<R: Registers, M: SharedMemory> Nvme<R, M> {
    /// Creates a pair of I/O queues, which is used through `registers`, the same BAR 0, and `memory`: from any thread
    /// that they may go to. `place` gives the [`NvmeQueueConfig::pages`] pages that it uses from then on.
    ///
    /// # Errors
    ///
    /// [`NvmeError::NoQueue`] when all are in use; [`NvmeError::Stopped`]; as [`Self::start`] besides.
    pub fn create_queue<S: Registers, N: SharedMemory>(
        &mut self,
        registers: S,
        mut memory: N,
        config: NvmeQueueConfig,
        mut place: impl FnMut() -> Option<DmaPage>,
    ) -> Result<NvmeQueue<S, N>, NvmeError> {
        let NvmeQueueConfig { entries, in_flight, vector } = config;
        let page_len = self.config.page_len;
        let most = u64::from(self.information.entries).min(page_len / spec::SUBMISSION);
        if !(2..=most).contains(&entries.into()) || !(1..entries.min(64)).contains(&in_flight) {
            let what = format!(
                "queues of 2 to {most} entries, and 1 to 63 commands that are fewer, not {entries} and {in_flight}"
            );
            return Err(NvmeError::NotSupported { what });
        }
        if vector.is_some() && self.config.messages == NvmeMessages::None {
            return Err(NvmeError::NotSupported { what: "messages for a queue's interrupts".to_owned() });
        }
        let mut admin = self.admin.take().ok_or(NvmeError::Stopped)?;
        let result = self.free_id().and_then(|id| {
            let mut pages = Vec::new();
            for _ in 0..config.pages(page_len) {
                pages.push(placed(&mut place, page_len)?);
            }
            let ring = Ring::new(&mut memory, id, [pages[0], pages[1]], [entries, in_flight], self.stride)?;
            self.create(&mut admin, &ring, vector)?;
            Ok((ring, pages))
        });
        self.keep(admin, &result);
        let (ring, pages) = result?;
        let life = Arc::new(Life::default());
        self.queues[usize::from(ring.id()) - 1] = Known { life: Arc::downgrade(&life), created: true };
        Ok(NvmeQueue::new(registers, memory, self, config, (ring, pages), life))
    }

    /// A number that neither the controller nor anybody here uses.
    fn free_id(&mut self) -> Result<u16, NvmeError> {
        let given = self.information.queues;
        if self.queues.len() < given.into() {
            self.queues.resize_with(given.into(), Known::default);
        }
        let free = |known: &Known| !known.created && known.life.strong_count() == 0;
        let index = self.queues.iter().take(given.into()).position(free);
        index.map(|index| index as u16 + 1).ok_or(NvmeError::NoQueue { queues: given })
    }

    /// Makes the controller create the queues.
    fn create(&mut self, admin: &mut Ring, ring: &Ring, vector: Option<u16>) -> Result<(), NvmeError> {
        let size = (u32::from(ring.entries()) - 1) << 16 | u32::from(ring.id());
        // Bit 0: contiguous; bit 1: with interrupts, by the vector in bits 31 to 16 (5.3.1).
        let interrupts = vector.map_or(1, |vector| u32::from(vector) << 16 | 3);
        let create = |opcode, page: DmaPage, how| Command {
            opcode,
            namespace: 0,
            pages: [page.device.raw(), 0],
            words: [size, how, 0],
        };
        let completion = create(spec::CREATE_COMPLETION_QUEUE, ring.completion(), interrupts);
        self.ask(admin, &completion, "creating a completion queue")?;
        // Bits 31 to 16: its completion queue; bit 0: contiguous (5.4.1).
        let submission =
            create(spec::CREATE_SUBMISSION_QUEUE, ring.submission(), u32::from(ring.id()) << 16 | 1);
        let created = self.ask(admin, &submission, "creating a submission queue");
        if let Err(NvmeError::Rejected(_)) = created {
            // Without its other half it is of no use.
            self.delete(admin, spec::DELETE_COMPLETION_QUEUE, ring.id())?;
        }
        created.map(drop)
    }

    fn delete(&mut self, admin: &mut Ring, opcode: u8, id: u16) -> Result<(), NvmeError> {
        let command = Command { opcode, words: [id.into(), 0, 0], ..Command::default() };
        self.ask(admin, &command, "deleting a queue").map(drop)
    }

    /// Deletes a pair of queues. What was under way in it is dropped, and when this answered, the controller accesses
    /// neither the queue's pages nor that memory any more. Also the way to go on with the others after a queue was
    /// stopped by an error.
    ///
    /// # Errors
    ///
    /// [`NvmeError::Foreign`]; [`NvmeError::Stopped`]; otherwise see [`NvmeError`]: then its memory may still be in use.
    pub fn delete_queue<S: Registers, N: SharedMemory>(
        &mut self,
        queue: NvmeQueue<S, N>,
    ) -> Result<(), NvmeError> {
        let index = usize::from(queue.id()) - 1;
        let known = self.queues.get(index).map(|known| known.life.as_ptr());
        if known != Some(Arc::as_ptr(queue.life())) {
            return Err(NvmeError::Foreign);
        }
        let mut admin = self.admin.take().ok_or(NvmeError::Stopped)?;
        let opcodes = [spec::DELETE_SUBMISSION_QUEUE, spec::DELETE_COMPLETION_QUEUE];
        let result = opcodes.into_iter().try_for_each(|opcode| self.delete(&mut admin, opcode, queue.id()));
        self.keep(admin, &result);
        result?;
        self.queues[index].created = false;
        Ok(())
    }

    /// Keeps the admin queue after a command, unless the controller cannot be trusted any more.
    fn keep<T>(&mut self, admin: Ring, result: &Result<T, NvmeError>) {
        let lost = matches!(
            result,
            Err(NvmeError::TimedOut { .. } | NvmeError::Garbage { .. } | NvmeError::Fatal { .. })
        );
        self.admin = (!lost).then_some(admin);
    }
}

/// The next page that the caller has.
pub(super) fn placed(
    place: &mut impl FnMut() -> Option<DmaPage>,
    page_len: u64,
) -> Result<DmaPage, NvmeError> {
    let page = place().ok_or(NvmeError::NoMemory)?;
    if page.device.is_aligned(page_len) && page.memory.is_aligned(page_len) {
        return Ok(page);
    }
    Err(NvmeError::Page { device: page.device, memory: page.memory, page_len })
}
