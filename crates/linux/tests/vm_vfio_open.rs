//! Opening devices, and what they tell about themselves.

mod vm_vfio_support;

use rustix::io::Errno;
use std::os::fd::AsFd;
use vcm_linux::Error;
use vcm_linux::iommufd::Iommufd;
use vcm_linux::vfio::{
    BusMaster, CAPABILITY_EXPRESS, CAPABILITY_MSI, CAPABILITY_MSIX, CAPABILITY_POWER, COMMAND,
    COMMAND_MASTER, CONFIG_REGION, Container, Device, DeviceInterrupt, DeviceName, Feature, FunctionReset,
    INTX, InterruptFlags, MSI, MSIX, Opening, REQUEST, ROM_REGION, RegionFlags, Verdict, Way, probe,
};
use vm_vfio_support::{EDU, NVME, Space, bind, folder, has_iommufd, name, ways};

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn probing_tells_what_opens() {
    let before = probe(&name(EDU[0])).unwrap();
    assert!(before.iter().all(|way| way.verdict == Verdict::Closed), "{before:?}");
    assert!(before[0].reason.contains("bind it to vfio-pci"), "{}", before[0]);
    bind(EDU[0]);
    let after = probe(&name(EDU[0])).unwrap();
    after.iter().for_each(|way| println!("{way}"));
    let open: Vec<_> = after.iter().filter(|way| way.verdict == Verdict::Open).map(|way| way.way).collect();
    assert_eq!(open, ways());
    for way in ways() {
        let device = Space::new(way).open(EDU[0]);
        assert_eq!(device.way(), way);
        assert!(device.warning().is_none());
        assert_eq!(device.iommufd_id().is_some(), way == Way::Cdev);
    }
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn an_nvme_controller_tells_about_itself() {
    for way in ways() {
        let device = Space::new(way).open(NVME[0]);
        let info = device.info();
        assert!(info.is_pci());
        assert_eq!(info.reset, FunctionReset::Offered);
        assert!(info.regions >= 9 && info.interrupt_indices == 5, "{info:?}");

        let bar = device.region(0).unwrap();
        assert!(bar.len >= 0x4000 && bar.len.is_power_of_two(), "{bar:?}");
        assert!(
            bar.flags.contains(
                RegionFlags::READ | RegionFlags::WRITE | RegionFlags::MAP | RegionFlags::MSIX_TABLE
            )
        );
        assert_eq!(bar.mappable.len(), 1);
        assert_eq!(device.region(CONFIG_REGION).unwrap().len, 4096);
        assert!(device.region(CONFIG_REGION).unwrap().mappable.is_empty());
        // Half of a 64-bit BAR.
        assert_eq!(device.region(1).unwrap().len, 0);

        let config = device.config().unwrap();
        assert_eq!(config.id().unwrap(), (0x1b36, 0x0010));
        let ids: Vec<u16> = config.capabilities().unwrap().iter().map(|found| found.id).collect();
        for id in [CAPABILITY_POWER, CAPABILITY_EXPRESS, CAPABILITY_MSIX] {
            assert!(ids.contains(&id), "{ids:?}");
        }
        assert!(config.capability(CAPABILITY_MSI).unwrap().is_none());
        println!("{:?}", config.extended_capabilities().unwrap());

        let intx = device.interrupt_info(INTX).unwrap();
        assert_eq!(intx.count, 1);
        assert_eq!(
            intx.flags,
            InterruptFlags::EVENTFD | InterruptFlags::MASKABLE | InterruptFlags::AUTOMASKED
        );
        assert_eq!(device.interrupt_info(MSI).unwrap().count, 0);
        assert_eq!(device.interrupt_info(MSIX).unwrap().count, 65);
        assert_eq!(device.interrupt_info(REQUEST).unwrap().count, 1);
    }
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn bus_mastering_is_off_until_it_is_switched_on() {
    bind(EDU[0]);
    let container = Container::new().unwrap();
    let device = Device::open(&name(EDU[0]), Opening::Group { container: &container }).unwrap();
    let config = device.config().unwrap();
    let is_on = || config.read16(COMMAND).unwrap() & COMMAND_MASTER != 0;
    assert!(!is_on());
    config.set_bus_master(BusMaster::On).unwrap();
    assert!(is_on());
    config.set_bus_master(BusMaster::Off).unwrap();
    assert!(!is_on());
    let ids: Vec<u16> = config.capabilities().unwrap().iter().map(|found| found.id).collect();
    assert_eq!(ids, [CAPABILITY_MSI]);
    assert_eq!(device.interrupt_info(MSI).unwrap().count, 1);
    assert!(config.extended_capabilities().unwrap().is_empty());
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn wrong_arguments_are_refused_and_nothing_changes() {
    fn refused<T>(result: Result<T, Error>) {
        match result {
            Err(Error::Argument { .. }) => {}
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("accepted"),
        }
    }
    for way in ways() {
        let device = Space::new(way).open(NVME[0]);
        refused(device.region(1000));
        refused(device.map(1));
        refused(device.map(u32::MAX));
        refused(device.read(0, u64::MAX, &mut [0; 4]));
        let len = device.region(0).unwrap().len;
        refused(device.read(0, len - 2, &mut [0; 4]));
        refused(device.write(ROM_REGION, 0, &[0]));
        refused(device.write(CONFIG_REGION, 4, &[0, 0]));
        refused(device.config().unwrap().read16(1));
        refused(device.config().unwrap().read32(4096));
        refused(device.interrupt_info(5));
        let at = |index, subindex| DeviceInterrupt { index, subindex };
        refused(device.interrupt(at(MSIX, 65)));
        refused(device.interrupt(at(MSIX, u32::MAX)));
        refused(device.interrupt(at(u32::MAX, 0)));
        refused(device.interrupt(at(MSI, 0)));
        refused(device.interrupts(MSIX, 66));
        refused(device.interrupts(MSIX, 0));
        refused(device.set_trigger(at(MSIX, 0), None));
        refused(device.set_unmask(at(INTX, 0), None));
        let first = device.interrupt(at(MSIX, 3)).unwrap();
        refused(device.interrupt(at(MSIX, 3)));
        refused(device.interrupts(MSIX, 4));
        // One kind at a time.
        refused(device.interrupt(at(INTX, 0)));
        // Messages are not masked: nothing unmasks them.
        refused(first.redirect(first.as_fd(), Some(first.as_fd())));
        assert!(matches!(first.unmask(), Err(Error::System { errno: Errno::NOTTY, .. })));
        drop(first);
        device.interrupt(at(INTX, 0)).unwrap();
        if way == Way::Group {
            refused(device.attach(1));
            refused(device.detach());
        }
    }
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn devices_that_are_not_there_or_not_bound() {
    let container = Container::new().unwrap();
    let opening = Opening::Group { container: &container };
    let missing = Device::open(&name("0000:00:1e.7"), opening).unwrap_err();
    assert_eq!(missing.errno(), Errno::NOENT);
    assert!(missing.to_string().contains("0000:00:1e.7"), "{missing}");
    // With its host driver or with none.
    let unbound = Device::open(&name(EDU[0]), opening).unwrap_err();
    assert_eq!(unbound.errno(), Errno::NOENT);
    println!("{unbound}");
    assert!(unbound.to_string().contains("vfio-pci"), "{unbound}");
    let no_iommu = Device::open(&name(EDU[0]), Opening::NoIommu).unwrap_err();
    assert!(no_iommu.to_string().contains("enable_unsafe_noiommu_mode"), "{no_iommu}");
    if has_iommufd() {
        let iommufd = Iommufd::open().unwrap();
        let unbound = Device::open(&name(EDU[0]), Opening::Cdev { iommufd: iommufd.as_fd() }).unwrap_err();
        assert!(unbound.to_string().contains("vfio-pci"), "{unbound}");
    }
    assert!(container.group_numbers().is_empty());
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn what_is_open_elsewhere_is_busy() {
    bind(EDU[0]);
    let (first, second) = (Container::new().unwrap(), Container::new().unwrap());
    let device = Device::open(&name(EDU[0]), Opening::Group { container: &first }).unwrap();
    let busy = Device::open(&name(EDU[0]), Opening::Group { container: &second }).unwrap_err();
    assert_eq!(busy.errno(), Errno::BUSY);
    assert!(busy.to_string().contains("has it open"), "{busy}");
    if has_iommufd() {
        let iommufd = Iommufd::open().unwrap();
        let busy = Device::open(&name(EDU[0]), Opening::Cdev { iommufd: iommufd.as_fd() }).unwrap_err();
        assert_eq!(busy.errno(), Errno::BUSY);
        assert!(busy.to_string().contains("/dev/vfio/N"), "{busy}");
    }
    // The group stays for the container until it is let go.
    drop(device);
    assert_eq!(first.group_numbers().len(), 1);
    assert!(Device::open(&name(EDU[0]), Opening::Group { container: &second }).is_err());
    assert_eq!(first.close_unused_groups(), 1);
    let device = Device::open(&name(EDU[0]), Opening::Group { container: &second }).unwrap();
    assert_eq!(second.close_unused_groups(), 0);
    drop(device);
}

/// The functions of the chipset's device 31 are one group. Those of its devices that a driver of the kernel has keep it from
/// being used, and are named; those that none has do not.
#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn a_group_of_several_devices() {
    let functions = ["0000:00:1f.2", "0000:00:1f.3"];
    let group = |name: &str| std::fs::read_link(folder(name).join("iommu_group")).unwrap();
    assert_eq!(group(functions[0]), group(functions[1]));
    let neighbour = "0000:00:1f.0";
    let driver = std::fs::read_link(folder(neighbour).join("driver")).ok();
    functions.iter().for_each(|name| bind(name));
    let container = Container::new().unwrap();
    let devices =
        functions.map(|function| Device::open(&name(function), Opening::Group { container: &container }));
    let verdict =
        probe(&name(functions[0])).unwrap().into_iter().find(|found| found.way == Way::Group).unwrap();
    println!("{verdict}; driver of {neighbour}: {driver:?}");
    for device in devices {
        match (device, &driver) {
            (Ok(device), None) => assert!(device.config().unwrap().id().unwrap().0 == 0x8086),
            (Err(error), Some(_)) => {
                assert!(error.to_string().contains(neighbour), "{error}");
                assert!(verdict.reason.contains(neighbour), "{verdict}");
            }
            (Ok(device), Some(driver)) => panic!("{} opens beside {}", device.name(), driver.display()),
            (Err(error), None) => panic!("{error}"),
        }
    }
    assert_eq!(container.group_numbers().len(), usize::from(driver.is_none()));
    drop(container);
    for function in functions {
        std::fs::write(folder(function).join("driver_override"), "\n").unwrap();
        std::fs::write(folder(function).join("driver/unbind"), function).unwrap();
    }
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn names_are_not_paths() {
    assert!(DeviceName::new("../../etc").is_err());
    bind(EDU[0]);
    let container = Container::new().unwrap();
    let device = Device::open(&name(EDU[0]), Opening::Group { container: &container }).unwrap();
    for feature in [Feature::Migration, Feature::DmaLogging, Feature::BusMaster] {
        let missing = device.check_feature(feature).unwrap_err();
        assert!(matches!(missing, Error::NotSupported { .. }), "{missing}");
    }
}
