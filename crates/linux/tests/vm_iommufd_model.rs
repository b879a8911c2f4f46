//! Random steps of the mapping graph, and of one address space: graph, kernel and a naive model agree after each.

mod vm_iommufd_support;

use std::collections::BTreeMap;
use vcm::{Access, AllocationId, Part, ReservationId, SIZE_4K, Teardown};
use vcm_linux::iommufd::Ioas;
use vcm_linux::iommufd::mock::{Abilities, MockAccess, MockDevice, Needs};
use vm_iommufd_support::world::{ONE, OTHER, RW, WINDOW, World};
use vm_iommufd_support::*;

/// What a naive model knows of a reservation.
#[derive(Debug)]
struct Known {
    id: ReservationId,
    region: usize,
    first: u64,
    pages: u64,
    backed: Option<(usize, u64)>,
}

/// What it knows of an allocation: its pages.
#[derive(Debug)]
struct Memory {
    id: AllocationId,
    pages: Vec<u64>,
}

fn run_random_steps(seed: u64, steps: u64) {
    let mut numbers = Numbers::from_seed(seed);
    let mut world = World::new(96);
    let starts = [ONE, OTHER];
    let made = [world.region("one", ONE, 0), world.region("other", OTHER, 1)];
    let shared = world.graph.associate(made[0].0, world.devices[2], Part::Whole, &mut world.machine).unwrap();
    let links = [made[0].1, made[1].1, shared];
    let mut known: Vec<Known> = Vec::new();
    let mut memories: Vec<Option<Memory>> = Vec::new();
    for step in 0..steps {
        match numbers.below(10) {
            0 | 1 => {
                let pages = 1 + numbers.below(6);
                let Ok(id) = world.allocate(pages) else { continue };
                let blocks = world.graph.allocation(id).unwrap().blocks;
                let pages = blocks
                    .iter()
                    .flat_map(|block| (0..block.len / SIZE_4K).map(|page| block.base.raw() + page * SIZE_4K))
                    .collect();
                memories.push(Some(Memory { id, pages }));
            }
            2 => {
                let Some(index) = pick(&mut numbers, memories.len()) else { continue };
                let Some(memory) = &memories[index] else { continue };
                let used = known.iter().any(|one| one.backed.is_some_and(|(of, _)| of == index));
                let freed = world.graph.free(memory.id, &mut world.machine);
                assert_eq!(freed.is_ok(), !used, "step {step}: {freed:?}");
                if freed.is_ok() {
                    memories[index] = None;
                }
            }
            3 | 4 => {
                let region = numbers.below(2) as usize;
                let (page, pages) = (numbers.below(WINDOW), 1 + numbers.below(6));
                let first = starts[region] + page * PAGE;
                let made = world.graph.reserve_at(made[region].0, first, pages * PAGE, RW);
                let overlaps = known.iter().any(|one| {
                    one.region == region
                        && one.first < first + pages * PAGE
                        && first < one.first + one.pages * PAGE
                });
                assert_eq!(made.is_ok(), !overlaps && page + pages <= WINDOW, "step {step}: {made:?}");
                if let Ok(id) = made {
                    known.push(Known { id, region, first, pages, backed: None });
                }
            }
            5..=7 => {
                let (Some(index), Some(with)) =
                    (pick(&mut numbers, known.len()), pick(&mut numbers, memories.len()))
                else {
                    continue;
                };
                let Some(memory) = &memories[with] else { continue };
                let one = &mut known[index];
                let offset = numbers.below(memory.pages.len() as u64);
                let backed = world.graph.back_at_offset(one.id, memory.id, offset * PAGE, &mut world.machine);
                let fits = offset + one.pages <= memory.pages.len() as u64;
                assert_eq!(backed.is_ok(), fits && one.backed.is_none(), "step {step}: {backed:?}");
                if backed.is_ok() {
                    one.backed = Some((with, offset));
                }
            }
            8 => {
                let Some(index) = pick(&mut numbers, known.len()) else { continue };
                let done = world.unback(known[index].id);
                let expected =
                    if known[index].backed.is_some() { Teardown::Done } else { Teardown::NothingThere };
                assert_eq!(done, expected, "step {step}");
                known[index].backed = None;
                if numbers.below(2) == 0 {
                    world.graph.unreserve(known[index].id).unwrap();
                    known.swap_remove(index);
                }
            }
            _ => {
                let link = links[numbers.below(3) as usize];
                if world.graph.is_active(link).unwrap() {
                    assert_eq!(world.graph.deactivate(link, &mut world.machine), Teardown::Done);
                } else {
                    world.graph.activate(link, &mut world.machine).unwrap();
                }
            }
        }
        for (region, first) in starts.into_iter().enumerate() {
            let mut model = BTreeMap::new();
            for one in known.iter().filter(|one| one.region == region) {
                let Some((with, offset)) = one.backed else { continue };
                let memory = memories[with].as_ref().unwrap();
                for page in 0..one.pages {
                    model.insert(one.first + page * PAGE, memory.pages[(offset + page) as usize]);
                }
            }
            world.judge(made[region].0, first, Some(&model));
        }
    }
    assert_eq!(world.graph.quarantined(), 0);
    assert!(world.machine.refusals.is_empty(), "{:?}", world.machine.refusals);
}

fn pick(numbers: &mut Numbers, len: usize) -> Option<usize> {
    (len > 0).then(|| numbers.below(len as u64) as usize)
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn random_steps_agree_with_a_naive_model_and_the_kernel() {
    for seed in 1..=3 {
        run_random_steps(seed, 250);
    }
}

/// One space, mapped anew and by copies of its own mappings, with devices that come and go.
fn run_random_mappings(seed: u64, steps: u64) {
    let mut numbers = Numbers::from_seed(seed);
    let memory = memory(32);
    let ioas = Ioas::new(&iommufd()).unwrap();
    let access = MockAccess::new(&ioas, Needs::Nothing).unwrap();
    let mut devices: Vec<MockDevice> = Vec::new();
    // First page and the pages of memory behind it.
    let mut model: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for step in 0..steps {
        let (first, len) = (numbers.below(WINDOW), 1 + numbers.below(8));
        let overlaps = |model: &BTreeMap<u64, Vec<u64>>| {
            model.iter().any(|(at, pages)| *at < first + len && first < at + pages.len() as u64)
        };
        let at = START + first * PAGE;
        match numbers.below(8) {
            0..=2 => {
                let page = numbers.below(32 - len);
                let part = memory.range(page * PAGE, len * PAGE).unwrap();
                let mapped = ioas.map_memory(iova(at), part, Access::READ_WRITE);
                assert_eq!(mapped.is_ok(), !overlaps(&model), "step {step}: {mapped:?}");
                if mapped.is_ok() {
                    model.insert(first, (page..page + len).collect());
                }
            }
            3 | 4 => {
                let from = numbers.below(WINDOW);
                let flat: BTreeMap<u64, u64> = flatten(&model);
                let source: Option<Vec<u64>> =
                    (from..from + len).map(|page| flat.get(&page).copied()).collect();
                let copied =
                    ioas.copy(&ioas, span(START + from * PAGE, len * PAGE), iova(at), Access::READ_WRITE);
                assert_eq!(copied.is_ok(), source.is_some() && !overlaps(&model), "step {step}: {copied:?}");
                if let (Ok(()), Some(source)) = (copied, source) {
                    model.insert(first, source);
                }
            }
            5 | 6 => {
                let cut = model.iter().any(|(start, pages)| {
                    let end = start + pages.len() as u64;
                    *start < first + len && first < end && (*start < first || first + len < end)
                });
                let unmapped = ioas.unmap_span(span(at, len * PAGE));
                assert_eq!(unmapped.is_ok(), !cut, "step {step}: {unmapped:?}");
                if !cut {
                    model.retain(|start, _| !(first..first + len).contains(start));
                }
            }
            _ if devices.len() < 2 => devices.push(MockDevice::attach(&ioas, Abilities::All).unwrap()),
            _ => drop(devices.swap_remove(0)),
        }
        assert_eq!(ioas.mappings(), model.len());
        let flat = flatten(&model);
        for page in 0..WINDOW + 8 {
            let at = iova(START + page * PAGE);
            let mut byte = [0];
            let read = access.read(at, &mut byte);
            match flat.get(&page) {
                Some(expected) => {
                    read.unwrap();
                    let there = memory.range(expected * PAGE, PAGE).unwrap();
                    assert_eq!(byte[0], pattern(expected * PAGE), "step {step}, page {page}");
                    assert!(
                        devices.iter().all(|device| device.sees(at, there).unwrap()),
                        "step {step}, page {page}"
                    );
                }
                None => assert!(read.is_err(), "step {step}, page {page}"),
            }
        }
    }
}

fn flatten(model: &BTreeMap<u64, Vec<u64>>) -> BTreeMap<u64, u64> {
    model
        .iter()
        .flat_map(|(first, pages)| {
            pages.iter().enumerate().map(move |(index, page)| (first + index as u64, *page))
        })
        .collect()
}

#[test]
#[ignore = "runs in a virtual machine: cargo xtask vm"]
fn random_mappings_and_copies_agree_with_a_naive_model() {
    for seed in 1..=3 {
        run_random_mappings(seed, 250);
    }
}
