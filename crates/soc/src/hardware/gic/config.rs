//! What a GIC consists of, and which inputs it has.

use std::fmt;

/// What a GIC consists of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// CPUs, 1 to 8.
    pub cpus: usize,
    /// Interrupts with the 32 private ones, a multiple of 32 from 32 to 992, or 1020 (988 SPIs).
    pub interrupts: u32,
    /// List registers of each CPU, 1 to 16; a GIC-400 has 4.
    pub list_registers: usize,
}

/// A configuration that no GIC can have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadConfig {
    /// What is out of range.
    pub what: &'static str,
}

impl fmt::Display for BadConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "gic: {}", self.what)
    }
}

impl std::error::Error for BadConfig {}

/// There is no such input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoLine {
    /// The CPU, for a private interrupt.
    pub cpu: Option<usize>,
    /// The interrupt's number.
    pub interrupt: u32,
}

impl fmt::Display for NoLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cpu {
            Some(cpu) => write!(f, "gic: interrupt {} of cpu {cpu} has no input", self.interrupt),
            None => write!(f, "gic: interrupt {} has no input", self.interrupt),
        }
    }
}

impl std::error::Error for NoLine {}
