//! All orders in which things can happen, to a depth; the shortest first.
//!
//! What is explored holds atomics and cannot be copied, so every state is reached again from the first one.
//! Two orders that lead to the same state are followed once: a state is all that the host, the virtual
//! machine, its vCPUs, the hardware and the guest have, without what is only counted.

use super::action::{About, Action};
use super::rig::Shape;
use super::world::World;
use std::collections::HashSet;
use std::fmt::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What an exploration found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Explored {
    pub(crate) states: usize,
    pub(crate) transitions: usize,
    pub(crate) depth: usize,
    /// No state is left that was not followed.
    pub(crate) complete: bool,
}

/// Explores.
pub(crate) fn explore(name: &str, shape: &Shape, about: About, first: &[Action], depth: usize) -> Explored {
    let depth = match std::env::var("VCM_EXPLORE_DEPTH") {
        Ok(text) => text.parse().expect("VCM_EXPLORE_DEPTH is a number"),
        Err(_) => depth,
    };
    let started = Instant::now();
    let watch = Watch::start(name);
    let mut explored = Explored { states: 1, transitions: 0, depth: 0, complete: false };
    let mut seen = HashSet::new();
    let mut level = vec![Vec::<Action>::new()];
    seen.insert(fingerprint(&replay(shape, first, &[])));
    while explored.depth < depth && !level.is_empty() {
        let mut next = Vec::new();
        for path in &level {
            let possible = Action::possible(&replay(shape, first, path), about);
            for action in possible {
                explored.transitions += 1;
                let mut longer = path.clone();
                longer.push(action);
                watch.at(&longer);
                let follow = guarded(name, &longer, || {
                    let world = replay(shape, first, path);
                    action.apply(&world);
                    let new = seen.insert(fingerprint(&world));
                    if new {
                        world.settle();
                    }
                    new
                });
                if follow {
                    explored.states += 1;
                    next.push(longer);
                }
            }
        }
        level = next;
        explored.depth += 1;
    }
    explored.complete = level.is_empty();
    let Explored { states, transitions, depth, complete } = explored;
    let whole = if complete { "all there are" } else { "there are more" };
    let seconds = started.elapsed().as_secs_f32();
    println!("{name}: {states} states ({whole}), {transitions} transitions, depth {depth}, {seconds:.1} s");
    explored
}

/// Follows one order of things.
pub(crate) fn replay(shape: &Shape, first: &[Action], path: &[Action]) -> World {
    let world = World::new(shape);
    for action in first.iter().chain(path) {
        action.apply(&world);
    }
    world
}

/// Says what happened before a failure.
fn guarded<R>(name: &str, path: &[Action], act: impl FnOnce() -> R) -> R {
    match catch_unwind(AssertUnwindSafe(act)) {
        Ok(result) => result,
        Err(cause) => {
            eprintln!("{name}: after {} steps:", path.len());
            for action in path {
                eprintln!("    {action:?},");
            }
            resume_unwind(cause)
        }
    }
}

/// Says where an exploration hangs, for nobody else could: a step that never ends.
struct Watch {
    path: Arc<Mutex<Vec<Action>>>,
    steps: Arc<AtomicU64>,
}

impl Watch {
    const PATIENCE: Duration = Duration::from_secs(20);

    fn start(name: &str) -> Self {
        let watch = Self { path: Arc::default(), steps: Arc::default() };
        let (path, steps) = (Arc::downgrade(&watch.path), watch.steps.clone());
        let name = name.to_owned();
        std::thread::spawn(move || {
            let mut before = 0;
            loop {
                std::thread::sleep(Self::PATIENCE);
                let now = steps.load(Ordering::Relaxed);
                let Some(path) = path.upgrade() else { return };
                if now == before {
                    eprintln!("{name}: hangs after");
                    for action in path.lock().expect("nobody panics with it").iter() {
                        eprintln!("    {action:?},");
                    }
                    std::process::abort();
                }
                before = now;
            }
        });
        watch
    }

    fn at(&self, path: &[Action]) {
        self.steps.fetch_add(1, Ordering::Relaxed);
        let mut place = self.path.lock().expect("nobody panics with it");
        place.clear();
        place.extend_from_slice(path);
    }
}

/// A state in 64 bits.
fn fingerprint(world: &World) -> u64 {
    let mut sum = Sum { hash: 0xcbf2_9ce4_8422_2325, depth: 0, skipped: None };
    let places = world.rig.places.borrow();
    let written = write!(sum, "{:?}{:?}{:?}", world.rig.host, world.vm, places).and_then(|()| {
        for (number, device) in world.rig.devices.borrow().iter().enumerate() {
            write!(sum, "{} {:?} {} {}", device.work, device.mode, device.credit, device.user)?;
            write!(sum, "{} {:?}", device.guest_enabled, world.rig.host.trigger(device.line).is_some())?;
            write!(sum, "{number}")?;
        }
        for cpu in 0..world.shape.cpus {
            write!(sum, "{}", world.has_late(cpu))?;
        }
        for vcpu in 0..world.shape.vcpus {
            write!(sum, "{}", world.rig.kicked(vcpu))?;
        }
        write!(sum, "{}", world.rig.killed.get())
    });
    assert!(written.is_ok());
    sum.hash
}

/// Adds up what is written, without the fields that only count.
struct Sum {
    hash: u64,
    depth: usize,
    skipped: Option<usize>,
}

impl Write for Sum {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if matches!(text, "statistics" | "counters") && self.skipped.is_none() {
            self.skipped = Some(self.depth);
        }
        for byte in text.bytes() {
            match byte {
                b'{' | b'(' | b'[' => self.depth += 1,
                b'}' | b')' | b']' => self.depth -= 1,
                _ => {}
            }
            match self.skipped {
                Some(depth) if self.depth < depth || self.depth == depth && matches!(byte, b',' | b'}') => {
                    self.skipped = None;
                }
                Some(_) => continue,
                None => {}
            }
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
            self.hash ^= self.hash >> 29;
        }
        Ok(())
    }
}
