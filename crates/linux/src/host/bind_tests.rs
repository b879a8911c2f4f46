//! Binding on made-up machines, with a kernel that fails on request.

#[path = "../../tests/host_trees/mod.rs"]
mod host_trees;

use super::*;
use host_trees::{MSI, Tree};
use std::os::unix::fs::symlink;
use std::sync::Mutex;

const PLACE: &str = "pci0000:00/0000:00:06.0";
const PATIENCE: Duration = Duration::from_secs(20);

/// Does what the kernel does when these files are written.
#[derive(Debug, Default)]
struct Kernel {
    root: std::path::PathBuf,
    state: Mutex<KernelState>,
}

#[derive(Debug, Default)]
struct KernelState {
    writes: usize,
    /// The writes that fail, from the first on, counted from 0.
    failing: std::ops::Range<usize>,
    /// Drivers that do not take the device.
    unwilling: Vec<String>,
    /// Unbinding waits for this.
    gate: Option<mpsc::Receiver<()>>,
}

impl Kernel {
    fn device(&self, name: &str) -> std::path::PathBuf {
        self.root.join("sys/bus/pci/devices").join(name)
    }

    fn attach(&self, name: &str, driver: &str, unwilling: &[String]) -> std::io::Result<()> {
        let known = self.root.join("sys/bus/pci/drivers").join(driver).is_dir();
        if !known || unwilling.iter().any(|it| it == driver) {
            return Err(Errno::NODEV.into());
        }
        symlink(format!("../../../bus/pci/drivers/{driver}"), self.device(name).join("driver"))
    }
}

impl Controls for Kernel {
    fn write(&self, path: &Path, text: &str) -> std::io::Result<()> {
        let unwilling = {
            let mut state = self.state.lock().unwrap();
            state.writes += 1;
            if state.failing.contains(&(state.writes - 1)) {
                return Err(Errno::IO.into());
            }
            state.unwilling.clone()
        };
        let folder = path.parent().unwrap();
        let only = || std::fs::read_to_string(self.device(text).join("driver_override")).unwrap();
        match path.file_name().unwrap().to_str().unwrap() {
            "driver_override" if text == "\n" => std::fs::write(path, "(null)\n"),
            "driver_override" => std::fs::write(path, text),
            "unbind" => {
                let gate = self.state.lock().unwrap().gate.take();
                if let Some(gate) = gate {
                    let _ = gate.recv();
                }
                let link = self.device(text).join("driver");
                if std::fs::read_link(&link)?.file_name() != folder.file_name() {
                    return Err(Errno::NODEV.into());
                }
                std::fs::remove_file(link)
            }
            // The device goes to its only driver, or to nvme.
            "drivers_probe" => match only().trim() {
                "(null)" => self.attach(text, "nvme", &unwilling).or(Ok(())),
                driver => self.attach(text, driver, &unwilling).or(Ok(())),
            },
            "bind" => {
                let driver = folder.file_name().unwrap().to_str().unwrap();
                let only = only();
                if only.trim() != "(null)" && only.trim() != driver {
                    return Err(Errno::NODEV.into());
                }
                self.attach(text, driver, &unwilling)
            }
            other => panic!("nothing writes to {other}"),
        }
    }
}

/// A machine with an NVMe controller that is bound to its driver.
fn machine() -> (Tree, Arc<Kernel>, Host) {
    let tree = Tree::machine("6.12.0");
    tree.pci(PLACE, (0x1b36, 0x10, 0x010802)).bound(PLACE, "nvme").group(3, MSI, &[PLACE]);
    let kernel = Arc::new(Kernel { root: tree.root().into(), state: Mutex::default() });
    let host = Host::with_controls(tree.root(), Arc::clone(&kernel) as Arc<dyn Controls>);
    (tree, kernel, host)
}

fn nvme() -> DeviceName {
    DeviceName::parse("0000:00:06.0").unwrap()
}

/// The device's driver and its only driver.
fn is(host: &Host) -> (Option<String>, Option<String>) {
    let device = host.device(&nvme()).unwrap();
    (device.driver, device.driver_override)
}

fn at_home() -> (Option<String>, Option<String>) {
    (Some("nvme".into()), None)
}

fn taken() -> (Option<String>, Option<String>) {
    (Some("vfio-pci".into()), Some("vfio-pci".into()))
}

#[test]
fn there_and_back() {
    let (_tree, _, host) = machine();
    let bound = host.bind_to_vfio(&nvme(), InUse::Refuse, PATIENCE).unwrap();
    assert_eq!((is(&host), bound.former()), (taken(), &Former::Driver("nvme".into())));
    assert_eq!(host.notes().len(), 1);
    assert_eq!(bound.restore(PATIENCE).unwrap(), Restored::Driver("nvme".into()));
    assert_eq!((is(&host), host.notes()), (at_home(), vec![]));
    let error = host.restore(&nvme(), PATIENCE).unwrap_err().to_string();
    assert!(error.contains("nothing is noted"), "{error}");
}

/// Whichever write fails, the device is where it was and nothing is noted.
#[test]
fn a_bind_that_fails_has_changed_nothing() {
    for step in 0.. {
        let (_tree, kernel, host) = machine();
        kernel.state.lock().unwrap().failing = step..step + 1;
        match host.bind_to_vfio(&nvme(), InUse::Refuse, PATIENCE) {
            Err(error) => {
                assert_eq!(error.errno(), Errno::IO, "step {step}: {error}");
                assert_eq!((is(&host), host.notes()), (at_home(), vec![]), "step {step}");
            }
            Ok(_) => {
                assert_eq!((step, is(&host)), (3, taken()));
                return;
            }
        }
    }
}

/// When undoing fails as well the error says so, and it can be restored later.
#[test]
fn what_could_not_be_undone_can_be_restored() {
    for step in 1..3 {
        let (_tree, kernel, host) = machine();
        kernel.state.lock().unwrap().failing = step..step + 2;
        let error = host.bind_to_vfio(&nvme(), InUse::Refuse, PATIENCE).unwrap_err().to_string();
        assert!(error.contains("vcm devices --restore 0000:00:06.0"), "step {step}: {error}");
        assert_eq!(host.restore(&nvme(), PATIENCE).unwrap(), Restored::Driver("nvme".into()));
        assert_eq!((is(&host), host.notes()), (at_home(), vec![]), "step {step}");
    }
}

/// Restoring can be tried again, whichever write failed.
#[test]
fn a_restore_that_fails_can_be_repeated() {
    for step in 0..3 {
        let (_tree, kernel, host) = machine();
        let bound = host.bind_to_vfio(&nvme(), InUse::Refuse, PATIENCE).unwrap();
        {
            let mut state = kernel.state.lock().unwrap();
            state.failing = state.writes + step..state.writes + step + 1;
        }
        let error = bound.restore(PATIENCE).unwrap_err();
        assert_eq!(host.notes().len(), 1, "step {step}: {error}");
        assert_eq!(host.restore(&nvme(), PATIENCE).unwrap(), Restored::Driver("nvme".into()));
        assert_eq!(is(&host), at_home(), "step {step}");
    }
}

#[test]
fn a_driver_that_does_not_take_it_is_told_of() {
    let (_tree, kernel, host) = machine();
    kernel.state.lock().unwrap().unwilling = vec!["vfio-pci".into()];
    let error = host.bind_to_vfio(&nvme(), InUse::Refuse, PATIENCE).unwrap_err().to_string();
    assert!(error.contains("vfio-pci did not take it") && error.contains("dmesg"), "{error}");
    assert_eq!(is(&host), at_home());
}

/// Killed after any write: the note is there, and it is enough.
#[test]
fn a_killed_process_leaves_enough_behind() {
    for override_set in [false, true] {
        for at in ["nvme", "", "vfio-pci"] {
            let (tree, _, host) = machine();
            host.write_note(&Note::new(nvme(), Former::Driver("nvme".into()), None)).unwrap();
            if override_set {
                tree.file(&format!("sys/devices/{PLACE}/driver_override"), "vfio-pci\n");
            }
            match at {
                "" => std::fs::remove_file(tree.path(&format!("sys/devices/{PLACE}/driver"))).unwrap(),
                driver => drop(tree.bound(PLACE, driver)),
            }
            assert_eq!(host.restore(&nvme(), PATIENCE).unwrap(), Restored::Driver("nvme".into()), "{at}");
            assert_eq!((is(&host), host.notes()), (at_home(), vec![]), "{at} {override_set}");
        }
    }
}

/// Who takes a device from a killed process knows where it belongs.
#[test]
fn the_first_driver_is_remembered() {
    let (_tree, _, host) = machine();
    for _ in 0..2 {
        let bound = host.bind_to_vfio(&nvme(), InUse::Refuse, PATIENCE).unwrap();
        assert_eq!(bound.former(), &Former::Driver("nvme".into()));
    }
    assert_eq!(host.restore(&nvme(), PATIENCE).unwrap(), Restored::Driver("nvme".into()));
    assert_eq!(is(&host), at_home());
}

#[test]
fn without_a_note_the_kernel_finds_a_driver() {
    let (tree, _, host) = machine();
    let _bound = host.bind_to_vfio(&nvme(), InUse::Refuse, PATIENCE).unwrap();
    tree.file("run/vcm/bindings/pci-0000:00:06.0", "vcm binding 1\ndevice pci 0000:00");
    assert!(host.notes()[0].damage.is_some());
    assert_eq!(host.restore(&nvme(), PATIENCE).unwrap(), Restored::Driver("nvme".into()));
    assert_eq!((is(&host), host.notes()), (at_home(), vec![]));
}

#[test]
fn a_driver_that_has_gone_is_named() {
    let (tree, _, host) = machine();
    let bound = host.bind_to_vfio(&nvme(), InUse::Refuse, PATIENCE).unwrap();
    std::fs::remove_dir_all(tree.path("sys/bus/pci/drivers/nvme")).unwrap();
    let error = bound.restore(PATIENCE).unwrap_err().to_string();
    assert!(error.contains("modprobe nvme"), "{error}");
    tree.driver("nvme");
    assert_eq!(host.restore(&nvme(), PATIENCE).unwrap(), Restored::Driver("nvme".into()));
}

#[test]
fn a_device_that_has_gone_is_forgotten() {
    let (tree, _, host) = machine();
    let bound = host.bind_to_vfio(&nvme(), InUse::Refuse, PATIENCE).unwrap();
    std::fs::remove_dir_all(tree.path(&format!("sys/devices/{PLACE}"))).unwrap();
    assert_eq!(bound.restore(PATIENCE).unwrap(), Restored::Gone);
    assert_eq!(host.notes(), []);
}

/// An override of somebody else's comes back.
#[test]
fn the_former_override_comes_back() {
    let (tree, _, host) = machine();
    tree.file(&format!("sys/devices/{PLACE}/driver_override"), "nvme\n");
    let bound = host.bind_to_vfio(&nvme(), InUse::Refuse, PATIENCE).unwrap();
    assert_eq!(is(&host), taken());
    assert_eq!(bound.restore(PATIENCE).unwrap(), Restored::Driver("nvme".into()));
    assert_eq!(is(&host), (Some("nvme".into()), Some("nvme".into())));
}

/// The kernel waits; the caller does not, and is told what happens next.
#[test]
fn leaving_a_driver_has_an_end() {
    let (_tree, kernel, host) = machine();
    let (open, gate) = mpsc::channel();
    kernel.state.lock().unwrap().gate = Some(gate);
    let error = host.bind_to_vfio(&nvme(), InUse::Refuse, Duration::from_millis(20)).unwrap_err();
    assert_eq!(error.errno(), Errno::TIMEDOUT, "{error}");
    assert_eq!(host.notes().len(), 1);
    open.send(()).unwrap();
    while host.device(&nvme()).unwrap().driver.is_some() {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(host.restore(&nvme(), PATIENCE).unwrap(), Restored::Driver("nvme".into()));
    assert_eq!((is(&host), host.notes()), (at_home(), vec![]));
}

/// Not begun: a write that waits in the kernel could not be taken back.
#[test]
fn what_somebody_holds_is_not_touched() {
    let (tree, kernel, host) = machine();
    let bound = host.bind_to_vfio(&nvme(), InUse::Refuse, PATIENCE).unwrap();
    tree.file("proc/77/comm", "qemu\n").folder("proc/77/fd");
    symlink("/dev/vfio/3", tree.path("proc/77/fd/9")).unwrap();
    let before = kernel.state.lock().unwrap().writes;
    let error = bound.restore(PATIENCE).unwrap_err();
    assert_eq!(error.errno(), Errno::BUSY);
    assert!(error.to_string().contains("qemu (process 77) has /dev/vfio/3 open: end it first"), "{error}");
    assert_eq!((kernel.state.lock().unwrap().writes, is(&host)), (before, taken()));
    // By the device alone.
    std::fs::remove_file(tree.path("proc/77/fd/9")).unwrap();
    symlink("anon_inode:[vfio-device]", tree.path("proc/77/fd/8")).unwrap();
    tree.file("proc/77/fdinfo/8", format!("pos:\t0\nvfio-device-syspath: /sys/devices/{PLACE}\n"));
    assert_eq!(host.restore(&nvme(), PATIENCE).unwrap_err().errno(), Errno::BUSY);
    std::fs::remove_dir_all(tree.path("proc/77")).unwrap();
    assert_eq!(host.restore(&nvme(), PATIENCE).unwrap(), Restored::Driver("nvme".into()));
}

#[test]
fn a_disk_in_use_is_refused_unless_asked_for() {
    let (tree, _, host) = machine();
    tree.mounted_disk(&format!("{PLACE}/nvme/nvme0"), "nvme0n1", "/home");
    let error = host.bind_to_vfio(&nvme(), InUse::Refuse, PATIENCE).unwrap_err().to_string();
    assert!(error.contains("/dev/nvme0n1p1 is mounted at /home; umount /home"), "{error}");
    assert_eq!((is(&host), host.notes()), (at_home(), vec![]));
    let _bound = host.bind_to_vfio(&nvme(), InUse::TakeAnyway, PATIENCE).unwrap();
    assert_eq!(is(&host), taken());
}

#[test]
fn a_missing_driver_is_named() {
    let (tree, _, host) = machine();
    std::fs::remove_dir_all(tree.path("sys/bus/pci/drivers/vfio-pci")).unwrap();
    let error = host.bind_to_vfio(&nvme(), InUse::Refuse, PATIENCE).unwrap_err().to_string();
    assert_eq!(error, "the driver vfio-pci is missing: modprobe vfio-pci");
    tree.file("lib/modules/6.12.0/modules.dep", "kernel/drivers/vfio/vfio.ko.zst:\n");
    tree.file("lib/modules/6.12.0/modules.builtin", "kernel/fs/ext4/ext4.ko\n");
    let error = host.bind_to_vfio(&nvme(), InUse::Refuse, PATIENCE).unwrap_err().to_string();
    assert!(error.contains("comes without it"), "{error}");
}
