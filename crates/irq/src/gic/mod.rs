//! GIC back-ends: [GICv2](v2) and [GICv3](v3), each over a trait that reaches its registers.
//!
//! A back-end knows registers and nothing of forwarding. It implements [`Controller`](crate::host::Controller),
//! [`CpuInterface`](crate::host::CpuInterface) and [`VirtualInterface`](crate::vgic::VirtualInterface). Whatever the
//! hardware answers, no call panics, loops without a bound, or reaches a register that the window does not have.
//!
//! ```
//! use core::cell::RefCell;
//! use std::collections::HashMap;
//! use vcm_irq::gic::{Registers, v2};
//! use vcm_irq::host::{Controller, CpuInterface};
//! use vcm_irq::vgic::{Completion, Group, ListRegister, LrState, VirtualInterface};
//! use vcm_irq::{GuestInterrupt, HostInterrupt, Sense};
//!
//! /// A window that keeps what is written. Real ones do one volatile access a call.
//! #[derive(Default)]
//! struct Window(RefCell<HashMap<u32, u32>>);
//!
//! impl Registers for Window {
//!     fn read(&self, offset: u32) -> u32 {
//!         self.0.borrow().get(&offset).copied().unwrap_or(0)
//!     }
//!     fn write(&self, offset: u32, value: u32) {
//!         self.0.borrow_mut().insert(offset, value);
//!     }
//!     fn write_byte(&self, offset: u32, value: u8) {
//!         let mut word = self.read(offset & !3).to_le_bytes();
//!         word[offset as usize % 4] = value;
//!         self.write(offset & !3, u32::from_le_bytes(word));
//!     }
//! }
//!
//! let (gicd, gicc, gich) = (Window::default(), Window::default(), Window::default());
//! gicd.write(v2::spec::GICD_TYPER, 3); // 128 interrupts
//! gich.write(v2::spec::GICH_VTR, 3); // 4 list registers
//!
//! // Once:
//! let line = HostInterrupt(72);
//! let distributor = v2::Distributor::new(&gicd, Group::Zero);
//! distributor.init();
//! distributor.set_sense(line, Sense::Level);
//! distributor.set_priority(line, 0x80);
//! distributor.enable(line);
//!
//! // On each CPU:
//! distributor.init_private();
//! let mut cpu = v2::CpuInterface::new(&gicc, Group::Zero);
//! cpu.init()?;
//! let mut guest = v2::VirtualInterface::new(&gich);
//! guest.init();
//! assert_eq!(guest.list_registers(), 4);
//!
//! // At an interrupt: the priority drops, the interrupt stays active until its guest ends it.
//! gicc.write(v2::spec::GICC_IAR, 72);
//! let acknowledged = cpu.acknowledge().expect("the line is up");
//! cpu.drop_priority(&acknowledged);
//! guest.write(0, &ListRegister {
//!     interrupt: GuestInterrupt(50),
//!     state: LrState::Pending,
//!     priority: 0xA0,
//!     group: Group::Zero,
//!     completion: Completion::Physical(acknowledged.interrupt()),
//!     source: 0,
//! });
//! assert_eq!(gich.read(v2::spec::GICH_LR), 1 << 31 | 1 << 28 | (0xA0 >> 3) << 23 | 72 << 10 | 50);
//! # Ok::<(), vcm_irq::gic::InitError>(())
//! ```

mod acknowledged;
mod error;
mod list_register;
mod lock;
mod maintenance;
mod place;
mod registers;
pub mod v2;
pub mod v3;

use lock::Lock;
use place::Place;

pub use crate::field::Field;
pub use acknowledged::{AnyAcknowledged, SoftwareGenerated};
pub use error::{EncodeError, InitError};
pub use maintenance::Maintenance;
pub use place::Arrays;
pub use registers::Registers;

/// The priority that initialisation gives to every interrupt: the middle of those that the mask lets through.
pub const DEFAULT_PRIORITY: u8 = 0xA0;

/// The priority mask that initialisation sets: all but the 16 least urgent priorities are signalled.
pub const PRIORITY_MASK: u8 = 0xF0;
