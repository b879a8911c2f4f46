//! The distributor (4.1.2, 4.3): a window of 4 KiB.

use crate::gic::Field;

/// Distributor control (4.3.1).
pub const GICD_CTLR: u32 = 0x000;
/// Type, read-only (4.3.2).
pub const GICD_TYPER: u32 = 0x004;
/// Implementer, read-only (4.3.3).
pub const GICD_IIDR: u32 = 0x008;
/// Groups: a bit for each interrupt, 1 for group 1 (4.3.4). The bits of interrupts 0 to 31 are banked by CPU here and
/// in all that follow.
pub const GICD_IGROUPR: u32 = 0x080;
/// A 1 written enables the interrupt (4.3.5).
pub const GICD_ISENABLER: u32 = 0x100;
/// A 1 written disables the interrupt (4.3.6).
pub const GICD_ICENABLER: u32 = 0x180;
/// A 1 written makes the interrupt pending (4.3.7).
pub const GICD_ISPENDR: u32 = 0x200;
/// A 1 written ends a latched pending state (4.3.8).
pub const GICD_ICPENDR: u32 = 0x280;
/// A 1 written makes the interrupt active (4.3.9).
pub const GICD_ISACTIVER: u32 = 0x300;
/// A 1 written deactivates the interrupt (4.3.10).
pub const GICD_ICACTIVER: u32 = 0x380;
/// A byte of priority for each interrupt (4.3.11); accessible by bytes.
pub const GICD_IPRIORITYR: u32 = 0x400;
/// A byte for each interrupt, of which bit n is CPU interface n (4.3.12); accessible by bytes. Those of interrupts 0
/// to 31 are read-only and answer with the reading CPU; all are 0 where there is one CPU only.
pub const GICD_ITARGETSR: u32 = 0x800;
/// Two bits for each interrupt, the upper one 1 for edges (4.3.13).
pub const GICD_ICFGR: u32 = 0xC00;
/// Sends a software-generated interrupt (4.3.15).
pub const GICD_SGIR: u32 = 0xF00;

/// `GICD_CTLR` \[0\]: forwards interrupts of group 0; from the Non-secure state, of group 1.
pub const GICD_CTLR_ENABLE_GRP0: Field = Field::new(0, 0);
/// `GICD_CTLR` \[1\]: forwards interrupts of group 1.
pub const GICD_CTLR_ENABLE_GRP1: Field = Field::new(1, 1);

/// `GICD_TYPER` \[4:0\]: a 32nd of the number of interrupts, minus 1. The highest is 1019 whatever this says.
pub const GICD_TYPER_IT_LINES_NUMBER: Field = Field::new(4, 0);
/// `GICD_TYPER` \[7:5\]: the number of CPU interfaces, minus 1.
pub const GICD_TYPER_CPU_NUMBER: Field = Field::new(7, 5);
/// `GICD_TYPER` \[10\]: the Security Extensions are there.
pub const GICD_TYPER_SECURITY_EXTN: Field = Field::new(10, 10);
