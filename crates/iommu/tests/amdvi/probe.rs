//! Hardware that is not there, not known, or in the middle of something.

use crate::fake::{FEATURES, Fake, STREAMS, config};
use crate::fake_rig::SILENCES;
use vcm_iommu::amdvi::{AmdVi, Config, Interrupts};
use vcm_iommu::{Iommu, IommuError, StreamId, TableFormat, Translation};

fn error(fake: &Fake, config: Config) -> String {
    AmdVi::probe(fake.clone(), fake.clone(), config).map(drop).unwrap_err().to_string()
}

#[test]
fn nothing_there() {
    for silence in SILENCES {
        let fake = Fake::new();
        fake.device().power.lives = Some(0);
        fake.device().power.silence = silence;
        assert!(
            error(&fake, config()).starts_with("iommu test: nothing answers, extended features reads 0x")
        );
        assert!(fake.device().memory.allocated.is_empty());
    }
    let fake = Fake::with(FEATURES | 3 << 10);
    assert!(error(&fake, config()).contains("host tables of a kind that is not known"));
}

#[test]
fn what_the_features_say_of_levels() {
    for hats in 0..3 {
        let fake = Fake::with(1 << 6 | u64::from(hats) << 10);
        let iommu = fake.probe(config());
        for levels in 0..9 {
            let format = TableFormat::AmdV1 { levels };
            assert_eq!(iommu.supports(format), (3..=4 + hats).contains(&levels));
        }
        assert!(!iommu.supports(TableFormat::RiscvFirstStage { levels: 4 }));
    }
}

/// Firmware may have left anything; what it has chosen of buses stays.
#[test]
fn what_was_there_before_is_switched_off_and_forgotten() {
    for features in [FEATURES, FEATURES & !(1 << 6)] {
        let fake = Fake::with(features);
        {
            let mut device = fake.device();
            device.set(0x18, 0xffff_ffff);
            device.set(0x2020, 0x1f);
            device.set(0x20, 0x8000_0003);
            device.entries.insert(STREAMS[0].0, (3 | 3 << 61, 7));
            device.translations.insert((7, STREAMS[0].0, 5), crate::fake::Leads { to: 0x77, access: 3 });
        }
        fake.probe(Config { interrupts: Interrupts::On, ..config() });
        for stream in STREAMS {
            assert!(fake.read_of(stream, 0x5000).is_err());
        }
        let device = fake.device();
        assert_eq!((device.get(0x18), device.get(0x20)), (0xfe2 | 0x100d, 0));
        assert!(device.translations.is_empty());
    }
}

#[test]
fn without_invalidate_all_every_cache_is_emptied_one_by_one() {
    let fake = Fake::with(FEATURES & !(1 << 6));
    fake.probe(config());
    let device = fake.device();
    let count = |opcode: u64| device.executed.iter().filter(|command| command.0 >> 60 == opcode).count();
    assert_eq!((count(2), count(5), count(3), count(8)), (128, 128, 65536, 0));
}

#[test]
fn tables_reach_the_last_device() {
    for (last_device, pages) in [(0, 1), (0x7f, 1), (0x80, 2), (u16::MAX, 512)] {
        let fake = Fake::new();
        let mut iommu = fake.probe(Config { last_device, ..config() });
        assert_eq!(fake.device().get(0) & 0x1ff, pages - 1);
        let domain = iommu.create_domain(Translation::Identity).unwrap();
        let last = StreamId(last_device.into());
        iommu.attach(last, domain).unwrap();
        assert_eq!(fake.read_of(last, 0x1234), Ok(0x1234));
        let beyond = StreamId(u32::from(last_device) + 1);
        let refused = iommu.attach(beyond, domain);
        assert_eq!(refused, Err(IommuError::StreamOutOfRange { stream: beyond, last }));
        // All others that there is an entry for are blocked.
        for other in (0..pages as u32 * 128).filter(|other| *other != last.0) {
            assert!(fake.read_of(StreamId(other), 0x1234).is_err());
        }
    }
}

#[test]
fn every_allocation_may_fail() {
    for allocations in 0..4 {
        let fake = Fake::new();
        fake.device().memory.allocations = Some(allocations);
        assert_eq!(error(&fake, config()), "out of memory for queues and tables");
        assert!(fake.device().memory.allocated.is_empty());
        assert_eq!(fake.device().power.accesses, 2, "only the features were read");
    }
}

/// A device that never starts is switched off again, and the memory comes back.
#[test]
fn a_start_that_fails_leaves_nothing_behind() {
    let fake = Fake::new();
    fake.device().deaf = true;
    assert_eq!(error(&fake, config()), "iommu test: COMPLETION_WAIT did not complete");
    assert!(fake.device().memory.allocated.is_empty() && !fake.device().is_on());
}
