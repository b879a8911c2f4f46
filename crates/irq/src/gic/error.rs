//! What a controller, or what is asked of it, can be wrong about.

use crate::{GuestInterrupt, HostInterrupt};

/// The hardware is not what a back-end needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InitError {
    /// The CPU interface did not take the mode in which ending drops the priority only: a GICv1, or no GIC.
    #[error("the CPU interface does not split priority drop from deactivation (control register {0:#x})")]
    NoPriorityDrop(u64),
    /// The system registers did not become available.
    #[error("the CPU interface has no system registers (ICC_SRE_EL2 {0:#x})")]
    NoSystemRegisters(u64),
    /// The distributor did not take affinity routing: no GICv3, or one whose firmware keeps it off.
    #[error("the distributor does not route by affinity (GICD_CTLR {0:#x})")]
    NoAffinityRouting(u32),
    /// The redistributor did not wake up in as many reads as it had.
    #[error("the redistributor does not wake up (GICR_WAKER {0:#x})")]
    Asleep(u32),
    /// A change of the control register did not take effect in as many reads as it had.
    #[error("writes to the controller stay pending (control register {0:#x})")]
    WritePending(u32),
}

/// A list register that the hardware has no sound encoding for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The virtual interrupt's number is 1020 or more, where behaviour is unpredictable.
    #[error("{0} cannot be in a list register: 1019 is the last number")]
    GuestInterrupt(GuestInterrupt),
    /// The hardware cannot deactivate this interrupt: it has no active state (a message-signalled one of a GICv3),
    /// or its number is no device's.
    #[error("{guest} cannot be completed by hardware: {host} has no active state that could end")]
    NoActiveState {
        /// The virtual interrupt.
        guest: GuestInterrupt,
        /// What it should have deactivated.
        host: HostInterrupt,
    },
    /// Pending and active, which a virtual interrupt with a physical one never is.
    #[error("{guest} cannot be both pending and active, since it completes {host}")]
    PendingAndActive {
        /// The virtual interrupt.
        guest: GuestInterrupt,
        /// What it deactivates.
        host: HostInterrupt,
    },
    /// Only a software-generated interrupt has a source, of 0 to 7, and it completes no physical interrupt.
    #[error("{guest} cannot have source {source_cpu}")]
    Source {
        /// The virtual interrupt.
        guest: GuestInterrupt,
        /// The source.
        source_cpu: u8,
    },
}
