//! What the list registers of both versions have in common.

use super::EncodeError;
use crate::vgic::{Completion, ListRegister, LrState};
use crate::{HostInterrupt, SPI_END};

/// The number after that of the last software-generated interrupt (Arm IHI 0048B.b 2.2.1).
const SOFTWARE_GENERATED_END: u32 = 16;

/// Checks what the hardware leaves unpredictable (Arm IHI 0048B.b 5.3.8; Arm IHI 0069H 12.4.6). `completes` says
/// whether the hardware can deactivate an interrupt.
///
/// An interrupt without an active state is refused, not turned into one that completes in another way. Whoever asks
/// for completion by hardware will do nothing at the guest's end of interrupt, because there is nothing to do; a
/// register that was quietly given another meaning would leave its maintenance interrupt to nobody.
pub(super) fn check(
    register: &ListRegister,
    completes: fn(HostInterrupt) -> bool,
) -> Result<(), EncodeError> {
    let guest = register.interrupt;
    if guest.0 >= SPI_END {
        return Err(EncodeError::GuestInterrupt(guest));
    }
    if let Completion::Physical(host) = register.completion {
        if !completes(host) {
            return Err(EncodeError::NoActiveState { guest, host });
        }
        if register.state == LrState::PendingAndActive {
            return Err(EncodeError::PendingAndActive { guest, host });
        }
    }
    let sent = guest.0 < SOFTWARE_GENERATED_END && !matches!(register.completion, Completion::Physical(_));
    if register.source != 0 && (register.source > 7 || !sent) {
        return Err(EncodeError::Source { guest, source_cpu: register.source });
    }
    Ok(())
}

/// The state's encoding, which both versions share.
pub(super) const fn state_bits(state: LrState) -> u32 {
    match state {
        LrState::Empty => 0b00,
        LrState::Pending => 0b01,
        LrState::Active => 0b10,
        LrState::PendingAndActive => 0b11,
    }
}

/// The state that the two lower bits of `bits` encode.
pub(super) const fn state_of(bits: u32) -> LrState {
    match bits & 0b11 {
        0b00 => LrState::Empty,
        0b01 => LrState::Pending,
        0b10 => LrState::Active,
        _ => LrState::PendingAndActive,
    }
}
