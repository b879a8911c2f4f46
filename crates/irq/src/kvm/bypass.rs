//! The other door: who signals an eventfd, and who is interrupted by it, find each other by its token.
//!
//! A producer is a line and the token that it signals; a consumer is a guest interrupt and the token that
//! raises it (an irqfd). Where both are, they are [joined](super::join), by the engine that the other control
//! uses too. Where they cannot be joined, the consumer is interrupted by the token in the ordinary way; that
//! is reported, and no error (Linux `virt/lib/irqbypass.c`, `virt/kvm/eventfd.c`).
//!
//! What Linux does by stopping both ends before they are connected, and starting both afterwards whatever
//! came of it, the switch of the line does here: it is quiet meanwhile.

use super::eventfds::{Eventfds, Irqfd, Resample};
use super::forwarding::{JoinError, Mode, join, part};
use crate::host::{Controller, Host, OpenLine};
use crate::route::Route;
use crate::storage::OutOfMemory;
use crate::vgic::{BindError, Machine, Vm, VmId};
use crate::{Errno, GuestInterrupt, HostInterrupt, Token};
use core::ops::Deref;
use hashbrown::HashMap;

/// How a token's two sides are connected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Connection {
    /// One side is missing.
    Alone,
    /// They are joined.
    Joined(Mode),
    /// The token interrupts the guest in the ordinary way, because they cannot be joined. It may be
    /// [tried again](Bypass::retry), which makes sense where the reason says EAGAIN.
    Ordinary(JoinError),
}

/// Why a side is not registered. Nothing has changed then.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RegisterError {
    /// The token has a producer (EBUSY).
    #[error("eventfd {token} is signalled by {host} already", token = .token.number())]
    Producer {
        /// The token.
        token: Token,
        /// Who signals it.
        host: HostInterrupt,
    },
    /// The token has a consumer, of this virtual machine or another one (EBUSY).
    #[error("eventfd {token} interrupts virtual machine {} as its {guest} already", .vm.0, token = .token.number())]
    Consumer {
        /// The token.
        token: Token,
        /// Which virtual machine it interrupts.
        vm: VmId,
        /// As which of its interrupts.
        guest: GuestInterrupt,
    },
    /// The token is no eventfd's (EINVAL).
    #[error("{:#x} is no eventfd's number", .0.number())]
    NoEventfd(Token),
    /// The guest has no such shared interrupt (EINVAL).
    #[error("the virtual machine has no shared {0}")]
    NoSuch(GuestInterrupt),
    /// ENOMEM.
    #[error(transparent)]
    OutOfMemory(#[from] OutOfMemory),
}

impl RegisterError {
    /// Its number.
    pub const fn errno(self) -> Errno {
        match self {
            Self::Producer { .. } | Self::Consumer { .. } => Errno::Busy,
            Self::NoEventfd(_) | Self::NoSuch(_) => Errno::Invalid,
            Self::OutOfMemory(OutOfMemory) => Errno::OutOfMemory,
        }
    }
}

impl JoinError {
    /// Its number.
    pub const fn errno(self) -> Errno {
        match self {
            Self::Closed(_) | Self::Forwarded(_) | Self::Guest(BindError::NoSuch(_)) => Errno::Invalid,
            Self::InFlight(_) | Self::Guest(BindError::InFlight(_)) => Errno::Again,
            Self::Guest(BindError::Bound { .. }) => Errno::Busy,
        }
    }
}

#[derive(Debug)]
struct Consumer<V> {
    vm: V,
    guest: GuestInterrupt,
    resample: Resample,
}

#[derive(Debug)]
struct Sides<V> {
    producer: Option<OpenLine>,
    consumer: Option<Consumer<V>>,
    connection: Connection,
}

/// The producers and consumers of a host.
///
/// `V` points to virtual machines, and is held while a consumer of it is registered; `E` points to the
/// [`Eventfds`] that the machine's trigger looks at. To be [emptied](Self::unregister_consumer) before it is
/// dropped.
#[derive(Debug)]
pub struct Bypass<V, E> {
    eventfds: E,
    sides: HashMap<Token, Sides<V>>,
}

impl<M, V, E> Bypass<V, E>
where
    M: Machine,
    V: Deref<Target = Vm<M>>,
    E: Deref<Target = Eventfds>,
{
    /// Nobody is registered.
    pub fn new(eventfds: E) -> Self {
        Self { eventfds, sides: HashMap::new() }
    }

    /// The table of eventfds.
    pub fn eventfds(&self) -> &Eventfds {
        &self.eventfds
    }

    /// Registers a line that signals `token`, and joins it with the token's consumer if there is one. How they are
    /// connected then.
    ///
    /// # Errors
    /// [`RegisterError`].
    pub fn register_producer(&mut self, token: Token, line: OpenLine) -> Result<Connection, RegisterError> {
        if !self.eventfds.has(token) {
            return Err(RegisterError::NoEventfd(token));
        }
        if let Some(other) = self.sides.get(&token).and_then(|sides| sides.producer) {
            return Err(RegisterError::Producer { token, host: other.interrupt() });
        }
        self.sides(token)?.producer = Some(line);
        Ok(self.connect(token))
    }

    /// Registers a guest interrupt that `token` raises, and joins it with the token's producer if there is one. How
    /// they are connected then. What was signalled before and taken by nobody comes now.
    ///
    /// # Errors
    /// [`RegisterError`].
    pub fn register_consumer(
        &mut self,
        token: Token,
        vm: V,
        guest: GuestInterrupt,
        resample: Resample,
    ) -> Result<Connection, RegisterError> {
        if guest.gsi().is_none() || guest.0 >= vm.end() {
            return Err(RegisterError::NoSuch(guest));
        }
        self.sides(token)?;
        let irqfd = Irqfd { vm: vm.config().id, guest, resample };
        match self.eventfds.assign(token, irqfd) {
            Ok(signalled) => {
                if signalled.is_yes() {
                    let _ = irqfd.interrupt(&vm);
                }
            }
            Err(refused) => {
                self.forget(token);
                return Err(refused);
            }
        }
        if let Some(sides) = self.sides.get_mut(&token) {
            sides.consumer = Some(Consumer { vm, guest, resample });
        }
        Ok(self.connect(token))
    }

    /// Takes the producer of a token away. Its line signals the token, in the ordinary way. Passed over if it is not
    /// `line`.
    pub fn unregister_producer(&mut self, token: Token, line: OpenLine) {
        let Some(sides) = self.sides.get_mut(&token).filter(|sides| sides.producer == Some(line)) else {
            return;
        };
        sides.disconnect(token);
        sides.producer = None;
        self.forget(token);
    }

    /// Takes the consumer of a token away: when this returns, no interrupt of a registered producer reaches
    /// it by the token. What the guest has in progress ends in the ordinary way. Passed over if it is not
    /// `vm`'s.
    pub fn unregister_consumer(&mut self, token: Token, vm: VmId) {
        let ours =
            |sides: &&mut Sides<V>| sides.consumer.as_ref().is_some_and(|one| one.vm.config().id == vm);
        let Some(sides) = self.sides.get_mut(&token).filter(ours) else { return };
        self.eventfds.clear(token);
        sides.disconnect(token);
        if let (Some(line), Some(consumer)) = (sides.producer, &sides.consumer) {
            settle(consumer.vm.machine().host(), line);
        }
        sides.consumer = None;
        self.forget(token);
    }

    /// Takes all consumers of a virtual machine away, before it goes.
    pub fn unregister_all(&mut self, vm: VmId) {
        let Self { eventfds, sides } = self;
        sides.retain(|&token, sides| {
            if sides.consumer.as_ref().is_some_and(|one| one.vm.config().id == vm) {
                eventfds.clear(token);
                sides.disconnect(token);
                if let (Some(line), Some(consumer)) = (sides.producer, &sides.consumer) {
                    settle(consumer.vm.machine().host(), line);
                }
                sides.consumer = None;
            }
            sides.producer.is_some() || sides.consumer.is_some()
        });
    }

    /// How the sides of a token are connected; `None` if it has none.
    pub fn connection(&self, token: Token) -> Option<Connection> {
        self.sides.get(&token).map(|sides| sides.connection)
    }

    /// Tries again to join the sides of a token that are connected in the ordinary way, after the guest has
    /// ended what was in flight. How they are connected then.
    pub fn retry(&mut self, token: Token) -> Connection {
        self.connect(token)
    }

    /// The tokens that are worth another try later: something was in flight, or another control has the line.
    pub fn waiting(&self) -> impl Iterator<Item = Token> + '_ {
        let waits = |connection| match connection {
            Connection::Ordinary(why) => {
                why.errno() == Errno::Again || matches!(why, JoinError::Forwarded(_))
            }
            Connection::Alone | Connection::Joined(_) => false,
        };
        self.sides.iter().filter(move |(_, sides)| waits(sides.connection)).map(|(&token, _)| token)
    }

    fn connect(&mut self, token: Token) -> Connection {
        let Some(sides) = self.sides.get_mut(&token) else { return Connection::Alone };
        if !matches!(sides.connection, Connection::Joined(_)) {
            sides.connection = sides.joined();
        }
        sides.connection
    }

    fn sides(&mut self, token: Token) -> Result<&mut Sides<V>, OutOfMemory> {
        self.sides.try_reserve(1).map_err(|_| OutOfMemory)?;
        let empty = || Sides { producer: None, consumer: None, connection: Connection::Alone };
        Ok(self.sides.entry(token).or_insert_with(empty))
    }

    fn forget(&mut self, token: Token) {
        if let Some(sides) = self.sides.get(&token)
            && sides.producer.is_none()
            && sides.consumer.is_none()
        {
            self.sides.remove(&token);
        }
    }
}

impl<M: Machine, V: Deref<Target = Vm<M>>> Sides<V> {
    fn joined(&self) -> Connection {
        let (Some(line), Some(Consumer { vm, guest, resample })) = (self.producer, &self.consumer) else {
            return Connection::Alone;
        };
        match join(vm, line, *guest) {
            Ok(mode) => Connection::Joined(mode),
            Err(why) if *resample == Resample::No || matches!(why, JoinError::Closed(_)) => {
                Connection::Ordinary(why)
            }
            Err(why) => {
                let bound = vm.bind(line, *guest);
                Connection::Ordinary(bound.map_or_else(JoinError::Guest, |()| why))
            }
        }
    }

    /// Both sides for themselves again; the line signals the token.
    fn disconnect(&mut self, token: Token) {
        if let (Some(line), Some(Consumer { vm, guest, resample })) = (self.producer, &self.consumer) {
            if matches!(self.connection, Connection::Joined(_)) {
                part(vm, line, *guest, Some(token));
            }
            // Another control that has the two joined needs the binding, and ends it itself.
            let injected = Route::Injected { vm: vm.config().id, guest: *guest };
            let joined = vm.machine().host().trigger(line).map(Route::of) == Some(injected);
            if *resample == Resample::Producer && !joined {
                // The end of what is in progress is still reported.
                vm.loosen(line, *guest);
            }
        }
        self.connection = Connection::Alone;
    }
}

/// Waits until no handler of the line is under way: one may have looked a consumer up before it was taken away.
fn settle<C: Controller>(host: &Host<C>, line: OpenLine) {
    if let Some(switching) = host.begin(line) {
        host.abandon(switching);
    }
}

/// Parts two that were joined by another door; what the token door set up for the line's own trigger goes on.
pub(crate) fn part_and_resume<M: Machine>(
    vm: &Vm<M>,
    line: OpenLine,
    guest: GuestInterrupt,
    trigger: Option<Token>,
    eventfds: &Eventfds,
) {
    let consumer = trigger.and_then(|token| eventfds.consumer(token));
    let resumes = Irqfd { vm: vm.config().id, guest, resample: Resample::Producer };
    if consumer != Some(resumes) {
        return part(vm, line, guest, trigger);
    }
    // Bound before the trigger is connected: an interrupt that comes in between would never be completed.
    part(vm, line, guest, None);
    // It was bound to this line until now, so that nobody else has it.
    let _ = vm.bind(line, guest);
    // Nobody else joins it: its eventfd is lent to this one.
    let _ = vm.machine().host().connect(line, trigger);
}
