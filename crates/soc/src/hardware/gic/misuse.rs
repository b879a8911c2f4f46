//! Accesses to registers that make no sense.

use super::{Frame, Width};
use std::fmt;

/// The model keeps this many notes; the first one matters.
const MISUSES: usize = 64;

/// An access to a register that makes no sense. It has no effect, and reads give zero.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Misuse {
    /// Which CPU made it.
    pub cpu: usize,
    /// To which part of the GIC.
    pub frame: Frame,
    /// The offset in the frame.
    pub offset: u32,
    /// How much at once.
    pub width: Width,
    /// What is wrong with that.
    pub what: &'static str,
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cpu, frame, offset, width, what } = self;
        write!(f, "gic: cpu {cpu}, {frame}, {width} at {offset:#x}: {what}")
    }
}

impl std::error::Error for Misuse {}

/// The first few misuses.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Misuses(Vec<Misuse>);

impl Misuses {
    pub(super) fn note(&mut self, misuse: Misuse) {
        if self.0.len() < MISUSES {
            self.0.push(misuse);
        }
    }

    pub(super) fn all(&self) -> &[Misuse] {
        &self.0
    }

    pub(super) fn take(&mut self) -> Option<Misuse> {
        if self.0.is_empty() { None } else { Some(self.0.remove(0)) }
    }
}
