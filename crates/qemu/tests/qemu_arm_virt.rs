//! The GICv2 of QEMU's `virt` machine: forwarding by the HW bit of a list register and without it, and what of QEMU
//! is not as the architecture wants.
//!
//! Without `qemu-system-aarch64` the tests fail, unless `VCM_WITHOUT_QEMU=1` says that this is meant.

#[path = "qemu_arm_virt/support.rs"]
mod support;

use support::*;
use vcm::PhysicalAddress;
use vcm_qemu::{Frame, InterruptEvent, Level, MAINTENANCE_INTERRUPT, Outputs, RAM, Version, Width};

const NONE: Outputs = Outputs {
    irq: Level::Low,
    fiq: Level::Low,
    virtual_irq: Level::Low,
    virtual_fiq: Level::Low,
    maintenance: Level::Low,
};

#[test]
fn a_forwarded_level_ends_with_the_guest_s_end_of_interrupt() {
    on_qemu(|gic| {
        gic.prepare(LEVEL, 0);
        gic.line(Level::High);
        assert_eq!(
            (gic.state(PHYSICAL), gic.outputs()),
            ((true, false), Outputs { irq: Level::High, ..NONE })
        );
        assert_eq!(gic.acknowledge(), PHYSICAL);
        // Active after the priority drop, so it is not signalled again although the line is high.
        assert_eq!((gic.state(PHYSICAL), gic.outputs()), ((true, true), NONE));
        assert_eq!(gic.read(GICC, IAR), SPURIOUS);
        gic.write(GICH, LR0, FORWARDED);
        assert_eq!(gic.outputs(), Outputs { virtual_irq: Level::High, ..NONE });
        assert_eq!(gic.read(GICV, IAR), VIRTUAL);
        assert_eq!(gic.list_state(), ACTIVE);
        gic.line(Level::Low);
        gic.write(GICV, EOIR, VIRTUAL);
        assert_eq!((gic.state(PHYSICAL), gic.list_state(), gic.outputs()), ((false, false), 0, NONE));
    });
}

#[test]
fn a_level_that_stays_comes_again_though_only_after_a_write() {
    on_qemu(|gic| {
        gic.prepare(LEVEL, 0);
        gic.line(Level::High);
        gic.acknowledge();
        gic.write(GICH, LR0, FORWARDED);
        assert_eq!(gic.read(GICV, IAR), VIRTUAL);
        gic.write(GICV, EOIR, VIRTUAL);
        // The deviation: pending, not active, enabled, and not signalled.
        assert_eq!((gic.state(PHYSICAL), gic.outputs()), ((true, false), NONE));
        assert_eq!(gic.read(GICC, IAR), SPURIOUS);
        gic.write(GICC, PMR, 0xf0);
        assert_eq!(gic.outputs(), Outputs { irq: Level::High, ..NONE });
        assert_eq!(gic.acknowledge(), PHYSICAL);
        gic.line(Level::Low);
        gic.write(GICC, DIR, PHYSICAL);
        assert_eq!((gic.state(PHYSICAL), gic.outputs()), ((false, false), NONE));
    });
}

#[test]
fn an_edge_while_active_comes_after_the_deactivation() {
    on_qemu(|gic| {
        gic.prepare(EDGE, 0);
        let pulse = |gic: &mut Gic| [Level::High, Level::Low].map(|level| gic.line(level));
        pulse(gic);
        assert_eq!(gic.acknowledge(), PHYSICAL);
        assert_eq!(gic.state(PHYSICAL), (false, true));
        pulse(gic);
        assert_eq!((gic.state(PHYSICAL), gic.outputs()), ((true, true), NONE));
        gic.write(GICH, LR0, FORWARDED);
        assert_eq!(gic.read(GICV, IAR), VIRTUAL);
        gic.write(GICV, EOIR, VIRTUAL);
        assert_eq!(gic.state(PHYSICAL), (true, false));
        gic.write(GICC, PMR, 0xf0);
        assert_eq!(gic.acknowledge(), PHYSICAL);
        gic.write(GICC, DIR, PHYSICAL);
        assert_eq!(gic.state(PHYSICAL), (false, false));
    });
}

#[test]
fn an_unforwarded_one_ends_by_maintenance_and_the_host_s_deactivation() {
    on_qemu(|gic| {
        gic.prepare(LEVEL, 0);
        gic.line(Level::High);
        assert_eq!(gic.acknowledge(), PHYSICAL);
        gic.write(GICH, LR0, UNFORWARDED);
        assert_eq!(gic.read(GICV, IAR), VIRTUAL);
        assert_eq!(gic.outputs(), NONE);
        gic.write(GICV, EOIR, VIRTUAL);
        let both = Outputs { irq: Level::High, maintenance: Level::High, ..NONE };
        assert_eq!((gic.state(PHYSICAL), gic.outputs()), ((true, true), both));
        assert_eq!((gic.read(GICH, MISR), gic.read(GICH, EISR)), (1, 1));
        assert_eq!(gic.acknowledge(), MAINTENANCE_INTERRUPT);
        gic.write(GICH, LR0, 0);
        assert_eq!(gic.outputs().maintenance, Level::Low);
        gic.write(GICC, DIR, MAINTENANCE_INTERRUPT);
        gic.line(Level::Low);
        gic.write(GICC, DIR, PHYSICAL);
        assert_eq!((gic.state(PHYSICAL), gic.outputs()), ((false, false), NONE));
    });
}

#[test]
fn a_guest_with_split_ends_deactivates_by_gicv_dir() {
    on_qemu(|gic| {
        gic.prepare(LEVEL, EOI_MODE);
        gic.line(Level::High);
        gic.acknowledge();
        gic.write(GICH, LR0, FORWARDED);
        assert_eq!(gic.read(GICV, IAR), VIRTUAL);
        gic.line(Level::Low);
        gic.write(GICV, EOIR, VIRTUAL);
        assert_eq!((gic.state(PHYSICAL), gic.list_state()), ((false, true), ACTIVE));
        gic.write(GICV, DIR, VIRTUAL);
        assert_eq!((gic.state(PHYSICAL), gic.list_state(), gic.outputs()), ((false, false), 0, NONE));
    });
}

#[test]
fn a_reset_leaves_a_machine_as_new() {
    on_qemu(|gic| {
        let offsets = (0..0x1000).step_by(4);
        let registers = |gic: &mut Gic| {
            let mut batch = gic.0.batch();
            for frame in Frame::ALL {
                // Reading IAR would acknowledge.
                let offsets = offsets.clone().filter(|&offset| offset < frame.len() && offset != IAR);
                offsets.for_each(|offset| batch.read32(frame, offset).unwrap());
            }
            batch.run().unwrap()
        };
        let fresh = registers(gic);
        assert_eq!(fresh.len(), 1023 * 3 + 127);
        let marked = PhysicalAddress::new(RAM.raw() + 0x10_0000);
        gic.0.machine().memory().unwrap().write(marked, b"kept").unwrap();

        // Everything high at once, and a second interrupt's line left up.
        gic.prepare(LEVEL, 0);
        gic.line(Level::High);
        gic.0.set_line(287, Level::High).unwrap();
        gic.write(GICH, LR0, FORWARDED);
        gic.write(GICH, HCR, 3);
        let high = Outputs { irq: Level::High, virtual_irq: Level::High, maintenance: Level::High, ..NONE };
        assert_eq!(gic.outputs(), high);
        assert_ne!(registers(gic), fresh);

        gic.0.reset().unwrap();
        assert_eq!(gic.outputs(), NONE);
        assert_eq!(gic.0.machine().qtest.take_events(), []);
        assert_eq!(registers(gic), fresh);
        assert_eq!((gic.state(PHYSICAL), gic.state(287)), ((false, false), (false, false)));
        let mut bytes = [0; 4];
        gic.0.machine().qtest.read_bytes(marked, &mut bytes).unwrap();
        assert_eq!(&bytes, b"kept");
    });
}

#[test]
fn a_machine_s_own_reset_leaves_the_outputs_for_the_next_write() {
    on_qemu(|gic| {
        gic.prepare(LEVEL, 0);
        gic.line(Level::High);
        gic.0.machine().reset().unwrap();
        assert_eq!(gic.read(GICC, CTLR), 0);
        assert_eq!(gic.outputs().irq, Level::High);
        gic.write(GICC, PMR, 0);
        assert_eq!(gic.outputs().irq, Level::Low);
    });
}

#[test]
fn a_batch_sees_the_outputs_after_each_step() {
    on_qemu(|gic| {
        gic.prepare(LEVEL, 0);
        let mut batch = gic.0.batch();
        batch.set_line(PHYSICAL, Level::High).unwrap();
        batch.read32(GICC, IAR).unwrap();
        batch.write32(GICC, EOIR, PHYSICAL).unwrap();
        batch.write32(GICH, LR0, UNFORWARDED).unwrap();
        batch.read32(GICV, IAR).unwrap();
        batch.write32(GICV, EOIR, VIRTUAL).unwrap();
        batch.read8(GICD, 0x400 + u64::from(PHYSICAL)).unwrap();
        let steps = batch.run_steps().unwrap();
        let values: Vec<_> = steps.iter().map(|step| step.value).collect();
        assert_eq!(values, [None, Some(PHYSICAL), None, None, Some(VIRTUAL), None, Some(0xa0)]);
        let (irq, virtual_irq) =
            (Outputs { irq: Level::High, ..NONE }, Outputs { virtual_irq: Level::High, ..NONE });
        let end = Outputs { maintenance: Level::High, ..irq };
        let outputs: Vec<_> = steps.iter().map(|step| step.outputs).collect();
        assert_eq!(outputs, [irq, NONE, NONE, virtual_irq, NONE, end, end]);

        // Thousands, whose values come in order. Priorities have all their eight bits.
        let priorities = (0..3000_u32).map(|number| number.wrapping_mul(0x9e37_79b1));
        let mut batch = gic.0.batch();
        for value in priorities.clone() {
            batch.write32(GICD, 0x480, value).unwrap();
            batch.read32(GICD, 0x480).unwrap();
        }
        assert!(batch.run().unwrap().into_iter().eq(priorities));
    });
}

#[test]
fn what_the_gic_is_and_where_it_deviates() {
    on_qemu(|gic| {
        gic.0.reset().unwrap();
        // 288 interrupts, one CPU; GICv2; four list registers, five bits of priority.
        assert_eq!(gic.read(GICD, 0x004) & 0xff, 288 / 32 - 1);
        assert_eq!(gic.read(GICC, 0x0fc), 0x0002_043b);
        assert_eq!(gic.read(GICH, 0x004), 0x9000_0003);
        // One past the last list register.
        gic.write(GICH, HCR, 1);
        gic.write(GICV, PMR, 0xf8);
        gic.write(GICV, CTLR, 1);
        gic.write(GICH, LR0 + 16, UNFORWARDED);
        assert_eq!((gic.read(GICH, LR0 + 16), gic.outputs()), (UNFORWARDED, NONE));
        gic.write(GICH, LR0 + 20, UNFORWARDED);
        assert_eq!(gic.read(GICH, LR0 + 20), 0);
        // A single CPU has no targets to choose.
        gic.write(GICD, 0x820, 0x0101_0101);
        assert_eq!(gic.read(GICD, 0x820), 0);
        // Linked to an interrupt that is not active.
        gic.write(GICH, LR0, FORWARDED);
        assert_eq!(gic.read(GICV, IAR), VIRTUAL);
        gic.write(GICV, EOIR, VIRTUAL);
        assert_eq!((gic.state(PHYSICAL), gic.list_state()), ((false, false), 0));
    });
}

#[test]
fn accesses_outside_are_refused_before_qemu_sees_them() {
    on_qemu(|gic| {
        for (frame, offset) in [(GICD, 0x1000), (GICC, 0x2000), (GICH, 0x200), (GICV, 0x2000), (GICD, 2)] {
            let error = gic.0.read32(frame, offset).unwrap_err().to_string();
            assert!(error.starts_with("offset 0x"), "{error}");
        }
        for intid in [0, 31, 288, u32::MAX] {
            assert!(gic.0.set_line(intid, Level::High).is_err(), "{intid}");
        }
        assert!(gic.0.machine().memory().unwrap().write(PhysicalAddress::new(0), b"x").is_err());
        assert_eq!(gic.read(GICC, CTLR), 0);
    });
}

#[test]
fn memory_is_one_through_the_file_and_the_socket() {
    on_qemu(|gic| {
        let machine = gic.0.machine();
        assert!(machine.version() >= Version::new(7, 2));
        let at = PhysicalAddress::new(RAM.raw() + 0x20_0001);
        let bytes: Vec<u8> = (0..200_000_u32).map(|number| (number * 7 / 8) as u8).collect();
        machine.qtest.write_bytes(at, &bytes).unwrap();
        let mut read = vec![0; bytes.len()];
        machine.memory().unwrap().read(at, &mut read).unwrap();
        assert!(read == bytes);
        machine.memory().unwrap().write(at, &[0xff; 8]).unwrap();
        machine.qtest.read_bytes(at, &mut read).unwrap();
        assert!(read[..8] == [0xff; 8] && read[8..] == bytes[8..]);
        let aligned = PhysicalAddress::new(RAM.raw() + 0x20_0000);
        for (width, value) in [
            (Width::Bits8, 0x12),
            (Width::Bits16, 0x1234),
            (Width::Bits32, 0x1234_5678),
            (Width::Bits64, 0x1234_5678_9abc_def0),
        ] {
            machine.qtest.write(width, aligned, value).unwrap();
            assert_eq!(machine.qtest.read(width, aligned).unwrap(), value);
        }
        let printed = machine.qmp.human_monitor_command("info status").unwrap();
        assert!(printed.starts_with("VM status: running"), "{printed}");
        // TCG leaves the clock to itself.
        assert!(matches!(machine.qtest.clock_step(None), Err(vcm_qemu::Error::Refused { .. })));
    });
}

#[test]
fn events_tell_the_order() {
    on_qemu(|gic| {
        gic.prepare(LEVEL, 0);
        gic.line(Level::High);
        gic.acknowledge();
        gic.write(GICH, LR0, FORWARDED);
        let events = [(0, Level::High), (0, Level::Low), (2, Level::High)];
        let events = events.map(|(line, level)| InterruptEvent { line, level });
        assert_eq!(gic.0.machine().qtest.take_events(), events);
    });
}
