//! Bringing a controller up and down.

use super::config::{NvmeConfig, NvmeInformation, NvmeMessages};
use super::error::NvmeError;
use super::queues::{Known, placed};
use super::ring::{Issued, Ring};
use super::spec::{self, Command, Completion, NAMESPACE};
use crate::page::DmaPage;
use crate::wait::{poll, until};
use std::time::Duration;
use vcm_iommu::{Registers, SharedMemory};

/// A controller, with its admin queue. [`NvmeQueue`](super::NvmeQueue)s read and write.
///
/// ```no_run
/// use vcm_devices::{DmaPage, Nvme, NvmeConfig, NvmeError, NvmeQueueConfig};
/// use vcm_iommu::{Registers, SharedMemory};
///
/// /// Writes the 64 KiB that the controller has at `buffer` to the first blocks of its disk.
/// fn write<R: Registers + Clone, M: SharedMemory + Clone>(
///     registers: R,
///     memory: M,
///     mut page: impl FnMut() -> Option<DmaPage>,
///     buffer: vcm::Iova,
/// ) -> Result<(), NvmeError> {
///     let mut nvme = Nvme::start(registers.clone(), memory.clone(), NvmeConfig::default(), &mut page)?;
///     let mut queue = nvme.create_queue(registers, memory, NvmeQueueConfig::default(), &mut page)?;
///     queue.write(0, buffer, 64 << 10)?;
///     queue.flush()?;
///     nvme.stop()
/// }
/// ```
///
/// It reaches the hardware through `R`, its BAR 0, and what both access through `M`, at the places of its
/// [`DmaPage`]s. The function must be allowed to do DMA.
#[derive(Debug)]
pub struct Nvme<R, M> {
    registers: R,
    memory: M,
    pub(super) config: NvmeConfig,
    pub(super) information: NvmeInformation,
    /// Submission and completion of the admin queue, data of identify.
    pages: [DmaPage; NvmeConfig::PAGES],
    pub(super) admin: Option<Ring>,
    pub(super) stride: u32,
    /// By number, from 1 on.
    pub(super) queues: Vec<Known>,
}

const ADMIN_ENTRIES: u16 = 16;

/// Stops a controller that somebody left running, before it may be master of its bus again. One that is gone is quiet.
///
/// # Errors
///
/// [`NvmeError::TimedOut`] when it does not stop.
pub fn quiet(registers: &mut impl Registers, patience: Duration) -> Result<(), NvmeError> {
    registers.write(spec::CC, 0);
    let stopped = until(patience, &mut poll, || {
        let status = registers.read(spec::CSTS);
        Ok::<_, NvmeError>((status == u32::MAX || status & spec::CSTS_READY == 0).then_some(()))
    });
    stopped?.map_err(|_| NvmeError::TimedOut { what: "stopping what was left running", waited: patience })
}

impl<R: Registers, M: SharedMemory> Nvme<R, M> {
    /// Brings a controller up: resets it, identifies it and asks it for queues. `place` gives the
    /// [`NvmeConfig::PAGES`] pages that it uses from then on.
    ///
    /// # Errors
    ///
    /// [`NvmeError::NoMemory`] when `place` has none, [`NvmeError::Page`] when it is not aligned;
    /// [`NvmeError::NotSupported`] for a controller without pages of this size, and for a configuration that cannot be;
    /// [`NvmeError::Rejected`], [`NvmeError::TimedOut`], [`NvmeError::Garbage`] and [`NvmeError::Fatal`]. What `place`
    /// gave is not used any more, unless the controller did not stop.
    pub fn start(
        registers: R,
        memory: M,
        config: NvmeConfig,
        mut place: impl FnMut() -> Option<DmaPage>,
    ) -> Result<Self, NvmeError> {
        if config.queues == 0 {
            return Err(NvmeError::NotSupported { what: "a pair of queues at least".to_owned() });
        }
        if !config.page_len.is_power_of_two() || !(0x1000..=1 << 27).contains(&config.page_len) {
            let what = format!("pages of 2^12 to 2^27 bytes, not {:#x}", config.page_len);
            return Err(NvmeError::NotSupported { what });
        }
        let mut page = || placed(&mut place, config.page_len);
        let pages = [page()?, page()?, page()?];
        let information = NvmeInformation::default();
        let (admin, stride, queues) = (None, 4, Vec::new());
        let mut nvme = Self { registers, memory, config, information, pages, admin, stride, queues };
        let result = nvme.restart();
        if result.is_err() {
            // The first error is the one that tells.
            let _ = nvme.stop();
        }
        result.map(|()| nvme)
    }

    /// What it told of itself.
    pub const fn information(&self) -> &NvmeInformation {
        &self.information
    }

    /// How it is used.
    pub const fn config(&self) -> NvmeConfig {
        self.config
    }

    /// Stops the controller: what was under way is dropped, and its queues are refused from now on. When this answered,
    /// it accesses nothing any more.
    ///
    /// # Errors
    ///
    /// [`NvmeError::TimedOut`], [`NvmeError::Fatal`] when it is gone.
    pub fn stop(&mut self) -> Result<(), NvmeError> {
        self.admin = None;
        self.queues.iter().filter_map(|known| known.life.upgrade()).for_each(|life| life.end());
        self.registers.write(spec::CC, 0);
        self.wait_for_ready(0, "stopping the controller")?;
        self.queues.iter_mut().for_each(|known| known.created = false);
        Ok(())
    }

    /// Stops the controller and brings it up anew, as after a reset of the machine or an error. Queues are created anew
    /// after that.
    ///
    /// # Errors
    ///
    /// As [`Self::start`].
    pub fn restart(&mut self) -> Result<(), NvmeError> {
        self.stop()?;
        let cap = self.registers.read64(spec::CAP);
        let (page_len, sizes) =
            (self.config.page_len, spec::cap_smallest_page(cap)..=spec::cap_largest_page(cap));
        if !sizes.contains(&page_len) {
            let (smallest, largest) = sizes.into_inner();
            let what = format!("pages of {smallest:#x} bytes to {largest:#x} bytes, not {page_len:#x}");
            return Err(NvmeError::NotSupported { what });
        }
        self.stride = spec::cap_doorbell_stride(cap);
        self.information.entries = spec::cap_entries(cap);
        let [submission, completion, data] = self.pages;
        let rings = [submission, completion];
        let mut admin = Ring::new(&mut self.memory, 0, rings, [ADMIN_ENTRIES, 1], self.stride)?;
        let last = u32::from(ADMIN_ENTRIES) - 1;
        self.registers.write(spec::AQA, last << 16 | last);
        self.registers.write64(spec::ASQ, submission.device.raw());
        self.registers.write64(spec::ACQ, completion.device.raw());
        self.registers.write(spec::CC, spec::cc_enable(page_len));
        self.wait_for_ready(spec::CSTS_READY, "starting the controller")?;
        if self.config.messages == NvmeMessages::None {
            self.registers.write(spec::INTMS, u32::MAX);
        }
        self.identify(&mut admin, data, cap)?;
        // Both numbers, less one.
        let number = u32::from(self.config.queues) - 1;
        let words = [spec::NUMBER_OF_QUEUES, number << 16 | number, 0];
        let command = Command { opcode: spec::SET_FEATURES, words, ..Command::default() };
        let given = self.ask(&mut admin, &command, "asking for queues")?.result as u32;
        let given = (given & 0xffff).min(given >> 16).min(number) + 1;
        self.information.queues = given as u16;
        self.admin = Some(admin);
        Ok(())
    }

    fn identify(&mut self, admin: &mut Ring, data: DmaPage, cap: u64) -> Result<(), NvmeError> {
        let identify = |namespace, what| Command {
            opcode: spec::IDENTIFY,
            namespace,
            pages: [data.device.raw(), 0],
            words: [what, 0, 0],
        };
        self.ask(admin, &identify(0, spec::IDENTIFY_CONTROLLER), "identifying the controller")?;
        self.information.serial = self.text(data, spec::CONTROLLER_SERIAL);
        self.information.model = self.text(data, spec::CONTROLLER_MODEL);
        // A page and a list of pages; some controllers take less.
        let most = self.config.page_len * (spec::LIST / 8);
        let longest = u32::from(self.byte(data, spec::CONTROLLER_LONGEST));
        let told =
            1_u64.checked_shl(longest).and_then(|pages| pages.checked_mul(spec::cap_smallest_page(cap)));
        self.information.longest_transfer = match (longest, told) {
            (1.., Some(told)) => most.min(told),
            _ => most,
        };
        self.ask(admin, &identify(NAMESPACE, spec::IDENTIFY_NAMESPACE), "identifying the namespace")?;
        self.information.blocks = self.word(data, spec::NAMESPACE_BLOCKS);
        let format = u64::from(self.byte(data, spec::NAMESPACE_FORMAT) & 0xf);
        let shift = self.byte(data, spec::NAMESPACE_FORMATS + 4 * format + 2);
        if !(9..=12).contains(&shift) {
            return Err(NvmeError::NotSupported { what: format!("blocks of 2^{shift} bytes") });
        }
        self.information.block_len = 1 << shift;
        // A command counts blocks in 16 bits.
        let most = self.information.block_len << 16;
        self.information.longest_transfer = self.information.longest_transfer.min(most);
        Ok(())
    }

    /// Waits until CSTS.RDY is `wanted`.
    fn wait_for_ready(&mut self, wanted: u32, what: &'static str) -> Result<(), NvmeError> {
        let waited = self.config.timeout;
        let ready = until(waited, &mut poll, || {
            let status = self.registers.read(spec::CSTS);
            // A fatal error does not keep it from being stopped.
            if status == u32::MAX || (wanted != 0 && status & spec::CSTS_FATAL != 0) {
                return Err(NvmeError::Fatal { status });
            }
            Ok((status & spec::CSTS_READY == wanted).then_some(()))
        });
        ready?.map_err(|_| NvmeError::TimedOut { what, waited })
    }

    /// Runs an admin command to its end.
    pub(super) fn ask(
        &mut self,
        admin: &mut Ring,
        command: &Command,
        what: &'static str,
    ) -> Result<Completion, NvmeError> {
        let slot = admin.free_slot().ok_or(NvmeError::Full)?;
        admin.push(&mut self.memory, slot, command);
        admin.submit(&mut self.registers);
        let waited = self.config.timeout;
        let popped = until(waited, &mut poll, || admin.pop(&mut self.memory))?;
        let (_, completion) = popped.map_err(|_| NvmeError::TimedOut { what, waited })?;
        admin.release(&mut self.registers);
        let issued = Issued { name: what, block: 0 };
        issued.rejection(completion).map_or(Ok(completion), |it| Err(NvmeError::Rejected(it)))
    }

    fn word(&mut self, page: DmaPage, offset: u64) -> u64 {
        self.memory.read64(page.at(offset).memory)
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
