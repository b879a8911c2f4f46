//! What the SMMU can do, and which tables it can walk.

use super::{Config, Stage, spec};
use crate::{ProbeError, Registers, TableFormat};
use vcm::Label;
use vcm_pagetable::aarch64::Granule;

/// The least input bits: T0SZ is 39 at most, without small translation tables (Arm IHI 0070, 5.4).
const LEAST_INPUT: u8 = 25;
/// The most input bits of the formats that are known here.
const MOST_INPUT: u8 = 48;

/// What the SMMU can do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capabilities {
    /// `IDR0`.
    pub idr0: spec::Idr0,
    /// `IDR1`.
    pub idr1: spec::Idr1,
    /// `IDR3`.
    pub idr3: spec::Idr3,
    /// `IDR5`.
    pub idr5: spec::Idr5,
    /// `IIDR`: who made it.
    pub iidr: spec::Iidr,
    /// `AIDR`: the version of the architecture.
    pub aidr: spec::Aidr,
}

/// Where the root of a format's table can be, and where walks of it start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Root {
    pub(super) align: u64,
    pub(super) limit: u64,
}

impl Capabilities {
    pub(super) fn read(registers: &mut impl Registers, label: Label) -> Result<Self, ProbeError> {
        let raw = registers.read(spec::IDR0);
        if raw == 0 || raw == u32::MAX {
            return Err(ProbeError::Absent { label, register: "IDR0", found: raw.into() });
        }
        let this = Self {
            idr0: spec::Idr0::from_bits(raw),
            idr1: spec::Idr1::from_bits(registers.read(spec::IDR1)),
            idr3: spec::Idr3::from_bits(registers.read(spec::IDR3)),
            idr5: spec::Idr5::from_bits(registers.read(spec::IDR5)),
            iidr: spec::Iidr::from_bits(registers.read(spec::IIDR)),
            aidr: spec::Aidr::from_bits(registers.read(spec::AIDR)),
        };
        let idr1 = this.idr1.into_bits();
        if idr1 == u32::MAX {
            return Err(ProbeError::Absent { label, register: "IDR1", found: idr1.into() });
        }
        let unknown = |what, register, found: u32| {
            Err(ProbeError::Unknown { label, what, register, found: found.into() })
        };
        if !this.idr0.s1p() && !this.idr0.s2p() {
            return unknown("no stage of translation", "IDR0", raw);
        }
        if this.idr0.ttf() & 2 == 0 {
            return unknown("no AArch64 tables", "IDR0", raw);
        }
        if !matches!(this.idr0.ttendian(), 0 | 2) {
            return unknown("no little-endian tables", "IDR0", raw);
        }
        if this.idr1.queues_preset() || this.idr1.tables_preset() {
            return unknown("queues or tables at fixed places", "IDR1", idr1);
        }
        if this.idr1.sidsize() > 32 || this.idr1.cmdqs() > 19 || this.idr1.eventqs() > 19 {
            return unknown("sizes beyond what the architecture allows", "IDR1", idr1);
        }
        if this.idr1.cmdqs() == 0 {
            return unknown("no room for a command and its completion", "IDR1", idr1);
        }
        if this.preferred_granule(Granule::Size4K).is_none() {
            return unknown("no granule", "IDR5", this.idr5.into_bits());
        }
        Ok(this)
    }

    /// Bits of output address that are used: 48 at most.
    pub fn output_bits(&self) -> u8 {
        spec::ADDRESS_SIZES.get(usize::from(self.idr5.oas())).copied().unwrap_or(MOST_INPUT)
    }

    /// The number of ASIDs.
    pub const fn asids(&self) -> u32 {
        if self.idr0.asid16() { 1 << 16 } else { 1 << 8 }
    }

    /// The number of VMIDs.
    pub const fn vmids(&self) -> u32 {
        if self.idr0.vmid16() { 1 << 16 } else { 1 << 8 }
    }

    /// Whether the SMMU itself sees the CPUs' caches. Where it does not, [`SharedMemory`](crate::SharedMemory) and
    /// [`TableMemory`](vcm_pagetable::TableMemory) clean and invalidate them.
    pub const fn coherent(&self) -> bool {
        self.idr0.cohacc()
    }

    const fn has_granule(&self, granule: Granule) -> bool {
        match granule {
            Granule::Size4K => self.idr5.gran4k(),
            Granule::Size16K => self.idr5.gran16k(),
            Granule::Size64K => self.idr5.gran64k(),
        }
    }

    fn preferred_granule(&self, wish: Granule) -> Option<Granule> {
        let all = [wish, Granule::Size4K, Granule::Size64K, Granule::Size16K];
        all.into_iter().find(|&granule| self.has_granule(granule))
    }

    /// The format that domains should be of.
    pub(super) fn preferred(&self, config: &Config) -> TableFormat {
        let granule = self.preferred_granule(config.granule).unwrap_or(config.granule);
        let output_bits = self.output_bits();
        let input = config.input_bits.clamp(31, MOST_INPUT);
        let second = match config.stage {
            Stage::First => !self.idr0.s1p(),
            Stage::Second => self.idr0.s2p(),
        };
        if !second {
            return TableFormat::Aarch64Stage1 { granule, input_bits: input, output_bits };
        }
        // Stage 2 translates no more than there are physical addresses, and one table at the root must do: more than
        // one, side by side, is a choice of the caller's.
        let input_bits = input.min(output_bits);
        let format = |input_bits| TableFormat::Aarch64Stage2 {
            granule,
            input_bits,
            output_bits,
            start_level: start_level(granule, input_bits),
        };
        if self.root(&format(input_bits)).is_some() {
            return format(input_bits);
        }
        // The root is at a level that these few physical addresses rule out: take what the level below covers.
        let stride = granule.shift() - 3;
        let below = granule.shift() + stride * (3 - u32::from(start_level(granule, input_bits)));
        format((below as u8).min(input_bits))
    }

    /// Where the root of a table of `format` may be; `None` for a format that this SMMU cannot walk.
    pub(super) fn root(&self, format: &TableFormat) -> Option<Root> {
        let (granule, input, output, entries) = match *format {
            TableFormat::Aarch64Stage1 { granule, input_bits, output_bits } if self.idr0.s1p() => {
                let start = start_level(granule, input_bits);
                (granule, input_bits, output_bits, root_bits(granule, input_bits, start)?)
            }
            TableFormat::Aarch64Stage2 { granule, input_bits, output_bits, start_level: start }
                if self.idr0.s2p() =>
            {
                self.starts_at(granule, start)?;
                if input_bits > self.output_bits() {
                    return None;
                }
                let entries = root_bits(granule, input_bits, start)?;
                // Two entries at least, 16 tables side by side at most (Arm ARM DDI 0487, `AArch64.S2InconsistentSL`).
                if entries == 0 || entries > granule.shift() - 3 + 4 {
                    return None;
                }
                (granule, input_bits, output_bits, entries)
            }
            _ => return None,
        };
        let fits = self.has_granule(granule)
            && (LEAST_INPUT..=MOST_INPUT).contains(&input)
            && (spec::ADDRESS_SIZES[0]..=self.output_bits()).contains(&output);
        fits.then(|| Root { align: (8 << entries).max(64), limit: 1 << output })
    }

    /// `S2SL0` of a walk of stage 2 that starts at `level`; `None` where it may not start there. The highest level is
    /// for machines with many physical addresses only (Arm ARM DDI 0487, `AArch64.S2InvalidSL`).
    pub(super) fn starts_at(&self, granule: Granule, level: u8) -> Option<u8> {
        let (lowest, highest, least_output) = match granule {
            Granule::Size4K => (2, 0, 44),
            Granule::Size16K => (3, 1, 42),
            Granule::Size64K => (3, 1, 44),
        };
        let possible = level <= lowest && level >= highest;
        let wide = level > highest || self.output_bits() >= least_output;
        (possible && wide).then(|| lowest - level)
    }
}

/// The level at which a walk of `input_bits` starts, when its root is one table.
pub(super) const fn start_level(granule: Granule, input_bits: u8) -> u8 {
    let stride = granule.shift() - 3;
    let above_page = (input_bits as u32).saturating_sub(granule.shift());
    4_u32.saturating_sub(above_page.div_ceil(stride)) as u8
}

/// log2 of the number of entries of a root at `level`; `None` when there would be less than one.
const fn root_bits(granule: Granule, input_bits: u8, level: u8) -> Option<u32> {
    let stride = granule.shift() - 3;
    if level > 3 {
        return None;
    }
    (input_bits as u32).checked_sub(granule.shift() + stride * (3 - level as u32))
}

/// The code of the least address size that has `bits`.
pub(super) fn size_code(bits: u8) -> u8 {
    spec::ADDRESS_SIZES.iter().position(|&size| size >= bits).unwrap_or(spec::ADDRESS_SIZES.len() - 1) as u8
}

/// The code of a granule in `CD.TG0` and `STE.S2TG`.
pub(super) const fn granule_code(granule: Granule) -> u8 {
    match granule {
        Granule::Size4K => spec::GRANULE_4K,
        Granule::Size16K => spec::GRANULE_16K,
        Granule::Size64K => spec::GRANULE_64K,
    }
}
