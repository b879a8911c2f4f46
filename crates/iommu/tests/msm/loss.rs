//! The device falls silent at every single access, and comes back.

use crate::fake::{Fake, roots, smmu, table};
use vcm::{Answer, Span};
use vcm_iommu::Reach;
use vcm_iommu::msm::spec::{self, context_register};
use vcm_iommu::msm::{
    Config, ContextId, Invalidation, MasterId, ProbeError, Smmu, SmmuError, TableRoots, TranslateAs,
    TranslateFault, Unresponsive,
};

/// Whether a result is a success or the one error that a silent device may cause.
fn typed(result: Result<(), SmmuError>) -> Result<(), Unresponsive> {
    match result {
        Ok(()) => Ok(()),
        Err(SmmuError::Unresponsive(unresponsive)) => Err(unresponsive),
        // What an operation before did not achieve.
        Err(SmmuError::NotActive(_) | SmmuError::NotStalled(_) | SmmuError::NoFreeSlot(_)) => Ok(()),
        Err(other) => panic!("{other}"),
    }
}

/// A life with everything in it, on one bank. Returns the first sign of silence.
fn live(fake: &Fake, smmu: &mut Smmu<Fake>, contexts: &[ContextId]) -> Result<(), Unresponsive> {
    let mut first = Ok(());
    let mut note = |result: Result<(), Unresponsive>| {
        if first.is_ok() {
            first = result;
        }
    };
    let [a, b] = [contexts[0], contexts[1]];
    let half = |low, high| TableRoots { low: Some(table(low)), high: Some(table(high)), split: 1 };
    note(typed(smmu.activate(a, half(0, 1))));
    note(typed(smmu.hold(a)));
    let spans = [Span::new(0x1000, 0x3000).unwrap()];
    note(
        smmu.invalidate(a, &Invalidation::Addresses { spans: &spans, granule: 0x1000, reach: Reach::Pages }),
    );
    note(smmu.invalidate(a, &Invalidation::Everything));
    note(typed(smmu.set_roots(a, half(0, 2))));
    if let Err(TranslateFault::Smmu(error)) = smmu.translate(a, 0x1000, TranslateAs::UserRead) {
        note(typed(Err(error)));
    }
    fake.device().poke(context_register(0, spec::FSR), 1 << 30 | 2);
    note(smmu.handle_interrupt());
    smmu.next_fault();
    note(typed(smmu.resume(a, Answer::Retry)));
    smmu.release(a);
    note(typed(smmu.activate(b, roots(3))));
    note(typed(smmu.hold(b)));
    smmu.release(b);
    note(typed(smmu.hold(a)));
    note(typed(smmu.set_roots(a, roots(0))));
    note(smmu.deactivate(a));
    note(smmu.deactivate(b));
    first
}

fn accesses_of_a_life() -> usize {
    let (fake, mut smmu, contexts) = smmu(1, 2);
    live(&fake, &mut smmu, &contexts).unwrap();
    fake.device().log.len()
}

/// What a silent device reads: gone, or off.
const SILENCES: [u32; 2] = [u32::MAX, 0];

#[test]
fn silence_at_any_access_is_seen_and_survived() {
    let whole = accesses_of_a_life();
    assert!(whole > 200, "{whole} accesses");
    for silence in SILENCES {
        for lives in 0..whole {
            let (fake, mut smmu, contexts) = smmu(1, 2);
            fake.device().silence = silence;
            fake.device().lives = Some(lives);
            let seen = live(&fake, &mut smmu, &contexts);
            assert!(seen.is_err(), "silence {silence:#x} after {lives} accesses went unseen");
            // Nothing that could still translate was given up.
            let routed =
                (0..2).filter(|master| fake.device().m2vcbr(*master).cbndx() != spec::NO_BANK).count();
            assert!(routed <= smmu.quarantined(), "after {lives} accesses");
            // While it is silent, everything still answers.
            assert!(smmu.reset().is_err());
            let _ = smmu.describe().to_string();

            fake.device().revive();
            smmu.reset().unwrap();
            assert_eq!(smmu.quarantined(), 0);
            live(&fake, &mut smmu, &contexts).unwrap();
            assert!(contexts.iter().all(|context| smmu.roots(*context).is_none()));
            // And as if nothing had been.
            let mut count = 0;
            for context in &contexts {
                smmu.destroy_context(*context).unwrap();
                count += 1;
            }
            assert_eq!((count, smmu.owner(MasterId(0)), smmu.owner(MasterId(1))), (2, None, None));
        }
    }
}

#[test]
fn a_device_that_comes_back_as_it_was_recovers_without_a_reset() {
    let whole = accesses_of_a_life();
    for lives in 0..whole {
        let (fake, mut smmu, contexts) = smmu(1, 2);
        fake.device().lives = Some(lives);
        live(&fake, &mut smmu, &contexts).unwrap_err();
        fake.device().revive();
        smmu.recover().unwrap();
        assert_eq!(smmu.quarantined(), 0);
        for context in &contexts {
            smmu.deactivate(*context).unwrap();
        }
        live(&fake, &mut smmu, &contexts).unwrap();
    }
}

#[test]
fn silence_during_initialisation_is_an_error() {
    let fake = Fake::new(2, 4);
    Smmu::probe(fake.clone(), Config::new("test")).unwrap();
    let whole = fake.device().log.len();
    for silence in SILENCES {
        for lives in 0..whole {
            let fake = Fake::new(2, 4);
            fake.device().silence = silence;
            fake.device().lives = Some(lives);
            match Smmu::probe(fake, Config::new("test")).map(drop) {
                Err(ProbeError::Absent { idr, .. }) => assert_eq!((lives, idr), (0, silence)),
                Err(ProbeError::Unresponsive(_)) => assert_ne!(lives, 0),
                other => panic!("{other:?} after {lives} accesses"),
            }
        }
    }
}

#[test]
fn a_quarantined_contexts_bank_asid_and_masters_go_to_nobody() {
    let (fake, mut smmu, contexts) = smmu(1, 2);
    smmu.activate(contexts[0], roots(0)).unwrap();
    fake.device().lives = Some(0);
    let error = smmu.destroy_context(contexts[0]).unwrap_err();
    assert_eq!(error.to_string(), "smmu test: M2VCBR (offset 0xff000) reads 0xffffffff, not 0xc1ff00");
    fake.device().revive();
    assert_eq!(smmu.quarantined(), 1);
    assert_eq!(smmu.owner(MasterId(0)), Some(contexts[0]));
    assert_eq!(smmu.hold(contexts[0]), Err(SmmuError::Destroyed(contexts[0])));
    let refused = smmu.activate(contexts[1], roots(1)).unwrap_err();
    assert_eq!(refused.to_string(), "no free context bank: bank 0 quarantined with context 0");
    assert!(smmu.describe().to_string().contains("bank 0: quarantined with context 0, asid 0"));
    // The device answers again: the same call, or the reaper's, completes it.
    smmu.recover().unwrap();
    assert_eq!(smmu.owner(MasterId(0)), None);
    smmu.activate(contexts[1], roots(1)).unwrap();
}

#[test]
fn a_device_that_lost_its_state_needs_a_reset() {
    let (fake, mut smmu, contexts) = smmu(2, 3);
    let held = contexts[0];
    smmu.activate(held, roots(0)).unwrap();
    smmu.hold(held).unwrap();
    smmu.activate(contexts[1], roots(1)).unwrap();
    fake.device().lose_state();
    smmu.invalidate(held, &Invalidation::Everything).unwrap_err();
    smmu.deactivate(contexts[1]).unwrap_err();
    smmu.recover().unwrap_err();
    smmu.reset().unwrap();
    // What was seated is seated again, with its tables.
    assert_eq!(smmu.bank(held), Some(0));
    assert_eq!(fake.device().bank(0, spec::TTBR0), 0x8000_006a);
    assert_eq!(fake.device().bank(0, spec::SCTLR), 3);
    assert_eq!(smmu.bank(contexts[1]), None);
    smmu.invalidate(held, &Invalidation::Everything).unwrap();
}

#[test]
fn another_device_in_the_window_is_not_taken_for_the_old_one() {
    let (fake, mut smmu, _) = smmu(2, 2);
    fake.device().poke(spec::IDR, spec::Idr::new().with_ncb(0).into_bits());
    let error = smmu.reset().unwrap_err();
    assert_eq!(error.register, "IDR");
}

/// The fake device fails the test when a later context could meet entries of the tables that were to go.
#[test]
fn silence_while_tables_change_keeps_the_right_asid_from_others() {
    let half = |n| TableRoots { low: Some(table(n)), high: Some(table(9)), split: 2 };
    // From an ASID of its own to a shared one, from a shared one to one of its own, and from its own to its
    // own.
    for (first, second, then) in [(0, 1, 0), (0, 0, 1), (0, 1, 2)] {
        for lives in 0..8 {
            let (fake, mut smmu, contexts) = smmu(3, 3);
            smmu.activate(contexts[0], half(first)).unwrap();
            smmu.activate(contexts[1], half(second)).unwrap();
            fake.device().lives = Some(lives);
            let changed = smmu.set_roots(contexts[1], half(then));
            fake.device().revive();
            smmu.activate(contexts[2], roots(5)).unwrap();
            assert_eq!(smmu.roots(contexts[1]), Some(half(then)));
            if changed.is_err() {
                assert_eq!(smmu.bank(contexts[1]), None);
                // Nobody expects transactions: recovery gives the bank back, the next hold seats the context.
                smmu.recover().unwrap();
                assert_eq!(smmu.bank(contexts[1]), None);
                smmu.hold(contexts[1]).unwrap();
            }
            assert_eq!(smmu.bank(contexts[1]), Some(1));
        }
    }
}

#[test]
fn a_held_context_is_seated_again_by_whatever_completes() {
    let again: [fn(&mut Smmu<Fake>, ContextId); 4] = [
        |smmu, id| smmu.set_roots(id, roots(1)).unwrap(),
        |smmu, id| smmu.invalidate(id, &Invalidation::Everything).unwrap(),
        |smmu, _| smmu.recover().unwrap(),
        |smmu, _| smmu.reset().unwrap(),
    ];
    for complete in again {
        let (fake, mut smmu, contexts) = smmu(1, 1);
        smmu.activate(contexts[0], roots(0)).unwrap();
        smmu.hold(contexts[0]).unwrap();
        fake.device().lives = Some(0);
        smmu.set_roots(contexts[0], roots(1)).unwrap_err();
        assert_eq!((smmu.bank(contexts[0]), smmu.quarantined()), (None, 1));
        fake.device().revive();
        complete(&mut smmu, contexts[0]);
        assert_eq!((smmu.bank(contexts[0]), smmu.quarantined()), (Some(0), 0));
        assert_eq!(fake.device().bank(0, spec::TTBR0), 0x8000_406a);
    }
}

#[test]
fn a_reset_ends_every_stall() {
    let (fake, mut smmu, contexts) = smmu(1, 1);
    smmu.activate(contexts[0], roots(0)).unwrap();
    fake.device().poke(context_register(0, spec::FSR), 1 << 30 | 2);
    smmu.handle_interrupt().unwrap();
    smmu.reset().unwrap();
    assert_eq!(smmu.next_fault().unwrap().state, vcm::FaultState::Terminated);
    assert_eq!(smmu.resume(contexts[0], Answer::Retry), Err(SmmuError::NotStalled(contexts[0])));
    assert_eq!(smmu.bank(contexts[0]), Some(0));
}
