//! The layouts against values worked out by hand from the sources that `spec` names.

use vcm_iommu::msm::spec;
use vcm_pagetable::arm_short;

#[test]
fn banks_are_pages_and_tables_of_registers_fit_the_last() {
    assert_eq!(spec::context_register(2, spec::TTBR1), 0x2014);
    assert_eq!(spec::m2vcbr(0), 0xF_F000);
    assert_eq!(spec::m2vcbr(511), 0xF_F7FC);
    assert_eq!(spec::cbacr(0), 0xF_F800);
    assert!(spec::cbacr(u8::MAX) < spec::TLBRSW);
    assert_eq!(spec::MAX_BANKS, 255);
    assert_eq!(spec::RPU_ACR + 4, spec::WINDOW);
}

#[test]
fn fields_are_where_the_header_has_them() {
    assert_eq!(
        spec::M2vcbr::new().with_cbndx(0xff).with_bypassd(true).with_nscfg(3).into_bits(),
        0x00c1_ff00
    );
    assert_eq!(spec::M2vcbr::new().with_bpmemtype(7).into_bits(), 7 << 25);
    assert_eq!(spec::Cbacr::new().with_cbvmid(31).with_irptndx(1).into_bits(), 0x011f_0000);
    assert_eq!(spec::Cr::new().with_tlblkcrwe(true).with_rpueie(true).into_bits(), 0x44);
    assert_eq!(spec::Idr::from_bits(0x0203_001f).banks(), 4);
    assert_eq!(spec::Idr::from_bits(0x0203_001f).masters(), 32);
    assert_eq!(spec::Idr::from_bits(u32::MAX).masters(), 512);
    assert_eq!(spec::Actlr::new().with_tlbmcfg(3).with_v2pcfg(3).into_bits(), 0x3_3000);
    assert_eq!(spec::Actlr::new().with_cfeie(true).with_cfcfg(true).into_bits(), 0x4002);
    assert_eq!(spec::Actlr::new().with_rcosh(true).with_rcish(true).with_rcnsh(true).into_bits(), 0x70);
    assert_eq!(spec::Actlr::new().with_ptmemtype(7).with_hume(true).into_bits(), 0x00e4_0000);
    assert_eq!(
        spec::Fsr::new().with_ss(true).with_multi(true).with_sl(true).with_mhf(true).into_bits(),
        0xc001_0080
    );
    assert_eq!(spec::Fsynr1::new().with_awrite(true).with_apriv(true).with_ainst(true).into_bits(), 0x1a0);
    assert_eq!(spec::Fsynr1::new().with_asize(7).with_alock(3).with_afull(true).into_bits(), 0x0137_0000);
    assert_eq!(spec::Esynr1::new().with_aooo(true).with_ac(true).with_dcd(true).into_bits(), 0xc040_0000);
    assert_eq!(spec::Esynr0::new().with_atid(0xff).with_avmid(0x1f).into_bits(), 0xff1f_0000);
    assert_eq!(spec::Tlbtr0::new().with_mt(7).with_dpsizr(7).with_dpsizc(7).into_bits(), 0x0077_0e00);
    assert_eq!(spec::Tlbtr2::new().with_v(true).with_va(0xfffff).into_bits(), 0xffff_f100);
    assert_eq!(spec::Par::new().with_mt(7).with_sh(true).with_ns(true).with_nos(true).into_bits(), 0x6f0);
    assert_eq!(spec::Bfbcr::new().with_slvic(0xf).with_stride(1).into_bits(), 0x1f00);
    assert_eq!(spec::Testbuscr::new().with_tbhsel(3).with_spdm3sel(0xf).into_bits(), 0xf000_c000);
    assert_eq!(spec::Tlblkcr::new().with_floor(0xff).with_tlbivaacfg(true).into_bits(), 0xff08);
}

#[test]
fn a_table_base_keeps_the_bits_that_a_split_table_needs() {
    let base = spec::Ttbr::new().with_irgnl(true).with_sh(true).with_nos(true).with_orgn(1);
    assert_eq!(base.into_bits(), 0x6a);
    assert_eq!(base.with_table(0x8000_0080).into_bits(), 0x8000_00ea);
    assert_eq!(base.with_table(0x8000_0080).table(), 0x8000_0080);
}

#[test]
fn the_memory_classes_of_the_cpu() {
    let prrr = spec::Prrr(arm_short::PRRR);
    let nmrr = spec::Nmrr(arm_short::NMRR);
    assert_eq!(core::array::from_fn(|n| prrr.memory_type(n as u8)), [0, 2, 2, 2, 1, 0, 0, 2]);
    assert_eq!(core::array::from_fn(|n| nmrr.inner(n as u8)), [0, 0, 2, 3, 0, 0, 0, 1]);
    assert_eq!(core::array::from_fn(|n| nmrr.outer(n as u8)), [0, 0, 2, 3, 0, 0, 0, 1]);
    // S = 1 is shareable, S = 0 is not, and what is shareable is so in the inner domain only.
    assert!(prrr.normal_shareable(1) && !prrr.normal_shareable(0) && prrr.device_shareable(1));
    assert!((0..8).all(|n| prrr.not_outer_shareable(n)));
}
