//! What the fuzzers feed. Each target takes any bytes; it panics when something is wrong, and only then.
//!
//! The fuzzers themselves are in `fuzz` (`cargo +nightly fuzz run operations`); what they find goes into
//! `fuzz/corpus`, which the ordinary tests replay.
#![forbid(unsafe_code)]

mod operations;

pub use operations::{Tally, operations};

/// A device tree blob: it loads, or it is refused; what loads can be printed.
pub fn device_tree(bytes: &[u8]) {
    if let Ok(topology) = vcm_platform::topology::Topology::from_device_tree(bytes) {
        let _ = topology.to_string();
    }
}

/// A scenario file: it is read, or the error says where the mistake is.
pub fn scenario(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Err(problem) = vcm_cli::scenario::Scenario::parse("fuzz.toml", text) {
        let message = problem.to_string();
        assert!(message.contains("fuzz.toml"), "the error does not say where: {message}");
    }
}
