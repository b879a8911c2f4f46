//! DMA through address spaces of either kind, with real bytes.

mod vm_vfio_support;

use rustix::io::Errno;
use std::os::fd::AsFd;
use vcm::{Access, Iova, Span};
use vcm_linux::Error;
use vcm_linux::dma::DmaSpace;
use vcm_linux::iommufd::{DmaBuf, Ioas};
use vcm_linux::memory::MemoryFile;
use vcm_linux::vfio::{Container, Device, DirtyTracking, Feature, Opening, Way};
use vm_vfio_support::edu::{Edu, LIVENESS};
use vm_vfio_support::nvme::{self, Nvme};
use vm_vfio_support::{EDU, NVME, Space, bind, bytes, has_iommufd, name, pattern, ways};

const MIB: u64 = 1 << 20;

/// Through the device's buffer and back, at two addresses, above and below 4 GiB.
#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn bytes_go_both_ways() {
    for way in ways() {
        let mut space = Space::new(way);
        let device = space.open(EDU[0]);
        let mut edu = Edu::new(&device);
        let memory = MemoryFile::new("dma", MIB).unwrap();
        memory.write(0, &pattern(3, 4096)).unwrap();
        for (at, to) in [(0x30_0000, 0x1000), (0x12_3450_0000, 0x2000)] {
            space.map(at, &memory);
            edu.load(at, 0, 4096);
            edu.store(at + to, 0, 4096);
            assert_eq!(bytes(&memory, to, 4096), pattern(3, 4096), "{way} at {at:#x}");
        }
    }
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn two_devices_see_the_same_memory() {
    for way in ways() {
        let mut space = Space::new(way);
        let devices = EDU.map(|name| space.open(name));
        let [mut first, mut second] = [Edu::new(&devices[0]), Edu::new(&devices[1])];
        let memory = MemoryFile::new("dma", MIB).unwrap();
        memory.write(0, &pattern(5, 1024)).unwrap();
        space.map(0x40_0000, &memory);
        first.load(0x40_0000, 0, 1024);
        first.store(0x40_0000 + 0x1_0000, 0, 1024);
        second.load(0x40_0000 + 0x1_0000, 0, 1024);
        second.store(0x40_0000 + 0x2_0000, 0, 1024);
        assert_eq!(bytes(&memory, 0x2_0000, 1024), pattern(5, 1024), "{way}");
        if let Space::Container(container) = &space {
            assert_eq!(container.group_numbers().len(), 2);
        }
    }
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn what_is_not_mapped_is_not_written() {
    for way in ways() {
        let mut space = Space::new(way);
        let device = space.open(EDU[0]);
        let mut edu = Edu::new(&device);
        let memory = MemoryFile::new("dma", MIB).unwrap();
        memory.write(0, &pattern(1, MIB as usize)).unwrap();
        space.map(0x100_0000, &memory);
        edu.load(0x100_0000, 0, 256);
        space.unmap(0x100_0000, MIB);
        edu.store(0x100_0100, 0, 256);
        assert_eq!(bytes(&memory, 0, MIB as usize), pattern(1, MIB as usize), "{way}");
        // Mapped for reading only: neither.
        let range = memory.range(0, MIB).unwrap();
        space.dma().map(Iova::new(0x100_0000), range, Access::READ).unwrap();
        edu.store(0x100_0100, 0, 256);
        assert_eq!(bytes(&memory, 0, MIB as usize), pattern(1, MIB as usize), "{way}");
    }
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn overlaps_and_halves_are_refused() {
    for way in ways() {
        let mut space = Space::new(way);
        let _device = space.open(EDU[0]);
        let memory = MemoryFile::new("dma", MIB).unwrap();
        space.map(0x100_0000, &memory);
        let range = memory.range(0, MIB).unwrap();
        let dma = space.dma();
        for at in [0x100_0000, 0x10f_f000, 0xf0_1000] {
            let exists = dma.map(Iova::new(at), range, Access::READ_WRITE).unwrap_err();
            assert_eq!(exists.errno(), Errno::EXIST, "{way}: {exists}");
        }
        assert!(dma.unmap(Span::new(0x100_0000, 4096).unwrap()).is_err());
        assert!(dma.unmap(Span::new(0x101_0000, MIB).unwrap()).is_err());
        // The whole is still there, and goes with holes around it.
        assert_eq!(dma.map(Iova::new(0x100_0000), range, Access::READ).unwrap_err().errno(), Errno::EXIST);
        dma.unmap(Span::new(0x80_0000, 4 * 4 * MIB).unwrap()).unwrap();
        dma.map(Iova::new(0x100_0000), range, Access::READ_WRITE).unwrap();
        dma.unmap(Span::ALL).unwrap();
        dma.map(Iova::new(0x100_0000), range, Access::READ_WRITE).unwrap();
    }
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn a_container_tells_its_bounds() {
    bind(EDU[0]);
    let mut container = Container::new().unwrap();
    let memory = MemoryFile::new("dma", MIB).unwrap();
    let range = memory.range(0, MIB).unwrap();
    // Nobody has joined: there is no address space yet.
    assert!(matches!(container.usable(), Err(Error::Argument { .. })));
    assert!(matches!(container.map(Iova::new(0), range, Access::READ), Err(Error::Argument { .. })));
    assert_eq!(container.mappings_left(), None);

    let device = Device::open(&name(EDU[0]), Opening::Group { container: &container }).unwrap();
    let usable = container.usable().unwrap();
    println!("{usable:?}, pages {:?}", container.page_sizes().unwrap());
    // The window for message interrupts is left out.
    let messages = Span::inclusive(0xfee0_0000, 0xfeef_ffff).unwrap();
    assert!(usable.len() >= 2 && usable.iter().all(|span| !span.overlaps(messages)), "{usable:?}");
    assert_eq!(container.page_sizes().unwrap().smallest(), 4096);
    let outside = container.map(Iova::new(0xfee0_0000), range, Access::READ).unwrap_err();
    assert_eq!(outside.errno(), Errno::INVAL);

    let left = container.mappings_left().unwrap();
    assert_eq!(left, 65_535);
    for index in 0..100 {
        container.map(Iova::new(0x100_0000 + index * MIB), range, Access::READ).unwrap();
    }
    assert_eq!(container.mappings_left(), Some(left - 100));
    container.unmap_all().unwrap();
    assert_eq!(container.mappings_left(), Some(left));

    for (at, access) in
        [(0x100_0800, Access::READ), (0x100_0000, Access::empty()), (u64::MAX - 0xfff, Access::READ)]
    {
        assert!(
            matches!(container.map(Iova::new(at), range, access), Err(Error::Argument { .. })),
            "{at:#x}"
        );
    }
    assert!(matches!(
        container.map(Iova::new(0x100_0000), range, Access::all()),
        Err(Error::NotSupported { .. })
    ));
    // Mappings stay when a device is closed, and go with its group.
    container.map(Iova::new(0x100_0000), range, Access::READ).unwrap();
    drop(device);
    assert_eq!(container.mappings_left(), Some(left - 1));
    container.close_unused_groups();
    assert_eq!(container.mappings_left(), None);
    let _device = Device::open(&name(EDU[0]), Opening::Group { container: &container }).unwrap();
    assert_eq!(container.mappings_left(), Some(left));
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn a_container_reports_what_may_be_dirty() {
    let mut space = Space::new(Way::Group);
    let _device = space.open(EDU[0]);
    let memory = MemoryFile::new("dma", MIB).unwrap();
    space.map(0x100_0000, &memory);
    let Space::Container(container) = &mut space else { unreachable!() };
    let span = Span::new(0x100_0000, MIB).unwrap();
    assert_eq!(container.dirty(span).unwrap_err().errno(), Errno::INVAL);
    container.set_dirty_tracking(DirtyTracking::On).unwrap();
    // Nothing in the kernel knows better: everything that can be written.
    assert_eq!(container.dirty(span).unwrap(), [span]);
    assert!(matches!(container.dirty(Span::new(0x100_0800, 4096).unwrap()), Err(Error::Argument { .. })));
    assert!(matches!(container.dirty(Span::ALL), Err(Error::Argument { .. })));
    container.set_dirty_tracking(DirtyTracking::Off).unwrap();
}

/// The other address space is the device's from one access to the next, and the way back too.
#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn an_attached_device_moves_to_another_space() {
    if !has_iommufd() {
        // Containers have no such thing.
        return;
    }
    let mut space = Space::new(Way::Cdev);
    let device = space.open(EDU[0]);
    let mut edu = Edu::new(&device);
    let [first, second] = [1, 2].map(|seed| {
        let memory = MemoryFile::new("dma", MIB).unwrap();
        memory.write(0, &pattern(seed, 512)).unwrap();
        memory
    });
    space.map(0x200_0000, &first);
    let Space::Ioas(iommufd, ioas) = &mut space else { unreachable!() };
    let mut other = Ioas::new(iommufd).unwrap();
    other.map(Iova::new(0x200_0000), second.range(0, MIB).unwrap(), Access::READ_WRITE).unwrap();
    assert_eq!(device.attachment(), Some(ioas.id()));
    let table = device.attach_ioas(&other).unwrap();
    assert_ne!(table, other.id());
    assert_eq!(device.attachment(), Some(other.id()));
    edu.load(0x200_0000, 0, 512);
    edu.store(0x200_1000, 0, 512);
    assert_eq!(bytes(&second, 0x1000, 512), pattern(2, 512));
    assert_eq!(bytes(&first, 0x1000, 512), [0; 512]);
    // What is no address space is refused, and the device stays where it is.
    assert_eq!(device.attach(0xffff).unwrap_err().errno(), Errno::NOENT);
    assert_eq!(device.attachment(), Some(other.id()));
    device.attach_ioas(ioas).unwrap();
    edu.load(0x200_0000, 0, 512);
    edu.store(0x200_2000, 0, 512);
    assert_eq!(bytes(&first, 0x2000, 512), pattern(1, 512));
    // Detached it reaches nothing.
    device.detach().unwrap();
    device.detach().unwrap();
    assert_eq!(device.attachment(), None);
    edu.store(0x200_3000, 0, 512);
    assert_eq!(bytes(&first, 0x3000, 512), [0; 512]);
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn an_nvme_controller_describes_itself() {
    for way in ways() {
        for (device, serial) in NVME.into_iter().zip(["vcm0", "vcm1"]) {
            let mut space = Space::new(way);
            let device = space.open(device);
            let memory = MemoryFile::new("nvme", nvme::MEMORY).unwrap();
            space.map(0x10_0000, &memory);
            let mut nvme = Nvme::new(&device, memory, 0x10_0000);
            for _ in 0..40 {
                nvme.submit();
                nvme.wait();
            }
            assert_eq!(nvme.serial(), serial);
        }
    }
}

/// One device writes into another's registers, and both are behind the IOMMU.
#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn a_peer_is_reached_through_an_exported_bar() {
    let mut space = Space::new(*ways().first().unwrap());
    let devices = EDU.map(|name| space.open(name));
    let [mut writer, mut peer] = [Edu::new(&devices[0]), Edu::new(&devices[1])];
    let page = Span::new(0, 4096).unwrap();
    let Space::Ioas(_, ioas) = &mut space else {
        let missing = devices[1].export(0, page).unwrap_err();
        assert!(matches!(missing, Error::NotSupported { .. }), "{missing}");
        return;
    };
    devices[1].check_feature(Feature::DmaBuf).unwrap();
    let len = devices[1].region(0).unwrap().len;
    assert!(matches!(
        devices[1].export(0, Span::new(len - 4096, 8192).unwrap()),
        Err(Error::Argument { .. })
    ));
    assert!(matches!(devices[1].export(9, page), Err(Error::Argument { .. })));
    assert_eq!(devices[1].export(0, Span::new(0, 100).unwrap()).unwrap_err().errno(), Errno::INVAL);
    let bar = devices[1].export(0, page).unwrap();
    ioas.map_dma_buf(Iova::new(0x500_0000), DmaBuf::new(bar.as_fd(), bar.len()), 0, 4096, Access::READ_WRITE)
        .unwrap();
    let memory = MemoryFile::new("dma", 4096).unwrap();
    memory.write(0, &0x1122_3344_u32.to_le_bytes()).unwrap();
    space.map(0x600_0000, &memory);
    writer.load(0x600_0000, 0, 4);
    writer.store(0x500_0000 + u64::from(LIVENESS), 0, 4);
    // The register gives the inverse of what was written.
    assert_eq!(vcm_iommu::Registers::read(&mut peer.registers, LIVENESS), !0x1122_3344);
}
