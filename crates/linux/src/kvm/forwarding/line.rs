//! One interrupt that is assigned to a GSI.

use super::poll::{Poll, Wake};
use super::source::InterruptSource;
use super::table::Way;
use crate::Error;
use crate::kvm::eventfd::{eventfd, signal, take};
use crate::kvm::irqfd::Ending;
use crate::kvm::vm::Vm;
use std::sync::Arc;
use vcm_irq::{DeviceInterrupt, Sense};
use vmm_sys_util::eventfd::EventFd;

/// What becomes of an interrupt when it is not forwarded any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Afterwards {
    /// It goes the automasked way, as before.
    Automasked,
    /// Nobody had it before: it is switched off.
    Off,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Automasked,
    Forwarded,
    Closed,
}

/// What is to be led where.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    /// The line's number among those of its control.
    pub(super) number: u64,
    pub(super) interrupt: DeviceInterrupt,
    pub(super) sense: Sense,
    pub(super) gsi: u32,
    pub(super) afterwards: Afterwards,
}

#[derive(Debug)]
pub(super) struct Line<S: InterruptSource> {
    /// Its number among the lines of its control, for `Poll`.
    number: u64,
    source: Arc<S>,
    interrupt: DeviceInterrupt,
    gsi: u32,
    sense: Sense,
    state: State,
    pub(super) afterwards: Afterwards,
    /// What the device signals, if it is automasked or no level.
    device: EventFd,
    /// What raises the GSI.
    guest: EventFd,
    /// What KVM signals when the guest has ended a level-sensitive interrupt.
    ended: EventFd,
}

impl<S: InterruptSource> Line<S> {
    /// Leads an interrupt to a GSI, the automasked way. It is lent already.
    pub(super) fn open(vm: &Vm, poll: &Poll, source: &Arc<S>, request: Request) -> Result<Self, Error> {
        let Request { number, interrupt, sense, gsi, afterwards } = request;
        let line = Self {
            number,
            source: Arc::clone(source),
            interrupt,
            gsi,
            sense,
            // Until all is set up, there is nothing that a signal could do.
            state: State::Closed,
            afterwards,
            device: eventfd()?,
            guest: eventfd()?,
            ended: eventfd()?,
        };
        let opened = line.set_up(vm, poll);
        if opened.is_err() {
            line.take_down(vm, poll);
        }
        opened.map(|()| Self { state: State::Automasked, ..line })
    }

    fn set_up(&self, vm: &Vm, poll: &Poll) -> Result<(), Error> {
        let ending = match self.sense {
            Sense::Level => Ending::Resample(&self.ended),
            Sense::Edge => Ending::Unseen,
        };
        vm.assign(&self.guest, self.gsi, ending)?;
        poll.add(&self.device, self.number, Wake::Device)?;
        poll.add(&self.ended, self.number, Wake::Ended)?;
        self.source.set_trigger(self.interrupt, Some(&self.device))
    }

    /// What `set_up` did, as far as it came.
    fn take_down(&self, vm: &Vm, poll: &Poll) {
        // The device first. It cannot be helped if it does not answer any more: then it does not interrupt either.
        if self.sense == Sense::Level {
            let _ = self.source.set_unmask(self.interrupt, None);
        }
        let _ = self.source.set_trigger(self.interrupt, None);
        // KVM has raised what was signalled before, and a level of this eventfd is lowered.
        vm.deassign(&self.guest, self.gsi);
        vm.deassign(&self.device, self.gsi);
        poll.remove(&self.device);
        poll.remove(&self.ended);
    }

    pub(super) const fn interrupt(&self) -> DeviceInterrupt {
        self.interrupt
    }

    pub(super) const fn source(&self) -> &Arc<S> {
        &self.source
    }

    pub(super) const fn gsi(&self) -> u32 {
        self.gsi
    }

    pub(super) const fn way(&self) -> Option<Way> {
        match self.state {
            State::Automasked => Some(Way::Automasked),
            State::Forwarded => Some(Way::Forwarded),
            State::Closed => None,
        }
    }

    /// Lets the kernel do it.
    pub(super) fn forward(&mut self, vm: &Vm, poll: &Poll) -> Result<(), Error> {
        match (self.state, self.sense) {
            (State::Automasked, Sense::Level) => self.forward_level(poll)?,
            (State::Automasked, Sense::Edge) => self.forward_edge(vm, poll)?,
            (State::Forwarded | State::Closed, _) => return Ok(()),
        }
        self.state = State::Forwarded;
        Ok(())
    }

    fn forward_level(&self, poll: &Poll) -> Result<(), Error> {
        self.source.set_trigger(self.interrupt, Some(&self.guest))?;
        // The device does not signal its own any more; what it had signalled and nobody took, is the guest's.
        if take(&self.device) {
            signal(&self.guest);
        }
        poll.silence(&self.ended, self.number, Wake::Ended);
        // An end that came before this and that nobody took unmasks the device now.
        self.source.set_unmask(self.interrupt, Some(&self.ended)).inspect_err(|_| {
            poll.listen(&self.ended, self.number, Wake::Ended);
            // If that fails too, signals go to the guest directly, and ends come here: nothing is lost by that.
            let _ = self.source.set_trigger(self.interrupt, Some(&self.device));
        })
    }

    fn forward_edge(&self, vm: &Vm, poll: &Poll) -> Result<(), Error> {
        poll.silence(&self.device, self.number, Wake::Device);
        vm.assign(&self.device, self.gsi, Ending::Unseen)
            .inspect_err(|_| poll.listen(&self.device, self.number, Wake::Device))?;
        // KVM raised what was signalled and not taken before, and left the count as it was. What came since, it took
        // by itself.
        take(&self.device);
        Ok(())
    }

    /// Takes it back from the kernel, whatever it is doing.
    pub(super) fn unforward(&mut self, vm: &Vm, poll: &Poll) {
        if self.state != State::Forwarded {
            return;
        }
        match self.sense {
            Sense::Level => {
                // From here on the guest's ends are kept for this process. If the device does not answer any more,
                // none matters.
                let _ = self.source.set_unmask(self.interrupt, None);
                // If this fails, signals still go to the guest directly, and ends come here: nothing is lost by that.
                let _ = self.source.set_trigger(self.interrupt, Some(&self.device));
                poll.listen(&self.ended, self.number, Wake::Ended);
            }
            Sense::Edge => {
                vm.deassign(&self.device, self.gsi);
                poll.listen(&self.device, self.number, Wake::Device);
            }
        }
        self.state = State::Automasked;
    }

    /// Ends the assignment. When this returns, nothing of the device reaches the guest.
    pub(super) fn close(&mut self, vm: &Vm, poll: &Poll) {
        if self.state != State::Closed {
            self.state = State::Closed;
            self.take_down(vm, poll);
            self.source.give_back(self.interrupt);
        }
    }

    /// Does by this process what one of its eventfds asks for. Whether it was signalled.
    pub(super) fn relay(&self, wake: Wake) -> Result<bool, Error> {
        if self.state != State::Automasked {
            return Ok(false);
        }
        match wake {
            Wake::Device => {
                let signalled = take(&self.device);
                if signalled {
                    signal(&self.guest);
                }
                Ok(signalled)
            }
            Wake::Ended => {
                let ended = take(&self.ended);
                if ended {
                    self.source.unmask(self.interrupt)?;
                }
                Ok(ended)
            }
        }
    }
}
