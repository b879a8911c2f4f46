//! Accesses from within the kernel: pinning, reading and writing, and unmapping under them.

mod vm_iommufd_support;

use rustix::io::Errno;
use vcm::Access;
use vcm_linux::iommufd::Ioas;
use vcm_linux::iommufd::mock::{
    Abilities, MockAccess, MockDevice, Needs, PAGE as MOCK_PAGE, is_pinned, set_batch_limit,
};
use vm_iommufd_support::*;

const RW: Access = Access::READ_WRITE;

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn pages_are_pinned_by_the_first_device_only_and_once() {
    let memory = memory(4);
    let all = memory.range(0, 4 * PAGE).unwrap();
    let iommufd = iommufd();
    let pinned = |count| is_pinned(&iommufd, all, count).unwrap();
    let one = Ioas::new(&iommufd).unwrap();
    let other = Ioas::new(&iommufd).unwrap();
    one.map_memory(iova(START), all, RW).unwrap();
    other.copy(&one, span(START, 4 * PAGE), iova(START + PAGE), RW).unwrap();
    assert!(pinned(0), "mapping alone pins nothing");
    let first = MockDevice::attach(&one, Abilities::All).unwrap();
    assert!(pinned(1));
    let second = MockDevice::attach(&other, Abilities::All).unwrap();
    let third = MockDevice::attach(&one, Abilities::All).unwrap();
    assert!(pinned(1), "a copy shares the pins");
    let apart = Ioas::new(&iommufd).unwrap();
    let fourth = MockDevice::attach(&apart, Abilities::All).unwrap();
    apart.map_memory(iova(START), all, RW).unwrap();
    assert!(pinned(2), "a mapping that was made anew has pins of its own");
    drop((first, third));
    assert!(pinned(2), "the copy needs them still");
    drop(fourth);
    assert!(pinned(1));
    drop(second);
    assert!(pinned(0));
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn an_access_pins_any_pages_of_a_mapping() {
    const PAGES: u64 = 16;
    let memory = memory(PAGES);
    let ioas = Ioas::new(&iommufd()).unwrap();
    let access = MockAccess::new(&ioas, Needs::Pages).unwrap();
    for pages in 1..PAGES {
        let part = memory.range(0, pages * PAGE).unwrap();
        ioas.map_memory(iova(START), memory.range(0, PAGES * PAGE).unwrap(), RW).unwrap();
        let one = access.pin(iova(START), part, RW).unwrap();
        let two = access.pin(iova(START), part, RW).unwrap();
        assert!(is_pinned(ioas.iommufd(), part, 1).unwrap(), "two users, one pin");
        assert!(is_pinned(ioas.iommufd(), memory.range(pages * PAGE, PAGE).unwrap(), 0).unwrap());
        assert!(access.unpin(one).unwrap());
        // A device comes and goes while an access has some of the pages.
        let device = MockDevice::attach(&ioas, Abilities::All).unwrap();
        assert!(device.sees(iova(START), memory.range(0, PAGES * PAGE).unwrap()).unwrap());
        drop(device);
        assert!(is_pinned(ioas.iommufd(), part, 1).unwrap());
        assert!(access.unpin(two).unwrap());
        assert!(!access.unpin(two).unwrap());
        assert!(is_pinned(ioas.iommufd(), part, 0).unwrap());
        ioas.unmap_span(span(START, PAGES * PAGE)).unwrap();
    }
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn unmapping_takes_the_pages_from_who_pinned_them() {
    let memory = memory(4);
    let all = memory.range(0, 4 * PAGE).unwrap();
    let ioas = Ioas::new(&iommufd()).unwrap();
    let access = MockAccess::new(&ioas, Needs::Pages).unwrap();
    let device = MockDevice::attach(&ioas, Abilities::All).unwrap();
    ioas.map_memory(iova(START), all, RW).unwrap();
    let pinned = access.pin(iova(START), all, RW).unwrap();
    ioas.unmap_span(span(START, 4 * PAGE)).unwrap();
    assert!(!access.unpin(pinned).unwrap(), "the kernel did it");
    assert!(is_pinned(ioas.iommufd(), all, 0).unwrap());
    assert!(!device.sees(iova(START), all).unwrap());
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn what_is_pinned_is_compared_and_checked() {
    let memory = memory(4);
    let ioas = Ioas::new(&iommufd()).unwrap();
    let access = MockAccess::new(&ioas, Needs::Pages).unwrap();
    ioas.map_memory(iova(START), memory.range(0, 2 * PAGE).unwrap(), Access::READ).unwrap();
    let others = memory.range(2 * PAGE, 2 * PAGE).unwrap();
    assert_eq!(
        access.pin(iova(START), others, Access::READ).unwrap_err().errno().raw_os_error(),
        52,
        "EBADE"
    );
    let more = memory.range(0, 3 * PAGE).unwrap();
    assert_eq!(access.pin(iova(START), more, Access::READ).unwrap_err().errno(), Errno::NOENT);
    let all = memory.range(0, 2 * PAGE).unwrap();
    assert_eq!(access.pin(iova(START), all, RW).unwrap_err().errno(), Errno::PERM);
    assert!(is_pinned(ioas.iommufd(), all, 0).unwrap());
    access.pin(iova(START), all, Access::READ).unwrap();
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn bytes_go_both_ways_at_any_address() {
    let memory = memory(3);
    for (attached, at) in
        [(false, START), (true, START), (false, START + MOCK_PAGE), (true, START + MOCK_PAGE)]
    {
        let ioas = Ioas::new(&iommufd()).unwrap();
        let access = MockAccess::new(&ioas, Needs::Nothing).unwrap();
        let _device = attached.then(|| MockDevice::attach(&ioas, Abilities::All).unwrap());
        ioas.map_memory(iova(at), memory.range(0, 3 * PAGE).unwrap(), RW).unwrap();
        for from in (PAGE - 20..PAGE + 20).step_by(3) {
            for len in [1, 2, 7, 16, 33] {
                let mut seen = vec![0; len];
                access.read(iova(at + from), &mut seen).unwrap();
                assert_eq!(seen, bytes(memory.range(from, len as u64).unwrap()), "{len} at {from:#x}");
                let other: Vec<u8> = seen.iter().map(|byte| byte ^ 0x5a).collect();
                access.write(iova(at + from), &other).unwrap();
                assert_eq!(other, bytes(memory.range(from, len as u64).unwrap()), "{len} at {from:#x}");
            }
        }
        let mut all = vec![0; 3 * PAGE as usize];
        access.read(iova(at), &mut all).unwrap();
        assert_eq!(all, bytes(memory.range(0, 3 * PAGE).unwrap()));
        let past = access.read(iova(at + 3 * PAGE - 1), &mut [0; 2]).unwrap_err();
        assert_eq!(past.errno(), Errno::NOENT, "{past}");
    }
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn an_access_moves_to_another_space() {
    let memory = memory(2);
    let one = Ioas::new(&iommufd()).unwrap();
    let other = Ioas::new(one.iommufd()).unwrap();
    one.map_memory(iova(START), memory.range(0, PAGE).unwrap(), RW).unwrap();
    other.map_memory(iova(START), memory.range(PAGE, PAGE).unwrap(), RW).unwrap();
    let mut access = MockAccess::new(&one, Needs::Nothing).unwrap();
    let mut byte = [0];
    for (space, offset) in [(&other, PAGE), (&one, 0)] {
        access.replace(space).unwrap();
        access.read(iova(START + 9), &mut byte).unwrap();
        assert_eq!(byte[0], pattern(offset + 9));
    }
}

/// The kernel reads pages in batches; small ones make it take every way that it has.
#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn batches_of_any_size_come_to_the_same() {
    let memory = memory(70);
    let all = memory.range(0, 70 * PAGE).unwrap();
    let iommufd = iommufd();
    for limit in [16, 24, 100, 4096] {
        set_batch_limit(&iommufd, limit).unwrap();
        let ioas = Ioas::new(&iommufd).unwrap();
        let device = MockDevice::attach(&ioas, Abilities::All).unwrap();
        ioas.map_memory(iova(START + MOCK_PAGE), all, RW).unwrap();
        let second = MockDevice::attach(&ioas, Abilities::All).unwrap();
        let seen = (
            device.sees(iova(START + MOCK_PAGE), all).unwrap(),
            second.sees(iova(START + MOCK_PAGE), all).unwrap(),
        );
        ioas.unmap_all().unwrap();
        set_batch_limit(&iommufd, 65536).unwrap();
        assert_eq!(seen, (true, true), "{limit} bytes");
        assert!(is_pinned(&iommufd, all, 0).unwrap());
    }
}
