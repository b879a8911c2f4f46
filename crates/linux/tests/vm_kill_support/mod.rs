//! What is killed, when, and what has to be gone then.
#![allow(unreachable_pub, reason = "a test has no public interface")]

mod census;
pub mod disk;
pub mod guest;
mod opened;
mod plan;
mod resets;
mod tally;
mod trial;

pub use opened::{Opened, open};
pub use tally::{Stage, Tally, Word};
pub use trial::Trial;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long anything is waited for: under emulation everything takes much longer.
pub const PATIENCE: Duration = Duration::from_secs(20);

fn folder(device: &str) -> PathBuf {
    Path::new("/sys/bus/pci/devices").join(device)
}

/// Binds a device to vfio-pci.
pub fn bind(device: &str) {
    move_to(device, "vfio-pci");
    let driver = fs::read_link(folder(device).join("driver")).expect("vfio-pci takes it");
    assert!(driver.ends_with("vfio-pci"), "{}", driver.display());
}

/// Gives a device back to the kernel's driver.
pub fn unbind(device: &str) {
    move_to(device, "\n");
}

fn move_to(device: &str, driver: &str) {
    let folder = folder(device);
    fs::write(folder.join("driver_override"), driver).unwrap();
    if folder.join("driver").exists() {
        fs::write(folder.join("driver/unbind"), device).unwrap();
    }
    fs::write("/sys/bus/pci/drivers_probe", device).unwrap();
}

/// The disk that the kernel's driver makes of a controller, when it has made it.
pub fn disk_of(device: &str) -> Option<PathBuf> {
    // nvme/nvme0/nvme0n1, or nvme/nvme0/nvme0c0n1 beside /sys/block/nvme0n1 where paths are shared.
    let controllers = fs::read_dir(folder(device).join("nvme")).into_iter().flatten().flatten();
    let mut names = controllers.map(|controller| format!("{}n1", controller.file_name().to_string_lossy()));
    names.find_map(|name| Some(Path::new("/dev").join(name)).filter(|node| node.exists()))
}

/// Waits until something is so.
pub fn wait_until(what: &str, mut so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < PATIENCE, "{what}: not so after {PATIENCE:?}");
        std::thread::sleep(Duration::from_micros(50));
    }
}

/// Bytes that differ from place to place and from seed to seed.
pub fn pattern(seed: u64, len: usize) -> Vec<u8> {
    (0..len as u64 / 8).flat_map(|place| vcm_platform::splitmix64(seed, place).to_le_bytes()).collect()
}
