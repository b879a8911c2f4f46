//! The command queue: batches of commands, each ended by a fence that is waited for.

use super::port::Port;
use super::spec::{self, CommandCsr, Iodir, Iofence, Iotinval, IotinvalAddress, QueueBase};
use crate::{Registers, SharedMemory, StreamId, Unresponsive};
use vcm::PhysicalAddress;

/// A command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Command(u64, u64);

impl Command {
    /// Drops the context of one device; what was written to its directory before is seen from now on.
    pub(super) const fn device(stream: StreamId) -> Self {
        Self(Iodir::new().with_dv(true).with_did(stream.0 & 0xff_ffff).into_bits(), 0)
    }

    /// Drops the contexts of all devices.
    pub(super) const ALL_DEVICES: Self = Self(Iodir::new().into_bits(), 0);

    pub(super) const fn translations(which: Iotinval, address: IotinvalAddress) -> Self {
        Self(which.into_bits(), address.into_bits())
    }

    /// Orders all reads and writes that were processed, and does nothing else.
    const NOTHING: Self = Self(Iofence::new().with_pr(true).with_pw(true).into_bits(), 0);

    const fn fence(store: u32, at: PhysicalAddress) -> Self {
        let fence = Iofence::new().with_av(true).with_pr(true).with_pw(true).with_data(store);
        Self(fence.into_bits(), at.raw() >> 2)
    }
}

/// Whether driver and hardware agree on what the queue holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    /// The last fence has completed: the queue is empty.
    Together,
    /// It has not, or the queue was never on: it must be started anew.
    Lost,
}

/// How a fence completed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Completed {
    /// So that all commands before it are done.
    Cleanly,
    /// After an error, which may have cost commands before it.
    AfterError,
}

/// The command queue.
#[derive(Debug)]
pub(super) struct CommandQueue {
    base: PhysicalAddress,
    log2: u8,
    /// The word that fences store to.
    done: PhysicalAddress,
    /// What the last fence stores: another value each time.
    ticket: u32,
    tail: u32,
    step: Step,
    /// How often the hardware stopped with an error.
    pub(super) errors: u64,
}

impl CommandQueue {
    pub(super) const fn new(base: PhysicalAddress, log2: u8, done: PhysicalAddress) -> Self {
        Self { base, log2, done, ticket: 0, tail: 0, step: Step::Lost, errors: 0 }
    }

    const fn entries(&self) -> u32 {
        1 << self.log2
    }

    const fn at(&self, index: u32) -> PhysicalAddress {
        PhysicalAddress::new(self.base.raw() + index as u64 * spec::COMMAND_BYTES)
    }

    /// Whether [`restart`](Self::restart) is due.
    pub(super) fn is_lost(&self) -> bool {
        self.step == Step::Lost
    }

    /// Switches the queue off. Afterwards the hardware accesses neither it nor the word of its fences.
    pub(super) fn stop<R: Registers, M: SharedMemory>(
        &mut self,
        port: &mut Port<R, M>,
    ) -> Result<(), Unresponsive> {
        self.step = Step::Lost;
        let busy = CommandCsr::new().with_busy(true).into_bits();
        port.wait(spec::CQCSR, busy, 0, "cqcsr stays busy")?;
        port.registers.write(spec::CQCSR, 0);
        let on = CommandCsr::new().with_busy(true).with_cqon(true).into_bits();
        port.wait(spec::CQCSR, on, 0, "the command queue does not stop")?;
        Ok(())
    }

    /// Switches the queue off and on again, empty.
    pub(super) fn restart<R: Registers, M: SharedMemory>(
        &mut self,
        port: &mut Port<R, M>,
    ) -> Result<(), Unresponsive> {
        self.stop(port)?;
        let base =
            QueueBase::new().with_log2_minus_1(self.log2 - 1).with_ppn(self.base.raw() >> 12).into_bits();
        port.write64(spec::CQB, base);
        if port.registers.read64(spec::CQB) != base {
            return Err(port.unresponsive("cqb does not keep what is written"));
        }
        port.registers.write(spec::CQT, 0);
        self.tail = 0;
        port.memory.write32(self.done, self.ticket);
        port.registers.write(spec::CQCSR, CommandCsr::new().with_cqen(true).into_bits());
        let mask = CommandCsr::new().with_busy(true).with_cqon(true).into_bits();
        let on = CommandCsr::new().with_cqon(true).into_bits();
        port.wait(spec::CQCSR, mask, on, "the command queue does not start")?;
        self.step = Step::Together;
        Ok(())
    }

    /// Has `commands` executed, and waits until they are done. They may be executed twice.
    ///
    /// The specification wants commands repeated that came after the last fence before an error ("Command-queue CSR").
    /// Every batch begins after a fence that has completed, so that the batch is what is to be repeated.
    pub(super) fn run<R: Registers, M: SharedMemory>(
        &mut self,
        port: &mut Port<R, M>,
        commands: impl Iterator<Item = Command> + Clone,
    ) -> Result<(), Unresponsive> {
        for _ in 0..2 {
            if self.is_lost() {
                self.restart(port)?;
            }
            self.step = Step::Lost;
            let completed = self.once(port, commands.clone())?;
            self.step = Step::Together;
            if completed == Completed::Cleanly {
                return Ok(());
            }
        }
        Err(port.unresponsive("commands are refused"))
    }

    fn once<R: Registers, M: SharedMemory>(
        &mut self,
        port: &mut Port<R, M>,
        commands: impl Iterator<Item = Command>,
    ) -> Result<Completed, Unresponsive> {
        let mut all = Completed::Cleanly;
        let mut queued = 0;
        for command in commands {
            // A full queue has one free entry; another is the fence's.
            if queued == self.entries() - 2 {
                queued = 0;
                if self.fence(port)? == Completed::AfterError {
                    all = Completed::AfterError;
                }
            }
            self.put(port, command);
            queued += 1;
        }
        match self.fence(port)? {
            Completed::Cleanly => Ok(all),
            Completed::AfterError => Ok(Completed::AfterError),
        }
    }

    /// Writes a command. The hardware hears of it with the next fence.
    fn put<R: Registers, M: SharedMemory>(&mut self, port: &mut Port<R, M>, command: Command) {
        self.write(port, self.tail, command);
        self.tail = (self.tail + 1) % self.entries();
    }

    fn write<R: Registers, M: SharedMemory>(&self, port: &mut Port<R, M>, index: u32, command: Command) {
        let at = self.at(index).raw();
        port.memory.write64(PhysicalAddress::new(at), command.0);
        port.memory.write64(PhysicalAddress::new(at + 8), command.1);
    }

    fn fence<R: Registers, M: SharedMemory>(
        &mut self,
        port: &mut Port<R, M>,
    ) -> Result<Completed, Unresponsive> {
        self.ticket = self.ticket.wrapping_add(1);
        self.put(port, Command::fence(self.ticket, self.done));
        port.registers.write(spec::CQT, self.tail);
        let mut completed = Completed::Cleanly;
        let mut failed_at = None;
        let mut errors = 0;
        for _ in 0..port.config.polls.max(1) {
            if port.memory.read32(self.done) == self.ticket {
                return Ok(completed);
            }
            let csr = CommandCsr::from_bits(port.read(spec::CQCSR)?);
            if !csr.cqon() {
                return Err(port.unresponsive("the command queue is off"));
            }
            if csr.cqmf() || csr.cmd_to() || csr.cmd_ill() {
                // Each entry may fail twice before it is replaced.
                errors += 1;
                if errors > 2 * self.entries() {
                    return Err(port.unresponsive("commands fail one after the other"));
                }
                completed = Completed::AfterError;
                failed_at = Some(self.mend(port, csr, failed_at)?);
            }
        }
        Err(port.unresponsive("IOFENCE.C did not complete"))
    }

    /// Gets the queue going after an error. `before` is the entry that the last error was at: an illegal command
    /// that is met there a second time is replaced.
    fn mend<R: Registers, M: SharedMemory>(
        &mut self,
        port: &mut Port<R, M>,
        csr: CommandCsr,
        before: Option<u32>,
    ) -> Result<u32, Unresponsive> {
        self.errors += 1;
        let head = port.read(spec::CQH)?;
        if head >= self.entries() {
            return Err(port.unresponsive("cqh is beyond the command queue"));
        }
        if csr.cmd_ill() && before == Some(head) {
            self.write(port, head, Command::NOTHING);
        }
        let busy = CommandCsr::new().with_busy(true).into_bits();
        port.wait(spec::CQCSR, busy, 0, "cqcsr stays busy")?;
        // The error bits are cleared by writing them as 1. QEMU looks at the queue again only when told of the tail.
        port.registers.write(spec::CQCSR, csr.with_cqen(true).into_bits());
        port.wait(spec::CQCSR, busy, 0, "cqcsr stays busy")?;
        port.registers.write(spec::CQT, self.tail);
        Ok(head)
    }
}
