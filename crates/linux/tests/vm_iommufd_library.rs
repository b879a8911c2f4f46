//! The library: every memory file once, and copies of its parts; and kernels that map by address only.

mod vm_iommufd_support;

use rustix::io::Errno;
use std::sync::Arc;
use vcm::{Access, PhysicalAddress};
use vcm_linux::Error;
use vcm_linux::dma::DmaSpace;
use vcm_linux::iommufd::mock::{Abilities, MockAccess, MockDevice, Needs, do_without_map_file, is_pinned};
use vcm_linux::iommufd::{Ioas, Iommufd, Library, SharedIoas, Way};
use vm_iommufd_support::*;

const RW: Access = Access::READ_WRITE;
const BASE: u64 = 0x40_0000_0000;

/// An iommufd of this kernel, and one as older kernels have it.
fn each_kind() -> [(Arc<Iommufd>, &'static str); 2] {
    let by_address = iommufd();
    assert!(do_without_map_file(&by_address));
    assert!(!by_address.maps_files());
    [(iommufd(), "by file"), (by_address, "by address")]
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn this_kernel_maps_files() {
    assert!(iommufd().maps_files(), "Linux 6.13 and later do");
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn copies_share_one_pin_and_outlive_the_library() {
    for (iommufd, kind) in each_kind() {
        let memory = memory(16);
        let library = Arc::new(Library::new(&iommufd).unwrap());
        library.add(PhysicalAddress::new(BASE), &memory).unwrap();
        assert!(is_pinned(&iommufd, memory.range(0, 16 * PAGE).unwrap(), 0).unwrap());
        let mut spaces: Vec<_> =
            (0..3).map(|_| SharedIoas::new(Ioas::new(&iommufd).unwrap(), Arc::clone(&library))).collect();
        let devices: Vec<_> =
            spaces.iter().map(|space| MockDevice::attach(space.ioas(), Abilities::All).unwrap()).collect();
        // Scattered pieces side by side: one copy each.
        let pieces = [(12, 2), (3, 1), (0, 2)];
        for space in &mut spaces {
            let mut at = START;
            for (page, pages) in pieces {
                space.map(iova(at), memory.range(page * PAGE, pages * PAGE).unwrap(), RW).unwrap();
                at += pages * PAGE;
            }
            assert_eq!(space.ioas().mappings(), 3);
        }
        library.remove(PhysicalAddress::new(BASE));
        assert!(library.is_empty());
        drop(library);
        for device in &devices {
            let mut at = START;
            for (page, pages) in pieces {
                let piece = memory.range(page * PAGE, pages * PAGE).unwrap();
                assert!(device.sees(iova(at), piece).unwrap(), "{kind}");
                assert!(is_pinned(&iommufd, piece, 1).unwrap(), "{kind}: once for three devices");
                at += pages * PAGE;
            }
        }
        assert!(
            is_pinned(&iommufd, memory.range(4 * PAGE, 8 * PAGE).unwrap(), 0).unwrap(),
            "{kind}: only what is mapped"
        );
        drop((spaces, devices));
        assert!(is_pinned(&iommufd, memory.range(0, 16 * PAGE).unwrap(), 0).unwrap());
        assert_eq!(iommufd.not_destroyed(), 0, "{kind}");
    }
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn memory_that_is_not_in_it_is_mapped_for_itself_and_it_says_why() {
    let iommufd = iommufd();
    let (known, unknown) = (memory(2), memory(2));
    let library = Library::new(&iommufd).unwrap();
    library.add(PhysicalAddress::new(BASE), &known).unwrap();
    let ioas = Ioas::new(&iommufd).unwrap();
    let device = MockDevice::attach(&ioas, Abilities::All).unwrap();
    let part = known.range(PAGE, PAGE).unwrap();
    assert_eq!(library.find(part).unwrap(), Some(PhysicalAddress::new(BASE + PAGE)));
    assert_eq!(library.map(&ioas, iova(START), part, RW).unwrap(), Way::Copied);
    let other = unknown.range(PAGE, PAGE).unwrap();
    assert_eq!(library.find(other).unwrap(), None);
    let Way::Anew { why } = library.map(&ioas, iova(START + PAGE), other, RW).unwrap() else {
        panic!("not there")
    };
    assert!(why.contains("not in the library"), "{why}");
    assert!(device.sees(iova(START), part).unwrap() && device.sees(iova(START + PAGE), other).unwrap());
    let elsewhere = Ioas::new(&Iommufd::open().unwrap()).unwrap();
    let Way::Anew { why } = library.map(&elsewhere, iova(START), part, RW).unwrap() else {
        panic!("another opening")
    };
    assert!(why.contains("another opening"), "{why}");
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn files_have_places_of_their_own() {
    let library = Library::new(&iommufd()).unwrap();
    let (one, other) = (memory(4), memory(4));
    library.add(PhysicalAddress::new(BASE), &one).unwrap();
    let error = library.add(PhysicalAddress::new(BASE + 3 * PAGE), &other).unwrap_err();
    assert_eq!(error.errno(), Errno::EXIST, "{error}");
    let error = library.add(PhysicalAddress::new(BASE + 8 * PAGE), &one).unwrap_err();
    assert!(matches!(error, Error::Argument { .. }), "{error}");
    library.add(PhysicalAddress::new(BASE + 4 * PAGE), &other).unwrap();
    assert_eq!(library.len(), 2);
    library.remove(PhysicalAddress::new(BASE + PAGE));
    assert_eq!(library.len(), 2, "no file begins there");
    library.remove(PhysicalAddress::new(BASE));
    library.add(PhysicalAddress::new(BASE), &one).unwrap();
    let error = library.add(PhysicalAddress::new(u64::MAX - PAGE), &memory(4)).unwrap_err();
    assert!(matches!(error, Error::Argument { .. }), "{error}");
}

/// The kernel looks memory up when a device is attached. A mapping by address must not lead to what this process has there by
/// then, but to the memory that was meant.
#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn a_mapping_leads_to_its_memory_after_the_file_was_dropped() {
    for (iommufd, kind) in each_kind() {
        let ioas = Ioas::new(&iommufd).unwrap();
        let copy = Ioas::new(&iommufd).unwrap();
        let file = memory(4);
        let address = file.range(0, PAGE).unwrap().address();
        let expected = bytes(file.range(0, 4 * PAGE).unwrap());
        ioas.map_memory(iova(START), file.range(0, 4 * PAGE).unwrap(), RW).unwrap();
        copy.copy(&ioas, span(START, 4 * PAGE), iova(START), RW).unwrap();
        drop(file);
        // Something else, at the very addresses if the kernel likes them; it is zero.
        let others: Vec<_> =
            (0..64).map(|_| vcm_linux::memory::MemoryFile::new("other", 4 * PAGE).unwrap()).collect();
        let reused = others.iter().find(|other| other.range(0, PAGE).unwrap().address() == address);
        assert!(reused.is_some(), "{kind}: the test finds nothing out if the addresses are not used again");
        drop(ioas);
        let device = MockDevice::attach(&copy, Abilities::All).unwrap();
        for other in &others {
            assert!(!device.sees(iova(START), other.range(0, 4 * PAGE).unwrap()).unwrap(), "{kind}");
        }
        let mut seen = vec![0; 4 * PAGE as usize];
        MockAccess::new(&copy, Needs::Nothing).unwrap().read(iova(START), &mut seen).unwrap();
        assert_eq!(seen, expected, "{kind}");
    }
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn by_address_is_as_good_as_by_file() {
    for (iommufd, kind) in each_kind() {
        let memory = memory(8);
        let ioas = Ioas::new(&iommufd).unwrap();
        let device = MockDevice::attach(&ioas, Abilities::All).unwrap();
        // Offsets and lengths that are not whole pages of the kernel's: the mock has smaller ones.
        let pieces = [
            (2048, 2048, START),
            (PAGE + 2048, 2 * PAGE, START + 2 * PAGE + 2048),
            (0, 8 * PAGE, START + 16 * PAGE),
        ];
        for (offset, len, at) in pieces {
            let piece = memory.range(offset, len).unwrap();
            ioas.map_memory(iova(at), piece, RW).unwrap();
            assert!(device.sees(iova(at), piece).unwrap(), "{kind}: {len:#x} from {offset:#x} on");
        }
        let error = ioas.map_memory(iova(START), memory.range(0, PAGE).unwrap(), RW).unwrap_err();
        assert_eq!(error.errno(), Errno::EXIST, "{kind}");
        ioas.unmap_all().unwrap();
        assert!(is_pinned(&iommufd, memory.range(0, 8 * PAGE).unwrap(), 0).unwrap(), "{kind}");
    }
}
