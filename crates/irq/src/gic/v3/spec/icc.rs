//! Fields of the system registers of the CPU interface (12.2). Their encodings are with
//! [`SystemRegister`](crate::gic::v3::SystemRegister).

use crate::gic::Field;

/// `ICC_SRE_EL2` \[0\]: the system registers are there.
pub const ICC_SRE_SRE: Field = Field::new(0, 0);
/// `ICC_SRE_EL2` \[3\]: EL1 may set its own [`ICC_SRE_SRE`].
pub const ICC_SRE_ENABLE: Field = Field::new(3, 3);

/// `ICC_CTLR_EL1` \[0\]: group 1 has no binary point of its own.
pub const ICC_CTLR_CBPR: Field = Field::new(0, 0);
/// `ICC_CTLR_EL1` \[1\]: the end of an interrupt drops its priority and leaves it active (`EOImode`).
pub const ICC_CTLR_EOI_MODE: Field = Field::new(1, 1);
/// `ICC_CTLR_EL1` \[10:8\]: the number of priority bits, minus 1, read-only.
pub const ICC_CTLR_PRI_BITS: Field = Field::new(10, 8);

/// `ICC_IGRPEN1_EL1` \[0\]: group 1 is signalled.
pub const ICC_IGRPEN1_ENABLE: Field = Field::new(0, 0);

/// `ICC_IAR1_EL1` \[23:0\]: the interrupt's number.
pub const ICC_IAR_INTERRUPT_ID: Field = Field::new(23, 0);
