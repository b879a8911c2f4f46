//! What the simulation costs: nanoseconds of the host for each transaction, by layout and by what is in the way.

use std::time::Instant;
use vcm::{Attributes, Hardware, Part, PhysicalAddress, Segment, Segments};
use vcm_platform::topology::{Topology, shipped};
use vcm_platform::{Event, Layout, Platform, Rectangle, Surface, Transfer};
use vcm_soc::Soc;
use vcm_soc::hardware::Options;

const LEN: u64 = 16 << 20;

fn main() {
    let picture = Rectangle { width: 1024, height: 1024, bytes_per_pixel: 4, stride: 4096 };
    let layouts = [
        ("linear", Layout::Linear { len: LEN }),
        ("columns", Layout::Columns(picture)),
        ("tiled", Layout::Tiled { picture, tile_width: 16, tile_height: 16 }),
        ("scattered", Layout::Scattered { len: LEN, piece: 64, seed: 1 }),
    ];
    println!(
        "{:<16}{:<8}{:<12}{:>14}{:>12}{:>12}",
        "master", "page", "layout", "transactions", "ns each", "misses"
    );
    for (master, block) in [("vcodec_a_mm1", 1 << 20), ("vcodec_a_mm1", 1 << 12), ("dsp", 1 << 20)] {
        for (name, layout) in layouts {
            let topology = shipped("msm8x60").map(Topology::from_device_tree);
            let Some(Ok(topology)) = topology else { panic!("no topology") };
            let mut soc = Soc::new(&topology, &Options::default()).expect("a machine");
            let device = soc.devices().iter().find(|device| device.name == master).expect("a master").clone();
            let format = soc.format(device.handle, Part::Whole).expect("a format");
            let space = soc.create_space(device.kind, format, format.addresses).expect("a space");
            let memory = soc.memories().last().expect("a memory").span.first();
            // Every second block of memory, so that they make no larger page.
            for at in (0..LEN).step_by(block) {
                let block = block as u64;
                let blocks = [Segment { base: PhysicalAddress::new(memory + 2 * at), len: block }];
                let segments = Segments::new(&blocks, 0, block);
                soc.map(space, 0x1000_0000 + at, segments, Attributes::READ_WRITE).expect("a mapping");
            }
            soc.attach(space, device.handle, Part::Whole).expect("attached");
            let before = soc.statistics().transactions;
            let start = Instant::now();
            let to = Surface { address: 0x1000_0000, layout };
            soc.start(device.handle, &Transfer::Write { to, seed: 1 }, vcm::Privilege::User)
                .expect("started");
            let mut misses = 0;
            while let Some(event) = soc.next_event().expect("a sound machine") {
                if let Event::Completed { report, .. } = event {
                    misses = report.tlb_misses;
                }
            }
            let took = start.elapsed();
            let transactions = soc.statistics().transactions - before;
            let each = took.as_nanos() as f64 / transactions as f64;
            let page = vcm::Bytes(block as u64).to_string();
            println!("{master:<16}{page:<8}{name:<12}{transactions:>14}{each:>12.1}{misses:>12}");
        }
    }
}
