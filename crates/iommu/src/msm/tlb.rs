//! Invalidation and translation: what goes through the TLB.

use super::context::Bank;
use super::seats::Reseat;
use super::{ContextId, Invalidation, Smmu, SmmuError, TranslateFault, Unresponsive, faults, spec};
use crate::Registers;
use vcm::{FaultReason, PhysicalAddress, SIZE_4K, SIZE_16M, Span};

/// Up to this many pages are invalidated one by one; beyond it, all of the context's entries go.
///
/// A page costs one register write. Dropping everything costs one write too, and afterwards a walk for each
/// entry that is still wanted. The TLB has 256 entries at most (`TLBRSW.INDEX` has 8 bits), several contexts
/// share it, and so more than 64 single writes hardly ever save as many walks.
pub const PAGEWISE_LIMIT: u64 = 64;

/// The addresses that the hardware translates.
const ADDRESSES: Span = match Span::inclusive(0, u32::MAX as u64) {
    Some(span) => span,
    None => Span::ALL,
};

/// As whom a translation is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TranslateAs {
    /// A read by a privileged master.
    PrivilegedRead,
    /// A write by a privileged master.
    PrivilegedWrite,
    /// A read by an unprivileged master.
    UserRead,
    /// A write by an unprivileged master.
    UserWrite,
}

impl<R: Registers> Smmu<R> {
    /// Drops TLB entries of a context, and waits until they are gone. A context that is in no bank has none.
    ///
    /// Entries are tagged by ASID: those that a context with equal roots uses go as well.
    ///
    /// # Errors
    /// [`Unresponsive`]: it was not seen to complete. The call may be repeated.
    pub fn invalidate(&mut self, id: ContextId, invalidation: &Invalidation<'_>) -> Result<(), Unresponsive> {
        let Some(bank) = self.contexts.get(id.0).and_then(|context| context.bank) else {
            return Ok(());
        };
        let seat = match self.banks[usize::from(bank)] {
            Bank::Free => return Ok(()),
            Bank::Taken(seat) => seat,
            // Leaving the bank drops all entries.
            Bank::Quarantined(_) => return self.vacate(bank, Reseat::Held),
        };
        match *invalidation {
            Invalidation::Addresses { spans, granule, .. } if pages(spans, granule) <= PAGEWISE_LIMIT => {
                let step = page(granule);
                for span in spans.iter().filter_map(|span| span.intersection(ADDRESSES)) {
                    let mut address = span.first() & !(step - 1);
                    while address <= span.last() {
                        let page = spec::Tlbiva::new().with_asid(seat.asid).with_va((address >> 12) as u32);
                        self.write(bank, spec::TLBIVA, page.into_bits());
                        self.statistics.page_invalidations += 1;
                        address += step;
                    }
                }
            }
            Invalidation::Addresses { .. } | Invalidation::Everything => {
                self.write(bank, spec::TLBIASID, u32::from(seat.asid));
                self.statistics.context_invalidations += 1;
            }
        }
        self.check_bank(bank)
    }

    /// Asks the hardware where `address` (in bytes of the context's space) leads. The context is seated if it
    /// is not.
    ///
    /// # Errors
    /// [`TranslateFault`].
    pub fn translate(
        &mut self,
        id: ContextId,
        address: u64,
        translate_as: TranslateAs,
    ) -> Result<PhysicalAddress, TranslateFault> {
        let Ok(address) = u32::try_from(address) else {
            return Err(TranslateFault::Beyond32Bits);
        };
        self.existing(id)?;
        let bank = self.seat(id)?;
        let register = match translate_as {
            TranslateAs::PrivilegedRead => spec::V2PPR,
            TranslateAs::PrivilegedWrite => spec::V2PPW,
            TranslateAs::UserRead => spec::V2PUR,
            TranslateAs::UserWrite => spec::V2PUW,
        };
        self.write(bank, register, spec::V2pxx::new().with_va(address >> 12).into_bits());
        let par = spec::Par::from_bits(self.registers.read(spec::context_register(bank, spec::PAR)));
        self.check_bank(bank).map_err(SmmuError::from)?;
        if par.f() {
            let status = spec::Fsr::from_bits(par.into_bits());
            return Err(TranslateFault::Fault(faults::reason(status).unwrap_or(FaultReason::Translation)));
        }
        let within = if par.ss() { SIZE_16M - 1 } else { SIZE_4K - 1 };
        let base = u64::from(par.pa()) << 12;
        Ok(PhysicalAddress::new(base & !within | u64::from(address) & within))
    }
}

/// The page that one invalidation reaches: the granule, within what a TLB entry can be.
fn page(granule: u64) -> u64 {
    if granule.is_power_of_two() { granule.clamp(SIZE_4K, SIZE_16M) } else { SIZE_4K }
}

/// How many pages `spans` touch.
fn pages(spans: &[Span], granule: u64) -> u64 {
    let step = page(granule);
    spans.iter().fold(0, |pages: u64, span| match span.intersection(ADDRESSES) {
        Some(span) => pages.saturating_add(span.last() / step - span.first() / step + 1),
        None => pages,
    })
}
