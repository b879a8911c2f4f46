//! Dirty tracking, and what IOMMUs say of themselves.
#![allow(unsafe_code, reason = "asks the kernel itself once")]

mod vm_iommufd_support;

use iommufd_bindings::iommu_hwpt_get_dirty_bitmap;
use rustix::fd::AsFd;
use rustix::io::Errno;
use vcm::Access;
use vcm_linux::Error;
use vcm_linux::iommufd::command;
use vcm_linux::iommufd::mock::{Abilities, MockDevice};
use vcm_linux::iommufd::{
    BoundDevice, DirtyBitmap, DirtyTracking, HardwareKind, Hwpt, HwptRequest, Ioas, LargePages, Notes,
};
use vm_iommufd_support::*;
use vmm_sys_util::ioctl::ioctl_with_mut_ref;

const RW: Access = Access::READ_WRITE;
const TRACKED: HwptRequest<'_> = HwptRequest { dirty_tracking: DirtyTracking::On, faults: None };

/// A bitmap of `pages` pages with the bits of `dirty` set: by a mock device that wrote there.
fn written(table: &Hwpt, device: &MockDevice, pages: u64, dirty: &[u64]) {
    for page in dirty {
        // The mock takes a bitmap of ours; a run of one page is one whose bit is set in a bitmap of that page alone.
        let mut one = DirtyBitmap::new(span(START + page * PAGE, PAGE), PAGE).unwrap();
        one.mark_all();
        assert_eq!(device.make_dirty(table, &one).unwrap(), 1, "{page} of {pages}");
    }
}

fn dirty_pages(bitmap: &DirtyBitmap) -> Vec<u64> {
    let first = bitmap.span().first();
    bitmap
        .runs()
        .flat_map(|run| (run.first()..=run.last()).step_by(bitmap.page() as usize))
        .map(|address| (address - first) / bitmap.page())
        .collect()
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn what_a_device_writes_is_told_once() {
    // Half a byte of bits, several words, an end inside a word.
    for pages in [2, 4, 64, 80, 320] {
        let memory = memory(pages);
        let ioas = Ioas::new(&iommufd()).unwrap();
        ioas.set_large_pages(LargePages::Apart).unwrap();
        let device = MockDevice::attach(&ioas, Abilities::All).unwrap();
        ioas.map_memory(iova(START), memory.range(0, pages * PAGE).unwrap(), RW).unwrap();
        let table = Hwpt::new(&ioas, device.device(), &TRACKED).unwrap();
        table.set_dirty_tracking(DirtyTracking::On).unwrap();
        let mut bitmap = DirtyBitmap::new(span(START, pages * PAGE), PAGE).unwrap();
        table.read_dirty(&mut bitmap, Notes::Taken).unwrap();
        assert_eq!(bitmap.count(), 0);
        let dirty: Vec<u64> = (0..pages).filter(|page| page % 5 == 1 || *page == pages - 1).collect();
        written(&table, &device, pages, &dirty);
        for notes in [Notes::Left, Notes::Left, Notes::Taken] {
            bitmap.clear();
            table.read_dirty(&mut bitmap, notes).unwrap();
            assert_eq!(dirty_pages(&bitmap), dirty, "{pages} pages, {notes:?}");
        }
        let before = bitmap.clone();
        table.read_dirty(&mut bitmap, Notes::Taken).unwrap();
        assert_eq!(bitmap, before, "reading only adds");
        bitmap.clear();
        table.read_dirty(&mut bitmap, Notes::Taken).unwrap();
        assert_eq!(bitmap.count(), 0, "it was told already");
        // Switching it on anew forgets.
        written(&table, &device, pages, &dirty);
        table.set_dirty_tracking(DirtyTracking::On).unwrap();
        table.read_dirty(&mut bitmap, Notes::Taken).unwrap();
        assert_eq!(bitmap.count(), 0);
        table.set_dirty_tracking(DirtyTracking::Off).unwrap();
    }
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn a_bitmap_of_a_part_and_of_larger_pages() {
    let memory = memory(64);
    let ioas = Ioas::new(&iommufd()).unwrap();
    ioas.set_large_pages(LargePages::Apart).unwrap();
    let device = MockDevice::attach(&ioas, Abilities::All).unwrap();
    ioas.map_memory(iova(START), memory.range(0, 64 * PAGE).unwrap(), RW).unwrap();
    let table = Hwpt::new(&ioas, device.device(), &TRACKED).unwrap();
    table.set_dirty_tracking(DirtyTracking::On).unwrap();
    written(&table, &device, 64, &[0, 17, 18, 33, 63]);
    let mut part = DirtyBitmap::new(span(START + 16 * PAGE, 17 * PAGE), PAGE).unwrap();
    table.read_dirty(&mut part, Notes::Left).unwrap();
    assert_eq!(dirty_pages(&part), [1, 2]);
    let mut coarse = DirtyBitmap::new(span(START, 64 * PAGE), 16 * PAGE).unwrap();
    table.read_dirty(&mut coarse, Notes::Taken).unwrap();
    assert_eq!(dirty_pages(&coarse), [0, 1, 2, 3]);
}

/// The kernel stops at a hole and says that all is well (drivers/iommu/iommufd/io_pagetable.c drops the error).
#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn a_span_with_a_hole_is_refused_rather_than_half_told() {
    let memory = memory(8);
    let ioas = Ioas::new(&iommufd()).unwrap();
    let device = MockDevice::attach(&ioas, Abilities::All).unwrap();
    for page in [0, 1, 3] {
        ioas.map_memory(iova(START + page * PAGE), memory.range(page * PAGE, PAGE).unwrap(), RW).unwrap();
    }
    let table = Hwpt::new(&ioas, device.device(), &TRACKED).unwrap();
    table.set_dirty_tracking(DirtyTracking::On).unwrap();
    let mut bitmap = DirtyBitmap::new(span(START, 4 * PAGE), PAGE).unwrap();
    let error = table.read_dirty(&mut bitmap, Notes::Taken).unwrap_err();
    assert!(error.to_string().contains("0x1002000"), "{error}");
    // What the kernel itself says: page 3 is dirty, and it answers 0 without telling.
    written(&table, &device, 4, &[0, 3]);
    let mut word = 0_u64;
    let mut request = iommu_hwpt_get_dirty_bitmap {
        size: size_of::<iommu_hwpt_get_dirty_bitmap>() as u32,
        hwpt_id: table.id(),
        iova: START,
        length: 4 * PAGE,
        page_size: PAGE,
        data: (&raw mut word).expose_provenance() as u64,
        ..Default::default()
    };
    let call = u64::from(command::HWPT_GET_DIRTY_BITMAP.opcode);
    // SAFETY: the structure of the call, whose bitmap has room for the four pages.
    let answer = unsafe { ioctl_with_mut_ref(&ioas.iommufd().as_fd(), call, &mut request) };
    assert_eq!((answer, word), (0, 0b0001), "the day this fails, the check in `read_dirty` can go");
    let mut bitmap = DirtyBitmap::new(span(START, 2 * PAGE), PAGE).unwrap();
    table.read_dirty(&mut bitmap, Notes::Taken).unwrap();
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn hardware_without_it_says_so() {
    let ioas = Ioas::new(&iommufd()).unwrap();
    let able = MockDevice::attach(&ioas, Abilities::All).unwrap();
    let unable = MockDevice::attach(&ioas, Abilities::NoDirtyTracking).unwrap();
    assert!(ioas.iommufd().hardware_info(able.device()).unwrap().dirty_tracking);
    assert!(!ioas.iommufd().hardware_info(unable.device()).unwrap().dirty_tracking);
    let error = Hwpt::new(&ioas, unable.device(), &TRACKED).unwrap_err();
    assert!(matches!(error, Error::NotSupported { .. }), "{error:?}");
    // A table that is to be tracked takes no device that cannot.
    let table = Hwpt::new(&ioas, able.device(), &TRACKED).unwrap();
    let error = MockDevice::attach_to_table(&table, Abilities::NoDirtyTracking).unwrap_err();
    assert_eq!(error.errno(), Errno::INVAL, "{error}");
    drop(MockDevice::attach_to_table(&table, Abilities::All).unwrap());
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn an_iommu_tells_what_it_is() {
    let ioas = Ioas::new(&iommufd()).unwrap();
    let device = MockDevice::attach(&ioas, Abilities::All).unwrap();
    let info = ioas.iommufd().hardware_info(device.device()).unwrap();
    // `struct iommu_test_hw_info`: flags, then a register of the mock's.
    let data = [0_u32, 0xdead_beef].into_iter().flat_map(u32::to_ne_bytes).collect();
    assert_eq!(info.kind, HardwareKind::Other { kind: 0xfeed_beef, data });
    let nobody = ioas.iommufd().hardware_info(BoundDevice(u32::MAX)).unwrap_err();
    assert_eq!(nobody.errno(), Errno::NOENT);
    let error = Hwpt::new(&ioas, BoundDevice(u32::MAX), &HwptRequest::default()).unwrap_err();
    assert_eq!(error.errno(), Errno::NOENT, "{error}");
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn a_page_table_follows_its_space_and_is_attached_like_one() {
    let memory = memory(2);
    let ioas = Ioas::new(&iommufd()).unwrap();
    let mut device = MockDevice::attach(&ioas, Abilities::All).unwrap();
    let table = Hwpt::new(&ioas, device.device(), &TRACKED).unwrap();
    device.replace_with_table(&table).unwrap();
    ioas.map_memory(iova(START), memory.range(0, 2 * PAGE).unwrap(), RW).unwrap();
    assert!(device.sees(iova(START), memory.range(0, 2 * PAGE).unwrap()).unwrap());
    // It stays as long as it is attached.
    let iommufd = ioas.iommufd().clone();
    drop(table);
    drop(ioas);
    assert!(device.sees(iova(START), memory.range(0, 2 * PAGE).unwrap()).unwrap());
    drop(device);
    assert_eq!(iommufd.not_destroyed(), 0);
}
