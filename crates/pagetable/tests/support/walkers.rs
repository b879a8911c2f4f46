//! Walks of the formats of Arm, written from the architecture manuals alone: no constant, type or idea of the crate.

use vcm::{Access, CachePolicy, MemoryType, Privilege, Security, Shareability};

/// What a walk found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Walked {
    pub physical: u64,
    pub page: u64,
    pub access: Access,
    pub privilege: Privilege,
    pub security: Security,
    pub memory: MemoryType,
    pub share: Shareability,
}

/// Where the address space is split, as TTBCR says, and which register holds the root.
#[derive(Clone, Copy, Debug)]
pub struct ShortRegisters {
    pub ttbr: u64,
    pub ttbcr_n: u32,
    pub upper: bool,
    pub prrr: u32,
    pub nmrr: u32,
}

/// DDI 0406C chapter B3: choice of TTBR0 or TTBR1, short-descriptor walks and descriptors, access permissions, and
/// TEX remap.
pub fn short(registers: ShortRegisters, read: impl Fn(u64) -> u32, va: u32) -> Option<Walked> {
    let n = registers.ttbcr_n;
    let goes_up = n > 0 && va >> (32 - n) != 0;
    assert_eq!(goes_up, registers.upper, "the address {va:#x} belongs to the other table");
    // The index is VA[31-N:20] below, VA[31:20] above.
    let index = if goes_up { va >> 20 } else { (va << n >> n) >> 20 };
    let l1 = read(registers.ttbr + 4 * u64::from(index));
    match l1 & 3 {
        0b00 => None,
        0b01 => {
            assert_eq!(l1 & 0b1_1110_0000, 0, "domain 0 is the only one");
            assert_eq!(l1 & 0b10_0001_0100, 0, "PXN, bit 4 and bit 9 are to be zero: {l1:#x}");
            let l2 = read(u64::from(l1 & 0xffff_fc00) + 4 * u64::from((va >> 12) & 0xff));
            let ns = l1 >> 3 & 1;
            let ap = (l2 >> 9 & 1) << 2 | (l2 >> 4 & 3);
            let common =
                |tex: u32, xn: u32| (ap, tex, l2 >> 3 & 1, l2 >> 2 & 1, l2 >> 10 & 1, l2 >> 11 & 1, xn, ns);
            match l2 & 3 {
                0b00 => None,
                0b01 => {
                    assert_eq!(l2 & 0x1c0, 0, "bits 8:6 of a large page should be zero: {l2:#x}");
                    let first = va >> 12 & 0xf0;
                    for entry in first..first + 16 {
                        let other = read(u64::from(l1 & 0xffff_fc00) + 4 * u64::from(entry));
                        assert_eq!(other, l2, "the 16 entries of a large page differ");
                    }
                    let physical = l2 & 0xffff_0000 | va & 0xffff;
                    Some(short_found(registers, physical, 1 << 16, common(l2 >> 12 & 7, l2 >> 15 & 1)))
                }
                _ => {
                    let physical = l2 & 0xffff_f000 | va & 0xfff;
                    Some(short_found(registers, physical, 1 << 12, common(l2 >> 6 & 7, l2 & 1)))
                }
            }
        }
        0b10 => {
            let ap = (l1 >> 15 & 1) << 2 | (l1 >> 10 & 3);
            let (tex, c, b) = (l1 >> 12 & 7, l1 >> 3 & 1, l1 >> 2 & 1);
            let fields = (ap, tex, c, b, l1 >> 16 & 1, l1 >> 17 & 1, l1 >> 4 & 1, l1 >> 19 & 1);
            if l1 >> 18 & 1 == 1 {
                assert_eq!(l1 & 0x00f0_01e0, 0, "no physical address above 32 bits: {l1:#x}");
                let first = va >> 20 & 0xff0;
                let first = if goes_up { first } else { first & (0xfff >> n) };
                for entry in first..first + 16 {
                    let other = read(registers.ttbr + 4 * u64::from(entry));
                    assert_eq!(other, l1, "the 16 entries of a supersection differ");
                }
                Some(short_found(registers, l1 & 0xff00_0000 | va & 0xff_ffff, 1 << 24, fields))
            } else {
                assert_eq!(l1 & 0x1e0, 0, "domain 0 is the only one");
                Some(short_found(registers, l1 & 0xfff0_0000 | va & 0xf_ffff, 1 << 20, fields))
            }
        }
        _ => panic!("0b11 is reserved, or a PXN section: {l1:#x}"),
    }
}

type Fields = (u32, u32, u32, u32, u32, u32, u32, u32);

fn short_found(registers: ShortRegisters, physical: u32, page: u64, fields: Fields) -> Walked {
    let (ap, tex, c, b, s, ng, xn, ns) = fields;
    assert_eq!(ng, 1, "every mapping belongs to one address space");
    assert_eq!(tex & 0b110, 0, "TEX[2:1] belong to nobody");
    let (mut access, privilege) = match ap {
        0b001 => (Access::READ | Access::WRITE, Privilege::Supervisor),
        0b011 => (Access::READ | Access::WRITE, Privilege::User),
        0b101 => (Access::READ, Privilege::Supervisor),
        0b111 => (Access::READ, Privilege::User),
        other => panic!("AP = {other:#b} means different things in the two models"),
    };
    if xn == 0 {
        access |= Access::EXECUTE;
    }
    let class = tex & 1 == 1;
    let n = u32::from(class) * 4 + c * 2 + b;
    let memory = match registers.prrr >> (2 * n) & 3 {
        0b00 => MemoryType::StronglyOrdered,
        0b01 => MemoryType::Device,
        0b10 => {
            assert_eq!(registers.nmrr >> (2 * n) & 3, registers.nmrr >> (16 + 2 * n) & 3);
            MemoryType::Normal(match registers.nmrr >> (2 * n) & 3 {
                0b00 => CachePolicy::NotCached,
                0b01 => CachePolicy::WriteBackWriteAllocate,
                0b10 => CachePolicy::WriteThrough,
                _ => CachePolicy::WriteBackNoWriteAllocate,
            })
        }
        _ => panic!("class {n} is reserved"),
    };
    let share = if let MemoryType::Normal(_) = memory {
        // NS0 is bit 18, NS1 bit 19; NOS from bit 24 on.
        let shareable = if s == 1 { registers.prrr & 1 << 19 != 0 } else { registers.prrr & 1 << 18 != 0 };
        match (shareable, registers.prrr & 1 << (24 + n) != 0) {
            (false, _) => Shareability::NonShareable,
            (true, true) => Shareability::Inner,
            (true, false) => Shareability::Outer,
        }
    } else {
        Shareability::Outer
    };
    let security = if ns == 1 { Security::NonSecure } else { Security::Secure };
    Walked { physical: u64::from(physical), page, access, privilege, security, memory, share }
}

/// Which stage, and for stage 1 the MAIR.
#[derive(Clone, Copy, Debug)]
pub enum LongStage {
    One { mair: u64, secure: bool },
    Two,
}

/// What the registers of the walker say: TG (as log2 of the granule), T0SZ, and for stage 2 SL0.
#[derive(Clone, Copy, Debug)]
pub struct LongRegisters {
    pub stage: LongStage,
    pub granule: u32,
    pub t0sz: u32,
    pub sl0: Option<u32>,
    pub root: u64,
}

impl LongRegisters {
    /// DDI 0487 chapter D8: where stage 1 starts follows from the input size; where stage 2 starts is in SL0.
    pub fn first_level(&self) -> u32 {
        match (self.sl0, self.granule) {
            (None, _) => 4 - (64 - self.t0sz - self.granule).div_ceil(self.granule - 3),
            (Some(sl0), 12) => 2 - sl0,
            (Some(sl0), _) => 3 - sl0,
        }
    }
}

/// DDI 0487 chapter D8: levels of the granules, concatenated initial tables, descriptors, contiguous entries,
/// permissions, memory types.
pub fn long(registers: LongRegisters, read: impl Fn(u64) -> u64, va: u64) -> Option<Walked> {
    let LongRegisters { stage, granule, t0sz, sl0, root } = registers;
    let input_bits = 64 - t0sz;
    assert_eq!(va >> input_bits, 0, "the address is beyond the input range");
    let width = granule - 3;
    let addresses = 0x0000_ffff_ffff_ffff & !((1_u64 << granule) - 1);
    let mut level = registers.first_level();
    let mut table = root;
    // All bits of the address that the initial level is to resolve: of stage 2 up to four more than a table has.
    let mut index = va >> (granule + (3 - level) * width);
    assert!(index >> width < if sl0.is_some() { 16 } else { 1 }, "the initial table is too small");
    let root_bytes = 8 << (input_bits - (granule + (3 - level) * width));
    assert_eq!(root % root_bytes, 0, "a root is aligned to its size");
    loop {
        let low = granule + (3 - level) * width;
        let descriptor = read(table + 8 * index);
        if descriptor & 1 == 0 {
            return None;
        }
        let is_table = descriptor & 2 != 0;
        if level < 3 && is_table {
            assert_eq!(descriptor & !addresses, 3, "a table descriptor with attributes: {descriptor:#x}");
            table = descriptor & addresses;
            level += 1;
            index = va >> (granule + (3 - level) * width) & ((1 << width) - 1);
            continue;
        }
        assert!(level >= if granule == 12 { 1 } else { 2 }, "no block at level {level}");
        assert!(level < 3 || is_table, "0b01 is reserved at level 3: {descriptor:#x}");
        let block = 1_u64 << low;
        let output = descriptor & addresses;
        assert_eq!(descriptor & 0x0000_ffff_ffff_f000, output, "address bits below the granule are RES0");
        assert_eq!(output & (block - 1), 0, "the address bits within a block are RES0: {descriptor:#x}");
        assert_eq!(descriptor >> 10 & 1, 1, "the access flag is clear");
        let mut page = block;
        if descriptor >> 52 & 1 == 1 {
            let entries: u64 = match (granule, level) {
                (12, 1..=3) => 16,
                (14, 3) => 128,
                (14, 2) | (16, 2 | 3) => 32,
                _ => panic!("no contiguous entries at level {level}"),
            };
            page *= entries;
            assert!(va - va % page + page <= 1 << input_bits, "contiguous entries beyond the input range");
            let first = index - index % entries;
            assert_eq!(
                output - (index - first) * block,
                output - output % page,
                "not aligned, or not in order"
            );
            if index == first {
                for offset in 0..entries {
                    let other = read(table + 8 * (first + offset));
                    assert_eq!(other, descriptor + offset * block, "contiguous entries disagree");
                }
            }
        }
        return Some(long_found(stage, output | va & (block - 1), page, descriptor & !(1 << 52)));
    }
}

fn long_found(stage: LongStage, physical: u64, page: u64, descriptor: u64) -> Walked {
    let bit = |n: u32| descriptor >> n & 1 == 1;
    let mut access = Access::empty();
    let (privilege, security, memory);
    match stage {
        LongStage::One { mair, secure } => {
            assert_eq!(descriptor & 0xff9f_0000_0000_0000, 0, "bits above the address: {descriptor:#x}");
            assert!(bit(11), "every mapping belongs to one address space");
            access |= Access::READ;
            access.set(Access::WRITE, !bit(7));
            privilege = if bit(6) { Privilege::User } else { Privilege::Supervisor };
            let executed_by_its_users = if bit(6) { !bit(54) } else { !bit(53) };
            assert_eq!(bit(53), !executed_by_its_users);
            access.set(Access::EXECUTE, executed_by_its_users);
            assert!(secure || !bit(5), "NS is RES0 in the non-secure world");
            security = if secure && !bit(5) { Security::Secure } else { Security::NonSecure };
            memory = match mair >> (8 * (descriptor >> 2 & 7)) & 0xff {
                0b0000_0000 => MemoryType::StronglyOrdered,
                0b0000_0100 => MemoryType::Device,
                0b0100_0100 => MemoryType::Normal(CachePolicy::NotCached),
                0b1011_1011 => MemoryType::Normal(CachePolicy::WriteThrough),
                0b1110_1110 => MemoryType::Normal(CachePolicy::WriteBackNoWriteAllocate),
                0b1111_1111 => MemoryType::Normal(CachePolicy::WriteBackWriteAllocate),
                other => panic!("memory attribute {other:#x}"),
            };
        }
        LongStage::Two => {
            assert_eq!(descriptor & 0xffbf_0000_0000_0800, 0, "bits above the address: {descriptor:#x}");
            access.set(Access::READ, bit(6));
            access.set(Access::WRITE, bit(7));
            access.set(Access::EXECUTE, !bit(54));
            privilege = Privilege::User;
            security = Security::NonSecure;
            memory = match descriptor >> 2 & 0xf {
                0b0000 => MemoryType::StronglyOrdered,
                0b0001 => MemoryType::Device,
                0b0101 => MemoryType::Normal(CachePolicy::NotCached),
                0b1010 => MemoryType::Normal(CachePolicy::WriteThrough),
                0b1111 => MemoryType::Normal(CachePolicy::WriteBackWriteAllocate),
                other => panic!("MemAttr {other:#b}"),
            };
        }
    }
    let share = match descriptor >> 8 & 3 {
        0b00 => Shareability::NonShareable,
        0b10 => Shareability::Outer,
        0b11 => Shareability::Inner,
        _ => panic!("SH = 0b01 is reserved"),
    };
    Walked { physical, page, access, privilege, security, memory, share }
}
