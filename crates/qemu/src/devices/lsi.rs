//! QEMU's SCSI controller LSI53C895A, as an engine that copies memory: hw/scsi/lsi53c895a.c of QEMU.
//!
//! Its processor fetches a program, the SCRIPTS, by DMA and runs it while its register is written: hundreds of DMAs in
//! one request, where the educational device makes one in several. No disk is attached.
//!
//! Source of registers and instructions: LSI53C895A PCI to Ultra2 SCSI Controller Technical Manual, 4.2 "SCSI Registers"
//! and 5 "SCSI SCRIPTS Instruction Set".

use super::DmaPage;
use crate::bus::Bus;
use crate::error::Error;
use crate::memory::Memory;
use crate::pci::{ConfigurationSpace, Decoding, PciFunction};
use crate::qtest::Width;
use std::time::{Duration, Instant};
use vcm::{Iova, PhysicalAddress};

/// DSTAT, 8 bits, cleared by reading: why it stopped.
const DSTAT: u64 = 0x0c;
/// DSTAT bit 2: at an interrupt instruction.
const STOPPED_BY_INSTRUCTION: u64 = 1 << 2;
/// ISTAT0, 8 bits. Bit 0: DSTAT has something to tell. Bit 6, written: a reset of the processor.
const ISTAT0: u64 = 0x14;
const DMA_INTERRUPT: u64 = 1;
const SOFTWARE_RESET: u64 = 1 << 6;
/// DSP, 32 bits: where the program is. Written, it starts.
const DSP: u64 = 0x2c;

/// A memory move: its count is in the lower 24 bits, the source and the destination in the two words behind it.
const MEMORY_MOVE: u32 = 0xc000_0000;
/// The instruction could take 24 bits. This much keeps a program short, even if every word of it is refused.
const LONGEST_MOVE: u32 = 0x1_0000;
/// Stops, whatever is compared; a word follows that means nothing here.
const INTERRUPT: [u32; 2] = [0x9808_0000, 0];

/// How many moves fit into a page.
const MOVES: usize = (4096 - 8) / 12;

/// How long a program may take.
const PATIENCE: Duration = Duration::from_secs(4);

/// Memory that is copied. Addresses are as the device has them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LsiMove {
    /// From where, below 4 GiB.
    pub from: Iova,
    /// To where, below 4 GiB.
    pub to: Iova,
    /// How many bytes: 1 to 0x1_0000.
    pub len: u32,
}

/// The device, with its registers and DMA switched on.
///
/// What the IOMMU refuses it says nothing of: reads give zeros, writes are dropped, and the next move comes all the same.
#[derive(Clone, Debug)]
pub struct Lsi {
    bus: Bus,
    memory: Memory,
    function: PciFunction,
    registers: PhysicalAddress,
    patience: Duration,
}

impl Lsi {
    /// Vendor and device id.
    pub const ID: (u16, u16) = (0x1000, 0x0012);

    /// Takes `function` into use.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] when it is not such a device, or the machine's memory cannot be reached; and those of the
    /// connection.
    pub fn new(
        bus: &Bus,
        space: &mut impl ConfigurationSpace,
        function: &PciFunction,
    ) -> Result<Self, Error> {
        if (function.vendor, function.device) != Self::ID {
            return Err(function.wrong("not an LSI53C895A"));
        }
        // BAR 0 has the same registers as ports, BAR 2 the processor's own memory.
        let registers =
            function.bar(1).ok_or_else(|| function.wrong("its registers have no address"))?.address;
        let memory =
            bus.memory().ok_or_else(|| function.wrong("the machine's RAM cannot be reached"))?.clone();
        function.set_decoding(space, Decoding::MemoryAndBusMaster)?;
        let (bus, function) = (bus.clone(), function.clone());
        Ok(Self { bus, memory, function, registers, patience: PATIENCE })
    }

    /// The same device; its programs may take so long. 4 s if nothing is said.
    pub fn with_patience(&self, patience: Duration) -> Self {
        Self { patience, ..self.clone() }
    }

    /// The function that it is: its [`requester id`](crate::PciAddress::requester_id) is how the IOMMU knows it.
    pub fn function(&self) -> &PciFunction {
        &self.function
    }

    /// Copies memory, one move after the other, and waits for the end. The device reads its program from `program`,
    /// whose contents are lost; the IOMMU must let it, below 4 GiB.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] for moves and pages that cannot be, when nothing is copied, and when the device stopped for
    /// another reason than the program's end; [`Error::TimedOut`], as when it cannot read its program: it is reset then;
    /// those of the connection.
    pub fn run(&self, program: DmaPage, moves: &[LsiMove]) -> Result<(), Error> {
        let start = self.word(program.device, 4096)?;
        for &LsiMove { from, to, len } in moves {
            if len == 0 || len > LONGEST_MOVE {
                return Err(self
                    .function
                    .wrong(format!("a move of {len:#x} bytes: 1 to {LONGEST_MOVE:#x} can be")));
            }
            self.word(from, len)?;
            self.word(to, len)?;
        }
        for moves in moves.chunks(MOVES) {
            let each = moves.iter().flat_map(|&LsiMove { from, to, len }| {
                [MEMORY_MOVE | len, from.raw() as u32, to.raw() as u32]
            });
            let text: Vec<u8> = each.chain(INTERRUPT).flat_map(u32::to_le_bytes).collect();
            self.memory.write(program.memory, &text)?;
            self.execute(start)?;
        }
        Ok(())
    }

    /// An address and a length below 4 GiB.
    fn word(&self, address: Iova, len: u32) -> Result<u32, Error> {
        let inside =
            address.raw().checked_add(u64::from(len) - 1).is_some_and(|last| last <= u32::MAX.into());
        if !inside {
            return Err(self.function.wrong(format!("{len:#x} bytes at {address} are not below 4 GiB")));
        }
        Ok(address.raw() as u32)
    }

    fn execute(&self, program: u32) -> Result<(), Error> {
        let at = |offset| PhysicalAddress::new(self.registers.raw().wrapping_add(offset));
        let mut status = self.bus.batch(|batch| {
            batch.read(Width::Bits8, at(DSTAT)); // What an earlier one left.
            batch.write(Width::Bits32, at(DSP), program.into())?;
            batch.read(Width::Bits8, at(ISTAT0));
            Ok(())
        })?;
        let begun = Instant::now();
        // After 100 instructions it goes on by a timer (`LSI_MAX_INSN`).
        while status.last().is_none_or(|status| status & DMA_INTERRUPT == 0) {
            if begun.elapsed() > self.patience {
                self.bus.write(Width::Bits8, at(ISTAT0), SOFTWARE_RESET)?;
                let asked = format!("a program of {} at {program:#x}", self.function.address);
                return Err(Error::TimedOut { asked, waited: self.patience, stderr: String::new() });
            }
            status = vec![self.bus.read(Width::Bits8, at(ISTAT0))?];
        }
        let why = self.bus.read(Width::Bits8, at(DSTAT))?;
        if why & STOPPED_BY_INSTRUCTION == 0 {
            return Err(self.function.wrong(format!("it stopped for another reason: DSTAT is {why:#x}")));
        }
        Ok(())
    }
}
