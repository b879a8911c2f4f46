//! Domains: what they hold, and their lives.

use super::entry::{self, FaultModel, Ste};
use super::{Smmu, spec};
use crate::{
    DomainId, Feature, IommuError, Registers, SharedMemory, TableFormat, Tables, Translation, Unresponsive,
};
use vcm::{Key, PhysicalAddress, Span};
use vcm_pagetable::aarch64::Granule;

/// The ASID of stage 1 in a nested domain, whose VMID tells it from all others.
pub(super) const NESTED_ASID: u16 = 0;

/// Which stages translate, and what tags what they cached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Regime {
    Bypass,
    /// Stage 1 alone. Its VMID is 0, which no domain with stage 2 has.
    First {
        asid: u16,
    },
    Second {
        vmid: u16,
    },
    Nested {
        vmid: u16,
    },
}

/// Memory of a context descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Context {
    pub(super) address: PhysicalAddress,
    pub(super) bytes: u64,
}

/// A domain.
#[derive(Debug)]
pub(super) struct Domain {
    pub(super) translation: Translation,
    pub(super) regime: Regime,
    pub(super) context: Option<Context>,
    /// The entry of its streams.
    pub(super) entry: Ste,
    /// It is being destroyed, but its invalidation was not seen to complete.
    pub(super) doomed: bool,
}

/// The page with a nested domain's context descriptor, for the second table to show to the SMMU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ContextPage {
    /// Where it is.
    pub physical: PhysicalAddress,
    /// Where the SMMU looks for it: an intermediate physical address.
    pub at: u64,
    /// Its length in bytes: the granule of the second table.
    pub len: u64,
}

impl<R: Registers, M: SharedMemory> Smmu<R, M> {
    pub(super) fn domain(&self, id: DomainId) -> Result<&Domain, IommuError> {
        let domain = self.domains.get(id.key()).filter(|domain| !domain.doomed);
        domain.ok_or(IommuError::UnknownDomain(id))
    }

    pub(super) fn make_domain(&mut self, translation: Translation) -> Result<DomainId, IommuError> {
        let context_bytes = self.check_translation(&translation)?;
        if let Translation::Nested { second: Tables { format, .. }, .. } = translation
            && let Some(at) = self.config.context_at
        {
            let (align, limit) = (context_bytes.unwrap_or(1), input(&format).last());
            if at & (align - 1) != 0 || at > limit {
                return Err(IommuError::Address { at, len: align });
            }
        }
        self.domains.reserve(1)?;
        let regime = self.take_regime(&translation)?;
        let context = match context_bytes.map(|bytes| (bytes, self.memory.allocate(bytes, bytes))) {
            None => None,
            Some((bytes, Ok(address))) => Some(Context { address, bytes }),
            Some((_, Err(error))) => {
                // Nothing was ever tagged with it.
                self.give_regime(regime);
                return Err(error.into());
            }
        };
        let model = self.fault_model();
        let seen = context
            .map_or(0, |context| entry::context_address(context.address, regime, self.config.context_at));
        let entry = entry::of_domain(&self.capabilities, &translation, regime, seen, model);
        let key = self.domains.insert_reserved(Domain { translation, regime, context, entry, doomed: false });
        self.write_context(key);
        Ok(DomainId::of(key))
    }

    /// Writes the context descriptor of a domain that no stream uses, or while the SMMU is disabled.
    pub(super) fn write_context(&mut self, key: Key<Domain>) {
        let Some(domain) = self.domains.get(key) else { return };
        let asid = match domain.regime {
            Regime::First { asid } => asid,
            _ => NESTED_ASID,
        };
        let (Translation::Tables(first) | Translation::Nested { first, .. }) = domain.translation else {
            return;
        };
        let model = self.fault_model();
        let descriptor = entry::context(&self.capabilities, &first, asid, model);
        let (Some(context), Some(descriptor)) = (domain.context, descriptor) else { return };
        // The word with the valid bit is the first, and is written last.
        for (word, value) in descriptor.into_iter().enumerate().rev() {
            let address = PhysicalAddress::new(context.address.raw() + 8 * word as u64);
            self.memory.write64(address, value);
        }
    }

    pub(super) fn unmake_domain(&mut self, id: DomainId) -> Result<(), IommuError> {
        let key = id.key();
        let Some(domain) = self.domains.get_mut(key) else { return Ok(()) };
        let regime = domain.regime;
        if let Some(attachment) = self.attachments.iter().find(|attachment| attachment.holds(key)) {
            return Err(IommuError::InUse { domain: id, stream: attachment.stream });
        }
        domain.doomed = true;
        self.drop_cached(regime)?;
        self.forget_domain(key);
        Ok(())
    }

    /// Gives back what a domain held, of which nothing is cached any more.
    pub(super) fn forget_domain(&mut self, key: Key<Domain>) {
        if let Some(domain) = self.domains.remove(key) {
            if let Some(context) = domain.context {
                self.memory.free(context.address, context.bytes);
            }
            self.give_regime(domain.regime);
        }
    }

    /// Drops all that is cached of a domain.
    pub(super) fn drop_cached(&mut self, regime: Regime) -> Result<(), Unresponsive> {
        match super::tlb::everything(regime) {
            Some(command) => self.issue(core::iter::once(command)),
            None => Ok(()),
        }
    }

    /// Checks a translation, and says how many bytes its context descriptor takes, if it has one.
    fn check_translation(&self, translation: &Translation) -> Result<Option<u64>, IommuError> {
        match translation {
            Translation::Requests => Err(IommuError::NotSupported(Feature::Requests)),
            Translation::Identity => Ok(None),
            Translation::Tables(tables) => {
                self.check_tables(tables)?;
                let first = matches!(tables.format, TableFormat::Aarch64Stage1 { .. });
                Ok(first.then_some(spec::CD_BYTES))
            }
            Translation::Nested { first, second } => {
                let stages = matches!(first.format, TableFormat::Aarch64Stage1 { .. })
                    && matches!(second.format, TableFormat::Aarch64Stage2 { .. });
                if !stages || !self.capabilities.idr0.s1p() || !self.capabilities.idr0.s2p() {
                    return Err(IommuError::NotSupported(Feature::Nested));
                }
                self.check_tables(first)?;
                self.check_tables(second)?;
                // A page of its own: whatever else were on it, the guest's devices could read.
                Ok(Some(granule(&second.format).bytes()))
            }
        }
    }

    fn check_tables(&self, tables: &Tables) -> Result<(), IommuError> {
        let place = self.capabilities.root(&tables.format);
        let place = place.ok_or(IommuError::NotSupported(Feature::Format(tables.format)))?;
        let root = tables.root.raw();
        if root & (place.align - 1) != 0 || root >= place.limit {
            return Err(IommuError::Root { root, align: place.align, limit: place.limit });
        }
        Ok(())
    }

    fn take_regime(&mut self, translation: &Translation) -> Result<Regime, IommuError> {
        let nested = match translation {
            Translation::Identity | Translation::Requests => return Ok(Regime::Bypass),
            Translation::Tables(Tables { format: TableFormat::Aarch64Stage1 { .. }, .. }) => {
                return Ok(Regime::First { asid: self.asids.take()? as u16 });
            }
            Translation::Tables(_) => false,
            Translation::Nested { .. } => true,
        };
        let vmid = self.vmids.take()? as u16;
        Ok(if nested { Regime::Nested { vmid } } else { Regime::Second { vmid } })
    }

    fn give_regime(&mut self, regime: Regime) {
        match regime {
            Regime::Bypass => {}
            Regime::First { asid } => self.asids.give(asid.into()),
            Regime::Second { vmid } | Regime::Nested { vmid } => self.vmids.give(vmid.into()),
        }
    }

    /// Whether faulting transactions wait for an answer.
    pub(super) const fn fault_model(&self) -> FaultModel {
        super::events::fault_model(&self.capabilities, &self.config)
    }

    /// Where a nested domain's context descriptor is, and where its second table must show it, for reads. It is the
    /// driver's, and stage 2 stands between it and the hardware (Arm IHI 0070, 5.2, S1ContextPtr). Without it the
    /// domain's streams translate nothing. `None` for a domain of another kind, or one that does not exist.
    pub fn context_page(&self, domain: DomainId) -> Option<ContextPage> {
        let domain = self.domain(domain).ok()?;
        let (Regime::Nested { .. }, Some(context)) = (domain.regime, domain.context) else { return None };
        let at = entry::context_address(context.address, domain.regime, self.config.context_at);
        Some(ContextPage { physical: context.address, at, len: context.bytes })
    }
}

/// The granule of a format that this driver took.
pub(super) const fn granule(format: &TableFormat) -> Granule {
    match *format {
        TableFormat::Aarch64Stage1 { granule, .. } | TableFormat::Aarch64Stage2 { granule, .. } => granule,
        _ => Granule::Size4K,
    }
}

/// The addresses that a format that this driver took translates.
pub(super) fn input(format: &TableFormat) -> Span {
    match *format {
        TableFormat::Aarch64Stage1 { input_bits, .. } | TableFormat::Aarch64Stage2 { input_bits, .. } => {
            Span::new(0, 1 << input_bits).unwrap_or(Span::ALL)
        }
        _ => Span::ALL,
    }
}
