//! The driver's state, and how the hardware is set up.

use super::commands::{Command, CommandQueue};
use super::directory::{Directory, Form};
use super::domain::Domain;
use super::faults::FaultQueue;
use super::port::Port;
use super::spec::{self, Capabilities, Ddtp, FaultCsr, Fctl, Iotinval, IotinvalAddress};
use super::{Config, Interrupts};
use crate::numbers::Numbers;
use crate::shared_memory::allocate_all;
use crate::streams::{Standing, Streams};
use crate::{ProbeError, Registers, SharedMemory, Unresponsive};
use vcm::{Arena, PhysicalAddress};

/// The driver of one RISC-V IOMMU. See the [module](super) for what it guarantees.
#[derive(Debug)]
pub struct RiscvIommu<R, M> {
    pub(super) port: Port<R, M>,
    pub(super) capabilities: Capabilities,
    pub(super) directory: Directory,
    pub(super) commands: CommandQueue,
    pub(super) faults: FaultQueue,
    pub(super) domains: Arena<Domain>,
    pub(super) streams: Streams<Domain>,
    /// Process soft-context ids.
    pub(super) processes: Numbers,
    /// Guest soft-context ids.
    pub(super) guests: Numbers,
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

/// Bytes of a queue, which is aligned to as much: at least a page.
const fn queue_bytes(log2: u8, entry: u64) -> u64 {
    let bytes = entry << log2;
    if bytes < spec::PAGE { spec::PAGE } else { bytes }
}

impl<R: Registers, M: SharedMemory> RiscvIommu<R, M> {
    /// Finds the IOMMU behind `registers` and initialises it: its caches are empty, and every stream is blocked.
    ///
    /// # Errors
    /// [`ProbeError`]. The device was left off, and its memory given back, unless it no longer answered.
    pub fn probe(mut registers: R, memory: M, config: Config) -> Result<Self, ProbeError> {
        let capabilities = check(&mut registers, &config)?;
        let mut port = Port { registers, memory, config };
        let (commands_log2, faults_log2) =
            (Config::queue_log2(config.commands_log2), Config::queue_log2(config.faults_log2));
        let sizes = [
            spec::PAGE,
            queue_bytes(commands_log2, spec::COMMAND_BYTES),
            queue_bytes(faults_log2, spec::FAULT_BYTES),
            spec::PAGE,
        ];
        let places = allocate_all(&mut port.memory, sizes.map(|size| (size, size)))?;
        let [root, commands, faults, done] = places;
        let form = if capabilities.msi_flat() { Form::Extended } else { Form::Base };
        let mut this = Self {
            port,
            capabilities,
            directory: Directory { root, form, levels: 1 },
            commands: CommandQueue::new(commands, commands_log2, done),
            faults: FaultQueue::new(faults, faults_log2),
            domains: Arena::new(),
            streams: Streams::new(),
            processes: Numbers::up_to((1 << 20) - 1),
            guests: Numbers::up_to((1 << 16) - 1),
            power: Power::Down,
        };
        match this.first_start() {
            Ok(()) => Ok(this),
            Err(error) => {
                // Memory that the device may still write to goes to nobody.
                if this.switch_off().is_ok() {
                    for (at, size) in places.into_iter().zip(sizes) {
                        this.port.memory.free(at, size);
                    }
                }
                Err(error)
            }
        }
    }

    /// Starts the hardware with as many levels of the directory as it has and the device ids need.
    fn first_start(&mut self) -> Result<(), ProbeError> {
        self.start_queues()?;
        let wanted = self.port.config.wanted_bits();
        for levels in 1..=3 {
            if self.directory.form.id_bits(levels) < wanted {
                continue;
            }
            self.directory.levels = levels;
            self.wait_for_ddtp()?;
            self.port.write64(spec::DDTP, self.directory.pointer().into_bits());
            self.wait_for_ddtp()?;
            if self.port.registers.read64(spec::DDTP) == self.directory.pointer().into_bits() {
                self.power = Power::Up;
                return Ok(());
            }
            // What it made of the mode is not known; the next is tried from the start.
            self.switch_off_translation()?;
        }
        let found = self.port.registers.read64(spec::DDTP);
        Err(ProbeError::Unknown {
            label: self.port.config.label,
            what: "no directory for device ids of that many bits",
            register: "ddtp",
            found,
        })
    }

    /// Initialises the hardware anew.
    pub(super) fn start_again(&mut self) -> Result<(), Unresponsive> {
        self.power = Power::Down;
        if self.port.registers.read64(spec::CAPABILITIES) != self.capabilities.into_bits() {
            return Err(self.port.unresponsive("capabilities are not what they were"));
        }
        self.start_queues()?;
        for attachment in self.streams.iter() {
            let Some(domain) = self.domains.get(attachment.domain) else {
                continue;
            };
            // Its place was made when it was attached: there is nothing to allocate.
            let Ok(at) = self.directory.place(&mut self.port.memory, attachment.stream) else {
                continue;
            };
            match attachment.standing {
                Standing::Settled | Standing::Unsettled => {
                    self.directory.write(&mut self.port.memory, at, &domain.context());
                }
                Standing::Leaving => Directory::clear(&mut self.port.memory, at),
            }
        }
        self.wait_for_ddtp()?;
        self.port.write64(spec::DDTP, self.directory.pointer().into_bits());
        self.wait_for_ddtp()?;
        self.check_ddtp()?;
        self.streams.settle_all();
        self.power = Power::Up;
        Ok(())
    }

    /// Switches everything off, then the queues on, and empties the caches: a directory may be retained over `Off`
    /// ("Device-directory-table pointer").
    fn start_queues(&mut self) -> Result<(), Unresponsive> {
        self.switch_off()?;
        let interrupts = self.port.config.interrupts;
        let fctl = Fctl::new().with_wsi(interrupts == Interrupts::Wired);
        self.port.registers.write(spec::FCTL, fctl.into_bits());
        let kept = Fctl::from_bits(self.port.read(spec::FCTL)?);
        if kept.be() || kept.gxl() || interrupts != Interrupts::Off && kept.wsi() != fctl.wsi() {
            return Err(self.port.unresponsive("fctl does not keep what is written"));
        }
        self.port.write64(spec::ICVEC, 0);
        if let Interrupts::Message { address, data } = interrupts {
            self.port.write64(spec::MSI_ADDR_0, address.raw());
            self.port.registers.write(spec::MSI_DATA_0, data);
            self.port.registers.write(spec::MSI_VEC_CTL_0, 0);
        }
        self.commands.restart(&mut self.port)?;
        let all = |func3| Command::translations(Iotinval::new().with_func3(func3), IotinvalAddress::new());
        let has = self.capabilities;
        // A command for what the capabilities do not name is illegal ("Command-Queue (CQ)").
        let second = (has.sv32x4() || has.sv39x4() || has.sv48x4() || has.sv57x4()).then(|| all(spec::GVMA));
        let rest = [Command::ALL_DEVICES, all(spec::VMA)].into_iter().chain(second);
        // The first stage of guests is reached guest by guest only.
        let domains = &self.domains;
        let all = (0..domains.slots()).filter_map(|slot| domains.get(domains.key_at(slot)?));
        let guests = all.flat_map(Domain::everything);
        self.commands.run(&mut self.port, rest.chain(guests))?;
        self.faults.start(&mut self.port)
    }

    fn switch_off(&mut self) -> Result<(), Unresponsive> {
        self.switch_off_translation()?;
        self.commands.stop(&mut self.port)?;
        self.faults.stop(&mut self.port)?;
        if self.capabilities.ats() {
            let busy = FaultCsr::new().with_busy(true).into_bits();
            self.port.wait(spec::PQCSR, busy, 0, "pqcsr stays busy")?;
            self.port.registers.write(spec::PQCSR, 0);
            let on = FaultCsr::new().with_busy(true).with_fqon(true).into_bits();
            self.port.wait(spec::PQCSR, on, 0, "the page-request queue does not stop")?;
        }
        Ok(())
    }

    fn switch_off_translation(&mut self) -> Result<(), Unresponsive> {
        self.wait_for_ddtp()?;
        let ddtp = Ddtp::from_bits(self.port.registers.read64(spec::DDTP));
        if ddtp.mode() == spec::MODE_OFF {
            return Ok(());
        }
        // The page number must stay with this write.
        self.port.write64(spec::DDTP, Ddtp::new().with_ppn(ddtp.ppn()).with_mode(spec::MODE_OFF).into_bits());
        self.wait_for_ddtp()?;
        let mode = Ddtp::new().with_mode(0xf).into_bits() as u32;
        self.port.wait(spec::DDTP, mode, spec::MODE_OFF.into(), "ddtp does not go off")?;
        Ok(())
    }

    fn wait_for_ddtp(&mut self) -> Result<(), Unresponsive> {
        let busy = Ddtp::new().with_busy(true).into_bits() as u32;
        self.port.wait(spec::DDTP, busy, 0, "ddtp stays busy")?;
        Ok(())
    }

    fn check_ddtp(&mut self) -> Result<(), Unresponsive> {
        if self.port.registers.read64(spec::DDTP) != self.directory.pointer().into_bits() {
            return Err(self.port.unresponsive("ddtp is not what it was: the IOMMU was reset"));
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
    pub(super) fn ready(&mut self) -> Result<(), Unresponsive> {
        if self.power == Power::Down {
            return Err(self.port.unresponsive("it is to be recovered"));
        }
        if self.commands.is_lost() {
            // A device that was reset has an empty queue, and nothing that it says of the rest counts.
            self.check_ddtp()?;
        }
        Ok(())
    }
}

impl<R, M> RiscvIommu<R, M> {
    /// What the hardware says that it can do.
    pub const fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    /// What the driver was configured with.
    pub const fn config(&self) -> &Config {
        &self.port.config
    }

    /// How many levels the device directory has: 1 to 3.
    pub const fn directory_levels(&self) -> u8 {
        self.directory.levels
    }

    /// Where the root of the device directory is.
    pub const fn directory_root(&self) -> PhysicalAddress {
        self.directory.root
    }

    /// How often the hardware stopped at a command that it does not know, or whose memory it could not access.
    pub const fn command_errors(&self) -> u64 {
        self.commands.errors
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

/// Whether the driver can drive what is behind the registers.
fn check(registers: &mut impl Registers, config: &Config) -> Result<Capabilities, ProbeError> {
    let label = config.label;
    let found = registers.read64(spec::CAPABILITIES);
    if found == 0 || found == u64::MAX {
        return Err(ProbeError::Absent { label, register: "capabilities", found });
    }
    let capabilities = Capabilities::from_bits(found);
    let unknown = |what| Err(ProbeError::Unknown { label, what, register: "capabilities", found });
    if capabilities.version() >> 4 != 1 {
        return unknown("a version of the specification other than 1");
    }
    let can = match config.interrupts {
        Interrupts::Off => true,
        Interrupts::Wired => matches!(capabilities.igs(), spec::IGS_WSI | spec::IGS_BOTH),
        Interrupts::Message { .. } => matches!(capabilities.igs(), spec::IGS_MSI | spec::IGS_BOTH),
    };
    if !can {
        return unknown("no interrupts of that kind");
    }
    Ok(capabilities)
}
