//! The example `assign`: a guest owns a device, drives it and takes its interrupts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const EDU: [&str; 2] = ["0000:00:04.0", "0000:00:05.0"];
const NVME: &str = "0000:00:06.0";

fn run(arguments: &[&str]) -> Output {
    let folder = std::env::var("VCM_EXAMPLES").expect("cargo xtask vm --programs builds the examples");
    let output = Command::new(Path::new(&folder).join("assign")).args(arguments).output().unwrap();
    println!("{arguments:?}: {}\n{}{}", output.status, text(&output.stdout), text(&output.stderr));
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What sysfs says of who has a device, and who is to have it.
fn holder(address: &str) -> (Option<PathBuf>, String) {
    let folder = Path::new("/sys/bus/pci/devices").join(address);
    let given = fs::read_to_string(folder.join("driver_override")).unwrap();
    (fs::read_link(folder.join("driver")).ok(), given)
}

fn best_way() -> &'static str {
    if std::env::var("VCM_VM_IOMMUFD").unwrap() == "yes" { "iommufd" } else { "type1" }
}

/// The five numbers of a row: asked, delivered, passed on, woken, exits.
fn row(told: &str, name: &str) -> Vec<u64> {
    let line = told.lines().find_map(|line| line.strip_prefix(name));
    let line = line.unwrap_or_else(|| panic!("no row {name}"));
    line.split_whitespace().map(|number| number.parse().unwrap()).collect()
}

/// The address that a line of the graph's view says the guest's memory is mapped at in a region.
fn mapped(told: &str, region: &str) -> u64 {
    let start = format!("  mapped in \"{region}\" at 0x");
    let rest = told.lines().find_map(|line| line.strip_prefix(&start)).expect("it is mapped there");
    let digits: String = rest.chars().take_while(char::is_ascii_hexdigit).collect();
    u64::from_str_radix(&digits, 16).unwrap()
}

fn holds(arguments: &[&str], address: &str, count: u64) {
    let before = holder(address);
    let output = run(arguments);
    let told = text(&output.stdout);
    assert!(output.status.success());
    assert_eq!(text(&output.stderr), "");
    // How it was reached, and why that way.
    assert!(told.starts_with(&format!("edu is {address}, by {}: ", best_way())), "{told}");
    // The same memory thrice: the device has the guest's addresses, and this process others.
    assert_eq!(told.matches("  mapped in ").count(), 3);
    assert_eq!((mapped(&told, "guest"), mapped(&told, "edu")), (0x10_0000, 0x10_0000));
    assert_ne!(mapped(&told, "cpu"), 0x10_0000);
    assert!(told.contains("every byte arrived"));
    for name in ["by the kernel alone", "by the kernel again"] {
        assert_eq!(row(&told, name), [count, count, 0, 0, 0], "{name}");
    }
    let [asked, delivered, passed_on, woken, exits] = row(&told, "through this process")[..] else {
        panic!()
    };
    assert_eq!([asked, delivered, passed_on, exits], [count, count, 2 * count, 0]);
    assert!((1..=2 * count).contains(&woken), "{woken}");
    let [asked, delivered, passed_on, _, exits] = row(&told, "to and fro meanwhile")[..] else { panic!() };
    assert_eq!([asked, delivered, exits], [count, count, 0]);
    assert!(passed_on <= 2 * count, "{passed_on}");
    assert!(told.ends_with("all held, and everything was given back\n"), "{told}");
    assert_eq!(holder(address), before);
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn a_guest_owns_a_device_and_nobody_is_woken() {
    holds(&[], EDU[0], 100);
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn another_device_and_another_number() {
    holds(&["--device", EDU[1], "--interrupts", "37"], EDU[1], 37);
    // The smallest: its first request is its last.
    holds(&["--device", EDU[1], "--interrupts", "1"], EDU[1], 1);
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn what_cannot_be_is_said_and_nothing_is_taken() {
    let help = run(&["--help"]);
    assert!(help.status.success() && text(&help.stdout).starts_with("usage: assign"));
    let before = holder(NVME);
    let complaint = |arguments: &[&str]| {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(1));
        text(&output.stderr)
    };
    assert!(complaint(&["--device", NVME]).contains("no educational device"));
    assert!(complaint(&["--device", "0000:00:1e.0"]).contains("0000:00:1e.0"));
    assert!(complaint(&["--device"]).contains("needs a value"));
    assert!(complaint(&["--interrupts", "0"]).contains("not from 1"));
    assert!(complaint(&["--loudly"]).contains("what is --loudly?"));
    assert_eq!(holder(NVME), before);
}
