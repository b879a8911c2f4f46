//! The hardware's walker of `AArch64` stage-2 tables with the 4 KiB granule (Arm ARM DDI 0487 D8), independent of the
//! code that writes the tables.

use super::memory::Memories;
use super::memory_attributes::MemoryAttributes;
use super::oracle::Trail;
use super::short_descriptor::WalkFaultKind;
use super::tlb::Rights;
use vcm::{CachePolicy, MemoryType, Shareability};

/// The registers that a stage-2 walk depends on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stage2 {
    /// `VTTBR_EL2`: the table's address in bits 47:1, the VMID in bits 63:48.
    pub vttbr: u64,
    /// `VTCR_EL2`: T0SZ in bits 5:0, SL0 in bits 7:6. Other fields change nothing here.
    pub vtcr: u64,
}

/// A translation that the tables hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stage2Leaf {
    /// The first address that it translates.
    pub address: u64,
    /// Bytes that it translates.
    pub size: u64,
    /// Where the first of them leads.
    pub pa: u64,
    /// Who may do what; stage 2 does not tell users from supervisors.
    pub rights: Rights,
    /// What kind of memory it says it is.
    pub attributes: MemoryAttributes,
    /// The entries read.
    pub trail: Trail,
}

/// A walk that found no translation: why, and the entries read up to there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stage2Fault {
    /// Why.
    pub kind: Stage2FaultKind,
    /// The entries read.
    pub trail: Trail,
}

/// Why a stage-2 walk found no translation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage2FaultKind {
    /// As in any walk.
    Walk(WalkFaultKind),
    /// The leaf's access flag is clear.
    AccessFlag,
}

impl From<WalkFaultKind> for Stage2FaultKind {
    fn from(kind: WalkFaultKind) -> Self {
        Self::Walk(kind)
    }
}

impl Stage2 {
    /// The virtual machine's number.
    pub const fn vmid(&self) -> u16 {
        (self.vttbr >> 48) as u16
    }

    /// Walks the tables for the guest physical address `address`.
    ///
    /// # Errors
    /// [`Stage2Fault`] when they hold no translation for it.
    pub fn walk(&self, memory: &Memories, address: u64) -> Result<Stage2Leaf, Stage2Fault> {
        let mut trail = Trail::new();
        let fault = |kind: Stage2FaultKind, trail| Stage2Fault { kind, trail };
        let translation = Stage2FaultKind::from(WalkFaultKind::Translation);
        let bits = 64 - (self.vtcr & 0x3f) as u32;
        // SL0 0, 1 and 2 start at level 2, 1 and 0; 3 starts at level 3 with FEAT_TTST only.
        let start = match self.vtcr >> 6 & 3 {
            0 => 2,
            1 => 1,
            2 => 0,
            _ => return Err(fault(translation, trail)),
        };
        if bits < 64 && address >> bits != 0 {
            return Err(fault(translation, trail));
        }
        // The first table may be up to 16 tables beside each other: its index is as long as the address needs.
        let mut table = self.vttbr & 0xffff_ffff_fffe;
        let mut index = address >> shift(start);
        for level in start..4 {
            let place = table.wrapping_add(8 * index);
            let Ok(entry) = memory.read_u64(place) else {
                return Err(fault(WalkFaultKind::External.into(), trail));
            };
            trail.push(place, entry);
            match (entry & 3, level) {
                (3, 3) | (1, 1 | 2) => return self.leaf(address, level, entry, trail),
                (3, 0..=2) => table = entry & 0xffff_ffff_f000,
                _ => return Err(fault(translation, trail)),
            }
            index = address >> shift(level + 1) & 0x1ff;
        }
        Err(fault(translation, trail))
    }

    const fn leaf(
        &self,
        address: u64,
        level: u32,
        entry: u64,
        trail: Trail,
    ) -> Result<Stage2Leaf, Stage2Fault> {
        if entry & 1 << 10 == 0 {
            return Err(Stage2Fault { kind: Stage2FaultKind::AccessFlag, trail });
        }
        let size = 1_u64 << shift(level);
        let mut rights = Rights::empty();
        if entry & 1 << 6 != 0 {
            rights = rights.union(Rights::PRIVILEGED_READ).union(Rights::USER_READ);
        }
        if entry & 1 << 7 != 0 {
            rights = rights.union(Rights::PRIVILEGED_WRITE).union(Rights::USER_WRITE);
        }
        if entry & 1 << 54 != 0 {
            rights = rights.union(Rights::EXECUTE_NEVER);
        }
        Ok(Stage2Leaf {
            address: address & !(size - 1),
            size,
            pa: entry & 0xffff_ffff_f000 & !(size - 1),
            rights,
            attributes: attributes(entry),
            trail,
        })
    }
}

/// The lowest bit of the address that a table of `level` is indexed with.
const fn shift(level: u32) -> u32 {
    12 + 9 * 3_u32.saturating_sub(level)
}

/// `MemAttr[3:0]` in bits 5:2 and `SH` in bits 9:8.
const fn attributes(entry: u64) -> MemoryAttributes {
    const fn policy(code: u64) -> CachePolicy {
        match code & 3 {
            2 => CachePolicy::WriteThrough,
            3 => CachePolicy::WriteBackWriteAllocate,
            _ => CachePolicy::NotCached,
        }
    }
    let memory_type = match (entry >> 4 & 3, entry >> 2 & 3) {
        (0, 0) => MemoryType::StronglyOrdered,
        (0, _) => MemoryType::Device,
        (_, inner) => MemoryType::Normal(policy(inner)),
    };
    let shareability = match entry >> 8 & 3 {
        2 => Shareability::Outer,
        3 => Shareability::Inner,
        _ => Shareability::NonShareable,
    };
    MemoryAttributes { memory_type, outer: policy(entry >> 4), shareability }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vcm::Span;

    /// 40 bits from level 1: two tables beside each other.
    const STAGE2: Stage2 = Stage2 { vttbr: 7 << 48 | 0x4000_0000, vtcr: 24 | 1 << 6 };

    fn memory(entries: &[(u64, u64)]) -> Memories {
        let mut memory = Memories::new();
        memory.add("ebi", Span::new(0x4000_0000, 1 << 20).unwrap()).unwrap();
        for (address, value) in entries {
            memory.write_u64(*address, *value).unwrap();
        }
        memory
    }

    #[test]
    fn leaves_of_all_sizes() {
        let memory = memory(&[
            (0x4000_0000 + 8, 0x8000_0000 | 0x7fd),
            (0x4000_0000 + 8 * 0x3ff, 0x4000_2000 | 3),
            (0x4000_2000, 0x8020_0000 | 0x7fd),
            (0x4000_2008, 0x4000_3000 | 3),
            (0x4000_3000 + 8 * 0x1ff, 0x8123_4000 | 0x7ff | 1 << 54),
        ]);
        let walk = |address| STAGE2.walk(&memory, address).map(|leaf| (leaf.address, leaf.size, leaf.pa));
        assert_eq!(walk(0x4012_3456), Ok((0x4000_0000, 1 << 30, 0x8000_0000)));
        assert_eq!(walk(0xff_c012_3456), Ok((0xff_c000_0000, 1 << 21, 0x8020_0000)));
        assert_eq!(walk(0xff_c03f_ffff), Ok((0xff_c03f_f000, 1 << 12, 0x8123_4000)));
        let leaf = STAGE2.walk(&memory, 0xff_c03f_f000).unwrap();
        assert_eq!(leaf.rights, Rights::all());
        assert_eq!(leaf.attributes.memory_type, MemoryType::Normal(CachePolicy::WriteBackWriteAllocate));
        assert_eq!(leaf.attributes.shareability, Shareability::Inner);
        assert_eq!((leaf.trail.steps().len(), STAGE2.vmid()), (3, 7));
    }

    #[test]
    fn what_is_not_a_translation() {
        let translation = Stage2FaultKind::Walk(WalkFaultKind::Translation);
        let kind =
            |memory: &Memories, stage2: Stage2, address| stage2.walk(memory, address).unwrap_err().kind;
        let empty = memory(&[]);
        assert_eq!(kind(&empty, STAGE2, 0), translation);
        assert_eq!(kind(&empty, STAGE2, 1 << 40), translation);
        assert_eq!(kind(&empty, Stage2 { vtcr: 24 | 3 << 6, ..STAGE2 }, 0), translation);
        let elsewhere = Stage2 { vttbr: 0x1000_0000, ..STAGE2 };
        assert_eq!(kind(&empty, elsewhere, 0), Stage2FaultKind::Walk(WalkFaultKind::External));
        let unaccessed = memory(&[(0x4000_0000, 0x8000_0000 | 0x3fd)]);
        assert_eq!(kind(&unaccessed, STAGE2, 0), Stage2FaultKind::AccessFlag);
    }
}
