//! Interrupts of devices that guests own: forwarded against automasked, kinds of guests and lines, several guests.

mod forwarding_common;
use forwarding_common::*;

const TIMES: u64 = 40;

/// The counts after a workload.
fn workload(trigger: Trigger, kind: Kind, way: Way) -> InterruptCounts {
    let (mut soc, _, handle) = one(trigger, kind, way);
    soc.settle().unwrap();
    assert_eq!(soc.counts(handle).exits, 0, "to set up an interrupt is not its doing");
    ask(&mut soc, 0, TIMES, Pace::Served);
    soc.settle().unwrap();
    each_served(&soc, handle, TIMES);
    soc.counts(handle)
}

#[test]
fn a_forwarded_interrupt_costs_one_exit_and_an_automasked_one_two() {
    let forwarded = workload(Trigger::LevelHigh, Kind::PLAIN, Way::Forwarded);
    assert_eq!((forwarded.exits, forwarded.maintenance_exits, forwarded.spurious), (TIMES, 0, 0));
    let automasked = workload(Trigger::LevelHigh, Kind::PLAIN, Way::Automasked);
    assert_eq!((automasked.exits, automasked.maintenance_exits, automasked.spurious), (2 * TIMES, TIMES, 0));
    assert!(3 * forwarded.mmio < 2 * automasked.mmio, "{forwarded:?} {automasked:?}");
}

#[test]
fn every_kind_of_guest_gets_every_interrupt() {
    for trigger in [Trigger::LevelHigh, Trigger::EdgeRising] {
        for kind in Kind::all() {
            let forwarded = workload(trigger, kind, Way::Forwarded);
            let automasked = workload(trigger, kind, Way::Automasked);
            assert_eq!(forwarded.maintenance_exits, 0, "{kind:?}");
            assert!(
                forwarded.exits <= automasked.exits,
                "{trigger:?} {kind:?}: {forwarded:?} {automasked:?}"
            );
            // A deactivation that is trapped is the host's work in both ways.
            let trapped = kind.end == GuestEnd::Apart && kind.vcpus > 1;
            if trigger == Trigger::LevelHigh && !trapped {
                assert!(forwarded.mmio < automasked.mmio, "{kind:?}: {forwarded:?} {automasked:?}");
            }
            // Where the hardware ends interrupts, and the guest does nothing that makes the device ask again or that
            // is trapped, half of the exits are left.
            if trigger == Trigger::LevelHigh && kind.quieting == Quieting::BeforeEnd && !trapped {
                assert!(2 * forwarded.exits <= automasked.exits, "{kind:?}: {forwarded:?} {automasked:?}");
            }
            if kind.quieting != Quieting::AfterEnd {
                assert_eq!(forwarded.spurious, 0, "{trigger:?} {kind:?}: {forwarded:?}");
                assert_eq!(automasked.spurious, 0, "{trigger:?} {kind:?}: {automasked:?}");
            }
        }
    }
}

#[test]
fn many_devices_on_many_vcpus() {
    for (trigger, way) in [
        (Trigger::LevelHigh, Way::Forwarded),
        (Trigger::LevelHigh, Way::Automasked),
        (Trigger::EdgeRising, Way::Forwarded),
        (Trigger::EdgeRising, Way::Automasked),
    ] {
        for kind in Kind::all() {
            let mut soc = machine(trigger);
            let guest = start(&mut soc, "guest", kind);
            let handles: Vec<_> = (0..DEVICES).map(|device| give(&mut soc, guest, device, way)).collect();
            for device in 0..DEVICES {
                ask(&mut soc, device, TIMES, Pace::Served);
            }
            soc.settle().unwrap();
            for handle in handles {
                each_served(&soc, handle, TIMES);
            }
        }
    }
}

#[test]
fn many_guests() {
    let mut soc = machine(Trigger::LevelHigh);
    let mut handles = Vec::new();
    for device in 0..DEVICES {
        let kind = Kind { vcpus: 1 + device as u16 % 3, ..Kind::PLAIN };
        let guest = start(&mut soc, &format!("guest {device}"), kind);
        let way = if device % 2 == 0 { Way::Forwarded } else { Way::Automasked };
        handles.push(give(&mut soc, guest, device, way));
        ask(&mut soc, device, TIMES, Pace::Served);
    }
    soc.settle().unwrap();
    for handle in &handles {
        each_served(&soc, *handle, TIMES);
    }
    for guest in 1..=DEVICES {
        soc.kill(GuestHandle(guest));
    }
    assert_eq!(soc.remains(), InterruptRemains::default());
    for handle in handles {
        assert_eq!((soc.mode(handle), soc.counts(handle).delivered), (None, TIMES));
    }
}

#[test]
fn more_at_once_than_list_registers() {
    for trigger in [Trigger::LevelHigh, Trigger::EdgeRising] {
        for way in [Way::Forwarded, Way::Automasked] {
            for kind in Kind::all().filter(|kind| kind.vcpus == 1) {
                let mut soc = machine(trigger);
                let guest = start(&mut soc, "guest", kind);
                let handles: Vec<_> = (0..DEVICES).map(|device| give(&mut soc, guest, device, way)).collect();
                soc.settle().unwrap();
                for _ in 0..TIMES {
                    for device in 0..DEVICES {
                        ask(&mut soc, device, 1, Pace::AtOnce);
                    }
                    soc.settle().unwrap();
                    // Not so fast that it is a storm.
                    ask(&mut soc, 0, 1, Pace::Served);
                    soc.settle().unwrap();
                }
                each_served(&soc, handles[0], 2 * TIMES);
                for handle in &handles[1..] {
                    each_served(&soc, *handle, TIMES);
                }
                soc.kill(guest);
                assert_eq!(soc.remains(), InterruptRemains::default());
            }
        }
    }
}

#[test]
fn what_the_device_takes_back_before_the_guest_has_it_is_taken_back() {
    let mut soc = machine(Trigger::LevelHigh);
    let guest = start(&mut soc, "guest", Kind::PLAIN);
    let [first, second] = [0, 1].map(|device| give(&mut soc, guest, device, Way::Forwarded));
    soc.settle().unwrap();
    ask(&mut soc, 0, 1, Pace::Served);
    assert_eq!(soc.run_until(first, Stage::Pending), Ok(true));
    // The guest is entered with the interrupt pending, and leaves because of the other device before it takes it.
    soc.take_back(DeviceHandle(0), LINE);
    ask(&mut soc, 1, 1, Pace::AtOnce);
    soc.settle().unwrap();
    each_served(&soc, second, 1);
    assert_eq!((soc.counts(first).delivered, soc.counts(first).spurious), (0, 0));
    assert_eq!(soc.remains().active, 0, "or the device would never be heard again");
    ask(&mut soc, 0, 3, Pace::Served);
    soc.settle().unwrap();
    assert_eq!((soc.counts(first).delivered, soc.counts(first).spurious), (3, 0));
}

#[test]
fn edges_that_come_while_one_is_pending_are_one() {
    for way in [Way::Forwarded, Way::Automasked] {
        let (mut soc, _, handle) = one(Trigger::EdgeRising, Kind::PLAIN, way);
        ask(&mut soc, 0, 3, Pace::AtOnce);
        soc.settle().unwrap();
        all_served(&soc, handle, 3);
    }
}

#[test]
fn a_storm_is_shut_and_others_are_served() {
    for (trigger, way) in [
        (Trigger::LevelHigh, Way::Forwarded),
        (Trigger::LevelHigh, Way::Automasked),
        (Trigger::EdgeRising, Way::Forwarded),
        (Trigger::EdgeRising, Way::Automasked),
    ] {
        let mut soc = machine(trigger);
        let guests = [start(&mut soc, "stormed", Kind::PLAIN), start(&mut soc, "quiet", Kind::PLAIN)];
        let [stormed, quiet] = [0, 1].map(|one| give(&mut soc, guests[one as usize], one, way));
        ask(&mut soc, 0, 10_000, Pace::AtOnce);
        ask(&mut soc, 1, TIMES, Pace::Served);
        soc.settle().unwrap();
        each_served(&soc, quiet, TIMES);
        let counts = soc.counts(stormed);
        assert_eq!(counts.shut, 1, "{trigger:?} {way:?} {counts:?}");
        assert!(counts.lost > 0 && counts.delivered < counts.asked, "{counts:?}");
        // The line is nobody's storm any more when the guest is gone.
        soc.kill(guests[0]);
        soc.kill(guests[1]);
        assert_eq!(soc.remains(), InterruptRemains::default());
        let next = start(&mut soc, "next", Kind::PLAIN);
        let handle = give(&mut soc, next, 0, way);
        ask(&mut soc, 0, TIMES, Pace::Served);
        soc.settle().unwrap();
        each_served(&soc, handle, TIMES);
    }
}

#[test]
fn what_is_taken_is_not_given_again() {
    let (mut soc, first, _) = one(Trigger::LevelHigh, Kind::PLAIN, Way::Forwarded);
    let second = start(&mut soc, "second", Kind::PLAIN);
    let refused = try_give(&mut soc, second, 0, Way::Forwarded).unwrap_err();
    assert!(refused.to_string().contains("`guest`"), "{refused}");
    assert!(try_give(&mut soc, first, 0, Way::Forwarded).is_err());
    assert!(try_give(&mut soc, GuestHandle(99), 1, Way::Forwarded).is_err());
    assert!(try_give(&mut soc, second, 99, Way::Forwarded).is_err());
    let same_gsi = AssignmentRequest {
        device: DeviceHandle(1),
        interrupt: LINE,
        guest: first,
        gsi: 100,
        way: Way::Forwarded,
    };
    assert!(soc.assign(&same_gsi).is_err());
    for gsi in [988, u32::MAX] {
        assert!(soc.assign(&AssignmentRequest { gsi, ..same_gsi }).is_err());
    }
    let subindex = DeviceInterrupt { index: 0, subindex: 1 };
    assert!(soc.assign(&AssignmentRequest { interrupt: subindex, gsi: 5, ..same_gsi }).is_err());
    for vcpus in [0, 9] {
        let request = GuestRequest {
            name: String::new(),
            vcpus,
            quieting: Quieting::BeforeEnd,
            end: GuestEnd::Together,
        };
        assert!(soc.start_guest(&request).is_err());
    }
    assert!(soc.ask(DeviceHandle(99), LINE, 1, Pace::Served).is_err());
    soc.kill(first);
    soc.kill(first);
    soc.kill(second);
    assert_eq!(soc.remains(), InterruptRemains::default());
}

#[test]
fn an_interrupt_that_is_nobodys_is_the_hosts() {
    let mut soc = machine(Trigger::LevelHigh);
    ask(&mut soc, 2, 3, Pace::Served);
    let mut numbers = Vec::new();
    while let Some(event) = soc.next_event().unwrap() {
        numbers.push(event);
    }
    assert_eq!(numbers, [Event::Interrupt { number: FIRST + 2 }; 3]);
    assert_eq!(soc.remains(), InterruptRemains::default());
}

#[test]
fn lines_are_those_of_masters() {
    let mut soc = machine(Trigger::EdgeRising);
    let lines = soc.interrupts().unwrap().lines().to_vec();
    let hosts: Vec<_> = lines.iter().map(|line| (line.device.0, line.host.0, line.interrupt)).collect();
    assert_eq!(hosts, (0..DEVICES).map(|device| (device, FIRST + device, LINE)).collect::<Vec<_>>());
    assert!(lines.iter().all(|line| line.sense == vcm_irq::Sense::Edge));
}
