//! QEMU's Arm `virt` machine with one parked CPU and a GICv2 with virtualization extensions.

mod batch;

pub use batch::{GicBatch, GicStep};

use crate::error::Error;
use crate::interrupt_lines::Level;
use crate::machine::Machine;
use crate::qtest::{Qtest, Width};
use crate::version::Version;
use std::ops::RangeInclusive;
use std::time::Duration;
use vcm::PhysicalAddress;

/// Where `virt` has its RAM (`VIRT_MEM` in QEMU's hw/arm/virt.c).
pub const RAM: PhysicalAddress = PhysicalAddress::new(0x4000_0000);
/// Little, since tests of the GIC need none.
const RAM_LEN: u64 = 64 << 20;

/// The INTIDs of the shared peripheral interrupts: `NUM_IRQS` of QEMU's include/hw/arm/virt.h is 256.
pub const SHARED_INTERRUPTS: RangeInclusive<u32> = 32..=287;

/// The INTID of the GIC's maintenance interrupt (`ARCH_GIC_MAINT_IRQ` of QEMU's include/hw/arm/bsa.h).
pub const MAINTENANCE_INTERRUPT: u32 = 25;

/// GICH_HCR, whose bit 0 enables the virtual CPU interface (Arm IHI 0048B.b 5.3.1).
const GICH_HCR: u64 = 0x000;
/// GICH_MISR, the causes of the maintenance interrupt (Arm IHI 0048B.b 5.3.4).
const GICH_MISR: u64 = 0x010;
/// GICC_PMR, zero after a reset (Arm IHI 0048B.b 4.4.2).
const GICC_PMR: u64 = 0x004;
/// GICC_APR0, the first of four words of active priorities (Arm IHI 0048B.b 4.4.13).
const GICC_APR: u64 = 0x0d0;
/// GICC_NSAPR0, the same of Non-secure interrupts (Arm IHI 0048B.b 4.4.14).
const GICC_NSAPR: u64 = 0x0e0;
/// GICH_APR, the guest's active priorities (Arm IHI 0048B.b 5.3.9).
const GICH_APR: u64 = 0x0f0;

/// A part of the GIC with registers of its own. Where they are: `base_memmap` in QEMU's hw/arm/virt.c.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Frame {
    /// GICD: the distributor.
    Distributor,
    /// GICC: the CPU interface of the host.
    CpuInterface,
    /// GICH: the list registers and their control.
    VirtualControl,
    /// GICV: the CPU interface of the guest.
    VirtualCpuInterface,
}

impl Frame {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::Distributor, Self::CpuInterface, Self::VirtualControl, Self::VirtualCpuInterface];

    /// Where its registers start.
    pub const fn start(self) -> PhysicalAddress {
        PhysicalAddress::new(match self {
            Self::Distributor => 0x0800_0000,
            Self::CpuInterface => 0x0801_0000,
            Self::VirtualControl => 0x0803_0000,
            Self::VirtualCpuInterface => 0x0804_0000,
        })
    }

    /// How many bytes of registers it has (Arm IHI 0048B.b chapters 4 and 5).
    #[expect(clippy::len_without_is_empty, reason = "none is empty")]
    pub const fn len(self) -> u64 {
        match self {
            Self::Distributor => 0x1000,
            Self::VirtualControl => 0x200,
            Self::CpuInterface | Self::VirtualCpuInterface => 0x2000,
        }
    }

    /// The address of a register.
    fn register(self, width: Width, offset: u64) -> Result<PhysicalAddress, Error> {
        if !offset.is_multiple_of(width.bytes()) || offset >= self.len() {
            let (len, bytes) = (self.len(), width.bytes());
            return Err(Error::argument(format!(
                "offset {offset:#x} in {self:?}: {bytes} bytes must be aligned and within {len:#x}"
            )));
        }
        Ok(PhysicalAddress::new(self.start().raw() + offset))
    }
}

/// The levels of the signals that the GIC gives to its CPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Outputs {
    /// Physical IRQ.
    pub irq: Level,
    /// Physical FIQ.
    pub fiq: Level,
    /// Virtual IRQ.
    pub virtual_irq: Level,
    /// Virtual FIQ.
    pub virtual_fiq: Level,
    /// The maintenance interrupt, which is also an input of the distributor ([`MAINTENANCE_INTERRUPT`]).
    pub maintenance: Level,
}

/// Where the GIC's outputs are observed. Both give the same; an old QEMU can only do one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Watch {
    /// At the GIC: IRQ, FIQ, vIRQ, vFIQ, maintenance.
    Gic,
    /// At the CPU, in the same order but without maintenance, which is computed from two registers.
    Cpu,
}

/// QEMU 8.2 learned to report outputs that have a name, as the GIC's have; before, the name is ignored in silence
/// ("qtest: irq_intercept_[out/in]: return FAIL if no intercepts are installed", merged in August 2023).
const REPORTS_NAMED_OUTPUTS: Version = Version::new(8, 2);

/// The machine, ready for accesses to its GIC. After the start and after [`Self::reset`] all registers have their
/// reset values, all inputs are low and no event is pending.
#[derive(Debug)]
pub struct ArmVirt {
    machine: Machine,
    gic: String,
    watch: Watch,
    /// Inputs that were raised, one bit each.
    raised: [u64; 4],
}

impl ArmVirt {
    /// Starts `qemu-system-aarch64` with time-outs of 10 s.
    ///
    /// # Errors
    ///
    /// Those of [`crate::MachineBuilder::start`], and of the connections.
    pub fn start() -> Result<Self, Error> {
        Self::start_with("qemu-system-aarch64", Duration::from_secs(10), None)
    }

    /// Starts `program`, which is a `qemu-system-aarch64`; nothing may take longer than `timeout`. Without a `watch`,
    /// it is the better one that the version can do.
    ///
    /// # Errors
    ///
    /// As [`Self::start`].
    pub fn start_with(program: &str, timeout: Duration, watch: Option<Watch>) -> Result<Self, Error> {
        let machine = Machine::builder(program)
            .arguments(["-machine", "virt,gic-version=2,virtualization=on"])
            .arguments(["-cpu", "cortex-a57", "-global", "cortex-a57-arm-cpu.start-powered-off=on"])
            .memory(RAM, RAM_LEN)
            .timeout(timeout)
            .start()?;
        let best = if machine.version() >= REPORTS_NAMED_OUTPUTS { Watch::Gic } else { Watch::Cpu };
        Self::watching(machine, watch.unwrap_or(best))
    }

    fn watching(mut machine: Machine, watch: Watch) -> Result<Self, Error> {
        let mut find = |kind: &str| {
            let path = machine.qmp.find("/machine/unattached", kind)?;
            path.ok_or_else(|| Error::argument(format!("no {kind} in the machine of {}", machine.command())))
        };
        let (gic, cpu) = (find("arm_gic")?, find("cortex-a57-arm-cpu")?);
        match watch {
            Watch::Gic => machine.qtest.irq_intercept_out(&gic, Some("sysbus-irq"))?,
            Watch::Cpu => machine.qtest.irq_intercept_in(&cpu)?,
        }
        Ok(Self { machine, gic, watch, raised: [0; 4] })
    }

    /// The machine below.
    pub fn machine(&mut self) -> &mut Machine {
        &mut self.machine
    }

    /// The GIC's path in QEMU's object model.
    pub fn gic_path(&self) -> &str {
        &self.gic
    }

    fn qtest(&mut self) -> &mut Qtest {
        &mut self.machine.qtest
    }

    /// Reads a register of 32 bits.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] when `offset` is not aligned or outside of the frame, and those of the connection.
    pub fn read32(&mut self, frame: Frame, offset: u64) -> Result<u32, Error> {
        let address = frame.register(Width::Bits32, offset)?;
        Ok(self.qtest().read(Width::Bits32, address)? as u32)
    }

    /// Reads 8 bits. Only some registers of the distributor can be accessed by bytes (Arm IHI 0048B.b 4.1.4).
    ///
    /// # Errors
    ///
    /// As [`Self::read32`].
    pub fn read8(&mut self, frame: Frame, offset: u64) -> Result<u8, Error> {
        let address = frame.register(Width::Bits8, offset)?;
        Ok(self.qtest().read(Width::Bits8, address)? as u8)
    }

    /// Writes a register of 32 bits.
    ///
    /// # Errors
    ///
    /// As [`Self::read32`].
    pub fn write32(&mut self, frame: Frame, offset: u64, value: u32) -> Result<(), Error> {
        let address = frame.register(Width::Bits32, offset)?;
        self.qtest().write(Width::Bits32, address, value.into())
    }

    /// Writes 8 bits: see [`Self::read8`].
    ///
    /// # Errors
    ///
    /// As [`Self::read32`].
    pub fn write8(&mut self, frame: Frame, offset: u64, value: u8) -> Result<(), Error> {
        let address = frame.register(Width::Bits8, offset)?;
        self.qtest().write(Width::Bits8, address, value.into())
    }

    /// Drives the input of a shared peripheral interrupt, as a device would.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] when `intid` is not in [`SHARED_INTERRUPTS`], and those of the connection.
    pub fn set_line(&mut self, intid: u32, level: Level) -> Result<(), Error> {
        let mut batch = self.batch();
        batch.set_line(intid, level)?;
        batch.run().map(drop)
    }

    /// The levels of the GIC's outputs.
    ///
    /// # Errors
    ///
    /// Those of the connection: QEMU before 8.2 must be asked about the maintenance interrupt.
    pub fn outputs(&mut self) -> Result<Outputs, Error> {
        match self.watch {
            Watch::Gic => Ok(Outputs::from_lines(self.qtest().lines())),
            Watch::Cpu => {
                let mut batch = self.batch();
                batch.read32(Frame::VirtualControl, GICH_HCR)?;
                let step = batch.run_steps()?.pop();
                Ok(step.map(|step| step.outputs).unwrap_or_default())
            }
        }
    }

    /// Accesses to be sent together: thousands in little more time than a few.
    pub fn batch(&mut self) -> GicBatch<'_> {
        GicBatch::new(self)
    }

    /// Lowers all inputs and resets the machine, so that the next test finds it as after the start.
    ///
    /// # Errors
    ///
    /// Those of the connections.
    pub fn reset(&mut self) -> Result<(), Error> {
        let raised = self.raised;
        let mut batch = self.batch();
        for intid in SHARED_INTERRUPTS {
            let bit = intid - SHARED_INTERRUPTS.start();
            if raised[bit as usize / 64] >> (bit % 64) & 1 == 1 {
                batch.set_line(intid, Level::Low)?;
            }
        }
        // QEMU's reset leaves the priorities that run, and the next end of an interrupt takes them for true.
        for offset in (0..4).flat_map(|word| [GICC_APR + 4 * word, GICC_NSAPR + 4 * word]) {
            batch.write32(Frame::CpuInterface, offset, 0)?;
        }
        batch.write32(Frame::VirtualControl, GICH_APR, 0)?;
        batch.run()?;
        self.machine.reset()?;
        // QEMU's GIC resets its registers, not its outputs: those follow at the next write to either side.
        self.write32(Frame::CpuInterface, GICC_PMR, 0)?;
        self.write32(Frame::VirtualControl, GICH_HCR, 0)?;
        self.raised = [0; 4];
        self.qtest().take_events();
        Ok(())
    }
}
