//! Walks of the VT-d, RISC-V and AMD formats, written from the specifications alone: no constant, type or idea of the
//! crate. Each word on the way is checked for bits that are reserved, and for those that are ignored as well: a table
//! of ours has nothing there.
#![allow(dead_code, unreachable_pub)] // Each test binary uses a part of it.

use super::support::walkers::Walked;
use vcm::{Access, CachePolicy, MemoryType, Privilege, Security, Shareability};

const WRITE_BACK: MemoryType = MemoryType::Normal(CachePolicy::WriteBackWriteAllocate);

fn bits(word: u64, high: u32, low: u32) -> u64 {
    word >> low & ((2 << (high - low)) - 1)
}

fn bit(word: u64, n: u32) -> bool {
    bits(word, n, n) == 1
}

/// A VT-d walker.
#[derive(Clone, Copy, Debug)]
pub struct Vtd {
    pub levels: u32,
    /// The host address width.
    pub width: u32,
    /// The largest page, as log2.
    pub largest: u32,
}

impl Vtd {
    /// The checks that both stages make of an entry of `level` (1 is the page table): the bits above the address, and
    /// whether a page may be there. Returns whether it is one, and its size as log2.
    fn page(self, entry: u64, level: u32) -> (bool, u32) {
        assert_eq!(bits(entry, 63, 52), 0, "ignored and reserved high bits: {entry:#x}");
        if self.width < 52 {
            assert_eq!(bits(entry, 51, self.width), 0, "bits beyond the host address width: {entry:#x}");
        }
        let log2 = 12 + 9 * (level - 1);
        let is_page = level == 1 || bit(entry, 7);
        assert!(!is_page || log2 <= self.largest, "PS is reserved at level {level}: {entry:#x}");
        (is_page, log2)
    }

    /// VT-d 3.7, 9.8. `snoop` says what SNP must be.
    pub fn second_stage(
        self,
        snoop: bool,
        root: u64,
        read: impl Fn(u64) -> u64,
        iova: u64,
    ) -> Option<Walked> {
        assert_eq!(iova >> (12 + 9 * self.levels), 0, "beyond the address width");
        let (mut table, mut readable, mut writable) = (root, true, true);
        for level in (1..=self.levels).rev() {
            let entry = read(table + 8 * (iova >> (12 + 9 * (level - 1)) & 511));
            if bits(entry, 1, 0) == 0 {
                assert_eq!(entry, 0, "an entry that is not used, and not free");
                return None;
            }
            let (is_page, log2) = self.page(entry, level);
            (readable, writable) = (readable && bit(entry, 0), writable && bit(entry, 1));
            assert!(bit(entry, 8), "hardware would have to set A");
            assert_eq!(bits(entry, 6, 2), 0, "EMT, IPAT and an ignored bit: {entry:#x}");
            assert!(!bit(entry, 10), "an ignored bit");
            if !is_page {
                assert!(!bit(entry, 11) && !bit(entry, 9), "SNP is reserved, bit 9 is ignored: {entry:#x}");
                assert!(!bit(entry, 7), "PS");
                table = bits(entry, 51, 12) << 12;
                continue;
            }
            assert_eq!(bit(entry, 7), level > 1, "PS is ignored in a page table");
            assert_eq!(bit(entry, 9), bit(entry, 1), "hardware would have to set D, or never");
            assert_eq!(bit(entry, 11), snoop, "SNP");
            let frame = bits(entry, 51, 12) << 12;
            assert_eq!(frame & ((1 << log2) - 1), 0, "reserved address bits of a large page: {entry:#x}");
            let mut access = Access::empty();
            access.set(Access::READ, readable);
            access.set(Access::WRITE, writable);
            return Some(Walked {
                physical: frame | iova & ((1 << log2) - 1),
                page: 1 << log2,
                access,
                privilege: Privilege::User,
                security: Security::NonSecure,
                memory: WRITE_BACK,
                share: Shareability::Outer,
            });
        }
        unreachable!("level 1 has pages only")
    }

    /// VT-d 3.6, 3.11.1, 9.7. `pat` is the page attribute table, where memory types count.
    pub fn first_stage(
        self,
        pat: Option<u64>,
        root: u64,
        read: impl Fn(u64) -> u64,
        address: u64,
    ) -> Option<Walked> {
        let unused = 64 - (12 + 9 * self.levels);
        assert_eq!((address << unused) as i64 >> unused, address as i64, "not canonical");
        let (mut table, mut writable, mut user) = (root, true, true);
        for level in (1..=self.levels).rev() {
            let entry = read(table + 8 * (address >> (12 + 9 * (level - 1)) & 511));
            if !bit(entry, 0) {
                assert_eq!(entry, 0, "an entry that is not present, and not free");
                return None;
            }
            let (is_page, log2) = self.page(entry, level);
            (writable, user) = (writable && bit(entry, 1), user && bit(entry, 2));
            assert!(bit(entry, 5), "hardware would have to set A");
            assert_eq!(bits(entry, 11, 8), 0, "G, EA and ignored bits: {entry:#x}");
            if !is_page {
                assert!(!bit(entry, 7), "PS");
                assert_eq!(bits(entry, 4, 3), 0, "ignored bits: {entry:#x}");
                assert!(!bit(entry, 6), "an ignored bit");
                table = bits(entry, 51, 12) << 12;
                continue;
            }
            assert_eq!(bit(entry, 6), bit(entry, 1), "hardware would have to set D, or never");
            let large = level > 1;
            let pat_bit = if large { bit(entry, 12) } else { bit(entry, 7) };
            // The PAT bit of a large page is below its address.
            let frame = if large { bits(entry, 51, 13) << 13 } else { bits(entry, 51, 12) << 12 };
            assert_eq!(frame & ((1 << log2) - 1), 0, "reserved address bits of a large page: {entry:#x}");
            let index = 4 * u64::from(pat_bit) + bits(entry, 4, 3);
            let memory = match pat {
                None => {
                    assert_eq!(index, 0, "memory types are ignored");
                    WRITE_BACK
                }
                Some(pat) => match pat >> (8 * index) & 0xff {
                    0x00 => MemoryType::Device,
                    0x01 => MemoryType::Normal(CachePolicy::NotCached),
                    0x04 => MemoryType::Normal(CachePolicy::WriteThrough),
                    0x06 => WRITE_BACK,
                    other => panic!("PAT memory type {other}"),
                },
            };
            let mut access = Access::READ;
            access.set(Access::WRITE, writable);
            return Some(Walked {
                physical: frame | address & ((1 << log2) - 1),
                page: 1 << log2,
                access,
                privilege: if user { Privilege::User } else { Privilege::Supervisor },
                security: Security::NonSecure,
                memory,
                share: Shareability::Outer,
            });
        }
        unreachable!("level 1 has pages only")
    }
}

/// A RISC-V walker.
#[derive(Clone, Copy, Debug)]
pub struct Riscv {
    pub levels: u32,
    pub guest: bool,
    pub napot: bool,
    pub pbmt: bool,
}

impl Riscv {
    /// Privileged architecture: "Virtual Address Translation Process", "Svnapot", "Svpbmt", "Guest Physical Address
    /// Translation".
    pub fn walk(self, root: u64, read: impl Fn(u64) -> u64, va: u64) -> Option<Walked> {
        let width = 12 + 9 * self.levels;
        if self.guest {
            assert_eq!(va >> (width + 2), 0, "high bits of a guest physical address");
            assert_eq!(root % 16384, 0, "the root is aligned to its size");
        } else {
            assert_eq!((va << (64 - width)) as i64 >> (64 - width), va as i64, "not canonical");
        }
        let mut a = root;
        let mut i = self.levels;
        loop {
            i = i.checked_sub(1).expect("an entry of level 0 that leads to a table");
            let widened = self.guest && i == self.levels - 1;
            let vpn = va >> (12 + 9 * i) & if widened { 0x7ff } else { 0x1ff };
            let pte = read(a + 8 * vpn);
            if !bit(pte, 0) {
                assert_eq!(pte, 0, "an entry that is not valid, and not free");
                return None;
            }
            let (r, w, x) = (bit(pte, 1), bit(pte, 2), bit(pte, 3));
            assert!(r || !w, "W without R is reserved");
            assert_eq!(bits(pte, 60, 54), 0, "reserved bits: {pte:#x}");
            assert!(!bit(pte, 5) && bits(pte, 9, 8) == 0, "G and RSW: {pte:#x}");
            let mut ppn = bits(pte, 53, 10);
            if !r && !x {
                assert_eq!(bits(pte, 63, 61), 0, "N and PBMT of an entry that leads to a table: {pte:#x}");
                assert_eq!(bits(pte, 7, 4), 0, "U, A and D of an entry that leads to a table: {pte:#x}");
                a = ppn << 12;
                continue;
            }
            assert!(bit(pte, 6) && bit(pte, 7) == w, "A, and D where writes pass: {pte:#x}");
            assert!(bit(pte, 4) || !self.guest, "a page of the second stage that is no user's");
            let mut page = 4096 << (9 * i);
            if bit(pte, 63) {
                assert!(self.napot && i == 0, "N is reserved");
                assert_eq!(ppn & 0xf, 0b1000, "a reserved size: {pte:#x}");
                for other in vpn & !0xf..=vpn | 0xf {
                    assert_eq!(read(a + 8 * other), pte, "the entries of 64 KiB differ");
                }
                ppn = ppn & !0xf | vpn & 0xf;
                page = 65536;
            }
            assert_eq!(ppn & ((1 << (9 * i)) - 1), 0, "a misaligned superpage: {pte:#x}");
            let memory = match bits(pte, 62, 61) {
                0 => WRITE_BACK,
                other if !self.pbmt => panic!("PBMT {other} without Svpbmt"),
                1 => MemoryType::Normal(CachePolicy::NotCached),
                2 => MemoryType::Device,
                _ => panic!("PBMT 3 is reserved"),
            };
            let mut access = Access::empty();
            access.set(Access::READ, r);
            access.set(Access::WRITE, w);
            access.set(Access::EXECUTE, x);
            return Some(Walked {
                physical: ppn << 12 | va & ((4096 << (9 * i)) - 1),
                page,
                access,
                privilege: if bit(pte, 4) { Privilege::User } else { Privilege::Supervisor },
                security: Security::NonSecure,
                memory,
                share: Shareability::Outer,
            });
        }
    }
}

/// An AMD walker.
#[derive(Clone, Copy, Debug)]
pub struct Amd {
    pub mode: u32,
    /// The bits of physical address.
    pub width: u32,
    /// What FC must be.
    pub coherent: bool,
}

impl Amd {
    /// 48882, 2.2.3.
    pub fn walk(self, root: u64, read: impl Fn(u64) -> u64, address: u64) -> Option<Walked> {
        assert!(self.mode == 6 || address >> (12 + 9 * self.mode) == 0, "beyond the mode");
        let (mut table, mut readable, mut writable) = (root, true, true);
        let mut level = self.mode;
        loop {
            let shift = 12 + 9 * (level - 1);
            let index = address >> shift & 511;
            let entry = read(table + 8 * index);
            if !bit(entry, 0) {
                assert_eq!(entry, 0, "an entry that is not present, and not free");
                return None;
            }
            assert_eq!(bits(entry, 8, 1), 0, "ignored bits, A and D: {entry:#x}");
            assert_eq!(bits(entry, 59, 52), 0, "reserved bits and U: {entry:#x}");
            assert!(!bit(entry, 63), "bit 63");
            (readable, writable) = (readable && bit(entry, 61), writable && bit(entry, 62));
            let at = bits(entry, 51, 12) << 12;
            if self.width < 52 {
                assert_eq!(bits(entry, 51, self.width), 0, "beyond the machine's memory: {entry:#x}");
            }
            let log2 = match bits(entry, 11, 9) as u32 {
                0 => shift,
                7 => {
                    let zero = (12..52).find(|&n| !bit(entry, n)).expect("no size");
                    let log2 = zero + 1;
                    assert!(log2 > shift && log2 < shift + 9, "2^{log2} at level {level}: {entry:#x}");
                    let entries = 1 << (log2 - shift);
                    let first = index & !(entries - 1);
                    for other in first..first + entries {
                        assert_eq!(read(table + 8 * other), entry, "the entries of a page differ");
                    }
                    log2
                }
                next => {
                    assert_eq!(next, level - 1, "a level is skipped: {entry:#x}");
                    assert!(!bit(entry, 60), "FC is reserved");
                    (table, level) = (at, next);
                    continue;
                }
            };
            assert!(log2 < 39, "512 GiB and more do not work");
            assert_eq!(bit(entry, 60), self.coherent, "FC");
            let mut access = Access::empty();
            access.set(Access::READ, readable);
            access.set(Access::WRITE, writable);
            if log2 == shift {
                assert_eq!(at & ((1 << log2) - 1), 0, "address bits below the page: {entry:#x}");
            }
            let offset = (1 << log2) - 1;
            return Some(Walked {
                physical: at & !offset | address & offset,
                page: 1 << log2,
                access,
                privilege: Privilege::User,
                security: Security::NonSecure,
                memory: WRITE_BACK,
                share: Shareability::Outer,
            });
        }
    }
}
