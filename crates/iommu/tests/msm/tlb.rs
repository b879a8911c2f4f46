//! Invalidation, ASIDs and translation.

use crate::fake::{roots, smmu, table};
use vcm::{FaultReason, PhysicalAddress, SIZE_1M, SIZE_4K, Span};
use vcm_iommu::Reach;
use vcm_iommu::msm::spec::{self, context_register};
use vcm_iommu::msm::{Invalidation, PAGEWISE_LIMIT, SmmuError, TableRoots, TranslateAs, TranslateFault};

fn span(first: u64, len: u64) -> Span {
    Span::new(first, len).unwrap()
}

#[test]
fn few_pages_go_one_by_one_and_many_all_at_once() {
    let (fake, mut smmu, contexts) = smmu(2, 2);
    smmu.activate(contexts[0], roots(0)).unwrap();
    smmu.activate(contexts[1], roots(1)).unwrap();
    fake.device().log.clear();
    let tlbiva = context_register(1, spec::TLBIVA);
    let tlbiasid = context_register(1, spec::TLBIASID);

    // Two spans, one of which begins and ends inside pages.
    let spans = [span(0x1000, 0x2000), span(0xffff_e800, 0x1000)];
    smmu.invalidate(
        contexts[1],
        &Invalidation::Addresses { spans: &spans, granule: SIZE_4K, reach: Reach::Pages },
    )
    .unwrap();
    let expected = [0x1001, 0x2001, 0xffff_e001, 0xffff_f001].map(|value| (tlbiva, value));
    assert_eq!(fake.device().writes(), expected);

    // Large pages need one each.
    let spans = [span(0x10_0000, 3 * SIZE_1M)];
    smmu.invalidate(
        contexts[1],
        &Invalidation::Addresses { spans: &spans, granule: SIZE_1M, reach: Reach::Pages },
    )
    .unwrap();
    assert_eq!(fake.device().writes().len(), 3);

    // At the limit, and one beyond.
    let spans = [span(0, PAGEWISE_LIMIT * SIZE_4K)];
    smmu.invalidate(
        contexts[1],
        &Invalidation::Addresses { spans: &spans, granule: SIZE_4K, reach: Reach::Pages },
    )
    .unwrap();
    assert_eq!(fake.device().writes().len() as u64, PAGEWISE_LIMIT);
    let spans = [span(0, PAGEWISE_LIMIT * SIZE_4K), span(1 << 31, 1)];
    smmu.invalidate(
        contexts[1],
        &Invalidation::Addresses { spans: &spans, granule: SIZE_4K, reach: Reach::Pages },
    )
    .unwrap();
    assert_eq!(fake.device().writes(), [(tlbiasid, 1)]);

    smmu.invalidate(contexts[1], &Invalidation::Everything).unwrap();
    assert_eq!(fake.device().writes(), [(tlbiasid, 1)]);
}

#[test]
fn strange_spans_and_granules_do_no_harm() {
    let (fake, mut smmu, contexts) = smmu(1, 1);
    smmu.activate(contexts[0], roots(0)).unwrap();
    fake.device().log.clear();
    for granule in [0, 1, 3, SIZE_4K, u64::MAX] {
        smmu.invalidate(contexts[0], &Invalidation::Addresses { spans: &[], granule, reach: Reach::Pages })
            .unwrap();
        let beyond = [span(1 << 32, 1 << 40)];
        smmu.invalidate(
            contexts[0],
            &Invalidation::Addresses { spans: &beyond, granule, reach: Reach::Pages },
        )
        .unwrap();
        assert_eq!(fake.device().writes(), []);
        smmu.invalidate(
            contexts[0],
            &Invalidation::Addresses { spans: &[Span::ALL], granule, reach: Reach::Pages },
        )
        .unwrap();
        assert_eq!(fake.device().writes().len(), 1);
        let one = [span(0xffff_ffff, 1)];
        smmu.invalidate(contexts[0], &Invalidation::Addresses { spans: &one, granule, reach: Reach::Pages })
            .unwrap();
        assert_eq!(fake.device().writes(), [(context_register(0, spec::TLBIVA), 0xffff_f000)]);
    }
}

#[test]
fn a_context_without_a_seat_has_nothing_to_invalidate() {
    let (fake, mut smmu, contexts) = smmu(1, 2);
    smmu.activate(contexts[0], roots(0)).unwrap();
    smmu.activate(contexts[1], roots(1)).unwrap();
    fake.device().log.clear();
    smmu.invalidate(contexts[0], &Invalidation::Everything).unwrap();
    assert_eq!(fake.device().log, []);
}

#[test]
fn equal_tables_share_an_asid_and_others_do_not() {
    let (_, mut smmu, contexts) = smmu(4, 4);
    smmu.activate(contexts[0], roots(7)).unwrap();
    smmu.activate(contexts[1], roots(8)).unwrap();
    smmu.activate(contexts[2], roots(7)).unwrap();
    // The same low table under another split serves other addresses.
    let split = TableRoots { low: Some(table(7)), high: None, split: 1 };
    smmu.activate(contexts[3], split).unwrap();
    let asids: Vec<_> = contexts.iter().map(|context| smmu.asid(*context).unwrap()).collect();
    assert_eq!(asids, [0, 1, 0, 2]);
    // One of the two goes; the ASID stays with the other, and is not the lowest free one.
    smmu.deactivate(contexts[0]).unwrap();
    smmu.activate(contexts[0], roots(9)).unwrap();
    assert_eq!(smmu.asid(contexts[0]), Some(3));
}

#[test]
fn an_asid_is_used_again_only_after_it_was_invalidated() {
    let (fake, mut smmu, contexts) = smmu(2, 2);
    smmu.activate(contexts[0], roots(0)).unwrap();
    smmu.activate(contexts[1], roots(1)).unwrap();
    // The device falls silent before the invalidation: the ASID is not free, though its bank's user is gone.
    fake.device().lives = Some(0);
    smmu.deactivate(contexts[0]).unwrap_err();
    fake.device().revive();
    smmu.deactivate(contexts[1]).unwrap();
    smmu.activate(contexts[1], roots(2)).unwrap();
    assert_eq!((smmu.bank(contexts[1]), smmu.asid(contexts[1])), (Some(1), Some(1)));
    assert_eq!(smmu.quarantined(), 1);
    smmu.recover().unwrap();
    assert_eq!(smmu.quarantined(), 0);
    smmu.activate(contexts[0], roots(3)).unwrap();
    assert_eq!((smmu.bank(contexts[0]), smmu.asid(contexts[0])), (Some(0), Some(0)));
}

#[test]
fn tables_that_become_equal_come_to_share_and_to_part() {
    let (fake, mut smmu, contexts) = smmu(2, 2);
    let half = |n| TableRoots { low: Some(table(n)), high: Some(table(9)), split: 2 };
    smmu.activate(contexts[0], half(0)).unwrap();
    smmu.activate(contexts[1], half(1)).unwrap();
    smmu.set_roots(contexts[1], half(0)).unwrap();
    assert_eq!((smmu.asid(contexts[0]), smmu.asid(contexts[1])), (Some(0), Some(0)));
    assert_eq!(fake.device().bank(1, spec::CONTEXTIDR), 0);
    fake.device().log.clear();
    smmu.set_roots(contexts[0], half(2)).unwrap();
    assert_eq!((smmu.asid(contexts[0]), smmu.asid(contexts[1])), (Some(1), Some(0)));
    assert_eq!(
        fake.device().writes(),
        [
            (spec::TTBCR, 0x12),
            (spec::CONTEXTIDR, 1),
            (spec::TLBIASID, 1),
            (spec::TLBIASID, 0),
            (spec::TTBR0, 0x8000_806a),
            (spec::TTBCR, 0x02),
        ]
        .map(|(register, value)| (context_register(0, register), value))
    );
}

#[test]
fn the_hardware_translates() {
    let (fake, mut smmu, contexts) = smmu(1, 2);
    smmu.activate(contexts[0], roots(0)).unwrap();
    let answers = [
        (spec::V2PPR, 0x1234_5000, spec::Par::new().with_pa(0xabcde).with_ns(true).into_bits()),
        (spec::V2PUW, 0x1234_5000, spec::Par::new().with_pa(0xab000).with_ss(true).into_bits()),
        (spec::V2PUR, 0x1234_5000, 1 | spec::Fsr::new().with_apf(true).into_bits()),
        (spec::V2PPW, 0x1234_5000, 1),
        // The page at physical address 0: the whole answer is zero.
        (spec::V2PPR, 0, 0),
    ];
    fake.device().translations.extend(answers.map(|(register, page, par)| ((register, page), par)));
    let mut ask = |address, translate_as| smmu.translate(contexts[0], address, translate_as);
    let at = |raw| Ok(PhysicalAddress::new(raw));
    assert_eq!(ask(0x1234_5678, TranslateAs::PrivilegedRead), at(0xabcd_e678));
    assert_eq!(ask(0x1234_5678, TranslateAs::UserWrite), at(0xab34_5678));
    let fault = |reason| Err(TranslateFault::Fault(reason));
    assert_eq!(ask(0x1234_5678, TranslateAs::UserRead), fault(FaultReason::Permission));
    assert_eq!(ask(0x1234_5678, TranslateAs::PrivilegedWrite), fault(FaultReason::Translation));
    assert_eq!(ask(0x777, TranslateAs::PrivilegedRead), at(0x777));
    assert_eq!(ask(0x8000, TranslateAs::PrivilegedRead), fault(FaultReason::Translation));
    assert_eq!(ask(1 << 32, TranslateAs::UserRead), Err(TranslateFault::Beyond32Bits));
    let inactive = SmmuError::NotActive(contexts[1]);
    assert_eq!(smmu.translate(contexts[1], 0, TranslateAs::UserRead), Err(TranslateFault::Smmu(inactive)));
}

#[test]
fn asking_for_a_translation_seats_a_displaced_context() {
    let (_, mut smmu, contexts) = smmu(1, 2);
    smmu.activate(contexts[0], roots(0)).unwrap();
    smmu.activate(contexts[1], roots(1)).unwrap();
    assert_eq!(smmu.bank(contexts[0]), None);
    smmu.translate(contexts[0], 0, TranslateAs::UserRead).unwrap_err();
    assert_eq!(smmu.bank(contexts[0]), Some(0));
    smmu.hold(contexts[0]).unwrap();
    let refused = smmu.translate(contexts[1], 0, TranslateAs::UserRead).unwrap_err();
    assert!(matches!(refused, TranslateFault::Smmu(SmmuError::NoFreeSlot(_))), "{refused}");
}

#[test]
fn a_silent_device_translates_nothing() {
    for silence in [0, u32::MAX] {
        let (fake, mut smmu, contexts) = smmu(1, 1);
        smmu.activate(contexts[0], roots(0)).unwrap();
        fake.device().silence = silence;
        fake.device().lives = Some(0);
        let error = smmu.translate(contexts[0], 0, TranslateAs::UserRead).unwrap_err();
        assert!(matches!(error, TranslateFault::Smmu(SmmuError::Unresponsive(_))), "{error}");
    }
}
