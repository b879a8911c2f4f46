//! The machine as a board would be: memories, SMMUs, processors, bus masters and interrupt lines, at register level.
//! Nothing here knows of drivers or of the mapping graph.

mod board;
mod bus;
pub mod gic;
pub mod guest;
mod interrupts;
mod master;
mod memory;
mod memory_attributes;
mod oracle;
mod processor;
mod request;
pub mod short_descriptor;
pub mod smmu;
pub mod stage2;
mod tlb;

pub use board::{Activity, Board, BoardError, MasterId, Options, PowerOn, ProcessorId, SmmuId};
pub use bus::{Bus, Caught, Witness};
pub use interrupts::{CPUS, Interrupts, Level, Wire};
pub use master::{LONGEST_BURST, Master, MasterFault, Port, StartError, Step, Stream};
pub use memory::{BusError, Memories, MemoryError, Ownership};
pub use memory_attributes::{MemoryAttributes, TypeModel};
pub use oracle::{Access, Cause, Descriptor, OracleError, Story, Trail, Trespass};
pub use processor::{Mmu, Processor, ProcessorCounters, ProcessorFault, ProcessorFaultReason};
pub use request::{Request, Signalling, WORK};
pub use tlb::{Entry, Found, Reach, Rights, Tag, Tlb};
