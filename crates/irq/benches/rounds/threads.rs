//! Two threads, each the CPU of one vCPU of the same virtual machine: how much more they do together than one alone.

use super::{FIRST, Guest, Nanoseconds, Shape, Subject, count_for, waited};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long one round lasts.
const ROUND: Duration = Duration::from_micros(200);

/// How many interrupts each thread has, which come in turn.
const EACH: u32 = 16;

/// Where the interrupts of the two threads are.
#[derive(Clone, Copy)]
pub(crate) enum Placement {
    /// Every other one is one thread's, so that neighbours in memory are different threads'.
    Neighbours,
    /// Far from each other.
    Apart,
}

impl Placement {
    fn target(self) -> fn(u32) -> u16 {
        match self {
            Self::Neighbours => |number| (number % 2) as u16,
            Self::Apart => |number| u16::from(number >= FIRST + 480),
        }
    }

    fn number(self, thread: u32, turn: u32) -> u32 {
        match self {
            Self::Neighbours => FIRST + turn * 2 + thread,
            Self::Apart => FIRST + thread * 480 + turn,
        }
    }
}

/// What came out, of the rounds that no other program disturbed.
pub(crate) struct Scaling {
    /// A cycle of one thread alone.
    pub(crate) one: Nanoseconds,
    /// The time of two threads, divided by the cycles of both.
    pub(crate) two: Nanoseconds,
    /// How many rounds of two threads these are.
    pub(crate) rounds: usize,
}

impl Scaling {
    /// How many times the throughput of one thread two have.
    pub(crate) fn times(&self) -> f64 {
        self.one.median / self.two.median
    }
}

/// Measures `blocks` times `rounds`, each block with a virtual machine of its own and so in other memory.
/// `pin` is called by each thread with its number.
pub(crate) fn scaling<S: Subject>(placement: Placement, blocks: u32, rounds: u32, pin: fn(usize)) -> Scaling {
    let (mut one, mut two) = (Vec::new(), Vec::new());
    for _ in 0..blocks {
        block::<S>(placement, rounds, pin, &mut one, &mut two);
    }
    let rounds = two.len();
    Scaling { one: Nanoseconds::of(one), two: Nanoseconds::of(two), rounds }
}

/// What the second thread tells of its round.
#[derive(Default)]
struct Second {
    start: AtomicU64,
    end: AtomicU64,
    undisturbed: AtomicBool,
}

fn block<S: Subject>(
    placement: Placement,
    rounds: u32,
    pin: fn(usize),
    one: &mut Vec<f64>,
    two: &mut Vec<f64>,
) {
    let shape = Shape { bound: 960, list_registers: 4, guest: Guest::Ends, target: placement.target() };
    let (subject, [mut first, mut second]) = S::new(shape);
    let subject = &subject;
    let meeting = &Meeting { barrier: Barrier::new(2), arrived: AtomicU32::new(0) };
    let epoch = Instant::now();
    let since = move || epoch.elapsed().as_nanos() as u64;
    let cycles = move |vcpu: &mut S::Vcpu, thread: u32, count: u32| {
        for cycle in 0..count {
            subject.forward(vcpu, placement.number(thread, cycle % EACH));
            subject.load(vcpu);
            subject.save(vcpu);
        }
    };
    pin(0);
    let count = EACH * count_for(ROUND, || cycles(&mut first, 0, EACH));
    let report = &Second::default();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            pin(1);
            for round in 0..rounds {
                let waited = meeting.meet(round * 2);
                report.start.store(since(), Ordering::Relaxed);
                cycles(&mut second, 1, count);
                report.end.store(since(), Ordering::Relaxed);
                report.undisturbed.store(waited == super::waited(), Ordering::Relaxed);
                meeting.meet(round * 2 + 1);
            }
        });
        for round in 0..rounds {
            // The other thread sleeps at its meeting.
            let waited = super::waited();
            let start = Instant::now();
            cycles(&mut first, 0, count);
            let alone = start.elapsed();
            if waited == super::waited() {
                one.push(alone.as_nanos() as f64 / f64::from(count));
            }
            let waited = meeting.meet(round * 2);
            let start = since();
            cycles(&mut first, 0, count);
            let end = since();
            let undisturbed = waited == super::waited();
            meeting.meet(round * 2 + 1);
            let start = start.min(report.start.load(Ordering::Relaxed));
            let end = end.max(report.end.load(Ordering::Relaxed));
            if undisturbed && report.undisturbed.load(Ordering::Relaxed) {
                two.push((end - start) as f64 / f64::from(2 * count));
            }
        }
    });
}

/// Where both threads meet: asleep as long as one is away, and within some nanoseconds when both run.
struct Meeting {
    barrier: Barrier,
    arrived: AtomicU32,
}

impl Meeting {
    /// How long this thread had waited for a CPU before both ran.
    fn meet(&self, number: u32) -> Option<u64> {
        self.barrier.wait();
        self.together(2 * number);
        let waited = waited();
        self.together(2 * number + 1);
        waited
    }

    fn together(&self, number: u32) {
        self.arrived.fetch_add(1, Ordering::AcqRel);
        while self.arrived.load(Ordering::Acquire) < 2 * (number + 1) {
            std::hint::spin_loop();
        }
    }
}
