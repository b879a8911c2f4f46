//! What a bus master is asked to move, and what it reports.

use std::fmt;

/// Bytes at a device address, in the order in which the device touches them.
///
/// Addresses are of the device's own space: IOVAs behind an IOMMU, physical addresses without one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Surface {
    /// The device address of its first byte.
    pub address: u64,
    /// How its bytes lie and in which order they are visited.
    pub layout: Layout,
}

/// How a surface's bytes lie in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Layout {
    /// One byte after the other.
    Linear {
        /// Bytes.
        len: u64,
    },
    /// A rectangle of pixels, row by row.
    Rectangle(Rectangle),
    /// A rectangle of pixels, column by column: what a rotation by 90 degrees reads.
    Columns(Rectangle),
    /// A rectangle of pixels, tile by tile, row by row inside each.
    Tiled {
        /// The whole picture.
        picture: Rectangle,
        /// Pixels in a row of a tile.
        tile_width: u32,
        /// Rows of a tile.
        tile_height: u32,
    },
    /// Pieces of a range in an order drawn from a seed, each visited once; the same on every machine.
    ///
    /// The `n`-th piece visited of `count` is `n` after a Feistel network of four rounds over the fewest
    /// bits, an even number of them and at least 2, that `count - 1` needs: each round makes (left, right)
    /// into (right, left ^ mixed), where `mixed` is the low half of the bits of output number `right` of
    /// [`splitmix64`] with `seed ^ round`. What is not below `count` goes through again (Black and Rogaway,
    /// "Ciphers with arbitrary finite domains", 2002).
    Scattered {
        /// Bytes of the whole range; a multiple of `piece`.
        len: u64,
        /// Bytes of a piece.
        piece: u32,
        /// What the order is drawn from.
        seed: u64,
    },
}

/// A rectangle of pixels with rows at a fixed distance.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rectangle {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Bytes in a pixel, 1 to 16.
    pub bytes_per_pixel: u32,
    /// Bytes from the start of one row to the start of the next, at least a row's length.
    pub stride: u32,
}

impl Rectangle {
    /// Bytes of its pixels.
    pub const fn bytes(self) -> u64 {
        self.width as u64 * self.height as u64 * self.bytes_per_pixel as u64
    }

    /// Bytes from its first byte to its last.
    pub const fn extent(self) -> u64 {
        if self.height == 0 {
            return 0;
        }
        (self.height as u64 - 1) * self.stride as u64 + self.width as u64 * self.bytes_per_pixel as u64
    }
}

impl Layout {
    /// Bytes that are touched.
    pub const fn bytes(self) -> u64 {
        match self {
            Self::Linear { len } | Self::Scattered { len, .. } => len,
            Self::Rectangle(picture) | Self::Columns(picture) | Self::Tiled { picture, .. } => {
                picture.bytes()
            }
        }
    }

    /// Bytes from the first to the last that is touched.
    pub const fn extent(self) -> u64 {
        match self {
            Self::Linear { len } | Self::Scattered { len, .. } => len,
            Self::Rectangle(picture) | Self::Columns(picture) | Self::Tiled { picture, .. } => {
                picture.extent()
            }
        }
    }
}

/// What a bus master is to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transfer {
    /// Write the bytes of [`pattern`] with `seed`, in the order of the surface's visit.
    Write {
        /// Where to.
        to: Surface,
        /// What to write.
        seed: u64,
    },
    /// Read, and report the [`Checksum`] of what was read in the order of the visit.
    Read {
        /// Where from.
        from: Surface,
    },
    /// Read one surface and write the bytes, in the order read, to another with as many bytes.
    Copy {
        /// Where from.
        from: Surface,
        /// Where to.
        to: Surface,
    },
}

/// The `index`-th byte of the endless pattern of `seed`: what a master writes and what a check expects.
///
/// Every eight bytes are one output of splitmix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
/// generators", 2014), low byte first.
pub const fn pattern(seed: u64, index: u64) -> u8 {
    (splitmix64(seed, index / 8) >> (8 * (index % 8))) as u8
}

/// The `n`-th output of splitmix64 with `seed`.
pub const fn splitmix64(seed: u64, n: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(n.wrapping_add(1)));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A running 64-bit FNV-1a checksum (Fowler, Noll, Vo) of bytes in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Checksum(u64);

impl Checksum {
    /// Of no bytes.
    pub const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// With `bytes` after those before.
    pub fn update(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// Its value.
    pub const fn value(self) -> u64 {
        self.0
    }
}

impl Default for Checksum {
    fn default() -> Self {
        Self::new()
    }
}

/// How a transfer ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// All bytes were moved.
    Completed,
    /// A transaction was terminated, and the master stopped there.
    Aborted,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Completed => "completed",
            Self::Aborted => "aborted",
        })
    }
}

/// What a master did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TransferReport {
    /// How it ended.
    pub outcome: Outcome,
    /// Bytes read from memory.
    pub bytes_read: u64,
    /// Bytes written to memory.
    pub bytes_written: u64,
    /// The checksum of the bytes read, in the order read.
    pub checksum: u64,
    /// Translations looked up in a TLB; 0 where the machine cannot count them or none is in the way.
    pub tlb_lookups: u64,
    /// Those of them that the TLB did not hold.
    pub tlb_misses: u64,
    /// Transactions that faulted, retried ones included.
    pub faults: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pattern_is_splitmix64() {
        // The first outputs for seed 1234567, as published with the generator's reference implementations.
        assert_eq!(splitmix64(1_234_567, 0), 6_457_827_717_110_365_317);
        assert_eq!(splitmix64(1_234_567, 1), 3_203_168_211_198_807_973);
        assert_eq!(pattern(1_234_567, 8), splitmix64(1_234_567, 1) as u8);
    }

    #[test]
    fn the_checksum_is_fnv_1a() {
        let mut sum = Checksum::new();
        sum.update(b"foobar");
        assert_eq!(sum.value(), 0x8594_4171_f739_67e8);
    }
}
