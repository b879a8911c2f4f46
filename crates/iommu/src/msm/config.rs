//! What the driver is told about its SMMU.

use super::spec;
use vcm::Label;
use vcm_pagetable::arm_short::{self, AccessModel, Remap};

/// Whether the SMMU's table walks see the CPU's caches.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Walks {
    /// Walks are cacheable and shareable: tables need no cache cleaning.
    Coherent,
    /// Walks read memory: whoever writes tables cleans them to memory before the driver is called.
    NonCoherent,
}

/// What becomes of transactions of a master whose context is not seated in a bank, or that belongs to no
/// context.
///
/// Linux lets them pass untranslated, so that a device reaches all of memory until it is attached and again
/// after it is detached.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Unclaimed {
    /// They are terminated and reported as [`NoContext`](vcm::FaultReason::NoContext).
    #[default]
    Refuse,
    /// They pass, their addresses taken for physical ones.
    Bypass,
}

/// What the driver is told about its SMMU and about the tables that it will walk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// The SMMU's name in errors: "jpegd".
    pub label: Label,
    /// Whether table walks are coherent with the CPU's caches.
    pub walks: Walks,
    /// What becomes of transactions that no seated context takes.
    pub unclaimed: Unclaimed,
    /// Which of the SMMU's interrupt lines context faults raise (`CBACR.IRPTNDX`).
    pub interrupt: u8,
    /// How the tables' access permission bits are to be read (`SCTLR.AFE`).
    pub access_model: AccessModel,
    /// What the tables' memory classes mean ([`spec::Prrr`], [`spec::Nmrr`]).
    pub remap: Remap,
}

impl Config {
    /// Coherent walks, unclaimed transactions refused, interrupt line 0, and tables of the default
    /// [`arm_short::Config`].
    pub const fn new(label: &str) -> Self {
        Self {
            label: Label::new(label),
            walks: Walks::Coherent,
            unclaimed: Unclaimed::Refuse,
            interrupt: 0,
            access_model: AccessModel::Full,
            remap: Remap::INNER,
        }
    }

    /// The same, for tables made with `tables`; their split is each context's own affair.
    #[must_use]
    pub const fn with_tables(self, tables: &arm_short::Config) -> Self {
        Self { access_model: tables.access_model, remap: tables.remap, ..self }
    }

    /// `SCTLR` of a bank that is programmed but not enabled.
    pub(super) const fn sctlr_disabled(&self) -> spec::Sctlr {
        let afe = matches!(self.access_model, AccessModel::AccessFlag);
        spec::Sctlr::new().with_tre(true).with_afe(afe)
    }

    /// `SCTLR` of a bank that translates. It is never zero, so that reading it tells a live device from a
    /// dead one.
    pub(super) const fn sctlr(&self) -> spec::Sctlr {
        self.sctlr_disabled().with_m(true)
    }

    /// `CR` after initialisation. It is never zero, for the same reason.
    pub(super) const fn cr(&self) -> spec::Cr {
        spec::Cr::new().with_tlblkcrwe(true).with_rpueie(true)
    }

    /// `M2VCBR` of a master whose transactions no bank takes.
    pub(super) const fn unclaimed_master(&self) -> spec::M2vcbr {
        self.master_of(spec::NO_BANK)
    }

    /// `M2VCBR` of a master whose transactions `bank` takes. VMID 0, non-secure; and refused, where that is
    /// asked for, should the bank ever be disabled.
    pub(super) const fn master_of(&self, bank: u8) -> spec::M2vcbr {
        spec::M2vcbr::new()
            .with_cbndx(bank)
            .with_bypassd(matches!(self.unclaimed, Unclaimed::Refuse))
            .with_nscfg(spec::NSCFG_FORCE_NON_SECURE)
    }

    /// The attributes of table walks.
    pub(super) const fn walk_attributes(&self) -> spec::Ttbr {
        match self.walks {
            // Write-back, write-allocate, inner shareable.
            Walks::Coherent => {
                spec::Ttbr::new().with_sh(true).with_nos(true).with_irgnh(false).with_irgnl(true).with_orgn(1)
            }
            Walks::NonCoherent => spec::Ttbr::new(),
        }
    }
}
