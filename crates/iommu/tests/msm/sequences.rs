//! The order of register writes.

use crate::fake::{Fake, in_order, position, roots, smmu, table};
use vcm_iommu::msm::spec::{self, context_register};
use vcm_iommu::msm::{Config, MasterId, ProbeError, Smmu, TableRoots, Unclaimed, Walks};
use vcm_pagetable::arm_short::{self, AccessModel, Remap};

const REFUSED: u32 = 0x00c1_ff00;
const BYPASSING: u32 = 0x00c0_ff00;
/// `SCTLR.TRE`, and with `SCTLR.M`.
const DISABLED: u32 = 2;
const ENABLED: u32 = 3;

fn bank(bank: u8, register: u32, value: u32) -> (u32, u32) {
    (context_register(bank, register), value)
}

#[test]
fn initialisation_keeps_the_drivers_order() {
    let fake = Fake::new(2, 4);
    Smmu::probe(fake.clone(), Config::new("test")).unwrap();
    let writes = fake.device().writes();
    in_order(
        &writes,
        &[
            (spec::CR, 0),
            (spec::CR, 0x10),
            (spec::CR, 0x10),
            (spec::ESRRESTORE, 0),
            (spec::TESTBUSCR, 0),
            (spec::CR, 0),
            (spec::TESTBUSCR, 0),
            (spec::TESTBUSCR, 0),
            (spec::TLBRSW, 0),
            (spec::GLOBAL_TLBIALL, 0),
            (spec::RPU_ACR, 0),
            (spec::CR, 0x40),
            // What was stalled when the SMMU was taken over is terminated.
            bank(0, spec::RESUME, 1),
            bank(0, spec::SCTLR, 0),
            bank(0, spec::CTX_TLBIALL, 0),
            bank(1, spec::RESUME, 1),
            bank(1, spec::SCTLR, 0),
            bank(1, spec::CONTEXTIDR, 0),
            // The liveness probe.
            bank(0, spec::SCTLR, 1),
            bank(0, spec::PAR, 0),
            bank(0, spec::ACTLR, 0x1_0000),
            bank(0, spec::V2PPR, 0),
            bank(0, spec::SCTLR, 0),
            (spec::CR, 0x44),
        ],
    );
    // Every master is refused before the port opens.
    let opens = position(&writes, position(&writes, 0, (spec::ESRRESTORE, 0)), (spec::CR, 0));
    for master in 0..4 {
        assert!(position(&writes, 0, (spec::m2vcbr(master), REFUSED)) < opens);
    }
}

#[test]
fn initialisation_clears_only_the_field_that_it_means_to() {
    let fake = Fake::new(1, 1);
    fake.device().poke(spec::CR, 0x3ff);
    fake.device().poke(spec::TESTBUSCR, 0xffff_ffff);
    Smmu::probe(fake.clone(), Config::new("test")).unwrap();
    let writes = fake.device().writes();
    in_order(
        &writes,
        &[
            (spec::CR, 0x3fe),
            (spec::CR, 0x3fe),
            (spec::CR, 0x3fa),
            (spec::TESTBUSCR, 0xffff_fffe),
            (spec::CR, 0),
            (spec::TESTBUSCR, 0xffff_fffc),
            (spec::TESTBUSCR, 0),
        ],
    );
}

#[test]
fn a_window_without_an_smmu_is_rejected() {
    for idr in [0, u32::MAX] {
        let fake = Fake::new(1, 1);
        fake.device().poke(spec::IDR, idr);
        let error = Smmu::probe(fake.clone(), Config::new("test")).unwrap_err();
        assert_eq!(error, ProbeError::Absent { label: "test".into(), idr });
        assert_eq!(fake.device().writes(), []);
    }
}

#[test]
fn a_bank_in_the_place_of_the_global_registers_is_rejected() {
    let fake = Fake::new(1, 1);
    fake.device().poke(spec::IDR, spec::Idr::new().with_ncb(255).into_bits());
    let error = Smmu::probe(fake.clone(), Config::new("test")).unwrap_err();
    assert_eq!(error, ProbeError::TooManyBanks { label: "test".into(), banks: 256 });
    let fake = Fake::new(1, 1);
    fake.device().poke(spec::IDR, spec::Idr::new().with_ncb(254).with_nm2vcbmt(511).into_bits());
    let smmu = Smmu::probe(fake, Config::new("test")).unwrap();
    assert_eq!((smmu.banks(), smmu.masters()), (255, 512));
}

#[test]
fn activation_keeps_the_drivers_order_and_enables_last() {
    let (fake, mut smmu, contexts) = smmu(2, 4);
    smmu.activate(contexts[0], roots(0)).unwrap();
    fake.device().log.clear();
    smmu.activate(contexts[1], roots(1)).unwrap();
    let writes = fake.device().writes();
    in_order(
        &writes,
        &[
            // Reset.
            bank(1, spec::ACTLR, 0),
            bank(1, spec::SCTLR, 0),
            bank(1, spec::FSRRESTORE, 0),
            bank(1, spec::TTBR0, 0),
            bank(1, spec::TTBR1, 0),
            bank(1, spec::TTBCR, 0),
            bank(1, spec::BFBCR, 0),
            bank(1, spec::PAR, 0),
            bank(1, spec::FAR, 0),
            bank(1, spec::CTX_TLBIALL, 0),
            bank(1, spec::TLBFLPTER, 0),
            bank(1, spec::TLBSLPTER, 0),
            bank(1, spec::TLBLKCR, 0),
            bank(1, spec::PRRR, 0),
            bank(1, spec::NMRR, 0),
            bank(1, spec::CONTEXTIDR, 0),
            // Binding.
            (spec::cbacr(1), 0),
            (spec::m2vcbr(1), 0x00c1_0100),
            bank(1, spec::CONTEXTIDR, 1),
            // Activation.
            bank(1, spec::ACTLR, 0x3000),
            bank(1, spec::ACTLR, 0x3_3000),
            bank(1, spec::TTBCR, 0),
            bank(1, spec::TTBR0, 0x8000_406a),
            bank(1, spec::TTBR1, 0),
            bank(1, spec::CTX_TLBIALL, 0),
            (spec::cbacr(1), 0),
            bank(1, spec::ACTLR, 0x3_3002),
            bank(1, spec::ACTLR, 0x3_7002),
            bank(1, spec::ACTLR, 0x3_7072),
            bank(1, spec::SCTLR, DISABLED),
            bank(1, spec::PRRR, 0xff0a_81a8),
            bank(1, spec::NMRR, 0x40e0_40e0),
            bank(1, spec::BFBCR, 1),
            bank(1, spec::SCTLR, ENABLED),
        ],
    );
    assert_eq!(writes.last(), Some(&bank(1, spec::SCTLR, ENABLED)));
    assert_eq!(writes.iter().filter(|write| **write == bank(1, spec::SCTLR, ENABLED)).count(), 1);
}

#[test]
fn the_configuration_reaches_the_registers() {
    let fake = Fake::new(1, 1);
    let config = Config {
        walks: Walks::NonCoherent,
        unclaimed: Unclaimed::Bypass,
        interrupt: 1,
        ..Config::new("test").with_tables(&arm_short::Config {
            access_model: AccessModel::AccessFlag,
            remap: Remap { prrr: 0x1111, nmrr: 0x2222 },
            ..arm_short::Config::default()
        })
    };
    let mut smmu = Smmu::probe(fake.clone(), config).unwrap();
    assert_eq!(fake.device().m2vcbr(0).into_bits(), BYPASSING);
    let context = smmu.create_context(&[MasterId(0)]).unwrap();
    smmu.activate(context, roots(0)).unwrap();
    let device = fake.device();
    assert_eq!(device.m2vcbr(0).into_bits(), 0x00c0_0000);
    assert_eq!(device.bank(0, spec::TTBR0), 0x8000_0000);
    assert_eq!(device.bank(0, spec::SCTLR), 7);
    assert_eq!(device.bank(0, spec::PRRR), 0x1111);
    assert_eq!(device.bank(0, spec::NMRR), 0x2222);
    assert_eq!(device.peek(spec::cbacr(0)), 0x0100_0000);
    drop(device);
    smmu.deactivate(context).unwrap();
    assert_eq!(fake.device().m2vcbr(0).into_bits(), BYPASSING);
}

#[test]
fn deactivation_refuses_the_masters_then_invalidates_then_resets() {
    let fake = Fake::new(1, 4);
    let mut smmu = Smmu::probe(fake.clone(), Config::new("test")).unwrap();
    let context = smmu.create_context(&[MasterId(1), MasterId(3)]).unwrap();
    smmu.activate(context, roots(0)).unwrap();
    smmu.hold(context).unwrap();
    fake.device().log.clear();
    smmu.deactivate(context).unwrap();
    let writes = fake.device().writes();
    assert_eq!(writes[..2], [(spec::m2vcbr(1), REFUSED), (spec::m2vcbr(3), REFUSED)]);
    in_order(
        &writes,
        &[
            bank(0, spec::ACTLR, 0),
            bank(0, spec::TLBIASID, 0),
            bank(0, spec::CTX_TLBIALL, 0),
            bank(0, spec::SCTLR, 0),
            bank(0, spec::TTBR0, 0),
            bank(0, spec::CTX_TLBIALL, 0),
            bank(0, spec::CONTEXTIDR, 0),
        ],
    );
    assert_eq!(smmu.roots(context), None);
    // Again, there is nothing left to do.
    smmu.deactivate(context).unwrap();
    assert_eq!(fake.device().writes(), []);
}

#[test]
fn a_seat_is_given_up_only_after_invalidation() {
    let (fake, mut smmu, contexts) = smmu(1, 2);
    smmu.activate(contexts[0], roots(0)).unwrap();
    fake.device().log.clear();
    smmu.activate(contexts[1], roots(1)).unwrap();
    in_order(
        &fake.device().writes(),
        &[
            (spec::m2vcbr(0), REFUSED),
            bank(0, spec::TLBIASID, 0),
            bank(0, spec::CTX_TLBIALL, 0),
            bank(0, spec::SCTLR, 0),
            (spec::m2vcbr(1), 0x00c1_0000),
            bank(0, spec::TTBR0, 0x8000_406a),
            bank(0, spec::SCTLR, ENABLED),
        ],
    );
    assert_eq!((smmu.bank(contexts[0]), smmu.bank(contexts[1])), (None, Some(0)));
    assert_eq!(smmu.roots(contexts[0]), Some(roots(0)), "a displaced context stays active");
}

#[test]
fn a_split_has_two_tables_and_a_missing_half_faults() {
    let (fake, mut smmu, contexts) = smmu(3, 3);
    let low = vcm::PhysicalAddress::new(0x8000_0800);
    let both = TableRoots { low: Some(low), high: Some(table(5)), split: 3 };
    smmu.activate(contexts[0], both).unwrap();
    smmu.activate(contexts[1], TableRoots { high: None, ..both }).unwrap();
    smmu.activate(contexts[2], TableRoots { low: None, ..both }).unwrap();
    let device = fake.device();
    assert_eq!(device.bank(0, spec::TTBCR), 3);
    assert_eq!(device.bank(0, spec::TTBR0), 0x8000_086a);
    assert_eq!(device.bank(0, spec::TTBR1), 0x8001_406a);
    assert_eq!((device.bank(1, spec::TTBCR), device.bank(1, spec::TTBR1)), (0x23, 0));
    assert_eq!((device.bank(2, spec::TTBCR), device.bank(2, spec::TTBR0)), (0x13, 0));
}

#[test]
fn one_half_changes_while_the_other_translates() {
    let (fake, mut smmu, contexts) = smmu(1, 1);
    let before = TableRoots { low: Some(table(0)), high: Some(table(1)), split: 1 };
    smmu.activate(contexts[0], before).unwrap();
    fake.device().log.clear();
    smmu.set_roots(contexts[0], TableRoots { high: Some(table(2)), ..before }).unwrap();
    assert_eq!(
        fake.device().writes(),
        [
            bank(0, spec::TTBCR, 0x21),
            bank(0, spec::TLBIASID, 0),
            bank(0, spec::TTBR1, 0x8000_806a),
            bank(0, spec::TTBCR, 0x01),
        ]
    );
    // A half is taken away: it faults from then on.
    smmu.set_roots(contexts[0], TableRoots { low: None, high: Some(table(2)), split: 1 }).unwrap();
    assert_eq!(
        fake.device().writes(),
        [
            bank(0, spec::TTBCR, 0x11),
            bank(0, spec::TLBIASID, 0),
            bank(0, spec::TTBR0, 0),
            bank(0, spec::TTBCR, 0x11),
        ]
    );
    // The same again changes nothing.
    smmu.set_roots(contexts[0], TableRoots { low: None, high: Some(table(2)), split: 1 }).unwrap();
    assert_eq!(fake.device().writes(), []);
}

#[test]
fn another_split_is_a_new_seat() {
    let (fake, mut smmu, contexts) = smmu(1, 1);
    smmu.activate(contexts[0], roots(0)).unwrap();
    smmu.hold(contexts[0]).unwrap();
    fake.device().log.clear();
    let split = TableRoots { low: Some(table(0)), high: Some(table(1)), split: 1 };
    smmu.set_roots(contexts[0], split).unwrap();
    in_order(
        &fake.device().writes(),
        &[
            (spec::m2vcbr(0), REFUSED),
            bank(0, spec::TLBIASID, 0),
            (spec::m2vcbr(0), 0x00c1_0000),
            bank(0, spec::TTBCR, 1),
            bank(0, spec::SCTLR, ENABLED),
        ],
    );
    assert_eq!(smmu.roots(contexts[0]), Some(split));
    assert_eq!(smmu.statistics().context_switches, 0);
}
