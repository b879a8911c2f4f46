//! The client of the qtest socket: memory and interrupt lines of the machine, seen from its first CPU.

use crate::batch::Batch;
use crate::error::{Error, shortened};
use crate::interrupt_lines::{InterruptEvent, InterruptLines, Level, REPORTED_LINES};
use crate::line_socket::LineSocket;
use crate::process::Console;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::collections::VecDeque;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};
use vcm::PhysicalAddress;

/// Longer lines cost QEMU more than they save: it searches a line from its start with every KiB that comes in.
const CHUNK: usize = 32 << 10;

/// Older events are dropped, and counted.
const KEPT_EVENTS: usize = 1 << 16;

/// How many bits an access has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Width {
    /// A byte.
    Bits8,
    /// Two bytes, little-endian.
    Bits16,
    /// Four bytes, little-endian.
    Bits32,
    /// Eight bytes, little-endian.
    Bits64,
}

impl Width {
    /// In bytes.
    pub const fn bytes(self) -> u64 {
        1 << self as u64
    }

    /// The greatest value that fits.
    pub const fn max(self) -> u64 {
        u64::MAX >> (64 - 8 * self.bytes())
    }

    /// The letter that the protocol has for it.
    pub(crate) const fn letter(self) -> char {
        match self {
            Self::Bits8 => 'b',
            Self::Bits16 => 'w',
            Self::Bits32 => 'l',
            Self::Bits64 => 'q',
        }
    }
}

/// What a reply must look like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Expected {
    /// `OK`.
    Done,
    /// `OK` and a number that fits.
    Value(Width),
}

/// A connection to the qtest server of a QEMU.
///
/// Every request waits for its reply, with a time-out. After an error that leaves the two sides out of step, the
/// connection is dead ([`Error::Dead`]). Accesses go through the address space of the first CPU. Where there is no
/// device, reads give zero and writes are dropped: the protocol reports neither.
#[derive(Debug)]
pub struct Qtest {
    socket: LineSocket,
    lines: InterruptLines,
    events: VecDeque<InterruptEvent>,
    lost: u64,
}

impl Qtest {
    /// Speaks over `stream`, whose other end is a QEMU that somebody else started. Every request must be answered
    /// within `timeout`.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] when `timeout` is zero, [`Error::Io`] when the socket cannot be prepared.
    pub fn new(stream: UnixStream, timeout: Duration) -> Result<Self, Error> {
        Self::with_console(stream, timeout, None)
    }

    pub(crate) fn with_console(
        stream: UnixStream,
        timeout: Duration,
        console: Option<Arc<Console>>,
    ) -> Result<Self, Error> {
        let socket = LineSocket::new(stream, timeout, console)?;
        Ok(Self { socket, lines: InterruptLines::default(), events: VecDeque::new(), lost: 0 })
    }

    /// Reads a value of `width` at `address`.
    ///
    /// # Errors
    ///
    /// Those of the connection: see [`Error`].
    pub fn read(&mut self, width: Width, address: PhysicalAddress) -> Result<u64, Error> {
        let asked = format!("read{} {:#x}", width.letter(), address.raw());
        self.ask(&asked, Expected::Value(width)).map(Option::unwrap_or_default)
    }

    /// Writes a value of `width` at `address`.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] when `value` does not fit, and those of the connection: see [`Error`].
    pub fn write(&mut self, width: Width, address: PhysicalAddress, value: u64) -> Result<(), Error> {
        let mut batch = self.batch();
        batch.write(width, address, value)?;
        batch.run().map(drop)
    }

    /// Accesses to be sent together.
    pub fn batch(&mut self) -> Batch<'_> {
        Batch::new(self)
    }

    /// Reads `bytes.len()` bytes from `address` on.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] when the range passes the end of the address space, and those of the connection.
    pub fn read_bytes(&mut self, address: PhysicalAddress, bytes: &mut [u8]) -> Result<(), Error> {
        check_range(address, bytes.len())?;
        let mut at = address.raw();
        for part in bytes.chunks_mut(CHUNK) {
            let asked = format!("b64read {at:#x} {}", part.len());
            let reply = self.exchange(&asked)?;
            let data = reply.strip_prefix(b"OK ").and_then(|text| STANDARD.decode(text).ok());
            match data {
                Some(data) if data.len() == part.len() => part.copy_from_slice(&data),
                _ => {
                    return Err(self.unexpected(
                        &asked,
                        &reply,
                        "not base64 of the length that was asked for",
                    ));
                }
            }
            at = at.wrapping_add(part.len() as u64);
        }
        Ok(())
    }

    /// Writes `bytes` from `address` on.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] when the range passes the end of the address space, and those of the connection.
    pub fn write_bytes(&mut self, address: PhysicalAddress, bytes: &[u8]) -> Result<(), Error> {
        check_range(address, bytes.len())?;
        let mut at = address.raw();
        for part in bytes.chunks(CHUNK) {
            let asked = format!("b64write {at:#x} {} {}", part.len(), STANDARD.encode(part));
            self.ask(&asked, Expected::Done)?;
            at = at.wrapping_add(part.len() as u64);
        }
        Ok(())
    }

    /// Sets input `number` of the list `name` (`unnamed-gpio-in` for the one without a name) of the device at
    /// `path` in QEMU's object model. An input that does not exist makes QEMU abort.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] when `path` or `name` cannot be sent, [`Error::Refused`] when there is no such device,
    /// and those of the connection.
    pub fn set_irq_in(&mut self, path: &str, name: &str, number: u32, level: Level) -> Result<(), Error> {
        let mut batch = self.batch();
        batch.set_irq_in(path, name, number, level)?;
        batch.run().map(drop)
    }

    /// From now on reports changes of the unnamed inputs of the device at `path`. One device of a QEMU can be
    /// intercepted, and it must not have more than [`REPORTED_LINES`] inputs: QEMU does not check.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] when `path` cannot be sent, [`Error::Refused`] when there is no such device or another one
    /// is intercepted, and those of the connection.
    pub fn irq_intercept_in(&mut self, path: &str) -> Result<(), Error> {
        self.ask(&format!("irq_intercept_in {}", word(path)?), Expected::Done).map(drop)
    }

    /// From now on reports changes of the outputs of the device at `path`: of the list `name`, or the unnamed ones.
    /// QEMU before 8.2 ignores the name and reports unnamed outputs only.
    ///
    /// # Errors
    ///
    /// As [`Self::irq_intercept_in`].
    pub fn irq_intercept_out(&mut self, path: &str, name: Option<&str>) -> Result<(), Error> {
        let asked = match name {
            Some(name) => format!("irq_intercept_out {} {}", word(path)?, word(name)?),
            None => format!("irq_intercept_out {}", word(path)?),
        };
        self.ask(&asked, Expected::Done).map(drop)
    }

    /// Moves the virtual clock on, by `nanoseconds` or to the next timer, and gives its new value in nanoseconds.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] unless QEMU runs with `-accel qtest`, or when no timer is pending; and those of the
    /// connection. With `-icount sleep=off`, as [`crate::Machine`] has it, the clock moves by itself.
    pub fn clock_step(&mut self, nanoseconds: Option<u32>) -> Result<u64, Error> {
        let asked = nanoseconds.map_or("clock_step".into(), |step| format!("clock_step {step}"));
        let reply = self.exchange(&asked)?;
        let value = reply.strip_prefix(b"OK ").and_then(|digits| number(digits, 10));
        value.ok_or_else(|| self.unexpected(&asked, &reply, "not a time"))
    }

    /// The levels of the intercepted lines, as of the last reply.
    pub fn lines(&self) -> InterruptLines {
        self.lines
    }

    /// Takes the changes of intercepted lines since the last call, the oldest first.
    pub fn take_events(&mut self) -> Vec<InterruptEvent> {
        self.events.drain(..).collect()
    }

    /// How many events were dropped because nobody took them; 65536 are kept.
    pub fn events_lost(&self) -> u64 {
        self.lost
    }

    /// Sends one request and gives its reply, whatever it is.
    fn exchange(&mut self, asked: &str) -> Result<Vec<u8>, Error> {
        let deadline = self.send(&format!("{asked}\n"))?;
        self.reply(asked, deadline)
    }

    fn ask(&mut self, asked: &str, expected: Expected) -> Result<Option<u64>, Error> {
        let reply = self.exchange(asked)?;
        self.value(asked, &reply, expected)
    }

    /// Sends complete lines, whose replies are due at the deadline that it gives.
    pub(crate) fn send(&mut self, text: &str) -> Result<Instant, Error> {
        self.socket.alive()?;
        // What is here before the question cannot be the answer.
        while let Some(line) = self.socket.received(0) {
            if !self.note_event(&line)? {
                return Err(self.socket.malformed("", &line, "nothing was asked"));
            }
        }
        let deadline = self.socket.deadline();
        self.socket.send(text.as_bytes(), text.trim_end(), deadline)?;
        Ok(deadline)
    }

    /// The next line that is not about an interrupt.
    pub(crate) fn reply(&mut self, asked: &str, deadline: Instant) -> Result<Vec<u8>, Error> {
        loop {
            let line = self.socket.receive(asked, deadline)?;
            if !self.note_event(&line)? {
                return Ok(line);
            }
        }
    }

    pub(crate) fn value(
        &mut self,
        asked: &str,
        reply: &[u8],
        expected: Expected,
    ) -> Result<Option<u64>, Error> {
        match expected {
            Expected::Done if reply == b"OK" => Ok(None),
            Expected::Done => Err(self.unexpected(asked, reply, "not OK")),
            Expected::Value(width) => {
                let value = reply.strip_prefix(b"OK 0x").and_then(|digits| number(digits, 16));
                match value.filter(|&value| value <= width.max()) {
                    Some(value) => Ok(Some(value)),
                    None => Err(self.unexpected(asked, reply, "not a value of this width")),
                }
            }
        }
    }

    /// The error for a reply that is not the expected one: a refusal, or the end of the connection.
    fn unexpected(&mut self, asked: &str, reply: &[u8], why: &'static str) -> Error {
        for refusal in [b"FAIL".as_slice(), b"ERR"] {
            if reply.starts_with(refusal) {
                return Error::Refused { asked: shortened(asked.as_bytes()), answer: shortened(reply) };
            }
        }
        self.socket.malformed(asked, reply, why)
    }

    /// Whether a line is about an interrupt; if so it is noted.
    fn note_event(&mut self, line: &[u8]) -> Result<bool, Error> {
        let Some(text) = line.strip_prefix(b"IRQ ") else { return Ok(false) };
        let raised = text.strip_prefix(b"raise ").map(|digits| (digits, Level::High));
        let change = raised.or_else(|| text.strip_prefix(b"lower ").map(|digits| (digits, Level::Low)));
        let event = change.and_then(|(digits, level)| {
            let line = u32::try_from(number(digits, 10)?).ok()?;
            (line < REPORTED_LINES).then_some(InterruptEvent { line, level })
        });
        let Some(event) = event else {
            return Err(self.socket.malformed("", line, "not an interrupt's number and level"));
        };
        self.lines.set(event.line, event.level);
        if self.events.len() == KEPT_EVENTS {
            self.events.pop_front();
            self.lost += 1;
        }
        self.events.push_back(event);
        Ok(true)
    }
}

/// A word of a request. QEMU aborts on a request with words too few, and splits at each blank.
pub(crate) fn word(text: &str) -> Result<&str, Error> {
    if text.is_empty() || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(Error::argument(format!("{text:?} must be one word without blanks")));
    }
    Ok(text)
}

/// A number of digits only; the parser of the standard library takes signs as well.
fn number(digits: &[u8], radix: u32) -> Option<u64> {
    let text = std::str::from_utf8(digits).ok()?;
    let plain = text.chars().all(|c| c.is_digit(radix));
    if plain { u64::from_str_radix(text, radix).ok() } else { None }
}

fn check_range(address: PhysicalAddress, len: usize) -> Result<(), Error> {
    if (len as u64).checked_sub(1).is_some_and(|last| address.raw().checked_add(last).is_none()) {
        let address = address.raw();
        return Err(Error::argument(format!(
            "{len} bytes from {address:#x} on pass the end of the addresses"
        )));
    }
    Ok(())
}
