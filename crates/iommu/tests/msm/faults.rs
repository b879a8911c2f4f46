//! Faults: recorded, fetched, answered.

use crate::fake::{Device, roots, smmu};
use vcm::{Answer, FaultAccess, FaultReason, FaultState, Privilege};
use vcm_iommu::msm::spec::{self, context_register};
use vcm_iommu::msm::{Busy, FaultRecord, FaultSource, Holder, MasterId, SmmuError};

/// A stalled user write of master 1 at `0x1234_5678`.
fn raise(device: &mut Device, bank: u8, status: spec::Fsr) {
    device.poke(context_register(bank, spec::FSR), status.into_bits());
    device.poke(context_register(bank, spec::FAR), 0x1234_5678);
    device.poke(
        context_register(bank, spec::FSYNR0),
        spec::Fsynr0::new().with_amid(1).with_atid(9).into_bits(),
    );
    device.poke(context_register(bank, spec::FSYNR1), spec::Fsynr1::new().with_awrite(true).into_bits());
}

fn stalled() -> spec::Fsr {
    spec::Fsr::new().with_tf(true).with_sl(true).with_ss(true)
}

#[test]
fn a_stalled_transaction_is_reported_and_waits_for_its_answer() {
    for (answer, resume) in [(Answer::Retry, 0), (Answer::Terminate, 1)] {
        let (fake, mut smmu, contexts) = smmu(2, 2);
        smmu.activate(contexts[0], roots(0)).unwrap();
        smmu.activate(contexts[1], roots(1)).unwrap();
        raise(&mut fake.device(), 1, stalled());
        fake.device().resumed.clear();
        smmu.handle_interrupt().unwrap();
        assert_eq!(fake.device().bank(1, spec::FSR), 0);
        let record = FaultRecord {
            source: FaultSource::Bank(1),
            context: Some(contexts[1]),
            master: MasterId(1),
            address: 0x1234_5678,
            access: FaultAccess::Write,
            privilege: Privilege::User,
            reason: FaultReason::Translation,
            state: FaultState::Stalled,
            multiple: false,
        };
        assert_eq!(smmu.next_fault(), Some(record));
        assert_eq!(smmu.next_fault(), None);
        assert_eq!(fake.device().resumed, [], "it waits");
        assert_eq!(smmu.resume(contexts[0], answer), Err(SmmuError::NotStalled(contexts[0])));
        smmu.resume(contexts[1], answer).unwrap();
        assert_eq!(fake.device().resumed, [(1, resume)]);
        assert_eq!(smmu.resume(contexts[1], answer), Err(SmmuError::NotStalled(contexts[1])));
    }
}

#[test]
fn every_cause_has_a_reason() {
    let (fake, mut smmu, contexts) = smmu(1, 2);
    smmu.activate(contexts[0], roots(0)).unwrap();
    for (bit, reason) in [
        (1, FaultReason::Translation),
        (2, FaultReason::AccessFlag),
        (3, FaultReason::Permission),
        (4, FaultReason::Translation),
        (5, FaultReason::TableWalk),
        (6, FaultReason::TableWalk),
        (7, FaultReason::TlbConflict),
    ] {
        raise(&mut fake.device(), 0, spec::Fsr::from_bits(1 << bit | 1 << 31));
        let instruction = spec::Fsynr1::new().with_ainst(true).with_apriv(true).into_bits();
        fake.device().poke(context_register(0, spec::FSYNR1), instruction);
        smmu.handle_interrupt().unwrap();
        let fault = smmu.next_fault().unwrap();
        assert_eq!((fault.reason, fault.state), (reason, FaultState::Terminated));
        assert_eq!((fault.access, fault.privilege), (FaultAccess::Execute, Privilege::Supervisor));
        assert!(fault.multiple);
        assert_eq!(fake.device().bank(0, spec::FSR), 0);
    }
}

#[test]
fn a_fault_in_a_bank_that_nobody_uses_ends_the_stall() {
    let (fake, mut smmu, contexts) = smmu(2, 2);
    smmu.activate(contexts[0], roots(0)).unwrap();
    fake.device().resumed.clear();
    raise(&mut fake.device(), 1, stalled());
    smmu.handle_interrupt().unwrap();
    assert_eq!(smmu.next_fault(), None);
    assert_eq!(fake.device().resumed, [(1, 1)]);
    assert_eq!(smmu.statistics().stray_faults, 1);
    // So does one without a cause.
    raise(&mut fake.device(), 0, spec::Fsr::new().with_ss(true));
    smmu.handle_interrupt().unwrap();
    assert_eq!(smmu.next_fault(), None);
    assert_eq!(fake.device().resumed, [(1, 1), (0, 1)]);
    assert_eq!(fake.device().bank(0, spec::FSR), 0);
}

#[test]
fn an_interrupt_that_is_not_fetched_does_not_grow_anything() {
    let (fake, mut smmu, contexts) = smmu(2, 2);
    smmu.activate(contexts[0], roots(0)).unwrap();
    smmu.activate(contexts[1], roots(1)).unwrap();
    for _ in 0..1000 {
        raise(&mut fake.device(), 0, stalled());
        raise(&mut fake.device(), 1, stalled());
        fake.device().poke(spec::ESR, 3);
        smmu.handle_interrupt().unwrap();
    }
    assert_ne!(fake.device().bank(0, spec::FSR), 0, "the interrupt stays raised");
    assert_eq!(std::iter::from_fn(|| smmu.next_fault()).count(), 3);
}

#[test]
fn a_displaced_masters_transaction_is_told_apart_by_its_context() {
    let (fake, mut smmu, contexts) = smmu(1, 3);
    smmu.activate(contexts[1], roots(1)).unwrap();
    smmu.activate(contexts[2], roots(2)).unwrap();
    assert_eq!(smmu.bank(contexts[1]), None);
    fake.device().poke(spec::ESR, spec::Esr::new().with_bypass(true).with_multi(true).into_bits());
    fake.device().poke(spec::EAR, 0x4000);
    fake.device().poke(spec::ESYNR0, spec::Esynr0::new().with_amid(1).into_bits());
    fake.device().poke(spec::ESYNR1, spec::Esynr1::new().with_apriv(true).into_bits());
    smmu.handle_interrupt().unwrap();
    assert_eq!(fake.device().peek(spec::ESR), 0);
    let record = FaultRecord {
        source: FaultSource::Bypass,
        context: Some(contexts[1]),
        master: MasterId(1),
        address: 0x4000,
        access: FaultAccess::Read,
        privilege: Privilege::Supervisor,
        reason: FaultReason::NoContext,
        state: FaultState::Terminated,
        multiple: true,
    };
    assert_eq!(smmu.next_fault(), Some(record));
    // A master that belongs to nobody, and one that does not exist.
    smmu.destroy_context(contexts[0]).unwrap();
    for master in [0, 200] {
        fake.device().poke(spec::ESR, spec::Esr::new().with_cfg(true).into_bits());
        fake.device().poke(spec::ESYNR0, spec::Esynr0::new().with_amid(master).into_bits());
        smmu.handle_interrupt().unwrap();
        let fault = smmu.next_fault().unwrap();
        assert_eq!((fault.source, fault.context), (FaultSource::Configuration, None));
    }
}

#[test]
fn a_context_with_a_fault_is_not_displaced() {
    let (fake, mut smmu, contexts) = smmu(1, 2);
    smmu.activate(contexts[0], roots(0)).unwrap();
    let faulted = |error| match error {
        SmmuError::NoFreeSlot(holders) => {
            let holder = Holder { bank: 0, context: contexts[0], busy: Busy::Faulted };
            assert_eq!(holders.iter().collect::<Vec<_>>(), [holder]);
        }
        other => panic!("{other}"),
    };
    // Not looked at; stalled.
    raise(&mut fake.device(), 0, stalled());
    faulted(smmu.activate(contexts[1], roots(1)).unwrap_err());
    smmu.handle_interrupt().unwrap();
    faulted(smmu.activate(contexts[1], roots(1)).unwrap_err());
    assert_eq!(smmu.roots(contexts[1]), None);
    smmu.resume(contexts[0], Answer::Retry).unwrap();
    smmu.activate(contexts[1], roots(1)).unwrap();
}

#[test]
fn deactivation_terminates_what_is_stalled() {
    // Reported and fetched; reported; not looked at.
    for looked in 0..3 {
        let (fake, mut smmu, contexts) = smmu(1, 2);
        smmu.activate(contexts[0], roots(0)).unwrap();
        fake.device().resumed.clear();
        raise(&mut fake.device(), 0, stalled());
        if looked > 0 {
            smmu.handle_interrupt().unwrap();
        }
        if looked > 1 {
            smmu.next_fault().unwrap();
        }
        smmu.deactivate(contexts[0]).unwrap();
        assert_eq!(fake.device().resumed, [(0, 1)]);
        assert_eq!(fake.device().bank(0, spec::FSR), 0);
        if looked == 1 {
            assert_eq!(smmu.next_fault().unwrap().state, FaultState::Terminated);
        }
        assert_eq!(smmu.resume(contexts[0], Answer::Retry), Err(SmmuError::NotStalled(contexts[0])));
    }
}

#[test]
fn a_status_of_all_ones_is_a_device_that_is_gone() {
    let (fake, mut smmu, contexts) = smmu(1, 1);
    smmu.activate(contexts[0], roots(0)).unwrap();
    fake.device().lives = Some(0);
    smmu.handle_interrupt().unwrap_err();
    assert_eq!(smmu.next_fault(), None);
    // A live device may well report everything at once.
    fake.device().revive();
    raise(&mut fake.device(), 0, spec::Fsr::from_bits(u32::MAX));
    smmu.handle_interrupt().unwrap();
    assert_eq!(smmu.next_fault().unwrap().reason, FaultReason::TlbConflict);
}

#[test]
fn a_fault_reads_as_one_line() {
    let (fake, mut smmu, contexts) = smmu(1, 2);
    smmu.activate(contexts[1], roots(0)).unwrap();
    raise(&mut fake.device(), 0, stalled());
    smmu.handle_interrupt().unwrap();
    assert_eq!(
        smmu.next_fault().unwrap().to_string(),
        "translation fault: write of master 1 at 0x12345678, bank 0, context 1, stalled"
    );
}

/// A device may keep FSR.SS until the answer. Asked again meanwhile, the driver once took the bit for a fault of
/// nobody's and terminated the very transaction that was waiting.
#[test]
fn a_fault_that_waits_is_no_news() {
    let (fake, mut smmu, contexts) = smmu(1, 1);
    smmu.activate(contexts[0], roots(0)).unwrap();
    raise(&mut fake.device(), 0, stalled());
    smmu.handle_interrupt().unwrap();
    assert!(smmu.next_fault().is_some());
    fake.device().resumed.clear();
    fake.device().poke(context_register(0, spec::FSR), spec::Fsr::new().with_ss(true).into_bits());
    smmu.handle_interrupt().unwrap();
    assert_eq!(smmu.next_fault(), None);
    assert_eq!(fake.device().resumed, [], "it still waits");
    smmu.resume(contexts[0], Answer::Retry).unwrap();
    assert_eq!(fake.device().resumed, [(0, 0)]);
}
