//! The hardware's walker of `ARMv7` short-descriptor tables (Arm ARM DDI 0406C B3.5), independent of the code that
//! writes the tables. Domains are taken as "client": permissions are always checked.

use super::memory::Memories;
use super::memory_attributes::{MemoryAttributes, TypeModel, attributes};
use super::oracle::Trail;
use super::tlb::Rights;
use std::fmt;

/// The registers that a walk depends on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Regime {
    /// Translation table base 0, raw.
    pub ttbr0: u32,
    /// Translation table base 1, raw.
    pub ttbr1: u32,
    /// The split: N in bits 2:0, PD0 in bit 4, PD1 in bit 5.
    pub ttbcr: u32,
    /// What AP\[0\] means.
    pub permissions: PermissionModel,
    /// What {TEX, C, B} mean.
    pub types: TypeModel,
    /// The byte order of table entries.
    pub order: ByteOrder,
}

/// What an entry's AP\[0\] means (SCTLR.AFE, B3.7.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PermissionModel {
    /// One of three permission bits.
    Full,
    /// The access flag; AP\[2:1\] are the permissions.
    AccessFlag,
}

/// The byte order of table entries in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ByteOrder {
    /// The least significant byte first.
    Little,
    /// The most significant byte first (SCTLR.BE).
    Big,
}

/// Which table of a walk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Level {
    /// The table that TTBR0 or TTBR1 points to.
    First,
    /// The table that a first-level entry points to.
    Second,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::First => "first",
            Self::Second => "second",
        })
    }
}

/// Whether an entry's access flag is set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AccessFlag {
    /// It is, or the permission model has none.
    Set,
    /// It is not: the first access.
    Clear,
}

/// A translation that the tables hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Leaf {
    /// The first address that it translates.
    pub va: u32,
    /// Bytes that it translates.
    pub size: u32,
    /// Where the first of them leads; above 32 bits for supersections with an extended base.
    pub pa: u64,
    /// At which level it is.
    pub level: Level,
    /// Who may do what.
    pub rights: Rights,
    /// Whether it serves one address space only (nG).
    pub not_global: bool,
    /// Whether its memory is of the non-secure world (NS of the first-level entry).
    pub non_secure: bool,
    /// The access flag.
    pub access_flag: AccessFlag,
    /// What kind of memory it says it is.
    pub attributes: MemoryAttributes,
    /// The entries read.
    pub trail: Trail,
}

impl Leaf {
    /// Where `va`, one of its addresses, leads.
    pub const fn physical(&self, va: u32) -> u64 {
        self.pa | (va & (self.size - 1)) as u64
    }
}

/// Why a walk found no translation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WalkFaultKind {
    /// The entry is invalid, or walks from this base are disabled.
    Translation,
    /// No memory answers where the table is.
    External,
}

/// A walk that found no translation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WalkFault {
    /// Why.
    pub kind: WalkFaultKind,
    /// At which level.
    pub level: Level,
    /// The entries read up to there.
    pub trail: Trail,
}

/// Walks the tables for `va`.
///
/// # Errors
/// [`WalkFault`] when they hold no translation for it.
pub fn walk(memory: &Memories, regime: &Regime, va: u32) -> Result<Leaf, WalkFault> {
    let mut trail = Trail::new();
    let Some(table) = first_table(regime, va) else {
        return Err(WalkFault { kind: WalkFaultKind::Translation, level: Level::First, trail });
    };
    let address = table | u64::from(va >> 20) << 2;
    let entry = fetch(memory, regime, address, Level::First, &mut trail)?;
    let non_secure_table = entry & 1 << 3 != 0;
    match entry & 3 {
        1 => {
            let address = u64::from(entry & !0x3ff | (va >> 12 & 0xff) << 2);
            let second = fetch(memory, regime, address, Level::Second, &mut trail)?;
            page(regime, va, second, non_secure_table, trail)
        }
        2 => Ok(section(regime, va, entry, trail)),
        // 3 is a section with PXN on processors that have it, and reserved on others.
        _ => Err(WalkFault { kind: WalkFaultKind::Translation, level: Level::First, trail }),
    }
}

/// Where the first-level table for `va` is, less the part of the index that TTBCR.N takes off; `None` when
/// walks from that base are disabled (B3.5.4).
fn first_table(regime: &Regime, va: u32) -> Option<u64> {
    let n = regime.ttbcr & 7;
    let low = n == 0 || va >> (32 - n) == 0;
    let (base, mask, disabled) =
        if low { (regime.ttbr0, (0x4000 >> n) - 1, 1 << 4) } else { (regime.ttbr1, 0x3fff, 1 << 5) };
    // PD0 and PD1 mean nothing while there is no split in an implementation without the security extensions;
    // with them, as here, PD0 disables even then.
    if regime.ttbcr & disabled != 0 { None } else { Some(u64::from(base & !mask)) }
}

fn fetch(
    memory: &Memories,
    regime: &Regime,
    address: u64,
    level: Level,
    trail: &mut Trail,
) -> Result<u32, WalkFault> {
    match memory.read_u32(address) {
        Ok(raw) => {
            let entry = match regime.order {
                ByteOrder::Little => raw,
                ByteOrder::Big => raw.swap_bytes(),
            };
            trail.push(address, u64::from(entry));
            Ok(entry)
        }
        Err(_) => Err(WalkFault { kind: WalkFaultKind::External, level, trail: *trail }),
    }
}

const fn section(regime: &Regime, va: u32, entry: u32, trail: Trail) -> Leaf {
    let (size, pa) = if entry & 1 << 18 == 0 {
        (1_u32 << 20, (entry & 0xfff0_0000) as u64)
    } else {
        // PA[35:32] in bits 23:20 and PA[39:36] in bits 8:5 (B3.5.1).
        let extended = (entry >> 20 & 0xf) as u64 | ((entry >> 5 & 0xf) as u64) << 4;
        (1 << 24, (entry & 0xff00_0000) as u64 | extended << 32)
    };
    let fields = Fields {
        ap: entry >> 10 & 3 | entry >> 13 & 4,
        execute_never: entry & 1 << 4 != 0,
        tex_c_b: entry >> 10 & 0x1c | entry >> 2 & 3,
        shared: entry & 1 << 16 != 0,
        not_global: entry & 1 << 17 != 0,
    };
    fields.leaf(regime, va, size, pa, Level::First, entry & 1 << 19 != 0, trail)
}

const fn page(
    regime: &Regime,
    va: u32,
    entry: u32,
    non_secure: bool,
    trail: Trail,
) -> Result<Leaf, WalkFault> {
    let (size, execute_never, tex) = match entry & 3 {
        0 => return Err(WalkFault { kind: WalkFaultKind::Translation, level: Level::Second, trail }),
        1 => (1_u32 << 16, entry & 1 << 15 != 0, entry >> 12 & 7),
        _ => (1 << 12, entry & 1 != 0, entry >> 6 & 7),
    };
    let fields = Fields {
        ap: entry >> 4 & 3 | entry >> 7 & 4,
        execute_never,
        tex_c_b: tex << 2 | entry >> 2 & 3,
        shared: entry & 1 << 10 != 0,
        not_global: entry & 1 << 11 != 0,
    };
    Ok(fields.leaf(regime, va, size, (entry & !(size - 1)) as u64, Level::Second, non_secure, trail))
}

/// The fields of a leaf, wherever its format keeps them.
struct Fields {
    ap: u32,
    execute_never: bool,
    tex_c_b: u32,
    shared: bool,
    not_global: bool,
}

impl Fields {
    #[expect(clippy::too_many_arguments, reason = "one caller for each leaf format, both above")]
    const fn leaf(
        self,
        regime: &Regime,
        va: u32,
        size: u32,
        pa: u64,
        level: Level,
        non_secure: bool,
        trail: Trail,
    ) -> Leaf {
        let access_flag = match regime.permissions {
            PermissionModel::AccessFlag if self.ap & 1 == 0 => AccessFlag::Clear,
            _ => AccessFlag::Set,
        };
        let mut rights = rights(regime.permissions, self.ap);
        if self.execute_never {
            rights = rights.union(Rights::EXECUTE_NEVER);
        }
        Leaf {
            va: va & !(size - 1),
            size,
            pa,
            level,
            rights,
            not_global: self.not_global,
            non_secure,
            access_flag,
            attributes: attributes(regime.types, self.tex_c_b, self.shared),
            trail,
        }
    }
}

/// The meaning of AP\[2:0\] (B3.7.1, tables B3-8 and B3-9).
const fn rights(model: PermissionModel, ap: u32) -> Rights {
    const PR: Rights = Rights::PRIVILEGED_READ;
    const PRW: Rights = PR.union(Rights::PRIVILEGED_WRITE);
    const UR: Rights = Rights::USER_READ;
    const URW: Rights = UR.union(Rights::USER_WRITE);
    // With the access flag, AP[0] is as if set.
    let ap = match model {
        PermissionModel::Full => ap,
        PermissionModel::AccessFlag => ap | 1,
    };
    match (model, ap) {
        (PermissionModel::Full, 1) | (PermissionModel::AccessFlag, 1) => PRW,
        (PermissionModel::Full, 2) => PRW.union(UR),
        (_, 3) => PRW.union(URW),
        (_, 5) => PR,
        (PermissionModel::Full, 6) | (_, 7) => PR.union(UR),
        // 0 is "no access"; 4 is reserved, and grants nothing here.
        _ => Rights::empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vcm::Span;

    const TABLE: u32 = 0x4000_0000;
    const SECOND: u32 = 0x4000_8000;

    fn regime() -> Regime {
        Regime {
            ttbr0: TABLE,
            ttbr1: 0,
            ttbcr: 0,
            permissions: PermissionModel::Full,
            types: TypeModel::Remapped { prrr: 0xff0a_81a8, nmrr: 0x40e0_40e0 },
            order: ByteOrder::Little,
        }
    }

    fn memory(entries: &[(u32, u32)]) -> Memories {
        let mut memory = Memories::new();
        memory.add("ebi", Span::new(0x4000_0000, 1 << 20).unwrap()).unwrap();
        for (address, value) in entries {
            memory.write_u32(u64::from(*address), *value).unwrap();
        }
        memory
    }

    #[test]
    fn leaves_of_all_four_sizes() {
        let memory = memory(&[
            (TABLE + 4, 0x8010_0c02),
            (TABLE + 4 * 0x10, 0x8104_0c02),
            (TABLE + 4 * 0x1f, 0x8104_0c02),
            (TABLE, SECOND | 1),
            (SECOND + 4 * 0x2f, 0x8203_0031),
            (SECOND + 4, 0x8300_1032),
        ]);
        let walk = |va| walk(&memory, &regime(), va).map(|leaf| (leaf.va, leaf.size, leaf.physical(va)));
        assert_eq!(walk(0x0012_3456), Ok((0x0010_0000, 1 << 20, 0x8012_3456)));
        assert_eq!(walk(0x0101_2345), Ok((0x0100_0000, 1 << 24, 0x8101_2345)));
        assert_eq!(walk(0x01f1_2345), Ok((0x0100_0000, 1 << 24, 0x81f1_2345)));
        assert_eq!(walk(0x0002_f123), Ok((0x0002_0000, 1 << 16, 0x8203_f123)));
        assert_eq!(walk(0x0000_1fff), Ok((0x0000_1000, 1 << 12, 0x8300_1fff)));
        let fault = super::walk(&memory, &regime(), 0x5000).unwrap_err();
        assert_eq!((fault.kind, fault.level), (WalkFaultKind::Translation, Level::Second));
        assert_eq!(fault.trail.steps().len(), 2);
        assert_eq!(super::walk(&memory, &regime(), 0x0200_0000).unwrap_err().level, Level::First);
    }

    #[test]
    fn a_table_where_no_memory_is() {
        let memory = memory(&[(TABLE, 0x1000_0001)]);
        let fault = walk(&memory, &regime(), 0).unwrap_err();
        assert_eq!((fault.kind, fault.level), (WalkFaultKind::External, Level::Second));
        let elsewhere = Regime { ttbr0: 0x1000_0000, ..regime() };
        let fault = walk(&memory, &elsewhere, 0).unwrap_err();
        assert_eq!((fault.kind, fault.level), (WalkFaultKind::External, Level::First));
    }

    #[test]
    fn the_split_chooses_the_table() {
        // N = 2: the low quarter from TTBR0, whose table is 4 KiB here and starts at a multiple of that.
        let low = TABLE + 0x5000;
        let memory = memory(&[(low + 4 * 0x3ff, 0x8000_0c02), (TABLE + 4 * 0x400, 0x9000_0c02)]);
        let split = Regime { ttbr0: low, ttbr1: TABLE, ttbcr: 2, ..regime() };
        assert_eq!(walk(&memory, &split, 0x3ff0_0000).unwrap().pa, 0x8000_0000);
        assert_eq!(walk(&memory, &split, 0x4000_0000).unwrap().pa, 0x9000_0000);
        let disabled = Regime { ttbcr: 2 | 1 << 4, ..split };
        assert!(walk(&memory, &disabled, 0x3ff0_0000).is_err());
        assert!(walk(&memory, &disabled, 0x4000_0000).is_ok());
        let disabled = Regime { ttbcr: 2 | 1 << 5, ..split };
        assert!(walk(&memory, &disabled, 0x3ff0_0000).is_ok());
        assert_eq!(walk(&memory, &disabled, 0x4000_0000).unwrap_err().trail.steps().len(), 0);
    }

    #[test]
    fn permissions_by_both_models() {
        let none = Rights::empty();
        let pr = Rights::PRIVILEGED_READ;
        let prw = pr | Rights::PRIVILEGED_WRITE;
        let ur = Rights::USER_READ;
        let urw = ur | Rights::USER_WRITE;
        let full = [none, prw, prw | ur, prw | urw, none, pr, pr | ur, pr | ur];
        let flag = [prw, prw, prw | urw, prw | urw, pr, pr, pr | ur, pr | ur];
        for ap in 0..8_u32 {
            let section = 0x8000_0002 | (ap & 3) << 10 | (ap >> 2) << 15;
            let small = 0x8000_0002 | (ap & 3) << 4 | (ap >> 2) << 9;
            let memory = memory(&[(TABLE + 4, section), (TABLE, SECOND | 1), (SECOND, small)]);
            for va in [0x0010_0000, 0] {
                let leaf = walk(&memory, &regime(), va).unwrap();
                assert_eq!(leaf.rights, full[ap as usize], "AP {ap} at {va:#x}");
                let access_flag = Regime { permissions: PermissionModel::AccessFlag, ..regime() };
                let leaf = walk(&memory, &access_flag, va).unwrap();
                assert_eq!(leaf.rights, flag[ap as usize], "AP {ap} at {va:#x} with the access flag");
                assert_eq!(leaf.access_flag == AccessFlag::Clear, ap & 1 == 0);
            }
        }
    }

    #[test]
    fn execute_never_is_elsewhere_in_each_format() {
        for (va, first, second) in [
            (0x0010_0000, 0x8000_0c02 | 1 << 4, 0),
            (0x0010_0000, 0x8004_0c02 | 1 << 4, 0),
            (0x0010_0000, SECOND | 1, 0x8000_8031),
            (0x0010_0000, SECOND | 1, 0x8000_0033),
        ] {
            let memory = memory(&[(TABLE + 4, first), (SECOND, second)]);
            assert!(walk(&memory, &regime(), va).unwrap().rights.contains(Rights::EXECUTE_NEVER));
        }
    }

    #[test]
    fn entries_in_big_endian_order() {
        let memory = memory(&[(TABLE, 0x8000_0c02_u32.swap_bytes())]);
        let big = Regime { order: ByteOrder::Big, ..regime() };
        assert_eq!(walk(&memory, &big, 0x1234).unwrap().physical(0x1234), 0x8000_1234);
    }

    #[test]
    fn a_supersection_may_lead_above_4_gib() {
        let memory = memory(&[(TABLE, 0x8034_0c02 | 5 << 5)]);
        assert_eq!(walk(&memory, &regime(), 0).unwrap().pa, 0x53_8000_0000);
    }
}
