//! Trees from elsewhere: what is unknown is passed over, and says why.

use crate::edit::Dt;
use crate::invariants;
use vcm::PhysicalAddress;
use vcm_platform::topology::{Attachment, InterruptKind, MemoryKind, PhysicalRange, Topology, Trigger};

const BLOB: &[u8] = include_bytes!("real-shapes.dtb");

fn machine() -> Topology {
    let machine = Topology::from_device_tree(BLOB).unwrap();
    invariants::check(&machine);
    machine
}

fn range(base: u64, size: u64) -> PhysicalRange {
    PhysicalRange { base: PhysicalAddress::new(base), size }
}

/// The reason why the node at `path` was passed over.
fn reason(machine: &Topology, path: &str) -> String {
    let mut reasons = machine.passed_over.iter().filter(|passed| passed.path == path);
    reasons
        .next()
        .unwrap_or_else(|| panic!("{path} was not passed over: {:#?}", machine.passed_over))
        .reason
        .clone()
}

#[test]
fn addresses_go_through_every_bus_on_the_way_up() {
    let machine = machine();
    let iommu = machine.iommu("iommu@500000").unwrap();
    assert_eq!(iommu.path, "/soc/multimedia/iommu@500000");
    assert_eq!(iommu.registers(), Some(range(0x10_0750_0000, 0x10_0000)));
    assert!(iommu.coherent_walk);
    let display = machine.master("display@5100000").unwrap();
    assert_eq!(display.registers, [range(0x10_0510_0000, 0xf_0000)]);
}

#[test]
fn interrupts_find_their_controller() {
    let machine = machine();
    let display = machine.master("display@5100000").unwrap();
    let found: Vec<_> =
        display.interrupts.iter().map(|it| (it.name.as_deref(), it.number, it.trigger)).collect();
    assert_eq!(
        found,
        [(Some("vsync"), 107, Trigger::LevelHigh), (Some("underrun"), 108, Trigger::EdgeRising)]
    );
    let gpio = "interrupt 2 goes to /soc/gpio@800000, which is not a GIC";
    assert!(machine.passed_over.iter().any(|it| it.path == display.path && it.reason == gpio));
    let bridge = machine.master("bridge@48").unwrap();
    assert_eq!(bridge.interrupts, []);
    // Old trees leave the trigger out.
    let context = &machine.iommu("graphics").unwrap().msm().unwrap().contexts[0];
    let [interrupt] = context.interrupts.as_slice() else { panic!() };
    assert_eq!(
        (interrupt.kind, interrupt.number, interrupt.trigger),
        (InterruptKind::Shared, 273, Trigger::Unspecified)
    );
}

#[test]
fn a_private_interrupt_is_below_the_shared_ones() {
    let mut tree = Dt::read(BLOB);
    tree.at("/soc/display@5100000").remove("interrupts-extended").cells("interrupts", &[1, 10, 0x304]);
    let machine = Topology::from_device_tree(&tree.blob()).unwrap();
    let interrupt = &machine.master("display@5100000").unwrap().interrupts[0];
    assert_eq!(
        (interrupt.kind, interrupt.number, interrupt.trigger),
        (InterruptKind::Private, 26, Trigger::LevelHigh)
    );
}

#[test]
fn iommus_that_are_off_or_unknown_leave_their_masters_out() {
    let machine = machine();
    let names: Vec<_> = machine.iommus.iter().map(|iommu| iommu.name.as_str()).collect();
    assert_eq!(names, ["iommu@500000", "graphics", "turns"]);
    assert_eq!(reason(&machine, "/soc/multimedia/iommu@600000"), "it is disabled");
    assert!(reason(&machine, "/soc/iommu@5300000").contains("arm,mmu-500"));
    assert!(reason(&machine, "/soc/camera@5200000").contains("/soc/multimedia/iommu@600000"));
    assert!(reason(&machine, "/soc/usb@5400000").contains("/soc/iommu@5300000"));
    assert_eq!(machine.master("camera@5200000"), None);
    // A master keeps the streams that do work.
    let display = machine.master("display@5100000").unwrap();
    assert_eq!(display.streams().iter().map(|stream| stream.id).collect::<Vec<_>>(), [0, 2]);
}

#[test]
fn contexts_of_the_original_binding_are_masters_when_they_translate_something() {
    let machine = machine();
    let graphics = machine.iommu("graphics").unwrap();
    assert_eq!(graphics.registers().unwrap().size, 0x1_0000);
    let graphics = graphics.msm().unwrap();
    assert_eq!((graphics.context_banks, graphics.global_offset), (3, 0xf000));
    let contexts: Vec<_> =
        graphics.contexts.iter().map(|context| (context.name.as_str(), context.number)).collect();
    assert_eq!(contexts, [("graphics_user", Some(0)), ("graphics_spare", Some(2))]);
    assert!(machine.master("graphics_user").is_some());
    assert!(machine.master("graphics_spare").is_none());
    assert_eq!(reason(&machine, "/soc/graphics-iommu@d880000/context@d881000"), "it is disabled");
    assert!(reason(&machine, "/soc/graphics-iommu@d880000/monitor").contains("not a context"));
}

#[test]
fn contexts_may_take_turns_on_the_banks() {
    let machine = machine();
    let turns = machine.iommu("turns").unwrap().msm().unwrap();
    assert_eq!((turns.context_banks, turns.global_offset), (1, 0xf_f000));
    assert!(turns.contexts.iter().all(|context| context.number.is_none()));
    assert_eq!(machine.master("turn_b").unwrap().streams()[0].context.as_deref(), Some("turn_b"));
}

#[test]
fn dma_controllers_without_an_iommu_are_direct_masters() {
    let machine = machine();
    let direct = machine.masters.iter().filter(|master| master.attachment == Attachment::Direct);
    let names: Vec<_> = direct.map(|master| master.name.as_str()).collect();
    assert_eq!(names, ["dma-controller@12182000", "bridge@48", "card@0,0", "dma-controller@0"]);
    assert_eq!(
        reason(&machine, "/soc/serial-bus@12440000/dma-controller@12450000"),
        "/soc/serial-bus@12440000 is disabled"
    );
    assert!(reason(&machine, "/soc/pcie@1b500000").contains("iommu-map"));
    for unreachable in
        ["/soc/i2c@12460000/bridge@48", "/soc/no-window/dma-controller@0", "/soc/pcie@1b500000/card@0,0"]
    {
        assert!(reason(&machine, unreachable).starts_with("its registers: "), "{unreachable}");
    }
}

#[test]
fn memory_is_what_is_left_after_reservations() {
    let machine = machine();
    assert!(reason(&machine, "/memory@0").contains("boot loader"));
    assert!(reason(&machine, "/sram@84000000").contains("a part of another memory"));
    assert!(reason(&machine, "/reserved-memory/placed-later").contains("without an address"));
    let names: Vec<_> = machine.memories.iter().map(|memory| (memory.name.as_str(), memory.kind)).collect();
    let main = MemoryKind::Main;
    assert_eq!(
        names,
        [("memory@80000000", main), ("memory@80000000.1", main), ("sram@1000000", MemoryKind::OnChip)]
    );
    // Without the firmware's two parts, the blob's own reservation and the log; with the part that is only lent.
    let usable =
        [range(0x8020_0000, 0x3e0_0000), range(0x8401_0000, 0x3ff_0000), range(0x8810_0000, 0x17e0_0000)];
    assert_eq!(machine.memories[0].usable, usable);
    let reserved: Vec<_> =
        machine.memories[0].reserved.iter().map(|reserved| reserved.name.as_str()).collect();
    assert_eq!(reserved, ["firmware@80000000", "sram@84000000", "memreserve", "log@9ff00000"]);
    assert_eq!(machine.memories[1].usable, [range(0x8_0000_0000, 1 << 32)]);
    assert_eq!(machine.memories[2].usable, [range(0x10_0100_0100, 0xff00)]);
}

#[test]
fn processors_that_are_off_are_passed_over() {
    let machine = machine();
    assert_eq!(
        machine.cpus.iter().map(|cpu| (cpu.name.as_str(), cpu.id)).collect::<Vec<_>>(),
        [("cpu@100", 0x100)]
    );
    assert_eq!(reason(&machine, "/cpus/cpu@101"), "it is disabled");
    assert_eq!(machine.interrupt_controllers[0].registers.len(), 4);
}

#[test]
fn a_tree_without_anything_is_a_machine_without_anything() {
    let machine = Topology::from_device_tree(&Dt::new("").blob()).unwrap();
    invariants::check(&machine);
    assert_eq!(machine.name, "unnamed");
    assert!(machine.iommus.is_empty() && machine.masters.is_empty() && machine.memories.is_empty());
    assert_eq!(machine.passed_over, []);
}

#[test]
fn a_node_name_that_is_taken_on_another_bus_gives_way_to_the_path() {
    let mut tree = Dt::read(BLOB);
    tree.at("/soc/no-window").child("dma-controller@12182000").cells("#dma-cells", &[1]);
    let machine = Topology::from_device_tree(&tree.blob()).unwrap();
    invariants::check(&machine);
    assert!(machine.master("dma-controller@12182000").is_some());
    assert!(machine.master("/soc/no-window/dma-controller@12182000").is_some());
}

/// The Devicetree Specification ends names at 31 characters; trees in use do not.
#[test]
fn long_names_are_taken() {
    let mut tree = Dt::read(BLOB);
    tree.at("/soc/usb@5400000").cells("snps,quirk-frame-length-adjustment", &[0x20]);
    tree.at("/soc").child("a-node-with-a-name-of-more-than-31-characters@0");
    assert_eq!(Topology::from_device_tree(&tree.blob()).unwrap().masters, machine().masters);
}

#[test]
fn bytes_after_the_blob_are_ignored() {
    let padded: Vec<u8> = BLOB.iter().copied().chain([0xff; 100]).collect();
    assert_eq!(Topology::from_device_tree(&padded), Ok(machine()));
}
