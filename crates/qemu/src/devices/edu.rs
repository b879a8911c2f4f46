//! QEMU's educational device with many requests in one round trip.
//!
//! Its registers, and a driver that needs no QEMU around it: [`vcm_devices::edu`].

use crate::bus::Bus;
use crate::error::Error;
use crate::pci::{ConfigurationSpace, Decoding, PciFunction};
use crate::qtest::Width;
use std::time::{Duration, Instant};
use vcm::{Iova, PhysicalAddress};
use vcm_devices::edu::spec;
use vcm_devices::{Direction, EduCompletion, EduDma};

/// How long a DMA may take. It is a tenth of a millisecond as a rule.
const PATIENCE: Duration = Duration::from_secs(10);

/// The device, with its registers and DMA switched on.
///
/// Its DMA says nothing of failure: reads that the IOMMU refuses give zeros, writes are dropped. QEMU then translates
/// the rest in pieces of 4 bytes, each of which faults again.
#[derive(Clone, Debug)]
pub struct Edu {
    bus: Bus,
    function: PciFunction,
    registers: PhysicalAddress,
}

impl Edu {
    /// Vendor and device id.
    pub const ID: (u16, u16) = (spec::VENDOR, spec::DEVICE);
    /// The size of its buffer in bytes.
    pub const BUFFER_LEN: u64 = spec::BUFFER_LEN;
    /// The bit of the interrupt status that the end of a DMA sets.
    pub const DMA_INTERRUPT: u32 = spec::DMA_INTERRUPT;

    /// Takes `function` into use.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] when it is not such a device, and those of the connection.
    pub fn new(
        bus: &Bus,
        space: &mut impl ConfigurationSpace,
        function: &PciFunction,
    ) -> Result<Self, Error> {
        let wrong = |what: &str| Error::argument(format!("{}: {what}", function.address));
        if (function.vendor, function.device) != Self::ID {
            return Err(wrong("not an edu"));
        }
        let registers = function.bar(0).ok_or_else(|| wrong("its registers have no address"))?.address;
        function.set_decoding(space, Decoding::MemoryAndBusMaster)?;
        let edu = Self { bus: bus.clone(), function: function.clone(), registers };
        let found = edu.read32(spec::IDENTIFICATION)?;
        if found as u16 != spec::IDENTIFIED {
            return Err(function.wrong(format!("identifies itself as {found:#x}, not as an edu")));
        }
        Ok(edu)
    }

    /// The function that it is: its [`requester id`](crate::PciAddress::requester_id) is how the IOMMU knows it.
    pub fn function(&self) -> &PciFunction {
        &self.function
    }

    fn register(&self, offset: u32) -> PhysicalAddress {
        PhysicalAddress::new(self.registers.raw().wrapping_add(offset.into()))
    }

    fn read32(&self, offset: u32) -> Result<u32, Error> {
        Ok(self.bus.read(Width::Bits32, self.register(offset))? as u32)
    }

    fn write32(&self, offset: u32, value: u32) -> Result<(), Error> {
        self.bus.write(Width::Bits32, self.register(offset), value.into())
    }

    /// Copies `len` bytes from `memory`, as the device addresses it, to `offset` of its buffer, and waits for the end.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] for what passes the end of the buffer or of the addresses; [`Error::TimedOut`]; those of the
    /// connection.
    pub fn dma_to_device(&self, memory: Iova, offset: u64, len: u64) -> Result<(), Error> {
        self.run(&[EduDma { memory, offset, len, direction: Direction::ToDevice }])
    }

    /// Copies `len` bytes from `offset` of its buffer to `memory`, as the device addresses it, and waits for the end.
    ///
    /// # Errors
    ///
    /// As [`Self::dma_to_device`].
    pub fn dma_from_device(&self, memory: Iova, offset: u64, len: u64) -> Result<(), Error> {
        self.run(&[EduDma { memory, offset, len, direction: Direction::FromDevice }])
    }

    /// Copies `len` bytes of memory, both ends as the device addresses it, by way of its buffer and in order.
    ///
    /// # Errors
    ///
    /// As [`Self::dma_to_device`].
    pub fn copy(&self, from: Iova, to: Iova, len: u64) -> Result<(), Error> {
        let at = |start: Iova, done| {
            start.checked_add(done).ok_or_else(|| Error::argument(format!("{len:#x} bytes from {start} on")))
        };
        for done in (0..len).step_by(Self::BUFFER_LEN as usize) {
            let len = (len - done).min(Self::BUFFER_LEN);
            let dma = |memory, direction| EduDma { memory, offset: 0, len, direction };
            self.run(&[
                dma(at(from, done)?, Direction::ToDevice),
                dma(at(to, done)?, Direction::FromDevice),
            ])?;
        }
        Ok(())
    }

    /// Makes DMAs one after the other, in one round trip each and what waiting takes, and waits for the end.
    ///
    /// # Errors
    ///
    /// As [`Self::dma_to_device`], with the first bad one refused before any is made.
    pub fn run(&self, dmas: &[EduDma]) -> Result<(), Error> {
        dmas.iter().try_for_each(|dma| self.check(dma))?;
        for dma in dmas {
            // What is written while the former runs is ignored, so that one request can both ask and start.
            self.until(|| Ok(self.try_start(dma, EduCompletion::Silent)?.then_some(())))?;
        }
        self.until(|| Ok((!self.is_running()?).then_some(())))
    }

    /// Starts a DMA and does not wait. It copies when QEMU finds the time, which may be within the next request.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] when one runs; as [`Self::dma_to_device`] besides.
    pub fn start(&self, dma: &EduDma, completion: EduCompletion) -> Result<(), Error> {
        self.check(dma)?;
        if !self.try_start(dma, completion)? {
            return Err(self.function.wrong("a DMA runs"));
        }
        Ok(())
    }

    fn check(&self, dma: &EduDma) -> Result<(), Error> {
        dma.check().map_err(|what| self.function.wrong(what))
    }

    /// Starts a DMA, unless one runs. QEMU takes up to 1024 bytes of requests at once, and no timer comes in between
    /// (`qtest_can_read` in its system/qtest.c): all of these.
    fn try_start(&self, dma: &EduDma, completion: EduCompletion) -> Result<bool, Error> {
        let values = self.bus.batch(|batch| {
            batch.read(Width::Bits64, self.register(spec::COMMAND));
            let mut writes = dma.writes(completion).into_iter();
            writes.try_for_each(|(offset, value)| batch.write(Width::Bits64, self.register(offset), value))
        })?;
        Ok(values.first().is_some_and(|command| command & spec::RUN == 0))
    }

    /// Asks again and again until there is an answer.
    fn until<T>(&self, ask: impl Fn() -> Result<Option<T>, Error>) -> Result<T, Error> {
        let start = Instant::now();
        loop {
            if let Some(value) = ask()? {
                return Ok(value);
            }
            if start.elapsed() > PATIENCE {
                let asked = format!("a DMA of {}", self.function.address);
                return Err(Error::TimedOut { asked, waited: PATIENCE, stderr: String::new() });
            }
        }
    }

    /// Whether a DMA runs.
    ///
    /// # Errors
    ///
    /// Those of the connection.
    pub fn is_running(&self) -> Result<bool, Error> {
        Ok(self.bus.read(Width::Bits64, self.register(spec::COMMAND))? & spec::RUN != 0)
    }

    /// Raises interrupts: by MSI where [`PciFunction::enable_msi`] switched it on, else by wire.
    ///
    /// # Errors
    ///
    /// Those of the connection.
    pub fn raise(&self, bits: u32) -> Result<(), Error> {
        self.write32(spec::INTERRUPT_RAISE, bits)
    }

    /// Takes interrupts back. The wire falls when none is left.
    ///
    /// # Errors
    ///
    /// Those of the connection.
    pub fn acknowledge(&self, bits: u32) -> Result<(), Error> {
        self.write32(spec::INTERRUPT_ACKNOWLEDGE, bits)
    }

    /// Which interrupts are raised.
    ///
    /// # Errors
    ///
    /// Those of the connection.
    pub fn raised(&self) -> Result<u32, Error> {
        self.read32(spec::INTERRUPT_STATUS)
    }
}
