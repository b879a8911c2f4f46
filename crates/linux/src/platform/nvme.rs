//! An NVMe controller as a bus master: what it moves passes through some blocks of its medium.

use super::engine::{Engine, EngineError};
use super::own_pages::OwnPages;
use super::request::Blocks;
use crate::memory::DriverMemory;
use std::fmt;
use vcm::{Iova, PhysicalAddress};
use vcm_devices::{DmaPage, Nvme, NvmeConfig, NvmeError, NvmeQueue, NvmeQueueConfig};
use vcm_iommu::Registers;
use vcm_platform::Run;

/// One command at a time.
const QUEUE: NvmeQueueConfig = NvmeQueueConfig { entries: 4, in_flight: 1, vector: None };
/// What is transferred is a multiple of it, and DMA addresses are (4.3 of the base specification 1.4 asks for 4).
const SMALLEST_BLOCK: u64 = 512;

/// A controller. It is brought up when there is something to move.
pub(super) struct NvmeEngine<R> {
    registers: R,
    overwrites: Blocks,
    running: Option<Running<R>>,
}

/// A controller that is up. The queue goes first.
struct Running<R> {
    queue: NvmeQueue<R, DriverMemory>,
    nvme: Nvme<R, DriverMemory>,
}

impl<R> fmt::Debug for NvmeEngine<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NvmeEngine").field("overwrites", &self.overwrites).finish_non_exhaustive()
    }
}

impl<R: Registers + Clone + Send> NvmeEngine<R> {
    /// A controller with its BAR 0, which may overwrite `overwrites`.
    pub(super) const fn new(registers: R, overwrites: Blocks) -> Self {
        Self { registers, overwrites, running: None }
    }

    fn queue(&mut self, own: &OwnPages) -> Result<&mut NvmeQueue<R, DriverMemory>, EngineError> {
        if self.running.is_none() {
            self.running = Some(self.bring_up(own)?);
        }
        let running = self.running.as_mut().ok_or_else(|| EngineError::Broken("it is not up".to_owned()))?;
        Ok(&mut running.queue)
    }

    fn bring_up(&self, own: &OwnPages) -> Result<Running<R>, EngineError> {
        let mut pages = OwnPages::pages();
        let mut place = || {
            let offset = pages.next()?;
            let device = own.data(offset);
            Some(DmaPage { device, memory: PhysicalAddress::new(device.raw()) })
        };
        let config = NvmeConfig::default();
        let memory = || own.memory().map_err(|error| EngineError::Broken(error.to_string()));
        let mut nvme = Nvme::start(self.registers.clone(), memory()?, config, &mut place).map_err(told)?;
        let queue = nvme.create_queue(self.registers.clone(), memory()?, QUEUE, &mut place).map_err(told)?;
        let information = nvme.information();
        let Blocks { first, count } = self.overwrites;
        if first.checked_add(count).is_none_or(|end| end > information.blocks) {
            return Err(EngineError::Broken(format!(
                "its namespace has {} blocks, not {count} from {first} on",
                information.blocks
            )));
        }
        Ok(Running { queue, nvme })
    }

    /// Has the controller copy `from` to `to`, through its medium, in pieces of what it may overwrite.
    fn copy(&mut self, own: &OwnPages, from: Iova, to: Iova, len: u64) -> Result<(), EngineError> {
        let Blocks { first, count } = self.overwrites;
        let unit = self.unit();
        if !(from.raw() | to.raw() | len).is_multiple_of(unit) {
            return Err(EngineError::Broken(format!(
                "an NVMe controller moves blocks of {unit} bytes, not {len:#x} bytes from {from} to {to}"
            )));
        }
        let queue = self.queue(own)?;
        let mut moved = || {
            let step = count.saturating_mul(unit).max(unit);
            for done in (0..len).step_by(step as usize) {
                let len = step.min(len - done);
                queue.write(first, Iova::new(from.raw() + done), len)?;
                queue.read(first, Iova::new(to.raw() + done), len)?;
            }
            Ok(())
        };
        let moved = moved();
        if matches!(&moved, Err(error) if !matches!(error, NvmeError::Rejected(_))) {
            // It is of no use any more.
            self.stop();
        }
        moved.map_err(told)
    }
}

fn told(error: NvmeError) -> EngineError {
    match error {
        NvmeError::Rejected(_) => EngineError::Refused,
        error => EngineError::Broken(error.to_string()),
    }
}

impl<R: Registers + Clone + Send> Engine for NvmeEngine<R> {
    fn unit(&self) -> u64 {
        self.running.as_ref().map_or(SMALLEST_BLOCK, |running| running.nvme.information().block_len)
    }

    fn fetch(&mut self, own: &OwnPages, place: u64, from: Run) -> Result<(), EngineError> {
        self.copy(own, Iova::new(from.address), own.data(place), from.len)
    }

    fn store(&mut self, own: &OwnPages, place: u64, to: Run) -> Result<(), EngineError> {
        self.copy(own, own.data(place), Iova::new(to.address), to.len)
    }

    fn stop(&mut self) {
        if let Some(Running { queue, mut nvme }) = self.running.take() {
            drop(queue);
            // A controller that does not stop is reset by whoever closes the device.
            let _ = nvme.stop();
        }
    }
}
