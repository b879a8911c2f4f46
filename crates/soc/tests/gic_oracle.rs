//! What software must not do to a GIC is found, and told as a story.

mod gic_common;
use gic_common::*;

fn load(gic: &mut Gic, index: u32, value: u32) {
    gic.hyp(0, gich::LR + 4 * index, value);
}

#[test]
fn a_forwarded_interrupt_that_is_pending_and_active() {
    let mut gic = running(1, 64);
    gic.one(gicd::ISACTIVER, 40);
    load(&mut gic, 2, physical(40) | PENDING | ACTIVE | 50);
    let kind = FindingKind::HardwarePendingAndActive { list_register: 2, virtual_id: 50, physical_id: 40 };
    assert_eq!(gic.findings()[0].cpu, 0);
    assert_eq!(gic.kinds(), [kind]);
    gic.hyp_read(0, gich::VTR);
    assert_eq!(gic.kinds(), [], "told once");
    load(&mut gic, 2, 0);
    load(&mut gic, 2, physical(40) | PENDING | ACTIVE | 50);
    assert_eq!(gic.kinds(), [kind], "and again when it is so again");
}

#[test]
fn a_forwarded_interrupt_whose_physical_one_is_not_active() {
    let kind = FindingKind::HardwareNotActive { list_register: 0, virtual_id: 50, physical_id: 40 };
    for state in [PENDING, ACTIVE] {
        let mut gic = running(1, 64);
        gic.hyp(0, gich::HCR, 0);
        load(&mut gic, 0, physical(40) | state | 50);
        assert_eq!(gic.kinds(), [], "no guest sees it");
        gic.hyp(0, gich::HCR, 1);
        assert_eq!(gic.kinds(), [kind]);
    }
    // It stops to be active while the guest has it.
    let mut gic = running(1, 64);
    gic.one(gicd::ISACTIVER, 40);
    load(&mut gic, 0, physical(40) | PENDING | 50);
    assert_eq!(gic.kinds(), []);
    gic.one(gicd::ICACTIVER, 40);
    assert_eq!(
        gic.take_finding().unwrap().to_string(),
        "gic: cpu 0, at access 8: list register 0 has virtual interrupt 50 for a guest, and its physical \
         interrupt 40 is not active"
    );
}

#[test]
fn one_virtual_interrupt_in_two_list_registers() {
    let mut gic = running(2, 64);
    load(&mut gic, 0, PENDING | 50);
    load(&mut gic, 3, 50);
    gic.hyp(1, gich::LR, PENDING | 50);
    assert_eq!(gic.kinds(), [], "one of the two is free, another is of another CPU");
    load(&mut gic, 3, ACTIVE | 50);
    assert_eq!(gic.kinds(), [FindingKind::Duplicate { first: 0, second: 3, virtual_id: 50 }]);
}

#[test]
fn a_physical_number_that_cannot_be_forwarded() {
    for physical_id in [0, 15, 64, 1023] {
        let mut gic = running(1, 64);
        load(&mut gic, 1, physical(physical_id) | PENDING | 50);
        let kind = FindingKind::HardwareWithoutInterrupt { list_register: 1, virtual_id: 50, physical_id };
        assert_eq!(gic.kinds(), [kind]);
        assert_eq!(gic.guest_read(0, gicc::IAR), 50);
        let before = gic.dist_read(0, gicd::ISACTIVER);
        gic.guest(0, gicc::EOIR, 50);
        assert_eq!(gic.dist_read(0, gicd::ISACTIVER), before);
        assert_eq!(gic.kinds(), []);
    }
}

#[test]
fn an_interrupt_that_is_deactivated_twice() {
    let mut gic = running(1, 64);
    gic.cpu(0, gicc::CTLR, gicc::CTLR_EOI_MODE | 1);
    gic.enable(40, 0x80);
    gic.set_line(40, High).unwrap();
    assert_eq!(gic.acknowledge(0), 40);
    gic.cpu(0, gicc::EOIR, 40);
    load(&mut gic, 0, physical(40) | PENDING | 50);
    assert_eq!(gic.guest_read(0, gicc::IAR), 50);
    gic.hyp(0, gich::HCR, 0);
    gic.cpu(0, gicc::DIR, 40);
    assert_eq!(gic.kinds(), []);
    gic.guest(0, gicc::EOIR, 50);
    let by = Deactivation::ListRegister { list_register: 0, virtual_id: 50 };
    assert_eq!(gic.kinds(), [FindingKind::DeactivatedTwice { interrupt: 40, by }]);
    gic.cpu(0, gicc::DIR, 40);
    let by = Deactivation::Register;
    assert_eq!(gic.kinds(), [FindingKind::DeactivatedTwice { interrupt: 40, by }]);
}

#[test]
fn an_end_that_is_not_of_what_runs() {
    let mut gic = running(1, 64);
    gic.cpu(0, gicc::EOIR, 40);
    assert_eq!(gic.kinds(), [FindingKind::EndOutOfOrder { ended: 40, running: None }]);
    gic.enable(40, 0x80);
    gic.enable(41, 0x40);
    gic.set_line(40, High).unwrap();
    gic.acknowledge(0);
    gic.set_line(41, High).unwrap();
    gic.acknowledge(0);
    gic.cpu(0, gicc::EOIR, 40);
    assert_eq!(gic.kinds(), [FindingKind::EndOutOfOrder { ended: 40, running: Some(41) }]);
    gic.cpu(0, gicc::EOIR, 41);
    assert_eq!(gic.kinds(), []);
    // An SGI is ended with its source.
    let mut gic = running(2, 32);
    gic.dist(1, gicd::SGIR, 1 << 16 | 4);
    assert_eq!(gic.acknowledge(0), 1 << 10 | 4);
    gic.cpu(0, gicc::EOIR, 4);
    let kind = FindingKind::EndOutOfOrder { ended: 4, running: Some(1 << 10 | 4) };
    assert_eq!(gic.kinds(), [kind]);
}

#[test]
fn findings_are_bounded_and_the_first_is_kept() {
    let mut gic = running(1, 64);
    for id in 32..64 {
        for _ in 0..10 {
            gic.cpu(0, gicc::EOIR, id);
        }
    }
    assert_eq!(gic.findings().len(), 64);
    assert_eq!(gic.findings()[0].kind, FindingKind::EndOutOfOrder { ended: 32, running: None });
}

#[test]
fn a_copy_goes_its_own_way() {
    let mut gic = running(1, 64);
    gic.enable(40, 0x80);
    gic.set_line(40, High).unwrap();
    let mut copy = gic.clone();
    assert_eq!(copy, gic);
    assert_eq!(copy.acknowledge(0), 40);
    assert_ne!(copy.state(), gic.state());
    assert_eq!((copy.irq(0), gic.irq(0)), (Low, High));
    // Counters are not part of the state.
    gic.cpu_read(0, gicc::RPR);
    let state = gic.state().clone();
    gic.cpu_read(0, gicc::RPR);
    assert_eq!(*gic.state(), state);
}
