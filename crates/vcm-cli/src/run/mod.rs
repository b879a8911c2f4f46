//! Running a scenario on a machine.

mod build;
mod contents;
mod cpu;
mod expect;
mod failure;
mod interrupts;
mod judge;
mod log;
mod look;
mod measure;
mod record;
mod snapshot;
mod steps;
mod teardown;
mod transfer;
mod visit;
mod world;

pub use log::{Progress, Silent};
pub use record::{Buffer, Check, Counts, Faulted, Interrupted, Leaks, Mapper, Measured, Record, Transferred};
pub use snapshot::{BufferNode, LinkEdge, MappingEdge, MasterNode, MemoryNode, RegionNode, Snapshot};

pub(crate) use interrupts::per;
pub(crate) use log::Log;

use crate::machine::Machine;
use crate::problem::Problem;
use crate::scenario::Scenario;
use steps::Next;
use world::World;

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Run {
    /// All that was found out.
    pub record: Record,
    /// The graph when most was mapped.
    pub fullest: Snapshot,
}

/// Runs a scenario: makes what it declares, does its steps, looks at every buffer, takes everything down, and then
/// measures what it measures. `seed` counts instead of the scenario's own.
///
/// # Errors
/// The scenario checks nothing, or the machine cannot be had or has not what the scenario names. What does
/// not hold is no error: it is in the record.
pub fn run(
    scenario: &Scenario,
    machine: &dyn Machine,
    seed: Option<u64>,
    progress: &mut dyn Progress,
) -> Result<Run, Problem> {
    if !scenario.checks_something() {
        let problem = Problem::new(format!("scenario {} checks nothing", scenario.name));
        return Err(problem
            .with_help("give it a [[region]], a [[buffer]], an [[interrupt]], a [[step]] or a [measure]"));
    }
    if let (Some(why), Some(place)) = (machine.records_no_faults(), scenario.first_fault()) {
        let problem = format!("{} records no faults, which this is about: {why}", machine.name());
        return Err(Problem::at(place, problem).with_help("`vcm machines` lists others"));
    }
    let seed = seed.unwrap_or(scenario.seed);
    let record = Record {
        ok: false,
        scenario: scenario.name.clone(),
        about: scenario.about.clone(),
        machine: machine.name().into(),
        seed,
        checks: Vec::new(),
        buffers: Vec::new(),
        transfers: Vec::new(),
        faults: Vec::new(),
        interrupts: Vec::new(),
        leaks: Leaks::default(),
        measurements: Vec::new(),
        notes: Vec::new(),
        warnings: Vec::new(),
        of_the_machine: 0,
        graph: serde_json::Value::Null,
    };
    let mut log = Log::new(record, progress);
    let mut fullest = Snapshot::default();
    if !scenario.only_measures() {
        fullest = act(scenario, machine, seed, &mut log)?;
    }
    if let Some(spec) = &scenario.measure {
        measure::measure(scenario, spec, machine, seed, &mut log)?;
    }
    let mut record = log.record;
    let held = !record.checks.is_empty() && record.checks.iter().all(|check| check.ok);
    record.ok = held && record.leaks == Leaks::default();
    Ok(Run { record, fullest })
}

/// Declarations, steps, the last look, and teardown.
fn act(
    scenario: &Scenario,
    machine: &dyn Machine,
    seed: u64,
    log: &mut Log<'_>,
) -> Result<Snapshot, Problem> {
    let mut platform = machine.switch_on(None)?;
    log.record.notes = platform.notes().to_vec();
    platform.warnings().iter().for_each(|warning| log.warn(warning.clone()));
    log.record.of_the_machine = platform.warnings().len();
    let mut world = World::new(&mut *platform, machine.bindings(), scenario)?;
    let mut gallery = Gallery::default();
    let mut next = world.declare(scenario, log)?;
    gallery.take(&world, log)?;
    let mut done = 0;
    for (number, step) in (1..).zip(&scenario.steps) {
        if next == Next::Stop {
            break;
        }
        next = world.step(step, number, seed, log)?;
        gallery.take(&world, log)?;
        done = number;
    }
    if next == Next::Stop && done < scenario.steps.len() as u64 {
        let left = scenario.steps.len() as u64 - done;
        let left = many(left, "step");
        log.warn(format!("stopped at the first thing that could not be had; {left} not done"));
    }
    world.look(log);
    world.end_interrupts(log);
    world.tear_down("", log);
    Ok(gallery.fullest)
}

/// A number of things: `1 fault`, `2 faults`, `3 TLB misses`.
fn many(count: u64, thing: &str) -> String {
    match thing.strip_suffix('y') {
        _ if count == 1 => format!("1 {thing}"),
        Some(stem) => format!("{count} {stem}ies"),
        None if thing.ends_with('s') => format!("{count} {thing}es"),
        None => format!("{count} {thing}s"),
    }
}

/// Keeps the fullest picture of the graph, and of each buffer.
#[derive(Default)]
struct Gallery {
    fullest: Snapshot,
}

impl Gallery {
    fn take(&mut self, world: &World<'_>, log: &mut Log<'_>) -> Result<(), Problem> {
        let now = Snapshot::of(world);
        for buffer in now.buffers() {
            match log.record.buffers.iter_mut().find(|known| known.name == buffer.name) {
                Some(known) if known.mappers.len() <= buffer.mappers.len() => *known = buffer,
                Some(_) => {}
                None => log.record.buffers.push(buffer),
            }
        }
        if now.fullness() >= self.fullest.fullness() {
            let json = serde_json::to_value(world.graph.view());
            log.record.graph = json.map_err(|error| Problem::new(format!("the graph: {error}")))?;
            self.fullest = now;
        }
        Ok(())
    }
}
