//! The distributor (12.8, 12.9): a window of 64 KiB. As Non-secure software of a GIC with two Security states sees it,
//! or software of a GIC with one; where they differ in what this uses, the line says so.

use crate::gic::{Arrays, Field};

/// Control.
pub const GICD_CTLR: u32 = 0x0000;
/// Type, read-only.
pub const GICD_TYPER: u32 = 0x0004;
/// Implementer, read-only.
pub const GICD_IIDR: u32 = 0x0008;
/// Two words for each of interrupts 0 to 1019: where it goes, with [`GICD_CTLR_ARE`].
pub const GICD_IROUTER: u32 = 0x6000;
/// [`GICD_IROUTER`] of extended interrupts.
pub const GICD_IROUTER_E: u32 = 0x8000;

/// The states of interrupts 32 to 1019, by number. What is below is in redistributors.
pub const GICD_ARRAYS: Arrays = Arrays {
    group: 0x0080,
    set_enable: 0x0100,
    clear_enable: 0x0180,
    set_pending: 0x0200,
    clear_pending: 0x0280,
    set_active: 0x0300,
    clear_active: 0x0380,
    priority: 0x0400,
    configuration: 0x0C00,
};

/// The states of extended interrupts, by number from 4096 on.
pub const GICD_EXTENDED_ARRAYS: Arrays = Arrays {
    group: 0x1000,
    set_enable: 0x1200,
    clear_enable: 0x1400,
    set_pending: 0x1600,
    clear_pending: 0x1800,
    set_active: 0x1A00,
    clear_active: 0x1C00,
    priority: 0x2000,
    configuration: 0x3000,
};

/// `GICD_CTLR` \[0\]: forwards group 1 without affinity routing (`EnableGrp1`); with one Security state, group 0.
pub const GICD_CTLR_ENABLE_0: Field = Field::new(0, 0);
/// `GICD_CTLR` \[1\]: forwards group 1 with affinity routing (`EnableGrp1A`); with one Security state, group 1.
pub const GICD_CTLR_ENABLE_1: Field = Field::new(1, 1);
/// `GICD_CTLR` \[4\]: affinity routing (`ARE_NS`, `ARE`).
pub const GICD_CTLR_ARE: Field = Field::new(4, 4);
/// `GICD_CTLR` \[31\]: a write that disabled something has not taken effect everywhere, read-only.
pub const GICD_CTLR_RWP: Field = Field::new(31, 31);

/// `GICD_TYPER` \[4:0\]: a 32nd of the number of interrupts, minus 1. The highest is 1019 whatever this says.
pub const GICD_TYPER_IT_LINES_NUMBER: Field = Field::new(4, 0);
/// `GICD_TYPER` \[8\]: there are extended shared interrupts.
pub const GICD_TYPER_ESPI: Field = Field::new(8, 8);
/// `GICD_TYPER` \[31:27\]: a 32nd of the number of extended interrupts, minus 1.
pub const GICD_TYPER_ESPI_RANGE: Field = Field::new(31, 27);

/// `GICD_IROUTER` \[23:0\], lower word: affinity levels 2, 1 and 0.
pub const GICD_IROUTER_AFF_LOW: Field = Field::new(23, 0);
/// `GICD_IROUTER` \[31\], lower word: to any CPU that takes part.
pub const GICD_IROUTER_MODE: Field = Field::new(31, 31);
/// `GICD_IROUTER` \[39:32\], upper word: affinity level 3.
pub const GICD_IROUTER_AFF_3: Field = Field::new(7, 0);
