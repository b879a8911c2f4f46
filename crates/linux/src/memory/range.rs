//! Parts of a memory.
#![allow(unsafe_code, reason = "an address inside a mapping is computed")]

use super::MemoryFile;
use crate::Error;
use std::ptr::NonNull;
use std::sync::Arc;

/// A part of a memory.
#[derive(Clone, Copy, Debug)]
pub struct MemoryRange<'m> {
    file: &'m MemoryFile,
    offset: u64,
    len: u64,
}

impl<'m> MemoryRange<'m> {
    pub(super) fn new(file: &'m MemoryFile, offset: u64, len: u64) -> Result<Self, Error> {
        file.check(offset, len)?;
        Ok(Self { file, offset, len })
    }

    /// The memory that it is part of.
    pub const fn file(&self) -> &'m MemoryFile {
        self.file
    }

    /// Where it begins in the file, in bytes.
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Its length in bytes, at least 1.
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether it has no bytes. It never is so.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where it is in this process. Valid as long as the file: who tells the kernel to go by this address later on, as a
    /// guest's memory slot does, holds a [`MemoryPiece`] for as long.
    pub const fn address(&self) -> NonNull<u8> {
        // SAFETY: `new` checked that the offset is inside the mapping.
        unsafe { self.file.base().add(self.offset as usize) }
    }

    /// Whether it begins and ends where pages of the file do.
    pub const fn is_whole_pages(&self) -> bool {
        (self.offset | self.len).is_multiple_of(self.file.page_len())
    }
}

/// A part of a memory, which holds it.
#[derive(Clone, Debug)]
pub struct MemoryPiece {
    file: Arc<MemoryFile>,
    offset: u64,
    len: u64,
}

impl MemoryPiece {
    /// The part of `file` from `offset` on for `len` bytes.
    ///
    /// # Errors
    /// [`Error::Argument`] when it has not so much, or for no bytes.
    pub fn new(file: Arc<MemoryFile>, offset: u64, len: u64) -> Result<Self, Error> {
        file.check(offset, len)?;
        Ok(Self { file, offset, len })
    }

    /// All of `file`.
    pub fn whole(file: Arc<MemoryFile>) -> Self {
        let len = file.len();
        Self { file, offset: 0, len }
    }

    /// The memory that it is part of.
    pub const fn file(&self) -> &Arc<MemoryFile> {
        &self.file
    }

    /// The same part, borrowed.
    pub fn range(&self) -> MemoryRange<'_> {
        // Checked when it was made; a file does not change its length.
        MemoryRange { file: &self.file, offset: self.offset, len: self.len }
    }

    /// Where it begins in the file, in bytes.
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Its length in bytes, at least 1.
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether it has no bytes. It never is so.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}
