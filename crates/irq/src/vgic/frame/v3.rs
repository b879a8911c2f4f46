//! The registers of a `GICv3` distributor and redistributor. Sections are those of Arm IHI 0069H; the maps are 12.8 and
//! 12.10.

use super::IIDR;
use super::register::Content::{Constant, Each, Route, Whole, Zero};
use super::register::Each as Of;
use super::register::Whole::{Control, RedistributorType, Type};
use super::register::Widths::{DoubleWordOrWord, Word, WordOrByte};
use super::register::{Row, row};

/// `GICD_PIDR2` and `GICR_PIDR2`: version 3 of the architecture in bits 7:4, and no company's JEP106 code.
const PIDR2: u32 = 3 << 4;

/// 64 KiB. The registers of interrupts 0 to 31 read as zero, since affinity routing is on.
#[rustfmt::skip]
pub(super) const DISTRIBUTOR: &[Row] = &[
    row("GICD_CTLR",       "12.9", 0x0000, 0x0004, Word,             Whole(Control)),
    row("GICD_TYPER",      "12.9", 0x0004, 0x0008, Word,             Whole(Type)),
    row("GICD_IIDR",       "12.9", 0x0008, 0x000C, Word,             Constant(IIDR)),
    // Features of GICv4.1: none.
    row("GICD_TYPER2",     "12.9", 0x000C, 0x0010, Word,             Zero),
    // Optional: errors of accesses are not reported.
    row("GICD_STATUSR",    "12.9", 0x0010, 0x0014, Word,             Zero),
    row("GICD_IGROUPR",    "12.9", 0x0080, 0x0100, Word,             Each(1, Of::Group)),
    row("GICD_ISENABLER",  "12.9", 0x0100, 0x0180, Word,             Each(1, Of::SetEnable)),
    row("GICD_ICENABLER",  "12.9", 0x0180, 0x0200, Word,             Each(1, Of::ClearEnable)),
    row("GICD_ISPENDR",    "12.9", 0x0200, 0x0280, Word,             Each(1, Of::SetPending)),
    row("GICD_ICPENDR",    "12.9", 0x0280, 0x0300, Word,             Each(1, Of::ClearPending)),
    row("GICD_ISACTIVER",  "12.9", 0x0300, 0x0380, Word,             Each(1, Of::SetActive)),
    row("GICD_ICACTIVER",  "12.9", 0x0380, 0x0400, Word,             Each(1, Of::ClearActive)),
    row("GICD_IPRIORITYR", "12.9", 0x0400, 0x07FC, WordOrByte,       Each(8, Of::Priority)),
    // Without affinity routing only.
    row("GICD_ITARGETSR",  "12.9", 0x0800, 0x0BFC, WordOrByte,       Zero),
    row("GICD_ICFGR",      "12.9", 0x0C00, 0x0D00, Word,             Each(2, Of::Configuration)),
    // Of use with two Security states only, as is the next.
    row("GICD_IGRPMODR",   "12.9", 0x0D00, 0x0D80, Word,             Zero),
    row("GICD_NSACR",      "12.9", 0x0E00, 0x0F00, Word,             Zero),
    // Without affinity routing only, as are the next two.
    row("GICD_SGIR",       "12.9", 0x0F00, 0x0F04, Word,             Zero),
    row("GICD_CPENDSGIR",  "12.9", 0x0F10, 0x0F20, WordOrByte,       Zero),
    row("GICD_SPENDSGIR",  "12.9", 0x0F20, 0x0F30, WordOrByte,       Zero),
    row("GICD_IROUTER",    "12.9", 0x6100, 0x7FE0, DoubleWordOrWord, Route),
    row("GICD_PIDR2",      "12.9", 0xFFE8, 0xFFEC, Word,             Constant(PIDR2)),
];

/// 128 KiB: the redistributor's own frame, and that of its vCPU's private interrupts.
#[rustfmt::skip]
pub(super) const REDISTRIBUTOR: &[Row] = &[
    // No LPIs to switch on, nothing that takes a while, no groups to keep from 1-of-N distribution.
    row("GICR_CTLR",       "12.11", 0x0_0000, 0x0_0004, Word,             Zero),
    row("GICR_IIDR",       "12.11", 0x0_0004, 0x0_0008, Word,             Constant(IIDR)),
    row("GICR_TYPER",      "12.11", 0x0_0008, 0x0_0010, DoubleWordOrWord, Whole(RedistributorType)),
    // Optional: errors of accesses are not reported.
    row("GICR_STATUSR",    "12.11", 0x0_0010, 0x0_0014, Word,             Zero),
    // Awake, always.
    row("GICR_WAKER",      "12.11", 0x0_0014, 0x0_0018, Word,             Zero),
    row("GICR_PIDR2",      "12.11", 0x0_FFE8, 0x0_FFEC, Word,             Constant(PIDR2)),
    row("GICR_IGROUPR0",   "12.11", 0x1_0080, 0x1_0084, Word,             Each(1, Of::Group)),
    row("GICR_ISENABLER0", "12.11", 0x1_0100, 0x1_0104, Word,             Each(1, Of::SetEnable)),
    row("GICR_ICENABLER0", "12.11", 0x1_0180, 0x1_0184, Word,             Each(1, Of::ClearEnable)),
    row("GICR_ISPENDR0",   "12.11", 0x1_0200, 0x1_0204, Word,             Each(1, Of::SetPending)),
    row("GICR_ICPENDR0",   "12.11", 0x1_0280, 0x1_0284, Word,             Each(1, Of::ClearPending)),
    row("GICR_ISACTIVER0", "12.11", 0x1_0300, 0x1_0304, Word,             Each(1, Of::SetActive)),
    row("GICR_ICACTIVER0", "12.11", 0x1_0380, 0x1_0384, Word,             Each(1, Of::ClearActive)),
    row("GICR_IPRIORITYR", "12.11", 0x1_0400, 0x1_0420, WordOrByte,       Each(8, Of::Priority)),
    row("GICR_ICFGR",      "12.11", 0x1_0C00, 0x1_0C08, Word,             Each(2, Of::Configuration)),
    // Of use with two Security states only, as is the next.
    row("GICR_IGRPMODR0",  "12.11", 0x1_0D00, 0x1_0D04, Word,             Zero),
    row("GICR_NSACR",      "12.11", 0x1_0E00, 0x1_0E04, Word,             Zero),
];
