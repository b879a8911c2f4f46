//! A device with its interrupts.

use super::error::{OpenDeviceError, RequestError};
use super::interrupt::{Connected, EVENTFDS, Interrupt};
use super::raw::{EventfdDescriptors, RawData, RawRequest};
use super::request::{Action, Data, Request, Signals};
use crate::host::{Controller, Host, OpenLine};
use crate::storage::OutOfMemory;
use crate::{DeviceInterrupt, HostInterrupt, Sense, Token};
use alloc::vec::Vec;

/// The interrupts of one index of a device, which its bus driver knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IndexLayout<'a> {
    /// What they react to.
    pub sense: Sense,
    /// The host's interrupt behind each sub-index; an index that is not implemented has none.
    pub interrupts: &'a [HostInterrupt],
}

/// What an index is (`struct vfio_irq_info`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IndexInfo {
    /// What its interrupts react to.
    pub sense: Sense,
    /// How many it has.
    pub count: u32,
}

impl IndexInfo {
    /// `VFIO_IRQ_INFO_EVENTFD`: it signals eventfds (Linux `include/uapi/linux/vfio.h`, as the next two).
    pub const EVENTFD: u32 = 1;
    /// `VFIO_IRQ_INFO_MASKABLE`: its user can mask it.
    pub const MASKABLE: u32 = 1 << 1;
    /// `VFIO_IRQ_INFO_AUTOMASKED`: it is masked when it was signalled, until its user unmasks it.
    pub const AUTOMASKED: u32 = 1 << 2;

    /// Its flags.
    pub const fn flags(self) -> u32 {
        match self.sense {
            Sense::Level => Self::EVENTFD | Self::MASKABLE | Self::AUTOMASKED,
            Sense::Edge => Self::EVENTFD,
        }
    }
}

#[derive(Debug)]
struct Index {
    sense: Sense,
    interrupts: Vec<Interrupt>,
}

/// A device that is open, with the lines of its interrupts.
///
/// Everything takes `&self`: its user and the controls use it at the same time. Has to be
/// [closed](Self::close); to drop it leaves its lines open. Where several hold it, the pointer that they
/// share closes it with the last of them.
#[derive(Debug)]
#[must_use = "its lines stay open until it is closed"]
pub struct Device {
    indexes: Vec<Index>,
}

impl Device {
    /// Opens a device: the lines of all its interrupts, which stay quiet until triggers are connected.
    ///
    /// # Errors
    /// [`OpenDeviceError`].
    pub fn open<C: Controller>(host: &Host<C>, layout: &[IndexLayout<'_>]) -> Result<Self, OpenDeviceError> {
        let mut device = Self { indexes: Vec::new() };
        match device.open_lines(host, layout) {
            Ok(()) => Ok(device),
            Err(error) => {
                device.interrupts().for_each(|interrupt| host.close(interrupt.line()));
                Err(error)
            }
        }
    }

    fn open_lines<C: Controller>(
        &mut self,
        host: &Host<C>,
        layout: &[IndexLayout<'_>],
    ) -> Result<(), OpenDeviceError> {
        self.indexes.try_reserve_exact(layout.len()).map_err(|_| OutOfMemory)?;
        for (number, index) in layout.iter().enumerate() {
            let mut interrupts = Vec::new();
            interrupts.try_reserve_exact(index.interrupts.len()).map_err(|_| OutOfMemory)?;
            self.indexes.push(Index { sense: index.sense, interrupts });
            for (subindex, &interrupt) in index.interrupts.iter().enumerate() {
                let line = host.open(interrupt, index.sense).map_err(|error| OpenDeviceError::Line {
                    interrupt: DeviceInterrupt { index: number as u32, subindex: subindex as u32 },
                    error,
                })?;
                self.indexes[number].interrupts.push(Interrupt::new(line));
            }
        }
        Ok(())
    }

    /// Closes a device. When this returns, its interrupts are disabled and not active, and nothing comes from
    /// it any more.
    ///
    /// Cannot fail. A control that still has an interrupt of it keeps a reference, so that this cannot be called.
    pub fn close<C: Controller>(self, host: &Host<C>, signals: &impl Signals) {
        for interrupt in self.interrupts() {
            if let Some(trigger) = interrupt.connected().trigger {
                signals.disconnecting(interrupt.line(), trigger);
            }
            host.close(interrupt.line());
        }
    }

    /// How many indexes it has.
    pub const fn indexes(&self) -> usize {
        self.indexes.len()
    }

    /// What an index is.
    pub fn info(&self, index: u32) -> Option<IndexInfo> {
        let index = self.indexes.get(index as usize)?;
        Some(IndexInfo { sense: index.sense, count: index.interrupts.len() as u32 })
    }

    /// The host's line behind an interrupt.
    pub fn line(&self, interrupt: DeviceInterrupt) -> Option<OpenLine> {
        self.find(interrupt).map(Interrupt::line)
    }

    /// The trigger that the user connected to an interrupt.
    pub fn trigger(&self, interrupt: DeviceInterrupt) -> Option<Token> {
        self.find(interrupt)?.connected().trigger
    }

    /// Does what the user asks for, whole or not at all.
    ///
    /// Signalling to test a trigger reaches who listens to it; an interrupt whose consumer is joined with the
    /// line takes none from software.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn set_interrupts<C: Controller>(
        &self,
        host: &Host<C>,
        signals: &impl Signals,
        request: &Request<'_>,
    ) -> Result<(), RequestError> {
        let (index, chosen) = self.range(request.index, request.start, request.data.count())?;
        match (request.action, request.data) {
            (Action::Trigger, Data::None { count: 0 }) => {
                take(request.index, 0, &index.interrupts, |_, _| true)?;
                for interrupt in &index.interrupts {
                    interrupt.connect(None, host, signals);
                    interrupt.put();
                }
            }
            _ if chosen.is_empty() => return Err(RequestError::Empty { index: request.index }),
            (Action::Trigger, Data::Eventfd(triggers)) => {
                if let Some(&none) = triggers.iter().flatten().find(|token| token.number() >= EVENTFDS) {
                    return Err(RequestError::NoEventfd(none));
                }
                let differs = |place: usize, now: Connected| triggers.get(place) != Some(&now.trigger);
                take(request.index, request.start, chosen, differs)?;
                for (interrupt, &trigger) in chosen.iter().zip(triggers) {
                    interrupt.connect(trigger, host, signals);
                    interrupt.put();
                }
            }
            (Action::Trigger, data) => {
                take(request.index, request.start, chosen, |_, _| true)?;
                for (place, interrupt) in chosen.iter().enumerate() {
                    if let Some(trigger) = interrupt.connected().trigger
                        && is_named(data, place)
                    {
                        // Nobody may be listening, and that is no error: it is the user's test.
                        let _ = signals.signal(trigger);
                    }
                    interrupt.put();
                }
            }
            _ if index.sense == Sense::Edge => {
                return Err(RequestError::NotMaskable { index: request.index });
            }
            (_, Data::Eventfd(_)) => return Err(RequestError::MaskByEventfd { index: request.index }),
            (action, data) => {
                for (_, interrupt) in chosen.iter().enumerate().filter(|&(place, _)| is_named(data, place)) {
                    let line = interrupt.line();
                    if action == Action::Mask { host.mask(line) } else { host.unmask(line) }
                }
            }
        }
        Ok(())
    }

    /// Does what the bytes of a request ask for.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn set_interrupts_raw<C: Controller>(
        &self,
        host: &Host<C>,
        signals: &impl Signals,
        eventfds: &impl EventfdDescriptors,
        bytes: &[u8],
    ) -> Result<(), RequestError> {
        let raw = RawRequest::parse(bytes)?;
        // Before memory is allocated for as many as the user says.
        self.range(raw.index, raw.start, raw.count as usize)?;
        let RawRequest { action, index, start, .. } = raw;
        let act =
            |data: Data<'_>| self.set_interrupts(host, signals, &Request { action, index, start, data });
        match raw.data {
            RawData::None => act(Data::None { count: raw.count }),
            RawData::Bool(bytes) => {
                let mut which = Vec::new();
                which.try_reserve_exact(bytes.len()).map_err(|_| OutOfMemory)?;
                which.extend(bytes.iter().map(|&byte| byte != 0));
                act(Data::Bool(&which))
            }
            RawData::Eventfd(bytes) => {
                let (descriptors, _) = bytes.as_chunks::<4>();
                let mut triggers = Vec::new();
                triggers.try_reserve_exact(descriptors.len()).map_err(|_| OutOfMemory)?;
                for &descriptor in descriptors {
                    let descriptor = i32::from_ne_bytes(descriptor);
                    // Every negative one disables, as in Linux's drivers; its documentation says -1.
                    triggers.push(match descriptor {
                        ..0 => None,
                        _ => {
                            let refused = |error| RequestError::Descriptor { descriptor, error };
                            Some(eventfds.eventfd(descriptor).map_err(refused)?)
                        }
                    });
                }
                act(Data::Eventfd(&triggers))
            }
        }
    }

    /// Lends an interrupt to a control, which may lead its line somewhere else until it [gives it
    /// back](Self::give_back): its line, and the trigger that its user connected, which stays meanwhile.
    /// `None` if it is lent already.
    pub(crate) fn lend(&self, interrupt: DeviceInterrupt) -> Option<Option<Token>> {
        let before = self.find(interrupt)?.lend();
        if before.lent { None } else { Some(before.trigger) }
    }

    /// Ends the lending. The line signals what it did before.
    pub(crate) fn give_back(&self, interrupt: DeviceInterrupt) {
        if let Some(interrupt) = self.find(interrupt) {
            interrupt.give_back();
        }
    }

    fn find(&self, interrupt: DeviceInterrupt) -> Option<&Interrupt> {
        self.indexes.get(interrupt.index as usize)?.interrupts.get(interrupt.subindex as usize)
    }

    fn interrupts(&self) -> impl Iterator<Item = &Interrupt> {
        self.indexes.iter().flat_map(|index| &index.interrupts)
    }

    /// The index and the interrupts of it that are asked for (Linux `vfio_set_irqs_validate_and_prepare`).
    fn range(&self, index: u32, start: u32, count: usize) -> Result<(&Index, &[Interrupt]), RequestError> {
        let no_such = RequestError::NoSuchIndex { index, count: self.indexes.len() as u32 };
        let found = self.indexes.get(index as usize).ok_or(no_such)?;
        let existing = found.interrupts.len() as u32;
        let chosen = found.interrupts.get(start as usize..).and_then(|rest| rest.get(..count));
        match chosen {
            Some(chosen) if start < existing => Ok((found, chosen)),
            _ => Err(RequestError::Range { index, start, count: count as u32, existing }),
        }
    }
}

/// Takes interrupts, the first of which is `start`, to change them all; none, if one that conflicts is lent.
fn take(
    index: u32,
    start: u32,
    interrupts: &[Interrupt],
    conflicts: impl Fn(usize, Connected) -> bool,
) -> Result<(), RequestError> {
    for (place, interrupt) in interrupts.iter().enumerate() {
        let now = interrupt.take();
        if now.lent && conflicts(place, now) {
            interrupts[..=place].iter().for_each(Interrupt::put);
            let subindex = start + place as u32;
            let host = interrupt.line().interrupt();
            return Err(RequestError::Lent { interrupt: DeviceInterrupt { index, subindex }, host });
        }
    }
    Ok(())
}

/// Whether a request is about the interrupt `place` after its first.
fn is_named(data: Data<'_>, place: usize) -> bool {
    match data {
        Data::None { .. } => true,
        Data::Bool(which) => which.get(place).copied().unwrap_or(false),
        Data::Eventfd(_) => false,
    }
}
