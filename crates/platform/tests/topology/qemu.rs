//! The trees of QEMU's machines: everything that a driver needs is found in them.

use crate::invariants;
use vcm::PhysicalAddress;
use vcm_platform::topology::{
    InterruptControllerKind, InterruptKind, IommuKind, IommuPlace, MsiControllerKind, PciHost, PciSpace,
    PhysicalRange, Topology, Trigger, qemu_tree, qemu_tree_names, shipped,
};

fn machine(name: &str) -> Topology {
    let machine = Topology::from_device_tree(qemu_tree(name).unwrap()).unwrap();
    invariants::check(&machine);
    machine
}

fn range(base: u64, size: u64) -> PhysicalRange {
    PhysicalRange { base: PhysicalAddress::new(base), size }
}

/// The reasons why something about the node at `path` was passed over.
fn reasons<'a>(machine: &'a Topology, path: &str) -> Vec<&'a str> {
    let of_node = machine.passed_over.iter().filter(|passed| passed.path == path);
    of_node.map(|passed| passed.reason.as_str()).collect()
}

fn windows(host: &PciHost) -> Vec<(PciSpace, u64, PhysicalRange)> {
    assert!(host.windows.iter().all(|window| !window.prefetchable));
    host.windows.iter().map(|window| (window.space, window.pci_address, window.range)).collect()
}

#[test]
fn the_machines_of_qemu_are_no_socs_to_simulate() {
    let names: Vec<_> = qemu_tree_names().collect();
    let expected =
        ["qemu-riscv-iommu-pci", "qemu-riscv-iommu-sys", "qemu-virt-smmuv3", "qemu-virt-virtio-iommu"];
    assert_eq!(names, expected);
    assert!(names.iter().all(|name| shipped(name).is_none()));
    assert_eq!(qemu_tree("msm8x60"), None);
}

#[test]
fn arm_virt_has_an_smmu_v3_that_translates_every_function() {
    let machine = machine("qemu-virt-smmuv3");
    assert_eq!(machine.passed_over, []);
    let [smmu] = machine.iommus.as_slice() else { panic!("{:?}", machine.iommus) };
    assert_eq!((smmu.name.as_str(), &smmu.kind), ("smmuv3@9050000", &IommuKind::ArmSmmuV3));
    assert_eq!(smmu.place, IommuPlace::Registers(range(0x0905_0000, 0x2_0000)));
    assert!(smmu.coherent_walk && smmu.msi_parent.is_none() && smmu.msm().is_none());
    let found: Vec<_> =
        smmu.interrupts.iter().map(|it| (it.name.as_deref().unwrap(), it.number, it.trigger)).collect();
    let edge = Trigger::EdgeRising;
    let expected =
        [("eventq", 106, edge), ("priq", 107, edge), ("cmdq-sync", 108, edge), ("gerror", 109, edge)];
    assert_eq!(found, expected);

    let [memory] = machine.memories.as_slice() else { panic!() };
    assert_eq!(memory.usable, [range(0x4000_0000, 512 << 20)]);
    let [gic] = machine.interrupt_controllers.as_slice() else { panic!() };
    assert_eq!(gic.kind, InterruptControllerKind::GicV2);
    assert_eq!(gic.registers, [range(0x0800_0000, 0x1_0000), range(0x0801_0000, 0x1_0000)]);
    let [frame] = machine.msi_controllers.as_slice() else { panic!() };
    let kind = MsiControllerKind::GicV2m { first_interrupt: None, interrupts: None };
    assert_eq!((frame.kind, frame.registers), (kind, range(0x0802_0000, 0x1000)));
}

#[test]
fn arm_virt_has_a_pci_host_below_4_gib() {
    let machine = machine("qemu-virt-smmuv3");
    let host = machine.pci_host("pcie@10000000").unwrap();
    assert_eq!((host.ecam, host.buses.clone()), (range(0x3f00_0000, 16 << 20), 0..=0xf));
    assert!(host.coherent);
    let expected = [
        (PciSpace::Io, 0, range(0x3eff_0000, 0x1_0000)),
        (PciSpace::Memory32, 0x1000_0000, range(0x1000_0000, 0x2eff_0000)),
        (PciSpace::Memory64, 0x80_0000_0000, range(0x80_0000_0000, 512 << 30)),
    ];
    assert_eq!(windows(host), expected);

    // Device 2 of bus 0, where the tests put their bus master, and the last function of the last bus.
    assert_eq!(host.configuration_space(0x0010), Some(PhysicalAddress::new(0x3f01_0000)));
    assert_eq!(host.configuration_space(0x0fff), Some(PhysicalAddress::new(0x3fff_f000)));
    assert_eq!(host.configuration_space(0x1000), None);
    assert_eq!(host.stream_of(0x0010), Some((0, 0x10)));
    assert_eq!(host.stream_of(0xffff), Some((0, 0xffff)));
    assert_eq!(host.msi_map.targets(0x0010).collect::<Vec<_>>(), [(0, 0x10)]);

    // Pin and device rotate over four interrupts.
    for device in 0..32u16 {
        for pin in 1..=4u8 {
            let interrupt = host.interrupt_of(device << 3, pin).unwrap();
            let expected = 35 + (u32::from(device) + u32::from(pin) - 1) % 4;
            assert_eq!((interrupt.kind, interrupt.number), (InterruptKind::Shared, expected));
            assert_eq!(interrupt.trigger, Trigger::LevelHigh);
        }
        assert_eq!(host.interrupt_of(device << 3, 0), None);
    }
}

#[test]
fn a_virtio_iommu_is_a_function_that_it_does_not_translate() {
    let machine = machine("qemu-virt-virtio-iommu");
    assert_eq!(machine.passed_over, []);
    let [iommu] = machine.iommus.as_slice() else { panic!("{:?}", machine.iommus) };
    assert_eq!((iommu.name.as_str(), &iommu.kind), ("virtio_iommu@2,0", &IommuKind::VirtioPciIommu));
    assert_eq!(iommu.place, IommuPlace::Pci { host: 0, function: 0x10 });
    assert_eq!(iommu.registers(), None);
    let host = &machine.pci_hosts[0];
    assert_eq!(host.stream_of(0x0010), None);
    assert_eq!(host.stream_of(0x000f), Some((0, 0x0f)));
    assert_eq!(host.stream_of(0x0018), Some((0, 0x18)));
}

#[test]
fn riscv_virt_has_an_iommu_of_the_soc() {
    let machine = machine("qemu-riscv-iommu-sys");
    let [iommu] = machine.iommus.as_slice() else { panic!("{:?}", machine.iommus) };
    assert_eq!(iommu.kind, IommuKind::RiscvIommu);
    assert_eq!(iommu.registers(), Some(range(0x0301_0000, 0x1000)));
    assert_eq!((iommu.interrupts.as_slice(), iommu.msi_parent), ([].as_slice(), None));
    let host = machine.pci_host("pci@30000000").unwrap();
    assert_eq!((host.ecam, host.buses.clone()), (range(0x3000_0000, 256 << 20), 0..=0xff));
    let expected = [
        (PciSpace::Io, 0, range(0x0300_0000, 0x1_0000)),
        (PciSpace::Memory32, 0x4000_0000, range(0x4000_0000, 1 << 30)),
        (PciSpace::Memory64, 0x4_0000_0000, range(0x4_0000_0000, 16 << 30)),
    ];
    assert_eq!(windows(host), expected);
    // QEMU's map has a range of no functions, and one that leaves out the last function.
    assert_eq!(host.stream_of(0xfffe), Some((0, 0xfffe)));
    assert_eq!(host.stream_of(0xffff), None);
    assert_eq!(host.interrupt_map, []);

    let [memory] = machine.memories.as_slice() else { panic!() };
    assert_eq!(memory.usable, [range(0x8000_0000, 512 << 20)]);
    let [cpu] = machine.cpus.as_slice() else { panic!() };
    assert_eq!(
        (cpu.name.as_str(), cpu.id, cpu.compatible.as_slice()),
        ("cpu@0", 0, ["riscv".into()].as_slice())
    );
    assert_eq!(machine.interrupt_controllers, []);
}

#[test]
fn what_is_not_understood_of_riscv_virt_says_so() {
    let machine = machine("qemu-riscv-iommu-sys");
    let (plic, iommu, host) = ("/soc/plic@c000000", "/soc/iommu@3010000", "/soc/pci@30000000");
    let of_controller = "an interrupt controller of a kind that is not known: sifive,plic-1.0.0, riscv,plic0";
    assert_eq!(reasons(&machine, plic), [of_controller]);
    assert_eq!(reasons(&machine, "/cpus/cpu@0/interrupt-controller").len(), 1);
    let of_host = [
        "its wired interrupts go to /soc/plic@c000000, which is not a GIC",
        "no requester ids from 0x0 lead to /soc/iommu@3010000",
    ];
    assert_eq!(reasons(&machine, host), of_host);
    let of_iommu = reasons(&machine, iommu);
    assert_eq!(of_iommu[0], "interrupt 0 goes to /soc/plic@c000000, which is not a GIC");
    assert_eq!(of_iommu.last(), Some(&"its MSI parent /cpus/cpu@0 is no MSI controller that is understood"));
}

#[test]
fn riscv_virt_may_have_an_iommu_on_its_pci_bus() {
    let machine = machine("qemu-riscv-iommu-pci");
    let [iommu] = machine.iommus.as_slice() else { panic!("{:?}", machine.iommus) };
    assert_eq!(iommu.kind, IommuKind::RiscvPciIommu);
    let IommuPlace::Pci { host, function } = iommu.place else { panic!("{:?}", iommu.place) };
    let host = &machine.pci_hosts[host];
    assert_eq!(host.configuration_space(function), Some(PhysicalAddress::new(0x3000_8000)));
    assert_eq!((host.stream_of(function), host.stream_of(0x10)), (None, Some((0, 0x10))));
}

#[test]
fn the_summary_tells_all() {
    let expected = "\
linux,dummy-virt

memory (1)
  memory@40000000          0x40000000   512 MiB  main

IOMMUs (1)
  virtio_iommu@2,0         00:02.0 of pcie@10000000  virtio-iommu, coherent walks

masters (0)

PCI hosts (1)
  pcie@10000000            0x3f000000    16 MiB  buses 00-0f, coherent DMA
    I/O                    0x3eff0000    64 KiB  at 0x00000000 on the bus
    32-bit memory          0x10000000 769984 KiB  at 0x10000000 on the bus
    64-bit memory          0x8000000000   512 GiB  at 0x8000000000 on the bus
    streams                00:00.0 to 00:01.7 at virtio_iommu@2,0 from 0x0
    streams                00:02.1 to ff:1f.7 at virtio_iommu@2,0 from 0x11
    messages               00:00.0 to ff:1f.7 at v2m@8020000 from 0x0
    interrupts of 00:00.0  INTA 35 INTB 36 INTC 37 INTD 38
    interrupts of 00:01.0  INTA 36 INTB 37 INTC 38 INTD 35
    interrupts of 00:02.0  INTA 37 INTB 38 INTC 35 INTD 36
    interrupts of 00:03.0  INTA 38 INTB 35 INTC 36 INTD 37
    interrupt mask         functions 0x0018, pins 0x7

processors (1)
  cpu@0                    arm,cortex-a57

interrupt controllers (1)
  intc@8000000             arm,cortex-a15-gic

MSI controllers (1)
  v2m@8020000              0x08020000     4 KiB  GICv2m
";
    assert_eq!(machine("qemu-virt-virtio-iommu").to_string(), expected);
}

#[cfg(feature = "serde")]
#[test]
fn json_names_hosts_iommus_and_controllers() {
    use serde_json::json;
    let json = serde_json::to_value(machine("qemu-virt-virtio-iommu")).unwrap();
    let iommu = &json["iommus"][0];
    assert_eq!(iommu["kind"], "virtio-pci-iommu");
    assert_eq!((&iommu["pci_host"], &iommu["pci_function"]), (&json!("pcie@10000000"), &json!("00:02.0")));
    assert!(iommu.get("base").is_none() && iommu.get("context_banks").is_none());
    let host = &json["pci_hosts"][0];
    assert_eq!(host["ecam"], json!({"base": "0x3f000000", "size": 16 << 20}));
    assert_eq!((&host["first_bus"], &host["last_bus"]), (&json!(0), &json!(15)));
    let window = json!({
        "space": "memory-64", "prefetchable": false, "pci_address": "0x8000000000", "base": "0x8000000000",
        "size": 1u64 << 39,
    });
    assert_eq!(host["windows"][2], window);
    let ranges = json!([
        {"first": 0, "last": 15, "target": "virtio_iommu@2,0", "first_id": 0},
        {"first": 17, "last": 65535, "target": "virtio_iommu@2,0", "first_id": 17},
    ]);
    assert_eq!(host["iommu_map"], json!({"mask": 0xffff, "ranges": ranges}));
    assert_eq!(host["msi_map"]["ranges"][0]["target"], "v2m@8020000");
    let entry = &host["interrupt_map"][4];
    assert_eq!((&entry["function"], &entry["pin"]), (&json!("00:01.0"), &json!(1)));
    assert_eq!(entry["interrupt"]["number"], 36);
    assert_eq!(host["interrupt_mask"], json!({"function": 0x18, "pin": 7}));
    assert_eq!(json["msi_controllers"][0]["kind"], "gicv2m");

    let json = serde_json::to_value(machine("qemu-virt-smmuv3")).unwrap();
    assert_eq!(json["iommus"][0]["kind"], "arm-smmu-v3");
    assert_eq!(json["iommus"][0]["base"], "0x9050000");
    assert_eq!(json["iommus"][0]["coherent_walk"], true);
}
