//! The program on real devices: the shipped scenarios, unchanged.

use std::process::{Command, Output};

fn vcm(arguments: &[&str]) -> Output {
    let program = std::env::var("VCM_BIN").expect("VCM_BIN names the program");
    Command::new(program).args(arguments).output().expect("the program starts")
}

fn scenario(name: &str) -> String {
    format!("{}/{name}.toml", std::env::var("VCM_SCENARIOS").expect("VCM_SCENARIOS names the folder"))
}

fn machine(name: &str) -> String {
    format!("linux:{}/{name}.toml", std::env::var("VCM_MACHINES").expect("VCM_MACHINES names the folder"))
}

/// Runs a scenario, which has to hold.
fn holds(name: &str, on: &str) -> String {
    let output = vcm(&["run", &scenario(name), "--machine", &machine(on)]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    println!("{text}{errors}");
    assert!(output.status.success(), "{name} on {on}: {:?}\n{text}{errors}", output.status);
    assert!(text.contains("nothing leaked"), "{text}");
    text
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn three_mappings() {
    holds("three-mappings", "devices");
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn walkthrough() {
    holds("walkthrough", "devices");
}

/// What the IOMMU refuses is found in the kernel's log.
#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn faults() {
    holds("faults", "translated");
}

/// The kernel alone takes the forwarded interrupt to the guest, and the guest's end of it to the device.
#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn forward() {
    holds("forward", "interrupts");
}

/// A device that is not there, or that the machine needs itself, is an error that says so; and nothing is left bound.
#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn a_device_that_is_not_there() {
    let file = std::env::temp_dir().join("missing.toml");
    let text = "about = \"x\"\n[[memory]]\nname = \"ram\"\nsize = \"1M\"\n[[device]]\nname = \"a\"\naddress = \"0000:00:06.0\"\n\
                [[device]]\nname = \"b\"\naddress = \"0000:77:06.0\"\n[roles]\ncodec = \"a\"\n";
    std::fs::write(&file, text).unwrap();
    let output = vcm(&["run", &scenario("walkthrough"), "--machine", &format!("linux:{}", file.display())]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(errors.contains("0000:77:06.0"), "{errors}");
    let driver = std::fs::read_link("/sys/bus/pci/devices/0000:00:06.0/driver").ok();
    let driver = driver.and_then(|link| link.file_name().map(|name| name.to_string_lossy().into_owned()));
    assert_ne!(driver.as_deref(), Some("vfio-pci"), "it was given back");
}
