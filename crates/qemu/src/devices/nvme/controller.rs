//! Bringing a controller up and down.

use super::error::{NvmeError, NvmeRejected};
use super::queue::Queue;
use super::spec::{self, Command, Completion, PAGE};
use crate::devices::DmaPage;
use std::time::{Duration, Instant};
use vcm::PhysicalAddress;
use vcm_iommu::{Registers, SharedMemory};

/// How the I/O queue's completions are told. The driver looks for them in either way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum NvmeInterrupts {
    /// Not at all.
    #[default]
    None,
    /// By an MSI-X vector, which [`PciFunction::enable_msix`](crate::PciFunction::enable_msix) has set up. Those of the
    /// admin queue come with vector 0.
    Vector(u16),
}

/// How a controller is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NvmeConfig {
    /// Entries of the I/O queues: 2 to 64.
    pub entries: u16,
    /// How many commands may be under way: 1 to 63, and fewer than entries. Each has a page for a list.
    pub in_flight: u16,
    /// How long anything may take.
    pub timeout: Duration,
    /// How completions are told.
    pub interrupts: NvmeInterrupts,
}

impl Default for NvmeConfig {
    fn default() -> Self {
        let interrupts = NvmeInterrupts::None;
        Self { entries: 64, in_flight: 8, timeout: Duration::from_secs(10), interrupts }
    }
}

/// What a controller and its first namespace tell of themselves.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NvmeInformation {
    /// The serial number.
    pub serial: String,
    /// The model's name.
    pub model: String,
    /// How many blocks the namespace has.
    pub blocks: u64,
    /// The size of a block in bytes, a power of two up to 4096.
    pub block_len: u64,
    /// How many bytes one command transfers at most.
    pub longest_transfer: u64,
}

/// A controller, with one namespace and one pair of I/O queues.
///
/// ```no_run
/// use vcm::Iova;
/// use vcm_qemu::{Device, DmaPage, IommuMachine, IommuModel, Nvme, NvmeConfig};
///
/// let machine = IommuMachine::start(IommuModel::NoneOnArm, &[Device::Nvme { slot: 4, mebibytes: 16 }])?;
/// let ram = machine.ram();
/// // Nothing translates here. Behind an IOMMU these are the addresses where the pages are mapped.
/// let page = || {
///     let memory = ram.allocate(4096, 4096).ok()?;
///     Some(DmaPage { device: Iova::new(memory.raw()), memory })
/// };
/// let mut nvme = Nvme::start(machine.nvme_registers(4)?, ram.clone(), NvmeConfig::default(), page)?;
/// let buffer = ram.allocate(1 << 20, 4096)?;
/// nvme.write(0, Iova::new(buffer.raw()), 1 << 20)?;
/// nvme.flush()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// It reaches the hardware through `R`, its BAR 0, and what both access through `M`, at the places of its
/// [`DmaPage`]s. The function must be allowed to do DMA.
#[derive(Debug)]
pub struct Nvme<R, M> {
    pub(super) registers: R,
    pub(super) memory: M,
    pub(super) config: NvmeConfig,
    information: NvmeInformation,
    /// Admin submission and completion, data of identify, I/O submission and completion, lists.
    pages: Vec<DmaPage>,
    pub(super) queue: Option<Queue>,
    /// What is under way, by the queue's slots.
    pub(super) issued: Vec<Issued>,
    /// The first command that was refused, until somebody is told.
    pub(super) first_rejected: Option<NvmeRejected>,
}

/// What a command was, for messages.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Issued {
    pub(super) name: &'static str,
    pub(super) block: u64,
}

/// Before those for lists.
const FIXED_PAGES: usize = 5;
const ADMIN_ENTRIES: u16 = 16;
const NAMESPACE: u32 = 1;
const QUEUE: u16 = 1;

impl<R: Registers, M: SharedMemory> Nvme<R, M> {
    /// Brings a controller up: resets it, creates its queues and identifies it. `place` gives the pages that it uses
    /// from then on, 5 and one for each command that may be under way.
    ///
    /// # Errors
    ///
    /// [`NvmeError::NoMemory`] when `place` has none, [`NvmeError::Page`] when it is not aligned;
    /// [`NvmeError::NotSupported`] for a controller without pages of 4 KiB, and for a configuration that cannot be;
    /// [`NvmeError::Rejected`], [`NvmeError::TimedOut`], [`NvmeError::Garbage`] and [`NvmeError::Fatal`]. What `place`
    /// gave is not used any more, unless the controller did not stop.
    pub fn start(
        registers: R,
        memory: M,
        config: NvmeConfig,
        mut place: impl FnMut() -> Option<DmaPage>,
    ) -> Result<Self, NvmeError> {
        let NvmeConfig { entries, in_flight, .. } = config;
        if !(2..=64).contains(&entries) || in_flight == 0 || in_flight >= entries {
            let what = format!("2 to 64 entries and fewer commands, not {entries} and {in_flight}");
            return Err(NvmeError::NotSupported { what });
        }
        let mut pages = Vec::new();
        for _ in 0..FIXED_PAGES + usize::from(in_flight) {
            let page = place().ok_or(NvmeError::NoMemory)?;
            if !page.device.is_aligned(PAGE) || !page.memory.is_aligned(PAGE) {
                return Err(NvmeError::Page { device: page.device, memory: page.memory });
            }
            pages.push(page);
        }
        let issued = vec![Issued::default(); in_flight.into()];
        let information = NvmeInformation::default();
        let queue = None;
        let mut nvme =
            Self { registers, memory, config, information, pages, queue, issued, first_rejected: None };
        let result = nvme.restart();
        if result.is_err() {
            // The first error is the one that tells.
            let _ = nvme.stop();
        }
        result.map(|()| nvme)
    }

    /// What it told of itself.
    pub fn information(&self) -> &NvmeInformation {
        &self.information
    }

    /// How many commands are under way.
    pub fn in_flight(&self) -> usize {
        self.queue.as_ref().map_or(0, Queue::in_flight)
    }

    /// Where the list of the command in `slot` is.
    pub(super) fn list(&self, slot: usize) -> DmaPage {
        self.pages[FIXED_PAGES + slot]
    }

    /// Stops the controller: what was under way is dropped. When this answered, it accesses nothing any more.
    ///
    /// # Errors
    ///
    /// [`NvmeError::TimedOut`], [`NvmeError::Fatal`] when it is gone.
    pub fn stop(&mut self) -> Result<(), NvmeError> {
        self.queue = None;
        self.first_rejected = None;
        self.registers.write(spec::CC, 0);
        self.wait_for_ready(0, "stopping the controller")
    }

    /// Stops the controller and brings it up anew, as after a reset of the machine or an error.
    ///
    /// # Errors
    ///
    /// As [`Self::start`].
    pub fn restart(&mut self) -> Result<(), NvmeError> {
        self.stop()?;
        let cap = self.registers.read64(spec::CAP);
        if spec::cap_smallest_page(cap) != PAGE {
            let what = format!("pages of {:#x} bytes at least", spec::cap_smallest_page(cap));
            return Err(NvmeError::NotSupported { what });
        }
        let stride = spec::cap_doorbell_stride(cap);
        let entries = self.config.entries;
        if u32::from(entries) > spec::cap_entries(cap) {
            let what = format!("queues of {} entries at most", spec::cap_entries(cap));
            return Err(NvmeError::NotSupported { what });
        }
        let pages = |first: usize| [self.pages[first], self.pages[first + 1]];
        let (admin_pages, io_pages, data) = (pages(0), pages(3), self.pages[2]);
        let mut admin = Queue::new(&mut self.memory, 0, admin_pages, [ADMIN_ENTRIES, 1], stride);
        let last = u32::from(ADMIN_ENTRIES) - 1;
        self.registers.write(spec::AQA, last << 16 | last);
        self.registers.write64(spec::ASQ, admin.submission().device.raw());
        self.registers.write64(spec::ACQ, admin.completion().device.raw());
        self.registers.write(spec::CC, spec::CC_ENABLE);
        self.wait_for_ready(spec::CSTS_READY, "starting the controller")?;
        if self.config.interrupts == NvmeInterrupts::None {
            self.registers.write(spec::INTMS, u32::MAX);
        }

        let identify = |namespace, what| Command {
            opcode: spec::IDENTIFY,
            namespace,
            pages: [data.device.raw(), 0],
            words: [what, 0, 0],
        };
        self.admin(&mut admin, &identify(0, spec::IDENTIFY_CONTROLLER), "identifying the controller")?;
        self.information.serial = self.text(data, spec::CONTROLLER_SERIAL);
        self.information.model = self.text(data, spec::CONTROLLER_MODEL);
        let longest = self.byte(data, spec::CONTROLLER_LONGEST);
        // One page by itself and a list of one page; some controllers take less.
        let list = (PAGE / 8) * PAGE;
        self.information.longest_transfer = match longest {
            1..=8 => list.min(PAGE << longest),
            _ => list,
        };
        self.admin(&mut admin, &identify(NAMESPACE, spec::IDENTIFY_NAMESPACE), "identifying the namespace")?;
        self.information.blocks = self.word(data, spec::NAMESPACE_BLOCKS);
        let format = u64::from(self.byte(data, spec::NAMESPACE_FORMAT) & 0xf);
        let shift = self.byte(data, spec::NAMESPACE_FORMATS + 4 * format + 2);
        if !(9..=12).contains(&shift) {
            return Err(NvmeError::NotSupported { what: format!("blocks of 2^{shift} bytes") });
        }
        self.information.block_len = 1 << shift;

        let queue = Queue::new(&mut self.memory, QUEUE, io_pages, [entries, self.config.in_flight], stride);
        let size = (u32::from(queue.entries()) - 1) << 16 | u32::from(QUEUE);
        // Bit 0: contiguous; bit 1: with interrupts, by the vector in bits 31 to 16 (5.3.1).
        let interrupts = match self.config.interrupts {
            NvmeInterrupts::None => 1,
            NvmeInterrupts::Vector(vector) => u32::from(vector) << 16 | 3,
        };
        let create = |opcode, page: DmaPage, how| Command {
            opcode,
            namespace: 0,
            pages: [page.device.raw(), 0],
            words: [size, how, 0],
        };
        let completion = create(spec::CREATE_COMPLETION_QUEUE, queue.completion(), interrupts);
        self.admin(&mut admin, &completion, "creating a completion queue")?;
        // Bits 31 to 16: its completion queue; bit 0: contiguous (5.4.1).
        let submission =
            create(spec::CREATE_SUBMISSION_QUEUE, queue.submission(), u32::from(QUEUE) << 16 | 1);
        self.admin(&mut admin, &submission, "creating a submission queue")?;
        self.queue = Some(queue);
        Ok(())
    }

    /// Waits until CSTS.RDY is `wanted`.
    fn wait_for_ready(&mut self, wanted: u32, what: &'static str) -> Result<(), NvmeError> {
        self.wait(what, |nvme| {
            let status = nvme.registers.read(spec::CSTS);
            // A fatal error does not keep it from being stopped.
            if status == u32::MAX || (wanted != 0 && status & spec::CSTS_FATAL != 0) {
                return Err(NvmeError::Fatal { status });
            }
            Ok((status & spec::CSTS_READY == wanted).then_some(()))
        })
    }

    /// Asks again and again, until the time is over.
    pub(super) fn wait<T>(
        &mut self,
        what: &'static str,
        mut ask: impl FnMut(&mut Self) -> Result<Option<T>, NvmeError>,
    ) -> Result<T, NvmeError> {
        let waited = self.config.timeout;
        let start = Instant::now();
        loop {
            // First the clock: whoever was kept from running for long has still one look.
            let over = start.elapsed() > waited;
            if let Some(value) = ask(self)? {
                return Ok(value);
            }
            if over {
                return Err(NvmeError::TimedOut { what, waited });
            }
            std::thread::yield_now();
        }
    }

    /// Runs an admin command to its end.
    fn admin(&mut self, queue: &mut Queue, command: &Command, name: &'static str) -> Result<(), NvmeError> {
        let slot = queue.free_slot().ok_or(NvmeError::Full)?;
        queue.push(&mut self.registers, &mut self.memory, slot, command);
        let (_, completion) = self.wait(name, |nvme| queue.pop(&mut nvme.registers, &mut nvme.memory))?;
        rejection(completion, Issued { name, block: 0 }).map_or(Ok(()), |it| Err(NvmeError::Rejected(it)))
    }

    fn word(&mut self, page: DmaPage, offset: u64) -> u64 {
        self.memory.read64(PhysicalAddress::new(page.memory.raw().wrapping_add(offset)))
    }

    fn byte(&mut self, page: DmaPage, offset: u64) -> u8 {
        (self.word(page, offset & !7) >> (8 * (offset % 8))) as u8
    }

    /// Characters without the blanks behind them.
    fn text(&mut self, page: DmaPage, (offset, len): (u64, usize)) -> String {
        let bytes = (offset..).take(len).map(|at| self.byte(page, at));
        let text: String =
            bytes.map(|byte| if byte.is_ascii_graphic() { char::from(byte) } else { ' ' }).collect();
        text.trim_end().to_string()
    }
}

/// What a completion says, unless it is success.
pub(super) fn rejection(completion: Completion, issued: Issued) -> Option<NvmeRejected> {
    let status = completion.status();
    (status != 0).then_some(NvmeRejected {
        command: issued.name,
        block: issued.block,
        code_type: (status >> 8 & 7) as u8,
        code: status as u8,
    })
}
