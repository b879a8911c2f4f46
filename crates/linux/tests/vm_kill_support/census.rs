//! What there is in the machine that a process with a device leaves behind if it leaves anything.

use super::PATIENCE;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// What has to be as before.
#[derive(PartialEq, Eq, Debug)]
pub struct Census {
    /// Pins of pages that were not released.
    pinned: i64,
    /// Free huge pages.
    huge: u64,
    /// KiB of memory files.
    shared: u64,
    /// KiB that this process has pinned or locked.
    own: u64,
    /// The lines of interrupts that VFIO has.
    interrupts: Vec<String>,
    /// The processes with this program besides this one, and threads of the kernel for a virtual machine.
    processes: Vec<String>,
}

impl Census {
    pub fn now() -> Self {
        // Counts that are kept for each CPU apart are brought together.
        fs::write("/proc/sys/vm/stat_refresh", "1").unwrap();
        let pages = read("/proc/vmstat");
        let pinned = ["nr_foll_pin_acquired", "nr_foll_pin_released"].map(|name| number(&pages, name) as i64);
        let memory = read("/proc/meminfo");
        let status = read("/proc/self/status");
        Self {
            pinned: pinned[0] - pinned[1],
            huge: number(&memory, "HugePages_Free:"),
            shared: number(&memory, "Shmem:"),
            own: number(&status, "VmPin:") + number(&status, "VmLck:"),
            interrupts: read("/proc/interrupts")
                .lines()
                .filter_map(|line| line.find("vfio").map(|at| line[at..].to_owned()))
                .collect(),
            processes: processes(),
        }
    }

    /// Waits until all is as it was: some of it is done by the kernel's own threads.
    pub fn settle(&self, what: &str) {
        let begun = Instant::now();
        loop {
            let now = Self::now();
            if now == *self {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{what}: left behind: {now:?}, before: {self:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// It is that of a machine in which nobody uses a device.
    pub fn assert_idle(&self) {
        assert_eq!((self.own, &self.interrupts[..], &self.processes[..]), (0, &[][..], &[][..]), "{self:?}");
    }

    /// It is that of a machine in which somebody drives a disk.
    pub fn assert_busy(&self, idle: &Self) {
        assert!(self.pinned > idle.pinned && self.shared > idle.shared, "{self:?}, before: {idle:?}");
        assert!(!self.interrupts.is_empty() && self.processes.len() == 1, "{self:?}");
    }
}

/// KiB that can be had.
pub fn available() -> u64 {
    number(&read("/proc/meminfo"), "MemAvailable:")
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The number behind a name, in a file of names and numbers.
fn number(text: &str, name: &str) -> u64 {
    let words = text.lines().map(|line| line.split_whitespace());
    let found = words.into_iter().find_map(|mut words| (words.next() == Some(name)).then(|| words.next()));
    found.flatten().and_then(|word| word.parse().ok()).unwrap_or_else(|| panic!("no {name}"))
}

fn processes() -> Vec<String> {
    let program = fs::read_link("/proc/self/exe").unwrap();
    let own = std::process::id().to_string();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let id = entry.file_name().to_string_lossy().into_owned();
        if !id.bytes().all(|byte| byte.is_ascii_digit()) || id == own {
            continue;
        }
        let of = |file: &str| Path::new("/proc").join(&id).join(file);
        // One that ends meanwhile is not there.
        let name = fs::read_to_string(of("comm")).unwrap_or_default();
        if fs::read_link(of("exe")).is_ok_and(|exe| exe == program) || name.starts_with("kvm-") {
            found.push(format!("{id} {}", name.trim()));
        }
    }
    found
}
