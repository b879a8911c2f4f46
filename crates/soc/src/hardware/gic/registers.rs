//! Where the registers of a GICv2 are, and what their bits mean.
//!
//! From the Arm Generic Interrupt Controller Architecture Specification, architecture version 2.0 (Arm IHI 0048B.b):
//! tables 4-1 (distributor), 4-2 (CPU interface) and those of 5.3 (virtual interface control) and 5.5 (virtual CPU
//! interface). These constants are the model's own; a driver has others, so that a slip in either is noticed.

/// Registers of the distributor, by offset in its frame (4.1.2).
pub mod distributor {
    /// `GICD_CTLR`: which groups are forwarded to the CPU interfaces (4.3.1).
    pub const CTLR: u32 = 0x000;
    /// `GICD_TYPER`: how many interrupts and CPUs there are (4.3.2).
    pub const TYPER: u32 = 0x004;
    /// `GICD_IIDR`: who made it (4.3.3).
    pub const IIDR: u32 = 0x008;
    /// `GICD_IGROUPRn`: one bit an interrupt, its group (4.3.4).
    pub const IGROUPR: u32 = 0x080;
    /// `GICD_ISENABLERn`: one bit an interrupt, writing one enables it (4.3.5).
    pub const ISENABLER: u32 = 0x100;
    /// `GICD_ICENABLERn`: writing one disables it (4.3.6).
    pub const ICENABLER: u32 = 0x180;
    /// `GICD_ISPENDRn`: writing one makes it pending (4.3.7).
    pub const ISPENDR: u32 = 0x200;
    /// `GICD_ICPENDRn`: writing one takes that back (4.3.8).
    pub const ICPENDR: u32 = 0x280;
    /// `GICD_ISACTIVERn`: writing one makes it active (4.3.9).
    pub const ISACTIVER: u32 = 0x300;
    /// `GICD_ICACTIVERn`: writing one deactivates it (4.3.10).
    pub const ICACTIVER: u32 = 0x380;
    /// `GICD_IPRIORITYRn`: one byte an interrupt, lower is more urgent (4.3.11).
    pub const IPRIORITYR: u32 = 0x400;
    /// `GICD_ITARGETSRn`: one byte an interrupt, one bit a CPU (4.3.12).
    pub const ITARGETSR: u32 = 0x800;
    /// `GICD_ICFGRn`: two bits an interrupt, the upper one says edge-triggered (4.3.13).
    pub const ICFGR: u32 = 0xc00;
    /// One past the last `GICD_ICFGRn`.
    pub const ICFGR_END: u32 = 0xd00;
    /// `GICD_SGIR`: sends a software-generated interrupt (4.3.15).
    pub const SGIR: u32 = 0xf00;
    /// `GICD_CPENDSGIRn`: one byte an SGI, one bit a source CPU, writing one takes it back (4.3.16).
    pub const CPENDSGIR: u32 = 0xf10;
    /// `GICD_SPENDSGIRn`: writing one makes it pending (4.3.17).
    pub const SPENDSGIR: u32 = 0xf20;
    /// One past the last `GICD_SPENDSGIRn`.
    pub const SPENDSGIR_END: u32 = 0xf30;
    /// The identification registers (4.3.18).
    pub const IDENTIFICATION: u32 = 0xfd0;
    /// One past the last register.
    pub const END: u32 = 0x1000;

    /// `GICD_CTLR.EnableGrp0`.
    pub const CTLR_ENABLE_GROUP_0: u32 = 1 << 0;
    /// `GICD_CTLR.EnableGrp1`.
    pub const CTLR_ENABLE_GROUP_1: u32 = 1 << 1;
    /// `GICD_IIDR` of a GIC-400 r0p1 (Arm DDI 0471B).
    pub const IIDR_VALUE: u32 = 0x0200_143b;
    /// The identification registers of a GIC-400, one byte every four bytes from [`IDENTIFICATION`]: peripheral id 4
    /// to 7, 0 to 3, component id 0 to 3 (Arm DDI 0471B). Peripheral id 2 says architecture version 2.
    pub const IDENTIFICATION_VALUES: [u8; 12] =
        [0x04, 0x00, 0x00, 0x00, 0x90, 0xb4, 0x2b, 0x00, 0x0d, 0xf0, 0x05, 0xb1];
}

/// Registers of a CPU interface, physical (4.1.3) and virtual (5.5), by offset in its frame.
pub mod cpu_interface {
    /// `CTLR`: what is signalled, and how (4.4.1).
    pub const CTLR: u32 = 0x0000;
    /// `PMR`: only what is more urgent than this is signalled (4.4.2).
    pub const PMR: u32 = 0x0004;
    /// `BPR`: how many bits of a priority decide on preemption (4.4.3).
    pub const BPR: u32 = 0x0008;
    /// `IAR`: reading acknowledges (4.4.4).
    pub const IAR: u32 = 0x000c;
    /// `EOIR`: writing ends (4.4.5).
    pub const EOIR: u32 = 0x0010;
    /// `RPR`: the running priority (4.4.6).
    pub const RPR: u32 = 0x0014;
    /// `HPPIR`: the most urgent pending interrupt (4.4.7).
    pub const HPPIR: u32 = 0x0018;
    /// `ABPR`: `BPR` of group 1 (4.4.8).
    pub const ABPR: u32 = 0x001c;
    /// `AIAR`: `IAR` of group 1 (4.4.9).
    pub const AIAR: u32 = 0x0020;
    /// `AEOIR`: `EOIR` of group 1 (4.4.10).
    pub const AEOIR: u32 = 0x0024;
    /// `AHPPIR`: `HPPIR` of group 1 (4.4.11).
    pub const AHPPIR: u32 = 0x0028;
    /// `APR0`: one bit for each priority of group 0 that runs (4.4.12). With 5 bits of priority there is only one.
    pub const APR: u32 = 0x00d0;
    /// `NSAPR0`: the same of group 1 (4.4.13). The virtual interface has none: its `APR` is of both groups.
    pub const NSAPR: u32 = 0x00e0;
    /// `IIDR`: who made it (4.4.14).
    pub const IIDR: u32 = 0x00fc;
    /// `DIR`: writing deactivates (4.4.15).
    pub const DIR: u32 = 0x1000;

    /// `CTLR.EnableGrp0`.
    pub const CTLR_ENABLE_GROUP_0: u32 = 1 << 0;
    /// `CTLR.EnableGrp1`.
    pub const CTLR_ENABLE_GROUP_1: u32 = 1 << 1;
    /// `CTLR.AckCtl`: `IAR` acknowledges group 1 too.
    pub const CTLR_ACKNOWLEDGE: u32 = 1 << 2;
    /// `CTLR.FIQEn`: group 0 is signalled as FIQ.
    pub const CTLR_FIQ: u32 = 1 << 3;
    /// `CTLR.CBPR`: `BPR` is of group 1 too.
    pub const CTLR_COMMON_BINARY_POINT: u32 = 1 << 4;
    /// `CTLR.EOImode`: `EOIR` drops the priority only.
    pub const CTLR_EOI_MODE: u32 = 1 << 9;
    /// The bits that exist without the Security Extensions. Nothing is wired to the bypass inputs, so that their
    /// disable bits read as zero.
    pub const CTLR_MASK: u32 = CTLR_ENABLE_GROUP_0
        | CTLR_ENABLE_GROUP_1
        | CTLR_ACKNOWLEDGE
        | CTLR_FIQ
        | CTLR_COMMON_BINARY_POINT
        | CTLR_EOI_MODE;
    /// The least `BPR` with 5 bits of priority.
    pub const BPR_LEAST: u8 = 2;
    /// The least `ABPR`: it counts from one more than `BPR`.
    pub const ABPR_LEAST: u8 = 3;
    /// `IIDR` of a GIC-400 r0p1 (Arm DDI 0471B).
    pub const IIDR_VALUE: u32 = 0x0202_143b;

    /// Acknowledged: nothing was there (3.2.5 of the manual).
    pub const SPURIOUS: u32 = 1023;
    /// Acknowledged: a group 1 interrupt is there, and this register does not acknowledge those.
    pub const GROUP_1_PENDING: u32 = 1022;
    /// Numbers from here on are not interrupts.
    pub const SPECIAL: u32 = 1020;
}

/// Registers of the virtual interface control, by offset in the accessing CPU's frame (5.3).
pub mod virtual_interface {
    /// `GICH_HCR`: control (5.3.1).
    pub const HCR: u32 = 0x000;
    /// `GICH_VTR`: how many list registers and bits of priority there are (5.3.2).
    pub const VTR: u32 = 0x004;
    /// `GICH_VMCR`: the virtual CPU interface's registers in one word (5.3.3).
    pub const VMCR: u32 = 0x008;
    /// `GICH_MISR`: why there is a maintenance interrupt (5.3.4).
    pub const MISR: u32 = 0x010;
    /// `GICH_EISR0`: list registers whose interrupt has ended and was to be told of (5.3.5).
    pub const EISR0: u32 = 0x020;
    /// `GICH_EISR1`: the same of list registers 32 to 63.
    pub const EISR1: u32 = 0x024;
    /// `GICH_ELRSR0`: list registers that are free (5.3.6).
    pub const ELRSR0: u32 = 0x030;
    /// `GICH_ELRSR1`: the same of list registers 32 to 63.
    pub const ELRSR1: u32 = 0x034;
    /// `GICH_APR`: one bit for each priority that runs (5.3.7).
    pub const APR: u32 = 0x0f0;
    /// `GICH_LR0`, one word each (5.3.8).
    pub const LR: u32 = 0x100;

    /// `GICH_HCR.En`: the virtual interface signals.
    pub const HCR_ENABLE: u32 = 1 << 0;
    /// `GICH_HCR.UIE`: tell when at most one list register is in use.
    pub const HCR_UNDERFLOW: u32 = 1 << 1;
    /// `GICH_HCR.LRENPIE`: tell when an interrupt was ended that no list register has.
    pub const HCR_NOT_PRESENT: u32 = 1 << 2;
    /// `GICH_HCR.NPIE`: tell when no list register is pending.
    pub const HCR_NO_PENDING: u32 = 1 << 3;
    /// `GICH_HCR.VGrp0EIE`: tell when the guest has group 0 enabled.
    pub const HCR_GROUP_0_ENABLED: u32 = 1 << 4;
    /// `GICH_HCR.VGrp0DIE`: tell when the guest has group 0 disabled.
    pub const HCR_GROUP_0_DISABLED: u32 = 1 << 5;
    /// `GICH_HCR.VGrp1EIE`: tell when the guest has group 1 enabled.
    pub const HCR_GROUP_1_ENABLED: u32 = 1 << 6;
    /// `GICH_HCR.VGrp1DIE`: tell when the guest has group 1 disabled.
    pub const HCR_GROUP_1_DISABLED: u32 = 1 << 7;
    /// `GICH_HCR.EOICount` begins at this bit and goes to the top: ends of interrupts that no list register has.
    pub const HCR_EOI_COUNT: u32 = 27;
    /// The bits of `GICH_HCR` that exist.
    pub const HCR_MASK: u32 = 0xff | 0x1f << HCR_EOI_COUNT;

    /// `GICH_MISR.EOI`; the other bits are at the places of their enable bits in `GICH_HCR`.
    pub const MISR_EOI: u32 = 1 << 0;
    /// `GICH_VMCR.VMABP` begins at this bit; three bits.
    pub const VMCR_ABPR: u32 = 18;
    /// `GICH_VMCR.VMBP` begins at this bit; three bits.
    pub const VMCR_BPR: u32 = 21;
    /// `GICH_VMCR.VMPriMask` begins at this bit and goes to the top: the upper five bits of `PMR`.
    pub const VMCR_PMR: u32 = 27;
}
