//! The trees that come with the crate.

use crate::edit::Dt;
use crate::invariants;
use vcm::PhysicalAddress;
use vcm_platform::topology::{
    Attachment, InterruptControllerKind, InterruptKind, Iommu, MemoryKind, PhysicalRange, Topology, Trigger,
    shipped, shipped_names,
};

fn machine(name: &str) -> Topology {
    Topology::from_device_tree(shipped(name).unwrap()).unwrap()
}

fn range(base: u64, size: u64) -> PhysicalRange {
    PhysicalRange { base: PhysicalAddress::new(base), size }
}

fn stream_ids(machine: &Topology, master: &str) -> Vec<u32> {
    machine.master(master).unwrap().streams().iter().map(|stream| stream.id).collect()
}

#[test]
fn every_shipped_tree_loads_whole() {
    assert_eq!(shipped_names().collect::<Vec<_>>(), ["apq8064-like", "msm8x60", "two-banks"]);
    assert_eq!(shipped("no such tree"), None);
    for name in shipped_names() {
        let machine = machine(name);
        invariants::check(&machine);
        assert_eq!(machine.passed_over, [], "{name}");
    }
}

#[test]
fn the_original_soc_has_twelve_iommus_and_its_named_contexts() {
    let machine = machine("msm8x60");
    let summary = |iommu: &Iommu| {
        let (base, smmu) = (iommu.registers().unwrap().base, iommu.msm().unwrap());
        (iommu.name.clone(), base.raw(), smmu.context_banks, smmu.contexts.len())
    };
    let expected = [
        ("jpegd", 0x0730_0000, 2, 2),
        ("vpe", 0x0740_0000, 2, 2),
        ("mdp0", 0x0750_0000, 2, 2),
        ("mdp1", 0x0760_0000, 2, 2),
        ("rot", 0x0770_0000, 2, 2),
        ("ijpeg", 0x0780_0000, 2, 2),
        ("vfe", 0x0790_0000, 2, 2),
        ("vcodec_a", 0x07a0_0000, 2, 2),
        ("vcodec_b", 0x07b0_0000, 2, 1),
        ("gfx3d", 0x07c0_0000, 3, 2),
        ("gfx2d0", 0x07d0_0000, 2, 1),
        ("gfx2d1", 0x07e0_0000, 2, 1),
    ];
    let expected = expected.map(|(name, base, banks, contexts)| (name.to_string(), base, banks, contexts));
    assert_eq!(machine.iommus.iter().map(summary).collect::<Vec<_>>(), expected);
    for iommu in &machine.iommus {
        let (size, smmu) = (iommu.registers().unwrap().size, iommu.msm().unwrap());
        assert_eq!((size, smmu.global_offset), (0x10_0000, 0xf_f000));
    }

    let codec = machine.iommu("vcodec_a").unwrap();
    let contexts = &codec.msm().unwrap().contexts;
    let names = contexts.iter().map(|context| (context.name.as_str(), context.number));
    assert_eq!(names.collect::<Vec<_>>(), [("vcodec_a_stream", Some(0)), ("vcodec_a_mm1", Some(1))]);
    let master = machine.master("vcodec_a_mm1").unwrap();
    assert_eq!(stream_ids(&machine, "vcodec_a_mm1"), [0, 1, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
    for stream in master.streams() {
        assert_eq!(machine.iommus[stream.iommu].name, "vcodec_a");
        assert_eq!(stream.context.as_deref(), Some("vcodec_a_mm1"));
    }

    // The non-secure interrupt of each pair is the second SPI, and is the contexts' too.
    let interrupts: Vec<_> =
        codec.interrupts.iter().map(|it| (it.name.as_deref(), it.number, it.trigger)).collect();
    let high = Trigger::LevelHigh;
    assert_eq!(interrupts, [(Some("nonsecure"), 58 + 32, high), (Some("secure"), 57 + 32, high)]);
    assert_eq!(contexts[1].interrupts[0].number, 58 + 32);
    assert_eq!(contexts[1].interrupts[0].kind, InterruptKind::Shared);
}

#[test]
fn the_original_soc_has_two_memories_and_direct_masters() {
    let machine = machine("msm8x60");
    assert_eq!(machine.name, "Qualcomm MSM8x60");
    let [smi, ebi] = machine.memories.as_slice() else { panic!("{:?}", machine.memories) };
    assert_eq!((smi.name.as_str(), smi.kind), ("smi", MemoryKind::OnPackage));
    assert_eq!(smi.usable, [range(0x3800_0000, 64 << 20)]);
    assert_eq!(
        (ebi.name.as_str(), ebi.kind, ebi.base.raw(), ebi.size),
        ("ebi", MemoryKind::Main, 0x4000_0000, 256 << 20)
    );
    assert_eq!(ebi.reserved.len(), 1);
    assert_eq!(ebi.usable, [range(0x4020_0000, 254 << 20)]);
    assert_eq!(machine.memory("ebi"), Some(ebi));

    let direct = machine.masters.iter().filter(|master| master.attachment == Attachment::Direct);
    assert_eq!(direct.map(|master| master.name.as_str()).collect::<Vec<_>>(), ["usb1_hs", "adm0", "adm1"]);
    let mover = machine.master("adm0").unwrap();
    assert_eq!(mover.registers, [range(0x1830_0000, 0x10_0000)]);
    assert_eq!(mover.interrupts[0].number, 171 + 32);
    assert!(mover.streams().is_empty());

    assert_eq!(machine.cpus.iter().map(|cpu| cpu.id).collect::<Vec<_>>(), [0, 1]);
    let [gic] = machine.interrupt_controllers.as_slice() else { panic!() };
    assert_eq!(gic.kind, InterruptControllerKind::GicV2);
    assert_eq!(gic.registers, [range(0x0208_0000, 0x1000), range(0x0208_1000, 0x1000)]);
}

#[test]
fn in_mainlines_binding_masters_name_their_streams() {
    let machine = machine("apq8064-like");
    let msm = |iommu: &Iommu| iommu.msm().unwrap().clone();
    let banks: Vec<_> =
        machine.iommus.iter().map(|iommu| (iommu.name.as_str(), msm(iommu).context_banks)).collect();
    let expected = [("iommu@7500000", 2), ("iommu@7a00000", 2), ("iommu@7b00000", 2), ("iommu@7c00000", 3)];
    assert_eq!(banks, expected);
    assert!(machine.iommus.iter().all(|iommu| msm(iommu).contexts.is_empty()));
    assert_eq!(stream_ids(&machine, "display-controller@5100000"), [0, 2]);
    assert_eq!(stream_ids(&machine, "gpu@4300000"), (0..32).collect::<Vec<_>>());
    let codec = machine.master("video-codec@4400000").unwrap();
    let mut iommus: Vec<_> = codec.streams().iter().map(|stream| stream.iommu).collect();
    iommus.dedup();
    assert_eq!(iommus, [1, 2]);
    assert!(codec.streams().iter().all(|stream| stream.context.is_none()));
    assert_eq!(machine.master("dma-controller@12182000").unwrap().attachment, Attachment::Direct);
}

#[test]
fn reserved_windows_reach_the_device_they_are_for() {
    let machine = machine("apq8064-like");
    let [splash] = machine.master("display-controller@5100000").unwrap().reserved_windows[..] else {
        panic!()
    };
    assert_eq!((splash.base.raw(), splash.size), (0x8e00_0000, 0x80_0000));
    assert_eq!(splash.memory, Some(range(0x8e00_0000, 0x80_0000)));
    let [hole] = machine.master("video-codec@4400000").unwrap().reserved_windows[..] else { panic!() };
    assert_eq!((hole.base.raw(), hole.size, hole.memory), (0, 16 << 20, None));
    let [memory] = machine.memories.as_slice() else { panic!() };
    let usable = [range(0x8020_0000, 0xde0_0000), range(0x8e80_0000, 0x3180_0000)];
    assert_eq!(memory.usable, usable);
}

#[test]
fn the_small_machine_has_more_masters_than_banks() {
    let machine = machine("two-banks");
    let [iommu] = machine.iommus.as_slice() else { panic!() };
    let smmu = iommu.msm().unwrap();
    assert_eq!((smmu.context_banks, smmu.tlb_entries, iommu.coherent_walk), (2, Some(8), true));
    let translated = machine.masters.iter().filter(|master| !master.streams().is_empty());
    assert_eq!(translated.count(), 4);
    assert_eq!(machine.master("dma").unwrap().attachment, Attachment::Direct);
    let names: Vec<_> = machine.memories.iter().map(|memory| memory.name.as_str()).collect();
    assert_eq!(names, ["fast", "main"]);
}

#[test]
fn a_coherent_walk_is_the_iommus_dma_coherent() {
    let mut tree = Dt::shipped("two-banks");
    tree.at("/soc/iommu@10100000").set("dma-coherent", &[]);
    assert!(Topology::from_device_tree(&tree.blob()).unwrap().iommus[0].coherent_walk);
}

#[test]
fn the_summary_fits_on_a_page() {
    let expected = "\
Two banks

memory (2)
  fast                     0x20000000     4 MiB  on package
  main                     0x80000000    64 MiB  main

IOMMUs (1)
  iommu@10100000           0x10100000     1 MiB  2 banks, interrupts 32 33

masters (5)
  capture@10200000         iommu@10100000 streams 0, interrupts 34
  scaler@10201000          iommu@10100000 streams 1 2, interrupts 35
  encoder@10202000         iommu@10100000 streams 3 4, interrupts 36
  display@10203000         iommu@10100000 streams 5, interrupts 37
  dma                      direct, interrupts 38

processors (1)
  cpu@0                    arm,cortex-a9

interrupt controllers (1)
  interrupt-controller@10001000 arm,cortex-a9-gic
";
    assert_eq!(machine("two-banks").to_string(), expected);
    let original = machine("msm8x60").to_string();
    assert!(original.contains("    vcodec_a_mm1           bank 1   streams 0 1 6-15\n"), "{original}");
    assert!(
        original.contains("  ebi                      0x40000000   256 MiB  main, 254 MiB usable\n"),
        "{original}"
    );
}

#[cfg(feature = "serde")]
#[test]
fn json_names_the_iommus_and_writes_addresses_in_hexadecimal() {
    let json = serde_json::to_value(machine("msm8x60")).unwrap();
    let codec = &json["iommus"][7];
    assert_eq!(codec["name"], "vcodec_a");
    assert_eq!(codec["base"], "0x7a00000");
    assert_eq!(codec["size"], 0x10_0000);
    assert_eq!(codec["interrupts"][0]["number"], 90);
    assert_eq!(codec["contexts"][1]["name"], "vcodec_a_mm1");
    assert_eq!(codec["contexts"][1]["number"], 1);
    assert_eq!(codec["context_banks"], 2);
    let master = |name: &str| {
        let masters = json["masters"].as_array().unwrap();
        masters.iter().find(|master| master["name"] == name).unwrap().clone()
    };
    assert_eq!(
        master("vcodec_a_stream")["streams"],
        serde_json::json!([{"iommu": "vcodec_a", "stream_ids": [2, 5]}])
    );
    assert_eq!(master("vcodec_a_stream")["context"], "vcodec_a_stream");
    assert_eq!(master("adm0")["direct"], true);
    assert_eq!(json["memories"][1]["usable"], serde_json::json!([{"base": "0x40200000", "size": 254 << 20}]));
}
