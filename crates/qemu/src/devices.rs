//! Bus masters: devices that do DMA and send interrupts as they are told.

mod edu;
mod lsi;
mod nvme;

pub use edu::{Direction, Edu, EduCompletion, EduDma};
pub use lsi::{Lsi, LsiMove};
pub use nvme::{DmaPage, Nvme, NvmeConfig, NvmeError, NvmeInformation, NvmeInterrupts, NvmeRejected};
