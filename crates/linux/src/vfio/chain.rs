//! Answers of variable length, with a chain of capabilities behind a fixed head.
//!
//! "INFO" calls take a structure that begins with its size. If the size does not suffice for the capabilities, the
//! kernel writes the size that would, and leaves them out.

use super::call::Call;
use crate::Error;
use rustix::fd::AsFd;

/// What nearly every answer fits in.
const USUAL: usize = 4096 / 8;
/// What is too much to believe: 4,000 areas of a region.
const MOST: usize = 65_536 / 8;

/// The bytes of an answer.
#[derive(Debug)]
pub(crate) struct Answer {
    object: String,
    bytes: Vec<u8>,
}

/// A capability of an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Capability<'a> {
    pub(crate) id: u16,
    /// From its header on: the offsets inside are those of the structure in the kernel's header.
    bytes: &'a [u8],
}

/// Makes `call` with a structure of 32-bit words that begin with `head`, after the size, and as much room behind as the
/// kernel wants.
///
/// # Safety
/// `call` takes a structure whose first 32 bits are its size, `head` are the fields after it, and no field is an address.
#[allow(unsafe_code, reason = "an ioctl is whatever its number says")]
pub(crate) unsafe fn ask(
    call: Call,
    descriptor: impl AsFd,
    object: &str,
    head: &[u32],
) -> Result<Answer, Error> {
    // SAFETY: the caller's promise.
    let first = unsafe { ask_with::<USUAL>(call, &descriptor, object, head) }?;
    let wanted = first.u32_at(0).unwrap_or(0) as usize;
    if wanted <= USUAL * 8 {
        return Ok(first);
    }
    if wanted > MOST * 8 {
        return Err(first.garbage(format!("{} wants {wanted} bytes", call.name)));
    }
    // SAFETY: the caller's promise.
    unsafe { ask_with::<MOST>(call, &descriptor, object, head) }
}

/// # Safety
/// As [`ask`].
#[allow(unsafe_code, reason = "an ioctl is whatever its number says")]
unsafe fn ask_with<const WORDS: usize>(
    call: Call,
    descriptor: impl AsFd,
    object: &str,
    head: &[u32],
) -> Result<Answer, Error> {
    // 64-bit words, so that the kernel's structures are aligned.
    let mut words = Box::new([0_u64; WORDS]);
    let fields = std::iter::once((WORDS * 8) as u32).chain(head.iter().copied());
    let bytes: Vec<u8> = fields.flat_map(u32::to_ne_bytes).collect();
    for (word, bytes) in words.iter_mut().zip(bytes.chunks(8)) {
        let mut whole = [0; 8];
        whole.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        *word = u64::from_ne_bytes(whole);
    }
    // SAFETY: the size that is told is that of the array, and the caller promises the rest.
    unsafe { call.with(descriptor, object, &mut *words) }?;
    let bytes = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    Ok(Answer { object: object.into(), bytes })
}

fn field<const LEN: usize>(bytes: &[u8], offset: usize) -> Option<[u8; LEN]> {
    bytes.get(offset..)?.first_chunk().copied()
}

impl Answer {
    /// The 32-bit field at `offset`.
    pub(crate) fn u32_at(&self, offset: usize) -> Option<u32> {
        field(&self.bytes, offset).map(u32::from_ne_bytes)
    }

    /// The 64-bit field at `offset`.
    pub(crate) fn u64_at(&self, offset: usize) -> Option<u64> {
        field(&self.bytes, offset).map(u64::from_ne_bytes)
    }

    /// A complaint about what it says.
    pub(crate) fn garbage(&self, what: impl Into<String>) -> Error {
        Error::Garbage { object: self.object.clone(), what: what.into() }
    }

    /// The field at `offset`, that every kernel has.
    pub(crate) fn head(&self, offset: usize) -> Result<u32, Error> {
        self.u32_at(offset).ok_or_else(|| self.garbage("its answer is cut short"))
    }

    /// The field at `offset`, that every kernel has.
    pub(crate) fn head64(&self, offset: usize) -> Result<u64, Error> {
        self.u64_at(offset).ok_or_else(|| self.garbage("its answer is cut short"))
    }

    /// The capabilities, the first of which is at `first`. None when that is 0.
    ///
    /// # Errors
    /// [`Error::Garbage`] when one is behind the end, or not behind the one before it: that could be a circle.
    pub(crate) fn capabilities(&self, first: u32) -> Result<Vec<Capability<'_>>, Error> {
        let mut found = Vec::new();
        let (mut at, mut before) = (first as usize, 0);
        while at != 0 {
            let header = self.bytes.get(at..).and_then(|bytes| {
                let id = field(bytes, 0).map(u16::from_ne_bytes)?;
                let next = field(bytes, 4).map(u32::from_ne_bytes)?;
                Some((Capability { id, bytes }, next as usize))
            });
            let Some((capability, next)) = header else {
                return Err(self.garbage(format!("a capability at {at:#x}, behind its end")));
            };
            if at <= before {
                return Err(self.garbage(format!("a capability at {at:#x} after one at {before:#x}")));
            }
            found.push(capability);
            (before, at) = (at, next);
        }
        Ok(found)
    }
}

impl Capability<'_> {
    /// The 32-bit field at `offset` from its header.
    pub(crate) fn u32_at(&self, offset: usize) -> Option<u32> {
        field(self.bytes, offset).map(u32::from_ne_bytes)
    }

    /// The 64-bit field at `offset` from its header.
    pub(crate) fn u64_at(&self, offset: usize) -> Option<u64> {
        field(self.bytes, offset).map(u64::from_ne_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn answer(bytes: Vec<u8>) -> Answer {
        Answer { object: "a device".into(), bytes }
    }

    fn with_header(bytes: &mut [u8], at: usize, id: u16, next: u32) {
        bytes[at..at + 2].copy_from_slice(&id.to_ne_bytes());
        bytes[at + 4..at + 8].copy_from_slice(&next.to_ne_bytes());
    }

    #[test]
    fn a_chain_is_walked_in_order() {
        let mut bytes = vec![0; 128];
        with_header(&mut bytes, 24, 1, 64);
        with_header(&mut bytes, 64, 7, 0);
        bytes[72..76].copy_from_slice(&0xabcd_u32.to_ne_bytes());
        let answer = answer(bytes);
        let found = answer.capabilities(24).unwrap();
        assert_eq!(found.iter().map(|found| found.id).collect::<Vec<_>>(), [1, 7]);
        assert_eq!(found[1].u32_at(8), Some(0xabcd));
        assert!(answer.capabilities(0).unwrap().is_empty());
    }

    #[test]
    fn a_circle_is_refused() {
        let mut bytes = vec![0; 128];
        with_header(&mut bytes, 24, 1, 64);
        with_header(&mut bytes, 64, 2, 24);
        let text = answer(bytes).capabilities(24).unwrap_err().to_string();
        assert!(text.contains("0x18 after one at 0x40"), "{text}");
    }

    proptest! {
        #[test]
        fn any_bytes_end(bytes in proptest::collection::vec(any::<u8>(), 0..256), first: u32) {
            let answer = answer(bytes);
            for first in [first, first % 256] {
                if let Ok(found) = answer.capabilities(first) {
                    prop_assert!(found.len() <= 256);
                    for found in found {
                        prop_assert_eq!(found.u32_at(usize::MAX - 2), None);
                        let _ = found.u64_at(16);
                    }
                }
            }
        }
    }
}
