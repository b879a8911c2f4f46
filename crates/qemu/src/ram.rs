//! The machine's RAM as drivers and page tables use it.

mod area;

use crate::bus::Bus;
use crate::error::Error;
use crate::failure::FirstFailure;
use crate::memory::Memory;
use area::Area;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use vcm::{OutOfMemory, PhysicalAddress, Span};
use vcm_iommu::SharedMemory;
use vcm_pagetable::{TableError, TableMemory, Word};

/// As many words are searched at once: those of a table of 4 KiB.
const SEARCHED: usize = 512;
/// As much is written at once.
const CHUNK: usize = 64 << 10;

/// A part of the machine's RAM with an allocator, for page tables, queues and buffers. Cheap to clone; a clone is the
/// same part and the same allocator.
///
/// Accesses are system calls on the file that is QEMU's RAM. Words are written by the operating system's copy of 4 or
/// 8 aligned bytes, which it does in one piece without having promised to. QEMU's IOMMUs read while they do what a
/// register write or a bus master asked for.
///
/// Outside of the RAM, reads give all ones, writes are dropped, and [`Bus::failure`] tells of the first one.
#[derive(Clone, Debug)]
pub struct Ram {
    memory: Memory,
    area: Arc<Mutex<Area>>,
    failure: FirstFailure,
}

impl Ram {
    /// The part `span` of the machine's RAM, all of it free.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] when the machine has no RAM that can be reached from here, or not there.
    pub fn new(bus: &Bus, span: Span) -> Result<Self, Error> {
        let memory = bus.memory().ok_or_else(|| Error::argument("the machine's RAM cannot be reached"))?;
        for end in [span.first(), span.last()] {
            memory.read(PhysicalAddress::new(end), &mut [0])?;
        }
        let area = Arc::new(Mutex::new(Area::new(span)));
        Ok(Self { memory: memory.clone(), area, failure: bus.first_failure().clone() })
    }

    /// Takes `span` out of this part, as one of its own with its own allocator.
    ///
    /// # Errors
    ///
    /// [`OutOfMemory`] when not all of it is free here.
    pub fn part(&self, span: Span) -> Result<Self, OutOfMemory> {
        let len = u64::try_from(span.len()).map_err(|_| OutOfMemory)?;
        self.area().allocate_at(span.first(), len).ok_or(OutOfMemory)?;
        let area = Arc::new(Mutex::new(Area::new(span)));
        Ok(Self { memory: self.memory.clone(), area, failure: self.failure.clone() })
    }

    fn area(&self) -> MutexGuard<'_, Area> {
        self.area.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where it is.
    pub fn span(&self) -> Span {
        self.area().whole()
    }

    /// How many bytes are allocated.
    pub fn used_bytes(&self) -> u64 {
        self.area().used_bytes()
    }

    /// `size` bytes at a multiple of `align` bytes (a power of two), contiguous and all zero.
    ///
    /// # Errors
    ///
    /// [`OutOfMemory`] when there is not that much in one piece, for no bytes at all, and for other alignments.
    pub fn allocate(&self, size: u64, align: u64) -> Result<PhysicalAddress, OutOfMemory> {
        let start = self.area().allocate(size, align).ok_or(OutOfMemory)?;
        let start = PhysicalAddress::new(start);
        self.zero(start, size);
        Ok(start)
    }

    /// Takes back `size` bytes that [`Self::allocate`] gave at `address`. Anything else is passed over, but for a
    /// debug build, which panics: somebody frees what is not his.
    pub fn free(&self, address: PhysicalAddress, size: u64) {
        let was_used = self.area().free(address.raw(), size);
        debug_assert!(was_used, "{size:#x} bytes at {address} are freed, but not in use");
    }

    /// Takes back everything, whoever has it still.
    pub fn free_all(&self) {
        self.area().clear();
    }

    /// Writes zeros over `size` bytes from `address` on.
    fn zero(&self, address: PhysicalAddress, size: u64) {
        let zeros = [0; CHUNK];
        let mut done = 0;
        while done < size {
            let len = (size - done).min(CHUNK as u64);
            self.put(address.raw().wrapping_add(done), &zeros[..len as usize]);
            done += len;
        }
    }

    /// Reads `bytes.len()` bytes from `address` on; it need not be of this part.
    ///
    /// # Errors
    ///
    /// As [`Memory::read`].
    pub fn read_bytes(&self, address: PhysicalAddress, bytes: &mut [u8]) -> Result<(), Error> {
        self.memory.read(address, bytes)
    }

    /// Writes `bytes` from `address` on; it need not be of this part.
    ///
    /// # Errors
    ///
    /// As [`Memory::write`].
    pub fn write_bytes(&self, address: PhysicalAddress, bytes: &[u8]) -> Result<(), Error> {
        self.memory.write(address, bytes)
    }

    /// All ones outside of the RAM.
    fn get<const N: usize>(&self, address: u64) -> [u8; N] {
        let mut bytes = [0; N];
        let result = self.memory.read(PhysicalAddress::new(address), &mut bytes);
        self.failure.value_or(result.map(|()| bytes), [0xff; N])
    }

    fn put(&self, address: u64, bytes: &[u8]) {
        self.failure.value_or(self.memory.write(PhysicalAddress::new(address), bytes), ());
    }
}

impl SharedMemory for Ram {
    fn allocate(&mut self, size: u64, align: u64) -> Result<PhysicalAddress, OutOfMemory> {
        Ram::allocate(self, size, align)
    }

    fn free(&mut self, address: PhysicalAddress, size: u64) {
        Ram::free(self, address, size);
    }

    fn read32(&mut self, address: PhysicalAddress) -> u32 {
        u32::from_le_bytes(self.get(address.raw()))
    }

    fn write32(&mut self, address: PhysicalAddress, value: u32) {
        self.put(address.raw(), &value.to_le_bytes());
    }

    fn read64(&mut self, address: PhysicalAddress) -> u64 {
        u64::from_le_bytes(self.get(address.raw()))
    }

    fn write64(&mut self, address: PhysicalAddress, value: u64) {
        self.put(address.raw(), &value.to_le_bytes());
    }
}

impl<W: Word> TableMemory<W> for Ram {
    fn allocate(&mut self, size: u64, align: u64) -> Result<PhysicalAddress, TableError> {
        Ram::allocate(self, size, align).map_err(|OutOfMemory| TableError::OutOfMemory { size })
    }

    fn free(&mut self, table: PhysicalAddress, size: u64) {
        Ram::free(self, table, size);
    }

    fn read(&self, table: PhysicalAddress, index: usize) -> W {
        let address = word_address::<W>(table, index);
        if W::BYTES == 4 { word(&self.get::<4>(address)) } else { word(&self.get::<8>(address)) }
    }

    fn write(&mut self, table: PhysicalAddress, index: usize, value: W) {
        self.put(word_address::<W>(table, index), &value.widen().to_le_bytes()[..W::BYTES as usize]);
    }

    fn fill(&mut self, table: PhysicalAddress, index: usize, count: usize, first: W, step: W) {
        let mut value = first;
        let (mut index, end) = (index, index + count);
        while index < end {
            let words = (end - index).min(CHUNK / W::BYTES as usize);
            let mut bytes = Vec::with_capacity(words * W::BYTES as usize);
            for _ in 0..words {
                bytes.extend_from_slice(&value.widen().to_le_bytes()[..W::BYTES as usize]);
                value = value.wrapping_add(step);
            }
            self.put(word_address::<W>(table, index), &bytes);
            index += words;
        }
    }

    fn first_unlike(&self, table: PhysicalAddress, words: Range<usize>, mask: W, value: W) -> Option<usize> {
        let mut bytes = vec![0; words.len().min(SEARCHED) * W::BYTES as usize];
        for start in words.clone().step_by(SEARCHED) {
            let count = (words.end - start).min(SEARCHED);
            let bytes = &mut bytes[..count * W::BYTES as usize];
            let address = PhysicalAddress::new(word_address::<W>(table, start));
            if self.memory.read(address, bytes).is_err() {
                // One by one: it is told which cannot be read.
                return (start..words.end).find(|&index| differs(self.read(table, index), mask, value));
            }
            let mut found = bytes.chunks_exact(W::BYTES as usize).map(word);
            if let Some(offset) = found.position(|found| differs(found, mask, value)) {
                return Some(start + offset);
            }
        }
        None
    }
}

fn differs<W: Word>(found: W, mask: W, value: W) -> bool {
    (found ^ value) & mask != W::ZERO
}

/// A word of `bytes`, 4 or 8 of them.
fn word<W: Word>(bytes: &[u8]) -> W {
    W::truncate(bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)))
}

fn word_address<W: Word>(table: PhysicalAddress, index: usize) -> u64 {
    table.raw().wrapping_add((index as u64).wrapping_mul(W::BYTES))
}
