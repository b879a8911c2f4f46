//! QEMU's educational device, the plainest bus master there is: docs/specs/edu.rst and hw/misc/edu.c of QEMU.

use crate::bus::Bus;
use crate::error::Error;
use crate::pci::{ConfigurationSpace, Decoding, PciFunction};
use crate::qtest::Width;
use std::time::{Duration, Instant};
use vcm::{Iova, PhysicalAddress};

/// Identification: 0x010000ed, the upper half being the version.
const IDENTIFICATION: u64 = 0x00;
/// Which interrupts are raised.
const INTERRUPT_STATUS: u64 = 0x24;
/// Written bits are raised in the status.
const INTERRUPT_RAISE: u64 = 0x60;
/// Written bits are cleared in the status.
const INTERRUPT_ACKNOWLEDGE: u64 = 0x64;
/// Where a DMA reads; 64 bits.
const SOURCE: u64 = 0x80;
/// Where a DMA writes; 64 bits.
const DESTINATION: u64 = 0x88;
/// How many bytes a DMA copies; 64 bits.
const COUNT: u64 = 0x90;
/// Starts a DMA, and tells whether one runs; 64 bits.
const COMMAND: u64 = 0x98;

/// COMMAND bit 0: start, and until the DMA is over.
const RUN: u64 = 1;
/// COMMAND bit 1: from the buffer to memory, not from memory to the buffer.
const TO_MEMORY: u64 = 1 << 1;
/// COMMAND bit 2: raise an interrupt (0x100 in the status) at the end.
const RAISE: u64 = 1 << 2;

/// Where the device's own buffer is among DMA addresses.
const BUFFER: u64 = 0x4_0000;

/// How long a DMA may take. It is a tenth of a millisecond as a rule.
const PATIENCE: Duration = Duration::from_secs(10);

/// How the end of a DMA is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EduCompletion {
    /// By its registers only.
    Silent,
    /// By an interrupt as well, with [`Edu::DMA_INTERRUPT`].
    Interrupt,
}

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
    pub const ID: (u16, u16) = (0x1234, 0x11e8);
    /// The size of its buffer in bytes.
    pub const BUFFER_LEN: u64 = 4096;
    /// The bit of the interrupt status that the end of a DMA sets.
    pub const DMA_INTERRUPT: u32 = 0x100;

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
        let found = edu.read32(IDENTIFICATION)?;
        if found as u16 != 0x00ed {
            return Err(function.wrong(format!("identifies itself as {found:#x}, not as an edu")));
        }
        Ok(edu)
    }

    /// The function that it is: its [`requester id`](crate::PciAddress::requester_id) is how the IOMMU knows it.
    pub fn function(&self) -> &PciFunction {
        &self.function
    }

    fn register(&self, offset: u64) -> PhysicalAddress {
        PhysicalAddress::new(self.registers.raw().wrapping_add(offset))
    }

    fn read32(&self, offset: u64) -> Result<u32, Error> {
        Ok(self.bus.read(Width::Bits32, self.register(offset))? as u32)
    }

    fn write32(&self, offset: u64, value: u32) -> Result<(), Error> {
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

    /// QEMU does not check this well (hw/misc/edu.c, `edu_check_range`).
    fn check(&self, &EduDma { memory, offset, len, .. }: &EduDma) -> Result<(), Error> {
        if memory.checked_add(len.saturating_sub(1)).is_none() {
            return Err(self
                .function
                .wrong(format!("{len:#x} bytes at {memory} pass the end of the addresses")));
        }
        if offset.checked_add(len).is_none_or(|end| end > Self::BUFFER_LEN) {
            return Err(self
                .function
                .wrong(format!("{len:#x} bytes at {offset:#x} of 0x1000 of its buffer")));
        }
        Ok(())
    }

    /// Starts a DMA, unless one runs. QEMU takes up to 1024 bytes of requests at once, and no timer comes in between
    /// (`qtest_can_read` in its system/qtest.c): all of these.
    fn try_start(&self, dma: &EduDma, completion: EduCompletion) -> Result<bool, Error> {
        let &EduDma { memory, offset, len, direction } = dma;
        let buffer = BUFFER + offset;
        let (source, destination, command) = match direction {
            Direction::ToDevice => (memory.raw(), buffer, RUN),
            Direction::FromDevice => (buffer, memory.raw(), RUN | TO_MEMORY),
        };
        let command = if completion == EduCompletion::Interrupt { command | RAISE } else { command };
        let writes = [(SOURCE, source), (DESTINATION, destination), (COUNT, len), (COMMAND, command)];
        let values = self.bus.batch(|batch| {
            batch.read(Width::Bits64, self.register(COMMAND));
            writes
                .iter()
                .try_for_each(|&(offset, value)| batch.write(Width::Bits64, self.register(offset), value))
        })?;
        Ok(values.first().is_some_and(|command| command & RUN == 0))
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
        Ok(self.bus.read(Width::Bits64, self.register(COMMAND))? & RUN != 0)
    }

    /// Raises interrupts: by MSI where [`PciFunction::enable_msi`] switched it on, else by wire.
    ///
    /// # Errors
    ///
    /// Those of the connection.
    pub fn raise(&self, bits: u32) -> Result<(), Error> {
        self.write32(INTERRUPT_RAISE, bits)
    }

    /// Takes interrupts back. The wire falls when none is left.
    ///
    /// # Errors
    ///
    /// Those of the connection.
    pub fn acknowledge(&self, bits: u32) -> Result<(), Error> {
        self.write32(INTERRUPT_ACKNOWLEDGE, bits)
    }

    /// Which interrupts are raised.
    ///
    /// # Errors
    ///
    /// Those of the connection.
    pub fn raised(&self) -> Result<u32, Error> {
        self.read32(INTERRUPT_STATUS)
    }
}

/// A DMA between memory and the device's buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EduDma {
    /// Where in memory, as the device addresses it.
    pub memory: Iova,
    /// Where in the buffer.
    pub offset: u64,
    /// How many bytes; they must not pass the end of the buffer.
    pub len: u64,
    /// Which way.
    pub direction: Direction,
}

/// Which way a DMA goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// From memory to the device.
    ToDevice,
    /// From the device to memory.
    FromDevice,
}
