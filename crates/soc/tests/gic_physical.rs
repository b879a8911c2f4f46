//! Physical interrupts: pending, active, priorities, groups, SGIs, several CPUs.

mod gic_common;
use gic_common::*;

#[test]
fn a_level_interrupt_is_pending_while_its_line_is_high() {
    let mut gic = running(1, 64);
    gic.enable(40, 0x80);
    gic.set_line(40, High).unwrap();
    assert_eq!((gic.irq(0), gic.bit(gicd::ISPENDR, 40)), (High, true));
    gic.one(gicd::ICPENDR, 40);
    assert_eq!(gic.irq(0), High, "what the line says cannot be cleared");
    gic.set_line(40, Low).unwrap();
    assert_eq!((gic.irq(0), gic.bit(gicd::ISPENDR, 40)), (Low, false));
    assert_eq!(gic.acknowledge(0), SPURIOUS);
    gic.clean();
}

#[test]
fn a_level_interrupt_that_was_written_pending_stays_so_without_its_line() {
    let mut gic = running(1, 64);
    gic.enable(40, 0x80);
    gic.one(gicd::ISPENDR, 40);
    gic.set_line(40, High).unwrap();
    gic.set_line(40, Low).unwrap();
    assert_eq!(gic.irq(0), High);
    gic.one(gicd::ICPENDR, 40);
    assert_eq!(gic.irq(0), Low);
    gic.one(gicd::ISPENDR, 40);
    assert_eq!(gic.acknowledge(0), 40);
    gic.cpu(0, gicc::EOIR, 40);
    assert_eq!((gic.irq(0), gic.bit(gicd::ISPENDR, 40)), (Low, false), "acknowledging ends it");
    gic.clean();
}

#[test]
fn a_level_interrupt_comes_again_while_its_line_stays_high() {
    let mut gic = running(1, 64);
    gic.enable(40, 0x80);
    gic.set_line(40, High).unwrap();
    for _ in 0..3 {
        assert_eq!(gic.acknowledge(0), 40);
        assert!(gic.bit(gicd::ISPENDR, 40) && gic.bit(gicd::ISACTIVER, 40), "active and pending");
        assert_eq!((gic.irq(0), gic.acknowledge(0)), (Low, SPURIOUS));
        gic.cpu(0, gicc::EOIR, 40);
        assert_eq!(gic.irq(0), High);
    }
    assert_eq!(gic.counters(0).acknowledged, 3);
    gic.clean();
}

#[test]
fn an_edge_is_remembered_and_comes_once() {
    let mut gic = running(1, 64);
    gic.enable(40, 0x80);
    gic.dist(0, gicd::ICFGR + 8, 2 << 16);
    gic.set_line(40, High).unwrap();
    gic.set_line(40, High).unwrap();
    gic.set_line(40, Low).unwrap();
    assert_eq!((gic.irq(0), gic.acknowledge(0)), (High, 40));
    assert!(!gic.bit(gicd::ISPENDR, 40));
    gic.cpu(0, gicc::EOIR, 40);
    assert_eq!(gic.irq(0), Low);
    gic.set_line(40, High).unwrap();
    gic.one(gicd::ICPENDR, 40);
    assert_eq!(gic.irq(0), Low, "an edge can be cleared while the line is high");
    gic.clean();
}

#[test]
fn an_edge_while_active_is_taken_after_the_end() {
    let mut gic = running(1, 64);
    gic.enable(40, 0x80);
    gic.dist(0, gicd::ICFGR + 8, 2 << 16);
    gic.set_line(40, High).unwrap();
    assert_eq!(gic.acknowledge(0), 40);
    for level in [Low, High, Low, High] {
        gic.set_line(40, level).unwrap();
    }
    assert!(gic.bit(gicd::ISPENDR, 40) && gic.bit(gicd::ISACTIVER, 40), "active and pending");
    assert_eq!(gic.irq(0), Low);
    gic.cpu(0, gicc::EOIR, 40);
    assert_eq!((gic.irq(0), gic.acknowledge(0)), (High, 40));
    gic.cpu(0, gicc::EOIR, 40);
    assert_eq!(gic.irq(0), Low, "two edges are one interrupt");
    gic.clean();
}

#[test]
fn with_eoi_mode_the_end_drops_the_priority_and_dir_deactivates() {
    let mut gic = running(1, 64);
    gic.cpu(0, gicc::CTLR, gicc::CTLR_EOI_MODE | 3);
    gic.enable(40, 0x80);
    gic.enable(41, 0x80);
    gic.set_line(40, High).unwrap();
    assert_eq!((gic.acknowledge(0), gic.cpu_read(0, gicc::RPR)), (40, 0x80));
    gic.set_line(41, High).unwrap();
    assert_eq!(gic.irq(0), Low);
    gic.cpu(0, gicc::EOIR, 40);
    assert_eq!((gic.irq(0), gic.cpu_read(0, gicc::RPR)), (High, 0xff), "41 is taken while 40 is active");
    assert_eq!(gic.acknowledge(0), 41);
    gic.cpu(0, gicc::EOIR, 41);
    assert_eq!(gic.irq(0), Low);
    gic.cpu(0, gicc::DIR, 40);
    assert_eq!((gic.irq(0), gic.bit(gicd::ISACTIVER, 40)), (High, false));
    gic.clean();
}

#[test]
fn dir_without_eoi_mode_has_no_effect() {
    let mut gic = running(1, 64);
    gic.enable(40, 0x80);
    gic.set_line(40, High).unwrap();
    gic.acknowledge(0);
    gic.cpu(0, gicc::DIR, 40);
    assert!(gic.bit(gicd::ISACTIVER, 40));
    assert_eq!(gic.take_misuse().unwrap().what, "deactivation while GICC_CTLR.EOImode is clear");
}

#[test]
fn only_enabled_interrupts_of_forwarded_groups_are_signalled() {
    let mut gic = running(1, 64);
    gic.set_line(40, High).unwrap();
    assert_eq!((gic.irq(0), gic.bit(gicd::ISPENDR, 40)), (Low, true), "pending but not enabled");
    gic.enable(40, 0x80);
    for (forwarded, signalled, expected) in [(1, 1, High), (2, 3, Low), (3, 2, Low), (0, 3, Low), (3, 0, Low)]
    {
        gic.dist(0, gicd::CTLR, forwarded);
        gic.cpu(0, gicc::CTLR, signalled);
        assert_eq!(gic.irq(0), expected);
        assert_eq!(gic.clone().acknowledge(0), if expected == High { 40 } else { SPURIOUS });
    }
    gic.dist(0, gicd::CTLR, 3);
    gic.cpu(0, gicc::CTLR, 3);
    gic.one(gicd::ICENABLER, 40);
    assert_eq!(gic.irq(0), Low);
}

#[test]
fn the_most_urgent_is_first_and_preempts() {
    let mut gic = running(1, 96);
    for (id, priority) in [(40, 0x80), (70, 0x40), (41, 0x40), (27, 0xa0)] {
        gic.enable(id, priority);
    }
    gic.set_line(40, High).unwrap();
    assert_eq!(gic.acknowledge(0), 40);
    gic.set_private_line(0, 27, High).unwrap();
    assert_eq!(gic.irq(0), Low, "less urgent");
    gic.set_line(70, High).unwrap();
    gic.set_line(41, High).unwrap();
    assert_eq!((gic.irq(0), gic.cpu_read(0, gicc::HPPIR)), (High, 41), "of equals the lower number");
    assert_eq!((gic.acknowledge(0), gic.cpu_read(0, gicc::RPR)), (41, 0x40));
    assert_eq!(gic.irq(0), Low, "70 is as urgent as what runs");
    assert_eq!(gic.cpu_read(0, gicc::HPPIR), 70);
    assert_eq!(gic.cpu_read(0, gicc::APR), 1 << 8 | 1 << 16);
    gic.set_line(41, Low).unwrap();
    gic.cpu(0, gicc::EOIR, 41);
    assert_eq!(gic.acknowledge(0), 70);
    gic.set_line(70, Low).unwrap();
    gic.cpu(0, gicc::EOIR, 70);
    assert_eq!((gic.irq(0), gic.cpu_read(0, gicc::RPR)), (Low, 0x80));
    gic.set_line(40, Low).unwrap();
    gic.cpu(0, gicc::EOIR, 40);
    assert_eq!(gic.acknowledge(0), 27);
    gic.clean();
}

#[test]
fn the_binary_point_keeps_near_priorities_from_preempting() {
    let mut gic = running(1, 64);
    gic.enable(40, 0x88);
    gic.enable(41, 0x80);
    gic.cpu(0, gicc::BPR, 3);
    gic.set_line(40, High).unwrap();
    assert_eq!((gic.acknowledge(0), gic.cpu_read(0, gicc::RPR)), (40, 0x80));
    gic.set_line(41, High).unwrap();
    assert_eq!(gic.irq(0), Low);
    gic.byte(0, gicd::IPRIORITYR + 41, 0x78);
    assert_eq!(gic.irq(0), High);
    gic.clean();
}

#[test]
fn the_priority_mask_hides_all_that_is_not_more_urgent() {
    let mut gic = running(1, 64);
    gic.enable(40, 0x80);
    gic.set_line(40, High).unwrap();
    for (mask, expected) in [(0x80, Low), (0x88, High), (0, Low), (0xff, High)] {
        gic.cpu(0, gicc::PMR, mask);
        assert_eq!(gic.irq(0), expected, "{mask:#x}");
        assert_eq!(gic.cpu_read(0, gicc::HPPIR), 40, "the mask does not matter to HPPIR");
    }
    gic.byte(0, gicd::IPRIORITYR + 40, 0xff);
    assert_eq!(gic.irq(0), Low, "the least urgent priority is always masked");
    gic.clean();
}

#[test]
fn groups_have_their_own_registers_and_signals() {
    let mut gic = running(1, 64);
    gic.enable(40, 0x80);
    gic.enable(41, 0x40);
    gic.one(gicd::IGROUPR, 41);
    gic.cpu(0, gicc::CTLR, gicc::CTLR_FIQ | 3);
    gic.set_line(40, High).unwrap();
    assert_eq!((gic.irq(0), gic.fiq(0)), (Low, High));
    gic.set_line(41, High).unwrap();
    assert_eq!((gic.irq(0), gic.fiq(0)), (High, Low), "group 1 is an IRQ");
    assert_eq!((gic.acknowledge(0), gic.cpu_read(0, gicc::HPPIR)), (1022, 1022));
    assert_eq!((gic.cpu_read(0, gicc::AHPPIR), gic.cpu_read(0, gicc::AIAR)), (41, 41));
    assert_eq!((gic.cpu_read(0, gicc::APR), gic.cpu_read(0, gicc::NSAPR)), (0, 1 << 8));
    gic.cpu(0, gicc::AEOIR, 41);
    assert_eq!(gic.cpu_read(0, gicc::NSAPR), 0);
    gic.set_line(41, Low).unwrap();
    assert_eq!((gic.cpu_read(0, gicc::AIAR), gic.cpu_read(0, gicc::AHPPIR)), (SPURIOUS, SPURIOUS));
    assert_eq!(gic.acknowledge(0), 40);
    gic.clean();
    gic.cpu(0, gicc::AEOIR, 40);
    assert!(gic.take_misuse().is_some() && gic.bit(gicd::ISACTIVER, 40));
    gic.cpu(0, gicc::EOIR, 40);
    gic.set_line(40, Low).unwrap();
    gic.set_line(41, High).unwrap();
    gic.cpu(0, gicc::CTLR, gicc::CTLR_ACKNOWLEDGE | 3);
    assert_eq!(gic.acknowledge(0), 41, "AckCtl");
    gic.clean();
}

#[test]
fn sgis_come_with_the_cpu_that_sent_them() {
    let mut gic = running(4, 64);
    gic.dist(2, gicd::SGIR, 0b0011 << 16 | 5);
    gic.dist(3, gicd::SGIR, 0b0001 << 16 | 5);
    assert_eq!((gic.irq(0), gic.irq(1), gic.irq(2)), (High, High, Low));
    assert_eq!(gic.dist_read(0, gicd::SPENDSGIR + 4), 0b1100 << 8);
    assert_eq!(gic.cpu_read(0, gicc::HPPIR), 2 << 10 | 5);
    assert_eq!(gic.acknowledge(0), 2 << 10 | 5);
    assert!(gic.bit(gicd::ISPENDR, 5) && gic.bit(gicd::ISACTIVER, 5), "the other source is still pending");
    assert_eq!(gic.acknowledge(0), SPURIOUS);
    gic.cpu(0, gicc::EOIR, 2 << 10 | 5);
    assert_eq!(gic.acknowledge(0), 3 << 10 | 5);
    gic.cpu(0, gicc::EOIR, 3 << 10 | 5);
    assert_eq!((gic.irq(0), gic.acknowledge(1)), (Low, 2 << 10 | 5));
    gic.clean();
}

#[test]
fn sgis_go_to_all_others_or_to_the_sender() {
    let mut gic = running(3, 32);
    gic.dist(1, gicd::SGIR, 1 << 24 | 7);
    assert_eq!([gic.irq(0), gic.irq(1), gic.irq(2)], [High, Low, High]);
    gic.dist(1, gicd::SGIR, 2 << 24 | 0xff << 16 | 8);
    assert_eq!((gic.irq(1), gic.acknowledge(1)), (High, 1 << 10 | 8));
    let before = gic.state().clone();
    gic.dist(1, gicd::SGIR, 3 << 24 | 9);
    assert_eq!((gic.take_misuse().unwrap().what, gic.state()), ("a reserved target list filter", &before));
}

#[test]
fn pending_sgis_can_be_saved_and_restored_by_source() {
    let mut gic = running(2, 32);
    gic.dist(1, gicd::SGIR, 1 << 16 | 3);
    gic.dist(0, gicd::SGIR, 1 << 16 | 3);
    let saved = gic.dist_read(0, gicd::SPENDSGIR);
    assert_eq!(saved, 3 << 24);
    gic.dist(0, gicd::ICPENDR, 1 << 3);
    assert_eq!(gic.irq(0), High, "ICPENDR does not clear SGIs");
    gic.dist(0, gicd::CPENDSGIR, saved);
    assert_eq!((gic.irq(0), gic.bit(gicd::ISPENDR, 3)), (Low, false));
    gic.dist(0, gicd::SPENDSGIR, 0xff00_0000);
    assert_eq!(gic.dist_read(0, gicd::CPENDSGIR), 3 << 24, "there are two CPUs");
    assert_eq!((gic.irq(0), gic.irq(1)), (High, Low));
    gic.dist(0, gicd::ISPENDR, 1 << 4);
    assert!(!gic.bit(gicd::ISPENDR, 4), "nor does ISPENDR set them");
    gic.clean();
}

#[test]
fn an_interrupt_with_several_targets_is_taken_by_one_of_eight_cpus() {
    let mut gic = running(8, 1020);
    gic.byte(0, gicd::IPRIORITYR + 1019, 0x80);
    gic.byte(0, gicd::ITARGETSR + 1019, 0b1010_0000);
    gic.one(gicd::ISENABLER, 1019);
    gic.set_line(1019, High).unwrap();
    let signalled: Vec<_> = (0..8).filter(|cpu| gic.irq(*cpu) == High).collect();
    assert_eq!(signalled, [5, 7]);
    assert_eq!(gic.acknowledge(7), 1019);
    assert_eq!((gic.irq(5), gic.acknowledge(5)), (Low, SPURIOUS));
    gic.cpu(7, gicc::EOIR, 1019);
    assert_eq!(gic.irq(5), High);
    gic.clean();
}

#[test]
fn every_one_of_988_shared_interrupts_arrives_where_it_is_sent() {
    let mut gic = running(8, 1020);
    for id in 32..1020 {
        gic.byte(0, gicd::ITARGETSR + id, 1 << (id % 8));
        gic.byte(0, gicd::IPRIORITYR + id, 0x80);
        gic.one(gicd::ISENABLER, id);
        gic.set_line(id, High).unwrap();
    }
    let mut taken = 0;
    for cpu in 0..8 {
        gic.cpu(cpu, gicc::CTLR, gicc::CTLR_EOI_MODE | 1);
        loop {
            let id = gic.acknowledge(cpu);
            if id == SPURIOUS {
                break;
            }
            assert_eq!(id as usize % 8, cpu);
            gic.cpu(cpu, gicc::EOIR, id);
            taken += 1;
        }
    }
    assert_eq!(taken, 988);
    for id in 32..1020 {
        gic.set_line(id, Low).unwrap();
        // Any CPU can deactivate.
        gic.cpu(3, gicc::DIR, id);
        assert!(!gic.bit(gicd::ISACTIVER, id));
    }
    gic.clean();
}

#[test]
fn software_can_make_an_interrupt_active_and_inactive() {
    let mut gic = running(1, 64);
    gic.enable(40, 0x80);
    gic.set_line(40, High).unwrap();
    gic.one(gicd::ISACTIVER, 40);
    assert_eq!((gic.irq(0), gic.cpu_read(0, gicc::RPR)), (Low, 0xff));
    gic.one(gicd::ICACTIVER, 40);
    assert_eq!(gic.irq(0), High);
    gic.clean();
}

#[test]
fn running_priorities_can_be_saved_and_restored() {
    let mut gic = running(1, 64);
    gic.enable(40, 0x80);
    gic.set_line(40, High).unwrap();
    gic.acknowledge(0);
    let saved = gic.cpu_read(0, gicc::APR);
    gic.cpu(0, gicc::APR, 0);
    assert_eq!(gic.cpu_read(0, gicc::RPR), 0xff);
    gic.cpu(0, gicc::APR, saved);
    assert_eq!(gic.cpu_read(0, gicc::RPR), 0x80);
    gic.cpu(0, gicc::EOIR, 40);
    assert_eq!((gic.cpu_read(0, gicc::RPR), gic.irq(0)), (0xff, High));
    gic.clean();
}

#[test]
fn a_special_number_ends_nothing() {
    let mut gic = running(1, 64);
    gic.enable(40, 0x80);
    gic.set_line(40, High).unwrap();
    gic.acknowledge(0);
    let before = gic.state().clone();
    for id in 1020..1024 {
        gic.cpu(0, gicc::EOIR, id);
    }
    assert_eq!(*gic.state(), before);
    gic.clean();
}
