//! Two tables, one after the other: a guest's, in the guest's memory, and its owner's.

use crate::rig::guest::{GUEST, GuestMemory, guest};
use crate::support::*;
use vcm::{Attributes, FaultReason, PhysicalAddress, Security, Span};
use vcm_iommu::smmuv3::Config;
use vcm_iommu::{DomainId, Invalidation, Iommu, Reach, Translation};
use vcm_pagetable::PageTable;
use vcm_pagetable::aarch64::{Granule4K, Stage1, Stage1Config, Stage2};

/// Where the guest's devices find the context descriptor: outside of the guest's memory.
const CONTEXT: u64 = 0x1000_0000;

struct Guest {
    domain: DomainId,
    first: PageTable<Stage1<Granule4K>>,
    second: PageTable<Stage2<Granule4K>>,
    memory: GuestMemory,
}

/// A guest whose memory is RAM; its device sees `page` at [`AT`].
fn start(bench: &mut Bench, page: PhysicalAddress) -> Guest {
    let mut memory = GuestMemory(bench.ram.clone());
    let config = Stage1Config { input_bits: 39, output_bits: 44, world: Security::NonSecure };
    let mut first = PageTable::new(config, &mut memory).unwrap();
    for (at, physical) in [(AT, page), (OUT, bench.out)] {
        map_in(&mut memory, &mut first, at, guest(physical), 0x1000, Attributes::READ_WRITE);
    }
    let mut second = bench.second::<Granule4K>(40, 1);
    // 4 KiB pages for what is to be unmapped, the rest in larger ones.
    let ram = bench.ram.span();
    let len = u64::try_from(ram.len()).unwrap();
    let start = PhysicalAddress::new(ram.first());
    bench.map(&mut second, guest(start).raw(), start, len);
    let translation = Translation::Nested { first: first_tables(&first), second: second_tables(&second) };
    let domain = bench.iommu.create_domain(translation).unwrap();
    let context = bench.iommu.context_page(domain).unwrap();
    assert_eq!(context.at, CONTEXT);
    let read_only = Attributes::READ_WRITE.with_access(vcm::Access::READ);
    map_in(&mut bench.ram.clone(), &mut second, context.at, context.physical, context.len, read_only);
    Guest { domain, first, second, memory }
}

fn nested_config() -> Config {
    Config { context_at: Some(CONTEXT), ..config() }
}

#[test]
fn bytes_arrive_through_both_and_each_refuses() {
    on_qemu(nested_config(), |bench| {
        let page = bench.page();
        bench.put(page, 5);
        let mut guest_of = start(bench, page);
        bench.iommu.attach(STREAM, guest_of.domain).unwrap();
        assert!(bench.reads(&bench.edu, AT, 5));
        assert_eq!(bench.faults(), []);
        let fault = bench.fault_of_read(0x7000_0000).unwrap();
        assert_eq!((fault.reason, fault.address), (FaultReason::Translation, 0x7000_0000));
        // The guest maps what it was not given.
        let beyond = PhysicalAddress::new(GUEST >> 1);
        let read_write = Attributes::READ_WRITE;
        map_in(&mut guest_of.memory, &mut guest_of.first, 0x7100_0000, beyond, 0x1000, read_write);
        let fault = bench.fault_of_write(0x7100_0000).unwrap();
        assert_eq!((fault.reason, fault.address), (FaultReason::Translation, 0x7100_0000));
        // The guest's device can look at the descriptor, and not change it.
        let context = PhysicalAddress::new(CONTEXT);
        map_in(&mut guest_of.memory, &mut guest_of.first, 0x7200_0000, context, 0x1000, read_write);
        assert_eq!(bench.fault_of_write(0x7200_0000).unwrap().reason, FaultReason::Permission);
    });
}

#[test]
fn without_the_context_descriptor_s_page_nothing_passes() {
    on_qemu(nested_config(), |bench| {
        let page = bench.page();
        let mut guest_of = start(bench, page);
        let gather = bench.unmap(&mut guest_of.second, CONTEXT, 0x1000);
        bench.iommu.invalidate_second(guest_of.domain, &(&gather).into()).unwrap();
        bench.iommu.attach(STREAM, guest_of.domain).unwrap();
        let fault = bench.fault_of_read(AT).unwrap();
        assert_eq!((fault.reason, fault.stream), (FaultReason::Translation, STREAM));
    });
}

#[test]
fn both_tables_are_stale_until_each_is_invalidated() {
    on_qemu(nested_config(), |bench| {
        let page = bench.page();
        bench.put(page, 5);
        let mut guest_of = start(bench, page);
        bench.iommu.attach(STREAM, guest_of.domain).unwrap();
        assert!(bench.reads(&bench.edu, AT, 5));

        let mut gather = vcm_pagetable::Gather::new();
        let span = Span::new(AT, 0x1000).unwrap();
        guest_of.first.unmap(&mut guest_of.memory, span, &mut gather).unwrap();
        assert!(bench.reads(&bench.edu, AT, 5), "the stale translation is used");
        bench.iommu.invalidate(guest_of.domain, &(&gather).into()).unwrap();
        assert!(bench.fault_of_read(AT).is_some());
        gather.finish::<u64>(&mut guest_of.memory);
        map_in(&mut guest_of.memory, &mut guest_of.first, AT, guest(page), 0x1000, Attributes::READ_WRITE);
        assert!(bench.reads(&bench.edu, AT, 5));

        let gather = bench.unmap(&mut guest_of.second, guest(page).raw(), 0x1000);
        assert!(bench.reads(&bench.edu, AT, 5), "the stale translation is used");
        // What both tables made is not found by an intermediate address of another page.
        let spans = [Span::new(AT + 0x1000, 0x1000).unwrap()];
        let elsewhere = Invalidation::Addresses { spans: &spans, granule: 0x1000, reach: Reach::Pages };
        bench.iommu.invalidate(guest_of.domain, &elsewhere).unwrap();
        assert!(bench.reads(&bench.edu, AT, 5), "another address was invalidated");
        assert_eq!(bench.faults(), []);
        bench.iommu.invalidate_second(guest_of.domain, &(&gather).into()).unwrap();
        let fault = bench.fault_of_read(AT).unwrap();
        assert_eq!((fault.reason, fault.address), (FaultReason::Translation, AT));
        bench.finish(gather);
    });
}
