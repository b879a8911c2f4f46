//! The line to the host.

use crate::protocol::Record;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;

/// The second serial port, and the kernel's log, which goes there too.
pub(crate) struct Report {
    port: File,
    kernel_log: Option<File>,
}

impl Report {
    pub(crate) fn open() -> std::io::Result<Self> {
        let port = OpenOptions::new().write(true).open("/dev/ttyS1")?;
        let mut report = Self { port, kernel_log: None };
        let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        match OpenOptions::new().read(true).custom_flags(nonblocking).open("/dev/kmsg") {
            Ok(log) => report.kernel_log = Some(log),
            Err(error) => {
                report.record(&Record::Trouble(format!("the kernel's log cannot be read: {error}")))
            }
        }
        Ok(report)
    }

    /// Sends one record. Each is one line: a line break in it would begin a line that is none.
    pub(crate) fn record(&mut self, record: &Record) {
        let line = record.to_string().replace(['\n', '\r'], " ") + "\n";
        // A port that takes nothing is noticed by the host, who hears nothing.
        let _ = self.port.write_all(line.as_bytes());
    }

    /// Passes on what the kernel has logged since the last time.
    pub(crate) fn kernel_log(&mut self) {
        let mut buffer = [0; 8192];
        while let Some(log) = self.kernel_log.as_mut() {
            match log.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => {
                    let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                    // What follows the first line are properties of the message.
                    let first = text.lines().next().unwrap_or_default();
                    self.record(&Record::Kernel(first.to_owned()));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // Records were overwritten before they were read.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                    self.record(&Record::Trouble("the kernel logged faster than it was read".into()));
                }
                Err(error) => {
                    self.kernel_log = None;
                    self.record(&Record::Trouble(format!("the kernel's log cannot be read: {error}")));
                }
            }
        }
    }

    /// Waits until the host has everything.
    pub(crate) fn drain(&self) {
        let _ = rustix::termios::tcdrain(&self.port);
    }
}
