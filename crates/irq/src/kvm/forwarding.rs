//! Joining a host interrupt and a guest interrupt, and parting them: the engine behind every control interface.
//!
//! The line is quiet from the first step to the last, and what its device asks for meanwhile stays with the host's
//! controller. So nothing is lost in between, and nothing happens twice.

use crate::host::{OpenLine, SwitchRefused};
use crate::route::Route;
use crate::vgic::{BindError, Fallback, Machine, Vm};
use crate::{GuestInterrupt, Token};

/// How a joined interrupt reaches its guest.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Mode {
    /// The guest's end of the interrupt completes the physical one, without the host.
    Forwarded,
    /// The host masks the line, injects the interrupt, and unmasks when the guest has ended it, for this reason.
    Automasked(Fallback),
}

/// Why two interrupts cannot be joined. Nothing has changed then.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum JoinError {
    /// The line was closed (EINVAL).
    #[error("the line of host interrupt {0} is closed")]
    Closed(u32),
    /// The line is forwarded already (EINVAL).
    #[error("host interrupt {0} is forwarded already")]
    Forwarded(u32),
    /// An interrupt of the line is in flight in the ordinary way (EAGAIN): wait until the guest or the user
    /// is done with it.
    #[error("host interrupt {0} is in flight: its consumer has to finish it first")]
    InFlight(u32),
    /// The guest interrupt cannot be bound.
    #[error(transparent)]
    Guest(#[from] BindError),
}

/// Joins a line and a guest interrupt: the line's interrupts are the guest's from now on.
///
/// Not to be called from a [trigger](crate::host::Trigger): it waits for handlers, and for a vCPU to leave the guest.
///
/// # Errors
/// [`JoinError`].
pub fn join<M: Machine>(vm: &Vm<M>, line: OpenLine, guest: GuestInterrupt) -> Result<Mode, JoinError> {
    let host = vm.machine().host();
    let number = line.interrupt().0;
    let no_such = JoinError::Guest(BindError::NoSuch(guest));
    let id = vm.config().id;
    let switching = host.begin(line).ok_or(JoinError::Closed(number))?;
    let switching = host.may_forward(switching).map_err(|refused| match refused {
        SwitchRefused::Forwarded => JoinError::Forwarded(number),
        SwitchRefused::InFlight => JoinError::InFlight(number),
    })?;
    if matches!(host.trigger(line).map(Route::of), Some(Route::Injected { .. })) {
        host.abandon(switching);
        return Err(JoinError::Forwarded(number));
    }
    if let Some(fallback) = vm.fallback(line.interrupt()) {
        let bound = vm.bind(line, guest);
        let route = Route::Injected { vm: id, guest }.token();
        return match (bound, route) {
            (Ok(()), Some(route)) => {
                host.injected(switching, route);
                Ok(Mode::Automasked(fallback))
            }
            (bound, _) => {
                host.abandon(switching);
                bound?;
                Err(no_such)
            }
        };
    }
    let forwarded = vm.forward(line, host.sense(line), guest);
    let route = Route::Forwarded { vm: id, guest }.token();
    match (forwarded, route) {
        (Ok(enabled), Some(route)) => {
            host.forwarded(switching, route, enabled);
            Ok(Mode::Forwarded)
        }
        (forwarded, _) => {
            host.abandon(switching);
            forwarded?;
            Err(no_such)
        }
    }
}

/// Parts a line and a guest interrupt, whatever both are doing, vCPUs running or not. From now on the line
/// signals `trigger`, if any. What is in flight is automasked from now on and ends in the ordinary way: when
/// the guest ends it, the line is unmasked.
///
/// Not to be called from a [trigger](crate::host::Trigger). Of a line that was closed before, the guest
/// interrupt is freed.
///
/// Cannot fail. When this returns, no list register names the host interrupt, and none of its interrupts reaches the
/// guest by this way any more. Two that are not joined are left as they are.
pub fn part<M: Machine>(vm: &Vm<M>, line: OpenLine, guest: GuestInterrupt, trigger: Option<Token>) {
    let host = vm.machine().host();
    let Some(switching) = host.begin(line) else {
        // It was closed before; the guest interrupt is to be free as well.
        vm.forget(line, guest);
        return;
    };
    // Nobody else switches the line now: this is its route until that is changed here.
    let route = host.trigger(line).map(Route::of);
    let id = vm.config().id;
    if route == Some(Route::Forwarded { vm: id, guest }) {
        host.may_be_in_flight(&switching);
        let progress = vm.unforward(guest);
        host.not_forwarded(switching, trigger, progress);
    } else if route == Some(Route::Injected { vm: id, guest }) {
        vm.loosen(line, guest);
        host.not_injected(switching, trigger);
    } else {
        host.abandon(switching);
    }
}
