//! A command queue that errs, stops or never answers.

use crate::domains::domain;
use crate::fake::{Fake, STREAMS, config};
use crate::fake_rig::commands;
use vcm::Span;
use vcm_iommu::riscv::Config;
use vcm_iommu::{Invalidation, Iommu, Reach};

const ROOT: u64 = 0x9000_0000;

#[test]
fn round_and_round_a_queue_of_four() {
    for commands_log2 in [0, 2, 3, 15, 200] {
        let fake = Fake::new();
        let mut iommu = fake.probe(Config { commands_log2, ..config() });
        let id = domain(&fake, &mut iommu, ROOT, 5, 0x111);
        iommu.attach(STREAMS[0], id).unwrap();
        for pages in 1..40 {
            let spans = [Span::new(0, pages << 12).unwrap()];
            let which = Invalidation::Addresses { spans: &spans, granule: 0x1000, reach: Reach::Pages };
            fake.read_of(STREAMS[0], 0x5000).unwrap();
            fake.device().executed.clear();
            iommu.invalidate(id, &which).unwrap();
            let named = fake.device().executed.iter().filter(|command| command.0 & 0x7f == 1).count();
            assert_eq!(named as u64, pages);
            assert_eq!(fake.device().translations.is_empty(), pages > 5);
        }
        assert_eq!(iommu.command_errors(), 0);
    }
}

/// The fake device gives up what it fetched before an error, as the specification allows.
#[test]
fn an_error_costs_no_command() {
    // One illegal command where the driver writes next, or several, of which it overwrites some.
    for (illegal, batch) in [(1, 1), (1, 4), (3, 1), (6, 2), (2, 7)] {
        let fake = Fake::new();
        let mut iommu = fake.probe(Config { commands_log2: 4, ..config() });
        let id = domain(&fake, &mut iommu, ROOT, 5, 0x111);
        iommu.attach(STREAMS[0], id).unwrap();
        fake.read_of(STREAMS[0], 0x5000).unwrap();
        {
            let mut device = fake.device();
            let (base, tail) = (device.get64(0x18) >> 10 << 12, device.get(0x24));
            for index in tail..tail + illegal {
                device.memory.set_word(base + u64::from(index % 16) * 16, 0x7f);
            }
        }
        let tail = fake.device().get(0x24);
        vcm_iommu::Registers::write(&mut fake.clone(), 0x24, (tail + illegal) % 16);
        assert_ne!(fake.device().get(0x48) & 0x400, 0);
        let spans = [Span::new(0x5000, batch << 12).unwrap()];
        let which = Invalidation::Addresses { spans: &spans, granule: 0x1000, reach: Reach::Pages };
        iommu.invalidate(id, &which).unwrap();
        assert!(fake.device().translations.is_empty(), "{illegal} illegal, {batch} of ours");
        assert_eq!(fake.device().get(0x48), 0x1_0001);
        assert!(iommu.command_errors() >= 1);
        iommu.detach(STREAMS[0]).unwrap();
    }
}

#[test]
fn a_timeout_of_somebody_elses_command_is_cleared() {
    let fake = Fake::new();
    let mut iommu = fake.probe(config());
    let id = domain(&fake, &mut iommu, ROOT, 5, 0x111);
    let csr = fake.device().get(0x48);
    fake.device().set(0x48, csr | 1 << 9);
    iommu.invalidate(id, &Invalidation::Everything).unwrap();
    assert_eq!(fake.device().get(0x48), csr);
}

#[test]
fn a_command_that_the_hardware_does_not_know_is_not_taken_for_done() {
    commands::a_command_that_the_hardware_does_not_know_is_not_taken_for_done::<Fake>();
}

#[test]
fn fences_that_never_store() {
    commands::waits_that_never_store::<Fake>();
}

#[test]
fn what_was_not_done_is_quarantined_until_it_is() {
    commands::what_was_not_done_is_quarantined_until_it_is::<Fake>();
}

#[test]
fn an_attach_that_was_not_seen_to_succeed_can_be_repeated_or_undone() {
    commands::an_attach_that_was_not_seen_to_succeed_can_be_repeated_or_undone::<Fake>();
}

#[test]
fn registers_that_stay_busy_end_the_wait() {
    let fake = Fake::new();
    fake.device().slowness = 19;
    let mut iommu = fake.probe(config());
    fake.device().slowness = 20;
    assert_eq!(iommu.recover().unwrap_err().to_string(), "iommu test: ddtp stays busy");
    assert!(iommu.recover().is_err());
    fake.device().slowness = 0;
    while iommu.recover().is_err() {}
}

#[test]
fn a_head_beyond_the_queue() {
    let fake = Fake::new();
    let mut iommu = fake.probe(config());
    let id = domain(&fake, &mut iommu, ROOT, 5, 0x111);
    let csr = fake.device().get(0x48);
    fake.device().set(0x48, csr | 1 << 10);
    fake.device().set(0x20, 4000);
    let error = iommu.invalidate(id, &Invalidation::Everything).unwrap_err();
    assert_eq!(error.to_string(), "iommu test: cqh is beyond the command queue");
    iommu.invalidate(id, &Invalidation::Everything).unwrap();
}
