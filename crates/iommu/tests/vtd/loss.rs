//! Every step of every operation failing: memory that runs out, hardware that falls silent.

use crate::domains::{KINDS, stage};
use crate::fake::{CAP, DEVICE, Driver, Fake, GONE, OTHER, config};
use vcm_iommu::vtd::Vtd;
use vcm_iommu::{DomainId, Invalidation, Iommu, IommuError, ProbeError, StreamId, Translation};

const SID: u16 = DEVICE.0 as u16;

#[test]
fn probing_without_memory_leaves_nothing_behind() {
    for (ecap, mode, ..) in KINDS {
        for left in 0.. {
            let fake = Fake::new(CAP, ecap);
            fake.get().memory.allocations = Some(left);
            match Vtd::probe(fake.clone(), fake.clone(), config(mode)) {
                Ok(_) => {
                    assert!(left > 0);
                    break;
                }
                Err(error) => assert_eq!(error, ProbeError::OutOfMemory),
            }
            assert_eq!(fake.get().memory.live(), 0);
            assert!(!fake.get().unit.translates());
        }
    }
}

#[test]
fn operations_without_memory_change_nothing() {
    for (ecap, mode, first, page) in KINDS {
        let fake = Fake::new(CAP, ecap);
        let mut vtd = fake.probe(config(mode));
        let root = fake.table();
        fake.map(root, 4, 0x1000, 0x8000, page);
        let live = fake.get().memory.live();
        fake.get().memory.allocations = Some(0);
        let mut made = vtd.create_domain(stage(first, root));
        for left in 1..4 {
            if made.is_ok() {
                break;
            }
            assert_eq!(made, Err(IommuError::OutOfMemory));
            assert_eq!(fake.get().memory.live(), live);
            fake.get().memory.allocations = Some(left);
            made = vtd.create_domain(stage(first, root));
        }
        let domain = made.unwrap();
        fake.get().memory.allocations = Some(0);
        assert_eq!(vtd.attach(DEVICE, domain), Err(IommuError::OutOfMemory));
        assert_eq!(fake.read(SID, 0x1000), None);
        fake.get().memory.allocations = Some(1);
        vtd.attach(DEVICE, domain).unwrap();
        assert_eq!(fake.read(SID, 0x1000), Some(0x8000));
        // A second one in the same table takes no memory; one on another bus does, and moves nothing when it fails.
        vtd.attach(StreamId(0x11), domain).unwrap();
        assert_eq!(vtd.attach(OTHER, domain), Err(IommuError::OutOfMemory));
        vtd.destroy_domain(domain).unwrap_err();
        vtd.detach(DEVICE).unwrap();
        vtd.detach(StreamId(0x11)).unwrap();
        vtd.destroy_domain(domain).unwrap();
    }
}

#[test]
fn probing_survives_silence_at_every_access() {
    for (ecap, mode, ..) in KINDS {
        for silence in [0, GONE] {
            for lives in 0.. {
                let fake = Fake::new(CAP, ecap);
                fake.get().unit.lives = Some(lives);
                fake.get().unit.silence = silence;
                // The last steps, which discard old faults, say nothing where silence is zeros.
                if Vtd::probe(fake.clone(), fake.clone(), config(mode)).is_ok() {
                    assert!(fake.get().unit.translates(), "{lives}");
                    break;
                }
                assert!(lives < 500);
            }
        }
    }
}

/// The operations of a life.
const STEPS: usize = 7;

fn step(vtd: &mut Driver, index: usize, domains: [DomainId; 2]) -> Result<(), IommuError> {
    match index {
        0 => vtd.attach(DEVICE, domains[0]),
        1 => Ok(vtd.invalidate(domains[0], &Invalidation::Everything)?),
        2 => vtd.attach(DEVICE, domains[1]),
        3 => vtd.attach(OTHER, domains[1]),
        4 => Ok(vtd.detach(DEVICE)?),
        5 => Ok(vtd.detach(OTHER)?),
        _ => vtd.destroy_domain(domains[1]),
    }
}

/// The unit falls silent at any access of any operation; it comes back, reset or not, is recovered, and the operation
/// is repeated: everything is then as if nothing had happened.
#[test]
fn silence_at_any_access_is_repaired_by_recovery_and_repetition() {
    for (ecap, mode, first, page) in KINDS {
        for silence in [0, GONE] {
            for reset in 0..3 {
                for failing in 0..STEPS {
                    for lives in 0..100 {
                        if !life(ecap, mode, first, page, silence, reset, failing, lives) {
                            break;
                        }
                        assert!(lives < 99);
                    }
                }
            }
        }
    }
}

#[expect(clippy::too_many_arguments, reason = "every way to fail")]
fn life(
    ecap: u64,
    mode: vcm_iommu::vtd::Mode,
    first: bool,
    page: u64,
    silence: u32,
    reset: u32,
    failing: usize,
    lives: usize,
) -> bool {
    let fake = Fake::new(CAP | 1 << 4, ecap);
    let mut vtd = fake.probe(config(mode));
    let roots = [fake.table(), fake.table()];
    fake.map(roots[0], 4, 0x1000, 0xa000, page);
    fake.map(roots[1], 4, 0x1000, 0xb000, page);
    let domains = roots.map(|root| vtd.create_domain(stage(first, root)).unwrap());
    let mut failed = false;
    for index in 0..STEPS {
        if index == failing {
            fake.get().unit.lives = Some(lives);
            fake.get().unit.silence = silence;
        }
        let done = step(&mut vtd, index, domains);
        if index == failing {
            failed = done.is_err();
            fake.get().unit.lives = None;
            if failed {
                match reset {
                    0 => {}
                    1 => vtd.recover().unwrap(),
                    _ => {
                        fake.get().unit.reset();
                        vtd.recover().unwrap();
                    }
                }
                step(&mut vtd, index, domains).unwrap();
            }
        } else {
            done.unwrap();
        }
        let expected = match index {
            0 | 1 => [Some(0xa000), None],
            2 => [Some(0xb000), None],
            3 => [Some(0xb000), Some(0xb000)],
            4 => [None, Some(0xb000)],
            _ => [None, None],
        };
        assert_eq!(
            [fake.read(SID, 0x1000), fake.read(OTHER.0 as u16, 0x1000)],
            expected,
            "{mode:?} silence {silence:#x} reset {reset} step {index} failing {failing} lives {lives}"
        );
    }
    vtd.destroy_domain(domains[0]).unwrap();
    assert_eq!(vtd.create_domain(Translation::Identity).map(drop), Ok(()));
    failed
}
