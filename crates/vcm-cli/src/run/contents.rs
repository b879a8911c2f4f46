//! What a buffer has to hold: kept beside the machine, and never read from it.

use super::visit::visit;
use std::convert::Infallible;
use vcm_platform::{Checksum, Layout, pattern};

const CHUNK: u64 = 4096;

/// Part of a buffer of which some bytes are known.
#[derive(Clone)]
struct Chunk {
    bytes: [u8; CHUNK as usize],
    known: [bool; CHUNK as usize],
}

/// The bytes of a buffer, as far as they are known.
pub struct Contents {
    chunks: Vec<Option<Box<Chunk>>>,
}

impl std::fmt::Debug for Contents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let known = self.chunks.iter().flatten().count();
        write!(f, "Contents({known} of {} pages)", self.chunks.len())
    }
}

impl Contents {
    /// Of a buffer of `len` bytes, of which nothing is known.
    pub fn new(len: u64) -> Self {
        Self { chunks: vec![None; len.div_ceil(CHUNK) as usize] }
    }

    fn set(&mut self, at: u64, value: Option<u8>) {
        let Some(slot) = self.chunks.get_mut((at / CHUNK) as usize) else { return };
        if value.is_none() && slot.is_none() {
            return;
        }
        let chunk = slot.get_or_insert_with(|| {
            Box::new(Chunk { bytes: [0; CHUNK as usize], known: [false; CHUNK as usize] })
        });
        let index = (at % CHUNK) as usize;
        chunk.known[index] = value.is_some();
        chunk.bytes[index] = value.unwrap_or(0);
    }

    /// The byte at an offset, if it is known.
    pub fn get(&self, at: u64) -> Option<u8> {
        let chunk = self.chunks.get((at / CHUNK) as usize)?.as_ref()?;
        let index = (at % CHUNK) as usize;
        chunk.known[index].then_some(chunk.bytes[index])
    }

    /// Nothing is known any more of `len` bytes from `at` on.
    pub fn forget(&mut self, at: u64, len: u64) {
        for byte in at..at.saturating_add(len).min(self.chunks.len() as u64 * CHUNK) {
            self.set(byte, None);
        }
    }

    /// The pattern of `seed` was written to a surface that begins at `at`.
    pub fn write_pattern(&mut self, at: u64, layout: Layout, seed: u64) {
        let mut index = 0;
        each_byte(layout, |offset| {
            self.set(at + offset, Some(pattern(seed, index)));
            index += 1;
        });
    }

    /// The bytes of a surface that begins at `at`, in the order of the visit.
    pub fn read(&self, at: u64, layout: Layout) -> Vec<Option<u8>> {
        let mut bytes = Vec::new();
        each_byte(layout, |offset| bytes.push(self.get(at + offset)));
        bytes
    }

    /// These bytes were written to a surface that begins at `at`, in the order of the visit.
    pub fn write(&mut self, at: u64, layout: Layout, bytes: &[Option<u8>]) {
        let mut bytes = bytes.iter();
        each_byte(layout, |offset| self.set(at + offset, bytes.next().copied().flatten()));
    }

    /// The stretches of which every byte is known: offset and length, up to 64 KiB each.
    pub fn known(&self) -> Vec<(u64, u64)> {
        let mut all: Vec<(u64, u64)> = Vec::new();
        for (index, chunk) in self.chunks.iter().enumerate() {
            let Some(chunk) = chunk else { continue };
            let base = index as u64 * CHUNK;
            for (at, _) in chunk.known.iter().enumerate().filter(|(_, known)| **known) {
                match all.last_mut() {
                    Some((start, len)) if *start + *len == base + at as u64 && *len < 1 << 16 => *len += 1,
                    _ => all.push((base + at as u64, 1)),
                }
            }
        }
        all
    }
}

/// The checksum of bytes of which all are known.
pub(super) fn checksum(bytes: &[Option<u8>]) -> Option<u64> {
    let mut sum = Checksum::new();
    for byte in bytes {
        sum.update(&[(*byte)?]);
    }
    Some(sum.value())
}

/// The checksum of the first `len` bytes of a pattern.
pub(super) fn pattern_checksum(seed: u64, len: u64) -> u64 {
    let mut sum = Checksum::new();
    for index in 0..len {
        sum.update(&[pattern(seed, index)]);
    }
    sum.value()
}

fn each_byte(layout: Layout, mut byte: impl FnMut(u64)) {
    let done: Result<(), Infallible> = visit(layout, |offset, len| {
        (offset..offset + len).for_each(&mut byte);
        Ok(())
    });
    let Ok(()) = done;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_by_columns_turns_a_picture() {
        let picture =
            |width, height| vcm_platform::Rectangle { width, height, bytes_per_pixel: 1, stride: width };
        let (mut from, mut to) = (Contents::new(6), Contents::new(6));
        from.write_pattern(0, Layout::Linear { len: 6 }, 9);
        let bytes = from.read(0, Layout::Columns(picture(3, 2)));
        to.write(0, Layout::Rectangle(picture(2, 3)), &bytes);
        let turned: Vec<_> = (0..6).map(|at| to.get(at)).collect();
        assert_eq!(turned, [0, 3, 1, 4, 2, 5].map(|index| Some(pattern(9, index))));
        assert_eq!(to.known(), [(0, 6)]);
    }

    #[test]
    fn what_nobody_wrote_is_not_known() {
        let mut contents = Contents::new(8192);
        contents.write_pattern(4094, Layout::Linear { len: 4 }, 1);
        assert_eq!(contents.known(), [(4094, 4)]);
        assert_eq!(checksum(&contents.read(4093, Layout::Linear { len: 2 })), None);
        let all = contents.read(4094, Layout::Linear { len: 4 });
        assert_eq!(checksum(&all), Some(pattern_checksum(1, 4)));
        contents.forget(4095, 1);
        assert_eq!(contents.known(), [(4094, 1), (4096, 2)]);
    }
}
