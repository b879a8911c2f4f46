//! System registers: which there are, and how they are reached.

use crate::vgic::MOST_LIST_REGISTERS;

/// The system registers of the CPU that runs this code, from EL2.
///
/// # Duties of an implementation for real hardware
///
/// - Each call is one `MRS` or `MSR` of the register, in program order.
/// - After a write, an `isb`: the back-end reads registers that an earlier write changes, and a deactivation is to be
///   seen before what follows.
/// - After a read of [`IccIar1`](SystemRegister::IccIar1), a `dsb sy`: the interrupt is active everywhere
///   before the list register that relies on it is written.
/// - Before a write of [`IccEoir1`](SystemRegister::IccEoir1) or [`IccDir`](SystemRegister::IccDir), a `dsb sy`: what
///   quieted the device has reached it. System registers are not ordered with memory by themselves.
/// - Around the guest: entering and leaving it synchronises, so what was written to `ICH` registers before applies to
///   the guest, and what is read after is what it left.
pub trait SystemRegisters {
    /// Reads the register; the upper half of a 32-bit one is 0.
    fn read(&self, register: SystemRegister) -> u64;

    /// Writes the register.
    fn write(&self, register: SystemRegister, value: u64);
}

impl<S: SystemRegisters + ?Sized> SystemRegisters for &S {
    fn read(&self, register: SystemRegister) -> u64 {
        (**self).read(register)
    }
    fn write(&self, register: SystemRegister, value: u64) {
        (**self).write(register, value);
    }
}

/// How an instruction names a system register: the immediate of `MRS` and `MSR` (Arm DDI 0487 C5.1.2), `op0` in bits
/// 15:14, `op1` in 13:11, `CRn` in 10:7, `CRm` in 6:3, `op2` in 2:0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Encoding(pub u16);

impl Encoding {
    const fn new(op0: u16, op1: u16, crn: u16, crm: u16, op2: u16) -> Self {
        Self(op0 << 14 | op1 << 11 | crn << 7 | crm << 3 | op2)
    }

    /// `op0`, `op1`, `CRn`, `CRm` and `op2`.
    pub const fn parts(self) -> [u8; 5] {
        [
            (self.0 >> 14) as u8,
            (self.0 >> 11) as u8 & 7,
            (self.0 >> 7) as u8 & 15,
            (self.0 >> 3) as u8 & 15,
            self.0 as u8 & 7,
        ]
    }
}

/// A system register that the back-end uses; its value is its encoding (Arm IHI 0069H 12.2, 12.4).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u16)]
pub enum SystemRegister {
    /// `ICC_PMR_EL1`: priority mask.
    IccPmr = Encoding::new(3, 0, 4, 6, 0).0,
    /// `ICC_IAR1_EL1`: acknowledges an interrupt of group 1, read-only.
    IccIar1 = Encoding::new(3, 0, 12, 12, 0).0,
    /// `ICC_EOIR1_EL1`: drops the priority of an interrupt of group 1, write-only.
    IccEoir1 = Encoding::new(3, 0, 12, 12, 1).0,
    /// `ICC_BPR1_EL1`: binary point of group 1.
    IccBpr1 = Encoding::new(3, 0, 12, 12, 3).0,
    /// `ICC_CTLR_EL1`: control.
    IccCtlr = Encoding::new(3, 0, 12, 12, 4).0,
    /// `ICC_IGRPEN1_EL1`: enable of group 1.
    IccIgrpen1 = Encoding::new(3, 0, 12, 12, 7).0,
    /// `ICC_DIR_EL1`: deactivates an interrupt, write-only.
    IccDir = Encoding::new(3, 0, 12, 11, 1).0,
    /// `ICC_AP1R0_EL1`: active priorities of group 1.
    IccAp1r0 = Encoding::new(3, 0, 12, 9, 0).0,
    /// `ICC_AP1R1_EL1`: active priorities of group 1.
    IccAp1r1 = Encoding::new(3, 0, 12, 9, 1).0,
    /// `ICC_AP1R2_EL1`: active priorities of group 1.
    IccAp1r2 = Encoding::new(3, 0, 12, 9, 2).0,
    /// `ICC_AP1R3_EL1`: active priorities of group 1.
    IccAp1r3 = Encoding::new(3, 0, 12, 9, 3).0,
    /// `ICC_SRE_EL2`: use of the system registers.
    IccSre = Encoding::new(3, 4, 12, 9, 5).0,
    /// `ICH_AP0R0_EL2`: virtual active priorities of group 0.
    IchAp0r0 = Encoding::new(3, 4, 12, 8, 0).0,
    /// `ICH_AP0R1_EL2`: virtual active priorities of group 0.
    IchAp0r1 = Encoding::new(3, 4, 12, 8, 1).0,
    /// `ICH_AP0R2_EL2`: virtual active priorities of group 0.
    IchAp0r2 = Encoding::new(3, 4, 12, 8, 2).0,
    /// `ICH_AP0R3_EL2`: virtual active priorities of group 0.
    IchAp0r3 = Encoding::new(3, 4, 12, 8, 3).0,
    /// `ICH_AP1R0_EL2`: virtual active priorities of group 1.
    IchAp1r0 = Encoding::new(3, 4, 12, 9, 0).0,
    /// `ICH_AP1R1_EL2`: virtual active priorities of group 1.
    IchAp1r1 = Encoding::new(3, 4, 12, 9, 1).0,
    /// `ICH_AP1R2_EL2`: virtual active priorities of group 1.
    IchAp1r2 = Encoding::new(3, 4, 12, 9, 2).0,
    /// `ICH_AP1R3_EL2`: virtual active priorities of group 1.
    IchAp1r3 = Encoding::new(3, 4, 12, 9, 3).0,
    /// `ICH_HCR_EL2`: hypervisor control.
    IchHcr = Encoding::new(3, 4, 12, 11, 0).0,
    /// `ICH_VTR_EL2`: type, read-only.
    IchVtr = Encoding::new(3, 4, 12, 11, 1).0,
    /// `ICH_MISR_EL2`: maintenance interrupt status, read-only.
    IchMisr = Encoding::new(3, 4, 12, 11, 2).0,
    /// `ICH_EISR_EL2`: list registers that were ended and asked for a maintenance interrupt, read-only.
    IchEisr = Encoding::new(3, 4, 12, 11, 3).0,
    /// `ICH_ELRSR_EL2`: empty list registers, read-only.
    IchElrsr = Encoding::new(3, 4, 12, 11, 5).0,
    /// `ICH_VMCR_EL2`: what the guest set in its CPU interface.
    IchVmcr = Encoding::new(3, 4, 12, 11, 7).0,
    /// `ICH_LR0_EL2`: list register.
    IchLr0 = Encoding::new(3, 4, 12, 12, 0).0,
    /// `ICH_LR1_EL2`: list register.
    IchLr1 = Encoding::new(3, 4, 12, 12, 1).0,
    /// `ICH_LR2_EL2`: list register.
    IchLr2 = Encoding::new(3, 4, 12, 12, 2).0,
    /// `ICH_LR3_EL2`: list register.
    IchLr3 = Encoding::new(3, 4, 12, 12, 3).0,
    /// `ICH_LR4_EL2`: list register.
    IchLr4 = Encoding::new(3, 4, 12, 12, 4).0,
    /// `ICH_LR5_EL2`: list register.
    IchLr5 = Encoding::new(3, 4, 12, 12, 5).0,
    /// `ICH_LR6_EL2`: list register.
    IchLr6 = Encoding::new(3, 4, 12, 12, 6).0,
    /// `ICH_LR7_EL2`: list register.
    IchLr7 = Encoding::new(3, 4, 12, 12, 7).0,
    /// `ICH_LR8_EL2`: list register.
    IchLr8 = Encoding::new(3, 4, 12, 13, 0).0,
    /// `ICH_LR9_EL2`: list register.
    IchLr9 = Encoding::new(3, 4, 12, 13, 1).0,
    /// `ICH_LR10_EL2`: list register.
    IchLr10 = Encoding::new(3, 4, 12, 13, 2).0,
    /// `ICH_LR11_EL2`: list register.
    IchLr11 = Encoding::new(3, 4, 12, 13, 3).0,
    /// `ICH_LR12_EL2`: list register.
    IchLr12 = Encoding::new(3, 4, 12, 13, 4).0,
    /// `ICH_LR13_EL2`: list register.
    IchLr13 = Encoding::new(3, 4, 12, 13, 5).0,
    /// `ICH_LR14_EL2`: list register.
    IchLr14 = Encoding::new(3, 4, 12, 13, 6).0,
    /// `ICH_LR15_EL2`: list register.
    IchLr15 = Encoding::new(3, 4, 12, 13, 7).0,
}

impl SystemRegister {
    /// `ICH_LR<n>_EL2`, by n.
    pub const LIST_REGISTERS: [Self; MOST_LIST_REGISTERS] = [
        Self::IchLr0,
        Self::IchLr1,
        Self::IchLr2,
        Self::IchLr3,
        Self::IchLr4,
        Self::IchLr5,
        Self::IchLr6,
        Self::IchLr7,
        Self::IchLr8,
        Self::IchLr9,
        Self::IchLr10,
        Self::IchLr11,
        Self::IchLr12,
        Self::IchLr13,
        Self::IchLr14,
        Self::IchLr15,
    ];

    /// `ICC_AP1R<n>_EL1`, by n.
    pub const ACTIVE_PRIORITIES: [Self; 4] = [Self::IccAp1r0, Self::IccAp1r1, Self::IccAp1r2, Self::IccAp1r3];

    /// `ICH_AP0R<n>_EL2`, by n.
    pub const VIRTUAL_ACTIVE_PRIORITIES_0: [Self; 4] =
        [Self::IchAp0r0, Self::IchAp0r1, Self::IchAp0r2, Self::IchAp0r3];

    /// `ICH_AP1R<n>_EL2`, by n.
    pub const VIRTUAL_ACTIVE_PRIORITIES_1: [Self; 4] =
        [Self::IchAp1r0, Self::IchAp1r1, Self::IchAp1r2, Self::IchAp1r3];

    /// How an instruction names it.
    pub const fn encoding(self) -> Encoding {
        Encoding(self as u16)
    }
}
