//! The ports of an x86 machine, seen from its first CPU.

use crate::error::Error;
use crate::qtest::{Qtest, Width};

impl Qtest {
    /// Reads 8, 16 or 32 bits from a port of an x86 machine.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] for 64 bits, and those of the connection: see [`Error`].
    pub fn read_port(&mut self, width: Width, port: u16) -> Result<u32, Error> {
        check_port(width, 0)?;
        let mut batch = self.batch();
        batch.read_port(width, port);
        Ok(batch.run()?.first().map_or(0, |&value| value as u32))
    }

    /// Writes 8, 16 or 32 bits to a port of an x86 machine.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] for 64 bits or when `value` does not fit, and those of the connection: see [`Error`].
    pub fn write_port(&mut self, width: Width, port: u16, value: u32) -> Result<(), Error> {
        check_port(width, value)?;
        let mut batch = self.batch();
        batch.write_port(width, port, value);
        batch.run().map(drop)
    }
}

fn check_port(width: Width, value: u32) -> Result<(), Error> {
    if width == Width::Bits64 || u64::from(value) > width.max() {
        return Err(Error::argument(format!(
            "{value:#x} as {} bytes of a port, which has 1 to 4",
            width.bytes()
        )));
    }
    Ok(())
}
