//! What can be wrong with a control call: what, where, and who holds it.

use crate::kvm::{JoinError, RegisterError};
use crate::route::Route;
use crate::vfio::{OpenDeviceError, RequestError};
use crate::vgic::{BindError, VmId};
use crate::{DeviceInterrupt, Errno, GuestInterrupt, HostInterrupt, OutOfMemory, Token};
use core::fmt;

/// The user's memory cannot be read (EFAULT).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the user's memory at {address:#x} cannot be read")]
pub struct Fault {
    /// Where.
    pub address: u64,
}

/// Why a descriptor names no device.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DescriptorError {
    /// There is no such descriptor (EBADF).
    #[error("no such descriptor")]
    NoSuch,
    /// It is no VFIO device's (EINVAL).
    #[error("no VFIO device")]
    NotVfio,
}

/// Why something that was asked of a control is refused. Nothing has changed then.
///
/// | number | when |
/// |---|---|
/// | ENXIO | unknown group or attribute |
/// | EFAULT | the argument cannot be read |
/// | EBADF | no such descriptor |
/// | EINVAL | no VFIO device; no such interrupt, index or GSI; forwarded already by this control; not forwarded; a malformed request |
/// | EBUSY | the line, the guest interrupt, the trigger or the eventfd is somebody else's |
/// | EAGAIN | in flight: to be tried again when the guest or the user has ended it |
/// | ENOTTY | an action that such an interrupt does not have |
/// | ENOMEM | no memory |
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ControlError {
    /// ENXIO.
    #[error("group {group} has no attribute {attribute}")]
    NoSuchAttribute {
        /// The group.
        group: u32,
        /// The attribute in it.
        attribute: u64,
    },
    /// EFAULT.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// EBADF, EINVAL.
    #[error("descriptor {descriptor}: {error}")]
    Descriptor {
        /// The descriptor.
        descriptor: i32,
        /// What it is.
        error: DescriptorError,
    },
    /// EINVAL.
    #[error("the device has no {0}")]
    NoSuchInterrupt(DeviceInterrupt),
    /// EINVAL.
    #[error("there is no GSI {0}")]
    NoSuchGsi(u32),
    /// This control has it registered (EINVAL).
    #[error("{interrupt} ({host}) is forwarded already, as {guest}")]
    Duplicate {
        /// What was asked for.
        interrupt: DeviceInterrupt,
        /// The host's.
        host: HostInterrupt,
        /// As which it is forwarded.
        guest: GuestInterrupt,
    },
    /// This control does not have it registered (EINVAL).
    #[error("{interrupt} is not forwarded")]
    NotForwarded {
        /// What was asked for.
        interrupt: DeviceInterrupt,
    },
    /// The trigger that the user connected leads somewhere else (EBUSY).
    #[error("{interrupt} ({host}) signals eventfd {}, which {}", .trigger.number(), Leads(*.consumer))]
    Conflict {
        /// What was asked for.
        interrupt: DeviceInterrupt,
        /// The host's.
        host: HostInterrupt,
        /// The trigger.
        trigger: Token,
        /// Whom it interrupts, if it is a guest.
        consumer: Option<(VmId, GuestInterrupt)>,
    },
    /// Another control has the line (EBUSY).
    #[error("{interrupt} ({host}) {}", Held(*.by))]
    Held {
        /// What was asked for.
        interrupt: DeviceInterrupt,
        /// The host's.
        host: HostInterrupt,
        /// Where it leads, if that is settled.
        by: Option<Route>,
    },
    /// The engine's: EBUSY, EAGAIN, EINVAL.
    #[error("{interrupt}: {error}")]
    Join {
        /// What was asked for.
        interrupt: DeviceInterrupt,
        /// What is in the way.
        error: JoinError,
    },
    /// Another engine's refusal, which knows nothing of this crate's lines: the number is its own.
    #[error("{interrupt} as GSI {gsi}: {why}")]
    Engine {
        /// What was asked for.
        interrupt: DeviceInterrupt,
        /// As what.
        gsi: u32,
        /// What is in the way.
        why: &'static str,
        /// Its number.
        errno: Errno,
    },
    /// A side of the token door.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// A device that cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenDeviceError),
    /// A user's request to a device.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// ENOMEM.
    #[error(transparent)]
    OutOfMemory(#[from] OutOfMemory),
}

impl ControlError {
    /// Its number.
    pub const fn errno(self) -> Errno {
        match self {
            Self::NoSuchAttribute { .. } => Errno::NoSuchAttribute,
            Self::Fault(_) => Errno::Fault,
            Self::Descriptor { error: DescriptorError::NoSuch, .. } => Errno::BadDescriptor,
            Self::Descriptor { error: DescriptorError::NotVfio, .. }
            | Self::NoSuchInterrupt(_)
            | Self::NoSuchGsi(_)
            | Self::Duplicate { .. }
            | Self::NotForwarded { .. } => Errno::Invalid,
            Self::Conflict { .. } | Self::Held { .. } => Errno::Busy,
            Self::Join { error, .. } => error.errno(),
            Self::Engine { errno, .. } => errno,
            Self::Register(error) => error.errno(),
            Self::Open(error) => error.errno(),
            Self::Request(error) => error.errno(),
            Self::OutOfMemory(OutOfMemory) => Errno::OutOfMemory,
        }
    }

    /// What the engine says of an interrupt of a device.
    pub(super) fn join(
        interrupt: DeviceInterrupt,
        host: HostInterrupt,
        error: JoinError,
        by: Option<Route>,
    ) -> Self {
        match error {
            JoinError::Forwarded(_) => Self::Held { interrupt, host, by },
            JoinError::Guest(BindError::NoSuch(guest)) => match guest.gsi() {
                Some(gsi) => Self::NoSuchGsi(gsi),
                None => Self::Join { interrupt, error },
            },
            _ => Self::Join { interrupt, error },
        }
    }
}

struct Leads(Option<(VmId, GuestInterrupt)>);

impl fmt::Display for Leads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some((vm, guest)) => write!(f, "interrupts virtual machine {} as its {guest}", vm.0),
            None => f.write_str("the user listens to"),
        }
    }
}

struct Held(Option<Route>);

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(Route::Forwarded { vm, guest } | Route::Injected { vm, guest }) => {
                write!(f, "is virtual machine {}'s {guest}", vm.0)
            }
            _ => f.write_str("is lent to another control"),
        }
    }
}
