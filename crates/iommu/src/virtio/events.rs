//! The queue of fault reports.

use super::Transport;
use super::link::Link;
use super::queue::{Direction, Interrupts, Piece, Queue, after};
use super::spec::{self, FAULT_BYTES};
use crate::{SharedMemory, Unresponsive};
use vcm::{OutOfMemory, PhysicalAddress};

/// Bytes of a buffer. Later versions of the specification may report more; what is known comes first (5.13.6.9).
const BUFFER_BYTES: u32 = 64;

/// A fault as the device reports it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Report {
    pub(super) reason: u8,
    pub(super) flags: u32,
    pub(super) endpoint: u32,
    pub(super) address: u64,
}

#[derive(Debug)]
pub(super) struct Events {
    queue: Queue,
    buffers: PhysicalAddress,
    /// How often all buffers were found used: the device had none left.
    pub(super) exhausted: u64,
    /// How many reports made no sense.
    pub(super) ignored: u64,
}

impl Events {
    pub(super) fn new<M: SharedMemory>(memory: &mut M, size: u16) -> Result<Self, OutOfMemory> {
        let queue = Queue::new(memory, size, Interrupts::Wanted)?;
        match memory.allocate(u64::from(BUFFER_BYTES) * u64::from(size), 8) {
            Ok(buffers) => Ok(Self { queue, buffers, exhausted: 0, ignored: 0 }),
            Err(error) => {
                queue.free(memory);
                Err(error)
            }
        }
    }

    /// Gives the memory back. The device has been reset.
    pub(super) fn free<M: SharedMemory>(&self, memory: &mut M) {
        self.queue.free(memory);
        memory.free(self.buffers, u64::from(BUFFER_BYTES) * u64::from(self.queue.rings().size));
    }

    pub(super) const fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Makes the queue as new, all buffers with the device, which has been reset. It is to be notified when it is live.
    pub(super) fn restart<M: SharedMemory>(&mut self, memory: &mut M) {
        self.queue.restart(memory);
        for number in 0..self.queue.rings().size {
            self.give(memory, number);
        }
        self.queue.publish(memory);
    }

    fn buffer(&self, number: u16) -> PhysicalAddress {
        after(self.buffers, u64::from(BUFFER_BYTES) * u64::from(number))
    }

    fn give<M: SharedMemory>(&mut self, memory: &mut M, number: u16) {
        let piece = Piece { at: self.buffer(number), len: BUFFER_BYTES, direction: Direction::FromDevice };
        self.queue.offer(memory, number, &[piece]);
    }

    /// The next report. At most a queue full of reports that make no sense is passed over.
    pub(super) fn next<T: Transport, M: SharedMemory>(
        &mut self,
        link: &mut Link<T, M>,
    ) -> Result<Option<Report>, Unresponsive> {
        for _ in 0..=self.queue.rings().size {
            let Some(used) = self.queue.take(&mut link.memory).map_err(|what| link.lost(what))? else {
                return Ok(None);
            };
            if used.waiting == self.queue.rings().size {
                self.exhausted += 1;
            }
            // The report is copied before the buffer is the device's again.
            let report = self.read(&mut link.memory, used.head, used.len);
            self.give(&mut link.memory, used.head);
            self.queue.publish(&mut link.memory);
            link.transport.notify(spec::EVENT_QUEUE);
            match report {
                Some(report) => return Ok(Some(report)),
                None => self.ignored += 1,
            }
        }
        Err(link.lost("its fault reports make no sense"))
    }

    fn read<M: SharedMemory>(&self, memory: &mut M, number: u16, len: u32) -> Option<Report> {
        if len < FAULT_BYTES {
            return None;
        }
        let buffer = self.buffer(number);
        let [reason, reserved @ ..] = memory.read32(buffer).to_le_bytes();
        // A report with something in its reserved field is to be ignored (5.13.6.9.1).
        (reserved == [0; 3]).then(|| Report {
            reason,
            flags: memory.read32(after(buffer, 4)),
            endpoint: memory.read32(after(buffer, 8)),
            address: memory.read64(after(buffer, 16)),
        })
    }
}
