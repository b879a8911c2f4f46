//! `ICH_LR<n>_EL2` (Arm IHI 0069H 12.4.6).

use super::spec::{
    ICH_LR_EOI, ICH_LR_GROUP, ICH_LR_HW, ICH_LR_PHYSICAL_ID, ICH_LR_PRIORITY, ICH_LR_SOURCE, ICH_LR_STATE,
    ICH_LR_VIRTUAL_ID,
};
use super::{EXTENDED_PPI_END, EXTENDED_SPI_END, FIRST_EXTENDED_PPI, FIRST_EXTENDED_SPI};
use crate::gic::{EncodeError, list_register};
use crate::vgic::{Completion, Group, ListRegister, LrState};
use crate::{GuestInterrupt, HostInterrupt, SPI_END};

/// Whether a list register can deactivate this interrupt: a private or shared peripheral one, extended or not. A
/// message-signalled one has no active state.
pub const fn completes(interrupt: HostInterrupt) -> bool {
    matches!(
        interrupt.0,
        16..SPI_END | FIRST_EXTENDED_PPI..EXTENDED_PPI_END | FIRST_EXTENDED_SPI..EXTENDED_SPI_END
    )
}

/// The register's value. An empty one is 0: beside state 0, the bit that asks for a maintenance interrupt would raise
/// it.
///
/// # Errors
///
/// [`EncodeError`]: what the hardware leaves unpredictable.
pub fn encode(register: &ListRegister) -> Result<u64, EncodeError> {
    list_register::check(register, completes)?;
    if register.state == LrState::Empty {
        return Ok(0);
    }
    let completion = match register.completion {
        Completion::Physical(host) => ICH_LR_HW.put_wide(1) | ICH_LR_PHYSICAL_ID.put_wide(host.0),
        Completion::Maintenance => ICH_LR_EOI.put_wide(1),
        Completion::Silent => 0,
    };
    let group = match register.group {
        Group::Zero => 0,
        Group::One => ICH_LR_GROUP.put_wide(1),
    };
    Ok(completion
        | group
        | ICH_LR_STATE.put_wide(list_register::state_bits(register.state))
        | ICH_LR_PRIORITY.put_wide(register.priority.into())
        | ICH_LR_SOURCE.put_wide(register.source.into())
        | ICH_LR_VIRTUAL_ID.put_wide(register.interrupt.0))
}

/// What a register with this value means. Any value means something, if not always something that [`encode`] gives.
pub const fn decode(raw: u64) -> ListRegister {
    let number = ICH_LR_VIRTUAL_ID.get_wide(raw);
    let sent = ICH_LR_SOURCE.put(!0) | 0xF;
    let (number, source) = if ICH_LR_HW.get_wide(raw) == 0 && number & !sent == 0 {
        (number & 0xF, ICH_LR_SOURCE.get_wide(raw) as u8)
    } else {
        (number, 0)
    };
    let completion = if ICH_LR_HW.get_wide(raw) != 0 {
        Completion::Physical(HostInterrupt(ICH_LR_PHYSICAL_ID.get_wide(raw)))
    } else if ICH_LR_EOI.get_wide(raw) != 0 {
        Completion::Maintenance
    } else {
        Completion::Silent
    };
    ListRegister {
        interrupt: GuestInterrupt(number),
        state: list_register::state_of(ICH_LR_STATE.get_wide(raw)),
        priority: ICH_LR_PRIORITY.get_wide(raw) as u8,
        group: if ICH_LR_GROUP.get_wide(raw) != 0 { Group::One } else { Group::Zero },
        completion,
        source,
    }
}
