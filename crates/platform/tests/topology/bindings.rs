//! The examples of the bindings.

use crate::edit::Dt;
use crate::invariants;
use vcm::PhysicalAddress;
use vcm_platform::topology::{
    Attachment, IommuKind, IommuPlace, MsiControllerKind, MsiParent, PciHost, PciSpace, PhysicalRange,
    Topology,
};

const BLOB: &[u8] = include_bytes!("bindings.dtb");
const ON_BUS: &str = "/bus/pcie@60000000";

fn load(tree: &Dt) -> Topology {
    let machine = Topology::from_device_tree(&tree.blob()).unwrap();
    invariants::check(&machine);
    machine
}

fn machine() -> Topology {
    load(&Dt::read(BLOB))
}

fn range(base: u64, size: u64) -> PhysicalRange {
    PhysicalRange { base: PhysicalAddress::new(base), size }
}

fn reason<'a>(machine: &'a Topology, path: &str) -> &'a str {
    let mut reasons = machine.passed_over.iter().filter(|passed| passed.path == path);
    &reasons.next().unwrap_or_else(|| panic!("{path} was not passed over: {:#?}", machine.passed_over)).reason
}

fn iommu_index(machine: &Topology, name: &str) -> usize {
    machine.iommus.iter().position(|iommu| iommu.name == name).unwrap()
}

/// The host on the bus, after `change` to its node, which gets the phandles of two IOMMUs.
fn host(change: impl FnOnce(&mut Dt, u32, u32) -> &mut Dt) -> (PciHost, usize, usize) {
    let mut tree = Dt::read(BLOB);
    let (a, b) = (tree.at("/iommu@2b400000").phandle(), tree.at("/iommu@1bccd000").phandle());
    change(tree.at(ON_BUS), a, b);
    let machine = load(&tree);
    let (a, b) = (iommu_index(&machine, "iommu@2b400000"), iommu_index(&machine, "iommu@1bccd000"));
    (machine.pci_host("pcie@60000000").unwrap().clone(), a, b)
}

/// pci-iommu.txt, example 1.
#[test]
fn requester_ids_may_be_the_streams() {
    let (host, iommu, _) = host(|node, _, _| node);
    for requester_id in [0, 1, 0x0108, 0x7fff, 0x8000, 0xffff] {
        assert_eq!(host.stream_of(requester_id), Some((iommu, u32::from(requester_id))));
    }
}

/// pci-iommu.txt, example 2.
#[test]
fn a_mask_makes_one_stream_of_the_functions_of_a_device() {
    let (host, iommu, _) = host(|node, _, _| node.cells("iommu-map-mask", &[0xfff8]));
    for (requester_id, stream) in [(0, 0), (7, 0), (8, 8), (0x010f, 0x0108), (0xffff, 0xfff8)] {
        assert_eq!(host.stream_of(requester_id), Some((iommu, stream)));
    }
}

/// pci-iommu.txt, example 3.
#[test]
fn ranges_may_move_requester_ids() {
    let map = |a| [0x0000, a, 0x8000, 0x8000, 0x8000, a, 0x0000, 0x8000];
    let (host, iommu, _) = host(|node, a, _| node.cells("iommu-map", &map(a)));
    for (requester_id, stream) in [(0, 0x8000), (0x7fff, 0xffff), (0x8000, 0), (0xffff, 0x7fff)] {
        assert_eq!(host.stream_of(requester_id), Some((iommu, stream)));
    }
}

/// pci-iommu.txt, example 4.
#[test]
fn ranges_may_lead_to_several_iommus() {
    let map = |a, b| [0x0000, a, 0x0000, 0x8000, 0x8000, b, 0x0000, 0x8000];
    let (host, a, b) = host(|node, a, b| node.cells("iommu-map", &map(a, b)));
    assert_ne!(a, b);
    assert_eq!((host.stream_of(0), host.stream_of(0x7fff)), (Some((a, 0)), Some((a, 0x7fff))));
    assert_eq!((host.stream_of(0x8000), host.stream_of(0xffff)), (Some((b, 0)), Some((b, 0x7fff))));
}

/// A mask can hide requester ids from every range: they are looked up as what is left of them.
#[test]
fn a_mask_comes_before_the_ranges() {
    let (host, iommu, _) =
        host(|node, a, _| node.cells("iommu-map", &[0x8, a, 0x100, 0x8]).cells("iommu-map-mask", &[0xff]));
    assert_eq!((host.stream_of(0x7), host.stream_of(0x10)), (None, None));
    assert_eq!((host.stream_of(0x8), host.stream_of(0xf)), (Some((iommu, 0x100)), Some((iommu, 0x107))));
    assert_eq!((host.stream_of(0x4508), host.stream_of(0x4507)), (Some((iommu, 0x100)), None));
}

/// pci-msi.txt, example 5: the messages of a function may reach several controllers.
#[test]
fn messages_may_have_several_controllers() {
    let mut tree = Dt::read(BLOB);
    let a = tree.at("/interrupt-controller@2f000000/msi-controller@2f020000").phandle();
    let b = tree.at("/v2m@2c1c0000").phandle();
    let map = [0x0000, a, 0x8000, 0x8000, 0x8000, a, 0x0000, 0x8000, 0x0000, b, 0x0000, 0x1_0000];
    tree.at(ON_BUS).cells("msi-map", &map);
    let machine = load(&tree);
    let host = machine.pci_host("pcie@60000000").unwrap();
    let of = |requester_id| host.msi_map.targets(requester_id).collect::<Vec<_>>();
    assert_eq!(of(0x0000), [(0, 0x8000), (1, 0x0000)]);
    assert_eq!(of(0x7fff), [(0, 0xffff), (1, 0x7fff)]);
    assert_eq!(of(0x8000), [(0, 0x0000), (1, 0x8000)]);
    assert_eq!(host.msi_parent, Some(MsiParent { controller: 1, id: None }));
}

#[test]
fn iommus_of_every_kind_are_found_where_they_are() {
    let machine = machine();
    let found: Vec<_> = machine.iommus.iter().map(|it| (it.name.as_str(), &it.kind, it.place)).collect();
    let registers = |base, size| IommuPlace::Registers(range(base, size));
    let expected = [
        ("iommu@2b400000", &IommuKind::ArmSmmuV3, registers(0x2b40_0000, 0x2_0000)),
        ("iommu@1bccd000", &IommuKind::RiscvIommu, registers(0x1bcc_d000, 0x1000)),
        ("iommu@1bcdd000", &IommuKind::RiscvIommu, registers(0x1bcd_d000, 0x1000)),
        ("iommu@3100", &IommuKind::VirtioMmioIommu, registers(0x3100, 0x100)),
        ("iommu@1,0", &IommuKind::VirtioPciIommu, IommuPlace::Pci { host: 0, function: 0x0008 }),
        // Behind a bridge.
        ("iommu@1,0,0", &IommuKind::RiscvPciIommu, IommuPlace::Pci { host: 0, function: 0x0100 }),
    ];
    assert_eq!(found, expected);
    let smmu = &machine.iommus[0];
    assert_eq!(smmu.msi_parent, Some(MsiParent { controller: 0, id: Some(0xff_0000) }));
    assert!(smmu.coherent_walk && !machine.iommus[1].coherent_walk);
    let names: Vec<_> = smmu.interrupts.iter().filter_map(|it| it.name.as_deref()).collect();
    assert_eq!(names, ["eventq", "gerror", "priq", "cmdq-sync"]);
    let text = machine.to_string();
    assert!(text.contains(", messages to msi-controller@2f020000 as 0xff0000, coherent walks\n"), "{text}");
    assert!(reason(&machine, "/bus/pcie@70000000/iommu@1,0").contains("is passed over"));
    assert!(reason(&machine, "/iommu@1bcdd000").contains("/interrupt-controller@28000000"));
}

#[test]
fn masters_of_the_soc_have_streams_of_32_bits() {
    let machine = machine();
    let streams = |name: &str| {
        let streams = machine.master(name).unwrap().streams().iter();
        streams.map(|it| (machine.iommus[it.iommu].name.as_str(), it.id)).collect::<Vec<_>>()
    };
    let smmu = "iommu@2b400000";
    assert_eq!(streams("accelerator@2b500000"), [(smmu, u32::MAX), (smmu, 0x1_0000)]);
    assert_eq!(streams("master1"), [("iommu@1bccd000", 0), ("iommu@1bccd000", 7)]);
    assert_eq!(streams("virtio@3000"), [("iommu@3100", 23)]);
    assert_eq!(streams("ethernet"), [("iommu@1,0", 0x2_0000)]);
    assert_eq!(machine.masters.len(), 4);
}

/// The example of virtio/pci-iommu.yaml: one IOMMU for two hosts and a platform device.
#[test]
fn an_iommu_on_one_bus_may_translate_another() {
    let machine = machine();
    let iommu = iommu_index(&machine, "iommu@1,0");
    let (own, other) = (&machine.pci_hosts[0], &machine.pci_hosts[1]);
    let around = [own.stream_of(7), own.stream_of(8), own.stream_of(9)];
    assert_eq!(around, [Some((iommu, 7)), None, Some((iommu, 9))]);
    assert_eq!(other.stream_of(8), Some((iommu, 0x1_0008)));
    assert_eq!(other.stream_of(0xffff), Some((iommu, 0x1_ffff)));
}

#[test]
fn functions_are_found_on_the_bus() {
    let machine = machine();
    assert_eq!(machine.master("dma-controller@3,0"), None);
    assert!(reason(&machine, "/pcie@40000000/dma-controller@3,0").contains("requester id"));
    // Where nothing translates them they are as direct as others.
    let mut tree = Dt::read(BLOB);
    tree.at("/pcie@40000000").remove("iommu-map");
    let machine = load(&tree);
    assert_eq!(machine.master("dma-controller@3,0").unwrap().attachment, Attachment::Direct);
}

#[test]
fn windows_go_through_every_bus_on_the_way_up() {
    let machine = machine();
    let host = machine.pci_host("pcie@60000000").unwrap();
    assert_eq!(host.ecam, range(0x10_6000_0000, 0x100_0000));
    let found = host.windows.iter().map(|it| (it.space, it.prefetchable, it.pci_address, it.range));
    let expected = [
        (PciSpace::Io, false, 0, range(0x10_6100_0000, 0x1_0000)),
        (PciSpace::Memory32, false, 0x8000_0000, range(0x10_6200_0000, 0x200_0000)),
        (PciSpace::Memory32, true, 0x9000_0000, range(0x10_6400_0000, 0x200_0000)),
        (PciSpace::Memory64, true, 0x4_0000_0000, range(0x10_6600_0000, 0x200_0000)),
    ];
    assert_eq!(found.collect::<Vec<_>>(), expected);
    // The bus says it for what is on it.
    assert!(host.coherent);
    let mut tree = Dt::read(BLOB);
    tree.at(ON_BUS).set("dma-noncoherent", &[]);
    assert!(!load(&tree).pci_host("pcie@60000000").unwrap().coherent);
}

#[test]
fn windows_that_lead_nowhere_are_passed_over() {
    let mut tree = Dt::read(BLOB);
    let configuration = [0, 0, 0, 0x6000_0000, 0, 0x1000];
    let outside = [0x0200_0000, 0, 0x8000_0000, 0x9000_0000, 0, 0x1000];
    let empty = [0x0200_0000, 0, 0x8000_0000, 0x6200_0000, 0, 0];
    tree.at(ON_BUS).cells("ranges", &[configuration, outside, empty].concat());
    let machine = load(&tree);
    assert_eq!(machine.pci_host("pcie@60000000").unwrap().windows, []);
    let passed = machine.passed_over.iter().filter(|passed| passed.path == ON_BUS);
    let reasons: Vec<_> = passed.map(|passed| passed.reason.as_str()).collect();
    assert!(reasons.contains(&"a window of configuration space: it has its own"), "{reasons:?}");
    let nowhere = "a window: 0x1000 bytes from 0x90000000 are in no window of /bus";
    assert!(reasons.contains(&nowhere), "{reasons:?}");
}

#[test]
fn configuration_space_begins_at_the_first_bus() {
    let (host, _, _) = host(|node, _, _| node);
    assert_eq!(host.buses, 0x10..=0x1f);
    assert_eq!(host.configuration_space(0x1000), Some(PhysicalAddress::new(0x10_6000_0000)));
    assert_eq!(host.configuration_space(0x1123), Some(PhysicalAddress::new(0x10_6012_3000)));
    assert_eq!((host.configuration_space(0x0fff), host.configuration_space(0x2000)), (None, None));
}

#[test]
fn a_host_has_the_buses_that_its_configuration_space_has_room_for() {
    let machine = machine();
    // Without `bus-range`: 16 MiB.
    assert_eq!(machine.pci_hosts[0].buses, 0..=0xf);
    let mut tree = Dt::read(BLOB);
    tree.at(ON_BUS).cells("bus-range", &[0x10, 0x2ff]);
    let machine = load(&tree);
    assert_eq!(machine.pci_host("pcie@60000000").unwrap().buses, 0x10..=0x1f);
    let reason = "its buses from 0x20 on have no configuration space";
    assert!(machine.passed_over.iter().any(|it| it.path == ON_BUS && it.reason == reason));
}

#[test]
fn wired_interrupts_go_to_the_controllers_that_are_understood() {
    let machine = machine();
    let host = machine.pci_host("pcie@60000000").unwrap();
    let number = |requester_id, pin| host.interrupt_of(requester_id, pin).map(|it| it.number);
    assert_eq!((number(0, 1), number(0x8, 1), number(0x18, 1)), (Some(36), Some(37), Some(39)));
    // The function and the bus do not count, the pin does.
    assert_eq!((number(0x100b, 1), number(0x8, 2)), (Some(37), None));
    assert_eq!(number(0x10, 1), None);
    let of_aplic = "its wired interrupts go to /interrupt-controller@d000000, which is not a GIC";
    assert_eq!(reason(&machine, ON_BUS), of_aplic);
}

#[test]
fn one_interrupt_may_serve_all_pins() {
    let mut tree = Dt::read(BLOB);
    let gic = tree.at("/interrupt-controller@2c001000").phandle();
    let node = tree.at(ON_BUS);
    node.cells("interrupt-map", &[0, 0, 0, 0, gic, 0, 9, 4]).cells("interrupt-map-mask", &[0, 0, 0, 0]);
    let machine = load(&tree);
    let host = machine.pci_host("pcie@60000000").unwrap();
    assert_eq!(host.interrupt_of(0x1234, 3).unwrap().number, 41);
}

#[test]
fn wired_interrupts_that_no_function_has_are_passed_over() {
    let mut tree = Dt::read(BLOB);
    let gic = tree.at("/interrupt-controller@2c001000").phandle();
    let node = tree.at(ON_BUS);
    node.cells("interrupt-map", &[0x0200_0000, 0, 0, 1, gic, 0, 9, 4]).remove("interrupt-map-mask");
    let machine = load(&tree);
    assert_eq!(machine.pci_host("pcie@60000000").unwrap().interrupt_map, []);
    assert!(reason(&machine, ON_BUS).starts_with("wired interrupts of what no function is"));
}

#[test]
fn controllers_of_messages_are_found() {
    let machine = machine();
    let found: Vec<_> = machine.msi_controllers.iter().map(|it| (it.kind, it.registers)).collect();
    let frame = MsiControllerKind::GicV2m { first_interrupt: Some(80), interrupts: Some(32) };
    let its = MsiControllerKind::GicV3Its;
    assert_eq!(found, [(its, range(0x2f02_0000, 0x2_0000)), (frame, range(0x2c1c_0000, 0x1_0000))]);
    assert!(reason(&machine, "/interrupt-controller@28000000").contains("qemu,imsics, riscv,imsics"));
    assert!(reason(&machine, "/interrupt-controller@d000000").contains("riscv,aplic"));
    let names: Vec<_> = machine.interrupt_controllers.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["interrupt-controller@2f000000", "interrupt-controller@2c001000"]);
}

#[test]
fn further_msi_parents_are_passed_over() {
    let mut tree = Dt::read(BLOB);
    let its = tree.at("/interrupt-controller@2f000000/msi-controller@2f020000").phandle();
    let (frame, imsics) =
        (tree.at("/v2m@2c1c0000").phandle(), tree.at("/interrupt-controller@28000000").phandle());
    tree.at("/iommu@2b400000").cells("msi-parent", &[imsics, its, 5, frame]);
    let machine = load(&tree);
    assert_eq!(machine.iommus[0].msi_parent, Some(MsiParent { controller: 0, id: Some(5) }));
    let passed = machine.passed_over.iter().filter(|passed| passed.path == "/iommu@2b400000");
    let reasons: Vec<_> = passed.map(|passed| passed.reason.as_str()).collect();
    let expected = [
        "its MSI parent /interrupt-controller@28000000 is no MSI controller that is understood",
        "a further MSI parent: /v2m@2c1c0000",
    ];
    assert_eq!(reasons, expected);
}

/// Old trees leave out what the controller asks for.
#[test]
fn an_msi_parent_may_be_a_lone_phandle() {
    let mut tree = Dt::read(BLOB);
    let its = tree.at("/interrupt-controller@2f000000/msi-controller@2f020000").phandle();
    tree.at("/iommu@2b400000").cells("msi-parent", &[its]);
    assert_eq!(load(&tree).iommus[0].msi_parent, Some(MsiParent { controller: 0, id: None }));
}

#[test]
fn processors_may_have_ids_of_64_bits() {
    let machine = machine();
    assert_eq!(machine.cpus[0].id, 1 << 32);
    assert_eq!(machine.memories[0].usable, [range(0x8_8000_0000, 4 << 30)]);
}

#[test]
fn hosts_that_are_off_or_unknown_leave_their_iommus_out() {
    let mut tree = Dt::read(BLOB);
    tree.at("/pcie@40000000").string("status", "disabled");
    let machine = load(&tree);
    assert_eq!(reason(&machine, "/pcie@40000000"), "it is disabled");
    assert_eq!(reason(&machine, "/pcie@40000000/iommu@1,0"), "/pcie@40000000 is disabled");
    assert!(reason(&machine, "/bus/pcie@70000000").contains("example,pcie-that-needs-setting-up"));
    // The other host's functions are behind an IOMMU that is not there.
    let host = machine.pci_host("pcie@50000000").unwrap();
    assert_eq!(host.stream_of(0), None);
    assert!(reason(&machine, &host.path).contains("which is passed over"));
    assert!(reason(&machine, "/ethernet").contains("/pcie@40000000/iommu@1,0"));
}

#[test]
fn what_a_host_has_beyond_the_binding_is_passed_over() {
    let mut tree = Dt::read(BLOB);
    let node = tree.at(ON_BUS);
    node.cells("reg", &[0x6000_0000, 0x100_0000, 0x7800_0000, 0x1000]);
    node.cells("dma-ranges", &[0x0200_0000, 0, 0, 0, 0x10, 0]);
    node.child("pcie@0").string("compatible", "pci-host-ecam-generic");
    let machine = load(&tree);
    let passed: Vec<_> = machine.passed_over.iter().filter(|it| it.path.starts_with(ON_BUS)).collect();
    let said = |words: &str| passed.iter().any(|it| it.reason.contains(words));
    assert!(said("second register window") && said("dma-ranges") && said("a PCI host on the bus of another"));
    // DMA at the same addresses as everywhere is what is modelled.
    let mut tree = Dt::read(BLOB);
    tree.at(ON_BUS).set("dma-ranges", &[]);
    assert_eq!(load(&tree).passed_over, load(&Dt::read(BLOB)).passed_over);
}

#[test]
fn a_virtio_device_is_an_iommu_only_where_it_says_so() {
    let mut tree = Dt::read(BLOB);
    tree.at("/iommu@3100").remove("#iommu-cells");
    tree.at("/virtio@3000").remove("iommus");
    let machine = load(&tree);
    assert_eq!(machine.iommu("iommu@3100"), None);
    assert!(machine.passed_over.iter().all(|passed| passed.path != "/iommu@3100"));
}
