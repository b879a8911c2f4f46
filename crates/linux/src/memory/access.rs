//! Reading and writing a memory.
#![allow(unsafe_code, reason = "shared memory is reached by raw pointers")]

use super::MemoryFile;
use super::copy::{self, Word};
use crate::Error;
use std::sync::atomic::Ordering;

impl MemoryFile {
    /// Reads `bytes.len()` bytes from `offset` on. Each aligned word of eight bytes that somebody writes meanwhile is read as
    /// before or as after.
    ///
    /// # Errors
    /// [`Error::Argument`] when the memory has not so much.
    pub fn read(&self, offset: u64, bytes: &mut [u8]) -> Result<(), Error> {
        if bytes.is_empty() {
            return Ok(());
        }
        let at = self.range(offset, bytes.len() as u64)?.address();
        // SAFETY: the whole file is mapped for reading and writing as long as it lives, and no reference to it is ever made.
        unsafe { copy::read(at.as_ptr(), bytes) };
        Ok(())
    }

    /// Writes `bytes` from `offset` on, each aligned word of eight bytes in one piece. What is to be seen before or after it
    /// by a device is written by [`store`](Self::store).
    ///
    /// # Errors
    /// [`Error::Argument`] when the memory has not so much.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        if bytes.is_empty() {
            return Ok(());
        }
        let at = self.range(offset, bytes.len() as u64)?.address();
        // SAFETY: as in `read`.
        unsafe { copy::write(at.as_ptr(), bytes) };
        Ok(())
    }

    /// Reads a little-endian number in one piece. What is read after it is not older (acquire).
    ///
    /// # Errors
    /// [`Error::Argument`] when `offset` is not a multiple of the number's size, or behind the end.
    pub fn load<W: Word>(&self, offset: u64) -> Result<W, Error> {
        self.load_ordered(offset, Ordering::Acquire)
    }

    /// Writes a little-endian number in one piece, after everything that was written before (release).
    ///
    /// # Errors
    /// [`Error::Argument`] when `offset` is not a multiple of the number's size, or behind the end.
    pub fn store<W: Word>(&self, offset: u64, value: W) -> Result<(), Error> {
        self.store_ordered(offset, value, Ordering::Release)
    }

    pub(super) fn load_ordered<W: Word>(&self, offset: u64, ordering: Ordering) -> Result<W, Error> {
        let at = self.word_at::<W>(offset)?;
        // SAFETY: as in `read`; `word_at` looked at the alignment.
        Ok(unsafe { W::load(at, ordering) })
    }

    pub(super) fn store_ordered<W: Word>(
        &self,
        offset: u64,
        value: W,
        ordering: Ordering,
    ) -> Result<(), Error> {
        let at = self.word_at::<W>(offset)?;
        // SAFETY: as in `read`; `word_at` looked at the alignment.
        unsafe { value.store(at, ordering) };
        Ok(())
    }

    fn word_at<W: Word>(&self, offset: u64) -> Result<*mut u8, Error> {
        let size = size_of::<W>() as u64;
        // A mapping begins at a multiple of a page: offsets are aligned as addresses are.
        if !offset.is_multiple_of(size) {
            let what = format!("{size} bytes in one piece at {offset:#x} of `{}`", self.name());
            return Err(Error::argument(what, format!("not a multiple of {size}")));
        }
        Ok(self.range(offset, size)?.address().as_ptr())
    }
}
