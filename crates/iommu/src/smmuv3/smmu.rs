//! The driver's state, its creation, and how the hardware is started, stopped and started anew.

use super::commands::{Command, Progress};
use super::domain::Domain;
use super::queue::Queue;
use super::streams::Attachment;
use super::table::Table;
use super::{Capabilities, Config, Interrupts, Message, Statistics, Unattached, commands, spec, tlb};
use crate::numbers::Numbers;
use crate::{ProbeError, Registers, SharedMemory, Stall, Unresponsive};
use vcm::{Arena, List, OutOfMemory, PhysicalAddress};

/// The driver of one `SMMUv3`. See the [module](super) for what it guarantees.
#[derive(Debug)]
pub struct Smmu<R, M> {
    pub(super) registers: R,
    pub(super) memory: M,
    pub(super) config: Config,
    pub(super) capabilities: Capabilities,
    pub(super) table: Table,
    pub(super) command_queue: Queue,
    pub(super) progress: Progress,
    /// The last command that the hardware refused.
    pub(super) refused: Option<Command>,
    pub(super) event_queue: Queue,
    /// Where the next event is read: an index with its wrap bit.
    pub(super) event_consumer: u32,
    /// `EVENTQ_CONS.OVACKFLG`.
    pub(super) event_overflow: bool,
    /// What `CR0` was seen to be set to; nothing while that is not known.
    pub(super) cr0: spec::Cr0,
    pub(super) domains: Arena<Domain>,
    pub(super) asids: Numbers,
    pub(super) vmids: Numbers,
    /// Ascending by stream.
    pub(super) attachments: List<Attachment>,
    /// Transactions that wait for an answer.
    pub(super) stalls: List<Stall>,
    pub(super) statistics: Statistics,
}

impl<R: Registers, M: SharedMemory> Smmu<R, M> {
    /// Finds the SMMU behind `registers` and initialises it: all caches are empty, and every transaction is refused.
    ///
    /// # Errors
    /// [`ProbeError`]; the hardware may be half initialised, and where it fell silent, what was allocated in `memory` is
    /// not given back, since the hardware may have been told of it.
    pub fn probe(mut registers: R, mut memory: M, config: Config) -> Result<Self, ProbeError> {
        let capabilities = Capabilities::read(&mut registers, config.label)?;
        if matches!(config.interrupts, Interrupts::Messages { .. }) && !capabilities.idr0.msi() {
            let (label, found) = (config.label, capabilities.idr0.into_bits().into());
            let what = "no interrupts as messages, which were asked for";
            return Err(ProbeError::Unknown { label, what, register: "IDR0", found });
        }
        let (command_queue, event_queue, table) = allocate(&capabilities, &config, &mut memory)?;
        let (asids, vmids) =
            (Numbers::up_to(capabilities.asids() - 1), Numbers::up_to(capabilities.vmids() - 1));
        let mut smmu = Self {
            registers,
            memory,
            config,
            capabilities,
            table,
            command_queue,
            progress: Progress::default(),
            refused: None,
            event_queue,
            event_consumer: 0,
            event_overflow: false,
            cr0: spec::Cr0::new(),
            domains: Arena::new(),
            asids,
            vmids,
            attachments: List::new(),
            stalls: List::new(),
            statistics: Statistics::default(),
        };
        smmu.stop()?;
        smmu.start()?;
        Ok(smmu)
    }

    /// Stops the hardware: every transaction is refused and nothing is recorded, until [`Iommu::recover`] starts it
    /// again. What the driver was told of domains and streams stays. Until then attaching and detaching answer
    /// [`Unresponsive`], and take effect with it.
    ///
    /// [`Iommu::recover`]: crate::Iommu::recover
    ///
    /// # Errors
    /// [`Unresponsive`]: it may translate still. The call may be repeated.
    pub fn stop(&mut self) -> Result<(), Unresponsive> {
        // First what shall become of transactions without translation, then the end of translation.
        let now =
            self.poll(spec::GBPA, "GBPA.UPDATE stays set", |raw| !spec::Gbpa::from_bits(raw).update())?;
        let abort = spec::Gbpa::from_bits(now).with_abort(true).with_update(true);
        self.registers.write(spec::GBPA, abort.into_bits());
        let then = abort.with_update(false).into_bits();
        self.poll(spec::GBPA, "GBPA.ABORT does not take effect", |raw| raw == then)?;
        self.set_cr0(spec::Cr0::new())?;
        self.set_interrupts(spec::IrqCtrl::new())
    }

    /// Starts hardware that was stopped, with what is in memory.
    pub(super) fn start(&mut self) -> Result<(), Unresponsive> {
        let (cacheability, shareability) = if self.capabilities.coherent() {
            (spec::TABLE_WRITE_BACK, spec::INNER_SHAREABLE)
        } else {
            (spec::TABLE_NOT_CACHED, spec::OUTER_SHAREABLE)
        };
        let cr1 = spec::Cr1::new()
            .with_queue_ic(cacheability)
            .with_queue_oc(cacheability)
            .with_queue_sh(shareability)
            .with_table_ic(cacheability)
            .with_table_oc(cacheability)
            .with_table_sh(shareability);
        let recorded = self.config.unattached == Unattached::Recorded;
        let cr2 = spec::Cr2::new().with_recinvsid(recorded).with_ptm(true);
        self.registers.write(spec::CR1, cr1.into_bits());
        self.registers.write(spec::CR2, cr2.into_bits());
        // An error from before would keep commands from being processed.
        let errors = self.registers.read(spec::GERROR);
        self.registers.write(spec::GERRORN, errors);

        let (base, shape) = self.table.registers();
        self.registers.write64(spec::STRTAB_BASE, base);
        self.registers.write(spec::STRTAB_BASE_CFG, shape);
        self.registers.write64(spec::CMDQ_BASE, self.command_queue.register());
        self.registers.write(spec::CMDQ_PROD, 0);
        self.registers.write(spec::CMDQ_CONS, 0);
        self.progress = Progress::default();
        self.registers.write64(spec::EVENTQ_BASE, self.event_queue.register());
        self.registers.write(spec::EVENTQ_PROD, 0);
        self.registers.write(spec::EVENTQ_CONS, 0);
        self.event_consumer = 0;
        self.event_overflow = false;

        self.set_cr0(self.cr0.with_cmdqen(true))?;
        self.carry_out([commands::forget_all_streams(), tlb::everything_of_all()].into_iter())?;
        self.set_cr0(self.cr0.with_eventqen(true))?;
        if let Interrupts::Messages { events, errors } = self.config.interrupts {
            self.set_message(spec::EVENTQ_IRQ_CFG0, spec::EVENTQ_IRQ_CFG1, spec::EVENTQ_IRQ_CFG2, events);
            self.set_message(spec::GERROR_IRQ_CFG0, spec::GERROR_IRQ_CFG1, spec::GERROR_IRQ_CFG2, errors);
        } else if self.capabilities.idr0.msi() {
            // Without an address it is the line.
            self.registers.write64(spec::EVENTQ_IRQ_CFG0, 0);
            self.registers.write64(spec::GERROR_IRQ_CFG0, 0);
        }
        self.set_interrupts(spec::IrqCtrl::new().with_gerror(true).with_eventq(true))?;
        self.set_cr0(self.cr0.with_smmuen(true))
    }

    /// Stops the hardware, writes everything anew, and starts it.
    pub(super) fn restart(&mut self) -> Result<(), Unresponsive> {
        self.stop()?;
        self.restore_entries();
        for slot in 0..self.domains.slots() {
            if let Some(key) = self.domains.key_at(slot) {
                self.write_context(key);
            }
        }
        // What waited was refused when translation was disabled.
        self.stalls.clear();
        self.start()?;
        // All caches are empty: what was quarantined is free.
        self.attachments.retain(|attachment| attachment.wanted.is_some());
        self.attachments.iter_mut().for_each(Attachment::settle);
        for slot in 0..self.domains.slots() {
            if let Some(key) = self.domains.key_at(slot)
                && self.domains.get(key).is_some_and(|domain| domain.doomed)
            {
                self.forget_domain(key);
            }
        }
        Ok(())
    }

    fn set_message(&mut self, address: u32, data: u32, attributes: u32, message: Message) {
        // Device-nGnRE, whose shareability does not matter.
        let memory = spec::IrqCfg2::new().with_memattr(1);
        self.registers.write64(address, message.address.raw());
        self.registers.write(data, message.data);
        self.registers.write(attributes, memory.into_bits());
    }

    fn set_interrupts(&mut self, interrupts: spec::IrqCtrl) -> Result<(), Unresponsive> {
        let value = interrupts.into_bits();
        self.registers.write(spec::IRQ_CTRL, value);
        self.poll(spec::IRQ_CTRLACK, "IRQ_CTRLACK does not follow IRQ_CTRL", |raw| raw == value).map(drop)
    }

    fn set_cr0(&mut self, cr0: spec::Cr0) -> Result<(), Unresponsive> {
        let value = cr0.into_bits();
        self.cr0 = spec::Cr0::new();
        self.registers.write(spec::CR0, value);
        self.poll(spec::CR0ACK, "CR0ACK does not follow CR0", |raw| raw == value)?;
        self.cr0 = cr0;
        Ok(())
    }

    /// Whether the hardware translates, so that commands have the effect that is expected of them.
    pub(super) fn ready(&mut self) -> Result<(), Unresponsive> {
        if self.cr0.smmuen() { Ok(()) } else { Err(self.unresponsive("it is to be recovered")) }
    }

    /// Reads a register until it is as it shall be.
    fn poll(
        &mut self,
        register: u32,
        what: &'static str,
        done: impl Fn(u32) -> bool,
    ) -> Result<u32, Unresponsive> {
        for _ in 0..self.config.polls {
            let raw = self.registers.read(register);
            if done(raw) {
                return Ok(raw);
            }
        }
        Err(self.unresponsive(what))
    }
}

impl<R, M> Smmu<R, M> {
    /// What the hardware can do.
    pub const fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// What the driver was told.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// What the driver did so far.
    pub const fn statistics(&self) -> Statistics {
        self.statistics
    }

    /// The last stream that the stream table covers.
    pub const fn last_stream(&self) -> crate::StreamId {
        crate::StreamId(self.table.last_stream())
    }

    /// Whether the stream table has two levels.
    pub const fn is_two_level(&self) -> bool {
        self.table.is_two_level()
    }

    /// Where the hardware reads the entry of `stream`. It is for looking: whoever writes there does so behind the
    /// driver's back. `None` for a stream that has no entry, or none yet.
    pub fn stream_entry(&self, stream: crate::StreamId) -> Option<PhysicalAddress> {
        (stream.0 <= self.table.last_stream()).then(|| self.table.find(stream.0))?
    }

    /// The register window. Whoever writes to it does so behind the driver's back.
    pub const fn registers_mut(&mut self) -> &mut R {
        &mut self.registers
    }

    /// The memory of queues and tables. Whoever writes to it does so behind the driver's back.
    pub const fn memory_mut(&mut self) -> &mut M {
        &mut self.memory
    }
}

/// Both queues and the table; none when one is lacking.
fn allocate(
    capabilities: &Capabilities,
    config: &Config,
    memory: &mut impl SharedMemory,
) -> Result<(Queue, Queue, Table), OutOfMemory> {
    // A completion must fit beside a command.
    let commands = config.command_queue.clamp(1, capabilities.idr1.cmdqs());
    let events = config.event_queue.min(capabilities.idr1.eventqs());
    let mut queue = |log2, entry_bytes| -> Result<Queue, OutOfMemory> {
        let shape = Queue { base: PhysicalAddress::new(0), log2, entry_bytes };
        Ok(Queue { base: memory.allocate(shape.bytes(), shape.bytes())?, ..shape })
    };
    let commands = queue(commands, spec::COMMAND_BYTES)?;
    let events = match queue(events, spec::EVENT_BYTES) {
        Ok(events) => events,
        Err(error) => {
            memory.free(commands.base, commands.bytes());
            return Err(error);
        }
    };
    match Table::new(capabilities, config, memory) {
        Ok(table) => Ok((commands, events, table)),
        Err(error) => {
            memory.free(events.base, events.bytes());
            memory.free(commands.base, commands.bytes());
            Err(error)
        }
    }
}
