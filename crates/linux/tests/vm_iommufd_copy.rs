//! Copies between address spaces, and permissions.

mod vm_iommufd_support;

use rustix::io::Errno;
use vcm::Access;
use vcm_linux::Error;
use vcm_linux::iommufd::Ioas;
use vcm_linux::iommufd::mock::{Abilities, MockAccess, MockDevice, Needs, PAGE as MOCK_PAGE};
use vm_iommufd_support::*;

const RW: Access = Access::READ_WRITE;

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn any_part_of_a_mapping_can_be_copied_and_no_more() {
    let memory = memory(8);
    let source = Ioas::new(&iommufd()).unwrap();
    let target = Ioas::new(source.iommufd()).unwrap();
    let access = MockAccess::new(&target, Needs::Nothing).unwrap();
    source.map_memory(iova(START), memory.range(0, 8 * PAGE).unwrap(), RW).unwrap();
    let last = START + 8 * PAGE - 1;
    for from in (START - PAGE..=last).step_by(511) {
        let asked = span(from, MOCK_PAGE);
        let copied = target.copy(&source, asked, iova(START), RW);
        if from < START || asked.last() > last {
            let error = copied.unwrap_err();
            assert_eq!(error.errno(), Errno::NOENT, "{asked}: {error}");
            assert_eq!(target.mappings(), 0);
            continue;
        }
        copied.unwrap();
        let mut seen = vec![0; MOCK_PAGE as usize];
        access.read(iova(START), &mut seen).unwrap();
        assert_eq!(seen, bytes(memory.range(from - START, MOCK_PAGE).unwrap()), "{asked}");
        target.unmap_span(span(START, MOCK_PAGE)).unwrap();
    }
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn a_copy_outlives_its_source_and_joins_several_mappings() {
    let memory = memory(6);
    let source = Ioas::new(&iommufd()).unwrap();
    let target = Ioas::new(source.iommufd()).unwrap();
    let device = MockDevice::attach(&target, Abilities::All).unwrap();
    // Three mappings side by side, their memory in another order; then one into the same space.
    for (place, page) in [(0, 4), (1, 0), (2, 2)] {
        source.map_memory(iova(place * 2 * PAGE), memory.range(page * PAGE, 2 * PAGE).unwrap(), RW).unwrap();
    }
    target.copy(&source, span(PAGE, 4 * PAGE), iova(START), RW).unwrap();
    target.copy(&target, span(START, PAGE), iova(START + 8 * PAGE), Access::READ).unwrap();
    drop(source);
    for (at, page) in [(0, 5), (1, 0), (2, 1), (3, 2), (8, 5)] {
        assert!(
            device.sees(iova(START + at * PAGE), memory.range(page * PAGE, PAGE).unwrap()).unwrap(),
            "{at}"
        );
    }
    target.unmap_span(span(START, 4 * PAGE)).unwrap();
    assert!(device.sees(iova(START + 8 * PAGE), memory.range(5 * PAGE, PAGE).unwrap()).unwrap());
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn what_is_mapped_for_reading_is_not_written() {
    let memory = memory(1);
    let ioas = Ioas::new(&iommufd()).unwrap();
    let other = Ioas::new(ioas.iommufd()).unwrap();
    let access = MockAccess::new(&ioas, Needs::Nothing).unwrap();
    ioas.map_memory(iova(START), memory.range(0, PAGE).unwrap(), Access::READ).unwrap();
    let mut byte = [0];
    access.read(iova(START + 5), &mut byte).unwrap();
    assert_eq!(byte[0], pattern(5));
    let error = access.write(iova(START + 5), &[1]).unwrap_err();
    assert_eq!(error.errno(), Errno::PERM, "{error}");
    assert_eq!(bytes(memory.range(5, 1).unwrap()), byte);
    // Nor through a copy.
    let error = other.copy(&ioas, span(START, PAGE), iova(START), RW).unwrap_err();
    assert_eq!(error.errno(), Errno::PERM, "{error}");
    other.copy(&ioas, span(START, PAGE), iova(START), Access::READ).unwrap();
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn two_openings_of_iommufd_do_not_mix() {
    let memory = memory(1);
    let (one, other) = (Ioas::new(&iommufd()).unwrap(), Ioas::new(&iommufd()).unwrap());
    one.map_memory(iova(START), memory.range(0, PAGE).unwrap(), RW).unwrap();
    let error = other.copy(&one, span(START, PAGE), iova(START), RW).unwrap_err();
    assert!(matches!(error, Error::Argument { .. }), "{error}");
}

/// Copies crosswise between two spaces in two threads, which must not wait for each other in a circle.
#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn two_threads_copy_crosswise() {
    let memory = memory(2);
    let one = Ioas::new(&iommufd()).unwrap();
    let other = Ioas::new(one.iommufd()).unwrap();
    let devices = [&one, &other].map(|ioas| MockDevice::attach(ioas, Abilities::All).unwrap());
    one.map_memory(iova(START), memory.range(0, PAGE).unwrap(), RW).unwrap();
    other.map_memory(iova(START), memory.range(PAGE, PAGE).unwrap(), RW).unwrap();
    let copy_often = |target: &Ioas, source: &Ioas| {
        for _ in 0..300 {
            target.copy(source, span(START, PAGE), iova(START + PAGE), RW).unwrap();
            target.unmap_span(span(START + PAGE, PAGE)).unwrap();
        }
        target.copy(source, span(START, PAGE), iova(START + PAGE), RW).unwrap();
    };
    std::thread::scope(|scope| {
        scope.spawn(|| copy_often(&one, &other));
        scope.spawn(|| copy_often(&other, &one));
    });
    for (device, first, second) in [(&devices[0], 0, PAGE), (&devices[1], PAGE, 0)] {
        assert!(device.sees(iova(START), memory.range(first, PAGE).unwrap()).unwrap());
        assert!(device.sees(iova(START + PAGE), memory.range(second, PAGE).unwrap()).unwrap());
    }
}
