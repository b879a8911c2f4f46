//! The host's own interrupts while guests run: faults of SMMUs, ends of transfers.

mod forwarding_common;
use forwarding_common::*;
use vcm::{Answer, Attributes, Hardware, Part, PhysicalAddress, Privilege, Segment, Segments, SpaceHandle};
use vcm_platform::{Layout, Outcome, Surface, Transfer};

const AT: u64 = 0x1000_0000;
const PAGE: u64 = 0x1000;

/// A space of a device, with nothing mapped.
fn space(soc: &mut Soc, device: u32) -> SpaceHandle {
    let kind = soc.devices()[device as usize].kind;
    let format = soc.format(DeviceHandle(device), Part::Whole).unwrap();
    let space = soc.create_space(kind, format, format.addresses).unwrap();
    soc.attach(space, DeviceHandle(device), Part::Whole).unwrap();
    space
}

fn write(len: u64) -> Transfer {
    Transfer::Write { to: Surface { address: AT, layout: Layout::Linear { len } }, seed: 1 }
}

#[test]
fn faults_come_while_guests_run() {
    let mut soc = machine(Trigger::LevelHigh);
    let kind = Kind { vcpus: 4, ..Kind::PLAIN };
    let guest = start(&mut soc, "guest", kind);
    let handles = [1, 2, 3].map(|device| give(&mut soc, guest, device, Way::Forwarded));
    for device in 1..4 {
        ask(&mut soc, device, 200, Pace::Served);
    }
    let space = space(&mut soc, 0);
    soc.start(DeviceHandle(0), &write(16 * PAGE), Privilege::User).unwrap();
    let (mut faults, mut own) = (0, 0);
    let memory = soc.memories()[0].span.first();
    while let Some(event) = soc.next_event().unwrap() {
        match event {
            Event::Fault { token, fault } => {
                faults += 1;
                let page = fault.address & !(PAGE - 1);
                let block = [Segment { base: PhysicalAddress::new(memory + (page - AT)), len: PAGE }];
                soc.map(space, page, Segments::new(&block, 0, PAGE), Attributes::READ_WRITE).unwrap();
                soc.answer(token, Answer::Retry);
            }
            Event::Interrupt { number } => {
                assert_eq!(number, FIRST);
                own += 1;
            }
            Event::Completed { report, .. } => assert_eq!(report.outcome, Outcome::Completed),
            Event::Progress { .. } => {}
        }
    }
    assert_eq!((faults, own), (16, 1));
    for handle in handles {
        each_served(&soc, handle, 200);
    }
    soc.kill(guest);
    assert_eq!(soc.remains(), InterruptRemains::default());
}

#[test]
fn the_end_of_a_transfer_interrupts_the_guest_that_has_the_device() {
    for way in [Way::Forwarded, Way::Automasked] {
        let (mut soc, _, handle) = one(Trigger::LevelHigh, Kind::PLAIN, way);
        let space = space(&mut soc, 0);
        let block = [Segment { base: PhysicalAddress::new(soc.memories()[0].span.first()), len: PAGE }];
        soc.map(space, AT, Segments::new(&block, 0, PAGE), Attributes::READ_WRITE).unwrap();
        for _ in 0..3 {
            soc.start(DeviceHandle(0), &write(PAGE), Privilege::User).unwrap();
            let mut events = Vec::new();
            while let Some(event) = soc.next_event().unwrap() {
                events.push(event);
            }
            assert!(matches!(events[..], [Event::Completed { .. }]), "{events:?}");
        }
        each_served(&soc, handle, 3);
    }
}
