//! The driver's state, and how the hardware is set up.

use super::commands::{Command, CommandBuffer};
use super::device_table::{DeviceTable, Domain};
use super::events::EventLog;
use super::port::Port;
use super::spec::{self, Control, Features};
use super::{Config, Interrupts};
use crate::numbers::Numbers;
use crate::shared_memory::allocate_all;
use crate::streams::{Standing, Streams};
use crate::{ProbeError, Registers, SharedMemory, StreamId, Unresponsive};
use vcm::Arena;

/// The driver of one AMD IOMMU. See the [module](super) for what it guarantees.
#[derive(Debug)]
pub struct AmdVi<R, M> {
    pub(super) port: Port<R, M>,
    pub(super) features: Features,
    pub(super) table: DeviceTable,
    pub(super) commands: CommandBuffer,
    pub(super) events: EventLog,
    pub(super) domains: Arena<Domain>,
    pub(super) streams: Streams<Domain>,
    /// Domain ids.
    pub(super) numbers: Numbers,
    power: Power,
}

/// Whether the hardware was seen to be set up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Power {
    /// It was.
    Up,
    /// Setting it up was not completed: only doing it again helps.
    Down,
}

impl<R: Registers, M: SharedMemory> AmdVi<R, M> {
    /// Finds the IOMMU behind `registers` and initialises it: its caches are empty, and every stream is blocked.
    ///
    /// # Errors
    /// [`ProbeError`]. The device was left off, so that everything passes as before, and its memory was given back;
    /// unless it no longer answered.
    pub fn probe(mut registers: R, memory: M, config: Config) -> Result<Self, ProbeError> {
        let found = registers.read64(spec::FEATURES);
        // An IOMMU without any of these features is older than the register.
        if found == 0 || found == u64::MAX {
            return Err(ProbeError::Absent { label: config.label, register: "extended features", found });
        }
        let features = Features::from_bits(found);
        if features.hats() > 2 {
            let what = "host tables of a kind that is not known";
            let register = "extended features";
            return Err(ProbeError::Unknown { label: config.label, what, register, found });
        }
        let mut port = Port { registers, memory, config };
        let (commands_log2, events_log2) =
            (Config::buffer_log2(config.commands_log2), Config::buffer_log2(config.events_log2));
        let sizes = [
            DeviceTable::bytes(config.last_device),
            spec::COMMAND_BYTES << commands_log2,
            spec::EVENT_BYTES << events_log2,
            spec::PAGE,
        ];
        let places = allocate_all(&mut port.memory, sizes.map(|size| (size, spec::PAGE)))?;
        let [table, commands, events, done] = places;
        let table = DeviceTable::new(table, config.last_device);
        let commands = CommandBuffer::new(commands, commands_log2, done, table.pointer());
        let mut this = Self {
            port,
            features,
            table,
            commands,
            events: EventLog::new(events, events_log2),
            domains: Arena::new(),
            streams: Streams::new(),
            numbers: Numbers::up_to(u32::from(u16::MAX)),
            power: Power::Down,
        };
        this.table.block_all(&mut this.port.memory);
        match this.start() {
            Ok(()) => Ok(this),
            Err(error) => {
                // Memory that the device may still read or write goes to nobody.
                if this.switch_off().is_ok() {
                    for (at, size) in places.into_iter().zip(sizes) {
                        this.port.memory.free(at, size);
                    }
                }
                Err(error.into())
            }
        }
    }

    /// Sets the hardware up, for all streams as they are attached.
    pub(super) fn start(&mut self) -> Result<(), Unresponsive> {
        self.power = Power::Down;
        if self.port.read(spec::FEATURES)? != self.features.into_bits() {
            return Err(self.port.unresponsive("the extended features are not what they were"));
        }
        for attachment in self.streams.iter() {
            let domain = self.domains.get(attachment.domain);
            match domain.filter(|_| attachment.standing != Standing::Leaving) {
                Some(domain) => self.table.open(&mut self.port.memory, attachment.stream, domain),
                None => self.table.block(&mut self.port.memory, attachment.stream),
            }
        }
        let found = self.port.control()?;
        let table = self.table.pointer().into_bits();
        // While the IOMMU is off everything passes. One that has our table stays on.
        let stays = found.iommu_en() && self.port.registers.read64(spec::DEVICE_TABLE_BASE) == table;
        let off = firmware_part(found).with_iommu_en(stays);
        self.port.set_control(off);
        let quiet = |status: spec::Status| !status.cmd_buf_run() && !status.event_log_run();
        self.port.wait(quiet, "commands and events do not stop")?;
        if !stays {
            self.port.set(spec::EXCLUSION_BASE, 0, "the exclusion range does not keep what is written")?;
            self.port.set(
                spec::DEVICE_TABLE_BASE,
                table,
                "the device table base does not keep what is written",
            )?;
        }
        self.events.reset(&mut self.port)?;
        self.port.set_control(self.on(off).with_cmd_buf_en(false));
        self.port.wait(|status| status.event_log_run(), "logging events does not start")?;
        self.commands.restart(&mut self.port)?;
        self.forget_all()?;
        self.streams.settle_all();
        self.power = Power::Up;
        Ok(())
    }

    /// The control register of an IOMMU that is on.
    fn on(&self, found: Control) -> Control {
        firmware_part(found)
            .with_iommu_en(true)
            .with_event_log_en(true)
            .with_event_int_en(self.port.config.interrupts == Interrupts::On)
            .with_cmd_buf_en(true)
    }

    /// Empties all caches.
    fn forget_all(&mut self) -> Result<(), Unresponsive> {
        if self.features.ia_sup() {
            return self.commands.run(&mut self.port, core::iter::once(Command::EVERYTHING));
        }
        let devices = (0..=self.table.last().0).map(StreamId);
        let entries = devices.clone().map(Command::device).chain(devices.map(Command::interrupts));
        let domains = (0..=u16::MAX).map(Command::domain);
        self.commands.run(&mut self.port, entries.chain(domains))
    }

    fn switch_off(&mut self) -> Result<(), Unresponsive> {
        let found = self.port.control()?;
        self.port.set_control(firmware_part(found));
        let quiet = |status: spec::Status| !status.cmd_buf_run() && !status.event_log_run();
        self.port.wait(quiet, "commands and events do not stop")?;
        if self.port.control()?.iommu_en() {
            return Err(self.port.unresponsive("the IOMMU does not go off"));
        }
        Ok(())
    }

    /// Has commands executed, and waits until they are done.
    pub(super) fn run(
        &mut self,
        commands: impl Iterator<Item = Command> + Clone,
    ) -> Result<(), Unresponsive> {
        self.ready()?;
        self.commands.run(&mut self.port, commands)
    }

    /// Whether commands have the effect that is expected of them.
    pub(super) fn ready(&self) -> Result<(), Unresponsive> {
        if self.power == Power::Down {
            return Err(self.port.unresponsive("it is to be recovered"));
        }
        Ok(())
    }
}

impl<R, M> AmdVi<R, M> {
    /// What the hardware says that it can do.
    pub const fn features(&self) -> Features {
        self.features
    }

    /// What the driver was configured with.
    pub const fn config(&self) -> &Config {
        &self.port.config
    }

    /// How often the hardware stopped at a command that it does not know, or whose memory it could not access.
    pub const fn command_stops(&self) -> u64 {
        self.commands.stops
    }

    /// How many events told of such commands, and of devices that did not invalidate their translations.
    pub const fn command_errors(&self) -> u64 {
        self.events.command_errors
    }

    /// The register window. Whoever writes to it does so behind the driver's back.
    pub const fn registers_mut(&mut self) -> &mut R {
        &mut self.port.registers
    }

    /// The shared memory. Whoever writes to what the driver allocated does so behind its back.
    pub const fn memory_mut(&mut self) -> &mut M {
        &mut self.port.memory
    }
}

/// What firmware has chosen, and everything else off.
fn firmware_part(found: Control) -> Control {
    Control::new()
        .with_ht_tun_en(found.ht_tun_en())
        .with_inv_time_out(found.inv_time_out())
        .with_pass_pw(found.pass_pw())
        .with_res_pass_pw(found.res_pass_pw())
        .with_coherent(found.coherent())
        .with_isoc(found.isoc())
}
