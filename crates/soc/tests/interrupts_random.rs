//! Anything in any order: the oracle never finds anything, and nothing is lost.

mod forwarding_common;
use forwarding_common::*;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Start(Kind),
    Give { guest: usize, device: u32, way: Way },
    Ask { device: u32, times: u64, pace: Pace },
    Forward(usize),
    Unforward(usize),
    Kill(usize),
    Run(u64),
    Until { assignment: usize, stage: Stage },
    Settle,
}

fn kind() -> impl Strategy<Value = Kind> {
    (
        1..=5_u16,
        prop_oneof![Just(Quieting::BeforeEnd), Just(Quieting::AfterEnd), Just(Quieting::Oneshot)],
        prop_oneof![Just(GuestEnd::Together), Just(GuestEnd::Apart)],
    )
        .prop_map(|(vcpus, quieting, end)| Kind { vcpus, quieting, end })
}

fn step() -> impl Strategy<Value = Step> {
    let way = prop_oneof![3 => Just(Way::Forwarded), 1 => Just(Way::Automasked)];
    let pace = prop_oneof![3 => Just(Pace::Served), 1 => Just(Pace::AtOnce)];
    let stage = prop_oneof![Just(Stage::Idle), Just(Stage::Pending), Just(Stage::InService)];
    prop_oneof![
        2 => kind().prop_map(Step::Start),
        4 => (0..6_usize, 0..DEVICES, way).prop_map(|(guest, device, way)| Step::Give { guest, device, way }),
        6 => (0..DEVICES, 1..12_u64, pace).prop_map(|(device, times, pace)| Step::Ask { device, times, pace }),
        3 => (0..12_usize).prop_map(Step::Forward),
        3 => (0..12_usize).prop_map(Step::Unforward),
        1 => (0..6_usize).prop_map(Step::Kill),
        8 => (0..60_u64).prop_map(Step::Run),
        2 => (0..12_usize, stage).prop_map(|(assignment, stage)| Step::Until { assignment, stage }),
        1 => Just(Step::Settle),
    ]
}

struct World {
    soc: Soc,
    guests: Vec<GuestHandle>,
    assignments: Vec<AssignmentHandle>,
}

impl World {
    fn step(&mut self, step: &Step) -> Result<(), PlatformError> {
        let Self { soc, guests, assignments } = self;
        match *step {
            Step::Start(kind) => guests.push(start(soc, "guest", kind)),
            Step::Give { guest, device, way } => {
                if let Some(guest) = guests.get(guest)
                    && let Ok(handle) = try_give(soc, *guest, device, way)
                {
                    assignments.push(handle);
                }
            }
            Step::Ask { device, times, pace } => ask(soc, device, times, pace),
            Step::Forward(assignment) => {
                if let Some(handle) = assignments.get(assignment) {
                    let _ = soc.forward(*handle);
                }
            }
            Step::Unforward(assignment) => {
                if let Some(handle) = assignments.get(assignment) {
                    soc.unforward(*handle);
                }
            }
            Step::Kill(guest) => {
                if let Some(guest) = guests.get(guest) {
                    soc.kill(*guest);
                }
            }
            Step::Run(steps) => soc.step_guests(steps)?,
            Step::Until { assignment, stage } => {
                if let Some(handle) = assignments.get(assignment) {
                    soc.run_until(*handle, stage)?;
                }
            }
            Step::Settle => soc.settle()?,
        }
        Ok(())
    }
}

fn run(trigger: Trigger, steps: &[Step]) -> Result<(), TestCaseError> {
    let mut world = World { soc: machine(trigger), guests: Vec::new(), assignments: Vec::new() };
    let failed = |error: PlatformError| TestCaseError::fail(error.to_string());
    for step in steps {
        world.step(step).map_err(failed)?;
    }
    let soc = &mut world.soc;
    soc.settle().map_err(failed)?;
    for handle in &world.assignments {
        let counts = soc.counts(*handle);
        prop_assert!(counts.lost == 0 || counts.shut > 0, "{:?} {:?}", handle, counts);
        prop_assert!(counts.delivered <= counts.asked, "{:?} {:?}", handle, counts);
    }
    for guest in &world.guests {
        soc.kill(*guest);
    }
    // What the host heard of goes on being the host's until it is done.
    soc.settle().map_err(failed)?;
    prop_assert_eq!(soc.remains(), InterruptRemains::default());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn level(steps in proptest::collection::vec(step(), 1..60)) {
        run(Trigger::LevelHigh, &steps)?;
    }

    #[test]
    fn edge(steps in proptest::collection::vec(step(), 1..60)) {
        run(Trigger::EdgeRising, &steps)?;
    }
}
