//! Interrupt lines, from the units that raise them to whoever takes them.

use std::collections::{BTreeMap, VecDeque};

/// The state of a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Level {
    /// Nothing asks for attention.
    Low,
    /// Something does.
    High,
}

/// The machine's interrupt lines, by their number at the interrupt controller.
///
/// A line that goes high is queued once; when its handling is [complete](Self::complete) and it is still high, it
/// is queued again. That is what a level-sensitive input of a GIC does.
#[derive(Debug, Default)]
pub struct Interrupts {
    lines: BTreeMap<u32, Level>,
    queue: VecDeque<u32>,
}

impl Interrupts {
    /// No line is high.
    pub const fn new() -> Self {
        Self { lines: BTreeMap::new(), queue: VecDeque::new() }
    }

    /// Sets the line `number`.
    pub fn set(&mut self, number: u32, level: Level) {
        let before = self.lines.insert(number, level).unwrap_or(Level::Low);
        if before == Level::Low && level == Level::High {
            self.queue(number);
        }
    }

    /// Raises the line `number` and lowers it at once.
    pub fn pulse(&mut self, number: u32) {
        self.queue(number);
    }

    fn queue(&mut self, number: u32) {
        if !self.queue.contains(&number) {
            self.queue.push_back(number);
        }
    }

    /// Takes the interrupt that has waited longest.
    pub fn take(&mut self) -> Option<u32> {
        self.queue.pop_front()
    }

    /// Says that `number` was handled.
    pub fn complete(&mut self, number: u32) {
        if self.level(number) == Level::High {
            self.queue(number);
        }
    }

    /// Queues every line that is high, as if each handling had just been completed.
    pub fn repeat(&mut self) {
        let high: Vec<_> = self
            .lines
            .iter()
            .filter(|(_, level)| **level == Level::High)
            .map(|(number, _)| *number)
            .collect();
        for number in high {
            self.queue(number);
        }
    }

    /// The state of the line `number`.
    pub fn level(&self, number: u32) -> Level {
        self.lines.get(&number).copied().unwrap_or(Level::Low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_stays_high_comes_again() {
        let mut interrupts = Interrupts::new();
        interrupts.set(97, Level::High);
        interrupts.set(97, Level::High);
        assert_eq!((interrupts.take(), interrupts.take()), (Some(97), None));
        interrupts.complete(97);
        assert_eq!(interrupts.take(), Some(97));
        interrupts.repeat();
        assert_eq!(interrupts.take(), Some(97));
        interrupts.set(97, Level::Low);
        interrupts.complete(97);
        interrupts.repeat();
        assert_eq!(interrupts.take(), None);
    }

    #[test]
    fn a_pulse_comes_once() {
        let mut interrupts = Interrupts::new();
        interrupts.pulse(40);
        assert_eq!(interrupts.take(), Some(40));
        interrupts.complete(40);
        assert_eq!(interrupts.take(), None);
    }
}
