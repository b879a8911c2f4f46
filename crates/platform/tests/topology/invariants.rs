//! What holds for every topology, whatever tree it is of.

use std::collections::BTreeSet;
use vcm::Span;
use vcm_platform::topology::{Attachment, PhysicalRange, Topology};

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
    for iommu in &topology.iommus {
        assert!((1..=256).contains(&iommu.context_banks));
        assert!(iommu.tlb_entries.is_none_or(|count| (1..=256).contains(&count)));
        assert!(u64::from(iommu.context_banks) * 0x1000 <= iommu.global_offset);
        assert!(iommu.global_offset + 0x1000 <= iommu.size);
        for context in &iommu.contexts {
            assert!(context.number.is_none_or(|number| number < iommu.context_banks));
        }
    }
    let mut taken = BTreeSet::new();
    for master in &topology.masters {
        assert_eq!(master.streams().is_empty(), master.attachment == Attachment::Direct);
        for stream in master.streams() {
            assert!(stream.iommu < topology.iommus.len() && stream.id < 512);
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
    spans.extend(topology.iommus.iter().map(|it| Span::new(it.base.raw(), it.size).unwrap()));
    spans.sort_by_key(|span| span.first());
    assert!(spans.windows(2).all(|pair| !pair[0].overlaps(pair[1])));
    // Whatever is in it can be shown.
    assert!(topology.to_string().starts_with(&topology.name));
    #[cfg(feature = "serde")]
    serde_json::to_string(topology).unwrap();
}
