//! What a token stands for.

use crate::vgic::VmId;
use crate::{GuestInterrupt, Token};

/// What a token stands for: the layers above the handler read it, the handler does not.
///
/// A machine's [`Trigger`](crate::host::Trigger) does this with it:
///
/// | route | call |
/// |---|---|
/// | `Eventfd` | signal whoever listens there |
/// | `Forwarded` | [`Vm::deliver`](crate::vgic::Vm::deliver) |
/// | `Injected` | [`Vm::signal`](crate::vgic::Vm::signal) |
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Route {
    /// An eventfd, by the number that the machine gave it: 1 to 2^62 - 1.
    Eventfd(u64),
    /// A forwarded interrupt's way, which only its line's handler goes.
    Forwarded {
        /// To which virtual machine.
        vm: VmId,
        /// As which of its interrupts.
        guest: GuestInterrupt,
    },
    /// The same interrupt's way where it cannot be forwarded: software injects it.
    Injected {
        /// To which virtual machine.
        vm: VmId,
        /// As which of its interrupts.
        guest: GuestInterrupt,
    },
}

const FORWARDED: u64 = 1 << 63;
const INJECTED: u64 = 1 << 62;

impl Route {
    /// What `token` stands for.
    pub const fn of(token: Token) -> Self {
        let number = token.number();
        let (vm, guest) = (VmId((number >> 32) as u16), GuestInterrupt(number as u32));
        if number & FORWARDED != 0 {
            Self::Forwarded { vm, guest }
        } else if number & INJECTED != 0 {
            Self::Injected { vm, guest }
        } else {
            Self::Eventfd(number)
        }
    }

    /// The token; `None` for the eventfd 0, and for numbers from 2^62 on.
    pub const fn token(self) -> Option<Token> {
        match self {
            Self::Eventfd(number) if number & (FORWARDED | INJECTED) != 0 => None,
            Self::Eventfd(number) => Token::new(number),
            Self::Forwarded { vm, guest } => Token::new(FORWARDED | (vm.0 as u64) << 32 | guest.0 as u64),
            Self::Injected { vm, guest } => Token::new(INJECTED | (vm.0 as u64) << 32 | guest.0 as u64),
        }
    }
}
