//! Requests as words, and what the device says to them.

use super::spec;

/// The most words of a request that the device reads.
pub(super) const REQUEST_WORDS: usize = spec::PROBE_BYTES as usize / 4;

/// What is asked of the device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Request {
    Attach { domain: u32, endpoint: u32, flags: u32 },
    Detach { domain: u32, endpoint: u32 },
    Map { domain: u32, first: u64, last: u64, physical: u64, flags: u32 },
    Unmap { domain: u32, first: u64, last: u64 },
    Probe { endpoint: u32 },
}

impl Request {
    /// How many bytes the device reads.
    pub(super) const fn bytes(&self) -> u32 {
        match self {
            Self::Attach { .. } => spec::ATTACH_BYTES,
            Self::Detach { .. } => spec::DETACH_BYTES,
            Self::Map { .. } => spec::MAP_BYTES,
            Self::Unmap { .. } => spec::UNMAP_BYTES,
            Self::Probe { .. } => spec::PROBE_BYTES,
        }
    }

    /// What the device reads; the rest is zero.
    pub(super) const fn words(&self) -> [u32; REQUEST_WORDS] {
        let mut words = [0; REQUEST_WORDS];
        words[0] = self.kind() as u32;
        match *self {
            Self::Attach { domain, endpoint, flags } => {
                (words[1], words[2], words[3]) = (domain, endpoint, flags);
            }
            Self::Detach { domain, endpoint } => (words[1], words[2]) = (domain, endpoint),
            Self::Map { domain, first, last, physical, flags } => {
                words[1] = domain;
                (words[2], words[3]) = halves(first);
                (words[4], words[5]) = halves(last);
                (words[6], words[7]) = halves(physical);
                words[8] = flags;
            }
            Self::Unmap { domain, first, last } => {
                words[1] = domain;
                (words[2], words[3]) = halves(first);
                (words[4], words[5]) = halves(last);
            }
            Self::Probe { endpoint } => words[1] = endpoint,
        }
        words
    }

    const fn kind(&self) -> u8 {
        match self {
            Self::Attach { .. } => spec::ATTACH,
            Self::Detach { .. } => spec::DETACH,
            Self::Map { .. } => spec::MAP,
            Self::Unmap { .. } => spec::UNMAP,
            Self::Probe { .. } => spec::PROBE,
        }
    }
}

/// The low and the high half.
const fn halves(value: u64) -> (u32, u32) {
    (value as u32, (value >> 32) as u32)
}

/// Why the device did not do as asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refusal {
    /// It gave the request back unread: it could not make sense of it.
    Unread,
    Unsupported,
    Invalid,
    Range,
    NoEntry,
    BadAddress,
    NoMemory,
    /// Its own fault, or a number that means nothing.
    Failed,
}

impl Refusal {
    /// What a request's status byte says.
    pub(super) const fn check(status: u8) -> Result<(), Self> {
        Err(match status {
            spec::STATUS_OK => return Ok(()),
            spec::STATUS_UNSUPP => Self::Unsupported,
            spec::STATUS_INVAL => Self::Invalid,
            spec::STATUS_RANGE => Self::Range,
            spec::STATUS_NOENT => Self::NoEntry,
            spec::STATUS_FAULT => Self::BadAddress,
            spec::STATUS_NOMEM => Self::NoMemory,
            // STATUS_IOERR and STATUS_DEVERR among them.
            _ => Self::Failed,
        })
    }
}
