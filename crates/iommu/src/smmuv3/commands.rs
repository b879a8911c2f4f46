//! The command queue: writing commands, waiting for their completion, and recovering from their errors.

use super::{Smmu, spec};
use crate::{Registers, SharedMemory, Unresponsive};
use vcm::PhysicalAddress;

/// A command.
pub(super) type Command = [u64; 2];

/// `CMD_SYNC` whose completion only `CMDQ_CONS` tells of.
const SYNC: Command = [spec::SyncStart::new().with_opcode(spec::CMD_SYNC).into_bits(), 0];

/// How often in one wait the hardware may say that it cannot read a command.
const ABORTS: u32 = 4;

/// What is known of the queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Progress {
    /// Where the next command goes: an index with its wrap bit.
    pub(super) producer: u32,
    /// Where the hardware was when it was last asked.
    pub(super) consumer: u32,
}

/// The first word of a command about a stream.
pub(super) const fn about_stream(opcode: u8, stream: u32) -> spec::StreamStart {
    spec::StreamStart::new().with_opcode(opcode).with_stream(stream)
}

/// What makes the hardware forget the configuration of all streams.
pub(super) const fn forget_all_streams() -> Command {
    let end = spec::CfgiEnd::new().with_range(spec::CFGI_ALL_RANGE);
    [about_stream(spec::CMD_CFGI_STE_RANGE, 0).into_bits(), end.into_bits()]
}

/// What waiting has cost so far.
struct Wait {
    polls: u32,
    aborts: u32,
    refused: bool,
}

impl<R: Registers, M: SharedMemory> Smmu<R, M> {
    /// Writes commands, and waits until all have completed.
    ///
    /// # Errors
    /// [`Unresponsive`]: they did not complete in time, or one was refused (the others were carried out), or the
    /// hardware was not started.
    pub(super) fn issue(&mut self, commands: impl Iterator<Item = Command>) -> Result<(), Unresponsive> {
        self.ready()?;
        self.carry_out(commands)
    }

    /// The same, also while the hardware is being started.
    pub(super) fn carry_out(&mut self, commands: impl Iterator<Item = Command>) -> Result<(), Unresponsive> {
        let mut wait = Wait { polls: self.config.polls, aborts: 0, refused: false };
        for command in commands.chain(core::iter::once(SYNC)) {
            self.push(command, &mut wait)?;
        }
        self.publish();
        let last = self.progress.producer;
        self.wait_until(&mut wait, "CMD_SYNC did not complete", |progress| progress.consumer == last)?;
        // A reset makes all indices zero, so that a zero alone proves nothing.
        if last == 0 && self.registers.read(spec::CR0ACK) != self.cr0.into_bits() {
            return Err(self.unresponsive("CR0ACK changed by itself: it was reset"));
        }
        self.statistics.completions += 1;
        if wait.refused {
            return Err(self.unresponsive("a command was refused (CERROR_ILL)"));
        }
        Ok(())
    }

    /// Puts a command into the queue, once there is room.
    fn push(&mut self, command: Command, wait: &mut Wait) -> Result<(), Unresponsive> {
        let queue = self.command_queue;
        if queue.distance(self.progress.consumer, self.progress.producer) >= queue.entries() {
            self.publish();
            self.wait_until(wait, "the command queue stays full", move |progress| {
                queue.distance(progress.consumer, progress.producer) < queue.entries()
            })?;
        }
        self.put(self.progress.producer, command);
        self.progress.producer = queue.next(self.progress.producer);
        self.statistics.commands += 1;
        Ok(())
    }

    fn put(&mut self, index: u32, command: Command) {
        let at = self.command_queue.entry(index);
        self.memory.write64(at, command[0]);
        self.memory.write64(PhysicalAddress::new(at.raw() + 8), command[1]);
    }

    /// Tells the hardware of what was put into the queue.
    fn publish(&mut self) {
        self.registers.write(spec::CMDQ_PROD, self.progress.producer);
    }

    fn wait_until(
        &mut self,
        wait: &mut Wait,
        what: &'static str,
        done: impl Fn(&super::commands::Progress) -> bool,
    ) -> Result<(), Unresponsive> {
        loop {
            self.look_at_consumer()?;
            if done(&self.progress) {
                return Ok(());
            }
            wait.polls = match wait.polls.checked_sub(1) {
                Some(left) => left,
                None => return Err(self.unresponsive(what)),
            };
            let errors = self.active_errors()?;
            if errors.sfm_err() {
                return Err(self.unresponsive("service failure mode"));
            }
            if errors.cmdq_err() {
                self.mend_queue(wait)?;
            }
        }
    }

    /// Asks the hardware how far it is.
    fn look_at_consumer(&mut self) -> Result<spec::CmdqCons, Unresponsive> {
        let raw = self.registers.read(spec::CMDQ_CONS);
        let consumer = spec::CmdqCons::from_bits(raw);
        let Progress { producer, consumer: before } = self.progress;
        let (queue, index) = (self.command_queue, consumer.rd());
        let forward = queue.distance(before, index) <= queue.distance(before, producer);
        if raw == u32::MAX || index & !queue.mask() != 0 || !forward {
            return Err(self.unresponsive("CMDQ_CONS makes no sense"));
        }
        self.progress.consumer = index;
        Ok(consumer)
    }

    /// Deals with the command at which the hardware stopped, and lets it go on (Arm IHI 0070, 7.1).
    fn mend_queue(&mut self, wait: &mut Wait) -> Result<(), Unresponsive> {
        let consumer = self.look_at_consumer()?;
        let index = self.progress.consumer;
        match consumer.err() {
            spec::CERROR_ABT | spec::CERROR_ATC_INV_SYNC => {
                // The one could not be read: perhaps it can now. The other has completed in all that matters here.
                self.statistics.command_aborts += 1;
                wait.aborts += 1;
                if wait.aborts > ABORTS {
                    return Err(self.unresponsive("the command queue cannot be read (CERROR_ABT)"));
                }
            }
            // What is not known is treated as the worst that can be: this command is not going to be understood.
            _ => {
                let at = self.command_queue.entry(index);
                let second = PhysicalAddress::new(at.raw() + 8);
                self.refused = Some([self.memory.read64(at), self.memory.read64(second)]);
                self.put(index, SYNC);
                self.statistics.refused_commands += 1;
                wait.refused = true;
            }
        }
        // An error is acknowledged by making its bit equal; others stay as they are.
        let acknowledged =
            self.registers.read(spec::GERRORN) ^ spec::Gerror::new().with_cmdq_err(true).into_bits();
        self.registers.write(spec::GERRORN, acknowledged);
        Ok(())
    }

    /// The last command that the hardware refused: its two words. It is for reports.
    pub const fn refused_command(&self) -> Option<[u64; 2]> {
        self.refused
    }
}
