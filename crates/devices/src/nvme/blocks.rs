//! Commands for blocks: what they say, and what memory they name.

use super::config::NvmeInformation;
use super::error::NvmeError;
use super::queue::NvmeQueue;
use super::ring::Issued;
use super::spec::{self, Command, LIST, NAMESPACE};
use crate::page::DmaPage;
use vcm::Iova;
use vcm_iommu::{Registers, SharedMemory};

/// What is done with blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Operation {
    Read,
    Write,
}

impl Operation {
    const fn opcode(self) -> u8 {
        match self {
            Self::Read => spec::READ,
            Self::Write => spec::WRITE,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Read => "reading",
            Self::Write => "writing",
        }
    }
}

/// Blocks, and the memory for them as the controller addresses it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    pub(super) operation: Operation,
    pub(super) block: u64,
    pub(super) memory: Iova,
    pub(super) len: u64,
}

impl<R: Registers, M: SharedMemory> NvmeQueue<R, M> {
    /// How much one command can transfer, from or to `memory`: whole blocks.
    pub(super) const fn longest(&self, memory: Iova) -> u64 {
        // The part of the first page, and a list of others.
        let room = (LIST / 8 + 1) * self.page_len - memory.raw() % self.page_len;
        let most = self.information.longest_transfer;
        let whole = if most < room { most } else { room };
        whole & !(self.information.block_len - 1)
    }

    pub(super) fn check(&self, Piece { block, memory, len, .. }: Piece) -> Result<(), NvmeError> {
        let wrong = |why| Err(NvmeError::Range { block, len, memory, why });
        let NvmeInformation { block_len, blocks, .. } = self.information;
        if len == 0 || !len.is_multiple_of(block_len) {
            return wrong("not a number of blocks");
        }
        if block.checked_add(len / block_len).is_none_or(|end| end > blocks) {
            return wrong("beyond the namespace");
        }
        if !memory.is_aligned(4) || memory.checked_add(len - 1).is_none() {
            return wrong("memory must be at a multiple of 4, and not pass the end of the addresses");
        }
        Ok(())
    }

    pub(super) fn issue(&mut self, Piece { operation, block, memory, len }: Piece) -> Result<(), NvmeError> {
        // CDW10 and 11: the first block; CDW12 bits 15 to 0: their number, less one (6.9, 6.15).
        let count = (len / self.information.block_len - 1) as u32 & 0xffff;
        let words = [block as u32, (block >> 32) as u32, count];
        self.push(Issued { name: operation.name(), block }, |queue, slot| {
            let pages = queue.describe(slot, memory, len);
            Command { opcode: operation.opcode(), namespace: NAMESPACE, pages, words }
        })
    }

    /// Puts a command into the queue. The controller is told with the next [`Ring::submit`].
    pub(super) fn push(
        &mut self,
        issued: Issued,
        command: impl FnOnce(&mut Self, usize) -> Command,
    ) -> Result<(), NvmeError> {
        self.check_life()?;
        let slot = self.ring.free_slot().ok_or(NvmeError::Full)?;
        let command = command(self, slot);
        if let Some(entry) = self.issued.get_mut(slot) {
            *entry = issued;
        }
        self.ring.push(&mut self.memory, slot, &command);
        Ok(())
    }

    /// PRP1 and PRP2 for memory that is contiguous for the controller: one page, two pages, or one and a list of the
    /// others (4.3).
    fn describe(&mut self, slot: usize, memory: Iova, len: u64) -> [u64; 2] {
        let page_len = self.page_len;
        let (first, last) = (memory.raw(), memory.raw() + (len - 1));
        let end = first | (page_len - 1);
        if last <= end {
            return [first, 0];
        }
        let next = end + 1;
        if last - next < page_len {
            return [first, next];
        }
        let list = self.list(slot);
        for (page, offset) in (next..=last).step_by(page_len as usize).zip((0..).step_by(8)) {
            self.memory.write64(list.at(offset).memory, page);
        }
        [first, list.device.raw()]
    }

    /// The room for the list of the command in `slot`. Several share a page when pages are large. A list has 512 entries at
    /// most, so that it does not reach the page's last entry, which would lead to a further list, before it ends.
    fn list(&self, slot: usize) -> DmaPage {
        let offset = slot as u64 * LIST;
        self.pages[2 + (offset / self.page_len) as usize].at(offset % self.page_len)
    }
}
