//! What the fuzzers feed. Each target takes any bytes; it panics when something is wrong, and only then.
//!
//! The fuzzers themselves are in `fuzz` (`cargo +nightly fuzz run operations`); what they find goes into
//! `fuzz/corpus`, which the ordinary tests replay.
#![forbid(unsafe_code)]

mod interrupts;
mod operations;
mod scenario;

pub use interrupts::{InterruptTally, interrupts};
pub use operations::{Tally, operations};
pub use scenario::{Fed, scenario};

/// A device tree blob: it loads, or it is refused; what loads can be printed, and functions of its PCI buses looked up.
pub fn device_tree(bytes: &[u8]) {
    if let Ok(topology) = vcm_platform::topology::Topology::from_device_tree(bytes) {
        let _ = topology.to_string();
        for host in &topology.pci_hosts {
            for requester_id in (0..=u16::MAX).step_by(0xff) {
                if let Some((iommu, stream)) = host.stream_of(requester_id) {
                    assert!(stream <= topology.iommus[iommu].kind.last_stream());
                }
                let _ = host.interrupt_of(requester_id, 1);
                let _ = host.configuration_space(requester_id);
            }
        }
    }
}
