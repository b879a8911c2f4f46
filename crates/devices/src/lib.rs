//! Drivers for the devices that machines are tested with, on QEMU's machines and on Linux alike.
//!
//! A driver reaches its device through [`Registers`](vcm_iommu::Registers), and memory that both access through
//! [`SharedMemory`](vcm_iommu::SharedMemory). It asks nothing of an operating system: where it waits, it polls, or calls
//! what its caller gives it to wait with.
//!
//! - [`Nvme`] with its [`NvmeQueue`]s: disks, and the fastest DMA that emulated machines have.
//! - [`Edu`]: QEMU's educational device, the plainest bus master there is.
#![forbid(unsafe_code)]

pub mod edu;
mod nvme;
mod page;
mod wait;

pub use edu::{Direction, Edu, EduCompletion, EduDma, EduError};
pub use nvme::{
    Nvme, NvmeConfig, NvmeError, NvmeInformation, NvmeMessages, NvmeQueue, NvmeQueueConfig, NvmeRejected,
    quiet_nvme,
};
pub use page::DmaPage;
