//! What the device says of an endpoint: addresses that cannot be mapped.

use super::request::Refusal;
use super::spec::{
    PROPERTY_HEAD_BYTES, PROPERTY_NONE, PROPERTY_RESERVED_MEMORY, PROPERTY_TYPE, RESERVED_MEMORY_BYTES,
    RESERVED_MEMORY_MSI,
};
use super::{Transport, VirtioIommu};
use crate::{IommuError, SharedMemory, StreamId};
use vcm::{List, OutOfMemory, Span};

/// Addresses of a stream at which nothing may be mapped.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Reserved {
    /// The addresses.
    pub span: Span,
    /// What they are for.
    pub kind: ReservedKind,
}

/// What reserved addresses are for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ReservedKind {
    /// The device's own business; accesses may fault.
    Reserved,
    /// Message-signalled interrupts: writes there pass to the interrupt controller.
    Messages,
}

impl<T: Transport, M: SharedMemory> VirtioIommu<T, M> {
    /// The addresses that a stream cannot use, as the device tells (PROBE). To be asked before the stream is attached,
    /// and not to be mapped in its domain: devices need not refuse it. Empty where the device has no such request.
    ///
    /// # Errors
    /// `NotAttached` when the device knows no such stream, `OutOfMemory`, `Unresponsive`.
    pub fn reserved(&mut self, stream: StreamId) -> Result<List<Reserved>, IommuError> {
        self.settle()?;
        match self.requests.probe(&mut self.link, stream.0)? {
            Ok(None) => Ok(List::new()),
            Ok(Some(properties)) => Ok(parse(&properties)?),
            Err(Refusal::NoEntry) => Err(IommuError::NotAttached(stream)),
            Err(Refusal::NoMemory) => Err(IommuError::OutOfMemory),
            Err(_) => Err(self.link.lost("it refuses a valid PROBE").into()),
        }
    }
}

/// The reserved addresses among `properties`. Whatever is not understood is passed over, as is the rest after a length
/// that leads out of the list.
fn parse(mut properties: &[u8]) -> Result<List<Reserved>, OutOfMemory> {
    let mut all = List::new();
    while let Some((head, rest)) = properties.split_first_chunk::<PROPERTY_HEAD_BYTES>() {
        let kind = u16::from_le_bytes([head[0], head[1]]);
        let len = u16::from_le_bytes([head[2], head[3]]);
        if kind & PROPERTY_TYPE == PROPERTY_NONE {
            break;
        }
        let Some((value, next)) = rest.split_at_checked(len.into()) else {
            break;
        };
        properties = next;
        // Bits 15:12 are reserved: with one of them set the whole is to be ignored (5.13.6.7.1).
        if kind == PROPERTY_RESERVED_MEMORY
            && let Some(reserved) = reserved(value)
        {
            all.push(reserved)?;
        }
    }
    Ok(all)
}

/// One property's value.
fn reserved(value: &[u8]) -> Option<Reserved> {
    let (value, _) = value.split_first_chunk::<RESERVED_MEMORY_BYTES>()?;
    let (head, addresses) = value.split_first_chunk::<4>()?;
    let (first, last) = addresses.split_first_chunk::<8>()?;
    let (last, _) = last.split_first_chunk::<8>()?;
    let kind = match head[0] {
        RESERVED_MEMORY_MSI => ReservedKind::Messages,
        _ => ReservedKind::Reserved,
    };
    Some(Reserved { span: Span::inclusive(u64::from_le_bytes(*first), u64::from_le_bytes(*last))?, kind })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn property(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = kind.to_le_bytes().to_vec();
        bytes.extend((value.len() as u16).to_le_bytes());
        bytes.extend(value);
        bytes
    }

    fn window(subtype: u8, first: u64, last: u64) -> Vec<u8> {
        let mut value = [subtype, 0xaa, 0xbb, 0xcc].to_vec();
        value.extend(first.to_le_bytes());
        value.extend(last.to_le_bytes());
        property(1, &value)
    }

    fn spans(bytes: &[u8]) -> Vec<(u64, u64, ReservedKind)> {
        let all = parse(bytes).unwrap();
        all.iter().map(|one| (one.span.first(), one.span.last(), one.kind)).collect()
    }

    #[test]
    fn windows_are_found_among_what_is_unknown() {
        let mut bytes = property(0x77, &[1, 2, 3]);
        bytes.extend(window(1, 0x802_0000, 0x802_0fff));
        bytes.extend(property(0x1001, &window(0, 0, 0xfff)[4..])); // A reserved bit of the head.
        bytes.extend(window(0, 0xfee0_0000, 0xfeef_ffff));
        bytes.extend(window(9, 5, 6)); // An unknown subtype.
        bytes.extend(window(0, 9, 8)); // No range.
        bytes.extend([0; 16]);
        bytes.extend(window(0, 1, 2)); // Behind the end.
        assert_eq!(
            spans(&bytes),
            [
                (0x802_0000, 0x802_0fff, ReservedKind::Messages),
                (0xfee0_0000, 0xfeef_ffff, ReservedKind::Reserved),
                (5, 6, ReservedKind::Reserved)
            ]
        );
    }

    #[test]
    fn no_length_leads_out_of_the_list() {
        let whole = window(0, 0x1000, 0x1fff);
        for cut in 0..whole.len() {
            assert!(spans(&whole[..cut]).is_empty());
        }
        for len in 0..=u8::MAX {
            let mut bytes = whole.clone();
            (bytes[2], bytes[3]) = (len, 0xff);
            assert!(spans(&bytes).is_empty());
            (bytes[2], bytes[3]) = (len, 0);
            assert_eq!(spans(&bytes).len(), usize::from(len == 20), "{len}");
        }
    }
}
