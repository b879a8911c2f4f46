//! All orders in which devices, host, guest, user and control interface can act, to a depth, against what must hold in
//! every state; and from every state on, everything that was asked for is served.
//!
//! `VCM_EXPLORE_DEPTH` sets another depth for all of them. `--nocapture` shows how much was explored.

#[allow(dead_code, reason = "each test uses a part of the machine")]
mod explore;

use explore::action::{About, Action};
use explore::rig::Shape;
use explore::search::explore;
use vcm_irq::Sense;
use vcm_irq::host::StormLimit;
use vcm_irq::vgic::{CompletionBy, EndMode};

const JOINED: [Action; 3] =
    [Action::Join { device: 0 }, Action::Join { device: 1 }, Action::Join { device: 2 }];

#[test]
fn a_level_and_everything_that_control_does() {
    let shape = Shape { cpus: 2, ..Shape::default() };
    let about = About { control: true, user_masks: true, guest_masks: true, ..About::default() };
    let _ = explore("level, control", &shape, about, &JOINED[..1], 10);
}

#[test]
fn an_edge_and_everything_that_control_does() {
    let shape = Shape { devices: vec![Sense::Edge], cpus: 2, ..Shape::default() };
    let about = About { control: true, user_masks: true, guest_masks: true, ..About::default() };
    let _ = explore("edge, control", &shape, about, &JOINED[..1], 10);
}

#[test]
fn what_the_guest_writes() {
    for sense in [Sense::Level, Sense::Edge] {
        let shape = Shape { devices: vec![sense], ..Shape::default() };
        let about = About { guest_masks: true, guest_writes: true, control: true, ..About::default() };
        let _ = explore("guest writes", &shape, about, &JOINED[..1], 7);
    }
}

#[test]
fn two_vcpus_and_ends_apart() {
    for sense in [Sense::Level, Sense::Edge] {
        let shape =
            Shape { devices: vec![sense], cpus: 2, vcpus: 2, ends: EndMode::Apart, ..Shape::default() };
        let about = About { moves: true, control: true, ..About::default() };
        let _ = explore("two vCPUs, ends apart", &shape, about, &JOINED[..1], 7);
    }
}

#[test]
fn more_interrupts_than_list_registers() {
    for ends in [EndMode::Together, EndMode::Apart] {
        let devices = vec![Sense::Level, Sense::Edge, Sense::Level];
        let shape = Shape { devices, registers: 1, ends, ..Shape::default() };
        let about = About { software: true, ..About::default() };
        let _ = explore("one list register", &shape, about, &JOINED, 10);
    }
}

#[test]
fn more_interrupts_than_list_registers_on_two_vcpus() {
    let devices = vec![Sense::Level, Sense::Level];
    let shape = Shape { devices, registers: 1, cpus: 2, vcpus: 2, ..Shape::default() };
    let about = About { moves: true, ..About::default() };
    let _ = explore("one list register, two vCPUs", &shape, about, &JOINED[..2], 7);
}

#[test]
fn parted_with_interrupts_outside() {
    let devices = vec![Sense::Level, Sense::Level];
    let shape = Shape { devices, registers: 1, ..Shape::default() };
    let about = About { control: true, ..About::default() };
    let _ = explore("one list register, control", &shape, about, &JOINED[..2], 8);
}

#[test]
fn completed_by_the_host() {
    for sense in [Sense::Level, Sense::Edge] {
        let shape = Shape { devices: vec![sense], completion: CompletionBy::Host, ..Shape::default() };
        let about = About { control: true, guest_masks: true, user_masks: true, ..About::default() };
        let _ = explore("completed by the host", &shape, about, &JOINED[..1], 10);
    }
}

#[test]
fn two_vcpus_and_what_they_write() {
    for sense in [Sense::Level, Sense::Edge] {
        let shape = Shape { devices: vec![sense], cpus: 2, vcpus: 2, ..Shape::default() };
        let about =
            About { moves: true, control: true, guest_masks: true, guest_writes: true, ..About::default() };
        let _ = explore("two vCPUs, guest writes", &shape, about, &JOINED[..1], 5);
    }
}

#[test]
fn two_vcpus_take_turns_on_one_cpu() {
    for sense in [Sense::Level, Sense::Edge] {
        let shape = Shape { devices: vec![sense; 2], vcpus: 2, registers: 1, ..Shape::default() };
        let about = About { moves: true, control: true, ..About::default() };
        let _ = explore("two vCPUs take turns", &shape, about, &JOINED[..2], 6);
    }
}

#[test]
fn handlers_that_come_late() {
    for sense in [Sense::Level, Sense::Edge] {
        let shape = Shape { devices: vec![sense], cpus: 2, ..Shape::default() };
        let about = About { control: true, user_masks: true, late: true, ..About::default() };
        let _ = explore("late handlers", &shape, about, &JOINED[..1], 8);
    }
}

#[test]
fn handlers_that_come_late_and_guests_that_mask() {
    for sense in [Sense::Level, Sense::Edge] {
        let shape = Shape { devices: vec![sense], cpus: 2, ..Shape::default() };
        let about = About { late: true, guest_masks: true, ..About::default() };
        let _ = explore("late handlers, guest masks", &shape, about, &JOINED[..1], 14);
    }
}

#[test]
fn storms() {
    for sense in [Sense::Level, Sense::Edge] {
        let storm = StormLimit { interrupts: 1, period: 1000 };
        let shape = Shape { devices: vec![sense], storm, ..Shape::default() };
        let about = About { control: true, guest_masks: true, storms: true, ..About::default() };
        let _ = explore("storms", &shape, about, &JOINED[..1], 10);
    }
}
