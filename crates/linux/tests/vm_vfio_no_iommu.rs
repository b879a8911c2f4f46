//! A device that is behind no IOMMU.

mod vm_vfio_support;

use std::fs;
use std::path::Path;
use vcm_iommu::Registers;
use vcm_linux::Error;
use vcm_linux::memory::{MemoryRequest, PageKind, physical_spans};
use vcm_linux::vfio::{BusMaster, Device, Opening, Verdict, Way, probe};
use vm_vfio_support::edu::Edu;
use vm_vfio_support::{bind, bytes, folder, name, pattern};

/// Behind a host bridge that the firmware's tables leave out.
const OUTSIDE: &str = "0000:41:00.0";
const SWITCH: &str = "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode";

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn it_is_opened_with_a_warning_when_the_switch_is_on() {
    let probed = |way| probe(&name(OUTSIDE)).unwrap().into_iter().find(|found| found.way == way).unwrap();
    if !Path::new(SWITCH).exists() {
        // The kernel was built without it.
        let error = Device::open(&name(OUTSIDE), Opening::NoIommu).unwrap_err();
        assert!(matches!(error, Error::Missing { .. }), "{error}");
        return;
    }
    // Without the switch vfio-pci does not take it.
    fs::write(SWITCH, "0").unwrap();
    fs::write(folder(OUTSIDE).join("driver_override"), "vfio-pci").unwrap();
    let _ = fs::write("/sys/bus/pci/drivers_probe", OUTSIDE);
    assert!(!folder(OUTSIDE).join("driver").exists());
    assert_eq!(probed(Way::NoIommu).verdict, Verdict::Closed);

    fs::write(SWITCH, "1").unwrap();
    bind(OUTSIDE);
    let found = probed(Way::NoIommu);
    println!("{found}");
    assert_eq!(found.verdict, Verdict::Open, "{found}");
    for way in [Way::Cdev, Way::Group] {
        assert_eq!(probed(way).verdict, Verdict::Closed, "{}", probed(way));
    }
    let device = Device::open(&name(OUTSIDE), Opening::NoIommu).unwrap();
    let warning = device.warning().expect("the user is told");
    println!("{warning}");
    assert!(warning.to_string().contains(OUTSIDE));
    assert!(matches!(device.attach(1), Err(Error::Argument { .. })));

    // Its addresses are the machine's own.
    device.config().unwrap().set_bus_master(BusMaster::On).unwrap();
    let memory = MemoryRequest::new("physical", 2 << 20).pages(PageKind::Huge2M).create().unwrap();
    memory.write(0, &pattern(9, 1024)).unwrap();
    let mut edu = Edu::new(&device);
    match physical_spans(&memory) {
        Ok(spans) => {
            let at = spans[0].first();
            edu.load(at, 0, 1024);
            edu.store(at + 0x1000, 0, 1024);
            assert_eq!(bytes(&memory, 0x1000, 1024), pattern(9, 1024));
        }
        // A kernel without CONFIG_PROC_PAGE_MONITOR does not tell physical addresses: there is nothing to transfer to.
        Err(error) => assert!(!Path::new("/proc/self/pagemap").exists(), "{error}"),
    }

    device.tear_down();
    assert_eq!(edu.registers.read(0), u32::MAX);
    fs::write(folder(OUTSIDE).join("driver_override"), "\n").unwrap();
    fs::write(folder(OUTSIDE).join("driver/unbind"), OUTSIDE).unwrap();
    fs::write(SWITCH, "0").unwrap();
}
