//! The registers of a `GICv2` distributor. Sections are those of Arm IHI 0048B.b; the map is 4.1.2.

use super::IIDR;
use super::register::Content::{Constant, Each, Whole, Zero};
use super::register::Each as Of;
use super::register::Whole::{Control, Send, Type};
use super::register::Widths::{Word, WordOrByte};
use super::register::{Row, row};

/// `ICPIDR2`: version 2 of the architecture in bits 7:4, and no company's JEP106 code.
const PIDR2: u32 = 2 << 4;

/// 4 KiB. The bits of interrupts 0 to 31 are those of the vCPU that looks.
#[rustfmt::skip]
pub(super) const DISTRIBUTOR: &[Row] = &[
    row("GICD_CTLR",       "4.3.1",  0x000, 0x004, Word,       Whole(Control)),
    row("GICD_TYPER",      "4.3.2",  0x004, 0x008, Word,       Whole(Type)),
    row("GICD_IIDR",       "4.3.3",  0x008, 0x00C, Word,       Constant(IIDR)),
    row("GICD_IGROUPR",    "4.3.4",  0x080, 0x100, Word,       Each(1, Of::Group)),
    row("GICD_ISENABLER",  "4.3.5",  0x100, 0x180, Word,       Each(1, Of::SetEnable)),
    row("GICD_ICENABLER",  "4.3.6",  0x180, 0x200, Word,       Each(1, Of::ClearEnable)),
    row("GICD_ISPENDR",    "4.3.7",  0x200, 0x280, Word,       Each(1, Of::SetPending)),
    row("GICD_ICPENDR",    "4.3.8",  0x280, 0x300, Word,       Each(1, Of::ClearPending)),
    row("GICD_ISACTIVER",  "4.3.9",  0x300, 0x380, Word,       Each(1, Of::SetActive)),
    row("GICD_ICACTIVER",  "4.3.10", 0x380, 0x400, Word,       Each(1, Of::ClearActive)),
    row("GICD_IPRIORITYR", "4.3.11", 0x400, 0x7FC, WordOrByte, Each(8, Of::Priority)),
    row("GICD_ITARGETSR",  "4.3.12", 0x800, 0xBFC, WordOrByte, Each(8, Of::Targets)),
    row("GICD_ICFGR",      "4.3.13", 0xC00, 0xD00, Word,       Each(2, Of::Configuration)),
    // Of use to a Secure guest only.
    row("GICD_NSACR",      "4.3.14", 0xE00, 0xF00, Word,       Zero),
    row("GICD_SGIR",       "4.3.15", 0xF00, 0xF04, Word,       Whole(Send)),
    row("GICD_CPENDSGIR",  "4.3.16", 0xF10, 0xF20, WordOrByte, Each(8, Of::ClearSenders)),
    row("GICD_SPENDSGIR",  "4.3.17", 0xF20, 0xF30, WordOrByte, Each(8, Of::SetSenders)),
    row("ICPIDR2",         "4.3.18", 0xFE8, 0xFEC, Word,       Constant(PIDR2)),
];
