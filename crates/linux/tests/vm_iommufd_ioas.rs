//! I/O address spaces: what can be mapped, copied and unmapped, judged by the kernel's mock device.

mod vm_iommufd_support;

use rustix::io::Errno;
use vcm::{Access, Span};
use vcm_linux::Error;
use vcm_linux::dma::DmaSpace;
use vcm_linux::iommufd::mock::{
    APERTURE, Abilities, MockDevice, PAGE as MOCK_PAGE, Revoked, add_reserved, mock_dma_buf, set_revoked,
};
use vcm_linux::iommufd::{DmaBuf, Ioas, LargePages};
use vm_iommufd_support::*;

const RW: Access = Access::READ_WRITE;

/// Spaces without a device, with one and with two.
fn with_each_number_of_devices(test: impl Fn(&Ioas, &[MockDevice])) {
    for count in 0..3 {
        let ioas = Ioas::new(&iommufd()).unwrap();
        let devices: Vec<_> =
            (0..count).map(|_| MockDevice::attach(&ioas, Abilities::All).unwrap()).collect();
        test(&ioas, &devices);
        drop(devices);
        let iommufd = ioas.iommufd().clone();
        drop(ioas);
        assert_eq!(iommufd.not_destroyed(), 0, "{count} devices");
    }
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn what_is_mapped_is_seen_and_what_is_unmapped_is_not() {
    let memory = memory(8);
    with_each_number_of_devices(|ioas, devices| {
        for page in 0..8 {
            ioas.map_memory(iova(START + page * PAGE), memory.range((7 - page) * PAGE, PAGE).unwrap(), RW)
                .unwrap();
        }
        for device in devices {
            for page in 0..8 {
                let (at, there) = (iova(START + page * PAGE), memory.range((7 - page) * PAGE, PAGE).unwrap());
                assert!(device.sees(at, there).unwrap());
                assert!(!device.sees(at, memory.range(page * PAGE, PAGE).unwrap()).unwrap());
            }
        }
        for page in (0..8).step_by(2) {
            ioas.unmap_span(span(START + page * PAGE, PAGE)).unwrap();
        }
        assert_eq!(ioas.mappings(), 4);
        for device in devices {
            for page in 0..8 {
                let (at, there) = (iova(START + page * PAGE), memory.range((7 - page) * PAGE, PAGE).unwrap());
                assert_eq!(device.sees(at, there).unwrap(), page % 2 == 1);
            }
        }
        ioas.unmap_all().unwrap();
        ioas.unmap_all().unwrap();
        ioas.unmap_span(span(START, 16 * PAGE)).unwrap();
        assert_eq!(ioas.mappings(), 0);
    });
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn nothing_is_mapped_over_a_mapping() {
    let memory = memory(3);
    with_each_number_of_devices(|ioas, devices| {
        ioas.map_memory(iova(START + 16 * PAGE), memory.range(0, 2 * PAGE).unwrap(), RW).unwrap();
        for (page, pages) in [(16, 2), (16, 1), (17, 1), (15, 2), (15, 3), (17, 3)] {
            let error = ioas
                .map_memory(iova(START + page * PAGE), memory.range(0, pages * PAGE).unwrap(), RW)
                .unwrap_err();
            assert_eq!(error.errno(), Errno::EXIST, "{pages} at {page}: {error}");
        }
        for (page, pages) in [(14, 2), (18, 3)] {
            ioas.map_memory(iova(START + page * PAGE), memory.range(0, pages * PAGE).unwrap(), RW).unwrap();
        }
        for device in devices {
            assert!(device.sees(iova(START + 16 * PAGE), memory.range(0, 2 * PAGE).unwrap()).unwrap());
        }
    });
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn unmapping_takes_whole_mappings_or_nothing() {
    let memory = memory(8);
    with_each_number_of_devices(|ioas, devices| {
        let base = START + 4 * PAGE;
        for piece in 0..4 {
            ioas.map_memory(iova(base + piece * 16 * PAGE), memory.range(0, 8 * PAGE).unwrap(), RW).unwrap();
        }
        let refused = [
            span(base - 4 * PAGE, 8 * PAGE),
            span(base + 52 * PAGE, 8 * PAGE),
            span(base, 4 * PAGE),
            span(base + 2 * PAGE, PAGE),
            // Whole ones in front of one that is cut: the kernel alone would unmap those before it noticed.
            span(base, 50 * PAGE),
        ];
        for span in refused {
            let error = ioas.unmap_span(span).unwrap_err();
            assert!(matches!(error, Error::Argument { .. }), "{span}: {error}");
            assert_eq!(ioas.mappings(), 4);
            for device in devices {
                for piece in 0..4 {
                    let at = iova(base + piece * 16 * PAGE);
                    assert!(device.sees(at, memory.range(0, 8 * PAGE).unwrap()).unwrap(), "{span}");
                }
            }
        }
        ioas.unmap_span(span(base - 4 * PAGE, 44 * PAGE)).unwrap();
        assert_eq!(ioas.mappings(), 1);
    });
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn the_usable_addresses_are_those_of_every_device() {
    let ioas = Ioas::new(&iommufd()).unwrap();
    assert_eq!(ioas.iova_ranges().unwrap(), (vec![Span::ALL], 1));
    let mut holes = Vec::new();
    // More ranges than the first buffer holds.
    for hole in 0..60 {
        let reserved = span(START + (2 * hole + 1) * PAGE, PAGE);
        add_reserved(&ioas, reserved).unwrap();
        holes.push(reserved);
    }
    let (ranges, _) = ioas.iova_ranges().unwrap();
    assert_eq!(ranges.len(), 61);
    for pair in ranges.windows(2) {
        assert_eq!(Span::inclusive(pair[0].last() + 1, pair[1].first() - 1), Some(holes.remove(0)));
    }
    let device = MockDevice::attach(&ioas, Abilities::All).unwrap();
    let (ranges, alignment) = ioas.iova_ranges().unwrap();
    assert_eq!((ranges.len(), alignment), (61, MOCK_PAGE));
    assert_eq!((ranges[0].first(), ranges[60].last()), APERTURE);
    assert_eq!(DmaSpace::page_sizes(&ioas).unwrap().smallest(), PAGE);
    drop(device);
    assert_eq!(ioas.iova_ranges().unwrap().1, 1);
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn nothing_is_mapped_outside_of_them() {
    let memory = memory(2);
    let ioas = Ioas::new(&iommufd()).unwrap();
    let _device = MockDevice::attach(&ioas, Abilities::All).unwrap();
    add_reserved(&ioas, span(START + 8 * PAGE, PAGE)).unwrap();
    for at in [START - PAGE, APERTURE.1 + 1, START + 8 * PAGE, START + 7 * PAGE, 0] {
        let error = ioas.map_memory(iova(at), memory.range(0, 2 * PAGE).unwrap(), RW).unwrap_err();
        assert_eq!(error.errno(), Errno::INVAL, "{at:#x}: {error}");
    }
    let error = ioas.map_memory(iova(START + 1), memory.range(0, PAGE).unwrap(), RW).unwrap_err();
    assert_eq!(error.errno(), Errno::INVAL, "{error}");
    assert_eq!(ioas.mappings(), 0);
    ioas.map_memory(iova(START + 6 * PAGE), memory.range(0, 2 * PAGE).unwrap(), RW).unwrap();
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn what_is_allowed_stays_usable() {
    let ioas = Ioas::new(&iommufd()).unwrap();
    let promised = span(START, 600 * PAGE);
    ioas.allow(&[promised]).unwrap();
    let error = add_reserved(&ioas, span(START + PAGE, PAGE)).unwrap_err();
    assert_eq!(error.errno(), Errno::ADDRINUSE);
    // One that no mock device has.
    ioas.allow(&[span(0, 2 * PAGE)]).unwrap();
    let error = MockDevice::attach(&ioas, Abilities::All).unwrap_err();
    assert_eq!(error.errno(), Errno::ADDRINUSE, "{error}");
    ioas.allow(&[]).unwrap();
    add_reserved(&ioas, span(START + PAGE, PAGE)).unwrap();
    let error = ioas.allow(&[promised]).unwrap_err();
    assert_eq!(error.errno(), Errno::ADDRINUSE, "{error}");
    ioas.allow(&[span(START + 2 * PAGE, PAGE)]).unwrap();
    let _device = MockDevice::attach(&ioas, Abilities::All).unwrap();
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn a_device_that_cannot_reach_a_mapping_is_not_attached() {
    let memory = memory(2);
    let ioas = Ioas::new(&iommufd()).unwrap();
    ioas.map_memory(iova(PAGE), memory.range(0, PAGE).unwrap(), RW).unwrap();
    let error = MockDevice::attach(&ioas, Abilities::All).unwrap_err();
    assert_eq!(error.errno(), Errno::ADDRINUSE, "{error}");
    ioas.unmap_all().unwrap();
    // Half a page of the mock's, in memory or in length: only as long as no device is there.
    ioas.map_memory(iova(START), memory.range(0, 1024).unwrap(), RW).unwrap();
    let error = MockDevice::attach(&ioas, Abilities::All).unwrap_err();
    assert_eq!(error.errno(), Errno::ADDRINUSE, "{error}");
    ioas.unmap_all().unwrap();
    ioas.map_memory(iova(START), memory.range(MOCK_PAGE, MOCK_PAGE).unwrap(), RW).unwrap();
    let device = MockDevice::attach(&ioas, Abilities::All).unwrap();
    assert!(device.sees(iova(START), memory.range(MOCK_PAGE, MOCK_PAGE).unwrap()).unwrap());
    let error = ioas.map_memory(iova(START + PAGE), memory.range(0, 1024).unwrap(), RW).unwrap_err();
    assert_eq!(error.errno(), Errno::INVAL, "{error}");
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn an_access_that_the_kernel_knows_nothing_of_is_refused() {
    let memory = memory(1);
    let ioas = Ioas::new(&iommufd()).unwrap();
    for access in [Access::empty(), Access::EXECUTE, Access::all()] {
        let error = ioas.map_memory(iova(START), memory.range(0, PAGE).unwrap(), access).unwrap_err();
        assert!(matches!(error, Error::Argument { .. }), "{access}: {error}");
    }
    let error = ioas.map_memory(iova(u64::MAX - PAGE + 2), memory.range(0, PAGE).unwrap(), RW).unwrap_err();
    assert!(matches!(error, Error::Argument { .. }), "{error}");
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn large_pages_can_be_kept_apart() {
    let memory = memory(2);
    let ioas = Ioas::new(&iommufd()).unwrap();
    assert_eq!(ioas.large_pages().unwrap(), LargePages::Joined);
    ioas.set_large_pages(LargePages::Apart).unwrap();
    assert_eq!(ioas.large_pages().unwrap(), LargePages::Apart);
    assert_eq!(ioas.iova_ranges().unwrap().1, PAGE);
    let error = ioas.map_memory(iova(START), memory.range(MOCK_PAGE, PAGE).unwrap(), RW).unwrap_err();
    assert_eq!(error.errno(), Errno::INVAL, "{error}");
    ioas.set_large_pages(LargePages::Joined).unwrap();
    ioas.map_memory(iova(START), memory.range(MOCK_PAGE, PAGE).unwrap(), RW).unwrap();
    let error = ioas.set_large_pages(LargePages::Apart).unwrap_err();
    assert_eq!(error.errno(), Errno::ADDRINUSE, "{error}");
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn a_device_moves_between_spaces_without_a_moment_between() {
    let memory = memory(2);
    let one = Ioas::new(&iommufd()).unwrap();
    let other = Ioas::new(one.iommufd()).unwrap();
    one.map_memory(iova(START), memory.range(0, PAGE).unwrap(), RW).unwrap();
    other.map_memory(iova(START), memory.range(PAGE, PAGE).unwrap(), RW).unwrap();
    let mut device = MockDevice::attach(&one, Abilities::All).unwrap();
    assert!(device.sees(iova(START), memory.range(0, PAGE).unwrap()).unwrap());
    device.replace_with(&other).unwrap();
    assert!(device.sees(iova(START), memory.range(PAGE, PAGE).unwrap()).unwrap());
    assert!(!one.is_attached() && other.is_attached());
    drop(other);
    assert!(device.sees(iova(START), memory.range(PAGE, PAGE).unwrap()).unwrap(), "what is attached stays");
    let iommufd = one.iommufd().clone();
    drop((device, one));
    assert_eq!(iommufd.not_destroyed(), 0);
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn a_devices_memory_is_mapped_until_it_is_taken_away() {
    const LEN: u64 = 4 * PAGE;
    let ioas = Ioas::new(&iommufd()).unwrap();
    let _device = MockDevice::attach(&ioas, Abilities::All).unwrap();
    let exported = mock_dma_buf(ioas.iommufd(), LEN as u32).unwrap();
    let memory = DmaBuf::new(rustix::fd::AsFd::as_fd(&exported), LEN);
    for (offset, len) in [(0, 0), (LEN, PAGE), (PAGE, LEN), (u64::MAX, PAGE)] {
        let error = ioas.map_dma_buf(iova(START), memory, offset, len, RW).unwrap_err();
        assert_eq!(error.errno(), Errno::INVAL, "{error}");
    }
    // One that says to be longer than it is.
    let longer = DmaBuf::new(memory.descriptor(), 2 * LEN);
    assert_eq!(ioas.map_dma_buf(iova(START), longer, 0, 2 * LEN, RW).unwrap_err().errno(), Errno::INVAL);
    ioas.map_dma_buf(iova(START), memory, 0, LEN, RW).unwrap();
    set_revoked(ioas.iommufd(), &exported, Revoked::Yes).unwrap();
    let error = ioas.map_dma_buf(iova(START + LEN), memory, 0, LEN, RW).unwrap_err();
    assert_eq!(error.errno(), Errno::NODEV, "{error}");
    set_revoked(ioas.iommufd(), &exported, Revoked::No).unwrap();
    ioas.map_dma_buf(iova(START + LEN), memory, PAGE, PAGE, RW).unwrap();
    ioas.unmap_all().unwrap();
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn huge_pages_and_addresses_above_them_are_mapped_by_the_file() {
    let memory = memory(2048);
    let ioas = Ioas::new(&iommufd()).unwrap();
    let device = MockDevice::attach(&ioas, Abilities::All).unwrap();
    let all = memory.range(0, 2048 * PAGE).unwrap();
    ioas.map_memory(iova(START + PAGE), all, RW).unwrap();
    assert!(device.sees(iova(START + PAGE), all).unwrap());
    ioas.unmap_all().unwrap();
    assert!(!device.sees(iova(START + PAGE), memory.range(0, PAGE).unwrap()).unwrap());
}
