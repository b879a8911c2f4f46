//! What mapping, unmapping and waiting for an interrupt cost, beside the bare system calls that do the same.
//!
//! Both are made in the same run, in turns, on the same address space, and the bare calls twice: what these two differ by is
//! what cannot be measured here. Before that the same program runs once as a child whose system calls are counted.

#[path = "mapping_cost/bare.rs"]
mod bare;
#[path = "mapping_cost/count.rs"]
mod count;
#[path = "mapping_cost/layers.rs"]
mod layers;
#[path = "mapping_cost/measure.rs"]
mod measure;
#[path = "mapping_cost/options.rs"]
mod options;
#[path = "mapping_cost/regions.rs"]
mod regions;
#[path = "mapping_cost/report.rs"]
mod report;
#[path = "mapping_cost/world.rs"]
mod world;

use measure::Bench;
use options::Options;
use vcm::{SIZE_2M, SIZE_4K};
use vcm_linux::memory::{MemoryRequest, PageKind};
use vcm_linux::platform::Interface;
use vcm_linux::vfio::{DeviceName, Verdict, Way, probe};

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// What is mapped.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) name: &'static str,
    pub(crate) len: u64,
    pub(crate) pages: PageKind,
}

const SIZES: [Size; 3] = [
    Size { name: "4K", len: SIZE_4K, pages: PageKind::Ordinary },
    Size { name: "2M", len: SIZE_2M, pages: PageKind::Ordinary },
    Size { name: "2M, a huge page", len: SIZE_2M, pages: PageKind::Huge2M },
];

fn main() {
    if let Err(error) = run() {
        eprintln!("mapping_cost: {error}");
        std::process::exit(1);
    }
}

fn run() -> Outcome<()> {
    let Some(options) = Options::parse(std::env::args().skip(1))? else { return Ok(()) };
    let mut bench = if options.traced {
        Bench::traced()
    } else {
        match count::of_child(&options) {
            Ok(counts) => Bench::new(options.rounds, counts),
            Err(error) => {
                let mut bench = Bench::new(options.rounds, Vec::new());
                bench.note(format!("the system calls could not be counted: {error}"));
                bench
            }
        }
    };
    measure_all(&options, &mut bench)?;
    if !options.traced {
        report::print(&bench, options.json);
    }
    Ok(())
}

fn measure_all(options: &Options, bench: &mut Bench) -> Outcome<()> {
    let huge = MemoryRequest::new("probe", SIZE_2M).pages(PageKind::Huge2M).create();
    let mut sizes = SIZES.to_vec();
    if let Err(error) = huge {
        bench.note(format!("without huge pages: {error}"));
        sizes.retain(|size| size.pages == PageKind::Ordinary);
    }
    let ways = ways(options, bench)?;
    layers::measure(options, &sizes, &ways, bench)?;
    world::measure(options, &sizes, &ways, bench)
}

/// The ways to the device that are open.
fn ways(options: &Options, bench: &mut Bench) -> Outcome<Vec<Way>> {
    let Some(device) = &options.device else {
        bench.note(
            "no device (--device): nothing is pinned, no page table is written, and there is no container",
        );
        return Ok(Vec::new());
    };
    let _bound = layers::BoundDevice::new(device)?;
    let mut ways = Vec::new();
    for found in probe(&DeviceName::new(device)?)? {
        match found.verdict {
            _ if found.way == Way::NoIommu => {}
            Verdict::Open => ways.push(found.way),
            _ => bench.note(format!("not by {}: {}", found.way, found.reason)),
        }
    }
    if ways.is_empty() {
        return Err(format!("there is no way to {device}").into());
    }
    Ok(ways)
}

const fn interface(way: Way) -> Interface {
    match way {
        Way::Cdev => Interface::Iommufd,
        _ => Interface::Container,
    }
}
