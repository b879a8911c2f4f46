//! What QEMU records of transactions that it refuses.

use crate::support::*;
use vcm::{Access, FaultAccess, FaultReason, FaultState, Iova};
use vcm_iommu::Iommu;

#[test]
fn a_fault_tells_who_where_what_and_why() {
    on_all(|bench| {
        let page = bench.filled(1);
        let (domain, mut table) = bench.domain_to(page);
        bench.map_as(&mut table, 0x3000_0000, page, 0x1000, Access::READ);
        bench.edu.dma_to_device(Iova::new(AT), 0, 4).unwrap();
        let faults = bench.faults();
        assert_eq!((faults[0].stream, faults[0].reason), (STREAM, FaultReason::NoContext));
        assert_eq!(faults[0].address, AT);
        bench.iommu.attach(STREAM, domain).unwrap();
        bench.iommu.attach(OTHER_STREAM, domain).unwrap();
        let missing =
            if bench.model.is_first_stage() { FaultReason::Translation } else { FaultReason::Permission };

        bench.edu.dma_to_device(Iova::new(NOWHERE + 0x234), 0, 4).unwrap();
        let fault = bench.faults()[0];
        println!("{:?}: {fault}", bench.model);
        assert_eq!((fault.stream, fault.address, fault.access), (STREAM, NOWHERE, FaultAccess::Read));
        assert_eq!((fault.reason, fault.state), (missing, FaultState::Terminated));

        bench.other.dma_from_device(Iova::new(NOWHERE + 0x234), 0, 4).unwrap();
        let fault = bench.faults()[0];
        println!("{:?}: {fault}", bench.model);
        assert_eq!((fault.stream, fault.address, fault.access), (OTHER_STREAM, NOWHERE, FaultAccess::Write));
        assert_eq!(fault.reason, missing);

        bench.edu.dma_from_device(Iova::new(0x3000_0000), 0, 4).unwrap();
        let fault = bench.faults()[0];
        println!("{:?}: {fault}", bench.model);
        assert_eq!((fault.address, fault.access), (0x3000_0000, FaultAccess::Write));
        assert_eq!(fault.reason, FaultReason::Permission);

        bench.edu.dma_to_device(Iova::new(1 << 60), 0, 4).unwrap();
        let fault = bench.faults()[0];
        println!("{:?}: {fault}", bench.model);
        assert_eq!((fault.address, fault.reason), (1 << 60, FaultReason::AddressSize));
        assert_eq!(bench.iommu.fault_overflows(), 0);
    });
}

#[test]
fn recording_goes_on_after_an_overflow_and_after_many_faults() {
    on_all(|bench| {
        for round in 1..=20 {
            // There is one register: the second one's fault is lost. Faults of the same device are not counted.
            bench.edu.dma_to_device(Iova::new(NOWHERE), 0, 16).unwrap();
            bench.other.dma_to_device(Iova::new(NOWHERE), 0, 16).unwrap();
            let faults = bench.faults();
            assert_eq!((faults.len(), faults[0].stream), (1, STREAM));
            assert_eq!(bench.iommu.fault_overflows(), round);
            bench.other.dma_to_device(Iova::new(NOWHERE + round * 0x1000), 0, 4).unwrap();
            let faults = bench.faults();
            assert_eq!((faults.len(), faults[0].stream), (1, OTHER_STREAM));
            assert_eq!(faults[0].address, NOWHERE + round * 0x1000);
        }
    });
}
