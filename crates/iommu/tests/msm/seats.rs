//! Who sits where, against a naive model.

use crate::fake::{Fake, roots, smmu};
use proptest::prelude::*;
use vcm::HardwareErrorKind;
use vcm_iommu::msm::{Busy, Config, ContextId, Holder, MasterId, Smmu, SmmuError};

#[test]
fn the_oldest_idle_context_makes_room() {
    let (_, mut smmu, contexts) = smmu(2, 4);
    smmu.activate(contexts[0], roots(0)).unwrap();
    smmu.activate(contexts[1], roots(1)).unwrap();
    // 0 was used after 1.
    smmu.hold(contexts[0]).unwrap();
    smmu.release(contexts[0]);
    smmu.activate(contexts[2], roots(2)).unwrap();
    assert_eq!(
        (smmu.bank(contexts[0]), smmu.bank(contexts[1]), smmu.bank(contexts[2])),
        (Some(0), None, Some(1))
    );
    // 1 is needed: 0 is the oldest now.
    smmu.hold(contexts[1]).unwrap();
    assert_eq!((smmu.bank(contexts[0]), smmu.bank(contexts[1])), (None, Some(0)));
    assert_eq!(smmu.statistics().context_switches, 2);
    assert_eq!(smmu.statistics().seatings, 4);
}

#[test]
fn when_all_are_held_the_error_names_them() {
    let (_, mut smmu, contexts) = smmu(2, 3);
    for (context, n) in contexts.iter().zip(0..2) {
        smmu.activate(*context, roots(n)).unwrap();
        smmu.hold(*context).unwrap();
        smmu.hold(*context).unwrap();
    }
    let error = smmu.activate(contexts[2], roots(2)).unwrap_err();
    assert_eq!(error.kind(), HardwareErrorKind::NoFreeSlot);
    assert_eq!(error.to_string(), "no free context bank: bank 0 held by context 0, bank 1 held by context 1");
    // Held twice: one release is not enough.
    smmu.release(contexts[1]);
    smmu.activate(contexts[2], roots(2)).unwrap_err();
    smmu.release(contexts[1]);
    smmu.activate(contexts[2], roots(2)).unwrap();
    assert_eq!(smmu.bank(contexts[2]), Some(1));
}

#[test]
fn more_holders_than_names_are_counted() {
    let (_, mut smmu, contexts) = smmu(6, 7);
    for (index, context) in contexts.iter().take(6).enumerate() {
        smmu.activate(*context, roots(index as u64)).unwrap();
        smmu.hold(*context).unwrap();
    }
    let SmmuError::NoFreeSlot(holders) = smmu.activate(contexts[6], roots(6)).unwrap_err() else {
        panic!("it was seated");
    };
    assert_eq!(holders.count(), 6);
    assert_eq!(holders.iter().last(), Some(Holder { bank: 3, context: contexts[3], busy: Busy::Held }));
    assert!(holders.to_string().ends_with("context 3 and 2 more"), "{holders}");
}

#[test]
fn a_master_belongs_to_one_context() {
    let fake = Fake::new(1, 4);
    let mut smmu = Smmu::probe(fake, Config::new("test")).unwrap();
    let owner = smmu.create_context(&[MasterId(1), MasterId(2)]).unwrap();
    let mut refused = |masters: &[MasterId]| smmu.create_context(masters).unwrap_err();
    assert_eq!(refused(&[]), SmmuError::NoMasters);
    assert_eq!(refused(&[MasterId(0), MasterId(2)]), SmmuError::MasterOwned { master: MasterId(2), owner });
    assert_eq!(refused(&[MasterId(4)]), SmmuError::MasterOutOfRange { master: MasterId(4), masters: 4 });
    assert_eq!(refused(&[MasterId(3), MasterId(3)]), SmmuError::MasterRepeated(MasterId(3)));
    // Refusals took nothing.
    assert_eq!(smmu.owner(MasterId(0)), None);
    let last = smmu.create_context(&[MasterId(0), MasterId(3)]).unwrap();
    assert_eq!(smmu.owner(MasterId(3)), Some(last));
    // A destroyed context's masters are free again, and its name is not.
    smmu.destroy_context(owner).unwrap();
    let next = smmu.create_context(&[MasterId(2)]).unwrap();
    assert_ne!(next, owner);
    assert_eq!(smmu.activate(owner, roots(0)), Err(SmmuError::UnknownContext(owner)));
    smmu.destroy_context(owner).unwrap();
    assert_eq!(smmu.owner(MasterId(2)), Some(next));
}

#[test]
fn what_an_inactive_context_cannot_do() {
    let (fake, mut smmu, contexts) = smmu(1, 2);
    let id = contexts[0];
    assert_eq!(smmu.hold(id), Err(SmmuError::NotActive(id)));
    assert_eq!(smmu.set_roots(id, roots(0)), Err(SmmuError::NotActive(id)));
    smmu.release(id);
    smmu.deactivate(id).unwrap();
    assert_eq!(fake.device().log, []);
    smmu.activate(id, roots(0)).unwrap();
    assert_eq!(smmu.activate(id, roots(1)), Err(SmmuError::AlreadyActive(id)));
}

#[test]
fn the_state_prints() {
    let (_, mut smmu, contexts) = smmu(2, 3);
    smmu.activate(contexts[0], roots(0)).unwrap();
    smmu.hold(contexts[0]).unwrap();
    let text = smmu.describe().to_string();
    assert!(
        text.starts_with("smmu test: 2 banks, 3 masters\n  bank 0: context 0, asid 0, tables 0x80000000\n"),
        "{text}"
    );
    assert!(text.contains("  bank 1: free\n"), "{text}");
    assert!(text.contains("  context 0: masters 0, active with tables 0x80000000, held 1 times\n"), "{text}");
    assert!(text.contains("  context 2: masters 2, inactive\n"), "{text}");
}

/// One step of a random life.
#[derive(Clone, Copy, Debug)]
enum Step {
    Activate(usize, u64),
    SetRoots(usize, u64),
    Hold(usize),
    Release(usize),
    Deactivate(usize),
    Recreate(usize),
}

/// A context, the naive way.
#[derive(Clone, Copy, Default, Debug)]
struct Naive {
    active: Option<u64>,
    seated: bool,
    holds: u32,
    used: u32,
}

struct Model {
    contexts: Vec<Naive>,
    banks: usize,
    now: u32,
}

impl Model {
    /// Seats context `of`, and says whether it could.
    fn seat(&mut self, of: usize) -> bool {
        self.now += 1;
        if self.contexts[of].seated {
            return true;
        }
        if self.contexts.iter().filter(|context| context.seated).count() == self.banks {
            let idle = self.contexts.iter_mut().filter(|context| context.seated && context.holds == 0);
            match idle.min_by_key(|context| context.used) {
                Some(oldest) => oldest.seated = false,
                None => return false,
            }
        }
        self.contexts[of].seated = true;
        self.contexts[of].used = self.now;
        true
    }

    /// Makes a step, and says whether it succeeds.
    fn step(&mut self, step: Step) -> bool {
        self.now += 1;
        let now = self.now;
        match step {
            Step::Activate(of, table) => {
                if self.contexts[of].active.is_some() || !self.seat(of) {
                    return false;
                }
                self.contexts[of].active = Some(table);
                true
            }
            Step::SetRoots(of, table) => {
                let known = self.contexts[of].active.is_some();
                if known {
                    self.contexts[of].active = Some(table);
                }
                known
            }
            Step::Hold(of) => {
                if self.contexts[of].active.is_none() || !self.seat(of) {
                    return false;
                }
                self.contexts[of].holds += 1;
                self.contexts[of].used = self.now;
                true
            }
            Step::Release(of) => {
                let context = &mut self.contexts[of];
                if context.holds > 0 {
                    context.holds -= 1;
                    context.used = now;
                }
                true
            }
            Step::Deactivate(of) | Step::Recreate(of) => {
                self.contexts[of] = Naive::default();
                true
            }
        }
    }
}

fn apply(smmu: &mut Smmu<Fake>, contexts: &mut [ContextId], step: Step) -> bool {
    match step {
        Step::Activate(of, table) => smmu.activate(contexts[of], roots(table)).is_ok(),
        Step::SetRoots(of, table) => smmu.set_roots(contexts[of], roots(table)).is_ok(),
        Step::Hold(of) => smmu.hold(contexts[of]).is_ok(),
        Step::Release(of) => {
            smmu.release(contexts[of]);
            true
        }
        Step::Deactivate(of) => smmu.deactivate(contexts[of]).is_ok(),
        Step::Recreate(of) => {
            smmu.destroy_context(contexts[of]).unwrap();
            contexts[of] = smmu.create_context(&[MasterId(of as u16)]).unwrap();
            true
        }
    }
}

const CONTEXTS: usize = 6;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let of = 0..CONTEXTS;
    let step = prop_oneof![
        4 => (of.clone(), 0..4_u64).prop_map(|(of, table)| Step::Activate(of, table)),
        2 => (of.clone(), 0..4_u64).prop_map(|(of, table)| Step::SetRoots(of, table)),
        4 => of.clone().prop_map(Step::Hold),
        4 => of.clone().prop_map(Step::Release),
        2 => of.clone().prop_map(Step::Deactivate),
        1 => of.prop_map(Step::Recreate),
    ];
    proptest::collection::vec(step, 1..120)
}

proptest! {
    #[test]
    fn seats_are_those_of_a_naive_model(banks in 1..4_u8, steps in steps()) {
        let (fake, mut smmu, mut contexts) = smmu(banks, CONTEXTS as u16);
        let model = vec![Naive::default(); CONTEXTS];
        let mut model = Model { contexts: model, banks: usize::from(banks), now: 0 };
        for step in steps {
            prop_assert_eq!(apply(&mut smmu, &mut contexts, step), model.step(step), "{:?}", step);
            let mut taken = vec![];
            for (index, naive) in model.contexts.iter().enumerate() {
                let id = contexts[index];
                let tables = naive.active.map(roots);
                prop_assert_eq!(smmu.roots(id), tables, "context {} after {:?}", index, step);
                prop_assert_eq!(smmu.bank(id).is_some(), naive.seated, "context {} after {:?}", index, step);
                // The device agrees.
                let route = fake.device().m2vcbr(index as u16);
                match smmu.bank(id) {
                    Some(bank) => {
                        prop_assert_eq!(route.cbndx(), bank);
                        prop_assert!(!taken.contains(&bank));
                        taken.push(bank);
                    }
                    None => prop_assert_eq!(route.into_bits(), 0x00c1_ff00),
                }
            }
            // An ASID is shared exactly by those with equal tables.
            for a in 0..CONTEXTS {
                for b in 0..a {
                    if let (Some(x), Some(y)) = (smmu.asid(contexts[a]), smmu.asid(contexts[b])) {
                        let equal = model.contexts[a].active == model.contexts[b].active;
                        prop_assert_eq!(x == y, equal, "contexts {} and {} after {:?}", a, b, step);
                    }
                }
            }
        }
    }
}
