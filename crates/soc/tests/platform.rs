//! The whole machine: shipped topologies, real drivers, real page tables, and the bytes that arrive.

mod machine;
use machine::*;
use vcm::{CpuAddress, Hardware, HardwareErrorKind, Part, PhysicalAddress, Privilege, RegionKind};
use vcm_platform::topology::{IommuKind, Topology, shipped, shipped_names};
use vcm_platform::{Outcome, Platform, Transfer};
use vcm_soc::Soc;
use vcm_soc::hardware::{Options, PowerOn};

#[test]
fn a_decoder_writes_and_the_cpu_reads() {
    let mut soc = soc("msm8x60");
    assert!(soc.memories()[0].name.contains("smi"), "{:?}", soc.memories());
    let (decoder, cpu) = (device(&soc, "vcodec_a_mm1"), device(&soc, "cpu"));
    let smi = memory(&soc, &soc.memories()[0].name.clone());
    let video = space(&mut soc, decoder, Part::Whole);
    let kernel = space(&mut soc, cpu, Part::Whole);
    let window = soc.cpu_span().first();
    // 1 MiB + 64 KiB + 4 KiB, as large pages.
    let len = 0x11_1000;
    map(&mut soc, video, 0x1000_0000, smi, len);
    map(&mut soc, kernel, window, smi, len);
    let sizes: Vec<_> = soc.leaves(video, span(0x1000_0000, len)).iter().collect();
    assert_eq!(sizes, [(1 << 20, 1), (1 << 16, 1), (1 << 12, 1)]);
    let done = transfer(&mut soc, decoder, &write(0x1000_0000, len));
    assert_eq!((done.bytes_written, done.tlb_misses, done.faults), (len, 3, 0));
    assert_eq!(cpu_sees(&mut soc, window, len), made(len));
    // Hardware and software agree on where an address leads.
    let physical = Some(PhysicalAddress::new(smi + 0x10_1234));
    assert_eq!(soc.translate(decoder, 0x1010_1234).ok(), physical);
    assert_eq!(soc.walk(video, 0x1010_1234), physical);
    assert_eq!(soc.translate(cpu, window + 0x10_1234).ok(), physical);
    assert_eq!(soc.translate(decoder, 0x2000_0000).unwrap_err().kind, HardwareErrorKind::Address);
    // What the CPU writes, the decoder reads.
    soc.cpu_write(CpuAddress::new(window), &[1, 2, 3]).unwrap();
    let read = transfer(&mut soc, decoder, &Transfer::Read { from: linear(0x1000_0000, 3) });
    let mut expected = vcm_platform::Checksum::new();
    expected.update(&[1, 2, 3]);
    assert_eq!(read.checksum, expected.value());
}

#[test]
fn every_shipped_machine_has_devices_of_every_kind_and_each_moves_bytes() {
    let noise = |seed| PowerOn::Noise { seed };
    for (name, power_on) in
        shipped_names().flat_map(|name| [(name, PowerOn::Zero), (name, noise(1)), (name, noise(2))])
    {
        let topology = Topology::from_device_tree(shipped(name).unwrap()).unwrap();
        let mut soc = Soc::new(&topology, &Options { power_on, ..Options::default() }).unwrap();
        let memory = soc.memories().last().unwrap().span;
        let all: Vec<_> = soc.devices().to_vec();
        for wanted in [RegionKind::Translated, RegionKind::Cpu, RegionKind::Guest, RegionKind::Remote] {
            assert!(all.iter().any(|device| device.kind == wanted), "{name}: no {wanted}");
        }
        for description in all {
            let handle = description.handle;
            assert_eq!(description.iommu.is_some(), description.kind == RegionKind::Translated);
            let physical = memory.first() + (u64::from(handle.0) << 16);
            let at = if description.kind == RegionKind::OneToOne {
                physical
            } else {
                let space = space(&mut soc, handle, Part::Whole);
                let at = soc.cpu_span().first() + 0x7000;
                map(&mut soc, space, at, physical, 0x9000);
                at
            };
            let done = transfer(&mut soc, handle, &write(at, 0x9000));
            assert_eq!(done.bytes_written, 0x9000, "{name}: {}", description.name);
            let mut bytes = vec![0; 0x9000];
            soc.with_board(|board| board.bus().read(physical, &mut bytes)).unwrap();
            assert_eq!(bytes, made(0x9000), "{name}: {}", description.name);
        }
        assert!(soc.statistics().to_string().contains("transactions"));
    }
}

#[test]
fn pools_never_get_the_tables_memory() {
    for name in shipped_names() {
        let mut soc = soc(name);
        let cpu = device(&soc, "cpu");
        let _ = space(&mut soc, cpu, Part::Whole);
        assert!(soc.statistics().table_bytes >= 0x8000);
        // Just behind one of the memories there is memory that is in none of them.
        let spans: Vec<_> = soc.memories().iter().map(|memory| memory.span).collect();
        let hidden = spans.iter().filter(|span| {
            let next = span.last() + 1;
            let answers = soc.with_board(|board| board.bus().memory.name_at(next).is_some());
            answers && spans.iter().all(|other| !other.contains(next))
        });
        assert!(hidden.count() >= 1, "{name}");
    }
}

#[test]
fn a_machine_that_cannot_be_is_refused() {
    let good = Topology::from_device_tree(shipped("two-banks").unwrap()).unwrap();
    let refused = |change: fn(&mut Topology), options: Options| {
        let mut topology = good.clone();
        change(&mut topology);
        Soc::new(&topology, &options).unwrap_err().to_string()
    };
    let options = Options::default();
    assert_eq!(
        refused(|topology| topology.memories.clear(), options),
        "no memory below 4 GiB has room for page tables"
    );
    assert_eq!(
        refused(|topology| topology.memories[1].base = topology.memories[0].base, options),
        "memory `main` overlaps memory `fast`"
    );
    assert_eq!(
        refused(|topology| topology.memories[0].size = 0, options),
        "memory `fast` is empty or passes the end of the addresses"
    );
    assert_eq!(
        refused(|topology| topology.memories[1].size = 1 << 50, options),
        "memory `main` is larger than 1 TiB"
    );
    assert_eq!(
        refused(|topology| topology.iommus.clear(), options),
        "a stream of master `capture@10200000` leads to no SMMU"
    );
    assert_eq!(
        refused(|topology| topology.iommus[0].msm_mut().unwrap().global_offset = 1 << 40, options),
        "smmu `iommu@10100000`: the global registers do not begin at a page of their own"
    );
    assert_eq!(
        refused(|topology| topology.iommus[0].kind = IommuKind::ArmSmmuV3, options),
        "IOMMU `iommu@10100000` is no MSM SMMU, and others cannot be simulated"
    );
    assert_eq!(
        refused(|topology| topology.masters[1].attachment = topology.masters[0].attachment.clone(), options),
        "device `scaler@10201000`: master 0 belongs to context 0"
    );
    assert!(refused(|_| {}, Options { mids: 513, ..options }).contains("more than 512"));
    let mut topology = good;
    topology.iommus[0].msm_mut().unwrap().tlb_entries = None;
    let options = Options { tlb_entries: 0, ..options };
    assert!(Soc::new(&topology, &options).unwrap_err().to_string().contains("TLB entries"));
}

#[test]
fn more_contexts_than_banks_take_turns() {
    let mut soc = soc("two-banks");
    let main = memory(&soc, "main");
    let masters: Vec<_> = soc
        .devices()
        .iter()
        .filter(|device| device.kind == RegionKind::Translated)
        .map(|device| device.handle)
        .collect();
    assert_eq!(masters.len(), 4);
    for (index, master) in (0..).zip(&masters) {
        let space = space(&mut soc, *master, Part::Whole);
        map(&mut soc, space, 0x5000_0000, main + (index << 16), 0x1_0000);
    }
    for _ in 0..3 {
        for master in &masters {
            transfer(&mut soc, *master, &write(0x5000_0000, 0x1_0000));
        }
    }
    let statistics = soc.statistics();
    assert!(statistics.smmus[0].context_switches >= 12, "{statistics}");
    for index in 0..4 {
        let mut bytes = vec![0; 0x1_0000];
        soc.with_board(|board| board.bus().read(main + (index << 16), &mut bytes)).unwrap();
        assert_eq!(bytes, made(0x1_0000));
    }
    // Two at once hold both banks; a third must wait for one of them.
    soc.start(masters[0], &write(0x5000_0000, 0x1000), Privilege::User).unwrap();
    soc.start(masters[1], &write(0x5000_0000, 0x1000), Privilege::User).unwrap();
    let refused = soc.start(masters[2], &write(0x5000_0000, 0x1000), Privilege::User).unwrap_err();
    assert!(refused.to_string().contains("no free context bank"), "{refused}");
    assert!(
        soc.start(masters[0], &write(0x5000_0000, 0x1000), Privilege::User)
            .unwrap_err()
            .why
            .contains("under way")
    );
    let events = events(&mut soc);
    assert_eq!(report(&events, masters[0]).outcome, Outcome::Completed);
    assert_eq!(report(&events, masters[1]).outcome, Outcome::Completed);
    transfer(&mut soc, masters[2], &write(0x5000_0000, 0x1000));
}

#[test]
fn it_can_be_sent_to_another_thread() {
    fn sendable<T: Send>(_: &T) {}
    sendable(&soc("two-banks"));
}
