//! A GICv2 with virtualization extensions at register level, of the shape of Arm's GIC-400.
//!
//! From the Arm Generic Interrupt Controller Architecture Specification, architecture version 2.0 (Arm IHI 0048B.b);
//! section numbers are its own. Where that leaves a choice, the model does what a GIC-400 does (Arm DDI 0471B).
//!
//! ```
//! use vcm_soc::hardware::Level;
//! use vcm_soc::hardware::gic::registers::{cpu_interface as gicc, distributor as gicd, virtual_interface as gich};
//! use vcm_soc::hardware::gic::{Config, Frame, Gic, Width};
//!
//! let mut gic = Gic::new(Config { cpus: 1, interrupts: 64, list_registers: 4 })?;
//! gic.write(0, Frame::Distributor, gicd::CTLR, Width::Word, 1);
//! gic.write(0, Frame::Distributor, gicd::ISENABLER + 4, Width::Word, 1 << 8);
//! gic.write(0, Frame::CpuInterface, gicc::PMR, Width::Word, 0xf8);
//! gic.write(0, Frame::CpuInterface, gicc::CTLR, Width::Word, gicc::CTLR_EOI_MODE | 1);
//!
//! // A device raises its line; the host takes the interrupt, and drops its priority only.
//! gic.set_line(40, Level::High)?;
//! assert_eq!(gic.irq(0), Level::High);
//! assert_eq!(gic.read(0, Frame::CpuInterface, gicc::IAR, Width::Word), 40);
//! gic.write(0, Frame::CpuInterface, gicc::EOIR, Width::Word, 40);
//!
//! // It gives it to the guest as interrupt 50: HW bit, pending, physical 40.
//! gic.write(0, Frame::VirtualInterface, gich::HCR, Width::Word, 1);
//! gic.write(0, Frame::VirtualInterface, gich::VMCR, Width::Word, 0x1f << 27 | 1);
//! gic.write(0, Frame::VirtualInterface, gich::LR, Width::Word, 1 << 31 | 1 << 28 | 40 << 10 | 50);
//! assert_eq!((gic.irq(0), gic.virtual_irq(0)), (Level::Low, Level::High));
//!
//! // The guest takes and ends it. That deactivates interrupt 40, whose line is still high: it comes again.
//! assert_eq!(gic.read(0, Frame::VirtualCpuInterface, gicc::IAR, Width::Word), 50);
//! gic.write(0, Frame::VirtualCpuInterface, gicc::EOIR, Width::Word, 50);
//! assert_eq!(gic.irq(0), Level::High);
//! assert_eq!(gic.take_finding(), None);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What it is
//! - No Security Extensions: every access sees everything, both groups exist, `GICC_CTLR.EOImode` is bit 9.
//! - Five bits of priority: the lower three of a priority, and of `GICC_PMR`, read as zero.
//! - SGIs are always enabled and edge-triggered. PPIs can be configured as SPIs can.
//! - An SPI is active or not, whatever CPU took it (the 1-N model): only one of its targets takes it, and any CPU can
//!   deactivate it.
//! - An SGI is pending for each source by itself, and active for all of them together.
//! - Inputs are high when active. `GICH`'s maintenance interrupt of a CPU is its PPI 25.
//! - Signals are what they are at once, after every access and every change of a line.
//! - Of a list register whose virtual number is 1020 to 1023, nothing is signalled.
//!
//! # The oracle
//! The architecture leaves open what happens when software breaks its rules. The model does something harmless, and
//! keeps a [`Finding`] that tells the story. A [`Misuse`] is the lesser thing: an access to no register, or one that
//! has no meaning; a guest can make those.
#![doc = include_str!("deviations.md")]

mod access;
mod config;
mod cpu_interface;
mod distributor;
mod distributor_registers;
mod finding;
mod interface;
mod list_register;
mod misuse;
pub mod registers;
mod state;
mod virtual_cpu_interface;
mod virtual_interface;

pub use access::{Counters, Frame, Width};
pub use config::{BadConfig, Config, NoLine};
pub use finding::{Deactivation, Finding, FindingKind};
pub use misuse::Misuse;
pub use state::State;

use super::Level;
use distributor::{PRIVATE, SGIS};
use finding::Standing;
use interface::Signal;
use misuse::Misuses;

/// The number of the maintenance interrupt's PPI, as in a GIC-400 (Arm DDI 0471B).
pub const MAINTENANCE: u32 = 25;

/// A GIC.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gic {
    config: Config,
    state: State,
    /// By CPU.
    counters: Vec<Counters>,
    /// By CPU.
    standing: Vec<Standing>,
    misuses: Misuses,
    findings: Vec<Finding>,
    /// Accesses so far.
    access: u64,
}

impl Gic {
    /// A GIC after reset.
    ///
    /// # Errors
    /// [`BadConfig`].
    pub fn new(config: Config) -> Result<Self, BadConfig> {
        if !(1..=8).contains(&config.cpus) {
            return Err(BadConfig { what: "CPUs: none, or more than 8" });
        }
        let whole = config.interrupts.is_multiple_of(32) && (PRIVATE..=992).contains(&config.interrupts);
        if !whole && config.interrupts != 1020 {
            return Err(BadConfig { what: "interrupts: neither a multiple of 32 from 32 to 992, nor 1020" });
        }
        if !(1..=16).contains(&config.list_registers) {
            return Err(BadConfig { what: "list registers: none, or more than 16" });
        }
        Ok(Self {
            config,
            state: State::new(&config),
            counters: vec![Counters::default(); config.cpus],
            standing: vec![Standing::default(); config.cpus],
            misuses: Misuses::default(),
            findings: Vec::new(),
            access: 0,
        })
    }

    /// What it consists of.
    pub const fn config(&self) -> Config {
        self.config
    }

    /// All that decides on how it goes on.
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// What it has counted for `cpu`; nothing for a CPU that does not exist.
    pub fn counters(&self, cpu: usize) -> Counters {
        self.counters.get(cpu).copied().unwrap_or_default()
    }

    /// Accesses that made no sense, the oldest first.
    pub fn misuses(&self) -> &[Misuse] {
        self.misuses.all()
    }

    /// Takes the oldest note of misuse.
    pub fn take_misuse(&mut self) -> Option<Misuse> {
        self.misuses.take()
    }

    /// What software did and must not do, the oldest first.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Takes the oldest finding.
    pub fn take_finding(&mut self) -> Option<Finding> {
        if self.findings.is_empty() { None } else { Some(self.findings.remove(0)) }
    }

    /// Sets the input of the SPI `interrupt`.
    ///
    /// # Errors
    /// [`NoLine`] when `interrupt` is not an SPI.
    pub fn set_line(&mut self, interrupt: u32, level: Level) -> Result<(), NoLine> {
        if !(PRIVATE..self.config.interrupts).contains(&interrupt) {
            return Err(NoLine { cpu: None, interrupt });
        }
        self.state.distributor.set_line(0, interrupt, level);
        Ok(())
    }

    /// Sets the input of the PPI `interrupt` of `cpu`.
    ///
    /// # Errors
    /// [`NoLine`] when `interrupt` is not a PPI, when it is the one that the GIC itself drives ([`MAINTENANCE`]), or
    /// when there is no such CPU.
    pub fn set_private_line(&mut self, cpu: usize, interrupt: u32, level: Level) -> Result<(), NoLine> {
        let wired = (SGIS..PRIVATE).contains(&interrupt) && interrupt != MAINTENANCE;
        if !wired || cpu >= self.config.cpus {
            return Err(NoLine { cpu: Some(cpu), interrupt });
        }
        self.state.distributor.set_line(cpu, interrupt, level);
        Ok(())
    }

    fn signal(&self, cpu: usize) -> Signal {
        let interface = self.state.physical.get(cpu);
        interface.map_or(Signal::None, |physical| {
            physical.interface.signal(self.state.distributor.highest_pending(cpu))
        })
    }

    fn virtual_signal(&self, cpu: usize) -> Signal {
        self.state.virtual_interfaces.get(cpu).map_or(Signal::None, |guest| guest.signal())
    }

    /// The IRQ signal to `cpu`. Signals to a CPU that does not exist are low.
    pub fn irq(&self, cpu: usize) -> Level {
        self.signal(cpu).level(Signal::Irq)
    }

    /// The FIQ signal to `cpu`: group 0, when `GICC_CTLR.FIQEn` is set.
    pub fn fiq(&self, cpu: usize) -> Level {
        self.signal(cpu).level(Signal::Fiq)
    }

    /// The virtual IRQ signal to `cpu`.
    pub fn virtual_irq(&self, cpu: usize) -> Level {
        self.virtual_signal(cpu).level(Signal::Irq)
    }

    /// The virtual FIQ signal to `cpu`.
    pub fn virtual_fiq(&self, cpu: usize) -> Level {
        self.virtual_signal(cpu).level(Signal::Fiq)
    }

    /// The maintenance interrupt of `cpu`, which is also its PPI [`MAINTENANCE`].
    pub fn maintenance(&self, cpu: usize) -> Level {
        self.state.virtual_interfaces.get(cpu).map_or(Level::Low, |guest| guest.maintenance())
    }

    /// `cpu` reads the register at `offset` of `frame`.
    pub fn read(&mut self, cpu: usize, frame: Frame, offset: u32, width: Width) -> u32 {
        let value = self.begin(cpu, frame, width).and_then(|()| match frame {
            Frame::Distributor => self.state.distributor.read(cpu, offset, width),
            Frame::CpuInterface => self.read_cpu_interface(cpu, offset),
            Frame::VirtualInterface => self.read_virtual_interface(cpu, offset),
            Frame::VirtualCpuInterface => self.read_virtual_cpu_interface(cpu, offset),
        });
        self.finish(cpu, frame);
        value.unwrap_or_else(|what| {
            self.misuses.note(Misuse { cpu, frame, offset, width, what });
            0
        })
    }

    /// `cpu` writes the register at `offset` of `frame`.
    pub fn write(&mut self, cpu: usize, frame: Frame, offset: u32, width: Width, value: u32) {
        let outcome = self.begin(cpu, frame, width).and_then(|()| match frame {
            Frame::Distributor => self.state.distributor.write(cpu, offset, width, value),
            Frame::CpuInterface => self.write_cpu_interface(cpu, offset, value),
            Frame::VirtualInterface => self.write_virtual_interface(cpu, offset, value),
            Frame::VirtualCpuInterface => self.write_virtual_cpu_interface(cpu, offset, value),
        });
        self.finish(cpu, frame);
        if let Err(what) = outcome {
            self.misuses.note(Misuse { cpu, frame, offset, width, what });
        }
    }

    /// Counts an access, and says what forbids it whatever the register is.
    fn begin(&mut self, cpu: usize, frame: Frame, width: Width) -> Result<(), &'static str> {
        self.access += 1;
        let counters = self.counters.get_mut(cpu).ok_or("a CPU that does not exist")?;
        let counter = match frame {
            Frame::Distributor => &mut counters.distributor,
            Frame::CpuInterface => &mut counters.cpu_interface,
            Frame::VirtualInterface => &mut counters.virtual_interface,
            Frame::VirtualCpuInterface => &mut counters.virtual_cpu_interface,
        };
        *counter += 1;
        if frame != Frame::Distributor && width == Width::Byte {
            return Err("a register that is accessible by words only");
        }
        Ok(())
    }

    /// What follows from an access: the maintenance interrupt's line, and findings.
    fn finish(&mut self, cpu: usize, frame: Frame) {
        if matches!(frame, Frame::VirtualInterface | Frame::VirtualCpuInterface) && cpu < self.config.cpus {
            let before = self.state.distributor.line(cpu, MAINTENANCE);
            let now = self.maintenance(cpu);
            if before != now {
                self.state.distributor.set_line(cpu, MAINTENANCE, now);
                self.counters[cpu].maintenance += u64::from(now == Level::High);
            }
        }
        self.audit();
    }
}
