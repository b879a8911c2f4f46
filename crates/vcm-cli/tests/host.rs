//! `vcm doctor` and `vcm devices` on made-up machines.

#[path = "../../linux/tests/host_trees/mod.rs"]
mod host_trees;

use host_trees::{MSI, Tree};
use std::path::Path;
use std::process::{Command, Output};

fn vcm(tree: &Tree, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vcm"));
    let (name, rest) = arguments.split_first().unwrap();
    command.arg(name).arg("--root").arg(tree.root()).args(rest);
    command.env_remove("NO_COLOR").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Compares with a file beside the tests. With `UPDATE_EXPECTED=1` in the environment the file is written instead.
fn assert_expected(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/expected").join(name);
    if std::env::var_os("UPDATE_EXPECTED").is_some_and(|value| value == "1") {
        std::fs::write(&path, found).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, expected, "{name}: what was found differs from {}", path.display());
}

/// A server: a disk that is in use, a card with two functions in one group with its port, and a device for an assignment.
fn server() -> Tree {
    let tree = Tree::machine("6.12.9");
    let (disk, port) = ("pci0000:00/0000:00:06.0", "pci0000:00/0000:00:01.0");
    let (first, second) = (&*format!("{port}/0000:01:00.0"), &*format!("{port}/0000:01:00.1"));
    let free = "pci0000:00/0000:00:04.0";
    tree.pci(disk, (0x144d, 0xa80a, 0x01_0802)).bound(disk, "nvme").group(1, MSI, &[disk]);
    tree.mounted_disk(&format!("{disk}/nvme/nvme0"), "nvme0n1", "/");
    tree.pci(port, (0x8086, 0x1901, 0x06_0400)).bound(port, "pcieport");
    tree.pci(first, (0x8086, 0x1521, 0x02_0000)).bound(first, "igb");
    tree.pci(second, (0x8086, 0x1521, 0x02_0000)).bound(second, "igb");
    tree.group(2, MSI, &[port, first, second]);
    tree.pci(free, (0x1234, 0x11e8, 0x00_ff00)).group(3, MSI, &[free]);
    tree.file(
        &format!("sys/devices/{free}/resource"),
        "0x00000000fea00000 0x00000000feafffff 0x0000000000040200\n",
    );
    tree.file("usr/share/misc/pci.ids", "1234  Technical Corp.\n\t11e8  Edu\n8086  Intel\n\t1521  I350\n");
    tree.file("sys/devices/virtual/iommu/dmar0/intel-iommu/cap", "d2008c222f0686\n");
    tree.link(&format!("sys/devices/{free}/iommu"), "sys/devices/virtual/iommu/dmar0");
    tree.link("sys/class/iommu/dmar0", "sys/devices/virtual/iommu/dmar0");
    tree.file("sys/devices/platform/serial8250/modalias", "platform:serial8250\n");
    tree.link("sys/bus/platform/devices/serial8250", "sys/devices/platform/serial8250");
    tree.file("proc/cpuinfo", "vendor_id\t: GenuineIntel\nflags\t\t: fpu vmx\n").file("dev/kvm", "");
    tree.file("proc/interrupts", "  1:  0  IR-IO-APIC  1-edge  i8042\n");
    tree
}

#[test]
fn devices_are_shown_with_what_is_in_the_way() {
    let tree = server();
    let output = vcm(&tree, &["devices"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_expected("devices.txt", &text(&output.stdout));
    assert_expected("device.txt", &text(&vcm(&tree, &["devices", "0:4.0"]).stdout));
    let all = text(&vcm(&tree, &["devices", "--all"]).stdout);
    assert!(all.contains("serial8250") && all.contains("PCI bridge") && !all.contains("Not shown"), "{all}");
}

#[test]
fn devices_are_data() {
    let tree = server();
    let json: serde_json::Value =
        serde_json::from_slice(&vcm(&tree, &["devices", "--json", "-"]).stdout).unwrap();
    let states: Vec<_> = json.as_array().unwrap().iter().map(|it| (&it["name"], &it["assignable"])).collect();
    let expected = [
        ("0000:00:04.0", "yes"),
        ("0000:00:06.0", "in-use"),
        ("0000:01:00.0", "with-group"),
        ("0000:01:00.1", "with-group"),
    ];
    assert!(
        states.iter().zip(expected).all(|(found, (name, state))| *found.0 == name && *found.1 == state),
        "{states:?}"
    );
    assert_eq!(states.len(), expected.len());
    assert_eq!(json[0]["windows"][0], serde_json::json!({ "first": 0, "last": 0xfedf_ffff_u64 }));
    assert_eq!(json[1]["uses"][0]["at"], "/");
    let one = vcm(&tree, &["devices", "00:06.0", "--json", "-"]).stdout;
    let one: serde_json::Value = serde_json::from_slice(&one).unwrap();
    assert_eq!((&one["bus"], &one["driver"]), (&"pci".into(), &"nvme".into()));
}

#[test]
fn what_is_wrong_says_what_to_do() {
    let tree = server();
    for (arguments, expected) in [
        (
            &["devices", "00:06.1"][..],
            "vcm: no PCI or platform device is called 00:06.1; did you mean \"0000:00:06.0\"?",
        ),
        (&["devices", "gpu"], "vcm: no PCI or platform device is called gpu; `vcm devices --all` shows"),
        (
            &["devices", "--bind", "00:06.0"],
            "vcm: assigning 0000:00:06.0: /dev/nvme0n1p1 is mounted at /; boot from another disk; --force",
        ),
        (&["devices", "--bind", "00:01.0"], "vcm: assigning 0000:00:01.0 is not supported: a bridge"),
        (&["devices", "--restore", "00:04.0"], "vcm: restoring 0000:00:04.0: it is not bound to VFIO"),
        // Nobody is behind these files.
        (
            &["devices", "--bind", "00:04.0"],
            "vcm: 0000:00:04.0 says what cannot be: vfio-pci did not take it",
        ),
        (
            &["devices", "--bind", "00:04.0", "--restore"],
            "error: the argument '--bind <DEVICE>' cannot be used with",
        ),
        (
            &["doctor", "--require", "kvn"],
            "vcm: --require kvn: there is no such check; did you mean \"kvm\"?",
        ),
    ] {
        let output = vcm(&tree, arguments);
        let found = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{found}");
        assert!(found.starts_with(expected), "found {found}\nexpected {expected}");
        assert_eq!(text(&output.stdout), "");
    }
    // And a bind that failed left nothing behind.
    assert!(text(&vcm(&tree, &["devices", "--restore"]).stdout).starts_with("No device was taken"));
    let empty = Tree::new();
    let output = vcm(&empty, &["devices"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).starts_with("vcm: /sys/bus is missing: mount"), "{}", text(&output.stderr));
}

/// What a killed process left behind is shown, and given back.
#[test]
fn what_was_taken_is_shown_and_given_back() {
    let tree = server();
    let note = "vcm binding 1\ndevice pci 0000:00:06.0\ndriver nvme\nprocess 7\nend\n";
    tree.file("run/vcm/bindings/pci-0000:00:06.0", note);
    let shown = text(&vcm(&tree, &["devices"]).stdout);
    assert!(shown.contains("was bound to nvme: vcm devices --restore 0000:00:06.0"), "{shown}");
    let output = vcm(&tree, &["devices", "--restore"]);
    assert_eq!(
        (output.status.code(), text(&output.stdout).as_str()),
        (Some(0), "0000:00:06.0: bound to nvme again\n")
    );
    assert!(!text(&vcm(&tree, &["devices"]).stdout).contains("--restore"));
}

#[test]
fn the_doctor_says_what_is_missing_and_how_to_get_it() {
    let tree = server();
    let output = vcm(&tree, &["doctor"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    // It opens, or is missing, by who runs this.
    assert_expected("doctor.txt", &text(&output.stdout));
    let json: serde_json::Value =
        serde_json::from_slice(&vcm(&tree, &["doctor", "--json", "-"]).stdout).unwrap();
    let checks = json["checks"].as_array().unwrap();
    assert!(checks.iter().any(|check| check["name"] == "kvm" && check["state"] == "ok"));
    assert!(checks.iter().any(|check| check["name"] == "iommufd" && check["enable"].is_string()));
}

#[test]
fn what_is_required_decides_the_exit_status() {
    let tree = server();
    assert_eq!(vcm(&tree, &["doctor", "--require", "kvm,iommu"]).status.code(), Some(0));
    let output = vcm(&tree, &["doctor", "--require", "kvm,iommufd", "--json", "-"]);
    assert_eq!(output.status.code(), Some(1));
    let found = text(&output.stderr);
    assert!(
        found.starts_with("vcm: iommufd is missing: /dev/iommu: not there") && found.lines().count() == 1,
        "{found}"
    );
}

/// On whatever machine this runs, as whoever: no error, and no privilege needed.
#[test]
fn both_run_here() {
    for arguments in
        [&["doctor"][..], &["doctor", "--json", "-"], &["devices", "--help"], &["doctor", "--help"]]
    {
        let output = Command::new(env!("CARGO_BIN_EXE_vcm")).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
    }
}

#[test]
fn help_teaches() {
    let help = |command| {
        let output = Command::new(env!("CARGO_BIN_EXE_vcm")).args([command, "--help"]).output().unwrap();
        text(&output.stdout)
    };
    assert_expected("help-doctor.txt", &help("doctor"));
    assert_expected("help-devices.txt", &help("devices"));
    // Every check that a machine has can be required, and the help has its name.
    let known = help("doctor");
    let checks = vcm(&server(), &["doctor", "--json", "-"]).stdout;
    let checks: serde_json::Value = serde_json::from_slice(&checks).unwrap();
    for check in checks["checks"].as_array().unwrap() {
        let name = check["name"].as_str().unwrap();
        assert!(known.contains(name), "{name}");
    }
}
