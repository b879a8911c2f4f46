//! A redistributor (12.10, 12.11): two frames of 64 KiB, one for the redistributor itself and one for the private
//! interrupts of its CPU.

use crate::gic::{Arrays, Field};

/// Control.
pub const GICR_CTLR: u32 = 0x0_0000;
/// Type, two words, read-only.
pub const GICR_TYPER: u32 = 0x0_0008;
/// Power management. From the Non-secure state of a GIC with two Security states all zeros.
pub const GICR_WAKER: u32 = 0x0_0014;

/// The states of private interrupts, in the second frame: 0 to 31 by number, then extended ones from 1056 on.
pub const GICR_ARRAYS: Arrays = Arrays {
    group: 0x1_0080,
    set_enable: 0x1_0100,
    clear_enable: 0x1_0180,
    set_pending: 0x1_0200,
    clear_pending: 0x1_0280,
    set_active: 0x1_0300,
    clear_active: 0x1_0380,
    priority: 0x1_0400,
    configuration: 0x1_0C00,
};

/// `GICR_CTLR` \[3\]: a write that disabled something has not taken effect everywhere, read-only.
pub const GICR_CTLR_RWP: Field = Field::new(3, 3);

/// `GICR_TYPER` \[4\], lower word: the last redistributor of a contiguous row.
pub const GICR_TYPER_LAST: Field = Field::new(4, 4);
/// `GICR_TYPER` \[23:8\], lower word: the CPU's number.
pub const GICR_TYPER_PROCESSOR_NUMBER: Field = Field::new(23, 8);
/// `GICR_TYPER` \[31:27\], lower word: 0 no extended private interrupts, 1 up to 1087, 2 up to 1119.
pub const GICR_TYPER_PPI_NUM: Field = Field::new(31, 27);

/// `GICR_WAKER` \[1\]: the CPU sleeps, as software says.
pub const GICR_WAKER_PROCESSOR_SLEEP: Field = Field::new(1, 1);
/// `GICR_WAKER` \[2\]: the interface to the CPU is quiet, read-only.
pub const GICR_WAKER_CHILDREN_ASLEEP: Field = Field::new(2, 2);
