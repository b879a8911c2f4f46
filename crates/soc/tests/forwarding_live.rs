//! Changing the mode of a live interrupt, and killing its guest, at every stage and between any two steps.

mod forwarding_common;
use forwarding_common::*;

/// Steps within which every state of a few interrupts is passed.
const STEPS: u64 = 60;

/// What the machine does between an interrupt's being asked for and the change.
fn at_step(trigger: Trigger, kind: Kind, steps: u64) -> (Soc, GuestHandle, AssignmentHandle) {
    let (mut soc, guest, handle) = one(trigger, kind, Way::Forwarded);
    soc.settle().unwrap();
    ask(&mut soc, 0, 4, Pace::AtOnce);
    soc.step_guests(steps).unwrap();
    (soc, guest, handle)
}

#[test]
fn unforwarded_at_every_step_nothing_is_lost() {
    for trigger in [Trigger::LevelHigh, Trigger::EdgeRising] {
        for kind in Kind::all() {
            for steps in 0..STEPS {
                let (mut soc, _, handle) = at_step(trigger, kind, steps);
                let story = format!("{trigger:?} {kind:?}, unforwarded at step {steps}");
                soc.unforward(handle);
                assert_eq!(soc.mode(handle), Some(AUTOMASKED), "{story}");
                soc.settle().unwrap_or_else(|error| panic!("{story}: {error}"));
                let counts = soc.counts(handle);
                assert_eq!((counts.asked, counts.lost), (4, 0), "{story}: {counts:?}");
                // From now on they come in the ordinary way.
                ask(&mut soc, 0, 3, Pace::Served);
                soc.settle().unwrap_or_else(|error| panic!("{story}, then asked: {error}"));
                let after = soc.counts(handle);
                assert_eq!((after.delivered - counts.delivered, after.lost), (3, 0), "{story}: {after:?}");
                // With its deactivation trapped, no maintenance interrupt is needed.
                let trapped = kind.end == GuestEnd::Apart && kind.vcpus > 1;
                if trigger == Trigger::LevelHigh && !trapped {
                    assert!(after.maintenance_exits >= counts.maintenance_exits + 3, "{story}: {after:?}");
                }
                // And forwarded again.
                assert_eq!(soc.forward(handle), Ok(Mode::Forwarded), "{story}");
                ask(&mut soc, 0, 3, Pace::Served);
                soc.settle().unwrap_or_else(|error| panic!("{story}, then forwarded: {error}"));
                let last = soc.counts(handle);
                assert_eq!((last.delivered - after.delivered, last.lost), (3, 0), "{story}: {last:?}");
                assert_eq!(last.maintenance_exits, after.maintenance_exits, "{story}: {last:?}");
            }
        }
    }
}

#[test]
fn unforwarded_at_every_stage() {
    for kind in Kind::all() {
        for stage in [Stage::Idle, Stage::Pending, Stage::InService] {
            let (mut soc, guest, handle) = one(Trigger::LevelHigh, kind, Way::Forwarded);
            ask(&mut soc, 0, 2, Pace::Served);
            assert_eq!(soc.run_until(handle, stage), Ok(true), "{kind:?} {stage:?}");
            soc.unforward(handle);
            soc.unforward(handle);
            // What is in flight keeps its line quiet until the guest has ended it.
            assert_eq!(soc.remains().enabled, usize::from(stage == Stage::Idle), "{kind:?} {stage:?}");
            assert_eq!(soc.remains().active, 0, "{kind:?} {stage:?}");
            let again = soc.forward(handle);
            // What is in flight in the ordinary way has to be ended first.
            assert_eq!(again.is_ok(), stage == Stage::Idle, "{kind:?} {stage:?}: {again:?}");
            soc.settle().unwrap();
            each_served(&soc, handle, 2);
            if stage != Stage::Idle {
                assert_eq!(soc.forward(handle), Ok(Mode::Forwarded));
            }
            assert!(soc.forward(handle).is_err(), "it is forwarded");
            assert_eq!(soc.run_until(handle, Stage::Pending), Ok(false), "nobody asks any more");
            soc.kill(guest);
            assert_eq!(soc.remains(), InterruptRemains::default());
            assert_eq!(soc.run_until(handle, Stage::Idle), Ok(false), "it is nobody's");
            assert!(soc.forward(handle).is_err());
            soc.unforward(handle);
        }
    }
}

#[test]
fn killed_at_every_step_nothing_is_left() {
    for trigger in [Trigger::LevelHigh, Trigger::EdgeRising] {
        for way in [Way::Forwarded, Way::Automasked] {
            for kind in Kind::all() {
                for steps in 0..STEPS {
                    let story = format!("{trigger:?} {way:?} {kind:?}, killed at step {steps}");
                    let mut soc = machine(trigger);
                    let guest = start(&mut soc, "first", kind);
                    let first = [0, 1, 2].map(|device| {
                        let handle = give(&mut soc, guest, device, way);
                        ask(&mut soc, device, 100, Pace::AtOnce);
                        handle
                    });
                    soc.step_guests(steps).unwrap_or_else(|error| panic!("{story}: {error}"));
                    soc.kill(guest);
                    assert_eq!(soc.remains(), InterruptRemains::default(), "{story}");
                    let counts = first.map(|handle| soc.counts(handle));
                    // Another guest has the devices now.
                    let next = start(&mut soc, "next", kind);
                    let handles = [0, 1, 2].map(|device| give(&mut soc, next, device, way));
                    for device in 0..3 {
                        ask(&mut soc, device, 3, Pace::Served);
                    }
                    soc.settle().unwrap_or_else(|error| panic!("{story}, then: {error}"));
                    for handle in handles {
                        each_served(&soc, handle, 3);
                    }
                    assert_eq!(first.map(|handle| soc.counts(handle)), counts, "{story}");
                    assert_eq!(soc.remains().late, 0, "{story}");
                    soc.kill(next);
                    assert_eq!(soc.remains(), InterruptRemains::default(), "{story}");
                }
            }
        }
    }
}

#[test]
fn killed_with_more_vcpus_than_cpus() {
    for steps in 0..4 * STEPS {
        let mut soc = machine(Trigger::LevelHigh);
        let kind = Kind { vcpus: 4, ..Kind::PLAIN };
        let guests = [start(&mut soc, "one", kind), start(&mut soc, "other", kind)];
        let handles: Vec<_> = (0..DEVICES)
            .map(|device| give(&mut soc, guests[device as usize % 2], device, Way::Forwarded))
            .collect();
        for device in 0..DEVICES {
            ask(&mut soc, device, 6, Pace::Served);
        }
        soc.step_guests(steps).unwrap();
        soc.kill(guests[0]);
        soc.settle().unwrap();
        for handle in handles.iter().skip(1).step_by(2) {
            each_served(&soc, *handle, 6);
        }
        soc.kill(guests[1]);
        assert_eq!(soc.remains(), InterruptRemains::default(), "killed at step {steps}");
    }
}
