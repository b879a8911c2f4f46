//! Reading and writing.

use super::controller::{Issued, Nvme, rejection};
use super::error::NvmeError;
use super::spec::{self, Command, PAGE};
use vcm::{Iova, PhysicalAddress};
use vcm_iommu::{Registers, SharedMemory};

const NAMESPACE: u32 = 1;

/// What is done with blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Operation {
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

impl<R: Registers, M: SharedMemory> Nvme<R, M> {
    /// Reads `len` bytes from block `block` on to `memory`, as the controller addresses it, in as many commands as it
    /// takes, and waits for the end.
    ///
    /// A controller need not tell when its DMA failed: QEMU's does not.
    ///
    /// # Errors
    ///
    /// [`NvmeError::Range`]; [`NvmeError::Rejected`] when no command is under way any more; otherwise see
    /// [`NvmeError`].
    pub fn read(&mut self, block: u64, memory: Iova, len: u64) -> Result<(), NvmeError> {
        self.transfer(Operation::Read, block, memory, len)
    }

    /// Writes `len` bytes of `memory`, as the controller addresses it, from block `block` on, as [`Self::read`] does.
    ///
    /// # Errors
    ///
    /// As [`Self::read`].
    pub fn write(&mut self, block: u64, memory: Iova, len: u64) -> Result<(), NvmeError> {
        self.transfer(Operation::Write, block, memory, len)
    }

    /// Waits until what was written is on the disk.
    ///
    /// # Errors
    ///
    /// [`NvmeError::Rejected`]; otherwise see [`NvmeError`].
    pub fn flush(&mut self) -> Result<(), NvmeError> {
        let issued = Issued { name: "flushing", block: 0 };
        self.make_room()?;
        self.push(issued, |_, _| Command {
            opcode: spec::FLUSH,
            namespace: NAMESPACE,
            pages: [0; 2],
            words: [0; 3],
        })?;
        self.finish()
    }

    /// Starts to read and does not wait; `len` is at most that of one command. [`Self::reap`] tells of its end.
    ///
    /// # Errors
    ///
    /// [`NvmeError::Full`] when as many are under way as may be; [`NvmeError::Range`], [`NvmeError::Stopped`].
    pub fn issue_read(&mut self, block: u64, memory: Iova, len: u64) -> Result<(), NvmeError> {
        self.check(block, memory, len)?;
        if len > self.longest(memory) {
            return Err(NvmeError::Range { block, len, memory, why: "too long for one command" });
        }
        self.issue(Operation::Read, block, memory, len)
    }

    /// Takes all completions that are there, and gives how many.
    ///
    /// # Errors
    ///
    /// [`NvmeError::Rejected`] for the first one that was refused, [`NvmeError::Garbage`], [`NvmeError::Fatal`],
    /// [`NvmeError::Stopped`].
    pub fn reap(&mut self) -> Result<usize, NvmeError> {
        let mut count = 0;
        while self.reap_one()? {
            count += 1;
        }
        self.first_rejected.take().map_or(Ok(count), |rejected| Err(NvmeError::Rejected(rejected)))
    }

    fn transfer(
        &mut self,
        operation: Operation,
        block: u64,
        memory: Iova,
        len: u64,
    ) -> Result<(), NvmeError> {
        self.check(block, memory, len)?;
        let (mut block, mut at, mut left) = (block, memory.raw(), len);
        // After a refusal nothing more is asked, but all that is under way is waited for.
        while left > 0 && self.first_rejected.is_none() {
            let piece = left.min(self.longest(Iova::new(at)));
            self.make_room()?;
            self.issue(operation, block, Iova::new(at), piece)?;
            block += piece / self.information().block_len;
            at = at.wrapping_add(piece);
            left -= piece;
        }
        self.finish()
    }

    /// Waits until a command can be issued.
    fn make_room(&mut self) -> Result<(), NvmeError> {
        self.wait_for("a command to complete", |nvme| {
            let queue = nvme.queue.as_ref().ok_or(NvmeError::Stopped)?;
            Ok(queue.free_slot().is_some())
        })
    }

    /// Waits until nothing is under way.
    fn finish(&mut self) -> Result<(), NvmeError> {
        self.wait_for("all commands to complete", |nvme| Ok(nvme.in_flight() == 0))?;
        self.first_rejected.take().map_or(Ok(()), |rejected| Err(NvmeError::Rejected(rejected)))
    }

    /// Takes completions until `done`. What makes the controller useless stops its use.
    fn wait_for(
        &mut self,
        what: &'static str,
        done: impl Fn(&Self) -> Result<bool, NvmeError>,
    ) -> Result<(), NvmeError> {
        let mut looks = 0_u32;
        let result = self.wait(what, |nvme| {
            while nvme.reap_one()? {}
            looks = looks.wrapping_add(1);
            // Seldom, since it costs more than looking into memory.
            if looks.is_multiple_of(1 << 12) {
                nvme.check_health()?;
            }
            Ok(done(nvme)?.then_some(()))
        });
        let result = match result {
            Err(NvmeError::TimedOut { .. }) => self.check_health().and(result),
            result => result,
        };
        if result.is_err() {
            self.queue = None;
        }
        result
    }

    fn check_health(&mut self) -> Result<(), NvmeError> {
        let status = self.registers.read(spec::CSTS);
        if status & spec::CSTS_FATAL != 0 { Err(NvmeError::Fatal { status }) } else { Ok(()) }
    }

    fn reap_one(&mut self) -> Result<bool, NvmeError> {
        let queue = self.queue.as_mut().ok_or(NvmeError::Stopped)?;
        let popped = match queue.pop(&mut self.registers, &mut self.memory) {
            Ok(popped) => popped,
            Err(error) => {
                self.queue = None;
                return Err(error);
            }
        };
        let Some((slot, completion)) = popped else { return Ok(false) };
        let issued = self.issued.get(slot).copied().unwrap_or_default();
        if self.first_rejected.is_none() {
            self.first_rejected = rejection(completion, issued);
        }
        Ok(true)
    }

    /// How much one command can transfer, from or to `memory`: whole blocks.
    fn longest(&self, memory: Iova) -> u64 {
        let information = self.information();
        // The list has no room for a page more, which memory in the middle of a page needs.
        let whole = information.longest_transfer - memory.raw() % PAGE;
        whole & !(information.block_len - 1)
    }

    fn check(&self, block: u64, memory: Iova, len: u64) -> Result<(), NvmeError> {
        let wrong = |why| Err(NvmeError::Range { block, len, memory, why });
        let information = self.information();
        if len == 0 || !len.is_multiple_of(information.block_len) {
            return wrong("not a number of blocks");
        }
        if block.checked_add(len / information.block_len).is_none_or(|end| end > information.blocks) {
            return wrong("beyond the namespace");
        }
        if !memory.is_aligned(4) || memory.checked_add(len - 1).is_none() {
            return wrong("memory must be at a multiple of 4, and not pass the end of the addresses");
        }
        Ok(())
    }

    fn issue(&mut self, operation: Operation, block: u64, memory: Iova, len: u64) -> Result<(), NvmeError> {
        // CDW10 and 11: the first block; CDW12 bits 15 to 0: their number, less one (6.9, 6.15).
        let count = (len / self.information().block_len - 1) as u32 & 0xffff;
        let words = [block as u32, (block >> 32) as u32, count];
        self.push(Issued { name: operation.name(), block }, |nvme, slot| {
            let pages = nvme.describe(slot, memory, len);
            Command { opcode: operation.opcode(), namespace: NAMESPACE, pages, words }
        })
    }

    fn push(
        &mut self,
        issued: Issued,
        command: impl FnOnce(&mut Self, usize) -> Command,
    ) -> Result<(), NvmeError> {
        let slot = self.queue.as_ref().ok_or(NvmeError::Stopped)?.free_slot().ok_or(NvmeError::Full)?;
        let command = command(self, slot);
        if let Some(entry) = self.issued.get_mut(slot) {
            *entry = issued;
        }
        let queue = self.queue.as_mut().ok_or(NvmeError::Stopped)?;
        queue.push(&mut self.registers, &mut self.memory, slot, &command);
        Ok(())
    }

    /// PRP1 and PRP2 for memory that is contiguous for the controller: one page, two pages, or one and a list of the
    /// others (4.3).
    fn describe(&mut self, slot: usize, memory: Iova, len: u64) -> [u64; 2] {
        let (first, last) = (memory.raw(), memory.raw() + (len - 1));
        let next = (first | (PAGE - 1)).wrapping_add(1);
        if last <= first | (PAGE - 1) {
            return [first, 0];
        }
        if last - next < PAGE {
            return [first, next];
        }
        let list = self.list(slot);
        let pages = (next..=last).step_by(PAGE as usize);
        for (page, entry) in pages.zip((list.memory.raw()..).step_by(8)) {
            self.memory.write64(PhysicalAddress::new(entry), page);
        }
        [first, list.device.raw()]
    }
}
