//! The formats of page tables, by what a [`TableFormat`](crate::TableFormat) says and within an IOMMU's limits.

use crate::TableLimits;
use vcm::{SIZE_1G, SIZE_2M, SIZE_64K, Security};
use vcm_pagetable::aarch64::{Contiguous, Stage1, Stage1Config, Stage2, Stage2Config, TypedGranule};
use vcm_pagetable::amd::{self, AmdV1};
use vcm_pagetable::arm_short::{self, ArmShort, Remap};
use vcm_pagetable::{ConfigError, Format, riscv, vtd};

pub(super) fn arm_short() -> Result<ArmShort, ConfigError> {
    ArmShort::new(arm_short::Config { remap: Remap::OUTER, ..arm_short::Config::default() })
}

/// Contiguous pages are pages of sizes that single entries do not have.
fn contiguous(limits: TableLimits) -> Contiguous {
    if limits.page_sizes.contains(SIZE_64K) { Contiguous::Used } else { Contiguous::NotUsed }
}

pub(super) fn stage1<G: TypedGranule>(
    input_bits: u8,
    output_bits: u8,
    limits: TableLimits,
) -> Result<Stage1<G>, ConfigError> {
    let format = Stage1::new(Stage1Config { input_bits, output_bits, world: Security::NonSecure })?;
    Ok(format.with_contiguous(contiguous(limits)))
}

pub(super) fn stage2<G: TypedGranule>(
    input_bits: u8,
    output_bits: u8,
    start_level: u8,
    limits: TableLimits,
) -> Result<Stage2<G>, ConfigError> {
    let format = Stage2::new(Stage2Config { input_bits, output_bits })?.with_root_level(start_level)?;
    Ok(format.with_contiguous(contiguous(limits)))
}

fn largest_page(limits: TableLimits) -> vtd::LargestPage {
    if limits.page_sizes.contains(SIZE_1G) {
        vtd::LargestPage::Size1G
    } else if limits.page_sizes.contains(SIZE_2M) {
        vtd::LargestPage::Size2M
    } else {
        vtd::LargestPage::Size4K
    }
}

/// A number of levels that a format has not.
const fn levels_error(levels: u8, least: u8, most: u8) -> ConfigError {
    // A number of levels that nothing has may be any number.
    let bits = levels.saturating_mul(9).saturating_add(12);
    ConfigError::InputBits { bits, least: least * 9 + 12, most: most * 9 + 12 }
}

pub(super) fn vtd_first_stage(levels: u8, limits: TableLimits) -> Result<vtd::FirstStage, ConfigError> {
    let levels = match levels {
        4 => vtd::FirstStageLevels::Four,
        5 => vtd::FirstStageLevels::Five,
        _ => return Err(levels_error(levels, 4, 5)),
    };
    vtd::FirstStage::new(vtd::FirstStageConfig {
        levels,
        host_bits: limits.output_bits,
        largest_page: largest_page(limits),
        memory_types: vtd::MemoryTypes::Ignored,
    })
}

pub(super) fn vtd_second_stage(levels: u8, limits: TableLimits) -> Result<vtd::SecondStage, ConfigError> {
    let levels = match levels {
        3 => vtd::SecondStageLevels::Three,
        4 => vtd::SecondStageLevels::Four,
        5 => vtd::SecondStageLevels::Five,
        _ => return Err(levels_error(levels, 3, 5)),
    };
    let all = vtd::SecondStageConfig::new(levels, limits.output_bits);
    let input_bits = all.input_bits.min(limits.input_bits);
    vtd::SecondStage::new(vtd::SecondStageConfig { largest_page: largest_page(limits), input_bits, ..all })
}

pub(super) fn amd_v1(levels: u8, limits: TableLimits) -> Result<AmdV1, ConfigError> {
    let mode = match levels {
        3 => amd::Mode::Three,
        4 => amd::Mode::Four,
        5 => amd::Mode::Five,
        6 => amd::Mode::Six,
        _ => return Err(levels_error(levels, 3, 6)),
    };
    let no_snoop = amd::NoSnoop::Honoured;
    AmdV1::new(amd::Config { mode, physical_bits: limits.output_bits, no_snoop })
}

fn svnapot(limits: TableLimits) -> riscv::Svnapot {
    if limits.page_sizes.contains(SIZE_64K) { riscv::Svnapot::Present } else { riscv::Svnapot::Absent }
}

pub(super) fn riscv_first_stage(levels: u8, limits: TableLimits) -> Result<riscv::FirstStage, ConfigError> {
    let mode = match levels {
        3 => riscv::FirstStageMode::Sv39,
        4 => riscv::FirstStageMode::Sv48,
        5 => riscv::FirstStageMode::Sv57,
        _ => return Err(levels_error(levels, 3, 5)),
    };
    riscv::FirstStage::new(riscv::FirstStageConfig {
        mode,
        physical_bits: limits.output_bits,
        svnapot: svnapot(limits),
        svpbmt: riscv::Svpbmt::Absent,
    })
}

pub(super) fn riscv_second_stage(levels: u8, limits: TableLimits) -> Result<riscv::SecondStage, ConfigError> {
    let mode = match levels {
        3 => riscv::SecondStageMode::Sv39x4,
        4 => riscv::SecondStageMode::Sv48x4,
        5 => riscv::SecondStageMode::Sv57x4,
        _ => return Err(levels_error(levels, 3, 5)),
    };
    riscv::SecondStage::new(riscv::SecondStageConfig {
        mode,
        physical_bits: limits.output_bits,
        svnapot: svnapot(limits),
        svpbmt: riscv::Svpbmt::Absent,
    })
}
