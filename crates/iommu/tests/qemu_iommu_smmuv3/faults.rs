//! What is refused is recorded.

use crate::support::*;
use vcm::{Access, Attributes, FaultAccess, FaultReason, Iova};
use vcm_iommu::smmuv3::{Config, StreamTable, Unattached};
use vcm_iommu::{Invalidation, Iommu};
use vcm_pagetable::aarch64::Granule4K;

#[test]
fn outside_without_permission_and_with_entries_that_cannot_be() {
    on_qemu(config(), |bench| {
        let (page, fixed) = (bench.page(), bench.page());
        bench.put(fixed, 9);
        let (domain, mut table) = bench.domain_to(page);
        let read_only = Attributes::READ_WRITE.with_access(Access::READ);
        map_in(&mut bench.ram.clone(), &mut table, AT + 0x1000, fixed, 0x1000, read_only);
        bench.iommu.attach(STREAM, domain).unwrap();

        let fault = bench.fault_of_read(0x7fff_f004).unwrap();
        assert_eq!(
            fault.to_string(),
            "translation fault (F_TRANSLATION): read of stream 0x10 at 0x7ffff004, terminated"
        );
        let fault = bench.fault_of_write(0x7fff_f008).unwrap();
        assert_eq!((fault.access, fault.address), (FaultAccess::Write, 0x7fff_f008));
        // Beyond the table's 39 bits.
        let fault = bench.fault_of_read(1 << 40).unwrap();
        assert_eq!((fault.reason, fault.address), (FaultReason::Translation, 1 << 40));

        assert!(bench.reads(&bench.edu, AT + 0x1000, 9));
        let fault = bench.fault_of_write(AT + 0x1004).unwrap();
        assert_eq!(
            (fault.name, fault.reason, fault.access, fault.address, fault.code),
            ("F_PERMISSION", FaultReason::Permission, FaultAccess::Write, AT + 0x1004, 0x13)
        );
        assert!(bench.holds(fixed, 9));

        // Behind the table's back: an entry without access flag, and one beyond what there is of memory addresses.
        for (clear, set, reason) in
            [(1 << 10, 0, FaultReason::AccessFlag), (0, 1 << 45, FaultReason::AddressSize)]
        {
            let entry = entry_of(bench, table.root(), AT);
            let word = read64(&bench.ram, entry);
            write64(&bench.ram, entry, word & !clear | set);
            bench.iommu.invalidate(domain, &Invalidation::Everything).unwrap();
            let fault = bench.fault_of_read(AT).unwrap();
            assert_eq!((fault.reason, fault.address), (reason, AT), "{}", fault.name);
            write64(&bench.ram, entry, word);
        }
        assert_eq!(bench.fault_of_read(AT), None);
    });
}

#[test]
fn a_transfer_that_faults_half_way_faults_where_it_does() {
    on_qemu(config(), |bench| {
        let page = bench.page();
        let (domain, _table) = bench.domain_to(page);
        bench.iommu.attach(STREAM, domain).unwrap();
        bench.edu.dma_to_device(Iova::new(AT + 0x800), 0, 0x1000).unwrap();
        let faults = bench.faults();
        assert_eq!(faults[0].address, AT + 0x1000);
        assert!(faults.iter().all(|fault| fault.stream == STREAM && fault.address >= AT + 0x1000));
    });
}

#[test]
fn stage_2_tells_as_much() {
    on_qemu(config(), |bench| {
        let fixed = bench.page();
        let mut table = bench.second::<Granule4K>(40, 1);
        let read_only = Attributes::READ_WRITE.with_access(Access::READ);
        map_in(&mut bench.ram.clone(), &mut table, AT, fixed, 0x1000, read_only);
        let domain = bench.domain(second_tables(&table));
        bench.iommu.attach(STREAM, domain).unwrap();
        bench.put(fixed, 9);
        let fault = bench.fault_of_write(AT + 8).unwrap();
        assert_eq!((fault.reason, fault.address), (FaultReason::Permission, AT + 8));
        let fault = bench.fault_of_read(0x7fff_f004).unwrap();
        assert_eq!((fault.reason, fault.access), (FaultReason::Translation, FaultAccess::Read));
        // Once the page is cached, QEMU takes the refusal for one of stage 1, which is not there to be recorded.
        assert_eq!(bench.fault_of_read(AT), None);
        assert_eq!(bench.fault_of_write(AT + 8), None);
        assert!(bench.holds(fixed, 9), "but refused it is");
    });
}

#[test]
fn a_stream_without_domain_before_between_and_after() {
    for (stream_table, stream_bits) in [(StreamTable::TwoLevel, None), (StreamTable::Linear, Some(6))] {
        on_qemu(Config { stream_table, stream_bits, ..config() }, |bench| {
            let page = bench.page();
            bench.put(page, 4);
            let (domain, _table) = bench.domain_to(page);
            let mut names = vec![];
            for _ in 0..3 {
                // Also where the address is that of memory: nothing passes untranslated.
                let fault = bench.fault_of_write(page.raw()).unwrap();
                assert_eq!((fault.stream, fault.reason), (STREAM, FaultReason::NoContext));
                names.push(fault.name);
                bench.iommu.attach(STREAM, domain).unwrap();
                assert!(bench.reads(&bench.edu, AT, 4));
                assert_eq!(bench.faults(), []);
                bench.iommu.detach(STREAM).unwrap();
            }
            let before = if stream_table == StreamTable::Linear { "C_BAD_STE" } else { "C_BAD_STREAMID" };
            assert_eq!(names, [before, "C_BAD_STE", "C_BAD_STE"]);
            assert!(bench.holds(page, 4));
        });
    }
    // A table that is too small for the stream.
    let config = Config { stream_table: StreamTable::Linear, stream_bits: Some(4), ..config() };
    on_qemu(config, |bench| {
        let fault = bench.fault_of_read(0).unwrap();
        assert_eq!((fault.name, fault.reason), ("C_BAD_STREAMID", FaultReason::NoContext));
    });
}

#[test]
fn silence_where_it_was_asked_for() {
    on_qemu(Config { unattached: Unattached::Silent, ..config() }, |bench| {
        let page = bench.page();
        bench.put(page, 4);
        let (domain, _table) = bench.domain_to(page);
        bench.iommu.attach(STREAM, domain).unwrap();
        assert!(bench.reads(&bench.edu, AT, 4));
        bench.iommu.detach(STREAM).unwrap();
        assert_eq!(bench.fault_of_write(AT), None);
        assert_eq!(bench.fault_of_write(page.raw()), None);
        assert!(bench.holds(page, 4));
    });
}

#[test]
fn broken_structures_are_mistakes_in_configuration() {
    on_qemu(config(), |bench| {
        let page = bench.page();
        let (domain, _table) = bench.domain_to(page);
        bench.iommu.attach(STREAM, domain).unwrap();
        let entry = bench.iommu.stream_entry(STREAM).unwrap().raw();
        let context = read64(&bench.ram, entry) & !0x3f;
        for (at, name) in [(context, "C_BAD_CD"), (entry, "C_BAD_STE")] {
            let word = read64(&bench.ram, at);
            write64(&bench.ram, at, 0);
            bench.machine.bus().with(drop_configuration);
            let fault = bench.fault_of_read(AT).unwrap();
            assert_eq!((fault.name, fault.reason), (name, FaultReason::Configuration));
            write64(&bench.ram, at, word);
            assert_eq!(bench.fault_of_read(AT), None);
        }
    });
}

/// A context descriptor that is not in memory.
#[test]
fn a_descriptor_that_cannot_be_read_is_a_failed_walk() {
    on_qemu(config(), |bench| {
        let page = bench.page();
        let (domain, _table) = bench.domain_to(page);
        bench.iommu.attach(STREAM, domain).unwrap();
        let entry = bench.iommu.stream_entry(STREAM).unwrap().raw();
        let word = read64(&bench.ram, entry);
        write64(&bench.ram, entry, word & 0x3f | 1 << 43);
        bench.machine.bus().with(drop_configuration);
        let fault = bench.fault_of_read(AT).unwrap();
        assert_eq!((fault.name, fault.reason), ("F_CD_FETCH", FaultReason::TableWalk));
        write64(&bench.ram, entry, word);
    });
}

/// Empties the configuration cache without the driver: puts a command into its queue, and takes it back when it was
/// carried out.
fn drop_configuration(machine: &mut vcm_qemu::Machine) {
    use vcm::PhysicalAddress;
    use vcm_qemu::Width;
    const SMMU: u64 = 0x0905_0000;
    let at = |offset| PhysicalAddress::new(SMMU + offset);
    let read =
        |machine: &mut vcm_qemu::Machine, offset| machine.qtest.read(Width::Bits32, at(offset)).unwrap();
    let (base, producer) = (read(machine, 0x90), read(machine, 0x98));
    let log2 = base & 0x1f;
    let (mask, slot) = ((2 << log2) - 1, producer & ((1 << log2) - 1));
    let queue = base & !0x1f | read(machine, 0x94) << 32 & 0xf_ffff_ffff_ffff;
    let command = PhysicalAddress::new(queue + 16 * slot);
    // CMD_CFGI_ALL
    machine.qtest.write(Width::Bits64, command, 0x04).unwrap();
    machine.qtest.write(Width::Bits64, PhysicalAddress::new(command.raw() + 8), 31).unwrap();
    machine.qtest.write(Width::Bits32, at(0x98), (producer + 1) & mask).unwrap();
    assert_eq!(read(machine, 0x9c) & mask, (producer + 1) & mask, "it was carried out");
    // The queue is as before: the driver does not notice.
    machine.qtest.write(Width::Bits32, at(0x20), 0x5).unwrap();
    machine.qtest.write(Width::Bits32, at(0x9c), producer).unwrap();
    machine.qtest.write(Width::Bits32, at(0x98), producer).unwrap();
    machine.qtest.write(Width::Bits32, at(0x20), 0xd).unwrap();
}
