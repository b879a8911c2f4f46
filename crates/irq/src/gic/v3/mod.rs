//! GICv3: distributor and redistributors by memory-mapped registers, the CPU and virtual interfaces by system
//! registers.
//!
//! Host interrupts are in group 1 as seen by this code: Non-secure group 1 on a GIC with two Security states. The
//! hypervisor runs at EL2.
//!
//! # Numbers (Arm IHI 0069H 2.2)
//!
//! | | | reached through |
//! |---|---|---|
//! | 0 to 15 | software-generated | [`Redistributor`] |
//! | 16 to 31, 1056 to 1119 | private peripheral | [`Redistributor`] |
//! | 32 to 1019, 4096 to 5119 | shared peripheral | [`Distributor`] |
//! | 8192 and up | message-signalled (LPI) | tables in memory; no part of this |
//!
//! A message-signalled interrupt can be acknowledged here. It has no active state: [`encode`] refuses to let a guest's
//! end of interrupt complete it, and a virtual interrupt for it is written with another completion.

mod affinity;
mod cpu_interface;
mod distributor;
mod list_register;
mod redistributor;
mod settling;
pub mod spec;
mod system_register;
mod virtual_interface;

pub use affinity::{Affinity, Routing};
pub use cpu_interface::CpuInterface;
pub use distributor::Distributor;
pub use list_register::{completes, decode, encode};
pub use redistributor::Redistributor;
pub use system_register::{Encoding, SystemRegister, SystemRegisters};
pub use virtual_interface::{DeactivationTrap, VirtualInterface};

/// After how many reads of a register that should change the hardware is given up. A change takes some tens of reads
/// at most; this many take some hundredths of a second.
pub const PATIENCE: u32 = 100_000;

/// The first extended private peripheral interrupt.
const FIRST_EXTENDED_PPI: u32 = 1056;

/// The number after that of the last extended private peripheral interrupt.
const EXTENDED_PPI_END: u32 = 1120;

/// The first extended shared peripheral interrupt.
const FIRST_EXTENDED_SPI: u32 = 4096;

/// The number after that of the last extended shared peripheral interrupt.
const EXTENDED_SPI_END: u32 = 5120;

/// The first message-signalled interrupt.
const FIRST_LPI: u32 = 8192;

/// How many 32-bit registers hold the active priorities of a group, for a number of bits that decide on preemption (Arm
/// IHI 0069H 12.4.1).
const fn active_priority_registers(bits: u32) -> usize {
    match bits {
        0..=5 => 1,
        6 => 2,
        _ => 4,
    }
}
