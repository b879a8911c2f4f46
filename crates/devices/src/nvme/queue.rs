//! Reading and writing through a pair of I/O queues.

use super::blocks::{Operation, Piece};
use super::config::{NvmeInformation, NvmeQueueConfig};
use super::controller::Nvme;
use super::error::{NvmeError, NvmeRejected};
use super::ring::{Issued, Ring};
use super::spec::{self, Command, NAMESPACE};
use crate::page::DmaPage;
use crate::wait::{poll, until};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use vcm::Iova;
use vcm_iommu::{Registers, SharedMemory};

/// Whether the controller still has a queue. Whoever has it keeps the queue's number from being given out anew.
#[derive(Debug, Default)]
pub(super) struct Life(AtomicBool);

impl Life {
    /// The controller is about to be stopped.
    pub(super) fn end(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn is_over(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Seldom, since it costs more than looking into memory.
const LOOKS_PER_CHECK: u32 = 1 << 12;

/// A pair of I/O queues, of [`Nvme::create_queue`]: for one thread, while others have others.
///
/// [`read`](Self::read) and [`write`](Self::write) poll for completions. With
/// [`read_with`](Self::read_with) and [`write_with`](Self::write_with) the caller waits instead, for the interrupt with
/// [`vector`](Self::vector). [`issue_read`](Self::issue_read), [`issue_write`](Self::issue_write) and [`reap`](Self::reap)
/// never wait.
///
/// A controller need not tell when its DMA failed: QEMU's does not.
///
/// Dropped, it leaves what is under way to the controller, which has its pages until it
/// [stops](Nvme::stop).
#[derive(Debug)]
pub struct NvmeQueue<R, M> {
    registers: R,
    pub(super) memory: M,
    pub(super) ring: Ring,
    pub(super) pages: Vec<DmaPage>,
    config: NvmeQueueConfig,
    pub(super) page_len: u64,
    timeout: Duration,
    pub(super) information: NvmeInformation,
    /// What is under way, by the ring's slots.
    pub(super) issued: Vec<Issued>,
    /// The first command that was refused, until somebody is told.
    first_rejected: Option<NvmeRejected>,
    /// An error made it useless.
    lost: bool,
    life: Arc<Life>,
}

impl<R: Registers, M: SharedMemory> NvmeQueue<R, M> {
    pub(super) fn new<S, N>(
        registers: R,
        memory: M,
        nvme: &Nvme<S, N>,
        config: NvmeQueueConfig,
        (ring, pages): (Ring, Vec<DmaPage>),
        life: Arc<Life>,
    ) -> Self
    where
        S: Registers,
        N: SharedMemory,
    {
        Self {
            registers,
            memory,
            ring,
            pages,
            config,
            page_len: nvme.config().page_len,
            timeout: nvme.config().timeout,
            information: nvme.information().clone(),
            issued: vec![Issued::default(); config.in_flight.into()],
            first_rejected: None,
            lost: false,
            life,
        }
    }

    /// Its number at the controller, from 1 on.
    pub const fn id(&self) -> u16 {
        self.ring.id()
    }

    /// The MSI-X vector of its completions, if there is one.
    pub const fn vector(&self) -> Option<u16> {
        self.config.vector
    }

    /// What the controller told of itself.
    pub const fn information(&self) -> &NvmeInformation {
        &self.information
    }

    /// The pages that the controller uses for it.
    pub fn pages(&self) -> &[DmaPage] {
        &self.pages
    }

    /// How many commands are under way. What an error left there is not counted.
    pub fn in_flight(&self) -> usize {
        if self.check_life().is_ok() { self.ring.in_flight() } else { 0 }
    }

    pub(super) const fn life(&self) -> &Arc<Life> {
        &self.life
    }

    /// Reads `len` bytes from block `block` on to `memory`, as the controller addresses it, in as many commands as it
    /// takes, and waits for the end.
    ///
    /// # Errors
    ///
    /// [`NvmeError::Range`]; [`NvmeError::Rejected`] when no command is under way any more; otherwise see
    /// [`NvmeError`].
    pub fn read(&mut self, block: u64, memory: Iova, len: u64) -> Result<(), NvmeError> {
        self.read_with(block, memory, len, poll)
    }

    /// As [`Self::read`], and calls `wait` whenever nothing can be done before a command completes. It is to return when
    /// the interrupt with [`Self::vector`] came, which may have been before it was called, and at the latest after the
    /// time that it is told; it may return earlier.
    ///
    /// # Errors
    ///
    /// As [`Self::read`].
    pub fn read_with(
        &mut self,
        block: u64,
        memory: Iova,
        len: u64,
        mut wait: impl FnMut(Duration),
    ) -> Result<(), NvmeError> {
        self.transfer(Piece { operation: Operation::Read, block, memory, len }, &mut wait)
    }

    /// Writes `len` bytes of `memory`, as the controller addresses it, from block `block` on, as [`Self::read`] does.
    ///
    /// # Errors
    ///
    /// As [`Self::read`].
    pub fn write(&mut self, block: u64, memory: Iova, len: u64) -> Result<(), NvmeError> {
        self.write_with(block, memory, len, poll)
    }

    /// As [`Self::write`], waiting as [`Self::read_with`] does.
    ///
    /// # Errors
    ///
    /// As [`Self::read`].
    pub fn write_with(
        &mut self,
        block: u64,
        memory: Iova,
        len: u64,
        mut wait: impl FnMut(Duration),
    ) -> Result<(), NvmeError> {
        self.transfer(Piece { operation: Operation::Write, block, memory, len }, &mut wait)
    }

    /// Waits until what was written is on the disk, through whichever queue it was.
    ///
    /// # Errors
    ///
    /// [`NvmeError::Rejected`]; otherwise see [`NvmeError`].
    pub fn flush(&mut self) -> Result<(), NvmeError> {
        self.flush_with(poll)
    }

    /// As [`Self::flush`], waiting as [`Self::read_with`] does.
    ///
    /// # Errors
    ///
    /// As [`Self::flush`].
    pub fn flush_with(&mut self, mut wait: impl FnMut(Duration)) -> Result<(), NvmeError> {
        let issued = Issued { name: "flushing", block: 0 };
        self.make_room(&mut wait)?;
        self.push(issued, |_, _| Command {
            opcode: spec::FLUSH,
            namespace: NAMESPACE,
            ..Command::default()
        })?;
        self.finish(&mut wait)
    }

    /// Starts to read and does not wait; `len` is at most that of one command. [`Self::reap`] tells of its end.
    ///
    /// # Errors
    ///
    /// [`NvmeError::Full`] when as many are under way as may be; [`NvmeError::Range`], [`NvmeError::Stopped`].
    pub fn issue_read(&mut self, block: u64, memory: Iova, len: u64) -> Result<(), NvmeError> {
        self.issue_one(Piece { operation: Operation::Read, block, memory, len })
    }

    /// Starts to write, as [`Self::issue_read`] does.
    ///
    /// # Errors
    ///
    /// As [`Self::issue_read`].
    pub fn issue_write(&mut self, block: u64, memory: Iova, len: u64) -> Result<(), NvmeError> {
        self.issue_one(Piece { operation: Operation::Write, block, memory, len })
    }

    fn issue_one(&mut self, piece: Piece) -> Result<(), NvmeError> {
        self.check(piece)?;
        if piece.len > self.longest(piece.memory) {
            let Piece { block, memory, len, .. } = piece;
            return Err(NvmeError::Range { block, len, memory, why: "too long for one command" });
        }
        self.issue(piece)?;
        self.ring.submit(&mut self.registers);
        Ok(())
    }

    /// Takes all completions that are there, and gives how many.
    ///
    /// # Errors
    ///
    /// [`NvmeError::Rejected`] for the first one that was refused, [`NvmeError::Garbage`], [`NvmeError::Stopped`].
    pub fn reap(&mut self) -> Result<usize, NvmeError> {
        let count = self.take_completions()?;
        self.first_rejected.take().map_or(Ok(count), |rejected| Err(NvmeError::Rejected(rejected)))
    }

    fn transfer(&mut self, whole: Piece, wait: &mut dyn FnMut(Duration)) -> Result<(), NvmeError> {
        self.check(whole)?;
        let (mut block, mut at, mut left) = (whole.block, whole.memory.raw(), whole.len);
        // After a refusal nothing more is asked, but all that is under way is waited for.
        while left > 0 && self.first_rejected.is_none() {
            let len = left.min(self.longest(Iova::new(at)));
            self.make_room(wait)?;
            self.issue(Piece { block, memory: Iova::new(at), len, ..whole })?;
            block += len / self.information.block_len;
            at = at.wrapping_add(len);
            left -= len;
        }
        self.finish(wait)
    }

    /// Waits until a command can be issued.
    fn make_room(&mut self, wait: &mut dyn FnMut(Duration)) -> Result<(), NvmeError> {
        self.check_life()?;
        if self.ring.free_slot().is_some() {
            return Ok(());
        }
        self.wait_for("a command to complete", wait, |queue| queue.ring.free_slot().is_some())
    }

    /// Waits until nothing is under way.
    fn finish(&mut self, wait: &mut dyn FnMut(Duration)) -> Result<(), NvmeError> {
        self.wait_for("all commands to complete", wait, |queue| queue.ring.in_flight() == 0)?;
        self.first_rejected.take().map_or(Ok(()), |rejected| Err(NvmeError::Rejected(rejected)))
    }

    /// Takes completions until `done`. What makes the queue useless ends its use.
    fn wait_for(
        &mut self,
        what: &'static str,
        wait: &mut dyn FnMut(Duration),
        done: impl Fn(&Self) -> bool,
    ) -> Result<(), NvmeError> {
        self.ring.submit(&mut self.registers);
        let (mut looks, waited) = (0_u32, self.timeout);
        let ended = until(waited, wait, || {
            self.take_completions()?;
            looks = looks.wrapping_add(1);
            if looks.is_multiple_of(LOOKS_PER_CHECK) {
                self.check_health()?;
            }
            Ok(done(self).then_some(()))
        });
        let result = ended.and_then(|ended| {
            ended.or_else(|_| self.check_health().and(Err(NvmeError::TimedOut { what, waited })))
        });
        self.lost |= result.is_err();
        result
    }

    pub(super) fn check_life(&self) -> Result<(), NvmeError> {
        if self.lost || self.life.is_over() { Err(NvmeError::Stopped) } else { Ok(()) }
    }

    fn check_health(&mut self) -> Result<(), NvmeError> {
        let status = self.registers.read(spec::CSTS);
        if status & spec::CSTS_FATAL != 0 { Err(NvmeError::Fatal { status }) } else { Ok(()) }
    }

    fn take_completions(&mut self) -> Result<usize, NvmeError> {
        self.check_life()?;
        let mut count = 0;
        let result = loop {
            match self.ring.pop(&mut self.memory) {
                Ok(Some((slot, completion))) => {
                    count += 1;
                    let issued = self.issued.get(slot).copied().unwrap_or_default();
                    if self.first_rejected.is_none() {
                        self.first_rejected = issued.rejection(completion);
                    }
                }
                Ok(None) => break Ok(count),
                Err(error) => break Err(error),
            }
        };
        self.lost |= result.is_err();
        self.ring.release(&mut self.registers);
        result
    }
}
