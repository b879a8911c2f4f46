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
