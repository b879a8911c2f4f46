//! The CPU interface.

use crate::Access::{Read, Write};
use crate::gic::Window;
use vcm_irq::HostInterrupt;
use vcm_irq::gic::{AnyAcknowledged, InitError, v2};
use vcm_irq::host::CpuInterface as _;
use vcm_irq::vgic::Group;

#[test]
fn the_cpu_interface_starts_with_priority_drop_apart() {
    let window = Window::default();
    window.poke(0x000, 0x1E1);
    v2::CpuInterface::new(&window, Group::Zero).init().unwrap();
    assert_eq!(
        window.writes(),
        [
            Write(0x000, 0x1E0),
            Write(0x004, 0xF0),
            Write(0x008, 0),
            Write(0x0D0, 0),
            Write(0x0D4, 0),
            Write(0x0D8, 0),
            Write(0x0DC, 0),
            Write(0x000, 0x3E1),
        ]
    );
    let window = Window::default();
    v2::CpuInterface::new(&window, Group::One).init().unwrap();
    assert_eq!(
        window.writes(),
        [
            Write(0x000, 0),
            Write(0x004, 0xF0),
            Write(0x01C, 0),
            Write(0x0E0, 0),
            Write(0x0E4, 0),
            Write(0x0E8, 0),
            Write(0x0EC, 0),
            Write(0x000, 0x20A),
        ]
    );
}

#[test]
fn a_cpu_interface_without_priority_drop_is_refused() {
    let window = Window::default();
    window.fix(0x000, 1);
    let refused = v2::CpuInterface::new(&window, Group::Zero).init();
    assert_eq!(refused, Err(InitError::NoPriorityDrop(1)));
    assert_eq!(window.writes().last(), Some(&Write(0x000, 0)), "it is off");
}

#[test]
fn the_cycle_of_an_interrupt() {
    for (group, acknowledge, end) in [(Group::Zero, 0x00C, 0x010), (Group::One, 0x020, 0x024)] {
        let window = Window::default();
        window.fix(acknowledge, 75);
        let mut cpu = v2::CpuInterface::new(&window, group);
        let acknowledged = cpu.acknowledge().unwrap();
        assert_eq!(acknowledged.interrupt(), HostInterrupt(75));
        assert_eq!(window.log(), [Read(acknowledge)]);
        cpu.drop_priority(&acknowledged);
        assert_eq!(window.log(), [Write(end, 75)]);
        cpu.deactivate(acknowledged);
        assert_eq!(window.log(), [Write(0x1000, 75)]);
    }
}

#[test]
fn special_numbers_are_no_interrupts() {
    let window = Window::default();
    let mut cpu = v2::CpuInterface::new(&window, Group::Zero);
    for number in [1020, 1021, 1022, 1023, !0] {
        window.fix(0x00C, number);
        assert_eq!(cpu.acknowledge(), None);
        assert_eq!(cpu.acknowledge_any(), None);
        assert_eq!(window.writes(), [], "nothing was acknowledged, nothing is ended");
    }
    for number in [16, 1019] {
        window.fix(0x00C, number);
        assert_eq!(cpu.acknowledge().unwrap().interrupt(), HostInterrupt(number));
    }
    assert_eq!(cpu.unclaimed(), 0);
}

#[test]
fn software_generated_interrupts_come_with_their_source() {
    let window = Window::default();
    let mut cpu = v2::CpuInterface::new(&window, Group::Zero);
    // Number 9 from CPU 5, and reserved bits.
    window.fix(0x00C, 0xFFFF_E000 | 5 << 10 | 9);
    let Some(AnyAcknowledged::SoftwareGenerated(sent)) = cpu.acknowledge_any() else { panic!() };
    assert_eq!((sent.number(), sent.source()), (9, Some(5)));
    cpu.end(sent);
    assert_eq!(window.writes(), [Write(0x010, 5 << 10 | 9), Write(0x1000, 5 << 10 | 9)]);
    // One that nobody asked for is ended, so that others come through, and counted.
    assert_eq!(cpu.acknowledge(), None);
    assert_eq!(window.writes(), [Write(0x010, 5 << 10 | 9), Write(0x1000, 5 << 10 | 9)]);
    assert_eq!(cpu.unclaimed(), 1);
}
