//! A user-space NVMe driver on one page: it takes a controller from the kernel, writes its disk and reads it back through
//! several queues, each with a thread and an interrupt of its own, and tells how quickly; beside the kernel's own driver, if
//! wanted. What drives the controller is in `vcm-devices`, and knows nothing of Linux.

#[path = "nvme/compare.rs"]
mod compare;
#[path = "nvme/options.rs"]
mod options;
#[path = "nvme/world.rs"]
mod world;

use options::Options;
use std::sync::Arc;
use std::time::{Duration, Instant};
use vcm::Iova;
use vcm_devices::{Nvme, NvmeConfig, NvmeMessages, NvmeQueue, NvmeQueueConfig};
use vcm_linux::memory::DriverMemory;
use vcm_linux::vfio::{BarMapping, Interrupt, MSIX};
use vcm_platform::Platform;
use world::{Content, World};

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

const PAGE: u64 = 4096;
const QUEUE: NvmeQueueConfig = NvmeQueueConfig { entries: 64, in_flight: 16, vector: None };

fn main() {
    if let Err(error) = run() {
        eprintln!("nvme: {error}");
        std::process::exit(1);
    }
}

fn run() -> Outcome<()> {
    let options = Options::parse(std::env::args().skip(1))?;
    let mut world = World::new(&options)?;
    let driven = drive(&options, &mut world);
    // In the kernel's own words, if it was the kernel.
    let why = world.linux.explanation().map_or_else(String::new, |why| format!(": {why}"));
    let down = world.take_down();
    driven.map_err(|error| format!("{error}{why}"))?;
    down
}

fn drive(options: &Options, world: &mut World) -> Outcome<()> {
    // One buffer at addresses of the device and of this process; the driver's pages at addresses of the device.
    let (device, process) = (world.region("nvme")?, world.region("cpu")?);
    let data = world.allocate("data", options.size)?;
    let (at, here) = (world.back(device, data, options.size)?, world.back(process, data, options.size)?);
    let mut own = world.own_pages(device, "queues", options.own_pages())?;
    println!(
        "a buffer at {at:#x} for the device and at {here:#x} here, in pages of {}",
        world.pages(device, at)
    );

    // The controller, and its queues. The first interrupt is for its own commands, and nobody waits for that.
    let vfio = Arc::clone(world.linux.device(world.linux.devices()[0].handle)?);
    let mut interrupts = vfio.interrupts(MSIX, u32::from(options.queues) + 1)?.into_iter();
    let _own = interrupts.next();
    let config = NvmeConfig { queues: options.queues, messages: NvmeMessages::Msix, ..NvmeConfig::default() };
    let (memory, pages) = own.take(NvmeConfig::PAGES)?;
    let mut nvme = Nvme::start(vfio.map(0)?, memory, config, pages)?;
    let told = nvme.information().clone();
    println!("{told}");
    if options.size / told.block_len > told.blocks {
        return Err("the buffer is larger than the disk".into());
    }
    let mut lanes = Vec::new();
    for (vector, interrupt) in (1..=told.queues).zip(&mut interrupts) {
        let (memory, pages) = own.take(QUEUE.pages(PAGE))?;
        let config = NvmeQueueConfig { vector: Some(vector), ..QUEUE };
        lanes.push(Lane { queue: nvme.create_queue(vfio.map(0)?, memory, config, pages)?, interrupt });
    }

    println!("queues    written       read    by the kernel's driver:    written       read    (MB/s)");
    let mut count = 1;
    loop {
        // Each queue has its part of the buffer and of the disk.
        let part = options.size / count as u64 / PAGE * PAGE;
        let blocks = part / told.block_len;
        let total = part * count as u64;
        let rate = |time: Duration| total as f64 / 1e6 / time.as_secs_f64();
        world.fill(here, total, Content::Pattern)?;
        let written = timed(&mut lanes[..count], |number, Lane { queue, interrupt }| {
            let wait = |left| drop(interrupt.wait(Some(left)));
            queue.write_with(number * blocks, Iova::new(at + number * part), part, wait)?;
            Ok(queue.flush_with(wait)?)
        })?;
        world.fill(here, total, Content::Zeros)?;
        let read = timed(&mut lanes[..count], |number, Lane { queue, interrupt }| {
            let wait = |left| drop(interrupt.wait(Some(left)));
            Ok(queue.read_with(number * blocks, Iova::new(at + number * part), part, wait)?)
        })?;
        world.check(here, total)?;
        print!("{count:6} {:10.1} {:10.1}", rate(written), rate(read));
        if let Some(disk) = &options.compare {
            let (written, read) = compare::by_the_kernel(disk, count, part)?;
            print!(" {:37.1} {:10.1}", rate(written), rate(read));
        }
        println!();
        if count == lanes.len() {
            break;
        }
        count = (2 * count).min(lanes.len());
    }
    println!("all bytes came back");
    Ok(nvme.stop()?)
}

/// A queue and its interrupt, for one thread.
struct Lane {
    queue: NvmeQueue<BarMapping, DriverMemory>,
    interrupt: Interrupt,
}

/// How long it takes to do `work` for all, with a thread each: the best time of three.
fn timed<T: Send>(all: &mut [T], work: impl Fn(u64, &mut T) -> Outcome<()> + Sync) -> Outcome<Duration> {
    let (mut best, work) = (Duration::MAX, &work);
    for _ in 0..3 {
        let begun = Instant::now();
        std::thread::scope(|scope| {
            let start = |(number, one)| scope.spawn(move || work(number, one));
            let threads: Vec<_> = (0..).zip(&mut *all).map(start).collect();
            threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a thread panicked")?)
        })?;
        best = best.min(begun.elapsed());
    }
    Ok(best)
}
