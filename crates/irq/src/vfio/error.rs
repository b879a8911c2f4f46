//! What can be wrong with a device, and with what its user asks for.

use crate::host::OpenError;
use crate::{DeviceInterrupt, Errno, HostInterrupt, OutOfMemory, Token};

/// Why a device cannot be opened. None of its lines is open then.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OpenDeviceError {
    /// The line of one of its interrupts cannot be opened.
    #[error("{interrupt}: {error}")]
    Line {
        /// Which one.
        interrupt: DeviceInterrupt,
        /// Why not.
        error: OpenError,
    },
    /// ENOMEM.
    #[error(transparent)]
    OutOfMemory(#[from] OutOfMemory),
}

impl OpenDeviceError {
    /// Its number.
    pub const fn errno(self) -> Errno {
        match self {
            Self::Line { error: OpenError::Open(_), .. } => Errno::Busy,
            Self::Line { error: OpenError::NoSuch { .. }, .. } => Errno::Invalid,
            Self::OutOfMemory(OutOfMemory) => Errno::OutOfMemory,
        }
    }
}

/// Why a descriptor is no eventfd.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EventfdError {
    /// There is no such descriptor (EBADF).
    #[error("no such descriptor")]
    NoSuch,
    /// It is something else (EINVAL).
    #[error("no eventfd")]
    SomethingElse,
}

/// Why a request is refused. Nothing has changed then.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RequestError {
    /// The user's memory ends before the request does (EFAULT).
    #[error("{length} bytes, of which {needed} are needed")]
    Fault {
        /// How many bytes there are.
        length: usize,
        /// How many the request has.
        needed: usize,
    },
    /// The request says that it is shorter than it is (EINVAL).
    #[error("argsz is {argsz}, {needed} bytes are needed")]
    Size {
        /// Its `argsz`.
        argsz: u32,
        /// What it should be at least.
        needed: u64,
    },
    /// Unknown flags, or not exactly one kind of data (EINVAL).
    #[error("flags {0:#x} make no request")]
    Flags(u32),
    /// Not exactly one action (ENOTTY).
    #[error("flags {0:#x} do not name one action")]
    Action(u32),
    /// The device has no such index (EINVAL).
    #[error("no interrupt index {index}: the device has {count}")]
    NoSuchIndex {
        /// What was asked for.
        index: u32,
        /// How many it has.
        count: u32,
    },
    /// The index has no such interrupts (EINVAL).
    #[error("index {index}: {count} from {start} on are asked for, and it has {existing}")]
    Range {
        /// The index.
        index: u32,
        /// The first one.
        start: u32,
        /// How many.
        count: u32,
        /// How many there are.
        existing: u32,
    },
    /// None are asked for, and the request is not the one that disables an index (EINVAL).
    #[error("index {index}: no interrupt is asked for")]
    Empty {
        /// The index.
        index: u32,
    },
    /// Interrupts of an edge are not masked (EINVAL).
    #[error("index {index} is not maskable")]
    NotMaskable {
        /// The index.
        index: u32,
    },
    /// Masking and unmasking is not done by eventfd (ENOTTY).
    #[error("index {index}: masking by eventfd is not supported")]
    MaskByEventfd {
        /// The index.
        index: u32,
    },
    /// A control lent itself the interrupt, and its trigger stays (EBUSY).
    #[error("{interrupt} ({host}) is lent to a control, its trigger stays until that gives it back")]
    Lent {
        /// The interrupt.
        interrupt: DeviceInterrupt,
        /// The host's.
        host: HostInterrupt,
    },
    /// A token that cannot be an eventfd's (EINVAL).
    #[error("{:#x} is no eventfd's number", .0.number())]
    NoEventfd(Token),
    /// A descriptor of the request is no eventfd (EBADF, EINVAL).
    #[error("descriptor {descriptor}: {error}")]
    Descriptor {
        /// The descriptor.
        descriptor: i32,
        /// What it is.
        error: EventfdError,
    },
    /// ENOMEM.
    #[error(transparent)]
    OutOfMemory(#[from] OutOfMemory),
}

impl RequestError {
    /// Its number.
    pub const fn errno(self) -> Errno {
        match self {
            Self::Fault { .. } => Errno::Fault,
            Self::Size { .. }
            | Self::Flags(_)
            | Self::NoSuchIndex { .. }
            | Self::Range { .. }
            | Self::Empty { .. }
            | Self::NotMaskable { .. }
            | Self::NoEventfd(_)
            | Self::Descriptor { error: EventfdError::SomethingElse, .. } => Errno::Invalid,
            Self::Descriptor { error: EventfdError::NoSuch, .. } => Errno::BadDescriptor,
            Self::Action(_) | Self::MaskByEventfd { .. } => Errno::Unsupported,
            Self::Lent { .. } => Errno::Busy,
            Self::OutOfMemory(OutOfMemory) => Errno::OutOfMemory,
        }
    }
}
