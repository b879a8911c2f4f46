//! Models that have one stage only: commands of the other are illegal.

use crate::support::*;
use vcm::{Iova, PhysicalAddress, Span};
use vcm_iommu::{Feature, Invalidation, Iommu, IommuError, Reach, TableFormat, Tables, Translation, Way};
use vcm_pagetable::aarch64::Granule4K;
use vcm_pagetable::{Format, PageTable};

/// From the machine of 9.2 on, QEMU has both stages whatever it is told.
const FIRST: [&str; 4] = ["-machine", "virt-9.1", "-global", "arm-smmuv3.stage=1"];
const SECOND: [&str; 4] = ["-machine", "virt-9.1", "-global", "arm-smmuv3.stage=2"];

/// Everything that the driver does with a domain, without a command that the hardware refuses.
fn a_whole_life<F: Format<Word = u64>>(bench: &mut Bench, mut table: PageTable<F>, tables: Tables) {
    let page = bench.page();
    bench.put(page, 1);
    bench.map(&mut table, AT, page, 0x1000);
    bench.map(&mut table, OUT, bench.out, 0x1000);
    let domain = bench.domain(tables);
    let identity = bench.iommu.create_domain(Translation::Identity).unwrap();
    bench.iommu.attach(STREAM, domain).unwrap();
    bench.iommu.attach(OTHER_STREAM, identity).unwrap();
    assert!(bench.reads(&bench.edu, AT, 1));
    bench.other.dma_to_device(Iova::new(page.raw()), 0, 64).unwrap();
    let spans = [Span::new(AT, 0x5000).unwrap()];
    let addresses = Invalidation::Addresses { spans: &spans, granule: 0x1000, reach: Reach::Tables };
    for invalidation in [addresses, Invalidation::Everything] {
        let gather = bench.unmap(&mut table, AT, 0x1000);
        assert!(bench.reads(&bench.edu, AT, 1), "the stale translation is used");
        bench.iommu.invalidate(domain, &invalidation).unwrap();
        assert!(!bench.reads(&bench.edu, AT, 1));
        bench.finish(gather);
        bench.faults();
        bench.map(&mut table, AT, page, 0x1000);
        assert!(bench.reads(&bench.edu, AT, 1));
    }
    bench.iommu.attach(OTHER_STREAM, domain).unwrap();
    bench.iommu.recover().unwrap();
    assert!(bench.reads(&bench.edu, AT, 1) && bench.reads(&bench.other, AT, 1));
    for stream in [STREAM, OTHER_STREAM] {
        bench.iommu.detach(stream).unwrap();
    }
    bench.iommu.destroy_domain(domain).unwrap();
    bench.iommu.destroy_domain(identity).unwrap();
    assert_eq!(bench.iommu.statistics().refused_commands, 0);
    assert_eq!(bench.faults(), []);

    let (first, second) = (bench.first::<Granule4K>(39), bench.second::<Granule4K>(39, 1));
    let nested = Translation::Nested { first: first_tables(&first), second: second_tables(&second) };
    assert_eq!(bench.iommu.create_domain(nested), Err(IommuError::NotSupported(Feature::Nested)));
}

fn refuses(bench: &mut Bench, format: TableFormat) {
    let translation = Translation::Tables(Tables { format, root: PhysicalAddress::new(0x4100_0000) });
    let refused = IommuError::NotSupported(Feature::Format(format));
    assert_eq!(bench.iommu.create_domain(translation), Err(refused));
}

#[test]
fn stage_1_only() {
    on_qemu_with(&FIRST, config(), |bench| {
        assert!(!bench.iommu.capabilities().idr0.s2p());
        let table = bench.first::<Granule4K>(39);
        let tables = first_tables(&table);
        assert_eq!(bench.iommu.preferred(), Way::Tables(tables.format));
        let second = bench.second::<Granule4K>(39, 1);
        refuses(bench, second_tables(&second).format);
        a_whole_life(bench, table, tables);
    });
}

#[test]
fn stage_2_only() {
    on_qemu_with(&SECOND, config(), |bench| {
        assert!(!bench.iommu.capabilities().idr0.s1p());
        let table = bench.second::<Granule4K>(39, 1);
        let tables = second_tables(&table);
        assert_eq!(bench.iommu.preferred(), Way::Tables(tables.format));
        let first = bench.first::<Granule4K>(39);
        refuses(bench, first_tables(&first).format);
        a_whole_life(bench, table, tables);
    });
}
