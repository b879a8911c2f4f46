//! Memories that others made: what is taken, and what is refused.
#![allow(unsafe_code, reason = "mappings are made here as another library would, and given up")]

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create, open};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use std::ptr::NonNull;
use vcm_linux::Error;
use vcm_linux::memory::{FileKind, MemoryFile, MemoryUse, Trust};

const PAGE: u64 = 4096;

fn memfd(len: u64, seals: SealFlags) -> OwnedFd {
    let file = memfd_create("theirs", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    ftruncate(&file, len).unwrap();
    fcntl_add_seals(&file, seals).unwrap();
    file
}

fn copy(file: &OwnedFd) -> OwnedFd {
    file.try_clone().unwrap()
}

fn map(file: &OwnedFd, len: u64, offset: u64, flags: MapFlags, protection: ProtFlags) -> NonNull<u8> {
    // SAFETY: a new mapping at a place that the kernel chooses.
    let at = unsafe { mmap(std::ptr::null_mut(), len as usize, protection, flags, file, offset) };
    NonNull::new(at.unwrap().cast()).unwrap()
}

fn unmap(at: NonNull<u8>, len: u64) {
    // SAFETY: a mapping of this test's, which nobody uses.
    unsafe { munmap(at.as_ptr().cast(), len as usize) }.unwrap();
}

#[test]
fn a_sealed_memfd_is_the_same_memory() {
    let theirs = memfd(2 * PAGE, SealFlags::SHRINK);
    let memory = MemoryFile::wrap("theirs", copy(&theirs), Trust::Kernel).unwrap();
    assert_eq!((memory.len(), memory.page_len(), memory.kind()), (2 * PAGE, PAGE, &FileKind::SharedMemory));
    rustix::io::pwrite(&theirs, b"by them", PAGE).unwrap();
    let mut bytes = [0; 7];
    memory.read(PAGE, &mut bytes).unwrap();
    assert_eq!(&bytes, b"by them");
    memory.write(0, b"by us").unwrap();
    rustix::io::pread(&theirs, &mut bytes, 0).unwrap();
    assert_eq!(&bytes, b"by us\0\0");
    // It may still grow; what was wrapped is what it was.
    ftruncate(&theirs, 4 * PAGE).unwrap();
    assert!(memory.range(2 * PAGE, PAGE).is_err());
}

#[test]
fn what_can_shrink_needs_trust() {
    let theirs = memfd(PAGE, SealFlags::GROW);
    let error = MemoryFile::wrap("theirs", copy(&theirs), Trust::Kernel).unwrap_err();
    assert!(error.to_string().contains("F_SEAL_SHRINK"), "{error}");
    let memory = MemoryFile::wrap("theirs", theirs, Trust::Holders).unwrap();
    memory.write(0, b"x").unwrap();
    // As a file on a tmpfs, which knows no seals.
    let path = "/dev/shm";
    if let Ok(file) = open(path, OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR) {
        ftruncate(&file, PAGE).unwrap();
        assert!(MemoryFile::wrap("shm", copy(&file), Trust::Kernel).is_err());
        MemoryFile::wrap("shm", file, Trust::Holders).unwrap().write(0, b"x").unwrap();
    }
}

#[test]
fn what_cannot_be_read_and_written_is_refused() {
    let sealed = memfd(PAGE, SealFlags::SHRINK | SealFlags::WRITE);
    let error = MemoryFile::wrap("sealed", sealed, Trust::Kernel).unwrap_err();
    assert_eq!(error.errno(), Errno::PERM);
    let theirs = memfd(PAGE, SealFlags::SHRINK);
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&theirs));
    let read_only = open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    let error = MemoryFile::wrap("read only", read_only, Trust::Kernel).unwrap_err();
    assert_eq!(error.errno(), Errno::ACCESS);
    assert!(error.to_string().contains("open it for reading and writing"), "{error}");
}

#[test]
fn what_holds_no_memory_is_refused() {
    let odd = memfd(PAGE + 1, SealFlags::SHRINK);
    let empty = memfd(0, SealFlags::SHRINK);
    let pipe = OwnedFd::from(std::io::pipe().unwrap().0);
    let folder =
        open("/dev/shm", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    let device = open("/dev/zero", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).unwrap();
    for (name, descriptor) in
        [("odd", odd), ("empty", empty), ("pipe", pipe), ("folder", folder), ("device", device)]
    {
        let error = MemoryFile::wrap(name, descriptor, Trust::Holders).unwrap_err();
        assert!(matches!(error, Error::Argument { .. }), "{name}: {error}");
    }
}

#[test]
fn a_file_on_a_disk_is_memory_for_guests_only() {
    let file = tempfile::tempfile_in(std::env::current_dir().unwrap()).unwrap();
    file.set_len(PAGE).unwrap();
    let memory = MemoryFile::wrap("disk", file.into(), Trust::Holders).unwrap();
    memory.write(0, b"x").unwrap();
    if *memory.kind() == FileKind::OtherFile {
        memory.supports(MemoryUse::GuestSlot).unwrap();
        for wanted in [MemoryUse::DmaByAddress, MemoryUse::DmaByFile, MemoryUse::Udmabuf] {
            assert!(memory.supports(wanted).unwrap_err().to_string().contains("memfd"));
        }
    }
}

#[test]
fn a_mapping_is_taken_over_where_it_is_and_unmapped_in_the_end() {
    let theirs = memfd(4 * PAGE, SealFlags::SHRINK);
    let at = map(&theirs, 4 * PAGE, 0, MapFlags::SHARED, ProtFlags::READ | ProtFlags::WRITE);
    // SAFETY: this test has no further use of the mapping.
    let memory = unsafe { MemoryFile::adopt("theirs", copy(&theirs), at, Trust::Kernel) }.unwrap();
    assert_eq!(memory.range(PAGE, PAGE).unwrap().address().addr().get(), at.addr().get() + 4096);
    memory.write(3 * PAGE, b"end").unwrap();
    let mut bytes = [0; 3];
    rustix::io::pread(&theirs, &mut bytes, 3 * PAGE).unwrap();
    assert_eq!(&bytes, b"end");
    drop(memory);
    // Not by the address, which another test may have by now.
    let inode = format!(" {} ", rustix::fs::fstat(&theirs).unwrap().st_ino);
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    assert!(!maps.lines().any(|line| line.contains("memfd:theirs") && line.contains(&inode)), "{maps}");
}

#[test]
fn other_mappings_are_refused_and_left_alone() {
    let theirs = memfd(2 * PAGE, SealFlags::SHRINK);
    let other = memfd(2 * PAGE, SealFlags::SHRINK);
    let both = ProtFlags::READ | ProtFlags::WRITE;
    let cases = [
        (map(&theirs, 2 * PAGE, 0, MapFlags::PRIVATE, both), "private"),
        (map(&theirs, 2 * PAGE, 0, MapFlags::SHARED, ProtFlags::READ), "mapped as r--s"),
        (map(&other, 2 * PAGE, 0, MapFlags::SHARED, both), "something else is mapped"),
        (map(&theirs, PAGE, PAGE, MapFlags::SHARED, both), "another part of it"),
    ];
    for (at, why) in cases {
        // SAFETY: it is refused, and this test does not use the mapping but to unmap it.
        let error = unsafe { MemoryFile::adopt("theirs", copy(&theirs), at, Trust::Kernel) }.unwrap_err();
        assert!(error.to_string().contains(why), "{why}: {error}");
        unmap(at, if why == "another part of it" { PAGE } else { 2 * PAGE });
    }
    // Shorter than the file.
    let at = map(&theirs, 2 * PAGE, 0, MapFlags::SHARED, both);
    unmap(NonNull::new(at.as_ptr().wrapping_add(PAGE as usize)).unwrap(), PAGE);
    // SAFETY: as above.
    let result = unsafe { MemoryFile::adopt("theirs", copy(&theirs), at, Trust::Kernel) };
    assert!(matches!(result, Err(Error::Argument { .. })), "{result:?}");
    unmap(at, PAGE);
    // Where nothing can be mapped.
    let nowhere = NonNull::new(std::ptr::without_provenance_mut(0x1000)).unwrap();
    // SAFETY: there is no mapping.
    let error = unsafe { MemoryFile::adopt("theirs", theirs, nowhere, Trust::Kernel) }.unwrap_err();
    assert!(error.to_string().contains("nothing is mapped"), "{error}");
}

#[test]
fn a_mapping_in_several_parts_is_one_memory() {
    let theirs = memfd(3 * PAGE, SealFlags::SHRINK);
    let both = ProtFlags::READ | ProtFlags::WRITE;
    let at = map(&theirs, 3 * PAGE, 0, MapFlags::SHARED, both);
    // Other flags in the middle make three mappings of one.
    let middle = at.as_ptr().wrapping_add(PAGE as usize);
    // SAFETY: advice about this test's own mapping.
    unsafe { rustix::mm::madvise(middle.cast(), PAGE as usize, rustix::mm::Advice::LinuxDontDump) }.unwrap();
    // SAFETY: this test has no further use of the mapping.
    let memory = unsafe { MemoryFile::adopt("theirs", copy(&theirs), at, Trust::Kernel) }.unwrap();
    memory.write(0, &[7; 3 * PAGE as usize]).unwrap();
    assert!(rustix::fs::fstat(memory.as_fd()).unwrap().st_size as u64 == 3 * PAGE);
}
