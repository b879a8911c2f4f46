//! The example `nvme`: a disk is written and read by a driver in user space, and by the kernel's beside it.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const OURS: &str = "0000:00:06.0";
const THE_KERNELS: &str = "0000:00:07.0";

fn device(address: &str) -> PathBuf {
    Path::new("/sys/bus/pci/devices").join(address)
}

/// The driver that a device has.
fn driver(address: &str) -> Option<String> {
    let link = fs::read_link(device(address).join("driver")).ok()?;
    Some(link.file_name()?.to_string_lossy().into_owned())
}

/// The disk that the kernel's driver makes of a controller, when it has made it.
fn disk(address: &str) -> PathBuf {
    let begun = std::time::Instant::now();
    loop {
        // nvme/nvme0/nvme0n1, or nvme/nvme0/nvme0c0n1 beside /sys/block/nvme0n1 where paths are shared.
        let controllers = fs::read_dir(device(address).join("nvme")).into_iter().flatten().flatten();
        let names = controllers.map(|controller| format!("{}n1", controller.file_name().to_string_lossy()));
        if let Some(found) = names.map(|name| Path::new("/dev").join(name)).find(|node| node.exists()) {
            return found;
        }
        assert!(begun.elapsed().as_secs() < 30, "{address} has driver {:?} and no disk", driver(address));
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

fn run(arguments: &[&str]) -> Output {
    let folder = std::env::var("VCM_EXAMPLES").expect("cargo xtask vm --programs builds the examples");
    let output = Command::new(Path::new(&folder).join("nvme")).args(arguments).output().unwrap();
    let (told, complaint) = (text(&output.stdout), text(&output.stderr));
    println!("{arguments:?}: {}\n{told}{complaint}", output.status);
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The lines of the table: how many queues, and the rates.
fn rates(told: &str) -> Vec<(u32, Vec<f64>)> {
    let numbers = |line: &str| line.split_whitespace().map(str::parse).collect::<Result<Vec<f64>, _>>();
    let lines = told.lines().filter_map(|line| numbers(line).ok()).filter(|numbers| !numbers.is_empty());
    lines.map(|numbers| (numbers[0] as u32, numbers[1..].to_vec())).collect()
}

/// The way to the device that it is to find by itself.
fn best_way() -> &'static str {
    if std::env::var("VCM_VM_IOMMUFD").unwrap() == "yes" { "iommufd" } else { "type1" }
}

/// The pattern of the example, from the first output of the generator as published: splitmix64.
fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let output = |n: u64| {
        let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(n + 1));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    (0..len as u64 / 8).flat_map(|n| output(n).to_le_bytes()).collect()
}

/// What the kernel's driver finds on a disk.
fn on_disk(disk: &Path, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    fs::File::open(disk).unwrap().read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

const LEN: usize = 2 << 20;

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn a_disk_is_written_and_read_beside_the_kernels_driver() {
    let before = driver(OURS);
    assert_eq!(before.as_deref(), Some("nvme"), "the kernel's driver has it");
    let other = disk(THE_KERNELS);
    let output = run(&[
        "--overwrite",
        "--device",
        OURS,
        "--queues",
        "3",
        "--size",
        "2M",
        "--compare",
        other.to_str().unwrap(),
    ]);
    let told = text(&output.stdout);
    assert!(output.status.success());
    // How it was reached, and why that way.
    assert!(told.starts_with(&format!("nvme is {OURS}, by {}: ", best_way())), "{told}");
    assert!(told.contains("QEMU NVMe Ctrl") && told.contains("vcm0"), "{told}");
    let rates = rates(&told);
    assert_eq!(rates.iter().map(|(count, _)| *count).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(
        rates.iter().all(|(_, rates)| rates.len() == 4 && rates.iter().all(|rate| *rate > 0.0)),
        "{rates:?}"
    );
    assert!(told.ends_with("all bytes came back\n"), "{told}");
    // The kernel's driver has the device again, and finds there what ours has written; and what it wrote to the other.
    assert_eq!(driver(OURS), before);
    let expected = pattern(0x5eed, LEN / 3 / 4096 * 4096 * 3);
    assert!(on_disk(&disk(OURS), expected.len()) == expected, "{OURS}");
    assert!(on_disk(&other, expected.len()) == expected, "{THE_KERNELS}");
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn huge_pages_take_fewer_pages() {
    // Also by the older interface, which is on every kernel.
    for interface in [None, Some("--type1")] {
        huge_pages(interface);
    }
}

fn huge_pages(interface: Option<&str>) {
    let mut arguments = vec!["--overwrite", "--huge-pages", "--queues", "2", "--size", "8M"];
    arguments.extend(interface);
    let output = run(&arguments);
    let told = text(&output.stdout);
    assert!(output.status.success() && told.ends_with("all bytes came back\n"), "{told}");
    let way = if interface.is_some() { "type1" } else { best_way() };
    assert!(told.starts_with(&format!("nvme is {OURS}, by {way}: ")), "{told}");
    assert!(told.contains("in pages of 4 x 2M"), "{told}");
    let rates = rates(&told);
    assert!(rates.len() == 2 && rates.iter().all(|(_, rates)| rates.len() == 2), "{rates:?}");
    assert_eq!(driver(OURS).as_deref(), Some("nvme"));
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn nothing_is_done_that_was_not_allowed_or_cannot_be() {
    let complaint = |arguments: &[&str]| {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(1));
        text(&output.stderr)
    };
    assert!(complaint(&[]).contains("--overwrite"));
    assert!(complaint(&["--overwrite", "--size", "5"]).contains("5 is no number of whole pages"));
    assert!(complaint(&["--overwrite", "--queues", "0"]).contains("usage"));
    assert!(complaint(&["--overwrite", "--device", "0000:00:1e.0"]).contains("0000:00:1e.0"));
    // Not an NVMe controller, and it goes back where it came from.
    let before = driver("0000:00:04.0");
    let told = complaint(&["--overwrite", "--device", "0000:00:04.0", "--size", "1M"]);
    assert!(told.contains("0000:00:04.0: it has 0"), "{told}");
    assert_eq!(driver("0000:00:04.0"), before);
    // A disk that is too small is told by the driver; the device goes back as well, whichever way it was reached.
    for interface in [None, Some("--type1")] {
        let mut arguments = vec!["--overwrite", "--size", "66M", "--queues", "1"];
        arguments.extend(interface);
        let told = complaint(&arguments);
        assert!(told.contains("larger than the disk"), "{told}");
        assert_eq!(driver(OURS).as_deref(), Some("nvme"), "{interface:?}");
    }
}
