//! What happens when the process has as many mappings as it may. Alone in its process: the limit is the process's.
#![allow(unsafe_code, reason = "mappings are made until there can be no more")]

use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use vcm::{Access, CpuAddress, Span};
use vcm_linux::memory::{CpuSpace, MemoryFile, MemoryPiece, MemoryRange, Stitched};

const PAGE: u64 = 4096;

/// Mappings of a page each, as many as there can be.
struct Filling(Vec<*mut std::ffi::c_void>);

impl Filling {
    fn new(limit: usize) -> Self {
        let mut all = Vec::with_capacity(limit + 1);
        // Neighbours of different permissions are not joined.
        for index in 0.. {
            let protection =
                if index % 2 == 0 { ProtFlags::READ } else { ProtFlags::READ | ProtFlags::WRITE };
            // SAFETY: a new mapping at a place that the kernel chooses.
            match unsafe {
                mmap_anonymous(std::ptr::null_mut(), PAGE as usize, protection, MapFlags::PRIVATE)
            } {
                Ok(at) => all.push(at),
                Err(errno) => {
                    assert_eq!(errno, Errno::NOMEM);
                    break;
                }
            }
        }
        Self(all)
    }

    /// Makes room for `count` mappings.
    fn leave(&mut self, count: usize) {
        for _ in 0..count {
            let at = self.0.pop().unwrap();
            // SAFETY: a mapping of this value's that nobody uses.
            unsafe { munmap(at, PAGE as usize) }.unwrap();
        }
    }
}

impl Drop for Filling {
    fn drop(&mut self) {
        self.leave(self.0.len());
    }
}

#[test]
fn with_any_number_of_mappings_left_a_backing_is_whole_or_not_there() {
    let limit: usize = std::fs::read_to_string("/proc/sys/vm/max_map_count").unwrap().trim().parse().unwrap();
    if limit > 1 << 20 {
        eprintln!("skipped: this machine permits {limit} mappings, which are too many to make");
        return;
    }
    let memory = MemoryFile::new("memory", 64 * PAGE).unwrap();
    // Every other page: no two parts are joined to one mapping.
    let parts: Vec<MemoryRange<'_>> =
        (0..8).map(|index| memory.range(index * 2 * PAGE, PAGE).unwrap()).collect();
    let mut space = CpuSpace::reserve(32 * PAGE, PAGE).unwrap();
    let at = CpuAddress::new(space.span().first() + 4 * PAGE);
    let middle = Span::new(at.raw(), 8 * PAGE).unwrap();
    let (mut refused, mut done) = (0, 0);
    let mut filling = Filling::new(limit);
    for _ in 0..24 {
        match space.back(at, &parts, Access::READ_WRITE) {
            Ok(()) => {
                done += 1;
                assert_eq!(space.backed().count(), 8);
                space.write(at, &[1; 8 * PAGE as usize]).unwrap();
                // What the kernel refuses now is tried again below.
                let first = space.unback(middle);
                assert_eq!(first.is_ok(), space.leaving().count() == 0);
            }
            Err(error) => {
                refused += 1;
                assert_eq!(error.errno(), Errno::NOMEM, "{error}");
                assert!(error.to_string().contains("max_map_count"), "{error}");
            }
        }
        assert_eq!(space.backed().count(), 0);
        assert!(space.read(at, &mut [0]).is_err());
        filling.leave(1);
        // Whatever could not be taken back goes by the time that there is room.
        if space.leaving().next().is_some() {
            filling.leave(2);
            space.unback(middle).unwrap();
        }
        assert_eq!(space.leaving().count(), 0);
    }
    assert!(refused >= 5 && done >= 5, "{refused} refused, {done} done");
    drop(filling);

    // New stretches are refused as well, and nothing stays of what was begun.
    let file = std::sync::Arc::new(MemoryFile::new("file", 8 * PAGE).unwrap());
    let pieces = || {
        (0..4).map(|index| MemoryPiece::new(file.clone(), (6 - index * 2) * PAGE, PAGE).unwrap()).collect()
    };
    let mut filling = Filling::new(limit);
    let mut refused = 0;
    while let Err(error) = Stitched::new(pieces()) {
        refused += 1;
        assert_eq!(error.errno(), Errno::NOMEM, "{error}");
        assert!(MemoryFile::new("another", PAGE).is_err() || refused > 1);
        filling.leave(1);
    }
    assert!((1..12).contains(&refused), "{refused}");
    drop(filling);
    let stitched = Stitched::new(pieces()).unwrap();
    stitched.write(0, &[9; 4 * PAGE as usize]).unwrap();
    assert_eq!(file.load::<u8>(6 * PAGE).unwrap(), 9);
}
