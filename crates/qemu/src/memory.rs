//! The machine's memory as a file that QEMU shares with us.

use crate::error::Error;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use vcm::PhysicalAddress;

/// The machine's RAM. Reads and writes are system calls on the file that QEMU has mapped, much quicker than the
/// qtest socket; QEMU's devices see them at once. Cheap to clone; a clone is the same memory, and outlives QEMU.
#[derive(Clone, Debug)]
pub struct Memory {
    file: Arc<File>,
    start: PhysicalAddress,
    len: u64,
}

impl Memory {
    pub(crate) fn new(file: File, start: PhysicalAddress, len: u64) -> Self {
        Self { file: Arc::new(file), start, len }
    }

    /// Where it starts.
    pub fn start(&self) -> PhysicalAddress {
        self.start
    }

    /// Its length in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is none; there always is some.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Reads `bytes.len()` bytes from `address` on.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] outside of the memory, [`Error::Io`] when the file cannot be read.
    pub fn read(&self, address: PhysicalAddress, bytes: &mut [u8]) -> Result<(), Error> {
        let offset = self.offset(address, bytes.len())?;
        self.file.read_exact_at(bytes, offset).map_err(Error::io("reading QEMU's memory"))
    }

    /// Writes `bytes` from `address` on.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] outside of the memory, [`Error::Io`] when the file cannot be written.
    pub fn write(&self, address: PhysicalAddress, bytes: &[u8]) -> Result<(), Error> {
        let offset = self.offset(address, bytes.len())?;
        self.file.write_all_at(bytes, offset).map_err(Error::io("writing QEMU's memory"))
    }

    fn offset(&self, address: PhysicalAddress, len: usize) -> Result<u64, Error> {
        let offset = address.raw().checked_sub(self.start.raw());
        let inside = |&offset: &u64| offset.checked_add(len as u64).is_some_and(|end| end <= self.len);
        offset.filter(inside).ok_or_else(|| {
            let (address, start, size) = (address.raw(), self.start.raw(), self.len);
            Error::argument(format!(
                "{len} bytes from {address:#x} on are not in the memory of {size:#x} bytes from {start:#x} on"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_memory_itself_is_reached() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(0x1000).unwrap();
        let memory = Memory::new(file, PhysicalAddress::new(0x4000_0000), 0x1000);
        let at = PhysicalAddress::new;
        memory.write(at(0x4000_0ffe), b"ab").unwrap();
        let mut bytes = [0; 3];
        memory.read(at(0x4000_0ffd), &mut bytes).unwrap();
        assert_eq!(&bytes, b"\0ab");
        for (address, len) in [(0x3fff_ffff, 1), (0x4000_0fff, 2), (0x4000_1000, 1), (u64::MAX, 1)] {
            let error = memory.write(at(address), &vec![0; len]).unwrap_err();
            assert!(matches!(error, Error::Argument { .. }), "{address:#x}: {error}");
        }
    }
}
