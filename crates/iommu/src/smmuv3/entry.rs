//! Stream table entries and context descriptors, as the driver writes them.

use super::capabilities::{granule_code, size_code};
use super::domain::Regime;
use super::{Capabilities, spec};
use crate::{TableFormat, Tables, Translation};
use vcm::PhysicalAddress;
use vcm_pagetable::aarch64::MAIR;

/// A stream table entry.
pub(super) type Ste = [u64; spec::STE_WORDS];
/// A context descriptor.
pub(super) type Cd = [u64; spec::CD_WORDS];

/// The entry of a stream that is refused, and recorded.
pub(super) const INVALID: Ste = [0; spec::STE_WORDS];

/// The entry of a stream that is refused in silence.
pub(super) const fn abort() -> Ste {
    let mut entry = INVALID;
    entry[0] = spec::Ste0::new().with_v(true).with_config(spec::CONFIG_ABORT).into_bits();
    entry
}

/// Cacheability and shareability of what the SMMU reads itself.
struct Walk {
    cacheability: u8,
    shareability: u8,
}

impl Walk {
    const fn of(capabilities: &Capabilities) -> Self {
        if capabilities.coherent() {
            Self { cacheability: spec::WALK_WRITE_BACK, shareability: spec::INNER_SHAREABLE }
        } else {
            Self { cacheability: spec::WALK_NOT_CACHED, shareability: spec::OUTER_SHAREABLE }
        }
    }
}

/// Whether faulting transactions of a domain stall.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum FaultModel {
    Terminate,
    Stall,
}

/// The entry of the streams of a domain, whose context descriptor, if it has one, they find at `context`.
pub(super) fn of_domain(
    capabilities: &Capabilities,
    translation: &Translation,
    regime: Regime,
    context: u64,
    model: FaultModel,
) -> Ste {
    let walk = Walk::of(capabilities);
    let mut entry = INVALID;
    let mut word0 = spec::Ste0::new().with_v(true);
    let mut word1 = spec::Ste1::new().with_shcfg(spec::SHCFG_INCOMING);
    let mut word2 = spec::Ste2::new();
    if let Regime::First { .. } | Regime::Nested { .. } = regime {
        word0 = word0.with_s1_context_ptr(context >> 6);
        word1 =
            word1.with_s1cir(walk.cacheability).with_s1cor(walk.cacheability).with_s1csh(walk.shareability);
    }
    if let Regime::Second { vmid } | Regime::Nested { vmid } = regime {
        word2 = word2.with_s2vmid(vmid);
    }
    let second = match translation {
        Translation::Tables(tables) | Translation::Nested { second: tables, .. } => Some(tables),
        Translation::Identity | Translation::Requests => None,
    };
    if let Some(Tables { format, root }) = second
        && let TableFormat::Aarch64Stage2 { granule, input_bits, output_bits, start_level } = *format
    {
        // S2PS bounds the input addresses as well (Arm IHI 0070, 5.2, S2T0SZ), so it has room for both.
        word2 = word2
            .with_s2t0sz(64 - input_bits)
            .with_s2sl0(capabilities.starts_at(granule, start_level).unwrap_or_default())
            .with_s2ir0(walk.cacheability)
            .with_s2or0(walk.cacheability)
            .with_s2sh0(walk.shareability)
            .with_s2tg(granule_code(granule))
            .with_s2ps(size_code(output_bits.max(input_bits)))
            .with_s2aa64(true)
            .with_s2r(true)
            .with_s2s(model == FaultModel::Stall);
        entry[3] = spec::Ste3::new().with_s2ttb(root.raw() >> 4).into_bits();
    }
    entry[0] = word0
        .with_config(match regime {
            Regime::Bypass => spec::CONFIG_BYPASS,
            Regime::First { .. } => spec::CONFIG_STAGE1,
            Regime::Second { .. } => spec::CONFIG_STAGE2,
            Regime::Nested { .. } => spec::CONFIG_NESTED,
        })
        .into_bits();
    entry[1] = word1.into_bits();
    entry[2] = word2.into_bits();
    entry
}

/// The context descriptor of a stage-1 table; `None` for a table of another kind.
pub(super) fn context(
    capabilities: &Capabilities,
    tables: &Tables,
    asid: u16,
    model: FaultModel,
) -> Option<Cd> {
    let TableFormat::Aarch64Stage1 { granule, input_bits, output_bits } = tables.format else {
        return None;
    };
    let walk = Walk::of(capabilities);
    let mut descriptor = [0; spec::CD_WORDS];
    descriptor[0] = spec::Cd0::new()
        .with_v(true)
        .with_t0sz(64 - input_bits)
        .with_tg0(granule_code(granule))
        .with_ir0(walk.cacheability)
        .with_or0(walk.cacheability)
        .with_sh0(walk.shareability)
        // There is no second table: addresses from the top of the space fault.
        .with_epd1(true)
        .with_ips(size_code(output_bits))
        .with_aa64(true)
        .with_s(model == FaultModel::Stall)
        .with_r(true)
        .with_a(true)
        .with_aset(true)
        .with_asid(asid)
        .into_bits();
    descriptor[1] = spec::Cd1::new().with_ttb0(tables.root.raw() >> 4).into_bits();
    descriptor[spec::CD_MAIR] = MAIR;
    Some(descriptor)
}

/// The address of a context descriptor as the hardware sees it.
pub(super) fn context_address(physical: PhysicalAddress, regime: Regime, at: Option<u64>) -> u64 {
    match regime {
        Regime::Nested { .. } => at.unwrap_or(physical.raw()),
        _ => physical.raw(),
    }
}

/// The bits of an entry that the hardware looks at; the others can be changed under its eyes.
pub(super) fn used(entry: &Ste) -> Ste {
    let word0 = spec::Ste0::from_bits(entry[0]);
    let mut used = [0; spec::STE_WORDS];
    if !word0.v() {
        used[0] = spec::Ste0::new().with_v(true).into_bits();
        return used;
    }
    used[0] = spec::Ste0::new().with_v(true).with_config(u8::MAX >> 5).into_bits();
    if word0.config() == spec::CONFIG_ABORT {
        return used;
    }
    // The upper half of the second word is about any transaction that passes.
    used[1] = 0xffff_ffff_0000_0000;
    if word0.config() & 1 != 0 {
        used[0] = u64::MAX;
        used[1] = u64::MAX;
        used[2] |= spec::Ste2::new().with_s2vmid(u16::MAX).into_bits();
    }
    if word0.config() & 2 != 0 {
        used[1] |= spec::Ste1::new().with_eats(3).into_bits();
        used[2] = u64::MAX;
        used[3] = u64::MAX;
    }
    used
}

/// A step of changing an entry that hardware reads: words to be written, after which it has to forget the entry.
pub(super) type Step = Ste;

/// The steps from `current` to `target`: at most three. At each moment the hardware sees the one, the other, or an
/// invalid entry, whichever words of which step it reads, since each step changes bits that are not looked at, or one
/// word only, which it reads in one piece (Arm IHI 0070, 3.21.3).
pub(super) fn steps(current: &Ste, target: &Ste) -> impl Iterator<Item = Step> + use<> {
    let (now, then) = (used(current), used(target));
    let mut staged = *current;
    let mut critical = 0;
    let mut last_critical = 0;
    for (word, value) in staged.iter_mut().enumerate() {
        *value = current[word] & now[word] | target[word] & !now[word];
        if (*value ^ target[word]) & then[word] != 0 {
            critical += 1;
            last_critical = word;
        }
    }
    let steps = if critical <= 1 {
        // Bits that matter to neither; the word that decides; bits that mattered before.
        let mut decided = staged;
        decided[last_critical] = target[last_critical];
        [staged, decided, *target]
    } else {
        let mut cut = *current;
        cut[0] = INVALID[0];
        let mut prepared = *target;
        prepared[0] = INVALID[0];
        [cut, prepared, *target]
    };
    let mut before = *current;
    steps.into_iter().filter(move |&step| core::mem::replace(&mut before, step) != step)
}

#[cfg(test)]
mod tests;
