//! The platform: the board with its drivers.

mod devices;
mod interrupts;
mod machine;
mod mapping;
mod running;
mod space;
mod statistics;
mod table_area;

pub(crate) use machine::Shared;
pub use statistics::{SmmuStatistics, Statistics};

use crate::hardware::smmu::Invalidations;
use crate::hardware::{
    Board, BoardError, Master, MasterId, Options, Port as MasterPort, ProcessorId, SmmuId,
};
use crate::hypervisor::{Hypervisor, HypervisorError};
use devices::{Device, Unit, short_mmu};
use interrupts::HostSide;
use machine::{Injection, Machine, Port};
use space::{REMAP, Space, short_table};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use table_area::TableArea;
use vcm::{DeviceHandle, HardwareError, Privilege, RegionKind, Span};
use vcm_iommu::AnyTable;
use vcm_iommu::msm::{Config, ContextId, MasterId as Mid, ProbeError, Smmu, SmmuError, Walks};
use vcm_pagetable::Gather;
use vcm_pagetable::arm_short::Split;
use vcm_platform::topology::{Memory, MemoryKind, Topology};
use vcm_platform::{DeviceDescription, Event, MemoryDescription};

/// The CPU's addresses that its virtual memory manager lends: the middle 2 GiB.
const CPU_SPAN: (u64, u64) = (0x4000_0000, 0xbfff_ffff);
/// The least room for page tables, in bytes.
const LEAST_TABLES: u64 = 1 << 20;
/// Tables and whole pages start at multiples of this.
const TABLE_ALIGN: u64 = 0x4000;

/// A machine that cannot be built.
#[derive(Debug)]
pub enum SocError {
    /// The board cannot be.
    Board(BoardError),
    /// No memory below 4 GiB has room for page tables.
    NoTableMemory,
    /// An SMMU's driver did not take it.
    Probe(ProbeError),
    /// A driver refused a device's context.
    Context {
        /// The device.
        device: String,
        /// Why.
        error: SmmuError,
    },
    /// The CPU's page table could not be made.
    Tables(HardwareError),
    /// The interrupt controller's driver did not take it.
    Interrupts(HypervisorError),
}

impl fmt::Display for SocError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Board(error) => error.fmt(f),
            Self::NoTableMemory => f.write_str("no memory below 4 GiB has room for page tables"),
            Self::Probe(error) => error.fmt(f),
            Self::Context { device, error } => write!(f, "device `{device}`: {error}"),
            Self::Tables(error) => error.fmt(f),
            Self::Interrupts(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SocError {}

impl From<BoardError> for SocError {
    fn from(error: BoardError) -> Self {
        Self::Board(error)
    }
}

impl From<ProbeError> for SocError {
    fn from(error: ProbeError) -> Self {
        Self::Probe(error)
    }
}

/// A fault that waits for its answer.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    smmu: usize,
    context: ContextId,
}

/// The simulated machine, driven by the real drivers: an implementation of [`vcm::Hardware`] and of
/// [`vcm_platform::Platform`]. Its devices are
/// - the bus masters of the topology, each behind its context of an SMMU or without any;
/// - `cpu`, whose virtual memory manager is this: several spaces share its one page table, each with its addresses;
/// - `guest0`, a virtual machine with a stage-2 table;
/// - `dsp`, a processor of its own with an MMU of its own, whose accesses are a user's.
///
/// The last three move bytes as bus masters do, through their MMUs.
#[derive(Debug)]
pub struct Soc {
    name: String,
    machine: Shared,
    hypervisor: Hypervisor,
    host_side: HostSide,
    smmus: Vec<Smmu<Port>>,
    devices: Vec<Device>,
    descriptions: Vec<DeviceDescription>,
    memories: Vec<MemoryDescription>,
    cpu: ProcessorId,
    /// The CPU's one page table, and what was unmapped from it and may be in its TLB.
    cpu_tables: AnyTable,
    cpu_pending: Gather,
    spaces: BTreeMap<u32, Space>,
    next_space: u32,
    events: VecDeque<Event>,
    waiting: BTreeMap<u64, Waiting>,
    next_token: u64,
}

impl Soc {
    /// The machine that `topology` describes.
    ///
    /// # Errors
    /// [`SocError`].
    pub fn new(topology: &Topology, options: &Options) -> Result<Self, SocError> {
        let mut board = Board::from_topology(topology, options)?;
        let (memories, tables) = share_memory(topology).ok_or(SocError::NoTableMemory)?;
        let processors = [
            ("cpu", RegionKind::Cpu, Privilege::Supervisor),
            ("guest0", RegionKind::Guest, Privilege::User),
            ("dsp", RegionKind::Remote, Privilege::User),
        ]
        .map(|(name, kind, privilege)| {
            let name = unused_name(&board, name);
            let processor = board.add_processor(&name, privilege, options.processor_tlb_entries);
            let port = MasterPort::Processor(processor.0);
            let master = board.add_master(Master::new(&name, port, options.burst), None);
            (name, kind, processor, master)
        });
        let mut machine = Machine { board, tables: TableArea::new(tables), injection: Injection::default() };
        let cpu_tables = short_table(Split::Whole, &mut machine).map_err(SocError::Tables)?;
        let cpu = processors[0].2;
        if let Some(processor) = machine.board.processor_mut(cpu) {
            processor.set_mmu(short_mmu(cpu_tables.root()));
        }
        let machine = Shared::new(machine);
        let mut hypervisor = Hypervisor::new(machine.clone()).map_err(SocError::Interrupts)?;
        let host_side = HostSide::new(topology, &mut hypervisor);

        let mut smmus = Vec::new();
        for (index, iommu) in topology.iommus.iter().enumerate() {
            let walks = if iommu.coherent_walk { Walks::Coherent } else { Walks::NonCoherent };
            let config = Config { walks, remap: REMAP, ..Config::new(&iommu.name) };
            let port = Port { machine: machine.clone(), smmu: SmmuId(index) };
            smmus.push(Smmu::probe(port, config)?);
        }

        let mut devices = Vec::new();
        let mut descriptions = Vec::new();
        for (index, master) in topology.masters.iter().enumerate() {
            // The SMMUs in its way, each once, with its streams there.
            let mut ways: Vec<(usize, Vec<Mid>)> = Vec::new();
            for stream in master.streams() {
                let mid = Mid(stream.id as u16);
                match ways.iter_mut().find(|(smmu, _)| *smmu == stream.iommu) {
                    Some((_, mids)) => mids.push(mid),
                    None => ways.push((stream.iommu, vec![mid])),
                }
            }
            let mut contexts = Vec::new();
            for (smmu, mids) in &ways {
                let context = smmus[*smmu]
                    .create_context(mids)
                    .map_err(|error| SocError::Context { device: master.name.clone(), error })?;
                contexts.push((*smmu, context));
            }
            let (kind, unit) = if contexts.is_empty() {
                (RegionKind::OneToOne, Unit::Direct)
            } else {
                (RegionKind::Translated, Unit::Contexts(contexts))
            };
            let iommu = (!ways.is_empty()).then(|| {
                let names: Vec<_> =
                    ways.iter().map(|(smmu, _)| topology.iommus[*smmu].name.as_str()).collect();
                names.join(", ")
            });
            let windows = master.reserved_windows.iter();
            descriptions.push(DeviceDescription {
                handle: DeviceHandle(devices.len() as u32),
                name: master.name.clone(),
                kind,
                iommu,
                reserved: windows.filter_map(|window| Span::new(window.base.raw(), window.size)).collect(),
            });
            devices.push(Device::new(kind, MasterId(index), unit));
        }
        for (name, kind, processor, master) in processors {
            descriptions.push(DeviceDescription {
                handle: DeviceHandle(devices.len() as u32),
                name,
                kind,
                iommu: None,
                reserved: Vec::new(),
            });
            devices.push(Device::new(kind, master, Unit::Processor(processor)));
        }

        Ok(Self {
            name: topology.name.clone(),
            machine,
            hypervisor,
            host_side,
            smmus,
            devices,
            descriptions,
            memories,
            cpu,
            cpu_tables,
            cpu_pending: Gather::new(),
            spaces: BTreeMap::new(),
            next_space: 1,
            events: VecDeque::new(),
            waiting: BTreeMap::new(),
            next_token: 1,
        })
    }

    /// Lets the `n`-th hardware step from now on fail, 1 being the next: an access to an SMMU's register, after which
    /// that SMMU does not answer until [`repair`](Self::repair) (reads give all ones); or the allocation of a page
    /// table, which is refused once.
    pub fn fail_hardware_at(&mut self, n: u64) {
        self.machine.lock().injection.arm(n);
    }

    /// Every SMMU answers again, in the state in which it fell silent.
    pub fn repair(&mut self) {
        self.machine.lock().injection.repair();
        self.repeat_interrupts();
    }

    /// Whether the SMMUs obey invalidations from now on. To leave them out shows that the oracle notices.
    pub fn set_invalidations(&mut self, invalidations: Invalidations) {
        let mut machine = self.machine.lock();
        for index in 0..self.smmus.len() {
            if let Some(smmu) = machine.board.smmu_mut(SmmuId(index)) {
                smmu.set_invalidations(invalidations);
            }
        }
    }

    /// Calls `look` with the board under it, between two steps.
    pub fn with_board<T>(&mut self, look: impl FnOnce(&Board) -> T) -> T {
        look(&self.machine.lock().board)
    }

    /// The drivers' state in words, one part for each SMMU.
    pub fn describe(&self) -> String {
        self.smmus.iter().map(|smmu| smmu.describe().to_string()).collect()
    }
}

/// `name`, or the first of `name.1`, `name.2` and so on that no master has.
fn unused_name(board: &Board, name: &str) -> String {
    let taken = |wanted: &str| board.masters().iter().any(|master| master.name() == wanted);
    if !taken(name) {
        return name.to_owned();
    }
    (1_u32..).map(|n| format!("{name}.{n}")).find(|wanted| !taken(wanted)).unwrap_or_default()
}

/// What of the memories is for pools, the fastest first, and what is for page tables: 1/64 of the largest main
/// memory below 4 GiB, at its end.
fn share_memory(topology: &Topology) -> Option<(Vec<MemoryDescription>, Span)> {
    let mut order: Vec<&Memory> = topology.memories.iter().collect();
    order.sort_by_key(|memory| match memory.kind {
        MemoryKind::OnChip => 0,
        MemoryKind::OnPackage => 1,
        MemoryKind::Main => 2,
    });
    let mut memories = Vec::new();
    let mut ranges: Vec<(usize, Span, MemoryKind)> = Vec::new();
    for memory in order {
        let usable = memory.usable.iter().filter_map(|range| range.span()?.aligned_inside(0x1000));
        for (index, span) in usable.enumerate() {
            let name = if index == 0 { memory.name.clone() } else { format!("{}+{index}", memory.name) };
            ranges.push((memories.len(), span, memory.kind));
            memories.push(MemoryDescription { name, span });
        }
    }
    let (index, whole, _) = *ranges
        .iter()
        .filter(|(_, span, _)| {
            span.last() <= u64::from(u32::MAX) && span.len() >= u128::from(2 * LEAST_TABLES)
        })
        .max_by_key(|(_, span, kind)| (*kind == MemoryKind::Main, span.len()))?;
    let size = (whole.len() as u64 / 64).max(LEAST_TABLES);
    let first = (whole.last() - (size - 1)) & !(TABLE_ALIGN - 1);
    let tables = Span::inclusive(first, whole.last())?;
    memories[index].span = Span::inclusive(whole.first(), first.checked_sub(1)?)?;
    Some((memories, tables))
}

/// The CPU's addresses that are lent.
fn cpu_span() -> Span {
    Span::inclusive(CPU_SPAN.0, CPU_SPAN.1).unwrap_or(Span::ALL)
}
