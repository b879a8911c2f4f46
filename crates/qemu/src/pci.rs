//! PCI: finding functions, giving them addresses, and their capabilities.
//!
//! Sources: PCI Local Bus Specification 3.0, 6 "Configuration Space"; PCI Express Base Specification, 7.2.2 "PCI Express
//! Enhanced Configuration Access Mechanism (ECAM)". Configuration space is only read as far as it makes sense: whatever
//! a device answers, everything here ends, and stays within its window.

mod address;
mod bar;
mod capability;
mod ecam;
mod function;
mod message;
mod scan;
mod virtio;

pub use address::PciAddress;
pub use bar::Bar;
pub use capability::{Capability, MSI, MSIX, VENDOR};
pub use ecam::{ConfigurationSpace, Ecam};
pub use function::{Decoding, PciFunction};
pub use message::Message;
pub use scan::{PassedOver, Pci, Skipped, Window as PciWindow};
pub use virtio::{VirtioStructure, VirtioStructureKind};
