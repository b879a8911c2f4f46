//! An interrupt as something to wait for.

use super::super::device::Device;
use super::super::event::Event;
use super::super::inner::Inner;
use super::table::{Listener, Unmasking};
use crate::Error;
use rustix::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;
use vcm_irq::DeviceInterrupt;

/// An interrupt of a device, enabled, with an eventfd of its own. Dropping it disables it.
///
/// The eventfd ([`AsFd`]) is readable when there are interrupts that were not taken. It does not block.
///
/// A level (`INTx`) is masked when it is signalled; [`Self::unmask`] lets it through again after the device was served.
#[derive(Debug)]
pub struct Interrupt {
    device: Arc<Inner>,
    at: DeviceInterrupt,
    event: Event,
}

impl Device {
    /// Takes an interrupt into use.
    ///
    /// Where a set that is enabled cannot grow ([`NORESIZE`](super::InterruptFlags::NORESIZE)) and `at` is behind its end, the
    /// set is disabled and enabled anew; those that were in use are signalled once then, for what may have been lost.
    ///
    /// # Errors
    /// [`Error::Argument`] when the device does not have it, when it is in use, when a PCI function's other kind is; the
    /// kernel's: ENOSPC when there are not so many messages.
    pub fn interrupt(&self, at: DeviceInterrupt) -> Result<Interrupt, Error> {
        let event = Event::new()?;
        self.inner.enable(at.index, at.subindex, std::slice::from_ref(&event))?;
        Ok(Interrupt { device: Arc::clone(&self.inner), at, event })
    }

    /// Takes the first `count` interrupts of an index into use, in one call.
    ///
    /// # Errors
    /// As [`Self::interrupt`]. None is in use then.
    pub fn interrupts(&self, index: u32, count: u32) -> Result<Vec<Interrupt>, Error> {
        let most = self.interrupt_info(index)?.count;
        if count > most {
            return Err(Error::argument(
                format!("{count} interrupts of index {index} of {}", self.name()),
                format!("it has {most}"),
            ));
        }
        let events = (0..count).map(|_| Event::new()).collect::<Result<Vec<_>, _>>()?;
        self.inner.enable(index, 0, &events)?;
        let interrupt = |(subindex, event)| Interrupt {
            device: Arc::clone(&self.inner),
            at: DeviceInterrupt { index, subindex },
            event,
        };
        Ok((0..count).zip(events).map(interrupt).collect())
    }

    /// Has an interrupt that is in use signal another eventfd from now on, with nothing lost; the old one is signalled no more
    /// when this returns. `None` gives it back to the [`Interrupt`]'s own. What unmasks a level stays the same.
    ///
    /// A level that is pending, masked for a listener that has not come to unmask it, is signalled again.
    ///
    /// # Errors
    /// [`Error::Argument`] when it is not in use; the kernel's. The old trigger stays then.
    pub fn set_trigger(&self, at: DeviceInterrupt, trigger: Option<BorrowedFd<'_>>) -> Result<(), Error> {
        let listener = trigger.map_or(Listener::Own, Listener::Other);
        self.inner.switch(at, listener, Unmasking::Keep)
    }

    /// Has an eventfd unmask a level whenever it is signalled: KVM's irqfd signals its "resample" eventfd when the guest has
    /// ended the interrupt. `None` takes it away: it unmasks no more when this returns.
    ///
    /// # Errors
    /// [`Error::Argument`] when the interrupt is not in use; the kernel's.
    pub fn set_unmask(&self, at: DeviceInterrupt, unmask: Option<BorrowedFd<'_>>) -> Result<(), Error> {
        self.inner.set_unmask(at, unmask)
    }
}

impl Interrupt {
    /// Which one it is.
    pub const fn at(&self) -> DeviceInterrupt {
        self.at
    }

    /// Waits until it comes, at most so long; without a limit for `None`. Answers how often it came since it was taken last,
    /// 0 after the limit.
    ///
    /// # Errors
    /// [`Error::Missing`] when the device was torn down; it wakes up for that.
    pub fn wait(&self, limit: Option<Duration>) -> Result<u64, Error> {
        self.checked(self.event.wait(limit)?)
    }

    /// How often it came since it was taken last. Does not wait.
    ///
    /// # Errors
    /// [`Error::Missing`] when the device was torn down.
    pub fn take(&self) -> Result<u64, Error> {
        self.checked(self.event.take()?)
    }

    fn checked(&self, count: u64) -> Result<u64, Error> {
        if self.device.is_closed() { Err(self.device.is_gone()) } else { Ok(count) }
    }

    /// Lets a level through again. It comes at once if the device still asks.
    ///
    /// # Errors
    /// The kernel's: ENOTTY when it cannot be masked.
    pub fn unmask(&self) -> Result<(), Error> {
        self.device.unmask(self.at)
    }

    /// Holds a level back.
    ///
    /// # Errors
    /// The kernel's: ENOTTY when it cannot be masked.
    pub fn mask(&self) -> Result<(), Error> {
        self.device.mask(self.at)
    }

    /// Signals it as if the device had: its trigger, whoever's that is now. A level is not masked by that.
    ///
    /// # Errors
    /// The kernel's.
    pub fn raise(&self) -> Result<(), Error> {
        self.device.raise(self.at)
    }

    /// Gives it to another listener: `trigger` is signalled, and a level is unmasked when `unmask` is signalled. What this
    /// interrupt's own eventfd has counted goes along. Nothing is lost, and the old listener is
    /// signalled no more when this returns.
    ///
    /// # Errors
    /// [`Error::Argument`] for an `unmask` where nothing masks; the kernel's. The listener stays who it was then.
    pub fn redirect(&self, trigger: BorrowedFd<'_>, unmask: Option<BorrowedFd<'_>>) -> Result<(), Error> {
        self.device.switch(self.at, Listener::Other(trigger), Unmasking::By(unmask))
    }

    /// Takes it back: its own eventfd is signalled from now on.
    ///
    /// # Errors
    /// The kernel's.
    pub fn take_back(&self) -> Result<(), Error> {
        self.device.switch(self.at, Listener::Own, Unmasking::By(None))
    }
}

impl AsFd for Interrupt {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        self.device.release(self.at);
    }
}
