//! The GICv2 back-end: each call's register accesses, against numbers from Arm IHI 0048B.b.

#[path = "gic/v2_cpu.rs"]
mod cpu;
mod gic;
#[path = "gic/v2_guest.rs"]
mod guest;

use Access::{Byte, Read, Write};
use gic::{Access, Junk, Window, list_registers, numbers};
use proptest::prelude::*;
use std::sync::Mutex;
use vcm_irq::gic::{AnyAcknowledged, Registers, v2};
use vcm_irq::host::{Controller, CpuInterface as _};
use vcm_irq::vgic::{Attention, Group, VirtualInterface as _};
use vcm_irq::{HostInterrupt, Sense};

/// A distributor with 32 × (`lines` + 1) interrupts.
fn distributor(window: &Window, lines: u32) -> v2::Distributor<&Window> {
    window.fix(0x004, lines);
    let distributor = v2::Distributor::new(window, Group::Zero);
    assert_eq!(window.log(), [Read(0x004)]);
    distributor
}

#[test]
fn the_number_of_interrupts_is_that_of_the_type_register() {
    for lines in 0..32 {
        let window = Window::controller();
        // Other fields do not matter.
        let distributor = distributor(&window, lines | 0xFFFF_FFE0);
        assert_eq!(distributor.interrupts(), (32 * (lines + 1)).min(1020));
    }
}

#[test]
fn each_call_accesses_its_register() {
    let window = Window::controller();
    let distributor = distributor(&window, 7);
    // Interrupt 75 is bit 11 of word 2.
    let line = HostInterrupt(75);
    distributor.enable(line);
    assert_eq!(window.log(), [Write(0x108, 1 << 11), Read(0x108)], "the posted write is read back");
    assert!(distributor.is_enabled(line));
    assert_eq!(window.log(), [Read(0x108)]);
    distributor.disable(line);
    assert_eq!(window.log(), [Write(0x188, 1 << 11), Read(0x188)], "the posted write is read back");
    assert!(!distributor.is_enabled(line));
    window.log();
    distributor.set_pending(line);
    assert_eq!(window.log(), [Write(0x208, 1 << 11)]);
    assert!(distributor.is_pending(line));
    assert!(!distributor.is_pending(HostInterrupt(76)));
    assert_eq!(window.log(), [Read(0x208), Read(0x208)]);
    distributor.clear_pending(line);
    assert_eq!(window.log(), [Write(0x288, 1 << 11)]);
    assert!(!distributor.is_pending(line));
    window.log();
    distributor.set_active(line);
    assert_eq!(window.log(), [Write(0x308, 1 << 11), Read(0x308)]);
    assert!(distributor.is_active(line));
    assert_eq!(window.log(), [Read(0x308)]);
    distributor.deactivate(line);
    assert_eq!(window.log(), [Write(0x388, 1 << 11), Read(0x388)]);
    assert!(!distributor.is_active(line));
    window.log();
    distributor.set_priority(line, 0x58);
    assert_eq!(window.log(), [Byte(0x44B, 0x58)]);
    assert_eq!(distributor.priority(line), 0x58);
    assert_eq!(window.log(), [Read(0x448)]);
    distributor.set_targets(line, 0b101);
    assert_eq!(window.log(), [Byte(0x84B, 0b101)]);
    assert_eq!(distributor.targets(line), 0b101);
    assert_eq!(window.log(), [Read(0x848)]);
    distributor.set_group(line, Group::One);
    assert_eq!(window.writes(), [Write(0x088, 1 << 11)]);
    distributor.set_group(HostInterrupt(64), Group::One);
    distributor.set_group(line, Group::Zero);
    assert_eq!(window.writes(), [Write(0x088, 1 << 11 | 1), Write(0x088, 1)]);
    // The targets of private interrupts are read-only.
    distributor.set_targets(HostInterrupt(30), 1);
    assert_eq!(window.log(), []);
}

#[test]
fn sense_changes_while_the_interrupt_is_disabled() {
    let window = Window::controller();
    let distributor = distributor(&window, 7);
    // Interrupt 75 is field 11 of word 4: bit 23.
    let line = HostInterrupt(75);
    window.poke(0xC10, 0x8000_0002);
    distributor.set_sense(line, Sense::Edge);
    assert_eq!(window.writes(), [Write(0xC10, 0x8080_0002)], "it was disabled and stays so");
    distributor.enable(line);
    window.log();
    distributor.set_sense(line, Sense::Edge);
    assert_eq!(window.log(), [Read(0xC10)], "it is so already");
    distributor.set_sense(line, Sense::Level);
    assert_eq!(window.writes(), [Write(0x188, 1 << 11), Write(0xC10, 0x8000_0002), Write(0x108, 1 << 11)]);
    assert!(distributor.is_enabled(line));
}

#[test]
fn numbers_that_are_not_there_are_passed_over() {
    let window = Window::controller();
    let distributor = distributor(&window, 1);
    for number in [64, 1019, 1020, 1023, 1056, 4096, 8192, u32::MAX] {
        let line = HostInterrupt(number);
        distributor.enable(line);
        distributor.disable(line);
        distributor.set_pending(line);
        distributor.clear_pending(line);
        distributor.set_active(line);
        distributor.deactivate(line);
        distributor.set_sense(line, Sense::Edge);
        distributor.set_priority(line, 0);
        distributor.set_targets(line, 1);
        distributor.set_group(line, Group::One);
        assert!(
            !distributor.is_pending(line) && !distributor.is_active(line) && !distributor.is_enabled(line)
        );
        assert_eq!((distributor.priority(line), distributor.targets(line)), (0, 0));
        assert!(!distributor.has_active_state(line));
    }
    assert_eq!(window.log(), []);
    assert!(!distributor.has_active_state(HostInterrupt(15)));
    assert!(distributor.has_active_state(HostInterrupt(16)));
    assert!(distributor.has_active_state(HostInterrupt(63)));
}

#[test]
fn init_leaves_a_known_state() {
    let window = Window::controller();
    let distributor = distributor(&window, 1);
    // This CPU is number 2.
    window.fix(0x800, 0x0404_0404);
    window.poke(0x104, !0);
    distributor.init();
    let mut expected = vec![
        Write(0x000, 0),
        Write(0x184, !0),
        Write(0x284, !0),
        Write(0x384, !0),
        Write(0x084, 0),
        Write(0xC08, 0),
        Write(0xC0C, 0),
    ];
    expected.extend((0..8).map(|word| Write(0x420 + 4 * word, 0xA0A0_A0A0)));
    expected.extend((0..8).map(|word| Write(0x820 + 4 * word, 0x0404_0404)));
    expected.push(Write(0x000, 1));
    assert_eq!(window.writes(), expected);
    assert_eq!(window.peek(0x104), 0);
    distributor.init_private();
    let mut expected =
        vec![Write(0x180, 0xFFFF_0000), Write(0x280, 0xFFFF_0000), Write(0x380, !0), Write(0x080, 0)];
    expected.extend((0..8).map(|word| Write(0x400 + 4 * word, 0xA0A0_A0A0)));
    expected.push(Write(0x100, 0x0000_FFFF));
    assert_eq!(window.writes(), expected);
}

#[test]
fn init_of_the_largest_distributor_writes_all_its_registers_and_no_others() {
    let window = Window::controller();
    window.fix(0x004, 31);
    v2::Distributor::new(&window, Group::One).init();
    let written: Vec<u32> = window
        .writes()
        .into_iter()
        .map(|access| match access {
            Write(offset, _) => offset,
            other => panic!("{other:?}"),
        })
        .collect();
    let arrays = [
        (0x084, 0x0FC),
        (0x184, 0x1FC),
        (0x284, 0x2FC),
        (0x384, 0x3FC),
        (0x420, 0x7F8),
        (0x820, 0xBF8),
        (0xC08, 0xCFC),
    ];
    let expected: Vec<u32> = arrays.into_iter().flat_map(|(first, last)| (first..=last).step_by(4)).collect();
    let mut sorted = written;
    sorted.sort_unstable();
    assert_eq!(sorted[..2], [0x000, 0x000]);
    assert_eq!(sorted[2..], expected);
    assert_eq!(window.peek(0x000), 2, "group 1 only");
    assert_eq!(window.peek(0x084), !0);
    assert_eq!(window.peek(0xBF8), 0x0101_0101, "no answer of the banked bytes: the first CPU");
}

#[test]
fn init_of_a_distributor_without_shared_interrupts_switches_it_on() {
    let window = Window::controller();
    window.fix(0x004, 0);
    v2::Distributor::new(&window, Group::One).init();
    assert_eq!(window.writes(), [Write(0x000, 0), Write(0x000, 2)]);
}

proptest! {
    #[test]
    fn nonsense_of_the_hardware_does_no_harm(
        seed: u64,
        group in prop::sample::select(vec![Group::Zero, Group::One]),
        numbers in prop::collection::vec(numbers(), 20),
        registers in prop::collection::vec(list_registers(), 20),
    ) {
        let distributor = v2::Distributor::new(Junk::new(seed, 0x1000), group);
        distributor.init();
        distributor.init_private();
        prop_assert!((32..=1020).contains(&distributor.interrupts()));
        for &number in &numbers {
            let line = HostInterrupt(number);
            distributor.enable(line);
            distributor.disable(line);
            distributor.deactivate(line);
            distributor.set_active(line);
            distributor.set_pending(line);
            distributor.clear_pending(line);
            distributor.is_pending(line);
            distributor.is_active(line);
            distributor.is_enabled(line);
            distributor.set_sense(line, Sense::Edge);
            distributor.set_sense(line, Sense::Level);
            distributor.set_priority(line, 1);
            distributor.priority(line);
            distributor.set_targets(line, 1);
            distributor.targets(line);
            distributor.set_group(line, Group::One);
        }
        let mut cpu = v2::CpuInterface::new(Junk::new(seed, 0x2000), group);
        let _ = cpu.init();
        for _ in 0..20 {
            if let Some(acknowledged) = cpu.acknowledge() {
                prop_assert!((16..1020).contains(&acknowledged.interrupt().0));
                cpu.drop_priority(&acknowledged);
                cpu.deactivate(acknowledged);
            }
            if let Some(AnyAcknowledged::SoftwareGenerated(sent)) = cpu.acknowledge_any() {
                prop_assert!(sent.number() < 16 && sent.source().is_some_and(|source| source < 8));
                cpu.end(sent);
            }
        }
        let mut guest = v2::VirtualInterface::new(Junk::new(seed, 0x200));
        guest.init();
        prop_assert!((1..=16).contains(&guest.list_registers()));
        for (index, register) in registers.iter().enumerate() {
            guest.write(index, register);
            guest.state(index);
            guest.clear(index);
            prop_assert!(guest.empty() <= 0xFFFF && guest.ended() <= 0xFFFF);
            guest.enable(Attention::default());
            prop_assert!(guest.disable() < 32);
            let kept = guest.guest();
            guest.set_guest(&kept);
            guest.end_mode(&kept);
            guest.maintenance();
        }
    }
}

/// A window for several CPUs, slow between the reading and the writing of a word.
#[derive(Default)]
struct Shared(Mutex<Vec<u32>>);

impl Registers for Shared {
    fn read(&self, offset: u32) -> u32 {
        let value = self.0.lock().unwrap()[offset as usize / 4];
        std::thread::sleep(std::time::Duration::from_micros(50));
        value
    }
    fn write(&self, offset: u32, value: u32) {
        self.0.lock().unwrap()[offset as usize / 4] = value;
    }
    fn write_byte(&self, _: u32, _: u8) {
        unreachable!("no priorities here")
    }
}

#[test]
fn neighbours_set_their_sense_at_the_same_time() {
    let mut memory = vec![0; 0x400];
    memory[1] = 1;
    let window = Shared(Mutex::new(memory));
    let distributor = &v2::Distributor::new(&window, Group::Zero);
    std::thread::scope(|scope| {
        for first in 0..4_u32 {
            scope.spawn(move || {
                for _ in 0..3 {
                    for line in (0..16).filter(|line| line % 4 == first) {
                        distributor.set_sense(HostInterrupt(32 + line), Sense::Level);
                        distributor.set_sense(HostInterrupt(32 + line), Sense::Edge);
                        distributor.set_group(HostInterrupt(32 + line), Group::One);
                    }
                }
            });
        }
    });
    assert_eq!(window.read(0xC08), 0xAAAA_AAAA);
    assert_eq!(window.read(0x084), 0x0000_FFFF);
}
