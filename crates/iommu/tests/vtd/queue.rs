//! The invalidation queue of hardware that misbehaves.

use crate::domains::{KINDS, stage};
use crate::fake::{
    CAP, DEVICE, Driver, ECAP, Fake, GONE, NO_QUEUE, READ_WRITE, SCALABLE, config, second_stage,
};
use vcm::{PhysicalAddress, Span};
use vcm_iommu::vtd::{Config, Mode};
use vcm_iommu::{
    DomainId, Invalidation, Iommu, IommuError, Reach, Registers, SharedMemory, StreamId, Translation,
};

const SID: u16 = DEVICE.0 as u16;
const IQT: u32 = 0x88;
const IQA: u32 = 0x90;

/// A domain with a page at 0x1000, and a device that has used it.
fn used(fake: &Fake, vtd: &mut Driver, first: bool, page: u64) -> (DomainId, u64) {
    let root = fake.table();
    fake.map(root, 4, 0x1000, 0x8000, page);
    let domain = vtd.create_domain(stage(first, root)).unwrap();
    vtd.attach(DEVICE, domain).unwrap();
    assert_eq!(fake.read(SID, 0x1000), Some(0x8000));
    (domain, root)
}

#[test]
fn the_queue_wraps() {
    for (ecap, mode, order, entries) in
        [(ECAP, Mode::Legacy, 0, 256), (SCALABLE, Mode::Scalable, 0, 128), (ECAP, Mode::Legacy, 2, 1024)]
    {
        let fake = Fake::new(CAP, ecap);
        let mut vtd = fake.probe(Config { queue_order: order, ..config(mode) });
        let (domain, root) = used(&fake, &mut vtd, false, READ_WRITE);
        let before = fake.get().unit.executed.len();
        for _ in 0..entries {
            fake.map(root, 4, 0x1000, 0x8000, READ_WRITE);
            assert!(fake.read(SID, 0x1000).is_some());
            fake.unmap(root, 4, 0x1000, 0);
            vtd.invalidate(domain, &Invalidation::Everything).unwrap();
            assert_eq!(fake.read(SID, 0x1000), None);
        }
        // One request and one wait each: twice around.
        assert_eq!(fake.get().unit.executed.len() - before, 2 * entries);
    }
}

#[test]
fn a_descriptor_that_is_refused_once_is_given_again() {
    for (ecap, mode, first, page) in KINDS {
        if ecap == NO_QUEUE {
            continue;
        }
        for refusals in 1..=2 {
            let fake = Fake::new(CAP, ecap);
            let mut vtd = fake.probe(config(mode));
            let (domain, root) = used(&fake, &mut vtd, first, page);
            fake.unmap(root, 4, 0x1000, 0);
            fake.get().unit.refusals = refusals;
            vtd.invalidate(domain, &Invalidation::Everything).unwrap();
            assert_eq!(fake.read(SID, 0x1000), None);
            assert!(vtd.queue_errors_recovered() >= 1);
        }
    }
}

#[test]
fn a_request_that_is_always_refused_does_not_stop_others() {
    for (ecap, mode) in [(ECAP, Mode::Legacy), (SCALABLE, Mode::Scalable)] {
        let fake = Fake::new(CAP, ecap);
        let mut vtd = fake.probe(config(mode));
        let (domain, root) = used(&fake, &mut vtd, false, READ_WRITE);
        fake.unmap(root, 4, 0x1000, 0);
        // Page-selective.
        fake.get().unit.refused = Some((2, 3));
        let spans = [Span::inclusive(0x1000, 0x1fff).unwrap()];
        let pages = Invalidation::Addresses { spans: &spans, granule: 0x1000, reach: Reach::Pages };
        for _ in 0..3 {
            vtd.invalidate(domain, &pages).unwrap_err();
            assert_eq!(fake.read(SID, 0x1000), Some(0x8000));
        }
        vtd.invalidate(domain, &Invalidation::Everything).unwrap();
        assert_eq!(fake.read(SID, 0x1000), None);
    }
}

#[test]
fn hardware_that_refuses_everything_is_reported_and_forgiven() {
    let fake = Fake::new(CAP, ECAP);
    let mut vtd = fake.probe(config(Mode::Legacy));
    let (domain, root) = used(&fake, &mut vtd, false, READ_WRITE);
    fake.unmap(root, 4, 0x1000, 0);
    fake.get().unit.refusals = usize::MAX;
    for _ in 0..3 {
        vtd.invalidate(domain, &Invalidation::Everything).unwrap_err();
        vtd.recover().unwrap_err();
    }
    fake.get().unit.refusals = 0;
    vtd.invalidate(domain, &Invalidation::Everything).unwrap();
    assert_eq!(fake.read(SID, 0x1000), None);
}

#[test]
fn a_descriptor_from_behind_the_drivers_back_does_not_stop_the_queue() {
    for (ecap, mode) in [(ECAP, Mode::Legacy), (SCALABLE, Mode::Scalable)] {
        let fake = Fake::new(CAP, ecap);
        let mut vtd = fake.probe(config(mode));
        let (domain, root) = used(&fake, &mut vtd, false, READ_WRITE);
        let (mut registers, mut memory) = (fake.clone(), fake.clone());
        let base = Registers::read64(&mut registers, IQA) & !0xfff;
        let tail = Registers::read64(&mut registers, IQT);
        SharedMemory::write64(&mut memory, PhysicalAddress::new(base + tail), 0xf);
        let step = if mode == Mode::Scalable { 32 } else { 16 };
        Registers::write64(&mut registers, IQT, tail + step);
        assert_eq!(fake.get().unit.fsts & 0x10, 0x10);
        fake.unmap(root, 4, 0x1000, 0);
        vtd.invalidate(domain, &Invalidation::Everything).unwrap();
        assert_eq!(fake.read(SID, 0x1000), None);
        assert_eq!(vtd.queue_errors_recovered(), 1);
        assert_eq!(fake.get().unit.fsts & 0x10, 0);
    }
}

#[test]
fn what_did_not_complete_stays_taken_and_can_be_repeated() {
    for (ecap, mode, first, page) in KINDS {
        if ecap == NO_QUEUE {
            continue;
        }
        let fake = Fake::new(CAP & !7, ecap);
        let mut vtd = fake.probe(config(mode));
        let (domain, root) = used(&fake, &mut vtd, first, page);
        fake.get().unit.lost_waits = 1;
        fake.unmap(root, 4, 0x1000, 0);
        vtd.invalidate(domain, &Invalidation::Everything).unwrap_err();
        vtd.invalidate(domain, &Invalidation::Everything).unwrap();

        fake.get().unit.lost_waits = 2;
        vtd.detach(DEVICE).unwrap_err();
        let in_use = IommuError::InUse { domain, stream: DEVICE };
        assert_eq!(vtd.destroy_domain(domain), Err(in_use), "the device may use it still");
        let other = vtd.create_domain(Translation::Identity).unwrap();
        assert!(matches!(vtd.attach(DEVICE, other), Err(IommuError::Unresponsive(_))));
        vtd.detach(DEVICE).unwrap();
        vtd.detach(DEVICE).unwrap();

        fake.get().unit.lost_waits = 1;
        let live = fake.get().memory.live();
        assert!(matches!(vtd.destroy_domain(domain), Err(IommuError::Unresponsive(_))));
        assert_eq!(fake.get().memory.live(), live, "its tables may be cached still");
        // Its number is not given to others: 15 less this one and the identity domain's.
        let made: Vec<_> = (0..13).map(|_| vtd.create_domain(Translation::Identity).unwrap()).collect();
        assert_eq!(vtd.create_domain(Translation::Identity), Err(IommuError::NoFreeSlot(15)));
        vtd.destroy_domain(domain).unwrap();
        vtd.create_domain(Translation::Identity).unwrap();
        for domain in made {
            vtd.destroy_domain(domain).unwrap();
        }
    }
}

#[test]
fn recovery_lets_go_of_those_that_were_leaving() {
    for (ecap, mode, first, page) in KINDS {
        if ecap == NO_QUEUE {
            continue;
        }
        let fake = Fake::new(CAP, ecap);
        let mut vtd = fake.probe(config(mode));
        let (domain, _) = used(&fake, &mut vtd, first, page);
        fake.get().unit.lost_waits = 1;
        vtd.detach(DEVICE).unwrap_err();
        vtd.recover().unwrap();
        vtd.destroy_domain(domain).unwrap();
        assert_eq!(fake.get().unit.caches.len(), 0);
    }
}

#[test]
fn a_head_that_makes_no_sense_is_not_followed() {
    let fake = Fake::new(CAP, ECAP);
    let mut vtd = fake.probe(config(Mode::Legacy));
    let (domain, root) = used(&fake, &mut vtd, false, READ_WRITE);
    fake.unmap(root, 4, 0x1000, 0);
    for head in [8, 4096, 1 << 40, u64::MAX] {
        fake.get().unit.lost_waits = 1;
        vtd.invalidate(domain, &Invalidation::Everything).unwrap_err();
        fake.get().unit.false_head = Some(head);
        vtd.invalidate(domain, &Invalidation::Everything).unwrap_err();
        vtd.recover().unwrap_err();
        fake.get().unit.false_head = None;
        vtd.invalidate(domain, &Invalidation::Everything).unwrap();
    }
}

#[test]
fn errors_of_device_tlbs_do_not_stop_the_queue() {
    for error in [1 << 5, 1 << 6] {
        let fake = Fake::new(CAP, ECAP);
        let mut vtd = fake.probe(config(Mode::Legacy));
        let (domain, _) = used(&fake, &mut vtd, false, READ_WRITE);
        fake.get().unit.fsts |= error;
        vtd.invalidate(domain, &Invalidation::Everything).unwrap();
        assert_eq!(fake.get().unit.fsts & 0x70, 0);
    }
}

#[test]
fn commands_that_are_not_followed_are_noticed() {
    // TE, SRTP, QIE.
    for bit in [31, 30, 26] {
        let fake = Fake::new(CAP, ECAP);
        fake.get().unit.deaf_to = 1 << bit;
        let error = Driver::probe(fake.clone(), fake.clone(), config(Mode::Legacy)).map(drop);
        assert!(error.is_err(), "bit {bit}");
    }
}

#[test]
fn registers_that_tell_of_less_than_was_asked_for_are_not_believed() {
    let fake = Fake::new(CAP, NO_QUEUE);
    let mut vtd = fake.probe(config(Mode::Legacy));
    let domain = vtd.create_domain(second_stage(fake.table(), 4)).unwrap();
    for (told, good) in [(0, false), (1, true), (2, true), (3, false)] {
        fake.get().unit.told = Some(told);
        assert_eq!(vtd.invalidate(domain, &Invalidation::Everything).is_ok(), good, "{told}");
    }
}

#[test]
fn a_gone_unit_is_gone() {
    for silence in [0, GONE] {
        for (ecap, mode, first, page) in KINDS {
            let fake = Fake::new(CAP, ecap);
            let mut vtd = fake.probe(config(mode));
            let (domain, root) = used(&fake, &mut vtd, first, page);
            fake.get().unit.lives = Some(0);
            fake.get().unit.silence = silence;
            vtd.invalidate(domain, &Invalidation::Everything).unwrap_err();
            vtd.detach(DEVICE).unwrap_err();
            vtd.detach(DEVICE).unwrap_err();
            vtd.recover().unwrap_err();
            if silence == GONE {
                vtd.next_fault().unwrap_err();
            }
            fake.get().unit.lives = None;
            fake.get().unit.reset();
            vtd.recover().unwrap();
            // It was detached, and its domain can go.
            assert_eq!(fake.read(SID, 0x1000), None);
            vtd.attach(StreamId(0x11), domain).unwrap();
            assert_eq!(fake.read(0x11, 0x1000), Some(0x8000), "{root:#x}");
        }
    }
}
