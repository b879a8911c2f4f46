//! What kind of memory a translation leads to, by the bits of a short descriptor (Arm ARM DDI 0406C B3.8).

use vcm::{CachePolicy, MemoryType, Shareability};

/// What an entry's {TEX, C, B} mean (SCTLR.TRE, B3.8).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TypeModel {
    /// The fixed encoding of five bits.
    Fixed,
    /// TEX\[0\], C and B number one of eight classes that two registers describe.
    Remapped {
        /// Primary region remap register.
        prrr: u32,
        /// Normal memory remap register.
        nmrr: u32,
    },
}

/// What kind of memory a translation says it leads to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemoryAttributes {
    /// The type, with the inner cache policy of normal memory.
    pub memory_type: MemoryType,
    /// The outer cache policy of normal memory.
    pub outer: CachePolicy,
    /// Who sees accesses in one order.
    pub shareability: Shareability,
}

impl MemoryAttributes {
    /// Strongly ordered: what everything is when nothing is said.
    pub const STRONGLY_ORDERED: Self = Self {
        memory_type: MemoryType::StronglyOrdered,
        outer: CachePolicy::NotCached,
        shareability: Shareability::Outer,
    };
}

const fn policy(code: u32) -> CachePolicy {
    match code & 3 {
        0 => CachePolicy::NotCached,
        1 => CachePolicy::WriteBackWriteAllocate,
        2 => CachePolicy::WriteThrough,
        _ => CachePolicy::WriteBackNoWriteAllocate,
    }
}

/// The meaning of TEX\[2:0\], C and B, from the highest bit on, and S (B3.8.2 and B3.8.3).
pub(super) const fn attributes(model: TypeModel, tex_c_b: u32, shared: bool) -> MemoryAttributes {
    match model {
        TypeModel::Fixed => fixed_attributes(tex_c_b, shared),
        TypeModel::Remapped { prrr, nmrr } => {
            let class = tex_c_b & 7;
            let (memory_type, outer, shareable) = match prrr >> (2 * class) & 3 {
                1 => (
                    MemoryType::Device,
                    CachePolicy::NotCached,
                    prrr >> (if shared { 17 } else { 16 }) & 1 != 0,
                ),
                2 => (
                    MemoryType::Normal(policy(nmrr >> (2 * class))),
                    policy(nmrr >> (2 * class + 16)),
                    prrr >> (if shared { 19 } else { 18 }) & 1 != 0,
                ),
                // 3 is reserved.
                _ => return MemoryAttributes::STRONGLY_ORDERED,
            };
            let shareability = match (shareable, prrr >> (24 + class) & 1) {
                (false, _) => Shareability::NonShareable,
                (true, 0) => Shareability::Outer,
                (true, _) => Shareability::Inner,
            };
            MemoryAttributes { memory_type, outer, shareability }
        }
    }
}

const fn fixed_attributes(tex_c_b: u32, shared: bool) -> MemoryAttributes {
    let (inner, outer) = match tex_c_b {
        0b00010 => (CachePolicy::WriteThrough, CachePolicy::WriteThrough),
        0b00011 => (CachePolicy::WriteBackNoWriteAllocate, CachePolicy::WriteBackNoWriteAllocate),
        0b00100 => (CachePolicy::NotCached, CachePolicy::NotCached),
        0b00111 => (CachePolicy::WriteBackWriteAllocate, CachePolicy::WriteBackWriteAllocate),
        0b10000.. => (policy(tex_c_b), policy(tex_c_b >> 2)),
        0b00001 | 0b01000 => {
            let shareability = if tex_c_b == 1 { Shareability::Outer } else { Shareability::NonShareable };
            return MemoryAttributes {
                memory_type: MemoryType::Device,
                outer: CachePolicy::NotCached,
                shareability,
            };
        }
        // 0b00000, and the encodings that are reserved.
        _ => return MemoryAttributes::STRONGLY_ORDERED,
    };
    let shareability = if shared { Shareability::Outer } else { Shareability::NonShareable };
    MemoryAttributes { memory_type: MemoryType::Normal(inner), outer, shareability }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSM8X60: TypeModel = TypeModel::Remapped { prrr: 0xff0a_81a8, nmrr: 0x40e0_40e0 };

    #[test]
    fn remapped_types_are_those_of_the_msm8x60() {
        use CachePolicy::{NotCached, WriteBackNoWriteAllocate, WriteBackWriteAllocate, WriteThrough};
        let expected = [
            MemoryType::StronglyOrdered,
            MemoryType::Normal(NotCached),
            MemoryType::Normal(WriteThrough),
            MemoryType::Normal(WriteBackNoWriteAllocate),
            MemoryType::Device,
            MemoryType::StronglyOrdered,
            MemoryType::StronglyOrdered,
            MemoryType::Normal(WriteBackWriteAllocate),
        ];
        for (class, expected) in (0..8).zip(expected) {
            let found = attributes(MSM8X60, class, true);
            assert_eq!(found.memory_type, expected, "class {class}");
        }
        assert_eq!(attributes(MSM8X60, 7, true).shareability, Shareability::Inner);
        assert_eq!(attributes(MSM8X60, 7, false).shareability, Shareability::NonShareable);
        // TEX[2:1] are left to the operating system.
        assert_eq!(attributes(MSM8X60, 0b11111, true), attributes(MSM8X60, 7, true));
    }

    #[test]
    fn fixed_types() {
        let found = |bits| attributes(TypeModel::Fixed, bits, true);
        assert_eq!(found(0), MemoryAttributes::STRONGLY_ORDERED);
        assert_eq!(found(1).memory_type, MemoryType::Device);
        assert_eq!(found(8).shareability, Shareability::NonShareable);
        assert_eq!(found(4).memory_type, MemoryType::Normal(CachePolicy::NotCached));
        assert_eq!(found(0b10110).memory_type, MemoryType::Normal(CachePolicy::WriteThrough));
        assert_eq!(found(0b10110).outer, CachePolicy::WriteBackWriteAllocate);
    }
}
