//! Bus masters: devices that do DMA and send interrupts as they are told.

mod edu;
mod lsi;

pub use edu::Edu;
pub use lsi::{Lsi, LsiMove};
pub use vcm_devices::{
    Direction, DmaPage, EduCompletion, EduDma, Nvme, NvmeConfig, NvmeError, NvmeInformation, NvmeMessages,
    NvmeQueue, NvmeQueueConfig, NvmeRejected,
};
