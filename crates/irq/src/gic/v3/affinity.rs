//! Where a CPU is, and where an interrupt goes.

/// A CPU's place in the system: affinity levels 3, 2, 1 and 0 from the highest byte to the lowest, as
/// `GICR_TYPER[63:32]` has them (Arm IHI 0069H 12.11).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Affinity(pub u32);

impl Affinity {
    /// The place that `MPIDR_EL1` gives: levels 0 to 2 in bits 23:0, level 3 in bits 39:32 (Arm DDI 0487 D24.2).
    pub const fn from_mpidr(mpidr: u64) -> Self {
        Self((mpidr & 0xFF_FFFF) as u32 | ((mpidr >> 32) as u32 & 0xFF) << 24)
    }
}

/// Where a shared interrupt goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Routing {
    /// To one CPU.
    To(Affinity),
    /// To any CPU that takes part, as the hardware chooses.
    Any,
}
