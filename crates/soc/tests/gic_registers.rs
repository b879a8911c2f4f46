//! The registers of the GIC: what they are after reset, which bits they keep, which accesses make sense.

mod gic_common;
use gic_common::*;

#[test]
fn a_gic_has_the_parts_that_the_architecture_allows() {
    for (cpus, interrupts, list_registers) in [(0, 64, 4), (9, 64, 4), (1, 0, 4), (1, 40, 4), (1, 1024, 4)] {
        let config = Config { cpus, interrupts, list_registers };
        assert!(Gic::new(config).is_err(), "{config:?}");
    }
    for list_registers in [0, 17] {
        let error = Gic::new(Config { cpus: 1, interrupts: 64, list_registers }).unwrap_err();
        assert_eq!(error.to_string(), "gic: list registers: none, or more than 16");
    }
    for (cpus, interrupts, typer) in [(1, 32, 0), (1, 64, 1), (4, 288, 3 << 5 | 8), (8, 1020, 7 << 5 | 31)] {
        assert_eq!(gic(cpus, interrupts).dist_read(0, 4), typer);
    }
}

#[test]
fn reset_values_are_those_of_a_gic_400() {
    let mut gic = gic(2, 64);
    let of_distributor = [
        (0x000, 0),
        (0x008, 0x0200_143b),
        (0x080, 0),
        (0x100, 0xffff),
        (0x180, 0xffff),
        (0x104, 0),
        (0x200, 0),
        (0x300, 0),
        (0x400, 0),
        (0x820, 0),
        (0xc00, 0xaaaa_aaaa),
        (0xc04, 0),
        (0xfd0, 4),
        (0xfe0, 0x90),
        (0xfe4, 0xb4),
        (0xfe8, 0x2b),
        (0xffc, 0xb1),
    ];
    for (offset, value) in of_distributor {
        assert_eq!(gic.dist_read(0, offset), value, "{offset:#x}");
    }
    assert_eq!((gic.dist_read(0, 0x800), gic.dist_read(1, 0x81c)), (0x0101_0101, 0x0202_0202));
    let of_interface =
        [(0x0, 0), (0x4, 0), (0x8, 2), (0xc, 1023), (0x14, 0xff), (0x18, 1023), (0x1c, 3), (0x20, 1023)];
    for (offset, value) in of_interface.into_iter().chain([(0x28, 1023), (0xd0, 0), (0xfc, 0x0202_143b)]) {
        assert_eq!(gic.cpu_read(1, offset), value, "{offset:#x}");
        assert_eq!(gic.guest_read(1, offset), value, "{offset:#x}");
    }
    assert_eq!(gic.cpu_read(1, 0xe0), 0);
    for (offset, value) in [(0x0, 0), (0x4, 0x9000_0003), (0x8, 0x004c_0000), (0x10, 0), (0x20, 0)] {
        assert_eq!(gic.hyp_read(1, offset), value, "{offset:#x}");
    }
    for (offset, value) in [(0x24, 0), (0x30, 0xf), (0x34, 0), (0xf0, 0), (0x100, 0), (0x10c, 0)] {
        assert_eq!(gic.hyp_read(1, offset), value, "{offset:#x}");
    }
    gic.clean();
}

#[test]
fn registers_keep_the_bits_that_exist() {
    let mut gic = gic(2, 64);
    for (offset, mask) in [(gicd::CTLR, 3), (gicd::IGROUPR, u32::MAX), (gicd::IPRIORITYR, 0xf8f8_f8f8)] {
        gic.dist(0, offset, u32::MAX);
        assert_eq!(gic.dist_read(0, offset), mask, "{offset:#x}");
    }
    gic.dist(0, gicd::ITARGETSR + 32, u32::MAX);
    assert_eq!(gic.dist_read(0, gicd::ITARGETSR + 32), 0x0303_0303, "there are two CPUs");
    for register in [gicd::ICFGR, gicd::ICFGR + 4, gicd::ICFGR + 8] {
        gic.dist(0, register, 0x5555_5555);
        let sgis = if register == gicd::ICFGR { 0xaaaa_aaaa } else { 0 };
        assert_eq!(gic.dist_read(0, register), sgis);
        gic.dist(0, register, u32::MAX);
        assert_eq!(gic.dist_read(0, register), 0xaaaa_aaaa);
    }
    gic.dist(0, gicd::ICENABLER, u32::MAX);
    assert_eq!(gic.dist_read(0, gicd::ISENABLER), 0xffff, "SGIs stay enabled");
    for (offset, mask, least) in
        [(gicc::CTLR, 0x21f, 0), (gicc::PMR, 0xf8, 0), (gicc::BPR, 7, 2), (gicc::ABPR, 7, 3)]
    {
        gic.cpu(0, offset, u32::MAX);
        gic.guest(0, offset, u32::MAX);
        assert_eq!((gic.cpu_read(0, offset), gic.guest_read(0, offset)), (mask, mask), "{offset:#x}");
        gic.cpu(0, offset, 0);
        gic.guest(0, offset, 0);
        assert_eq!((gic.cpu_read(0, offset), gic.guest_read(0, offset)), (least, least), "{offset:#x}");
    }
    for (offset, mask) in [(0x0, 0xf800_00ff), (0x8, 0xf8fc_021f), (0xf0, u32::MAX), (0x100, 0xff8f_ffff)] {
        gic.hyp(0, offset, u32::MAX);
        assert_eq!(gic.hyp_read(0, offset), mask, "{offset:#x}");
    }
    assert_eq!(gic.take_misuse(), None);
}

#[test]
fn the_last_four_interrupts_of_1024_do_not_exist() {
    let mut gic = gic(8, 1020);
    for register in [gicd::ISENABLER, gicd::ISPENDR, gicd::ISACTIVER, gicd::IGROUPR] {
        gic.dist(7, register + 31 * 4, u32::MAX);
        assert_eq!(gic.dist_read(7, register + 31 * 4), 0x0fff_ffff);
    }
    gic.dist(0, gicd::ICFGR + 63 * 4, u32::MAX);
    assert_eq!(gic.dist_read(0, gicd::ICFGR + 63 * 4), 0x00aa_aaaa);
    gic.byte(0, gicd::IPRIORITYR + 1019, 0xff);
    assert_eq!(gic.dist_read(0, gicd::IPRIORITYR + 1016), 0xf800_0000);
    gic.clean();
    assert_eq!(gic.dist_read(0, gicd::IPRIORITYR + 1020), 0);
    let misuse = gic.take_misuse().unwrap();
    assert_eq!((misuse.cpu, misuse.frame, misuse.offset), (0, Frame::Distributor, 0x7fc));
}

#[test]
fn private_interrupts_are_banked() {
    let mut gic = gic(2, 64);
    gic.byte(0, gicd::IPRIORITYR + 27, 0x20);
    gic.dist(0, gicd::ISENABLER, 1 << 27);
    gic.dist(0, gicd::ISPENDR, 1 << 27);
    gic.dist(0, gicd::ISACTIVER, 1 << 27);
    gic.dist(0, gicd::IGROUPR, 1 << 27);
    gic.dist(0, gicd::ICFGR + 4, 2 << 22);
    gic.set_private_line(0, 28, High).unwrap();
    for (offset, first) in [
        (gicd::IPRIORITYR + 24, 0x2000_0000),
        (gicd::ISENABLER, 1 << 27 | 0xffff),
        (gicd::ISPENDR, 3 << 27),
        (gicd::ISACTIVER, 1 << 27),
        (gicd::IGROUPR, 1 << 27),
        (gicd::ICFGR + 4, 2 << 22),
    ] {
        assert_eq!(gic.dist_read(0, offset), first, "{offset:#x}");
        let second = if offset == gicd::ISENABLER { 0xffff } else { 0 };
        assert_eq!(gic.dist_read(1, offset), second, "{offset:#x}");
    }
}

#[test]
fn bytes_are_for_priorities_targets_and_sources() {
    let mut gic = gic(2, 64);
    for offset in [gicd::IPRIORITYR + 33, gicd::ITARGETSR + 34, gicd::SPENDSGIR + 5] {
        gic.byte(0, offset, 0xaa);
        let value = gic.read(0, Frame::Distributor, offset, Width::Byte);
        assert_ne!(value, 0);
        assert_eq!(gic.dist_read(0, offset & !3), value << (offset % 4 * 8));
    }
    gic.clean();
    gic.byte(0, gicd::ISENABLER + 4, 1);
    assert_eq!(gic.dist_read(0, gicd::ISENABLER + 4), 0);
    assert_eq!(
        gic.take_misuse().unwrap().to_string(),
        "gic: cpu 0, distributor, byte at 0x104: a register that is accessible by words only"
    );
    assert_eq!(gic.read(0, Frame::CpuInterface, gicc::BPR, Width::Byte), 0);
    assert!(gic.take_misuse().is_some());
}

#[test]
fn what_is_no_register_reads_as_zero_and_is_told() {
    let cases = [
        (Frame::Distributor, 0x00c),
        (Frame::Distributor, 0x108),
        (Frame::Distributor, 0x440),
        (Frame::Distributor, 0xc10),
        (Frame::Distributor, 0xe00),
        (Frame::Distributor, 0x402),
        (Frame::Distributor, 0x1000),
        (Frame::Distributor, u32::MAX),
        (Frame::CpuInterface, 0x2c),
        (Frame::CpuInterface, 0xf0),
        (Frame::CpuInterface, 0x1004),
        (Frame::VirtualInterface, 0x110),
        (Frame::VirtualInterface, 0xf4),
        (Frame::VirtualInterface, u32::MAX),
        (Frame::VirtualCpuInterface, 0xe0),
        (Frame::VirtualCpuInterface, u32::MAX),
    ];
    for (frame, offset) in cases {
        let mut gic = gic(1, 64);
        let before = gic.state().clone();
        gic.write(0, frame, offset, Width::Word, u32::MAX);
        assert!(gic.take_misuse().is_some(), "{frame} {offset:#x}");
        assert_eq!(gic.read(0, frame, offset, Width::Word), 0);
        assert!(gic.take_misuse().is_some(), "{frame} {offset:#x}");
        assert_eq!(*gic.state(), before);
    }
    // A driver that does not know how many priorities there are clears them all.
    let mut gic = gic(1, 64);
    for offset in (0xd4..0xe0).chain(0xe4..0xf0).step_by(4) {
        gic.write(0, Frame::CpuInterface, offset, Width::Word, u32::MAX);
        assert_eq!((gic.read(0, Frame::CpuInterface, offset, Width::Word), gic.take_misuse()), (0, None));
    }
    for (frame, offset) in [(Frame::Distributor, gicd::SGIR), (Frame::CpuInterface, gicc::EOIR)] {
        assert_eq!(gic.read(0, frame, offset, Width::Word), 0);
        assert!(gic.take_misuse().is_some(), "{offset:#x} is only written");
    }
    for (frame, offset) in [(Frame::Distributor, gicd::TYPER), (Frame::VirtualInterface, gich::MISR)] {
        gic.write(0, frame, offset, Width::Word, 0);
        assert!(gic.take_misuse().is_some(), "{offset:#x} is only read");
    }
    assert_eq!(gic.read(1, Frame::Distributor, gicd::TYPER, Width::Word), 0);
    assert_eq!(gic.take_misuse().unwrap().what, "a CPU that does not exist");
    assert_eq!((gic.irq(1), gic.virtual_irq(1), gic.maintenance(1)), (Low, Low, Low));
}

#[test]
fn notes_of_misuse_are_bounded() {
    let mut gic = gic(1, 64);
    for offset in 0..1000 {
        gic.hyp(0, 0x200 + 4 * offset, 0);
    }
    assert_eq!(gic.misuses().len(), 64);
    assert_eq!(gic.misuses()[0].offset, 0x200);
}

#[test]
fn only_lines_that_exist_can_be_set() {
    let mut gic = gic(2, 64);
    for interrupt in [0, 31, 64, u32::MAX] {
        assert!(gic.set_line(interrupt, High).is_err(), "{interrupt}");
    }
    for (cpu, interrupt) in [(0, 15), (0, 32), (0, 25), (2, 27)] {
        assert!(gic.set_private_line(cpu, interrupt, High).is_err(), "{cpu} {interrupt}");
    }
    assert_eq!(gic.set_line(64, Low).unwrap_err().to_string(), "gic: interrupt 64 has no input");
}

#[test]
fn one_cpu_needs_no_targets() {
    let mut gic = running(1, 64);
    gic.dist(0, gicd::ITARGETSR + 40, u32::MAX);
    assert_eq!((gic.dist_read(0, gicd::ITARGETSR + 40), gic.dist_read(0, gicd::ITARGETSR)), (0, 0));
    gic.one(gicd::ISENABLER, 40);
    gic.set_line(40, High).unwrap();
    assert_eq!(gic.irq(0), High);
    gic.clean();
}

#[test]
fn accesses_are_counted_by_frame_and_cpu() {
    let mut gic = gic(2, 64);
    gic.dist(0, gicd::CTLR, 1);
    gic.cpu_read(0, gicc::RPR);
    gic.cpu(0, 0xfff0, 0);
    gic.hyp_read(1, gich::VTR);
    gic.guest_read(1, gicc::PMR);
    let counters = gic.counters(0);
    assert_eq!((counters.distributor, counters.cpu_interface, counters.virtual_interface), (1, 2, 0));
    let counters = gic.counters(1);
    assert_eq!((counters.distributor, counters.virtual_interface), (0, 1));
    assert_eq!(counters.virtual_cpu_interface, 1);
}
