//! Hardware that falls silent, and memory that runs out, at every step.

use crate::fake::{BOTH_STAGES, Bench, Driver, Fetched, Hardware, by, config, stage1, stage2, try_bench};
use proptest::prelude::*;
use vcm::Span;
use vcm_iommu::smmuv3::{Config, StreamTable};
use vcm_iommu::{Invalidation, Iommu, IommuError, ProbeError, Reach, StreamId, Translation};

const LEAST: usize = 30;

/// All there is to do, each step whether or not the one before went well.
fn use_it(smmu: &mut Driver) -> Vec<IommuError> {
    let mut errors = Vec::new();
    let mut domains = Vec::new();
    let nested = Translation::Nested { first: stage1(0x1000), second: stage2(0x2000) };
    for translation in [by(stage1(0x1000)), by(stage2(0x2000)), nested, Translation::Identity] {
        match smmu.create_domain(translation) {
            Ok(domain) => domains.push(domain),
            Err(error) => errors.push(error),
        }
    }
    let spans = [Span::new(0x1000, 0x7000).unwrap()];
    let invalidation = Invalidation::Addresses { spans: &spans, granule: 0x1000, reach: Reach::Tables };
    for (index, &domain) in domains.iter().enumerate() {
        // One stream goes through all of them, and each has one for itself.
        for stream in [0, 0x100 * (index as u32 + 1)] {
            errors.extend(smmu.attach(StreamId(stream), domain).err());
        }
        errors.extend(smmu.invalidate(domain, &invalidation).err().map(IommuError::from));
        errors.extend(smmu.invalidate_second(domain, &invalidation).err().map(IommuError::from));
        errors.extend(smmu.next_fault().err().map(IommuError::from));
    }
    for stream in (0..5).map(|bus| StreamId(0x100 * bus)) {
        errors.extend(smmu.detach(stream).err().map(IommuError::from));
    }
    for domain in domains {
        errors.extend(smmu.destroy_domain(domain).err());
    }
    errors
}

fn attached_streams(bench: &Bench) -> usize {
    let mut hardware = bench.hardware.borrow_mut();
    let of =
        |stream: &u32| matches!(hardware.access(*stream, 0), Fetched::Translate { .. } | Fetched::Bypass);
    (0..0x600).filter(of).count()
}

#[test]
fn at_every_register_access_the_hardware_may_fall_silent() {
    for silence in [u32::MAX, 0, 0x1234_5678] {
        let mut reference = try_bench(Hardware::new(), config()).unwrap();
        let probing = reference.hardware.borrow().accesses;
        assert_eq!(use_it(&mut reference.smmu), []);
        let all = reference.hardware.borrow().accesses;
        assert!(all > probing + LEAST);
        for lives in 0..probing {
            let mut hardware = Hardware::new();
            (hardware.lives, hardware.silence) = (Some(lives), silence);
            assert!(try_bench(hardware, config()).is_err(), "silent after {lives} of {probing} accesses");
        }
        for lives in 0..all - probing {
            let mut bench = try_bench(Hardware::new(), config()).unwrap();
            bench.hardware.borrow_mut().lives = Some(lives);
            bench.hardware.borrow_mut().silence = silence;
            let errors = use_it(&mut bench.smmu);
            let all = errors
                .iter()
                .all(|error| matches!(error, IommuError::Unresponsive(_) | IommuError::InUse { .. }));
            assert!(!errors.is_empty() && all, "{lives}: {errors:?}");
            let recovered = bench.smmu.recover();
            assert!(recovered.is_err(), "{lives}: it is silent still");
            // It comes back, having lost everything.
            bench.hardware.borrow_mut().reset();
            bench.smmu.recover().unwrap();
            for stream in (0..5).map(|bus| StreamId(0x100 * bus)) {
                bench.smmu.detach(stream).unwrap();
            }
            assert_eq!(attached_streams(&bench), 0, "{lives}");
            while bench.smmu.next_fault().unwrap().is_some() {}
            assert_eq!(use_it(&mut bench.smmu), [], "{lives}: as if nothing had been");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn hardware_out_of_its_mind_is_survived(
        seed in 1..u64::MAX,
        records in prop::collection::vec(prop::array::uniform4(0..u64::MAX), 0..8),
        forced in prop::bool::ANY,
    ) {
        let mut hardware = Hardware::new();
        if forced {
            hardware.set(0, BOTH_STAGES | 2 << 24);
        }
        let mut bench = try_bench(hardware, config()).unwrap();
        for record in records {
            bench.hardware.borrow_mut().record(record);
        }
        bench.hardware.borrow_mut().madness = Some(seed);
        use_it(&mut bench.smmu);
        let _ = bench.smmu.recover();
        use_it(&mut bench.smmu);
        let bound = 20_000;
        let accesses = bench.hardware.borrow().accesses;
        prop_assert!(accesses < bound, "{} accesses", accesses);
        bench.hardware.borrow_mut().reset();
        bench.smmu.recover().unwrap();
        for stream in (0..5).map(|bus| StreamId(0x100 * bus)) {
            bench.smmu.detach(stream).unwrap();
        }
        prop_assert_eq!(attached_streams(&bench), 0);
    }
}

#[test]
fn recovering_attaches_again_what_was_attached() {
    let mut bench = try_bench(Hardware::new(), config()).unwrap();
    let one = bench.smmu.create_domain(by(stage1(0x1000))).unwrap();
    let two = bench.smmu.create_domain(by(stage2(0x2000))).unwrap();
    let gone = bench.smmu.create_domain(by(stage1(0x3000))).unwrap();
    bench.smmu.attach(StreamId(1), one).unwrap();
    bench.smmu.attach(StreamId(2), two).unwrap();
    bench.smmu.attach(StreamId(3), gone).unwrap();
    bench.hardware.borrow_mut().lives = Some(0);
    assert!(bench.smmu.detach(StreamId(3)).is_err());
    assert!(matches!(bench.smmu.destroy_domain(gone), Err(IommuError::InUse { .. })));
    bench.hardware.borrow_mut().reset();
    // The memory of structures was lost as well.
    let attached = bench.smmu.stream_entry(StreamId(1)).unwrap().raw();
    bench.hardware.borrow_mut().words.retain(|&at, _| at & !0xff != attached & !0xff);
    bench.smmu.recover().unwrap();
    let mut hardware = bench.hardware.borrow_mut();
    assert!(matches!(hardware.access(1, 0), Fetched::Translate { root1: Some(0x1000), .. }));
    assert!(matches!(hardware.access(2, 0), Fetched::Translate { root2: Some(0x2000), .. }));
    assert_eq!(hardware.access(3, 0), Fetched::Event(4));
    drop(hardware);
    bench.smmu.destroy_domain(gone).unwrap();
}

/// Hardware whose command queue runs, and which does not translate yet, has attached nothing.
#[test]
fn what_is_half_started_is_not_used() {
    let prepare = || {
        let mut bench = try_bench(Hardware::new(), config()).unwrap();
        let domain = bench.smmu.create_domain(by(stage1(0x1000))).unwrap();
        bench.smmu.attach(StreamId(1), domain).unwrap();
        (bench, domain)
    };
    let (mut bench, _) = prepare();
    let before = bench.hardware.borrow().accesses;
    bench.smmu.recover().unwrap();
    let whole = bench.hardware.borrow().accesses - before;
    for lives in 0..whole {
        let (mut bench, domain) = prepare();
        bench.hardware.borrow_mut().lives = Some(lives);
        assert!(bench.smmu.recover().is_err(), "after {lives} accesses");
        bench.hardware.borrow_mut().lives = None;
        let translates = |bench: &Bench, stream| {
            let fetched = bench.hardware.borrow_mut().access(stream, 0);
            matches!(fetched, Fetched::Translate { root1: Some(0x1000), .. })
        };
        for stream in [1, 2] {
            // Before anything was stopped it works as ever.
            let done = bench.smmu.attach(StreamId(stream), domain).is_ok();
            assert!(!done || translates(&bench, stream), "after {lives} accesses: stream {stream}");
        }
        bench.smmu.recover().unwrap();
        assert!(translates(&bench, 1) && translates(&bench, 2), "after {lives} accesses");
    }
}

#[test]
fn a_doomed_domain_is_gone_after_recovering() {
    let mut bench = try_bench(Hardware::new(), config()).unwrap();
    let before = bench.hardware.borrow().allocated.len();
    let domain = bench.smmu.create_domain(by(stage1(0x1000))).unwrap();
    bench.hardware.borrow_mut().lives = Some(0);
    assert!(bench.smmu.destroy_domain(domain).is_err());
    assert_eq!(bench.hardware.borrow().allocated.len(), before + 1);
    bench.hardware.borrow_mut().reset();
    bench.smmu.recover().unwrap();
    assert_eq!(bench.hardware.borrow().allocated.len(), before);
    assert_eq!(bench.smmu.destroy_domain(domain), Ok(()));
}

#[test]
fn stopped_hardware_refuses_everything_until_it_is_started_again() {
    let mut bench = try_bench(Hardware::new(), config()).unwrap();
    let domain = bench.smmu.create_domain(Translation::Identity).unwrap();
    bench.smmu.attach(StreamId(1), domain).unwrap();
    bench.smmu.stop().unwrap();
    assert_eq!(bench.hardware.borrow_mut().access(1, 0), Fetched::Abort);
    assert!(bench.smmu.detach(StreamId(1)).is_err());
    bench.smmu.recover().unwrap();
    assert_eq!(bench.hardware.borrow_mut().access(1, 0), Fetched::Event(4), "that was asked for meanwhile");
}

#[test]
fn at_every_allocation_memory_may_run_out() {
    for stream_table in [StreamTable::Linear, StreamTable::TwoLevel] {
        let config = Config { stream_table, stream_bits: Some(11), ..config() };
        for allocations in 0..3 {
            let mut hardware = Hardware::new();
            hardware.allocations = Some(allocations);
            let hardware = std::rc::Rc::new(std::cell::RefCell::new(hardware));
            let (window, memory) =
                (crate::fake::Window(hardware.clone()), crate::fake::Memory(hardware.clone()));
            let error = Driver::probe(window, memory, config).err();
            assert_eq!(error, Some(ProbeError::OutOfMemory));
            assert!(hardware.borrow().allocated.is_empty(), "nothing is lost");
            assert_eq!(hardware.borrow().get(0x20), 0, "the hardware was not told of anything");
        }
        for allocations in 0.. {
            let mut bench = try_bench(Hardware::new(), config).unwrap();
            bench.hardware.borrow_mut().allocations = Some(allocations);
            let errors = use_it(&mut bench.smmu);
            assert!(errors.iter().all(|error| *error == IommuError::OutOfMemory), "{errors:?}");
            assert_eq!(attached_streams(&bench), 0);
            if errors.is_empty() {
                assert!(allocations >= 2, "it allocates");
                break;
            }
        }
    }
}
