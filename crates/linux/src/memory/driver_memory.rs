//! Memory for drivers' queues and tables.

use super::MemoryPiece;
use crate::Error;
use std::sync::atomic::Ordering;
use vcm::range::{Alignment, Ranges, Request};
use vcm::{OutOfMemory, PhysicalAddress, Span};
use vcm_iommu::SharedMemory;

/// The unit of allocations: what a CPU's cache holds together. Two queues never share it.
const UNIT: u64 = 64;

/// A part of a memory that drivers allocate from, by the addresses at which their device sees it.
///
/// Reads outside of it give ones, writes there are dropped: a device's answer may have led there.
#[derive(Debug)]
pub struct DriverMemory {
    piece: MemoryPiece,
    at: u64,
    used: Ranges<()>,
}

impl DriverMemory {
    /// All of `piece`, whose first byte the device sees at `at`.
    ///
    /// # Errors
    /// [`Error::Argument`] when address, offset and length are not multiples of 64, or when the piece would pass the end of
    /// the space.
    pub fn new(piece: MemoryPiece, at: PhysicalAddress) -> Result<Self, Error> {
        let what = || format!("{:#x} bytes for drivers at {at}", piece.len());
        let span = Span::new(at.raw(), piece.len());
        let span = span.ok_or_else(|| Error::argument(what(), "it passes the end of the space"))?;
        if !span.is_aligned(UNIT) || !piece.offset().is_multiple_of(UNIT) {
            return Err(Error::argument(what(), format!("not in multiples of {UNIT}")));
        }
        Ok(Self { piece, at: at.raw(), used: Ranges::new(span, UNIT) })
    }

    /// The addresses at which the device sees it.
    pub const fn span(&self) -> Span {
        self.used.window()
    }

    /// Bytes that nobody has allocated.
    pub const fn free_bytes(&self) -> u128 {
        self.used.free_bytes()
    }

    /// Where `len` bytes at `address` are in the file.
    fn offset(&self, address: PhysicalAddress, len: u64) -> Option<u64> {
        let span = Span::new(address.raw(), len)?;
        self.span().covers(span).then(|| self.piece.offset() + (address.raw() - self.at))
    }
}

impl SharedMemory for DriverMemory {
    fn allocate(&mut self, size: u64, align: u64) -> Result<PhysicalAddress, OutOfMemory> {
        let len = size.checked_next_multiple_of(UNIT).ok_or(OutOfMemory)?;
        let request =
            Request { len: u128::from(len), alignment: Alignment::Exactly(align), within: self.span() };
        let key = self.used.place(&request, ()).map_err(|_| OutOfMemory)?;
        let first = self.used.span_of(key).ok_or(OutOfMemory)?.first();
        let address = PhysicalAddress::new(first);
        let offset = self.offset(address, len).ok_or(OutOfMemory)?;
        const ZEROS: [u8; 4096] = [0; 4096];
        let mut done = 0;
        while done < len {
            let part = (len - done).min(ZEROS.len() as u64);
            self.piece.file().write(offset + done, &ZEROS[..part as usize]).map_err(|_| OutOfMemory)?;
            done += part;
        }
        Ok(address)
    }

    fn free(&mut self, address: PhysicalAddress, size: u64) {
        let found = self.used.find(address.raw()).filter(|(_, span, ())| {
            span.first() == address.raw() && span.len() == u128::from(size).next_multiple_of(u128::from(UNIT))
        });
        let key = found.map(|(key, ..)| key);
        debug_assert!(key.is_some(), "{size:#x} bytes at {address} are freed, but not in use");
        if let Some(key) = key {
            let _ = self.used.remove(key);
        }
    }

    // Sequentially consistent, because accesses are to be seen in the order of the calls, a read after a write as well.

    fn read32(&mut self, address: PhysicalAddress) -> u32 {
        let word =
            self.offset(address, 4).map(|offset| self.piece.file().load_ordered(offset, Ordering::SeqCst));
        word.and_then(Result::ok).unwrap_or(u32::MAX)
    }

    fn write32(&mut self, address: PhysicalAddress, value: u32) {
        if let Some(offset) = self.offset(address, 4) {
            let _ = self.piece.file().store_ordered(offset, value, Ordering::SeqCst);
        }
    }

    fn read64(&mut self, address: PhysicalAddress) -> u64 {
        let word =
            self.offset(address, 8).map(|offset| self.piece.file().load_ordered(offset, Ordering::SeqCst));
        word.and_then(Result::ok).unwrap_or(u64::MAX)
    }

    fn write64(&mut self, address: PhysicalAddress, value: u64) {
        if let Some(offset) = self.offset(address, 8) {
            let _ = self.piece.file().store_ordered(offset, value, Ordering::SeqCst);
        }
    }
}
