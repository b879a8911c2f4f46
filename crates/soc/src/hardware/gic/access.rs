//! Accesses to a GIC: to what, how wide, and how many.

use std::fmt;

/// A part of the GIC with an address of its own.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Frame {
    /// `GICD`, 4 KiB.
    Distributor,
    /// `GICC`, 8 KiB, the accessing CPU's.
    CpuInterface,
    /// `GICH`, 4 KiB, the accessing CPU's.
    VirtualInterface,
    /// `GICV`, 8 KiB, the accessing CPU's.
    VirtualCpuInterface,
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Distributor => "distributor",
            Self::CpuInterface => "CPU interface",
            Self::VirtualInterface => "virtual interface control",
            Self::VirtualCpuInterface => "virtual CPU interface",
        })
    }
}

/// How much is accessed at once.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Width {
    /// 8 bits: priorities, targets and sources of SGIs only (4.1.4). Values are in the low 8 bits.
    Byte,
    /// 32 bits.
    Word,
}

impl fmt::Display for Width {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Byte => "byte",
            Self::Word => "word",
        })
    }
}

/// What a GIC has counted for one CPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Accesses, reads and writes, to the distributor.
    pub distributor: u64,
    /// To its CPU interface.
    pub cpu_interface: u64,
    /// To its virtual interface control.
    pub virtual_interface: u64,
    /// To its virtual CPU interface.
    pub virtual_cpu_interface: u64,
    /// Interrupts that it took.
    pub acknowledged: u64,
    /// Virtual interrupts that its guest took.
    pub virtual_acknowledged: u64,
    /// How often its maintenance interrupt was raised.
    pub maintenance: u64,
}
