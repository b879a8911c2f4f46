//! One access of the guest's software, and what it is for.

use super::access::{Action, Place};
use super::{IAR, Width};

#[derive(Clone, Copy, Debug)]
pub(super) enum Operation {
    /// Writes a register, and that is all.
    Write { place: Place, value: u32 },
    /// Sets bits of a distributor's word, which is read first.
    Configure { offset: u32, bit: u32 },
    /// Acknowledges an interrupt.
    Acknowledge,
    /// Asks the device of the interrupt that was acknowledged as `raw` what it wants.
    Status { device: usize, raw: u32 },
    /// Contents a device.
    Content { device: usize, requests: u32 },
}

impl Operation {
    /// Writes a word of the distributor.
    pub(super) const fn distributor(offset: u32, value: u32) -> Self {
        Self::Write { place: Place::Distributor { offset, width: Width::Word }, value }
    }

    /// Writes a byte of the distributor.
    pub(super) const fn byte(offset: u32, value: u32) -> Self {
        Self::Write { place: Place::Distributor { offset, width: Width::Byte }, value }
    }

    /// Writes a one for interrupt `number` to an array of the distributor with one bit an interrupt.
    pub(super) const fn enable(array: u32, number: u32) -> Self {
        Self::distributor(array + number / 32 * 4, 1 << (number % 32))
    }

    /// Writes a word of the CPU interface.
    pub(super) const fn interface(offset: u32, value: u32) -> Self {
        Self::Write { place: Place::Interface { offset }, value }
    }

    /// The access.
    pub(super) const fn action(self) -> Action {
        match self {
            Self::Write { place, value } => Action::Write(place, value),
            Self::Configure { offset, .. } => Action::Read(Place::Distributor { offset, width: Width::Word }),
            Self::Acknowledge => Action::Read(Place::Interface { offset: IAR }),
            Self::Status { device, .. } => Action::Read(Place::Device { device }),
            Self::Content { device, requests } => Action::Write(Place::Device { device }, requests),
        }
    }
}
