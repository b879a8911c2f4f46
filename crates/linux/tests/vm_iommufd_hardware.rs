//! A device behind an IOMMU that is not a mock: what the kernel says of it, and what it cannot do.

mod vm_iommufd_support;

use rustix::fd::AsFd;
use std::fs;
use std::path::Path;
use vcm::{Access, Span};
use vcm_linux::Error;
use vcm_linux::dma::DmaSpace;
use vcm_linux::iommufd::{DirtyTracking, HardwareKind, Hwpt, HwptRequest, Ioas};
use vcm_linux::vfio::{Device, DeviceName, Opening};
use vm_iommufd_support::*;

const DEVICE: &str = "0000:00:04.0";

/// A device of the machine, bound to vfio-pci and to an iommufd.
fn device(ioas: &Ioas) -> Device {
    let folder = Path::new("/sys/bus/pci/devices").join(DEVICE);
    fs::write(folder.join("driver_override"), "vfio-pci").unwrap();
    fs::write("/sys/bus/pci/drivers_probe", DEVICE).unwrap();
    let opening = Opening::Cdev { iommufd: ioas.iommufd().as_fd() };
    Device::open(&DeviceName::new(DEVICE).unwrap(), opening).unwrap()
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn vt_d_tells_its_registers_and_that_it_tracks_nothing() {
    let ioas = Ioas::new(&iommufd()).unwrap();
    let device = device(&ioas);
    let id = device.iommufd_id().unwrap();
    let info = ioas.iommufd().hardware_info(id).unwrap();
    let HardwareKind::IntelVtd { capability, extended_capability, .. } = info.kind else {
        panic!("{info:?}")
    };
    // Intel VT-d specification, 11.4.2 and 11.4.3: ND of the one, C (page-walk coherency) or QI of the other.
    assert!(capability & 0b111 >= 2, "at least 256 domains: {capability:#x}");
    assert!(extended_capability & 0b11 != 0, "{extended_capability:#x}");
    assert!(!info.dirty_tracking);
    let tracked = HwptRequest { dirty_tracking: DirtyTracking::On, faults: None };
    let error = Hwpt::new(&ioas, id, &tracked).unwrap_err();
    assert!(matches!(error, Error::NotSupported { .. }), "{error:?}");
    let plain = Hwpt::new(&ioas, id, &HwptRequest::default()).unwrap();
    let error = plain.set_dirty_tracking(DirtyTracking::On).unwrap_err();
    assert!(matches!(error, Error::NotSupported { .. }), "{error:?}");
    assert_eq!(device.attach(plain.id()).unwrap(), plain.id());
    device.detach().unwrap();
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn the_window_of_message_interrupts_is_not_usable() {
    let mut ioas = Ioas::new(&iommufd()).unwrap();
    assert_eq!(ioas.usable().unwrap(), [Span::ALL]);
    let device = device(&ioas);
    device.attach_ioas(&ioas).unwrap();
    let window = span(0xfee0_0000, 0x10_0000);
    let usable = ioas.usable().unwrap();
    assert!(usable.len() >= 2, "{usable:?}");
    assert!(usable.iter().all(|span| !span.overlaps(window)), "{usable:?}");
    let memory = memory(1);
    let all = memory.range(0, PAGE).unwrap();
    ioas.map(iova(window.first()), all, Access::READ_WRITE).unwrap_err();
    ioas.map(iova(window.first() - PAGE), all, Access::READ_WRITE).unwrap();
    assert_eq!(ioas.page_sizes().unwrap().smallest(), PAGE);
    let last = usable.last().unwrap();
    ioas.map(iova(last.last() - (PAGE - 1)), all, Access::READ_WRITE).unwrap();
    device.detach().unwrap();
    assert_eq!(ioas.usable().unwrap(), [Span::ALL]);
}
