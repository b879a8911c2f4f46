//! A socket on which both sides speak in lines, with a deadline on every wait.

use crate::error::{Error, shortened};
use crate::process::Console;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longer than any line of either protocol; more without an end is garbage.
const LONGEST_LINE: usize = 1 << 20;

/// What a connection of a line protocol needs below its words.
#[derive(Debug)]
pub(crate) struct LineSocket {
    stream: UnixStream,
    /// Received; consumed up to `start`.
    buffer: Vec<u8>,
    start: usize,
    timeout: Duration,
    console: Option<Arc<Console>>,
    /// The error that ended the connection.
    dead: Option<String>,
}

impl LineSocket {
    pub(crate) fn new(
        stream: UnixStream,
        timeout: Duration,
        console: Option<Arc<Console>>,
    ) -> Result<Self, Error> {
        if timeout.is_zero() {
            return Err(Error::argument("the time-out must not be zero"));
        }
        stream.set_nonblocking(false).map_err(Error::io("preparing a socket"))?;
        Ok(Self { stream, buffer: Vec::new(), start: 0, timeout, console, dead: None })
    }

    /// When a request that starts now must be done.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    /// Refuses once dead.
    pub(crate) fn alive(&self) -> Result<(), Error> {
        self.dead.clone().map_or(Ok(()), |cause| Err(Error::Dead { cause }))
    }

    /// Ends the connection because of `error`.
    pub(crate) fn kill(&mut self, error: Error) -> Error {
        if self.dead.is_none() {
            self.dead = Some(error.to_string());
            let _ = self.stream.shutdown(std::net::Shutdown::Both);
        }
        error
    }

    /// Ends the connection because `reply` is not what `asked` can be answered with.
    pub(crate) fn malformed(&mut self, asked: &str, reply: &[u8], why: &'static str) -> Error {
        let asked = shortened(asked.as_bytes());
        self.kill(Error::Malformed { asked, reply: shortened(reply), why })
    }

    pub(crate) fn send(&mut self, bytes: &[u8], asked: &str, deadline: Instant) -> Result<(), Error> {
        self.alive()?;
        let mut rest = bytes;
        while !rest.is_empty() {
            let left = self.time_left(asked, deadline)?;
            let result = self.stream.set_write_timeout(Some(left)).and_then(|()| self.stream.write(rest));
            match result {
                Ok(0) => return Err(self.closed(asked)),
                Ok(count) => rest = &rest[count..],
                Err(error) => self.judge(error, asked)?,
            }
        }
        Ok(())
    }

    /// The next line, without its end.
    pub(crate) fn receive(&mut self, asked: &str, deadline: Instant) -> Result<Vec<u8>, Error> {
        self.alive()?;
        let mut searched = 0;
        loop {
            if let Some(line) = self.received(searched) {
                return Ok(line);
            }
            searched = self.buffer.len() - self.start;
            if searched > LONGEST_LINE {
                let text = self.buffer.split_off(self.start);
                return Err(self.malformed(asked, &text, "the line has no end"));
            }
            let left = self.time_left(asked, deadline)?;
            let mut chunk = [0; 16 << 10];
            let result = self.stream.set_read_timeout(Some(left)).and_then(|()| self.stream.read(&mut chunk));
            match result {
                Ok(0) => return Err(self.closed(asked)),
                Ok(count) => self.buffer.extend_from_slice(&chunk[..count]),
                Err(error) => self.judge(error, asked)?,
            }
        }
    }

    /// The next line if it is already here. The first `searched` bytes are known to have no end of a line.
    pub(crate) fn received(&mut self, searched: usize) -> Option<Vec<u8>> {
        let text = &self.buffer[self.start..];
        let len = searched + text[searched..].iter().position(|&byte| byte == b'\n')?;
        let line = text[..len].to_vec();
        self.start += len + 1;
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        } else if self.start > LONGEST_LINE {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        Some(line)
    }

    fn time_left(&mut self, asked: &str, deadline: Instant) -> Result<Duration, Error> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let (asked, waited, stderr) = (shortened(asked.as_bytes()), self.timeout, self.stderr());
            return Err(self.kill(Error::TimedOut { asked, waited, stderr }));
        }
        Ok(left)
    }

    /// Whether an error only means that the clock must be looked at again.
    fn judge(&mut self, error: std::io::Error, asked: &str) -> Result<(), Error> {
        match error.kind() {
            ErrorKind::Interrupted | ErrorKind::WouldBlock | ErrorKind::TimedOut => Ok(()),
            ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => Err(self.closed(asked)),
            _ => {
                let what = format!("talking to QEMU about {:?}", shortened(asked.as_bytes()));
                Err(self.kill(Error::Io { what, source: error }))
            }
        }
    }

    fn closed(&mut self, asked: &str) -> Error {
        let (asked, stderr) = (shortened(asked.as_bytes()), self.stderr());
        self.kill(Error::Closed { asked, stderr })
    }

    fn stderr(&self) -> String {
        self.console.as_ref().map_or(String::new(), |console| console.tail())
    }
}
