//! Which interrupts of a device are in use, and who listens.

use super::super::event::{Event, duplicate};
use super::super::inner::Inner;
use super::info::{INTX, InterruptFlags, InterruptInfo, MSI, MSIX};
use super::set::{Action, Data};
use crate::Error;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::collections::BTreeMap;
use vcm_irq::DeviceInterrupt;

/// The interrupts in use, by index and number.
#[derive(Debug, Default)]
pub(in super::super) struct Table {
    lines: BTreeMap<(u32, u32), Line>,
    /// How many the kernel has made ready of an index: one more than the highest that was asked for.
    ready: BTreeMap<u32, u32>,
    /// What the kernel has told of an index. It does not change.
    told: BTreeMap<u32, InterruptInfo>,
}

#[derive(Debug)]
struct Line {
    trigger: OwnedFd,
    /// The eventfd of the [`Interrupt`](super::Interrupt) that it belongs to, whoever listens now.
    own: Option<Event>,
    unmask: Option<OwnedFd>,
    mask: Mask,
}

/// Whether whoever has the interrupt wants it masked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mask {
    Masked,
    Unmasked,
}

/// Who is to listen from now on.
#[derive(Clone, Copy, Debug)]
pub(super) enum Listener<'a> {
    /// This trigger.
    Other(BorrowedFd<'a>),
    /// The interrupt's own eventfd.
    Own,
}

/// What unmasks a level from now on.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unmasking<'a> {
    /// What did before.
    Keep,
    /// This eventfd, or none.
    By(Option<BorrowedFd<'a>>),
}

fn key(at: DeviceInterrupt) -> (u32, u32) {
    (at.index, at.subindex)
}

impl Inner {
    /// Enables interrupts of an index that nobody uses, from `first` on, each with its own eventfd.
    pub(super) fn enable(&self, index: u32, first: u32, own: &[Event]) -> Result<(), Error> {
        let info = self.interrupt_info(index)?;
        let count = u32::try_from(own.len()).unwrap_or(u32::MAX);
        let wrong = |why: String| {
            Err(Error::argument(
                format!("interrupts {first} + {count} of index {index} of {}", self.name),
                why,
            ))
        };
        let Some(end) = first.checked_add(count).filter(|&end| count > 0 && end <= info.count) else {
            return wrong(format!("it has {}", info.count));
        };
        let mut lines = Vec::with_capacity(own.len());
        for own in own {
            let own = own.duplicate()?;
            lines.push(Line {
                trigger: duplicate(own.as_fd())?,
                own: Some(own),
                unmask: None,
                mask: Mask::Unmasked,
            });
        }
        let mut table = self.interrupts();
        if self.is_closed() {
            return Err(self.is_gone());
        }
        if let Some(used) = (first..end).find(|&number| table.lines.contains_key(&(index, number))) {
            return wrong(format!("{used} is in use"));
        }
        // A PCI function has one kind at a time.
        let kinds = [INTX, MSI, MSIX];
        if self.info.is_pci()
            && kinds.contains(&index)
            && let Some(other) =
                kinds.iter().find(|&&other| other != index && table.ready.contains_key(&other))
        {
            return wrong(format!(
                "index {other} is in use, and a function raises one kind of interrupt at a time"
            ));
        }
        self.make_ready(&mut table, index, info, first, &lines)?;
        table.lines.extend((first..end).map(|number| (index, number)).zip(lines));
        Ok(())
    }

    fn make_ready(
        &self,
        table: &mut Table,
        index: u32,
        info: InterruptInfo,
        first: u32,
        lines: &[Line],
    ) -> Result<(), Error> {
        let end = first + lines.len() as u32;
        let new: Vec<_> = lines.iter().map(|line| Some(line.trigger.as_fd())).collect();
        match table.ready.get(&index).copied() {
            Some(ready) if ready < end && info.flags.contains(InterruptFlags::NORESIZE) => {
                // All of them anew. What comes meanwhile is lost in the kernel, so those that were there are signalled once.
                let old: BTreeMap<u32, BorrowedFd<'_>> = table.of(index).collect();
                let all: Vec<_> = (0..end)
                    .map(|number| match number.checked_sub(first) {
                        Some(new_number) => new.get(new_number as usize).copied().flatten(),
                        None => old.get(&number).copied(),
                    })
                    .collect();
                self.disable_index(index);
                if let Err(error) = self.set_interrupts(index, 0, Action::Trigger, Data::By(&all)) {
                    let before: Vec<_> = (0..ready).map(|number| old.get(&number).copied()).collect();
                    // What worked before works again.
                    let _ = self.set_interrupts(index, 0, Action::Trigger, Data::By(&before));
                    self.raise_all(index, old.keys().copied());
                    return Err(error);
                }
                self.raise_all(index, old.keys().copied());
            }
            Some(_) => self.set_interrupts(index, first, Action::Trigger, Data::By(&new))?,
            None => {
                // Where numbers are made ready as a set, so are those before the first.
                self.set_interrupts(index, first, Action::Trigger, Data::By(&new))?;
            }
        }
        let ready = table.ready.entry(index).or_insert(0);
        *ready = end.max(*ready);
        Ok(())
    }

    fn raise_all(&self, index: u32, numbers: impl Iterator<Item = u32>) {
        for number in numbers {
            let _ = self.set_interrupts(index, number, Action::Trigger, Data::Now(1));
        }
    }

    fn disable_index(&self, index: u32) {
        // The kernel disables what is left when the descriptor is closed.
        let _ = self.set_interrupts(index, 0, Action::Trigger, Data::Now(0));
    }

    /// Nobody listens to `at` any more.
    pub(super) fn release(&self, at: DeviceInterrupt) {
        let mut table = self.interrupts();
        if table.lines.remove(&key(at)).is_none() {
            return;
        }
        if table.of(at.index).next().is_some() {
            let _ = self.set_interrupts(at.index, at.subindex, Action::Trigger, Data::By(&[None]));
        } else {
            table.ready.remove(&at.index);
            self.disable_index(at.index);
        }
    }

    /// Disables everything, and wakes who waits.
    pub(in super::super) fn disable_all_interrupts(&self) {
        let mut table = self.interrupts();
        for index in std::mem::take(&mut table.ready).into_keys() {
            self.disable_index(index);
        }
        let lines = std::mem::take(&mut table.lines);
        lines.values().filter_map(|line| line.own.as_ref()).for_each(Event::signal);
    }

    /// Sees to it that `at` is in use, and does something with its line.
    fn line<R>(
        &self,
        at: DeviceInterrupt,
        f: impl FnOnce(&mut Line, InterruptInfo) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let told = self.interrupts().told.get(&at.index).copied();
        let info = match told {
            Some(info) if at.subindex < info.count => info,
            _ => self.checked(at)?,
        };
        let mut table = self.interrupts();
        if self.is_closed() {
            return Err(self.is_gone());
        }
        table.told.entry(at.index).or_insert(info);
        let line = table.lines.get_mut(&key(at)).ok_or_else(|| {
            Error::argument(
                format!("interrupt {} of index {} of {}", at.subindex, at.index, self.name),
                "it is not in use: get it by Device::interrupt first",
            )
        })?;
        f(line, info)
    }

    /// Lets another listen, with nothing lost and nothing for the old one after this returns.
    pub(super) fn switch(
        &self,
        at: DeviceInterrupt,
        listener: Listener<'_>,
        unmasking: Unmasking<'_>,
    ) -> Result<(), Error> {
        self.line(at, |line, info| {
            let trigger = duplicate(match listener {
                Listener::Other(trigger) => trigger,
                Listener::Own => line.trigger_of_its_own()?,
            })?;
            let unmask = match unmasking {
                Unmasking::Keep => line.unmask.as_ref().map(AsFd::as_fd),
                Unmasking::By(unmask) => unmask,
            };
            let unmask = unmask.map(duplicate).transpose()?;
            let automasked = info.flags.contains(InterruptFlags::AUTOMASKED);
            if unmask.is_some() && !automasked {
                return Err(Error::argument(
                    format!("unmasking interrupt {} of index {} by an eventfd", at.subindex, at.index),
                    "it is not masked when it is signalled",
                ));
            }
            if automasked {
                self.set_interrupts(at.index, at.subindex, Action::Mask, Data::Now(1))?;
            }
            let done = self.replace(at, line, &trigger, unmask.as_ref());
            if done.is_ok() {
                line.trigger = trigger;
                line.unmask = unmask;
            } else {
                let _ = self.replace(at, line, &line.trigger, line.unmask.as_ref());
            }
            if automasked {
                if line.mask == Mask::Unmasked {
                    self.set_interrupts(at.index, at.subindex, Action::Unmask, Data::Now(1))?;
                }
            } else {
                // For what came between the two handlers.
                self.set_interrupts(at.index, at.subindex, Action::Trigger, Data::Now(1))?;
            }
            if let (Listener::Other(_), Some(own), Ok(())) = (&listener, &line.own, &done) {
                // The new listener was told of it just now; it must not be told to the old one too.
                let _ = own.take();
            }
            done
        })
    }

    fn replace(
        &self,
        at: DeviceInterrupt,
        line: &Line,
        trigger: &OwnedFd,
        unmask: Option<&OwnedFd>,
    ) -> Result<(), Error> {
        if line.unmask.is_some() {
            self.set_interrupts(at.index, at.subindex, Action::Unmask, Data::By(&[None]))?;
        }
        self.set_interrupts(at.index, at.subindex, Action::Trigger, Data::By(&[Some(trigger.as_fd())]))?;
        if let Some(unmask) = unmask {
            self.set_interrupts(at.index, at.subindex, Action::Unmask, Data::By(&[Some(unmask.as_fd())]))?;
        }
        Ok(())
    }

    /// Sets or takes away what unmasks `at`.
    pub(super) fn set_unmask(
        &self,
        at: DeviceInterrupt,
        unmask: Option<BorrowedFd<'_>>,
    ) -> Result<(), Error> {
        self.line(at, |line, _| {
            let new = unmask.map(duplicate).transpose()?;
            let by = |unmask: Option<BorrowedFd<'_>>| {
                self.set_interrupts(at.index, at.subindex, Action::Unmask, Data::By(&[unmask]))
            };
            if line.unmask.is_some() {
                by(None)?;
            }
            let former = line.unmask.take();
            let Some(new) = new else { return Ok(()) };
            if let Err(error) = by(Some(new.as_fd())) {
                // As it was, if the kernel lets it be so.
                if let Some(former) = former
                    && by(Some(former.as_fd())).is_ok()
                {
                    line.unmask = Some(former);
                }
                return Err(error);
            }
            line.unmask = Some(new);
            Ok(())
        })
    }

    pub(super) fn mask(&self, at: DeviceInterrupt) -> Result<(), Error> {
        self.line(at, |line, _| {
            self.set_interrupts(at.index, at.subindex, Action::Mask, Data::Now(1))?;
            line.mask = Mask::Masked;
            Ok(())
        })
    }

    pub(super) fn unmask(&self, at: DeviceInterrupt) -> Result<(), Error> {
        self.line(at, |line, _| {
            self.set_interrupts(at.index, at.subindex, Action::Unmask, Data::Now(1))?;
            line.mask = Mask::Unmasked;
            Ok(())
        })
    }

    pub(super) fn raise(&self, at: DeviceInterrupt) -> Result<(), Error> {
        self.line(at, |_, _| self.set_interrupts(at.index, at.subindex, Action::Trigger, Data::Now(1)))
    }
}

impl Table {
    /// The interrupts of an index that are in use, with their triggers.
    fn of(&self, index: u32) -> impl Iterator<Item = (u32, BorrowedFd<'_>)> {
        let lines = self.lines.range((index, 0)..=(index, u32::MAX));
        lines.map(|(&(_, number), line)| (number, line.trigger.as_fd()))
    }
}

impl Line {
    fn trigger_of_its_own(&self) -> Result<BorrowedFd<'_>, Error> {
        self.own
            .as_ref()
            .map(AsFd::as_fd)
            .ok_or_else(|| Error::argument("an interrupt's own eventfd", "it has none"))
    }
}
