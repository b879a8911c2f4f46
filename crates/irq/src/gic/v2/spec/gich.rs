//! The virtual interface control of the CPU that accesses it (5.3).

use crate::gic::Field;

/// Hypervisor control (5.3.1).
pub const GICH_HCR: u32 = 0x000;
/// Type, read-only (5.3.2).
pub const GICH_VTR: u32 = 0x004;
/// What the guest set in its CPU interface (5.3.3).
pub const GICH_VMCR: u32 = 0x008;
/// Maintenance interrupt status, read-only (5.3.4). See [`Maintenance`](crate::gic::Maintenance).
pub const GICH_MISR: u32 = 0x010;
/// List registers that were ended and asked for a maintenance interrupt, 0 to 31, read-only (5.3.5).
pub const GICH_EISR0: u32 = 0x020;
/// Empty list registers, 0 to 31, read-only (5.3.6).
pub const GICH_ELRSR0: u32 = 0x030;
/// Active priorities (5.3.7).
pub const GICH_APR: u32 = 0x0F0;
/// List registers, a word each (5.3.8).
pub const GICH_LR: u32 = 0x100;

/// `GICH_HCR` \[0\]: the virtual CPU interface signals (`En`).
pub const GICH_HCR_EN: Field = Field::new(0, 0);
/// `GICH_HCR` \[1\]: maintenance interrupt while none or one list register is valid.
pub const GICH_HCR_UIE: Field = Field::new(1, 1);
/// `GICH_HCR` \[2\]: maintenance interrupt while [`GICH_HCR_EOI_COUNT`] is not 0.
pub const GICH_HCR_LRENPIE: Field = Field::new(2, 2);
/// `GICH_HCR` \[3\]: maintenance interrupt while no list register is pending.
pub const GICH_HCR_NPIE: Field = Field::new(3, 3);
/// `GICH_HCR` \[31:27\]: how many ends of interrupts found no list register.
pub const GICH_HCR_EOI_COUNT: Field = Field::new(31, 27);

/// `GICH_VTR` \[5:0\]: the number of list registers, minus 1.
pub const GICH_VTR_LIST_REGS: Field = Field::new(5, 0);

/// `GICH_VMCR` \[9\]: the guest's end of interrupt drops the priority only (`VEM`).
pub const GICH_VMCR_VEM: Field = Field::new(9, 9);

/// `GICH_LR` \[9:0\]: the virtual interrupt's number.
pub const GICH_LR_VIRTUAL_ID: Field = Field::new(9, 0);
/// `GICH_LR` \[19:10\]: with [`GICH_LR_HW`], the physical interrupt's number.
pub const GICH_LR_PHYSICAL_ID: Field = Field::new(19, 10);
/// `GICH_LR` \[12:10\]: without [`GICH_LR_HW`], the vCPU that sent a software-generated interrupt.
pub const GICH_LR_CPUID: Field = Field::new(12, 10);
/// `GICH_LR` \[19\]: without [`GICH_LR_HW`], maintenance interrupt at the end of the interrupt.
pub const GICH_LR_EOI: Field = Field::new(19, 19);
/// `GICH_LR` \[27:23\]: the upper five bits of the priority.
pub const GICH_LR_PRIORITY: Field = Field::new(27, 23);
/// `GICH_LR` \[29:28\]: 0 invalid, 1 pending, 2 active, 3 both.
pub const GICH_LR_STATE: Field = Field::new(29, 28);
/// `GICH_LR` \[30\]: the virtual interrupt is in group 1.
pub const GICH_LR_GRP1: Field = Field::new(30, 30);
/// `GICH_LR` \[31\]: the deactivation is passed to a physical interrupt.
pub const GICH_LR_HW: Field = Field::new(31, 31);
