//! Who sits in which bank.

use super::context::{Bank, Seat};
use super::{Busy, ContextId, Holder, Holders, Smmu, SmmuError, TableRoots, Unresponsive, spec};
use crate::Registers;

/// Which contexts are seated again once their bank was vacated.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reseat {
    /// None.
    Nobody,
    /// The active ones that are held.
    Held,
    /// The active ones.
    Active,
}

impl<R: Registers> Smmu<R> {
    /// Says that transactions of an active context are to come: it is seated now, if it is not, and keeps its
    /// seat until [`release`](Self::release) was called as often as this.
    ///
    /// # Errors
    /// `UnknownContext`, `Destroyed`, `NotActive`, `Unresponsive`; `NoFreeSlot` names who holds the banks.
    /// The context is not held.
    pub fn hold(&mut self, id: ContextId) -> Result<(), SmmuError> {
        self.existing(id)?;
        self.seat(id)?;
        let now = self.tick();
        if let Some(context) = self.contexts.get_mut(id.0) {
            context.holds = context.holds.saturating_add(1);
            context.used_at = now;
        }
        Ok(())
    }

    /// Takes one [`hold`](Self::hold) back. A context that is not held, or does not exist, is passed over.
    pub fn release(&mut self, id: ContextId) {
        let now = self.tick();
        if let Some(context) = self.contexts.get_mut(id.0)
            && context.holds > 0
        {
            context.holds -= 1;
            context.used_at = now;
        }
    }

    /// The bank in which an active context sits; it is seated first if it is not.
    pub(super) fn seat(&mut self, id: ContextId) -> Result<u8, SmmuError> {
        let context = self.contexts.get(id.0).ok_or(SmmuError::UnknownContext(id))?;
        let roots = context.active.ok_or(SmmuError::NotActive(id))?;
        if let Some(bank) = context.bank {
            if matches!(self.banks[usize::from(bank)], Bank::Taken(_)) {
                return Ok(bank);
            }
            self.vacate(bank, Reseat::Nobody)?;
        }
        let free = self.banks.iter().position(|bank| *bank == Bank::Free);
        let bank = match free {
            Some(bank) => bank as u8,
            None => {
                let bank = self.oldest_idle()?;
                self.vacate(bank, Reseat::Nobody)?;
                self.statistics.context_switches += 1;
                bank
            }
        };
        self.take(bank, id, roots)?;
        Ok(bank)
    }

    /// Programs the free `bank` for the context `id`.
    fn take(&mut self, bank: u8, id: ContextId, roots: TableRoots) -> Result<(), Unresponsive> {
        let seat = Seat { context: id, asid: self.asid_for(&roots, bank), roots };
        let now = self.tick();
        if let Some(context) = self.contexts.get_mut(id.0) {
            context.bank = Some(bank);
            context.used_at = now;
        }
        // Should the device fall silent half-way, this is the truth already.
        self.banks[usize::from(bank)] = Bank::Quarantined(seat);
        self.program(bank, &seat)?;
        self.banks[usize::from(bank)] = Bank::Taken(seat);
        self.statistics.seatings += 1;
        Ok(())
    }

    /// Makes `bank` free, if it is not: its masters are unclaimed and the TLB has nothing of it.
    ///
    /// On failure the bank is quarantined; the call may be repeated.
    pub(super) fn vacate(&mut self, bank: u8, reseat: Reseat) -> Result<(), Unresponsive> {
        let Some(&seat) = self.banks[usize::from(bank)].seat() else {
            return Ok(());
        };
        self.banks[usize::from(bank)] = Bank::Quarantined(seat);
        self.leave(bank, &seat)?;
        self.banks[usize::from(bank)] = Bank::Free;
        let Some(context) = self.contexts.get_mut(seat.context.0) else {
            debug_assert!(false, "{} is in bank {bank}, but does not exist", seat.context);
            return Ok(());
        };
        context.bank = None;
        if context.doomed {
            self.forget(seat.context);
            return Ok(());
        }
        let again = match reseat {
            Reseat::Nobody => None,
            Reseat::Held if context.holds == 0 => None,
            Reseat::Held | Reseat::Active => context.active,
        };
        match again {
            Some(roots) => self.take(bank, seat.context, roots),
            None => Ok(()),
        }
    }

    /// The bank of the context that has been idle for longest.
    fn oldest_idle(&mut self) -> Result<u8, SmmuError> {
        let mut holders = Holders::default();
        let mut oldest: Option<(u64, u8)> = None;
        for bank in 0..self.banks.len() as u8 {
            let (seat, quarantined) = match self.banks[usize::from(bank)] {
                Bank::Free => continue,
                Bank::Taken(seat) => (seat, false),
                Bank::Quarantined(seat) => (seat, true),
            };
            let Some(context) = self.contexts.get(seat.context.0) else {
                continue;
            };
            let used_at = context.used_at;
            let busy = if quarantined {
                Some(Busy::Quarantined)
            } else if context.holds > 0 {
                Some(Busy::Held)
            } else if context.stalled || self.has_fault(bank)? {
                Some(Busy::Faulted)
            } else {
                None
            };
            match busy {
                Some(busy) => holders.add(Holder { bank, context: seat.context, busy }),
                None if oldest.is_none_or(|(other, _)| used_at < other) => oldest = Some((used_at, bank)),
                None => {}
            }
        }
        oldest.map(|(_, bank)| bank).ok_or(SmmuError::NoFreeSlot(holders))
    }

    /// Whether `bank` has a fault that was not looked at yet.
    fn has_fault(&mut self, bank: u8) -> Result<bool, Unresponsive> {
        let status = self.registers.read(spec::context_register(bank, spec::FSR));
        if status == u32::MAX {
            self.check_alive()?;
        }
        Ok(status != 0)
    }

    /// The ASID for `roots` in `bank`: that of another bank with equal roots, or else the bank's own if no
    /// other uses it, or else the lowest that is in use nowhere. There are more ASIDs than banks.
    pub(super) fn asid_for(&self, roots: &TableRoots, bank: u8) -> u8 {
        let others = || {
            self.banks
                .iter()
                .enumerate()
                .filter(move |(index, _)| *index != usize::from(bank))
                .map(|(_, other)| other)
        };
        let shared = others().find_map(|other| match other {
            Bank::Taken(seat) if seat.roots == *roots => Some(seat.asid),
            _ => None,
        });
        let unused = |asid: &u8| others().all(|other| other.seat().is_none_or(|seat| seat.asid != *asid));
        let own = self.banks[usize::from(bank)].seat().map(|seat| seat.asid).filter(unused);
        shared.or(own).or_else(|| (0..=u8::MAX).find(unused)).unwrap_or(u8::MAX)
    }

    /// Counts a use of a context.
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }
}
