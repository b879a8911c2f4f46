//! What is measured, and how: the same cases for every subject, each many short rounds, all in turn.
//!
//! A round lasts some tens of microseconds, so that most rounds see no other work of the machine, and the subjects and
//! cases alternate, so that what they see is the same. The median of the rounds is the result, the best is beside it.

mod threads;

pub(crate) use threads::{Placement, scaling};

use std::time::{Duration, Instant};

/// How long a round of one case is to last.
const ROUND: Duration = Duration::from_micros(40);

/// What the guest does with what is in its list registers, between load and save.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guest {
    /// Acknowledges and ends everything.
    Ends,
    /// Acknowledges everything, and ends nothing.
    Acknowledges,
}

/// A virtual machine to measure: two vCPUs, and interrupts from 32 on that are bound, enabled and level-sensitive.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    /// How many are bound.
    pub(crate) bound: u32,
    pub(crate) list_registers: usize,
    pub(crate) guest: Guest,
    /// The vCPU that an interrupt goes to.
    pub(crate) target: fn(u32) -> u16,
}

/// A virtual interrupt controller under test.
pub(crate) trait Subject: Sync + Sized + 'static {
    /// What the thread that runs a vCPU has of it.
    type Vcpu: Send + 'static;

    fn new(shape: Shape) -> (Self, [Self::Vcpu; 2]);

    /// What the handler of a host interrupt does, from its acknowledgement to the vCPU's queue.
    fn forward(&self, vcpu: &mut Self::Vcpu, number: u32);

    /// The part of it that is the virtual interrupt controller's.
    fn deliver(&self, number: u32);

    /// Writes what the vCPU has queued into list registers.
    fn load(&self, vcpu: &mut Self::Vcpu);

    /// Reads them back, as the guest left them.
    fn save(&self, vcpu: &mut Self::Vcpu);

    /// Unbinds an interrupt, and binds it again.
    fn rebind(&self, number: u32);

    /// The forwarded interrupts that are in list registers, while loaded.
    fn loaded(&self, vcpu: &Self::Vcpu) -> Vec<u32>;
}

/// One line of the table.
pub(crate) struct Case {
    pub(crate) name: String,
    /// Every how many rounds it is run.
    pub(crate) every: u32,
    /// Runs one round; nanoseconds per operation, or no number if it was disturbed.
    pub(crate) round: Box<dyn FnMut() -> f64>,
}

/// The nanoseconds per operation of many rounds.
#[derive(Clone, Copy)]
pub(crate) struct Nanoseconds {
    pub(crate) median: f64,
    pub(crate) best: f64,
}

impl Nanoseconds {
    /// Leaves out what is no number; of nothing else it is none.
    pub(crate) fn of(mut rounds: Vec<f64>) -> Self {
        rounds.retain(|round| !round.is_nan());
        if rounds.is_empty() {
            return Self { median: f64::NAN, best: f64::NAN };
        }
        rounds.sort_by(f64::total_cmp);
        Self { median: rounds[rounds.len() / 2], best: rounds[0] }
    }
}

/// The first bound interrupt.
pub(crate) const FIRST: u32 = 32;

/// All cases of one thread for a subject.
pub(crate) fn cases<S: Subject>() -> Vec<Case> {
    let mut cases = Vec::new();
    for bound in [32, 320, 960] {
        let name = format!("forward + load + save, {bound} bound, one that comes again");
        cases.push(case(name, cycle::<S>(bound, 1)));
    }
    for bound in [32, 320, 960] {
        let name = format!("forward + load + save, {bound} bound, each in turn");
        cases.push(case(name, cycle::<S>(bound, bound)));
    }
    for bound in [32, 320, 960] {
        cases.push(case(format!("unbind + bind, {bound} bound"), rebind::<S>(bound)));
    }
    cases.push(case("forward alone".into(), deliver::<S>(S::forward)));
    cases.push(case("deliver alone".into(), deliver::<S>(|subject, _, number| subject.deliver(number))));
    cases.push(case("load + save, nothing pending".into(), in_flight::<S>(0)));
    cases.push(case("load + save, 4 active".into(), in_flight::<S>(4)));
    let every = 10;
    cases.push(Case {
        name: "988 pending, 4 list registers: each of the drain".into(),
        every,
        round: drain::<S>(),
    });
    cases
}

/// Runs the cases of all subjects in turn.
pub(crate) fn run(subjects: Vec<Vec<Case>>, rounds: u32) -> Vec<Vec<(String, Nanoseconds)>> {
    let mut subjects: Vec<Vec<(Case, Vec<f64>)>> = subjects
        .into_iter()
        .map(|cases| cases.into_iter().map(|case| (case, Vec::new())).collect())
        .collect();
    for round in 0..rounds {
        for place in 0..subjects[0].len() {
            for subject in &mut subjects {
                let (case, results) = &mut subject[place];
                if round % case.every == 0 {
                    results.push((case.round)());
                }
            }
        }
    }
    let finish = |(case, results): (Case, Vec<f64>)| (case.name, Nanoseconds::of(results));
    subjects.into_iter().map(|cases| cases.into_iter().map(finish).collect()).collect()
}

/// How busy the machine is with everything, this benchmark included: the averages of Linux.
pub(crate) fn load() -> String {
    std::fs::read_to_string("/proc/loadavg").map_or("unknown".into(), |text| text.trim().to_owned())
}

fn case(name: String, round: Box<dyn FnMut() -> f64>) -> Case {
    Case { name, every: 1, round }
}

const PLAIN: Shape = Shape { bound: 0, list_registers: 4, guest: Guest::Ends, target: |_| 0 };

/// One interrupt, all the way in and out; of the first `coming` that are bound.
fn cycle<S: Subject>(bound: u32, coming: u32) -> Box<dyn FnMut() -> f64> {
    let (subject, [mut vcpu, _]) = S::new(Shape { bound, ..PLAIN });
    // That it is what it claims to be.
    subject.forward(&mut vcpu, FIRST + 1);
    subject.load(&mut vcpu);
    assert_eq!(subject.loaded(&vcpu), [FIRST + 1]);
    subject.save(&mut vcpu);
    subject.load(&mut vcpu);
    assert_eq!(subject.loaded(&vcpu), []);
    subject.save(&mut vcpu);

    let mut next = 0;
    timed(move || {
        subject.forward(&mut vcpu, FIRST + next);
        subject.load(&mut vcpu);
        subject.save(&mut vcpu);
        next = if next + 1 < coming { next + 1 } else { 0 };
    })
}

fn rebind<S: Subject>(bound: u32) -> Box<dyn FnMut() -> f64> {
    let (subject, vcpus) = S::new(Shape { bound, ..PLAIN });
    let mut next = 0;
    timed(move || {
        // They exist as long as this does.
        let _ = &vcpus;
        subject.rebind(FIRST + next);
        next = (next + 1) % bound;
    })
}

/// Deliveries without what follows them: as many at once as there are list registers, which takes them out
/// again, untimed.
fn deliver<S: Subject>(deliver: fn(&S, &mut S::Vcpu, u32)) -> Box<dyn FnMut() -> f64> {
    const AT_ONCE: u32 = 16;
    const TIMES: u32 = 40;
    let (subject, [mut vcpu, _]) = S::new(Shape { bound: 320, list_registers: AT_ONCE as usize, ..PLAIN });
    let clock = clock_cost();
    Box::new(move || {
        let mut total = Duration::ZERO;
        for time in 0..TIMES {
            let first = FIRST + time % 20 * AT_ONCE;
            let start = Instant::now();
            for number in first..first + AT_ONCE {
                deliver(&subject, &mut vcpu, number);
            }
            total += start.elapsed().saturating_sub(clock);
            subject.load(&mut vcpu);
            debug_assert_eq!(subject.loaded(&vcpu).len(), AT_ONCE as usize);
            subject.save(&mut vcpu);
        }
        total.as_nanos() as f64 / f64::from(TIMES * AT_ONCE)
    })
}

/// What a vCPU's way out of the guest and back costs while `count` interrupts are active.
fn in_flight<S: Subject>(count: u32) -> Box<dyn FnMut() -> f64> {
    let (subject, [mut vcpu, _]) = S::new(Shape { bound: 320, guest: Guest::Acknowledges, ..PLAIN });
    for number in 0..count {
        subject.forward(&mut vcpu, FIRST + number);
    }
    for _ in 0..2 {
        subject.load(&mut vcpu);
        assert_eq!(subject.loaded(&vcpu).len(), count as usize);
        subject.save(&mut vcpu);
    }
    timed(move || {
        subject.load(&mut vcpu);
        subject.save(&mut vcpu);
    })
}

/// All of a distributor's interrupts at once, through 4 list registers.
fn drain<S: Subject>() -> Box<dyn FnMut() -> f64> {
    const ALL: u32 = 988;
    let (subject, [mut vcpu, _]) = S::new(Shape { bound: ALL, ..PLAIN });
    Box::new(move || {
        for number in FIRST..FIRST + ALL {
            subject.forward(&mut vcpu, number);
        }
        let waited = waited();
        let start = Instant::now();
        for _ in 0..ALL / 4 {
            subject.load(&mut vcpu);
            subject.save(&mut vcpu);
        }
        let elapsed = start.elapsed();
        let undisturbed = waited == self::waited();
        subject.load(&mut vcpu);
        assert!(subject.loaded(&vcpu).is_empty(), "all are out");
        subject.save(&mut vcpu);
        // This takes so long that another program often comes in between.
        if undisturbed { elapsed.as_nanos() as f64 / f64::from(ALL) } else { f64::NAN }
    })
}

/// Rounds of an operation: as many of it as fill one.
fn timed(mut operation: impl FnMut() + 'static) -> Box<dyn FnMut() -> f64> {
    let count = count_for(ROUND, &mut operation);
    Box::new(move || {
        // The caches have been others' meanwhile.
        for _ in 0..count.div_ceil(4) {
            operation();
        }
        let start = Instant::now();
        for _ in 0..count {
            operation();
        }
        start.elapsed().as_nanos() as f64 / f64::from(count)
    })
}

/// How often an operation fits into a time.
fn count_for(time: Duration, mut operation: impl FnMut()) -> u32 {
    let mut count = 1;
    loop {
        let start = Instant::now();
        for _ in 0..count {
            operation();
        }
        if start.elapsed() >= time {
            return count;
        }
        count *= 2;
    }
}

/// What looking at the clock costs.
fn clock_cost() -> Duration {
    let mut costs: Vec<_> = (0..1000).map(|_| Instant::now().elapsed()).collect();
    costs.sort();
    costs[costs.len() / 2]
}

/// How long this thread has waited for a CPU since it began, as Linux counts it; nothing where it is not told.
fn waited() -> Option<u64> {
    let counts = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    counts.split_whitespace().nth(1)?.parse().ok()
}
