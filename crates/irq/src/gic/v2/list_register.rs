//! `GICH_LRn` (Arm IHI 0048B.b 5.3.8).

use super::spec::{
    GICH_LR_CPUID, GICH_LR_EOI, GICH_LR_GRP1, GICH_LR_HW, GICH_LR_PHYSICAL_ID, GICH_LR_PRIORITY,
    GICH_LR_STATE, GICH_LR_VIRTUAL_ID,
};
use crate::gic::{EncodeError, list_register};
use crate::vgic::{Completion, Group, ListRegister, LrState};
use crate::{GuestInterrupt, HostInterrupt, SPI_END};

/// Whether a list register can deactivate this interrupt: 16 to 1019, since a software-generated one is active once
/// for each sender, which the register does not name.
pub const fn completes(interrupt: HostInterrupt) -> bool {
    16 <= interrupt.0 && interrupt.0 < SPI_END
}

/// The register's value. An empty one is 0: beside state 0, the bit that asks for a maintenance interrupt would raise
/// it.
///
/// # Errors
///
/// [`EncodeError`]: what the hardware leaves unpredictable.
pub fn encode(register: &ListRegister) -> Result<u32, EncodeError> {
    list_register::check(register, completes)?;
    if register.state == LrState::Empty {
        return Ok(0);
    }
    let completion = match register.completion {
        Completion::Physical(host) => GICH_LR_HW.put(1) | GICH_LR_PHYSICAL_ID.put(host.0),
        Completion::Maintenance => GICH_LR_EOI.put(1) | GICH_LR_CPUID.put(register.source.into()),
        Completion::Silent => GICH_LR_CPUID.put(register.source.into()),
    };
    let group = match register.group {
        Group::Zero => 0,
        Group::One => GICH_LR_GRP1.put(1),
    };
    Ok(completion
        | group
        | GICH_LR_STATE.put(list_register::state_bits(register.state))
        | GICH_LR_PRIORITY.put(u32::from(register.priority) >> 3)
        | GICH_LR_VIRTUAL_ID.put(register.interrupt.0))
}

/// What a register with this value means. Any value means something, if not always something that [`encode`] gives.
pub const fn decode(raw: u32) -> ListRegister {
    let (completion, source) = if GICH_LR_HW.get(raw) != 0 {
        (Completion::Physical(HostInterrupt(GICH_LR_PHYSICAL_ID.get(raw))), 0)
    } else if GICH_LR_EOI.get(raw) != 0 {
        (Completion::Maintenance, GICH_LR_CPUID.get(raw) as u8)
    } else {
        (Completion::Silent, GICH_LR_CPUID.get(raw) as u8)
    };
    ListRegister {
        interrupt: GuestInterrupt(GICH_LR_VIRTUAL_ID.get(raw)),
        state: list_register::state_of(GICH_LR_STATE.get(raw)),
        priority: (GICH_LR_PRIORITY.get(raw) << 3) as u8,
        group: if GICH_LR_GRP1.get(raw) != 0 { Group::One } else { Group::Zero },
        completion,
        source,
    }
}
