//! vfio: devices and the interrupts that they have.
//!
//! A [`Device`] owns the host's lines behind its interrupts, from its opening to its closing, and does what
//! its user says with them: the interface of Linux's `VFIO_DEVICE_SET_IRQS`, [typed](Request) or [as
//! bytes](RawRequest). An interrupt that a control lent itself stays as it is connected until it is given
//! back.
//!
//! Knows devices, indexes and sub-indexes, and the host's lines behind them; of guests, nothing.

mod device;
mod error;
mod interrupt;
mod raw;
mod request;

pub use device::{Device, IndexInfo, IndexLayout};
pub use error::{EventfdError, OpenDeviceError, RequestError};
pub use raw::{EventfdDescriptors, RawData, RawRequest};
pub use request::{Action, Data, Request, Signals};
