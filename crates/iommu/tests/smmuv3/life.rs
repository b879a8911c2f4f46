//! Probing, domains, streams.

use crate::fake::{BOTH_STAGES, Bench, Fetched, Hardware, bench, by, config, stage1, stage2, try_bench};
use vcm::{FaultReason, PhysicalAddress};
use vcm_iommu::smmuv3::{Config, Interrupts, Message, Stage, StreamTable, Unattached};
use vcm_iommu::{Feature, Iommu, IommuError, ProbeError, StreamId, TableFormat, Tables, Translation, Way};
use vcm_pagetable::aarch64::Granule;

const STREAM: StreamId = StreamId(0x10);

fn access(bench: &Bench, stream: StreamId) -> Fetched {
    bench.hardware.borrow_mut().access(stream.0, 0x1234)
}

#[test]
fn after_probing_everything_is_refused_and_recorded() {
    let mut bench = bench();
    let hardware = bench.hardware.borrow();
    assert_eq!(hardware.get(0x24), 0xd, "commands, events and translation, no page requests");
    assert_eq!(hardware.get(0x44), 0x10_1000, "aborts while disabled; its other attributes are kept");
    assert_eq!(hardware.get(0x28), 0xd75, "coherent: write-back, inner shareable");
    assert_eq!(hardware.get(0x2c), 6, "RECINVSID, PTM");
    assert_eq!(hardware.get(0x54), 5);
    assert_eq!(hardware.log, [0x04, 0x30, 0x46], "all configuration, all translations");
    drop(hardware);
    assert_eq!(access(&bench, STREAM), Fetched::Event(2), "no second-level table yet");
    let fault = bench.smmu.next_fault().unwrap().unwrap();
    assert_eq!((fault.stream, fault.reason, fault.name), (STREAM, FaultReason::NoContext, "C_BAD_STREAMID"));
    assert_eq!(bench.smmu.next_fault().unwrap(), None);
}

#[test]
fn what_is_no_smmu_or_one_that_is_not_known_is_refused() {
    let with = |offset, value| {
        let mut hardware = Hardware::new();
        hardware.set(offset, value);
        match try_bench(hardware, config()) {
            Err(error) => error,
            Ok(_) => panic!("{value:#x} at {offset:#x}"),
        }
    };
    assert!(matches!(with(0x00, 0), ProbeError::Absent { register: "IDR0", .. }));
    assert!(matches!(with(0x00, u32::MAX), ProbeError::Absent { register: "IDR0", .. }));
    assert!(matches!(with(0x04, u32::MAX), ProbeError::Absent { register: "IDR1", .. }));
    for (offset, value) in [
        (0x00, BOTH_STAGES & !3),
        (0x00, BOTH_STAGES & !(3 << 2) | 1 << 2),
        (0x00, BOTH_STAGES | 3 << 21),
        (0x04, 16 | 8 << 16 | 8 << 21 | 1 << 29),
        (0x04, 16 | 8 << 16 | 8 << 21 | 1 << 30),
        (0x04, 33 | 8 << 16 | 8 << 21),
        (0x04, 16 | 8 << 16),
        (0x14, 4),
    ] {
        assert!(matches!(with(offset, value), ProbeError::Unknown { .. }), "{value:#x} at {offset:#x}");
    }
    let message = Message { address: PhysicalAddress::new(0x802_0040), data: 80 };
    let interrupts = Interrupts::Messages { events: message, errors: message };
    let error = try_bench(Hardware::new(), Config { interrupts, ..config() }).err();
    assert!(matches!(error, Some(ProbeError::Unknown { register: "IDR0", .. })), "{error:?}");
    let mut able = Hardware::new();
    able.set(0, BOTH_STAGES | 1 << 13);
    let bench = try_bench(able, Config { interrupts, ..config() }).unwrap();
    let hardware = bench.hardware.borrow();
    for (address, data) in [(0x68, 0x70), (0xb0, 0xb8)] {
        assert_eq!((hardware.get64(address), hardware.get(data)), (0x802_0040, 80));
    }
}

#[test]
fn an_attached_stream_translates_and_a_detached_one_is_refused_again() {
    let mut bench = bench();
    let domain = bench.smmu.create_domain(by(stage1(0x4000_1000))).unwrap();
    bench.smmu.attach(STREAM, domain).unwrap();
    let Fetched::Translate { root1: Some(0x4000_1000), root2: None, asid, vmid: 0 } = access(&bench, STREAM)
    else {
        panic!()
    };
    assert_ne!(asid, 0);
    // A neighbour has an entry now, which is invalid.
    assert_eq!(access(&bench, StreamId(0x11)), Fetched::Event(4));
    let fault = bench.smmu.next_fault().unwrap().unwrap();
    assert_eq!((fault.stream.0, fault.reason, fault.name), (0x11, FaultReason::NoContext, "C_BAD_STE"));

    bench.smmu.detach(STREAM).unwrap();
    assert_eq!(access(&bench, STREAM), Fetched::Event(4));
    assert_eq!(bench.smmu.next_fault().unwrap().unwrap().reason, FaultReason::NoContext);
    assert!(bench.hardware.borrow().tlb.is_empty(), "leaving waits for translations, too");
    bench.smmu.detach(STREAM).unwrap();
    bench.smmu.detach(StreamId(u32::MAX)).unwrap();
    bench.smmu.destroy_domain(domain).unwrap();
    bench.smmu.destroy_domain(domain).unwrap();
    assert_eq!(bench.smmu.attach(STREAM, domain), Err(IommuError::UnknownDomain(domain)));
}

#[test]
fn a_stream_moves_between_all_kinds_of_domains() {
    let mut bench = bench();
    let nested = Translation::Nested { first: stage1(0x1000), second: stage2(0x5000_0000) };
    let translations = [
        by(stage1(0x4000_1000)),
        by(stage1(0x4000_2000)),
        Translation::Identity,
        by(stage2(0x4000_4000)),
        by(stage2(0x4000_6000)),
        nested,
    ];
    let domains = translations.map(|translation| bench.smmu.create_domain(translation).unwrap());
    let expected = |index: usize, seen: Fetched| match (index, seen) {
        (0, Fetched::Translate { root1, root2: None, vmid: 0, .. }) => root1 == Some(0x4000_1000),
        (1, Fetched::Translate { root1, root2: None, vmid: 0, .. }) => root1 == Some(0x4000_2000),
        (2, Fetched::Bypass) => true,
        (3, Fetched::Translate { root1: None, root2, .. }) => root2 == Some(0x4000_4000),
        (4, Fetched::Translate { root1: None, root2, .. }) => root2 == Some(0x4000_6000),
        (5, Fetched::Translate { root1, root2, .. }) => root1 == Some(0x1000) && root2 == Some(0x5000_0000),
        _ => false,
    };
    for from in 0..domains.len() {
        for to in 0..domains.len() {
            bench.smmu.attach(STREAM, domains[from]).unwrap();
            let seen = access(&bench, STREAM);
            assert!(expected(from, seen), "{from}: {seen:?}");
            bench.smmu.attach(STREAM, domains[to]).unwrap();
            let seen = access(&bench, STREAM);
            assert!(expected(to, seen), "{from} to {to}: {seen:?}");
            if from != to {
                assert_eq!(bench.hardware.borrow().tlb.len(), usize::from(to != 2), "{from} to {to}");
            }
        }
    }
    assert_eq!(bench.smmu.next_fault().unwrap(), None, "no access was refused");
    let in_use = bench.smmu.destroy_domain(domains[5]);
    assert_eq!(in_use, Err(IommuError::InUse { domain: domains[5], stream: STREAM }));
    bench.smmu.detach(STREAM).unwrap();
    let before = bench.hardware.borrow().allocated.len();
    for domain in domains {
        bench.smmu.destroy_domain(domain).unwrap();
    }
    assert_eq!(bench.hardware.borrow().allocated.len(), before - 3, "context descriptors are given back");
}

#[test]
fn several_streams_share_a_domain_and_domains_do_not_share_tags() {
    let mut bench = bench();
    let [one, two] = [0x1000, 0x2000].map(|root| bench.smmu.create_domain(by(stage1(root))).unwrap());
    for stream in [1, 2] {
        bench.smmu.attach(StreamId(stream), one).unwrap();
    }
    bench.smmu.attach(StreamId(3), two).unwrap();
    assert_eq!(access(&bench, StreamId(1)), access(&bench, StreamId(2)));
    let asid = |stream| match access(&bench, StreamId(stream)) {
        Fetched::Translate { asid, .. } => asid,
        other => panic!("{other:?}"),
    };
    assert_ne!(asid(1), asid(3));
}

#[test]
fn tags_run_out_and_come_back() {
    let mut hardware = Hardware::new();
    // 8-bit ASIDs and VMIDs.
    hardware.set(0, BOTH_STAGES & !(1 << 12 | 1 << 18));
    let mut bench = try_bench(hardware, config()).unwrap();
    for tables in [stage1(0x1000), stage2(0x2000)] {
        let domains: Vec<_> = (0..255).map(|_| bench.smmu.create_domain(by(tables)).unwrap()).collect();
        assert_eq!(bench.smmu.create_domain(by(tables)), Err(IommuError::NoFreeSlot(255)));
        bench.smmu.destroy_domain(domains[77]).unwrap();
        let again = bench.smmu.create_domain(by(tables)).unwrap();
        for domain in domains.into_iter().chain([again]) {
            bench.smmu.destroy_domain(domain).unwrap();
        }
    }
}

#[test]
fn streams_beyond_the_table_are_refused() {
    for (stream_table, bits, last) in [
        (StreamTable::Automatic, None, 0xffff),
        (StreamTable::Automatic, Some(10), 0x3ff),
        (StreamTable::Automatic, Some(6), 0x3f),
        (StreamTable::Linear, Some(12), 0xfff),
        (StreamTable::TwoLevel, Some(8), 0xff),
        (StreamTable::TwoLevel, Some(4), 0xf),
    ] {
        let config = Config { stream_table, stream_bits: bits, ..config() };
        let mut bench = try_bench(Hardware::new(), config).unwrap();
        assert_eq!(bench.smmu.last_stream(), StreamId(last));
        let two = stream_table != StreamTable::Linear && last >= 0xff;
        assert_eq!(bench.smmu.is_two_level(), two, "{stream_table:?} {bits:?}");
        let domain = bench.smmu.create_domain(Translation::Identity).unwrap();
        bench.smmu.attach(StreamId(last), domain).unwrap();
        assert_eq!(access(&bench, StreamId(last)), Fetched::Bypass);
        let beyond = StreamId(last + 1);
        let error = bench.smmu.attach(beyond, domain);
        assert_eq!(error, Err(IommuError::StreamOutOfRange { stream: beyond, last: StreamId(last) }));
        assert_eq!(access(&bench, beyond), Fetched::Event(2));
    }
}

#[test]
fn unattached_streams_can_be_silent() {
    for stream_table in [StreamTable::Linear, StreamTable::TwoLevel] {
        let config =
            Config { unattached: Unattached::Silent, stream_table, stream_bits: Some(9), ..config() };
        let mut bench = try_bench(Hardware::new(), config).unwrap();
        assert_eq!(access(&bench, STREAM), Fetched::Abort);
        let domain = bench.smmu.create_domain(by(stage1(0x1000))).unwrap();
        bench.smmu.attach(STREAM, domain).unwrap();
        assert!(matches!(access(&bench, STREAM), Fetched::Translate { .. }));
        assert_eq!(access(&bench, StreamId(0x20)), Fetched::Abort);
        bench.smmu.detach(STREAM).unwrap();
        assert_eq!(access(&bench, STREAM), Fetched::Abort);
        assert_eq!(bench.smmu.next_fault().unwrap(), None);
    }
}

#[test]
fn formats_are_taken_as_far_as_the_hardware_walks_them() {
    let first =
        |granule, input_bits, output_bits| TableFormat::Aarch64Stage1 { granule, input_bits, output_bits };
    let second = |granule, input_bits, start_level| TableFormat::Aarch64Stage2 {
        granule,
        input_bits,
        output_bits: 40,
        start_level,
    };
    use Granule::{Size4K, Size16K, Size64K};
    let yes = [
        first(Size4K, 48, 44),
        first(Size16K, 47, 32),
        first(Size64K, 25, 44),
        second(Size4K, 39, 1),
        second(Size4K, 43, 1),
        second(Size4K, 44, 0),
        second(Size4K, 34, 2),
        second(Size16K, 40, 2),
        second(Size16K, 44, 1),
        second(Size64K, 44, 1),
        second(Size64K, 33, 3),
    ];
    let no = [
        first(Size4K, 49, 44),
        first(Size4K, 24, 44),
        first(Size4K, 39, 45),
        first(Size4K, 39, 31),
        second(Size4K, 44, 1),
        second(Size4K, 45, 0),
        second(Size4K, 30, 1),
        second(Size4K, 30, 3),
        second(Size16K, 44, 0),
        second(Size64K, 44, 4),
        TableFormat::ArmShort,
        TableFormat::RiscvFirstStage { levels: 3 },
    ];
    let mut bench = bench();
    for format in yes {
        assert!(bench.smmu.supports(format), "{format}");
    }
    for format in no {
        assert!(!bench.smmu.supports(format), "{format}");
        let tables = Tables { format, root: PhysicalAddress::new(0x10_0000) };
        let error = IommuError::NotSupported(Feature::Format(format));
        assert_eq!(bench.smmu.create_domain(by(tables)), Err(error));
    }
    assert_eq!(
        bench.smmu.create_domain(Translation::Requests),
        Err(IommuError::NotSupported(Feature::Requests))
    );
    for (tables, align, limit) in [
        (stage1(0x1800), 0x1000, 1 << 44),
        (stage1(1 << 44), 0x1000, 1 << 44),
        (stage2(0x1000), 0x2000, 1 << 40),
    ] {
        let error = IommuError::Root { root: tables.root.raw(), align, limit };
        assert_eq!(bench.smmu.create_domain(by(tables)), Err(error));
    }
    let swapped = Translation::Nested { first: stage2(0x2000), second: stage1(0x1000) };
    assert_eq!(bench.smmu.create_domain(swapped), Err(IommuError::NotSupported(Feature::Nested)));
}

#[test]
fn what_is_preferred_is_supported() {
    for idr0 in [BOTH_STAGES, BOTH_STAGES & !1, BOTH_STAGES & !2] {
        for oas in 0..=7 {
            for granules in 1..8 {
                for stage in [Stage::First, Stage::Second] {
                    for granule in [Granule::Size4K, Granule::Size16K, Granule::Size64K] {
                        for input_bits in [0, 31, 39, 40, 48, 60] {
                            let mut hardware = Hardware::new();
                            hardware.set(0x00, idr0);
                            hardware.set(0x14, oas | granules << 4);
                            let stream_bits = Some(4);
                            let config = Config { stage, granule, input_bits, stream_bits, ..config() };
                            let smmu = try_bench(hardware, config).unwrap().smmu;
                            let Way::Tables(format) = smmu.preferred() else { panic!() };
                            assert!(smmu.supports(format), "{format:?} of {idr0:#x} oas {oas}");
                            let second = matches!(format, TableFormat::Aarch64Stage2 { .. });
                            let wanted = (stage == Stage::Second && idr0 & 1 == 1) || idr0 & 2 == 0;
                            assert_eq!(second, wanted);
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn nested_domains_say_where_their_context_descriptor_must_be_seen() {
    for context_at in [None, Some(0x7000_0000)] {
        let mut bench = try_bench(Hardware::new(), Config { context_at, ..config() }).unwrap();
        let nested = Translation::Nested { first: stage1(0x1000), second: stage2(0x2000) };
        let domain = bench.smmu.create_domain(nested).unwrap();
        let page = bench.smmu.context_page(domain).unwrap();
        assert_eq!((page.at, page.len), (context_at.unwrap_or(page.physical.raw()), 0x1000));
        assert!(page.physical.raw().is_multiple_of(0x1000));
        let plain = bench.smmu.create_domain(by(stage1(0x1000))).unwrap();
        assert_eq!(bench.smmu.context_page(plain), None);
    }
    let mut bench = try_bench(Hardware::new(), Config { context_at: Some(0x800), ..config() }).unwrap();
    let nested = Translation::Nested { first: stage1(0x1000), second: stage2(0x2000) };
    assert_eq!(bench.smmu.create_domain(nested), Err(IommuError::Address { at: 0x800, len: 0x1000 }));
}

#[test]
fn without_a_second_stage_no_command_of_it_is_used_and_without_a_first_none_of_that() {
    for (idr0, tables) in [(BOTH_STAGES & !1, stage1(0x2000)), (BOTH_STAGES & !2, stage2(0x2000))] {
        let mut hardware = Hardware::new();
        hardware.set(0, idr0);
        let mut bench = try_bench(hardware, config()).unwrap();
        let domain = bench.smmu.create_domain(by(tables)).unwrap();
        bench.smmu.attach(STREAM, domain).unwrap();
        assert!(matches!(access(&bench, STREAM), Fetched::Translate { .. }));
        bench.smmu.invalidate(domain, &vcm_iommu::Invalidation::Everything).unwrap();
        bench.smmu.detach(STREAM).unwrap();
        bench.smmu.destroy_domain(domain).unwrap();
        assert_eq!(bench.smmu.statistics().refused_commands, 0);
        assert_eq!(bench.smmu.refused_command(), None);
        let nested = Translation::Nested { first: stage1(0x1000), second: stage2(0x2000) };
        assert_eq!(bench.smmu.create_domain(nested), Err(IommuError::NotSupported(Feature::Nested)));
    }
}
