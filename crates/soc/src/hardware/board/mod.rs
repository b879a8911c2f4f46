//! The board: every unit, wired together, and the one place where time passes.

mod error;
mod requests;

pub use error::BoardError;

use super::bus::Bus;
use super::interrupts::{Interrupts, Wire};
use super::master::{LONGEST_BURST, Master, MasterFault, Port, StartError, Step, Stream, Units};
use super::memory::MemoryError;
use super::oracle::{Access, OracleError};
use super::processor::{Processor, ProcessorFault};
use super::request::{Request, Signalling};
use super::smmu::{BadConfig, Config, Misuse, Smmu};
use vcm::{Privilege, Span};
use vcm_platform::topology::{Attachment, InterruptKind, Topology};
use vcm_platform::{Transfer, TransferReport};

/// Names an SMMU of a board: its place in the topology.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct SmmuId(pub usize);

/// Names a bus master of a board.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct MasterId(pub usize);

/// Names a processor of a board.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ProcessorId(pub usize);

/// What a topology leaves open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// TLB entries of every SMMU for which the topology names no number, 1 to 256.
    pub tlb_entries: usize,
    /// TLB entries of every processor, at least 1.
    pub processor_tlb_entries: usize,
    /// The most bytes of a burst, 1 to 64.
    pub burst: usize,
    /// Master ids of every SMMU, 1 to 512; more where the topology uses a higher one.
    pub mids: u32,
    /// What is in the SMMUs' registers and TLBs at first.
    pub power_on: PowerOn,
}

/// What hardware holds when its power comes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum PowerOn {
    /// Zeros, and nothing in the TLBs.
    #[default]
    Zero,
    /// Noise, as [`Smmu::scramble`] makes it.
    Noise {
        /// What it is drawn from.
        seed: u64,
    },
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tlb_entries: 64,
            processor_tlb_entries: 32,
            burst: LONGEST_BURST,
            mids: 32,
            power_on: PowerOn::Zero,
        }
    }
}

/// What happened in a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Activity {
    /// No master has anything to do.
    Idle,
    /// Every master that has something to do waits.
    Stuck,
    /// A master made a transaction.
    Moved(MasterId),
    /// A master's transaction faulted and waits.
    Stalled(MasterId),
    /// A master's transfer ended, with the fault that ended it, unless it was completed.
    Ended(MasterId, TransferReport, Option<MasterFault>),
}

/// The board.
#[derive(Debug, Default)]
pub struct Board {
    bus: Bus,
    smmus: Vec<Smmu>,
    /// The wires of each SMMU's interrupt lines.
    wires: Vec<Vec<Wire>>,
    processors: Vec<Processor>,
    masters: Vec<Master>,
    /// The interrupts of each master.
    requests: Vec<Vec<Request>>,
    interrupts: Interrupts,
    turn: usize,
}

impl Board {
    /// A board with nothing on it.
    pub fn new() -> Self {
        Self::default()
    }

    /// The board that `topology` describes: its memories, its IOMMUs and its bus masters, each at the same index as
    /// there. Processors are added by [`add_processor`](Self::add_processor).
    ///
    /// # Errors
    /// [`BoardError`].
    pub fn from_topology(topology: &Topology, options: &Options) -> Result<Self, BoardError> {
        let mut board = Self::new();
        for memory in &topology.memories {
            let span = Span::new(memory.base.raw(), memory.size)
                .ok_or_else(|| BoardError::NoMemory { name: memory.name.clone() })?;
            board.add_memory(&memory.name, span)?;
        }
        let ids = topology.masters.iter().flat_map(|master| master.streams());
        let highest = ids.map(|stream| stream.id).max().unwrap_or(0);
        for iommu in &topology.iommus {
            let smmu = iommu.msm().ok_or_else(|| BoardError::Iommu { name: iommu.name.clone() })?;
            let lines: Vec<_> = iommu.interrupts.iter().map(|interrupt| interrupt.number).collect();
            let config = Config {
                name: iommu.name.clone(),
                // One that has no 32 bits is refused as not being a page's.
                global_offset: u32::try_from(smmu.global_offset).unwrap_or(u32::MAX),
                banks: smmu.context_banks,
                mids: options.mids.max(highest.saturating_add(1)),
                tlb_entries: smmu.tlb_entries.map_or(options.tlb_entries, |entries| entries as usize),
                interrupt_lines: lines.len().min(255) as u8,
            };
            let id = board.add_smmu(config, lines)?;
            if let (PowerOn::Noise { seed }, Some(smmu)) = (options.power_on, board.smmu_mut(id)) {
                smmu.scramble(seed.wrapping_add(id.0 as u64));
            }
        }
        for master in &topology.masters {
            let port = match &master.attachment {
                Attachment::Direct => Port::Direct,
                Attachment::Translated(streams) => {
                    let streams = streams.iter().map(|stream| {
                        let mid = u16::try_from(stream.id).ok().filter(|id| *id < 512)?;
                        (stream.iommu < topology.iommus.len()).then_some(Stream { smmu: stream.iommu, mid })
                    });
                    Port::Smmu(
                        streams
                            .collect::<Option<_>>()
                            .ok_or_else(|| BoardError::Stream { master: master.name.clone() })?,
                    )
                }
            };
            let id = board.add_master(Master::new(&master.name, port, options.burst), None);
            for interrupt in &master.interrupts {
                // A private one has no input that a device could drive.
                if interrupt.kind == InterruptKind::Shared {
                    board.add_request(id, interrupt.number, interrupt.trigger.into());
                }
            }
        }
        Ok(board)
    }

    /// Adds a memory.
    ///
    /// # Errors
    /// [`MemoryError`].
    pub fn add_memory(&mut self, name: &str, span: Span) -> Result<(), MemoryError> {
        self.bus.memory.add(name, span)
    }

    /// Adds an SMMU, whose interrupt lines have the numbers `lines` at the interrupt controller.
    ///
    /// # Errors
    /// [`BadConfig`].
    pub fn add_smmu(&mut self, config: Config, lines: Vec<u32>) -> Result<SmmuId, BadConfig> {
        self.smmus.push(Smmu::new(config)?);
        self.wires.push(lines.into_iter().map(|number| self.interrupts.wire(number)).collect());
        Ok(SmmuId(self.smmus.len() - 1))
    }

    /// Adds a processor whose accesses are made as `privilege`.
    pub fn add_processor(&mut self, name: &str, privilege: Privilege, tlb_entries: usize) -> ProcessorId {
        self.processors.push(Processor::new(name, privilege, tlb_entries));
        ProcessorId(self.processors.len() - 1)
    }

    /// Adds a bus master, which raises the level-sensitive interrupt `line` at the end of a transfer.
    pub fn add_master(&mut self, master: Master, line: Option<u32>) -> MasterId {
        self.masters.push(master);
        self.requests.push(Vec::new());
        let id = MasterId(self.masters.len() - 1);
        if let Some(number) = line {
            self.add_request(id, number, Signalling::Level);
        }
        id
    }

    /// The bus, with its memories.
    pub const fn bus(&self) -> &Bus {
        &self.bus
    }

    /// The bus, with its memories.
    pub const fn bus_mut(&mut self) -> &mut Bus {
        &mut self.bus
    }

    /// An SMMU.
    pub fn smmu(&self, smmu: SmmuId) -> Option<&Smmu> {
        self.smmus.get(smmu.0)
    }

    /// An SMMU.
    pub fn smmu_mut(&mut self, smmu: SmmuId) -> Option<&mut Smmu> {
        self.smmus.get_mut(smmu.0)
    }

    /// Every SMMU.
    pub fn smmus(&self) -> &[Smmu] {
        &self.smmus
    }

    /// A processor.
    pub fn processor(&self, processor: ProcessorId) -> Option<&Processor> {
        self.processors.get(processor.0)
    }

    /// A processor.
    pub fn processor_mut(&mut self, processor: ProcessorId) -> Option<&mut Processor> {
        self.processors.get_mut(processor.0)
    }

    /// A bus master.
    pub fn master(&self, master: MasterId) -> Option<&Master> {
        self.masters.get(master.0)
    }

    /// A bus master.
    pub fn master_mut(&mut self, master: MasterId) -> Option<&mut Master> {
        self.masters.get_mut(master.0)
    }

    /// Every bus master.
    pub fn masters(&self) -> &[Master] {
        &self.masters
    }

    /// Reads a register of `smmu`; all ones where no SMMU is.
    pub fn read_register(&mut self, smmu: SmmuId, offset: u32) -> u32 {
        self.smmus.get_mut(smmu.0).map_or(u32::MAX, |smmu| smmu.read(offset))
    }

    /// Writes a register of `smmu`; nothing happens where no SMMU is.
    pub fn write_register(&mut self, smmu: SmmuId, offset: u32, value: u32) {
        if let Some(unit) = self.smmus.get_mut(smmu.0) {
            unit.write(&mut self.bus, offset, value);
            self.drive_lines(smmu.0);
        }
    }

    /// Starts a transfer of `master`.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start(&mut self, master: MasterId, transfer: &Transfer) -> Result<(), StartError> {
        self.masters.get_mut(master.0).ok_or(StartError::NoMaster)?.start(transfer)
    }

    /// Makes one transaction of one master. Those that are busy take turns.
    pub fn step(&mut self) -> Activity {
        let count = self.masters.len();
        let mut waits = false;
        for offset in 0..count {
            let index = (self.turn + offset) % count;
            let master = &mut self.masters[index];
            if !master.busy() {
                continue;
            }
            let units =
                Units { bus: &mut self.bus, smmus: &mut self.smmus, processors: &mut self.processors };
            let step = master.step(index, units);
            let id = MasterId(index);
            let activity = match step {
                Step::Idle => continue,
                Step::Waits => {
                    waits = true;
                    continue;
                }
                Step::Moved => Activity::Moved(id),
                Step::Stalled => Activity::Stalled(id),
                Step::Ended { report, fault } => Activity::Ended(id, report, fault),
            };
            self.turn = (index + 1) % count;
            if !matches!(activity, Activity::Moved(_)) {
                self.after(index, &activity);
            }
            return activity;
        }
        if waits { Activity::Stuck } else { Activity::Idle }
    }

    /// Makes up to `steps` steps, and stops at the first that did more than move bytes, or about which the oracle
    /// has something to say. At least one step is made.
    pub fn run(&mut self, steps: u32) -> Activity {
        let mut activity = self.step();
        for _ in 1..steps {
            if !matches!(activity, Activity::Moved(_)) || !self.bus.findings().is_empty() {
                break;
            }
            activity = self.step();
        }
        activity
    }

    /// What a step that did not merely move bytes does to the interrupt lines.
    fn after(&mut self, master: usize, activity: &Activity) {
        if let Port::Smmu(streams) = self.masters[master].port() {
            let smmus: Vec<_> = streams.iter().map(|stream| stream.smmu).collect();
            for smmu in smmus {
                self.drive_lines(smmu);
            }
        }
        if matches!(activity, Activity::Ended(..)) {
            self.with_request(MasterId(master), 0, Request::raise);
        }
    }

    /// Reads as `processor` does, through its MMU.
    ///
    /// # Errors
    /// [`ProcessorFault`]; `None` inside where no such processor is.
    pub fn processor_read(
        &mut self,
        processor: ProcessorId,
        address: u64,
        bytes: &mut [u8],
    ) -> Result<(), Option<ProcessorFault>> {
        let unit = self.processors.get_mut(processor.0).ok_or(None)?;
        unit.read(&mut self.bus, address, bytes).map_err(Some)
    }

    /// Writes as `processor` does, through its MMU.
    ///
    /// # Errors
    /// [`ProcessorFault`]; `None` inside where no such processor is.
    pub fn processor_write(
        &mut self,
        processor: ProcessorId,
        address: u64,
        bytes: &[u8],
    ) -> Result<(), Option<ProcessorFault>> {
        let unit = self.processors.get_mut(processor.0).ok_or(None)?;
        unit.write(&mut self.bus, address, bytes).map_err(Some)
    }

    /// Translates as `processor` does for an access at `address`; `None` where no such processor is.
    pub fn processor_translate(
        &mut self,
        processor: ProcessorId,
        address: u64,
        access: Access,
    ) -> Option<Result<u64, ProcessorFault>> {
        Some(self.processors.get_mut(processor.0)?.translate(&mut self.bus, address, access))
    }

    /// Takes the oldest of what the oracle found.
    pub fn take_finding(&mut self) -> Option<OracleError> {
        self.bus.take_finding()
    }

    /// Takes the oldest note of an access to an SMMU's register that made no sense.
    pub fn take_misuse(&mut self) -> Option<Misuse> {
        self.smmus.iter_mut().find_map(Smmu::take_misuse)
    }
}
