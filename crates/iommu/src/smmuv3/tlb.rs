//! Invalidation of cached translations.

use super::commands::Command;
use super::domain::{NESTED_ASID, Regime, granule, input};
use super::ranges::{Range, ranges};
use super::{Smmu, spec};
use crate::{
    DomainId, Invalidation, Reach, Registers, SharedMemory, TableFormat, Tables, Translation, Unresponsive,
};
use vcm::Span;
use vcm_pagetable::aarch64::Granule;

/// Where ranges cannot be invalidated: up to this many pages are invalidated one by one; beyond it, all that the domain
/// has cached goes.
///
/// A page costs a command of 16 bytes, and the time in which the hardware looks for it. Dropping everything costs one
/// command, and afterwards a walk for each translation that is still wanted; the TLBs of implementations hold some
/// hundreds to some thousands. 512 pages are what one table of the last level maps with the 4 KiB granule.
pub const PAGEWISE_LIMIT: u64 = 512;

/// Which entries an invalidation by address is for.
#[derive(Clone, Copy)]
struct Target {
    opcode: u8,
    vmid: u16,
    asid: u16,
}

impl Target {
    const fn start(self) -> spec::TlbiStart {
        spec::TlbiStart::new().with_opcode(self.opcode).with_vmid(self.vmid).with_asid(self.asid)
    }

    const fn whole(self) -> Command {
        [self.start().into_bits(), 0]
    }

    fn page(self, address: u64, reach: Reach) -> Command {
        let end = spec::TlbiEnd::new().with_leaf(reach == Reach::Pages).with_page(address >> 12);
        [self.start().into_bits(), end.into_bits()]
    }

    fn range(self, range: Range, granule: Granule, reach: Reach) -> Command {
        // One unit of one granule with any level is reserved: it is the invalidation of a page, which has no range.
        if range.units == 1 && range.scale == 0 {
            return self.page(range.address, reach);
        }
        let start = self.start().with_num((range.units - 1) as u8).with_scale(range.scale);
        let end = spec::TlbiEnd::new()
            .with_leaf(reach == Reach::Pages)
            .with_tg(match granule {
                Granule::Size4K => spec::TLBI_TG_4K,
                Granule::Size16K => spec::TLBI_TG_16K,
                Granule::Size64K => spec::TLBI_TG_64K,
            })
            .with_page(range.address >> 12);
        [start.into_bits(), end.into_bits()]
    }
}

/// What drops all that is cached of a regime; `None` where nothing ever is.
pub(super) const fn everything(regime: Regime) -> Option<Command> {
    let target = match regime {
        Regime::Bypass => return None,
        Regime::First { asid } => Target { opcode: spec::CMD_TLBI_NH_ASID, vmid: 0, asid },
        Regime::Second { vmid } | Regime::Nested { vmid } => {
            Target { opcode: spec::CMD_TLBI_S12_VMALL, vmid, asid: 0 }
        }
    };
    Some(target.whole())
}

/// What drops all that is cached of the non-secure world.
pub(super) const fn everything_of_all() -> Command {
    Target { opcode: spec::CMD_TLBI_NSNH_ALL, vmid: 0, asid: 0 }.whole()
}

impl<R: Registers, M: SharedMemory> Smmu<R, M> {
    pub(super) fn drop_translations(
        &mut self,
        domain: DomainId,
        invalidation: &Invalidation<'_>,
    ) -> Result<(), Unresponsive> {
        let Some(known) = self.domains.get(domain.key()) else { return Ok(()) };
        let regime = known.regime;
        let (target, whole, tables) = match (known.translation, regime) {
            (Translation::Tables(tables), Regime::First { asid }) => {
                let opcode = spec::CMD_TLBI_NH_VA;
                (Target { opcode, vmid: 0, asid }, everything(regime), tables)
            }
            (Translation::Tables(tables), Regime::Second { vmid }) => {
                let opcode = spec::CMD_TLBI_S2_IPA;
                (Target { opcode, vmid, asid: 0 }, everything(regime), tables)
            }
            (Translation::Nested { first, .. }, Regime::Nested { vmid }) => {
                let target = Target { opcode: spec::CMD_TLBI_NH_VA, vmid, asid: NESTED_ASID };
                let whole = Target { opcode: spec::CMD_TLBI_NH_ASID, ..target }.whole();
                (target, Some(whole), first)
            }
            _ => return Ok(()),
        };
        match *invalidation {
            Invalidation::Everything => self.drop_cached(regime),
            Invalidation::Addresses { spans, granule, reach } => {
                self.drop_addresses(target, whole, &tables, spans, granule, reach)
            }
        }
    }

    /// Drops what is cached of the second table of a nested domain, after it was changed at intermediate physical
    /// addresses; and what was cached of both tables together, since that is only found by the first one's addresses.
    /// A domain that is not nested, or does not exist, has none.
    ///
    /// # Errors
    /// [`Unresponsive`]: it was not seen to complete. The call may be repeated.
    pub fn invalidate_second(
        &mut self,
        domain: DomainId,
        invalidation: &Invalidation<'_>,
    ) -> Result<(), Unresponsive> {
        let Some(known) = self.domains.get(domain.key()) else { return Ok(()) };
        let (Translation::Nested { second, .. }, Regime::Nested { vmid }) = (known.translation, known.regime)
        else {
            return Ok(());
        };
        let regime = known.regime;
        match *invalidation {
            Invalidation::Everything => self.drop_cached(regime),
            Invalidation::Addresses { spans, granule, reach } => {
                let target = Target { opcode: spec::CMD_TLBI_S2_IPA, vmid, asid: 0 };
                self.drop_addresses(target, everything(regime), &second, spans, granule, reach)?;
                // In this order: what stage 1 caches now was made by the new stage 2.
                let both = Target { opcode: spec::CMD_TLBI_NH_ALL, vmid, asid: 0 };
                self.issue(core::iter::once(both.whole()))
            }
        }
    }

    fn drop_addresses(
        &mut self,
        target: Target,
        whole: Option<Command>,
        tables: &Tables,
        spans: &[Span],
        page: u64,
        reach: Reach,
    ) -> Result<(), Unresponsive> {
        let (translated, granule) = (input(&tables.format), granule(&tables.format));
        // TLBI_S2_IPA has no bits for more (Arm IHI 0070, 4.4.3), nor can tables of these formats.
        let spans = spans.iter().filter_map(move |span| span.intersection(translated));
        if self.capabilities.idr3.ril() {
            let commands = spans
                .flat_map(move |span| ranges(span, granule.shift()))
                .map(move |range| target.range(range, granule, reach));
            return self.issue(commands);
        }
        let step = step(page, granule, &tables.format);
        let pages = |span: Span| span.last() / step - span.first() / step + 1;
        if spans.clone().fold(0_u64, |sum, span| sum.saturating_add(pages(span))) > PAGEWISE_LIMIT {
            self.statistics.whole_invalidations += 1;
            return self.issue(whole.into_iter());
        }
        let commands = spans.flat_map(move |span| {
            let first = span.first() & !(step - 1);
            (0..pages(span)).map(move |page| target.page(first + page * step, reach))
        });
        self.issue(commands)
    }
}

/// The page that one invalidation reaches: what the caller says was the smallest one, within what there can be.
fn step(page: u64, granule: Granule, format: &TableFormat) -> u64 {
    let largest = (input(format).last() / 2 + 1).max(granule.bytes());
    if page.is_power_of_two() { page.clamp(granule.bytes(), largest) } else { granule.bytes() }
}
