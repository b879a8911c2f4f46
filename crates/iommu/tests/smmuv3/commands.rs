//! The command queue: wrapping, errors, silence.

use crate::fake::{Bench, Fetched, Hardware, Pace, bench, by, config, stage1, stage2, try_bench};
use vcm::Span;
use vcm_iommu::smmuv3::Config;
use vcm_iommu::{DomainId, Invalidation, Iommu, Reach, StreamId};

const STREAM: StreamId = StreamId(5);

fn attached(bench: &mut Bench) -> DomainId {
    let domain = bench.smmu.create_domain(by(stage1(0x1000))).unwrap();
    bench.smmu.attach(STREAM, domain).unwrap();
    domain
}

/// Without ranges, so that there are many commands.
fn pagewise(pace: Pace) -> Bench {
    let mut hardware = Hardware::new();
    hardware.set(0x0c, 0);
    hardware.pace = pace;
    try_bench(hardware, config()).unwrap()
}

#[test]
fn the_smallest_queue_wraps_around_thousands_of_times() {
    for (pace, command_queue) in [(Pace::AtOnce, 0), (Pace::WhenAsked, 1), (Pace::WhenAsked, 3)] {
        let mut hardware = Hardware::new();
        hardware.set(0x0c, 0);
        hardware.pace = pace;
        let mut bench = try_bench(hardware, Config { command_queue, polls: 10_000, ..config() }).unwrap();
        let domain = attached(&mut bench);
        for round in 0..20_u64 {
            let pages = 100 + round;
            for page in 0..pages {
                bench.hardware.borrow_mut().access(STREAM.0, page << 12);
            }
            let span = Span::new(0, pages << 12).unwrap();
            let invalidation =
                Invalidation::Addresses { spans: &[span], granule: 0x1000, reach: Reach::Pages };
            bench.smmu.invalidate(domain, &invalidation).unwrap();
            assert!(bench.hardware.borrow().tlb.is_empty());
        }
        let hardware = bench.hardware.borrow();
        assert_eq!(bench.smmu.statistics().commands, hardware.consumed, "each is consumed, once");
        assert!(hardware.consumed > 2000);
    }
}

#[test]
fn a_queue_larger_than_the_hardware_s_is_not_asked_for() {
    let bench =
        try_bench(Hardware::new(), Config { command_queue: 30, event_queue: 30, ..config() }).unwrap();
    let hardware = bench.hardware.borrow();
    assert_eq!((hardware.get(0x90) & 0x1f, hardware.get(0xa0) & 0x1f), (8, 8));
}

#[test]
fn an_illegal_command_is_replaced_and_what_it_was_for_can_be_repeated() {
    let mut bench = pagewise(Pace::AtOnce);
    let domain = attached(&mut bench);
    for page in 0..20 {
        bench.hardware.borrow_mut().access(STREAM.0, page << 12);
    }
    let next = bench.hardware.borrow().consumed;
    bench.hardware.borrow_mut().corrupt.extend([next + 3, next + 9]);
    let span = Span::new(0, 20 << 12).unwrap();
    let invalidation = Invalidation::Addresses { spans: &[span], granule: 0x1000, reach: Reach::Pages };
    let error = bench.smmu.invalidate(domain, &invalidation).unwrap_err();
    assert_eq!(error.to_string(), "iommu fake: a command was refused (CERROR_ILL)");
    assert_eq!(bench.smmu.refused_command().unwrap()[0], 0xff);
    assert_eq!(bench.smmu.statistics().refused_commands, 2);
    assert_eq!(bench.hardware.borrow().tlb.len(), 2, "the others were carried out");
    let hardware = bench.hardware.borrow();
    assert_eq!(hardware.get(0x60), hardware.get(0x64), "the error is acknowledged");
    drop(hardware);
    bench.smmu.invalidate(domain, &invalidation).unwrap();
    assert!(bench.hardware.borrow().tlb.is_empty());
}

#[test]
fn a_command_that_could_not_be_read_is_read_again() {
    let mut bench = bench();
    let domain = attached(&mut bench);
    bench.hardware.borrow_mut().access(STREAM.0, 0);
    bench.hardware.borrow_mut().fetch_aborts = 3;
    bench.smmu.invalidate(domain, &Invalidation::Everything).unwrap();
    assert!(bench.hardware.borrow().tlb.is_empty());
    assert_eq!(bench.smmu.statistics().command_aborts, 3);

    bench.hardware.borrow_mut().fetch_aborts = u32::MAX;
    let error = bench.smmu.invalidate(domain, &Invalidation::Everything).unwrap_err();
    assert_eq!(error.what, "the command queue cannot be read (CERROR_ABT)");
    bench.hardware.borrow_mut().fetch_aborts = 0;
    bench.smmu.invalidate(domain, &Invalidation::Everything).unwrap();
}

#[test]
fn a_detach_that_does_not_complete_keeps_everything_until_it_does() {
    let mut bench = bench();
    let domain = attached(&mut bench);
    assert!(matches!(bench.hardware.borrow_mut().access(STREAM.0, 0), Fetched::Translate { .. }));
    bench.hardware.borrow_mut().pace = Pace::Stuck;
    let error = bench.smmu.detach(STREAM).unwrap_err();
    assert_eq!(error.what, "CMD_SYNC did not complete");
    // The hardware has the old entry still.
    assert!(matches!(bench.hardware.borrow_mut().access(STREAM.0, 0), Fetched::Translate { .. }));
    assert!(matches!(
        bench.smmu.destroy_domain(domain),
        Err(vcm_iommu::IommuError::InUse { stream: STREAM, .. })
    ));
    // A queue that nobody empties fills up; that is an error, too, and costs no memory.
    for _ in 0..20 {
        assert!(bench.smmu.detach(STREAM).is_err());
    }
    bench.hardware.borrow_mut().pace = Pace::AtOnce;
    bench.hardware.borrow_mut().run();
    bench.smmu.detach(STREAM).unwrap();
    assert_eq!(bench.hardware.borrow_mut().access(STREAM.0, 0), Fetched::Event(4));
    bench.smmu.destroy_domain(domain).unwrap();
}

#[test]
fn a_move_that_does_not_complete_holds_both_domains() {
    let mut bench = bench();
    let one = attached(&mut bench);
    let two = bench.smmu.create_domain(by(stage1(0x2000))).unwrap();
    bench.hardware.borrow_mut().pace = Pace::Stuck;
    assert!(bench.smmu.attach(STREAM, two).is_err());
    for domain in [one, two] {
        let refused = bench.smmu.destroy_domain(domain);
        assert!(matches!(refused, Err(vcm_iommu::IommuError::InUse { .. })), "{refused:?}");
    }
    bench.hardware.borrow_mut().pace = Pace::AtOnce;
    bench.hardware.borrow_mut().run();
    bench.smmu.attach(STREAM, two).unwrap();
    assert!(matches!(
        bench.hardware.borrow_mut().access(STREAM.0, 0),
        Fetched::Translate { root1: Some(0x2000), .. }
    ));
    bench.smmu.destroy_domain(one).unwrap();
}

#[test]
fn while_nothing_completes_an_entry_is_cut_and_not_touched_besides() {
    let mut bench = bench();
    let [one, two] = [0x2000, 0x4000].map(|root| bench.smmu.create_domain(by(stage2(root))).unwrap());
    bench.smmu.attach(STREAM, one).unwrap();
    let at = bench.smmu.stream_entry(STREAM).unwrap().raw();
    let words = |bench: &Bench| [0, 8, 16, 24].map(|offset| bench.hardware.borrow().word(at + offset));
    let before = words(&bench);
    bench.hardware.borrow_mut().pace = Pace::Stuck;
    assert!(bench.smmu.attach(STREAM, two).is_err());
    for _ in 0..5 {
        assert_eq!(words(&bench), [0, before[1], before[2], before[3]]);
        assert!(bench.smmu.detach(STREAM).is_err());
        assert!(bench.smmu.attach(STREAM, one).is_err());
    }
    bench.hardware.borrow_mut().pace = Pace::AtOnce;
    bench.hardware.borrow_mut().run();
    bench.smmu.attach(STREAM, one).unwrap();
    assert_eq!(words(&bench), before);
}

#[test]
fn a_number_is_not_given_again_before_its_invalidation_has_completed() {
    let mut hardware = Hardware::new();
    hardware.set(0, crate::fake::BOTH_STAGES & !(1 << 12));
    let mut bench = try_bench(hardware, config()).unwrap();
    let domains: Vec<_> = (0..255).map(|_| bench.smmu.create_domain(by(stage1(0x1000))).unwrap()).collect();
    bench.hardware.borrow_mut().pace = Pace::Stuck;
    assert!(bench.smmu.destroy_domain(domains[9]).is_err());
    assert!(bench.smmu.create_domain(by(stage1(0x1000))).is_err());
    assert!(bench.smmu.attach(STREAM, domains[9]).is_err(), "it is going");
    bench.hardware.borrow_mut().pace = Pace::AtOnce;
    bench.hardware.borrow_mut().run();
    bench.smmu.destroy_domain(domains[9]).unwrap();
    bench.smmu.create_domain(by(stage1(0x1000))).unwrap();
}

#[test]
fn indices_that_make_no_sense_are_an_error() {
    for garbage in [u32::MAX, 0x10, 0xf_ffff, 0xb, 0x100] {
        let mut bench = bench();
        let domain = attached(&mut bench);
        bench.hardware.borrow_mut().pace = Pace::Stuck;
        let now = bench.hardware.borrow().get(0x9c);
        assert_ne!(now, garbage);
        // One past what was published.
        let garbage = if garbage == 0xb { (now + 3) & 0xf } else { garbage };
        bench.hardware.borrow_mut().set(0x9c, garbage);
        let error = bench.smmu.invalidate(domain, &Invalidation::Everything).unwrap_err();
        assert_eq!(error.what, "CMDQ_CONS makes no sense", "{garbage:#x}");
    }
}

#[test]
fn hardware_that_was_reset_is_noticed_whatever_the_index_is() {
    // Sixteen commands are once around with the wrap bit: an index of zero is what is waited for, then.
    for commands in 0..16 {
        let mut bench = pagewise(Pace::AtOnce);
        let domain = attached(&mut bench);
        let span = Span::new(0, (commands + 1) << 12).unwrap();
        let invalidation = Invalidation::Addresses { spans: &[span], granule: 0x1000, reach: Reach::Pages };
        bench.smmu.invalidate(domain, &invalidation).unwrap();
        bench.hardware.borrow_mut().reset();
        assert!(bench.smmu.invalidate(domain, &Invalidation::Everything).is_err(), "{commands}");
        bench.smmu.recover().unwrap();
        bench.smmu.invalidate(domain, &invalidation).unwrap();
        assert!(matches!(bench.hardware.borrow_mut().access(STREAM.0, 0), Fetched::Translate { .. }));
    }
}
