//! The levels of the interrupt lines that QEMU reports.

/// The level of an interrupt line.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Level {
    /// Lowered.
    #[default]
    Low,
    /// Raised.
    High,
}

/// How many lines QEMU's qtest server can report (`MAX_IRQ` in its `system/qtest.c`).
pub const REPORTED_LINES: u32 = 256;

/// The level of every line that QEMU can report.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct InterruptLines([u64; REPORTED_LINES as usize / 64]);

impl InterruptLines {
    /// The level of `line`; the ones that do not exist are low.
    pub fn level(&self, line: u32) -> Level {
        let word = self.0.get(line as usize / 64).copied().unwrap_or(0);
        if word >> (line % 64) & 1 == 1 { Level::High } else { Level::Low }
    }

    /// `line` is below [`REPORTED_LINES`].
    pub(crate) fn set(&mut self, line: u32, level: Level) {
        debug_assert!(line < REPORTED_LINES);
        if let Some(word) = self.0.get_mut(line as usize / 64) {
            let bit = 1 << (line % 64);
            *word = if level == Level::High { *word | bit } else { *word & !bit };
        }
    }
}

/// A line that changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InterruptEvent {
    /// Its number, as the intercepted device counts.
    pub line: u32,
    /// Its level from then on.
    pub level: Level,
}
