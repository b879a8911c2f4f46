//! The GICv3 back-end: each call's accesses, against numbers from Arm IHI 0069H.

mod gic;
#[path = "gic/v3_redistributor.rs"]
mod redistributor;
#[path = "gic/v3_system.rs"]
mod system;

use Access::{Byte, Read, Write};
use gic::{Access, Junk, Nonsense, Window, list_registers, numbers};
use proptest::prelude::*;
use vcm_irq::gic::InitError;
use vcm_irq::gic::v3::{self, Affinity, PATIENCE, Routing, SystemRegister, SystemRegisters};
use vcm_irq::host::{Controller, CpuInterface as _};
use vcm_irq::vgic::{Attention, Group, VirtualInterface as _, Wanted};
use vcm_irq::{HostInterrupt, Sense};

impl SystemRegisters for Nonsense {
    fn read(&self, _: SystemRegister) -> u64 {
        self.next()
    }

    fn write(&self, _: SystemRegister, _: u64) {}
}

/// A distributor with this type register.
fn distributor(window: &Window, told: u32) -> v3::Distributor<&Window> {
    window.fix(0x0004, told);
    let distributor = v3::Distributor::new(window);
    assert_eq!(window.log(), [Read(0x0004)]);
    distributor
}

/// 64 interrupts and 64 extended ones.
const SMALL: u32 = 1 << 27 | 1 << 8 | 1;

/// 256 interrupts and 1024 extended ones.
const LARGE: u32 = 31 << 27 | 1 << 8 | 7;

#[test]
fn the_number_of_interrupts_is_that_of_the_type_register() {
    for lines in 0..32 {
        let window = Window::controller();
        let with = distributor(&window, 0x07FF_FFE0 | lines | lines << 27);
        assert_eq!(with.interrupts(), (32 * (lines + 1)).min(1020));
        assert_eq!(with.extended_interrupts(), 32 * (lines + 1));
        let without = distributor(&window, 0x07FF_FEE0 | lines | lines << 27);
        assert_eq!(without.extended_interrupts(), 0);
    }
}

/// What a controller writes for one of its interrupts: the offsets of its arrays' words, its bit, its byte of priority.
struct Expected {
    number: u32,
    bit: u32,
    words: [u32; 7],
    priority: u32,
    configuration: (u32, u32),
}

fn check_controller(controller: &impl Controller, window: &Window, expected: &Expected) {
    let [group, enable, disable, pend, unpend, activate, deactivate] = expected.words;
    let (line, bit) = (HostInterrupt(expected.number), expected.bit);
    assert!(controller.has_active_state(line));
    window.log();
    controller.enable(line);
    assert_eq!(window.log(), [Write(enable, bit), Read(enable)], "the posted write is read back");
    controller.disable(line);
    assert_eq!(window.log(), [Write(disable, bit), Read(0)], "waits for RWP");
    controller.set_pending(line);
    assert_eq!(window.log(), [Write(pend, bit)]);
    assert!(controller.is_pending(line));
    assert_eq!(window.log(), [Read(pend)]);
    controller.clear_pending(line);
    assert_eq!(window.log(), [Write(unpend, bit)]);
    assert!(!controller.is_pending(line));
    window.log();
    controller.set_active(line);
    assert_eq!(window.log(), [Write(activate, bit), Read(activate)]);
    assert!(controller.is_active(line));
    assert_eq!(window.log(), [Read(activate)]);
    controller.deactivate(line);
    assert_eq!(window.log(), [Write(deactivate, bit), Read(deactivate)]);
    assert!(!controller.is_active(line));
    let (word, edge) = expected.configuration;
    controller.enable(line);
    window.log();
    controller.set_sense(line, Sense::Edge);
    assert_eq!(window.writes(), [Write(disable, bit), Write(word, edge), Write(enable, bit)]);
    controller.set_sense(line, Sense::Level);
    assert_eq!(window.writes(), [Write(disable, bit), Write(word, 0), Write(enable, bit)]);
    assert_eq!(window.peek(group), 0, "nothing of this is about the group");
}

#[test]
fn each_call_accesses_its_register() {
    let window = Window::controller();
    let distributor = distributor(&window, LARGE);
    let plain = Expected {
        number: 75,
        bit: 1 << 11,
        words: [0x088, 0x108, 0x188, 0x208, 0x288, 0x308, 0x388],
        priority: 0x44B,
        configuration: (0xC10, 1 << 23),
    };
    let extended = Expected {
        number: 4096 + 75,
        bit: 1 << 11,
        words: [0x1008, 0x1208, 0x1408, 0x1608, 0x1808, 0x1A08, 0x1C08],
        priority: 0x204B,
        configuration: (0x3010, 1 << 23),
    };
    for expected in [plain, extended] {
        let line = HostInterrupt(expected.number);
        check_controller(&distributor, &window, &expected);
        assert!(distributor.is_enabled(line));
        window.log();
        distributor.set_priority(line, 0x58);
        assert_eq!(window.log(), [Byte(expected.priority, 0x58)]);
        assert_eq!(distributor.priority(line), 0x58);
        window.log();
        distributor.set_group(line, Group::One);
        assert_eq!(window.writes(), [Write(expected.words[0], expected.bit)]);
        distributor.set_group(line, Group::Zero);
        assert_eq!(window.writes(), [Write(expected.words[0], 0)]);
    }
    let window = Window::controller();
    window.fix(0x0_0008, 2 << 27);
    let redistributor = v3::Redistributor::new(&window);
    let plain = Expected {
        number: 25,
        bit: 1 << 25,
        words: [0x1_0080, 0x1_0100, 0x1_0180, 0x1_0200, 0x1_0280, 0x1_0300, 0x1_0380],
        priority: 0x1_0419,
        configuration: (0x1_0C04, 1 << 19),
    };
    // 1056 + 33 is at 32 + 33: word 2, bit 1.
    let extended = Expected {
        number: 1056 + 33,
        bit: 1 << 1,
        words: [0x1_0088, 0x1_0108, 0x1_0188, 0x1_0208, 0x1_0288, 0x1_0308, 0x1_0388],
        priority: 0x1_0441,
        configuration: (0x1_0C10, 1 << 3),
    };
    for expected in [plain, extended] {
        let line = HostInterrupt(expected.number);
        check_controller(&redistributor, &window, &expected);
        assert!(redistributor.is_enabled(line));
        window.log();
        redistributor.set_priority(line, 0x58);
        assert_eq!(window.log(), [Byte(expected.priority, 0x58)]);
        assert_eq!(redistributor.priority(line), 0x58);
    }
}

#[test]
fn numbers_that_are_elsewhere_or_nowhere_are_passed_over() {
    fn call_all(controller: &impl Controller, number: u32) {
        let line = HostInterrupt(number);
        controller.enable(line);
        controller.disable(line);
        controller.set_pending(line);
        controller.clear_pending(line);
        controller.set_active(line);
        controller.deactivate(line);
        controller.set_sense(line, Sense::Edge);
        assert!(!controller.is_pending(line) && !controller.is_active(line));
        assert!(!controller.has_active_state(line));
    }
    let window = Window::controller();
    let distributor = distributor(&window, SMALL);
    for number in [0, 16, 31, 64, 1019, 1020, 1056, 4095, 4160, 5120, 8192, u32::MAX] {
        let line = HostInterrupt(number);
        call_all(&distributor, number);
        distributor.set_priority(line, 0);
        distributor.set_group(line, Group::One);
        distributor.set_route(line, Routing::Any);
        assert_eq!((distributor.priority(line), distributor.route(line)), (0, None));
        assert!(!distributor.is_enabled(line));
    }
    assert_eq!(window.log(), []);
    for (told, extended) in [(0, 0), (1, 32), (2, 64), (3, 0), (31, 0)] {
        let window = Window::controller();
        window.fix(0x0_0008, told << 27);
        let redistributor = v3::Redistributor::new(&window);
        assert_eq!((redistributor.interrupts(), redistributor.extended_interrupts()), (32, extended));
        window.log();
        for number in [32, 1019, 1055, 1056 + extended, 1120, 4096, 8192, u32::MAX] {
            call_all(&redistributor, number);
            redistributor.set_priority(HostInterrupt(number), 0);
        }
        assert_eq!(window.log(), []);
        assert_eq!(redistributor.has_active_state(HostInterrupt(1056)), extended > 0);
        assert!(redistributor.has_active_state(HostInterrupt(16)));
        assert!(!redistributor.has_active_state(HostInterrupt(15)));
    }
}

#[test]
fn routes_are_written_in_halves() {
    let window = Window::controller();
    let distributor = distributor(&window, LARGE);
    let affinity = Affinity::from_mpidr(0x12_8134_5678);
    assert_eq!(affinity, Affinity(0x1234_5678));
    for (number, offset) in [(75, 0x6000 + 8 * 75), (4096 + 75, 0x8000 + 8 * 75)] {
        let line = HostInterrupt(number);
        distributor.set_route(line, Routing::To(affinity));
        assert_eq!(window.log(), [Write(offset + 4, 0x12), Write(offset, 0x34_5678)]);
        assert_eq!(distributor.route(line), Some(Routing::To(affinity)));
        window.log();
        distributor.set_route(line, Routing::Any);
        assert_eq!(window.log(), [Write(offset + 4, 0), Write(offset, 0x8000_0000)]);
        assert_eq!(distributor.route(line), Some(Routing::Any));
        window.log();
    }
}

#[test]
fn init_of_the_distributor_leaves_a_known_state() {
    let window = Window::controller();
    let distributor = distributor(&window, SMALL);
    window.keep_busy(0, 1 << 31, 5);
    distributor.init(Affinity(0x0100_0002)).unwrap();
    let mut expected = vec![Write(0, 0), Write(0, 0x10)];
    let arrays = [
        (0x180, 0x280, 0x380, 0x080, 0xC00, 0x400, 32, 64),
        (0x1400, 0x1800, 0x1C00, 0x1000, 0x3000, 0x2000, 0, 64),
    ];
    for (disable, unpend, deactivate, group, configuration, priority, first, end) in arrays {
        for word in first / 32..end / 32 {
            expected.extend([disable, unpend, deactivate, group].map(|array| Write(array + 4 * word, !0)));
        }
        expected.extend((first / 16..end / 16).map(|word| Write(configuration + 4 * word, 0)));
        expected.extend((first / 4..end / 4).map(|word| Write(priority + 4 * word, 0xA0A0_A0A0)));
    }
    let routers = (32..64).map(|number| 0x6000 + 8 * number).chain((0..64).map(|index| 0x8000 + 8 * index));
    expected.extend(routers.flat_map(|offset| [Write(offset + 4, 1), Write(offset, 2)]));
    expected.push(Write(0, 0x13));
    assert_eq!(window.writes(), expected);
    assert_eq!(distributor.timeouts(), 0);
}

#[test]
fn a_distributor_that_does_not_settle_is_given_up() {
    let window = Window::controller();
    let distributor = distributor(&window, LARGE);
    // The last read that it is given is enough.
    window.keep_busy(0, 1 << 31, PATIENCE - 1);
    distributor.disable(HostInterrupt(75));
    assert_eq!(window.log().len(), 1 + PATIENCE as usize);
    assert_eq!(distributor.timeouts(), 0);
    window.fix(0, 1 << 31);
    distributor.disable(HostInterrupt(75));
    assert_eq!(window.log().len(), 1 + PATIENCE as usize);
    assert_eq!(distributor.timeouts(), 1);
    assert_eq!(distributor.init(Affinity(0)), Err(InitError::WritePending(1 << 31)));
    assert_eq!(distributor.timeouts(), 2);
    assert_eq!(window.writes(), [Write(0, 0)], "it is off");
}

#[test]
fn a_distributor_without_affinity_routing_is_refused() {
    let window = Window::controller();
    let distributor = distributor(&window, LARGE);
    window.fix(0, 0x03);
    assert_eq!(distributor.init(Affinity(0)), Err(InitError::NoAffinityRouting(0x03)));
    assert_eq!(window.writes(), [Write(0, 0), Write(0, 0x10)], "no group is on");
}

proptest! {
    #[test]
    fn nonsense_of_the_hardware_does_no_harm(
        seed: u64,
        numbers in prop::collection::vec(numbers(), 20),
        registers in prop::collection::vec(list_registers(), 20),
    ) {
        fn call_all(controller: &impl Controller, number: u32) {
            let line = HostInterrupt(number);
            controller.enable(line);
            controller.disable(line);
            controller.deactivate(line);
            controller.set_active(line);
            controller.set_pending(line);
            controller.clear_pending(line);
            controller.is_pending(line);
            controller.is_active(line);
            controller.set_sense(line, Sense::Edge);
            controller.set_sense(line, Sense::Level);
        }
        let distributor = v3::Distributor::new(Junk::new(seed, 0x1_0000));
        let _ = distributor.init(Affinity(seed as u32));
        let redistributor = v3::Redistributor::new(Junk::new(seed, 0x2_0000));
        let _ = redistributor.wake();
        let _ = redistributor.init();
        for &number in &numbers {
            let line = HostInterrupt(number);
            call_all(&distributor, number);
            call_all(&redistributor, number);
            distributor.set_priority(line, 1);
            distributor.priority(line);
            distributor.set_group(line, Group::One);
            distributor.set_route(line, Routing::Any);
            distributor.route(line);
            distributor.is_enabled(line);
            redistributor.set_priority(line, 1);
            redistributor.priority(line);
            redistributor.is_enabled(line);
        }
        let mut cpu = v3::CpuInterface::new(Nonsense::new(seed));
        let _ = cpu.init();
        for _ in 0..20 {
            if let Some(acknowledged) = cpu.acknowledge() {
                prop_assert!(acknowledged.interrupt().0 >= 16);
                cpu.drop_priority(&acknowledged);
                cpu.deactivate(acknowledged);
            }
        }
        let mut guest = v3::VirtualInterface::new(Nonsense::new(seed));
        guest.init();
        prop_assert!((1..=16).contains(&guest.list_registers()));
        for (index, register) in registers.iter().enumerate() {
            guest.write(index, register);
            guest.state(index);
            guest.clear(index);
            prop_assert!(guest.empty() <= 0xFFFF && guest.ended() <= 0xFFFF);
            guest.enable(Attention { deactivation: Wanted::Yes, ..Attention::default() });
            prop_assert!(guest.disable() < 32);
            let kept = guest.guest();
            guest.set_guest(&kept);
            guest.end_mode(&kept);
            guest.maintenance();
        }
    }
}
