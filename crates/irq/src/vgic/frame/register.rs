//! How registers are described.

use super::Width;

/// Which register it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Register {
    /// Its name, without its number in an array.
    pub name: &'static str,
    /// Where it is described: a section of Arm IHI 0048B.b for a `GICv2` guest, of Arm IHI 0069H for a `GICv3` guest.
    pub section: &'static str,
}

/// A register, or an array of the same.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) register: Register,
    /// The first byte's offset in its frame.
    pub(super) start: u32,
    /// The offset after the last byte.
    pub(super) end: u32,
    pub(super) widths: Widths,
    pub(super) content: Content,
}

/// The widths that accesses to a register may have (Arm IHI 0048B.b 4.1.4, Arm IHI 0069H 12.1).
#[derive(Clone, Copy, Debug)]
pub(super) enum Widths {
    /// 32 bits.
    Word,
    /// 32 bits, or a byte of them.
    WordOrByte,
    /// 64 bits, or half of them.
    DoubleWordOrWord,
}

impl Widths {
    pub(super) const fn take(self, width: Width) -> bool {
        match width {
            Width::Byte => matches!(self, Self::WordOrByte),
            Width::HalfWord => false,
            Width::Word => true,
            Width::DoubleWord => matches!(self, Self::DoubleWordOrWord),
        }
    }
}

/// What is in a register.
#[derive(Clone, Copy, Debug)]
pub(super) enum Content {
    /// Zero, and writes change nothing: the register is there, and what it is for is not.
    Zero,
    /// This, and writes change nothing.
    Constant(u32),
    /// Something about the whole controller.
    Whole(Whole),
    /// So many bits, a power of two to 8, for each interrupt from number 0 on.
    Each(u32, Each),
    /// 64 bits for each interrupt: where it goes.
    Route,
}

/// Something about the whole controller.
#[derive(Clone, Copy, Debug)]
pub(super) enum Whole {
    /// Which groups are passed on.
    Control,
    /// How many of what there are.
    Type,
    /// Sends a software-generated interrupt; reads as zero.
    Send,
    /// 64 bits: which vCPU's redistributor it is.
    RedistributorType,
}

/// Something about an interrupt. Where there are two names for one thing, a 1 written sets it by the one and
/// clears it by the other, and a 0 changes nothing.
#[derive(Clone, Copy, Debug)]
pub(super) enum Each {
    Group,
    SetEnable,
    ClearEnable,
    SetPending,
    ClearPending,
    SetActive,
    ClearActive,
    Priority,
    Targets,
    Configuration,
    SetSenders,
    ClearSenders,
}

/// A row.
pub(super) const fn row(
    name: &'static str,
    section: &'static str,
    start: u32,
    end: u32,
    widths: Widths,
    content: Content,
) -> Row {
    Row { register: Register { name, section }, start, end, widths, content }
}

#[cfg(test)]
mod tests {
    use super::super::{v2, v3};
    use super::*;

    #[test]
    fn rows_are_ordered_and_whole() {
        for (rows, size) in
            [(v2::DISTRIBUTOR, 0x1000), (v3::DISTRIBUTOR, 0x1_0000), (v3::REDISTRIBUTOR, 0x2_0000)]
        {
            let mut end = 0;
            for row in rows {
                let name = row.register.name;
                assert!(row.start >= end && row.end > row.start && row.end <= size, "{name}");
                let unit = if matches!(row.widths, Widths::DoubleWordOrWord) { 8 } else { 4 };
                assert_eq!((row.start % unit, row.end % unit), (0, 0), "{name}");
                if let Content::Each(bits, _) = row.content {
                    assert!(bits.is_power_of_two() && bits <= 8, "{name}");
                }
                end = row.end;
            }
        }
    }
}
