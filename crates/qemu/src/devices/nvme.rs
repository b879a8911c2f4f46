//! A driver for NVMe controllers, for reading and writing one namespace through one pair of queues.
//!
//! Everything that the controller reads and writes itself is at addresses that the caller chooses, so that an IOMMU can
//! be in between: queues and lists in [`DmaPage`]s, data at an [`Iova`](vcm::Iova).
//!
//! Source: NVM Express Base Specification, revision 1.4.

mod controller;
mod error;
mod queue;
pub(crate) mod spec;
mod transfer;

pub use controller::{Nvme, NvmeConfig, NvmeInformation, NvmeInterrupts};
pub use error::{NvmeError, NvmeRejected};
