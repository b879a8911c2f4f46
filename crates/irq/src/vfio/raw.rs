//! Requests as a user writes them.

use super::error::{EventfdError, RequestError};
use super::request::Action;
use crate::Token;

// Linux include/uapi/linux/vfio.h, struct vfio_irq_set: argsz, flags, index, start and count, 32 bits each, then data.
const HEADER: usize = 20;
/// `VFIO_IRQ_SET_DATA_NONE`
const DATA_NONE: u32 = 1;
/// `VFIO_IRQ_SET_DATA_BOOL`: a byte for each interrupt.
const DATA_BOOL: u32 = 1 << 1;
/// `VFIO_IRQ_SET_DATA_EVENTFD`: a signed 32-bit descriptor for each interrupt.
const DATA_EVENTFD: u32 = 1 << 2;
/// `VFIO_IRQ_SET_ACTION_MASK`
const ACTION_MASK: u32 = 1 << 3;
/// `VFIO_IRQ_SET_ACTION_UNMASK`
const ACTION_UNMASK: u32 = 1 << 4;
/// `VFIO_IRQ_SET_ACTION_TRIGGER`
const ACTION_TRIGGER: u32 = 1 << 5;

const DATA: u32 = DATA_NONE | DATA_BOOL | DATA_EVENTFD;
const ACTIONS: u32 = ACTION_MASK | ACTION_UNMASK | ACTION_TRIGGER;

/// Finds eventfds by their descriptors.
pub trait EventfdDescriptors {
    /// The token of the eventfd that `descriptor` names.
    ///
    /// # Errors
    /// [`EventfdError`].
    fn eventfd(&self, descriptor: i32) -> Result<Token, EventfdError>;
}

/// A request as its bytes say, not yet compared with a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RawRequest<'a> {
    /// What is to be done.
    pub action: Action,
    /// The index.
    pub index: u32,
    /// The first interrupt in it.
    pub start: u32,
    /// How many.
    pub count: u32,
    /// With which.
    pub data: RawData<'a>,
}

/// The data behind a request, as bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RawData<'a> {
    /// There is none.
    None,
    /// A byte for each interrupt: 0 is false.
    Bool(&'a [u8]),
    /// Four bytes for each interrupt.
    Eventfd(&'a [u8]),
}

impl<'a> RawRequest<'a> {
    /// Reads a `struct vfio_irq_set` in the byte order of this machine. `bytes` is the memory from its address on; it
    /// may go on behind it.
    ///
    /// Checks what can be checked without the device, as Linux does (`vfio_set_irqs_validate_and_prepare` of
    /// `drivers/vfio/vfio_main.c`).
    ///
    /// # Errors
    /// [`RequestError`]: EFAULT, EINVAL and ENOTTY.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, RequestError> {
        let (header, rest) = bytes
            .split_first_chunk::<HEADER>()
            .ok_or(RequestError::Fault { length: bytes.len(), needed: HEADER })?;
        let (words, _) = header.as_chunks::<4>();
        let [argsz, flags, index, start, count] =
            core::array::from_fn(|word| u32::from_ne_bytes(words[word]));
        if (argsz as usize) < HEADER {
            return Err(RequestError::Size { argsz, needed: HEADER as u64 });
        }
        if flags & !(DATA | ACTIONS) != 0 {
            return Err(RequestError::Flags(flags));
        }
        let size: u64 = match flags & DATA {
            DATA_NONE => 0,
            DATA_BOOL => 1,
            DATA_EVENTFD => 4,
            _ => return Err(RequestError::Flags(flags)),
        };
        let needed = HEADER as u64 + u64::from(count) * size;
        if u64::from(argsz) < needed {
            return Err(RequestError::Size { argsz, needed });
        }
        let action = match flags & ACTIONS {
            ACTION_MASK => Action::Mask,
            ACTION_UNMASK => Action::Unmask,
            ACTION_TRIGGER => Action::Trigger,
            _ => return Err(RequestError::Action(flags)),
        };
        // It fits: it is not more than argsz.
        let needed = needed as usize;
        let fault = RequestError::Fault { length: bytes.len(), needed };
        let data = rest.get(..needed - HEADER).ok_or(fault)?;
        let data = match size {
            0 => RawData::None,
            1 => RawData::Bool(data),
            _ => RawData::Eventfd(data),
        };
        Ok(Self { action, index, start, count, data })
    }
}
