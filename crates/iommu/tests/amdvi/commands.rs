//! A command buffer that stops or never answers.

use crate::domains::domain;
use crate::fake::{Fake, STREAMS, config};
use crate::fake_rig::commands;
use vcm::Span;
use vcm_iommu::amdvi::Config;
use vcm_iommu::{Invalidation, Iommu, Reach, Registers};

const ROOT: u64 = 0x9000_0000;
const COMMAND_TAIL: u32 = 0x2008;

#[test]
fn round_and_round_the_smallest_buffer() {
    for commands_log2 in [0, 8, 15, 200] {
        let fake = Fake::new();
        let mut iommu = fake.probe(Config { commands_log2, ..config() });
        let id = domain(&fake, &mut iommu, ROOT, 1, 0x111);
        iommu.attach(STREAMS[0], id).unwrap();
        for count in [1, 2, 100, 253, 254, 255, 256] {
            // The last one names the page.
            let spans: Vec<Span> = (1..=count)
                .rev()
                .map(|at| Span::new(at * 0x1000 + 0x1000 * (at - 1), 0x1000).unwrap())
                .collect();
            let which = Invalidation::Addresses { spans: &spans, granule: 0x1000, reach: Reach::Pages };
            fake.read_of(STREAMS[0], 0x1000).unwrap();
            fake.device().executed.clear();
            iommu.invalidate(id, &which).unwrap();
            let named = fake.device().executed.iter().filter(|command| command.0 >> 60 == 3).count();
            assert_eq!(named as u64, count);
            assert!(fake.device().translations.is_empty());
        }
        assert_eq!(iommu.command_stops(), 0);
    }
}

/// The fake device gives up what it fetched before an error.
#[test]
fn an_illegal_command_costs_no_other() {
    for (illegal, batch) in [(1, 1), (1, 4), (3, 1), (6, 2), (2, 7)] {
        let fake = Fake::new();
        let mut iommu = fake.probe(config());
        let id = domain(&fake, &mut iommu, ROOT, 5, 0x111);
        iommu.attach(STREAMS[0], id).unwrap();
        fake.read_of(STREAMS[0], 0x5000).unwrap();
        let base = fake.device().get(8) & 0xf_ffff_ffff_f000;
        let tail = fake.device().get(COMMAND_TAIL);
        for index in 0..illegal {
            fake.device().memory.set_word(base + tail + index * 16, 0xf << 60);
        }
        fake.clone().write64(COMMAND_TAIL, tail + illegal * 16);
        assert_eq!(fake.device().get(0x2020) & 1 << 4, 0, "fetching has stopped");
        let spans: Vec<Span> =
            (0..batch).map(|index| Span::new(0x5000 + index * 0x2000, 0x1000).unwrap()).collect();
        let which = Invalidation::Addresses { spans: &spans, granule: 0x1000, reach: Reach::Pages };
        iommu.invalidate(id, &which).unwrap();
        assert!(fake.device().translations.is_empty(), "{illegal} illegal, {batch} of ours");
        assert_ne!(fake.device().get(0x2020) & 1 << 4, 0);
        assert!(iommu.command_stops() >= 1);
        // The event of it is no fault.
        assert_eq!((iommu.next_fault(), iommu.command_errors()), (Ok(None), 1));
        iommu.detach(STREAMS[0]).unwrap();
    }
}

/// A legal command of another hand moves the hardware on, past what the driver writes next.
#[test]
fn a_command_of_another_hand_is_noticed() {
    let fake = Fake::new();
    let mut iommu = fake.probe(config());
    let id = domain(&fake, &mut iommu, ROOT, 5, 0x111);
    iommu.attach(STREAMS[0], id).unwrap();
    fake.read_of(STREAMS[0], 0x5000).unwrap();
    let base = fake.device().get(8) & 0xf_ffff_ffff_f000;
    let tail = fake.device().get(COMMAND_TAIL);
    fake.device().memory.set_word(base + tail, 1 << 60);
    fake.device().memory.set_word(base + tail + 8, 0);
    fake.clone().write64(COMMAND_TAIL, tail + 16);
    iommu.invalidate(id, &Invalidation::Everything).unwrap();
    assert!(fake.device().translations.is_empty());
}

#[test]
fn a_command_that_the_hardware_does_not_know_is_not_taken_for_done() {
    commands::a_command_that_the_hardware_does_not_know_is_not_taken_for_done::<Fake>();
}

#[test]
fn waits_that_never_store() {
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
