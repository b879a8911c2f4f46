//! Invalidation: through the queue, or through registers where there is none.

use super::request::{Drain, Request};
use super::{Mode, Vtd, spec};
use crate::shared_memory::allocate_all;
use crate::{Registers, SharedMemory, Unresponsive};
use vcm::{OutOfMemory, PhysicalAddress};

/// How many requests are given at once, at most. A queue of one page has room for them and for the wait.
pub(super) const MOST_REQUESTS: usize = 64;

/// How often requests are given anew that the hardware refused.
const ATTEMPTS: u32 = 3;

/// Bytes of memory for the status that waits write.
const STATUS_BYTES: u64 = 64;

/// The invalidation queue.
#[derive(Debug)]
pub(super) struct Queue {
    base: PhysicalAddress,
    /// Where waits write their tickets.
    status: PhysicalAddress,
    /// Bytes of a descriptor: 2^4 or 2^5.
    shift: u32,
    pages: u64,
    /// The descriptor to be written next.
    tail: u32,
    /// The status of the last wait; never 0.
    ticket: u32,
    progress: Progress,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Progress {
    /// Everything given has completed.
    Idle,
    /// Something is, or may be, in the queue still.
    Unknown,
}

/// What became of requests.
enum Outcome {
    Done,
    /// The hardware stopped at a descriptor. The queue goes on, but none of them counts as done.
    Refused,
}

impl Queue {
    pub(super) fn new(memory: &mut impl SharedMemory, order: u8, mode: Mode) -> Result<Self, OutOfMemory> {
        let pages = 1 << order.min(7);
        let sizes = [pages * 4096, STATUS_BYTES];
        let [base, status] = allocate_all(memory, sizes.map(|size| (size, size)))?;
        let shift = if mode == Mode::Scalable { 5 } else { 4 };
        Ok(Self { base, status, shift, pages, tail: 0, ticket: 0, progress: Progress::Idle })
    }

    fn entries(&self) -> u32 {
        ((self.pages * 4096) >> self.shift) as u32
    }

    fn address(&self) -> spec::QueueAddress {
        spec::QueueAddress::new()
            .with_qs(self.pages.trailing_zeros() as u8)
            .with_dw(self.shift == 5)
            .with_page(self.base.raw() >> 12)
    }

    fn next(&self, index: u32) -> u32 {
        // `entries` is a power of two.
        (index + 1) & (self.entries() - 1)
    }

    fn write(&self, memory: &mut impl SharedMemory, index: u32, descriptor: [u64; 2]) {
        let at = self.base.raw() + (u64::from(index) << self.shift);
        for word in 0..1 << (self.shift - 3) {
            let value = descriptor.get(word as usize).copied().unwrap_or(0);
            memory.write64(PhysicalAddress::new(at + 8 * word), value);
        }
    }

    /// A wait that writes `status`.
    fn wait(&self, status: u32) -> [u64; 2] {
        let wait =
            spec::WaitDescriptor::new().with_kind(spec::WAIT).with_status_write(true).with_status(status);
        [wait.into_bits(), self.status.raw()]
    }
}

impl<R: Registers, M: SharedMemory> Vtd<R, M> {
    /// Gives requests, and waits until all have completed.
    pub(super) fn perform(&mut self, requests: &[Request]) -> Result<(), Unresponsive> {
        if self.queue.is_none() {
            for &request in requests {
                self.perform_by_register(request)?;
            }
            return Ok(());
        }
        for requests in requests.chunks(MOST_REQUESTS) {
            self.perform_queued(requests)?;
        }
        Ok(())
    }

    fn perform_queued(&mut self, requests: &[Request]) -> Result<(), Unresponsive> {
        for _ in 0..ATTEMPTS {
            match self.try_queued(requests)? {
                Outcome::Done => return Ok(()),
                Outcome::Refused => {}
            }
        }
        Err(self.unresponsive("the invalidation queue refuses what it is given"))
    }

    fn try_queued(&mut self, requests: &[Request]) -> Result<Outcome, Unresponsive> {
        self.settle()?;
        let drain = Drain { reads: self.capability.drd(), writes: self.capability.dwd() };
        let Some(queue) = &mut self.queue else {
            return Ok(Outcome::Done);
        };
        for request in requests {
            queue.write(&mut self.memory, queue.tail, request.encode(drain));
            queue.tail = queue.next(queue.tail);
        }
        queue.ticket = queue.ticket.checked_add(1).unwrap_or(1);
        queue.write(&mut self.memory, queue.tail, queue.wait(queue.ticket));
        queue.tail = queue.next(queue.tail);
        queue.progress = Progress::Unknown;
        let (status, ticket, tail) = (queue.status, queue.ticket, queue.tail);
        self.ring(tail);
        for _ in 0..self.config.polls {
            if self.memory.read32(status) == ticket {
                if let Some(queue) = &mut self.queue {
                    queue.progress = Progress::Idle;
                }
                return Ok(Outcome::Done);
            }
            if self.queue_errors()?.is_some() {
                self.settle()?;
                return Ok(Outcome::Refused);
            }
        }
        Err(self.unresponsive("an invalidation wait did not complete"))
    }

    /// Tells the hardware how far the queue is filled.
    fn ring(&mut self, tail: u32) {
        let shift = self.queue.as_ref().map_or(4, |queue| queue.shift);
        self.registers.write64(spec::IQT, u64::from(tail) << shift);
    }

    /// The errors at which the queue stands still, if there are any.
    fn queue_errors(&mut self) -> Result<Option<spec::FaultStatus>, Unresponsive> {
        let raw = self.registers.read(spec::FSTS);
        if raw == u32::MAX {
            return Err(self.unresponsive("gone: FSTS reads all ones"));
        }
        let errors = raw & spec::QUEUE_ERRORS.into_bits();
        Ok((errors != 0).then_some(spec::FaultStatus::from_bits(errors)))
    }

    /// Brings a queue of which nothing is known to an end: what stands in it still is replaced by waits that do no
    /// harm, errors are cleared, and the hardware is seen to reach the tail.
    fn settle(&mut self) -> Result<(), Unresponsive> {
        for _ in 0..ATTEMPTS {
            let Some(queue) = &self.queue else {
                return Ok(());
            };
            if queue.progress == Progress::Idle {
                return Ok(());
            }
            let tail = queue.tail;
            if let Some(errors) = self.queue_errors()? {
                self.queue_errors_seen += 1;
                self.neutralise()?;
                self.registers.write(spec::FSTS, errors.into_bits());
            }
            // Again: the hardware may not have heard it, or may look at it only now that there is no error.
            self.ring(tail);
            self.drain(tail)?;
        }
        match self.queue.as_ref().map(|queue| queue.progress) {
            Some(Progress::Unknown) => Err(self.unresponsive("the invalidation queue stands still")),
            Some(Progress::Idle) | None => Ok(()),
        }
    }

    /// Waits until the hardware has fetched everything, or stopped at an error.
    fn drain(&mut self, tail: u32) -> Result<(), Unresponsive> {
        for _ in 0..self.config.polls {
            if self.queue_errors()?.is_some() {
                return Ok(());
            }
            if self.head()? == tail {
                if let Some(queue) = &mut self.queue {
                    queue.progress = Progress::Idle;
                }
                return Ok(());
            }
        }
        Err(self.unresponsive("the invalidation queue is not fetched"))
    }

    /// The descriptor that the hardware fetches next.
    fn head(&mut self) -> Result<u32, Unresponsive> {
        let raw = self.registers.read64(spec::IQH);
        if let Some(queue) = &self.queue {
            let index = raw >> queue.shift;
            if index < u64::from(queue.entries()) && index << queue.shift == raw {
                return Ok(index as u32);
            }
        }
        Err(self.unresponsive("IQH is not the offset of a descriptor"))
    }

    /// Replaces what was not fetched by waits that write a status that nobody waits for.
    fn neutralise(&mut self) -> Result<(), Unresponsive> {
        let mut index = self.head()?;
        if let Some(queue) = &self.queue {
            while index != queue.tail {
                queue.write(&mut self.memory, index, queue.wait(0));
                index = queue.next(index);
            }
        }
        Ok(())
    }

    /// Starts the queue, which may run already: as it was left by firmware, or as this driver lost it.
    pub(super) fn start_queue(&mut self) -> Result<(), Unresponsive> {
        let Some(queue) = &mut self.queue else {
            return Ok(());
        };
        let address = queue.address().into_bits();
        queue.progress = Progress::Unknown;
        if self.global_status()?.qie() {
            // It may be disabled only when everything was fetched. Another's queue is not written to.
            if self.registers.read64(spec::IQA) == address {
                self.settle()?;
            }
            self.disable_queue()?;
        }
        if let Some(errors) = self.queue_errors()? {
            self.registers.write(spec::FSTS, errors.into_bits());
        }
        self.ring(0);
        self.registers.write64(spec::IQA, address);
        self.enable_queue()?;
        if let Some(queue) = &mut self.queue {
            (queue.tail, queue.progress) = (0, Progress::Idle);
        }
        Ok(())
    }

    /// Gives one request through registers. Where the hardware cannot do as little, it does more; what it says to have
    /// done is checked.
    fn perform_by_register(&mut self, request: Request) -> Result<(), Unresponsive> {
        let context = spec::ContextCommand::new().with_icc(true);
        let iotlb = spec::IotlbCommand::new()
            .with_ivt(true)
            .with_dr(self.capability.drd())
            .with_dw(self.capability.dwd());
        match request {
            Request::Contexts => self.context_command(context.with_cirg(spec::EVERYTHING)),
            Request::Context { did, sid } => {
                self.context_command(context.with_cirg(spec::SELECTED).with_did(did).with_sid(sid))
            }
            Request::Iotlb => self.iotlb_command(iotlb.with_iirg(spec::EVERYTHING)),
            Request::IotlbOf { did } => self.iotlb_command(iotlb.with_iirg(spec::OF_DOMAIN).with_did(did)),
            Request::IotlbPages { did, pages } => {
                let at = self.extended.iotlb_offset() + spec::IVA_FROM_IRO;
                self.registers.write64(at, pages.encode());
                self.iotlb_command(iotlb.with_iirg(spec::SELECTED).with_did(did))
            }
            // Scalable mode and interrupt remapping are refused where there is no queue.
            Request::Pasids
            | Request::PasidsOf { .. }
            | Request::FirstStageOf { .. }
            | Request::FirstStagePages { .. }
            | Request::Interrupts
            | Request::InterruptsOf { .. } => Err(self.unresponsive("there is no invalidation queue")),
        }
    }

    fn context_command(&mut self, command: spec::ContextCommand) -> Result<(), Unresponsive> {
        if spec::ContextCommand::from_bits(self.registers.read64(spec::CCMD)).icc() {
            return Err(self.unresponsive("CCMD.ICC is set still"));
        }
        self.registers.write64(spec::CCMD, command.into_bits());
        for _ in 0..self.config.polls {
            let raw = self.registers.read64(spec::CCMD);
            let now = spec::ContextCommand::from_bits(raw);
            if raw == u64::MAX {
                return Err(self.unresponsive("gone: CCMD reads all ones"));
            }
            if !now.icc() {
                // 1 is everything, 2 a domain, 3 a requester: less is more.
                return match now.caig() {
                    0 => Err(self.unresponsive("a context-cache invalidation was refused")),
                    done if done <= command.cirg() => Ok(()),
                    _ => Err(self.unresponsive("a context-cache invalidation did too little")),
                };
            }
        }
        Err(self.unresponsive("CCMD.ICC was not cleared"))
    }

    fn iotlb_command(&mut self, command: spec::IotlbCommand) -> Result<(), Unresponsive> {
        let at = self.extended.iotlb_offset() + spec::IOTLB_FROM_IRO;
        if spec::IotlbCommand::from_bits(self.registers.read64(at)).ivt() {
            return Err(self.unresponsive("IOTLB_REG.IVT is set still"));
        }
        self.registers.write64(at, command.into_bits());
        for _ in 0..self.config.polls {
            let raw = self.registers.read64(at);
            let now = spec::IotlbCommand::from_bits(raw);
            if raw == u64::MAX {
                return Err(self.unresponsive("gone: IOTLB_REG reads all ones"));
            }
            if !now.ivt() {
                return match now.iaig() {
                    0 => Err(self.unresponsive("an IOTLB invalidation was refused")),
                    done if done <= command.iirg() => Ok(()),
                    _ => Err(self.unresponsive("an IOTLB invalidation did too little")),
                };
            }
        }
        Err(self.unresponsive("IOTLB_REG.IVT was not cleared"))
    }
}
