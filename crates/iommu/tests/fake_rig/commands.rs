//! Commands that are not done.

use super::{Fake, Misbehaviour, ROOT, domain, start};
use vcm_iommu::{Invalidation, Iommu};

pub(crate) fn attaching_what_is_attached_asks_the_hardware_nothing<F: Fake>() {
    let (fake, mut iommu, [one, _]) = start::<F>();
    iommu.attach(F::STREAMS[0], one).unwrap();
    let before = fake.power().accesses;
    iommu.attach(F::STREAMS[0], one).unwrap();
    assert_eq!(fake.power().accesses, before);
}

pub(crate) fn a_command_that_the_hardware_does_not_know_is_not_taken_for_done<F: Fake>() {
    let (fake, mut iommu, [id, _]) = start::<F>();
    iommu.attach(F::STREAMS[0], id).unwrap();
    fake.misbehave(Some(Misbehaviour::Unknown));
    let error = iommu.invalidate(id, &Invalidation::Everything).unwrap_err();
    assert_eq!(error.to_string(), "iommu test: commands are refused");
    iommu.detach(F::STREAMS[0]).unwrap_err();
    iommu.destroy_domain(id).unwrap_err();
    fake.misbehave(None);
    iommu.detach(F::STREAMS[0]).unwrap();
    iommu.destroy_domain(id).unwrap();
}

pub(crate) fn waits_that_never_store<F: Fake>() {
    let (fake, mut iommu, [id, _]) = start::<F>();
    fake.misbehave(Some(Misbehaviour::NoStore));
    let before = fake.power().accesses;
    let error = iommu.invalidate(id, &Invalidation::Everything).unwrap_err();
    assert_eq!(error.to_string(), format!("iommu test: {} did not complete", F::WAIT));
    assert!(fake.power().accesses - before < F::WAIT_ACCESSES, "bounded");
    fake.misbehave(None);
    iommu.invalidate(id, &Invalidation::Everything).unwrap();
}

pub(crate) fn what_was_not_done_is_quarantined_until_it_is<F: Fake>() {
    let (fake, mut iommu, [one, two]) = start::<F>();
    iommu.attach(F::STREAMS[0], one).unwrap();
    fake.reads(F::STREAMS[0], 0x5000).unwrap();
    fake.misbehave(Some(Misbehaviour::Deaf));
    let before = fake.power().accesses;
    let error = iommu.detach(F::STREAMS[0]).unwrap_err();
    assert_eq!(error.to_string(), format!("iommu test: {} did not complete", F::WAIT));
    assert!(fake.power().accesses - before < 50, "bounded");
    // It translates still, and everybody knows.
    assert_eq!(fake.reads(F::STREAMS[0], 0x5000), Ok(0x11_1000));
    iommu.attach(F::STREAMS[0], two).unwrap_err();
    assert_eq!(iommu.destroy_domain(one).unwrap_err().to_string(), "domain 0 is in use by stream 0x10");
    iommu.destroy_domain(two).unwrap_err();
    let third = domain(&fake, &mut iommu, ROOT + 0x2000, 0x333);
    fake.misbehave(None);
    iommu.detach(F::STREAMS[0]).unwrap();
    assert_eq!(fake.reads(F::STREAMS[0], 0x5000), Err(F::BLOCKED));
    for id in [one, two, third] {
        iommu.destroy_domain(id).unwrap();
    }
}

pub(crate) fn an_attach_that_was_not_seen_to_succeed_can_be_repeated_or_undone<F: Fake>() {
    for undo in [false, true] {
        let (fake, mut iommu, [one, _]) = start::<F>();
        fake.misbehave(Some(Misbehaviour::Deaf));
        iommu.attach(F::STREAMS[0], one).unwrap_err();
        assert!(iommu.destroy_domain(one).is_err());
        fake.misbehave(None);
        if undo {
            iommu.detach(F::STREAMS[0]).unwrap();
            assert_eq!(fake.reads(F::STREAMS[0], 0x5000), Err(F::BLOCKED));
            iommu.destroy_domain(one).unwrap();
        } else {
            iommu.attach(F::STREAMS[0], one).unwrap();
            assert_eq!(fake.reads(F::STREAMS[0], 0x5000), Ok(0x11_1000));
        }
    }
}
