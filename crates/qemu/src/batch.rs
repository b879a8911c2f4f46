//! Many requests in one round trip.

use crate::error::Error;
use crate::interrupt_lines::{InterruptLines, Level};
use crate::qtest::{Expected, Qtest, Width, word};
use std::fmt::Write;
use vcm::PhysicalAddress;

/// As much goes out before the replies are read. QEMU stops reading when its replies are not taken, so that a window
/// without bounds could make both sides wait for the other; this fits into the socket's buffer.
const WINDOW: usize = 16 << 10;

/// What one request of a [`Batch`] gave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    /// The value, if it was a read.
    pub value: Option<u64>,
    /// The levels of the intercepted lines right after it.
    pub lines: InterruptLines,
}

/// Requests that are queued, then sent together and answered together. A few hundred take one round trip.
///
/// Requests take effect in their order. Dropped without [`Self::run`], none does.
#[derive(Debug)]
#[must_use = "nothing happens before it is run"]
pub struct Batch<'a> {
    qtest: &'a mut Qtest,
    text: String,
    /// What each request expects, and where its line ends in `text`.
    requests: Vec<(Expected, usize)>,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(qtest: &'a mut Qtest) -> Self {
        Self { qtest, text: String::new(), requests: Vec::new() }
    }

    /// How many requests are queued.
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    /// Whether nothing is queued.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Queues a read of `width` at `address`.
    pub fn read(&mut self, width: Width, address: PhysicalAddress) {
        self.push(format_args!("read{} {:#x}", width.letter(), address.raw()), Expected::Value(width));
    }

    /// Queues a write of `width` at `address`.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] when `value` does not fit.
    pub fn write(&mut self, width: Width, address: PhysicalAddress, value: u64) -> Result<(), Error> {
        if value > width.max() {
            return Err(Error::argument(format!("{value:#x} does not fit into {} bytes", width.bytes())));
        }
        self.push(format_args!("write{} {:#x} {value:#x}", width.letter(), address.raw()), Expected::Done);
        Ok(())
    }

    /// Queues a read of `width`, at most 32 bits, from an x86 machine's port: see [`Qtest::read_port`].
    pub(crate) fn read_port(&mut self, width: Width, port: u16) {
        self.push(format_args!("in{} {port:#x}", width.letter()), Expected::Value(width));
    }

    /// Queues a write of `width`, at most 32 bits, to an x86 machine's port: see [`Qtest::write_port`].
    pub(crate) fn write_port(&mut self, width: Width, port: u16, value: u32) {
        self.push(format_args!("out{} {port:#x} {value:#x}", width.letter()), Expected::Done);
    }

    /// Queues a change of an input: see [`Qtest::set_irq_in`].
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] when `path` or `name` cannot be sent.
    pub fn set_irq_in(&mut self, path: &str, name: &str, number: u32, level: Level) -> Result<(), Error> {
        let (path, name, level) = (word(path)?, word(name)?, level as u8);
        self.push(format_args!("set_irq_in {path} {name} {number} {level}"), Expected::Done);
        Ok(())
    }

    fn push(&mut self, line: std::fmt::Arguments<'_>, expected: Expected) {
        // Writing into a `String` does not fail.
        let _ = writeln!(self.text, "{line}");
        self.requests.push((expected, self.text.len()));
    }

    /// Sends everything and gives the values of the reads, in their order.
    ///
    /// # Errors
    ///
    /// As [`Self::run_steps`].
    pub fn run(self) -> Result<Vec<u64>, Error> {
        Ok(self.run_steps()?.into_iter().filter_map(|step| step.value).collect())
    }

    /// Sends everything and gives the outcome of every request, in their order.
    ///
    /// # Errors
    ///
    /// The first [`Error::Refused`], after everything else has taken effect; and those of the connection, when it is
    /// not known how much has.
    pub fn run_steps(self) -> Result<Vec<Step>, Error> {
        let Self { qtest, text, requests } = self;
        let mut steps = Vec::with_capacity(requests.len());
        let mut refusal = None;
        let (mut start, mut rest) = (0, requests.as_slice());
        while !rest.is_empty() {
            let count = rest.partition_point(|&(_, end)| end - start <= WINDOW).max(1);
            let (window, later) = rest.split_at(count);
            let window_end = window.last().map_or(start, |&(_, end)| end);
            let deadline = qtest.send(&text[start..window_end])?;
            for &(expected, end) in window {
                let asked = text[start..end].trim_end();
                let reply = qtest.reply(asked, deadline)?;
                let value = match qtest.value(asked, &reply, expected) {
                    Err(error @ Error::Refused { .. }) => {
                        refusal.get_or_insert(error);
                        None
                    }
                    value => value?,
                };
                steps.push(Step { value, lines: qtest.lines() });
                start = end;
            }
            rest = later;
        }
        refusal.map_or(Ok(steps), Err)
    }
}
