//! Bytes arrive where domains lead, and nowhere else.

use super::{Bench, Model, OTHER_STREAM, Records, STREAM};
use vcm::Iova;
use vcm_iommu::{Iommu, IommuError, Translation};
use vcm_qemu::IommuMachine;

pub(crate) fn identity_passes_until_it_is_taken_away<M: Model>(bench: &mut Bench<M>) {
    let page = bench.filled(7);
    let untranslated = |bench: &Bench<M>| {
        bench.ram.write_bytes(bench.out, &[0; 4096]).unwrap();
        bench.edu.copy(Iova::new(page.raw()), Iova::new(bench.out.raw()), 4096).unwrap();
        bench.holds(bench.out, 7)
    };
    let domain = bench.iommu.create_domain(Translation::Identity).unwrap();
    bench.iommu.attach(STREAM, domain).unwrap();
    assert!(untranslated(bench));
    bench.iommu.detach(STREAM).unwrap();
    assert!(!untranslated(bench));
    assert!(M::RECORDS == Records::NotSeen || !bench.faults().is_empty());
}

pub(crate) fn domains_are_apart_and_streams_of_one_share_it<M: Model>(bench: &mut Bench<M>) {
    let (one, two) = (bench.filled(1), bench.filled(2));
    let (first, _a) = bench.domain_to(one);
    let (second, _b) = bench.domain_to(two);
    bench.iommu.attach(STREAM, first).unwrap();
    bench.iommu.attach(OTHER_STREAM, second).unwrap();
    assert!(bench.reads(&bench.edu, M::AT, 1) && bench.reads(&bench.other, M::AT, 2));
    bench.iommu.attach(STREAM, second).unwrap();
    assert!(bench.reads(&bench.edu, M::AT, 2) && bench.reads(&bench.other, M::AT, 2));
    bench.iommu.destroy_domain(first).unwrap();
    let refused = bench.iommu.destroy_domain(second);
    assert_eq!(refused, Err(IommuError::InUse { domain: second, stream: STREAM }));
    bench.iommu.detach(STREAM).unwrap();
    assert!(bench.reads(&bench.other, M::AT, 2) && bench.refuses(M::AT, 2));
}

/// Another driver finds the hardware as its predecessor left it.
pub(crate) fn the_driver_that_comes_after_another_blocks_everything<M: Model>(
    bench: &mut Bench<M>,
    probe: impl FnOnce(&IommuMachine) -> M::Driver,
) {
    let page = bench.filled(3);
    let (domain, _table) = bench.domain_to(page);
    bench.iommu.attach(STREAM, domain).unwrap();
    assert!(bench.reads(&bench.edu, M::AT, 3));
    bench.iommu = probe(&bench.machine);
    assert!(bench.refuses(M::AT, 3));
}
