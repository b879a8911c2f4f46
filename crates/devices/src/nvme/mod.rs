//! A driver for NVMe controllers, for reading and writing one namespace through any number of queues.
//!
//! Everything that the controller reads and writes itself is at addresses that the caller chooses, so that an IOMMU can
//! be in between: queues and lists in [`DmaPage`](crate::DmaPage)s, data at an [`Iova`](vcm::Iova).
//!
//! Source: NVM Express Base Specification, revision 1.4.

mod blocks;
mod config;
mod controller;
mod error;
mod queue;
mod queues;
mod ring;
mod spec;

pub use config::{NvmeConfig, NvmeInformation, NvmeMessages, NvmeQueueConfig};
pub use controller::{Nvme, quiet as quiet_nvme};
pub use error::{NvmeError, NvmeRejected};
pub use queue::NvmeQueue;
