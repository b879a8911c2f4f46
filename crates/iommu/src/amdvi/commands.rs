//! The command buffer: batches of commands, each ended by a wait.

use super::port::Port;
use super::spec::{
    self, BufferBase, CompletionWait, DeviceTableBase, InvalidatePages, OfDevice, PagesAddress,
};
use crate::ranges::Pages;
use crate::{Reach, Registers, SharedMemory, StreamId, Unresponsive};
use vcm::PhysicalAddress;

/// A command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Command(u64, u64);

impl Command {
    /// Drops the device table entry of a stream.
    pub(super) const fn device(stream: StreamId) -> Self {
        Self::of(spec::INVALIDATE_DEVTAB_ENTRY, stream.0 as u16)
    }

    /// Drops the interrupt table of a stream.
    pub(super) const fn interrupts(stream: StreamId) -> Self {
        Self::of(spec::INVALIDATE_INTERRUPT_TABLE, stream.0 as u16)
    }

    /// Drops everything.
    pub(super) const EVERYTHING: Self = Self::of(spec::INVALIDATE_IOMMU_ALL, 0);

    const fn of(opcode: u8, device: u16) -> Self {
        Self(OfDevice::new().with_device(device).with_opcode(opcode).into_bits(), 0)
    }

    /// Drops all translations of a domain, and what leads to them.
    pub(super) const fn domain(domain: u16) -> Self {
        Self::pages(domain, Pages::ALL, Reach::Tables)
    }

    /// Drops some translations of a domain.
    pub(super) const fn pages(domain: u16, pages: Pages, reach: Reach) -> Self {
        let address = PagesAddress::new()
            .with_page(pages.encoded())
            .with_s(pages.order > 0)
            .with_pde(matches!(reach, Reach::Tables));
        Self(InvalidatePages::new().with_domain(domain).into_bits(), address.into_bits())
    }

    const fn wait(store: u64, at: PhysicalAddress) -> Self {
        Self(CompletionWait::new().with_s(true).with_address(at.raw() >> 3).into_bits(), store)
    }
}

/// Whether driver and hardware agree on what the buffer holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    /// The last wait has completed: the buffer is empty.
    Together,
    /// It has not, or the buffer was never on: it must be started anew.
    Lost,
}

/// Why a wait did not complete.
enum Failure {
    /// The hardware has stopped at a command that it does not understand, or whose memory it could not access.
    Stopped,
    Unresponsive(Unresponsive),
}

impl From<Unresponsive> for Failure {
    fn from(error: Unresponsive) -> Self {
        Self::Unresponsive(error)
    }
}

/// The command buffer.
#[derive(Debug)]
pub(super) struct CommandBuffer {
    base: PhysicalAddress,
    log2: u8,
    /// The word that waits store to.
    done: PhysicalAddress,
    /// What the register of the device table holds while the IOMMU is ours.
    table: DeviceTableBase,
    /// What the last wait stores: another value each time.
    ticket: u64,
    /// Index of the next entry.
    tail: u64,
    step: Step,
    /// How often the hardware stopped.
    pub(super) stops: u64,
}

impl CommandBuffer {
    pub(super) const fn new(
        base: PhysicalAddress,
        log2: u8,
        done: PhysicalAddress,
        table: DeviceTableBase,
    ) -> Self {
        Self { base, log2, done, table, ticket: 0, tail: 0, step: Step::Lost, stops: 0 }
    }

    const fn entries(&self) -> u64 {
        1 << self.log2
    }

    const fn base(&self) -> BufferBase {
        BufferBase::new().with_page(self.base.raw() >> 12).with_log2(self.log2)
    }

    /// Empties the buffer, which is on with the IOMMU.
    pub(super) fn restart<R: Registers, M: SharedMemory>(
        &mut self,
        port: &mut Port<R, M>,
    ) -> Result<(), Unresponsive> {
        self.step = Step::Lost;
        let control = port.control()?;
        // One that was reset lets everything pass, whatever it says of commands.
        if !control.iommu_en() || port.registers.read64(spec::DEVICE_TABLE_BASE) != self.table.into_bits() {
            return Err(port.unresponsive("the IOMMU was reset"));
        }
        port.set_control(control.with_cmd_buf_en(false));
        port.wait(|status| !status.cmd_buf_run(), "fetching commands does not stop")?;
        port.set(
            spec::COMMAND_BASE,
            self.base().into_bits(),
            "the command base does not keep what is written",
        )?;
        port.registers.write64(spec::COMMAND_HEAD, 0);
        port.registers.write64(spec::COMMAND_TAIL, 0);
        self.tail = 0;
        port.memory.write64(self.done, self.ticket);
        port.set_control(control.with_cmd_buf_en(true));
        port.wait(|status| status.cmd_buf_run(), "fetching commands does not start")?;
        self.step = Step::Together;
        Ok(())
    }

    /// Has `commands` executed, and waits until they are done. They may be executed twice: when the hardware stops
    /// at one, the buffer is emptied, which does away with what another hand put there, and all are queued again.
    pub(super) fn run<R: Registers, M: SharedMemory>(
        &mut self,
        port: &mut Port<R, M>,
        commands: impl Iterator<Item = Command> + Clone,
    ) -> Result<(), Unresponsive> {
        for _ in 0..2 {
            if self.step == Step::Lost || !self.is_where_it_was(port)? {
                self.restart(port)?;
            }
            self.step = Step::Lost;
            match self.once(port, commands.clone()) {
                Ok(()) => {
                    self.step = Step::Together;
                    return Ok(());
                }
                Err(Failure::Stopped) => self.stops += 1,
                Err(Failure::Unresponsive(error)) => return Err(error),
            }
        }
        Err(port.unresponsive("commands are refused"))
    }

    /// Whether the hardware fetches next what the driver writes next. It does not after another hand has queued a
    /// command, and then would pass over one of ours.
    fn is_where_it_was<R: Registers, M: SharedMemory>(
        &self,
        port: &mut Port<R, M>,
    ) -> Result<bool, Unresponsive> {
        let head = port.read(spec::COMMAND_HEAD)? & spec::OFFSET_MASK;
        // QEMU shows the end of the buffer where it means its start.
        Ok(head % (self.entries() * spec::COMMAND_BYTES) == self.tail * spec::COMMAND_BYTES)
    }

    fn once<R: Registers, M: SharedMemory>(
        &mut self,
        port: &mut Port<R, M>,
        commands: impl Iterator<Item = Command>,
    ) -> Result<(), Failure> {
        let mut queued = 0;
        for command in commands {
            // A full buffer has one free entry; another is the wait's.
            if queued == self.entries() - 2 {
                queued = 0;
                self.wait(port)?;
            }
            self.put(port, command);
            queued += 1;
        }
        self.wait(port)
    }

    /// Writes a command. The hardware hears of it with the next wait.
    fn put<R: Registers, M: SharedMemory>(&mut self, port: &mut Port<R, M>, command: Command) {
        let at = self.base.raw() + self.tail * spec::COMMAND_BYTES;
        port.memory.write64(PhysicalAddress::new(at), command.0);
        port.memory.write64(PhysicalAddress::new(at + 8), command.1);
        self.tail = (self.tail + 1) % self.entries();
    }

    fn wait<R: Registers, M: SharedMemory>(&mut self, port: &mut Port<R, M>) -> Result<(), Failure> {
        self.ticket = self.ticket.wrapping_add(1);
        self.put(port, Command::wait(self.ticket, self.done));
        port.registers.write64(spec::COMMAND_TAIL, self.tail * spec::COMMAND_BYTES);
        for _ in 0..port.config.polls.max(1) {
            if port.memory.read64(self.done) == self.ticket {
                return Ok(());
            }
            if !port.status()?.cmd_buf_run() {
                // It may have completed first.
                let done = port.memory.read64(self.done) == self.ticket;
                return if done { Ok(()) } else { Err(Failure::Stopped) };
            }
        }
        Err(port.unresponsive("COMPLETION_WAIT did not complete").into())
    }
}
