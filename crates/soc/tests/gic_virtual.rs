//! Virtual interrupts: list registers, forwarding with the HW bit, both EOI modes on both sides, maintenance.

mod gic_common;
use gic_common::*;

/// The host takes interrupt `id` on CPU 0, and drops its priority only.
fn host_takes(gic: &mut Gic, id: u32) {
    gic.cpu(0, gicc::CTLR, gicc::CTLR_EOI_MODE | 3);
    gic.enable(id, 0x80);
    gic.set_line(id, High).unwrap();
    assert_eq!(gic.acknowledge(0), id);
    gic.cpu(0, gicc::EOIR, id);
    assert_eq!(gic.irq(0), Low);
}

fn load(gic: &mut Gic, index: u32, value: u32) {
    gic.hyp(0, gich::LR + 4 * index, value);
}

#[test]
fn a_forwarded_interrupt_is_ended_by_the_guest_alone() {
    let mut gic = running(1, 64);
    host_takes(&mut gic, 40);
    load(&mut gic, 0, physical(40) | PENDING | priority(0x40) | 50);
    assert_eq!((gic.virtual_irq(0), gic.guest_read(0, gicc::HPPIR)), (High, 50));
    assert_eq!((gic.guest_read(0, gicc::IAR), gic.guest_read(0, gicc::RPR)), (50, 0x40));
    assert_eq!((gic.virtual_irq(0), gic.list_register(0) >> 28), (Low, 0b1010));
    gic.set_line(40, Low).unwrap();
    gic.guest(0, gicc::EOIR, 50);
    assert_eq!((gic.list_register(0) >> 28, gic.guest_read(0, gicc::RPR)), (0b1000, 0xff));
    assert!(!gic.bit(gicd::ISACTIVER, 40));
    assert_eq!((gic.irq(0), gic.maintenance(0)), (Low, Low));
    assert_eq!(gic.hyp_read(0, gich::ELRSR0), 0xf);
    let counters = gic.counters(0);
    assert_eq!((counters.acknowledged, counters.virtual_acknowledged, counters.maintenance), (1, 1, 0));
    gic.clean();
}

#[test]
fn a_line_still_high_at_the_guests_end_is_signalled_again_at_once() {
    let mut gic = running(1, 64);
    host_takes(&mut gic, 40);
    load(&mut gic, 0, physical(40) | PENDING | 50);
    assert_eq!(gic.guest_read(0, gicc::IAR), 50);
    assert_eq!(gic.irq(0), Low, "active blocks the line");
    gic.guest(0, gicc::EOIR, 50);
    assert_eq!((gic.irq(0), gic.acknowledge(0)), (High, 40));
    gic.clean();
}

#[test]
fn an_edge_during_the_guests_handler_comes_after_its_end() {
    let mut gic = running(1, 64);
    gic.dist(0, gicd::ICFGR + 8, 2 << 16);
    host_takes(&mut gic, 40);
    load(&mut gic, 0, physical(40) | PENDING | 50);
    assert_eq!(gic.guest_read(0, gicc::IAR), 50);
    gic.set_line(40, Low).unwrap();
    gic.set_line(40, High).unwrap();
    assert_eq!((gic.irq(0), gic.bit(gicd::ISPENDR, 40)), (Low, true));
    gic.guest(0, gicc::EOIR, 50);
    assert_eq!((gic.irq(0), gic.acknowledge(0)), (High, 40));
    gic.clean();
}

#[test]
fn with_the_guests_eoi_mode_its_dir_deactivates_the_physical_interrupt() {
    let mut gic = running(1, 64);
    host_takes(&mut gic, 40);
    gic.guest(0, gicc::CTLR, gicc::CTLR_EOI_MODE | 1);
    assert_eq!(gic.hyp_read(0, gich::VMCR) & 0x3ff, 0x201, "VEM");
    load(&mut gic, 0, physical(40) | PENDING | 50);
    assert_eq!(gic.guest_read(0, gicc::IAR), 50);
    gic.guest(0, gicc::EOIR, 50);
    assert_eq!((gic.guest_read(0, gicc::RPR), gic.list_register(0) >> 28), (0xff, 0b1010));
    assert!(gic.bit(gicd::ISACTIVER, 40));
    gic.guest(0, gicc::DIR, 50);
    assert_eq!((gic.list_register(0) >> 28, gic.irq(0)), (0b1000, High));
    gic.clean();
    gic.guest(0, gicc::CTLR, 1);
    gic.guest(0, gicc::DIR, 50);
    assert_eq!(gic.take_misuse().unwrap().what, "deactivation while GICV_CTLR.EOImode is clear");
}

#[test]
fn the_physical_eoi_mode_does_not_matter_to_the_guests_end() {
    let mut gic = running(1, 64);
    host_takes(&mut gic, 40);
    gic.cpu(0, gicc::CTLR, 3);
    load(&mut gic, 0, physical(40) | PENDING | 50);
    assert_eq!(gic.guest_read(0, gicc::IAR), 50);
    gic.guest(0, gicc::EOIR, 50);
    assert_eq!(gic.irq(0), High);
    gic.clean();
}

#[test]
fn a_private_interrupt_is_deactivated_on_the_guests_cpu() {
    let mut gic = running(2, 64);
    for cpu in 0..2 {
        gic.dist(cpu, gicd::ISENABLER, 1 << 27);
        gic.set_private_line(cpu, 27, High).unwrap();
        assert_eq!(gic.acknowledge(cpu), 27);
    }
    gic.hyp(1, gich::LR, physical(27) | ACTIVE | 27);
    gic.hyp(1, gich::APR, 1);
    gic.guest(1, gicc::EOIR, 27);
    assert_eq!((gic.dist_read(0, gicd::ISACTIVER), gic.dist_read(1, gicd::ISACTIVER)), (1 << 27, 0));
    gic.clean();
}

#[test]
fn a_software_interrupt_tells_of_its_end_if_asked() {
    let mut gic = running(1, 64);
    gic.dist(0, gicd::ISENABLER, 1 << 25);
    load(&mut gic, 1, PENDING | EOI | 60);
    load(&mut gic, 2, PENDING | 61);
    assert_eq!((gic.guest_read(0, gicc::IAR), gic.hyp_read(0, gich::ELRSR0)), (60, 0b1001));
    gic.guest(0, gicc::EOIR, 60);
    assert_eq!((gic.maintenance(0), gic.hyp_read(0, gich::MISR)), (High, 1));
    assert_eq!((gic.hyp_read(0, gich::EISR0), gic.hyp_read(0, gich::ELRSR0)), (0b10, 0b1001));
    assert_eq!((gic.irq(0), gic.acknowledge(0)), (High, 25), "the maintenance interrupt is a PPI");
    assert_eq!(gic.guest_read(0, gicc::IAR), 61);
    gic.guest(0, gicc::EOIR, 61);
    assert_eq!(gic.hyp_read(0, gich::EISR0), 0b10, "only if asked");
    load(&mut gic, 1, 0);
    assert_eq!((gic.maintenance(0), gic.hyp_read(0, gich::ELRSR0)), (Low, 0b1111));
    gic.cpu(0, gicc::EOIR, 25);
    assert_eq!((gic.irq(0), gic.counters(0).maintenance), (Low, 1));
    gic.clean();
}

#[test]
fn a_software_interrupt_that_is_pending_again_tells_after_the_last_end() {
    let mut gic = running(1, 64);
    load(&mut gic, 0, PENDING | EOI | 60);
    assert_eq!(gic.guest_read(0, gicc::IAR), 60);
    let loaded = gic.list_register(0);
    load(&mut gic, 0, loaded | PENDING);
    assert_eq!((gic.virtual_irq(0), gic.guest_read(0, gicc::IAR)), (Low, SPURIOUS), "active and pending");
    gic.guest(0, gicc::EOIR, 60);
    assert_eq!((gic.maintenance(0), gic.virtual_irq(0)), (Low, High));
    assert_eq!(gic.guest_read(0, gicc::IAR), 60);
    gic.guest(0, gicc::EOIR, 60);
    assert_eq!(gic.maintenance(0), High);
    gic.clean();
}

#[test]
fn an_interrupt_that_is_active_and_pending_waits_for_its_deactivation() {
    let mut gic = running(1, 64);
    gic.guest(0, gicc::CTLR, gicc::CTLR_EOI_MODE | 1);
    load(&mut gic, 0, PENDING | 60);
    assert_eq!(gic.guest_read(0, gicc::IAR), 60);
    gic.guest(0, gicc::EOIR, 60);
    let loaded = gic.list_register(0);
    load(&mut gic, 0, loaded | PENDING);
    assert_eq!((gic.virtual_irq(0), gic.guest_read(0, gicc::HPPIR)), (Low, SPURIOUS));
    gic.hyp(0, gich::HCR, gich::HCR_ENABLE | gich::HCR_NO_PENDING);
    assert_eq!(gic.maintenance(0), High, "nothing is pending alone");
    gic.guest(0, gicc::DIR, 60);
    assert_eq!((gic.virtual_irq(0), gic.maintenance(0)), (High, Low));
    gic.clean();
}

#[test]
fn without_the_hw_bit_no_physical_interrupt_is_deactivated() {
    let mut gic = running(8, 1020);
    // With the HW bit, the bits of EOI and of a source would be physical numbers.
    for (bits, id) in [(EOI, 512), (EOI | 7 << 10, 519), (40 << 10, 40)] {
        gic.one(gicd::ISACTIVER, id);
        load(&mut gic, 0, PENDING | bits | 3);
        let acknowledged = gic.guest_read(0, gicc::IAR);
        assert_eq!(acknowledged & 0x3ff, 3);
        gic.guest(0, gicc::EOIR, acknowledged);
        assert!(gic.bit(gicd::ISACTIVER, id), "{id}");
    }
    gic.clean();
}

#[test]
fn ends_of_interrupts_in_no_list_register_are_counted() {
    let mut gic = running(1, 64);
    gic.hyp(0, gich::HCR, gich::HCR_ENABLE | gich::HCR_NOT_PRESENT);
    load(&mut gic, 0, PENDING | 60);
    assert_eq!(gic.guest_read(0, gicc::IAR), 60);
    // The hypervisor spills it.
    load(&mut gic, 0, 0);
    assert_eq!(gic.maintenance(0), Low);
    gic.guest(0, gicc::EOIR, 60);
    assert_eq!(gic.hyp_read(0, gich::HCR) >> 27, 1);
    assert_eq!((gic.hyp_read(0, gich::MISR), gic.maintenance(0)), (4, High));
    gic.guest(0, gicc::EOIR, 60);
    assert_eq!(gic.hyp_read(0, gich::HCR) >> 27, 1, "an end that drops no priority does not count");
    gic.hyp(0, gich::HCR, gich::HCR_ENABLE | gich::HCR_NOT_PRESENT | 31 << 27);
    gic.hyp(0, gich::APR, 1);
    gic.guest(0, gicc::EOIR, 61);
    assert_eq!((gic.hyp_read(0, gich::HCR), gic.maintenance(0)), (5, Low), "past 31 comes 0");
    gic.clean();
}

#[test]
fn with_the_guests_eoi_mode_dir_is_counted_and_the_end_is_not() {
    let mut gic = running(1, 64);
    gic.guest(0, gicc::CTLR, gicc::CTLR_EOI_MODE | 1);
    load(&mut gic, 0, PENDING | 60);
    assert_eq!(gic.guest_read(0, gicc::IAR), 60);
    load(&mut gic, 0, PENDING | 61);
    gic.guest(0, gicc::EOIR, 60);
    assert_eq!(gic.hyp_read(0, gich::HCR) >> 27, 0);
    gic.guest(0, gicc::DIR, 60);
    assert_eq!(gic.hyp_read(0, gich::HCR) >> 27, 1);
    gic.guest(0, gicc::DIR, 61);
    assert_eq!(gic.hyp_read(0, gich::HCR) >> 27, 2, "pending alone is not active");
    gic.guest(0, gicc::DIR, SPURIOUS);
    assert_eq!(gic.hyp_read(0, gich::HCR) >> 27, 2);
    gic.clean();
}

#[test]
fn the_hypervisor_is_told_what_it_asks_for() {
    let mut gic = running(1, 64);
    let status = |gic: &mut Gic, enable: u32| {
        gic.hyp(0, gich::HCR, gich::HCR_ENABLE | enable);
        let status = gic.hyp_read(0, gich::MISR);
        assert_eq!(gic.maintenance(0) == High, status != 0);
        status
    };
    assert_eq!(status(&mut gic, 0xfe), 0b0101_1010, "underflow, no pending, groups 0 and 1 enabled");
    load(&mut gic, 0, PENDING | 60);
    assert_eq!(status(&mut gic, 0x0e), 0b0010, "one is still an underflow");
    load(&mut gic, 3, ACTIVE | 61);
    assert_eq!(status(&mut gic, 0x0e), 0);
    load(&mut gic, 0, ACTIVE | 60);
    assert_eq!(status(&mut gic, 0x0e), 0b1000);
    gic.guest(0, gicc::CTLR, 2);
    assert_eq!(status(&mut gic, 0xf0), 0b0110_0000, "group 0 disabled, group 1 enabled");
    gic.guest(0, gicc::CTLR, 1);
    assert_eq!(status(&mut gic, 0xf0), 0b1001_0000);
    gic.hyp(0, gich::HCR, 0xf0);
    assert_eq!((gic.hyp_read(0, gich::MISR), gic.maintenance(0)), (0b1001_0000, Low), "disabled");
    gic.clean();
}

#[test]
fn a_disabled_virtual_interface_is_silent() {
    let mut gic = running(1, 64);
    load(&mut gic, 0, PENDING | 60);
    gic.hyp(0, gich::HCR, 0);
    assert_eq!((gic.virtual_irq(0), gic.guest_read(0, gicc::IAR)), (Low, SPURIOUS));
    assert_eq!(gic.list_register(0), PENDING | 60);
    gic.hyp(0, gich::HCR, 1);
    assert_eq!(gic.virtual_irq(0), High);
    gic.clean();
}

#[test]
fn the_guests_registers_are_one_word_for_the_hypervisor() {
    let mut gic = running(1, 64);
    gic.guest(0, gicc::CTLR, 0x21f);
    gic.guest(0, gicc::PMR, 0xa8);
    gic.guest(0, gicc::BPR, 5);
    gic.guest(0, gicc::ABPR, 6);
    let saved = gic.hyp_read(0, gich::VMCR);
    assert_eq!(saved, 0xa8 << 24 | 5 << 21 | 6 << 18 | 0x21f);
    gic.hyp(0, gich::VMCR, 0);
    assert_eq!([gic.guest_read(0, 0), gic.guest_read(0, 4)], [0, 0]);
    assert_eq!([gic.guest_read(0, 8), gic.guest_read(0, 0x1c)], [2, 3], "the least that there is");
    gic.hyp(0, gich::VMCR, saved);
    assert_eq!([gic.guest_read(0, 0), gic.guest_read(0, 4)], [0x21f, 0xa8]);
    assert_eq!([gic.guest_read(0, 8), gic.guest_read(0, 0x1c)], [5, 6]);
    gic.hyp(0, gich::APR, 1 << 7);
    assert_eq!((gic.guest_read(0, gicc::RPR), gic.guest_read(0, gicc::APR)), (0x38, 1 << 7));
    gic.guest(0, gicc::APR, 0);
    assert_eq!(gic.hyp_read(0, gich::APR), 0);
    gic.clean();
}

#[test]
fn virtual_priorities_decide_as_physical_ones_do() {
    let mut gic = running(1, 64);
    load(&mut gic, 0, PENDING | priority(0x80) | 60);
    load(&mut gic, 1, PENDING | priority(0x40) | 61);
    load(&mut gic, 2, PENDING | priority(0x40) | 50);
    assert_eq!(gic.guest_read(0, gicc::IAR), 61, "of equals the first list register");
    assert_eq!((gic.virtual_irq(0), gic.guest_read(0, gicc::HPPIR)), (Low, 50));
    load(&mut gic, 3, PENDING | priority(0x38) | 62);
    assert_eq!((gic.virtual_irq(0), gic.guest_read(0, gicc::IAR)), (High, 62));
    assert_eq!(gic.hyp_read(0, gich::APR), 1 << 7 | 1 << 8);
    gic.guest(0, gicc::EOIR, 62);
    gic.guest(0, gicc::EOIR, 61);
    gic.guest(0, gicc::PMR, 0x40);
    assert_eq!((gic.virtual_irq(0), gic.guest_read(0, gicc::HPPIR)), (Low, 50));
    gic.guest(0, gicc::PMR, 0xff);
    assert_eq!(gic.guest_read(0, gicc::IAR), 50);
    gic.guest(0, gicc::EOIR, 50);
    assert_eq!(gic.guest_read(0, gicc::IAR), 60);
    gic.clean();
}

#[test]
fn virtual_groups_have_their_own_registers_and_signals() {
    let mut gic = running(1, 64);
    gic.guest(0, gicc::CTLR, gicc::CTLR_FIQ | 3);
    load(&mut gic, 0, PENDING | GROUP_1 | priority(0x40) | 60);
    load(&mut gic, 1, PENDING | priority(0x80) | 61);
    assert_eq!((gic.virtual_irq(0), gic.virtual_fiq(0)), (High, Low));
    assert_eq!((gic.guest_read(0, gicc::IAR), gic.guest_read(0, gicc::HPPIR)), (1022, 1022));
    assert_eq!((gic.guest_read(0, gicc::AHPPIR), gic.guest_read(0, gicc::AIAR)), (60, 60));
    gic.guest(0, gicc::AEOIR, 60);
    assert_eq!((gic.virtual_irq(0), gic.virtual_fiq(0)), (Low, High));
    assert_eq!((gic.guest_read(0, gicc::AIAR), gic.guest_read(0, gicc::IAR)), (SPURIOUS, 61));
    gic.clean();
    gic.guest(0, gicc::AEOIR, 61);
    assert!(gic.take_misuse().is_some() && gic.list_register(1) & ACTIVE != 0);
}

#[test]
fn virtual_sgis_come_with_their_source() {
    let mut gic = running(1, 64);
    load(&mut gic, 0, PENDING | EOI | 6 << 10 | 3);
    assert_eq!((gic.guest_read(0, gicc::HPPIR), gic.guest_read(0, gicc::IAR)), (6 << 10 | 3, 6 << 10 | 3));
    gic.guest(0, gicc::EOIR, 6 << 10 | 3);
    assert_eq!(gic.maintenance(0), High);
    gic.clean();
}

#[test]
fn numbers_that_are_no_interrupts_are_never_signalled() {
    let mut gic = running(1, 64);
    load(&mut gic, 0, PENDING | 1022);
    assert_eq!((gic.virtual_irq(0), gic.guest_read(0, gicc::IAR)), (Low, SPURIOUS));
}

#[test]
fn a_vcpu_is_switched_out_and_goes_on_elsewhere() {
    let mut gic = running(2, 64);
    host_takes(&mut gic, 40);
    load(&mut gic, 0, physical(40) | PENDING | 50);
    assert_eq!(gic.guest_read(0, gicc::IAR), 50);
    let saved = [gich::LR, gich::APR, gich::VMCR].map(|offset| (offset, gic.hyp_read(0, offset)));
    gic.hyp(0, gich::HCR, 0);
    load(&mut gic, 0, 0);
    assert!(gic.bit(gicd::ISACTIVER, 40));
    for (offset, value) in saved {
        gic.hyp(1, offset, value);
    }
    gic.guest(1, gicc::EOIR, 50);
    assert!(!gic.bit(gicd::ISACTIVER, 40));
    assert_eq!((gic.irq(0), gic.irq(1)), (High, Low));
    gic.clean();
}

#[test]
fn sixteen_list_registers() {
    let mut gic = Gic::new(Config { cpus: 1, interrupts: 64, list_registers: 16 }).unwrap();
    assert_eq!((gic.hyp_read(0, gich::VTR), gic.hyp_read(0, gich::ELRSR0)), (0x9000_000f, 0xffff));
    gic.hyp(0, gich::LR + 60, EOI);
    assert_eq!((gic.hyp_read(0, gich::EISR0), gic.hyp_read(0, gich::ELRSR0)), (0x8000, 0x7fff));
    gic.clean();
}
