//! What holds for every topology, whatever tree it is of.

use std::collections::BTreeSet;
use vcm::Span;
use vcm_platform::topology::{Attachment, IommuPlace, PciHost, PhysicalRange, Topology};

fn unique<'a>(what: &str, names: impl Iterator<Item = &'a String>) {
    let mut seen = BTreeSet::new();
    for name in names {
        assert!(!name.is_empty(), "{what} without a name");
        assert!(seen.insert(name), "{what} {name} twice");
    }
}

fn span(range: &PhysicalRange) -> Span {
    range.span().expect("ranges are not empty and do not wrap")
}

/// Panics where `topology` breaks what its documentation promises.
pub(crate) fn check(topology: &Topology) {
    unique("IOMMU", topology.iommus.iter().map(|iommu| &iommu.name));
    unique("master", topology.masters.iter().map(|master| &master.name));
    unique("memory", topology.memories.iter().map(|memory| &memory.name));
    unique("PCI host", topology.pci_hosts.iter().map(|host| &host.name));
    for iommu in &topology.iommus {
        match iommu.place {
            IommuPlace::Registers(range) => assert!(range.span().is_some()),
            IommuPlace::Pci { host, function } => {
                assert!(topology.pci_hosts[host].configuration_space(function).is_some());
            }
        }
        assert!(iommu.msi_parent.is_none_or(|parent| parent.controller < topology.msi_controllers.len()));
        let Some(smmu) = iommu.msm() else { continue };
        assert!((1..=256).contains(&smmu.context_banks));
        assert!(smmu.tlb_entries.is_none_or(|count| (1..=256).contains(&count)));
        assert!(u64::from(smmu.context_banks) * 0x1000 <= smmu.global_offset);
        assert!(smmu.global_offset + 0x1000 <= iommu.registers().unwrap().size);
        for context in &smmu.contexts {
            assert!(context.number.is_none_or(|number| number < smmu.context_banks));
        }
    }
    topology.pci_hosts.iter().for_each(|host| check_host(topology, host));
    for controller in &topology.msi_controllers {
        span(&controller.registers);
    }
    let mut taken = BTreeSet::new();
    for master in &topology.masters {
        assert_eq!(master.streams().is_empty(), master.attachment == Attachment::Direct);
        for stream in master.streams() {
            assert!(stream.id <= topology.iommus[stream.iommu].kind.last_stream());
            assert!(taken.insert((stream.iommu, stream.id)), "a stream has two masters");
        }
        assert!(master.registers.iter().all(|range| range.span().is_some()));
        for interrupt in &master.interrupts {
            assert!((16..1020).contains(&interrupt.number));
        }
    }
    for memory in &topology.memories {
        let all = Span::new(memory.base.raw(), memory.size).unwrap();
        let mut free: u128 = all.len();
        let mut last: Option<Span> = None;
        for usable in memory.usable.iter().map(span) {
            assert!(all.covers(usable) && last.is_none_or(|last| last.last() < usable.first()));
            assert!(memory.reserved.iter().all(|reserved| !span(&reserved.range).overlaps(usable)));
            free -= usable.len();
            last = Some(usable);
        }
        let reserved: u128 = memory.reserved.iter().map(|reserved| span(&reserved.range).len()).sum();
        assert!(reserved >= free, "{} has bytes that are neither usable nor reserved", memory.name);
    }
    let mut spans: Vec<_> =
        topology.memories.iter().map(|it| Span::new(it.base.raw(), it.size).unwrap()).collect();
    spans.extend(topology.iommus.iter().filter_map(|iommu| Some(span(&iommu.registers()?))));
    spans.extend(topology.pci_hosts.iter().map(|host| span(&host.ecam)));
    spans.sort_by_key(|span| span.first());
    assert!(spans.windows(2).all(|pair| !pair[0].overlaps(pair[1])));
    // Whatever is in it can be shown.
    assert!(topology.to_string().starts_with(&topology.name));
    #[cfg(feature = "serde")]
    serde_json::to_string(topology).unwrap();
}

fn check_host(topology: &Topology, host: &PciHost) {
    let (first, last) = host.buses.clone().into_inner();
    assert!(first <= last);
    let last_function = host.configuration_space(u16::from_be_bytes([last, 0xff])).unwrap();
    assert!(last_function.raw() + 0xfff <= span(&host.ecam).last());
    for window in &host.windows {
        assert_eq!(span(&window.range).len(), u128::from(window.range.size));
        assert!(window.pci_address.checked_add(window.range.size - 1).is_some());
    }
    for (map, targets) in
        [(&host.iommu_map, topology.iommus.len()), (&host.msi_map, topology.msi_controllers.len())]
    {
        for range in &map.ranges {
            assert!((1..=0x1_0000 - u32::from(range.first)).contains(&range.len) && range.target < targets);
            assert!(range.first_id.checked_add(range.len - 1).is_some());
            assert_eq!(u32::from(range.last() - range.first), range.len - 1);
        }
    }
    assert!(host.msi_parent.is_none_or(|parent| parent.controller < topology.msi_controllers.len()));
    for requester_id in (0..=u16::MAX).step_by(0xfd).chain([u16::MAX]) {
        // What the map says, in the words of the binding.
        let masked = u32::from(requester_id & host.iommu_map.mask);
        let mut covering = host.iommu_map.ranges.iter().filter_map(|range| {
            let offset = masked.checked_sub(u32::from(range.first))?;
            (offset < range.len).then_some((range.target, range.first_id + offset))
        });
        let stream = covering.next();
        assert!(covering.next().is_none(), "{requester_id:#x} has two streams");
        assert_eq!(host.stream_of(requester_id), stream);
        assert!(stream.is_none_or(|(iommu, id)| id <= topology.iommus[iommu].kind.last_stream()));
    }
    for entry in &host.interrupt_map {
        assert!((16..1020).contains(&entry.interrupt.number));
        assert!(host.interrupt_of(entry.from.function, entry.from.pin).is_some());
    }
}
