//! The interrupt controller's registers, as a CPU of the host reaches them.

use super::meter::Meter;
use crate::hardware::gic::{Frame, Width};
use crate::soc::Shared;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use vcm_irq::gic::Registers;

/// The CPU whose code runs. One does at any time.
pub(super) type Current = Arc<AtomicUsize>;

/// A frame of registers. Accesses are those of the CPU that runs.
#[derive(Debug)]
pub(crate) struct Window {
    pub(super) machine: Shared,
    pub(super) frame: Frame,
    pub(super) cpu: Current,
    pub(super) meter: Arc<Meter>,
}

impl Registers for Window {
    fn read(&self, offset: u32) -> u32 {
        let cpu = self.cpu.load(Ordering::Relaxed);
        self.meter.hardware(|| self.machine.lock().board.gic_mut().read(cpu, self.frame, offset, Width::Word))
    }

    fn write(&self, offset: u32, value: u32) {
        let cpu = self.cpu.load(Ordering::Relaxed);
        self.meter.hardware(|| {
            self.machine.lock().board.gic_mut().write(cpu, self.frame, offset, Width::Word, value);
        });
    }

    fn write_byte(&self, offset: u32, value: u8) {
        let cpu = self.cpu.load(Ordering::Relaxed);
        self.meter.hardware(|| {
            self.machine.lock().board.gic_mut().write(cpu, self.frame, offset, Width::Byte, value.into());
        });
    }
}
