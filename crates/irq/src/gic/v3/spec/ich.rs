//! Fields of the system registers of the virtual interface (12.4). Their encodings are with
//! [`SystemRegister`](crate::gic::v3::SystemRegister).

use crate::gic::Field;

/// `ICH_HCR_EL2` \[0\]: the virtual CPU interface signals (`En`).
pub const ICH_HCR_EN: Field = Field::new(0, 0);
/// `ICH_HCR_EL2` \[1\]: maintenance interrupt while none or one list register is valid.
pub const ICH_HCR_UIE: Field = Field::new(1, 1);
/// `ICH_HCR_EL2` \[2\]: maintenance interrupt while [`ICH_HCR_EOI_COUNT`] is not 0.
pub const ICH_HCR_LRENPIE: Field = Field::new(2, 2);
/// `ICH_HCR_EL2` \[3\]: maintenance interrupt while no list register is pending.
pub const ICH_HCR_NPIE: Field = Field::new(3, 3);
/// `ICH_HCR_EL2` \[10\]: the guest's accesses to registers that both groups share trap: `ICV_CTLR`,
/// `ICV_DIR`, `ICV_PMR`, `ICV_RPR`, and the sending of software-generated interrupts.
pub const ICH_HCR_TC: Field = Field::new(10, 10);
/// `ICH_HCR_EL2` \[14\]: the guest's writes to `ICV_DIR_EL1` trap, where [`ICH_VTR_TDS`] says so.
pub const ICH_HCR_TDIR: Field = Field::new(14, 14);
/// `ICH_HCR_EL2` \[31:27\]: how many ends of interrupts, or deactivations, found no list register.
pub const ICH_HCR_EOI_COUNT: Field = Field::new(31, 27);

/// `ICH_VTR_EL2` \[4:0\]: the number of list registers, minus 1.
pub const ICH_VTR_LIST_REGS: Field = Field::new(4, 0);
/// `ICH_VTR_EL2` \[19\]: [`ICH_HCR_TDIR`] is there.
pub const ICH_VTR_TDS: Field = Field::new(19, 19);
/// `ICH_VTR_EL2` \[28:26\]: the number of bits that decide on preemption, minus 1.
pub const ICH_VTR_PRE_BITS: Field = Field::new(28, 26);

/// `ICH_VMCR_EL2` \[9\]: the guest's end of interrupt drops the priority only (`VEOIM`).
pub const ICH_VMCR_VEOIM: Field = Field::new(9, 9);

/// `ICH_LR_EL2` \[31:0\]: the virtual interrupt's number; \[12:10\] hold the sender of a software-generated
/// interrupt of a GICv2 guest.
pub const ICH_LR_VIRTUAL_ID: Field = Field::new(31, 0);
/// `ICH_LR_EL2` \[12:10\]: see [`ICH_LR_VIRTUAL_ID`].
pub const ICH_LR_SOURCE: Field = Field::new(12, 10);
/// `ICH_LR_EL2` \[44:32\]: with [`ICH_LR_HW`], the physical interrupt's number.
pub const ICH_LR_PHYSICAL_ID: Field = Field::new(44, 32);
/// `ICH_LR_EL2` \[41\]: without [`ICH_LR_HW`], maintenance interrupt at the end of the interrupt.
pub const ICH_LR_EOI: Field = Field::new(41, 41);
/// `ICH_LR_EL2` \[55:48\]: the priority.
pub const ICH_LR_PRIORITY: Field = Field::new(55, 48);
/// `ICH_LR_EL2` \[60\]: the virtual interrupt is in group 1.
pub const ICH_LR_GROUP: Field = Field::new(60, 60);
/// `ICH_LR_EL2` \[61\]: the deactivation is passed to a physical interrupt.
pub const ICH_LR_HW: Field = Field::new(61, 61);
/// `ICH_LR_EL2` \[63:62\]: 0 invalid, 1 pending, 2 active, 3 both.
pub const ICH_LR_STATE: Field = Field::new(63, 62);
