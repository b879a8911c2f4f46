//! Scattered parts of memories, side by side.
#![allow(unsafe_code, reason = "an address inside a mapping is computed")]

use super::{CpuSpace, MemoryPiece};
use crate::Error;
use std::ptr::NonNull;
use vcm::{Access, CpuAddress, SIZE_2M};

/// Several parts of memories mapped one behind the other in this process: one guest's memory slot, or one mapping by address,
/// for all of them.
///
/// Who has told the kernel the address holds this value until the kernel has forgotten it.
#[derive(Debug)]
pub struct Stitched {
    space: CpuSpace,
    first: CpuAddress,
    len: u64,
    pieces: Vec<MemoryPiece>,
}

impl Stitched {
    /// Maps `pieces` side by side, for reading and writing. Addresses are congruent with the offset of the first piece in its
    /// file, so that it can keep its huge pages.
    ///
    /// # Errors
    /// [`Error::Argument`] for no pieces; when a piece is not of whole pages, or does not come to lie at a multiple of its page
    /// size behind those before it. Those of [`CpuSpace::back`].
    pub fn new(pieces: Vec<MemoryPiece>) -> Result<Self, Error> {
        let what = || format!("{} pieces side by side", pieces.len());
        let sum = pieces.iter().try_fold(0_u64, |sum, piece| sum.checked_add(piece.len()));
        let len = sum.ok_or_else(|| Error::argument(what(), "longer than any space"))?;
        let Some(start) = pieces.first() else {
            return Err(Error::argument(what(), "there is nothing to map"));
        };
        let page_len = pieces.iter().map(|piece| piece.file().page_len()).max().unwrap_or(0);
        let alignment = if len >= SIZE_2M { page_len.max(SIZE_2M) } else { page_len };
        let skipped = start.offset() % alignment;
        let total =
            len.checked_add(skipped).ok_or_else(|| Error::argument(what(), "longer than any space"))?;
        let mut space = CpuSpace::reserve(total, alignment)?;
        let first = CpuAddress::new(space.span().first() + skipped);
        let ranges: Vec<_> = pieces.iter().map(MemoryPiece::range).collect();
        space.back(first, &ranges, Access::READ_WRITE)?;
        Ok(Self { space, first, len, pieces })
    }

    /// Where its first byte is in this process. Valid as long as this value.
    pub fn address(&self) -> NonNull<u8> {
        let skipped = self.first.raw() - self.space.span().first();
        // SAFETY: `new` has reserved the bytes that are skipped, and more.
        unsafe { self.space.base().add(skipped as usize) }
    }

    /// Its length in bytes.
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether it has no bytes. It never is so.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What it is made of, in order.
    pub fn pieces(&self) -> &[MemoryPiece] {
        &self.pieces
    }

    /// Reads `bytes.len()` bytes from `offset` on.
    ///
    /// # Errors
    /// EFAULT when it has not so much.
    pub fn read(&self, offset: u64, bytes: &mut [u8]) -> Result<(), Error> {
        self.space.read(self.at(offset)?, bytes)
    }

    /// Writes `bytes` from `offset` on.
    ///
    /// # Errors
    /// EFAULT when it has not so much; nothing is written then.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        self.space.write(self.at(offset)?, bytes)
    }

    fn at(&self, offset: u64) -> Result<CpuAddress, Error> {
        let at = self.first.checked_add(offset);
        at.ok_or_else(|| {
            Error::argument(format!("the offset {offset:#x}"), format!("there are {:#x} bytes", self.len))
        })
    }
}
