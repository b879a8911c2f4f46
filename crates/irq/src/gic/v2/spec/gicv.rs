//! The virtual CPU interface (5.5): the window that a guest sees where it expects its `GICC`.

/// Virtual machine control; fields as those of [`GICC_CTLR`](super::GICC_CTLR).
pub const GICV_CTLR: u32 = 0x0000;
/// Virtual priority mask.
pub const GICV_PMR: u32 = 0x0004;
/// Virtual binary point.
pub const GICV_BPR: u32 = 0x0008;
/// Virtual interrupt acknowledge, read-only.
pub const GICV_IAR: u32 = 0x000C;
/// Virtual end of interrupt, write-only.
pub const GICV_EOIR: u32 = 0x0010;
/// Virtual running priority, read-only.
pub const GICV_RPR: u32 = 0x0014;
/// Virtual highest priority pending interrupt, read-only.
pub const GICV_HPPIR: u32 = 0x0018;
/// Virtual acknowledge of group 1, read-only.
pub const GICV_AIAR: u32 = 0x0020;
/// Virtual end of interrupt of group 1, write-only.
pub const GICV_AEOIR: u32 = 0x0024;
/// Deactivates a virtual interrupt, write-only. It is in the window's second page, so that a hypervisor which wants to
/// see deactivations maps the first one only.
pub const GICV_DIR: u32 = 0x1000;
