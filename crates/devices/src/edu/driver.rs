//! The device over its registers.

use super::{EduCompletion, EduDma, spec};
use crate::wait::{poll, until};
use std::time::Duration;
use vcm_iommu::Registers;

/// How long a DMA may take. QEMU's timer gives it a tenth of a second.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why the device did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EduError {
    /// It is something else.
    #[error("it identifies itself as {found:#x}, not as an edu")]
    Identification {
        /// What its register says; all ones when it is gone.
        found: u32,
    },
    /// A DMA that cannot be.
    #[error("{what}")]
    Range {
        /// What passes which end.
        what: String,
    },
    /// A DMA runs.
    #[error("a DMA runs")]
    Busy,
    /// A DMA did not end.
    #[error("a DMA did not end within {waited:?}")]
    TimedOut {
        /// How long was waited.
        waited: Duration,
    },
}

/// The device, over `R`, its BAR 0. The function must be allowed to do DMA.
///
/// Its 64-bit registers take 64 bits in one access: an `R` that makes two of 32 reaches memory below 4 GiB only. Its DMA says
/// nothing of failure: reads that the IOMMU refuses give zeros, writes are dropped. Addresses are cut to its `dma_mask`, 28
/// bits unless QEMU was told otherwise.
#[derive(Debug)]
pub struct Edu<R> {
    registers: R,
}

impl<R: Registers> Edu<R> {
    /// Takes the device into use.
    ///
    /// # Errors
    ///
    /// [`EduError::Identification`].
    pub fn new(mut registers: R) -> Result<Self, EduError> {
        let found = registers.read(spec::IDENTIFICATION);
        if found as u16 != spec::IDENTIFIED {
            return Err(EduError::Identification { found });
        }
        Ok(Self { registers })
    }

    /// Whether it answers: what is written to its liveness register is read inverted.
    pub fn is_alive(&mut self) -> bool {
        const TRIED: u32 = 0x5a17_c0de;
        self.registers.write(spec::LIVENESS, TRIED);
        self.registers.read(spec::LIVENESS) == !TRIED
    }

    /// Raises interrupts: by MSI where it is switched on, else by wire.
    pub fn raise(&mut self, bits: u32) {
        self.registers.write(spec::INTERRUPT_RAISE, bits);
    }

    /// Takes interrupts back. The wire falls when none is left.
    pub fn acknowledge(&mut self, bits: u32) {
        self.registers.write(spec::INTERRUPT_ACKNOWLEDGE, bits);
    }

    /// Which interrupts are raised. All ones when the device is gone.
    pub fn raised(&mut self) -> u32 {
        self.registers.read(spec::INTERRUPT_STATUS)
    }

    /// Whether a DMA runs. One that is gone runs for ever.
    pub fn is_running(&mut self) -> bool {
        self.registers.read64(spec::COMMAND) & spec::RUN != 0
    }

    /// Starts a DMA and does not wait.
    ///
    /// # Errors
    ///
    /// [`EduError::Range`], [`EduError::Busy`].
    pub fn start(&mut self, dma: &EduDma, completion: EduCompletion) -> Result<(), EduError> {
        dma.check().map_err(|what| EduError::Range { what })?;
        if self.is_running() {
            return Err(EduError::Busy);
        }
        for (register, value) in dma.writes(completion) {
            self.registers.write64(register, value);
        }
        Ok(())
    }

    /// Makes a DMA and polls until it is over.
    ///
    /// # Errors
    ///
    /// As [`Self::start`], and [`EduError::TimedOut`].
    pub fn run(&mut self, dma: &EduDma) -> Result<(), EduError> {
        self.start(dma, EduCompletion::Silent)?;
        self.wait()
    }

    /// Makes a DMA that tells its end by an interrupt. `wait` is called until the DMA is over: it is to return when the
    /// interrupt came, and at the latest after the time that it is told. [`spec::DMA_INTERRUPT`] is acknowledged then.
    ///
    /// # Errors
    ///
    /// As [`Self::run`].
    pub fn run_with(&mut self, dma: &EduDma, mut wait: impl FnMut(Duration)) -> Result<(), EduError> {
        // One that an earlier DMA left would be taken for this one's.
        self.acknowledge(spec::DMA_INTERRUPT);
        self.start(dma, EduCompletion::Interrupt)?;
        // It raises the interrupt after it says that the DMA is over, so that only the interrupt tells that both are.
        let over =
            until(PATIENCE, &mut wait, || Ok((self.raised() & spec::DMA_INTERRUPT != 0).then_some(())))?;
        self.acknowledge(spec::DMA_INTERRUPT);
        over.map_err(|_| EduError::TimedOut { waited: PATIENCE })?;
        self.wait_until_over(&mut poll)
    }

    /// Waits for a DMA that somebody left running, and takes all interrupts back: before the device may be master of its bus
    /// again, since it has no reset.
    ///
    /// # Errors
    ///
    /// [`EduError::TimedOut`].
    pub fn quiet(&mut self) -> Result<(), EduError> {
        self.wait()?;
        self.acknowledge(u32::MAX);
        Ok(())
    }

    /// Polls until no DMA runs.
    ///
    /// # Errors
    ///
    /// [`EduError::TimedOut`].
    pub fn wait(&mut self) -> Result<(), EduError> {
        self.wait_until_over(&mut poll)
    }

    fn wait_until_over(&mut self, wait: &mut dyn FnMut(Duration)) -> Result<(), EduError> {
        let over = until(PATIENCE, wait, || Ok((!self.is_running()).then_some(())))?;
        over.map_err(|_| EduError::TimedOut { waited: PATIENCE })
    }

    /// Gives the registers back.
    pub fn into_registers(self) -> R {
        self.registers
    }
}
