//! Stories of guests and their interrupt controllers' registers.

mod frames_machine;

use frames_machine::{APART, World};
use vcm_irq::host::{Handled, OpenLine};
use vcm_irq::kvm::{Mode, join};
use vcm_irq::vgic::{
    CompletionBy, Config, Frame, GuestCpuInterface, Model, SgiRegister, VmId, Width, affinity,
};
use vcm_irq::{GuestInterrupt, HostInterrupt, Sense, VcpuId};

const GICD: Frame = Frame::Distributor;
/// The physical interrupt and the guest's, which have nothing in common.
const LINE: u32 = 50;
const GUEST: u32 = 40;

fn world(model: Model, vcpus: u16) -> World {
    World::new(Config { id: VmId(1), model, completion: CompletionBy::Guest, vcpus, interrupts: 96 }, 64, 4)
}

fn joined(world: &World, sense: Sense) -> OpenLine {
    let line = world.host().open(HostInterrupt(LINE), sense).unwrap();
    assert_eq!(join(&world.vm, line, GuestInterrupt(GUEST)), Ok(Mode::Forwarded));
    line
}

fn write(world: &World, by: u16, offset: u64, value: u64) {
    world.write(by, GICD, offset, Width::Word, value);
}

fn read(world: &World, by: u16, offset: u64) -> u64 {
    world.read(by, GICD, offset, Width::Word)
}

/// What Linux does with a GICv2 when it starts.
fn start_like_linux(world: &World) {
    write(world, 0, 0x000, 0);
    let interrupts = ((read(world, 0, 0x004) & 0x1F) + 1) * 32;
    assert_eq!(interrupts, 96);
    let own = (0..32).step_by(4).fold(0, |mask, place| mask | read(world, 0, 0x800 + place));
    let own = own | own >> 16;
    let own = (own | own >> 8) & 0xFF;
    assert_eq!(own, 1, "the CPU that asks");
    for place in (32..interrupts).step_by(4) {
        write(world, 0, 0x800 + place, own * 0x0101_0101);
    }
    for place in (32..interrupts).step_by(16) {
        write(world, 0, 0xC00 + place / 4, 0);
    }
    for place in (32..interrupts).step_by(4) {
        write(world, 0, 0x400 + place, 0xA0A0_A0A0);
    }
    for place in (32..interrupts).step_by(32) {
        write(world, 0, 0x380 + place / 8, 0xFFFF_FFFF);
        write(world, 0, 0x180 + place / 8, 0xFFFF_FFFF);
    }
    write(world, 0, 0x000, 1);
    for vcpu in 0..world.vm.config().vcpus {
        assert_eq!(read(world, vcpu, 0x800), 0x0101_0101 << vcpu);
        write(world, vcpu, 0x380, 0xFFFF_FFFF);
        write(world, vcpu, 0x180, 0xFFFF_0000);
        write(world, vcpu, 0x100, 0x0000_FFFF);
        for place in (0..32).step_by(4) {
            write(world, vcpu, 0x400 + place, 0xA0A0_A0A0);
        }
    }
}

#[test]
fn linux_starts_on_gicv2_and_a_device_interrupts_it() {
    let world = world(Model::V2, 2);
    joined(&world, Sense::Level);
    start_like_linux(&world);
    assert_eq!(read(&world, 0, 0x000), 1);
    assert_eq!(read(&world, 1, 0x100), 0xFFFF);
    // The driver asks for the interrupt on CPU 1.
    world.write(0, GICD, 0x800 + u64::from(GUEST), Width::Byte, 2);
    write(&world, 0, 0x104, 1 << (GUEST - 32));
    assert!(world.lines.get(LINE).enabled);
    world.lines.drive(LINE, true);
    assert_eq!(world.take_interrupts(), [Handled::Forwarded]);
    assert_eq!(world.acknowledge(0), None);
    assert_eq!(world.acknowledge(1), Some(GUEST));
    assert_eq!(read(&world, 0, 0x304), 1 << (GUEST - 32), "seen by the other CPU");
    world.lines.drive(LINE, false);
    assert_eq!(world.end(1), Some(GUEST));
    assert!(!world.lines.get(LINE).active, "the guest's end is the physical end");
    assert_eq!(read(&world, 0, 0x304), 0);
    assert_eq!(world.take_interrupts(), []);
    assert_eq!(world.vm.ignored_accesses(), 0);
}

#[test]
fn what_the_guest_masks_is_masked_at_the_host() {
    let world = world(Model::V2, 1);
    joined(&world, Sense::Level);
    write(&world, 0, 0x000, 1);
    let bit = 1 << (GUEST - 32);
    write(&world, 0, 0x104, bit);
    world.lines.drive(LINE, true);
    assert_eq!(world.take_interrupts(), [Handled::Forwarded]);
    // A driver that ends the interrupt before its thread has quieted the device: it masks first.
    assert_eq!(world.acknowledge(0), Some(GUEST));
    write(&world, 0, 0x184, bit);
    assert!(!world.lines.get(LINE).enabled);
    world.end(0);
    assert_eq!(world.take_interrupts(), [], "no extra interrupt, although the device still asks");
    assert_eq!(read(&world, 0, 0x204), bit, "which the guest can see");
    world.lines.drive(LINE, false);
    write(&world, 0, 0x104, bit);
    assert_eq!(world.take_interrupts(), []);
    world.lines.drive(LINE, true);
    assert_eq!(world.take_interrupts(), [Handled::Forwarded]);
}

#[test]
fn pending_and_active_are_mirrored() {
    for sense in [Sense::Edge, Sense::Level] {
        let world = world(Model::V2, 2);
        joined(&world, sense);
        let bit = 1 << (GUEST - 32);
        write(&world, 0, 0x000, 1);
        write(&world, 0, 0x104, bit);
        write(&world, 0, 0x204, bit);
        assert!(world.lines.get(LINE).latched, "the host's becomes pending");
        assert_eq!(world.take_interrupts(), [Handled::Forwarded]);
        assert!(world.lines.get(LINE).active);
        assert_eq!(read(&world, 1, 0x284), bit);
        write(&world, 1, 0x284, bit);
        assert!(!world.lines.get(LINE).active, "taken back");
        assert_eq!(world.acknowledge(0), None);
        write(&world, 0, 0x304, bit);
        assert!(world.lines.get(LINE).active);
        write(&world, 1, 0x384, bit);
        assert!(!world.lines.get(LINE).active);
        assert_eq!(read(&world, 0, 0x304), 0);
    }
}

#[test]
fn software_generated_interrupts_have_senders() {
    let world = world(Model::V2, 3);
    start_like_linux(&world);
    // From 0 and 1 to 2, by list.
    write(&world, 0, 0xF00, 4 << 16 | 3);
    write(&world, 1, 0xF00, 4 << 16 | 3);
    assert_eq!(world.read(2, GICD, 0xF23, Width::Byte), 0b011);
    assert_eq!(world.read(1, GICD, 0xF23, Width::Byte), 0, "banked");
    assert_eq!(world.acknowledge(2), Some(3));
    assert_eq!(world.read(2, GICD, 0xF13, Width::Byte), 0b010, "one sender's is taken");
    world.end(2);
    assert_eq!(world.acknowledge(2), Some(3), "the other's comes after it");
    world.end(2);
    world.leave(2);
    assert_eq!(world.acknowledge(2), None);
    // To all others, to itself, and the reserved filter.
    write(&world, 1, 0xF00, 1 << 24 | 0xFF << 16 | 5);
    let pending = |vcpu: u16| read(&world, vcpu, 0x200);
    assert_eq!([pending(0), pending(1), pending(2)], [1 << 5, 0, 1 << 5]);
    write(&world, 1, 0xF00, 2 << 24 | 6);
    assert_eq!([pending(0), pending(1), pending(2)], [1 << 5, 1 << 6, 1 << 5]);
    write(&world, 1, 0xF00, 3 << 24 | 0xFF << 16 | 7);
    assert_eq!(pending(0), 1 << 5);
    // Set and taken back by sender; a sender that there is not is passed over.
    world.write(0, GICD, 0xF24, Width::Byte, 0b1110);
    assert_eq!(world.read(0, GICD, 0xF24, Width::Byte), 0b0110);
    world.write(0, GICD, 0xF14, Width::Byte, 0b0010);
    assert_eq!(world.read(0, GICD, 0xF14, Width::Byte), 0b0100);
    // Writes to the pending registers are for others (Arm IHI 0048B.b 4.3.7).
    write(&world, 0, 0x280, 0xFFFF);
    assert_eq!(pending(0), 1 << 4 | 1 << 5);
}

#[test]
fn gicv3_software_generated_interrupts_go_by_affinity_and_group() {
    let world = world(Model::V3, 20);
    let pending = |vcpu: u16| world.read(vcpu, Frame::Redistributor(VcpuId(vcpu)), 0x1_0200, Width::Word);
    let all =
        |interrupt: u32| (0..20).filter(|vcpu| pending(*vcpu) & 1 << interrupt != 0).collect::<Vec<_>>();
    // Interrupt 4 to affinity 0.0.1.{0,3,7}: the last does not exist.
    world.vm.write_sgi_register(VcpuId(2), SgiRegister::Sgi1, 4 << 24 | 1 << 16 | 0b1000_1001);
    assert_eq!(all(4), [16, 19]);
    world.vm.write_sgi_register(VcpuId(2), SgiRegister::Sgi1, 1 << 40 | 5 << 24);
    assert_eq!(all(5), (0..20).filter(|vcpu| *vcpu != 2).collect::<Vec<_>>());
    world.vm.write_sgi_register(VcpuId(2), SgiRegister::Sgi1, 1 << 32 | 6 << 24 | 0xFFFF);
    world.vm.write_sgi_register(VcpuId(2), SgiRegister::Sgi1, 1 << 48 | 6 << 24 | 0xFFFF);
    assert_eq!(all(6), [0_u16; 0], "another cluster of clusters");
    // vCPU 1 has it in group 1, vCPU 0 in group 0.
    world.write(1, Frame::Redistributor(VcpuId(1)), 0x1_0080, Width::Word, 1 << 7);
    world.vm.write_sgi_register(VcpuId(2), SgiRegister::Sgi0, 7 << 24 | 0b11);
    assert_eq!(all(7), [0]);
    world.vm.write_sgi_register(VcpuId(2), SgiRegister::AliasSgi1, 7 << 24 | 0b110);
    assert_eq!(all(7), [0, 2]);
    world.vm.write_sgi_register(VcpuId(2), SgiRegister::Sgi1, 7 << 24 | 0b11);
    assert_eq!(all(7), [0, 1, 2]);
    assert_eq!(world.vm.ignored_accesses(), 0);
    world.vm.write_sgi_register(VcpuId(20), SgiRegister::Sgi1, 7 << 24);
    assert_eq!(world.vm.ignored_accesses(), 1, "from nobody");
}

#[test]
fn a_route_is_kept_wherever_it_leads() {
    let world = world(Model::V3, 20);
    joined(&world, Sense::Edge);
    let router = 0x6000 + 8 * u64::from(GUEST);
    let read = |width| world.read(0, GICD, router, width);
    write(&world, 0, 0x000, 3);
    write(&world, 0, 0x104, 1 << (GUEST - 32));
    // To nobody: it waits at nobody's, and the guest reads what it wrote, without level 3 and the choice of any CPU.
    world.write(0, GICD, router, Width::DoubleWord, 0xFF_80AB_0105);
    assert_eq!([read(Width::DoubleWord), read(Width::Word)], [0xAB_0105; 2]);
    assert_eq!(world.read(0, GICD, router + 4, Width::Word), 0);
    // To vCPU 17, by halves.
    world.write(0, GICD, router, Width::Word, u64::from(affinity(VcpuId(17))));
    world.write(0, GICD, router + 4, Width::Word, 0xFF);
    assert_eq!(read(Width::DoubleWord), 0x101);
    world.lines.drive(LINE, true);
    assert_eq!(world.take_interrupts(), [Handled::Forwarded]);
    assert_eq!(
        [world.acknowledge(0), world.acknowledge(1), world.acknowledge(17)],
        [None, None, Some(GUEST)]
    );
}

#[test]
fn redistributors_are_where_their_vcpus_are() {
    let world = world(Model::V3, 18);
    for vcpu in 0..18_u16 {
        let frame = Frame::Redistributor(VcpuId(vcpu));
        let expected = u64::from(vcpu / 16) << 40 | u64::from(vcpu % 16) << 32 | u64::from(vcpu) << 8;
        let last = if vcpu == 17 { 1 << 4 } else { 0 };
        assert_eq!(world.read(0, frame, 0x8, Width::DoubleWord), expected | last);
        assert_eq!(world.read(0, frame, 0xC, Width::Word), (expected | last) >> 32);
        assert_eq!(world.read(0, frame, 0xFFE8, Width::Word) >> 4 & 0xF, 3);
        // Linux wakes it, and waits until it is awake.
        world.write(0, frame, 0x14, Width::Word, 0);
        assert_eq!(world.read(0, frame, 0x14, Width::Word) & 0b100, 0);
    }
    assert_eq!(world.vm.ignored_accesses(), 0);
}

#[test]
fn another_vcpu_deactivates() {
    let world = world(Model::V2, 2);
    for vcpu in 0..2 {
        let guest = GuestCpuInterface { control: APART, ..GuestCpuInterface::default() };
        world.seat(vcpu).vcpu.set_guest(guest);
    }
    joined(&world, Sense::Level);
    start_like_linux(&world);
    write(&world, 0, 0x104, 1 << (GUEST - 32));
    world.lines.drive(LINE, true);
    world.take_interrupts();
    assert_eq!(world.acknowledge(0), Some(GUEST));
    assert_eq!(world.end(0), Some(GUEST));
    assert!(world.lines.get(LINE).active, "its priority is dropped, no more");
    world.lines.drive(LINE, false);
    world.deactivate(1, GUEST);
    assert!(!world.lines.get(LINE).active);
    assert_eq!(read(&world, 0, 0x304), 0);
}

#[test]
fn everything_that_is_written_is_read_back() {
    for (model, vcpus) in [(Model::V2, 8), (Model::V3, 3)] {
        let world = world(model, vcpus);
        let (private, shift) = match model {
            Model::V2 => (GICD, 0),
            Model::V3 => (Frame::Redistributor(VcpuId(1)), 0x1_0000),
        };
        let mut banks = vec![(GICD, 32, 96, 0)];
        banks.push((private, 0, 32, shift));
        for (frame, from, to, shift) in banks {
            for (base, bits, writable) in [
                (0x080, 1, u32::MAX),
                (0x100, 1, u32::MAX),
                (0x300, 1, u32::MAX),
                (0x400, 8, 0xF8F8_F8F8_u32),
            ] {
                for word in from * bits / 32..to * bits / 32 {
                    let (offset, value) = (shift + base + 4 * word, 0x9E37_79B9 ^ word);
                    world.write(1, frame, offset, Width::Word, value);
                    let expected = value & u64::from(writable);
                    assert_eq!(world.read(1, frame, offset, Width::Word), expected, "{model:?} {offset:#x}");
                }
            }
            for word in from / 16..to / 16 {
                let fixed = if word == 0 { 0xAAAA_AAAA } else { 0 };
                world.write(1, frame, shift + 0xC00 + 4 * word, Width::Word, 0xE41B_27D8);
                let expected = if fixed != 0 { fixed } else { 0xE41B_27D8 & 0xAAAA_AAAA };
                assert_eq!(world.read(1, frame, shift + 0xC00 + 4 * word, Width::Word), expected);
            }
        }
        for place in 32..96 {
            match model {
                Model::V2 => {
                    world.write(0, GICD, 0x800 + place, Width::Byte, place);
                    assert_eq!(world.read(0, GICD, 0x800 + place, Width::Byte), place);
                }
                Model::V3 => {
                    world.write(0, GICD, 0x6000 + 8 * place, Width::DoubleWord, place % 5);
                    assert_eq!(world.read(0, GICD, 0x6000 + 8 * place, Width::DoubleWord), place % 5);
                }
            }
        }
        assert_eq!(world.vm.ignored_accesses(), 0);
    }
}

#[test]
fn what_no_register_takes_is_ignored_and_counted() {
    let world = world(Model::V2, 2);
    let accesses = [
        (GICD, 0x00C, Width::Word),
        (GICD, 0x102, Width::Word),
        (GICD, 0x100, Width::Byte),
        (GICD, 0x400, Width::HalfWord),
        (GICD, 0x100, Width::DoubleWord),
        (GICD, 0x1000, Width::Word),
        (GICD, 1 << 32, Width::Word),
        (GICD, u64::MAX, Width::Byte),
        (Frame::Redistributor(VcpuId(0)), 0, Width::Word),
    ];
    for (count, (frame, offset, width)) in (0..).zip(accesses) {
        assert_eq!(world.read(0, frame, offset, width), 0);
        world.write(0, frame, offset, width, u64::MAX);
        assert_eq!(world.vm.ignored_accesses(), 2 * count + 2, "{frame:?} {offset:#x} {width:?}");
        assert!(width != Width::Word || offset == 0x102 || world.vm.register_at(frame, offset).is_none());
    }
    assert_eq!(read(&world, 0, 0x100), 0);
    let register = world.vm.register_at(GICD, 0x17C).unwrap();
    assert_eq!((register.name, register.section), ("GICD_ISENABLER", "4.3.5"));
}
