//! The AArch64 (VMSAv8-64) formats: 4K, 16K and 64K granules, stage 1 and stage 2, up to 48 bits of address.
//!
//! | granule | level 1 | level 2 | level 3 | entries of a table | a root is at level |
//! |---|---|---|---|---|---|
//! | 4K  | 1G, 16G | 2M, 32M  | 4K, 64K | 512  | 0 (40 to 48 bits), 1 (31 to 39), 2 (25 to 30) |
//! | 16K |         | 32M, 1G  | 16K, 2M | 2048 | 0 (48 bits), 1 (37 to 47), 2 (26 to 36), 3 (25) |
//! | 64K |         | 512M, 16G | 64K, 2M | 8192 | 1 (43 to 48 bits), 2 (30 to 42), 3 (25 to 29) |
//!
//! The second size of a level is a group of contiguous entries (see [`Contiguous`]). A root of stage 2 may be up to 16
//! tables beside each other, and so one level lower (see [`Stage2::with_root_level`]).
//!
//! Source: Arm ARM DDI 0487, D8.2 and D8.3.

mod contiguous;
mod granule;
mod levels;
mod sizes;
pub mod spec;
mod stage1;
mod stage2;

pub use contiguous::Contiguous;
pub use granule::{Granule, Granule4K, Granule16K, Granule64K, TypedGranule};
pub use levels::{Level0, Level1, Level2, Level3, Stage};
pub use stage1::{MAIR, Stage1, Stage1Config, memory_type_of_mair};
pub use stage2::{RootTables, Stage2, Stage2Config};

use spec::SH;
use vcm::Shareability;

/// Encoded attributes: an entry without type, address and the contiguous bit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Aarch64Bits(u64);

const fn encode_shareability(shareability: Shareability) -> u64 {
    SH.of(match shareability {
        Shareability::NonShareable => 0b00,
        Shareability::Outer => 0b10,
        Shareability::Inner => 0b11,
    })
}

const fn decode_shareability(word: u64) -> Shareability {
    match SH.get(word) {
        0b11 => Shareability::Inner,
        0b10 => Shareability::Outer,
        _ => Shareability::NonShareable,
    }
}
