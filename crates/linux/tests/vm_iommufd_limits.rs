//! How much may be pinned: what is over the limit is refused with the numbers, and nothing has changed then.

mod vm_iommufd_support;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use std::sync::Arc;
use vcm::{Access, PhysicalAddress};
use vcm_linux::Error;
use vcm_linux::iommufd::mock::{Abilities, MockDevice, is_pinned};
use vcm_linux::iommufd::{Accounting, Hwpt, HwptRequest, Ioas, Iommufd, Library};
use vm_iommufd_support::*;

const RW: Access = Access::READ_WRITE;
const MIB: u64 = 1 << 20;

/// As most programs are: without the capability to lock what they like, and with a limit of `bytes`.
fn limited_to(bytes: u64) {
    let mut sets = capabilities(None).unwrap();
    sets.effective.remove(CapabilitySet::IPC_LOCK);
    set_capabilities(None, sets).unwrap();
    set_limit(bytes);
}

fn set_limit(bytes: u64) {
    let maximum = getrlimit(Resource::Memlock).maximum;
    setrlimit(Resource::Memlock, Rlimit { current: Some(bytes), maximum }).unwrap();
}

/// Both ways of counting.
fn each_accounting(test: impl Fn(&Arc<Iommufd>, Accounting)) {
    for accounting in [Accounting::User, Accounting::Process] {
        let iommufd = iommufd();
        iommufd.set_accounting(accounting).unwrap();
        assert_eq!(iommufd.accounting().unwrap(), accounting);
        test(&iommufd, accounting);
        assert_eq!(status_bytes("VmPin"), 0, "{accounting:?}");
    }
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn a_mapping_over_the_limit_is_refused_with_the_numbers() {
    limited_to(2 * MIB);
    each_accounting(|iommufd, accounting| {
        let memory = memory(1024);
        let ioas = Ioas::new(iommufd).unwrap();
        let device = MockDevice::attach(&ioas, Abilities::All).unwrap();
        ioas.map_memory(iova(START), memory.range(0, MIB).unwrap(), RW).unwrap();
        assert_eq!(status_bytes("VmPin"), MIB);
        let more = memory.range(MIB, MIB + PAGE).unwrap();
        let error = ioas.map_memory(iova(START + MIB), more, RW).unwrap_err();
        let Error::LockedMemory { needed, pinned, limit } = error else { panic!("{accounting:?}: {error}") };
        assert_eq!((needed, pinned, limit), (MIB + PAGE, MIB, 2 * MIB), "{accounting:?}");
        let text = error.to_string();
        assert!(text.contains("ulimit -l 2052") && text.contains("LimitMEMLOCK=2101248"), "{text}");
        // Nothing has changed.
        assert_eq!((status_bytes("VmPin"), ioas.mappings()), (MIB, 1));
        assert!(is_pinned(iommufd, more, 0).unwrap());
        assert!(!device.sees(iova(START + MIB), memory.range(MIB, PAGE).unwrap()).unwrap());
        // What the message says is what helps.
        set_limit(2_101_248);
        ioas.map_memory(iova(START + MIB), more, RW).unwrap();
        set_limit(2 * MIB);
    });
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn attaching_over_the_limit_is_refused_with_the_numbers() {
    limited_to(MIB);
    each_accounting(|iommufd, accounting| {
        let memory = memory(1024);
        let ioas = Ioas::new(iommufd).unwrap();
        // Without a device nothing is pinned, and any length goes.
        ioas.map_memory(iova(START), memory.range(0, 4 * MIB).unwrap(), RW).unwrap();
        let error = MockDevice::attach(&ioas, Abilities::All).unwrap_err();
        let Error::LockedMemory { needed, pinned, limit } = error else { panic!("{accounting:?}: {error}") };
        assert_eq!((needed, pinned, limit), (4 * MIB, 0, MIB));
        assert!(!ioas.is_attached());
        assert!(is_pinned(iommufd, memory.range(0, 4 * MIB).unwrap(), 0).unwrap());
        set_limit(4 * MIB);
        let device = MockDevice::attach(&ioas, Abilities::All).unwrap();
        assert!(device.sees(iova(START), memory.range(0, 4 * MIB).unwrap()).unwrap());
        set_limit(MIB);
        // A second page table of the same memory costs nothing more.
        Hwpt::new(&ioas, device.device(), &HwptRequest::default()).unwrap();
    });
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn many_devices_count_once_through_the_library() {
    limited_to(MIB);
    each_accounting(|iommufd, accounting| {
        let memory = memory(256);
        let library = Library::new(iommufd).unwrap();
        library.add(PhysicalAddress::new(1 << 40), &memory).unwrap();
        let all = memory.range(0, MIB).unwrap();
        let spaces: Vec<_> = (0..4).map(|_| Ioas::new(iommufd).unwrap()).collect();
        let devices: Vec<_> =
            spaces.iter().map(|ioas| MockDevice::attach(ioas, Abilities::All).unwrap()).collect();
        for ioas in &spaces {
            library.map(ioas, iova(START), all, RW).unwrap();
        }
        assert!(devices.iter().all(|device| device.sees(iova(START), all).unwrap()));
        assert_eq!(status_bytes("VmPin"), MIB, "{accounting:?}");
        // Mapped for itself the same memory counts again.
        let error = spaces[0].map_memory(iova(START + MIB), all, RW).unwrap_err();
        assert!(matches!(error, Error::LockedMemory { needed: MIB, pinned: MIB, limit: MIB }), "{error}");
    });
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn what_cannot_fit_is_refused_before_anything_is_brought_in() {
    limited_to(MIB);
    let ioas = Ioas::new(&iommufd()).unwrap();
    // A sparse file: none of its pages is there yet.
    let file = vcm_linux::memory::MemoryFile::new("sparse", 1 << 30).unwrap();
    let _device = MockDevice::attach(&ioas, Abilities::All).unwrap();
    let error = ioas.map_memory(iova(START), file.range(0, 1 << 30).unwrap(), RW).unwrap_err();
    assert!(matches!(error, Error::LockedMemory { needed: 0x4000_0000, limit: MIB, .. }), "{error}");
    assert_eq!(rustix::fs::fstat(&file).unwrap().st_blocks, 0, "no page was made for it");
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn who_may_lock_all_has_no_limit() {
    set_limit(PAGE);
    let memory = memory(512);
    let ioas = Ioas::new(&iommufd()).unwrap();
    let _device = MockDevice::attach(&ioas, Abilities::All).unwrap();
    ioas.map_memory(iova(START), memory.range(0, 2 * MIB).unwrap(), RW).unwrap();
    assert_eq!(status_bytes("VmPin"), 2 * MIB, "it is shown all the same");
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn the_way_of_counting_is_chosen_before_anything_else_and_by_who_may() {
    let iommufd = iommufd();
    assert_eq!(iommufd.accounting().unwrap(), Accounting::User);
    let ioas = Ioas::new(&iommufd).unwrap();
    let error = iommufd.set_accounting(Accounting::Process).unwrap_err();
    assert!(error.to_string().contains("before the first"), "{error}");
    drop(ioas);
    let mut sets = capabilities(None).unwrap();
    sets.effective.remove(CapabilitySet::SYS_RESOURCE);
    set_capabilities(None, sets).unwrap();
    let error = iommufd.set_accounting(Accounting::Process).unwrap_err();
    assert!(error.to_string().contains("CAP_SYS_RESOURCE"), "{error}");
    assert_eq!(iommufd.accounting().unwrap(), Accounting::User);
}
