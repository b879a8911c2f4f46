//! What a page table says is to go from the TLB.

use crate::fake::{position, smmu};
use std::collections::BTreeMap;
use vcm::{Attributes, PhysicalAddress, SIZE_1M, SIZE_4K, SIZE_16M, SIZE_64K, Shareability, Span};
use vcm_iommu::msm::spec::{self, context_register};
use vcm_iommu::msm::{Invalidation, TableRoots};
use vcm_pagetable::arm_short::{ArmShort, Config};
use vcm_pagetable::{Gather, PageTable, Segment, TableError, TableMemory};

/// Tables at physical addresses from 2 GiB on.
#[derive(Default)]
struct Memory {
    words: BTreeMap<u64, u32>,
    next: u64,
}

impl TableMemory<u32> for Memory {
    fn allocate(&mut self, size: u64, align: u64) -> Result<PhysicalAddress, TableError> {
        let table = (0x8000_0000 + self.next).next_multiple_of(align);
        self.next = table + size - 0x8000_0000;
        Ok(PhysicalAddress::new(table))
    }

    fn free(&mut self, _: PhysicalAddress, _: u64) {}

    fn read(&self, table: PhysicalAddress, index: usize) -> u32 {
        self.words.get(&(table.raw() + 4 * index as u64)).copied().unwrap_or(0)
    }

    fn write(&mut self, table: PhysicalAddress, index: usize, value: u32) {
        self.words.insert(table.raw() + 4 * index as u64, value);
    }
}

#[test]
fn every_page_that_was_unmapped_is_invalidated() {
    let (fake, mut smmu, contexts) = smmu(1, 1);
    let mut memory = Memory::default();
    let mut table = PageTable::<ArmShort>::new(Config::default(), &mut memory).unwrap();
    smmu.activate(contexts[0], TableRoots::whole(table.root())).unwrap();
    assert_eq!(u64::from(fake.device().bank(0, spec::TTBR0)) & !0x3fff, table.root().raw());

    for (at, len, page) in [
        (0x1000, 3 * SIZE_4K, SIZE_4K),
        (0x2_0000, 2 * SIZE_64K, SIZE_64K),
        (0x20_0000, 5 * SIZE_1M, SIZE_1M),
        (0x100_0000, SIZE_16M, SIZE_16M),
    ] {
        let attributes = Attributes::READ_WRITE.with_shareability(Shareability::Inner);
        let segment = Segment { physical: PhysicalAddress::new(0x4000_0000 + at), len };
        table.map(&mut memory, at, [segment].into_iter(), attributes).unwrap();
        let mut gather = Gather::new();
        table.unmap(&mut memory, Span::new(at, len).unwrap(), &mut gather).unwrap();
        fake.device().log.clear();
        smmu.invalidate(contexts[0], &Invalidation::from(&gather)).unwrap();
        gather.finish(&mut memory);
        let writes = fake.device().writes();
        for address in (at..at + len).step_by(page as usize) {
            position(&writes, 0, (context_register(0, spec::TLBIVA), address as u32));
        }
    }
    table.destroy(&mut memory);
}
