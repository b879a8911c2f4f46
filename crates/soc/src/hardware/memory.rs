//! Physical memory: several memories on one bus, backed by storage only where they were touched.

use std::fmt;
use vcm::Span;

/// Storage and records are kept per chunk of this many bytes, made when first needed.
const CHUNK: u64 = 1 << 20;
/// Ownership is recorded per granule of this many bytes: the smallest page table of the machine (Arm ARM
/// DDI 0406C B3.5.1: a level-2 table has 256 entries of 4 bytes).
const GRANULE: u64 = 1 << 10;
/// The largest memory: the list of its chunks alone takes memory of the host.
const LARGEST: u128 = 1 << 40;
/// Granules in a chunk.
const GRANULES: usize = (CHUNK / GRANULE) as usize;

/// No memory answers at an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BusError {
    /// The physical address that was asked for.
    pub address: u64,
}

impl fmt::Display for BusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no memory answers at {:#x}", self.address)
    }
}

impl std::error::Error for BusError {}

/// When a piece of memory was last given back, in transaction numbers, and whether somebody owns it again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ownership {
    /// It was never given back.
    Untouched,
    /// It was given back, and nobody owns it.
    GivenBack {
        /// The number of the last transaction before that.
        at: u64,
    },
    /// It was given back once, and handed out again.
    HandedOutAgain {
        /// The number of the last transaction before it was given back.
        given_back_at: u64,
    },
}

impl Ownership {
    /// The number of the last transaction before the memory was last given back, if it ever was.
    pub const fn given_back_at(self) -> Option<u64> {
        match self {
            Self::Untouched => None,
            Self::GivenBack { at } | Self::HandedOutAgain { given_back_at: at } => Some(at),
        }
    }
}

/// One memory.
#[derive(Debug)]
struct Bank {
    name: String,
    span: Span,
    bytes: Vec<Option<Box<[u8]>>>,
    owners: Vec<Option<Box<[Ownership]>>>,
}

/// A memory that cannot be added.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MemoryError {
    /// Another one answers there.
    Overlap {
        /// The memory that was to be added.
        added: String,
        /// The one that is there.
        present: String,
    },
    /// It is larger than 1 TiB.
    TooLarge {
        /// The memory that was to be added.
        added: String,
    },
}

impl fmt::Display for MemoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Overlap { added, present } => write!(f, "memory `{added}` overlaps memory `{present}`"),
            Self::TooLarge { added } => write!(f, "memory `{added}` is larger than 1 TiB"),
        }
    }
}

impl std::error::Error for MemoryError {}

/// Every memory on the bus.
#[derive(Debug, Default)]
pub struct Memories {
    banks: Vec<Bank>,
}

impl Memories {
    /// No memory at all.
    pub const fn new() -> Self {
        Self { banks: Vec::new() }
    }

    /// Adds a memory at `span`. It reads as zeros.
    ///
    /// # Errors
    /// [`MemoryError`].
    pub fn add(&mut self, name: &str, span: Span) -> Result<(), MemoryError> {
        let added = name.to_owned();
        if let Some(present) = self.banks.iter().find(|bank| bank.span.overlaps(span)) {
            return Err(MemoryError::Overlap { added, present: present.name.clone() });
        }
        if span.len() > LARGEST {
            return Err(MemoryError::TooLarge { added });
        }
        let chunks = (span.len().div_ceil(u128::from(CHUNK))) as usize;
        let bank = Bank {
            name: name.to_owned(),
            span,
            bytes: (0..chunks).map(|_| None).collect(),
            owners: (0..chunks).map(|_| None).collect(),
        };
        self.banks.push(bank);
        Ok(())
    }

    /// The name of the memory that answers at `address`.
    pub fn name_at(&self, address: u64) -> Option<&str> {
        self.bank_at(address).map(|bank| bank.name.as_str())
    }

    fn bank_at(&self, address: u64) -> Option<&Bank> {
        self.banks.iter().find(|bank| bank.span.contains(address))
    }

    fn bank_at_mut(&mut self, address: u64) -> Option<&mut Bank> {
        self.banks.iter_mut().find(|bank| bank.span.contains(address))
    }

    /// Reads `bytes.len()` bytes from `address` on.
    ///
    /// # Errors
    /// [`BusError`] where no memory answers; `bytes` before it were read.
    pub fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), BusError> {
        let mut at = address;
        let mut rest = bytes;
        while !rest.is_empty() {
            let bank = self.bank_at(at).ok_or(BusError { address: at })?;
            let (chunk, inside, len) = bank.piece(at, rest.len());
            let (now, later) = rest.split_at_mut(len);
            match &bank.bytes[chunk] {
                Some(storage) => now.copy_from_slice(&storage[inside..inside + len]),
                None => now.fill(0),
            }
            rest = later;
            at = at.wrapping_add(len as u64);
        }
        Ok(())
    }

    /// Writes `bytes` from `address` on.
    ///
    /// # Errors
    /// [`BusError`] where no memory answers; the bytes before it were written.
    pub fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), BusError> {
        let mut at = address;
        let mut rest = bytes;
        while !rest.is_empty() {
            let bank = self.bank_at_mut(at).ok_or(BusError { address: at })?;
            let (chunk, inside, len) = bank.piece(at, rest.len());
            let storage = bank.bytes[chunk].get_or_insert_with(|| vec![0; CHUNK as usize].into_boxed_slice());
            storage[inside..inside + len].copy_from_slice(&rest[..len]);
            rest = &rest[len..];
            at = at.wrapping_add(len as u64);
        }
        Ok(())
    }

    /// Reads a 32-bit little-endian word.
    ///
    /// # Errors
    /// [`BusError`] where no memory answers.
    pub fn read_u32(&self, address: u64) -> Result<u32, BusError> {
        let mut bytes = [0; 4];
        self.read(address, &mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    /// Writes a 32-bit little-endian word.
    ///
    /// # Errors
    /// [`BusError`] where no memory answers.
    pub fn write_u32(&mut self, address: u64, value: u32) -> Result<(), BusError> {
        self.write(address, &value.to_le_bytes())
    }

    /// Reads a 64-bit little-endian word.
    ///
    /// # Errors
    /// [`BusError`] where no memory answers.
    pub fn read_u64(&self, address: u64) -> Result<u64, BusError> {
        let mut bytes = [0; 8];
        self.read(address, &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// Writes a 64-bit little-endian word.
    ///
    /// # Errors
    /// [`BusError`] where no memory answers.
    pub fn write_u64(&mut self, address: u64, value: u64) -> Result<(), BusError> {
        self.write(address, &value.to_le_bytes())
    }

    /// Records that whole granules of `span` were given back after transaction `now`.
    pub fn give_back(&mut self, span: Span, now: u64) {
        self.record(span, |_| Ownership::GivenBack { at: now });
    }

    /// Records that `span` was handed out again.
    pub fn hand_out(&mut self, span: Span) {
        self.record(span, |owner| match owner.given_back_at() {
            None => Ownership::Untouched,
            Some(given_back_at) => Ownership::HandedOutAgain { given_back_at },
        });
    }

    fn record(&mut self, span: Span, change: impl Fn(Ownership) -> Ownership) {
        let Some(span) = span.aligned_inside(GRANULE) else { return };
        for bank in &mut self.banks {
            let Some(part) = bank.span.intersection(span) else { continue };
            let first = part.first() - bank.span.first();
            let last = part.last() - bank.span.first();
            for chunk in first / CHUNK..=last / CHUNK {
                let begin = (first.max(chunk * CHUNK) % CHUNK / GRANULE) as usize;
                let end = (last.min(chunk * CHUNK + (CHUNK - 1)) % CHUNK / GRANULE) as usize;
                let owners = bank.owners[chunk as usize]
                    .get_or_insert_with(|| vec![Ownership::Untouched; GRANULES].into_boxed_slice());
                for owner in &mut owners[begin..=end] {
                    *owner = change(*owner);
                }
            }
        }
    }

    /// What is recorded of the owner of the granule at `address`.
    pub fn ownership(&self, address: u64) -> Ownership {
        let Some(bank) = self.bank_at(address) else { return Ownership::Untouched };
        let inside = address - bank.span.first();
        match &bank.owners[(inside / CHUNK) as usize] {
            Some(owners) => owners[(inside % CHUNK / GRANULE) as usize],
            None => Ownership::Untouched,
        }
    }

    /// Bytes of storage that the memories take of the host: what was written to, in whole chunks.
    pub fn resident(&self) -> u64 {
        self.banks.iter().flat_map(|bank| &bank.bytes).filter(|chunk| chunk.is_some()).count() as u64 * CHUNK
    }
}

impl Bank {
    /// The chunk that holds `address`, the place inside it, and how many of `len` bytes are in it.
    fn piece(&self, address: u64, len: usize) -> (usize, usize, usize) {
        let offset = address - self.span.first();
        let inside = offset % CHUNK;
        let room = (CHUNK - inside).min(self.span.last() - address + 1);
        ((offset / CHUNK) as usize, inside as usize, len.min(room as usize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memories() -> Memories {
        let mut memories = Memories::new();
        memories.add("smi", Span::new(0x3800_0000, 64 << 20).unwrap()).unwrap();
        memories.add("ebi", Span::new(0x4000_0000, 1 << 30).unwrap()).unwrap();
        memories
    }

    #[test]
    fn a_large_memory_costs_nothing_until_it_is_written() {
        let mut memories = memories();
        let mut bytes = [1; 8];
        memories.read(0x5000_0000, &mut bytes).unwrap();
        assert_eq!((bytes, memories.resident()), ([0; 8], 0));
        memories.write(0x5000_0000 - 4, &[7; 8]).unwrap();
        assert_eq!(memories.resident(), 2 * CHUNK);
        memories.read(0x5000_0000 - 4, &mut bytes).unwrap();
        assert_eq!(bytes, [7; 8]);
    }

    #[test]
    fn words_are_little_endian() {
        let mut memories = memories();
        memories.write_u64(0x3800_0000, 0x1122_3344_5566_7788).unwrap();
        assert_eq!(memories.read_u32(0x3800_0004), Ok(0x1122_3344));
        memories.write_u32(0x3800_0000, 1).unwrap();
        assert_eq!(memories.read_u64(0x3800_0000), Ok(0x1122_3344_0000_0001));
    }

    #[test]
    fn where_no_memory_is_nothing_answers() {
        let mut memories = memories();
        assert_eq!(memories.read_u32(0x1000), Err(BusError { address: 0x1000 }));
        // The last word of a memory, and past it.
        assert_eq!(memories.write_u64(0x3bff_fffc, 0), Err(BusError { address: 0x3c00_0000 }));
        assert_eq!(memories.name_at(0x3bff_ffff), Some("smi"));
        let mut top = Memories::new();
        top.add("top", Span::inclusive(u64::MAX - 0xfff, u64::MAX).unwrap()).unwrap();
        assert!(top.read_u32(u64::MAX - 3).is_ok());
        assert!(top.read_u32(u64::MAX - 2).is_err());
    }

    #[test]
    fn no_two_memories_at_one_address() {
        let mut memories = memories();
        let error = memories.add("again", Span::new(0x3bff_f000, 0x2000).unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "memory `again` overlaps memory `smi`");
    }

    #[test]
    fn no_memory_is_larger_than_the_host_can_list() {
        assert!(matches!(Memories::new().add("all", Span::ALL), Err(MemoryError::TooLarge { .. })));
    }

    #[test]
    fn ownership_is_known_by_granule() {
        let mut memories = memories();
        let span = Span::new(0x400f_fc00, 0x800).unwrap();
        memories.give_back(span, 41);
        assert_eq!(memories.ownership(0x400f_fbff), Ownership::Untouched);
        assert_eq!(memories.ownership(0x400f_fc00), Ownership::GivenBack { at: 41 });
        assert_eq!(memories.ownership(0x4010_03ff), Ownership::GivenBack { at: 41 });
        assert_eq!(memories.ownership(0x4010_0400), Ownership::Untouched);
        memories.hand_out(Span::new(0x4010_0000, 0x1000).unwrap());
        assert_eq!(memories.ownership(0x4010_0000), Ownership::HandedOutAgain { given_back_at: 41 });
        assert_eq!(memories.ownership(0x4010_0400), Ownership::Untouched);
        assert_eq!(memories.ownership(0x10), Ownership::Untouched);
    }
}
