//! Defects of the drivers before this one, each with the behaviour that replaces it.

use crate::fake::{Fake, in_order, roots, smmu, table};
use vcm::Answer;
use vcm_iommu::msm::spec::{self, context_register};
use vcm_iommu::msm::{Config, MasterId, RootsError, Smmu, SmmuError, TableRoots};

/// `smmu_driver.c` let a context number of one more than the last bank pass. Here banks are not chosen by
/// number, and the last one is used; the fake device has no register of one more.
#[test]
fn every_bank_is_used_and_none_beyond() {
    for banks in 1..=4 {
        let (_, mut smmu, contexts) = smmu(banks, 5);
        for (index, context) in contexts.iter().take(usize::from(banks)).enumerate() {
            smmu.activate(*context, roots(index as u64)).unwrap();
            smmu.hold(*context).unwrap();
            assert_eq!(smmu.bank(*context), Some(index as u8));
        }
        let refused = smmu.activate(contexts[usize::from(banks)], roots(9)).unwrap_err();
        assert!(matches!(refused, SmmuError::NoFreeSlot(_)), "{refused}");
    }
}

/// `smmu_driver.c` cleared faults with a constant that lacks bits 4 to 7, 16 and 31.
#[test]
fn every_bit_of_a_fault_is_cleared() {
    let (fake, mut smmu, contexts) = smmu(1, 1);
    smmu.activate(contexts[0], roots(0)).unwrap();
    for bit in 0..32 {
        fake.device().poke(context_register(0, spec::FSR), 1 << bit);
        smmu.handle_interrupt().unwrap();
        assert_eq!(fake.device().bank(0, spec::FSR), 0, "bit {bit}");
        smmu.next_fault();
    }
}

/// The public headers give `TTBCR.N` a shift of 3.
#[test]
fn the_split_is_in_the_lowest_bits() {
    for split in 1..=7 {
        let (fake, mut smmu, contexts) = smmu(1, 1);
        let roots = TableRoots { low: Some(table(0)), high: Some(table(1)), split };
        smmu.activate(contexts[0], roots).unwrap();
        assert_eq!(fake.device().bank(0, spec::TTBCR), u32::from(split));
    }
}

/// `smmu_driver.c` terminated on the answer that its document calls "retry".
#[test]
fn retry_retries_and_terminate_terminates() {
    let (fake, mut smmu, contexts) = smmu(1, 1);
    smmu.activate(contexts[0], roots(0)).unwrap();
    for (answer, tnr) in [(Answer::Retry, 0), (Answer::Terminate, 1)] {
        fake.device().resumed.clear();
        fake.device().poke(context_register(0, spec::FSR), 1 << 30 | 2);
        smmu.handle_interrupt().unwrap();
        smmu.next_fault().unwrap();
        smmu.resume(contexts[0], answer).unwrap();
        assert_eq!(fake.device().resumed, [(0, tnr)]);
    }
}

/// A fault without a handler, or in no active context, ended in a kernel BUG.
#[test]
fn a_fault_that_nobody_fetches_breaks_nothing() {
    let (fake, mut smmu, contexts) = smmu(2, 2);
    for bank in 0..2 {
        fake.device().poke(context_register(bank, spec::FSR), u32::MAX);
    }
    smmu.handle_interrupt().unwrap();
    assert_eq!(smmu.statistics().stray_faults, 2);
    smmu.activate(contexts[0], roots(0)).unwrap();
}

/// Binding wrote 0 to `M2VCBR` before the bank's number, which is bank 0 to the device.
#[test]
fn a_master_never_passes_through_anothers_bank() {
    let (fake, mut smmu, contexts) = smmu(3, 3);
    for (index, context) in contexts.iter().enumerate() {
        fake.device().log.clear();
        smmu.activate(*context, roots(index as u64)).unwrap();
        for (offset, value) in fake.device().writes() {
            if offset == spec::m2vcbr(index as u16) {
                assert_eq!(usize::from(spec::M2vcbr::from_bits(value).cbndx()), index);
            } else {
                assert!(!(spec::m2vcbr(0)..=spec::m2vcbr(2)).contains(&offset), "another master is touched");
            }
        }
    }
}

/// Resetting a bank cleared the bypass fields of the master with the *bank's* number.
#[test]
fn resetting_a_bank_leaves_other_contexts_masters_alone() {
    let fake = Fake::new(2, 8);
    let mut smmu = Smmu::probe(fake.clone(), Config::new("test")).unwrap();
    let first = smmu.create_context(&[MasterId(1)]).unwrap();
    let second = smmu.create_context(&[MasterId(5)]).unwrap();
    smmu.activate(first, roots(0)).unwrap();
    smmu.activate(second, roots(1)).unwrap();
    fake.device().log.clear();
    // It sits in bank 1.
    smmu.deactivate(second).unwrap();
    assert!(fake.device().writes().iter().all(|(offset, _)| *offset != spec::m2vcbr(1)));
    assert_eq!(fake.device().m2vcbr(1).cbndx(), 0);
}

/// A detached device's transactions bypassed: it reached all of memory.
#[test]
fn a_deactivated_device_is_refused() {
    let (fake, mut smmu, contexts) = smmu(1, 1);
    smmu.activate(contexts[0], roots(0)).unwrap();
    smmu.deactivate(contexts[0]).unwrap();
    let route = fake.device().m2vcbr(0);
    assert!(route.bypassd() && route.cbndx() == spec::NO_BANK, "{route:?}");
}

/// The search for a free ASID in one driver skipped every bank but its own, and found each in use as free.
#[test]
fn banks_with_different_tables_have_different_asids() {
    let (_, mut smmu, contexts) = smmu(16, 16);
    for (index, context) in contexts.iter().enumerate() {
        smmu.activate(*context, roots(index as u64)).unwrap();
        assert_eq!(smmu.asid(*context), Some(index as u8));
    }
}

/// Activation took tables as they came: a misaligned one lost its low bits, one above 4 GiB its high bits.
#[test]
fn tables_that_the_hardware_cannot_take_are_refused() {
    let (fake, mut smmu, contexts) = smmu(1, 1);
    let at = vcm::PhysicalAddress::new;
    let cases = [
        (
            TableRoots::whole(at(0x8000_2000)),
            RootsError::Misaligned { table: at(0x8000_2000), length: 0x4000 },
        ),
        (TableRoots::whole(at(1 << 32)), RootsError::Beyond32Bits(at(1 << 32))),
        (
            TableRoots { low: Some(at(0x8000_1000)), high: None, split: 1 },
            RootsError::Misaligned { table: at(0x8000_1000), length: 0x2000 },
        ),
        (
            TableRoots { low: None, high: Some(at(0x8000_2000)), split: 1 },
            RootsError::Misaligned { table: at(0x8000_2000), length: 0x4000 },
        ),
        (TableRoots { low: None, high: Some(table(0)), split: 0 }, RootsError::HighWithoutSplit(table(0))),
        (TableRoots { low: None, high: None, split: 8 }, RootsError::Split(8)),
        (TableRoots { low: None, high: None, split: u8::MAX }, RootsError::Split(u8::MAX)),
    ];
    for (roots, error) in cases {
        assert_eq!(smmu.activate(contexts[0], roots), Err(SmmuError::Roots(error)));
        assert_eq!(smmu.roots(contexts[0]), None);
    }
    assert_eq!(fake.device().log, []);
    smmu.activate(contexts[0], roots(0)).unwrap();
    for (roots, error) in cases {
        assert_eq!(smmu.set_roots(contexts[0], roots), Err(SmmuError::Roots(error)));
    }
    assert_eq!(smmu.roots(contexts[0]), Some(roots(0)));
}

/// `iova_to_phys` and the update bracket dropped the TLB entries of every context of the SMMU.
#[test]
fn invalidation_names_the_context() {
    let (fake, mut smmu, contexts) = smmu(2, 2);
    smmu.activate(contexts[0], roots(0)).unwrap();
    smmu.activate(contexts[1], roots(1)).unwrap();
    fake.device().log.clear();
    smmu.invalidate(contexts[1], &vcm_iommu::msm::Invalidation::Everything).unwrap();
    let writes = fake.device().writes();
    in_order(&writes, &[(context_register(1, spec::TLBIASID), 1)]);
    assert_eq!(writes.len(), 1);
}
