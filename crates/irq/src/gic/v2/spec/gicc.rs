//! The CPU interface (4.1.3, 4.4): a window of 8 KiB, banked by CPU.

use crate::gic::Field;

/// CPU interface control (4.4.1).
pub const GICC_CTLR: u32 = 0x0000;
/// Priority mask: interrupts of a lower value are signalled (4.4.2).
pub const GICC_PMR: u32 = 0x0004;
/// Binary point: which bits of the priority decide on preemption (4.4.3).
pub const GICC_BPR: u32 = 0x0008;
/// Interrupt acknowledge, read-only (4.4.4).
pub const GICC_IAR: u32 = 0x000C;
/// End of interrupt, write-only (4.4.5).
pub const GICC_EOIR: u32 = 0x0010;
/// Running priority, read-only (4.4.6).
pub const GICC_RPR: u32 = 0x0014;
/// Highest priority pending interrupt, read-only (4.4.7).
pub const GICC_HPPIR: u32 = 0x0018;
/// Binary point of group 1 (4.4.8).
pub const GICC_ABPR: u32 = 0x001C;
/// Interrupt acknowledge of group 1, read-only (4.4.9).
pub const GICC_AIAR: u32 = 0x0020;
/// End of interrupt of group 1, write-only (4.4.10).
pub const GICC_AEOIR: u32 = 0x0024;
/// Active priorities, four registers (4.4.12).
pub const GICC_APR: u32 = 0x00D0;
/// Active priorities of group 1, four registers (4.4.13).
pub const GICC_NSAPR: u32 = 0x00E0;
/// Identification, read-only (4.4.14).
pub const GICC_IIDR: u32 = 0x00FC;
/// Deactivates an interrupt, write-only (4.4.15).
pub const GICC_DIR: u32 = 0x1000;

/// How many words of [`GICC_APR`] and of [`GICC_NSAPR`] there are.
pub const GICC_APR_WORDS: u32 = 4;

/// `GICC_CTLR` \[0\]: signals interrupts of group 0; from the Non-secure state, of group 1.
pub const GICC_CTLR_ENABLE_GRP0: Field = Field::new(0, 0);
/// `GICC_CTLR` \[1\]: signals interrupts of group 1.
pub const GICC_CTLR_ENABLE_GRP1: Field = Field::new(1, 1);
/// `GICC_CTLR` \[3\]: group 0 is signalled as FIQ.
pub const GICC_CTLR_FIQ_EN: Field = Field::new(3, 3);
/// `GICC_CTLR` \[8:5\]: keep legacy inputs from bypassing the GIC; from the Non-secure state \[6:5\].
pub const GICC_CTLR_BYPASS_DISABLE: Field = Field::new(8, 5);
/// `GICC_CTLR` \[9\]: the end of an interrupt drops its priority and leaves it active (`EOImode` of the state that
/// accesses it).
pub const GICC_CTLR_EOI_MODE: Field = Field::new(9, 9);

/// `GICC_IAR` \[9:0\]: the interrupt's number.
pub const GICC_IAR_INTERRUPT_ID: Field = Field::new(9, 0);
/// `GICC_IAR` \[12:10\]: of a software-generated interrupt, the CPU interface that sent it.
pub const GICC_IAR_CPUID: Field = Field::new(12, 10);
