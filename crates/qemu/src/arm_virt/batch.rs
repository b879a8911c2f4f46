//! Many accesses to the GIC in one round trip.

use super::{ArmVirt, Frame, GICH_HCR, GICH_MISR, Outputs, SHARED_INTERRUPTS, Watch};
use crate::batch::Batch;
use crate::error::Error;
use crate::interrupt_lines::{InterruptLines, Level};
use crate::qtest::Width;

impl Outputs {
    /// The order of both kinds of [`Watch`].
    pub(super) fn from_lines(lines: InterruptLines) -> Self {
        let [irq, fiq, virtual_irq, virtual_fiq, maintenance] = [0, 1, 2, 3, 4].map(|line| lines.level(line));
        Self { irq, fiq, virtual_irq, virtual_fiq, maintenance }
    }
}

/// What one access of a [`GicBatch`] gave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GicStep {
    /// The value, if it was a read.
    pub value: Option<u32>,
    /// The GIC's outputs right after it.
    pub outputs: Outputs,
}

/// Accesses that are queued, then sent and answered together, in their order. Dropped without [`Self::run`] or
/// [`Self::run_steps`], none takes effect.
#[derive(Debug)]
#[must_use = "nothing happens before it is run"]
pub struct GicBatch<'a> {
    batch: Batch<'a>,
    gic: &'a str,
    watch: Watch,
    raised: &'a mut [u64; 4],
}

impl<'a> GicBatch<'a> {
    pub(super) fn new(virt: &'a mut ArmVirt) -> Self {
        let ArmVirt { machine, gic, watch, raised } = virt;
        Self { batch: machine.qtest.batch(), gic, watch: *watch, raised }
    }

    /// Queues a read of 32 bits.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] when `offset` is not aligned or outside of the frame.
    pub fn read32(&mut self, frame: Frame, offset: u64) -> Result<(), Error> {
        self.batch.read(Width::Bits32, frame.register(Width::Bits32, offset)?);
        self.watch_maintenance();
        Ok(())
    }

    /// Queues a read of 8 bits.
    ///
    /// # Errors
    ///
    /// As [`Self::read32`].
    pub fn read8(&mut self, frame: Frame, offset: u64) -> Result<(), Error> {
        self.batch.read(Width::Bits8, frame.register(Width::Bits8, offset)?);
        self.watch_maintenance();
        Ok(())
    }

    /// Queues a write of 32 bits.
    ///
    /// # Errors
    ///
    /// As [`Self::read32`].
    pub fn write32(&mut self, frame: Frame, offset: u64, value: u32) -> Result<(), Error> {
        self.batch.write(Width::Bits32, frame.register(Width::Bits32, offset)?, value.into())?;
        self.watch_maintenance();
        Ok(())
    }

    /// Queues a write of 8 bits.
    ///
    /// # Errors
    ///
    /// As [`Self::read32`].
    pub fn write8(&mut self, frame: Frame, offset: u64, value: u8) -> Result<(), Error> {
        self.batch.write(Width::Bits8, frame.register(Width::Bits8, offset)?, value.into())?;
        self.watch_maintenance();
        Ok(())
    }

    /// Queues a change of an input: see [`ArmVirt::set_line`].
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] when `intid` is not in [`SHARED_INTERRUPTS`].
    pub fn set_line(&mut self, intid: u32, level: Level) -> Result<(), Error> {
        if !SHARED_INTERRUPTS.contains(&intid) {
            // QEMU would abort.
            return Err(Error::argument(format!(
                "interrupt {intid} has no input: {SHARED_INTERRUPTS:?} have"
            )));
        }
        let input = intid - SHARED_INTERRUPTS.start();
        self.batch.set_irq_in(self.gic, "unnamed-gpio-in", input, level)?;
        // Noted before it is done, which is on the safe side: a reset lowers more than it must.
        if level == Level::High {
            self.raised[input as usize / 64] |= 1 << (input % 64);
        }
        self.watch_maintenance();
        Ok(())
    }

    /// Where QEMU does not report the maintenance interrupt, two registers are read after each access.
    fn watch_maintenance(&mut self) {
        if self.watch == Watch::Cpu {
            for offset in [GICH_HCR, GICH_MISR] {
                let start = Frame::VirtualControl.start().raw();
                self.batch.read(Width::Bits32, vcm::PhysicalAddress::new(start + offset));
            }
        }
    }

    /// Sends everything and gives the values of the reads, in their order.
    ///
    /// # Errors
    ///
    /// Those of the connection: see [`Error`].
    pub fn run(self) -> Result<Vec<u32>, Error> {
        Ok(self.run_steps()?.into_iter().filter_map(|step| step.value).collect())
    }

    /// Sends everything and gives the outcome of every access, in their order.
    ///
    /// # Errors
    ///
    /// Those of the connection: see [`Error`].
    pub fn run_steps(self) -> Result<Vec<GicStep>, Error> {
        let steps = self.batch.run_steps()?;
        let value = |step: &crate::Step| step.value.map(|value| value as u32);
        let each = if self.watch == Watch::Cpu { 3 } else { 1 };
        Ok(steps
            .chunks_exact(each)
            .map(|steps| {
                let mut outputs = Outputs::from_lines(steps[0].lines);
                if let [_, hcr, misr] = steps {
                    // Signalled while the interface is enabled and any cause is there (Arm IHI 0048B.b 5.3.1, 5.3.4).
                    let signalled = value(hcr).unwrap_or(0) & 1 == 1 && value(misr).unwrap_or(0) != 0;
                    outputs.maintenance = if signalled { Level::High } else { Level::Low };
                }
                GicStep { value: value(&steps[0]), outputs }
            })
            .collect())
    }
}
