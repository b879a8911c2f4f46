//! The SMMU as every IOMMU is: streams and domains over masters and contexts.
//!
//! A stream is a master; while it is attached, it has a context of its own, which is held: it has a seat, and keeps
//! it. So no more streams can be attached than there are banks. Masters that contexts were made for with
//! [`Smmu::create_context`] are no streams.

use super::{
    ContextId, FaultSource, MasterId, RootsError, Smmu, SmmuError, TableRoots, TranslateAs, TranslateFault,
};
use crate::{
    DomainId, FaultRecord, Feature, Invalidation, Iommu, IommuError, Registers, Stall, StreamId, TableFormat,
    Tables, Translation, Unresponsive, Way,
};
use vcm::{Answer, Arena, FaultAccess, FaultReason, FaultState, Key, Label, List, PhysicalAddress};
use vcm_pagetable::arm_short::{AccessModel, Remap};

/// What the trait needs beside contexts.
#[derive(Debug, Default)]
pub(super) struct Streams {
    domains: Arena<TableRoots>,
    /// By master.
    attached: List<Attached>,
    /// How many faults said that there were more.
    overflows: u64,
}

/// A master with a context of its own.
#[derive(Clone, Copy, Debug)]
struct Attached {
    master: MasterId,
    context: ContextId,
    domain: Key<TableRoots>,
    /// The domain that it was to leave for `domain`, which was not seen to complete: it may translate by either.
    former: Option<Key<TableRoots>>,
    state: State,
}

impl Attached {
    /// Whether its transactions may translate by this domain.
    fn may_use(&self, domain: Key<TableRoots>) -> bool {
        self.domain == domain || self.former == Some(domain)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Its transactions translate.
    Active,
    /// It is to be blocked, or its attaching or moving was not seen to complete.
    Leaving,
}

impl<R: Registers> Iommu for Smmu<R> {
    fn label(&self) -> Label {
        self.config.label
    }

    fn preferred(&self) -> Way {
        Way::Tables(TableFormat::ArmShort)
    }

    /// `ArmShort`, if the driver was configured for its memory classes: [`Remap::OUTER`] and
    /// [`AccessModel::Full`].
    fn supports(&self, format: TableFormat) -> bool {
        let fitting = self.config.remap == Remap::OUTER && self.config.access_model == AccessModel::Full;
        format == TableFormat::ArmShort && fitting
    }

    fn create_domain(&mut self, translation: Translation) -> Result<DomainId, IommuError> {
        let feature = match translation {
            Translation::Tables(Tables { format, root }) if self.supports(format) => {
                let roots = TableRoots::whole(root);
                roots.validate().map_err(root_refused)?;
                return Ok(DomainId::of(self.streams.domains.insert(roots)?));
            }
            Translation::Tables(tables) => Feature::Format(tables.format),
            Translation::Identity => Feature::Identity,
            Translation::Requests => Feature::Requests,
            Translation::Nested { .. } => Feature::Nested,
        };
        Err(IommuError::NotSupported(feature))
    }

    fn destroy_domain(&mut self, domain: DomainId) -> Result<(), IommuError> {
        let key = domain.key();
        while let Some(&attached) = self.streams.attached.iter().find(|attached| attached.may_use(key)) {
            let stream = StreamId(attached.master.0.into());
            if attached.state == State::Active {
                return Err(IommuError::InUse { domain, stream });
            }
            self.detach(stream)?;
        }
        self.streams.domains.remove(key);
        Ok(())
    }

    /// `NoFreeSlot` when every bank is taken by a stream or a held context.
    fn attach(&mut self, stream: StreamId, domain: DomainId) -> Result<(), IommuError> {
        let key = domain.key();
        let roots = *self.streams.domains.get(key).ok_or(IommuError::UnknownDomain(domain))?;
        let master = self.master(stream)?;
        self.streams.attached.reserve(1)?;
        if let Some(index) = self.attached(master) {
            let attached = self.streams.attached[index];
            if attached.state == State::Active {
                if attached.domain == key && self.bank(attached.context).is_some() {
                    return Ok(());
                }
                let moved = self.set_roots(attached.context, roots);
                let entry = &mut self.streams.attached[index];
                entry.domain = key;
                if moved.is_err() {
                    (entry.former, entry.state) = (Some(attached.domain), State::Leaving);
                }
                return moved.map_err(|error| self.refused(error));
            }
            self.detach(stream)?;
        }
        let context = self.create_context(&[master]).map_err(|error| self.refused(error))?;
        let place = self.streams.attached.partition_point(|other| other.master < master);
        self.streams
            .attached
            .insert(place, Attached { master, context, domain: key, former: None, state: State::Active })?;
        match self.activate(context, roots).and_then(|()| self.hold(context)) {
            Ok(()) => Ok(()),
            Err(error) => {
                let error = self.refused(error);
                self.detach(stream)?;
                Err(error)
            }
        }
    }

    fn detach(&mut self, stream: StreamId) -> Result<(), Unresponsive> {
        let Some(index) = self.master(stream).ok().and_then(|master| self.attached(master)) else {
            return Ok(());
        };
        let attached = &mut self.streams.attached[index];
        attached.state = State::Leaving;
        let context = attached.context;
        self.destroy_context(context).map_err(lost)?;
        self.streams.attached.remove(index);
        Ok(())
    }

    fn invalidate(&mut self, domain: DomainId, invalidation: &Invalidation<'_>) -> Result<(), Unresponsive> {
        let key = domain.key();
        // Those that did not leave yet may translate still.
        for index in 0..self.streams.attached.len() {
            let attached = self.streams.attached[index];
            if attached.may_use(key) {
                Self::invalidate(self, attached.context, invalidation).map_err(lost)?;
            }
        }
        Ok(())
    }

    /// The record's `code` is the number of the bit that is set in FSR, or of ESR for transactions of no context.
    fn next_fault(&mut self) -> Result<Option<FaultRecord>, Unresponsive> {
        let mut next = Self::next_fault(self);
        if next.is_none() {
            self.handle_interrupt().map_err(lost)?;
            next = Self::next_fault(self);
        }
        Ok(next.map(|record| {
            self.streams.overflows += u64::from(record.multiple);
            let stream = StreamId(record.master.0.into());
            let stalled = record.state == FaultState::Stalled;
            let (name, code) = match (record.source, record.reason) {
                (FaultSource::Configuration, _) => ("CFG", 0),
                (FaultSource::Bypass, _) => ("BYPASS", 1),
                (_, FaultReason::AccessFlag) => ("AFF", 2),
                (_, FaultReason::Permission) => ("APF", 3),
                (_, FaultReason::TableWalk) => ("HTW", 5),
                (_, FaultReason::TlbConflict) => ("MHF", 7),
                _ => ("TF", 1),
            };
            FaultRecord {
                stream,
                substream: None,
                address: record.address,
                access: record.access,
                reason: record.reason,
                state: record.state,
                name,
                code,
                stall: stalled.then_some(Stall { stream, tag: 0 }),
            }
        }))
    }

    fn fault_overflows(&self) -> u64 {
        self.streams.overflows
    }

    fn answer(&mut self, stall: Stall, answer: Answer) -> Result<(), IommuError> {
        let master = self.master(stall.stream)?;
        let context = self.owner(master).ok_or(IommuError::NotStalled(stall.stream))?;
        self.resume(context, answer).map_err(|error| match error {
            SmmuError::Unresponsive(error) => lost(error).into(),
            _ => IommuError::NotStalled(stall.stream),
        })
    }

    /// As a privileged master, which sees what is mapped for users and for supervisors.
    fn translate(
        &mut self,
        stream: StreamId,
        address: u64,
        access: FaultAccess,
    ) -> Result<PhysicalAddress, IommuError> {
        let master = self.master(stream)?;
        let index = self.attached(master).ok_or(IommuError::NotAttached(stream))?;
        let Attached { context, state, .. } = self.streams.attached[index];
        if state == State::Leaving {
            return Err(IommuError::NotAttached(stream));
        }
        let translate_as = match access {
            FaultAccess::Read => TranslateAs::PrivilegedRead,
            FaultAccess::Write => TranslateAs::PrivilegedWrite,
            // There is no register that asks for it.
            FaultAccess::Execute => return Err(IommuError::NotSupported(Feature::Translate)),
        };
        Self::translate(self, context, address, translate_as).map_err(|fault| match fault {
            TranslateFault::Fault(_) => IommuError::NotMapped(address),
            TranslateFault::Beyond32Bits => IommuError::Address { at: address, len: 1 },
            TranslateFault::Smmu(error) => self.refused(error),
        })
    }

    fn recover(&mut self) -> Result<(), Unresponsive> {
        self.reset().map_err(lost)?;
        // What was being destroyed is gone now, and who was moving has arrived.
        let Self { streams, contexts, .. } = self;
        streams.attached.retain(|attached| contexts.get(attached.context.0).is_some());
        for attached in streams.attached.iter_mut() {
            (attached.former, attached.state) = (None, State::Active);
        }
        Ok(())
    }
}

impl<R> Smmu<R> {
    fn master(&self, stream: StreamId) -> Result<MasterId, IommuError> {
        let last = StreamId(u32::from(self.masters()).saturating_sub(1));
        match u16::try_from(stream.0) {
            Ok(master) if stream <= last => Ok(MasterId(master)),
            _ => Err(IommuError::StreamOutOfRange { stream, last }),
        }
    }

    /// Where a master is in the list.
    fn attached(&self, master: MasterId) -> Option<usize> {
        self.streams.attached.binary_search_by_key(&master, |attached| attached.master).ok()
    }

    /// The error in the words of all IOMMUs.
    fn refused(&self, error: SmmuError) -> IommuError {
        match error {
            SmmuError::Unresponsive(error) => lost(error).into(),
            SmmuError::OutOfMemory => IommuError::OutOfMemory,
            SmmuError::Roots(error) => root_refused(error),
            SmmuError::NoFreeSlot(_) => IommuError::NoFreeSlot(self.banks() as u32),
            // Somebody made a context for it.
            SmmuError::MasterOwned { master, .. } => IommuError::Occupied(master.0.into()),
            SmmuError::MasterOutOfRange { master, masters } => IommuError::StreamOutOfRange {
                stream: StreamId(master.0.into()),
                last: StreamId(u32::from(masters).saturating_sub(1)),
            },
            // A context that belongs to a stream, and was changed behind its back.
            _ => lost_context(self.config.label).into(),
        }
    }
}

fn root_refused(error: RootsError) -> IommuError {
    let (root, align) = match error {
        RootsError::Misaligned { table, length } => (table.raw(), length),
        RootsError::Beyond32Bits(table) | RootsError::HighWithoutSplit(table) => (table.raw(), 0x4000),
        RootsError::Split(_) => (0, 0x4000),
    };
    IommuError::Root { root, align, limit: 1 << 32 }
}

fn lost(error: super::Unresponsive) -> Unresponsive {
    let what = match error.register {
        "M2VCBR" => "M2VCBR does not read as it was written",
        "SCTLR" => "SCTLR does not read as it was written",
        "CR" => "CR does not read as it was written",
        "IDR" => "IDR does not read as it did",
        _ => "a register does not read as it must",
    };
    Unresponsive { label: error.label, what }
}

const fn lost_context(label: Label) -> Unresponsive {
    Unresponsive { label, what: "a stream's context was changed behind its back" }
}
