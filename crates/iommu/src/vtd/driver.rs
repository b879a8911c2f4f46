//! The driver's state, its creation, and what it offers.

use super::domains::Domain;
use super::faults::Event;
use super::interrupts::InterruptTable;
use super::queue::Queue;
use super::request::Request;
use super::{Config, Mode, spec};
use crate::numbers::Numbers;
use crate::streams::Streams;
use crate::{
    DomainId, FaultRecord, Invalidation, Iommu, IommuError, ProbeError, Registers, SharedMemory, StreamId,
    TableFormat, TableLimits, Translation, Unresponsive, Way,
};
use vcm::{Arena, Label, List, OutOfMemory, PhysicalAddress, SIZE_4K};

/// The driver of one VT-d remapping unit. See the [module](super) for what it guarantees.
#[derive(Debug)]
pub struct Vtd<R, M> {
    pub(super) registers: R,
    pub(super) memory: M,
    pub(super) config: Config,
    pub(super) mode: Mode,
    pub(super) capability: spec::Capability,
    pub(super) extended: spec::ExtendedCapability,
    pub(super) root: PhysicalAddress,
    /// Two for each bus; in legacy mode, the second is not used.
    pub(super) context_tables: List<Option<PhysicalAddress>>,
    pub(super) domains: Arena<Domain>,
    pub(super) streams: Streams<Domain>,
    /// Domain ids. Hardware may tag what is not present with 0.
    pub(super) numbers: Numbers,
    /// `None` where the hardware has none.
    pub(super) queue: Option<Queue>,
    pub(super) queue_errors_seen: u64,
    pub(super) interrupts: Option<InterruptTable>,
    /// The record that follows the one read last.
    pub(super) next_record: Option<u32>,
    pub(super) overflows: u64,
    /// The address and data of the message for faults.
    pub(super) fault_interrupt: Option<(u64, u32)>,
}

/// Two context tables for each of 256 buses.
const CONTEXT_TABLES: usize = 512;
/// Revisions of the architecture. Major versions told so far are 1 to 6.
const VERSION_MAJOR: u32 = 4;

impl<R: Registers, M: SharedMemory> Vtd<R, M> {
    /// Finds the unit behind `registers` and initialises it. Translation is on, and every requester is blocked.
    ///
    /// # Errors
    /// [`ProbeError`]. Hardware in caching mode, which must be told of new mappings as well, is `Unknown`. After
    /// `Unresponsive`, memory that the hardware may use already is not given back.
    pub fn probe(mut registers: R, mut memory: M, config: Config) -> Result<Self, ProbeError> {
        let found = inspect(&mut registers, &config)?;
        let mut context_tables = List::new();
        context_tables.reserve(CONTEXT_TABLES)?;
        context_tables.extend_reserved((0..CONTEXT_TABLES).map(|_| None));
        let root = memory.allocate(SIZE_4K, SIZE_4K)?;
        let queue = match make_queue(&mut memory, &config, &found) {
            Ok(queue) => queue,
            Err(error) => {
                memory.free(root, SIZE_4K);
                return Err(error.into());
            }
        };
        let mut vtd = Self {
            registers,
            memory,
            config,
            mode: found.mode,
            capability: found.capability,
            extended: found.extended,
            root,
            context_tables,
            domains: Arena::new(),
            streams: Streams::new(),
            numbers: Numbers::up_to(found.capability.domain_ids() - 1),
            queue,
            queue_errors_seen: 0,
            interrupts: None,
            next_record: None,
            overflows: 0,
            fault_interrupt: None,
        };
        vtd.initialise()?;
        vtd.discard_faults()?;
        Ok(vtd)
    }

    /// Programs everything: the hardware may be fresh from reset, or in any state that this driver left it in.
    fn initialise(&mut self) -> Result<(), Unresponsive> {
        let root = spec::RootAddress::new()
            .with_ttm(match self.mode {
                Mode::Legacy => spec::TTM_LEGACY,
                Mode::Scalable => spec::TTM_SCALABLE,
            })
            .with_page(self.root.raw() >> 12);
        let status = self.global_status()?;
        self.program_fault_interrupt();
        // Another's translation in another mode: the mode must not change while it is on.
        let before = spec::RootAddress::from_bits(self.registers.read64(spec::RTADDR));
        if status.te() && before.ttm() != root.ttm() {
            self.disable_translation()?;
        }
        self.start_queue()?;
        self.registers.write64(spec::RTADDR, root.into_bits());
        self.set_root_pointer()?;
        match self.mode {
            Mode::Legacy => self.perform(&[Request::Contexts, Request::Iotlb])?,
            Mode::Scalable => self.perform(&[Request::Contexts, Request::Pasids, Request::Iotlb])?,
        }
        self.start_interrupts()?;
        self.enable_translation()?;
        self.next_record = None;
        Ok(())
    }

    /// The mode that it works in.
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// What the hardware can do.
    pub const fn capability(&self) -> spec::Capability {
        self.capability
    }

    /// What else it can do.
    pub const fn extended_capability(&self) -> spec::ExtendedCapability {
        self.extended
    }

    /// How often the invalidation queue stood still at an error, and was brought to go on.
    pub const fn queue_errors_recovered(&self) -> u64 {
        self.queue_errors_seen
    }

    /// The register window and the memory. The hardware goes on as it is: translating.
    pub fn into_parts(self) -> (R, M) {
        (self.registers, self.memory)
    }
}

/// What probing found.
struct Found {
    capability: spec::Capability,
    extended: spec::ExtendedCapability,
    mode: Mode,
}

fn inspect(registers: &mut impl Registers, config: &Config) -> Result<Found, ProbeError> {
    let label = config.label;
    let version = registers.read(spec::VER);
    if version == 0 || version == u32::MAX {
        return Err(ProbeError::Absent { label, register: "VER", found: u64::from(version) });
    }
    let unknown = |what, register, found| Err(ProbeError::Unknown { label, what, register, found });
    if version >> VERSION_MAJOR & 0xf == 0 || version >> 8 != 0 {
        return unknown("not a version of VT-d", "VER", u64::from(version));
    }
    let capability = spec::Capability::from_bits(registers.read64(spec::CAP));
    let extended = spec::ExtendedCapability::from_bits(registers.read64(spec::ECAP));
    let (cap, ecap) = (capability.into_bits(), extended.into_bits());
    if cap == u64::MAX {
        return Err(ProbeError::Absent { label, register: "CAP", found: cap });
    }
    if ecap == u64::MAX {
        return Err(ProbeError::Absent { label, register: "ECAP", found: ecap });
    }
    if capability.cm() {
        return unknown(
            "caching mode, in which new mappings must be invalidated, is not supported",
            "CAP",
            cap,
        );
    }
    if capability.fro() == 0 || !(32..=52).contains(&config.host_bits) {
        return unknown(
            "no fault recording registers, or a host address width that there cannot be",
            "CAP",
            cap,
        );
    }
    if !extended.qi() && extended.iro() == 0 {
        return unknown("neither an invalidation queue nor invalidation registers", "ECAP", ecap);
    }
    let second_stage = capability.sagaw() & 0b1110 != 0;
    let scalable = extended.smts() && extended.qi() && (extended.fsts() || extended.ssts() && second_stage);
    let mode = config.mode.unwrap_or(if scalable { Mode::Scalable } else { Mode::Legacy });
    match mode {
        Mode::Legacy if !second_stage => unknown("no second-stage tables in legacy mode", "CAP", cap),
        Mode::Scalable if !scalable => unknown("no scalable mode", "ECAP", ecap),
        Mode::Legacy | Mode::Scalable => Ok(Found { capability, extended, mode }),
    }
}

fn make_queue(
    memory: &mut impl SharedMemory,
    config: &Config,
    found: &Found,
) -> Result<Option<Queue>, OutOfMemory> {
    if !found.extended.qi() {
        return Ok(None);
    }
    Queue::new(memory, config.queue_order, found.mode).map(Some)
}

impl<R: Registers, M: SharedMemory> Iommu for Vtd<R, M> {
    fn label(&self) -> Label {
        self.config.label
    }

    /// Second-stage tables of four levels where there are such, else of five, else of three; where there are none,
    /// first-stage tables of four levels.
    fn preferred(&self) -> Way {
        for levels in [4, 5, 3] {
            let format = TableFormat::VtdSecondStage { levels };
            if self.walks(format) {
                return Way::Tables(format);
            }
        }
        Way::Tables(TableFormat::VtdFirstStage { levels: 4 })
    }

    fn limits(&self) -> TableLimits {
        TableLimits {
            input_bits: self.capability.mgaw() + 1,
            output_bits: self.config.host_bits,
            page_sizes: self.page_sizes(),
        }
    }

    fn supports(&self, format: TableFormat) -> bool {
        self.walks(format)
    }

    fn create_domain(&mut self, translation: Translation) -> Result<DomainId, IommuError> {
        self.make_domain(translation).map(DomainId::of)
    }

    fn destroy_domain(&mut self, domain: DomainId) -> Result<(), IommuError> {
        let key = domain.key();
        self.streams.none_of(key)?;
        Ok(self.give_up(key)?)
    }

    fn attach(&mut self, stream: StreamId, domain: DomainId) -> Result<(), IommuError> {
        self.attach_requester(stream, domain)
    }

    fn detach(&mut self, stream: StreamId) -> Result<(), Unresponsive> {
        self.detach_requester(stream)
    }

    fn invalidate(&mut self, domain: DomainId, invalidation: &Invalidation<'_>) -> Result<(), Unresponsive> {
        self.invalidate_domain(domain.key(), invalidation)
    }

    /// An interrupt that was blocked appears as a refused write to 0xfee0_0000;
    /// [`next_event`](Self::next_event) tells more of it.
    fn next_fault(&mut self) -> Result<Option<FaultRecord>, Unresponsive> {
        Ok(self.next_event()?.map(|event| match event {
            Event::Fault(fault) => fault,
            Event::BlockedInterrupt(blocked) => blocked.as_fault(),
        }))
    }

    fn fault_overflows(&self) -> u64 {
        self.overflows
    }

    fn recover(&mut self) -> Result<(), Unresponsive> {
        self.initialise()?;
        self.streams.settle_all();
        Ok(())
    }
}
