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

/// A device that nothing holds back: memory is huge pages at their real addresses, and the user is told.
#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn a_device_without_an_iommu() {
    const SWITCH: &str = "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode";
    let Ok(outside) = std::env::var("VCM_VM_OUTSIDE") else {
        // The distribution's kernel warns of the host bridge that such a device is behind, so that there is none.
        assert_eq!(std::env::var("VCM_VM_KERNEL").as_deref(), Ok("distribution"));
        return;
    };
    std::fs::write(SWITCH, "1").unwrap();
    let folder = std::env::temp_dir();
    let machine = folder.join("outside.toml");
    let text = format!(
        "about = \"a device without an IOMMU\"\n[[memory]]\nname = \"ram\"\nsize = \"4M\"\npages = \"2M\"\n[[device]]\n\
         name = \"edu\"\naddress = \"{outside}\"\nview = \"one-to-one\"\ninterface = \"no-iommu\"\n[roles]\ndma = \"edu\"\n"
    );
    std::fs::write(&machine, text).unwrap();
    let scenario = folder.join("physical.toml");
    let text = "about = \"DMA to physical addresses\"\n[[buffer]]\nname = \"frame\"\nlen = \"2M\"\ncontiguous = true\nalignment = \"2M\"\n\
                [[region]]\nname = \"bus\"\nkind = \"one-to-one\"\nmemory = \"ram\"\n\
                [[association]]\nregion = \"bus\"\ndevice = \"dma\"\n[[share]]\nbuffer = \"frame\"\nregion = \"bus\"\n\
                [[step]]\ndo = \"write\"\ndevice = \"dma\"\nto = { buffer = \"frame\", offset = \"1M\", len = \"8K\" }\nseed = 1\n\
                [[step]]\ndo = \"read\"\ndevice = \"dma\"\nfrom = { buffer = \"frame\", offset = \"1M\", len = \"8K\" }\nseed = 1\n";
    std::fs::write(&scenario, text).unwrap();
    let machine = format!("linux:{}", machine.display());
    let output = vcm(&["run", scenario.to_str().unwrap(), "--machine", &machine]);
    std::fs::write(SWITCH, "0").unwrap();
    let told =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{told}");
    assert!(output.status.success(), "{told}");
    assert!(told.contains("behind no IOMMU"), "{told}");
}
