//! Makes the bare machine one that tests can run on, and puts it back between them.

use crate::plan::Plan;
use crate::protocol::Record;
use crate::report::Report;
use rustix::mount::MountFlags;
use rustix::process::{Resource, Rlimit};
use std::ffi::CString;
use std::fs;
use std::path::Path;

const MOUNTS: [(&str, &str); 8] = [
    ("proc", "/proc"),
    ("sysfs", "/sys"),
    ("devtmpfs", "/dev"),
    ("tmpfs", "/tmp"),
    ("tmpfs", "/run"),
    ("tmpfs", "/dev/shm"),
    ("debugfs", "/sys/kernel/debug"),
    ("cgroup2", "/sys/fs/cgroup"),
];

/// Mounts what programs expect. What a kernel lacks is missed by the test that needs it, which says so better.
pub(crate) fn mount_all() {
    for (kind, place) in MOUNTS {
        let _ = fs::create_dir_all(place);
        let _ = rustix::mount::mount(kind, place, kind, MountFlags::empty(), None);
    }
}

/// Loads modules and sets limits.
pub(crate) fn prepare(plan: &Plan, report: &mut Report) {
    // What systemd gives to services: the kernel's own limit for its first process is lower.
    let files = Rlimit { current: Some(1024), maximum: Some(524_288) };
    if let Err(error) = rustix::process::setrlimit(Resource::Nofile, files) {
        report.record(&Record::Trouble(format!("the limit of open files cannot be set: {error}")));
    }
    for module in &plan.modules {
        let (path, parameters) = module.split_once(' ').unwrap_or((module, ""));
        if let Err(error) = load(path, parameters) {
            report.record(&Record::Trouble(format!("the module {path} cannot be loaded: {error}")));
        }
    }
    report.kernel_log();
}

fn load(path: &str, parameters: &str) -> std::io::Result<()> {
    let file = fs::File::open(path)?;
    let parameters = CString::new(parameters)?;
    match rustix::system::finit_module(file, &parameters, 0) {
        Err(rustix::io::Errno::EXIST) | Ok(()) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Gives the devices that a test left with vfio-pci back to the drivers that they have by themselves.
pub(crate) fn give_devices_back(plan: &Plan, report: &mut Report) {
    for address in &plan.devices {
        let device = Path::new("/sys/bus/pci/devices").join(address);
        let forced = fs::read_to_string(device.join("driver_override")).unwrap_or_default();
        let driver = fs::read_link(device.join("driver")).ok();
        let has_vfio = driver.as_ref().is_some_and(|driver| driver.ends_with("vfio-pci"));
        if !has_vfio && forced.trim() == "(null)" {
            continue;
        }
        let mut write = |path: &Path, text: &str| {
            if let Err(error) = fs::write(path, text) {
                let what = format!("{} cannot be written: {error}", path.display());
                report.record(&Record::Trouble(what));
            }
        };
        write(&device.join("driver_override"), "\n");
        if has_vfio {
            write(&device.join("driver/unbind"), address);
        }
        if !device.join("driver").exists() {
            write(Path::new("/sys/bus/pci/drivers_probe"), address);
        }
    }
}
