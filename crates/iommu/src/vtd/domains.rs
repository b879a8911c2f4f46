//! Domains: their ids, and what of them stands in memory.

use super::request::Request;
use super::{Mode, Vtd, spec};
use crate::shared_memory::allocate_all;
use crate::{Feature, IommuError, Registers, SharedMemory, TableFormat, Translation, Unresponsive};
use vcm::{Key, OutOfMemory, PageSizes, PhysicalAddress, SIZE_1G, SIZE_2M, SIZE_4K};

/// A domain.
#[derive(Debug)]
pub(super) struct Domain {
    /// The number that tags its cached translations.
    pub(super) did: u16,
    pub(super) kind: Kind,
    /// In scalable mode, its PASID directory and PASID table.
    pasids: Option<PasidTables>,
}

/// How it translates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    PassThrough,
    SecondStage { root: PhysicalAddress, levels: u8 },
    FirstStage { root: PhysicalAddress, levels: u8 },
}

#[derive(Clone, Copy, Debug)]
struct PasidTables {
    directory: PhysicalAddress,
    table: PhysicalAddress,
}

impl Domain {
    /// The context entry of its requesters, as 64-bit words; the first one makes it present. The rest is 0.
    pub(super) fn context(&self, deepest: u8) -> [u64; 2] {
        if let Some(pasids) = self.pasids {
            let entry =
                spec::ScalableContext::new().with_present(true).with_page(pasids.directory.raw() >> 12);
            return [entry.into_bits(), 0];
        }
        let low = spec::ContextLow::new().with_present(true);
        let (low, levels) = match self.kind {
            Kind::SecondStage { root, levels } => {
                (low.with_tt(spec::TT_SECOND_STAGE).with_page(root.raw() >> 12), levels)
            }
            // First stages are refused in legacy mode.
            Kind::PassThrough | Kind::FirstStage { .. } => (low.with_tt(spec::TT_PASS_THROUGH), deepest),
        };
        let high = spec::ContextHigh::new().with_aw(levels - 2).with_did(self.did);
        [low.into_bits(), high.into_bits()]
    }

    /// The entry for [`spec::RID_PASID`] in the PASID table, as 64-bit words; the first one makes it present.
    fn pasid_entry(&self, deepest: u8, ecap: spec::ExtendedCapability) -> [u64; 3] {
        let low = spec::PasidLow::new().with_present(true);
        let (low, high) = match self.kind {
            Kind::PassThrough => {
                (low.with_pgtt(spec::PGTT_PASS_THROUGH).with_aw(deepest - 2), spec::PasidHigh::new())
            }
            Kind::SecondStage { root, levels } => (
                low.with_pgtt(spec::PGTT_SECOND_STAGE).with_aw(levels - 2).with_page(root.raw() >> 12),
                spec::PasidHigh::new(),
            ),
            Kind::FirstStage { root, levels } => (
                low.with_pgtt(spec::PGTT_FIRST_STAGE).with_aw(levels - 2),
                spec::PasidHigh::new().with_fspm(levels - 4).with_page(root.raw() >> 12),
            ),
        };
        let middle = spec::PasidMiddle::new().with_did(self.did).with_pwsnp(ecap.smpwcs());
        [low.into_bits(), middle.into_bits(), high.into_bits()]
    }

    /// What is to be forgotten when nothing of it may be left in the IOTLB.
    pub(super) fn everything(&self) -> Request {
        match self.kind {
            Kind::FirstStage { .. } => Request::FirstStageOf { did: self.did },
            // In scalable mode what passes untranslated is cached under its PASID ("Guidance to Software for
            // Invalidations"; so do Linux's drivers/iommu/intel/pasid.c).
            Kind::PassThrough if self.pasids.is_some() => Request::FirstStageOf { did: self.did },
            Kind::PassThrough | Kind::SecondStage { .. } => Request::IotlbOf { did: self.did },
        }
    }
}

impl<R: Registers, M: SharedMemory> Vtd<R, M> {
    /// Levels of the deepest second-stage table that the hardware walks.
    pub(super) const fn deepest(&self) -> u8 {
        let sagaw = self.capability.sagaw();
        if sagaw & 0b1000 != 0 {
            5
        } else if sagaw & 0b100 != 0 {
            4
        } else {
            3
        }
    }

    /// Whether the hardware walks tables of `format`.
    pub(super) const fn walks(&self, format: TableFormat) -> bool {
        let (cap, ecap) = (self.capability, self.extended);
        match (format, self.mode) {
            (TableFormat::VtdSecondStage { levels: 3..=5 }, Mode::Scalable) if !ecap.ssts() => false,
            (TableFormat::VtdSecondStage { levels: levels @ 3..=5 }, _) => {
                cap.sagaw() >> (levels - 2) & 1 == 1
            }
            (TableFormat::VtdFirstStage { levels: 4 }, Mode::Scalable) => ecap.fsts(),
            (TableFormat::VtdFirstStage { levels: 5 }, Mode::Scalable) => ecap.fsts() && cap.fs5lp(),
            _ => false,
        }
    }

    /// The page sizes that all the tables have which the hardware walks.
    pub(super) fn page_sizes(&self) -> PageSizes {
        let (cap, ecap) = (self.capability, self.extended);
        let first_stage = self.mode == Mode::Scalable && ecap.fsts();
        let second_stage = self.mode == Mode::Legacy || ecap.ssts();
        let large = !second_stage || cap.sslps() & spec::SSLPS_2M != 0;
        let huge =
            large && (!second_stage || cap.sslps() & spec::SSLPS_1G != 0) && (!first_stage || cap.fs1gp());
        let mask = SIZE_4K | if large { SIZE_2M } else { 0 } | if huge { SIZE_1G } else { 0 };
        PageSizes::from_mask(mask).unwrap_or(PageSizes::AARCH64_4K)
    }

    /// What a translation is here.
    fn kind(&self, translation: Translation) -> Result<Kind, IommuError> {
        let tables = match translation {
            Translation::Identity if self.extended.pt() => return Ok(Kind::PassThrough),
            Translation::Identity => return Err(IommuError::NotSupported(Feature::Identity)),
            Translation::Requests => return Err(IommuError::NotSupported(Feature::Requests)),
            Translation::Nested { .. } => return Err(IommuError::NotSupported(Feature::Nested)),
            Translation::Tables(tables) => tables,
        };
        if !self.walks(tables.format) {
            return Err(IommuError::NotSupported(Feature::Format(tables.format)));
        }
        let (root, limit) = (tables.root, 1 << self.config.host_bits);
        if root.raw() % SIZE_4K != 0 || root.raw() >= limit {
            return Err(IommuError::Root { root: root.raw(), align: SIZE_4K, limit });
        }
        match tables.format {
            TableFormat::VtdFirstStage { levels } => Ok(Kind::FirstStage { root, levels }),
            TableFormat::VtdSecondStage { levels } => Ok(Kind::SecondStage { root, levels }),
            _ => Err(IommuError::NotSupported(Feature::Format(tables.format))),
        }
    }

    /// Makes a domain; the hardware sees it only when a requester is attached.
    pub(super) fn make_domain(&mut self, translation: Translation) -> Result<Key<Domain>, IommuError> {
        let kind = self.kind(translation)?;
        self.domains.reserve(1)?;
        let did = self.numbers.take()? as u16;
        let pasids = match self.allocate_pasids() {
            Ok(pasids) => pasids,
            Err(error) => {
                self.numbers.give(did.into());
                return Err(error.into());
            }
        };
        let domain = Domain { did, kind, pasids };
        if let Some(pasids) = pasids {
            let words = domain.pasid_entry(self.deepest(), self.extended);
            // The word that makes it present comes last.
            for (index, word) in words.into_iter().enumerate().rev() {
                self.memory.write64(PhysicalAddress::new(pasids.table.raw() + 8 * index as u64), word);
            }
            let entry =
                spec::PasidDirectoryEntry::new().with_present(true).with_page(pasids.table.raw() >> 12);
            self.memory.write64(pasids.directory, entry.into_bits());
        }
        Ok(self.domains.insert_reserved(domain))
    }

    fn allocate_pasids(&mut self) -> Result<Option<PasidTables>, OutOfMemory> {
        if self.mode == Mode::Legacy {
            return Ok(None);
        }
        let [directory, table] = allocate_all(&mut self.memory, [(SIZE_4K, SIZE_4K); 2])?;
        Ok(Some(PasidTables { directory, table }))
    }

    /// Gives up a domain that nothing is attached to.
    pub(super) fn give_up(&mut self, key: Key<Domain>) -> Result<(), Unresponsive> {
        let Some(domain) = self.domains.get(key) else {
            return Ok(());
        };
        let (did, everything, pasids) = (domain.did, domain.everything(), domain.pasids);
        if pasids.is_some() {
            self.perform(&[Request::PasidsOf { did }, everything])?;
        } else {
            self.perform(&[everything])?;
        }
        if let Some(pasids) = pasids {
            self.memory.free(pasids.table, SIZE_4K);
            self.memory.free(pasids.directory, SIZE_4K);
        }
        self.domains.remove(key);
        self.numbers.give(did.into());
        Ok(())
    }
}
