//! Bus masters: devices that do DMA and send interrupts as they are told.

mod edu;
mod lsi;
mod nvme;

use vcm::{Iova, PhysicalAddress};

pub use edu::{Direction, Edu, EduCompletion, EduDma};
pub use lsi::{Lsi, LsiMove};
pub use nvme::{Nvme, NvmeConfig, NvmeError, NvmeInformation, NvmeInterrupts, NvmeRejected};

/// A page of 4 KiB that a device and its driver both access.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DmaPage {
    /// Where the device has it.
    pub device: Iova,
    /// Where it is in memory.
    pub memory: PhysicalAddress,
}
