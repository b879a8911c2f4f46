//! The command line.

use clap::{Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// One mapping graph for every bus master, and devices' interrupts forwarded to guests, on simulated SoCs and
/// on QEMU's IOMMUs.
#[derive(Parser, Debug)]
#[command(
    name = "vcm",
    version,
    max_term_width = 100,
    arg_required_else_help = true,
    after_help = "\
Examples:
  vcm run walkthrough                    a device and the CPU share a buffer
  vcm run block-sizes --report out.html  TLB misses by block size, with charts
  vcm run forward --report out.html      an interrupt's way to a guest, and what it costs
  vcm graph three-mappings               who maps what, as text
  vcm run three-mappings --machine qemu-smmuv3
                                         the same on Arm's SMMUv3 as QEMU models it
  vcm scenarios                          what else there is to run
  vcm doctor                             what this machine can do, and what it lacks
  vcm devices                            its devices, and which of them can be assigned

Exit status: 0 when everything held, 1 when a check failed, 2 when the scenario, the machine or the command line is wrong."
)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the program does.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run a scenario and check all that has to hold.
    Run(RunArguments),
    /// Draw a scenario's graph when most is mapped.
    Graph(GraphArguments),
    /// Show what a device tree says: IOMMUs, bus masters, memories.
    Topology(TopologyArguments),
    /// List the machines that come with the program, whether they can be had here, and what they call the roles of
    /// scenarios.
    Machines(MachinesArguments),
    /// List the scenarios that come with the program.
    Scenarios(ScenariosArguments),
    /// Say what this machine can do (IOMMU, VFIO, iommufd, KVM, huge pages, limits), and what would enable the rest.
    Doctor(DoctorArguments),
    /// Show this machine's devices, whether they can be assigned, and bind them to VFIO and back.
    Devices(DevicesArguments),
}

/// Which machine, and what it calls things.
#[derive(clap::Args, Debug)]
pub struct MachineArguments {
    /// The machine: a shipped one (`vcm machines`), a machine's file or a device tree blob. [default: the scenario's, or
    /// msm8x60]
    #[arg(long, short, value_name = "NAME|FILE.toml|FILE.dtb")]
    pub machine: Option<String>,
    /// Let a role of the scenario be played by this device. Can be given several times.
    #[arg(long, value_name = "ROLE=DEVICE")]
    pub bind: Vec<String>,
}

/// Arguments of `vcm run`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
A scenario is a TOML file: what there is, what happens, what must hold. The smallest one:

  [[region]]                  # an address space...
  name = \"codec space\"
  kind = \"translated\"         # ...behind an IOMMU
  [[association]]
  region = \"codec space\"
  device = \"codec\"            # a role; the machine says which device plays it
  [[buffer]]
  name = \"frame\"
  len = \"2M\"
  [[share]]                   # map the buffer there
  buffer = \"frame\"
  region = \"codec space\"
  [[step]]                    # the device writes a pattern; at the end the CPU compares every byte
  do = \"write\"
  device = \"codec\"
  to = \"frame\"

scenarios/README.md describes every key. `vcm scenarios NAME` prints a shipped one to start from.

Examples:
  vcm run walkthrough
  vcm run my.toml --machine two-banks --bind codec=encoder@10202000
  vcm run my.toml --machine board.dtb --json - | jq .leaks
  vcm run block-sizes --report misses.html

Exit status: 0 when everything held and nothing leaked, 1 when a check failed, 2 when the scenario, the machine or the command line is wrong.")]
pub struct RunArguments {
    /// A scenario: a TOML file, or the name of a shipped one (`vcm scenarios`).
    pub scenario: String,
    /// On which machine.
    #[command(flatten)]
    pub machine: MachineArguments,
    /// Write what was found as JSON; `-` for standard output (the summary then goes to standard error).
    #[arg(long, value_name = "FILE|-")]
    pub json: Option<PathBuf>,
    /// Write a report as one HTML file: graph, charts, tables.
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,
    /// Count the seeds of all patterns from this number.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Print only what did not hold.
    #[arg(long, short)]
    pub quiet: bool,
}

/// How a graph is drawn.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum GraphFormat {
    /// A drawing for browsers.
    Svg,
    /// Graphviz's language.
    Dot,
    /// A tree of text.
    Text,
}

/// Arguments of `vcm graph`.
#[derive(clap::Args, Debug)]
pub struct GraphArguments {
    /// A scenario: a TOML file, or the name of a shipped one.
    pub scenario: String,
    /// On which machine.
    #[command(flatten)]
    pub machine: MachineArguments,
    /// How to draw.
    #[arg(long, value_enum, default_value_t = GraphFormat::Text)]
    pub format: GraphFormat,
    /// Where to. [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Arguments of `vcm topology`.
#[derive(clap::Args, Debug)]
pub struct TopologyArguments {
    /// A device tree blob, or the name of a shipped machine.
    #[arg(value_name = "FILE.dtb|NAME")]
    pub machine: String,
    /// Write it as JSON; `-` for standard output.
    #[arg(long, value_name = "FILE|-")]
    pub json: Option<PathBuf>,
}

/// Arguments of `vcm machines`.
#[derive(clap::Args, Debug)]
pub struct MachinesArguments {
    /// Write the list as JSON; `-` for standard output.
    #[arg(long, value_name = "FILE|-")]
    pub json: Option<PathBuf>,
}

/// Arguments of `vcm scenarios`.
#[derive(clap::Args, Debug)]
pub struct ScenariosArguments {
    /// Print the text of this one.
    pub name: Option<String>,
}

/// Arguments of `vcm doctor`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Each line is a check: how it came out, what was looked at, what was seen; where it helps, what that means, and after `->` the command that would enable it. It needs no privilege and changes nothing.

  ok       it is there
  limited  it is there, with a limit that one should know of
  off      it can be had and is not turned on; most do without
  missing  it is not there, or not for this user
  unknown  it cannot be seen from here, and why

Examples:
  vcm doctor
  sudo vcm doctor                        what root may do
  vcm doctor --require iommufd,kvm       for scripts: exit status 1 and what is missing
  vcm doctor --json - | jq -r '.checks[] | select(.state == \"missing\") | .enable'

Names for --require: iommu, groups, interrupt-remapping, iommufd, vfio-cdev, vfio-type1, vfio-pci, vfio-noiommu, kvm, cpu-virtualization, nested, hugepages-2M, hugepages-1G, thp, udmabuf, dma-heap, locked-memory, memory-cgroup, map-count, kernel, lockdown, user.

Exit status: 0, whatever is missing; 1 when something that --require names is neither ok nor limited; 2 when the command line is wrong.")]
pub struct DoctorArguments {
    /// Write what was found as JSON instead; `-` for standard output.
    #[arg(long, value_name = "FILE|-")]
    pub json: Option<PathBuf>,
    /// Fail unless these checks are ok or limited.
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    pub require: Vec<String>,
    /// Look at the machine whose /sys, /proc and /dev are in this folder.
    #[arg(long, value_name = "FOLDER", default_value = "/")]
    pub root: PathBuf,
}

/// Arguments of `vcm devices`.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
A device can be assigned to a guest or a user-space driver when it is bound to the driver vfio-pci (on the platform bus: vfio-platform), and no device of its IOMMU group is bound to a driver of the kernel.

  ready       it is bound, and can be opened
  yes         --bind is all it takes
  with group  other devices of its group have to be bound as well
  IN USE      the machine uses it: a mounted disk, the network, the console
  no          not on this machine as it is, and why

--bind notes the former driver in /run/vcm before it touches the device. --restore gives the device back, also after the program that bound it was killed.

Examples:
  vcm devices                            what there is
  vcm devices 00:1f.6                    one device: group, IOVA windows, BARs, what to do
  sudo vcm devices --bind 03:00.0 --bind 03:00.1
                                         a card with two functions in one group: both or none
  sudo vcm devices --restore 03:00.0     back to its driver
  sudo vcm devices --restore             all that was taken and not given back
  vcm devices --json - | jq -r '.[] | select(.assignable == \"yes\") | .name'

Exit status: 0 when it is done, 1 when a device of several was not given back, 2 when something else is wrong.")]
pub struct DevicesArguments {
    /// Show all that is known of this one: a PCI address, with or without domain, or a platform device's name.
    #[arg(conflicts_with_all = ["bind", "restore", "all"])]
    pub device: Option<String>,
    /// Show bridges, and platform devices without an IOMMU, as well.
    #[arg(long)]
    pub all: bool,
    /// Bind this device to VFIO. Can be given several times: all of them or none.
    #[arg(long, value_name = "DEVICE", conflicts_with_all = ["restore", "all", "json"])]
    pub bind: Vec<String>,
    /// Give this device back to its driver, or all that were taken from theirs.
    #[arg(long, value_name = "DEVICE", num_args = 0..=1, conflicts_with_all = ["all", "json"])]
    pub restore: Option<Option<String>>,
    /// With --bind: also a device that the machine uses. Its file systems fail, its connections end.
    #[arg(long, requires = "bind")]
    pub force: bool,
    /// Wait this long for a device to leave its driver.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub wait: u64,
    /// Write what was found as JSON instead; `-` for standard output.
    #[arg(long, value_name = "FILE|-")]
    pub json: Option<PathBuf>,
    /// Look at the machine whose /sys, /proc and /dev are in this folder.
    #[arg(long, value_name = "FOLDER", default_value = "/")]
    pub root: PathBuf,
}
