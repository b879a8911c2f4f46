//! The driver's state, its creation and reset, and its contexts' lives.

use super::context::{Bank, Context};
use super::iommu::Streams;
use super::seats::Reseat;
use super::{
    Config, ContextId, FaultRecord, MasterId, ProbeError, SmmuError, Statistics, TableRoots, Unresponsive,
    spec,
};
use crate::Registers;
use vcm::{Arena, List};

/// The driver of one SMMU. See the [module](super) for what it guarantees.
#[derive(Debug)]
pub struct Smmu<R> {
    pub(super) registers: R,
    pub(super) config: Config,
    pub(super) idr: spec::Idr,
    pub(super) banks: List<Bank>,
    /// The context that each master belongs to.
    pub(super) owners: List<Option<ContextId>>,
    pub(super) contexts: Arena<Context>,
    /// Faults read from the device and not fetched yet, with room for one of each bank and a global one.
    pub(super) faults: List<FaultRecord>,
    /// Counts the uses of contexts, to tell which is the oldest.
    pub(super) clock: u64,
    pub(super) statistics: Statistics,
    /// What [`Iommu`](crate::Iommu) needs beside contexts.
    pub(super) streams: Streams,
}

impl<R: Registers> Smmu<R> {
    /// Finds the SMMU behind `registers` and initialises it: every bank is reset, the TLB is empty, and the
    /// transactions of all masters are treated as [`Config::unclaimed`] says.
    ///
    /// # Errors
    /// [`ProbeError`]; the device may be half initialised.
    pub fn probe(mut registers: R, config: Config) -> Result<Self, ProbeError> {
        let raw = registers.read(spec::IDR);
        if raw == 0 || raw == u32::MAX {
            return Err(ProbeError::Absent { label: config.label, idr: raw });
        }
        let idr = spec::Idr::from_bits(raw);
        if idr.banks() > spec::MAX_BANKS {
            return Err(ProbeError::TooManyBanks { label: config.label, banks: idr.banks() });
        }
        let mut banks = List::new();
        banks.reserve(idr.banks() as usize)?;
        for _ in 0..idr.banks() {
            banks.push_reserved(Bank::Free);
        }
        let mut owners = List::new();
        owners.reserve(usize::from(idr.masters()))?;
        for _ in 0..idr.masters() {
            owners.push_reserved(None);
        }
        let mut faults = List::new();
        faults.reserve(banks.len() + 1)?;
        let mut smmu = Self {
            registers,
            config,
            idr,
            banks,
            owners,
            contexts: Arena::new(),
            faults,
            clock: 0,
            statistics: Statistics::default(),
            streams: Streams::default(),
        };
        smmu.initialise()?;
        Ok(smmu)
    }

    /// Initialises the device anew, after it was reset or came back. Whatever was quarantined is given back,
    /// contexts that sat in a bank are seated again with their tables, and destroyed ones are gone. Stalled
    /// transactions are over.
    ///
    /// # Errors
    /// [`Unresponsive`]: the device does not answer still; all banks that are not free are quarantined.
    pub fn reset(&mut self) -> Result<(), Unresponsive> {
        // Until the end is reached nothing is known of any bank that was in use.
        for bank in self.banks.iter_mut() {
            if let Bank::Taken(seat) = *bank {
                *bank = Bank::Quarantined(seat);
            }
        }
        self.check("IDR", spec::IDR, self.idr.into_bits())?;
        self.initialise()?;
        for bank in 0..self.banks.len() as u8 {
            self.vacate(bank, Reseat::Active)?;
        }
        Ok(())
    }

    /// Makes a context for the transactions of `masters`. It is inactive: they are unclaimed until it is
    /// activated.
    ///
    /// # Errors
    /// `NoMasters`, `MasterOutOfRange`, `MasterRepeated`, `OutOfMemory`; `MasterOwned` names the owner.
    pub fn create_context(&mut self, masters: &[MasterId]) -> Result<ContextId, SmmuError> {
        if masters.is_empty() {
            return Err(SmmuError::NoMasters);
        }
        for (index, &master) in masters.iter().enumerate() {
            match self.owners.get(usize::from(master.0)) {
                None => return Err(SmmuError::MasterOutOfRange { master, masters: self.idr.masters() }),
                Some(Some(owner)) => return Err(SmmuError::MasterOwned { master, owner: *owner }),
                Some(None) if masters[..index].contains(&master) => {
                    return Err(SmmuError::MasterRepeated(master));
                }
                Some(None) => {}
            }
        }
        let mut list = List::new();
        list.reserve(masters.len())?;
        for &master in masters {
            list.push_reserved(master);
        }
        let id = ContextId(self.contexts.insert(Context::new(list))?);
        for &master in masters {
            self.owners[usize::from(master.0)] = Some(id);
        }
        Ok(id)
    }

    /// Deactivates a context if it is active, and destroys it. A context that does not exist is passed over.
    ///
    /// # Errors
    /// [`Unresponsive`]: the context is quarantined, and keeps its masters. It goes when
    /// [`recover`](Self::recover), [`reset`](Self::reset) or another call of this succeeds.
    pub fn destroy_context(&mut self, id: ContextId) -> Result<(), Unresponsive> {
        let Some(context) = self.contexts.get_mut(id.0) else {
            return Ok(());
        };
        context.doomed = true;
        self.deactivate(id)?;
        self.forget(id);
        Ok(())
    }

    /// Lets the context's masters translate through `roots`, and seats it in a bank. When no bank is free,
    /// the context that has been idle for longest is displaced.
    ///
    /// # Errors
    /// `UnknownContext`, `Destroyed`, `AlreadyActive`, `Roots`; `NoFreeSlot` names who holds the banks. With
    /// `Unresponsive` as well, the context is not active.
    pub fn activate(&mut self, id: ContextId, roots: TableRoots) -> Result<(), SmmuError> {
        let context = self.existing(id)?;
        if context.active.is_some() {
            return Err(SmmuError::AlreadyActive(id));
        }
        roots.validate()?;
        context.active = Some(roots);
        match self.seat(id) {
            Ok(_) => Ok(()),
            Err(error) => {
                if let Some(context) = self.contexts.get_mut(id.0) {
                    context.active = None;
                }
                Err(error)
            }
        }
    }

    /// Gives an active context other tables. A half whose table stays (under the same split) keeps
    /// translating all the while; in a half whose table changes, a transaction may fault meanwhile. When the
    /// call returns, nothing of the tables that went is in the TLB. With another split, the context's
    /// transactions are unclaimed for a moment.
    ///
    /// # Errors
    /// `UnknownContext`, `Destroyed`, `NotActive`, `Roots`. With `Unresponsive` and `NoFreeSlot` the context
    /// has the new tables, but it is not seated; the call may be repeated.
    pub fn set_roots(&mut self, id: ContextId, roots: TableRoots) -> Result<(), SmmuError> {
        let context = self.existing(id)?;
        if context.active.is_none() {
            return Err(SmmuError::NotActive(id));
        }
        roots.validate()?;
        context.active = Some(roots);
        let (bank, held) = (context.bank, context.holds > 0);
        let Some(bank) = bank else {
            return Ok(());
        };
        match self.banks[usize::from(bank)] {
            Bank::Taken(seat) if seat.roots.split == roots.split => Ok(self.change_roots(bank, seat, roots)?),
            Bank::Taken(_) => {
                self.vacate(bank, Reseat::Nobody)?;
                self.seat(id).map(drop)
            }
            _ => {
                self.vacate(bank, Reseat::Nobody)?;
                if held { self.seat(id).map(drop) } else { Ok(()) }
            }
        }
    }

    /// Takes the context's tables away, holds included. When it returns `Ok`, its masters' transactions are
    /// unclaimed and the TLB has nothing of it; a stalled one was terminated. A context that is not active,
    /// or does not exist, is passed over.
    ///
    /// # Errors
    /// [`Unresponsive`]: it was not seen to complete, and the context is quarantined: its bank and ASID go to
    /// nobody. The call may be repeated until it succeeds.
    pub fn deactivate(&mut self, id: ContextId) -> Result<(), Unresponsive> {
        let Some(context) = self.contexts.get_mut(id.0) else {
            return Ok(());
        };
        context.active = None;
        context.holds = 0;
        match context.bank {
            Some(bank) => self.vacate(bank, Reseat::Nobody),
            None => Ok(()),
        }
    }

    /// Tries again to complete what was quarantined. Contexts that are held are seated again.
    ///
    /// # Errors
    /// [`Unresponsive`]: the device does not answer still. When it lost its state meanwhile, only
    /// [`reset`](Self::reset) helps.
    pub fn recover(&mut self) -> Result<(), Unresponsive> {
        for bank in 0..self.banks.len() as u8 {
            if matches!(self.banks[usize::from(bank)], Bank::Quarantined(_)) {
                self.vacate(bank, Reseat::Held)?;
            }
        }
        Ok(())
    }

    /// The context with `id`, unless it is being destroyed.
    pub(super) fn existing(&mut self, id: ContextId) -> Result<&mut Context, SmmuError> {
        match self.contexts.get_mut(id.0) {
            None => Err(SmmuError::UnknownContext(id)),
            Some(context) if context.doomed => Err(SmmuError::Destroyed(id)),
            Some(context) => Ok(context),
        }
    }

    /// Forgets a context that has left its bank.
    pub(super) fn forget(&mut self, id: ContextId) {
        if let Some(context) = self.contexts.remove(id.0) {
            debug_assert!(context.bank.is_none(), "{id} is forgotten in a bank");
            for master in context.masters.iter() {
                self.owners[usize::from(master.0)] = None;
            }
        }
    }
}

impl<R> Smmu<R> {
    /// The number of context banks.
    pub fn banks(&self) -> usize {
        self.banks.len()
    }

    /// The number of master ids: they are 0 to one less than this.
    pub const fn masters(&self) -> u16 {
        self.idr.masters()
    }

    /// What the driver was configured with.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// The context that `master` belongs to.
    pub fn owner(&self, master: MasterId) -> Option<ContextId> {
        *self.owners.get(usize::from(master.0))?
    }

    /// The tables of an active context.
    pub fn roots(&self, id: ContextId) -> Option<TableRoots> {
        self.contexts.get(id.0)?.active
    }

    /// The bank that translates for a context now.
    pub fn bank(&self, id: ContextId) -> Option<u8> {
        let bank = self.contexts.get(id.0)?.bank?;
        matches!(self.banks[usize::from(bank)], Bank::Taken(_)).then_some(bank)
    }

    /// The ASID that tags a seated context's TLB entries.
    pub fn asid(&self, id: ContextId) -> Option<u8> {
        Some(self.banks[usize::from(self.bank(id)?)].seat()?.asid)
    }

    /// How many banks are quarantined.
    pub fn quarantined(&self) -> usize {
        self.banks.iter().filter(|bank| matches!(bank, Bank::Quarantined(_))).count()
    }

    /// What the driver did so far.
    pub const fn statistics(&self) -> Statistics {
        self.statistics
    }

    /// The register window. Whoever writes to it does so behind the driver's back.
    pub const fn registers_mut(&mut self) -> &mut R {
        &mut self.registers
    }
}
