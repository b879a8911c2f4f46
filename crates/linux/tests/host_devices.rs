//! Devices of made-up machines: what is said of them, and of files that make no sense.

mod host_trees;

use host_trees::{MSI, Tree};
use proptest::prelude::*;
use std::os::unix::fs::symlink;
use vcm_linux::Error;
use vcm_linux::host::{Assignable, BarKind, Device, DeviceName, Host, Module, NetworkUse, Obstacle, Use};

fn device(tree: &Tree, name: &str) -> Device {
    Host::at(tree.root()).device(&DeviceName::parse(name).unwrap()).unwrap()
}

fn told(device: &Device) -> Vec<String> {
    device.obstacles.iter().map(ToString::to_string).collect()
}

const NVME: (u16, u16, u32) = (0x144d, 0xa80a, 0x01_0802);
const ETHERNET: (u16, u16, u32) = (0x8086, 0x1521, 0x02_0000);
const BRIDGE: (u16, u16, u32) = (0x8086, 0x1901, 0x06_0400);

/// Every device alone in its group, the root file system on the NVMe, the network by radio.
#[test]
fn a_laptop() {
    let tree = Tree::machine("6.12.9");
    let (display, audio) = ("pci0000:00/0000:00:02.0", "pci0000:00/0000:00:1f.3");
    let disk = "pci0000:00/0000:00:1d.0/0000:03:00.0";
    let radio = "pci0000:00/0000:00:1c.0/0000:02:00.0";
    tree.pci(display, (0x8086, 0x9a49, 0x03_0000)).bound(display, "i915");
    tree.pci("pci0000:00/0000:00:1d.0", BRIDGE).bound("pci0000:00/0000:00:1d.0", "pcieport");
    tree.pci(disk, NVME).bound(disk, "nvme").mounted_disk(&format!("{disk}/nvme/nvme0"), "nvme0n1", "/");
    tree.pci(radio, (0x8086, 0x2723, 0x02_8000)).bound(radio, "iwlwifi");
    tree.pci(audio, (0x8086, 0xa0c8, 0x04_0300)).bound(audio, "snd_hda_intel");
    tree.file(&format!("sys/devices/{display}/boot_vga"), "1\n")
        .file("sys/class/tty/console/active", "tty0\n");
    tree.file(&format!("sys/devices/{radio}/net/wlan0/mtu"), "1500\n");
    tree.link("sys/class/net/wlan0", &format!("sys/devices/{radio}/net/wlan0"));
    tree.file("proc/self/net/route", "Iface\tDestination\tGateway\nwlan0\t00000000\t0101A8C0\n");
    let relaxable = format!("0x0000000040000000 0x00000000403fffff direct-relaxable\n{MSI}");
    tree.group(0, &relaxable, &[display]).group(1, MSI, &[disk]).group(2, MSI, &[radio]).group(
        3,
        MSI,
        &[audio],
    );
    for (name, expected) in [
        ("0000:00:02.0", "the console is on it (the display that the machine started with)"),
        ("0000:03:00.0", "/dev/nvme0n1p1 is mounted at /"),
        ("0000:02:00.0", "wlan0 is the way to the network (default route)"),
    ] {
        let device = device(&tree, name);
        assert_eq!(
            (device.assignable(), told(&device)),
            (Assignable::InUse, vec![expected.into()]),
            "{name}"
        );
    }
    assert_eq!(device(&tree, "00:1f.3").assignable(), Assignable::Yes);
    // All of the bridge's obstacles are that it is one; what is mounted behind it is not its own.
    let bridge = device(&tree, "00:1d.0");
    assert_eq!((bridge.assignable(), bridge.obstacles), (Assignable::No, vec![Obstacle::Bridge]));
    let windows = device(&tree, "00:02.0").group.unwrap().windows(Some(39)).unwrap();
    assert_eq!(windows[0].first, 0, "what is relaxable can be used");
}

/// A root port and a card with two functions share a group: no access control below the port.
#[test]
fn a_server_with_bridges_in_its_groups() {
    let tree = Tree::machine("6.12.9");
    let port = "pci0000:00/0000:00:01.0";
    let (first, second) = (&*format!("{port}/0000:01:00.0"), &*format!("{port}/0000:01:00.1"));
    tree.pci(port, BRIDGE).bound(port, "pcieport");
    tree.pci(first, ETHERNET).bound(first, "igb").pci(second, ETHERNET).bound(second, "igb");
    tree.group(7, MSI, &[port, first, second]);
    let found = device(&tree, "01:00.0");
    assert_eq!(found.assignable(), Assignable::WithGroup);
    assert_eq!(told(&found), ["0000:01:00.1 is in the same group and bound to igb"]);
    assert!(found.obstacles[0].help().unwrap().contains("vcm devices --bind 0000:01:00.1"));
    tree.bound(second, "vfio-pci");
    assert_eq!(device(&tree, "01:00.0").assignable(), Assignable::Yes);
    tree.bound(first, "vfio-pci").file(&format!("sys/devices/{first}/vfio-dev/vfio4/dev"), "1:1\n");
    let found = device(&tree, "01:00.0");
    assert_eq!(
        (found.assignable(), found.vfio_node.as_deref()),
        (Assignable::Ready, Some("/dev/vfio/devices/vfio4"))
    );
    assert_eq!(found.group.unwrap().members.iter().filter(|member| member.bridge).count(), 1);
}

/// What firmware wants mapped one to one, and a driver that does not let go.
#[test]
fn what_cannot_be_helped() {
    let tree = Tree::machine("6.12.9");
    let (raid, other) = ("pci0000:00/0000:00:05.0", "pci0000:00/0000:00:06.0");
    tree.pci(raid, (0x1000, 0x5d, 0x01_0400))
        .bound(raid, "megaraid_sas")
        .pci(other, NVME)
        .bound(other, "stays");
    tree.group(1, &format!("0x00000000bdf6e000 0x00000000bdf84fff direct\n{MSI}"), &[raid]).group(
        2,
        MSI,
        &[other],
    );
    std::fs::remove_file(tree.path("sys/bus/pci/drivers/stays/unbind")).unwrap();
    let found = device(&tree, "00:05.0");
    assert_eq!(found.assignable(), Assignable::No);
    assert_eq!(told(&found), ["firmware needs 0xbdf6e000-0xbdf84fff of its group mapped one to one"]);
    assert_eq!(told(&device(&tree, "00:06.0")), ["stays does not let go of its devices"]);
}

#[test]
fn a_machine_without_an_iommu() {
    let tree = Tree::machine("6.12.9");
    tree.pci("pci0000:00/0000:00:06.0", NVME);
    let found = device(&tree, "00:06.0");
    assert_eq!((found.assignable(), found.obstacles.as_slice()), (Assignable::No, &[Obstacle::NoGroup][..]));
    // Bound all the same, in the mode for tests.
    let place = "pci0000:00/0000:00:06.0";
    tree.bound(place, "vfio-pci")
        .group(0, "", &[place])
        .file("sys/kernel/iommu_groups/0/name", "vfio-noiommu\n");
    let found = device(&tree, "00:06.0");
    assert_eq!((found.assignable(), told(&found).len()), (Assignable::Ready, 1));
    assert_eq!(found.group.unwrap().node(), "/dev/vfio/noiommu-0");
}

/// Devices of a device tree behind an SMMU.
#[test]
fn an_arm_machine() {
    let tree = Tree::machine("6.12.9");
    let dma = "platform/fd500000.dma";
    tree.file(&format!("sys/devices/{dma}/of_node/compatible"), "xlnx,zynqmp-dma-1.0\0xlnx,dma\0");
    tree.file(&format!("sys/devices/{dma}/driver_override"), "(null)\n");
    tree.file(&format!("sys/devices/{dma}/modalias"), "of:Ndma\n");
    tree.link("sys/bus/platform/devices/fd500000.dma", &format!("sys/devices/{dma}"));
    tree.group(4, "0x0000000008000000 0x00000000080fffff msi\n", &[dma]);
    let found = device(&tree, "fd500000.dma");
    assert_eq!((found.about.as_str(), found.assignable()), ("xlnx,zynqmp-dma-1.0", Assignable::Yes));
    assert_eq!(found.group.unwrap().windows(Some(48)).unwrap().len(), 2);
    assert_eq!(found.name.bus().vfio_driver(), "vfio-platform");
}

#[test]
fn disks_are_found_behind_what_is_made_of_them() {
    let tree = Tree::machine("6.12.9");
    let place = "pci0000:00/0000:00:06.0";
    tree.pci(place, NVME).group(1, MSI, &[place]);
    let disk = format!("sys/devices/{place}/nvme/nvme0/nvme0n1");
    tree.file(&format!("{disk}/dev"), "259:0\n").link("sys/class/block/nvme0n1", &disk);
    let mapper = "sys/devices/virtual/block/dm-0";
    tree.file(&format!("{mapper}/dev"), "253:0\n").file(&format!("{mapper}/dm/name"), "vg-root\n");
    tree.link("sys/class/block/dm-0", mapper).link(&format!("{disk}/holders/dm-0"), mapper);
    let uses = || device(&tree, "00:06.0").uses;
    let held = Use::Held { node: "/dev/nvme0n1".into(), by: "/dev/dm-0".into() };
    assert_eq!(uses(), [held]);
    tree.file("proc/swaps", "Filename Type Size Used Priority\n/dev/dm-0 partition 1 0 -2\n");
    assert_eq!(uses(), [Use::Swap { node: "/dev/mapper/vg-root".into() }]);
    tree.file("proc/swaps", "");
    tree.file("proc/1/mountinfo", "22 1 0:35 / /my\\040data rw - btrfs /dev/mapper/vg-root rw\n");
    assert_eq!(uses(), [Use::Mounted { node: "/dev/mapper/vg-root".into(), at: "/my data".into() }]);
    // Holders in a circle have an end.
    tree.link(&format!("{mapper}/holders/nvme0n1"), &disk);
    assert_eq!(uses().len(), 1);
}

/// A disk with several ways to it is not below its controllers.
#[test]
fn disks_are_found_behind_their_subsystem() {
    let tree = Tree::machine("6.12.9");
    let place = "pci0000:00/0000:00:06.0";
    tree.pci(place, NVME).group(1, MSI, &[place]).folder(&format!("sys/devices/{place}/nvme/nvme0"));
    let subsystem = "virtual/nvme-subsystem/nvme-subsys0";
    tree.mounted_disk(subsystem, "nvme0n1", "/");
    tree.link(&format!("sys/devices/{subsystem}/nvme0"), &format!("sys/devices/{place}/nvme/nvme0"));
    assert_eq!(told(&device(&tree, "00:06.0")), ["/dev/nvme0n1p1 is mounted at /"]);
}

#[test]
fn networks_in_use_are_told_apart() {
    let tree = Tree::machine("6.12.9");
    let place = "pci0000:00/0000:00:03.0";
    tree.pci(place, ETHERNET).group(1, MSI, &[place]).folder(&format!("sys/devices/{place}/net/eth0"));
    tree.link("sys/class/net/eth0", &format!("sys/devices/{place}/net/eth0"));
    let how = || match device(&tree, "00:03.0").uses.as_slice() {
        [] => None,
        [Use::Network { how, .. }] => Some(how.clone()),
        uses => panic!("{uses:?}"),
    };
    tree.file("proc/self/net/if_inet6", "fe80 02 40 20 80     eth0\n");
    assert_eq!(how(), None, "a link-local address comes by itself");
    tree.file("proc/self/net/if_inet6", "fe80 02 40 20 80     eth0\n2001 02 40 00 00 eth0\n");
    assert_eq!(how(), Some(NetworkUse::Address));
    tree.link(&format!("sys/devices/{place}/net/eth0/master"), "sys/devices/virtual/net/br0");
    assert_eq!(how(), Some(NetworkUse::PartOf("br0".into())));
}

#[test]
fn registers_have_sizes_and_kinds() {
    let tree = Tree::machine("6.12.9");
    let place = "pci0000:00/0000:00:06.0";
    tree.pci(place, NVME).file(
        &format!("sys/devices/{place}/resource"),
        "0x00000000fea00000 0x00000000fea03fff 0x0000000000140204\n\
         0x0000000000000000 0x0000000000000000 0x0000000000000000\n\
         0x000000000000c000 0x000000000000c01f 0x0000000000040101\n\
         0x0000000000000000 0xffffffffffffffff 0x0000000000040200\n\
         0x00000000f0000000 0x00000000efffffff 0x0000000000040200\n\
         0x00000000e0000000 0x00000000efffffff 0x0000000000042208\n\
         0x00000000c0000000 0x00000000c00fffff 0x0000000000042208\n",
    );
    let bars = device(&tree, "00:06.0").bars;
    let found: Vec<_> = bars.iter().map(|bar| (bar.index, bar.len, bar.kind, bar.prefetchable)).collect();
    let expected = [
        (0, 0x4000, BarKind::Memory64, false),
        (2, 0x20, BarKind::Port, false),
        (5, 0x1000_0000, BarKind::Memory32, true),
    ];
    assert_eq!(found, expected);
}

#[test]
fn the_width_of_vt_d_is_read() {
    let tree = Tree::machine("6.12.9");
    let place = "pci0000:00/0000:00:06.0";
    tree.pci(place, NVME).group(1, MSI, &[place]);
    tree.file("sys/devices/virtual/iommu/dmar0/intel-iommu/cap", "d2008c222f0686\n");
    tree.link(&format!("sys/devices/{place}/iommu"), "sys/devices/virtual/iommu/dmar0");
    let found = device(&tree, "00:06.0");
    assert_eq!(found.address_bits, Some(48));
    assert_eq!(found.group.unwrap().windows(Some(48)).unwrap()[1].last, (1 << 48) - 1);
}

#[test]
fn containers_without_sysfs_are_told_so() {
    let error = Host::at(Tree::new().root()).devices().unwrap_err();
    assert!(matches!(error, Error::Missing { .. }), "{error}");
    assert!(error.to_string().starts_with("/sys/bus is missing: mount -t sysfs"), "{error}");
    let tree = Tree::machine("6.12.9");
    assert_eq!(Host::at(tree.root()).devices().unwrap(), []);
    let error = Host::at(tree.root()).device(&DeviceName::parse("00:06.0").unwrap()).unwrap_err();
    assert!(error.to_string().starts_with("pci device 0000:00:06.0 is missing"), "{error}");
}

#[test]
fn modules_are_loaded_loadable_or_absent() {
    let tree = Tree::machine("6.12.9");
    let host = Host::at(tree.root());
    assert!(matches!(host.module("vfio-pci"), Module::NotLoaded(why) if why.contains("6.12.9")));
    tree.file("lib/modules/6.12.9/modules.builtin", "kernel/drivers/iommu/iommufd/iommufd.ko\n");
    tree.file(
        "lib/modules/6.12.9/modules.dep",
        "kernel/drivers/vfio/pci/vfio-pci.ko.xz: kernel/drivers/vfio/vfio.ko.xz\n",
    );
    assert_eq!(host.module("vfio_pci"), Module::Loadable);
    assert_eq!((host.module("iommufd"), host.module("udmabuf")), (Module::Here, Module::Absent));
    tree.folder("sys/module/udmabuf");
    assert_eq!(host.module("udmabuf"), Module::Here);
}

/// Links that lead nowhere, in circles or out of the machine, and folders where files belong.
#[test]
fn links_that_make_no_sense_do_no_harm() {
    let tree = Tree::machine("6.12.9");
    let place = "sys/devices/pci0000:00/0000:00:06.0";
    tree.pci("pci0000:00/0000:00:06.0", NVME);
    for link in ["driver", "iommu_group", "iommu", "vfio-dev"] {
        tree.link(&format!("{place}/{link}"), &format!("{place}/{link}"));
    }
    tree.link("sys/class/block/sda", "sys/class/block/sda").link("sys/class/net/x", "nowhere");
    tree.folder(&format!("{place}/resource"))
        .link("sys/bus/pci/devices/0000:00:07.0", "sys/bus/pci/devices/0000:00:07.0");
    symlink("/", tree.path("sys/class/net/outside")).unwrap();
    tree.file("proc/self/net/route", "h\noutside 00000000\n")
        .file("proc/self/mountinfo", "1 1 8:0 / / rw - ext4 /dev/sda rw\n");
    let devices = Host::at(tree.root()).devices().unwrap();
    assert_eq!(devices.len(), 1);
    assert_eq!((devices[0].driver.as_deref(), &devices[0].uses), (Some("driver"), &vec![]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Whatever the files say, every question has an answer.
    #[test]
    fn files_that_make_no_sense_do_no_harm(contents in proptest::collection::vec(garbage(), FILES.len())) {
        let tree = Tree::machine("6.12.9");
        let place = "pci0000:00/0000:00:06.0";
        tree.pci(place, NVME).bound(place, "nvme").group(1, MSI, &[place]);
        tree.mounted_disk(&format!("{place}/nvme/nvme0"), "nvme0n1", "/");
        tree.folder(&format!("sys/devices/{place}/net/eth0")).link("sys/class/net/eth0", &format!("sys/devices/{place}/net/eth0"));
        for (file, content) in FILES.iter().zip(&contents) {
            tree.file(file, content);
        }
        let host = Host::at(tree.root());
        for device in host.devices().unwrap() {
            let _ = (device.assignable(), told(&device), host.holders(&device));
            let _ = device.group.and_then(|group| group.windows(device.address_bits));
        }
        let doctor = host.doctor();
        prop_assert!(doctor.checks.iter().all(|check| !check.found.is_empty()));
        prop_assert!(host.notes().len() <= 1);
    }
}

/// Every file that is read.
const FILES: &[&str] = &[
    "sys/devices/pci0000:00/0000:00:06.0/vendor",
    "sys/devices/pci0000:00/0000:00:06.0/class",
    "sys/devices/pci0000:00/0000:00:06.0/config",
    "sys/devices/pci0000:00/0000:00:06.0/resource",
    "sys/devices/pci0000:00/0000:00:06.0/numa_node",
    "sys/devices/pci0000:00/0000:00:06.0/driver_override",
    "sys/devices/pci0000:00/0000:00:06.0/boot_vga",
    "sys/devices/pci0000:00/0000:00:06.0/iommu/intel-iommu/cap",
    "sys/devices/pci0000:00/0000:00:06.0/nvme/nvme0/nvme0n1/dev",
    "sys/kernel/iommu_groups/1/reserved_regions",
    "sys/kernel/iommu_groups/1/type",
    "sys/kernel/iommu_groups/1/name",
    "sys/class/tty/console/active",
    "sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages",
    "sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages",
    "sys/kernel/mm/hugepages/hugepages-18014398509481984kB/nr_hugepages",
    "sys/kernel/mm/transparent_hugepage/enabled",
    "sys/kernel/security/lockdown",
    "sys/module/vfio/parameters/enable_unsafe_noiommu_mode",
    "sys/module/vfio_iommu_type1/parameters/dma_entry_limit",
    "proc/self/mountinfo",
    "proc/self/net/route",
    "proc/self/net/if_inet6",
    "proc/self/cgroup",
    "proc/self/limits",
    "proc/self/status",
    "proc/self/uid_map",
    "proc/swaps",
    "proc/cmdline",
    "proc/cpuinfo",
    "proc/devices",
    "proc/interrupts",
    "proc/meminfo",
    "proc/sys/vm/max_map_count",
    "proc/sys/kernel/osrelease",
    "proc/77/comm",
    "etc/group",
    "usr/share/misc/pci.ids",
    "sys/fs/cgroup/memory.max",
    "run/vcm/bindings/pci-0000:00:06.0",
];

fn garbage() -> impl Strategy<Value = Vec<u8>> {
    let known = [
        "",
        "\n",
        "0",
        "-1",
        "0x",
        "0x0",
        "0xffffffffffffffff",
        "18446744073709551616",
        "18446744073709551615",
        "Y",
        "[always] madvise",
        "[",
        "]",
        "../../etc/passwd",
        "0::/a/../../b",
        "9:memory:/a/b",
        "Uid: 1 1",
        "Groups: 99999999999",
        "Max locked memory 8388608 8388608 bytes",
        "CapEff: zz",
        "vendor_id : x\nflags : vmx",
        "MemTotal: 18446744073709551615 kB",
        "0xffffffffffffffff 0x0 msi",
        "0x0 0xffffffffffffffff reserved\n0x0 0x0 direct",
        "1 2 3 4 5 - 6 7",
        "a - b",
        "\\",
        "\\0",
        "0x0 0xffffffffffffffff 0x200",
        "8086 x\n\t1 y\n\t\t\u{fc}\n\u{fc}\u{fc}",
        "6.",
        "999999999999.1",
        "a:b:c:d",
        "IR-",
        "\u{1b}[2J",
    ];
    prop_oneof![
        4 => proptest::sample::select(known.to_vec()).prop_map(|text| text.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..200),
        1 => Just(vec![b'9'; 5_000]),
    ]
}
