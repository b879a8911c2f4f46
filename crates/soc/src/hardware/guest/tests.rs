//! What the guest's software does, access by access.

use super::*;
use crate::hardware::gic::registers::cpu_interface::SPURIOUS;

const NUMBER_40: u32 = 40;

fn place(action: Action) -> Place {
    match action {
        Action::Read(place) | Action::Write(place, _) => place,
        Action::Wait => panic!("it waits"),
    }
}

/// Lets it do what it does until it waits; every read gives 0.
fn quiet(software: &mut Software) {
    while software.next(0, Level::Low) != Action::Wait {
        software.done(0, Level::Low, 0);
    }
}

fn with_driver(quieting: Quieting, end: GuestEnd) -> Software {
    let mut software = Software::new(1, quieting, end);
    software.plug(7, NUMBER_40, Signalling::Level, 0);
    quiet(&mut software);
    software
}

/// The interrupt comes, and the device has asked once; the accesses that follow.
fn take(software: &mut Software) -> Vec<Action> {
    assert_eq!(software.next(0, Level::High), Action::Read(Place::Interface { offset: IAR }));
    software.done(0, Level::High, NUMBER_40);
    let mut actions = Vec::new();
    while software.next(0, Level::Low) != Action::Wait {
        actions.push(software.next(0, Level::Low));
        software.done(0, Level::Low, 1);
    }
    actions
}

#[test]
fn it_sets_up_its_controller() {
    let mut software = Software::new(1, Quieting::BeforeEnd, GuestEnd::Apart);
    software.plug(7, NUMBER_40, Signalling::Pulse, 0);
    let mut actions = Vec::new();
    while software.next(0, Level::Low) != Action::Wait {
        actions.push(software.next(0, Level::Low));
        software.done(0, Level::Low, 0x55);
    }
    let configuration = Place::Distributor { offset: 0xc08, width: Width::Word };
    assert!(actions.contains(&Action::Write(Place::Interface { offset: CTLR }, 1 | 1 << 9)));
    assert!(actions.contains(&Action::Write(configuration, 0x55 | 2 << 16)));
    let enable = Place::Distributor { offset: 0x104, width: Width::Word };
    assert_eq!(actions.last(), Some(&Action::Write(enable, 1 << 8)));
}

#[test]
fn devices_are_contented_when_the_guest_does_so() {
    let device = Place::Device { device: 7 };
    let end = Place::Interface { offset: EOIR };
    let [mask, unmask] =
        [ICENABLER + 4, ISENABLER + 4].map(|offset| Place::Distributor { offset, width: Width::Word });
    for (quieting, expected) in [
        (Quieting::BeforeEnd, vec![device, device, end]),
        (Quieting::AfterEnd, vec![device, end, device]),
        (Quieting::Oneshot, vec![device, mask, end, device, unmask]),
    ] {
        let mut software = with_driver(quieting, GuestEnd::Together);
        let places: Vec<_> = take(&mut software).into_iter().map(place).collect();
        assert_eq!(places, expected);
        let driver = software.driver(NUMBER_40).unwrap();
        assert_eq!((driver.delivered, driver.spurious, driver.service), (1, 0, Service::Rests));
    }
}

#[test]
fn with_ends_apart_service_lasts_until_the_deactivation() {
    let mut software = with_driver(Quieting::BeforeEnd, GuestEnd::Apart);
    software.done(0, Level::High, NUMBER_40);
    for _ in 0..3 {
        software.done(0, Level::Low, 1);
    }
    assert_eq!(software.driver(NUMBER_40).unwrap().service, Service::Runs);
    assert_eq!(software.next(0, Level::High), Action::Write(Place::Interface { offset: DIR }, NUMBER_40));
    software.done(0, Level::High, 0);
    assert_eq!(software.driver(NUMBER_40).unwrap().service, Service::Rests);
}

#[test]
fn an_interrupt_comes_before_what_threads_do_and_not_within_a_handler() {
    let mut software = with_driver(Quieting::Oneshot, GuestEnd::Together);
    software.done(0, Level::High, NUMBER_40);
    // Status, mask, end: then the thread is next, unless there is an interrupt.
    for _ in 0..3 {
        assert_ne!(software.next(0, Level::High), Action::Read(Place::Interface { offset: IAR }));
        software.done(0, Level::High, 1);
    }
    assert_eq!(software.next(0, Level::Low), Action::Write(Place::Device { device: 7 }, 1));
    assert_eq!(software.next(0, Level::High), Action::Read(Place::Interface { offset: IAR }));
    software.done(0, Level::High, SPURIOUS);
    assert_eq!(software.nothing(), 1);
}
