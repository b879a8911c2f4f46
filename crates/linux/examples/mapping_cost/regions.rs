//! A large buffer that several regions see.

use crate::Outcome;
use crate::count::Counts;
use crate::measure::Bench;
use crate::options::Options;
use crate::world::World;
use std::time::{Duration, Instant};
use vcm::{AllocationId, AllocationRequest, Attributes, RegionId, Segment, Teardown};
use vcm_linux::vfio::Way;

const REGIONS: [usize; 4] = [1, 2, 4, 8];
/// Of the buffer that is not in one piece, about.
const BLOCKS: u64 = 64;

/// One buffer in several regions.
pub(crate) struct Shared {
    pub(crate) regions: String,
    pub(crate) blocks: u64,
    pub(crate) back: Duration,
    pub(crate) unback: Duration,
    pub(crate) calls: Option<[Counts; 2]>,
}

pub(crate) fn measure(
    world: &mut World,
    first: RegionId,
    options: &Options,
    way: Option<Way>,
    bench: &mut Bench,
) -> Outcome<()> {
    let most = REGIONS[REGIONS.len() - 1];
    let mut regions = vec![first];
    while regions.len() < most {
        regions.push(world.process_region()?);
    }
    let whole = world.allocate("whole", options.buffer)?;
    let scattered = scattered(world, options.buffer)?;
    for (buffer, blocks) in [(whole, 1), scattered] {
        for count in REGIONS {
            let name = match way {
                Some(Way::Cdev) => "an IOAS",
                Some(_) => "a container",
                None => "this process",
            };
            let others = if way.is_some() && count > 1 { " and this process" } else { "" };
            let name = format!("{count}: {name}{others}");
            one(world, &regions[..count], (buffer, options.buffer, blocks), name, bench)?;
        }
        world.graph.free(buffer, &mut world.linux)?;
    }
    Ok(())
}

/// A buffer of blocks between which others are, and how many it has.
fn scattered(world: &mut World, len: u64) -> Outcome<(AllocationId, u64)> {
    let block = len / BLOCKS;
    let all = (0..2 * BLOCKS).map(|_| world.allocate("scattered", block)).collect::<Outcome<Vec<_>>>()?;
    for one in all.iter().step_by(2) {
        world.graph.free(*one, &mut world.linux)?;
    }
    let pool = world.machine.pool("scattered").ok_or("no such memory")?;
    let target = world.graph.add_target("buffer", &[pool])?;
    let buffer = world.graph.allocate(target, &AllocationRequest::new("buffer", len), &mut world.linux)?;
    // Neighbours are one.
    let blocks = world.graph.allocation(buffer)?.blocks;
    let apart = |pair: &&[Segment]| pair[0].base.checked_add(pair[0].len) != Some(pair[1].base);
    let count = 1 + blocks.windows(2).filter(apart).count() as u64;
    Ok((buffer, count))
}

fn one(
    world: &mut World,
    regions: &[RegionId],
    (buffer, len, blocks): (AllocationId, u64, u64),
    name: String,
    bench: &mut Bench,
) -> Outcome<()> {
    let World { graph, linux, .. } = world;
    let mut reservations = Vec::new();
    for region in regions {
        reservations.push(graph.reserve(*region, len, Attributes::READ_WRITE)?);
    }
    let start = Instant::now();
    bench.marked(|| -> Outcome<()> {
        for reservation in &reservations {
            graph.back(*reservation, buffer, linux)?;
        }
        Ok(())
    })?;
    let back = start.elapsed();
    let start = Instant::now();
    let gone = bench.marked(|| {
        let mut all = reservations.iter().map(|reservation| graph.unback(*reservation, linux));
        all.all(|done| done == Teardown::Done)
    });
    let unback = start.elapsed();
    if !gone {
        return Err("the kernel has not let everything go".into());
    }
    for reservation in reservations {
        graph.unreserve(reservation)?;
    }
    let calls = bench.next_counts().zip(bench.next_counts()).map(|(back, unback)| [back, unback]);
    bench.shared.push(Shared { regions: name, blocks, back, unback, calls });
    Ok(())
}
