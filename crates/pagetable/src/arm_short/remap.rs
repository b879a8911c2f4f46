//! TEX remap: from the three bits of an entry to a memory type, by way of two registers.

use vcm::{CachePolicy, MemoryType, Shareability};

/// The primary region remap register that goes with [`Remap::INNER`]: classes 0, 5 and 6 strongly ordered, 4 device,
/// 1, 2, 3 and 7 normal; S = 1 means shareable, within the inner domain.
pub const PRRR: u32 = 0xff0a_81a8;
/// The normal memory remap register: class 1 not cached, 2 write-through, 3 write-back without and 7 with write
/// allocation, inner and outer caches alike.
pub const NMRR: u32 = 0x40e0_40e0;
/// As [`PRRR`], but a shareable page is shared with the outer domain too (all NOS bits zero).
pub const PRRR_OUTER: u32 = 0x000a_81a8;

/// What the eight memory classes mean: the two registers that hardware is programmed with.
///
/// An entry names its class n = {TEX\[0\], C, B} and has one S bit. PRRR says for each class whether it is normal,
/// device or strongly ordered, what S = 0 and S = 1 mean for all normal classes, and by NOSn with whom a shareable
/// page of class n is shared. So with a class for each memory type, as here:
/// - S = 0: [`Shareability::NonShareable`];
/// - S = 1: [`Shareability::Inner`] *or* [`Shareability::Outer`], the same for all pages of a memory type.
///
/// [`Remap::INNER`] has no outer shareable memory and [`Remap::OUTER`] no inner shareable memory; what is missing
/// is refused. Source: Arm ARM DDI 0406C, chapter B3, on TEX remap, and the registers PRRR and
/// NMRR.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Remap {
    /// The primary region remap register.
    pub prrr: u32,
    /// The normal memory remap register.
    pub nmrr: u32,
}

impl Remap {
    /// Shareable memory is shared within the inner domain. What the CPUs of the MSM8x60 family use.
    pub const INNER: Self = Self { prrr: PRRR, nmrr: NMRR };
    /// Shareable memory is shared with the outer domain.
    pub const OUTER: Self = Self { prrr: PRRR_OUTER, nmrr: NMRR };

    /// The memory type of `class` (0 to 7); `None` for a type the registers leave reserved, and for inner and
    /// outer caches that are to differ.
    pub const fn memory_type(self, class: u32) -> Option<MemoryType> {
        match (self.prrr >> (2 * class)) & 0b11 {
            0 => Some(MemoryType::StronglyOrdered),
            1 => Some(MemoryType::Device),
            2 => {
                let inner = (self.nmrr >> (2 * class)) & 0b11;
                let outer = (self.nmrr >> (2 * class + 16)) & 0b11;
                if inner != outer {
                    return None;
                }
                Some(MemoryType::Normal(match inner {
                    0 => CachePolicy::NotCached,
                    1 => CachePolicy::WriteBackWriteAllocate,
                    2 => CachePolicy::WriteThrough,
                    _ => CachePolicy::WriteBackNoWriteAllocate,
                }))
            }
            _ => None,
        }
    }

    /// What the S bit `s` (0 or 1) means on normal memory of `class`.
    pub const fn shareability(self, class: u32, s: u32) -> Shareability {
        let shareable = (self.prrr >> (18 + s)) & 1 == 1;
        let not_outer = (self.prrr >> (24 + class)) & 1 == 1;
        match (shareable, not_outer) {
            (false, _) => Shareability::NonShareable,
            (true, true) => Shareability::Inner,
            (true, false) => Shareability::Outer,
        }
    }

    /// The class and S bit of a memory type with a shareability.
    ///
    /// Device and strongly-ordered memory is always marked shareable, whatever was asked for: see
    /// [`vcm::Attributes::may_alias`]. Class 6 is left alone: its meaning is IMPLEMENTATION DEFINED on CPUs.
    pub fn class_for(self, memory_type: MemoryType, shareability: Shareability) -> Option<(u32, u32)> {
        let normal = matches!(memory_type, MemoryType::Normal(_));
        let classes = (0..8).filter(|&class| class != 6 && self.memory_type(class) == Some(memory_type));
        classes
            .flat_map(|class| [(class, 1), (class, 0)])
            .find(|&(class, s)| if normal { self.shareability(class, s) == shareability } else { s == 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TYPES: [MemoryType; 8] = [
        MemoryType::StronglyOrdered,
        MemoryType::Normal(CachePolicy::NotCached),
        MemoryType::Normal(CachePolicy::WriteThrough),
        MemoryType::Normal(CachePolicy::WriteBackNoWriteAllocate),
        MemoryType::Device,
        MemoryType::StronglyOrdered,
        MemoryType::StronglyOrdered,
        MemoryType::Normal(CachePolicy::WriteBackWriteAllocate),
    ];

    #[test]
    fn the_registers_give_each_class_its_memory_type() {
        for remap in [Remap::INNER, Remap::OUTER] {
            for (class, memory_type) in (0..).zip(TYPES) {
                assert_eq!(remap.memory_type(class), Some(memory_type), "class {class}");
            }
        }
    }

    #[test]
    fn s_means_what_prrr_says() {
        for (class, memory_type) in (0..).zip(TYPES) {
            if !matches!(memory_type, MemoryType::Normal(_)) {
                continue;
            }
            for (remap, shared, missing) in [
                (Remap::INNER, Shareability::Inner, Shareability::Outer),
                (Remap::OUTER, Shareability::Outer, Shareability::Inner),
            ] {
                assert_eq!(remap.class_for(memory_type, shared), Some((class, 1)));
                assert_eq!(remap.class_for(memory_type, Shareability::NonShareable), Some((class, 0)));
                assert_eq!(remap.class_for(memory_type, missing), None);
            }
        }
    }

    #[test]
    fn reserved_and_mixed_classes_have_no_memory_type() {
        assert_eq!(Remap { prrr: 0b11, nmrr: 0 }.memory_type(0), None);
        assert_eq!(Remap { prrr: 0b10, nmrr: 0b01 }.memory_type(0), None);
    }
}
