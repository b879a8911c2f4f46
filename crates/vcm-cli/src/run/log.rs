//! What a run writes down as it goes.

use super::record::{Check, Record};

/// Hears how far a long operation is.
pub trait Progress {
    /// `done` of `total` units of `what` are done.
    fn at(&mut self, what: &str, done: u64, total: u64);
}

/// Nobody listens.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn at(&mut self, _: &str, _: u64, _: u64) {}
}

/// The record that grows, and who hears of progress.
pub struct Log<'p> {
    pub record: Record,
    pub progress: &'p mut dyn Progress,
    note: Option<String>,
}

impl<'p> Log<'p> {
    pub fn new(record: Record, progress: &'p mut dyn Progress) -> Self {
        Self { record, progress, note: None }
    }

    /// Writes a check down.
    pub fn check(&mut self, name: impl Into<String>, ok: bool, detail: impl Into<String>) {
        self.record.checks.push(Check { name: name.into(), ok, detail: detail.into() });
    }

    /// Writes a warning down.
    pub fn warn(&mut self, what: String) {
        self.record.warnings.push(what);
    }

    /// Keeps a remark for the check that is to come.
    pub fn note(&mut self, what: String) {
        self.note = Some(what);
    }

    /// The remark, once.
    pub fn take_note(&mut self) -> Option<String> {
        self.note.take()
    }
}
