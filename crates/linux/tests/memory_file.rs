//! Memories that are made: their bytes, their seals, what is refused.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use vcm_linux::Error;
use vcm_linux::memory::{FileKind, MemoryFile, MemoryPiece, MemoryRequest, MemoryUse, PageKind, Sealing};

use rustix::fd::{AsFd, AsRawFd};
use rustix::fs::{FallocateFlags, SealFlags, fallocate, fcntl_get_seals, ftruncate};
use rustix::io::Errno;

const PAGE: u64 = 4096;

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|index| (index * 7 + index / 251) as u8).collect()
}

#[test]
fn bytes_come_back_at_every_alignment_and_length() {
    let memory = MemoryFile::new("test", 4 * PAGE).unwrap();
    let bytes = pattern(3000);
    for offset in (0..20).chain([4090, 4095]) {
        for len in (0..40).chain([63, 64, 65, 511, 512, 513, 519, 527, 1024, 2999]) {
            let part = &bytes[..len];
            memory.write(0, &vec![0xee; 4 * PAGE as usize]).unwrap();
            memory.write(offset, part).unwrap();
            let mut all = vec![0; 4 * PAGE as usize];
            memory.read(0, &mut all).unwrap();
            let (start, end) = (offset as usize, offset as usize + len);
            assert_eq!(&all[start..end], part, "{len} bytes at {offset}");
            assert!(
                all[..start].iter().chain(&all[end..]).all(|&byte| byte == 0xee),
                "{len} bytes at {offset}"
            );
            let mut again = vec![0; len];
            memory.read(offset, &mut again).unwrap();
            assert_eq!(again, part, "{len} bytes at {offset}");
        }
    }
}

#[test]
fn numbers_are_little_endian_and_aligned() {
    let memory = MemoryFile::new("test", PAGE).unwrap();
    memory.store(8, 0x0102_0304_0506_0708_u64).unwrap();
    let mut bytes = [0; 8];
    memory.read(8, &mut bytes).unwrap();
    assert_eq!(bytes, [8, 7, 6, 5, 4, 3, 2, 1]);
    assert_eq!(memory.load::<u32>(12).unwrap(), 0x0102_0304);
    assert_eq!(memory.load::<u16>(10).unwrap(), 0x0506);
    assert_eq!(memory.load::<u8>(15).unwrap(), 1);
    memory.store(PAGE - 1, 0xab_u8).unwrap();
    assert_eq!(memory.load::<u8>(PAGE - 1).unwrap(), 0xab);
    for result in
        [memory.load::<u64>(4).map(drop), memory.store(2, 0_u32), memory.load::<u16>(PAGE).map(drop)]
    {
        assert!(matches!(result, Err(Error::Argument { .. })), "{result:?}");
    }
}

#[test]
fn nothing_behind_the_end_is_reached() {
    let memory = MemoryFile::new("small", PAGE).unwrap();
    let mut bytes = [0; 2];
    for offset in [PAGE - 1, PAGE, u64::MAX - 1, u64::MAX] {
        let error = memory.read(offset, &mut bytes).unwrap_err();
        assert!(error.to_string().contains("`small`: the memory has 0x1000 bytes"), "{error}");
        assert!(memory.write(offset, &bytes).is_err());
        assert!(memory.range(offset, 2).is_err());
    }
    assert!(memory.range(0, 0).is_err());
    assert!(memory.read(u64::MAX, &mut []).is_ok(), "no bytes are nowhere");
    let whole = memory.range(0, PAGE).unwrap();
    assert_eq!((whole.offset(), whole.len(), whole.is_whole_pages()), (0, PAGE, true));
    assert!(!memory.range(8, 8).unwrap().is_whole_pages());
}

#[test]
fn lengths_are_whole_pages() {
    for len in [0, 1, PAGE + 1, u64::MAX] {
        let error = MemoryFile::new("odd", len).unwrap_err();
        assert!(matches!(error, Error::Argument { .. }), "{len}: {error}");
    }
    let error = MemoryRequest::new("odd", PAGE).pages(PageKind::Huge2M).create().unwrap_err();
    assert!(error.to_string().contains("its pages, which have 0x200000"), "{error}");
    // More than any address space: an error of the kernel or of ours, nothing else.
    assert!(MemoryFile::new("huge", 1 << 62).is_err());
    assert!(MemoryFile::new("a\0b", PAGE).is_err());
    assert!(MemoryFile::new(&"n".repeat(300), PAGE).is_err());
}

#[test]
fn the_size_is_sealed_and_so_are_the_seals() {
    let memory = MemoryFile::new("sealed", 4 * PAGE).unwrap();
    assert_eq!(ftruncate(&memory, PAGE), Err(Errno::PERM));
    assert_eq!(ftruncate(&memory, 8 * PAGE), Err(Errno::PERM));
    let seals = fcntl_get_seals(&memory).unwrap();
    assert!(seals.contains(SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL), "{seals:?}");
    assert!(!seals.intersects(SealFlags::WRITE | SealFlags::FUTURE_WRITE), "{seals:?}");
    // A hole is no shrinking: it reads as zeros, and nobody gets a SIGBUS.
    memory.write(0, b"x").unwrap();
    fallocate(&memory, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 0, PAGE).unwrap();
    assert_eq!(memory.load::<u8>(0).unwrap(), 0);
}

#[test]
fn with_new_writers_sealed_off_only_this_mapping_writes() {
    let memory = MemoryRequest::new("shown", PAGE).sealing(Sealing::SizeAndNewWriters).create().unwrap();
    memory.write(0, b"still").unwrap();
    assert_eq!(rustix::io::pwrite(&memory, b"not", 0), Err(Errno::PERM));
    let again = memory.as_fd().try_clone_to_owned().unwrap();
    let error = MemoryFile::wrap("again", again, vcm_linux::memory::Trust::Kernel).unwrap_err();
    assert_eq!(error.errno(), Errno::PERM);
    assert!(error.to_string().contains("sealed against writing"), "{error}");
    let mut bytes = [0; 5];
    rustix::io::pread(&memory, &mut bytes, 0).unwrap();
    assert_eq!(&bytes, b"still");
}

#[test]
fn another_process_sees_the_bytes() {
    let memory = MemoryFile::new("shared", PAGE).unwrap();
    memory.write(100, b"for the child").unwrap();
    // The child opens the file by this process's descriptor and answers behind it.
    let path = format!("/proc/{}/fd/{}", std::process::id(), memory.as_fd().as_raw_fd());
    let script = "dd if=$0 bs=1 skip=100 count=13 2>/dev/null | tr a-z A-Z | dd of=$0 bs=1 seek=200 conv=notrunc 2>/dev/null";
    assert!(Command::new("sh").args(["-c", script, &path]).status().unwrap().success());
    let mut bytes = [0; 13];
    memory.read(200, &mut bytes).unwrap();
    assert_eq!(&bytes, b"FOR THE CHILD");
}

#[test]
fn a_word_that_is_written_meanwhile_is_never_torn() {
    let memory = MemoryFile::new("raced", PAGE).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut value = 0_u8;
            while !stop.load(Ordering::Relaxed) {
                value = value.wrapping_add(1);
                memory.write(0, &[value; PAGE as usize]).unwrap();
            }
        });
        let mut bytes = [0; PAGE as usize];
        for _ in 0..2000 {
            for (offset, len) in [(0_usize, 4096_usize), (8, 256), (3, 1021)] {
                let bytes = &mut bytes[..len];
                memory.read(offset as u64, bytes).unwrap();
                let aligned = (8 - offset % 8) % 8;
                for word in bytes[aligned..].chunks_exact(8) {
                    assert!(word.iter().all(|byte| *byte == word[0]), "{word:x?}");
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn populating_tells_how_far_it_is() {
    let len = 130 << 20;
    let memory = MemoryFile::new("long", len).unwrap();
    let before = rustix::fs::fstat(&memory).unwrap().st_blocks;
    let mut seen = Vec::new();
    memory.populate(&mut |progress| seen.push((progress.done, progress.total))).unwrap();
    assert_eq!(seen, [(64 << 20, len), (128 << 20, len), (len, len)]);
    assert_eq!(before, 0);
    assert_eq!(rustix::fs::fstat(&memory).unwrap().st_blocks as u64 * 512, len);
}

#[test]
fn large_memories_lie_where_huge_pages_can() {
    for (len, alignment) in [(PAGE, PAGE), (2 << 20, 2 << 20), ((6 << 20) + PAGE, 2 << 20)] {
        let memory = MemoryFile::new("aligned", len).unwrap();
        let at = memory.range(0, 1).unwrap().address().addr().get() as u64;
        assert!(at.is_multiple_of(alignment), "{len:#x} bytes at {at:#x}");
    }
}

/// On a machine with huge pages set aside this passes the other way: then it must work.
#[test]
fn too_few_huge_pages_are_named_with_the_line_that_helps() {
    let read = |name: &str| -> u64 {
        let path = format!("/sys/kernel/mm/hugepages/hugepages-2048kB/{name}");
        std::fs::read_to_string(path).map_or(0, |text| text.trim().parse().unwrap())
    };
    let total = read("nr_hugepages");
    let needed = total + 3;
    match MemoryRequest::new("frames", needed << 21).pages(PageKind::Huge2M).create() {
        Ok(memory) => assert!(read("nr_overcommit_hugepages") > 0, "{memory:?}"),
        Err(Error::NotSupported { why, .. }) => {
            assert!(!std::path::Path::new("/sys/kernel/mm/hugepages/hugepages-2048kB").exists(), "{why}");
        }
        Err(error) => {
            let text = error.to_string();
            assert_eq!(error.errno(), Errno::NOMEM, "{text}");
            assert!(text.contains(&format!("needs {needed} huge pages of 2M")), "{text}");
            assert!(text.contains("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"), "{text}");
        }
    }
}

#[test]
fn transparent_huge_pages_are_given_or_refused_with_the_knob_named() {
    let knob =
        std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/shmem_enabled").unwrap_or_default();
    match MemoryRequest::new("thp", 4 << 20).pages(PageKind::TransparentHuge).create() {
        Ok(memory) => {
            assert!(!knob.contains("[deny]"), "{knob}");
            memory.populate(&mut |_| {}).unwrap();
            assert_eq!(memory.page_len(), PAGE);
        }
        Err(error) => {
            assert!(matches!(error, Error::NotSupported { .. }), "{error}");
            assert!(knob.is_empty() || error.to_string().contains("shmem_enabled"), "{error}");
            assert!(!knob.contains("[always]") && !knob.contains("[force]"), "{knob}");
        }
    }
}

#[test]
fn a_memfd_can_be_everything() {
    let memory = MemoryFile::new("memfd", PAGE).unwrap();
    assert_eq!(*memory.kind(), FileKind::SharedMemory);
    for wanted in [MemoryUse::DmaByFile, MemoryUse::DmaByAddress, MemoryUse::GuestSlot, MemoryUse::Udmabuf] {
        memory.supports(wanted).unwrap();
    }
    let dma_buf = FileKind::DmaBuf { exporter: "udmabuf".into() };
    assert!(
        dma_buf.supports(MemoryUse::DmaByFile).unwrap_err().to_string().contains("memfd that it is made of")
    );
    assert!(dma_buf.supports(MemoryUse::DmaByAddress).is_err());
    assert!(FileKind::DmaBuf { exporter: "vfio_pci_core".into() }.supports(MemoryUse::DmaByFile).is_ok());
    assert!(FileKind::Secret.supports(MemoryUse::GuestSlot).is_err());
}

#[test]
fn physical_addresses_of_ordinary_pages_are_refused() {
    let memory = MemoryFile::new("memfd", PAGE).unwrap();
    let error = vcm_linux::memory::physical_spans(&memory).unwrap_err();
    assert!(error.to_string().contains("whose pages the kernel moves"), "{error}");
}

#[test]
fn a_piece_holds_its_memory() {
    let memory = std::sync::Arc::new(MemoryFile::new("held", 2 * PAGE).unwrap());
    assert!(MemoryPiece::new(memory.clone(), PAGE, PAGE + 1).is_err());
    let piece = MemoryPiece::new(memory.clone(), PAGE, PAGE).unwrap();
    memory.write(PAGE, b"held").unwrap();
    drop(memory);
    assert_eq!((piece.range().offset(), piece.range().len()), (PAGE, PAGE));
    let mut bytes = [0; 4];
    piece.file().read(piece.offset(), &mut bytes).unwrap();
    assert_eq!(&bytes, b"held");
}
